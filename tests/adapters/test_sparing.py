"""The source is spared: wide statements, accounts that write, budgets, pauses, kept answers."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import create_engine, event, text
from structlog.testing import capture_logs

from adapters.answers.cache import AnswerCache
from adapters.mapping.file import parse_mapping
from adapters.service import Adapter, load
from adapters.sources.accounts import may_write
from adapters.sources.source import Source
from exchange.problems import Code, Problem
from serving.backends import BackendRequest, BackendResponse
from tests.adapters.legacy import BACKSLASH, INJECTION, TOTAL, Legacy, execute, get, items, walk

LARGE = 3_000
MAPPING = """
saphan_mapping: 1
application: LA/GOV/MPI/large
title: {{en: Many parcels, lo: ຕອນດິນ}}
source: {{kind: sql, url: "${{LEGACY_URL}}", large_table_rows: 1000{more}}}
records:
  parcel:
    title: {{en: Parcel, lo: ຕອນດິນ}}
    fields: {{id: integer, number: string, district: string, village: string}}
queries:
  parcels: {{record: parcel, sql: "SELECT id, number, district, village FROM tbl_parcel p"}}
  districts:
    record: parcel
    sql: SELECT max(id) AS id, min(number) AS number, district, village
      FROM tbl_parcel GROUP BY district, village
services:
  parcels:
    title: {{en: Parcels, lo: ຕອນດິນ}}
    endpoints:
      /parcels:
        operation: list
        query: parcels
        title: {{en: Parcels, lo: ຕອນດິນ}}
        order: [id]
        page_size: 50
        filters: [number, village]
      /by-village:
        {{operation: list, query: parcels, title: {{en: V, lo: ບ}}, order: [village, id]}}
      /districts: {{operation: list, query: districts, title: {{en: D, lo: ມ}}}}
"""


@pytest.fixture
def large(own_legacy: Legacy) -> Legacy:
    """A table of 3,000 rows with an index on ``number`` and none on ``village``."""
    execute(
        own_legacy.url,
        "CREATE TABLE tbl_parcel (id INTEGER PRIMARY KEY, number VARCHAR(20), "
        "district VARCHAR(20), village VARCHAR(20))",
    )
    engine = create_engine(own_legacy.url)
    with engine.begin() as connection:
        connection.execute(
            text("INSERT INTO tbl_parcel VALUES (:id, :number, :district, :village)"),
            [
                {"id": n, "number": f"N{n:05}", "district": f"D{n % 20}", "village": f"V{n % 300}"}
                for n in range(LARGE)
            ],
        )
        connection.execute(text("CREATE INDEX parcel_number ON tbl_parcel (number)"))
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        table = "TABLE tbl_parcel" if own_legacy.kind == "mariadb" else "tbl_parcel"
        connection.execute(text(f"ANALYZE {table}"))
    engine.dispose()
    return own_legacy


def adapter_of(legacy: Legacy, more: str = "", mapping: str = MAPPING) -> Adapter:
    parsed = parse_mapping(mapping.format(more=more).encode(), "large.yaml")
    return Adapter(parsed, Source(parsed.source, {"LEGACY_URL": legacy.url}, Path()))


# Plans.


async def test_what_would_read_a_large_table_whole_is_refused_where_the_mapping_says(
    large: Legacy,
) -> None:
    """A filter or an order without an index, and a sum over all: refused, with the table named.

    How many rows it has is not told: a caller may not be shown all of them.
    """
    adapter = adapter_of(large, ", wide_queries: refuse")
    for target in ("/parcels?village=V7", "/by-village", "/districts"):
        response = await get(adapter, target)
        assert response.status == 422, (target, response.body)
        problem = orjson.loads(response.body)
        assert problem["type"].endswith("QueryTooWide")
        assert "tbl_parcel" in problem["detail"]
        assert "rows" not in problem["detail"]
    await adapter.close()


async def test_what_an_index_finds_passes(large: Legacy) -> None:
    """A key, an indexed filter, and every page in the order of the key."""
    adapter = adapter_of(large, ", wide_queries: refuse")
    assert [one["id"] for one in await items(adapter, "/parcels?number=N00042")] == [42]
    assert sum(len(page) for page in await walk(adapter, "/parcels")) == LARGE
    await adapter.close()


async def test_a_warning_is_said_once_and_the_answer_is_given(large: Legacy) -> None:
    """The mapping's usual will: the operator reads of it, the caller is answered."""
    adapter = adapter_of(large)
    with capture_logs() as logs:
        for _ in range(3):
            assert len(await items(adapter, "/parcels?village=V7")) == 10
    assert [one["policy"] for one in logs if one["event"] == "wide_query"] == ["warn"]
    await adapter.close()


async def test_a_small_table_may_be_read_whole(large: Legacy) -> None:
    """What is large is the mapping's to say."""
    mapping = MAPPING.replace("large_table_rows: 1000", "large_table_rows: 100000")
    adapter = adapter_of(large, ", wide_queries: refuse", mapping)
    assert len(await items(adapter, "/parcels?village=V7")) == 10
    await adapter.close()


@pytest.mark.needs_mariadb
async def test_a_reader_of_a_view_is_answered(mariadb_server: Any) -> None:
    """MariaDB tells no plan of a view to who may only SELECT: the look is lost, not the answer."""
    url = mariadb_server.new_database("plans_of_views")
    execute(url, "CREATE TABLE kept (id INTEGER PRIMARY KEY, number VARCHAR(9), village INTEGER)")
    execute(url, "INSERT INTO kept VALUES (1, 'N1', 7)")
    execute(
        url,
        "CREATE VIEW tbl_parcel AS SELECT id, number, 'D' AS district,"
        " CONCAT('V', village) AS village FROM kept",
    )
    execute(url, "CREATE USER view_reader@'%'")
    execute(url, "GRANT SELECT ON plans_of_views.tbl_parcel TO view_reader@'%'")
    reader = Legacy("mariadb", url.replace("//root@", "//view_reader@"), mariadb_server)
    adapter = adapter_of(reader, ", wide_queries: refuse")
    assert [one["id"] for one in await items(adapter, "/parcels?village=V7")] == [1]
    await adapter.close()


# Accounts.


@pytest.mark.needs_postgresql
def test_a_postgresql_account_that_may_write_is_told(postgresql_server: Any) -> None:
    """A superuser, a writer of one table, and a reader, of whom nothing is said."""
    url = postgresql_server.new_database("accounts_told")
    execute(url, "CREATE TABLE kept (a INTEGER)")
    execute(url, "CREATE ROLE acc_writer LOGIN")
    execute(url, "CREATE ROLE acc_reader LOGIN")
    execute(url, "GRANT SELECT, INSERT ON kept TO acc_writer")
    execute(url, "GRANT SELECT ON kept TO acc_reader")
    assert _account(url) == ("is a superuser",)
    assert _account(url.replace("//saphan@", "//acc_writer@")) == ("may write public.kept",)
    assert _account(url.replace("//saphan@", "//acc_reader@")) == ()


@pytest.mark.needs_mariadb
def test_a_mariadb_account_that_may_write_is_told(mariadb_server: Any) -> None:
    """All rights, the right to write one table, and a reader, of whom nothing is said."""
    url = mariadb_server.new_database("accounts_told")
    execute(url, "CREATE TABLE kept (a INTEGER)")
    execute(url, "CREATE USER acc_writer@'%'")
    execute(url, "CREATE USER acc_reader@'%'")
    execute(url, "GRANT SELECT, UPDATE ON accounts_told.kept TO acc_writer@'%'")
    execute(url, "GRANT SELECT, SHOW VIEW ON accounts_told.* TO acc_reader@'%'")
    assert "ALL PRIVILEGES on *.*" in _account(url)[0]
    written = _account(url.replace("//root@", "//acc_writer@"))
    assert written == ("has UPDATE on `accounts_told`.`kept`",)
    assert _account(url.replace("//root@", "//acc_reader@")) == ()


def _account(url: str) -> tuple[str, ...]:
    engine = create_engine(url)
    with engine.connect() as connection:
        found = may_write(connection)
    engine.dispose()
    return found


# Budgets and pauses.


async def test_an_hours_budget_is_kept(legacy: Legacy) -> None:
    """What is over it is refused with the time to come again; faults of callers cost nothing."""
    adapter = legacy.adapter(limits="max_statements_per_hour: 2")
    await get(adapter, "/items?sector=nonsense")
    for _ in range(2):
        assert (await get(adapter, "/items")).status == 200
    with pytest.raises(Problem) as caught:
        await get(adapter, "/items")
    assert caught.value.code is Code.OVERLOADED
    assert 3500 < int(str(caught.value.facts["retry_after_s"])) <= 3600
    await adapter.close()


async def test_a_source_that_stays_down_is_left_alone_for_a_while(tmp_path: Path) -> None:
    """After failures in a row the answer comes without asking, and says when to come again."""
    legacy = Legacy("sqlite", f"sqlite:///{tmp_path}/gone.db", None)
    adapter = legacy.adapter(limits="failures_before_pause: 2")
    for _ in range(2):
        with pytest.raises(Problem) as caught:
            await get(adapter, "/items")
        assert "retry_after_s" not in caught.value.facts
    with pytest.raises(Problem) as caught:
        await get(adapter, "/items")
    assert (caught.value.code, caught.value.facts["retry_after_s"]) == (Code.SOURCE_FAILED, 1)
    await adapter.close()


# Kept answers and conditions.

FILES = """
saphan_mapping: 1
application: LA/GOV/MPI/parcels
title: {en: Parcels, lo: ຕອນດິນ}
source:
  kind: files
  tables:
    parcels: {file: parcels.csv, columns: {id: {header: id, type: integer}, name: name}}
records: {parcel: {title: {en: P, lo: ຕ}, fields: {id: integer, name: string}}}
queries: {parcels: {record: parcel, sql: "SELECT id, name FROM parcels"}}
services:
  parcels:
    title: {en: Parcels, lo: ຕອນດິນ}
    endpoints:
      /parcels:
        operation: list
        query: parcels
        title: {en: P, lo: ຕ}
        order: [id]
        page_size: 10
        cache_s: 600
        filters: [id]
"""
KEEPING = ("page_size: 10\n", "page_size: 10\n        cache_s: 600\n")


async def test_an_answer_is_given_again_with_its_age(own_legacy: Legacy) -> None:
    """While it is valid the source is not asked; another question is another answer."""
    from tests.adapters.legacy import MAPPING as ITEMS

    adapter = own_legacy.adapter(ITEMS.replace(*KEEPING))
    first = await get(adapter, "/items?sector=health")
    execute(own_legacy.url, "DELETE FROM tbl_item")
    again = await get(adapter, "/items?sector=health")
    assert again.body == first.body
    assert dict(again.headers)["cache-control"] == "private, max-age=600"
    assert dict(again.headers)["age"] == "0"
    assert await items(adapter, "/items?sector=education") == []
    assert (await get(adapter, "/items?sector=health&page_size=3")).body != first.body
    await adapter.close()


async def test_fields_of_one_column_are_answers_of_their_own(own_legacy: Legacy) -> None:
    """Two fields of one column make one statement, and two answers."""
    from tests.adapters.legacy import MAPPING as ITEMS

    more = "again: {{column: item_code, type: string, null: refuse}}\n      code:"
    adapter = own_legacy.adapter(ITEMS.replace(*KEEPING).replace("code:", more, 1))
    for name in ("code", "again"):
        found = await items(adapter, f"/items?fields={name}")
        assert {key for one in found for key in one} == {name}
    await adapter.close()


def test_small_answers_do_not_fill_the_memory() -> None:
    """What an answer takes beside its body counts."""
    cache = AnswerCache(max_bytes=10_000)
    for number in range(1000):
        cache.put(b"%d" % number, b"", 0.0)
    kept = [number for number in range(1000) if cache.get(b"%d" % number, 0.0, 1.0)]
    assert 10 <= len(kept) <= 100
    assert kept[-1] == 999


async def test_an_answer_of_an_older_file_is_not_given_with_the_age_of_a_newer(
    tmp_path: Path,
) -> None:
    """When the file was read anew, what was kept of the older reading is kept no more."""
    file = tmp_path / "parcels.csv"
    (tmp_path / "m.yaml").write_text(FILES)
    file.write_text("id,name\n1,old\n")
    os.utime(file, (1e9, 1e9))
    adapter = load(tmp_path / "m.yaml", {})
    assert await items(adapter, "/parcels?id=1") == [{"id": 1, "name": "old"}]
    file.write_text("id,name\n1,new\n")
    os.utime(file, (2e9, 2e9))
    assert await items(adapter, "/parcels?id=2") == []
    again = await get(adapter, "/parcels?id=1")
    assert orjson.loads(again.body)["items"] == [{"id": 1, "name": "new"}]
    await adapter.close()


async def test_what_has_not_changed_is_not_sent_again(own_legacy: Legacy) -> None:
    """``If-None-Match`` with the tag of the same content is 304; with another it is the content."""
    adapter = own_legacy.adapter()
    first = await _ask(adapter, "/items")
    tag = dict(first.headers)["etag"]
    for value in (tag, f"W/{tag}", f'"other", {tag}', "*"):
        same = await _ask(adapter, "/items", ("if-none-match", value))
        assert (same.status, same.body) == (304, b"")
        assert dict(same.headers)["etag"] == tag
    assert (await _ask(adapter, "/items", ("if-none-match", '"other"'))).status == 200
    execute(own_legacy.url, "UPDATE tbl_item SET note = 'changed' WHERE id = 1")
    changed = await _ask(adapter, "/items", ("if-none-match", tag))
    assert changed.status == 200
    assert dict(changed.headers)["etag"] != tag
    await adapter.close()


async def _ask(adapter: Adapter, path: str, *headers: tuple[str, str]) -> BackendResponse[bytes]:
    request = BackendRequest("GET", path, "", headers, b"")
    return await adapter.exchange(request, timeout_s=20)


# Hostile values.

HOSTILE = st.one_of(
    st.text(max_size=80),
    st.sampled_from(
        [INJECTION, BACKSLASH, "1; DELETE FROM tbl_item", "' UNION SELECT * FROM tbl_item --"]
    ),
    st.sampled_from(
        ["＇ OR １＝１", "ʼ OR 1=1", "%27", "\u0000", "\ud800", "\u202e'", "$1", ":id", "?"]
    ),
    st.text(alphabet="'\"`;-/*\\%_()=:$#@ \n", max_size=60),
)
FILTERS = ("code", "status", "sector", "active", "start", "signed_on", "note", "signed_from")
PLACES = (*FILTERS, "least", "cursor", "fields", "page_size", "unknown")


@pytest.fixture
def statements(legacy: Legacy) -> Iterator[tuple[Adapter, set[str]]]:
    """An adapter, and the texts of all statements that it sends."""
    adapter, seen = legacy.adapter(limits="wide_queries: allow"), set()

    def note(connection: Any, cursor: Any, statement: str, *rest: Any) -> None:
        seen.add(statement)

    event.listen(adapter._source._engine, "before_cursor_execute", note)
    yield adapter, seen
    adapter._source._engine.dispose()


async def test_hostile_values_never_change_the_statement(
    statements: tuple[Adapter, set[str]],
) -> None:
    """Whatever stands in whatever place: answered or a fault of the caller, by the same texts."""
    adapter, seen = statements
    asked: list[tuple[str, str]] = []

    @given(place=st.sampled_from(PLACES), value=HOSTILE, path=st.booleans())
    @settings(
        max_examples=60, deadline=None, suppress_health_check=list(HealthCheck), database=None
    )
    def collect(place: str, value: str, path: bool) -> None:
        from urllib.parse import quote

        quoted = quote(value, safe="", errors="surrogatepass")
        asked.append((f"/items/{quoted}", "") if path else ("/items", f"{place}={quoted}"))

    collect()
    for path, query in asked:
        response = await adapter.exchange(BackendRequest("GET", path, query, (), b""), timeout_s=20)
        assert response.status in (200, 400, 404), response.body
    shapes = len(PLACES) + 3  # one for each filter, the plain list, the key, session settings
    assert len({one for one in seen if "tbl_item" in one}) <= shapes
    assert all("DELETE" not in one and "UNION" not in one for one in seen)
    assert sum(len(page) for page in await walk(adapter, "/items")) == TOTAL
