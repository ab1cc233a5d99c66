"""A small legacy database that exists in three kinds, and a mapping over it."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import orjson
from sqlalchemy import (
    Column,
    Date,
    DateTime,
    Integer,
    MetaData,
    Numeric,
    SmallInteger,
    String,
    Table,
    Text,
    create_engine,
    insert,
    text,
)

from adapters.answers.cursors import SECRET_OF_THIS_PROCESS, Cursors, bind
from adapters.mapping.callers import NOBODY
from adapters.mapping.file import parse_mapping
from adapters.service import Adapter
from adapters.sources.source import Source
from serving.backends import BackendRequest, BackendResponse
from tests.services.server import DatabaseServer

ACCESS = Path(__file__).with_name("access")
"""Files of Access 97 and 2007."""
KINDS = ("sqlite", "postgresql", "mariadb")
TOTAL = 57
INJECTION = "x' OR '1'='1'; DROP TABLE tbl_item; --"
BACKSLASH = "\\' OR 1=1 OR '%s :code {0} \\"

METADATA = MetaData()
ITEMS = Table(
    "tbl_item",
    METADATA,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("item_code", String(60), nullable=False),
    Column("title_lo", String(200)),
    Column("amount", Numeric(18, 2)),
    Column("rate", Numeric(12, 6)),
    Column("start_text", String(10)),
    Column("signed_on", Date),
    Column("changed_at", DateTime().with_variant(String(19), "sqlite")),
    Column("is_active", SmallInteger),
    Column("status_word", String(20)),
    Column("sector_no", Integer),
    Column("note", Text),
)
ENUMERATION = {"ONG": "ongoing", "ongoing ": "ongoing", "CMP": "completed"}

MAPPING = """
saphan_mapping: 1
application: LA/GOV/MPI/legacy
title: {{en: Legacy items, lo: ລາຍການເກົ່າ}}
source:
  kind: sql
  url: ${{LEGACY_URL}}
  {limits}
enumerations:
  status: {{ONG: ongoing, "ongoing ": ongoing, CMP: completed}}
  sector: {{1: health, 2: education, 3: governance}}
records:
  item:
    title: {{en: Item, lo: ລາຍການ}}
    fields:
      id: integer
      code: {{column: item_code, type: string, null: refuse}}
      title.lo: {{type: string, trim: true}}
      amount: {{type: decimal, scale: 2}}
      rate: {{type: decimal, scale: 6, emit: string}}
      start: {{column: start_text, type: date, format: "%d/%m/%Y", null_words: ["", 00/00/0000]}}
      signed_on: date
      changed_at: {{type: datetime, zone: Asia/Vientiane}}
      active: {{column: is_active, type: boolean, stored: integer, null: "null"}}
      status: {{column: status_word, type: enumeration, table: status}}
      sector: {{column: sector_no, type: enumeration, table: sector, stored: integer}}
      note: {{type: string, null_words: ["-", n/a]}}
  total:
    title: {{en: Total, lo: ລວມ}}
    fields:
      status: {{column: status_word, type: string}}
      amount: {{type: decimal, scale: 2}}
      number: integer
queries:
  items:
    sql: SELECT * FROM tbl_item
    record: item
  totals:
    sql: |
      SELECT status_word, SUM(amount) AS amount, COUNT(*) AS number
      FROM tbl_item
      WHERE (:least IS NULL OR amount >= :least) AND id > :after
      GROUP BY status_word
    record: total
    parameters:
      least: {{type: decimal, required: false}}
      after: {{type: integer, default: 0, minimum: 0, maximum: 1000}}
  slow:
    sql: |
      WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 900)
      SELECT 'all' AS status_word, 0 AS amount, COUNT(*) AS number FROM n a, n b, n c
      WHERE a.i + b.i * c.i <> 7
    record: total
services:
  items:
    title: {{en: Items, lo: ລາຍການ}}
    endpoints:
      /items:
        operation: list
        query: items
        title: {{en: The items, lo: ລາຍການທັງໝົດ}}
        order: [id]
        page_size: 10
        filters:
          code: {{}}
          status: {{}}
          sector: {{}}
          active: {{}}
          start: {{}}
          signed_on: {{}}
          note: {{}}
          signed_from: {{field: signed_on, compare: at_least}}
          changed_until: {{field: changed_at, compare: at_most}}
          least: {{field: amount, compare: at_least}}
      /items/by-date:
        operation: list
        query: items
        title: {{en: The items by date, lo: ລາຍການຕາມວັນທີ}}
        order: [signed_on desc, amount, item_code desc]
        page_size: 7
      /items/{{code}}:
        operation: one
        query: items
        title: {{en: One item, lo: ໜຶ່ງລາຍການ}}
      /whole:
        operation: list
        query: items
        title: {{en: All at once, lo: ທັງໝົດ}}
      /totals:
        operation: list
        query: totals
        title: {{en: Totals, lo: ຍອດລວມ}}
      /slow:
        operation: list
        query: slow
        title: {{en: A slow query, lo: ຊ້າ}}
"""


def rows() -> list[dict[str, Any]]:
    """What the database holds: every oddity once, then plain rows."""
    plain = [
        {
            "id": number,
            "item_code": f"P-{number:03d}",
            "title_lo": f" ໂຄງການທີ {number} ",
            "amount": Decimal(number * 1000) + Decimal("0.10") * (number % 7),
            "rate": Decimal("1.000001") * number,
            "start_text": f"{number % 27 + 1:02d}/0{number % 9 + 1}/2024",
            "signed_on": date(2024, number % 12 + 1, 5 + number % 3),
            "changed_at": datetime(2025, 1, 1, number % 24, 30),
            "is_active": number % 2,
            "status_word": ("ONG", "CMP", "ongoing ")[number % 3],
            "sector_no": number % 3 + 1,
            "note": None,
        }
        for number in range(1, TOTAL - 3)
    ]
    odd = [
        {"item_code": INJECTION, "note": "-", "start_text": "00/00/0000", "is_active": None},
        {"item_code": BACKSLASH, "note": "ສະບາຍດີ 🇱🇦", "amount": Decimal("-0.01")},
        {"item_code": "ລາວ/1", "title_lo": None, "rate": None, "start_text": ""},
        {"item_code": "big", "amount": Decimal("1234567890123.45"), "changed_at": None},
    ]
    return plain + [plain[0] | one | {"id": TOTAL - 3 + n} for n, one in enumerate(odd)]


def fill(url: str) -> None:
    """Write the database at ``url``."""
    engine = create_engine(url)
    METADATA.drop_all(engine)
    METADATA.create_all(engine)
    with engine.begin() as connection:
        connection.execute(insert(ITEMS), [_stored(url, row) for row in rows()])
    engine.dispose()


def _stored(url: str, row: dict[str, Any]) -> dict[str, Any]:
    """SQLite has no times; a legacy system writes them as text."""
    moment = row["changed_at"]
    return row | {"changed_at": str(moment)} if moment and url.startswith("sqlite") else row


def execute(url: str, statement: str, **values: Any) -> None:
    """Run one statement with all rights."""
    engine = create_engine(url)
    with engine.begin() as connection:
        connection.execute(text(statement), values)
    engine.dispose()


@dataclass(frozen=True)
class Legacy:
    """One kind of database, filled; ``server`` is None for SQLite."""

    kind: str
    url: str
    server: DatabaseServer | None

    def adapter(self, mapping: str = MAPPING, limits: str = "max_connections: 3") -> Adapter:
        parsed = parse_mapping(mapping.format(limits=limits).encode(), "legacy.yaml")
        return Adapter(parsed, Source(parsed.source, {"LEGACY_URL": self.url}, Path()))


async def get(
    adapter: Adapter, target: str, *, timeout_s: float = 20.0, method: str = "GET"
) -> BackendResponse:
    """Ask ``adapter`` for ``target`` (path and query, percent-encoded)."""
    path, _, query = target.partition("?")
    request = BackendRequest(method, path, query, (), b"")
    return await adapter.exchange(request, timeout_s=timeout_s)


def sealed(
    adapter: Adapter,
    path: str,
    key: Sequence[Any],
    nullable: Collection[int] = (),
    sort: str = "",
) -> str:
    """A cursor after ``key``, which may have been made when the columns were of other types."""
    (endpoint,) = (one for one in adapter.service.endpoints if one.path == path)
    endpoint = endpoint.sorted_by(sort) if sort else endpoint
    binding = bind(endpoint, {"sort": sort} if sort else {}, NOBODY, (), ())
    cursors = Cursors(SECRET_OF_THIS_PROCESS, str(adapter.service.id))
    return cursors.format(binding, key, nullable)


async def items(adapter: Adapter, target: str) -> list[dict[str, Any]]:
    """The items of a list."""
    response = await get(adapter, target)
    assert response.status == 200, response.body
    found: list[dict[str, Any]] = orjson.loads(response.body)["items"]
    return found


async def walk(adapter: Adapter, target: str) -> list[list[Mapping[str, Any]]]:
    """All pages of a list, by its cursors."""
    pages: list[list[Mapping[str, Any]]] = []
    cursor: str | None = None
    while True:
        sign = "&" if "?" in target else "?"
        response = await get(adapter, target + (f"{sign}cursor={cursor}" if cursor else ""))
        assert response.status == 200, response.body
        page = orjson.loads(response.body)
        pages.append(page["items"])
        cursor = page["next"]
        if cursor is None:
            return pages
