"""One timer for all exchanges of a pool: it rings at the earliest deadline, or before it."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Collection

from serving.connection import Connection


class Alarm:
    """Expires the connections among ``watched`` that are due."""

    def __init__(self, watched: Collection[Connection]) -> None:
        self._watched = watched
        self._timer: asyncio.TimerHandle | None = None
        self._at = math.inf

    def by(self, deadline: float) -> None:
        """Ring at ``deadline`` at the latest."""
        if deadline < self._at:
            self._set(asyncio.get_running_loop(), deadline)

    def cancel(self) -> None:
        """Ring no more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _set(self, loop: asyncio.AbstractEventLoop, at: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._at = at
        self._timer = loop.call_at(at, self._ring, loop)

    def _ring(self, loop: asyncio.AbstractEventLoop) -> None:
        """Expire what is due; comes back as long as exchanges are under way."""
        self._timer, self._at = None, math.inf
        now = loop.time()
        for connection in tuple(self._watched):
            if connection.deadline <= now:
                connection.expire(now)
        first = min((connection.deadline for connection in self._watched), default=math.inf)
        if first < math.inf:
            self._set(loop, first)
