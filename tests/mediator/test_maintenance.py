"""Maintenance: what is said of it, and that a restart does not forget it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from exchange.problems import ACTED, Code, Problem
from mediator.provider.maintenance import MAX_NOTICE, Maintenance, parse_order
from serving.clock import SystemClock

NOW = datetime(2026, 11, 21, 9, 30, tzinfo=UTC)
LONG_AGO = datetime(2000, 1, 1, tzinfo=UTC)
LAO = "ບຳລຸງຮັກສາລະບົບ ຮອດ 18 ໂມງ"


def opened(folder: Path, setting: str | None = None) -> Maintenance:
    return Maintenance.open(folder / "maintenance.json", SystemClock(), setting)


def refusal(maintenance: Maintenance) -> Problem:
    with pytest.raises(Problem) as caught:
        maintenance.check()
    return caught.value


def test_without_an_order_everything_is_let_in(tmp_path: Path) -> None:
    """A server begins so, and leaves no file behind."""
    maintenance = opened(tmp_path)
    maintenance.check()
    assert maintenance.describe() == {"on": False}
    assert not list(tmp_path.iterdir())


def test_the_notice_survives_a_restart_and_ends_by_order_only(tmp_path: Path) -> None:
    """What the administration said counts at the next start, also against the setting."""
    opened(tmp_path).begin(parse_order(f'{{"notice": "{LAO}"}}'.encode(), NOW))
    again = opened(tmp_path, setting="something else")
    assert again.describe() == {"on": True, "notice": LAO, "since": "2026-11-21T09:30:00Z"}
    problem = refusal(again)
    assert (problem.code, problem.status, problem.detail) == (Code.MAINTENANCE_MODE, 503, LAO)
    assert problem.facts[ACTED] is False
    again.end()
    again.check()
    opened(tmp_path).check()
    again.end()


def test_the_setting_begins_a_maintenance_at_each_start(tmp_path: Path) -> None:
    """Its end by order holds until then."""
    maintenance = opened(tmp_path, setting="not yet in service")
    assert refusal(maintenance).detail == "not yet in service"
    maintenance.end()
    maintenance.check()
    refusal(opened(tmp_path, setting="not yet in service"))


@pytest.mark.parametrize(
    ("left", "told"),
    [
        (timedelta(minutes=10), range(595, 601)),
        (timedelta(days=9), range(86400, 86401)),
        (timedelta(minutes=-10), range(60, 61)),
    ],
)
def test_the_expected_end_says_when_to_try_again(
    tmp_path: Path, left: timedelta, told: range
) -> None:
    """Bounded by a day; an end that is over ends nothing."""
    until = (datetime.now(UTC) + left).strftime("%Y-%m-%dT%H:%M:%SZ")
    maintenance = opened(tmp_path)
    maintenance.begin(parse_order(f'{{"notice": "x", "until": "{until}"}}'.encode(), LONG_AGO))
    problem = refusal(opened(tmp_path))
    assert problem.facts["retry_after_s"] in told
    assert problem.facts["until"] == until


@pytest.mark.parametrize(
    ("order", "pointer"),
    [
        ("", ""),
        ("[]", ""),
        ("{}", ""),
        ('{"notice": "x", "notice": "y"}', ""),
        ('{"notice": "x", "end": 1}', ""),
        ('{"notice": ""}', "/notice"),
        ('{"notice": "  "}', "/notice"),
        ('{"notice": 7}', "/notice"),
        ('{"notice": "a\\nb"}', "/notice"),
        (f'{{"notice": "{"x" * (MAX_NOTICE + 1)}"}}', "/notice"),
        ('{"notice": "x", "until": "2020-01-01T00:00:00Z"}', "/until"),
        ('{"notice": "x", "until": "tomorrow"}', "/until"),
        ('{"notice": "x", "until": "2026-11-21T18:00:00+07:00"}', "/until"),
        ('{"notice": "x", "until": "2026-02-30T18:00:00Z"}', "/until"),
        ('{"notice": "x", "until": "2026-11-21T8:00:00Z"}', "/until"),
    ],
)
def test_an_order_that_is_none_is_refused_with_its_place(order: str, pointer: str) -> None:
    """What callers read is a line of text; a time has one form."""
    with pytest.raises(Problem) as caught:
        parse_order(order.encode(), NOW)
    assert caught.value.code is Code.INVALID_DOCUMENT
    assert caught.value.where == f"maintenance#{pointer}"


def test_a_damaged_file_is_not_taken_for_no_maintenance(tmp_path: Path) -> None:
    """A server that should refuse messages does not start and take them."""
    (tmp_path / "maintenance.json").write_bytes(b'{"notice": "x", "si')
    with pytest.raises(Problem) as caught:
        opened(tmp_path)
    assert caught.value.code is Code.INVALID_DOCUMENT


@pytest.mark.parametrize("setting", ["", " ", "a\nb", "x" * (MAX_NOTICE + 1)])
def test_a_setting_that_is_no_notice_is_refused(tmp_path: Path, setting: str) -> None:
    """At the start, not at the first message."""
    with pytest.raises(Problem) as caught:
        opened(tmp_path, setting)
    assert (caught.value.code, caught.value.where) == (Code.INVALID_SETTINGS, "maintenance")
