"""When the end of something is told of."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from exchange.registry.endings import LIFE_FIELD, MEETING_DAYS, End, Told, soon

ENDS = datetime(2027, 1, 1, tzinfo=UTC)


def test_each_nearness_is_told_once_and_a_renewal_begins_anew() -> None:
    """30, 7 and 1 days before, and when it has ended; what was signed again is told of again."""
    told, heard = Told(), []
    for days in (40, 30.1, 30, 29, 8, 7, 6.9, 1, 0.1, 0, -1):
        heard += [*told.news({"root": End(ENDS)}, ENDS - timedelta(days=days)).values()]
    assert heard == [30, 7, 1, 0]
    renewed = {"root": End(ENDS + timedelta(days=365))}
    assert told.news(renewed, ENDS) == {}
    assert told.news(renewed, ENDS + timedelta(days=364.5)) == {"root": 1}


def test_what_lives_for_short_is_told_of_in_proportion() -> None:
    """A timestamp of an hour: 20 minutes, 280 and 40 seconds before its end; a root at 90 days."""
    hour = End(ENDS, timedelta(hours=1))
    at = [(1201, None), (1200, 30), (281, 30), (280, 7), (41, 7), (40, 1), (0, 0)]
    assert [hour.within(ENDS - timedelta(seconds=left)) for left, _ in at] == [n for _, n in at]
    assert End(ENDS, timedelta(days=1800)).within(ENDS - timedelta(days=30)) == 30
    meeting = End(ENDS, days=MEETING_DAYS)
    assert soon({"root": meeting}, ENDS - timedelta(days=90)) == {"root": 90}
    assert soon({"root": meeting}, ENDS - timedelta(days=91)) == {}


@pytest.mark.parametrize("said", [None, "3600", 0, -5, 1 << 80, 3600.0])
def test_a_life_that_is_none_is_left_out(said: object) -> None:
    """Whoever signs the metadata may write anything there: then days count."""
    assert End.of(ENDS, {LIFE_FIELD: said}) == End(ENDS)
    assert End.of(ENDS, {LIFE_FIELD: 3600}) == End(ENDS, timedelta(hours=1))
