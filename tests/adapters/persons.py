"""A register of persons in three kinds of database, and a mapping that shows it to few."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Any

import orjson
from sqlalchemy import Column, Date, Integer, MetaData, String, Table, create_engine, insert

from adapters.mapping.file import parse_mapping
from adapters.service import Adapter
from adapters.sources.source import Source
from serving.backends import BackendRequest, BackendResponse
from tests.adapters.legacy import Legacy

MASK_KEY = "a key of more than sixteen bytes"
ENVIRONMENT = {"MASK_KEY": MASK_KEY}
HEAD = """
saphan_mapping: 1
application: LA/GOV/MOHA/register
title: {{en: Persons, lo: ບຸກຄົນ}}
source: {{kind: sql, url: "${{LEGACY_URL}}", zone: Asia/Vientiane, mask_key: "${{MASK_KEY}}"}}
"""
FIELDS = """
records:
  person:
    title: {{en: Person, lo: ບຸກຄົນ}}
    visible:
      rules:
        - {{when: {{client: [LA/GOV/MOHA, LA/GOV/LSB]}}, rows: all}}
        - when: {{client: [LA/GOV/MOF, LA/GOV/MOES/schools], purpose: audit}}
          rows: {{district: [north]}}
        - when: {{agreement: moph-2026}}
          rows: {{district: [north, south], born: {{at_least: 1990-01-01, below: today}}}}
      otherwise: nothing
    fields:
      id: integer
      nid:
        type: string
        mask:
          rules: [{{when: {{client: LA/GOV/MOHA}}, show: whole}}]
          otherwise: last_3
      name:
        type: string
        mask:
          rules:
            - {{when: {{client: LA/GOV/MOHA}}, show: whole}}
            - {{when: {{purpose: audit}}, show: initials}}
          otherwise: "null"
      born:
        type: date
        mask:
          rules: [{{when: {{client: LA/GOV/MOHA}}, show: whole}}]
          otherwise: year
      district: string
      phone:
        type: string
        mask:
          rules: [{{when: {{client: LA/GOV/MOHA}}, show: whole}}]
          otherwise: absent
      income:
        type: integer
        mask:
          rules: [{{when: {{client: LA/GOV/MOHA}}, show: whole}}]
          otherwise: absent
      family:
        column: family_no
        type: string
        mask:
          rules: [{{when: {{client: LA/GOV/MOHA}}, show: whole}}]
          otherwise: hashed
  place:
    title: {{en: District, lo: ເມືອງ}}
    fields: {{name: string}}
    nested:
      persons: {{query: persons, join: {{district: name}}, order: [id], most: 100}}
queries:
  persons:
    record: person
    sql: SELECT * FROM {table}
  places:
    record: place
    sql: SELECT 'north' AS name UNION ALL SELECT 'south' AS name
"""
SERVICES = """
services:
  persons:
    title: {{en: Persons, lo: ບຸກຄົນ}}
    endpoints:
      /persons:
        operation: list
        query: persons
        title: {{en: Persons, lo: ບຸກຄົນ}}
        order: [district desc, id]
        sorts: {{newest: [id desc], place: [district nulls last]}}
        count: exact
        page_size: 3
        cache_s: 600
        filters:
          nid: {{}}
          name: {{}}
          district: {{}}
          phone: {{}}
          born_from: {{field: born, compare: at_least}}
          income_to: {{field: income, compare: at_most}}
      /all:
        operation: list
        query: persons
        title: {{en: Persons, lo: ບຸກຄົນ}}
      /persons/{{id}}:
        operation: one
        query: persons
        title: {{en: One, lo: ຄົນໜຶ່ງ}}
        cache_s: 600
      /by-nid/{{nid}}:
        operation: one
        query: persons
        title: {{en: One, lo: ຄົນໜຶ່ງ}}
      /places:
        operation: list
        query: places
        title: {{en: Persons by district, lo: ບຸກຄົນຕາມເມືອງ}}
        order: [name]
        cache_s: 600
      /north/{{id}}:
        operation: one
        query: persons
        title: {{en: One of the north, lo: ຄົນໜຶ່ງ}}
        visible: {{otherwise: {{district: north}}}}
"""
MAPPING = HEAD + FIELDS + SERVICES

OWNER = {"x-road-client": "LA/GOV/MOHA/counter"}
CENSUS = {"x-road-client": "LA/GOV/LSB/census"}
"""Who sees every row, as the owner does, and the masks."""
AUDITOR = {"x-road-client": "LA/GOV/MOF/audit", "exchange-purpose": "audit"}
HEALTH = {"x-road-client": "LA/GOV/MOPH/care", "exchange-agreement": "moph-2026"}
STRANGER = {"x-road-client": "LA/GOV/MOFA/audit", "exchange-purpose": "audit"}


def table_of(name: str) -> Table:
    return Table(
        name,
        MetaData(),
        Column("id", Integer, primary_key=True, autoincrement=False),
        Column("nid", String(20)),
        Column("name", String(80)),
        Column("born", Date),
        Column("district", String(20)),
        Column("phone", String(20)),
        Column("income", Integer),
        Column("family_no", String(20)),
    )


def person(number: int, district: str, **other: Any) -> dict[str, Any]:
    return {
        "id": number,
        "nid": f"NID{number:06}",
        "name": ("ສົມພອນ ວົງສາ", "ເພັດ ໄຊຍະວົງ", "Khamla Sisavath")[number % 3],
        "born": date(1980 + number % 30, 3, 4),
        "district": district,
        "phone": f"020 55{number:06}",
        "income": number * 100_000,
        "family_no": f"F{number // 2}",
    } | other


PERSONS = [person(n, ("north", "south", "east")[n % 3]) for n in range(1, 25)]


def fill(url: str, name: str, persons: list[dict[str, Any]]) -> None:
    """Make a table of these persons."""
    engine = create_engine(url)
    table = table_of(name)
    table.metadata.drop_all(engine)
    table.metadata.create_all(engine)
    with engine.begin() as connection:
        connection.execute(insert(table), persons)
    engine.dispose()


def adapter_of(legacy: Legacy, mapping: str = MAPPING, table: str = "tbl_person") -> Adapter:
    parsed = parse_mapping(mapping.format(table=table).encode(), "persons.yaml")
    environ = ENVIRONMENT | {"LEGACY_URL": legacy.url}
    return Adapter(parsed, Source(parsed.source, environ, Path()))


async def ask(
    adapter: Adapter, target: str, caller: Mapping[str, str], **headers: str
) -> BackendResponse[bytes]:
    path, _, query = target.partition("?")
    fields = tuple(caller.items()) + tuple(
        (name.replace("_", "-"), v) for name, v in headers.items()
    )
    return await adapter.exchange(BackendRequest("GET", path, query, fields, b""), timeout_s=20)


async def ids(adapter: Adapter, target: str, caller: Mapping[str, str]) -> list[int]:
    """The ids of all pages of a list."""
    found: list[int] = []
    cursor: str | None = ""
    while cursor is not None:
        sign = "&" if "?" in target else "?"
        response = await ask(adapter, target + (f"{sign}cursor={cursor}" if cursor else ""), caller)
        assert response.status == 200, response.body
        page = orjson.loads(response.body)
        found += [one["id"] for one in page["items"]]
        cursor = page["next"]
    return found
