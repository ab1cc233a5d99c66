"""Rules of mediator.auditing.hidings and mediator.auditing.ordering."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from exchange.identifiers import ServerId
from exchange.journal.entries import parse_entry
from exchange.problems import Code, Problem
from mediator.administration.metrics import Metrics
from mediator.auditing.hidings import MAX_DAYS, Hidings, Order, parse_order
from mediator.auditing.ordering import Ordering
from mediator.auditing.scope import Facts
from mediator.journal.reader import JournalReader
from mediator.message.records import Recorder
from serving.clock import SystemClock
from tests.journal.world import journal_in

NOW = datetime(2026, 11, 21, 8, 0, tzinfo=UTC)
SERVER = ServerId.parse("LA/GOV/MPI/ss1")
ORDER = {"ground": "Order 1", "until": "2026-12-01T00:00:00Z", "client": "LA/GOV/MPS/cases"}
USE = Facts(
    at=NOW,
    kind="response",
    side="provider",
    client="LA/GOV/MPS/cases",
    service="LA/GOV/MPI/oda-mis/projects",
    purpose="investigation",
    agreement="mps-mpi/1",
    id="use-1",
)


@dataclass(slots=True)
class Clock(SystemClock):
    """A clock that stands where it is put."""

    at: datetime = NOW

    def now(self) -> datetime:
        return self.at


def order(**changes: Any) -> Order:
    document = {name: value for name, value in {**ORDER, **changes}.items() if value is not None}
    return parse_order(json.dumps(document).encode(), NOW)


@pytest.mark.parametrize(
    ("changes", "hides"),
    [
        ({}, True),
        ({"purpose": "investigation"}, True),
        ({"purpose": "statistics"}, False),
        ({"client": "LA/GOV/MPS/other"}, False),
        ({"client": None, "id": "use-1"}, True),
        ({"client": None, "agreement": "mps-mpi/2"}, False),
    ],
)
def test_an_order_hides_what_fits_all_that_it_names(changes: dict[str, Any], hides: bool) -> None:
    """Each condition narrows it."""
    assert order(**changes).hides(USE, NOW) is hides


@pytest.mark.parametrize(
    ("changes", "where"),
    [
        ({"until": "2026-11-21T08:00:00Z"}, "hiding#/until"),
        ({"until": "2028-01-01T00:00:00Z"}, "hiding#/until"),
        ({"until": "soon"}, "hiding#/until"),
        ({"until": "2026-12-01"}, "hiding#/until"),
        ({"client": None}, "hiding#"),
        ({"ground": ""}, "hiding#/ground"),
        ({"everything": "yes"}, "hiding#"),
    ],
)
def test_an_order_has_a_ground_an_end_and_an_object(changes: dict[str, Any], where: str) -> None:
    """Nothing is hidden for ever, without a reason, or altogether."""
    with pytest.raises(Problem) as refused:
        order(**changes)
    assert (refused.value.code, refused.value.where) == (Code.INVALID_DOCUMENT, where)


def test_an_order_ends_by_itself() -> None:
    """At its end it hides nothing, recorded or not."""
    until = order().until
    assert order().hides(USE, until - timedelta(seconds=1))
    assert not order().hides(USE, until)
    assert until - NOW < timedelta(days=MAX_DAYS)


def test_a_damaged_file_is_not_taken_for_none(tmp_path: Path) -> None:
    """The server would tell what is hidden; it does not start instead."""
    path = tmp_path / "hidings.json"
    path.write_text('{"hidings": [{}]}')
    with pytest.raises(Problem) as refused:
        Hidings.open(path)
    assert refused.value.code is Code.INVALID_DOCUMENT


async def test_ordering_and_the_end_are_entries_of_the_journal(tmp_path: Path) -> None:
    """Each once, before it takes effect, with its text in the sealed part; also over a restart."""
    clock, path = Clock(), tmp_path / "hidings.json"
    async with journal_in(tmp_path / "journal") as journal:
        recorder = Recorder(journal, SERVER, clock, Metrics(), 1024)
        hidings = Hidings.open(path)
        ordering = Ordering(hidings, recorder, clock)
        made = await ordering.order(json.dumps(ORDER).encode())
        assert hidings.hiding(USE, clock.at) == made
        clock.at = made.until
        again = Hidings.open(path)
        assert again.orders == (made,)
        ordering = Ordering(again, recorder, clock)
        await ordering.end_due()
        await ordering.end_due()
        assert [one.ended for one in again.orders] == [made.until]
        with pytest.raises(Problem) as refused:
            await ordering.lift(made.number)
        assert refused.value.code is Code.NOT_FOUND
    reader = JournalReader(tmp_path / "journal")
    entries = [parse_entry(reader.entry(index)) for index in range(reader.checkpoint.size)]
    assert [entry.event for entry in entries] == ["hiding ordered", "hiding ended"]
    assert all(entry.sealed is not None for entry in entries)
