"""The tables of the search index: one definition for SQLite and PostgreSQL.

What repeats from entry to entry (who, what, outcome, agreement, purpose) is one row of ``shapes``,
to which the rows of ``entries`` point: there are few shapes however many entries, so that any
combination of such conditions is a choice of shapes, each of which lies in the order of time.

Identifiers that never repeat, and subjects' tags, are found by a checksum within parts of 131,072
entries, so that inserting stays local however large the log is (the keys of a part are 4 MB); a
look-up makes one probe a part, of those parts whose time it may be. Part, checksum and place in the
part are one number.
"""

from __future__ import annotations

import contextlib
import zlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import orjson

VERSION: Final = 4
PART_BITS: Final = 17
PLACE_MASK: Final = (1 << PART_BITS) - 1
PART_SHIFT: Final = 32
"""Lifts an index without its place behind a CRC-32 and a place."""
SHAPE: Final = (
    "kind", "side", "status", "client", "service", "peer", "method", "endpoint", "problem",
    "agreement", "purpose", "event",
)  # fmt: skip
KEYS: Final = ("id", "request_id", "trace", "subject")
"""Columns that are found by checksum."""
ENTRY: Final = ("idx", "at", "shape", *KEYS)
MOST: Final = 2**63 - 1
_NO_TIME: Final = "1970-01-01T00:00:00.000Z"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MAX_SHAPES = 65_536  # in memory


@dataclass(frozen=True, slots=True)
class Dialect:
    """Where the databases differ: names of types, and what an index must name to be in order."""

    integer: str
    text: str
    order: str


SQLITE: Final = Dialect("INTEGER", "TEXT", "at")  # the number of the row is in every index
POSTGRESQL: Final = Dialect("bigint", "text", "at, idx")


def schema(dialect: Dialect) -> tuple[str, ...]:
    """The statements that make the tables, where they are not there."""
    integer, text = dialect.integer, dialect.text
    shape = ", ".join(f"{name} {integer if name == 'status' else text}" for name in SHAPE)
    return (
        f"CREATE TABLE IF NOT EXISTS shapes (number {integer} PRIMARY KEY, "
        f"key {text} NOT NULL UNIQUE, {shape})",
        f"CREATE TABLE IF NOT EXISTS entries (idx {integer} PRIMARY KEY, at {integer} NOT NULL, "
        f"shape {integer} NOT NULL, {', '.join(f'{name} {text}' for name in KEYS)})",
        f"CREATE INDEX IF NOT EXISTS entries_at ON entries ({dialect.order})",
        f"CREATE INDEX IF NOT EXISTS entries_shape ON entries (shape, {dialect.order})",
        f"CREATE TABLE IF NOT EXISTS keys (key {integer} PRIMARY KEY)",
        f"CREATE TABLE IF NOT EXISTS parts (part {integer} PRIMARY KEY, "
        f"earliest {integer} NOT NULL, latest {integer} NOT NULL)",
    )


def to_milliseconds(at: datetime) -> int:
    """A time as the index holds it: milliseconds since 1970 in UTC, rounded down."""
    return (at - _EPOCH) // timedelta(milliseconds=1)


def to_time(milliseconds: int) -> datetime:
    """The time of :func:`to_milliseconds`."""
    return _EPOCH + timedelta(milliseconds=milliseconds)


def checksum(text: str) -> int:
    """The part of a key that depends on the text."""
    return zlib.crc32(text.encode()) << PART_BITS


@dataclass(frozen=True, slots=True)
class Batch:
    """What entries add to the tables: rows of ``shapes`` that are new, of ``entries`` (value behind
    value), sorted keys (one may be there twice), and the times of parts. ``first`` is the index of
    the first entry."""

    first: int
    shapes: list[tuple[Any, ...]]
    entries: list[Any]
    keys: list[int]
    parts: dict[int, tuple[int, int]]


class Shapes:
    """The numbers of shapes; known ones are kept in memory, up to a bound."""

    def __init__(
        self,
        known: Iterable[tuple[int, str]],
        next_number: int,
        find: Callable[[str], int | None] = lambda key: None,
    ) -> None:
        self._numbers = {tuple(orjson.loads(key)): number for number, key in known}
        self._next = next_number
        self._find = find
        self.new: list[tuple[Any, ...]] = []

    def add(self, shape: tuple[Any, ...]) -> int:
        """The number of a shape that is not in memory."""
        key = orjson.dumps(shape).decode()
        number = self._find(key)
        if number is None:
            number = self._next
            self._next += 1
            self.new.append((number, key, *shape))
        self._numbers[shape] = number
        return number

    def get(self, shape: tuple[Any, ...]) -> int | None:
        return self._numbers.get(shape)

    @property
    def full(self) -> bool:
        return len(self._numbers) >= _MAX_SHAPES


def batch_of(first: int, entries: Sequence[bytes], shapes: Shapes) -> Batch:
    """What the entries from index ``first`` on add.

    A copy of another's journal may hold what no server writes: of such entries that is found which
    can be (:func:`readable`), and the others are found as ever.
    """
    try:
        return _batch_of(first, map(orjson.loads, entries), shapes)
    except (AttributeError, KeyError, TypeError, ValueError):
        return _batch_of(first, map(readable, entries), shapes)


def readable(entry: bytes) -> dict[str, Any]:
    """The members of an entry that the index knows, without those that are of another kind.

    An entry as servers write it comes back as it is. Where no time can be read it is 1970-01-01.
    """
    document: Any = None
    with contextlib.suppress(ValueError):
        document = orjson.loads(entry)
    members: dict[str, Any] = document if isinstance(document, dict) else {}
    found = {name: value for name in (*KEYS, *SHAPE) if _is_of(name, value := members.get(name))}
    at: Any = members.get("at")
    try:
        int(at[20:23])
        datetime.fromisoformat(f"{at[:19]}Z")
    except (TypeError, ValueError):
        at = _NO_TIME
    return {"kind": "", "side": "", **found, "at": at}


def _is_of(name: str, value: Any) -> bool:
    """Whether a member is there and of its kind."""
    if name == "status":
        return type(value) is int and 0 <= value < 2**31
    return type(value) is str


def _may_lack(name: str, value: Any) -> bool:
    return value is None and name not in {"kind", "side"}


def _batch_of(first: int, documents: Iterable[dict[str, Any]], shapes: Shapes) -> Batch:
    rows: list[Any] = []
    keys: list[int] = []
    moments: list[int] = []
    crc32, known, added = zlib.crc32, shapes.get, shapes.add
    second, second_ms = "", 0
    for index, document in enumerate(documents, first):
        get, at = document.get, document["at"]
        if not second or not at.startswith(second):
            second = at[:19]
            second_ms = to_milliseconds(datetime.fromisoformat(f"{second}Z"))
        moment = second_ms + int(at[20:23])
        moments.append(moment)
        shape = (
            document["kind"], document["side"], get("status"), get("client"), get("service"),
            get("peer"), get("method"), get("endpoint"), get("problem"), get("agreement"),
            get("purpose"), get("event"),
        )  # fmt: skip
        number = known(shape)
        if number is None:
            members = zip(SHAPE, shape, strict=True)
            if not all(_is_of(name, value) or _may_lack(name, value) for name, value in members):
                raise TypeError("a member of another kind")
            number = added(shape)
        message_id, request_id = get("id"), get("request_id")
        trace, subject = get("trace"), get("subject")
        rows += (index, moment, number, message_id, request_id, trace, subject)
        place = index & PLACE_MASK
        part = index - place << PART_SHIFT | place
        if message_id is not None:
            keys.append(crc32(message_id.encode()) << PART_BITS | part)
        if request_id is not None:
            keys.append(crc32(request_id.encode()) << PART_BITS | part)
        if trace is not None:
            keys.append(crc32(trace.encode()) << PART_BITS | part)
        if subject is not None:
            keys.append(crc32(subject.encode()) << PART_BITS | part)
    new, shapes.new = shapes.new, []
    keys.sort()
    return Batch(first, new, rows, keys, _parts(first, moments))


def _parts(first: int, moments: list[int]) -> dict[int, tuple[int, int]]:
    """The earliest and the latest time in each part."""
    parts: dict[int, tuple[int, int]] = {}
    at = 0
    while at < len(moments):
        part = first + at >> PART_BITS
        end = ((part + 1) << PART_BITS) - first
        some = moments[at:end]
        parts[part] = min(some), max(some)
        at = end
    return parts
