"""What the owner shows to whom: rows and masked members, over three kinds of database."""

from __future__ import annotations

import hmac
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import schemas
from adapters import openapi
from adapters.check_rights import of_rights
from adapters.mapping.file import parse_mapping
from adapters.service import Adapter
from adapters.sources.source import Source
from exchange.agreements import ROWS_HEADER, RowCondition, rows_header
from exchange.contracts.contract import Contract
from exchange.problems import Code, Problem
from serving.backends import BackendRequest
from tests.adapters.legacy import Legacy
from tests.adapters.persons import (
    AUDITOR,
    CENSUS,
    ENVIRONMENT,
    HEALTH,
    MAPPING,
    MASK_KEY,
    OWNER,
    PERSONS,
    STRANGER,
    adapter_of,
    ask,
    fill,
    ids,
    person,
)

NORTH = [one["id"] for one in PERSONS if one["district"] == "north"]


@pytest.fixture
async def persons(legacy: Legacy) -> AsyncIterator[Adapter]:
    fill(legacy.url, "tbl_person", PERSONS)
    adapter = adapter_of(legacy)
    yield adapter
    await adapter.close()


# Rows.


async def test_the_first_rule_that_a_caller_meets_decides(persons: Adapter) -> None:
    """By client or its member, purpose and agreement; without a rule what is said for others."""
    assert set(await ids(persons, "/persons", OWNER)) == {one["id"] for one in PERSONS}
    assert set(await ids(persons, "/persons", AUDITOR)) == set(NORTH)
    expected = {
        one["id"]
        for one in PERSONS
        if one["district"] in ("north", "south") and one["born"].year >= 1990
    }
    assert set(await ids(persons, "/persons", HEALTH)) == expected
    for nobody in (
        {},
        STRANGER,
        {"x-road-client": "LA/GOV/MOF/audit"},
        {"x-road-client": "LA/GOV/MOES/schools2", "exchange-purpose": "audit"},
        {"exchange-purpose": "audit"},
    ):
        assert await ids(persons, "/persons", nobody) == []
    whole = AUDITOR | {"x-road-client": "LA/GOV/MOES/schools"}
    assert set(await ids(persons, "/persons", whole)) == set(NORTH)


async def test_rules_of_record_endpoint_and_agreement_all_apply(persons: Adapter) -> None:
    """None of them opens what another closes, by a key either."""
    rows = rows_header((RowCondition("id", ("3", "1")),))
    narrowed = AUDITOR | {ROWS_HEADER: rows}
    assert await ids(persons, "/persons", narrowed) == [3]
    for number, status in ((3, 200), (6, 404), (1, 404)):
        assert (await ask(persons, f"/persons/{number}", narrowed)).status == status
    assert (await ask(persons, "/north/1", OWNER)).status == 404
    assert (await ask(persons, "/north/3", OWNER)).status == 200
    assert (await ask(persons, "/north/3", STRANGER)).status == 404


async def test_nested_records_obey_the_rules_of_their_own_record(persons: Adapter) -> None:
    """Hidden ones are not there, masked members are masked, whatever record they stand in."""
    places = orjson.loads((await ask(persons, "/places", AUDITOR)).body)["items"]
    alone = orjson.loads((await ask(persons, "/all", AUDITOR)).body)["items"]
    assert [(one["name"], len(one["persons"])) for one in places] == [
        ("north", len(NORTH)),
        ("south", 0),
    ]
    assert sorted(places[0]["persons"], key=lambda one: one["id"]) == sorted(
        alone, key=lambda one: one["id"]
    )


async def test_a_caller_who_is_not_one_is_refused(persons: Adapter) -> None:
    """Two clients, or none that is an identifier: nobody is guessed."""
    for headers in (
        (("x-road-client", "LA/GOV/MOHA/a"), ("x-road-client", "LA/GOV/MOF/a")),
        (("x-road-client", "LA/GOV/MOHA"),),
        (("x-road-client", "LA/GOV/MOHA/../x"),),
        (("exchange-purpose", "audit"), ("exchange-purpose", "care")),
    ):
        request = BackendRequest("GET", "/persons", "", headers, b"")
        assert (await persons.exchange(request, timeout_s=10)).status == 400


# Masks.


async def test_members_are_shown_as_the_mask_says(persons: Adapter) -> None:
    """Whole, initials, the end, the year, a keyed hash, null or nothing."""
    response = await ask(persons, "/persons/3", AUDITOR)
    mac = hmac.new(MASK_KEY.encode(), b"saphan mask family\0F1", "sha256").hexdigest()
    assert orjson.loads(response.body) == {
        "id": 3,
        "nid": "***003",
        "name": "ສ. ວ.",
        "born": "1983",
        "district": "north",
        "family": mac[:32],
    }
    whole = orjson.loads((await ask(persons, "/persons/3", OWNER)).body)
    assert whole["name"] == "ສົມພອນ ວົງສາ"
    assert whole["income"] == 300_000
    other = orjson.loads((await ask(persons, "/all", HEALTH)).body)["items"]
    assert other
    assert all(one["name"] is None for one in other)
    listed = orjson.loads((await ask(persons, "/all", AUDITOR)).body)["items"]
    assert orjson.loads(response.body) in listed  # many at once as one alone


@pytest.mark.parametrize(
    "target",
    [
        "/persons?nid=NID000003",
        "/persons?name=x",
        "/persons?phone=020",
        "/persons?born_from=1990-01-01",
        "/persons?income_to=5",
        "/by-nid/NID000003",
    ],
)
async def test_what_is_masked_is_not_searched_by(persons: Adapter, target: str) -> None:
    """Whoever may filter may guess; those who see the member whole may filter by it."""
    response = await ask(persons, target, AUDITOR)
    assert response.status == 403
    assert orjson.loads(response.body)["type"].endswith("FieldNotReleased")
    assert (await ask(persons, target, OWNER)).status == 200


async def test_every_caller_gets_what_the_contract_says(persons: Adapter) -> None:
    """The document says how members may be masked, so that the mediator's check lets them pass;
    another mask than the mapping's does not pass."""
    document = openapi.document(persons.mapping, "persons", schemas.load_all())
    contract = Contract.compile(document, schemas.load_all())
    operation = contract.find("GET", "/persons/3").operation
    kind = (("content-type", "application/json"),)
    for caller in (OWNER, AUDITOR, HEALTH):
        for one in PERSONS:
            response = await ask(persons, f"/persons/{one['id']}", caller)
            if response.status == 200:
                operation.check_response(200, kind, response.body)
    good = orjson.loads((await ask(persons, "/persons/3", AUDITOR)).body)
    for wrong in ({"born": "83"}, {"nid": 3}, {"phone": None}, {"name": 1}):
        with pytest.raises(Problem):
            operation.check_response(200, kind, orjson.dumps(good | wrong))


# Kept answers.


async def test_kept_answers_never_reach_a_caller_with_another_right(persons: Adapter) -> None:
    """The same request by callers with other rows or other masks, in every order, also with the
    entity tag of another's answer: each gets its own."""
    targets = ["/persons", "/persons?district=north", "/persons/3", "/persons/4", "/places"]
    callers = [OWNER, CENSUS, AUDITOR, HEALTH, STRANGER, {}]
    fresh: dict[tuple[int, str], bytes] = {}
    tags: dict[tuple[int, str], str] = {}
    for number, caller in enumerate(callers):
        for target in targets:
            persons._cache = type(persons._cache)()  # nothing is kept: the reference
            response = await ask(persons, target, caller)
            fresh[number, target] = response.body
            tags[number, target] = dict(response.headers).get("etag", "")
    for order in (callers, callers[::-1], callers[2:] + callers[:2]):
        for caller in order:
            for target in targets:
                number = callers.index(caller)
                response = await ask(persons, target, caller)
                assert response.body == fresh[number, target]
                if response.status == 200:
                    assert "x-road-client" in dict(response.headers)["vary"]
                for other in range(len(callers)):
                    tag = tags[other, target]
                    again = await ask(persons, target, caller, if_none_match=tag or '"x"')
                    same = response.status == 200 and fresh[other, target] == response.body
                    assert (again.status == 304) is same
    assert len({fresh[number, "/persons"] for number in range(4)}) == 4


# Nothing else is learned.

NESTED = MAPPING.replace(
    "  place:\n",
    """    nested:
      relatives: {{query: relatives, join: {{family_no: family_no}}, order: [id]}}
  relative:
    title: {{en: Relative, lo: ຍາດ}}
    visible:
      rules:
        - {{when: {{client: LA/GOV/MOHA}}, rows: all}}
        - {{when: {{purpose: audit}}, rows: {{district: [north]}}}}
        - {{when: {{agreement: lsb-2026}}, rows: {{district: [north], id: {{at_most: 30}}}}}}
      otherwise: nothing
    fields: {{id: integer, district: {{type: string, hidden: true}}}}
  place:
""",
).replace(
    "  places:\n    record",
    "  relatives: {{record: relative, sql: SELECT * FROM {table}}}\n  places:\n    record",
)
"""Relatives are found by the number of a family, which persons of several districts have."""
NORTHERN = rows_header((RowCondition("persons.district", ("north",)),))
FEW = rows_header(
    (RowCondition("persons.id", ("3", "6", "9")), RowCondition("persons.relatives.id", ("3", "2")))
)
CALLERS = [
    AUDITOR,
    AUDITOR | {ROWS_HEADER: FEW},
    CENSUS | {ROWS_HEADER: NORTHERN},
    CENSUS | {ROWS_HEADER: NORTHERN, "exchange-agreement": "lsb-2026"},
    CENSUS | {ROWS_HEADER: rows_header((RowCondition("district", ("north",)),))},
]
"""To whom the rules of a mapping, an agreement or both show the north alone."""
HIDDEN = [person(100 + n, ("south", "east")[n % 2], name="x" * n, income=n) for n in range(40)]
TARGETS = st.one_of(
    st.tuples(
        st.just("/persons"),
        st.fixed_dictionaries(
            {},
            optional={
                "district": st.sampled_from(["north", "south", "east", "nowhere", "NORTH "]),
                "nid": st.sampled_from(["NID000003", "NID000100", "NID000004"]),
                "name": st.sampled_from(["x", "xxx", "ສົມພອນ ວົງສາ"]),
                "income_to": st.sampled_from(["0", "5", "300000", "99999999"]),
                "born_from": st.sampled_from(["1980-01-01", "1983-03-05"]),
                "page_size": st.sampled_from(["1", "2", "3", "4"]),
                "fields": st.sampled_from(
                    ["id", "phone", "income,id", "name", "nid,born", "relatives.id", "relatives"]
                ),
                "sort": st.sampled_from(["newest", "place"]),
                "count": st.sampled_from(["true", "false"]),
                "cursor": st.sampled_from(["next", "the owner's"]),
            },
        ),
    ),
    st.tuples(
        st.sampled_from(["/persons/{}", "/north/{}", "/by-nid/NID{:06}"]).flatmap(
            lambda path: st.integers(0, 145).map(path.format)
        ),
        st.just({}),
    ),
    st.tuples(
        st.sampled_from(
            [
                "/all",
                "/places",
                "/places?fields=persons",
                "/places?fields=persons.relatives",
                "/places?fields=name,persons.nid,persons.relatives.id",
            ]
        ),
        st.just({}),
    ),
)


@pytest.fixture
async def worlds(legacy: Legacy) -> AsyncIterator[tuple[Adapter, Adapter]]:
    """Two registers that differ in what the auditor does not see, and in nothing else."""
    seen = [one for one in PERSONS if one["district"] == "north"]
    changed = [
        one | {"phone": None, "income": 7, "nid": f"ZZZZZ{one['id']:04}", "born": one["born"]}
        for one in seen
    ]
    fill(legacy.url, "tbl_one", PERSONS)
    fill(legacy.url, "tbl_other", changed + HIDDEN)
    one = adapter_of(legacy, NESTED, table="tbl_one")
    other = adapter_of(legacy, NESTED, table="tbl_other")
    yield one, other
    await one.close()
    await other.close()


@settings(
    max_examples=60,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(st.sampled_from(CALLERS), st.lists(TARGETS, min_size=1, max_size=4), st.booleans())
async def test_answers_are_a_function_of_what_is_shown(
    worlds: tuple[Adapter, Adapter],
    caller: dict[str, str],
    asked: list[tuple[str, dict[str, Any]]],
    primed: bool,
) -> None:
    """No sequence of filters, pages, others' cursors, fields and keys tells two sources apart that
    differ in hidden rows and masked values alone, also after an owner's answers were kept, and on
    no level of records in records."""
    following = ""
    for path, given_parameters in asked:
        parameters = dict(given_parameters)
        cursor = parameters.pop("cursor", None)
        if cursor == "next":
            parameters |= {"cursor": following} if following else {}
        answers = []
        for world in worlds:
            if cursor == "the owner's":
                parameters.pop("cursor", None)
                query = "&".join(f"{name}={value}" for name, value in parameters.items())
                page = orjson.loads((await ask(world, f"{path}?{query}", OWNER)).body)
                parameters["cursor"] = page.get("next") or "none"
            query = "&".join(f"{name}={value}" for name, value in parameters.items())
            if primed:
                await ask(world, f"{path}?{query}" if query else path, OWNER)
            answer = await ask(world, f"{path}?{query}" if query else path, caller)
            told = {name: value for name, value in answer.headers if name != "age"}
            answers.append((answer.status, told, answer.body))
        assert answers[0] == answers[1]
        if answers[0][0] == 200 and path == "/persons":
            following = orjson.loads(answers[0][2])["next"] or ""


# What is refused when the mapping is read.


@pytest.mark.parametrize(
    ("old", "new", "place"),
    [
        ("      otherwise: nothing\n", "", "/records/person/visible"),
        ("rows: {{district: [north]}}", "rows: {{distric: [north]}}", "distric"),
        ("rows: {{district: [north]}}", "rows: {{district: []}}", "district"),
        ("rows: {{district: [north]}}", "rows: {{born: {{at_least: soon}}}}", "at_least"),
        ("rows: {{district: [north]}}", "rows: {{district: {{at_least: north}}}}", "at_least"),
        ("{{client: [LA/GOV/MOHA, LA/GOV/LSB]}}, rows: all", "{{}}, rows: all", "when"),
        ("client: [LA/GOV/MOHA, LA/GOV/LSB]", "client: /LA", "client"),
        (", zone: Asia/Vientiane", "", "visible"),
        ("order: [district desc, id]", "order: [Born, id]", "order"),
        ("otherwise: year", "otherwise: last_4", "/born/mask"),
        ("otherwise: year", "otherwise: most", "/born/mask"),
        ("otherwise: year", "otherwise: last_9", "/born/mask"),
        (', mask_key: "${{MASK_KEY}}"', "", "/family/mask"),
        ('"${{MASK_KEY}}"', "secret-in-clear-text", "mask_key"),
    ],
)
def test_a_rule_that_could_not_be_kept_is_refused(old: str, new: str, place: str) -> None:
    """With its place, when the mapping is read."""
    assert old in MAPPING
    with pytest.raises(Problem) as refused:
        parse_mapping(MAPPING.replace(old, new, 1).format(table="t").encode())
    assert place in refused.value.where


def test_a_short_key_is_refused() -> None:
    """Hashes under it could be tried out."""
    parsed = parse_mapping(MAPPING.format(table="t").encode())
    environ = ENVIRONMENT | {"LEGACY_URL": "sqlite:///x.db", "MASK_KEY": "short"}
    with pytest.raises(Problem, match="shorter than 16"):
        Source(parsed.source, environ, Path())


def test_a_check_finds_masks_that_a_shared_schema_does_not_allow() -> None:
    """With the member and the way: what is required cannot be absent, what has a form not starred.
    A query whose parameter might compare what is masked is a warning."""
    shared = {
        "https://x.la/p/1": orjson.dumps(
            {
                "$schema": "https://json-schema.org/draft/2020-12/schema",
                "$id": "https://x.la/p/1",
                "type": "object",
                "required": ["id", "nid", "phone"],
                "properties": {
                    "id": {"type": "integer"},
                    "nid": {"type": "string", "pattern": "^NID"},
                    "name": {"type": ["string", "null"]},
                    "born": {"type": "string"},
                    "district": {"type": "string"},
                    "phone": {"type": "string"},
                    "income": {"type": "integer"},
                    "family": {"type": "string"},
                },
            }
        )
    }
    text = MAPPING.replace("    fields:\n", "    schema: https://x.la/p/1\n    fields:\n", 1)
    text = text.replace(
        "  places:\n    record",
        "  poor:\n    record: person\n    sql: SELECT * FROM {table} WHERE income < :most\n"
        "    parameters: {{most: {{type: integer}}}}\n  places:\n    record",
    )
    findings = of_rights(parse_mapping(text.format(table="t").encode()), shared)
    wrong = {(one.place, one.rule.split(",")[0]) for one in findings if not one.warning}
    assert wrong == {("/nid", "is masked as last_3"), ("/phone", "is masked as 'absent'")}
    assert ":most" in next(one.rule for one in findings if one.warning)


TWICE = """
saphan_mapping: 1
application: LA/GOV/MOHA/register
title: {en: Persons, lo: ບຸກຄົນ}
source: {kind: sql, url: "${LEGACY_URL}"}
records:
  phone:
    title: {en: Phone, lo: ໂທ}
    fields: {PHONE}
  person:
    title: {en: Person, lo: ບຸກຄົນ}
    fields:
      id: integer
      FIELDS
    nested:
      phones: {query: phones, join: {owner: national_id}, order: [number]}
queries:
  phones: {sql: "SELECT owner, number FROM tbl_phone", record: phone}
  persons: {sql: SELECT * FROM tbl_person, record: person}
services:
  persons:
    title: {en: Persons, lo: ບຸກຄົນ}
    endpoints:
      /persons: {operation: list, query: persons, order: [id], title: {en: P, lo: ປ}}
"""
_NUMBER = "number: string"
_MASKED = "national_id: {type: string, mask: last_4}"


@pytest.mark.parametrize(
    ("phone", "fields", "where"),
    [
        (_NUMBER, [_MASKED], ""),
        (_NUMBER, [_MASKED, "no: {type: string, column: national_id}"], "fields/no"),
        (_NUMBER, [_MASKED, "no: {type: string, column: National_ID, trim: true}"], "fields/no"),
        (_NUMBER, [_MASKED, "no: {type: string, column: national_id, mask: last_2}"], ""),
        (_NUMBER, [_MASKED, "no: {type: string, column: national_id, hidden: true}"], ""),
        (
            _NUMBER,
            ["born: date", "year: {type: integer, compute: {year: born}, mask: absent}"],
            "fields/year",
        ),
        (f"{_NUMBER}, owner: string", [_MASKED], "nested/phones"),
        (f"{_NUMBER}, owner: {{type: string, mask: last_4}}", [_MASKED], ""),
        (
            f"{_NUMBER}, owner: {{type: string, mask: last_4}}",
            ["national_id: string"],
            "nested/phones",
        ),
    ],
)
def test_a_masked_column_is_not_shown_again(phone: str, fields: list[str], where: str) -> None:
    """Neither under another field, nor by a nested record that is joined by it, nor as a masked
    member that anybody can compute; the mapping is refused at the place, with what to write."""
    text = TWICE.replace("{PHONE}", f"{{{phone}}}").replace("FIELDS", "\n      ".join(fields))
    if not where:
        parse_mapping(text.encode(), "twice.yaml")
        return
    with pytest.raises(Problem) as caught:
        parse_mapping(text.encode(), "twice.yaml")
    assert caught.value.code is Code.INVALID_MAPPING
    assert caught.value.where.endswith(where)
