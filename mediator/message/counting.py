"""Counting by statistics fields: how often a marked value came up in answers, about nobody.

What was counted is recorded once a day, and at a stop, as entries (event ``statistics``) that name
the service, the purpose and the days, and neither a caller nor an exchange.

Invariants:
- a value is recorded only once it was counted :data:`FEW` times; until then it is kept for the next
  time. So no entry tells of a single answer, whose exchange stands in the log beside it;
- ``counts.json`` is noted every minute, so that a kill loses the counts of a minute. What is to be
  recorded is put there first, durably, with the number of its part: after a crash it is recorded
  again with the same number, and counts once (:mod:`mediator.archive.statistics`);
- only values that the contract lists are counted, in at most :data:`MAX_GROUPS` groups. Not
  counted are a long body that was not read for its contract, and answers of a service that are not
  checked.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import date
from pathlib import Path
from typing import Any, Final, NamedTuple

import orjson
import structlog

from exchange.identifiers import ServiceId
from exchange.journal.entries import Statistics
from exchange.problems import Problem
from mediator.message.stages import Judged
from serving.clock import Clock
from serving.durable_files import replace_file

FILE: Final = "counts.json"
FEW: Final = 5
MAX_GROUPS: Final = 10_000
NOTE_S: Final = 60.0
log = structlog.get_logger("mediator.message.counting")

Tell = Callable[[ServiceId, str, Statistics], Awaitable[object]]
"""Record what was counted of a service and a purpose."""


class Group(NamedTuple):
    """What is counted together."""

    service: str
    purpose: str
    field: str


class Counting:
    """Counts on the message path, notes and records beside it."""

    def __init__(self, path: Path, clock: Clock, tell: Tell) -> None:
        """Take up what was noted; a file that cannot be read counts as none, and is told of."""
        self._path = path
        self._clock = clock
        self._tell = tell
        self._counts: dict[Group, dict[str, int]] = {}
        self._first: dict[Group, date] = {}
        self._outgoing: list[tuple[Group, Statistics]] = []
        self._part = 0
        self._changed = False
        self._writing = asyncio.Lock()
        self._recording = asyncio.Lock()
        self._today = clock.now().date()
        self._read()

    def note(self, judged: Judged) -> None:
        """Count what a judged answer has of marked fields; on the message path."""
        allowed = judged.delivered.checked.allowed
        operation = allowed.match.operation
        if not operation.counts or judged.document is None or judged.delivered.status >= 400:
            return
        call = allowed.recorded.call
        for mark in operation.marks(judged.delivered.status, judged.delivered.headers):
            for value in mark.found_in(judged.document):
                self.count(call.service, call.purpose, mark.field, value)

    def count(self, service: ServiceId, purpose: str, field: str, value: str) -> None:
        """Count one value of a field, in answers of a service for a purpose."""
        group = Group(str(service), purpose, field)
        counts = self._counts.get(group)
        if counts is None:
            if len(self._counts) >= MAX_GROUPS:
                return
            counts = self._counts[group] = {}
            self._first[group] = self._clock.now().date()
        counts[value] = counts.get(value, 0) + 1
        self._changed = True

    async def run(self) -> None:
        """Note what was counted every minute, and record it when a day (UTC) has ended."""
        while True:
            await asyncio.sleep(NOTE_S)
            today = self._clock.now().date()
            if today != self._today:
                await self.record(self._today)
                self._today = today
            elif self._changed:
                await self._save()

    async def stop(self) -> None:
        """Record what may be recorded, and note the rest."""
        await self.record(self._clock.now().date())

    async def record(self, last: date) -> None:
        """Record the values that were counted often enough up to a day. What fails stays noted."""
        async with self._recording:
            self._set_out(last)
            if await self._save():
                await self._record()
                await self._save()

    def _set_out(self, last: date) -> None:
        """Put aside what is to be recorded."""
        for group, counts in self._counts.items():
            ready = {value: count for value, count in sorted(counts.items()) if count >= FEW}
            if ready:
                self._part += 1
                first = min(self._first[group], last)
                part = Statistics(group.field, first, last, self._part, tuple(ready.items()))
                self._outgoing.append((group, part))
                for value in ready:
                    del counts[value]
        for group in [group for group, counts in self._counts.items() if not counts]:
            del self._counts[group], self._first[group]

    async def _record(self) -> None:
        try:
            while self._outgoing:
                group, part = self._outgoing[0]
                await self._tell(ServiceId.parse(group.service), group.purpose, part)
                self._outgoing.pop(0)
        except Problem as problem:
            log.warning("statistics_not_recorded", why=str(problem))

    async def _save(self) -> bool:
        async with self._writing:
            self._changed = False
            try:
                await asyncio.to_thread(replace_file, self._path, orjson.dumps(self._state()))
            except OSError as error:
                log.warning("counts_not_noted", why=str(error))
                self._changed = True
                return False
        return True

    def _state(self) -> dict[str, Any]:
        return {
            "part": self._part,
            "counts": [
                [*group, self._first[group].isoformat(), dict(counts)]
                for group, counts in self._counts.items()
            ],
            "outgoing": [
                [*group, part.first.isoformat(), part.last.isoformat(), part.part,
                 dict(part.counts)]
                for group, part in self._outgoing
            ],
        }  # fmt: skip

    def _read(self) -> None:
        try:
            state = orjson.loads(self._path.read_bytes())
            for service, purpose, field, first, counts in state["counts"]:
                group = Group(service, purpose, field)
                self._counts[group] = {str(value): int(count) for value, count in counts.items()}
                self._first[group] = date.fromisoformat(first)
            for service, purpose, field, first, last, number, counts in state["outgoing"]:
                part = Statistics(
                    field,
                    date.fromisoformat(first),
                    date.fromisoformat(last),
                    int(number),
                    tuple(sorted(counts.items())),
                )
                self._outgoing.append((Group(service, purpose, field), part))
            self._part = int(state["part"])
        except FileNotFoundError:
            self._part = int(self._clock.unix() * 1_000_000)  # none that was used before
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            log.warning("counts_lost", why=str(error))
            self._counts, self._first, self._outgoing = {}, {}, []
            self._part = int(self._clock.unix() * 1_000_000)
