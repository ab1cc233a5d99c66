"""Row conditions of agreements: an adapter answers as if there were no other records."""

from __future__ import annotations

from urllib.parse import quote

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from adapters.service import Adapter
from exchange.agreements import ROWS_HEADER, RowCondition, rows_header
from serving.backends import BackendRequest, BackendResponse
from tests.adapters.legacy import BACKSLASH, INJECTION, TOTAL, rows


async def ask(
    adapter: Adapter, target: str, *conditions: RowCondition, header: str = ""
) -> BackendResponse[bytes]:
    path, _, query = target.partition("?")
    text = header or rows_header(conditions)
    fields = ((ROWS_HEADER, text),)
    return await adapter.exchange(BackendRequest("GET", path, query, fields, b""), timeout_s=10)


async def codes(adapter: Adapter, target: str, *conditions: RowCondition) -> list[str]:
    """The codes of all pages."""
    found: list[str] = []
    cursor = ""
    while True:
        joined = f"{target}{'&' if '?' in target else '?'}cursor={cursor}" if cursor else target
        response = await ask(adapter, joined, *conditions)
        assert response.status == 200, response.body
        page = orjson.loads(response.body)
        found += [item["code"] for item in page["items"]]
        cursor = quote(page.get("next") or "", safe="")
        if not cursor:
            return found


HEALTH = RowCondition("sector", ("health",))
ACTIVE = RowCondition("active", ("true",))


async def test_lists_pages_and_single_records_are_narrowed(adapter: Adapter) -> None:
    """Conditions speak the words of the schema, all must be met, and a filter narrows further; a
    record that is not opened is not there."""
    health = {row["item_code"] for row in rows() if row["sector_no"] == 1}
    both = {row["item_code"] for row in rows() if row["sector_no"] == 1 and row["is_active"] == 1}
    assert 0 < len(both) < len(health) < TOTAL
    assert set(await codes(adapter, "/items", HEALTH)) == health
    assert set(await codes(adapter, "/items/by-date", HEALTH)) == health
    assert set(await codes(adapter, "/items", HEALTH, ACTIVE)) == both
    assert set(await codes(adapter, "/items?active=true", HEALTH)) == both
    assert await codes(adapter, "/items?sector=education", HEALTH) == []
    wider = RowCondition("sector", ("health", "education"))
    some = {row["item_code"] for row in rows() if row["sector_no"] in (1, 2)}
    assert set(await codes(adapter, "/items", wider)) == some
    for row in rows():
        response = await ask(adapter, f"/items/{quote(row['item_code'], safe='')}", HEALTH)
        assert response.status == (200 if row["item_code"] in health else 404)


@pytest.mark.parametrize(
    ("target", "condition"),
    [
        ("/items", RowCondition("nothing", ("x",))),
        ("/totals", HEALTH),
        ("/items", RowCondition("sector", ("no such sector",))),
        ("/items", RowCondition("start", ("not a day",))),
    ],
)
async def test_a_condition_that_cannot_be_applied_shows_nothing(
    adapter: Adapter, target: str, condition: RowCondition
) -> None:
    """A field that the record has not, or a value that it cannot have: no record, and who wrote the
    agreement is told where."""
    response = await ask(adapter, target, condition)
    assert response.status == 503
    assert condition.field in orjson.loads(response.body)["where"]


async def test_a_header_that_is_not_understood_shows_nothing(adapter: Adapter) -> None:
    """Whoever sent it."""
    assert (await ask(adapter, "/items", header="{}")).status == 400
    assert (await ask(adapter, "/items", header="sector=health")).status == 400


HOSTILE = st.one_of(
    st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=40),
    st.sampled_from([INJECTION, BACKSLASH, "' OR ''='", "1); DROP TABLE tbl_item; --", "%", "_"]),
)


@settings(
    max_examples=40,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(st.lists(HOSTILE, min_size=1, max_size=4, unique=True))
async def test_values_never_change_the_statement(adapter: Adapter, values: list[str]) -> None:
    """Only records whose code is among the values come, whatever these are."""
    found = await codes(adapter, "/items", RowCondition("code", tuple(values)))
    asked = {value.casefold().rstrip() for value in values}  # MariaDB compares like this
    assert {code.casefold().rstrip() for code in found} <= asked
