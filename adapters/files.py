"""Spreadsheets saved as CSV, read whole into a private in-memory SQLite database.

Invariants:
- what is queried is one consistent reading of all files of the source, never half of a new one;
- a file is accepted only if every row has as many cells as the header and every cell can be
  stored as the mapping says; a refusal names file, row and column;
- a changed file is read again at the next request; while the new one is unreadable (half saved,
  ragged) the last good reading goes on, its age is said in every answer, and the log says why;
- nothing is written to disk: the snapshot is SQLite's ``memdb``, private to the process.
"""

from __future__ import annotations

import codecs
import csv
import io
import itertools
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from email.utils import formatdate
from pathlib import Path
from typing import Any, TypeAlias

import structlog

from adapters.fields import Kind, Mismatch, parse_date, parse_plain
from adapters.mapping import CsvColumn, CsvTable
from exchange.problems import Code, Problem

MAX_CSV_BYTES = 256 << 20
_STORED_AS = {
    Kind.STRING: "TEXT",
    Kind.INTEGER: "INTEGER",
    Kind.DECIMAL: "NUMERIC",
    Kind.DATE: "TEXT",
}
_numbers = itertools.count()
_log = structlog.get_logger("saphan.adapters")

Stamp: TypeAlias = tuple[int, int, int]
Cell: TypeAlias = str | int | float | None


@dataclass(frozen=True, slots=True)
class SnapshotFile:
    """A table of the mapping and the file it is in."""

    table: CsvTable
    path: Path


class Snapshot:
    """The current reading of a set of files; a :class:`adapters.sql.SqliteDatabase`."""

    def __init__(self, files: Sequence[SnapshotFile]) -> None:
        self._files = files
        self._lock = threading.Lock()
        self._keeper: sqlite3.Connection | None = None
        self._address = ""
        self._stamps: list[Stamp] | None = None
        self._failed: list[Stamp] | None = None

    def connect(self) -> sqlite3.Connection:
        """A connection to the current reading."""
        return sqlite3.connect(self._address, uri=True, check_same_thread=False)

    def mark(self) -> Hashable:
        """The current reading's name: each reading is a database of its own."""
        return self._address

    def refresh(self) -> None:
        """Read the files if they are new or changed. Called from the source's threads.

        Raises:
            Problem: ``SourceFailed`` with file, row and column when no good reading exists.
        """
        with self._lock:
            try:
                stamps = [_stamp(file.path) for file in self._files]
                if self._stamps is not None and stamps in (self._stamps, self._failed):
                    return
                self._failed = stamps
                self._load()
                self._stamps, self._failed = stamps, None
            except Problem as problem:
                if self._stamps is None:
                    raise
                _log.warning("snapshot_kept", where=problem.where, detail=problem.detail)

    def age(self) -> tuple[float, str] | None:
        """Seconds since the oldest file of the reading was written, and that time as a date."""
        if self._stamps is None:
            return None
        written = min(stamp[0] for stamp in self._stamps) / 1e9
        return max(0.0, time.time() - written), formatdate(written, usegmt=True)

    def close(self) -> None:
        """Forget the reading; idempotent."""
        with self._lock:
            if self._keeper is not None:
                self._keeper.close()
                self._keeper = None

    def _load(self) -> None:
        """Make a new database and only then put it in the place of the old one.

        A memdb lives as long as one connection to it does: the keeper holds the current one, and
        whoever still reads the old one holds that until the pool drops the connection.
        """
        address = f"file:/saphan-{os.getpid()}-{next(_numbers)}?vfs=memdb"
        keeper = sqlite3.connect(address, uri=True, check_same_thread=False)
        try:
            for file in self._files:
                _store(keeper, file.table, read_rows(file.table, file.path))
            keeper.commit()
        except BaseException:
            keeper.close()
            raise
        old, self._keeper, self._address = self._keeper, keeper, address
        if old is not None:
            old.close()


def _stamp(path: Path) -> Stamp:
    try:
        state = path.stat()
    except OSError as error:
        raise _refuse(path.name, f"cannot be read: {error.strerror}") from error
    return (state.st_mtime_ns, state.st_size, state.st_ino)


def _store(
    connection: sqlite3.Connection, table: CsvTable, rows: Iterable[tuple[Cell, ...]]
) -> None:
    # Names passed statements.NAME; values are bound.
    columns = ", ".join(f"{column.name} {_STORED_AS[column.kind]}" for column in table.columns)
    connection.execute(f"CREATE TABLE {table.name} ({columns})")
    places = ", ".join("?" for _ in table.columns)
    connection.executemany(f"INSERT INTO {table.name} VALUES ({places})", rows)  # noqa: S608


def read_rows(table: CsvTable, path: Path) -> Iterator[tuple[Cell, ...]]:
    """The rows of a file in the order of the mapping's columns.

    Columns of the file that the mapping does not name are left out; wholly empty rows, which
    spreadsheets leave at the end, are passed over.

    Raises:
        Problem: ``SourceFailed`` with file, row (as the spreadsheet counts) and column: a file
            that cannot be read or decoded, a missing or doubled header, a ragged row, a cell
            that is not of its type.
    """
    lines = csv.reader(_decoded(table, path), delimiter=table.delimiter, strict=True)
    try:
        header = [name.strip() for name in next(lines, [])]
        cells = [_cell_reader(column, header, path) for column in table.columns]
        for row in lines:
            if not any(cell.strip() for cell in row):
                continue
            if len(row) != len(header):
                place = f"{path.name} row {lines.line_num} column {min(len(row), len(header)) + 1}"
                detail = f"the row has {len(row)} cell(s), the header has {len(header)}"
                raise _refuse(place, detail)
            yield tuple(read(row, lines.line_num) for read in cells)
    except csv.Error as error:
        raise _refuse(f"{path.name} row {lines.line_num}", f"is not CSV: {error}") from error


def _decoded(table: CsvTable, path: Path) -> io.StringIO:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_CSV_BYTES + 1)
    except OSError as error:
        raise _refuse(path.name, f"cannot be read: {error.strerror}") from error
    if len(data) > MAX_CSV_BYTES:
        raise _refuse(path.name, f"is larger than {MAX_CSV_BYTES} bytes")
    try:
        text, _ = codecs.lookup(table.encoding).decode(data, "strict")
    except UnicodeDecodeError as error:
        row = data.count(b"\n", 0, error.start) + 1
        detail = f"is not {table.encoding} text at byte {error.start}"
        raise _refuse(f"{path.name} row {row}", detail) from error
    return io.StringIO(str(text), newline="")


def _cell_reader(
    column: CsvColumn, header: list[str], path: Path
) -> Callable[[list[str], int], Cell]:
    found = [index for index, name in enumerate(header) if name == column.header]
    if len(found) != 1:
        number = "no" if not found else "more than one"
        raise _refuse(f"{path.name} row 1", f"{number} column has the header {column.header!r}")
    index = found[0]

    def read(row: list[str], number: int) -> Cell:
        text = row[index].strip() if column.kind is not Kind.STRING else row[index]
        try:
            return _cell(column, text)
        except (Mismatch, ValueError) as error:
            place = f"{path.name} row {number} column {index + 1} ({column.header})"
            detail = f"the cell is not a value of the type {column.kind}"
            raise _refuse(place, detail) from error

    return read


def _cell(column: CsvColumn, text: str) -> Cell:
    if not text:
        return None
    if column.thousands:
        text = text.replace(column.thousands, "")
    match column.kind:
        case Kind.STRING:
            return text
        case Kind.DATE if column.format is not None:
            return datetime.strptime(text, column.format).date().isoformat()
        case Kind.DATE:
            return parse_date(text).isoformat()
        case kind:
            value: Any = parse_plain(kind, text)
            # NUMERIC affinity turns the text into the nearest number SQLite has.
            return text if kind is Kind.DECIMAL else int(value)


def _refuse(where: str, detail: str) -> Problem:
    return Problem(Code.SOURCE_FAILED, where=where, detail=detail, retryable=False)
