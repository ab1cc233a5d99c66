"""The gate: how many exchanges run, and whether new ones may begin."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from exchange.problems import Code, Problem


class Gate:
    """Bounds concurrency with an honest 503 instead of a queue, and drains at a stop."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._closed = False
        self._empty = asyncio.Event()
        self._empty.set()
        self.inside = 0
        self.on_refused: Callable[[Problem], None] | None = None
        """Is told of each refusal before it is raised, so that it can be counted and recorded."""

    @property
    def closed(self) -> bool:
        return self._closed

    @contextmanager
    def enter(self) -> Iterator[None]:
        """Hold a place for one exchange.

        Raises:
            Problem: ``ShuttingDown`` after :meth:`close`; ``ServerOverloaded`` when full.
        """
        if self._closed:
            raise self._refused(Problem(Code.SHUTTING_DOWN, where="server"))
        if self.inside >= self._limit:
            raise self._refused(
                Problem(
                    Code.OVERLOADED,
                    where="server",
                    detail=f"{self._limit} exchanges are running",
                    facts={"retry_after_s": 1},
                )
            )
        self.inside += 1
        self._empty.clear()
        try:
            yield
        finally:
            self.inside -= 1
            if not self.inside:
                self._empty.set()

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
                await self._empty.wait()
        except TimeoutError:
            return False
        return True
