"""Workbooks, dBASE and FoxPro tables, Access databases: the same records from each of them."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from datetime import date, datetime
from pathlib import Path
from xml.sax.saxutils import escape

import dbf
import pytest
import xlsxwriter
import xlwt

from adapters.mapping.file import parse_mapping
from adapters.service import Adapter
from adapters.sources import access
from adapters.sources.source import Source
from exchange.problems import Code, Problem
from tests.adapters.legacy import get, items

MAPPING = """
saphan_mapping: 1
application: LA/GOV/MOFA/files
title: {{en: Files, lo: ເອກະສານ}}
source:
  kind: files
  reading_wait_s: 60
  tables:
    lines:
      file: ${{FOLDER}}/{file}
      {options}
      columns:
        number: {{header: NUMBER, type: integer, index: true}}
        code: CODE
        province: PROVINCE
        spent: {{header: SPENT, type: decimal}}
        day: {{header: DAY, type: date}}
records:
  line:
    title: {{en: Line, lo: ແຖວ}}
    fields:
      number: integer
      code: string
      province: string
      spent: {{type: decimal, scale: 2, emit: string}}
      day: date
queries:
  lines: {{sql: SELECT * FROM lines, record: line}}
services:
  lines:
    title: {{en: Lines, lo: ແຖວ}}
    endpoints:
      /lines:
        {{operation: list, query: lines, title: {{en: Lines, lo: ແຖວ}}, order: [number],
         filters: [province, number]}}
"""
HEADER = ("NUMBER", "CODE", "PROVINCE", "SPENT", "DAY")
ROWS = (
    (1, "007", "ວຽງຈັນ", 1000.10, date(2025, 2, 1)),
    (2, "12", "ຈຳປາສັກ", 0.20, None),
    (3, None, "ຫຼວງພະບາງ", -5, date(2024, 12, 31)),
)
RECORDS = [
    {"number": 1, "code": "007", "province": "ວຽງຈັນ", "spent": "1000.10", "day": "2025-02-01"},
    {"number": 2, "code": "12", "province": "ຈຳປາສັກ", "spent": "0.20"},
    {"number": 3, "province": "ຫຼວງພະບາງ", "spent": "-5.00", "day": "2024-12-31"},
]


def adapter_of(folder: Path, file: str, options: str = "") -> Adapter:
    text = MAPPING.format(file=file, options=options)
    parsed = parse_mapping(text.encode(), "files.yaml")
    return Adapter(parsed, Source(parsed.source, {"FOLDER": str(folder)}, Path()))


# Writers by other hands: xlsxwriter, xlwt, dbf, and OpenDocument's XML.


def write_xlsx(path: Path, above: int = 0) -> None:
    with xlsxwriter.Workbook(str(path)) as book:
        day = book.add_format({"num_format": "dd/mm/yyyy"})
        sheet = book.add_worksheet("ລາຍຈ່າຍ")
        book.add_worksheet("Other").write(0, 0, "something else")
        sheet.write_row(above, 0, HEADER)
        for index, (number, code, province, spent, bought) in enumerate(ROWS, above + 1):
            sheet.write_number(index, 0, number)
            if code == "12":  # typed without an apostrophe, a code is a number
                sheet.write_number(index, 1, 12)
            elif code is not None:
                sheet.write_string(index, 1, code)
            sheet.write_string(index, 2, province)
            sheet.write_formula(index, 3, f"={spent}", None, spent)
            if bought is not None:
                sheet.write_datetime(index, 4, datetime.combine(bought, datetime.min.time()), day)


def write_xls(path: Path) -> None:
    book = xlwt.Workbook(encoding="utf-8")
    sheet = book.add_sheet("Lines")
    day = xlwt.easyxf(num_format_str="DD/MM/YYYY")
    for column, title in enumerate(HEADER):
        sheet.write(0, column, title)
    for index, row in enumerate(ROWS, 1):
        for column, value in enumerate(row):
            if value is not None:
                sheet.write(index, column, value, *([day] if column == 4 else []))
    book.save(str(path))


def write_ods(path: Path) -> None:
    def cell(value: object) -> str:
        match value:
            case None:
                return "<table:table-cell/>"
            case date():
                return f'<table:table-cell office:value-type="date" office:date-value="{value}"/>'
            case int() | float():
                return f'<table:table-cell office:value-type="float" office:value="{value}"/>'
        text = f"<text:p>{escape(str(value))}</text:p>"
        return f'<table:table-cell office:value-type="string">{text}</table:table-cell>'

    lines = "".join(
        "<table:table-row>" + "".join(map(cell, row)) + "</table:table-row>"
        for row in (HEADER, *ROWS)
    )
    name = "urn:oasis:names:tc:opendocument:xmlns"
    content = (
        '<?xml version="1.0" encoding="UTF-8"?><office:document-content'
        f' xmlns:office="{name}:office:1.0" xmlns:table="{name}:table:1.0"'
        f' xmlns:text="{name}:text:1.0" office:version="1.2"><office:body><office:spreadsheet>'
        f'<table:table table:name="Lines">{lines}</table:table>'
        "</office:spreadsheet></office:body></office:document-content>"
    )
    with zipfile.ZipFile(path, "w") as parts:
        parts.writestr("mimetype", "application/vnd.oasis.opendocument.spreadsheet")
        parts.writestr("content.xml", content)
        parts.writestr(
            "META-INF/manifest.xml",
            f'<manifest:manifest xmlns:manifest="{name}:manifest:1.0"/>',
        )


def write_dbf(path: Path, kind: str = "vfp") -> None:
    spec = "NUMBER N(6,0); CODE C(10); PROVINCE M; SPENT N(12,2); DAY D"
    table = dbf.Table(str(path), spec, dbf_type=kind, codepage="utf8")
    table.open(dbf.READ_WRITE)
    for number, code, province, spent, day in ROWS:
        bought = dbf.Date(day) if day else dbf.Date()
        table.append((number, code or "", province, spent, bought))
    table.append((4, "gone", "x", 1, dbf.Date()))
    dbf.delete(table[-1])
    table.close()


WORKBOOKS = [("a.xlsx", write_xlsx), ("a.xls", write_xls), ("a.ods", write_ods)]


@pytest.mark.parametrize(("file", "write"), WORKBOOKS, ids=[file for file, _ in WORKBOOKS])
async def test_a_workbook_is_a_table(
    tmp_path: Path, file: str, write: Callable[[Path], None]
) -> None:
    """The first sheet; codes typed as numbers are codes; dates and formulas are values."""
    write(tmp_path / file)
    adapter = adapter_of(tmp_path, file)
    assert await items(adapter, "/lines") == RECORDS
    assert [one["number"] for one in await items(adapter, "/lines?number=2")] == [2]
    await adapter.close()


async def test_a_sheet_is_found_by_name_and_its_header_by_row(tmp_path: Path) -> None:
    """Titles above the table are passed over; a sheet that is not there is told with the others."""
    write_xlsx(tmp_path / "a.xlsx", above=3)
    adapter = adapter_of(tmp_path, "a.xlsx", "sheet: ລາຍຈ່າຍ\n      header_row: 4")
    assert await items(adapter, "/lines") == RECORDS
    await adapter.close()
    missing = adapter_of(tmp_path, "a.xlsx", "sheet: Lines")
    with pytest.raises(Problem) as caught:
        await get(missing, "/lines")
    assert caught.value.code is Code.SOURCE_FAILED
    assert "ລາຍຈ່າຍ, Other" in caught.value.detail
    await missing.close()


@pytest.mark.parametrize("kind", ["db3", "fp", "vfp"])
async def test_a_dbase_table_is_a_table(tmp_path: Path, kind: str) -> None:
    """Fields, dates and memos; rows that were deleted and not packed are not shown."""
    write_dbf(tmp_path / "a.dbf", kind)
    adapter = adapter_of(tmp_path, "a.dbf", "encoding: utf-8")
    assert await items(adapter, "/lines") == RECORDS
    await adapter.close()


async def test_a_dbase_table_in_another_encoding_than_it_declares(tmp_path: Path) -> None:
    """The font made the text: the mapping says in what the bytes are."""
    table = dbf.Table(str(tmp_path / "a.dbf"), "NUMBER N(6,0); CODE C(10); PROVINCE C(30); "
                      "SPENT N(12,2); DAY D", dbf_type="db3", codepage="cp437")  # fmt: skip
    table.open(dbf.READ_WRITE)
    table.append((1, "1", "เวียง".encode("cp874").decode("cp437"), 1, dbf.Date()))
    table.close()
    adapter = adapter_of(tmp_path, "a.dbf", "encoding: cp874")
    assert [one["province"] for one in await items(adapter, "/lines")] == ["เวียง"]
    await adapter.close()
    strict = adapter_of(tmp_path, "a.dbf", "encoding: utf-8")
    with pytest.raises(Problem) as caught:
        await get(strict, "/lines")
    assert (caught.value.code, caught.value.where) == (Code.SOURCE_FAILED, "a.dbf row 1")
    await strict.close()


async def test_a_memo_that_changes_is_read_again(tmp_path: Path) -> None:
    """The memo file belongs to the table: a change in it alone is a change."""
    write_dbf(tmp_path / "a.dbf", "fp")
    adapter = adapter_of(tmp_path, "a.dbf", "encoding: utf-8")
    assert await items(adapter, "/lines") == RECORDS
    memo = tmp_path / "a.fpt"
    memo.write_bytes(memo.read_bytes().replace("ວຽງຈັນ".encode(), "ວຽງຈັງ".encode()))
    assert (await items(adapter, "/lines"))[0]["province"] == "ວຽງຈັງ"
    await adapter.close()


DAMAGED = [
    ("a.xlsx", b"PK\x03\x04 no workbook"),
    ("a.xls", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1 no workbook"),
    ("a.ods", b""),
    ("a.dbf", b"\x03 no table"),
    ("a.dbf", b""),
    ("a.mdb", b"\x00\x01\x00\x00Standard Jet DB\x00"),
]


@pytest.mark.parametrize(
    ("file", "data"), DAMAGED, ids=[f"{file}-{len(data)}" for file, data in DAMAGED]
)
async def test_a_damaged_file_is_refused_by_name(tmp_path: Path, file: str, data: bytes) -> None:
    """Half saved, empty, or something else under the name: a clear problem, and no other fault."""
    (tmp_path / file).write_bytes(data)
    adapter = adapter_of(tmp_path, file, "sheet: t" if file.endswith("mdb") else "")
    with pytest.raises(Problem) as caught:
        await get(adapter, "/lines")
    assert caught.value.code is Code.SOURCE_FAILED
    assert caught.value.where.startswith(file)
    await adapter.close()


async def test_a_truncated_table_is_refused_or_read(tmp_path: Path) -> None:
    """Whatever is cut off: records of the file, or a problem; never a foreign exception."""
    write_dbf(tmp_path / "whole.dbf", "db3")
    data = (tmp_path / "whole.dbf").read_bytes()
    shutil.copy(tmp_path / "whole.dbt", tmp_path / "a.dbt")
    told: set[Code] = set()
    for length in range(0, len(data), 17):
        (tmp_path / "a.dbf").write_bytes(data[:length])
        adapter = adapter_of(tmp_path, "a.dbf", "encoding: utf-8")
        try:
            found = await items(adapter, "/lines")
        except Problem as problem:
            told.add(problem.code)
        else:
            assert all(one in RECORDS for one in found)
        await adapter.close()
    assert told <= {Code.SOURCE_FAILED, Code.RESPONSE_SCHEMA_VIOLATION}


async def test_a_bomb_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    """A workbook that unpacks to more than is allowed is refused by what its directory says."""
    with zipfile.ZipFile(tmp_path / "a.xlsx", "w", zipfile.ZIP_DEFLATED) as parts:
        parts.writestr("xl/workbook.xml", "")
        with parts.open("xl/worksheets/sheet1.xml", "w", force_zip64=True) as sheet:
            block = b" " * (1 << 20)
            for _ in range(33):
                sheet.write(block)
    import adapters.sources.workbook as workbook

    before, workbook.MAX_UNPACKED_BYTES = workbook.MAX_UNPACKED_BYTES, 32 << 20
    try:
        adapter = adapter_of(tmp_path, "a.xlsx")
        with pytest.raises(Problem) as caught:
            await get(adapter, "/lines")
        assert "unpacks to" in caught.value.detail
        await adapter.close()
    finally:
        workbook.MAX_UNPACKED_BYTES = before


async def test_without_mdbtools_the_next_step_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The program that is missing is named, and how to get it."""
    (tmp_path / "a.mdb").write_bytes(b"x")
    monkeypatch.setenv("PATH", str(tmp_path))
    adapter = adapter_of(tmp_path, "a.mdb", "sheet: lines")
    with pytest.raises(Problem) as caught:
        await get(adapter, "/lines")
    assert "mdbtools" in caught.value.detail
    await adapter.close()


LARGE = """
import asyncio, os, sys
from pathlib import Path
from benchmarks.processes import peak_rss_bytes
from tests.adapters.test_file_formats import adapter_of
from tests.adapters.legacy import items

async def main():
    adapter = adapter_of(Path(sys.argv[1]), "large.xlsx")
    found = await items(adapter, "/lines?number=99999")
    assert [one["code"] for one in found] == ["C99999"], found
    await adapter.close()

asyncio.run(main())
print(peak_rss_bytes(os.getpid()) >> 20)
"""


def test_a_hundred_thousand_rows_fit_into_300_mb(tmp_path: Path) -> None:
    """The whole process that reads a workbook of 100,000 rows, Python and libraries with it."""
    with xlsxwriter.Workbook(str(tmp_path / "large.xlsx"), {"constant_memory": True}) as book:
        sheet = book.add_worksheet()
        sheet.write_row(0, 0, HEADER)
        for row in range(1, 100_001):
            sheet.write_row(row, 0, (row, f"C{row}", f"ແຂວງ {row % 18}", row / 4))
    done = subprocess.run(
        [sys.executable, "-c", LARGE, str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 300


@pytest.mark.parametrize(
    ("script", "said"),
    [("while :; do echo a,b; done", "too large"), ("exec /bin/sleep 60", "took")],
)
async def test_what_mdbtools_answers_is_bounded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, said: str
) -> None:
    """In length while it is read, and in time."""
    program = tmp_path / "bin" / "mdb-export"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent))
    monkeypatch.setattr(access, "_MOST", 100_000)
    monkeypatch.setattr(access, "_TIMEOUT_S", 60.0 if said == "too large" else 0.2)
    (tmp_path / "a.mdb").write_bytes(b"x")
    adapter = adapter_of(tmp_path, "a.mdb", "sheet: lines")
    with pytest.raises(Problem) as caught:
        await get(adapter, "/lines")
    assert caught.value.code is Code.SOURCE_FAILED
    assert said in caught.value.detail
    await adapter.close()
