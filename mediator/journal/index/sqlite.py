"""The search index in a SQLite file beside the log.

Rows go in by one statement for many rows: sqlite3 gives up and takes back the interpreter's lock
at every step, so a row at a time would wait for a busy event loop at each of them.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path
from time import monotonic
from typing import Any

from mediator.journal.index.store import Away, Damaged, GaveUp, Row, StoreError
from mediator.journal.index.tables import ENTRY, SHAPE, SQLITE, VERSION, Batch, schema
from serving.sqlite_files import open_read_only
from serving.transactions import transaction

FILE = "index.sqlite"
_STEPS = 1000
"""Of SQLite's machine, after which a search looks at the time."""
_WAL_PAGES = 4000
_BUSY_S = 1.0
_AWAY = frozenset(
    {
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_READONLY,
        sqlite3.SQLITE_CANTOPEN,
    }
)
# Rows in a statement; few sizes, so that they stay prepared.
_ENTRY_CHUNKS = (1024, 256, 32, 4, 1)
_KEY_CHUNKS = (2048, 256, 16, 1)
_UPSERT_PART = """
INSERT INTO parts VALUES (?, ?, ?) ON CONFLICT (part) DO UPDATE
SET earliest = min(earliest, excluded.earliest), latest = max(latest, excluded.latest)
"""


def _insert(table: str, columns: int, rows: int) -> str:
    row = f"({','.join('?' * columns)})"
    return f"INSERT INTO {table} VALUES {','.join([row] * rows)}"  # noqa: S608


_INSERT_ENTRIES = {rows: _insert("entries", len(ENTRY), rows) for rows in _ENTRY_CHUNKS}
# An entry's id may have the checksum of its request id.
_INSERT_KEYS = {
    rows: _insert("keys", 1, rows).replace("INSERT", "INSERT OR IGNORE", 1) for rows in _KEY_CHUNKS
}
_INSERT_SHAPE = _insert("shapes", len(SHAPE) + 2, 1)


class SqliteStore:
    """Implements :class:`mediator.journal.index.store.Store`."""

    def __init__(self, connection: sqlite3.Connection, name: str) -> None:
        self.name = name
        self._connection = connection
        self._gave_up = False

    def execute(self, sql: str, values: Sequence[Any] = ()) -> list[Row]:
        """See :class:`~mediator.journal.index.store.Store`."""
        with self._failures():
            return self._connection.execute(sql, values).fetchall()

    def load(self, batch: Batch) -> None:
        """See :class:`~mediator.journal.index.store.Store`."""
        connection = self._connection
        with self._failures(), transaction(connection):
            (last,) = connection.execute("SELECT max(idx) FROM entries").fetchone()
            if last is not None and last >= batch.first:
                raise Away("another process added to it")
            connection.executemany(_INSERT_SHAPE, batch.shapes)
            _insert_all(connection, _INSERT_ENTRIES, batch.entries, len(ENTRY))
            _insert_all(connection, _INSERT_KEYS, batch.keys, 1)
            connection.executemany(
                _UPSERT_PART, [(part, *times) for part, times in batch.parts.items()]
            )

    def give_up_after(self, seconds: float) -> None:
        """See :class:`~mediator.journal.index.store.Store`."""
        until = monotonic() + seconds

        def is_over() -> bool:
            self._gave_up = monotonic() >= until
            return self._gave_up

        self._connection.set_progress_handler(is_over, _STEPS)

    def close(self) -> None:
        """See :class:`~mediator.journal.index.store.Store`."""
        self._connection.close()

    @contextlib.contextmanager
    def _failures(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.DatabaseError, OverflowError) as error:
            if self._gave_up:
                raise GaveUp(str(error)) from error
            raise _failure(error) from error


class SqlitePlace:
    """Implements :class:`mediator.journal.index.store.Place`: a file, or ``:memory:``."""

    def __init__(self, path: Path | str) -> None:
        self.name = str(path)

    def connect(self) -> SqliteStore:
        """See :class:`~mediator.journal.index.store.Place`."""
        connection = None
        try:
            connection = sqlite3.connect(
                self.name, _BUSY_S, check_same_thread=False, isolation_level=None
            )
            (version,) = connection.execute("PRAGMA user_version").fetchone()
            if version not in {0, VERSION}:
                raise Damaged(f"version {version}")
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = OFF")  # derived: a broken one is made anew
            connection.execute("PRAGMA cache_size = -8192")
            connection.execute(f"PRAGMA wal_autocheckpoint = {_WAL_PAGES}")
            for statement in schema(SQLITE):
                connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {VERSION}")
        except BaseException as error:
            if connection is not None:
                connection.close()
            if isinstance(error, sqlite3.DatabaseError):
                raise _failure(error) from error
            raise
        return SqliteStore(connection, self.name)

    def remove(self) -> None:
        """See :class:`~mediator.journal.index.store.Place`."""
        if self.name == ":memory:":
            return
        try:
            for suffix in ("", "-wal", "-shm"):
                Path(f"{self.name}{suffix}").unlink(missing_ok=True)
        except OSError as error:
            raise Away(str(error)) from error


def open_file(path: Path) -> SqliteStore:
    """Open an index for reading only; what is added to it meanwhile is not seen.

    Raises:
        StoreError: when there is none, or it is damaged or of another version.
    """
    connection = None
    try:
        connection = open_read_only(path)
        connection.execute("BEGIN")
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if version != VERSION:
            raise Damaged(f"version {version}")
    except BaseException as error:
        if connection is not None:
            connection.close()
        if isinstance(error, sqlite3.DatabaseError):
            raise _failure(error) from error
        raise
    return SqliteStore(connection, path.name)


def _failure(error: Exception) -> StoreError:
    """A file that others hold, or a disk that fails, is no damaged index."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    return Away(str(error)) if code in _AWAY else Damaged(str(error))


def _insert_all(
    connection: sqlite3.Connection, statements: dict[int, str], values: list[Any], columns: int
) -> None:
    at, rows = 0, len(values) // columns
    for chunk, statement in statements.items():
        while rows - at >= chunk:
            part = values[at * columns : (at + chunk) * columns]
            connection.execute(statement, part)
            at += chunk
