"""The search index: SQLite beside the log, derived from the entries and rebuilt from the bundles.

Rows go in by one statement for many rows: sqlite3 gives up and takes back the interpreter's lock
at every step, so a row at a time would wait for a busy event loop at each of them.

The index answers questions; it proves nothing. What it finds is shown from the log.
"""

from __future__ import annotations

import base64
import binascii
import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson

from exchange.problems import Code, Problem
from mediator.journal.tiles import TileFolder

FILE = "index.sqlite"
_VERSION = 1
_COLUMNS = (
    "idx", "at", "kind", "side", "id", "request_id", "trace", "client", "service", "peer",
    "method", "endpoint", "status", "problem", "agreement", "purpose",
)  # fmt: skip
_SCHEMA = f"""
CREATE TABLE IF NOT EXISTS entries (
  idx INTEGER PRIMARY KEY, at INTEGER NOT NULL, kind TEXT NOT NULL, side TEXT NOT NULL,
  id TEXT, request_id TEXT, trace TEXT, client TEXT, service TEXT, peer TEXT, method TEXT,
  endpoint TEXT, status INTEGER, problem TEXT, agreement TEXT, purpose TEXT
);
CREATE INDEX IF NOT EXISTS entries_at ON entries (at, idx);
CREATE INDEX IF NOT EXISTS entries_id ON entries (id) WHERE id IS NOT NULL;
CREATE INDEX IF NOT EXISTS entries_request_id ON entries (request_id)
  WHERE request_id IS NOT NULL;
PRAGMA user_version = {_VERSION};
"""
_CHUNKS = (256, 32, 4, 1)  # rows in a statement; few sizes, so that they stay prepared
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_CATCH_UP = 4096


def _insert(rows: int) -> str:
    row = f"({','.join('?' * len(_COLUMNS))})"
    return f"INSERT OR REPLACE INTO entries VALUES {','.join([row] * rows)}"  # noqa: S608


_INSERTS = {rows: _insert(rows) for rows in _CHUNKS}


def to_milliseconds(at: datetime) -> int:
    return (at - _EPOCH) // timedelta(milliseconds=1)


def _row(index: int, entry: bytes) -> list[Any]:
    document = orjson.loads(entry)
    get = document.get
    return [
        index, to_milliseconds(datetime.fromisoformat(document["at"])), document["kind"],
        document["side"], get("id"), get("request_id"), get("trace"), get("client"),
        get("service"), get("peer"), get("method"), get("endpoint"), get("status"),
        get("problem"), get("agreement"), get("purpose"),
    ]  # fmt: skip


class IndexWriter:
    """Adds entries to an index file; opened and used by one thread."""

    def __init__(self, path: Path | str) -> None:
        self.path = path
        self._connection: sqlite3.Connection | None = None
        self.size = 0

    def open(self) -> sqlite3.Connection:
        """Open the index; one that is damaged or of another version is made anew."""
        if self._connection is None:
            try:
                self._connection = self._connect()
            except sqlite3.DatabaseError:
                self._remove()
                self._connection = self._connect()
            (last,) = self._connection.execute("SELECT max(idx) FROM entries").fetchone()
            self.size = 0 if last is None else last + 1
        return self._connection

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self.path, check_same_thread=False, isolation_level=None)
        try:
            (version,) = connection.execute("PRAGMA user_version").fetchone()
            if version not in {0, _VERSION}:
                raise sqlite3.DatabaseError("another version")
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = OFF")  # derived: a broken one is made anew
            connection.executescript(_SCHEMA)
        except BaseException:
            connection.close()
            raise
        return connection

    def _remove(self) -> None:
        for suffix in ("", "-wal", "-shm"):
            Path(f"{self.path}{suffix}").unlink(missing_ok=True)

    def add(self, first: int, entries: Sequence[bytes]) -> None:
        """Add entries that follow what is there; does nothing when they do not follow.

        Raises:
            OSError: when the index cannot be written; the journal itself is not touched by that.
        """
        try:
            connection = self.open()
            if first != self.size:
                return
            connection.execute("BEGIN")
            try:
                self._add(connection, first, entries)
            except BaseException:
                connection.execute("ROLLBACK")
                raise
            connection.execute("COMMIT")
            self.size = first + len(entries)
        except sqlite3.DatabaseError as error:
            self.close()
            raise OSError(f"{self.path}: {error}") from error

    @staticmethod
    def _add(connection: sqlite3.Connection, first: int, entries: Sequence[bytes]) -> None:
        at = 0
        for chunk in _CHUNKS:
            while len(entries) - at >= chunk:
                values: list[Any] = []
                for place in range(at, at + chunk):
                    values += _row(first + place, entries[place])
                connection.execute(_INSERTS[chunk], values)
                at += chunk

    def catch_up(self, folder: TileFolder, size: int) -> None:
        """Add what is missing up to ``size`` from the entry bundles.

        Raises:
            OSError, Problem: as :meth:`add`, and when a bundle cannot be read.
        """
        self.open()
        while self.size < size:
            end = min(self.size + _CATCH_UP, size)
            self.add(self.size, [entry for _, entry in folder.entries(self.size, end, size)])

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


@dataclass(frozen=True, slots=True)
class Hit:
    """One entry that was found, as the index knows it."""

    origin: str
    index: int
    at: datetime
    kind: str
    side: str
    id: str | None
    request_id: str | None
    trace: str | None
    client: str | None
    service: str | None
    peer: str | None
    method: str | None
    endpoint: str | None
    status: int | None
    problem: str | None
    agreement: str | None
    purpose: str | None

    @property
    def order(self) -> tuple[int, str, int]:
        """The place in the order of all journals: time, origin, index."""
        return to_milliseconds(self.at), self.origin, self.index


@dataclass(frozen=True, slots=True)
class Cursor:
    """Where a page ended; the next begins with what is older."""

    at: int
    origin: str
    index: int

    def __str__(self) -> str:
        data = orjson.dumps([self.at, self.origin, self.index])
        return base64.urlsafe_b64encode(data).decode().rstrip("=")

    @classmethod
    def parse(cls, text: str) -> Cursor:
        """Parse a cursor.

        Raises:
            Problem: ``InvalidRequest`` when no page ended there.
        """
        try:
            at, origin, index = orjson.loads(
                base64.urlsafe_b64decode(text[:4096] + "=" * (-len(text) % 4))
            )
            cursor = cls(at, origin, index)
            if (type(at), type(origin), type(index)) != (int, str, int) or str(cursor) != text:
                raise ValueError("spelling")
        except (ValueError, TypeError, binascii.Error) as error:
            raise Problem(
                Code.INVALID_REQUEST, where="cursor", detail="not a cursor of a search"
            ) from error
        return cursor


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """What to look for; every member that is given must hold."""

    since: datetime | None = None
    until: datetime | None = None
    client: str | None = None
    service: str | None = None
    member: str | None = None
    endpoint: str | None = None
    kind: str | None = None
    outcome: str | None = None
    status: int | None = None
    problem: str | None = None
    id: str | None = None
    request_id: str | None = None
    agreement: str | None = None
    purpose: str | None = None


OUTCOMES = {
    "ok": "kind IN ('request', 'response') AND problem IS NULL AND coalesce(status, 200) < 400",
    "refused": "kind = 'refusal'",
    "failed": "(kind = 'failure' OR (kind = 'response' AND status >= 400))",
}


def _conditions(query: Query) -> tuple[list[str], list[Any]]:
    conditions: list[str] = []
    values: list[Any] = []
    for name in (
        "client", "service", "endpoint", "kind", "status", "problem", "id", "request_id",
        "agreement", "purpose",
    ):  # fmt: skip
        value = getattr(query, name)
        if value is not None:
            conditions.append(f"{name} = ?")
            values.append(value)
    if query.since is not None:
        conditions.append("at >= ?")
        values.append(to_milliseconds(query.since))
    if query.until is not None:
        conditions.append("at < ?")
        values.append(to_milliseconds(query.until))
    if query.outcome is not None:
        conditions.append(OUTCOMES[query.outcome])
    if query.member is not None:
        between = "(client >= ? AND client < ?) OR (service >= ? AND service < ?)"
        conditions.append(f"({between})")
        values += [f"{query.member}/", f"{query.member}0"] * 2  # "0" follows "/" in ASCII
    return conditions, values


class IndexReader:
    """Answers queries over one journal's index."""

    def __init__(self, connection: sqlite3.Connection, origin: str) -> None:
        self._connection = connection
        self.origin = origin

    @classmethod
    def open(cls, path: Path, origin: str) -> IndexReader:
        """Open an index for reading only.

        Raises:
            OSError: when there is none, or it is damaged or of another version.
        """
        try:
            connection = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)
            (version,) = connection.execute("PRAGMA user_version").fetchone()
        except sqlite3.DatabaseError as error:
            raise OSError(f"{path}: {error}") from error
        if version != _VERSION:
            connection.close()
            raise OSError(f"{path}: version {version}")
        return cls(connection, origin)

    @property
    def size(self) -> int:
        """How many entries the index knows."""
        (last,) = self._connection.execute("SELECT max(idx) FROM entries").fetchone()
        return 0 if last is None else int(last) + 1

    def search(self, query: Query, limit: int, cursor: Cursor | None = None) -> list[Hit]:
        """The newest entries that fit, newest first, at most ``limit``, from ``cursor`` on.

        Raises:
            OSError: when the index is damaged.
        """
        conditions, values = _conditions(query)
        if cursor is not None:
            if self.origin < cursor.origin:
                conditions.append("at <= ?")
                values.append(cursor.at)
            elif self.origin > cursor.origin:
                conditions.append("at < ?")
                values.append(cursor.at)
            else:
                conditions.append("(at, idx) < (?, ?)")
                values += [cursor.at, cursor.index]
        where = f"WHERE {' AND '.join(conditions)}" if conditions else ""
        sql = (
            f"SELECT {', '.join(_COLUMNS)} FROM entries {where}"  # noqa: S608
            " ORDER BY at DESC, idx DESC LIMIT ?"
        )
        try:
            rows = self._connection.execute(sql, [*values, limit]).fetchall()
        except sqlite3.DatabaseError as error:
            raise OSError(f"the search index: {error}") from error
        return [
            Hit(self.origin, row[0], _EPOCH + timedelta(milliseconds=row[1]), *row[2:])
            for row in rows
        ]

    def close(self) -> None:
        self._connection.close()


@dataclass(frozen=True, slots=True)
class Page:
    """Hits of several journals, newest first, and where to go on."""

    hits: list[Hit]
    next: Cursor | None


def search(
    readers: Iterable[IndexReader], query: Query, limit: int, cursor: Cursor | None = None
) -> Page:
    """Search several journals as if they were one.

    Raises:
        OSError: when an index is damaged.
    """
    found = [hit for reader in readers for hit in reader.search(query, limit + 1, cursor)]
    found.sort(key=lambda hit: hit.order, reverse=True)
    hits = found[:limit]
    if len(found) <= limit or not hits:
        return Page(hits, None)
    return Page(hits, Cursor(*hits[-1].order))
