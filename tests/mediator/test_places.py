"""Places: compartments that fill by themselves, against a model that lists who is inside."""

from __future__ import annotations

from contextlib import ExitStack

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exchange.problems import Code, Problem
from mediator.message.places import Bound, Held, Places

MINE, OURS = Bound("agreement a", 2, "limits.concurrent"), Bound("service s", 1, "n", ours=True)


def test_a_full_compartment_refuses_by_whose_bound_it_is() -> None:
    """The caller's own share is a 429, what the service takes is a 503; both say when and why."""
    places = Places()
    with places.holder() as first, places.holder() as second, places.holder() as third:
        first.take(MINE)
        second.take(MINE)
        first.take(OURS)
        for bound, code in ((MINE, Code.QUOTA_EXCEEDED), (OURS, Code.OVERLOADED)):
            with pytest.raises(Problem) as caught:
                third.take(bound)
            assert caught.value.code is code
            assert caught.value.where == bound.holder
            assert caught.value.facts == {
                "limit": bound.limit,
                "most": bound.most,
                "retry_after_s": 1,
                "acted": False,
            }
    assert places.holders == 0


def test_a_full_compartment_leaves_the_others_alone() -> None:
    """However many are refused by one, another takes all that it may."""
    places = Places()
    with ExitStack() as stack:
        for _ in range(2):
            stack.enter_context(places.holder()).take(MINE)
        for _ in range(100):
            with pytest.raises(Problem), places.holder() as held:
                held.take(MINE)
        for _ in range(2):
            stack.enter_context(places.holder()).take(MINE._replace(holder="agreement b"))
    assert places.holders == 0


def test_what_was_taken_before_a_refusal_is_given_back() -> None:
    """A call that got one place of two has none in the end, whatever ended it."""
    places = Places()

    def enter(*bounds: Bound) -> None:
        with places.holder() as held:
            for bound in bounds:
                held.take(bound)
            raise ZeroDivisionError

    with places.holder() as held:
        held.take(OURS)
        with pytest.raises(Problem):
            enter(MINE, OURS)
        assert places.held(MINE.holder) == 0
        with pytest.raises(ZeroDivisionError):
            enter(MINE)
        assert (places.held(MINE.holder), places.held(OURS.holder)) == (0, 1)


BOUNDS = [Bound(name, most, "n") for name, most in (("a", 1), ("b", 2), ("c", 5))]


@given(st.lists(st.one_of(st.lists(st.sampled_from(BOUNDS), max_size=3), st.integers(0, 30))))
def test_places_are_as_the_model(steps: list[list[Bound] | int]) -> None:
    """A list of bounds enters, a number leaves: what is inside is what the model lists."""
    places = Places()
    inside: list[tuple[Held, list[Bound]]] = []
    for step in steps:
        if isinstance(step, int):
            if inside:
                inside.pop(step % len(inside))[0].__exit__()
        else:
            everybody = [bound.holder for _, taken in inside for bound in taken]
            expected = all(
                everybody.count(bound.holder) + step[:number].count(bound) < bound.most
                for number, bound in enumerate(step)
            )
            entered = places.holder()
            try:
                for bound in step:
                    entered.take(bound)
                inside.append((entered, step))
                assert expected
            except Problem:
                entered.__exit__()
                assert not expected
        everybody = [bound.holder for _, taken in inside for bound in taken]
        assert [places.held(b.holder) for b in BOUNDS] == [
            everybody.count(b.holder) for b in BOUNDS
        ]
        assert places.holders == len(set(everybody))
