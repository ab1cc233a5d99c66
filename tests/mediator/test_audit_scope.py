"""Rules of mediator.auditing.scope and mediator.auditing.usage: what a mandate shows."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from exchange.agreements import Mandate
from exchange.identifiers import MemberId, ServiceId
from exchange.problems import Text
from mediator.auditing.hidings import Hidings, Order
from mediator.auditing.scope import Facts, Scope
from mediator.auditing.usage import Uses

NOW = datetime(2026, 11, 21, 8, 0, tzinfo=UTC)
MPI, MOF, MOH = (MemberId("LA", "GOV", code) for code in ("MPI", "MOF", "MOH"))
ANSWER = Facts(
    at=NOW - timedelta(days=10),
    kind="response",
    side="provider",
    client="LA/GOV/MOF/budget",
    service="LA/GOV/MPI/oda-mis/projects",
    purpose="national-budget",
    agreement="mof-mpi/1",
    id="use-1",
)
ORDER = Order(
    number=7, ground="Order 1", since=NOW, until=NOW + timedelta(days=1), purpose="national-budget"
)


def scope(*orders: Order, provider: MemberId = MPI, **changes: Any) -> Scope:
    values: dict[str, Any] = {
        "legal_basis": Text("Law", "ກົດໝາຍ"),
        "since": datetime(2026, 1, 1, tzinfo=UTC),
        "until": None,
        "fields": frozenset({"*"}),
    }
    return Scope(
        provider, MPI, (MPI, MOH), Mandate(**values | changes), Hidings(Path("none"), orders), NOW
    )


@pytest.mark.parametrize(
    ("changes", "shown"),
    [
        ({}, True),
        ({"since": NOW - timedelta(days=9)}, False),
        ({"until": NOW - timedelta(days=10)}, False),
        ({"organisations": frozenset({MOF})}, True),
        ({"organisations": frozenset({MOH})}, False),
        ({"services": frozenset({ServiceId.parse("LA/GOV/MPI/oda-mis/projects")})}, True),
        ({"services": frozenset({ServiceId.parse("LA/GOV/MPI/oda-mis/other")})}, False),
    ],
)
def test_an_entry_is_within_period_parties_and_services(
    changes: dict[str, Any], shown: bool
) -> None:
    """What the mandate names, it shows; what it does not name is not restricted."""
    assert scope(**changes).shows(ANSWER) is shown


@pytest.mark.parametrize(
    ("facts", "owner"),
    [
        (ANSWER, MPI),
        (ANSWER._replace(side="consumer", client="LA/GOV/MOH/hospitals"), MOH),
        (ANSWER._replace(service="LA/GOV/MOH/hospitals/beds"), MOH),
        (ANSWER._replace(service="LA/GOV/ELSE/where/x"), MPI),
        (ANSWER._replace(service=None, client=None, kind="refusal"), MPI),
        (ANSWER._replace(side="server", kind="system", client=None, service=None), MPI),
    ],
)
def test_an_entry_is_of_the_member_on_whose_side_it_was_recorded(
    facts: Facts, owner: MemberId
) -> None:
    """A server's journal holds several members' entries; each mandate shows one's. What names
    nobody who is hosted is the server owner's."""
    assert {member for member in (MPI, MOH) if scope(provider=member).shows(facts)} == {owner}


def test_what_an_order_hides_is_shown_with_the_right_alone() -> None:
    """So are the entries of the orders themselves."""
    event = Facts(NOW, "system", "server", None, None, None, None, None, "hiding ordered")
    for facts in (ANSWER, event):
        assert not scope(ORDER).shows(facts)
        assert scope(ORDER, hidden=True).shows(facts)
    assert scope(replace(ORDER, ended=NOW)).shows(ANSWER)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({}, True),
        ({"kind": "refusal"}, True),
        ({"kind": "request"}, False),
        ({"side": "consumer", "client": "LA/GOV/MPI/x"}, False),
        ({"service": "LA/GOV/MPI/auditing/usage"}, False),
        ({"service": "LA/GOV/MPI/auditing/journal"}, True),
    ],
)
def test_a_use_is_what_the_provider_answered(changes: dict[str, Any], told: bool) -> None:
    """Once for each exchange; looking into the ledger is none."""
    assert Uses(scope(), lambda reference: 0).tells(ANSWER._replace(**changes)) is told


def test_a_use_is_told_in_what_the_mandate_shows() -> None:
    """Its place in time and its outcome always; nothing else of it that is not shown."""
    entry = {**ANSWER._asdict(), "at": "2026-11-11T08:00:00.000Z", "size": 1, "status": 200}
    told = Uses(scope(fields=frozenset({"client"})), lambda reference: 0).describe(entry)
    assert {name for name, value in told.items() if value is not None} == {
        "at",
        "client",
        "outcome",
    }


@pytest.mark.parametrize(("days", "told"), [(0, True), (10, True), (11, False)])
def test_a_use_is_told_when_its_delay_has_run(days: int, told: bool) -> None:
    """To the persons concerned; who sees what is hidden sees it at once, with the day."""
    assert Uses(scope(), lambda reference: days).tells(ANSWER) is told
    seeing = Uses(scope(hidden=True), lambda reference: days)
    assert seeing.tells(ANSWER)
    entry = {"kind": "response", "side": "provider", "at": "2026-11-11T08:00:00.000Z"}
    assert ("told_from" in seeing.describe(entry)) is not told
