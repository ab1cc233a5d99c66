"""The last checkpoint that was signed: a compare-and-swap store of one row.

It is kept apart from ``log/``, so that a log that was set back to an old copy, or that a second
process runs, is noticed before anything is signed: this store is what must be trusted, the rest
of the journal need not be. It also keeps the checkpoint before the last, since a crash may fall
between the swap and the publication of ``log/checkpoint``.
"""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from exchange.problems import Code, Problem
from serving.sqlite_files import open_evidence

FILE = "last-checkpoint.sqlite"


@dataclass(frozen=True, slots=True)
class LastSigned:
    """The last signed checkpoint and the one before it, as signed notes."""

    current: bytes
    previous: bytes | None


class SignedStore(Protocol):
    """Where the last signed checkpoint is kept."""

    def read(self) -> LastSigned | None:
        """What was swapped in last; None before the first."""
        ...

    def swap(self, old: bytes | None, new: bytes) -> None:
        """Replace ``old`` by ``new``, durably and atomically.

        Raises:
            Problem: ``JournalForked`` when the store does not hold ``old``.
            OSError: when the store failed; it may or may not have swapped.
        """
        ...

    def close(self) -> None:
        """Close the store."""
        ...


class SqliteSignedStore:
    """The store as an SQLite file with full durability."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._connection = open_evidence(path)
            self._connection.execute(
                "CREATE TABLE IF NOT EXISTS signed (one INTEGER PRIMARY KEY CHECK (one = 1),"
                " current BLOB NOT NULL, previous BLOB) STRICT"
            )
        except sqlite3.DatabaseError as error:
            raise Problem(
                Code.JOURNAL_CORRUPT,
                where=path.name,
                detail=f"the store of the last signed checkpoint cannot be read: {error}",
            ) from error

    def read(self) -> LastSigned | None:
        try:
            row = self._connection.execute("SELECT current, previous FROM signed").fetchone()
        except sqlite3.DatabaseError as error:
            raise OSError(f"{self.path.name}: {error}") from error
        return None if row is None else LastSigned(row[0], row[1])

    def swap(self, old: bytes | None, new: bytes) -> None:
        try:
            if old is None:
                done = self._connection.execute(
                    "INSERT INTO signed VALUES (1, ?, NULL) ON CONFLICT DO NOTHING", (new,)
                )
            else:
                done = self._connection.execute(
                    "UPDATE signed SET previous = current, current = ? WHERE current = ?",
                    (new, old),
                )
        except sqlite3.DatabaseError as error:
            raise OSError(f"{self.path.name}: {error}") from error
        if done.rowcount != 1:
            raise Problem(
                Code.JOURNAL_FORKED,
                where=self.path.name,
                detail="another checkpoint was signed meanwhile: is a second process running?",
            )

    def close(self) -> None:
        self._connection.close()
