"""Quotas of agreements: calls per second (token bucket) and per day (UTC)."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from exchange.agreements import Agreement
from exchange.identifiers import ApplicationId, MemberId
from exchange.problems import Code, Problem

DAY_S = 86400


def quota_key(provider: MemberId | str, consumer: ApplicationId | str, name: str) -> str:
    """What a quota is counted by: two pairs of parties may call their agreements the same."""
    return f"{provider} {consumer} {name}"


@dataclass(slots=True)
class _Usage:
    day: int = -1
    today: int = 0
    tokens: float = 0.0
    at: float = -1.0


@dataclass(slots=True)
class QuotaBook:
    """What each agreement has used; the day's count is rebuilt from the journal at a start."""

    _usage: dict[str, _Usage] = field(default_factory=dict)

    def snapshot(self, now: float) -> dict[str, int]:
        """The calls of today by :func:`quota_key`."""
        today = int(now) // DAY_S
        return {name: use.today for name, use in self._usage.items() if use.day == today}

    def restore(self, key: str, at: datetime, calls: int = 1) -> None:
        """Count calls that the journal holds from before this start."""
        usage = self._usage.setdefault(key, _Usage())
        day = int(at.timestamp()) // DAY_S
        if usage.day != day:
            usage.day, usage.today = day, 0
        usage.today += calls

    def spend(self, agreement: Agreement, now: float) -> None:
        """Take one call from the agreement's quota.

        Raises:
            Problem: ``QuotaExceeded``, with ``retry_after_s`` in its facts.
        """
        quota = agreement.quota
        if quota is None:
            return
        key = quota_key(agreement.provider, agreement.consumer, agreement.id)
        usage = self._usage.setdefault(key, _Usage())
        day, into_day = divmod(now, DAY_S)
        if usage.day != int(day):
            usage.day, usage.today = int(day), 0
        if quota.per_day is not None and usage.today >= quota.per_day:
            raise Problem(
                Code.QUOTA_EXCEEDED,
                where=f"agreement {agreement.id}",
                detail=f"the {quota.per_day} calls of today (UTC) are used up",
                facts={"retry_after_s": int(DAY_S - into_day) + 1, "per_day": quota.per_day},
            )
        if quota.per_second is not None:
            burst = float(quota.per_second)
            if usage.at < 0:
                usage.tokens = burst
            else:
                gained = max(0.0, now - usage.at) * burst
                usage.tokens = min(burst, usage.tokens + gained)
            usage.at = now
            if usage.tokens < 1.0:
                raise Problem(
                    Code.QUOTA_EXCEEDED,
                    where=f"agreement {agreement.id}",
                    detail=f"more than {quota.per_second} calls a second",
                    facts={"retry_after_s": 1, "per_second": quota.per_second},
                )
            usage.tokens -= 1.0
        usage.today += 1
