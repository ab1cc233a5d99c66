"""What is refused before it is a request, or cannot be recorded: every refusal is accounted for.

A flood must fill neither the journal nor the logs, and nobody must be able to hide in it. So a few
refusals a second are recorded one by one, each listener for itself; of the others, and of those
that the journal could not take, the number is recorded when the second is over: one entry for each
listener and code. Metrics count all. What a process that is killed counted in its last second is
lost with it; a stop writes it down.
"""

from __future__ import annotations

import asyncio
import ssl
from collections import Counter
from collections.abc import Callable, Coroutine
from typing import Any

import structlog

from exchange.problems import Code, Problem
from mediator.administration.metrics import Metrics
from mediator.background.tasks import Background
from mediator.message.records import Recorder

log = structlog.get_logger("mediator.message.handshakes")

REFUSALS_PER_S = 10
TOLD_EVERY_S = 1.0
REFUSED, MANY = "connection refused", "connections refused"


class Handshakes:
    """Counts all, records ``per_s`` a second of each listener, and the number of the others."""

    def __init__(
        self,
        recorder: Recorder,
        metrics: Metrics,
        background: Background,
        per_s: int = REFUSALS_PER_S,
    ) -> None:
        self._recorder = recorder
        self._metrics = metrics
        self._background = background
        self._per_s = per_s
        self._second = 0
        self._recorded: Counter[str] = Counter()
        self._untold: Counter[tuple[str, Code]] = Counter()
        self._timer: asyncio.TimerHandle | None = None
        self._recording: set[asyncio.Task[None]] = set()

    def observer(self, listener: str, code: Code) -> Callable[[ssl.SSLError], None]:
        """The callback for one listener's context."""

        def failed(error: ssl.SSLError) -> None:
            self._metrics.handshakes.labels(listener).inc()
            reason = getattr(error, "verify_message", "") or error.reason or "TLS failed"
            found = code
            if code is Code.PEER_CERTIFICATE_UNTRUSTED and getattr(error, "verify_code", 0) in (
                9,
                10,
            ):
                found = Code.PEER_CERTIFICATE_EXPIRED
            self._note(listener, Problem(found, where=f"TLS, {listener} listener", detail=reason))

        return failed

    def malformed(self, listener: str) -> Callable[[Problem], None]:
        """The callback for what one listener refuses before it is a request."""

        def refused(problem: Problem) -> None:
            self._metrics.turned_away.labels(listener, problem.code.value).inc()
            self._note(listener, problem)

        return refused

    def unrecorded(self, problem: Problem) -> None:
        """A refusal that the journal could not take."""
        self._count("journal", problem)

    async def close(self) -> None:
        """Record what is not recorded yet; after the listeners, before the journal."""
        if self._timer is not None:
            self._timer.cancel()
        if self._recording:
            await asyncio.wait(self._recording, timeout=TOLD_EVERY_S)
        await self._tell()
        if self._untold:
            numbers = {f"{listener}: {code}": n for (listener, code), n in self._untold.items()}
            log.error("refusals_not_recorded", numbers=numbers)

    def _note(self, listener: str, problem: Problem) -> None:
        second = int(asyncio.get_running_loop().time())
        if second != self._second:
            self._second = second
            self._recorded.clear()
        self._recorded[listener] += 1  # each by itself: noise at one hides nothing at another
        if self._recorded[listener] > self._per_s:
            self._count(listener, problem)
            return
        log.warning("connection_refused", listener=listener, code=problem.code, why=problem.detail)
        self._start(self._record(listener, problem))

    async def _record(self, listener: str, problem: Problem) -> None:
        try:
            await self._recorder.event(REFUSED, problem)
        except Problem as failure:
            log.error("event_not_recorded", recorded=REFUSED, why=str(failure))
            self._count(listener, problem)

    def _count(self, listener: str, problem: Problem) -> None:
        self._untold[listener, problem.code] += 1
        if self._timer is None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(TOLD_EVERY_S, self._due)

    def _due(self) -> None:
        self._timer = None
        self._start(self._tell())

    async def _tell(self) -> None:
        """Record the numbers; what the journal does not take stays, and is told a second later."""
        untold, self._untold = self._untold, Counter()
        for (listener, code), number in untold.items():
            where = "journal" if listener == "journal" else f"{listener} listener"
            try:
                await self._recorder.event(MANY, Problem(code, where=where), refusals=number)
            except Problem as failure:
                log.error("refusals_not_recorded_yet", number=number, why=str(failure))
                self._untold[listener, code] += number
        if self._untold and self._timer is None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(TOLD_EVERY_S, self._due)

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = self._background.start(work)
        self._recording.add(task)
        task.add_done_callback(self._recording.discard)


async def record_quietly(recorder: Recorder, event: str, problem: Problem | None = None) -> None:
    """Record an event that nobody waits for; a journal that cannot be written says so itself."""
    try:
        await recorder.event(event, problem)
    except Problem as failure:
        log.error("event_not_recorded", recorded=event, why=str(failure))
