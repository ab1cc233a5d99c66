"""Counting by statistics fields: what is recorded when, and what a crash leaves."""

from __future__ import annotations

from datetime import UTC, date, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from exchange.contracts.marks import Mark
from exchange.identifiers import ServiceId
from exchange.journal.entries import Statistics
from exchange.problems import Code, Problem
from mediator.message.counting import FILE, Counting
from mediator.message.stages import Judged
from serving.clock import SystemClock

SERVICE = ServiceId.parse("LA/GOV/MOHA/civil-registry/persons")
MARK = Mark("sex", ("sex",), frozenset("FM"))
TODAY = date(2026, 11, 21)
Told = list[tuple[str, Statistics]]


class _Clock(SystemClock):
    def now(self) -> datetime:
        return datetime(2026, 11, 21, 12, tzinfo=UTC)


def counting(folder: Path, told: Told, fails: bool = False) -> Counting:
    async def tell(service: ServiceId, purpose: str, statistics: Statistics) -> None:
        assert service == SERVICE
        told.append((purpose, statistics))
        if fails:
            raise Problem(Code.LOGGING_FAILED)

    return Counting(folder / FILE, _Clock(), tell)


def answer(value: Any, purpose: str = "pensions", status: int = 200) -> Judged:
    operation = SimpleNamespace(counts=True, marks=lambda status, headers: (MARK,))
    allowed = SimpleNamespace(
        match=SimpleNamespace(operation=operation),
        recorded=SimpleNamespace(call=SimpleNamespace(service=SERVICE, purpose=purpose)),
    )
    delivered = SimpleNamespace(checked=SimpleNamespace(allowed=allowed), status=status, headers=())
    return cast(Judged, SimpleNamespace(delivered=delivered, document={"sex": value}))


async def test_a_value_waits_until_it_came_up_often_enough(tmp_path: Path) -> None:
    """Four are kept for the next day, over a restart; the fifth lets them be recorded, with the
    days in which they were counted. Purposes are apart, errors and other values do not count."""
    told: Told = []
    first = counting(tmp_path, told)
    for value in "FFFFFMMMMX":
        first.note(answer(value))
    first.note(answer("F", "health"))
    first.note(answer("M", status=404))
    await first.record(TODAY)
    assert [(purpose, one.counts, one.first, one.last) for purpose, one in told] == [
        ("pensions", (("F", 5),), TODAY, TODAY)
    ]
    second = counting(tmp_path, told)
    second.note(answer("M"))
    await second.stop()
    assert told[1][1].counts == (("M", 5),)
    assert told[1][1].part == told[0][1].part + 1
    await counting(tmp_path, told).stop()
    assert len(told) == 2


async def test_what_a_crash_may_record_twice_has_one_number(tmp_path: Path) -> None:
    """Recorded or not when it failed: after a restart the same part is recorded with the same
    number and the same counts, and what was counted since is another part."""
    told: Told = []
    first = counting(tmp_path, told, fails=True)
    for _ in range(6):
        first.note(answer("F"))
    await first.record(TODAY)
    second = counting(tmp_path, told)
    for _ in range(7):
        second.note(answer("F"))
    await second.record(TODAY)
    assert told[0] == told[1]
    assert [one.counts[0][1] for _, one in told] == [6, 6, 7]
    assert len({one.part for _, one in told}) == 2


@pytest.mark.parametrize("damage", [b"", b"[]", b'{"part": 1}'])
async def test_a_damaged_note_begins_anew(tmp_path: Path, damage: bytes) -> None:
    """A note that cannot be read costs what it counted, never a start; its numbers are not used
    again."""
    told: Told = []
    first = counting(tmp_path, told)
    for _ in range(5):
        first.note(answer("F"))
    await first.stop()
    (tmp_path / FILE).write_bytes(damage)
    second = counting(tmp_path, told)
    for _ in range(5):
        second.note(answer("F"))
    await second.stop()
    assert told[1][1].part > told[0][1].part
    assert told[1][1].counts == (("F", 5),)
