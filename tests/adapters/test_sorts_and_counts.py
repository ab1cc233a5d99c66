"""Other orders of a list, and how many records it has, on real databases."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import schemas
from adapters import check_rows, openapi
from adapters.answers.counts import TOTAL_HEADER, total
from adapters.answers.orders import Key, Nulls
from adapters.answers.requests import plan
from adapters.answers.statements import Statement, check_select
from adapters.check import against_source, checking_source
from adapters.mapping.file import parse_mapping
from adapters.service import Adapter
from adapters.sources.source import Source
from exchange.contracts.contract import Contract
from exchange.problems import Code, Problem
from tests.adapters.legacy import (
    INJECTION,
    MAPPING,
    TOTAL,
    Legacy,
    execute,
    get,
    items,
    rows,
    sealed,
    walk,
)

SORTS = """        sorts:
          amount: [amount desc]
          noted: [note nulls first, changed_at desc]
          changed: [changed_at desc]
          code: [item_code never null]
        count: exact
        filters:
"""
SORTED = MAPPING.replace("        filters:\n", SORTS, 1)
_BY = {
    "amount": [("amount", True, Nulls.LAST), ("id", False, Nulls.NEVER)],
    "changed": [("changed_at", True, Nulls.LAST), ("id", False, Nulls.NEVER)],
    "noted": [
        ("note", False, Nulls.FIRST),
        ("changed_at", True, Nulls.LAST),
        ("id", False, Nulls.NEVER),
    ],
}


@pytest.fixture
async def sorted_items(legacy: Legacy) -> AsyncIterator[Adapter]:
    adapter = legacy.adapter(SORTED)
    yield adapter
    await adapter.close()


def expected(name: str) -> list[int]:
    """The slow, obvious way: sort by each key, the last one first."""
    found = rows()
    for index, row in enumerate(found):
        row.setdefault("id", index)
    turned = name.startswith("-")
    for column, descending, nulls in reversed(_BY[name.removeprefix("-")]):
        some = [row for row in found if row[column] is not None]
        none = [row for row in found if row[column] is None]
        some.sort(key=lambda row: row[column], reverse=descending != turned)
        found = none + some if nulls is Nulls.FIRST else some + none
    return [row["id"] for row in found]


@pytest.mark.parametrize("name", [sign + name for name in _BY for sign in ("", "-")])
async def test_every_database_walks_the_same_order(sorted_items: Adapter, name: str) -> None:
    """A sort gives every record once, page by page, with its nulls where the mapping puts them."""
    pages = await walk(sorted_items, f"/items?sort={name}&page_size=4")
    assert [item["id"] for page in pages for item in page] == expected(name)


async def test_a_sort_without_nulls_and_a_filter_go_together(sorted_items: Adapter) -> None:
    """Sorting narrows nothing and filters keep narrowing, in every page."""
    codes = [row["item_code"] for row in rows() if row["sector_no"] == 1]
    pages = await walk(sorted_items, "/items?sort=code&sector=health&page_size=3&fields=code")
    found = [item["code"] for page in pages for item in page]
    assert sorted(found) == sorted(codes)


async def test_a_cursor_belongs_to_its_sort(sorted_items: Adapter) -> None:
    """The cursor of one order is none of another."""
    first = orjson.loads((await get(sorted_items, "/items?sort=amount")).body)["next"]
    for other in ("", "&sort=-amount", "&sort=changed"):
        response = await get(sorted_items, f"/items?cursor={first}{other}")
        assert response.status == 400
        assert orjson.loads(response.body)["where"] == "query.cursor"


@pytest.mark.parametrize("name", ["", "id", "amount desc", "--amount", INJECTION, "note;DROP"])
async def test_only_named_sorts_are_known(sorted_items: Adapter, name: str) -> None:
    """What a caller sends is compared with names and never becomes SQL."""
    response = await get(sorted_items, f"/items?sort={quote(name, safe='')}")
    assert response.status == 400
    assert orjson.loads(response.body)["where"] == "query.sort"


async def test_a_page_goes_on_after_a_null(sorted_items: Adapter) -> None:
    """Where nulls may be; a cursor of the order in which they may not is another's."""
    cursor = sealed(sorted_items, "/items", (None, 5), {0}, sort="amount")
    assert (await get(sorted_items, f"/items?sort=amount&cursor={cursor}")).status == 200
    assert (await get(sorted_items, f"/items?cursor={cursor}")).status == 400


# Counts.


def told(response: Any) -> str | None:
    return dict(response.headers).get(TOTAL_HEADER)


async def test_an_exact_count_is_that_of_the_whole_list(sorted_items: Adapter) -> None:
    """Of all pages, under the request's filters; only when it is asked for."""
    response = await get(sorted_items, "/items?count=true&page_size=3")
    assert told(response) == f"{TOTAL};exact"
    cursor = orjson.loads(response.body)["next"]
    again = await get(sorted_items, f"/items?count=true&page_size=3&cursor={cursor}")
    assert told(again) == f"{TOTAL};exact"
    narrowed = await get(sorted_items, "/items?count=true&sector=health&sort=noted")
    assert told(narrowed) == f"{len([r for r in rows() if r['sector_no'] == 1])};exact"
    assert told(await get(sorted_items, "/items?count=false")) is None
    assert told(await get(sorted_items, "/items")) is None
    injected = await get(sorted_items, f"/items?count=true&code={quote(INJECTION, safe='')}")
    assert told(injected) == "1;exact"
    for text in ("1", "TRUE", "true;DROP TABLE x", ""):
        assert (await get(sorted_items, f"/items?count={quote(text)}")).status == 400


async def test_a_list_that_does_not_count_refuses_to(sorted_items: Adapter) -> None:
    """``count`` and ``sort`` are parameters only where the mapping says so."""
    assert (await get(sorted_items, "/items/by-date?count=true")).status == 400
    assert (await get(sorted_items, "/items/by-date?sort=amount")).status == 400


async def test_a_count_that_takes_too_long_is_a_clear_problem(legacy: Legacy) -> None:
    """The database cuts the count; the problem says what to leave out."""
    slow = MAPPING.replace("        query: slow\n", "        query: slow\n        count: exact\n")
    adapter = legacy.adapter(slow, limits="statement_timeout_s: 0.3")
    service = adapter.service
    asked = plan(next(one for one in service.endpoints if one.path == "/slow"), {}, "count=true")
    with pytest.raises(Problem) as caught:
        await adapter._source.run(lambda connection: total(connection, asked), timeout_s=20)
    assert caught.value.code is Code.BACKEND_TIMEOUT
    assert caught.value.where == "query.count"
    assert "without count=true" in caught.value.detail
    await adapter.close()


async def test_a_kept_answer_keeps_its_count(legacy: Legacy) -> None:
    """An answer from the cache tells the same number; one that was not asked tells none."""
    adapter = legacy.adapter(
        SORTED.replace("        count: exact", "        count: exact\n        cache_s: 60")
    )
    for _ in range(2):
        assert told(await get(adapter, "/items?count=true")) == f"{TOTAL};exact"
        assert told(await get(adapter, "/items")) is None
    await adapter.close()


async def test_an_estimate_comes_from_the_database_s_statistics(own_legacy: Legacy) -> None:
    """It says that it is one; SQLite has one for whole tables only, after ANALYZE."""
    mapping = SORTED.replace("count: exact", "count: estimated")
    adapter = own_legacy.adapter(mapping)
    if own_legacy.kind == "sqlite":
        assert told(await get(adapter, "/items?count=true")) is None
    execute(own_legacy.url, "ANALYZE TABLE tbl_item" if own_legacy.kind == "mariadb" else "ANALYZE")
    await adapter.close()
    adapter = own_legacy.adapter(mapping)
    number, _, label = str(told(await get(adapter, "/items?count=true"))).partition(";")
    assert label == "estimated"
    assert abs(int(number) - TOTAL) <= 5
    narrowed = told(await get(adapter, f"/items?count=true&code={quote(INJECTION, safe='')}"))
    if own_legacy.kind == "sqlite":
        assert narrowed is None
    else:
        assert narrowed is not None
        assert int(narrowed.partition(";")[0]) <= TOTAL
    assert len(await items(adapter, "/items")) == 10
    await adapter.close()


# Documents and checks.


def test_sorts_and_counts_are_in_the_document() -> None:
    """The contract knows what may be asked, and the header of the answer."""
    mapping = parse_mapping(SORTED.format(limits="max_rows: 10").encode())
    document = openapi.document(mapping)
    operation = orjson.loads(document)["paths"]["/items"]["get"]
    parameters = {one["name"]: one["schema"] for one in operation["parameters"]}
    assert parameters["sort"]["enum"][:3] == ["amount", "-amount", "noted"]
    assert parameters["count"]["type"] == "boolean"
    assert TOTAL_HEADER in operation["responses"]["200"]["headers"]
    contract = Contract.compile(document, schemas.load_all())
    asked = next(one for one in contract.operations if one.template == "/items")
    asked.check_request("/items", "sort=-amount&count=true", (), b"")
    with pytest.raises(Problem):
        asked.check_request("/items", "sort=id", (), b"")


@pytest.mark.parametrize(
    ("sorts", "words"),
    [
        ("{a: [amount desc desc]}", "form"),
        ("{a: [amount, amount desc]}", "twice"),
        ("{a: []}", "at least one"),
        ("{A: [amount]}", "name of a parameter"),
        ("{a: [amount; DROP TABLE x]}", "form"),
        ("{a: [amount null]}", "form"),
    ],
)
def test_a_sort_is_columns_and_nothing_else(sorts: str, words: str) -> None:
    """Faults of a mapping are found when it is read."""
    text = MAPPING.format(limits="max_rows: 10").replace(
        "        filters:\n", f"        sorts: {sorts}\n        filters:\n", 1
    )
    with pytest.raises(Problem) as caught:
        parse_mapping(text.encode())
    assert caught.value.code is Code.INVALID_MAPPING
    assert words in caught.value.detail


def test_a_sort_needs_an_order_that_tells_rows_apart() -> None:
    """Without an order there are no pages to sort; a sort goes on with the order's keys."""
    mapping = parse_mapping(SORTED.format(limits="max_rows: 10").encode())
    endpoint = mapping.services["items"].endpoints[0]
    assert endpoint.sorts["noted"] == (
        Key("note", nulls=Nulls.FIRST),
        Key("changed_at", descending=True, nulls=Nulls.LAST),
        Key("id"),
    )
    text = MAPPING.format(limits="max_rows: 10").replace(
        "        order: [id]\n        page_size: 10\n", "        sorts: {a: [id]}\n", 1
    )
    with pytest.raises(Problem, match="order"):
        parse_mapping(text.encode())


async def test_check_runs_every_sort_and_count(legacy: Legacy) -> None:
    """A sort by a column that is not there is found before anybody asks for it."""
    broken = SORTED.replace("changed: [changed_at desc]", "changed: [changd_at desc]")
    for text, faults in ((SORTED, 0), (broken, 1)):
        mapping = parse_mapping(text.format(limits="max_rows: 10").encode())
        service = mapping.services["items"]
        endpoints = tuple(one for one in service.endpoints if one.path == "/items")
        mapping = replace(mapping, services={"items": replace(service, endpoints=endpoints)})
        source = checking_source(
            mapping, lambda one: Source(one.source, {"LEGACY_URL": legacy.url}, Path())
        ).lease()
        findings = [one for one in await against_source(mapping, source, {}) if not one.warning]
        await source.close()
        assert len(findings) == faults
        assert all("sort=changed" in one.rule for one in findings)


async def test_check_finds_nulls_that_are_said_never_to_be(legacy: Legacy) -> None:
    """Rows that a page would skip are told by the check of rows."""
    text = SORTED.replace("code: [item_code never null]", "code: [rate never null]")
    mapping = parse_mapping(text.format(limits="max_rows: 10").encode())
    service = mapping.services["items"]
    endpoints = tuple(one for one in service.endpoints if one.path == "/items")
    mapping = replace(mapping, services={"items": replace(service, endpoints=endpoints)})
    source = checking_source(
        mapping, lambda one: Source(one.source, {"LEGACY_URL": legacy.url}, Path())
    ).lease()
    findings = await check_rows.rows(mapping, source, schemas.load_all(), {})
    await source.close()
    assert [one.rule for one in findings if "rate of a sort" in one.rule] != []
    assert not any("amount of a sort" in one.rule for one in findings)


KEYS = st.lists(
    st.tuples(
        st.sampled_from(["a", "b", "c"]), st.booleans(), st.sampled_from([Nulls.FIRST, Nulls.LAST])
    ),
    max_size=3,
    unique_by=lambda key: key[0],
)
ROWS = st.lists(st.tuples(*[st.one_of(st.none(), st.integers(0, 2))] * 3), max_size=12)


@settings(max_examples=60, deadline=None)
@given(KEYS, ROWS, st.integers(1, 4))
def test_pages_of_any_order_are_the_whole_order(
    keys: list[tuple[str, bool, Nulls]], values: list[tuple[int | None, ...]], size: int
) -> None:
    """Whatever keys, directions and nulls: pages one after another give each row once, in order."""
    order = [Key(*key) for key in keys] + [Key("id")]
    database = sqlite3.connect(":memory:")
    database.execute("CREATE TABLE t (id INTEGER, a, b, c)")
    database.executemany(
        "INSERT INTO t VALUES (?, ?, ?, ?)", [(n, *row) for n, row in enumerate(values)]
    )
    select = check_select("SELECT * FROM t")
    columns = [key.column for key in order]
    whole = database.execute(
        Statement(select, columns, (), order).write(), {"saphan_limit": 100}
    ).fetchall()
    paged: list[tuple[Any, ...]] = []
    while len(paged) < len(values):
        last = paged[-1] if paged else ()
        nulls = [n for n, value in enumerate(last) if value is None]
        bound = {f"saphan_key_{n}": value for n, value in enumerate(last) if value is not None}
        statement = Statement(select, columns, (), order, bool(paged), nulls).write()
        page = database.execute(statement, bound | {"saphan_limit": size}).fetchall()
        assert page
        paged += page
    assert paged == whole
    database.close()
