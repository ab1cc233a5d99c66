"""Files (spreadsheets, dBASE, Access) read whole into a private in-memory SQLite database.

Invariants:
- what is queried is one consistent reading of all files of the source, never half of a new one: a
  connection stays with the reading that it was opened to, and its answers tell the age of that one;
- a file is accepted only if every row has as many cells as the header and every cell can be
  stored as the mapping says; a refusal names file, row and column;
- files are looked at with each request; changed ones are read again beside the traffic: a request
  waits for the new reading for a moment (``patience_s``), then gets the last good one;
- while the new one is unreadable (half saved, ragged) the last good reading goes on, its age is
  said in every answer, and the log says why;
- nothing is written to disk: the snapshot is SQLite's ``memdb``, private to the process.
"""

from __future__ import annotations

import itertools
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as StillReading
from dataclasses import dataclass
from email.utils import formatdate
from pathlib import Path
from typing import Protocol, TypeAlias, TypeVar

import structlog

from adapters.fields import Kind
from adapters.mapping.model import FileFormat, FileTable
from adapters.sources.access import read_access
from adapters.sources.csv_file import read_csv
from adapters.sources.dbase import MEMO_SUFFIXES, read_dbase
from adapters.sources.sheets import Cell, Sheet, check_size, refuse, rows
from adapters.sources.workbook import read_workbook
from adapters.text.names import keys
from exchange.problems import Problem

_STORED_AS = {
    Kind.STRING: "TEXT",
    Kind.INTEGER: "INTEGER",
    Kind.DECIMAL: "NUMERIC",
    Kind.DATE: "TEXT",
}
_numbers = itertools.count()
_log = structlog.get_logger("saphan.adapters")

T = TypeVar("T")
Mark: TypeAlias = tuple[str, float]
"""Of a reading: the name of its database and when its oldest file was written."""
Stamp: TypeAlias = tuple[tuple[int, int, int], ...]
"""Of a file and its memo file: when it was written, its length and its number on the disk."""


class MadeTable(Protocol):
    """A table that is made of something else than one file's rows."""

    def stamp(self) -> Stamp:
        """What changes when the rows do; raises ``SourceFailed`` when it cannot be told."""
        ...

    def rows(self) -> Iterable[tuple[Cell, ...]]:
        """The rows, in the order of the table's columns."""
        ...


@dataclass(frozen=True, slots=True)
class SnapshotFile:
    """A table of the mapping and the file it is in, or what makes it of something else."""

    table: FileTable
    path: Path
    made: MadeTable | None = None

    def stamp(self) -> Stamp:
        """What changes when the file does.

        Raises:
            Problem: ``SourceFailed`` when it cannot be looked at.
        """
        return stamp_of(self.table, self.path) if self.made is None else self.made.stamp()

    def rows(self) -> Iterable[tuple[Cell, ...]]:
        """The rows, read as they are asked for; raises as the readers of files do."""
        return read_table(self.table, self.path) if self.made is None else self.made.rows()


@dataclass(frozen=True, slots=True)
class _Reading:
    """One reading of all files; the keeper's connection keeps its memdb alive."""

    keeper: sqlite3.Connection
    address: str
    written: float

    @property
    def mark(self) -> Mark:
        return self.address, self.written


class Snapshot:
    """The current reading of a set of files; a :class:`adapters.sources.sqlite.SqliteDatabase`.

    Args:
        files: the tables and where they are.
        patience_s: how long a request waits for the reading of changed files while there is an
            older one that could answer it.
    """

    def __init__(self, files: Sequence[SnapshotFile], patience_s: float) -> None:
        self._files = files
        self._patience_s = patience_s
        self._lock = threading.Lock()
        self._reader = ThreadPoolExecutor(1, thread_name_prefix="saphan-snapshot")
        self._reading: _Reading | None = None
        self._under_way: Future[None] | None = None
        self._seen: list[Stamp] | None = None  # of what was read last, well or not
        self._closed = False

    def connect(self) -> sqlite3.Connection:
        """A connection to the current reading, which is not let go of meanwhile."""
        with self._lock:
            return sqlite3.connect(self._current().address, uri=True, check_same_thread=False)

    def mark(self) -> Mark:
        """What tells the current reading from others: each is a database of its own."""
        return self._current().mark

    @property
    def current(self) -> Mark | None:
        """The mark of the current reading; None before the first."""
        return None if self._reading is None else self._reading.mark

    def refresh(self) -> None:
        """Read the files if they are new or changed. Called from the source's threads.

        Raises:
            Problem: ``SourceFailed`` with file, row and column when no good reading exists.
        """
        with self._lock:
            under_way = self._begin()
            patience_s = None if self._reading is None else self._patience_s
        if under_way is None:
            return
        try:
            under_way.result(patience_s)
        except StillReading:
            _log.info("snapshot_being_read", files=[file.path.name for file in self._files])
        except Problem as problem:
            if self._reading is None:
                raise
            _log.warning("snapshot_kept", where=problem.where, detail=problem.detail)

    def close(self) -> None:
        """Forget the reading; one that is under way ends at its next row. Idempotent."""
        self._reader.shutdown(wait=False, cancel_futures=True)
        with self._lock:
            self._closed = True
            if self._reading is not None:
                self._reading.keeper.close()
                self._reading = None

    def _current(self) -> _Reading:
        if self._reading is None:
            raise refuse("source", "the files have not been read")
        return self._reading

    def _begin(self) -> Future[None] | None:
        """The reading that a request has to wait for, if any."""
        if self._under_way is not None and not self._under_way.done():
            return self._under_way
        try:
            stamps = [file.stamp() for file in self._files]
        except Problem as problem:
            if self._reading is None:
                raise
            _log.warning("snapshot_kept", where=problem.where, detail=problem.detail)
            return None
        if stamps == self._seen and self._reading is not None:
            return None
        self._seen = stamps
        self._under_way = self._reader.submit(
            self._load, min(stamp[0][0] for stamp in stamps) / 1e9
        )
        return self._under_way

    def _load(self, written: float) -> None:
        """Make a new database and only then put it in the place of the old one.

        A memdb lives as long as one connection to it does: the keeper holds the current one, and
        whoever still reads the old one holds that until the pool drops the connection.
        """
        address = f"file:/saphan-{os.getpid()}-{next(_numbers)}?vfs=memdb"
        keeper = sqlite3.connect(address, uri=True, check_same_thread=False)
        try:
            for file in self._files:
                self._store(keeper, file)
            keeper.commit()
        except BaseException:
            keeper.close()
            raise
        with self._lock:
            new = _Reading(keeper, address, written)
            if self._closed:
                old: _Reading | None = new
            else:
                old, self._reading = self._reading, new
        if old is not None:
            old.keeper.close()

    def _store(self, connection: sqlite3.Connection, file: SnapshotFile) -> None:
        # Names passed statements.NAME; values are bound.
        table = file.table
        columns = ", ".join(f"{column.name} {_STORED_AS[column.kind]}" for column in table.columns)
        connection.execute(f"CREATE TABLE {table.name} ({columns})")
        places = ", ".join("?" for _ in table.columns)
        connection.executemany(
            f"INSERT INTO {table.name} VALUES ({places})",  # noqa: S608
            self._until_closed(file.rows()),
        )
        for column in table.columns:
            if column.index:
                name = f"{table.name}_{column.name}"
                connection.execute(f"CREATE INDEX {name} ON {table.name} ({column.name})")

            if column.sounds:
                self._store_sounds(connection, table.name, column.name)

    def _store_sounds(self, connection: sqlite3.Connection, table: str, column: str) -> None:
        name = f"{table}_{column}_sounds"
        connection.execute(f"CREATE TABLE {name} (sound TEXT, row_no INTEGER)")
        names = connection.execute(
            f"SELECT rowid, {column} FROM {table} WHERE {column} IS NOT NULL"  # noqa: S608
        )
        found = ((sound, row_no) for row_no, text in names for sound in keys(text))
        connection.executemany(
            f"INSERT INTO {name} VALUES (?, ?)",  # noqa: S608
            self._until_closed(found),
        )
        connection.execute(f"CREATE INDEX {name}_sound ON {name} (sound)")

    def _until_closed(self, read: Iterable[T]) -> Iterator[T]:
        for row in read:
            if self._closed:
                raise refuse("source", "the adapter is closed")
            yield row


def age(mark: Mark) -> tuple[float, str]:
    """Seconds since the oldest file of a reading was written, and that time as a date."""
    written = mark[1]
    return max(0.0, time.time() - written), formatdate(written, usegmt=True)


def stamp_of(table: FileTable, path: Path) -> Stamp:
    """What changes when the file of ``table`` does; raises ``SourceFailed``."""
    try:
        found = [path.stat()]
    except OSError as error:
        raise refuse(path.name, f"cannot be read: {error.strerror}") from error
    if table.format is FileFormat.DBASE:
        memos = (path.with_suffix(suffix) for suffix in MEMO_SUFFIXES)
        found += [memo.stat() for memo in memos if memo.exists()]
    return tuple((state.st_mtime_ns, state.st_size, state.st_ino) for state in found)


def read_table(
    table: FileTable, path: Path, told: Callable[[Problem | int], None] | None = None
) -> Iterator[tuple[Cell, ...]]:
    """The rows of a file; for ``told`` see :func:`adapters.sources.sheets.rows`.

    Raises:
        Problem: ``SourceFailed`` with file, row and column.
    """
    check_size(path)
    sheet = READERS[table.format](table, path)
    return rows(sheet, table.columns, path.name, table.ends_at, told)


READERS: dict[FileFormat, Callable[[FileTable, Path], Sheet]] = {
    FileFormat.CSV: read_csv,
    FileFormat.WORKBOOK: read_workbook,
    FileFormat.DBASE: read_dbase,
    FileFormat.ACCESS: read_access,
}
