"""The tables of files: each sheet of a workbook, each dBASE or CSV file, each table of Access."""

from __future__ import annotations

import codecs
import csv
import re
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from decimal import Decimal
from itertools import islice
from pathlib import Path
from typing import Any

import python_calamine as calamine

from adapters.mapping.model import FileFormat, FileTable
from adapters.mapping.tables import SUFFIXES
from adapters.scan.feet import Row, find_foot
from adapters.scan.found import SAMPLE_ROWS, FoundColumn, FoundTable
from adapters.scan.layout import doubled, layout_of
from adapters.scan.numbers import written_numbers
from adapters.sources.feet import is_there
from adapters.sources.sheets import check_size, refuse
from adapters.sources.snapshot import READERS
from adapters.sources.workbook import check_unpacked
from adapters.text.codec import add, register
from adapters.text.detect import detect, sure
from adapters.text.tables import Table
from exchange.problems import Code, Problem

_TABLES_S = 60.0
_DELIMITERS = ",;\t|"
GUESSED = ("cp1252", "cp874")
"""Encodings of CSV that stand in where none is certain."""
_ENCODINGS = ("utf-8-sig", *GUESSED)
# Numbers as text: one that has noughts in front, or as many digits as a telephone, is a code.
_WHOLE = re.compile(r"0|-?[1-9][0-9]{0,8}", re.ASCII)
_FRACTION = re.compile(r"-?(0|[1-9][0-9]{0,11})(\.[0-9]{1,6})?", re.ASCII)


def is_file(source: str) -> bool:
    """Whether ``source`` is a file that can be scanned, by the ending of its name."""
    return "://" not in source and Path(source).suffix.lower() in SUFFIXES


def find_sheets(path: Path, own: Sequence[Table] = ()) -> list[tuple[FoundTable, FileTable]]:
    """The tables of the file at ``path``, each with how it is to be read.

    Args:
        path: of the file.
        own: tables of old encodings that an owner brings.

    Raises:
        Problem: ``SourceFailed`` for a file that cannot be read; ``NotFound`` when there is none.
    """
    if not path.is_file():
        raise Problem(Code.NOT_FOUND, where=str(path), detail="there is no such file")
    check_size(path)
    register()
    kind = SUFFIXES[path.suffix.lower()]
    found = [_found(path, table) for table in _tables(path, kind, own)]
    return [(one, table) for one, table in found if one.columns]


def find_columns(path: Path, table: FileTable) -> list[str]:
    """The headers of ``table`` in the file at ``path``, read as the mapping says.

    Raises:
        Problem: ``SourceFailed`` for a file that cannot be read so.
    """
    check_size(path)
    return [title.strip() for title in READERS[table.format](table, path).header if title.strip()]


def _tables(path: Path, kind: FileFormat, own: Sequence[Table]) -> Iterator[FileTable]:
    match kind:
        case FileFormat.CSV:
            encoding, delimiter = _dialect(path, own)
            yield _table(path, kind, path.stem, encoding=encoding, delimiter=delimiter)
        case FileFormat.DBASE:
            yield _table(path, kind, path.stem)
        case FileFormat.WORKBOOK:
            for sheet in _sheets(path):
                yield _table(path, kind, sheet, sheet=sheet)
        case FileFormat.ACCESS:
            for name in _access_tables(path):
                yield _table(path, kind, name, sheet=name)


def _table(path: Path, kind: FileFormat, name: str, **more: Any) -> FileTable:
    return FileTable(name=name, file=path.name, format=kind, columns=(), **more)


def _sheets(path: Path) -> list[str]:
    check_unpacked(path)
    try:
        return list(calamine.CalamineWorkbook.from_path(str(path)).sheet_names)
    except (calamine.CalamineError, OSError, ValueError) as error:
        raise refuse(path.name, f"is not a workbook: {error}") from error


def _access_tables(path: Path) -> list[str]:
    program = shutil.which("mdb-tables")
    if program is None:
        raise refuse(path.name, "needs mdbtools to be read: apt-get install mdbtools")
    try:
        done = subprocess.run(  # noqa: S603 (a fixed program, no shell)
            [program, "-1", "--", str(path)], capture_output=True, timeout=_TABLES_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise refuse(path.name, f"mdb-tables cannot be run: {error}") from error
    if done.returncode:
        raise refuse(path.name, "mdb-tables cannot read it")
    return done.stdout.decode(errors="replace").split("\n")[:-1]


def _dialect(path: Path, own: Sequence[Table]) -> tuple[str | None, str]:
    """The encoding (None for UTF-8) and the delimiter of a CSV file, by its beginning."""
    with path.open("rb") as file:
        data = file.read(1 << 16)
    text = ""
    chosen: str | None = None
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):  # "Unicode text" of Excel
        return "utf-16", _delimiter(data.decode("utf-16", "ignore"))
    lao = sure(detect(data, [table for table in own if not table.low]))
    if lao is not None and lao.table is not None and not lao.copied:
        name = add(lao.table) if lao.table in own else lao.table.name
        return name, _delimiter(lao.read(data).text)
    for encoding in _ENCODINGS:
        try:
            # The last line may be cut in the middle of a character.
            text = data[: data.rfind(b"\n") + 1 or len(data)].decode(encoding)
        except UnicodeDecodeError:
            continue
        chosen = None if encoding == "utf-8-sig" else encoding
        break
    return chosen, _delimiter(text)


def _delimiter(text: str) -> str:
    try:
        return csv.Sniffer().sniff(text, _DELIMITERS).delimiter
    except csv.Error:  # lines above the headers have none, or others
        lines = text.splitlines()
        return max(_DELIMITERS, key=lambda sign: sum(sign in line for line in lines))


def _found(path: Path, table: FileTable) -> tuple[FoundTable, FileTable]:
    told: list[str] = []
    most = SAMPLE_ROWS
    if table.format in (FileFormat.CSV, FileFormat.WORKBOOK):
        table, told, most = _placed(path, table)
    sheet = READERS[table.format](table, path)
    samples: Sequence[Sequence[Any]] = [row for _, row in islice(sheet.rows, most)]
    types = {str: "text", bool: "boolean", int: "integer", float: "fraction"}
    columns = []
    for index, title in enumerate(sheet.header):
        values = [
            row[index] for row in samples if index < len(row) and row[index] not in (None, "")
        ]
        kinds = {types.get(type(value), type(value).__name__) for value in values}
        columns.append(FoundColumn(title.strip(), "/".join(sorted(kinds)) or "empty"))
    full: Sequence[Sequence[Any]] = [
        [None if isinstance(cell, str) and not cell.strip() else cell for cell in row]
        for row in samples
        if len(row) == len(columns)
    ]
    if full:
        cells: list[Sequence[Any]] = []
        all_texts = table.format in (FileFormat.CSV, FileFormat.ACCESS)
        for index, column in enumerate(zip(*full, strict=True)):
            typed = _typed(column) if all_texts else column
            written, read = written_numbers(columns[index].name, typed, all_texts=all_texts)
            columns[index] = replace(columns[index], written=written)
            cells.append(read)
        full = list(zip(*cells, strict=True))
    twice = doubled([column.name for column in columns])
    if twice:
        told.append(f"left out, for several columns have this header: {', '.join(twice)}")
    named = [
        index for index, column in enumerate(columns) if column.name and column.name not in twice
    ]
    return (
        FoundTable(
            name=table.name,
            columns=tuple(columns[index] for index in named),
            key=_key(
                [columns[index] for index in named], [[row[i] for i in named] for row in full]
            ),
            samples=[[row[index] for index in named] for row in full],
            file=path.name,
            format=table.format,
            sheet=table.sheet,
            layout=told,
        ),
        table,
    )


def _placed(path: Path, table: FileTable) -> tuple[FileTable, list[str], int]:
    """The table with the rows of its headers and its end, what is unsure of the form of the sheet,
    and how many rows below the headers to look at."""
    sheet = READERS[table.format](table, path)
    lines = [sheet.header, *(row for _, row in islice(sheet.rows, SAMPLE_ROWS))]
    layout = layout_of(lines)
    table = replace(table, header_row=layout.header_row, header_rows=layout.header_rows)
    sheet = READERS[table.format](table, path)
    header = [title.strip() for title in sheet.header]
    seen: list[bool] = []
    foot = find_foot(header, _counted(_readable(sheet.rows), seen))
    most = SAMPLE_ROWS
    if foot.first:
        records = [place for place, there in enumerate(seen) if there][: foot.above]
        most = min(most, records[-1] + 1)
        head = layout.header_row - 1 + layout.header_rows
        layout = replace(layout_of(lines[: head + most]), header_row=layout.header_row)
    return replace(table, ends_at=foot.ends_at), [*layout.doubts, *foot.doubts()], most


def _counted(rows: Iterator[Row], seen: list[bool]) -> Iterator[Row]:
    """``rows``; ``seen`` is told of each whether it is a row with anything in it."""
    for number, row in rows:
        seen.append(any(map(is_there, row)))
        yield number, row


def _readable(rows: Iterator[Row]) -> Iterator[Row]:
    """The rows up to one that cannot be read: that is told by who reads them all."""
    with suppress(Problem):
        yield from rows


def _typed(cells: Sequence[Any]) -> Sequence[Any]:
    """The cells of a column as numbers, if all of them are written so."""
    texts = [cell.strip() for cell in cells if cell]
    for pattern, kind in ((_WHOLE, int), (_FRACTION, Decimal)):
        if texts and all(pattern.fullmatch(text) for text in texts):
            return [kind(cell.strip()) if cell else None for cell in cells]
    return cells


def _key(columns: Sequence[FoundColumn], rows: Sequence[Sequence[Any]]) -> tuple[str, ...]:
    """The first column whose sampled values are all there and all different."""
    for index, column in enumerate(columns):
        values = [row[index] for row in rows]
        there = column.name and values and None not in values and "" not in values
        if there and len({str(value) for value in values}) == len(values):
            return (column.name,)
    return ()
