"""What an adapter does is the same over SQLite, PostgreSQL and MariaDB."""

from __future__ import annotations

import asyncio
import math
import time
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal
from urllib.parse import quote
from uuid import UUID

import orjson
import pytest
from sqlalchemy import text

from adapters.service import Adapter
from adapters.sources.failures import problem_of
from exchange.problems import Code, Problem
from tests.adapters.legacy import (
    BACKSLASH,
    ENUMERATION,
    INJECTION,
    TOTAL,
    Legacy,
    execute,
    get,
    items,
    rows,
    sealed,
    walk,
)

EXPECTED_FIRST = {
    "id": 1,
    "code": "P-001",
    "title": {"lo": "ໂຄງການທີ 1"},
    "amount": 1000.10,
    "rate": "1.000001",
    "start": "2024-02-02",
    "signed_on": "2024-02-06",
    "changed_at": "2025-01-01T01:30:00+07:00",
    "active": True,
    "status": "completed",
    "sector": "education",
}


async def one(adapter: Adapter, code: str) -> dict[str, object]:
    response = await get(adapter, f"/items/{quote(code, safe='')}")
    assert response.status == 200, response.body
    found: dict[str, object] = orjson.loads(response.body)
    return found


# Types.


async def test_a_row_becomes_the_record_of_the_mapping(adapter: Adapter) -> None:
    """Every type arrives as the mapping says, whatever the database's own types are."""
    assert await one(adapter, "P-001") == EXPECTED_FIRST


async def test_decimals_are_written_digit_by_digit(adapter: Adapter) -> None:
    """A decimal leaves with its scale and no digit more or less."""
    big = await get(adapter, "/items/big")
    assert b'"amount":1234567890123.45,' in big.body
    first = await get(adapter, "/items/P-001")
    assert b'"amount":1000.10,' in first.body
    negative = await get(adapter, f"/items/{quote(BACKSLASH, safe='')}")
    assert b'"amount":-0.01,' in negative.body


async def test_nulls_and_null_words_are_left_out_or_null(adapter: Adapter) -> None:
    """A null, and a word that the mapping calls null, is omitted, or null where it says so."""
    record = await one(adapter, INJECTION)
    assert record["active"] is None
    assert "note" not in record
    assert "start" not in record
    lao = await one(adapter, "ລາວ/1")
    assert "title" not in lao
    assert "rate" not in lao
    assert "start" not in lao


async def test_lao_text_is_untouched(adapter: Adapter) -> None:
    """Lao text, and signs beyond the basic plane, leave as they are stored."""
    assert (await one(adapter, BACKSLASH))["note"] == "ສະບາຍດີ 🇱🇦"


async def test_sums_stay_exact(adapter: Adapter) -> None:
    """A sum of decimals has the mapping's scale and is the exact sum."""
    found = {item["status"]: item for item in await items(adapter, "/totals?after=20")}
    for word in ENUMERATION:
        expected = [
            row["amount"] for row in rows() if row["status_word"] == word and row["id"] > 20
        ]
        assert f"{found[word]['amount']:.2f}" == f"{sum(expected):.2f}"
        assert found[word]["number"] == len(expected)


# Pages.


@pytest.mark.parametrize("path", ["/items", "/items/by-date", "/items?page_size=4"])
async def test_the_pages_together_are_all_rows_once(adapter: Adapter, path: str) -> None:
    """Walking by cursors gives each row exactly once, in the order of the list."""
    pages = await walk(adapter, path)
    codes = [item["code"] for page in pages for item in page]
    assert len(codes) == TOTAL
    assert set(codes) == {row["item_code"] for row in rows()}


async def test_mixed_directions_order_rows(adapter: Adapter) -> None:
    """An order may rise in one column and fall in another."""
    pages = await walk(adapter, "/items/by-date")
    keys = [(item["signed_on"], item.get("amount", 0)) for page in pages for item in page]
    assert [key[0] for key in keys] == sorted((key[0] for key in keys), reverse=True)
    for day in {key[0] for key in keys}:
        amounts = [amount for signed_on, amount in keys if signed_on == day]
        assert amounts == sorted(amounts)


async def test_a_walk_is_stable_under_inserts_and_deletes(own_legacy: Legacy) -> None:
    """Rows that come and go during a walk neither repeat nor hide the others."""
    adapter = own_legacy.adapter()
    first = orjson.loads((await get(adapter, "/items")).body)
    execute(own_legacy.url, "DELETE FROM tbl_item WHERE id IN (3, 10)")
    execute(own_legacy.url, "INSERT INTO tbl_item (id, item_code) VALUES (0, 'early')")
    execute(own_legacy.url, "INSERT INTO tbl_item (id, item_code) VALUES (900, 'late')")
    rest: list[str] = []
    cursor = first["next"]
    while cursor:
        page = orjson.loads((await get(adapter, f"/items?cursor={cursor}")).body)
        rest += [item["code"] for item in page["items"]]
        cursor = page["next"]
    assert rest == [row["item_code"] for row in rows()[10:]] + ["late"]
    await adapter.close()


FORGED = (
    *("x", "' OR 1=1 --", date(2024, 1, 1), 2**63 - 1, True, UUID(int=1), b"\x00\xff"),
    *(math.nan, math.inf, -math.inf, Decimal("NaN"), Decimal("Infinity")),
    *(Decimal("1E+20000"), Decimal("1E-20000"), timedelta(days=-1)),
    datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=23, minutes=59))),
)


async def test_a_cursor_of_before_a_column_changed_is_refused_or_harmless(adapter: Adapter) -> None:
    """A key of another type in a cursor is refused, or compared; the source is not blamed."""
    whole = (date(2024, 5, 5), Decimal("5000.00"), "P-010")
    keys: list[tuple[str, tuple[object, ...]]] = [("/items", (part,)) for part in FORGED]
    for place in range(len(whole)):
        parts = ((*whole[:place], part, *whole[place + 1 :]) for part in FORGED)
        keys += [("/items/by-date", key) for key in parts]
    for path, key in keys:
        response = await get(adapter, f"{path}?cursor={sealed(adapter, path, key)}")
        assert response.status in (200, 400), key


async def test_a_list_without_pages_is_refused_beyond_the_row_cap(legacy: Legacy) -> None:
    """A list that has no pages is never cut: beyond the cap it is a problem."""
    adapter = legacy.adapter(limits="max_rows: 20")
    with pytest.raises(Problem) as caught:
        await get(adapter, "/whole")
    assert caught.value.code is Code.RESPONSE_TOO_LARGE
    await adapter.close()


async def test_the_byte_cap_shortens_a_page(legacy: Legacy) -> None:
    """A page ends before the byte cap and the next one goes on from there."""
    adapter = legacy.adapter(limits="max_bytes: 1000")
    pages = await walk(adapter, "/items")
    assert max(len(page) for page in pages) < 10
    assert sum(len(page) for page in pages) == TOTAL
    with pytest.raises(Problem) as caught:
        await get(adapter, "/whole")
    assert caught.value.code is Code.RESPONSE_TOO_LARGE
    await adapter.close()


# Filters and fields.


@pytest.mark.parametrize(
    ("query", "wanted"),
    [
        ("code=P-007", lambda row: row["item_code"] == "P-007"),
        ("status=ongoing", lambda row: row["status_word"] in ("ONG", "ongoing ")),
        ("sector=health", lambda row: row["sector_no"] == 1),
        ("active=true", lambda row: row["is_active"] == 1),
        ("start=2024-02-02", lambda row: row["start_text"] == "02/02/2024"),
        ("signed_on=2024-03-07", lambda row: str(row["signed_on"]) == "2024-03-07"),
        ("signed_from=2024-11-01", lambda row: str(row["signed_on"]) >= "2024-11-01"),
        (
            "changed_until=2024-12-31T20:30:00Z",
            lambda row: row["changed_at"] and row["changed_at"].hour <= 3,
        ),
        ("least=50000.1", lambda row: float(row["amount"]) >= 50000.1),
        (
            "status=ongoing&sector=health&active=false",
            lambda row: (
                row["status_word"] != "CMP" and row["sector_no"] == 1 and row["is_active"] == 0
            ),
        ),
        (f"note={quote('ສະບາຍດີ 🇱🇦')}", lambda row: row["note"] == "ສະບາຍດີ 🇱🇦"),
    ],
)
async def test_a_filter_narrows_by_the_value_that_the_caller_sees(
    adapter: Adapter, query: str, wanted: object
) -> None:
    """Filters speak the words of the schema; the source is asked in its own."""
    assert callable(wanted)
    pages = await walk(adapter, f"/items?{query}")
    found = {item["code"] for page in pages for item in page}
    assert found == {row["item_code"] for row in rows() if wanted(row)}


async def test_a_parameter_that_is_not_given_is_null_in_the_query(adapter: Adapter) -> None:
    """An optional parameter is bound as a typed null."""
    every = sum(item["number"] for item in await items(adapter, "/totals"))
    some = sum(item["number"] for item in await items(adapter, "/totals?least=40000"))
    assert every == TOTAL
    assert some == len([row for row in rows() if row["amount"] >= 40000])


async def test_only_the_selected_fields_leave(adapter: Adapter) -> None:
    """``fields=`` picks members, of lists and of single records, pages included."""
    pages = await walk(adapter, "/items?fields=code,title")
    assert {frozenset(item) for page in pages for item in page} <= {
        frozenset({"code", "title"}),
        frozenset({"code"}),
    }
    assert sum(len(page) for page in pages) == TOTAL
    single = await get(adapter, "/items/P-001?fields=amount")
    assert single.body == b'{"amount":1000.10}'
    assert dict(single.headers)["content-type"] == "application/vnd.saphan.selection+json"


# Values are values.


@pytest.mark.parametrize("code", [INJECTION, BACKSLASH, "ລາວ/1"])
async def test_sql_in_a_parameter_is_only_a_value(adapter: Adapter, code: str) -> None:
    """Quotes, backslashes, placeholders and comments reach the database as a value."""
    assert (await one(adapter, code))["code"] == code
    found = await items(adapter, f"/items?code={quote(code, safe='')}")
    assert [item["code"] for item in found] == [code]


async def test_an_unknown_key_is_not_found(adapter: Adapter) -> None:
    """A key that names no record is a 404, also when it is SQL."""
    for code in ("none", "' OR 1=1 --", "%27", "P-001' --"):
        response = await get(adapter, f"/items/{quote(code, safe='')}")
        assert response.status == 404


# Limits.


async def test_a_slow_query_is_cut_by_the_database(legacy: Legacy) -> None:
    """A statement ends at its time limit, and the connection serves the next request."""
    adapter = legacy.adapter(limits="statement_timeout_s: 0.3")
    begun = time.monotonic()
    with pytest.raises(Problem) as caught:
        await get(adapter, "/slow")
    assert caught.value.code is Code.BACKEND_TIMEOUT
    assert caught.value.facts["source"] == legacy.kind
    assert time.monotonic() - begun < 8  # it would take a minute
    assert len(await items(adapter, "/items")) == 10
    await adapter.close()


async def test_the_deadline_of_the_request_cuts_too(legacy: Legacy) -> None:
    """The caller's deadline is kept, and the statement does not run on behind it."""
    adapter = legacy.adapter(limits="{max_connections: 1}".strip("{}"))
    begun = time.monotonic()
    with pytest.raises(Problem) as caught:
        await get(adapter, "/slow", timeout_s=0.3)
    assert caught.value.code is Code.BACKEND_TIMEOUT
    # There is one connection, so this one waits for the end of the statement that was cut.
    assert len(await items(adapter, "/items")) == 10
    assert time.monotonic() - begun < 8
    await adapter.close()


async def test_a_shortened_limit_does_not_stay(legacy: Legacy) -> None:
    """A short deadline shortens one request, not the next on the same connection."""
    adapter = legacy.adapter(limits="max_connections: 1")
    with pytest.raises(Problem):
        await get(adapter, "/slow", timeout_s=0.2)
    request = asyncio.create_task(get(adapter, "/slow", timeout_s=1.0))
    begun = time.monotonic()
    with pytest.raises(Problem) as caught:
        await request
    assert caught.value.code is Code.BACKEND_TIMEOUT
    assert time.monotonic() - begun > 0.8
    await adapter.close()


async def test_the_session_cannot_write(own_legacy: Legacy) -> None:
    """Even a statement that writes, past every check of its text, changes nothing."""
    adapter = own_legacy.adapter()
    for statement in (
        "UPDATE tbl_item SET amount = 0",
        "DELETE FROM tbl_item",
        "INSERT INTO tbl_item (id, item_code) VALUES (999, 'x')",
        "CREATE TABLE other (id INTEGER)",
        "DROP TABLE tbl_item",
    ):
        with pytest.raises(Problem) as caught:
            await adapter._source.run(
                lambda connection, statement=statement: connection.execute(text(statement)),
                timeout_s=10,
            )
        assert caught.value.code is Code.SOURCE_FAILED
    assert sum(len(page) for page in await walk(adapter, "/items")) == TOTAL
    await adapter.close()


# A source that goes and comes.


async def test_a_source_that_is_down_fails_the_request_and_not_the_adapter(
    own_legacy: Legacy,
) -> None:
    """Down at the start, up, down again, up again: only requests fail, and only while it is."""
    adapter = own_legacy.adapter(limits="connect_timeout_s: 1")
    down(own_legacy)
    try:
        await fails(adapter)
        up(own_legacy)
        assert len(await items(adapter, "/items")) == 10
        down(own_legacy)
        await fails(adapter)
    finally:
        up(own_legacy)
    assert len(await items(adapter, "/items")) == 10
    await adapter.close()


async def test_a_restart_between_two_requests_is_not_noticed(own_legacy: Legacy) -> None:
    """Pooled connections that the restart broke are replaced before they are used."""
    adapter = own_legacy.adapter()
    await asyncio.gather(*(items(adapter, "/items") for _ in range(6)))
    down(own_legacy)
    up(own_legacy)
    for answer in await asyncio.gather(*(items(adapter, "/items") for _ in range(6))):
        assert len(answer) == 10
    await adapter.close()


async def fails(adapter: Adapter) -> None:
    with pytest.raises(Problem) as caught:
        await get(adapter, "/items", timeout_s=5)
    assert caught.value.code is Code.SOURCE_FAILED
    assert caught.value.retryable


def down(legacy: Legacy) -> None:
    if legacy.server is not None:
        legacy.server.stop()
    else:
        path = sqlite_path(legacy)
        path.rename(path.with_suffix(".away"))


def up(legacy: Legacy) -> None:
    if legacy.server is not None:
        legacy.server.start()
    else:
        path = sqlite_path(legacy)
        if path.with_suffix(".away").exists():
            path.with_suffix(".away").rename(path)


def sqlite_path(legacy: Legacy):  # type: ignore[no-untyped-def]
    from pathlib import Path

    return Path(legacy.url.removeprefix("sqlite:///"))


async def test_a_wrong_query_is_not_worth_a_retry(legacy: Legacy) -> None:
    """A query that does not fit the database is the provider's to mend, and says no values."""
    adapter = legacy.adapter()
    with pytest.raises(Problem) as caught:
        await adapter._source.run(
            lambda connection: connection.execute(text("SELECT nothing FROM tbl_item")),
            timeout_s=10,
        )
    assert caught.value.code is Code.SOURCE_FAILED
    assert "nothing" not in caught.value.detail
    assert problem_of(ValueError("x"), "sqlite").code is Code.SOURCE_FAILED
    await adapter.close()
