"""Warnings before agreements end."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from structlog.testing import capture_logs

from exchange.agreements import Agreement, Party, parse_agreement
from mediator.agreements.endings import Endings, within_days
from tests.world.small import MPI, agreement

ENDS = datetime(2027, 1, 1, tzinfo=UTC)
AGREEMENT = replace(parse_agreement(json.dumps(agreement("a")).encode()), valid_until=ENDS)


def before(days: float) -> datetime:
    return ENDS - timedelta(days=days)


def test_each_warning_comes_once_at_30_7_and_1_days() -> None:
    """However often it is looked at; a server that was down for long says the nearest one."""
    endings = Endings()
    told: list[int] = []
    for days in (40, 30.1, 30, 29, 8, 7, 6.9, 2, 0.5, 0.1, 0, -1):
        with capture_logs() as logs:
            for _ in range(3):
                endings.warn([AGREEMENT], before(days), Party.PROVIDER)
        told += [line["within_days"] for line in logs if line["event"] == "agreement_ends"]
    assert told == [30, 7, 1]
    with capture_logs() as logs:
        Endings().warn([AGREEMENT], before(3), Party.PROVIDER)
    assert [line["within_days"] for line in logs] == [7]
    assert within_days(AGREEMENT, before(0)) is None
    with capture_logs() as logs:
        Endings().warn([AGREEMENT], before(3), Party.CONSUMER)
    assert [(line["side"], line["provider"]) for line in logs] == [("consumer", str(MPI))]


def test_a_renewal_ends_the_warnings() -> None:
    """An agreement whose next version is pinned is not ending, until that one is."""
    renewed = replace(AGREEMENT, version=2, valid_from=ENDS, valid_until=before(-365))
    other = replace(AGREEMENT, id="b")
    both = [AGREEMENT, renewed]
    with capture_logs() as logs:
        Endings().warn([*both, other], before(3), Party.PROVIDER)
    assert [line["agreement"] for line in logs] == ["b/1"]
    assert Endings().counts(both, before(3)) == {30: 0, 7: 0, 1: 0}
    assert Endings().counts([*both, other], before(3)) == {30: 1, 7: 1, 1: 0}
    assert Endings().counts(both, before(-364.5)) == {30: 1, 7: 1, 1: 1}


def test_thousands_are_looked_at_at_once() -> None:
    """Each is judged by itself."""
    many: list[Agreement] = [replace(AGREEMENT, id=f"a-{n}") for n in range(2000)]
    with capture_logs() as logs:
        Endings().warn(many, before(1), Party.PROVIDER)
    assert len({line["agreement"] for line in logs}) == 2000
