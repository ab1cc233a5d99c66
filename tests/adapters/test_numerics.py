"""Numbers of any precision are answered alike in pages and alone, whatever is made of them."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from sqlalchemy import create_engine, text

from adapters.mapping.file import parse_mapping
from adapters.service import Adapter
from adapters.sources.source import Source
from tests.adapters.legacy import get

MAPPING = """
saphan_mapping: 1
application: LA/GOV/MOF/budget
title: {en: Budget, lo: ງົບປະມານ}
source: {kind: sql, url: "${LEGACY_URL}"}
records:
  line:
    title: {en: Line, lo: ລາຍການ}
    fields:
      id: integer
      amount: {type: decimal, scale: 2}
      text: {type: decimal, scale: 2, emit: string, column: amount}
      whole: {type: integer, column: units}
      share: {type: decimal, column: share}
      word: {type: string, column: units}
queries:
  lines: {record: line, sql: "SELECT id, amount, units, share FROM line"}
services:
  lines:
    title: {en: Lines, lo: ລາຍການ}
    endpoints:
      /lines:
        operation: list
        query: lines
        title: {en: Lines, lo: ລາຍການ}
        order: [id]
        page_size: 2
        sorts: {amount: [amount, id]}
      /lines/{id}: {operation: one, query: lines, title: {en: Line, lo: ລາຍການ}}
"""
AMOUNTS = ("0.00", "-0.50", "12.30", "999999999999.99", None, "12.30", "7.00")
_numbers = itertools.count()


@pytest.fixture(params=["postgresql", "mariadb"])
async def adapter(request: pytest.FixtureRequest) -> AsyncIterator[Adapter]:
    server = request.getfixturevalue(f"{request.param}_server")
    url = server.new_database(f"numerics_{next(_numbers)}")
    engine = create_engine(url)
    with engine.begin() as connection:
        connection.execute(
            text(
                "CREATE TABLE line (id INTEGER PRIMARY KEY, amount NUMERIC(14,2),"
                " units NUMERIC(20,1), share NUMERIC(12,8))"
            )
        )
        for number, amount in enumerate(AMOUNTS):
            connection.execute(
                text("INSERT INTO line VALUES (:id, :amount, :units, :share)"),
                {"id": number, "amount": amount, "units": 3 * number, "share": f"0.{number:08}"},
            )
    mapping = parse_mapping(MAPPING.encode())
    adapter = Adapter(mapping, Source(mapping.source, {"LEGACY_URL": url}, Path()))
    yield adapter
    engine.dispose()
    await adapter.close()


async def records(adapter: Adapter, query: str = "") -> list[Any]:
    """The texts of all records, page by page."""
    found: list[Any] = []
    cursor = ""
    while True:
        asked = "&".join(part for part in (query, cursor and f"cursor={cursor}") if part)
        response = await get(adapter, f"/lines?{asked}")
        assert response.status == 200, response.body
        page = orjson.loads(response.body)
        found += page["items"]
        if page["next"] is None:
            return found
        cursor = page["next"]


@pytest.mark.parametrize("query", ["", "sort=amount"])
async def test_a_page_shows_what_each_record_shows(adapter: Adapter, query: str) -> None:
    """The same members and digits, in every order; each record once."""
    found = await records(adapter, query)
    assert sorted(one["id"] for one in found) == [*range(len(AMOUNTS))]
    for one in found:
        alone = await get(adapter, f"/lines/{one['id']}")
        assert orjson.loads(alone.body) == one
        assert one.get("text") == AMOUNTS[one["id"]]


async def test_digits_are_those_of_the_source(adapter: Adapter) -> None:
    """Of decimals all that the scale has, of whole numbers none behind the point."""
    body = (await get(adapter, "/lines")).body
    assert b'"amount":-0.50' in body
    assert b'"whole":3' in body
    assert b'"share":0.00000001' in body
    assert b'"word":"3.0"' in body
