"""How long an exchange may take: bounds for each phase, and the watch that keeps them.

An exchange connects, sends its request, waits for the first byte of the answer, and takes the
answer. Each has a bound of its own, since each says something else: a machine that is down, a line
that is cut, a backend that works long, a body that is long. The bound of the whole grows with the
bytes that have moved: a long body on a slow line may take its time as long as it moves, and a
trickle below the floor rate may not.

Pure: the caller says what time it is.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple


class Phase(StrEnum):
    """What an exchange was doing when its time was over."""

    WAIT = "waiting for a free connection"
    CONNECT = "connecting"
    SEND = "sending the request"
    FIRST_BYTE = "waiting for the first byte of the answer"
    ANSWER = "receiving the answer"


@dataclass(frozen=True, slots=True)
class Waits:
    """Bounds of an exchange's phases; the whole is bounded besides them.

    ``connect_s`` makes the pool's own bound stricter for a new connection. ``first_byte_s`` is from
    the end of the request on; ``stall_s`` for a stand-still while the request goes or the answer
    comes. ``floor_bytes_per_s`` gives the whole a second more for so many bytes.
    """

    first_byte_s: float = math.inf
    stall_s: float = math.inf
    floor_bytes_per_s: float = math.inf
    connect_s: float = math.inf


UNBOUNDED = Waits()
"""Nothing but the whole is bounded."""


class Whole(NamedTuple):
    """When all of an exchange must have ended, as far as nothing has moved, and its length."""

    deadline: float
    timeout_s: float

    def or_before(self, now: float, bound: str, seconds: float) -> tuple[float, str, float]:
        """When a phase that begins now is over, and name and seconds of the bound that ends it."""
        if now + seconds < self.deadline:
            return now + seconds, bound, seconds
        return self.deadline, "exchange_s", self.timeout_s


class Watch:
    """Knows when one exchange is over, as things stand.

    Invariants: ``due`` is never before the whole's own bound but for a phase's; bytes only make it
    later, unless they begin the answer, whose stand-still is bounded otherwise.
    """

    __slots__ = ("_begun", "_moved", "_since", "_timeout_s", "_waits", "phase")

    def __init__(self, waits: Waits, timeout_s: float, begun: float) -> None:
        self._waits = waits
        self._timeout_s = timeout_s
        self._begun = begun
        self._since = begun
        self._moved = 0
        self.phase = Phase.SEND

    @property
    def due(self) -> float:
        """When the exchange is over if nothing more happens."""
        return min(self._whole, self._since + self._bound[1])

    @property
    def bound(self) -> tuple[str, float]:
        """Name and seconds of the bound that comes first."""
        if self._since + self._bound[1] < self._whole:
            return self._bound
        return "exchange_s", self._timeout_s

    def begin(self, now: float) -> None:
        """The request is about to be written (again, when a kept connection was gone)."""
        self.phase, self._since, self._moved = Phase.SEND, now, 0

    def went(self, now: float, size: int) -> None:
        """So many bytes of the request were taken by the network."""
        self._moved += size
        if self.phase is not Phase.FIRST_BYTE:
            self._since = now

    def written(self, now: float) -> None:
        """The request is written to its end."""
        if self.phase is Phase.SEND:
            self.phase, self._since = Phase.FIRST_BYTE, now

    def forwarded(self, now: float) -> None:
        """A long request is written to its end: the other side passes it on, which takes as long
        again, before its first byte can come."""
        if self.phase is Phase.SEND:
            self.phase, self._since = Phase.FIRST_BYTE, now + (now - self._begun)

    def came(self, now: float, size: int) -> None:
        """So many bytes of the answer came."""
        self._moved += size
        self.phase, self._since = Phase.ANSWER, now

    @property
    def _whole(self) -> float:
        return self._begun + self._timeout_s + self._moved / self._waits.floor_bytes_per_s

    @property
    def _bound(self) -> tuple[str, float]:
        if self.phase is Phase.FIRST_BYTE:
            return "first_byte_s", self._waits.first_byte_s
        return "stall_s", self._waits.stall_s
