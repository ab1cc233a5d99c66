"""Thinning out old evidence beside the log, once a day: the files stay of a bounded size.

What goes is covered by what stays (:meth:`mediator.journal.anchors.AnchorStore.thin_out`,
:meth:`mediator.journal.evidence.EvidenceStore.thin_out`); no proof needs it, and verification knows
the rule. What fails is said, and tried again on the next day.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, Final, Protocol

import structlog

from serving.clock import Clock

PERIOD_S: Final = 86_400.0
FIRST_S: Final = 300.0
"""After a start, so that a server that is started again and again thins out too."""
log = structlog.get_logger("mediator.retention.thinning")


class Store(Protocol):
    """A file of evidence that can be thinned out."""

    def thin_out(self, now: float) -> int:
        """Remove what is old and covered; how much went. Blocks.

        Raises:
            OSError: the disk failed; nothing or all of it is gone.
        """
        ...


class Thinning:
    """Has stores (by their names) thinned out; :meth:`run` is its endless task."""

    def __init__(self, stores: Mapping[str, Store], clock: Clock) -> None:
        self._stores = stores
        self._clock = clock
        self._problems: dict[str, str] = {}

    async def run(self) -> None:
        """Work until cancelled."""
        await asyncio.sleep(FIRST_S)
        while True:
            await self.work()
            await asyncio.sleep(PERIOD_S)

    async def work(self) -> None:
        """Thin out every store once."""
        for name, store in self._stores.items():
            try:
                gone = await asyncio.to_thread(store.thin_out, self._clock.unix())
            except OSError as error:
                self._problems[name] = str(error)
                log.warning("not_thinned_out", file=name, why=str(error))
            else:
                self._problems.pop(name, None)
                if gone:
                    log.info("thinned_out", file=name, gone=gone)

    def report(self) -> dict[str, Any]:
        """The check of ``/healthz``."""
        problem = "; ".join(self._problems.values())
        return {"ok": False, "problem": problem} if problem else {"ok": True}
