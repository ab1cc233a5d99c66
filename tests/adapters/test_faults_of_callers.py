"""What a caller gets wrong is answered with its own status and place, and asks nothing of the
source.
"""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.answers.requests import Fault, find, plan
from adapters.mapping.file import parse_mapping
from adapters.service import Adapter
from adapters.sources.source import Source
from exchange.problems import Code, Problem
from serving.backends import BackendRequest
from tests.adapters.legacy import MAPPING

PARSED = parse_mapping(MAPPING.format(limits="max_connections: 1").encode(), "legacy.yaml")
SERVICE = PARSED.services["items"]


def nowhere() -> Adapter:
    """An adapter whose source does not exist: only faults of the caller can be answered."""
    return Adapter(PARSED, Source(PARSED.source, {"LEGACY_URL": "sqlite:////nowhere/x"}, Path()))


@pytest.mark.parametrize(
    ("target", "status", "where"),
    [
        ("", 404, "path"),
        ("/", 404, "path"),
        ("/other", 404, "path"),
        ("/items/", 404, "path"),
        ("/items/a/b", 404, "path"),
        ("/items/%zz", 400, "path"),
        ("/items/%ff", 400, "path"),
        ("/items/%00", 400, "path.code"),
        ("/items/" + "x" * 401, 400, "path.code"),
        ("/items?unknown=1", 400, "query.unknown"),
        ("/items?code=1&code=2", 400, "query.code"),
        ("/items?code=%00", 400, "query.code"),
        ("/items?code=%ff", 400, "query"),
        ("/items?code=%zz", 400, "query"),
        ("/items?code", 400, "query"),
        ("/items?code=" + "x" * 9000, 400, "query"),
        ("/items?status=ONG", 400, "query.status"),
        ("/items?sector=1", 400, "query.sector"),
        ("/items?active=1", 400, "query.active"),
        ("/items?start=02/02/2024", 400, "query.start"),
        ("/items?signed_from=x", 400, "query.signed_from"),
        ("/items?changed_until=2024-01-01T00:00:00", 400, "query.changed_until"),
        ("/items?least=1e3", 400, "query.least"),
        ("/items?fields=", 400, "query.fields"),
        ("/items?fields=code,other", 400, "query.fields"),
        ("/items?fields=code,code", 400, "query.fields"),
        ("/items?fields=title.th", 400, "query.fields"),
        ("/items?page_size=0", 400, "query.page_size"),
        ("/items?page_size=11", 400, "query.page_size"),
        ("/items?page_size=1_0", 400, "query.page_size"),
        ("/items?cursor=", 400, "query.cursor"),
        ("/items?cursor=AAAA", 400, "query.cursor"),
        ("/whole?cursor=AAAA", 400, "query.cursor"),
        ("/whole?page_size=1", 400, "query.page_size"),
        ("/totals?after=-1", 400, "query.after"),
        ("/totals?after=1001", 400, "query.after"),
        ("/totals?after=x", 400, "query.after"),
    ],
)
async def test_a_fault_is_answered_with_its_place(target: str, status: int, where: str) -> None:
    """400 or 404, RFC 9457 problem details, the place of the fault."""
    adapter = nowhere()
    path, _, query = target.partition("?")
    response = await adapter.exchange(BackendRequest("GET", path, query, (), b""), timeout_s=60)
    body = orjson.loads(response.body)
    assert (response.status, body["where"]) == (status, where)
    assert dict(response.headers)["content-type"] == "application/problem+json"
    await adapter.close()


async def test_only_reading_is_answered() -> None:
    """Another method is a 405 that names those there are; a body is refused."""
    adapter = nowhere()
    response = await adapter.exchange(BackendRequest("POST", "/items", "", (), b"{}"), timeout_s=60)
    assert response.status == 405
    assert ("allow", "GET, HEAD") in response.headers
    response = await adapter.exchange(BackendRequest("GET", "/items", "", (), b"{}"), timeout_s=60)
    assert response.status == 400
    await adapter.close()


async def test_head_is_get_without_its_body() -> None:
    """HEAD has the status and headers of GET."""
    adapter = nowhere()
    response = await adapter.exchange(BackendRequest("HEAD", "/none", "", (), b""), timeout_s=60)
    assert (response.status, response.body) == (404, b"")
    await adapter.close()


async def test_closing_is_idempotent_and_final() -> None:
    """A closed adapter answers nothing more."""
    adapter = nowhere()
    await adapter.close()
    await adapter.close()
    with pytest.raises(Problem) as caught:
        await adapter.exchange(BackendRequest("GET", "/items", "", (), b""), timeout_s=60)
    assert caught.value.code is Code.SOURCE_FAILED


@given(st.text(max_size=60), st.text(max_size=120))
def test_no_path_and_query_fail_otherwise(path: str, query: str) -> None:
    """Whatever a caller sends, it is a plan or a fault; values never enter the statement."""
    try:
        endpoint, variables = find(SERVICE, path)
        found = plan(endpoint, variables, query)
    except Fault:
        return
    assert "saphan_q" in found.statement


@given(
    st.sampled_from(["code", "note", "status", "sector", "start", "least", "fields", "cursor"]),
    st.text(max_size=40),
)
def test_the_statement_is_the_same_whatever_the_value(name: str, value: str) -> None:
    """Two values of one filter give one statement: the value is only bound."""
    from urllib.parse import urlencode

    endpoint, variables = find(SERVICE, "/items")
    try:
        found = plan(endpoint, variables, urlencode({name: value}))
    except Fault:
        return
    if name in ("code", "note"):
        other = plan(endpoint, variables, urlencode({name: "another"}))
        assert found.statement == other.statement
        assert list(found.values.values()) == [value]


def test_a_literal_path_wins_over_a_variable() -> None:
    """``/items/by-date`` is the list by date, not the item of that code."""
    endpoint, variables = find(SERVICE, "/items/by-date")
    assert endpoint.path == "/items/by-date"
    assert variables == {}
