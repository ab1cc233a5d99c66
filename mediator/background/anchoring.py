"""Committing to anchors: an entry for each hour of them, so that none is taken away unseen.

A batch of anchors is closed when its hour is over and what witnesses and authorities gave is there,
or when the server stops. First the batch is closed, then its statement is kept, then the entry that
commits to it is recorded, then that is noted: after a crash the next step is done (again).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final

import structlog

from exchange.problems import Problem
from mediator.journal.anchor_batches import EVENT
from mediator.journal.anchors import AnchorStore
from serving.clock import Clock

PERIOD_S: Final = 60.0
"""How often it is looked whether an hour is over."""
log = structlog.get_logger("mediator.background.anchoring")


class Anchoring:
    """Has entries commit to the anchors of a journal; :meth:`run` is its endless task.

    ``record`` writes a system entry of an event, which commits to a digest (hex).
    """

    def __init__(
        self, anchors: AnchorStore, record: Callable[[str, str], Awaitable[int]], clock: Clock
    ) -> None:
        self._anchors = anchors
        self._record = record
        self._clock = clock
        self._problem: str | None = None

    async def run(self) -> None:
        """Work until cancelled."""
        while True:
            await self.work()
            await asyncio.sleep(PERIOD_S)

    async def finish(self) -> None:
        """At a stop: commit to what there is."""
        await self.work(final=True)

    async def work(self, *, final: bool = False) -> None:
        """Close what is over, and commit to all that is closed; what fails is tried again later."""
        anchors, newest = self._anchors, self._anchors.latest_size
        try:
            await self._commit()
            while anchors.closed_size < newest and await asyncio.to_thread(
                anchors.close_batch, self._clock.unix(), final=final
            ):
                await self._commit()
        except (Problem, OSError) as error:
            if self._problem is None:
                log.warning("anchors_not_committed", why=str(error))
            self._problem = str(error)
        else:
            self._problem = None

    async def _commit(self) -> None:
        """Raises: Problem: the journal cannot be written; OSError: the store of anchors failed."""
        while (statement := await asyncio.to_thread(self._anchors.pending)) is not None:
            index = await self._record(EVENT, statement.digest)
            await asyncio.to_thread(self._anchors.settle, statement, index)

    def report(self) -> dict[str, Any]:
        """The check of ``/healthz``."""
        return {"ok": True} if self._problem is None else {"ok": False, "problem": self._problem}
