"""A source that is down is left alone, and asked again; an hour's budget is an hour's."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from adapters.sources.breaker import FIRST_PAUSE_S, HOUR_S, Breaker, Budget


def test_failures_in_a_row_open_it_and_an_answer_closes_it() -> None:
    """Not the sum of failures, those in a row."""
    breaker = Breaker(3, 30)
    for outcome in (breaker.failed, breaker.failed):
        outcome(0.0)
    breaker.succeeded()
    breaker.failed(0.0)
    breaker.failed(0.0)
    assert breaker.wait_s(0.0) == 0.0
    breaker.failed(0.0)
    assert breaker.wait_s(0.0) == FIRST_PAUSE_S


def test_one_request_tries_while_others_wait() -> None:
    """After the pause one is let through; until it is back the others are told to wait."""
    breaker = Breaker(1, 30)
    breaker.failed(0.0)
    assert breaker.wait_s(1.0) == 0.0
    assert breaker.wait_s(1.0) > 0.0
    breaker.succeeded()
    assert breaker.wait_s(1.0) == 0.0
    assert breaker.wait_s(1.0) == 0.0


def test_the_pause_doubles_up_to_the_longest() -> None:
    """1, 2, 4, 8, 8 seconds."""
    breaker, now, pauses = Breaker(1, 8), 0.0, []
    for _ in range(5):
        breaker.failed(now)
        pauses.append(breaker.wait_s(now))
        now += pauses[-1]
        assert breaker.wait_s(now) == 0.0
    assert pauses == [1.0, 2.0, 4.0, 8.0, 8.0]


def test_none_is_never() -> None:
    """0 failures: it never pauses; 0 questions: there is no budget."""
    breaker, budget = Breaker(0, 30), Budget(0)
    for _ in range(100):
        breaker.failed(0.0)
        assert breaker.wait_s(0.0) == 0.0
        assert budget.wait_s(0.0) == 0.0


@given(st.integers(1, 20), st.lists(st.floats(0, 600), max_size=100))
def test_no_hour_from_its_first_question_has_more_than_its_budget(
    most: int, gaps: list[float]
) -> None:
    """Whatever the times: in each counted hour at most ``most`` pass; a refusal names its end."""
    budget, now, passed, begun = Budget(most), 0.0, 0, None
    for gap in gaps:
        now += gap
        if begun is None or now >= begun + HOUR_S:
            begun, passed = now, 0
        left = budget.wait_s(now)
        if left:
            assert passed == most
            assert abs(now + left - (begun + HOUR_S)) < 1e-6
        else:
            passed += 1
    assert passed <= most
