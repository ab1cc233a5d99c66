"""The generated document is a contract that the mediator compiles and the adapter keeps."""

from __future__ import annotations

import orjson
import pytest

import schemas
from adapters import openapi
from adapters.mapping.file import parse_mapping
from adapters.service import Adapter
from console.reference_world import MAPPINGS
from exchange.contracts.contract import Contract
from exchange.problems import Code, Problem
from tests.adapters.legacy import MAPPING, Legacy, get

PARSED = parse_mapping(MAPPING.format(limits="max_connections: 1").encode(), "legacy.yaml")
SHARED = schemas.load_all()


def test_the_document_is_the_same_bytes_each_time() -> None:
    """Generating again gives the same bytes, so a registration can be compared."""
    assert openapi.document(PARSED, "items", SHARED) == openapi.document(PARSED, "items", SHARED)


def test_a_shared_schema_is_referred_to_by_its_identifier() -> None:
    """Nothing of a shared schema is copied; an unknown one is refused."""
    mapping = parse_mapping((MAPPINGS / "oda-mis.yaml").read_bytes(), "oda-mis.yaml")
    document = orjson.loads(openapi.document(mapping, "projects", SHARED))
    components = document["components"]["schemas"]
    assert components["project"] == {"$ref": "https://schemas.saphan.la/aid-project/1"}
    selected = components["project.selection"]["properties"]
    assert selected["status"] == {
        "$ref": "https://schemas.saphan.la/aid-project/1#/properties/status"
    }
    # A member of it alone can be asked for, and the shared schema requires both.
    assert selected["title"]["properties"].keys() == {"lo", "en"}
    assert "required" not in selected["title"]
    with pytest.raises(Problem) as caught:
        openapi.document(mapping, "projects", {})
    assert caught.value.code is Code.INVALID_MAPPING


def test_texts_are_in_english_and_lao() -> None:
    """Titles and summaries stand in both languages."""
    document = orjson.loads(openapi.document(PARSED, "items", SHARED))
    assert document["info"]["x-title-lo"] == "ລາຍການ"
    operation = document["paths"]["/items"]["get"]
    assert operation["x-summary-lo"] == "ລາຍການທັງໝົດ"
    assert operation["x-saphan-strict-query"] is True


def test_one_parameter_selects_fields() -> None:
    """``fields`` is marked, so that an agreement can judge it."""
    contract = Contract.compile(openapi.document(PARSED, "items", SHARED), SHARED)
    assert {operation.selects for operation in contract.operations} == {"fields"}
    assert [path for _, path in contract.endpoints()] == [
        endpoint.path for endpoint in PARSED.services["items"].endpoints
    ]


TARGETS = [
    "/items",
    "/items?page_size=3",
    "/items?fields=code,title",
    "/items?status=ongoing&active=true&sector=health",
    "/items?signed_from=2024-01-01&changed_until=2025-01-01T00:00:00Z&least=10.5",
    "/items/by-date",
    "/items/P-001",
    "/items/P-001?fields=amount",
    "/items/none",
    "/whole",
    "/totals",
    "/totals?least=1000&after=5",
]


@pytest.mark.parametrize("target", TARGETS)
async def test_requests_and_answers_satisfy_the_document(
    adapter: Adapter, legacy: Legacy, target: str
) -> None:
    """What the adapter accepts the contract accepts, and what it answers the contract lets pass."""
    contract = Contract.compile(openapi.document(adapter.mapping, "items", SHARED), SHARED)
    path, _, query = target.partition("?")
    match = contract.find("GET", path)
    match.operation.check_request(match, query, (), b"")
    response = await get(adapter, target)
    value = match.operation.check_response(response.status, response.headers, response.body)
    assert value == orjson.loads(response.body)


@pytest.mark.parametrize(
    "target",
    [
        "/items?unknown=1",
        "/items?code=1&code=2",
        "/items?status=ONG",
        "/items?active=1",
        "/items?fields=other",
        "/items?page_size=11",
        "/whole?cursor=x",
        "/totals?after=-1",
        "/totals?after=x",
    ],
)
async def test_the_document_refuses_what_the_adapter_refuses(target: str) -> None:
    """Faults are found by the contract before they reach the adapter."""
    contract = Contract.compile(openapi.document(PARSED, "items", SHARED), SHARED)
    path, _, query = target.partition("?")
    match = contract.find("GET", path)
    with pytest.raises(Problem) as caught:
        match.operation.check_request(match, query, (), b"")
    assert caught.value.code is Code.SCHEMA_VIOLATION
