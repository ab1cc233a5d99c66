# ruff: noqa: ASYNC240 (tests write small files between two requests)
"""Spreadsheets saved as CSV: whole and well-formed, or refused with file, row and column."""

from __future__ import annotations

import os
from pathlib import Path

import orjson
import pytest

from adapters.mapping.file import parse_mapping
from adapters.service import AGE_HEADER, Adapter
from adapters.sources.source import Source
from exchange.problems import Code, Problem
from tests.adapters.legacy import get, items, walk

MAPPING = """
saphan_mapping: 1
application: LA/GOV/MOFA/sheets
title: {en: Sheets, lo: ຕາຕະລາງ}
source:
  kind: files
  tables:
    lines:
      file: ${FOLDER}/lines.csv
      delimiter: ";"
      columns:
        number: {header: No., type: integer}
        province: ແຂວງ
        spent: {header: Spent (USD), type: decimal, thousands: ","}
        day: {header: Day, type: date, format: "%d/%m/%Y"}
records:
  line:
    title: {en: Line, lo: ແຖວ}
    fields:
      number: integer
      province: string
      spent: {type: decimal, scale: 2, emit: string}
      day: date
  total:
    title: {en: Total, lo: ລວມ}
    fields:
      province: string
      spent: {type: decimal, scale: 2, emit: string}
queries:
  lines: {sql: SELECT * FROM lines, record: line}
  totals:
    sql: SELECT province, SUM(spent) AS spent FROM lines GROUP BY province
    record: total
services:
  lines:
    title: {en: Lines, lo: ແຖວ}
    endpoints:
      /lines:
        operation: list
        query: lines
        title: {en: Lines, lo: ແຖວ}
        order: [number]
        page_size: 2
        filters: [province]
      /totals:
        operation: list
        query: totals
        title: {en: Totals, lo: ລວມ}
"""
HEADER = "No.;ແຂວງ;Remark;Spent (USD);Day\n"
ROWS = (
    '1;ວຽງຈັນ;;"1,000.10";01/02/2025\r\n'
    '2;ວຽງຈັນ;"two\nlines; and a ""quote""";0.20;\n'
    "3;ຈຳປາສັກ;;-5;31/12/2024\n"
    ";;;;\n"
)


@pytest.fixture
def sheet(tmp_path: Path) -> Path:
    path = tmp_path / "lines.csv"
    path.write_text(HEADER + ROWS, encoding="utf-8-sig", newline="")
    return path


def adapter_of(sheet: Path, mapping: str = MAPPING) -> Adapter:
    parsed = parse_mapping(mapping.encode(), "sheets.yaml")
    return Adapter(parsed, Source(parsed.source, {"FOLDER": str(sheet.parent)}, Path()))


async def test_a_sheet_is_a_table(sheet: Path) -> None:
    """Columns are found by header, typed, paged, filtered and summed like any other source."""
    adapter = adapter_of(sheet)
    pages = await walk(adapter, "/lines")
    assert [len(page) for page in pages] == [2, 1]
    assert pages[0][0] == {
        "number": 1,
        "province": "ວຽງຈັນ",
        "spent": "1000.10",
        "day": "2025-02-01",
    }
    assert pages[0][1] == {"number": 2, "province": "ວຽງຈັນ", "spent": "0.20"}
    assert await items(adapter, "/totals") == [
        {"province": "ຈຳປາສັກ", "spent": "-5.00"},
        {"province": "ວຽງຈັນ", "spent": "1000.30"},
    ]
    assert (
        len(
            await items(
                adapter, "/lines?province=%E0%BA%A7%E0%BA%BD%E0%BA%87%E0%BA%88%E0%BA%B1%E0%BA%99"
            )
        )
        == 2
    )
    await adapter.close()


async def test_the_answer_says_how_old_the_data_is(sheet: Path) -> None:
    """The age is that of the file, in seconds and as a date."""
    os.utime(sheet, (1_000_000_000, 1_000_000_000))
    adapter = adapter_of(sheet)
    headers = dict((await get(adapter, "/lines")).headers)
    assert headers["last-modified"] == "Sun, 09 Sep 2001 01:46:40 GMT"
    assert int(headers[AGE_HEADER]) > 700_000_000
    await adapter.close()


async def test_a_changed_file_is_read_again(sheet: Path) -> None:
    """The next request sees the new file, whether rewritten or replaced."""
    adapter = adapter_of(sheet)
    assert len(await items(adapter, "/totals")) == 2
    sheet.write_text(HEADER + "1;A;;1;\n", encoding="utf-8")
    assert await items(adapter, "/totals") == [{"province": "A", "spent": "1.00"}]
    new = sheet.with_suffix(".new")
    new.write_text(HEADER + "1;B;;2;\n", encoding="utf-8")
    new.replace(sheet)
    assert await items(adapter, "/totals") == [{"province": "B", "spent": "2.00"}]
    await adapter.close()


async def test_while_a_file_is_half_saved_the_last_good_one_answers(sheet: Path) -> None:
    """A reading that fails does not replace the one before it; a missing file does not either."""
    adapter = adapter_of(sheet)
    before = (await get(adapter, "/lines")).body
    sheet.write_text(HEADER + "1;A;;1\n", encoding="utf-8")
    assert (await get(adapter, "/lines")).body == before
    sheet.unlink()
    assert (await get(adapter, "/lines")).body == before
    sheet.write_text(HEADER + "1;A;;1;\n", encoding="utf-8")
    assert orjson.loads((await get(adapter, "/lines")).body)["items"][0]["province"] == "A"
    await adapter.close()


FAULTS = [
    (HEADER.encode() + b"1;a;;1;\n2;b;;2\n", "lines.csv row 3 column 5"),
    (HEADER.encode() + b"1;a;;1;;\n", "lines.csv row 2 column 6"),
    (HEADER.encode() + b"x;a;;1;\n", "lines.csv row 2 column 1 (No.)"),
    (HEADER.encode() + b"1;a;;1.2.3;\n", "lines.csv row 2 column 4 (Spent (USD))"),
    (HEADER.encode() + b"1;a;;1;2025-01-01\n", "lines.csv row 2 column 5 (Day)"),
    (HEADER.encode() + b"1;a\xff;;1;\n", "lines.csv row 2"),
    (HEADER.encode() + b'1;"a;;1;\n', "lines.csv row 2"),
    (HEADER.replace("No.", "Number").encode() + b"1;a;;1;\n", "lines.csv row 1"),
    (HEADER.replace("Remark", "No.").encode() + b"1;a;;1;\n", "lines.csv row 1"),
    (b"", "lines.csv row 1"),
]


@pytest.mark.parametrize(("data", "where"), FAULTS)
async def test_a_bad_sheet_is_refused_with_its_place(sheet: Path, data: bytes, where: str) -> None:
    """Ragged rows, cells of another type, foreign bytes and headers are named by place."""
    sheet.write_bytes(data)
    adapter = adapter_of(sheet)
    with pytest.raises(Problem) as caught:
        await get(adapter, "/lines")
    assert (caught.value.code, caught.value.where) == (Code.SOURCE_FAILED, where)
    await adapter.close()


async def test_other_encodings_and_delimiters(sheet: Path) -> None:
    """A spreadsheet program saves in what it likes; the mapping says in what."""
    header = HEADER.replace("ແຂວງ", "จังหวัด").replace(";", "\t")
    sheet.write_bytes((header + "1\tเวียง\t\t1\t\n").encode("cp874"))
    mapping = MAPPING.replace('delimiter: ";"', "delimiter: tab\n      encoding: cp874")
    adapter = adapter_of(sheet, mapping.replace("province: ແຂວງ", "province: จังหวัด"))
    assert (await items(adapter, "/lines"))[0]["province"] == "เวียง"
    await adapter.close()


async def test_a_missing_sheet_comes_later(sheet: Path) -> None:
    """A file that is not there yet fails requests, not the adapter."""
    text = sheet.read_bytes()
    sheet.unlink()
    adapter = adapter_of(sheet)
    with pytest.raises(Problem) as caught:
        await get(adapter, "/lines")
    assert caught.value.code is Code.SOURCE_FAILED
    sheet.write_bytes(text)
    assert len(await items(adapter, "/lines")) == 2
    await adapter.close()
