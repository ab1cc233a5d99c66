"""Rounds: what has changed since the last one, in batches that are acknowledged one by one.

Three kinds of round, of which each method begins with the first::

    walk    every row by key; what is known and was not seen is gone. The first round of each
            method, each round of `comparison`, and where the others may have missed something
    marks   the rows from the last mark on, less the overlap, and those without a mark
    log     the rows whose keys the owner's triggers wrote down: on PostgreSQL of transactions that
            have ended, in their order; on MariaDB those of late, however often they were read

Invariants:
- the position moves when a batch is acknowledged, never before: a crash repeats, with the same
  ids, and loses nothing;
- a round holds one batch at a time, whatever the size of the table;
- a walk tells no removals when too many records are missing, or all: a source that is empty or
  half written is not a source whose records are gone. A row that is there and is not shown to the
  audience (any more) is not missing: it is told as removed.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any, TypeVar

import orjson
from sqlalchemy import Connection

from adapters.changes import marks, noted
from adapters.changes.events import Bad, Event, Found, Known, Standing, Told, judge, subject
from adapters.changes.reading import Page, Reader, Row
from adapters.changes.state import State
from adapters.changes.views import EVERYBODY, Audience, View, view
from adapters.mapping.changes import Changes, Method, Watermark
from adapters.mapping.model import Limits
from adapters.sources.source import Source
from exchange.problems import Code, Problem

T = TypeVar("T")
NOW = "now"
FEW = 10
"""So many removals are never too many, whatever their share."""
_KEYLESS = "%null"  # no key is written so: "%" is escaped in keys
_QUEUE_S = 5.0
_LONGEST_HELD = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Batch:
    """Some events, and what to remember once they are told."""

    events: tuple[Event, ...]
    known: Mapping[str, Known]
    meta: Mapping[str, str | None]


class Feed:
    """The changes of one source, told at least once each.

    Args:
        changes: whose changes.
        source: where they are read.
        limits: of the source.
        state: what was told.
        audience: for whom; ``zone`` is that in which a day is today.
        since: with a new state, ``now`` or a mark: what is there already, or was marked before, is
            known and not told.
        accept_removals: tell removals however many they are.
        clock: the present, with its zone.

    Raises:
        Problem: ``InvalidUsage`` for a ``since`` that this state or method cannot have, or an
            agreement that is not at hand; what :meth:`Agreement.allow` raises for the audience.
    """

    def __init__(
        self,
        changes: Changes,
        source: Source,
        limits: Limits,
        state: State,
        *,
        audience: Audience = EVERYBODY,
        zone: tzinfo | None = None,
        since: str | None = None,
        accept_removals: bool = False,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._changes = changes
        self._watermark = changes.watermark or Watermark(column="")
        self._source = source
        self._state = state
        self._accept_removals = accept_removals
        self._clock = clock
        self._audience, self._zone, self._limits = audience, zone, limits
        self._look()
        self._timeout_s = limits.statement_timeout_s + limits.connect_timeout_s + _QUEUE_S
        self._open: Batch | None = None
        if since is not None:
            self._set_since(since)

    def tell(self, audience: Audience) -> None:
        """From the next round on, see what the same ``audience`` sees now.

        Raises:
            Problem: ``InvalidUsage`` when it is another: the state is not of what it was told.
        """
        if str(audience) != str(self._audience):
            detail = f"is now of {audience}, no more of {self._audience}; begin again, with --state"
            raise Problem(Code.INVALID_USAGE, where="--agreement", detail=detail)
        self._audience = audience

    def acknowledge(self, batch: Batch) -> None:
        """``batch`` was told and will not be told again. Writes to the state's file.

        Raises:
            Problem: ``ChangeStateUnusable`` when that cannot be written.
        """
        if batch is not self._open:
            raise RuntimeError("only the batch that was given last can be acknowledged")
        self._state.store(batch.known, batch.meta)
        self._open = None

    async def round(self) -> AsyncIterator[Batch]:
        """What has changed since the last round; each batch must be acknowledged before the next.

        Raises:
            Problem: what the source raises; ``TooManyRemoved`` when more is missing than the
                mapping allows; ``ChangeStateUnusable``.
        """
        self._open = None
        self._look()
        kind = self._marks
        if self._changes.method is Method.LOG:
            kind = self._log if self._source.dialect == "postgresql" else self._noted
        if self._walk_is_due():
            kind = self._walk
        async for batch in kind():
            self._open = batch
            yield batch
            if self._open is not None:
                raise RuntimeError("the batch was not acknowledged")

    def _look(self) -> None:
        """As the audience sees it today: when a rule or the day shows others, all is compared."""
        changes, source = self._changes, self._source
        if self._audience.granted is not None:
            self._audience.granted.check(self._audience.caller, self._clock())
        today = None if self._zone is None else self._clock().astimezone(self._zone).date()
        seen = view(changes.query.record, self._audience, today)
        self._reader = Reader(changes, source.check_width, self._limits, seen, source.mask_key)
        self._shape = _shape(changes, seen)

    # Walks.

    def _walk_is_due(self) -> bool:
        walked = self._state.read("walked_at")
        if walked is None or self._changes.method is Method.COMPARISON:
            return True
        if self._state.read("shape") != self._shape:
            return True
        now, every_s = self._clock(), self._changes.compare_every_s
        if every_s and now >= datetime.fromisoformat(walked) + timedelta(seconds=every_s):
            return True
        log = self._changes.log
        if log is None:
            return False
        read = datetime.fromisoformat(self._state.read("read_at") or walked)
        return now >= read + timedelta(days=0.9 * log.keep_days)  # entries may be gone

    async def _walk(self) -> AsyncIterator[Batch]:
        begun = self._clock()
        here = await self._run(self._here)
        since = self._state.read("since")
        floor = None
        if since is not None and since != NOW:
            floor = self._floor(since, await self._run(self._reader.last_mark))
            here["position"] = marks.format_mark(floor)
        await asyncio.to_thread(self._state.begin_walk)
        empty = True
        async for rows in self._pages(self._reader.by_key):
            empty = empty and not rows
            await asyncio.to_thread(self._state.mark_seen, [row.key for row in rows])
            batch = await asyncio.to_thread(self._judge, _found(rows), {})
            yield batch if since is None else _quiet(batch, rows, floor)
        yield await self._keyless()
        async for batch in self._removals(empty):
            yield batch
        yield Batch(
            (),
            {},
            {
                "walked_at": begun.isoformat(),
                "read_at": begun.isoformat(),
                "shape": self._shape,
                "since": None,
                **here,
            },
        )
        if floor is not None:  # what was put aside as known, but not told
            async for batch in self._marks():
                yield batch

    async def _keyless(self) -> Batch:
        """Rows without a key, told as one: none of them can be told from another."""
        count = await self._run(self._reader.keyless)
        rule = f"{count:,} row(s) have no key ({', '.join(self._changes.key)} is null)"
        found = Bad("/", rule, "", str(count)) if count else None
        await asyncio.to_thread(self._state.mark_seen, [_KEYLESS])
        return await asyncio.to_thread(self._judge, {_KEYLESS: found}, {})

    async def _removals(self, empty: bool) -> AsyncIterator[Batch]:
        known, missing = await asyncio.to_thread(self._state.count)
        allowed = max(FEW, self._changes.max_removed_share * known)
        share = self._changes.max_removed_share
        if not self._accept_removals and (missing > allowed or (empty and missing and share < 1)):
            detail = (
                f"{missing:,} of {known:,} known records of {self._changes.name!r} are not in the "
                "source any more; none is told as removed. Is it whole? If they are really gone: "
                "--accept-removals"
            )
            facts = {"known": known, "missing": missing}
            raise Problem(Code.TOO_MANY_REMOVED, where="source", detail=detail, facts=facts)
        after = ""
        while keys := await asyncio.to_thread(self._state.unseen, after, self._changes.page_size):
            after = keys[-1]
            yield await asyncio.to_thread(self._judge, dict.fromkeys(keys), {})

    # Marks.

    async def _marks(self) -> AsyncIterator[Batch]:
        begun = self._clock()
        oldest = await self._run(self._reader.running) if self._holds else None
        stored = self._state.read("position")
        position = marks.parse_mark(stored) if stored else None
        since = None if position is None else marks.earlier(position, self._watermark.overlap)
        async for rows in self._pages(self._reader.by_mark, since):
            position = self._further(position, rows, begun)
            meta = {} if self._holds else {"position": _mark(position)}
            yield await asyncio.to_thread(self._judge, _found(rows), meta)
        async for rows in self._pages(self._reader.without_mark):
            yield await asyncio.to_thread(self._judge, _found(rows), {})
        if oldest is not None:
            yield Batch((), {}, await self._hold(oldest, position))

    @property
    def _holds(self) -> bool:
        """Whether the position of marks is held back: where all may know which transactions run."""
        return self._source.dialect == "postgresql"

    async def _hold(self, before: tuple[int, int], reached: Any) -> Mapping[str, str | None]:
        """The position after a round that came as far as the mark ``reached``.

        A mark is taken some time before it is committed, so what a round reached is ``held``,
        with the number of the next transaction. It becomes the position after a round before
        which all transactions below that number had ended, and which so has read what they wrote;
        after a day in any case, since a session that somebody forgot would have all read again.
        """
        oldest, following = before
        now = self._clock()
        until, mark, since = orjson.loads(self._state.read("held") or "[0, null, null]")
        waited = since is not None and now >= datetime.fromisoformat(since) + _LONGEST_HELD
        if oldest < until <= following and not waited:
            return {}
        _, following = await self._run(self._reader.running)
        meta = {"held": _held(following, _mark(reached), now)}
        # Numbers that are not there yet are those of a server that was set up anew.
        return meta | ({"position": mark} if 0 < until <= oldest or waited else {})

    async def _pages(self, read: Callable[..., Page], *arguments: Any) -> AsyncIterator[list[Row]]:
        """The rows of one page after the other."""
        after: tuple[Any, ...] | None = None
        while True:
            page = await self._run(read, *arguments, after)
            yield page.rows
            if not page.full:
                return
            after = page.last

    def _further(self, position: Any, rows: Iterable[Row], now: datetime) -> Any:
        """The greatest of ``position`` and the marks of ``rows`` that are not of the future."""
        for row in rows:
            mark = row.mark
            if not marks.is_mark(mark) or (position is not None and mark <= position):
                continue
            most = marks.present(mark, now, self._watermark.zone)
            if most is None or mark <= most:
                position = mark
        return position

    # The log.

    async def _log(self) -> AsyncIterator[Batch]:
        begun = self._clock()
        stored = orjson.loads(self._state.read("position") or "[0, 0]")
        position = (int(stored[0]), int(stored[1]))
        most = min(self._changes.page_size, 500)
        while True:
            entries = await self._run(self._reader.entries, position, most)
            if entries is None or any(entry.key is None for entry in entries):
                async for batch in self._walk():  # set up anew, or emptied
                    yield batch
                return
            if not entries:
                break
            position = (entries[-1].xid, entries[-1].id)
            keys = {subject(entry.key or ()): entry.key or () for entry in entries}
            rows = await self._run(self._reader.of_keys, list(keys.values()))
            found = dict.fromkeys(keys) | _found(rows)
            meta = {"position": orjson.dumps(position).decode(), "read_at": begun.isoformat()}
            yield await asyncio.to_thread(self._judge, found, meta)
        yield Batch((), {}, {"read_at": begun.isoformat()})

    async def _noted(self) -> AsyncIterator[Batch]:
        """The log of MariaDB: keys by the time of their last change, the overlap once more."""
        begun, topic, log = self._clock(), self._changes.name, self._changes.log
        now = await self._run(noted.present, self._changes)
        stored = self._state.read("position")
        since = min(now, datetime.fromisoformat(stored) if stored else now)
        after = (since - timedelta(seconds=log.overlap if log else 0), b"")
        most = min(self._changes.page_size, 500)
        while after[0] <= now:  # what is written meanwhile is of the next look
            entries = await self._run(noted.entries, topic, after, most)
            if not entries:
                break
            after = (entries[-1].at, entries[-1].digest)
            keys = {subject(entry.key): entry.key for entry in entries}
            rows = await self._run(self._reader.of_keys, list(keys.values()))
            yield await asyncio.to_thread(self._judge, dict.fromkeys(keys) | _found(rows), {})
        yield Batch((), {}, {"position": now.isoformat(), "read_at": begun.isoformat()})

    # What they have in common.

    def _here(self, connection: Connection) -> dict[str, str | None]:
        """The position that all that changes from now on lies behind; before a walk."""
        match self._changes.method:
            case Method.COMPARISON:
                return {"position": None}
            case Method.LOG if self._source.dialect != "postgresql":
                return {"position": noted.present(connection, self._changes).isoformat()}
            case Method.LOG:
                oldest, _ = self._reader.snapshot(connection)
                return {"position": orjson.dumps([oldest, 0]).decode()}
        last = self._reader.last_mark(connection)
        most = None if last is None else marks.present(last, self._clock(), self._watermark.zone)
        if most is not None:
            last = self._reader.last_mark(connection, most)
        mark = _mark(last if marks.is_mark(last) else None)
        if not self._holds:
            return {"position": mark}
        if self._state.read("shape") == self._shape:
            return {}  # what is held stays so
        oldest, following = self._reader.running(connection)
        held = _held(following, mark, self._clock())
        return {"position": mark if oldest == following else None, "held": held}

    async def _run(self, work: Callable[..., T], *arguments: Any) -> T:
        self._source.spend()
        return await self._source.run(
            lambda connection: work(connection, *arguments), timeout_s=self._timeout_s
        )

    def _judge(self, found: Mapping[str, Found], meta: Mapping[str, str | None]) -> Batch:
        known = self._state.known(list(found)) if found else {}
        events: list[Event] = []
        changed: dict[str, Known] = {}
        for key, one in found.items():
            before = known.get(key)
            event, after = judge(self._state.id, key, before, one)
            if event is not None:
                events.append(event)
            if after != before and (before is not None or after.standing is not Standing.GONE):
                changed[key] = after
        return Batch(tuple(events), changed, meta)

    def _set_since(self, since: str) -> None:
        if self._state.read("walked_at") is not None:
            detail = "the state has a position already; --since is for a new one"
            raise Problem(Code.INVALID_USAGE, where="--since", detail=detail)
        if since != NOW and self._changes.method is not Method.WATERMARK:
            detail = f"{self._changes.method} knows no marks: it can only begin {NOW!r}"
            raise Problem(Code.INVALID_USAGE, where="--since", detail=detail)
        self._state.store({}, {"since": since})

    def _floor(self, since: str, like: Any) -> Any:
        try:
            return marks.read_since(since, like)
        except (ValueError, ArithmeticError) as error:
            detail = f"{since!r} is not a mark such as {like}"
            raise Problem(Code.INVALID_USAGE, where="--since", detail=detail) from error


def _found(rows: Iterable[Row]) -> dict[str, Found]:
    return {row.key: row.found for row in rows}


def _held(until: int, mark: str | None, now: datetime) -> str:
    return orjson.dumps([until, mark, now.isoformat()]).decode()


def _mark(mark: Any) -> str | None:
    return None if mark is None else marks.format_mark(mark)


def _quiet(batch: Batch, rows: Iterable[Row], floor: Any) -> Batch:
    """A batch of records that consumers have already: only what fits none is told.

    Those marked from ``floor`` on are known, but not what they were: they are told as changed by
    the rounds that follow.
    """
    events = tuple(event for event in batch.events if event.told is Told.REFUSED)
    later = {
        row.key for row in rows if floor is not None and row.mark is not None and row.mark >= floor
    }
    known = {
        key: Known(one.standing, b"", one.event) if key in later else one
        for key, one in batch.known.items()
    }
    return Batch(events, known, batch.meta)


def _shape(changes: Changes, seen: View) -> str:
    """A digest of what makes records of rows: when it is another, all are compared anew."""
    record = changes.query.record
    members = [record.fields, record.hidden, record.nested]
    found_by = [changes.method, changes.watermark and changes.watermark.column]
    parts = [changes.query.select.sql, changes.key, members, seen.asked, found_by]
    data = orjson.dumps(parts, default=_described, option=orjson.OPT_NON_STR_KEYS)
    return hashlib.blake2b(data, digest_size=16).hexdigest()


def _described(value: Any) -> Any:
    return sorted(value) if isinstance(value, frozenset) else str(value)
