"""When what must be signed again in time is said to end soon: 30, 7 and 1 days before.

What lives for less than 90 days is told of in proportion: at a third of its life before the end, at
7 and at 1 ninetieth of it. What people must meet for is told of 90 days before as well.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

DAYS: Final = (30, 7, 1)
MEETING_DAYS: Final = (90, *DAYS)
LIFE_FIELD: Final = "x-saphan-life-s"
"""In the signed part of metadata that online keys sign: how long it is valid in all, in seconds."""
_WHOLE: Final = timedelta(days=90)


@dataclass(frozen=True, slots=True)
class End:
    """The end of something; ``life`` is how long it is valid in all, where that is less than 90
    days, and ``days`` are when to tell."""

    at: datetime
    life: timedelta | None = None
    days: tuple[int, ...] = DAYS

    @classmethod
    def of(cls, at: datetime, fields: Mapping[str, object], days: tuple[int, ...] = DAYS) -> End:
        """The end of metadata whose signed part has these further fields."""
        seconds = fields.get(LIFE_FIELD)
        if isinstance(seconds, int) and 0 < seconds < _WHOLE.total_seconds():
            return cls(at, timedelta(seconds=seconds), days)
        return cls(at, None, days)

    def within(self, now: datetime) -> int | None:
        """The least number of days within which it ends, in proportion to its life; 0 when it has
        ended; nothing when it ends later."""
        left = self.at - now
        if left <= timedelta():
            return 0
        share = 1.0 if self.life is None else min(1.0, self.life / _WHOLE)
        return min((day for day in self.days if left <= timedelta(days=day) * share), default=None)


def soon(ends: Mapping[str, End], now: datetime) -> dict[str, int]:
    """What has come near its end: within so many days, 0 when it has ended."""
    near = {name: end.within(now) for name, end in ends.items()}
    return {name: within for name, within in near.items() if within is not None}


class Told:
    """What was told of ends, so that each nearness is told once by a process."""

    def __init__(self) -> None:
        self._told: dict[str, int] = {}

    def news(self, ends: Mapping[str, End], now: datetime) -> dict[str, int]:
        """What came nearer since the last time; what was renewed is forgotten."""
        near = soon(ends, now)
        news = {name: within for name, within in near.items() if self._told.get(name) != within}
        self._told = near
        return news
