"""What the source is asked: pages of rows by key or by mark, rows of given keys, entries of a log.

Each question is one short statement for at most a page, so that a walk of a large table holds no
connection, no snapshot and no memory, and goes on after the source was away. Pages are by key: what
comes and goes meanwhile neither repeats nor hides other rows.

One row that the driver cannot read (text that is not UTF-8, a date beyond the year 9999) does not
stop the walk: its page is read again row by row, and that row is :class:`Bad`.

These functions run in the source's threads.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

from sqlalchemy import Connection, text
from sqlalchemy import exc as sqlalchemy_exc

from adapters.answers.joins import complete
from adapters.answers.orders import CURSOR, Key
from adapters.answers.rows import RecordWriter
from adapters.answers.running import Look, drivers_rows, run
from adapters.answers.statements import LIMIT, OneOf, Select, Statement, count
from adapters.answers.types import unordered
from adapters.changes.events import Bad, Found, Good, subject
from adapters.changes.views import View
from adapters.fields import Mismatch
from adapters.fields.written import NotJson, write_json
from adapters.mapping.changes import Changes
from adapters.mapping.model import Limits
from adapters.sources.failures import is_unreadable
from exchange.problems import Code, Problem

LOG_TABLE = "public.saphan_changes"
_MOST_OF_KEYS = 10_000
# What is said of nested rows: too many, or twice where there is to be one.
_OF_NESTED = (Code.RESPONSE_TOO_LARGE, Code.SOURCE_FAILED)
_ENTRIES = f"""
SELECT l.xid, l.id, CAST(l.key AS text) FROM {LOG_TABLE} l
WHERE l.topic = :topic AND (l.xid, l.id) > (:xid, :id)
  AND l.xid < txid_snapshot_xmin(txid_current_snapshot())
ORDER BY l.xid, l.id LIMIT :most
"""  # noqa: S608
# Of transactions: all below the first have ended, none from the second on has begun.
_SNAPSHOT = """
SELECT txid_snapshot_xmin(s), txid_snapshot_xmax(s) FROM txid_current_snapshot() AS s
"""


@dataclass(frozen=True, slots=True)
class Row:
    """One row: the text of its key, what it became (nothing, for who does not see it), its mark."""

    key: str
    found: Found
    mark: Any


@dataclass(frozen=True, slots=True)
class Page:
    """Some rows, what the last one is ordered by, and whether the page is full."""

    rows: list[Row]
    last: tuple[Any, ...] | None
    full: bool


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of the owner's log; without a key the whole table was emptied."""

    xid: int
    id: int
    key: tuple[Any, ...] | None


@dataclass(frozen=True, slots=True)
class _Part:
    """Some rows in an order: those that meet a condition with these values, or have these keys."""

    order: Sequence[str]
    where: str
    values: Mapping[str, Any]
    narrow: bool = True
    keys: OneOf | None = None


class Reader:
    """Reads what ``changes`` is about, as ``view`` shows it.

    ``look`` sees each statement before it runs; ``key`` is what masked values are hashed with.
    Where a view does not show every row, pages are of candidates: rows that are not shown are
    there, too, as nothing.
    """

    def __init__(
        self, changes: Changes, look: Look, limits: Limits, view: View, key: bytes = b""
    ) -> None:
        self._changes = changes
        self._look = look
        self._key = changes.key
        self._mark = changes.watermark.column if changes.watermark else ""
        self._marks = (self._mark,) if self._mark else ()
        record = changes.query.record
        self._view = view
        self._writer = RecordWriter(record, view.masked, key)
        self._layout = view.layout
        self._columns = self._layout.columns
        self._limits = limits

    @property
    def _has_key(self) -> str:
        """The condition that no part of the key is null."""
        return " AND ".join(f"saphan_m.{column} IS NOT NULL" for column in self._key)

    def by_key(self, connection: Connection, after: tuple[Any, ...] | None) -> Page:
        """The next page of all rows that have a key, in its order."""
        part = _Part(self._key, self._has_key, {}, narrow=False)
        return self._candidates(connection, part, after)

    def by_mark(self, connection: Connection, since: Any, after: tuple[Any, ...] | None) -> Page:
        """The next page of rows whose mark is at least ``since`` (None: any), by mark and key."""
        order = (*self._marks, *(column for column in self._key if column not in self._marks))
        above = "IS NOT NULL" if since is None else ">= :saphan_since"
        values = {} if since is None else {"saphan_since": since}
        where = f"saphan_m.{self._mark} {above} AND {self._has_key}"
        part = _Part(order, where, values, narrow=since is not None)
        return self._candidates(connection, part, after)

    def without_mark(self, connection: Connection, after: tuple[Any, ...] | None) -> Page:
        """The next page of rows whose mark is null."""
        where = f"saphan_m.{self._mark} IS NULL AND {self._has_key}"
        part = _Part(self._key, where, {})
        return self._candidates(connection, part, after)

    def of_keys(self, connection: Connection, keys: Sequence[tuple[Any, ...]]) -> list[Row]:
        """The rows that there are, and are shown, of ``keys``."""
        return self._page(connection, self._same(keys), None, _MOST_OF_KEYS).rows

    def keyless(self, connection: Connection) -> int:
        """How many rows that are shown have a null in their key."""
        where = " OR ".join(f"saphan_m.{column} IS NULL" for column in self._key)
        statement = count(self._select(where), self._view.conditions)
        result = run(connection, self._changes.query, statement, self._view.values)
        return int(result.scalar_one())

    def unmarked(self, connection: Connection) -> int:
        """How many rows have no mark."""
        return self._count(connection, self._named(f"saphan_m.{self._mark} IS NULL"))

    def twice(self, connection: Connection) -> int:
        """How many keys stand for more than one row."""
        key = ", ".join(f"saphan_n.{column}" for column in self._key)
        grouped = (
            f"SELECT {key} FROM {self._named(self._has_key)} GROUP BY {key} HAVING count(*) > 1"  # noqa: S608
        )
        return self._count(connection, f"({grouped}) AS saphan_g")

    def last_mark(self, connection: Connection, most: Any = None) -> Any:
        """The greatest mark, of those that are at most ``most``; None where there is none."""
        where = "" if most is None else f"saphan_m.{self._mark} <= :saphan_most"
        statement = text(f"SELECT max(saphan_n.{self._mark}) FROM {self._named(where)}")  # noqa: S608
        return connection.execute(statement, {} if most is None else {"saphan_most": most}).scalar()

    def entries(
        self, connection: Connection, after: tuple[int, int], most: int
    ) -> list[Entry] | None:
        """The next entries of the log, of transactions that have all ended.

        None when the log is another one than ``after`` is of: the database was set up anew.
        """
        _, following = self.snapshot(connection)
        if after[0] > following:
            return None
        values = {"topic": self._changes.name, "xid": after[0], "id": after[1], "most": most}
        rows = connection.execute(text(_ENTRIES), values)
        return [Entry(xid, number, key_of(key)) for xid, number, key in rows]

    def snapshot(self, connection: Connection) -> tuple[int, int]:
        """The oldest transaction that may still be running, and the next one to begin.

        Raises:
            Problem: ``SourceFailed`` when the database has no log.
        """
        if connection.execute(text(f"SELECT to_regclass('{LOG_TABLE}')")).scalar() is None:
            raise no_log(self._changes, LOG_TABLE)
        return self.running(connection)

    def running(self, connection: Connection) -> tuple[int, int]:
        """As :meth:`snapshot`, with a log or without; only PostgreSQL tells everybody."""
        oldest, following = connection.execute(text(_SNAPSHOT)).one()
        return int(oldest), int(following)

    def _count(self, connection: Connection, rows: str) -> int:
        return int(connection.execute(text(f"SELECT count(*) FROM {rows}")).scalar_one())  # noqa: S608

    def _named(self, where: str) -> str:
        return f"(\n{self._select(where).text}\n) AS saphan_n"

    def _select(self, where: str) -> Select:
        select = self._changes.query.select
        if not where:
            return select
        # Both are text of the mapping; values are bound.
        narrowed = f"SELECT saphan_m.* FROM (\n{select.text}\n) AS saphan_m WHERE {where}"  # noqa: S608
        return Select(narrowed, select.parameters, select.sql)

    def _candidates(
        self, connection: Connection, part: _Part, after: tuple[Any, ...] | None
    ) -> Page:
        """A page of rows; those that the view does not show are nothing."""
        most = self._changes.page_size
        if not self._view.conditions:
            return self._page(connection, part, after, most)
        width = len(part.order)
        found = self._fetch(connection, (), part, after, most, shown=False)
        keys = {
            subject(key): (key, row[-1] if self._mark else None)
            for row in found
            for key in [row[width:][: len(self._key)]]
        }
        rows = self.of_keys(connection, [key for key, _ in keys.values()]) if keys else []
        shown = {row.key: row.found for row in rows}
        told = [Row(key, shown.get(key), mark) for key, (_, mark) in keys.items()]
        return Page(told, found[-1][:width] if found else None, len(found) == most)

    def _page(
        self, connection: Connection, part: _Part, after: tuple[Any, ...] | None, most: int
    ) -> Page:
        width = len(self._columns)
        try:
            found = self._fetch(connection, self._columns, part, after, most)
        except Exception as error:
            if not _of_one_row(error):
                raise
            connection.rollback()
            return self._one_by_one(connection, part, after, most)
        last = found[-1][width : width + len(part.order)] if found else None
        return Page(self._rows(connection, found, part.order), last, len(found) == most)

    def _fetch(
        self,
        connection: Connection,
        columns: Sequence[str],
        part: _Part,
        after: tuple[Any, ...] | None,
        most: int,
        *,
        shown: bool = True,
    ) -> list[tuple[Any, ...]]:
        """Rows of ``columns``, and then what they are ordered by, their key, their mark.

        Raises:
            Problem: ``SourceFailed`` for an order that no next page can be found by.
        """
        view = self._view
        values = {f"{CURSOR}_{index}": value for index, value in enumerate(after or ())}
        statement = Statement(
            self._select(part.where),
            [*columns, *part.order, *self._key, *self._marks],
            [*([part.keys] if part.keys else []), *(view.conditions if shown else [])],
            [Key(column) for column in part.order],
            after=after is not None,
        )
        values |= {**part.values, **(view.values if shown else {}), LIMIT: most}
        # The first page of a whole walk is found by the order, whatever the plan says.
        look = self._look if after or part.narrow else None
        result = run(connection, self._changes.query, statement, values, look)
        reason = unordered(
            connection.dialect.name,
            result.cursor,
            range(len(columns), len(columns) + len(part.order)),
        )
        rows = [tuple(row) for row in drivers_rows(result)]
        if reason and (after is not None or len(rows) == most):  # rows would be missed
            detail = f"pages are by {reason} in the SQL of the query"
            where = self._changes.where
            raise Problem(Code.SOURCE_FAILED, where=where, detail=detail, retryable=False)
        return rows

    def _rows(
        self, connection: Connection, found: Sequence[tuple[Any, ...]], order: Sequence[str]
    ) -> list[Row]:
        width = len(self._columns) + len(order)
        rows: dict[str, Row] = {}
        for values, record in zip(found, self._records(connection, found), strict=True):
            key = subject(values[width:][: len(self._key)])
            if key in rows:
                record = Bad("/", "the key does not tell this row from another", "", "twice")
            rows[key] = Row(key, record, values[-1] if self._mark else None)
        return list(rows.values())

    def _records(
        self, connection: Connection, found: Sequence[tuple[Any, ...]]
    ) -> list[Good | Bad]:
        if not found:
            return []
        layout = self._layout
        try:
            cells = complete(connection, found, layout, self._limits, self._look)
            return [self._good(one) for one in self._writer.build_all(cells, layout.indexes)]
        except (Mismatch, NotJson):
            pass
        except Problem as problem:
            if problem.code not in _OF_NESTED:
                raise
        return [self._record(connection, values) for values in found]

    def _record(self, connection: Connection, values: tuple[Any, ...]) -> Good | Bad:
        content = [_plain(value) for value in values[: len(self._columns)]]
        try:
            (cells,) = complete(connection, [values], self._layout, self._limits, self._look)
            content += cells[len(content) :] if self._layout.joins else ()
            return self._good(self._writer.build(cells, self._layout.indexes, ""))
        except Problem as problem:
            if problem.code not in (Code.RESPONSE_SCHEMA_VIOLATION, *_OF_NESTED):
                raise
            rule = str(problem.facts.get("rule", problem.detail))
            # Of a change of what is hidden nothing is told, not even that there was one.
            told: Any = (problem.where, rule) if self._view.hides else content
            return Bad(problem.where, rule, str(problem.facts.get("type", "")), repr(told))
        except NotJson:
            told = () if self._view.hides else content
            return Bad("/", "the record cannot be written as JSON", "", repr(told))

    def _good(self, record: dict[str, Any]) -> Good:
        released = self._view.released
        return Good(write_json(record if released is None else released.project(record)))

    def _one_by_one(
        self, connection: Connection, part: _Part, after: tuple[Any, ...] | None, most: int
    ) -> Page:
        """A page that the driver cannot read whole: its keys, and then each row by its key."""
        width = len(part.order)
        keys = self._fetch(connection, (), part, after, most)
        rows: list[Row] = []
        for found in keys:
            mark = found[-1] if self._mark else None
            alone = self._alone(connection, found[width:][: len(self._key)])
            rows += [replace(row, mark=mark) for row in alone]
        return Page(rows, keys[-1][:width] if keys else None, len(keys) == most)

    def _alone(self, connection: Connection, key: tuple[Any, ...]) -> list[Row]:
        """The row of one key, if it is still there."""
        try:
            found = self._fetch(connection, self._columns, self._same([key]), None, 2)
            return self._rows(connection, found, self._key)
        except Exception as error:
            if not _of_one_row(error):
                raise
            connection.rollback()
            kind = type(getattr(error, "orig", error)).__name__
            return [Row(subject(key), Bad("/", "the driver cannot read it", kind, kind), None)]

    def _same(self, keys: Sequence[tuple[Any, ...]]) -> _Part:
        """The rows that have one of ``keys``."""
        values = {
            f"saphan_k_{number}_{part}": value
            for number, key in enumerate(keys)
            for part, value in enumerate(key)
        }
        return _Part(self._key, "", values, keys=OneOf(self._key, "saphan_k", len(keys)))


def _of_one_row(error: Exception) -> bool:
    """Whether it is a value that cannot be read, by the driver or, in a query, by the server."""
    origin = getattr(error, "orig", None) or error
    return isinstance(error, sqlalchemy_exc.DataError) or is_unreadable(origin)


def no_log(changes: Changes, table: str) -> Problem:
    """The owner has not installed the log."""
    detail = f"there is no table {table}; its owner installs what --owner-sql prints"
    return Problem(Code.SOURCE_FAILED, where=changes.where, detail=detail, retryable=False)


def key_of(text: str | None) -> tuple[Any, ...] | None:
    """The key that the trigger wrote: an array of JSON, whose numbers keep their digits."""
    return None if text is None else tuple(json.loads(text, parse_float=Decimal))


def _plain(value: Any) -> Any:
    return bytes(value) if isinstance(value, bytearray | memoryview) else value
