"""Spreadsheets saved as CSV (RFC 4180), in the encoding and with the delimiter of the mapping."""

from __future__ import annotations

import codecs
import csv
import io
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

from adapters.mapping.model import FileTable
from adapters.sources.headers import combined
from adapters.sources.sheets import Raw, Sheet, refuse


def read_csv(table: FileTable, path: Path) -> Sheet:
    """The table in the file at ``path``.

    Raises:
        Problem: ``SourceFailed`` with file and row: a file that cannot be read or decoded, or that
            is not CSV; also while the rows are read.
    """
    lines = csv.reader(_decoded(table, path), delimiter=table.delimiter, strict=True)
    numbered = _numbered(lines, path)
    for _ in range(table.header_row - 1):
        next(numbered, None)
    lines_of = [line for _, line in islice(numbered, table.header_rows)]
    header = combined([[str(cell) for cell in line] for line in lines_of])
    return Sheet(header, table.header_row, numbered)


def _numbered(lines: Iterator[list[str]], path: Path) -> Iterator[tuple[int, Sequence[Raw]]]:
    number = 0
    try:
        for line in lines:
            number = lines.line_num  # type: ignore[attr-defined]
            yield number, line
    except csv.Error as error:
        number = lines.line_num  # type: ignore[attr-defined]
        raise refuse(f"{path.name} row {number}", f"is not CSV: {error}") from error


def _decoded(table: FileTable, path: Path) -> io.StringIO:
    encoding = table.encoding or "utf-8-sig"
    try:
        data = path.read_bytes()
    except OSError as error:
        raise refuse(path.name, f"cannot be read: {error.strerror}") from error
    try:
        text, _ = codecs.lookup(encoding).decode(data, "strict")
    except UnicodeDecodeError as error:
        row = data.count(b"\n", 0, error.start) + 1
        detail = f"is not {encoding} text at byte {error.start}"
        raise refuse(f"{path.name} row {row}", detail) from error
    return io.StringIO(str(text), newline="")
