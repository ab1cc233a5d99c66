"""Databases compare in their own ways; what is shown, counted and found does not depend on it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from adapters.answers.requests import plan
from adapters.mapping.callers import Caller
from adapters.mapping.file import parse_mapping
from adapters.service import Adapter
from adapters.sources.source import Source
from exchange.agreements import ROWS_HEADER, RowCondition, rows_header
from exchange.identifiers import ApplicationId
from exchange.problems import Code, Problem
from serving.backends import BackendRequest
from tests.adapters.legacy import Legacy, execute

MAPPING = """
saphan_mapping: 1
application: LA/GOV/MOHA/register
title: {en: Persons, lo: ບຸກຄົນ}
source: {kind: sql, url: "${LEGACY_URL}"}
records:
  office:
    title: {en: Office, lo: ຫ້ອງການ}
    fields: {code: string, label: string}
  person:
    title: {en: Person, lo: ບຸກຄົນ}
    visible:
      rules: [{when: {client: LA/GOV/MOHA}, rows: all}]
      otherwise: {kind: [married]}
    fields:
      id: integer
      kind: {type: enumeration, table: {m: married, M: male, x: other}}
      office: string
      share: decimal
      at: {type: datetime, zone: Asia/Vientiane}
    nested:
      of: {query: offices, join: {code: office}, as: one}
queries:
  offices: {sql: "SELECT code, label FROM tbl_office", record: office}
  persons: {sql: SELECT * FROM tbl_somebody, record: person}
services:
  persons:
    title: {en: Persons, lo: ບຸກຄົນ}
    endpoints:
      /persons:
        operation: list
        query: persons
        title: {en: Persons, lo: ບຸກຄົນ}
        order: [id]
        sorts: {share: [share]}
        count: exact
        filters: {kind: {}, at: {}, since: {field: at, compare: at_least}}
"""
ROWS = [("m", "HL", 0.1), ("M", "hl", 0.3), ("x", "HL", 0.7), ("m", "ho", 0.1)]
WORDS = {"sqlite": "text COLLATE NOCASE", "postgresql": "citext", "mariadb": "varchar(5)"}
TIMES = {"sqlite": "text", "postgresql": "timestamptz", "mariadb": "datetime"}
OWNER = "LA/GOV/MOHA/desk"


@pytest.fixture
async def persons(own_legacy: Legacy) -> AsyncIterator[Adapter]:
    url, kind = own_legacy.url, own_legacy.kind
    single = "float" if kind == "mariadb" else "real"
    if kind == "postgresql":
        execute(url, "CREATE EXTENSION citext")
    execute(url, "CREATE TABLE tbl_office (code varchar(10) PRIMARY KEY, label varchar(20))")
    execute(url, "INSERT INTO tbl_office VALUES ('HL', 'health'), ('ho', 'home')")
    execute(
        url,
        f"CREATE TABLE tbl_somebody (id integer PRIMARY KEY, kind {WORDS[kind]},"
        f" office varchar(10), share {single}, at {TIMES[kind]})",
    )
    for number, (word, office, share) in enumerate(ROWS, 1):
        execute(
            url,
            "INSERT INTO tbl_somebody VALUES (:id, :kind, :office, :share, :at)",
            id=number,
            kind=word,
            office=office,
            share=share,
            at=f"2025-01-01 08:00:00{'+07' if kind == 'postgresql' else ''}",
        )
    mapping = parse_mapping(MAPPING.encode(), "persons.yaml")
    adapter = Adapter(mapping, Source(mapping.source, {"LEGACY_URL": url}, Path()))
    yield adapter
    await adapter.close()


async def page(
    adapter: Adapter, query: str, client: str = OWNER, *conditions: RowCondition
) -> tuple[int, dict[str, Any]]:
    headers: tuple[tuple[str, str], ...] = (("x-road-client", client),)
    if conditions:
        headers = (*headers, (ROWS_HEADER, rows_header(conditions)))
    request = BackendRequest("GET", "/persons", query, headers, b"")
    response = await adapter.exchange(request, timeout_s=20)
    return response.status, orjson.loads(response.body)


async def found(adapter: Adapter, query: str, *more: Any) -> list[int]:
    status, body = await page(adapter, query, *more)
    assert status == 200, body
    return [one["id"] for one in body["items"]]


async def test_a_right_to_some_words_is_none_to_words_that_look_like_them(
    persons: Adapter,
) -> None:
    """MariaDB takes M for m: whoever sees the married does not see the male, by whatever says so:
    the mapping, an agreement, or a filter of a code list."""
    assert await found(persons, "") == [1, 2, 3, 4]
    assert await found(persons, "", "LA/GOV/MOF/app") == [1, 4]
    assert await found(persons, "", OWNER, RowCondition("kind", ("married",))) == [1, 4]
    assert await found(persons, "kind=married") == [1, 4]
    assert await found(persons, "kind=male") == [2]


async def test_a_nested_record_belongs_to_every_spelling_of_its_key(
    persons: Adapter, own_legacy: Legacy
) -> None:
    """Where the database takes hl for HL, the record of either spelling has the office, on a page
    with both as alone; where it does not, none but the exact one has."""
    _, body = await page(persons, "")
    labels = {one["office"]: one.get("of", {}).get("label") for one in body["items"]}
    alone = "health" if own_legacy.kind == "mariadb" else None
    assert labels == {"HL": "health", "hl": alone, "ho": "home"}
    _, body = await page(persons, "kind=male")
    assert body["items"][0].get("of", {}).get("label") == alone


async def test_pages_in_the_order_of_single_floats_end(
    persons: Adapter, own_legacy: Legacy
) -> None:
    """0.1 as a float of four bytes is another number than 0.1 of eight: no page is given again or
    left out. MariaDB tells too little of them, so the list is refused where it would go on."""
    if own_legacy.kind == "mariadb":
        with pytest.raises(Problem) as caught:
            await page(persons, "sort=share&page_size=1")
        assert caught.value.code is Code.SOURCE_FAILED
        assert "FLOAT" in caught.value.detail
        assert await found(persons, "sort=share") == [1, 4, 2, 3]
        return
    seen: list[int] = []
    cursor = ""
    for _ in ROWS:
        _, body = await page(persons, f"sort=share&page_size=1{cursor}")
        seen += [one["id"] for one in body["items"]]
        cursor = f"&cursor={body['next']}"
    assert seen == [1, 4, 2, 3]
    assert body["next"] is None


@pytest.mark.parametrize(
    ("query", "ids"),
    [
        ("at=2025-01-01T08:00:00%2B07:00", [1, 2, 3, 4]),
        ("at=2025-01-01T01:00:00Z", [1, 2, 3, 4]),
        ("since=2025-01-01T08:00:00%2B07:00", [1, 2, 3, 4]),
        ("since=2025-01-01T08:00:01%2B07:00", []),
    ],
)
async def test_a_time_is_found_by_the_moment_that_is_answered(
    persons: Adapter, query: str, ids: list[int]
) -> None:
    """Whether the column keeps a zone (timestamptz) or a clock's time, whatever the zone of the
    session."""
    assert await found(persons, query) == ids


_COMPUTED = """\
      born: {type: date, hidden: true}
      year: {type: integer, compute: {year: born}, mask: {
        rules: [{when: {client: LA/GOV/MOHA}, show: whole}], otherwise: absent}}
    nested:
"""


def test_what_a_masked_member_is_computed_from_is_no_search_and_no_order() -> None:
    """Who does not see the year of a hidden day of birth may not find it by the day, nor read it
    off an order or a cursor."""
    text = MAPPING.replace("    nested:\n", _COMPUTED).replace("filters: {", "filters: {born: {}, ")
    endpoint = parse_mapping(text.encode(), "persons.yaml").services["persons"].endpoints[0]
    stranger = Caller(ApplicationId.parse("LA/GOV/MOF/app", "client"))
    assert plan(endpoint, {}, "born=2000-01-01", (), Caller(ApplicationId.parse(OWNER, "client")))
    with pytest.raises(Problem) as caught:
        plan(endpoint, {}, "born=2000-01-01", (), stranger)
    assert caught.value.code is Code.FIELD_NOT_RELEASED
    with pytest.raises(Problem) as caught:
        parse_mapping(text.replace("[share]", "[born]").encode(), "persons.yaml")
    assert "masked" in caught.value.detail


async def test_a_time_that_no_zone_can_hold_is_the_callers_fault(persons: Adapter) -> None:
    """The first hour of the year 1 in the east lies before all years."""
    status, body = await page(persons, "since=0001-01-01T00:00:00%2B14:00")
    assert (status, body["where"]) == (400, "query.since")
