"""What mappings offer beside plain records, through two servers with the contract judged: nested
and computed members, numbers of records, predicates, searches; and a predicate as evidence."""

from __future__ import annotations

import json
import sqlite3
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import orjson
import pytest

import schemas
from adapters import kinds
from console.reference_world.plans import MemberPlan, ServerPlan, ServicePlan
from console.reference_world.world import World
from exchange.documents import format_document
from exchange.problems import Code, Text
from exchange.registrations import ELEMENTS_TARGET
from tests.world.small import Answer, SmallWorld, exchange
from tests.world.sources import (
    DGC,
    MOHA,
    OFFICE,
    PERSONS,
    PORTAL,
    PORTAL_SERVER,
    PURPOSE,
    SOURCES_SERVER,
    application,
    element,
    request,
)

GOOD, BAD, LONG, GONE = "ZQ7715500042", "ZQ7715500043", "ZQ7715500044", "ZQ7715500045"
"""Persons: one whose record fits the contract, one with a paper and one with a label that does not,
one who has left."""
STATEMENTS = f"""
CREATE TABLE person (nid TEXT PRIMARY KEY, name TEXT, left_on TEXT);
CREATE TABLE paper (nid TEXT, kind TEXT, number INTEGER);
INSERT INTO person VALUES ('{GOOD}', 'ສົມສີ ວົງສາ', NULL), ('{BAD}', 'Khamla Sisavath', NULL),
  ('{LONG}', 'Bounmy Phommachanh Keomanivong', NULL), ('{GONE}', 'Keo', '2020-01-01');
INSERT INTO paper VALUES ('{GOOD}', 'passport', 7), ('{GOOD}', 'permit', 8),
  ('{GOOD}', 'secret', 9), ('{BAD}', 'passport', 641);
"""  # noqa: S608  # words of this file
MAPPING = """
saphan_mapping: 1
application: LA/GOV/MOHA/civil-register
title: {en: Persons, lo: ບຸກຄົນ}
source: {kind: sql, url: sqlite:///persons.db, zone: Asia/Vientiane}
records:
  paper:
    title: {en: Paper, lo: ເອກະສານ}
    visible:
      rules:
        - when: {client: LA/GOV/DGC/e-services, agreement: dgc-moha, purpose: enrolment}
          rows: all
        - {when: {client: LA/GOV/DGC/office}, rows: {kind: [passport, permit]}}
      otherwise: nothing
    fields: {kind: string, number: integer}
  person:
    title: {en: Person, lo: ບຸກຄົນ}
    fields:
      nid: {type: string, subject: la-nid}
      name: string
      label: {type: string, compute: {template: "{name} ({nid})"}}
      left_on: {type: date, hidden: true}
    nested: {papers: {query: papers, join: {nid: nid}, order: [number]}}
queries:
  persons: {record: person, sql: SELECT * FROM person}
  papers: {record: paper, sql: SELECT * FROM paper}
services:
  persons:
    title: {en: Persons, lo: ບຸກຄົນ}
    endpoints:
      /persons:
        operation: list
        query: persons
        title: {en: Persons, lo: ບຸກຄົນ}
        order: [nid]
        count: exact
        filters: [nid]
      /persons/{nid}: {operation: one, query: persons, title: {en: Person, lo: ບຸກຄົນ}}
      /persons/{nid}/registered:
        operation: predicate
        query: persons
        title: {en: Whether somebody is registered, lo: ລົງທະບຽນຫຼືບໍ່}
        holds: {left_on: {above: today, or_null: true}}
        unknown: not_found
        reasons: {left_on: has-left}
        element: person.is-registered
      /named:
        operation: search
        query: persons
        title: {en: Persons by name, lo: ຊອກຫາຕາມຊື່}
        names: [name]
        order: [nid]
"""
PAPERS = [
    {"kind": "passport", "number": 7},
    {"kind": "permit", "number": 8},
    {"kind": "secret", "number": 9},
]
PERSON = {"nid": GOOD, "name": "ສົມສີ ວົງສາ", "label": f"ສົມສີ ວົງສາ ({GOOD})", "papers": PAPERS}
ELEMENTS = [
    element(
        "person.is-registered",
        PERSONS,
        "/persons/{subject}/registered",
        "/result",
        schema={"type": "boolean"},
        predicate_of="person.label",
        validity="P1D",
    ),
    element("person.label", PERSONS, "/persons/{subject}", "/label"),
]
ENDPOINTS = ("/persons", "/persons/{nid}", "/persons/{nid}/registered", "/named")


def narrow(document: dict[str, Any]) -> None:
    """The contract allows less than the source holds, of what is nested and of what is computed."""
    components = document["components"]["schemas"]
    components["paper"]["properties"]["number"]["maximum"] = 100
    components["person"]["properties"]["label"]["maxLength"] = 40


def agreement(identifier: str, consumer: str, **grant: Any) -> dict[str, Any]:
    text = {"en": "Persons", "lo": "ບຸກຄົນ"}
    endpoints = [{"method": "GET", "path": path} for path in ENDPOINTS]
    return {
        "id": identifier, "version": 1, "title": text, "provider": str(MOHA), "consumer": consumer,
        "grants": [{"service": str(PERSONS), "endpoints": endpoints, **grant}],
        "purposes": [{"code": PURPOSE, "title": text, "legal_basis": text}],
        "valid_from": "2020-01-01T00:00:00Z", "valid_until": "2099-01-01T00:00:00Z",
    }  # fmt: skip


AGREEMENTS = (
    agreement("dgc-moha", str(PORTAL), fields=["*"]),
    agreement(
        "office-moha",
        str(OFFICE),
        fields=["/items/*/nid", "/items/*/papers/*/kind"],
        rows={"papers.kind": ["permit", "secret"]},
    ),
)


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    """A portal's server, and one with a register behind a mapping."""
    with tempfile.TemporaryDirectory(prefix="saphan-") as name:
        folder = Path(name)
        with sqlite3.connect(folder / "persons.db") as database:
            database.executescript(STATEMENTS)
        database.close()
        mapping, openapi = folder / "persons.yaml", folder / "persons.json"
        mapping.write_text(MAPPING, "utf-8")
        document = orjson.loads(kinds.read(mapping).document("persons", schemas.load_all()))
        narrow(document)
        openapi.write_bytes(orjson.dumps(document))
        settings = {"adapter": str(mapping), "openapi": str(openapi)}
        title = Text("persons", "ບຸກຄົນ")
        service = ServicePlan(PERSONS, title, openapi, settings)
        register = MemberPlan(MOHA, title, (application(PERSONS.application),), (service,))
        portal = MemberPlan(DGC, Text("DGC", "ສູນ"), (application(PORTAL), application(OFFICE)))
        made = World(folder / "world")
        try:
            made.open_instance(Text("Lao PDR", "ສປປ ລາວ"))
            made.add_server(ServerPlan(SOURCES_SERVER, (register,)))
            made.add_server(ServerPlan(PORTAL_SERVER, (portal,)))
            for one in AGREEMENTS:
                made.agree(one)
            made.publish({ELEMENTS_TARGET: format_document({"elements": ELEMENTS})})
            made.start()
            yield made
        finally:
            made.close()


def call(world: World, path: str, identifier: str, client: str = str(PORTAL)) -> Answer:
    headers = {"X-Road-Client": client, "Exchange-Purpose": PURPOSE, "X-Road-Id": identifier}
    return exchange(
        world.servers[PORTAL_SERVER].url("http"), "GET", f"/r1/{PERSONS}{path}", headers
    )


def kinds_in_journals(world: World, identifier: str) -> list[list[str]]:
    known = SmallWorld(world, None)  # type: ignore[arg-type]  # no backend: an adapter answers
    return [
        [hit.kind for hit in known.hits(server, id=identifier)] for server in world.servers.values()
    ]


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (f"/persons/{GOOD}", PERSON),
        (f"/persons?nid={GOOD}", {"items": [PERSON], "next": None}),
        (
            f"/persons/{GOOD}?fields=label,papers.kind",
            {"label": PERSON["label"], "papers": [{"kind": one["kind"]} for one in PAPERS]},
        ),
    ],
)
def test_nested_and_computed_members_cross(world: World, path: str, expected: Any) -> None:
    """In lists, alone and picked; both journals have the exchange."""
    answer = call(world, path, identifier := f"good-{path}")
    assert answer.status == 200, answer.body
    assert answer.json == expected
    assert kinds_in_journals(world, identifier) == [["request", "response"]] * 2


@pytest.mark.parametrize(
    ("path", "place"),
    [
        (f"/persons/{BAD}", "/papers/0/number"),
        (f"/persons?nid={BAD}", "/items/0/papers/0/number"),
        (f"/persons/{LONG}", "/label"),
        (f"/persons?nid={LONG}", "/items/0/label"),
        ("/named?name=Khamla+Sisavath", "/items/0/record/papers/0/number"),
    ],
)
def test_what_breaks_the_contract_inside_a_record_is_stopped(
    world: World, path: str, place: str
) -> None:
    """With its place, by the provider's server."""
    answer = call(world, path, f"bad-{path}")
    assert (answer.status, answer.code) == (502, Code.RESPONSE_SCHEMA_VIOLATION), answer.body
    assert answer.json["where"].endswith(place)


def test_the_number_of_records_crosses(world: World) -> None:
    """The field is passed on for who asked, and for nobody else."""
    counted = call(world, f"/persons?nid={GOOD}&count=true", "count-1")
    assert counted.headers["x-saphan-total"] == "1;exact"
    assert counted.json["items"] == [PERSON]
    assert "x-saphan-total" not in call(world, f"/persons?nid={GOOD}", "count-2").headers


def test_a_search_crosses(world: World) -> None:
    """In another script than the source's, with its score and the nested records of the hit."""
    answer = call(world, f"/named?name={quote('Somsy Vongsa')}", "search-1")
    assert answer.status == 200, answer.body
    (hit,) = answer.json["items"]
    assert hit["record"] == PERSON
    assert hit["score"] >= 0.85


def test_a_predicate_crosses(world: World) -> None:
    """Yes, no with the reason, and 404 for nobody."""
    yes = call(world, f"/persons/{GOOD}/registered", "predicate-1")
    assert yes.json["result"] is True
    no = call(world, f"/persons/{GONE}/registered", "predicate-2")
    assert (no.json["result"], no.json["reason"]) == (False, "has-left")
    assert call(world, "/persons/NOBODY/registered", "predicate-3").status == 404


def test_an_agreement_opens_a_part_of_what_is_nested(world: World) -> None:
    """Its condition on nested rows and the mapping's rules both hold; what it releases inside may
    be picked, and nothing else."""
    whole = call(world, f"/persons?nid={GOOD}", "part-1", str(OFFICE))
    expected = {"items": [{"nid": GOOD, "papers": [{"kind": "permit"}]}]}
    assert whole.json == expected
    path = f"/persons?nid={GOOD}&fields=nid,papers.kind"
    assert call(world, path, "part-2", str(OFFICE)).json == expected
    for field in ("papers.number", "papers", "label"):
        refused = call(world, f"/persons?fields={field}", f"part-{field}", str(OFFICE))
        assert (refused.status, refused.code) == (403, Code.FIELD_NOT_RELEASED)
        assert refused.json["where"] == "query.fields"


@pytest.mark.parametrize(("subject", "expected"), [(GOOD, True), (GONE, False)])
def test_a_predicate_is_evidence(world: World, subject: str, expected: bool) -> None:
    """A portal asks for the element; yes or no comes from the mapping, never the record, and both
    journals show the exchange that gave it."""
    body = request("person.is-registered", subject=f"la-nid:{subject}")
    headers = {"Content-Type": "application/json", "X-Road-Client": str(PORTAL)}
    url = world.servers[PORTAL_SERVER].url("http")
    answer = exchange(url, "POST", "/once-only/evidence", headers, json.dumps(body).encode())
    assert answer.status == 200, answer.body
    (value,) = answer.json["values"]
    assert (value["element"], value["value"]) == ("person.is-registered", expected)
    assert value["source"] == str(PERSONS)
    assert kinds_in_journals(world, value["exchange"]["id"]) == [["request", "response"]] * 2


def test_evidence_about_nobody_is_not_found(world: World) -> None:
    """A key of no record is no "no"."""
    body = request("person.is-registered", subject="la-nid:NOBODY")
    headers = {"Content-Type": "application/json", "X-Road-Client": str(PORTAL)}
    url = world.servers[PORTAL_SERVER].url("http")
    answer = exchange(url, "POST", "/once-only/evidence", headers, json.dumps(body).encode())
    (missing,) = answer.json["missing"]
    assert (answer.json["values"], missing["reason"]) == ([], "NotFound")
    assert kinds_in_journals(world, missing["exchange"]["id"]) == [["request", "response"]] * 2
