"""What one answer takes from several statements is of one moment, while others write."""

from __future__ import annotations

import asyncio
import itertools
import os
import sqlite3
import time
from collections.abc import AsyncIterator, Callable, Hashable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson
import pytest
from sqlalchemy import Engine, create_engine, event, text

from adapters.mapping.file import parse_mapping
from adapters.mapping.model import Limits
from adapters.service import Adapter
from adapters.sources.addresses import parse_url
from adapters.sources.sessions import aside, hold_still, open_server
from adapters.sources.source import Source
from adapters.sources.sqlite import SqliteFile, open_sqlite
from exchange.problems import Code, Problem
from serving.backends import BackendResponse
from tests.adapters.conftest import EACH_KIND
from tests.adapters.legacy import get
from tests.services.server import DatabaseServer

RECORDS = """
records:
  part: {title: {en: Part, lo: ສ່ວນ}, fields: {"no": integer}}
  whole:
    title: {en: Whole, lo: ທັງໝົດ}
    fields: {id: integer, state: string}
    nested: {parts: {query: parts, join: {whole_id: id}, order: ["no"]}}
queries:
  parts: {record: part, sql: SELECT * FROM parts}
  wholes: {record: whole, sql: SELECT * FROM wholes}
services:
  wholes:
    title: {en: Wholes, lo: ທັງໝົດ}
    endpoints:
      /wholes:
        {operation: list, query: wholes, order: [id], count: exact, title: {en: W, lo: W}}
      /wholes/{id}/good:
        operation: predicate
        query: wholes
        title: {en: Good, lo: ດີ}
        holds: {id: {at_least: 1}, state: [good]}
        unknown: not_found
        reasons: {id: small, state: bad}
"""
SQL = """
saphan_mapping: 1
application: LA/GOV/MPI/moment
title: {en: Moment, lo: ເວລາ}
source: {kind: sql, url: "${LEGACY_URL}", zone: Asia/Vientiane}
"""
FILES = """
saphan_mapping: 1
application: LA/GOV/MPI/moment
title: {en: Moment, lo: ເວລາ}
source:
  kind: files
  zone: Asia/Vientiane
  tables:
    wholes: {file: wholes.csv, columns: {id: {header: id, type: integer}, state: state}}
    parts:
      file: parts.csv
      columns: {whole_id: {header: whole_id, type: integer}, "no": {header: "no", type: integer}}
"""
BEFORE = [{"id": 1, "state": "bad", "parts": [{"no": 1}, {"no": 2}]}]
AFTER = [
    {"id": 1, "state": "good", "parts": [{"no": 3}]},
    {"id": 2, "state": "good", "parts": []},
]
MADE = (
    "CREATE TABLE wholes (id INTEGER PRIMARY KEY, state VARCHAR(10))",
    "CREATE TABLE parts (whole_id INTEGER, no INTEGER)",
    "INSERT INTO wholes VALUES (1, 'bad')",
    "INSERT INTO parts VALUES (1, 1), (1, 2)",
)
CHANGED = (
    "INSERT INTO wholes VALUES (2, 'good')",
    "UPDATE wholes SET state = 'good'",
    "DELETE FROM parts",
    "INSERT INTO parts VALUES (1, 3)",
)

# What gives a table another file: its rows are the same afterwards. The words that differ are those
# of PostgreSQL and of MariaDB; SQLite writes nothing of a table anew.
REWRITTEN: dict[str, dict[str, tuple[str, ...]]] = {
    "a column of another type": {
        "postgresql": ("ALTER TABLE {table} ALTER {column} TYPE {type}",),
        "mariadb": ("ALTER TABLE {table} MODIFY {column} {type}",),
    },
    "emptied and filled again": dict.fromkeys(
        ("postgresql", "mariadb"),
        (
            "CREATE TABLE kept_{table} AS SELECT * FROM {table}",
            "TRUNCATE TABLE {table}",
            "INSERT INTO {table} SELECT * FROM kept_{table}",
        ),
    ),
    "another of its name": dict.fromkeys(
        ("postgresql", "mariadb"),
        (
            "CREATE TABLE new_{table} AS SELECT * FROM {table}",
            "DROP TABLE {table}",
            "ALTER TABLE new_{table} RENAME TO {table}",
        ),
    ),
}

_numbers = itertools.count()


@dataclass(slots=True)
class World:
    """An adapter, and how somebody changes its source."""

    adapter: Adapter
    change: Callable[[], None]
    told: list[str] = field(default_factory=list)

    @property
    def engine(self) -> Engine:
        return self.adapter._source._engine

    @contextmanager
    def changing(self) -> Iterator[None]:
        """The source changes as soon as the next answer's first statement has been run."""

        def note(connection: Any, cursor: Any, statement: str, *rest: Any) -> None:
            if statement.startswith("SELECT saphan_q") and not self.told:
                self.told.append(statement)
                self.change()

        self.told.clear()
        event.listen(self.engine, "after_cursor_execute", note)
        try:
            yield
        finally:
            event.remove(self.engine, "after_cursor_execute", note)
        assert self.told


def run(url: str, statements: tuple[str, ...]) -> None:
    engine = create_engine(url)
    with engine.begin() as connection:
        for statement in statements:
            connection.execute(text(statement))
    engine.dispose()


@pytest.fixture(params=EACH_KIND)
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A database whose server does not read transactions as of one moment unless it is told."""
    if request.param == "sqlite":
        # With a log of its own (WAL), writers do not wait for who reads.
        keeper = sqlite3.connect(tmp_path / "moment.db")
        keeper.execute("PRAGMA journal_mode=WAL")
        run(address := f"sqlite:///{tmp_path}/moment.db", MADE)
        yield address
        keeper.close()
        return
    server = request.getfixturevalue(f"{request.param}_server")
    address = server.new_database(f"moment_{next(_numbers)}")
    run(address, MADE)
    if request.param == "mariadb":
        mark = "&" if "?" in address else "?"
        loose = "SET+SESSION+TRANSACTION+ISOLATION+LEVEL+READ+COMMITTED"
        address += f"{mark}init_command={loose}"
    yield address


@pytest.fixture
async def database(url: str) -> AsyncIterator[World]:
    mapping = parse_mapping((SQL + RECORDS).encode())
    adapter = Adapter(mapping, Source(mapping.source, {"LEGACY_URL": url}, Path()))
    yield World(adapter, lambda: run(url, CHANGED))
    await adapter.close()


def write_files(folder: Path, wholes: str, parts: str, day: int) -> None:
    """Two files of a day."""
    for name, content in (("wholes", wholes), ("parts", parts)):
        path = folder / f"{name}.csv"
        path.write_text(content, "utf-8")
        os.utime(path, (day * 86_400, day * 86_400))


@pytest.fixture
async def files(tmp_path: Path) -> AsyncIterator[World]:
    mapping = parse_mapping((FILES + RECORDS).encode())
    write_files(tmp_path, "id,state\n1,bad\n", "whole_id,no\n1,1\n1,2\n", 18_000)
    adapter = Adapter(mapping, Source(mapping.source, {}, tmp_path))
    snapshot = adapter._source._snapshot
    assert snapshot is not None

    def change() -> None:
        write_files(tmp_path, "id,state\n1,good\n2,good\n", "whole_id,no\n1,3\n", 18_001)
        snapshot.refresh()  # as another request does

    yield World(adapter, change)
    await adapter.close()


async def page(world: World) -> tuple[list[Any], str, dict[str, str]]:
    response = await get(world.adapter, "/wholes?count=true")
    assert response.status == 200, response.body
    headers = dict(response.headers)
    return orjson.loads(response.body)["items"], headers["x-saphan-total"], headers


async def check_page(world: World) -> tuple[dict[str, str], dict[str, str]]:
    """A page while the source changes, and the next one; the header fields of both."""
    with world.changing():
        items, total, first = await page(world)
    assert (items, total) == (BEFORE, "1;exact")
    items, total, second = await page(world)
    assert (items, total) == (AFTER, "2;exact")
    return first, second


async def check_predicate(world: World) -> None:
    with world.changing():
        assert (await get(world.adapter, "/wholes/2/good")).status == 404
    answer = await get(world.adapter, "/wholes/2/good")
    assert orjson.loads(answer.body)["result"] is True


async def test_a_page_its_nested_rows_and_its_number_are_of_one_moment(database: World) -> None:
    """What is committed between the statements is in none of them, and all in the next answer."""
    await check_page(database)


async def test_files_that_are_swapped_do_not_mix(files: World) -> None:
    """Nothing of the new ones is in the answer, not even the age that it tells."""
    first, second = await check_page(files)
    assert first["last-modified"] == "Sun, 14 Apr 2019 00:00:00 GMT"
    assert second["last-modified"] == "Mon, 15 Apr 2019 00:00:00 GMT"


async def test_a_predicate_is_of_one_moment(database: World) -> None:
    """A record that comes after the question is not "there, but": it is not there yet."""
    await check_predicate(database)


async def test_a_predicate_over_files_is_of_one_moment(files: World) -> None:
    """The same when the file is swapped."""
    await check_predicate(files)


async def test_one_statement_pays_for_no_transaction(files: World) -> None:
    """SQLite is told to hold still for answers of several statements, and for no other."""
    found: list[bool] = []

    def note(connection: Any, cursor: Any, statement: str, *rest: Any) -> None:
        if statement.startswith("SELECT saphan_q"):
            found.append(connection.connection.dbapi_connection.in_transaction)

    event.listen(files.engine, "before_cursor_execute", note)
    for target in ("/wholes?fields=id", "/wholes?fields=parts", "/wholes?fields=id"):
        assert (await get(files.adapter, target)).status == 200
    assert found == [False, True, True, False]


def rewriting(url: str, how: str, table: str, column: str, type_: str) -> tuple[str, ...]:
    """The statements that write ``table`` anew, with the rows that it has."""
    found = REWRITTEN[how].get(url.partition("+")[0], ())
    return tuple(one.format(table=table, column=column, type=type_) for one in found)


@pytest.mark.parametrize("how", REWRITTEN)
async def test_a_table_that_is_written_anew_is_not_taken_for_empty(
    database: World, url: str, how: str
) -> None:
    """Between the statements of an answer: it says that it is to be asked again, or is whole."""
    database.change = lambda: run(url, rewriting(url, how, "parts", "no", "BIGINT"))
    with database.changing():
        (answer,) = await asyncio.gather(get(database.adapter, "/wholes"), return_exceptions=True)
    if isinstance(answer, Problem):
        told = (answer.code, answer.where, answer.retryable)
        assert told == (Code.SOURCE_FAILED, "source", True)
    else:
        assert isinstance(answer, BackendResponse)
        assert orjson.loads(answer.body)["items"] == BEFORE
    assert (await page(database))[0] == BEFORE


@pytest.mark.parametrize("how", REWRITTEN)
@pytest.mark.needs_postgresql
async def test_who_waits_for_a_table_that_is_written_anew_finds_its_rows(
    postgresql_server: DatabaseServer, how: str
) -> None:
    """One statement that waited has the rows of afterwards; several are to be asked again."""
    address = postgresql_server.new_database(f"moment_{next(_numbers)}")
    run(address, MADE)
    mapping = parse_mapping((SQL + RECORDS).encode())
    adapter = Adapter(mapping, Source(mapping.source, {"LEGACY_URL": address}, Path()))
    owner = create_engine(address)
    with owner.connect() as connection:
        for statement in rewriting(address, how, "wholes", "id", "BIGINT"):
            connection.exec_driver_sql(statement)
        calls = [
            asyncio.create_task(get(adapter, target))
            for target in ("/wholes?fields=id,state", "/wholes")
        ]
        await asyncio.to_thread(until_waiting, address, len(calls))
        connection.commit()
    owner.dispose()
    answer, problem = await asyncio.gather(*calls, return_exceptions=True)
    assert isinstance(answer, BackendResponse)
    assert orjson.loads(answer.body)["items"] == [{"id": 1, "state": "bad"}]
    assert isinstance(problem, Problem)
    assert "written anew" in problem.detail
    assert (problem.code, problem.retryable) == (Code.SOURCE_FAILED, True)
    assert orjson.loads((await get(adapter, "/wholes")).body)["items"] == BEFORE
    await adapter.close()


def until_waiting(address: str, number: int) -> None:
    """Until so many sessions wait for a lock."""
    asks = text(
        "SELECT count(DISTINCT pid) FROM pg_locks WHERE NOT granted AND database ="
        " (SELECT oid FROM pg_database WHERE datname = current_database())"
    )
    engine = create_engine(address, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        while connection.execute(asks).scalar_one() < number:
            time.sleep(0.01)
    engine.dispose()


def test_a_look_that_is_refused_moves_nothing(url: str) -> None:
    """What a database refuses beside the question (MariaDB explains a view to few) ends neither
    the transaction nor its moment."""
    limits = Limits()
    address = parse_url(url, "source")
    sqlite = address.get_backend_name() == "sqlite"
    engine = (
        open_sqlite(SqliteFile(Path(str(address.database))), limits)
        if sqlite
        else open_server(address, limits)
    )
    with engine.connect() as connection:
        hold_still(connection)
        count = text("SELECT count(*) FROM wholes")
        assert connection.execute(count).scalar_one() == 1
        with aside(connection):
            connection.execute(text("SELECT nothing FROM nowhere"))
        run(url, CHANGED)
        with aside(connection):
            connection.execute(text("SELECT nothing FROM nowhere"))
        assert connection.execute(count).scalar_one() == 1
    with engine.connect() as connection:
        assert connection.execute(count).scalar_one() == 2
    engine.dispose()


@dataclass(slots=True)
class Swapped:
    """A database file that is replaced while it is being opened."""

    path: Path
    opened: int = 0

    def connect(self) -> sqlite3.Connection:
        connection = SqliteFile(self.path).connect()
        connection.execute("SELECT * FROM t").fetchall()
        self.opened += 1
        if self.opened == 1:
            os.replace(self.path.with_name("new.db"), self.path)
        return connection

    def mark(self) -> Hashable:
        return SqliteFile(self.path).mark()


def test_a_file_replaced_while_it_is_opened_is_not_read_for_ever(tmp_path: Path) -> None:
    """The old file's connection is not taken for one to the new file."""
    for name in ("now.db", "new.db"):
        run(f"sqlite:///{tmp_path}/{name}", (f"CREATE TABLE t AS SELECT '{name}' AS name",))
    database = Swapped(tmp_path / "now.db")
    engine = open_sqlite(database, Limits())
    found = []
    for _ in range(3):
        with engine.connect() as connection:
            found.append(connection.execute(text("SELECT name FROM t")).scalar_one())
    engine.dispose()
    assert found[-2:] == ["new.db", "new.db"]
    assert database.opened == 2
