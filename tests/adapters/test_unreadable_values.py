"""A text that no value of a column can be is its sender's fault, whatever the database says.

A filter finds nothing or is 400, a key is 404, a condition of an agreement 503 with its place;
what is wrong with the mapping's own SQL stays the source's failure.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

import orjson
import pytest
from sqlalchemy import Connection, NullPool, create_engine, event, text
from sqlalchemy.exc import DBAPIError

from adapters.answers import running
from adapters.answers.requests import Plan, plan
from adapters.answers.running import fetch
from adapters.answers.unreadable import place_of
from adapters.mapping.file import parse_mapping
from adapters.service import Adapter
from adapters.sources.source import Source
from exchange.agreements import ROWS_HEADER
from exchange.problems import Code, Problem
from serving.backends import BackendRequest
from tests.adapters.conftest import MARKS
from tests.adapters.legacy import execute

Result = TypeVar("Result")
MAPPING = """
saphan_mapping: 1
application: LA/GOV/MPI/types
title: {en: Types, lo: ປະເພດ}
source: {kind: sql, url: "${TYPES_URL}", failures_before_pause: 1, zone: Asia/Vientiane}
enumerations: {words: {a: first, z: last}}
records:
  one:
    title: {en: One, lo: ໜຶ່ງ}
    fields: {id: integer, v: {type: A_KIND}}
    nested:
      inner: {query: inner, join: {id: id}, as: one}
  inner:
    title: {en: Inner, lo: ໃນ}
    fields: {id: integer, v: {type: A_KIND}}
queries:
  plain: {record: one, sql: SELECT * FROM tbl_typed}
  inner: {record: inner, sql: SELECT * FROM tbl_typed}
  broken: {record: one, sql: "SELECT id, A_BROKEN AS v FROM tbl_typed"}
  asked:
    record: one
    sql: SELECT * FROM tbl_typed WHERE v = CAST(:v AS A_TYPE)
    parameters: {v: {type: string, required: false}}
services:
  types:
    title: {en: Types, lo: ປະເພດ}
    endpoints:
      /plain:
        operation: list
        query: plain
        title: {en: All, lo: ທັງໝົດ}
        order: [id]
        filters: {v: {}}
      /plain/{v}: {operation: one, query: plain, title: {en: One, lo: ໜຶ່ງ}}
      /broken:
        operation: list
        query: broken
        title: {en: Broken, lo: ເພ}
        order: [id]
        filters: {v: {}, id: {}}
      /asked: {operation: list, query: asked, title: {en: Asked, lo: ຖາມ}, order: [id]}
      /holds/{v}:
        operation: predicate
        query: plain
        title: {en: Holds, lo: ຖືກ}
        holds: {id: [1]}
        unknown: false
      /known/{v}:
        operation: predicate
        query: plain
        title: {en: Known, lo: ຮູ້}
        holds: {id: [1]}
        unknown: not_found
"""
OVER = "99999999999999999999"
# Of each type: a value of it, a text that is none, and the status of a filter by that text.
POSTGRESQL = {
    "uuid": ("6b1f6a2e-0d3c-4d8e-9f00-000000000001", "x", 400),
    "inet": ("10.0.0.1", "10.0.0.256", 400),
    "cidr": ("10.0.0.0/8", "10.0.0.0/33", 400),
    "macaddr": ("08:00:2b:01:02:03", "08:00", 400),
    "mood": ("a", "b", 400),
    "integer": ("7", "seven", 400),
    "smallint": ("7", "70000", 400),
    "bigint": ("7", OVER, 400),
    "numeric(9,2)": ("7.50", "7,5", 400),
    "date": ("2026-01-31", "2026-02-30", 400),
    "timestamp": ("2026-01-31 08:00:00", "2026-13-01", 400),
    "timestamptz": ("2026-01-31 08:00:00+07", "294277-01-01", 400),
    "time": ("08:00:00", "25:00", 400),
    "interval": ("01:00:00", "one", 400),
    "boolean": ("true", "perhaps", 400),
    "bit(3)": ("101", "102", 400),
    "bytea": ("a", "\\x0", 400),
    "money": ("1", "one", 400),
    "int4range": ("[1,2)", "[2,1)", 400),
    "integer[]": ("{1}", "1", 400),
    "jsonb": ("1", "{", 400),
    "tsvector": ("a", "'", 400),
    "varchar(5)": ("a", "too long for it", 200),
    "text": ("a", "b", 200),
    "json": ("1", "1", 502),  # has no comparison, whatever the value: the mapping's fault
    "point": ("(1,2)", "(1,2)", 502),
}
MARIADB = {
    "uuid": ("6b1f6a2e-0d3c-4d8e-9f00-000000000001", "x", 200),
    "inet6": ("::1", "x", 200),
    "enum('a','z')": ("a", "b", 200),
    "set('a','z')": ("a", "b", 200),
    "integer": ("7", "seven", 200),
    "bigint": ("7", OVER, 200),
    "decimal(9,2)": ("7.50", "7,5", 200),
    "date": ("2026-01-31", "2026-02-30", 200),
    "datetime": ("2026-01-31 08:00:00", "2026-13-01", 200),
    "timestamp": ("2026-01-31 08:00:00", "1969-01-01", 200),
    "time": ("08:00:00", "x", 200),
    "year": ("2026", "x", 200),
    "bit(8)": ("a", "xx", 200),
    "json": ("1", "{", 200),
    "varchar(5)": ("a", "too long for it", 200),
    "varchar(5) character set latin1": ("a", "ລາວ", 400),
    "varbinary(5)": ("a", "ລາວ", 200),
}
SQLITE = {
    "integer": ("7", "seven", 200),
    "text": ("a", "b", 200),
    "blob": ("a", "b", 200),
    "date": ("2026-01-31", "2026-02-30", 200),
}
EVERY = [
    pytest.param(kind, type_, *told, marks=MARKS[kind], id=f"{kind} {type_}")
    for kind, types in (("postgresql", POSTGRESQL), ("mariadb", MARIADB), ("sqlite", SQLITE))
    for type_, told in types.items()
]


class Typed:
    """A table with one column of each type, one after the other, in one database."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._engine = create_engine(url, poolclass=NullPool)  # which prepares nothing

    def column(self, type_: str, value: str) -> None:
        """The table anew, with one row."""
        with self._engine.begin() as connection:
            if type_ == "mood":
                connection.exec_driver_sql("DROP TYPE IF EXISTS mood CASCADE")
                connection.exec_driver_sql("CREATE TYPE mood AS ENUM ('a', 'c')")
            connection.exec_driver_sql("DROP TABLE IF EXISTS tbl_typed")
            connection.exec_driver_sql(
                f"CREATE TABLE tbl_typed (id integer PRIMARY KEY, v {type_})"
            )
            connection.execute(text("INSERT INTO tbl_typed VALUES (1, :v)"), {"v": value})

    def adapter(self, kind: str = "string", type_: str = "date", broken: str = "v") -> Adapter:
        """Over the table; ``kind`` is that of the field, ``broken`` the SQL of one query."""
        said = MAPPING.replace("A_KIND", kind).replace("A_TYPE", type_).replace("A_BROKEN", broken)
        mapping = parse_mapping(said.encode(), "types.yaml")
        return Adapter(mapping, Source(mapping.source, {"TYPES_URL": self.url}, Path()))

    def close(self) -> None:
        self._engine.dispose()


@pytest.fixture(scope="module")
def typed(request: pytest.FixtureRequest, tmp_path_factory: Any) -> Iterator[Any]:
    """By the kind of database, which is made when it is first asked for."""
    made: dict[str, Typed] = {}

    def of(kind: str) -> Typed:
        if kind not in made:
            url = f"sqlite:///{tmp_path_factory.mktemp('typed')}/typed.db"
            if kind != "sqlite":
                server = request.getfixturevalue(f"{kind}_server")
                url = server.new_database("typed_values")
            made[kind] = Typed(url)
        return made[kind]

    yield of
    for one in made.values():
        one.close()


async def ask(adapter: Adapter, path: str, query: str = "", rows: str = "") -> tuple[int, Any]:
    """Status and body of one request; a failure of the source is 502, with its problem."""
    headers = ((ROWS_HEADER, rows),) if rows else ()
    try:
        got = await adapter.exchange(BackendRequest("GET", path, query, headers, b""), timeout_s=20)
    except Problem as problem:
        if problem.code is not Code.SOURCE_FAILED:
            raise
        return 502, problem
    return got.status, orjson.loads(got.body)


async def in_source(table: Typed, query: str, work: Callable[[Connection, Plan], Result]) -> Result:
    """What ``work`` gives of a request for the list, in a thread of its source."""
    said = MAPPING.replace("A_KIND", "string").replace("A_TYPE", "date").replace("A_BROKEN", "v")
    mapping = parse_mapping(said.encode(), "types.yaml")
    source = Source(mapping.source, {"TYPES_URL": table.url}, Path()).lease()
    (service,) = mapping.services.values()
    endpoint = next(one for one in service.endpoints if one.path == "/plain")
    asked = plan(endpoint, {}, f"{query}&fields=id")
    try:
        return await source.run(lambda connection: work(connection, asked), timeout_s=3)
    finally:
        await source.close()


@pytest.mark.parametrize(("kind", "type_", "value", "other", "status"), EVERY)
async def test_a_text_that_the_column_cannot_be_is_the_callers_fault(
    typed: Any, kind: str, type_: str, value: str, other: str, status: int
) -> None:
    """A filter says where or finds nothing, a key is no record's, a condition opens nothing."""
    table = typed(kind)
    table.column(type_, value)
    adapter = table.adapter()
    got, body = await ask(adapter, "/plain", f"v={quote(other, safe='')}")
    assert got == status
    if got == 400:
        assert body["where"] == "query.v"
    elif got == 200:
        assert body["items"] == []
    key = quote(other, safe="")
    unknown = 502 if status == 502 else 404
    assert (await ask(adapter, f"/plain/{key}"))[0] == unknown
    assert (await ask(adapter, f"/known/{key}"))[0] == unknown
    got, body = await ask(adapter, f"/holds/{key}")
    assert (got, None if got == 502 else body["result"]) in ((200, False), (502, None))
    assert (got == 502) is (status == 502)
    for field in ("v", "inner.v"):
        got, body = await ask(adapter, "/plain", rows=orjson.dumps({field: [other]}).decode())
        # Of latin1, too, MariaDB compares sign by sign, as a condition of an agreement does.
        assert got == (200 if "latin1" in type_ else {400: 503}.get(status, status)), field
        if got == 503:
            assert body["where"] == f"header.{ROWS_HEADER}.{field}"
    assert (await ask(adapter, "/plain", "fields=id"))[0] == 200, "the source is left alone"
    await adapter.close()


@pytest.mark.needs_postgresql
@pytest.mark.parametrize(
    ("field", "type_", "value", "query", "status"),
    [
        ("date", "smallint", "7", "v=2026-01-31", 502),
        ("integer", "uuid", POSTGRESQL["uuid"][0], "v=7", 502),
        ("{type: enumeration, table: words}", "mood", "a", "v=last", 502),
        ("{type: enumeration, table: words}", "mood", "a", "v=first", 200),
        ("{type: enumeration, table: words, otherwise: keep}", "mood", "a", "v=other", 400),
        ("decimal", "real", "7", f"v={'9' * 60}", 400),
        ("integer", "smallint", "7", "v=70000", 200),
        ("boolean", "uuid", POSTGRESQL["uuid"][0], "v=true", 502),
    ],
    ids=["a day", "a number", "a word", "its label", "another word", "huge", "large", "yes"],
)
async def test_what_the_mapping_makes_of_a_text_is_its_own_fault(
    typed: Any, field: str, type_: str, value: str, query: str, status: int
) -> None:
    """A field of another type than its column, a code list with words that no row can have."""
    table = typed("postgresql")
    table.column(type_, value)
    adapter = table.adapter(field.removeprefix("{type: ").removesuffix("}"))
    got, body = await ask(adapter, "/plain", query + "&fields=id")
    assert got == status
    if got == 400:
        assert body["where"] == "query.v"
    await adapter.close()


@pytest.mark.needs_postgresql
async def test_a_parameter_that_the_query_cannot_read_is_the_callers_fault(typed: Any) -> None:
    """Where the mapping's SQL casts it; a good one is answered."""
    table = typed("postgresql")
    table.column("date", "2026-01-31")
    adapter = table.adapter("date", "date")
    assert (await ask(adapter, "/asked", "v=2026-01-31"))[0] == 200
    for text_ in ("2026-02-30", "x", "5900000-01-01"):
        got, body = await ask(adapter, "/asked", f"v={text_}")
        assert (got, body["where"]) == (400, "query.v")
    await adapter.close()


@pytest.mark.needs_postgresql
@pytest.mark.parametrize("broken", ["CAST(v AS integer)", "v / (id - 1)", "nothing"])
async def test_a_fault_of_the_mappings_sql_is_not_laid_on_the_caller(
    typed: Any, broken: str
) -> None:
    """Rows that its SQL cannot read fail with a filter as they do without, with a bad one too."""
    table = typed("postgresql")
    table.column("text" if "CAST" in broken else "integer", "7" if "CAST" not in broken else "a")
    adapter = table.adapter("integer", broken=broken)
    for query in ("", "v=7", "id=1", "v=7&id=1"):
        got, problem = await ask(adapter, "/broken", query)
        assert got == 502, query
        assert problem.where == "source"
    await adapter.close()


@pytest.mark.needs_postgresql
async def test_of_two_texts_the_one_that_cannot_be_is_named(typed: Any) -> None:
    """Beside a good filter, in either order, and beside a good condition of the agreement."""
    table = typed("postgresql")
    table.column("uuid", POSTGRESQL["uuid"][0])
    adapter = table.adapter()
    good = orjson.dumps({"v": [POSTGRESQL["uuid"][0]]}).decode()
    got, body = await ask(adapter, "/broken", "id=1&v=x", good)
    assert (got, body["where"]) == (400, "query.v")
    got, body = await ask(adapter, "/broken", "id=1", orjson.dumps({"v": ["x"]}).decode())
    assert (got, body["where"]) == (503, f"header.{ROWS_HEADER}.v")
    await adapter.close()


@pytest.mark.needs_postgresql
async def test_what_passes_by_itself_is_laid_on_nobody(typed: Any) -> None:
    """A lock that is given up just when the statement is tried without the caller's text."""
    table = typed("postgresql")
    table.column("date", "2026-01-31")
    owner = create_engine(table.url, poolclass=NullPool)
    tries = 0

    def work(connection: Connection, asked: Plan) -> str | None:
        def tried(*_: Any) -> None:
            nonlocal tries
            tries += 1
            if tries == 2:
                holder.rollback()

        raw: Any = connection.connection.dbapi_connection
        raw.execute("ROLLBACK; SET lock_timeout = 50")  # of the session: it outlives transactions
        with pytest.raises(DBAPIError) as failed:
            fetch(connection, asked, 1)
        event.listen(connection, "before_execute", tried)
        return place_of(connection, asked, failed.value)

    with owner.connect() as holder:
        holder.exec_driver_sql("LOCK TABLE tbl_typed IN ACCESS EXCLUSIVE MODE")
        assert await in_source(table, "v=2026-01-31", work) is None
    assert tries > 1


@pytest.mark.needs_postgresql
async def test_what_is_tried_again_has_no_more_time_than_was_asked(typed: Any) -> None:
    """The transaction that failed had a shorter limit than that of the mapping."""
    table = typed("postgresql")
    table.column("date", "2026-01-31")

    limits: list[int] = []

    def work(connection: Connection, asked: Plan) -> str | None:
        raw: Any = connection.connection.dbapi_connection

        def tried(*_: Any) -> None:
            told = raw.execute("SELECT setting FROM pg_settings WHERE name = 'statement_timeout'")
            limits.append(int(told.fetchone()[0]))

        with pytest.raises(DBAPIError) as failed:
            fetch(connection, asked, 1)
        event.listen(connection, "before_execute", tried)
        return place_of(connection, asked, failed.value)

    assert await in_source(table, "v=x", work) == "query.v"
    assert limits
    assert all(0 < one <= 3000 for one in limits)


# Of a type: what is answered, and what databases read as the same; SQLite has no days.
SPELLINGS = {
    "integer": ("7", ("7x", "07", "7.0", " 7", "7 ", "+7", "7e0")),
    "bigint": ("0", ("-0", "00", "")),
    "date": ("2026-01-31", ("2026-1-31", "20260131", "2026-01-31x", "2026-01-31 00:00:00")),
}
SPELLINGS_OF_MARIADB = {
    "decimal(9,2)": ("7.50", ("7.5", "7.500", "07.50", "750e-2", "7.50x", "+7.50", "7.50 ")),
    "decimal(30,2)": ("1234567890123456789012.01", ("1234567890123456789012.02",)),
    "datetime": (
        "2026-01-31 08:00:00",
        ("2026-01-31T08:00:00", "2026-01-31 08:00", "2026-1-31 8:0:0", "20260131080000"),
    ),
    "datetime(6)": (
        "2026-01-31 08:00:00.500000",
        ("2026-01-31 08:00:00.5", "2026-01-31 08:00:00.50000000"),
    ),
    "time": ("08:00:00", ("8:00:00", "080000", "80000", "08:00", "0 8:0:0", "08:00:00.000000")),
    "time(6)": ("-34:00:00.500000", ("-34:00:00.5", "-1 10:00:00.500000")),
}
ALIKE = [
    pytest.param(kind, type_, value, other, marks=MARKS[kind], id=f"{kind} {type_} {other!r}")
    for kind, kinds in (
        ("postgresql", SPELLINGS),
        ("mariadb", SPELLINGS | SPELLINGS_OF_MARIADB),
        ("sqlite", SPELLINGS),
    )
    for type_, (value, others) in kinds.items()
    for other in others
]


@pytest.mark.parametrize(("kind", "type_", "value", "other"), ALIKE)
async def test_what_is_no_text_is_asked_for_as_it_is_answered(
    typed: Any, kind: str, type_: str, value: str, other: str
) -> None:
    """What a database would read as the number, the day or the time is the key of no record, nor
    what a filter finds; where PostgreSQL cannot read it, that is said."""
    table = typed(kind)
    table.column(type_, value)
    adapter = table.adapter()
    if other:
        assert (await ask(adapter, f"/plain/{quote(other)}"))[0] == 404
    got, body = await ask(adapter, f"/plain/{quote(value)}")
    assert (got, body.get("v")) == (200, value)
    got, body = await ask(adapter, "/plain", f"v={quote(other)}")
    if kind == "postgresql" and got == 400:
        assert body["where"] == "query.v"
    else:
        assert (got, body["items"]) == (200, [])
    _, body = await ask(adapter, "/plain", f"v={quote(value)}")
    assert [one["v"] for one in body["items"]] == [value]
    await adapter.close()


@pytest.mark.needs_mariadb
async def test_a_day_that_is_none_is_found_as_it_is_answered(typed: Any) -> None:
    """MariaDB keeps it, and it is shown where the field is a text."""
    table = typed("mariadb")
    table.column("datetime", "2026-01-31 08:00:00")
    execute(
        table.url,
        "SET STATEMENT sql_mode = '' FOR UPDATE tbl_typed SET v = '0000-00-00 00:00:00'",
    )
    adapter = table.adapter()
    _, body = await ask(adapter, "/plain")
    (value,) = [one["v"] for one in body["items"]]
    assert value == "0000-00-00 00:00:00"
    _, body = await ask(adapter, "/plain", f"v={quote(value)}")
    assert [one["v"] for one in body["items"]] == [value]
    _, body = await ask(adapter, "/plain", f"v={quote('0000-00-00')}")
    assert body["items"] == []
    await adapter.close()


@pytest.mark.parametrize(
    "kind", [pytest.param(kind, marks=MARKS[kind]) for kind in ("postgresql", "mariadb")]
)
@pytest.mark.parametrize("asked", ["v=07", "v=07&fields=id"])
async def test_a_column_that_its_owner_makes_another(
    typed: Any, kind: str, asked: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Is compared as what it is now: at once where it is read, and else before long."""
    table = typed(kind)
    table.column("integer", "7")
    adapter = table.adapter()
    _, body = await ask(adapter, "/plain", asked)
    assert body["items"] == []
    change = "ALTER v TYPE text" if kind == "postgresql" else "MODIFY v VARCHAR(9)"
    execute(table.url, f"ALTER TABLE tbl_typed {change}")
    execute(table.url, "UPDATE tbl_typed SET v = '07'")
    if "fields" in asked:
        monkeypatch.setattr(running, "TYPES_S", 0.0)
    _, body = await ask(adapter, "/plain", asked)
    assert [one["id"] for one in body["items"]] == [1]
    await adapter.close()
