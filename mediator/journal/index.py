"""The search index: SQLite beside the log, derived from the entries and rebuilt from the bundles.

Rows go in by one statement for many rows: sqlite3 gives up and takes back the interpreter's lock
at every step, so a row at a time would wait for a busy event loop at each of them. Texts that
repeat are numbers in the rows (table ``words``). Identifiers that never repeat are found by a
checksum within parts of 32,768 entries, so that inserting stays local however large the log is;
a look-up makes one probe a part. Part, checksum and place in the part are one number, and a
transaction inserts its numbers sorted: the larger it is, the fewer pages each entry costs.

The index answers questions; it proves nothing. What it finds is shown from the log.
"""

from __future__ import annotations

import base64
import binascii
import sqlite3
import zlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from pathlib import Path
from time import monotonic
from typing import Any

import orjson

from exchange import merkle
from exchange.problems import Code, Problem
from mediator.journal.tiles import TileFolder

FILE = "index.sqlite"
_VERSION = 2
_STEPS = 1000
"""Of SQLite's machine, after which a search looks at the time."""
_PART_BITS = 15  # also in _KEY
_PLACE_MASK = (1 << _PART_BITS) - 1
_PART_SHIFT = 32  # what lifts an index without its place behind a CRC-32 and a place
_WAL_PAGES = 4000
_WORDS = (
    "kind", "side", "client", "service", "peer", "method", "endpoint", "problem", "agreement",
    "purpose",
)  # fmt: skip
_KEYS = ("id", "request_id", "trace")
_COLUMNS = ("idx", "at", "status", *_KEYS, *_WORDS)
_SCHEMA = f"""
CREATE TABLE IF NOT EXISTS words (number INTEGER PRIMARY KEY, text TEXT NOT NULL UNIQUE);
CREATE TABLE IF NOT EXISTS entries (
  idx INTEGER PRIMARY KEY, at INTEGER NOT NULL, status INTEGER,
  id TEXT, request_id TEXT, trace TEXT, {", ".join(f"{name} INTEGER" for name in _WORDS)}
);
CREATE INDEX IF NOT EXISTS entries_at ON entries (at);
CREATE TABLE IF NOT EXISTS keys (key INTEGER PRIMARY KEY);
PRAGMA user_version = {_VERSION};
"""
# Rows in a statement; few sizes, so that they stay prepared.
_ENTRY_CHUNKS = (256, 32, 4, 1)
_KEY_CHUNKS = (2048, 256, 16, 1)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_CATCH_UP = 4096
_MOST = 2**63 - 1  # that SQLite holds


def _insert(table: str, columns: int, rows: int) -> str:
    row = f"({','.join('?' * columns)})"
    return f"INSERT OR REPLACE INTO {table} VALUES {','.join([row] * rows)}"  # noqa: S608


_INSERT_ENTRIES = {rows: _insert("entries", len(_COLUMNS), rows) for rows in _ENTRY_CHUNKS}
_INSERT_KEYS = {rows: _insert("keys", 1, rows) for rows in _KEY_CHUNKS}


def to_milliseconds(at: datetime) -> int:
    return (at - _EPOCH) // timedelta(milliseconds=1)


def _checksum(text: str) -> int:
    """The part of a key that depends on the text."""
    return zlib.crc32(text.encode()) << _PART_BITS


class _Words(dict[str | None, int | None]):
    """The numbers of texts; a new text gets one when it is asked for."""

    connection: sqlite3.Connection

    def __missing__(self, text: str) -> int:
        cursor = self.connection.execute("INSERT INTO words (text) VALUES (?)", (text,))
        number = cursor.lastrowid
        assert number is not None  # noqa: S101  # an insert has a row id
        self[text] = number
        return number


class IndexWriter:
    """Adds entries to an index file; used by one thread at a time."""

    def __init__(self, path: Path | str, start: int = 0) -> None:
        self.path = path
        self.size = start
        self._start = start  # of an empty index: one that holds the rest of another
        self._connection: sqlite3.Connection | None = None
        self._words = _Words()

    def open(self) -> sqlite3.Connection:
        """Open the index; one that is damaged or of another version is made anew."""
        if self._connection is None:
            try:
                self._connection = self._connect()
            except sqlite3.DatabaseError:
                self._remove()
                self._connection = self._connect()
        return self._connection

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self.path, check_same_thread=False, isolation_level=None)
        try:
            (version,) = connection.execute("PRAGMA user_version").fetchone()
            if version not in {0, _VERSION}:
                raise sqlite3.DatabaseError("another version")
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = OFF")  # derived: a broken one is made anew
            connection.execute("PRAGMA cache_size = -8192")
            connection.execute(f"PRAGMA wal_autocheckpoint = {_WAL_PAGES}")
            connection.executescript(_SCHEMA)
            self._words = _Words(connection.execute("SELECT text, number FROM words"))
            self._words[None] = None
            (last,) = connection.execute("SELECT max(idx) FROM entries").fetchone()
            self.size = self._start if last is None else last + 1
        except BaseException:
            connection.close()
            raise
        return connection

    def _remove(self) -> None:
        for suffix in ("", "-wal", "-shm"):
            Path(f"{self.path}{suffix}").unlink(missing_ok=True)

    def add(self, first: int, entries: Sequence[bytes]) -> None:
        """Add entries that follow what is there; does nothing when they do not follow.

        An index that has entries of these numbers already is of another log, or of this one before
        it was set back: it is begun anew.

        Raises:
            OSError: when the index cannot be written; the journal itself is not touched by that.
        """
        try:
            connection = self.open()
            if entries and first < self.size:
                self.close()
                self._remove()
                connection = self.open()
            if first != self.size:
                return
            connection.execute("BEGIN")
            rows, keys = self._rows(connection, first, entries)
            _insert_all(connection, _INSERT_ENTRIES, rows, len(_COLUMNS))
            keys.sort()
            _insert_all(connection, _INSERT_KEYS, keys, 1)
            connection.execute("COMMIT")
            self.size = first + len(entries)
        except sqlite3.DatabaseError as error:
            self.close()  # which rolls back
            raise OSError(f"{self.path}: {error}") from error

    def _rows(
        self, connection: sqlite3.Connection, first: int, entries: Sequence[bytes]
    ) -> tuple[list[Any], list[int]]:
        """The values of both tables, row behind row."""
        rows: list[Any] = []
        keys: list[int] = []
        words = self._words
        words.connection = connection
        loads, crc32 = orjson.loads, zlib.crc32
        second, second_ms = "", 0
        for index, entry in enumerate(entries, first):
            document = loads(entry)
            get, at = document.get, document["at"]
            if not at.startswith(second) or not second:
                second = at[:19]
                second_ms = to_milliseconds(datetime.fromisoformat(f"{second}Z"))
            message_id, request_id, trace = get("id"), get("request_id"), get("trace")
            rows += (
                index, second_ms + int(at[20:23]), get("status"), message_id, request_id, trace,
                words[document["kind"]], words[document["side"]], words[get("client")],
                words[get("service")], words[get("peer")], words[get("method")],
                words[get("endpoint")], words[get("problem")], words[get("agreement")],
                words[get("purpose")],
            )  # fmt: skip
            place = index & _PLACE_MASK
            part = index - place << _PART_SHIFT | place
            if message_id is not None:
                keys.append(crc32(message_id.encode()) << _PART_BITS | part)
            if request_id is not None:
                keys.append(crc32(request_id.encode()) << _PART_BITS | part)
            if trace is not None:
                keys.append(crc32(trace.encode()) << _PART_BITS | part)
        return rows, keys

    def catch_up(
        self,
        folder: TileFolder,
        size: int,
        progress: Callable[[str, int, int], None] = lambda what, done, total: None,
    ) -> None:
        """Add what is missing up to ``size`` from the entry bundles.

        Raises:
            OSError, Problem: as :meth:`add`, and when a bundle cannot be read.
        """
        self.open()
        while self.size < size:
            end = min(self.size + _CATCH_UP, size)
            self.add(self.size, [entry for _, entry in folder.entries(self.size, end, size)])
            progress("search index", end, size)

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def _insert_all(
    connection: sqlite3.Connection, statements: dict[int, str], values: list[Any], columns: int
) -> None:
    at, rows = 0, len(values) // columns
    for chunk, statement in statements.items():
        while rows - at >= chunk:
            part = values[at * columns : (at + chunk) * columns]
            connection.execute(statement, part)
            at += chunk


@dataclass(frozen=True, slots=True)
class Hit:
    """One entry that was found, as the index knows it."""

    origin: str
    index: int
    at: datetime
    status: int | None
    id: str | None
    request_id: str | None
    trace: str | None
    kind: str
    side: str
    client: str | None
    service: str | None
    peer: str | None
    method: str | None
    endpoint: str | None
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
            if not -_MOST <= at <= _MOST or not 0 <= index <= _MOST:
                raise ValueError("beyond what an index can hold")
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
    trace: str | None = None
    agreement: str | None = None
    purpose: str | None = None


_WORD = "(SELECT number FROM words WHERE text = ?)"
_OUTCOMES: dict[str, tuple[str, list[str]]] = {
    "ok": (
        f"kind IN ({_WORD}, {_WORD}) AND problem IS NULL AND coalesce(status, 200) < 400",
        ["request", "response"],
    ),
    "refused": (f"kind = {_WORD}", ["refusal"]),
    "failed": (f"(kind = {_WORD} OR (kind = {_WORD} AND status >= 400))", ["failure", "response"]),
}
OUTCOMES = tuple(_OUTCOMES)
_KEY = """idx IN (
  WITH RECURSIVE parts(part) AS (
    SELECT 0 UNION ALL SELECT part + 1 FROM parts
    WHERE part < (SELECT max(idx) >> 15 FROM entries)
  )
  SELECT (parts.part << 15) + (k.key & 32767) FROM parts CROSS JOIN keys k
    ON k.key BETWEEN (parts.part << 47) + ? AND (parts.part << 47) + ? + 32767
)"""


def _conditions(query: Query) -> tuple[list[str], list[Any]]:
    conditions: list[str] = []
    values: list[Any] = []
    for name in _KEYS:
        value = getattr(query, name)
        if value is not None:
            conditions += [_KEY, f"{name} = ?"]
            values += [_checksum(value), _checksum(value), value]
    for name in ("client", "service", "endpoint", "kind", "problem", "agreement", "purpose"):
        value = getattr(query, name)
        if value is not None:
            conditions.append(f"{name} = {_WORD}")
            values.append(value)
    if query.status is not None:
        conditions.append("status = ?")
        values.append(query.status)
    if query.since is not None:
        conditions.append("at >= ?")
        values.append(to_milliseconds(query.since))
    if query.until is not None:
        conditions.append("at < ?")
        values.append(to_milliseconds(query.until))
    if query.outcome is not None:
        condition, words = _OUTCOMES[query.outcome]
        conditions.append(condition)
        values += words
    if query.member is not None:
        # "0" follows "/" in ASCII: everything that begins with the member and a slash
        of_member = "(SELECT number FROM words WHERE text > ? AND text < ?)"
        conditions.append(f"(client IN {of_member} OR service IN {of_member})")
        values += [f"{query.member}/", f"{query.member}0"] * 2
    return conditions, values


class IndexReader:
    """Answers queries over one journal's index, and over what it does not have yet (``rest``)."""

    def __init__(
        self, connection: sqlite3.Connection, origin: str, published: int = merkle.MAX_SIZE
    ) -> None:
        self._connection = connection
        self._published = published
        self.origin = origin
        self.rest: IndexReader | None = None
        self._gave_up = False

    @classmethod
    def open(cls, path: Path, origin: str, published: int = merkle.MAX_SIZE) -> IndexReader:
        """Open an index for reading only; what is added to it meanwhile is not seen.

        Args:
            path: the file.
            origin: of the log.
            published: entries from this index on are left out: the checkpoint does not have them.

        Raises:
            OSError: when there is none, or it is damaged or of another version.
        """
        try:
            connection = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)
            connection.execute("BEGIN")
            (version,) = connection.execute("PRAGMA user_version").fetchone()
        except sqlite3.DatabaseError as error:
            raise OSError(f"{path}: {error}") from error
        if version != _VERSION:
            connection.close()
            raise OSError(f"{path}: version {version}")
        return cls(connection, origin, published)

    def give_up_after(self, seconds: float) -> None:
        """Let no search take longer: what is asked for may need a look at every entry."""
        until = monotonic() + seconds

        def is_over() -> bool:
            self._gave_up = monotonic() >= until
            return self._gave_up

        self._connection.set_progress_handler(is_over, _STEPS)

    @property
    def size(self) -> int:
        """How many entries are known."""
        if self.rest is not None:
            return self.rest.size
        (last,) = self._connection.execute("SELECT max(idx) FROM entries").fetchone()
        return 0 if last is None else int(last) + 1

    def holds(self, index: int, entry: bytes) -> bool:
        """Whether this entry is known under this index: not so in an index of another log.

        Raises:
            sqlite3.DatabaseError: when the index is damaged.
        """
        document = orjson.loads(entry)
        sql = "SELECT at, id, request_id, trace FROM entries WHERE idx = ?"
        row = self._connection.execute(sql, (index,)).fetchone()
        at = to_milliseconds(datetime.fromisoformat(document["at"]))
        return bool(row == (at, *(document.get(name) for name in _KEYS)))

    def search(self, query: Query, limit: int, cursor: Cursor | None = None) -> list[Hit]:
        """The newest entries that fit, newest first, at most ``limit``, from ``cursor`` on.

        Raises:
            Problem: ``JournalCorrupt`` when the index is damaged; ``ServerOverloaded`` when it
                takes too long (:meth:`give_up_after`).
        """
        conditions, values = _conditions(query)
        conditions.append("+idx < ?")  # the plus: this condition chooses no other index
        values.append(self._published)
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
        sql = (
            f"SELECT {', '.join(_COLUMNS)} FROM entries"  # noqa: S608
            f" WHERE {' AND '.join(conditions)} ORDER BY at DESC, idx DESC LIMIT ?"
        )
        try:
            rows = self._connection.execute(sql, [*values, limit]).fetchall()
            hits = [self._hit(row) for row in rows]
        except (sqlite3.DatabaseError, TypeError, OverflowError) as error:
            if self._gave_up:
                raise _too_long() from error
            raise _damaged(error) from error
        if self.rest is not None:
            hits += self.rest.search(query, limit, cursor)
            hits.sort(key=lambda hit: hit.order, reverse=True)
            del hits[limit:]
        return hits

    def of_message(self, message_id: str) -> list[int]:
        """The indexes of all entries of a message id, in order.

        Raises:
            Problem: ``JournalCorrupt`` when the index is damaged.
        """
        sql = f"SELECT idx FROM entries WHERE {_KEY} AND id = ? ORDER BY idx"  # noqa: S608
        try:
            key = _checksum(message_id)
            rows = self._connection.execute(sql, (key, key, message_id)).fetchall()
        except sqlite3.DatabaseError as error:
            raise _damaged(error) from error
        found = [row[0] for row in rows if row[0] < self._published]
        return found if self.rest is None else found + self.rest.of_message(message_id)

    def _hit(self, row: Sequence[Any]) -> Hit:
        plain = len(_COLUMNS) - len(_WORDS)
        words = [None if number is None else self._word(number) for number in row[plain:]]
        at = _EPOCH + timedelta(milliseconds=row[1])
        return Hit(self.origin, row[0], at, *row[2:plain], *words)

    @lru_cache(maxsize=4096)  # noqa: B019  # the reader lives as long as the command
    def _word(self, number: int) -> str:
        found = self._connection.execute("SELECT text FROM words WHERE number = ?", (number,))
        return str(found.fetchone()[0])

    def close(self) -> None:
        self._connection.close()
        if self.rest is not None:
            self.rest.close()


def _too_long() -> Problem:
    return Problem(
        Code.OVERLOADED,
        where="search index",
        detail="the search takes too long; narrow it by since and until, or ask for an id",
    )


def _damaged(error: Exception) -> Problem:
    return Problem(
        Code.JOURNAL_CORRUPT,
        where=FILE,
        detail=f"the search index is damaged ({error}); delete it: it is derived and made anew",
        facts={"file": FILE},
    )


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
        Problem: ``JournalCorrupt`` when an index is damaged.
    """
    found = [hit for reader in readers for hit in reader.search(query, limit + 1, cursor)]
    found.sort(key=lambda hit: hit.order, reverse=True)
    hits = found[:limit]
    if len(found) <= limit or not hits:
        return Page(hits, None)
    return Page(hits, Cursor(*hits[-1].order))
