"""Turns: how many messages a server takes up in one turn of its event loop.

A group commit, or one look at many sockets, makes a burst of messages ready at once. Worked off in
one go, the first of them could go on only when the last is done: the next server, and the disk,
wait for the whole burst and then get it whole, and so two servers work in alternation instead of
side by side. Measured at 32 connections, servers that recorded into nothing: 1,000 exchanges/s
without turns, 1,600 with (docs/benchmarks.md).

Invariants: first come, first served; at most ``size`` messages a turn; nobody waits while fewer
were taken up; a waiter that is cancelled takes no place.
"""

from __future__ import annotations

import asyncio
from collections import deque


class Turns:
    """Asked before each step of a message that takes long; belongs to one event loop."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._left = size
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._counting = False  # whether a turn with somebody in it is under way

    async def next(self) -> None:
        """Go on at once, or in a later turn of the loop when this one has its messages."""
        if not self._counting:
            self._counting = True
            asyncio.get_running_loop().call_soon(self._begin)
        if self._left:
            self._left -= 1
            return
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(waiter)
        await waiter

    def _begin(self) -> None:
        """A turn begins: those who waited come first."""
        left, waiting = self._size, self._waiting
        while left and waiting:
            waiter = waiting.popleft()
            if not waiter.done():
                waiter.set_result(None)
                left -= 1
        self._left = left
        self._counting = left < self._size
        if self._counting:
            asyncio.get_running_loop().call_soon(self._begin)
