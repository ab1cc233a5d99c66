"""The gate: how many exchanges run, and whether new ones may begin."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from exchange.problems import ACTED, Code, Problem


class Gate:
    """Bounds concurrency with an honest 503 instead of a queue, and drains at a stop.

    A context: one exchange runs within it.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._closed = False
        self._emptied: asyncio.Event | None = None
        self.inside = 0
        self.on_refused: Callable[[Problem], None] | None = None
        """Is told of each refusal before it is raised, so that it can be counted and recorded."""

    @property
    def closed(self) -> bool:
        return self._closed

    def __enter__(self) -> None:
        """Hold a place for one exchange.

        Raises:
            Problem: ``ShuttingDown`` after :meth:`close`; ``ServerOverloaded`` when full.
        """
        if self._closed:
            raise self._refused(Problem(Code.SHUTTING_DOWN, where="server", facts={ACTED: False}))
        if self.inside >= self._limit:
            raise self._refused(
                Problem(
                    Code.OVERLOADED,
                    where="server",
                    detail=f"{self._limit} exchanges are running",
                    facts={"retry_after_s": 1, ACTED: False},
                )
            )
        self.inside += 1

    def __exit__(self, *raised: object) -> None:
        self.inside -= 1
        if not self.inside and self._emptied is not None:
            self._emptied.set()

    def _refused(self, problem: Problem) -> Problem:
        if self.on_refused is not None:
            self.on_refused(problem)
        return problem

    def close(self) -> None:
        """Refuse new exchanges from now on."""
        self._closed = True

    async def drained(self, timeout_s: float) -> bool:
        """Wait until no exchange runs; False when ``timeout_s`` was not enough."""
        try:
            async with asyncio.timeout(timeout_s):
                while self.inside:
                    self._emptied = asyncio.Event()
                    await self._emptied.wait()
        except TimeoutError:
            return False
        return True
