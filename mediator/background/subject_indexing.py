"""Committing to the index of subjects: once a month, behind the traffic.

The log itself says what is committed: there is no other state. The last commitment is looked up at
the start, and the next one takes in all that was published since. So a crash before the entry is
durable changes nothing, one after it leaves nothing to do, and after months without running one
commitment takes in all of them.
"""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from time import sleep
from typing import Any, Final

import structlog

from exchange.identifiers import MemberId
from exchange.journal.entries import Entry, Kind, Side, SubjectIndex, parse_entry
from exchange.journal.subject_index import EVENT
from exchange.problems import Problem
from mediator.journal import subject_tree
from mediator.journal.completeness import commitments
from mediator.journal.log import Journal
from serving.clock import Clock
from serving.log.tiles import TileFolder

log = structlog.get_logger("mediator.background.subject_indexing")

LOOK_S: Final = 60.0
BREATH_S: Final = 0.02
"""Between slices of entries, so that messages have the processor."""
_STEPPED: Final = timedelta(days=1)
"""A clock that is set back by less than this has not begun an earlier month anew."""


class SubjectIndexing:
    """Commits to the subjects of a journal's entries when a month is over.

    Args:
        journal: of this server.
        member: for whom the server itself records.
        database: the setting ``journal.index_database``.
        look_s: seconds between two looks at the calendar.
    """

    def __init__(
        self,
        journal: Journal,
        member: MemberId,
        clock: Clock,
        database: str | None = None,
        look_s: float = LOOK_S,
    ) -> None:
        self._journal = journal
        self._member = member
        self._clock = clock
        self._database = database
        self._look_s = look_s
        self._since: datetime | None = None
        self._end: int | None = None
        self.trouble: str | None = None
        self._stopping = False

    async def run(self) -> None:
        """Commit whenever it is due, until cancelled."""
        try:
            await self._run()
        finally:
            self._stopping = True  # a thread that makes an index leaves it

    async def _run(self) -> None:
        while True:
            try:
                await self.look()
                self.trouble = None
            except (OSError, Problem) as error:
                if self.trouble is None:
                    log.error("subjects_not_committed", why=str(error))
                self.trouble = str(error)
            await asyncio.sleep(self._look_s)

    async def look(self) -> bool:
        """Commit if that is due; whether it was.

        Raises:
            OSError, Problem: the entries cannot be read, or the entry cannot be recorded.
        """
        if self._end is None and not await asyncio.to_thread(self._remember):
            return False
        now, since, size = self._clock.now(), self._since, self._journal.published_size
        if since is None or self._end is None or not is_due(since, now) or size <= self._end:
            return False
        made = await asyncio.to_thread(self._make, self._end, size)
        entry = Entry(kind=Kind.SYSTEM, side=Side.SERVER, at=now, event=EVENT, subjects=made)
        await self._journal.record(entry, self._member)
        self._since, self._end = now, made.end
        log.info("subjects_committed", first=made.first, end=made.end, leaves=made.leaves)
        return True

    def report(self) -> dict[str, Any]:
        """How it is, for the server's health."""
        if self.trouble is None:
            return {"ok": True}
        return {"ok": False, "problem": self.trouble}

    def _remember(self) -> bool:
        """Find the last commitment in the log; without one, when the log began. Blocks."""
        reader = self._journal.reader()
        if not reader.checkpoint.size:
            return False
        found = commitments(reader, self._database)
        if found:
            self._since, self._end = found[-1].at, found[-1].subjects.end
        else:
            self._since, self._end = parse_entry(reader.entry(reader.holdings.entries_from)).at, 0
        self._end = max(self._end, reader.holdings.entries_from)
        return True

    def _make(self, first: int, end: int) -> SubjectIndex:
        directory = self._journal.directory
        path = subject_tree.path_of(directory, first, end)
        tiles = TileFolder(directory / "log")
        return subject_tree.make(path, tiles, first, end, end, self._told)

    def _told(self, what: str, done: int, total: int) -> None:
        if self._stopping:
            raise OSError("the server stops")
        sleep(BREATH_S)


def is_due(since: datetime, now: datetime) -> bool:
    """Whether another month has begun since the last commitment.

    A commitment of the future was made by a clock that was wrong: it does not keep the next ones.
    """
    if (now.year, now.month) == (since.year, since.month):
        return False
    return now > since or since - now > _STEPPED
