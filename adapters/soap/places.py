"""Places for calls of one source: what is at work, and what may wait.

A call has its place from before it is sent until its answer has been read. A reading that its
caller no longer waits for keeps the place until it ends, so however slowly a source's answers are
read, there are never more of them than places, and nobody of another source waits for them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any, TypeVar

from exchange.problems import ACTED, Code, Problem
from serving.backends import NotDelivered
from serving.http_backends import RETRY_AFTER_S

T = TypeVar("T")


class Places:
    """At most ``most`` calls at once, and at most ``waiting`` that wait for a place."""

    def __init__(self, most: int, waiting: int) -> None:
        self._free = asyncio.Semaphore(most)
        self._most_waiting = waiting
        self._waiting = 0
        self._threads = ThreadPoolExecutor(most, thread_name_prefix="saphan-soap")

    async def take(self, timeout_s: float) -> Place:
        """A place, within ``timeout_s``.

        Raises:
            NotDelivered: ``ServerOverloaded`` when too many wait already, or none was free in time.
        """
        if self._free.locked():
            if self._waiting >= self._most_waiting:
                raise _busy(f"{self._waiting} requests wait for this source already")
            self._waiting += 1
            try:
                async with asyncio.timeout(timeout_s):
                    await self._free.acquire()
            except TimeoutError as error:
                raise _busy("the source was busy for the whole time allowed") from error
            finally:
                self._waiting -= 1
        else:
            await self._free.acquire()  # at once
        return Place(self._free, self._threads)

    def close(self) -> None:
        """Begin no more readings; those that run end by themselves."""
        self._threads.shutdown(wait=False, cancel_futures=True)


class Place:
    """One place, given back at the end of the block, or when the reading in it ends."""

    def __init__(self, free: asyncio.Semaphore, threads: ThreadPoolExecutor) -> None:
        self._free = free
        self._threads = threads
        self._read = False

    def __enter__(self) -> Place:
        return self

    def __exit__(self, *told: object) -> None:
        if not self._read:
            self._free.release()

    async def read(self, work: Callable[[], T], timeout_s: float) -> T:
        """Do ``work`` in a thread; call it once.

        Raises:
            TimeoutError: when it takes longer; its place is then free when it has ended.
            Problem: ``ServerOverloaded`` when the source was closed meanwhile.
        """
        loop = asyncio.get_running_loop()
        try:
            job = self._threads.submit(work)
        except RuntimeError as error:
            raise Problem(Code.OVERLOADED, where="source", detail="is being closed") from error
        self._read = True

        def ended(_: Any) -> None:
            with suppress(RuntimeError):  # of a loop that is closed, where nobody waits
                loop.call_soon_threadsafe(self._free.release)

        job.add_done_callback(ended)
        async with asyncio.timeout(max(0.0, timeout_s)):
            return await asyncio.wrap_future(job)


def _busy(detail: str) -> NotDelivered:
    facts = {"retry_after_s": RETRY_AFTER_S, ACTED: False}
    return NotDelivered(Code.OVERLOADED, where="source", detail=detail, facts=facts)
