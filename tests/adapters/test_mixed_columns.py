"""Columns of SQLite hold a value of any type in any row: pages answer it as it is alone."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import pytest

from adapters.mapping.file import parse_mapping
from adapters.service import Adapter
from adapters.sources.source import Source
from exchange.problems import Code, Problem
from tests.adapters.legacy import get

MAPPING = """
saphan_mapping: 1
application: LA/GOV/MONRE/land
title: {en: Land, lo: ທີ່ດິນ}
source: {kind: sql, url: "${LEGACY_URL}"}
records:
  parcel:
    title: {en: Parcel, lo: ຕອນດິນ}
    fields:
      id: integer
      whole: integer
      area: {type: decimal, scale: 2}
      name: string
      day: date
queries:
  parcels: {record: parcel, sql: "SELECT id, whole, area, name, day FROM parcel"}
services:
  parcels:
    title: {en: Parcels, lo: ຕອນດິນ}
    endpoints:
      /parcels:
        {operation: list, query: parcels, title: {en: P, lo: ຕ}, order: [id], page_size: 50}
      /parcels/{id}: {operation: one, query: parcels, title: {en: P, lo: ຕ}}
"""
# Each value of a column beside a usual one, as a file that grew over the years has them.
GOOD: dict[str, list[Any]] = {
    "whole": [7, None, -(1 << 63), (1 << 63) - 1, 7.0, "7"],
    "area": [12.5, None, 12, "12.5", -0.0, 9999999999999.75, -0.25],
    "name": ["ບ້ານ", None, "", 7, '","id":0', "\u2028\x01", "ບ້ານ".encode()],
    "day": ["2024-02-29", None, "2024-02-29 00:00:00", "0001-01-01", b"2024-02-29"],
}
BAD: dict[str, list[Any]] = {
    "whole": [7.5, 9.3e18, "x", b"\xff", "9223372036854775808"],
    "area": [12.345, 1e13, float("inf"), "NaN", "Infinity", "1,5", b"\xff"],
    "name": [7.5, b"\xff", b"\xed\xa0\x80"],
    "day": ["2023-02-29", "29/02/2024", "0000-01-01", "-0001-01-01", 20240229, b"\xff"],
}
USUAL = {"whole": 1, "area": 2.25, "name": "ກ", "day": "2024-01-31"}


def adapter_over(folder: Path, column: str, values: list[Any]) -> Adapter:
    with sqlite3.connect(folder / "land.db") as connection:
        connection.execute("CREATE TABLE parcel (id INTEGER PRIMARY KEY, whole, area, name, day)")
        for number, value in enumerate(values):
            row = [number, *(USUAL | {column: value}).values()]
            connection.execute("INSERT INTO parcel VALUES (?, ?, ?, ?, ?)", row)
    connection.close()
    mapping = parse_mapping(MAPPING.encode())
    return Adapter(
        mapping, Source(mapping.source, {"LEGACY_URL": f"sqlite:///{folder}/land.db"}, folder)
    )


@pytest.mark.parametrize("column", GOOD)
async def test_a_page_is_the_records_that_are_asked_one_by_one(tmp_path: Path, column: str) -> None:
    """Byte by byte, whatever type a column has in the rows around."""
    values = GOOD[column]
    adapter = adapter_over(tmp_path, column, [USUAL[column], *values, USUAL[column]])
    try:
        page = await get(adapter, "/parcels")
        records = [(await get(adapter, f"/parcels/{n}")).body for n in range(len(values) + 2)]
    finally:
        await adapter.close()
    assert page.body == b'{"items":[' + b",".join(records) + b'],"next":null}'


@pytest.mark.parametrize(
    ("column", "number"), [(name, n) for name, values in BAD.items() for n in range(len(values))]
)
async def test_a_value_that_its_field_cannot_express_is_told_by_its_place(
    tmp_path: Path, column: str, number: int
) -> None:
    """Wherever it stands in the page."""
    values = [USUAL[column], *GOOD[column], BAD[column][number], USUAL[column]]
    adapter = adapter_over(tmp_path, column, values)
    try:
        with pytest.raises(Problem) as found:
            await get(adapter, "/parcels")
    finally:
        await adapter.close()
    assert found.value.code is Code.RESPONSE_SCHEMA_VIOLATION
    assert found.value.where == f"/items/{len(values) - 2}/{column}"
