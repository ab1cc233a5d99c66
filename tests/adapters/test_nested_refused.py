"""Records inside records: what is refused before a source is asked."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace

import orjson
import pytest

import schemas
from adapters import openapi
from adapters.service import Adapter
from exchange.agreements import ROWS_HEADER
from exchange.contracts.contract import Contract
from exchange.problems import Code, Problem
from tests.adapters.legacy import get
from tests.adapters.nested import MAPPING, adapter_of, mapping_of, opened
from tests.adapters.persons import ask


@pytest.fixture
async def unasked() -> AsyncIterator[Adapter]:
    """The adapter where no request reaches its source."""
    adapter = adapter_of("sqlite:///nowhere.db", mapping_of())
    yield adapter
    await adapter.close()


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ("tranches.nothing", "known: tranches.number, tranches.amount, tranches.payments"),
        ("tranches.payments.no", "known: tranches.payments.paid, tranches.payments.payee"),
        ("code.x", "known: code"),
        ("tranches.", "no field"),
        (".code", "no field"),
        ("given", "no field"),
        ("tranches,tranches.number", "twice"),
        ("person.name,code,person", "twice"),
        ("tranches.number,tranches.number", "twice"),
    ],
)
async def test_what_cannot_be_picked_is_refused(unasked: Adapter, fields: str, words: str) -> None:
    """With the place, and what there is instead; the document refuses it too."""
    response = await get(unasked, f"/projects?fields={fields}")
    problem = orjson.loads(response.body)
    assert (response.status, problem["where"]) == (400, "query.fields")
    assert words in problem["detail"]
    if words == "twice":
        return  # which no pattern can say
    document = openapi.document(unasked.mapping, None, schemas.load_all())
    match = Contract.compile(document, schemas.load_all()).find("GET", "/projects")
    with pytest.raises(Problem):
        match.operation.check_request(match, f"fields={fields}", (), b"")


@pytest.mark.parametrize(
    "name", ["tranches", "tranches_nothing", "tranches_payments_no", "nobody_code", "ministry_code"]
)
@pytest.mark.parametrize("query", ["", "?fields=code"])
async def test_a_condition_that_cannot_be_applied_closes_the_endpoint(
    unasked: Adapter, name: str, query: str
) -> None:
    """Also where its member is not asked for: nobody has to think of what else is."""
    response = await ask(unasked, f"/projects/P-1{query}", opened(**{name: ["1"]}))
    path = name.replace("_", ".")
    problem = orjson.loads(response.body)
    assert (response.status, problem["where"]) == (503, f"header.{ROWS_HEADER}.{path}")


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("order: [no], most: 3", "most: 3", "order"),
        ("query: tranches, join", "query: nothing, join", "no query"),
        ("join: {project_id: id}", "join: {}", "1 to 4"),
        ("join: {project_id: id}", 'join: {"project_id; DROP": id}', "not a name"),
        ("tranches: {query", "code: {query", "field already"),
        ("as: one,", "as: one, order: [name],", "no meaning"),
        (
            "fields: {name: string}",
            "fields: {name: string}\n"
            "    nested: {own: {query: every, join: {code: code}, as: one}}",
            "levels deep",
        ),
        ("{concat: [given, family]", "{concat: [given, nobody]", "no other field"),
        ("{concat: [given, family]", "{concat: [given, country]", "no other field"),
        ("{concat: [given, family], separator", "{concat: [given, family], to", "no meaning"),
        ("{year: signed}", "{year: code}", "cannot make integer"),
        ("{multiply: [price, number]}", "{multiply: [price, code]}", "cannot make decimal"),
        (
            "{multiply: [price, number]}",
            "{multiply: [price, number], add: [price, number]}",
            "one operation",
        ),
        ("{multiply: [price, number]}", "{eval: price}", "unknown key"),
        ("to: ongoing}", "to: running}", "never"),
        ("{constant: LA}", "{constant: LA}, column: x", "no column"),
        (
            "type: decimal, scale: 2, rounding: half_up, compute: {divide",
            "type: decimal, compute: {divide",
            "scale",
        ),
        ("code: {}\n", "code: {}\n          open: {}\n", "computed"),
    ],
)
def test_faults_are_found_when_the_mapping_is_read(old: str, new: str, words: str) -> None:
    """Each with its place."""
    assert old in MAPPING
    with pytest.raises(Problem) as caught:
        mapping_of(MAPPING.replace(old, new, 1))
    assert caught.value.code is Code.INVALID_MAPPING
    assert words in caught.value.detail
    assert "nested.yaml:" in caught.value.where


def test_a_record_holds_no_more_members_than_statements_are_bearable() -> None:
    """Those of its nested records count."""
    one = "      ministry: {query: ministries, join: {code: ministry_code}, as: one, "
    assert one in MAPPING
    more = [one.replace("ministry:", f"m{n}:", 1) + "}\n" for n in range(48)]  # and three there
    assert mapping_of(MAPPING.replace(one, "".join(more[:47]) + one))
    with pytest.raises(Problem, match="at most 50 nested members"):
        mapping_of(MAPPING.replace(one, "".join(more) + one))


def test_what_is_computed_of_a_masked_value_is_masked_itself() -> None:
    """Otherwise it would tell what the mask hides."""
    text = MAPPING.replace("code: string\n", "code: {type: string, mask: last_4}\n").replace(
        "          code: {}\n", ""
    )
    with pytest.raises(Problem, match="mask"):
        mapping_of(text.replace("/projects/{code}", "/other/{given}"))


def test_a_mapping_keeps_its_records_apart() -> None:
    """The nested record is the one of its query, complete; the query's own is the same."""
    mapping = mapping_of()
    project = mapping.records["project"]
    (tranches, ministry) = project.nested
    assert tranches.query.record == mapping.records["tranche"]
    assert tranches.query.record.nested[0].name == "payments"
    assert replace(ministry.query.record, nested=()) == mapping.records["ministry"]
    assert project.members[-2:] == ("tranches", "ministry")
