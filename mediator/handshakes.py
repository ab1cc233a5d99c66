"""Connections that never became a request: counted, logged, and some of them recorded."""

from __future__ import annotations

import asyncio
import ssl
from collections import Counter
from collections.abc import Callable

import structlog

from exchange.problems import Code, Problem
from mediator.background import Background
from mediator.metrics import Metrics
from mediator.records import Recorder

log = structlog.get_logger("mediator.handshakes")

HANDSHAKES_RECORDED_PER_S = 10


class Handshakes:
    """Counts all, logs and records some: a flood must fill neither the journal nor the logs."""

    def __init__(self, recorder: Recorder, metrics: Metrics, background: Background) -> None:
        self._recorder = recorder
        self._metrics = metrics
        self._background = background
        self._second = 0
        self._recorded: Counter[str] = Counter()

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

    def _note(self, listener: str, problem: Problem) -> None:
        second = int(asyncio.get_running_loop().time())
        if second != self._second:
            self._second = second
            self._recorded.clear()
        self._recorded[listener] += 1  # each by itself: noise at one hides nothing at another
        if self._recorded[listener] <= HANDSHAKES_RECORDED_PER_S:
            log.warning(
                "connection_refused", listener=listener, code=problem.code, why=problem.detail
            )
            self._background.start(record_quietly(self._recorder, "connection refused", problem))


async def record_quietly(recorder: Recorder, event: str, problem: Problem | None = None) -> None:
    """Record an event that nobody waits for; a journal that cannot be written says so itself."""
    try:
        await recorder.event(event, problem)
    except Problem as failure:
        log.error("event_not_recorded", recorded=event, why=str(failure))
