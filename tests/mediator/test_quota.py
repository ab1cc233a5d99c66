"""Quotas of agreements."""

from __future__ import annotations

from datetime import UTC, datetime

import orjson

from exchange.agreements import Agreement, Quota, parse_agreement
from exchange.problems import Code, Problem
from mediator.quota import DAY_S, QuotaBook, quota_key

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC).timestamp()


def _agreement(quota: dict[str, int], consumer: str = "LA/GOV/MOF/budget") -> Agreement:
    return parse_agreement(
        orjson.dumps(
            {
                "id": "a",
                "version": 1,
                "title": {"en": "t", "lo": "ຕ"},
                "provider": "LA/GOV/MPI",
                "consumer": consumer,
                "grants": [
                    {
                        "service": "LA/GOV/MPI/oda-mis/projects",
                        "endpoints": [{"method": "GET", "path": "/projects"}],
                        "fields": ["*"],
                    }
                ],
                "purposes": [],
                "quota": quota,
                "valid_from": "2026-01-01T00:00:00Z",
                "valid_until": "2027-01-01T00:00:00Z",
            }
        )
    )


def _spend(book: QuotaBook, agreement: Agreement, now: float) -> Problem | None:
    try:
        book.spend(agreement, now)
    except Problem as problem:
        return problem
    return None


def test_the_day_ends_at_midnight_utc() -> None:
    """A day's calls are used up, the refusal says when it renews, and midnight renews them."""
    book, agreement = QuotaBook(), _agreement({"per_day": 2})
    assert _spend(book, agreement, NOON) is None
    assert _spend(book, agreement, NOON + 1) is None
    refusal = _spend(book, agreement, NOON + 2)
    assert refusal is not None
    assert refusal.code is Code.QUOTA_EXCEEDED
    assert refusal.facts["retry_after_s"] == DAY_S // 2 - 1
    assert _spend(book, agreement, NOON + DAY_S / 2) is None


def test_calls_of_before_a_restart_count() -> None:
    """What the journal holds of today is part of today's use."""
    book, agreement = QuotaBook(), _agreement({"per_day": 2})
    key = quota_key(agreement.provider, agreement.consumer, agreement.id)
    book.restore(key, datetime.fromtimestamp(NOON - 60, UTC), calls=2)
    assert _spend(book, agreement, NOON) is not None


def test_agreements_of_one_name_do_not_share_a_quota() -> None:
    """Names are chosen by the parties: one consumer cannot use up what another was promised."""
    book = QuotaBook()
    assert _spend(book, _agreement({"per_day": 1}), NOON) is None
    assert _spend(book, _agreement({"per_day": 1}), NOON) is not None
    assert _spend(book, _agreement({"per_day": 1}, "LA/GOV/MOIC/trade"), NOON) is None


def test_calls_a_second_are_a_bucket() -> None:
    """A burst of the second's calls passes, the next is refused, a moment later one passes."""
    book, agreement = QuotaBook(), _agreement({"per_second": 3})
    assert [_spend(book, agreement, NOON) for _ in range(3)] == [None] * 3
    refusal = _spend(book, agreement, NOON)
    assert refusal is not None
    assert refusal.facts["retry_after_s"] == 1
    assert _spend(book, agreement, NOON + 0.4) is None


def test_a_refused_call_does_not_use_the_day() -> None:
    """Only calls that pass are counted."""
    book, agreement = QuotaBook(), _agreement({"per_second": 1, "per_day": 2})
    assert _spend(book, agreement, NOON) is None
    assert _spend(book, agreement, NOON) is not None
    assert _spend(book, agreement, NOON + 2) is None
    assert _spend(book, agreement, NOON + 4) is not None


def test_no_quota_is_no_limit() -> None:
    """An agreement without a quota counts nothing."""
    book, agreement = QuotaBook(), _agreement({})
    assert agreement.quota == Quota()
    assert all(_spend(book, agreement, NOON) is None for _ in range(1000))
