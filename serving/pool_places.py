"""The places of a pool: each exchange and each idle connection holds one.

Invariants:
- no more than ``max_connections`` places are held; those who wait for one are a bounded queue;
- the idle connection that was used last is taken first;
- only a clean connection is kept, young enough, and made since the last time that connections were
  retired; what has been idle for too long is closed.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from dataclasses import dataclass

from serving.connection import Connection, raise_in
from serving.failures import PoolClosed, PoolFull, TimedOut
from serving.waits import Phase, Whole


@dataclass(frozen=True, slots=True)
class PoolLimits:
    """Bounds of one pool. ``wait_s`` is for a free connection: those who wait are a queue.

    Keep ``idle_s`` below the idle time-out of the server at the other end: then a kept connection
    is rarely found closed.
    """

    max_connections: int = 64
    max_waiting: int = 1024
    idle_s: float = 30.0
    max_age_s: float = 600.0
    wait_s: float = math.inf
    connect_s: float = 5.0
    max_head_bytes: int = 64 * 1024
    max_body_bytes: int = 16 * 1024 * 1024


class PoolPlaces:
    """Who holds a place, and who waits for one; ``emptied`` is set when nobody holds any."""

    def __init__(self, limits: PoolLimits, emptied: asyncio.Event) -> None:
        self._limits = limits
        self._emptied = emptied
        self.held = 0
        self.generation = 0
        self.closed = False
        self._idle: list[Connection] = []
        self._waiters: deque[asyncio.Future[Connection | None]] = deque()
        self._reaper: asyncio.TimerHandle | None = None

    @property
    def busy(self) -> int:
        """Places that exchanges hold."""
        return self.held - len(self._idle)

    @property
    def waiting(self) -> int:
        """Exchanges that wait for a place."""
        return len(self._waiters)

    def retire(self) -> None:
        """Keep no connection that was made before now; idle ones are closed at once."""
        self.generation += 1
        idle, self._idle = self._idle, []
        for connection in idle:
            self._free()
            connection.leave()

    def close(self) -> None:
        """Give no places: who waits fails with :class:`PoolClosed`, idle connections are closed."""
        self.closed = True
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                raise_in(waiter, PoolClosed())
        if self._reaper is not None:
            self._reaper.cancel()
            self._reaper = None
        self.retire()

    def left(self, connection: Connection) -> None:
        """A connection is gone; if it was idle, its place is free."""
        if connection in self._idle:
            self._idle.remove(connection)
            self._free()

    def take_idle(self, now: float) -> Connection | None:
        """The connection that was used last, so that those not needed grow old and end."""
        idle = self._idle
        limits = self._limits
        while idle:
            connection = idle.pop()
            if (
                connection.usable
                and now - connection.idle_since < limits.idle_s
                and now - connection.made_at < limits.max_age_s
            ):
                return connection
            self._free()
            connection.leave()
        return None

    async def take(self, loop: asyncio.AbstractEventLoop, whole: Whole) -> Connection | None:
        """A place in the pool: an idle connection, or None for the right to make one."""
        limits = self._limits
        if self.held < limits.max_connections:
            self.held += 1
            return None
        if len(self._waiters) >= limits.max_waiting:
            raise PoolFull(len(self._waiters))
        waiter: asyncio.Future[Connection | None] = loop.create_future()
        self._waiters.append(waiter)
        until, bound, seconds = whole.or_before(loop.time(), "wait_s", limits.wait_s)
        timer = loop.call_at(until, _time_out, waiter, bound, seconds)
        try:
            return await waiter
        except BaseException:
            if waiter.done() and not waiter.cancelled() and waiter.exception() is None:
                self.give_back(waiter.result(), loop)  # cancelled with the place in hand
            elif waiter in self._waiters:
                self._waiters.remove(waiter)
            raise
        finally:
            timer.cancel()

    def give_back(self, connection: Connection | None, loop: asyncio.AbstractEventLoop) -> None:
        """Give a place back, with the connection that had it where there is one."""
        now = loop.time()
        if (
            connection is None
            or not connection.usable
            or self.closed
            or connection.generation != self.generation
            or now - connection.made_at >= self._limits.max_age_s
        ):
            if connection is not None:
                connection.leave()
            self._free()
            return
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_result(connection)
                return
        connection.idle_since = now
        self._idle.append(connection)
        if self._reaper is None:
            self._reaper = loop.call_at(now + self._limits.idle_s, self._reap, loop)

    def _free(self) -> None:
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_result(None)
                return
        self.held -= 1
        if not self.held:
            self._emptied.set()

    def _reap(self, loop: asyncio.AbstractEventLoop) -> None:
        """Close what has been idle for too long; comes back as long as something is idle."""
        self._reaper = None
        oldest = loop.time() - self._limits.idle_s
        kept = []
        for connection in self._idle:
            if connection.idle_since > oldest:
                kept.append(connection)
            else:
                self._free()
                connection.leave()
        self._idle = kept
        if kept:
            first = min(connection.idle_since for connection in kept)
            self._reaper = loop.call_at(first + self._limits.idle_s, self._reap, loop)


def _time_out(waiter: asyncio.Future[Connection | None], bound: str, seconds: float) -> None:
    if not waiter.done():
        raise_in(waiter, TimedOut(Phase.WAIT, bound, seconds))
