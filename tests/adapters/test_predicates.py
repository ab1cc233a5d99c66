"""Predicates and marks: yes or no instead of the record, and what a member is to others."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import orjson
import pytest

import schemas
from adapters import openapi
from adapters.check import against_schemas, against_source, checking_source
from adapters.check_rows import rows
from adapters.mapping.file import parse_mapping
from adapters.service import Adapter
from adapters.sources.source import Source
from exchange.contracts.contract import Contract
from exchange.once_only.elements import NO_ELEMENTS
from exchange.problems import Problem
from registry.requests.once_only import judge_elements
from tests.adapters.legacy import Legacy
from tests.adapters.persons import (
    AUDITOR,
    ENVIRONMENT,
    FIELDS,
    HEAD,
    OWNER,
    PERSONS,
    STRANGER,
    adapter_of,
    ask,
    fill,
    person,
)

VIENTIANE = ZoneInfo("Asia/Vientiane")
TODAY = datetime.now(UTC).astimezone(VIENTIANE).date()
MARKED = FIELDS.replace(
    "      nid:\n        type: string\n",
    "      nid:\n        type: string\n        subject: la-nid\n",
).replace(
    "      born:\n        type: date\n",
    "      born:\n        type: date\n        element: person.birth-date\n",
)
SERVICES = """
services:
  persons:
    title: {{en: Persons, lo: ບຸກຄົນ}}
    endpoints:
      /persons/{{nid}}/adult:
        operation: predicate
        query: persons
        title: {{en: Adult, lo: ຜູ້ໃຫຍ່}}
        holds: {{born: {{at_most: 2004-01-01}}}}
        unknown: not_found
        element: person.is-adult
        statistics: adult
        cache_s: 60
      /persons/{{nid}}/known:
        operation: predicate
        query: persons
        title: {{en: Known, lo: ຮູ້ຈັກ}}
        unknown: "false"
      /persons/{{nid}}/poor:
        operation: predicate
        query: persons
        title: {{en: Poor, lo: ທຸກຍາກ}}
        filters:
          below: {{field: income, compare: below, values: ["500000", "1000000"]}}
        holds: {{district: [north, east], born: {{below: today}}}}
        unknown: "false"
        reasons: {{unknown: not-registered, below: earns-more, district: elsewhere, born: not-born}}
      /persons/{{nid}}:
        operation: one
        query: persons
        title: {{en: One, lo: ຄົນໜຶ່ງ}}
"""
MAPPING = HEAD + MARKED + SERVICES
TWICE = [person(n, d, nid="TWICE") for n, d in ((903, "south"), (904, "north"))]


@pytest.fixture
async def persons(legacy: Legacy) -> AsyncIterator[Adapter]:
    today = datetime.now(UTC).astimezone(VIENTIANE).date()  # it may be past midnight by now
    born = {"TODAY": today, "BEFORE": today - timedelta(days=1)}
    newest = [
        person(n, "north", nid=nid, born=day, income=1)
        for n, (nid, day) in enumerate(born.items(), 901)
    ]
    fill(legacy.url, "tbl_person", [*PERSONS, *newest, *TWICE])
    adapter = adapter_of(legacy, MAPPING)
    yield adapter
    await adapter.close()


async def answer(adapter: Adapter, target: str, caller: dict[str, str] = OWNER) -> Any:
    response = await ask(adapter, target, caller)
    if response.status != 200:
        return response.status
    said = orjson.loads(response.body)
    assert date.fromisoformat(said.pop("as_of")) - TODAY in (timedelta(0), timedelta(days=1))
    return said


async def test_a_predicate_says_yes_or_no_and_when(persons: Adapter) -> None:
    """Of the key's records one that meets all is enough; a key of no record is what the mapping
    says; a hidden record is none, and the record itself is never told."""
    assert await answer(persons, "/persons/NID000003/adult") == {"result": True}
    assert await answer(persons, "/persons/BEFORE/adult") == {"result": False}
    assert await answer(persons, "/persons/NOBODY/adult") == 404
    assert await answer(persons, "/persons/NOBODY/known") == {"result": False}
    assert await answer(persons, "/persons/NID000004/known") == {"result": True}
    # The auditor sees the north, a masked nid, and no income: what he may ask, he is answered.
    assert await answer(persons, "/persons/NID000003/adult", AUDITOR) == {"result": True}
    assert await answer(persons, "/persons/NID000004/adult", AUDITOR) == 404
    assert await answer(persons, "/persons/NID000004/known", AUDITOR) == {"result": False}
    assert await answer(persons, "/persons/NID000003/known", STRANGER) == {"result": False}


async def test_a_reason_names_the_first_condition_that_fails(persons: Adapter) -> None:
    """In the order: the key, the filters, what holds; yes needs none."""
    poor = "/persons/{}/poor?below={}"
    for nid, below, said in (
        ("NID000003", 500_000, {"result": True}),
        ("TWICE", 1_000_000, {"result": False, "reason": "earns-more"}),
        ("NID000004", 500_000, {"result": False, "reason": "elsewhere"}),
        ("NID000005", 500_000, {"result": False, "reason": "earns-more"}),
        ("NID000005", 1_000_000, {"result": True}),
        ("NOBODY", 500_000, {"result": False, "reason": "not-registered"}),
        ("TODAY", 500_000, {"result": False, "reason": "not-born"}),
        ("BEFORE", 500_000, {"result": True}),
    ):
        assert await answer(persons, poor.format(nid, below)) == said


@pytest.mark.parametrize(
    "query", ["", "?below=499999", "?below=500000&fields=nid", "?below=500000&page_size=1", "?x=1"]
)
async def test_only_listed_values_are_asked_for(persons: Adapter, query: str) -> None:
    """Whoever may choose freely finds an income by halves."""
    assert await answer(persons, f"/persons/NID000003/poor{query}") == 400


async def test_the_document_says_what_is_answered_and_what_it_is(persons: Adapter) -> None:
    """Answers keep the contract; marks stand in the keywords that registry and servers read."""
    document = openapi.document(persons.mapping, "persons", schemas.load_all())
    contract = Contract.compile(document, schemas.load_all())
    kind = (("content-type", "application/json"),)
    for target in ("/persons/TODAY/adult", "/persons/TODAY/poor?below=500000"):
        response = await ask(persons, target, OWNER)
        found = contract.find("GET", target.partition("?")[0])
        found.operation.check_response(200, kind, response.body)
        with pytest.raises(Problem):
            found.operation.check_response(200, kind, b'{"result": "yes", "as_of": "2026-01-01"}')
    tree = orjson.loads(document)
    adult = tree["paths"]["/persons/{nid}/adult"]["get"]
    said = adult["responses"]["200"]["content"]["application/json"]["schema"]["properties"]
    assert said["result"] == {
        "type": "boolean",
        "x-saphan-element": "person.is-adult",
        "x-saphan-statistics": "adult",
    }
    assert adult["parameters"][0]["schema"]["x-saphan-subject"] == "la-nid"
    members = tree["components"]["schemas"]["person"]["properties"]
    assert "person.birth-date" in str(members["born"])
    poor = tree["paths"]["/persons/{nid}/poor"]["get"]["parameters"]
    assert poor[1]["schema"]["enum"] == [500_000, 1_000_000]
    assert poor[1]["required"] is True


async def test_a_call_is_about_whom_it_asks_for(persons: Adapter) -> None:
    """The journals find it by Exchange-Subject: another subject than the key's is refused."""
    for said, status in (
        ("la-nid:NID000003", 200),
        ("la-nid:nid000003", 200),
        ("la-nid:NID000006", 400),
        ("passport:P1", 200),
    ):
        for path in ("/persons/NID000003", "/persons/NID000003/adult"):
            response = await ask(persons, path, OWNER, exchange_subject=said)
            assert response.status == status


async def test_a_check_asks_each_predicate(legacy: Legacy, persons: Adapter) -> None:
    """With sample values; rights hide nothing from who checks."""
    shared = schemas.load_all()
    environ = ENVIRONMENT | {"LEGACY_URL": legacy.url}
    assert against_schemas(persons.mapping, shared) == []
    source = checking_source(
        persons.mapping, lambda changed: Source(changed.source, environ, Path())
    ).lease()
    found = await against_source(persons.mapping, source, {})
    found += await rows(persons.mapping, source, shared, {})
    await source.close()
    assert [one for one in found if not one.warning] == []


@pytest.mark.parametrize(
    ("old", "new", "place"),
    [
        ('        unknown: "false"\n        reasons', "        reasons", "/poor"),
        ('unknown: "false"\n        reasons', "unknown: maybe\n        reasons", "unknown"),
        (', values: ["500000", "1000000"]', "", "below"),
        (', values: ["500000", "1000000"]', ', values: ["much"]', "values"),
        ("born: not-born", "name: not-born", "reasons"),
        ("reasons: {{unknown: not-registered", "reasons: {{unknown: Not Registered", "reasons"),
        (
            'unknown: "false"\n      /persons/{{nid}}/poor',
            "unknown: not_found\n      /p/{{nid}}",
            "known",
        ),
        (", zone: Asia/Vientiane", "", "/"),
        ("element: person.is-adult", "element: Adult", "element"),
        ("statistics: adult", "statistics: Adult!", "statistics"),
        ("subject: la-nid", "subject: La_Nid", "subject"),
        ("element: person.birth-date", "statistics: born", "statistics"),
        ("element: person.birth-date", "subject: la-day", "subject"),
        ("operation: one\n", "operation: one\n        holds: {{id: 1}}\n", "holds"),
        ("        cache_s: 60\n", "        order: [id]\n", "order"),
        ("    fields:\n", "    schema: https://schemas.saphan.la/x/1\n    fields:\n", "schema"),
    ],
)
def test_a_predicate_that_says_too_much_or_nothing_is_refused(
    old: str, new: str, place: str
) -> None:
    """With its place, when the mapping is read."""
    assert old in MAPPING
    with pytest.raises(Problem) as refused:
        parse_mapping(MAPPING.replace(old, new, 1).format(table="t").encode())
    assert place in refused.value.where


def test_a_predicate_is_a_source_of_the_dictionary() -> None:
    """The registry takes its path and ``/result`` for an element; another pointer it does not."""
    shared = schemas.load_all()
    mapping = parse_mapping(MAPPING.format(table="t").encode())
    [service] = mapping.services.values()
    text = {"en": "Adult", "lo": "ຜູ້ໃຫຍ່"}
    element = {
        "id": "person.is-adult",
        "version": 1,
        "name": text,
        "definition": text,
        "schema": {"type": "boolean"},
        "subject": "la-nid",
        "legal_basis": text,
        "validity": "P1D",
    }
    documents = {service.id: openapi.document(mapping, "persons", shared)}
    for pointer, taken in (("/result", True), ("/adult", False)):
        source = {"service": str(service.id), "path": "/persons/{subject}/adult"}
        found = orjson.dumps({"elements": [element | {"source": source | {"pointer": pointer}}]})
        if taken:
            judged = judge_elements(found, NO_ELEMENTS, documents, shared)
            assert judged.elements[0].source.pointer == "/result"
        else:
            with pytest.raises(Problem, match="adult"):
                judge_elements(found, NO_ELEMENTS, documents, shared)


async def test_a_check_of_rows_asks_about_each_record(own_legacy: Legacy) -> None:
    """Each record is known by its own key, and asking ends in yes or no: a key that nobody can ask
    for, and one that the source does not find again, are told."""
    odd = [person(907, "north", nid=None), person(908, "north", nid=" 908 ")]
    fill(own_legacy.url, "tbl_person", [*PERSONS, *odd])
    trimmed = MAPPING.replace(
        "        type: string\n        subject",
        "        type: string\n        trim: true\n        subject",
    )
    mapping = parse_mapping(trimmed.format(table="tbl_person").encode(), "p.yaml")
    environ = ENVIRONMENT | {"LEGACY_URL": own_legacy.url}
    source = checking_source(mapping, lambda one: Source(one.source, environ, Path())).lease()
    counted: list[int] = []
    try:
        told = await rows(mapping, source, schemas.load_all(), {}, counted.append)
    finally:
        await source.close()
    asked = [one for one in told if one.where == "persons GET /persons/{nid}/adult"]
    assert {(one.rule[:24], one.warning) for one in asked} == {
        ("nobody can ask of it: it", True),
        ("its own key does not fin", False),
    }
    assert sum(counted) == 4 * (len(PERSONS) + len(odd))
