"""Warnings before an agreement ends: 30, 7 and 1 days ahead, each once."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

import structlog

from exchange.agreements import Agreement, Party
from exchange.registry.endings import DAYS, End

log = structlog.get_logger("mediator.agreements.endings")


class Endings:
    """Says which agreements end soon; what was said is not said again by this process."""

    def __init__(self) -> None:
        self._told: dict[tuple[str, str, str], int] = {}

    def warn(self, agreements: Sequence[Agreement], now: datetime, side: Party) -> None:
        """Log those that came nearer to their end than a number of days of :data:`DAYS`.

        Args:
            side: which party's server this is: the provider's then refuses calls, the consumer's
                applications get no answers.
        """
        ending = not_renewed(agreements)
        for agreement in ending:
            within = within_days(agreement, now)
            key = (agreement.reference, str(agreement.provider), str(agreement.consumer))
            if within is not None and self._told.get(key) != within:
                self._told[key] = within
                log.warning(
                    "agreement_ends",
                    agreement=agreement.reference,
                    side=side.value,
                    provider=str(agreement.provider),
                    consumer=str(agreement.consumer),
                    valid_until=agreement.valid_until.isoformat(),
                    within_days=within,
                    next_step="saphan agreement renew, and both parties seal the new version",
                )

    def counts(self, agreements: Sequence[Agreement], now: datetime) -> dict[int, int]:
        """How many end within each number of days of :data:`DAYS`, without a renewal."""
        left = [agreement.valid_until - now for agreement in not_renewed(agreements)]
        return {
            days: sum(timedelta() < each <= timedelta(days=days) for each in left) for days in DAYS
        }


def within_days(agreement: Agreement, now: datetime) -> int | None:
    """The least number of days of :data:`DAYS` within which it ends; nothing when later, or when
    it has ended."""
    return End(agreement.valid_until).within(now) or None


def not_renewed(agreements: Sequence[Agreement]) -> list[Agreement]:
    """Those of which no higher version is pinned."""
    highest: dict[object, Agreement] = {}
    for agreement in agreements:
        name = (agreement.id, agreement.provider, agreement.consumer)
        known = highest.get(name)
        if known is None or known.version < agreement.version:
            highest[name] = agreement
    return list(highest.values())
