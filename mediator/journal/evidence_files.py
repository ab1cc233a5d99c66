"""Files of evidence beside a log: SQLite stores that are read offline, and written by one server.

Invariants:
- what was added is durable when the call returns;
- it is one file at rest (a rollback journal, not a write-ahead log), so that a copy on a medium
  that cannot be written is read like the original;
- a store is never used on the message path: every call may block on the disk.
"""

from __future__ import annotations

import contextlib
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar, Self

from exchange.problems import Code, Problem
from serving.sqlite_files import open_evidence, open_read_only
from serving.transactions import transaction

READ_BUSY_S = 5.0


class EvidenceFile:
    """A file of evidence, read only or (:meth:`create`) to be written. For several threads.

    A kind of file says its name, its tables and a statement that only such a file answers.
    """

    NAME: ClassVar[str]
    TABLES: ClassVar[str]
    PROBE: ClassVar[str]
    WRITE_BUSY_S: ClassVar[float] = 5.0
    """For so long a write waits for somebody who reads."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._lock = threading.Lock()

    @classmethod
    def open(cls, journal: Path) -> Self:
        """The file beside a journal, read only; an empty one when the journal or copy has none.

        Raises:
            Problem: ``JournalCorrupt`` when the file is no such store.
        """
        path = journal / cls.NAME
        if not path.exists():
            connection = sqlite3.connect(":memory:", check_same_thread=False, isolation_level=None)
            connection.executescript(cls.TABLES)
            return cls(connection)
        with cls._readable():
            connection = open_read_only(path, busy_s=READ_BUSY_S, check_same_thread=False)
            try:
                connection.execute(cls.PROBE).fetchone()
            except BaseException:
                connection.close()
                raise
        return cls(connection)

    @classmethod
    def create(cls, journal: Path) -> Self:
        """Open the file beside a journal to write, or begin it.

        Raises:
            Problem: ``JournalCorrupt`` when the file is no such store.
        """
        with cls._readable():
            connection = open_evidence(journal / cls.NAME, busy_s=cls.WRITE_BUSY_S)
            connection.execute("PRAGMA foreign_keys = ON")
            connection.executescript(cls.TABLES)
        return cls(connection)

    def close(self) -> None:
        with self._lock:
            self._connection.close()

    def _rows(self, statement: str, *arguments: Any) -> list[Any]:
        with self._lock, self._readable():
            return self._connection.execute(statement, arguments).fetchall()

    @contextlib.contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        """One transaction.

        Raises:
            OSError: the disk failed or somebody reads for too long; all of it is there, or nothing.
        """
        with self._lock:
            try:
                with transaction(self._connection) as connection:
                    yield connection
            except sqlite3.DatabaseError as error:
                raise OSError(f"{self.NAME}: {error}") from error

    @classmethod
    @contextlib.contextmanager
    def _readable(cls) -> Iterator[None]:
        try:
            yield
        except sqlite3.DatabaseError as error:
            raise Problem(
                Code.JOURNAL_CORRUPT, where=cls.NAME, detail=f"it cannot be read: {error}"
            ) from error
