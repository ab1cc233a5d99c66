"""Rates: calls per second (token bucket) and per day (UTC), of agreements and of services.

Invariants:
- what is used up is refused whole: a call that one rate refuses uses nothing of any other;
- seconds are counted by a clock that nobody sets (monotonic), so that a corrected wall clock
  neither empties nor fills a bucket;
- days are those of the wall clock. A clock that is set back finds the day's count as it was, and
  one that comes back from another day finds the right one: each of the last days keeps its own.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from math import ceil
from typing import NamedTuple

from exchange.agreements import Agreement
from exchange.identifiers import ApplicationId, MemberId, ServiceId
from exchange.problems import ACTED, Code, Problem
from serving.backends import NotDelivered

DAY_S = 86400
KEPT_DAYS = 4

NOT_COUNTED = frozenset({Code.QUOTA_EXCEEDED, Code.OVERLOADED})
"""What a call ends with that did not happen, for want of room."""


def did_not_happen(problem: Problem) -> bool:
    """Whether a call ended before the backend was asked, for want of room: it uses nothing of the
    day. A server may also find that it has no room for what the backend answered."""
    undone = isinstance(problem, NotDelivered) or problem.facts.get(ACTED) is False
    return undone and problem.code in NOT_COUNTED


def quota_key(provider: MemberId | str, consumer: ApplicationId | str, name: str) -> str:
    """What a quota is counted by: two pairs of parties may call their agreements the same."""
    return f"{provider} {consumer} {name}"


class Rate(NamedTuple):
    """How many calls something may take; None is without limit.

    ``of`` names it for people, ``ours`` tells whose bound it is: the provider's own (503) or the
    caller's share (429).
    """

    key: str
    of: str
    per_second: int | None
    per_day: int | None
    ours: bool = False


def rate_of_agreement(agreement: Agreement) -> Rate:
    """The quota of an agreement."""
    quota = agreement.quota
    key = quota_key(agreement.provider, agreement.consumer, agreement.id)
    return Rate(key, f"agreement {agreement.id}", quota.per_second, quota.per_day)


def rate_of_service(service: ServiceId, per_second: int | None, per_day: int | None) -> Rate:
    """What a service takes of all its callers together."""
    return Rate(str(service), f"service {service}", per_second, per_day, ours=True)


class Bucket:
    """Tokens of a rate: one second's worth at most, refilled evenly."""

    __slots__ = ("_at", "_tokens")

    def __init__(self) -> None:
        self._tokens: float | None = None
        self._at = 0.0

    def wait_s(self, per_second: int, at: float) -> float:
        """Seconds until there is a token; 0 when there is one. ``at`` is monotonic."""
        burst = float(per_second)
        tokens = self._tokens
        gained = max(0.0, at - self._at) * burst
        tokens = burst if tokens is None else min(burst, tokens + gained)
        self._tokens, self._at = tokens, at
        return 0.0 if tokens >= 1.0 else (1.0 - tokens) / burst

    def take(self) -> None:
        """Take a token, after :meth:`wait_s` said 0."""
        if self._tokens is not None:
            self._tokens -= 1.0


class Days:
    """Counts by day; of the days that were counted last, a few are kept."""

    __slots__ = ("_counts",)

    def __init__(self) -> None:
        self._counts: dict[int, int] = {}

    def of(self, day: int) -> int:
        """What was counted for this day."""
        return self._counts.get(day, 0)

    def add(self, day: int, calls: int) -> None:
        """Count calls, or take back some."""
        counts = self._counts
        count = counts.pop(day, 0) + calls  # popped, so that the day counted last stands last
        counts[day] = max(0, count)
        if len(counts) > KEPT_DAYS:
            del counts[next(iter(counts))]


@dataclass(slots=True)
class _Usage:
    bucket: Bucket = field(default_factory=Bucket)
    days: Days = field(default_factory=Days)
    running: Days = field(default_factory=Days)


@dataclass(slots=True)
class QuotaBook:
    """What each agreement and service has used; the day's count is rebuilt at a start."""

    _usage: dict[str, _Usage] = field(default_factory=dict)

    def snapshot(self, now: float) -> dict[str, int]:
        """The calls of today by key, without those that are under way."""
        today = int(now) // DAY_S
        counts = (
            (key, usage.days.of(today) - usage.running.of(today))
            for key, usage in self._usage.items()
        )
        return {key: count for key, count in counts if count}

    def restore(self, key: str, at: datetime, calls: int = 1) -> None:
        """Count calls that the journal holds from before this start."""
        self._of(key).days.add(int(at.timestamp()) // DAY_S, calls)

    def spend(self, rates: tuple[Rate, ...], now: float, at: float) -> None:
        """Take one call of each rate; :meth:`settle` when it is over.

        Args:
            now: wall-clock seconds since the epoch, for the day.
            at: seconds of a clock that is never set, for the second.

        Raises:
            Problem: ``QuotaExceeded`` or, for a rate of ours, ``ServerOverloaded``, with
                ``retry_after_s`` in its facts; nothing was taken.
        """
        day = int(now) // DAY_S
        used = self._checked(rates, now, at)
        for rate, usage in used:
            usage.days.add(day, 1)
            usage.running.add(day, 1)
            if rate.per_second is not None:
                usage.bucket.take()

    def check(self, rates: tuple[Rate, ...], now: float, at: float) -> None:
        """What :meth:`spend` would say now; nothing is taken.

        Raises:
            Problem: as :meth:`spend`.
        """
        self._checked(rates, now, at)

    def used(self, rate: Rate, now: float) -> int:
        """The calls of today that a rate has counted."""
        return self._of(rate.key).days.of(int(now) // DAY_S)

    def _checked(self, rates: tuple[Rate, ...], now: float, at: float) -> list[tuple[Rate, _Usage]]:
        day = int(now) // DAY_S
        used = [(rate, self._of(rate.key)) for rate in rates]
        for rate, usage in used:
            if rate.per_day is not None and usage.days.of(day) >= rate.per_day:
                raise _used_up(rate, "per_day", rate.per_day, DAY_S - now % DAY_S)
            if rate.per_second is not None:
                wait_s = usage.bucket.wait_s(rate.per_second, at)
                if wait_s:
                    raise _used_up(rate, "per_second", rate.per_second, wait_s)
        return used

    def settle(self, rates: tuple[Rate, ...], now: float) -> None:
        """A call is over, and its record comes next; ``now`` is when it was taken."""
        for rate in rates:
            self._of(rate.key).running.add(int(now) // DAY_S, -1)

    def give_back(self, rates: tuple[Rate, ...], now: float) -> None:
        """The call did not happen: this server had no room for it after all."""
        for rate in rates:
            self._of(rate.key).days.add(int(now) // DAY_S, -1)

    def _of(self, key: str) -> _Usage:
        usage = self._usage.get(key)
        if usage is None:
            usage = self._usage[key] = _Usage()
        return usage


def _used_up(rate: Rate, limit: str, value: int, wait_s: float) -> Problem:
    span = "of today (UTC)" if limit == "per_day" else "of this second"
    return Problem(
        Code.OVERLOADED if rate.ours else Code.QUOTA_EXCEEDED,
        where=rate.of,
        detail=f"the {value} calls {span} are used up",
        facts={
            "limit": limit,
            limit: value,
            "retry_after_s": max(1, ceil(wait_s)),
            ACTED: False,
        },
    )
