"""Previews wait for a decision: bounded, for a while, for whoever asked."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import cast

import pytest

from exchange.elements import Element
from exchange.identifiers import ApplicationId
from exchange.problems import Code, Problem
from mediator.once_only import previews
from mediator.once_only.previews import KEPT_S, Previews
from mediator.once_only.values import Answered, Exchanged, Given, Wanted

PORTAL, OFFICE = ApplicationId.parse("LA/GOV/DGC/portal"), ApplicationId.parse("LA/GOV/DGC/office")


def answered(identifier: str, client: ApplicationId = PORTAL) -> Answered:
    wanted = Wanted(identifier, client, "la-nid:1", "1", (), "p", "", 1.0)
    return Answered(wanted, datetime(2026, 11, 22, tzinfo=UTC), ())


class Time:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_preview_is_found_by_whoever_asked_and_for_a_while() -> None:
    """Neither by another application nor after its time."""
    time = Time()
    kept = Previews(time)
    kept.put(answered("a"))
    assert kept.find("a", PORTAL).declined is None
    time.now = KEPT_S - 1
    assert kept.find("a", PORTAL)
    for identifier, client, now in (("a", OFFICE, 0.0), ("b", PORTAL, 0.0), ("a", PORTAL, KEPT_S)):
        time.now = max(time.now, now)
        with pytest.raises(Problem) as caught:
            kept.find(identifier, client)
        assert caught.value.code is Code.NOT_FOUND


def test_one_application_does_not_take_the_place_of_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its own bound is met first; what has ended makes room again."""
    monkeypatch.setattr(previews, "MAX_KEPT", 3)
    monkeypatch.setattr(previews, "MAX_EACH", 2)
    time = Time()
    kept = Previews(time)
    kept.put(answered("a"))
    kept.put(answered("b"))
    with pytest.raises(Problem) as caught:
        kept.check_room(PORTAL)
    assert caught.value.code is Code.QUOTA_EXCEEDED
    kept.check_room(OFFICE)
    kept.put(answered("c", OFFICE))
    with pytest.raises(Problem) as caught:
        kept.check_room(OFFICE)
    assert caught.value.code is Code.OVERLOADED
    time.now = KEPT_S
    kept.check_room(PORTAL)
    kept.check_room(OFFICE)


def test_values_that_wait_have_a_bound_together(monkeypatch: pytest.MonkeyPatch) -> None:
    """What would exceed it is refused, however few they are; what has ended makes room again."""
    monkeypatch.setattr(previews, "MAX_BYTES", 100)
    time = Time()
    kept = Previews(time)
    element = cast(Element, None)
    at, exchange = datetime(2026, 11, 22, tzinfo=UTC), Exchanged("1", "2")
    for identifier, size, fits in (("a", 60, True), ("b", 60, False), ("c", 40, True)):
        one = replace(answered(identifier), outcomes=(Given(element, "x", at, exchange, size),))
        if fits:
            kept.put(one)
        else:
            with pytest.raises(Problem) as caught:
                kept.put(one)
            assert caught.value.code is Code.OVERLOADED
    time.now = KEPT_S
    kept.check_room(PORTAL, 100)
