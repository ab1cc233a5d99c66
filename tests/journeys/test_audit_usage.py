"""The ledger of uses: who used a person's records; what an order hides, and what is told later."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from console.cli.main import main
from exchange.journal.entries import parse_entry
from exchange.problems import Code
from mediator.journal.reader import JournalReader
from tests.world import small
from tests.world.audits import DELAYED, asked, mandates_of, outcomes, published
from tests.world.small import SmallWorld

PERSON, OTHER = "passport:P-77", "passport:P-78"


@pytest.fixture
def world(audited_world: SmallWorld) -> SmallWorld:
    """The world that is audited."""
    return audited_world


def use(world: SmallWorld, subject: str, message_id: str, agreement: str = "mof-mpi") -> None:
    """Have MOF use a record of somebody."""
    headers = {
        "X-Road-Id": message_id,
        "Exchange-Subject": subject,
        "Exchange-Agreement": agreement,
    }
    answer = world.call(headers=headers)
    assert answer.status == 200, answer.body
    published(world)


def uses(world: SmallWorld, subject: str, *names: str, **ids: Any) -> dict[str, dict[str, Any]]:
    """The uses that mandates tell of, by message id."""
    code, report = asked(world, "usage", mandates_of(world, *names), "--subject", subject)
    assert code == 0, report
    return {row["id"]: row for row in report["uses"]}


def test_a_person_is_told_who_used_the_records(world: SmallWorld) -> None:
    """By which service, when and for which purpose, over all organisations; never the data, and
    nothing of anybody else."""
    use(world, PERSON, "use-1")
    use(world, OTHER, "use-2")
    code, report = asked(
        world, "usage", mandates_of(world, "portal", "portal-mof"), "--subject", PERSON
    )
    assert code == 0, report
    assert set(outcomes(report).values()) == {"proven"}
    assert len(report["asked"]) == 2
    told = {row["id"]: row for row in report["uses"]}
    assert "use-2" not in told
    row = told["use-1"]
    assert row["client"] == str(small.BUDGET)
    assert row["client_name"]["en"] == "Ministry of Finance"
    assert (row["service"], row["purpose"]) == (str(small.PROJECTS), small.PURPOSE)
    assert row["outcome"] == "answered"
    assert not {"size", "sealed", "endpoint", "subject"} & row.keys()


def test_asking_is_not_told_by_the_ledger_but_looking_into_the_journal_is(
    world: SmallWorld,
) -> None:
    """A person's own look leaves no use; an auditor who searches for a person leaves one."""
    subject = "passport:P-80"
    use(world, subject, "use-3")
    uses(world, subject, "portal")
    code, report = asked(world, "ask", mandates_of(world, "inspector"), "--subject", subject)
    assert code == 0, report
    assert {hit["entry"]["id"] for hit in report["hits"]} >= {"use-3"}
    published(world)
    services = {row["service"] for row in uses(world, subject, "portal").values()}
    assert services == {str(small.PROJECTS), f"{small.MPI}/auditing/journal"}


def test_a_use_is_told_after_the_delay_of_its_agreement(world: SmallWorld) -> None:
    """Until then only a mandate that shows what is hidden has it, with the day."""
    subject = "passport:P-81"
    use(world, subject, "use-4", DELAYED)
    assert uses(world, subject, "portal") == {}
    row = uses(world, subject, "inspector")["use-4"]
    told_from = datetime.fromisoformat(row["told_from"])
    assert timedelta(days=29) < told_from - datetime.now(UTC) <= timedelta(days=30)


def hiding(world: SmallWorld, *words: str) -> dict[str, Any]:
    """Run `saphan mediator hiding` against MPI's server."""
    arguments = ["mediator", "hiding", *words, "--admin", world.mpi.url("admin"), "--json"]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, result.stderr
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def test_an_order_hides_a_use_until_it_ends_and_is_itself_audited(world: SmallWorld) -> None:
    """The person and auditors without the right do not see the use; the journal has the order, and
    who may see what is hidden finds it. Once it is lifted, the use is told."""
    subject = "passport:P-82"
    use(world, subject, "use-5")
    until = (datetime.now(UTC) + timedelta(days=10)).strftime("%Y-%m-%dT%H:%M:%SZ")
    order = hiding(
        world, "order", "--ground", "Criminal procedure 12, order 4711", "--until", until,
        "--id", "use-5",
    )  # fmt: skip
    assert uses(world, subject, "portal") == {}
    code, report = asked(world, "ask", mandates_of(world, "portal"), "--id", "use-5")
    assert (code, report["hits"]) == (0, [])
    assert uses(world, subject, "inspector")["use-5"]["hidden_by"] == order["number"]
    published(world)
    _check_recorded(world, order)
    hiding(world, "lift", str(order["number"]))
    assert list(uses(world, subject, "portal")) == ["use-5"]
    assert hiding(world, "list")["hidings"][-1].get("ended")


def _check_recorded(world: SmallWorld, order: dict[str, Any]) -> None:
    """The order is an entry whose text only the sealed part has."""
    reader = JournalReader(world.mpi.journal)
    data = reader.entry(order["number"])
    entry = parse_entry(data)
    assert entry.event == "hiding ordered"
    assert b"Criminal" not in data  # digits alone may be in any hash
    part = reader.open(entry, reader.ciphertext(order["number"])).part
    assert json.loads(part.body)["ground"] == order["ground"]


def test_orders_survive_a_restart(world: SmallWorld) -> None:
    """What is hidden stays hidden when the server starts again."""
    subject = "passport:P-83"
    use(world, subject, "use-6")
    until = (datetime.now(UTC) + timedelta(days=10)).strftime("%Y-%m-%dT%H:%M:%SZ")
    hiding(world, "order", "--ground", "Order 4712", "--until", until, "--id", "use-6")
    world.mpi.process.stop()
    world.world.start(small.MPI_SERVER)
    assert uses(world, subject, "portal") == {}


def test_who_sees_what_is_hidden_sees_the_orders(world: SmallWorld) -> None:
    """Of the organisation that gave the mandate; those about another member's services are its."""
    until = (datetime.now(UTC) + timedelta(days=10)).strftime("%Y-%m-%dT%H:%M:%SZ")
    for service in (str(small.CLOSED), "LA/GOV/ELSE/where/x"):
        hiding(world, "order", "--ground", "Order 4713", "--until", until, "--service", service)
    answer = world.call(
        target=f"/r1/{small.MPI}/auditing/journal/hidings",
        client=str(small.PROVINCE),
        purpose=None,
        headers={"Exchange-Agreement": "inspector"},
    )
    assert answer.status == 200, answer.body
    services = {order.get("service") for order in answer.json["hidings"]}
    assert str(small.CLOSED) in services
    assert "LA/GOV/ELSE/where/x" not in services


def _refused(world: SmallWorld, mandates: list[Path]) -> str:
    code, report = asked(world, "usage", mandates, "--subject", PERSON)
    assert code == 1
    (row,) = report["asked"]
    assert row["outcome"] == "refused"
    return str(row["problem"])


def test_a_mandate_without_subjects_tells_of_nobody(world: SmallWorld) -> None:
    """To ask about a person takes the right to do so; the refusal is recorded."""
    assert _refused(world, mandates_of(world, "audit")) == Code.OUTSIDE_MANDATE
    assert world.hits(world.mpi, problem=Code.OUTSIDE_MANDATE.value)


def test_the_ledger_is_of_somebody(world: SmallWorld) -> None:
    """Without a subject, or with one that is not written as it must be, there is no answer."""
    target = f"/r1/{small.MPI}/auditing/usage"
    for headers in ({}, {"Exchange-Subject": "nobody"}):
        answer = world.call(
            target=target,
            client=str(small.PROVINCE),
            purpose=None,
            headers={"Exchange-Agreement": "portal", **headers},
        )
        assert (answer.status, answer.code) == (400, Code.INVALID_HEADER), answer.body
