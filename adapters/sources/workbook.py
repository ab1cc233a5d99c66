"""Workbooks: xlsx, xlsm, xlsb, xls and ods, read by calamine.

A formula is the value that was saved with it; one that failed (``#N/A``) is an empty cell.
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterator, Sequence
from datetime import timedelta
from itertools import islice
from pathlib import Path
from typing import Any

import python_calamine as calamine

from adapters.mapping.model import FileTable
from adapters.sources.headers import combined, title_of
from adapters.sources.sheets import Raw, Sheet, refuse

MAX_UNPACKED_BYTES = 2 << 30
"""What the parts of a workbook may have together when unpacked: a bomb is refused before."""


def read_workbook(table: FileTable, path: Path) -> Sheet:
    """The sheet that ``table`` names, the first one without a name.

    Raises:
        Problem: ``SourceFailed`` for a file that is no workbook, is protected by a password,
            unpacks to too much, or has no such sheet.
    """
    check_unpacked(path)
    try:
        workbook = calamine.CalamineWorkbook.from_path(str(path))
        names = workbook.sheet_names
        if table.sheet is not None and table.sheet not in names:
            detail = f"has no sheet {table.sheet!r}; it has: {', '.join(names[:20])}"
            raise refuse(path.name, detail)
        sheet = workbook.get_sheet_by_name(table.sheet or names[0])
        lines = _numbered(sheet.iter_rows())
    except OSError as error:
        raise refuse(path.name, f"cannot be read: {error.strerror or error}") from error
    except (calamine.CalamineError, ValueError, IndexError) as error:
        raise refuse(path.name, f"is not a workbook: {error}") from error
    for _ in islice(lines, table.header_row - 1):
        pass
    titles = [[title_of(cell) for cell in row] for _, row in islice(lines, table.header_rows)]
    return Sheet(combined(titles), table.header_row, lines)


def _numbered(lines: Iterator[list[Any]]) -> Iterator[tuple[int, Sequence[Raw]]]:
    # Rows above the data are given, too, so a row has the number that the person sees.
    for number, line in enumerate(lines, 1):
        yield number, [_raw(cell) for cell in line]


def _raw(value: Any) -> Raw:
    # A duration ("37:30:00") is no time of day; as a text it is refused where a number is wanted.
    return str(value) if isinstance(value, timedelta) else value


def check_unpacked(path: Path) -> None:
    """Refuse a bomb by what its directory says, before anything of it is unpacked.

    Raises:
        Problem: ``SourceFailed``.
    """
    try:
        if not zipfile.is_zipfile(path):
            return  # xls
        with zipfile.ZipFile(path) as parts:
            size = sum(part.file_size for part in parts.infolist())
    except (OSError, zipfile.BadZipFile) as error:
        raise refuse(path.name, f"is not a workbook: {error}") from error
    if size > MAX_UNPACKED_BYTES:
        raise refuse(path.name, f"unpacks to {size} bytes, more than {MAX_UNPACKED_BYTES}")
