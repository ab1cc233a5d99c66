"""Lint is part of handing in: errors refuse, warnings are shown to both sides and recorded."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import orjson
import pytest
from click.testing import CliRunner

from console.cli.registry import registry
from exchange.problems import Code, Problem
from registry.requests.lint import MAX_TOLD
from registry.requests.orders import Proposal, format_proposal
from tests.registry.simulator import MPI, NOW
from tests.registry.test_evolution import FILE, OLD, document, province, publish
from tests.registry.test_registrar import OPERATOR, Office, code_of
from tests.registry.world import World

UNCHECKED = document(responses={"200": {"description": "x", "content": {"application/json": {}}}})
OPEN = {"type": "object", "properties": {"a": {"type": "string", "format": "colour"}}}


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Office]:
    office = Office(tmp_path)
    yield office
    office.store.close()


def test_an_error_is_refused_at_its_place(office: Office) -> None:
    """An answer that nothing is checked of; the rule and the remedy are told in both languages."""
    with pytest.raises(Problem) as caught:
        office.submit(files={FILE: UNCHECKED})
    problem = caught.value
    assert problem.code is Code.INVALID_DOCUMENT
    assert problem.where == (
        f"{MPI}/{FILE}#/paths/~1projects/get/responses/200/content/application~1json"
    )
    assert "[answer-schema] Give the answer a schema" in problem.detail
    assert "ໃສ່ແບບຂໍ້ມູນ" in problem.detail
    assert office.store.requests() == []


def test_a_schema_with_an_error_is_refused_on_both_ways(office: Office) -> None:
    """Proposed or published by the operator."""
    data = province("1.0.0", **OPEN)
    proposal = format_proposal(Proposal("schemas/province.1.json", data))
    assert code_of(lambda: office.registrar.propose(proposal, OPERATOR, NOW)) is (
        Code.INVALID_DOCUMENT
    )
    assert code_of(lambda: publish(office, schemas__province_1_json=data)) is Code.INVALID_DOCUMENT


def test_warnings_are_told_and_recorded(office: Office) -> None:
    """Each with place and remedy while it waits and afterwards; the record has how many."""
    number = office.submit(files={FILE: OLD})
    office.approve(number)
    looked = office.registrar.look(number, NOW)
    assert [(one["rule"], one["level"]) for one in looked["findings"]] == [
        ("operation-id", "warning"), ("summary", "warning"), ("summary-lo", "warning")
    ]  # fmt: skip
    assert looked["findings"][0]["where"] == f"{MPI}/{FILE}#/paths/~1projects/get"
    assert looked["more_findings"] is False
    for act in ("submit", "approve"):
        (row,) = [row for row in office.store.acts() if row.act == act]
        assert row.detail["lint"] == {
            "rules": {"operation-id": 1, "summary": 1, "summary-lo": 1}, "more": False
        }  # fmt: skip


def test_what_is_told_is_bounded(office: Office) -> None:
    """A document of faults does not make an answer of faults."""
    value = json.loads(OLD)
    operation = value["paths"]["/projects"]["get"]
    value["paths"] |= {f"/p{number}": {"get": operation} for number in range(MAX_TOLD)}
    looked = office.registrar.look(office.submit(files={FILE: orjson.dumps(value)}), NOW)
    assert (len(looked["findings"]), looked["more_findings"]) == (MAX_TOLD, True)


async def test_who_approves_sees_them(world: World) -> None:
    """The command shows warnings beside the changes, in both languages."""
    row = await world.submit(MPI)
    words = ["request", str(row["id"])]
    environment = {"SAPHAN_REGISTRY": world.url, "SAPHAN_API_KEY": world.opened.operator_api_key}
    result = await world.call(lambda: CliRunner().invoke(registry, words, env=environment))
    assert "[operation-id]" in result.output
    assert "Give the operation an operationId." in result.output
    assert "ໃສ່ operationId." in result.output
