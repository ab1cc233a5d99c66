"""Quotas of agreements."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from exchange.agreements import Agreement, Quota, parse_agreement
from exchange.identifiers import ServiceId
from exchange.problems import ACTED, Code, Problem
from mediator.agreements.quota import (
    DAY_S,
    NOT_COUNTED,
    QuotaBook,
    Rate,
    did_not_happen,
    quota_key,
    rate_of_agreement,
    rate_of_service,
)
from serving.backends import NotDelivered

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


def _spend(
    book: QuotaBook, agreement: Agreement, now: float, at: float | None = None
) -> Problem | None:
    """Spend a call at this wall-clock time; the monotonic clock runs alike if not given."""
    try:
        rates = (rate_of_agreement(agreement),)
        book.spend(rates, now, now if at is None else at)
        book.settle(rates, now)
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
    assert refusal.facts["retry_after_s"] == DAY_S // 2 - 2
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


def test_a_service_takes_so_many_calls_of_all_together() -> None:
    """Its own rate is ours to keep: a 503 that says when, and nothing of the agreement is used."""
    book = QuotaBook()
    service = rate_of_service(ServiceId.parse("LA/GOV/MPI/oda-mis/projects"), None, 2)
    mine = rate_of_agreement(_agreement({"per_day": 9}))
    other = rate_of_agreement(_agreement({"per_day": 9}, "LA/GOV/MOIC/trade"))
    for rates in ((mine, service), (other, service)):
        book.spend(rates, NOON, NOON)
        book.settle(rates, NOON)
    with pytest.raises(Problem) as caught:
        book.spend((mine, service), NOON, NOON)
    assert caught.value.code is Code.OVERLOADED
    assert caught.value.facts["limit"] == "per_day"
    assert caught.value.facts["retry_after_s"] == DAY_S // 2
    assert book.snapshot(NOON) == {mine.key: 1, other.key: 1, service.key: 2}


def test_a_call_under_way_is_not_noted() -> None:
    """Its entry is written later than the note: it would count twice after a kill."""
    book, rates = QuotaBook(), (rate_of_agreement(_agreement({"per_day": 1})),)
    book.spend(rates, NOON, NOON)
    assert book.snapshot(NOON) == {}
    with pytest.raises(Problem):
        book.spend(rates, NOON, NOON)  # it is used all the same
    book.settle(rates, NOON)
    assert book.snapshot(NOON) == {rates[0].key: 1}


def test_a_call_that_did_not_happen_is_given_back() -> None:
    """When there was no room for it after all, the day is as before."""
    book, agreement = QuotaBook(), _agreement({"per_day": 1})
    rates = (rate_of_agreement(agreement),)
    book.spend(rates, NOON, NOON)
    book.give_back(rates, NOON)
    assert _spend(book, agreement, NOON) is None
    assert _spend(book, agreement, NOON) is not None


def test_a_call_that_reached_the_backend_counts_whatever_came_of_it() -> None:
    """A server that has no room for the answer has asked all the same; nobody makes calls that do
    not count by filling it."""
    for code in NOT_COUNTED:
        assert did_not_happen(Problem(code, where="", facts={ACTED: False}))
        assert did_not_happen(NotDelivered(code, where=""))
        assert not did_not_happen(Problem(code, where="memory", facts={"retry_after_s": 2}))
    assert not did_not_happen(Problem(Code.ONCE_UNAVAILABLE, where="", facts={ACTED: False}))


def test_a_clock_that_is_set_gives_no_calls_away_and_takes_none() -> None:
    """Back and forth over midnight, each day keeps its count; the bucket does not notice."""
    book, agreement = QuotaBook(), _agreement({"per_day": 2})
    yesterday = NOON - DAY_S
    for _ in range(3):
        for day in (NOON, yesterday, NOON + 400 * DAY_S):
            _spend(book, agreement, day)
    assert list(book.snapshot(NOON).values()) == [2]
    assert list(book.snapshot(yesterday).values()) == [2]
    assert _spend(book, agreement, NOON) is not None
    assert _spend(book, agreement, yesterday) is not None
    bucket = _agreement({"per_second": 1}, "LA/GOV/MOIC/trade")
    assert _spend(book, bucket, NOON, at=5.0) is None
    for wall in (NOON + 3600, NOON - 3600, NOON):
        assert _spend(book, bucket, wall, at=5.0) is not None
    assert _spend(book, bucket, NOON - 3600, at=6.0) is None


CALLS = st.lists(
    st.tuples(st.integers(0, 3000), st.sampled_from([0, 0, 0, DAY_S, -DAY_S])), max_size=60
)


@given(st.integers(1, 5), st.integers(1, 8), CALLS)
def test_the_book_is_as_the_model(
    per_second: int, per_day: int, calls: list[tuple[int, int]]
) -> None:
    """Against a model in whole thousandths of tokens and a count for each day.

    The wall clock is set by days now and then; the other clock only goes on.
    """
    book, rate = QuotaBook(), Rate("k", "agreement k", per_second, per_day)
    days: dict[int, int] = {}
    burst = tokens = per_second * 1000
    at_ms, wall_off = 0, 0
    for after_ms, shift in calls:
        at_ms += after_ms
        wall_off = max(-DAY_S, min(DAY_S, wall_off + shift))
        now = NOON + wall_off + at_ms / 1000
        day = int(now) // DAY_S
        enough_today = days.get(day, 0) < per_day
        tokens = min(burst, tokens + after_ms * per_second)
        expected = enough_today and tokens >= 1000
        facts: dict[str, Any] | None = None
        try:
            book.spend((rate,), now, at_ms / 1000)
            book.settle((rate,), now)
        except Problem as problem:
            facts = problem.facts
        if abs(tokens - 1000) > 1 or not enough_today:  # at the very edge floats may differ
            assert (facts is None) is expected
        if facts is None:
            tokens -= 1000
            days[day] = days.get(day, 0) + 1
        else:
            assert facts["limit"] == ("per_second" if enough_today else "per_day")
            assert 1 <= facts["retry_after_s"] <= (1 if enough_today else DAY_S)
    for day, count in days.items():
        assert count <= per_day
        assert book.snapshot(day * DAY_S) == {"k": count}
