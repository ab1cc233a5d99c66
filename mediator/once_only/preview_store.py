"""Where previews lie: a table beside the exactly-once book, in its SQLite or PostgreSQL database.

A row is found by an HMAC, and what it holds is encrypted (:class:`mediator.once.vault.Vault`); its
time and size alone are in clear. Blocking; each method is one statement or transaction, so that
servers that share the database and a crash at any point leave whole rows.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple, Protocol

from serving.sqlite_files import open_book

FILE: Final = "previews.sqlite"
_TABLE: Final = """
CREATE TABLE IF NOT EXISTS saphan_previews (
    key {bytes} PRIMARY KEY,
    asker {bytes} NOT NULL,
    until {real} NOT NULL,
    size integer NOT NULL,
    shown {bytes} NOT NULL,
    decision {bytes},
    recorded integer NOT NULL DEFAULT 0
)
"""
_TOTALS: Final = """
SELECT count(*), coalesce(sum(size), 0), coalesce(sum(CASE WHEN asker = ? THEN 1 ELSE 0 END), 0)
FROM saphan_previews WHERE until > ?
"""
_PUT: Final = "INSERT INTO saphan_previews (key, asker, until, size, shown) VALUES (?, ?, ?, ?, ?)"
_FIND: Final = """
SELECT until, shown, decision, recorded FROM saphan_previews WHERE key = ? AND until > ?
"""
_DECIDE: Final = "UPDATE saphan_previews SET decision = ? WHERE key = ? AND decision IS NULL"
_RECORDED: Final = "UPDATE saphan_previews SET recorded = 1 WHERE key = ?"
_FORGET: Final = "DELETE FROM saphan_previews WHERE until <= ?"


class StoreFailed(Exception):
    """The database did not do what it was asked."""


class Row(NamedTuple):
    """A preview as it lies there; ``shown`` and ``decision`` are encrypted."""

    until: float
    shown: bytes
    decision: bytes | None
    recorded: bool


class Totals(NamedTuple):
    """How many there are, of how many bytes, and how many of them are of one application."""

    kept: int
    size: int
    of_asker: int


class Connection(Protocol):
    """What :mod:`sqlite3` and psycopg have in common."""

    def execute(self, query: Any, params: Any = ..., /) -> Any: ...

    def close(self) -> None: ...


class PreviewStore:
    """Connects when it is first asked, and anew after a failure; one statement at a time."""

    def __init__(self, connect: Callable[[], Connection], types: dict[str, str], mark: str) -> None:
        self._connect = connect
        self._types = types
        self._mark = mark
        self._lock = threading.Lock()
        self._connection: Connection | None = None
        self._closed = False

    @classmethod
    def sqlite(cls, path: Path) -> PreviewStore:
        """That of one server, in its own folder."""
        return cls(lambda: open_book(path), {"bytes": "BLOB", "real": "REAL"}, "?")

    @classmethod
    def postgresql(cls, url: str, server: str) -> PreviewStore:
        """That of servers of a member which share a database."""
        # Imported where it is wanted: it takes 0.2 s and 10 MB of every start.
        from mediator.once.postgresql import connected

        types = {"bytes": "bytea", "real": "double precision"}
        return cls(lambda: connected(url, server), types, "%s")

    def totals(self, asker: bytes, now: float) -> Totals:
        """What is kept at this time."""
        return Totals(*self._ask(_TOTALS, asker, now).fetchone())

    def put(self, key: bytes, asker: bytes, until: float, shown: bytes) -> None:
        """Keep one; durable when this returns."""
        self._ask(_PUT, key, asker, until, len(shown), shown)

    def find(self, key: bytes, now: float) -> Row | None:
        """The one of this key, until its time is over."""
        row = self._ask(_FIND, key, now).fetchone()
        if row is None:
            return None
        until, shown, decision, recorded = row
        decided = None if decision is None else bytes(decision)
        return Row(until, bytes(shown), decided, bool(recorded))

    def decide(self, key: bytes, decision: bytes) -> None:
        """Note what was decided, unless something was; durable when this returns."""
        self._ask(_DECIDE, decision, key)

    def recorded(self, key: bytes) -> None:
        """Note that the decision stands in a journal."""
        self._ask(_RECORDED, key)

    def forget(self, now: float) -> None:
        """Delete those whose time is over."""
        self._ask(_FORGET, now)

    def close(self) -> None:
        """Disconnect, for good; idempotent."""
        with self._lock:
            self._closed = True
            self._drop()

    def _ask(self, statement: str, *values: object) -> Any:
        with self._lock, self._failures():
            if self._closed:
                raise StoreFailed("it is closed")
            if self._connection is None:
                connection = self._connection = self._connect()
                connection.execute(_TABLE.format(**self._types))
            return self._connection.execute(statement.replace("?", self._mark), values)

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(Exception):
                connection.close()

    @contextlib.contextmanager
    def _failures(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:  # of either driver; the next statement connects anew
            self._drop()
            raise StoreFailed(str(error)) from error
