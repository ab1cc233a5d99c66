"""`saphan bench adapter`: an adapter against SQLAlchemy Core alone, over the same database.

One table of many rows is asked for single records by key and for pages of 1,000 rows; adapter and
Core take turns, so what else the machine does falls on both. Core's part is the statement and its
rows as Python values, as the driver gives them and, for pages, also as typed columns do (decimals
and dates, which SQLite has none of); the adapter's is that and the checks, the conversion and the
JSON. Pages have a third measure: an endpoint written by hand, that is typed columns, dicts and JSON
in one thread, with no check, no bound and no entity tag. The database is a file of SQLite, whose
rows cost least, or with ``--url`` a server's. A walk over all rows tells whether memory stays flat.
Then a workbook of 100,000 rows is read by a process of its own, and a database of 100 tables is
scanned.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from datetime import date
from itertools import islice
from pathlib import Path
from statistics import median
from typing import Any

import click
import orjson
import uvloop
from sqlalchemy import (
    BigInteger,
    Column,
    Date,
    Engine,
    Executable,
    MetaData,
    Numeric,
    String,
    Table,
    bindparam,
    create_engine,
    insert,
    select,
    text,
)

from adapters.mapping.file import parse_mapping
from adapters.scan.scanned import Look
from adapters.scan.scanning import scan
from adapters.service import Adapter
from adapters.sources.source import Source
from benchmarks.processes import peak_rss_bytes
from console.cli.options import JSON
from exchange.identifiers import ApplicationId
from serving import logs
from serving.backends import BackendRequest
from serving.runtime import settle

PAGE = 1_000
TABLES = 100
BOOK_ROWS = 100_000
_SETTLED = 3  # pages after which pools, caches and the interpreter's arenas are filled
# Before each turn, by when the adapter has ended its transaction: Core is not to wait for it, and
# who comes right after the other finds the processor's caches warm.
_PAUSE_S = 0.001
ALLOWED_GET, ALLOWED_GET_MS, ALLOWED_PAGE = 1.5, 0.3, 1.3

_MAPPING = """
saphan_mapping: 1
application: LA/GOV/MONRE/land
title: {en: Land, lo: ທີ່ດິນ}
source: {kind: sql, url: "${LAND_URL}"}
records:
  parcel:
    title: {en: Parcel, lo: ຕອນດິນ}
    fields:
      id: integer
      number: string
      district: string
      area: {type: decimal, scale: 2}
      village: string
      day: date
queries:
  parcels: {record: parcel, sql: "SELECT id, number, district, area, village, day FROM parcel"}
services:
  parcels:
    title: {en: Parcels, lo: ຕອນດິນ}
    endpoints:
      /parcels:
        {operation: list, query: parcels, title: {en: P, lo: ຕ}, order: [id], page_size: 1000}
      /parcels/{id}: {operation: one, query: parcels, title: {en: P, lo: ຕ}}
"""
_COLUMNS = "SELECT id, number, district, area, village, day FROM parcel"


@dataclass(frozen=True, slots=True)
class Adapted:
    """Medians in milliseconds, sizes in MiB, times in seconds of the clock."""

    database: str
    rows: int
    get_ms: float
    core_get_ms: float
    get_allowed_ms: float
    page_ms: float
    core_page_ms: float
    page_ratio: float
    typed_page_ratio: float
    by_hand_page_ratio: float
    walk_s: float
    walk_growth_mib: float
    workbook_s: float
    workbook_peak_mib: float
    scan_s: float


def _parcels(rows: int) -> Iterator[tuple[int, str, str, float, str, str]]:
    for n in range(rows):
        day = f"2024-{n % 12 + 1:02}-01"
        yield n, f"N{n:07}", f"D{n % 140}", n / 4, f"ບ້ານ {n % 900}", day


def _fill(path: Path, rows: int) -> None:
    connection = sqlite3.connect(path)
    connection.execute(
        "CREATE TABLE parcel (id INTEGER PRIMARY KEY, number TEXT, district TEXT,"
        " area NUMERIC, village TEXT, day TEXT)"
    )
    connection.executemany(
        "INSERT INTO parcel VALUES (?, ?, ?, ?, ?, ?)",
        _parcels(rows),
    )
    connection.commit()
    connection.close()


_TABLE = Table(
    "parcel",
    MetaData(),
    Column("id", BigInteger(), primary_key=True, autoincrement=False),
    Column("number", String(20)),
    Column("district", String(20)),
    Column("area", Numeric(14, 2)),
    Column("village", String(60)),
    Column("day", Date()),
)


_NAMES = tuple(str(column.name) for column in _TABLE.columns)


@contextmanager
def _filled(url: str, rows: int) -> Iterator[None]:
    """The table in the database of a server; it is dropped in the end."""
    engine = create_engine(url)
    _TABLE.create(engine)
    try:
        values: Iterator[dict[str, Any]] = (
            dict(zip(_NAMES, row, strict=True)) for row in _parcels(rows)
        )
        with engine.begin() as connection:
            while batch := list(islice(values, 5_000)):
                for row in batch:
                    row["day"] = date.fromisoformat(str(row["day"]))
                connection.execute(insert(_TABLE), batch)
        yield
    finally:
        _TABLE.drop(engine)
        engine.dispose()


async def _turns(
    ours: Callable[[int], Awaitable[object]], core: Callable[[int], object], rounds: int
) -> tuple[float, float]:
    """The medians of both in milliseconds, in turns, each after the same pause."""
    first: list[float] = []
    second: list[float] = []
    for index in range(rounds):
        await asyncio.sleep(_PAUSE_S)
        begun = time.perf_counter()
        await ours(index)
        first.append(time.perf_counter() - begun)
        await asyncio.sleep(_PAUSE_S)
        begun = time.perf_counter()
        core(index)
        second.append(time.perf_counter() - begun)
    return median(first) * 1e3, median(second) * 1e3


@dataclass(frozen=True, slots=True)
class _Sides:
    """The adapter and Core over the same table of ``rows`` rows."""

    adapter: Adapter
    engine: Engine
    rows: int

    async def ask(self, path: str, query: str = "") -> bytes:
        request = BackendRequest("GET", path, query, (), b"")
        answer = await self.adapter.exchange(request, timeout_s=60)
        if answer.status != 200:
            raise click.ClickException(f"{path} answered {answer.status}")
        return answer.body

    def core(self, statement: Executable, key: int) -> object:
        with self.engine.connect() as connection:
            return connection.execute(statement, {"id": key}).fetchall()

    def by_hand(self, statement: Executable, key: int) -> bytes:
        """What whoever needs this one page writes."""
        with self.engine.connect() as connection:
            rows = connection.execute(statement, {"id": key}).fetchall()
            return orjson.dumps([dict(zip(_NAMES, row, strict=True)) for row in rows], default=str)

    async def walk(self) -> tuple[float, float]:
        """Over all rows, page by page: seconds, and by how many MiB the process grew."""
        begun, peak, walked, cursor = time.perf_counter(), 0, 0, ""
        while True:
            body = await self.ask("/parcels", cursor and f"cursor={cursor}")
            walked += 1
            if walked == _SETTLED:
                peak = _peak_kib()
            cursor = orjson.loads(body)["next"]
            if cursor is None:
                grown = (_peak_kib() - peak) / 1024 if peak else 0.0
                return time.perf_counter() - begun, grown


def _peak_kib() -> int:
    # Not ru_maxrss: a process inherits that of the one that started it.
    return peak_rss_bytes(os.getpid()) // 1024


def _workbook(path: Path, rows: int) -> None:
    """An xlsx file of the fewest parts that its programs read (ECMA-376)."""
    main = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
    office = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
    package = "http://schemas.openxmlformats.org/package/2006"
    target = f'Type="{office}/%s" Target="%s"'
    parts = {
        "[Content_Types].xml": f'<Types xmlns="{package}/content-types">'
        '<Default Extension="rels"'
        ' ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
        '<Default Extension="xml" ContentType="application/xml"/></Types>',
        "_rels/.rels": f'<Relationships xmlns="{package}/relationships"><Relationship Id="a" '
        f"{target % ('officeDocument', 'xl/workbook.xml')}/></Relationships>",
        "xl/workbook.xml": f'<workbook xmlns="{main}" xmlns:r="{office}"><sheets>'
        '<sheet name="Parcels" sheetId="1" r:id="a"/></sheets></workbook>',
        "xl/_rels/workbook.xml.rels": f'<Relationships xmlns="{package}/relationships">'
        f'<Relationship Id="a" {target % ("worksheet", "sheet.xml")}/></Relationships>',
    }
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as book:
        for name, content in parts.items():
            book.writestr(name, content)
        with book.open("xl/sheet.xml", "w") as sheet:
            sheet.write(f'<worksheet xmlns="{main}"><sheetData>'.encode())
            sheet.write(f"<row>{''.join(_cell(title) for title in _HEADER)}</row>".encode())
            for n in range(rows):
                row: tuple[str | float, ...] = (n, f"N{n}", f"ບ້ານ {n % 900}", n / 4)
                sheet.write(f"<row>{''.join(map(_cell, row))}</row>".encode())
            sheet.write(b"</sheetData></worksheet>")


def _cell(value: str | float) -> str:
    if isinstance(value, str):
        return f'<c t="inlineStr"><is><t>{value}</t></is></c>'
    return f"<c><v>{value}</v></c>"


_HEADER = ("id", "number", "village", "area")
_READ = """
import asyncio, sys, time
from pathlib import Path
from benchmarks import adapter
print(*asyncio.run(adapter.read_workbook(Path(sys.argv[1]))))
"""


async def read_workbook(path: Path) -> tuple[float, float]:
    """Answer one request from the workbook at ``path``: seconds, and MiB that the process held."""
    mapping = parse_mapping(_scanned(str(path), path.parent).encode())
    begun = time.perf_counter()
    adapter = Adapter(mapping, Source(mapping.source, {}, path.parent))
    request = BackendRequest("GET", "/parcels/7", "", (), b"")
    answer = await adapter.exchange(request, timeout_s=600)
    seconds = time.perf_counter() - begun
    await adapter.close()
    if answer.status != 200:
        raise click.ClickException(f"the workbook answered {answer.status}")
    return seconds, _peak_kib() / 1024


def _scan_s(folder: Path) -> float:
    connection = sqlite3.connect(folder / "tables.db")
    for number in range(TABLES):
        connection.execute(
            f"CREATE TABLE t{number} (id INTEGER PRIMARY KEY, a TEXT, b NUMERIC, c TEXT)"
        )
        connection.executemany(
            f"INSERT INTO t{number} VALUES (?, ?, ?, ?)",  # noqa: S608
            ((n, f"word {n}", n / 4, f"{n % 28 + 1:02}/03/2024") for n in range(1_000)),
        )
    connection.commit()
    connection.close()
    begun = time.perf_counter()
    _scanned(f"sqlite:///{folder}/tables.db", folder)
    return time.perf_counter() - begun


def _scanned(source: str, folder: Path) -> str:
    application = ApplicationId.parse("LA/GOV/MONRE/land")
    return scan(Look(source, application, "land", {}, folder)).mapping


def _book(path: Path) -> tuple[float, float]:
    _workbook(path, BOOK_ROWS)
    command = [sys.executable, "-c", _READ, str(path)]
    read = subprocess.run(command, capture_output=True, text=True, check=True)
    seconds, mib = map(float, read.stdout.split())
    return seconds, mib


async def _measure(folder: Path, url: str, rows: int, rounds: int) -> Adapted:
    mapping = parse_mapping(_MAPPING.encode())
    adapter = Adapter(mapping, Source(mapping.source, {"LAND_URL": url}, folder))
    engine = create_engine(url)
    sides = _Sides(adapter, engine, rows)
    one = text(f"{_COLUMNS} WHERE id = :id")
    page = text(f"{_COLUMNS} WHERE id > :id ORDER BY id LIMIT {PAGE + 1:d}")
    get = await _turns(
        lambda index: sides.ask(f"/parcels/{index * 37 % rows}"),
        lambda index: sides.core(one, index * 37 % rows),
        rounds * 10,
    )
    key = _TABLE.columns["id"]
    typed = select(_TABLE).where(key > bindparam("id")).order_by(key).limit(PAGE + 1)
    pages = await _turns(
        lambda index: sides.ask("/parcels"), lambda index: sides.core(page, -1), rounds
    )
    typed_pages = await _turns(
        lambda index: sides.ask("/parcels"), lambda index: sides.core(typed, -1), rounds
    )
    by_hand = await _turns(
        lambda index: sides.ask("/parcels"), lambda index: sides.by_hand(typed, -1), rounds
    )
    walk_s, grown = await sides.walk()
    await adapter.close()
    engine.dispose()
    book_s, book_mib = _book(folder / "parcels.xlsx")
    return Adapted(
        database=engine.dialect.name,
        rows=rows,
        get_ms=round(get[0], 3),
        core_get_ms=round(get[1], 3),
        get_allowed_ms=round(ALLOWED_GET * get[1] + ALLOWED_GET_MS, 3),
        page_ms=round(pages[0], 3),
        core_page_ms=round(pages[1], 3),
        page_ratio=round(pages[0] / pages[1], 2),
        typed_page_ratio=round(typed_pages[0] / typed_pages[1], 2),
        by_hand_page_ratio=round(by_hand[0] / by_hand[1], 2),
        walk_s=round(walk_s, 2),
        walk_growth_mib=round(grown, 1),
        workbook_s=round(book_s, 2),
        workbook_peak_mib=round(book_mib, 1),
        scan_s=round(_scan_s(folder), 2),
    )


@click.command()
@click.option("--rows", type=click.IntRange(2_000, 100_000_000), default=1_000_000,
              show_default=True, help="Rows of the table.")  # fmt: skip
@click.option(
    "--rounds", type=click.IntRange(1, 10_000), default=200, show_default=True, help="Rounds."
)
@click.option("--url", help="SQLAlchemy address of a server's database, where a table 'parcel' is"
              " made and dropped; without it a file of SQLite.")  # fmt: skip
@JSON
def adapter(rows: int, rounds: int, url: str | None, as_json: bool) -> None:
    """An adapter against SQLAlchemy Core alone: by key, by page, over all rows; files; a scan."""
    logs.configure(logs.LogLevel.ERROR)
    with tempfile.TemporaryDirectory(prefix="saphan-bench-") as name:
        folder = Path(name)
        with ExitStack() as stack:
            if url is None:
                _fill(folder / "land.db", rows)
                url = f"sqlite:///{folder}/land.db"
            else:
                stack.enter_context(_filled(url, rows))
            settle()  # as the processes do that adapters run in
            found = uvloop.run(_measure(folder, url, rows, rounds))
    if as_json:
        click.echo(orjson.dumps(asdict(found)).decode())
        return
    click.echo(f"{found.rows:,} rows in {found.database}; medians, in turns with SQLAlchemy Core")
    click.echo(
        f"  one by key       {found.get_ms:8.3f} ms   Core {found.core_get_ms:.3f} ms,"
        f" allowed {found.get_allowed_ms:.3f} ms"
    )
    click.echo(
        f"  page of {PAGE:,}    {found.page_ms:8.3f} ms   Core {found.core_page_ms:.3f} ms,"
        f" {found.page_ratio:.2f} times, allowed {ALLOWED_PAGE};"
        f" {found.typed_page_ratio:.2f} times Core with typed columns,"
        f" {found.by_hand_page_ratio:.2f} times an endpoint written by hand"
    )
    click.echo(
        f"  all rows         {found.walk_s:8.2f} s    memory grew {found.walk_growth_mib} MiB"
    )
    click.echo(
        f"  workbook of {BOOK_ROWS:,} rows {found.workbook_s:.2f} s, whole process"
        f" {found.workbook_peak_mib:.0f} MiB"
    )
    click.echo(f"  scan of {TABLES} tables {found.scan_s:.2f} s")
