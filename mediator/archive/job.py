"""The archive of a running server: a run every hour in a process of its own, off the message path.

What must be done by the server itself, since it alone may write the journal: the entry that tells
of a removal. What goes wrong is in ``/healthz`` and the log, degrades and never stops an exchange;
the next run tries again.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any, Final

import structlog

from exchange.problems import Code, Problem
from mediator.archive.orders import Order, Result
from mediator.archive.removal import remove, told_by
from mediator.archive.settings import ArchiveSettings
from mediator.journal.holdings import PRUNED, Holdings
from mediator.journal.log import Journal
from serving.clock import Clock

FIRST_S: Final = 60.0
"""After a start, so that a server that is started again and again archives too."""
LONGEST_S: Final = 86_400.0
PUBLISHED_S: Final = 60.0
log = structlog.get_logger("mediator.archive")

Tell = Callable[[str, str], Awaitable[int]]
"""Record a system entry, by its event and evidence; gives its index."""


class Keeping:
    """Has the journal archived, its tables made and old parts removed; see :meth:`run`."""

    def __init__(
        self, journal: Journal, tell: Tell, settings: ArchiveSettings, clock: Clock
    ) -> None:
        self._journal = journal
        self._tell = tell
        self._settings = settings
        self._clock = clock
        self._result = Result()
        self._ended: datetime | None = None

    @property
    def wanted(self) -> bool:
        return self._settings.archives or self._settings.statistics

    async def run(self) -> None:
        """Work until cancelled; returns at once when the settings want nothing."""
        wait_s = min(FIRST_S, self._settings.every_s)
        while self.wanted:
            await asyncio.sleep(wait_s)
            await self.work()
            wait_s = self._settings.every_s

    async def work(self) -> Result:
        """One run, and the removal that it proposes."""
        try:
            result = await self._in_a_process()
            if result.proposed is not None:
                await self._remove(result.proposed)
        except (Problem, OSError) as error:
            problem = error if isinstance(error, Problem) else _failed(str(error))
            result = Result(
                self._result.entries, self._result.sealed, self._result.counted, None, (problem,)
            )
        for problem in result.problems:
            log.warning("archive_failed", why=str(problem))
        if not result.problems:
            self._ended = self._clock.now()
        self._result = result
        return result

    def report(self) -> dict[str, Any]:
        """What ``/healthz`` says."""
        report: dict[str, Any] = {"ok": not self._result.problems, "wanted": self.wanted}
        if self.wanted:
            report |= {
                "archived_entries": self._result.entries,
                "archived_sealed_parts": self._result.sealed,
                "counted_entries": self._result.counted,
                "last_good": self._ended.isoformat() if self._ended else None,
            }
        if self._result.problems:
            report["problem"] = "; ".join(map(str, self._result.problems))
        return report

    async def _in_a_process(self) -> Result:
        order = Order(self._journal.directory, self._settings, self._clock.now())
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "mediator.archive",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        try:
            async with asyncio.timeout(LONGEST_S):
                output, _ = await process.communicate(bytes(order))
        except TimeoutError as error:
            raise _failed(f"a run took longer than {LONGEST_S:.0f} s") from error
        finally:
            if process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    process.kill()  # nothing is lost: see mediator/archive/archiver.py
                await process.wait()
        if process.returncode:
            raise _failed(f"the process ended with {process.returncode}; see the log")
        return Result.parse(output)

    async def _remove(self, proposed: Holdings) -> None:
        """Tell of the removal in the log; once that is published, remove."""
        index = await self._tell(PRUNED, proposed.digest)
        async with asyncio.timeout(PUBLISHED_S):
            while self._journal.published_size <= index:  # noqa: ASYNC110  # of a thread
                await asyncio.sleep(0.2)
        holdings = told_by(proposed, index)
        removed = await asyncio.to_thread(remove, self._journal.directory, holdings)
        log.info(
            "pruned",
            files=removed,
            entries_from=holdings.entries_from,
            segments_from=holdings.segments_from,
            archive=holdings.archive,
        )


def _failed(detail: str) -> Problem:
    return Problem(Code.ARCHIVE_FAILED, where="archive", detail=detail)
