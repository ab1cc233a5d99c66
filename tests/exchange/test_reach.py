"""Rules of exchange.reach: what of a grant its service's contract knows."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from exchange.agreements import Endpoint, Grant, Projection
from exchange.contracts.reach import idle_parts
from exchange.identifiers import ServiceId

SERVICE = ServiceId.parse("LA/GOV/MPI/oda-mis/projects")
SHARED_ID = "https://schemas.example.la/project/1"
SHARED = {
    SHARED_ID: orjson.dumps(
        {
            "$id": SHARED_ID,
            "type": "object",
            "properties": {
                "code": {"type": "string"},
                "children": {"type": "array", "items": {"$ref": "#"}},
                "free": {},
                "by_province": {"type": "object", "additionalProperties": {"type": "integer"}},
                "title": {"anyOf": [{"type": "null"}, {"properties": {"lo": {"type": "string"}}}]},
            },
        }
    )
}


def document(schema: Any) -> bytes:
    answer = {"content": {"application/json": {"schema": schema}}}
    wrong = {"content": {"application/json": {"schema": {"properties": {"error": {}}}}}}
    operation = {"responses": {"200": answer, "404": wrong}}
    return orjson.dumps({"openapi": "3.1.0", "paths": {"/projects": {"get": operation}}})


PAGE = document({"type": "object", "properties": {"items": {"items": {"$ref": SHARED_ID}}}})


def idle(*fields: str, method: str = "GET", path: str = "/projects", of: bytes = PAGE) -> list[str]:
    grant = Grant(SERVICE, (Endpoint(method, path),), Projection.compile(fields))
    return idle_parts(grant, of, SHARED)


@pytest.mark.parametrize(
    "field",
    [
        "*",
        "/items",
        "/items/*",
        "/items/*/code",
        "/items/*/children/*/children/*/code",
        "/items/*/free/anything/*/at",
        "/items/*/by_province/VTE",
        "/items/*/title/lo",
    ],
)
def test_a_field_that_an_answer_can_hold_is_not_idle(field: str) -> None:
    """Through references, arrays, alternatives and what the schema leaves open."""
    assert idle(field) == []


@pytest.mark.parametrize(
    "field",
    [
        "/item",
        "/code",
        "/items/code",
        "/items/*/cod",
        "/items/*/code/x",
        "/items/*/by_province/VTE/x",
        "/items/*/title/en",
        "/error",
    ],
)
def test_a_field_that_no_answer_can_hold_is_told(field: str) -> None:
    """A slip of the pen, a missing star, a field of errors only."""
    assert idle("/items", field) == [
        f"no answer of the granted endpoints can hold the field {field}"
    ]


def test_an_endpoint_that_the_contract_lacks_is_told() -> None:
    """Method and template are compared as they are written; HEAD is where GET is."""
    assert idle("*", method="HEAD") == []
    for method, path in (("POST", "/projects"), ("GET", "/project"), ("GET", "/projects/{id}")):
        assert idle("/x", method=method, path=path) == [
            f"the contract has no endpoint {method} {path}"
        ]


@pytest.mark.parametrize("schema", [True, {}, {"type": "object"}, {"not": {"type": "null"}}])
def test_what_a_schema_leaves_open_may_be_there(schema: Any) -> None:
    """A warning that may be false is not given."""
    assert idle("/anything/*/x", of=document(schema)) == []


def test_schemas_that_refer_to_themselves_come_to_an_end() -> None:
    """Every schema is asked once at each depth."""
    web = {"properties": {name: {"$ref": f"{SHARED_ID}#/properties/children"} for name in "ab"}}
    assert len(idle("/a" + "/*/children" * 7 + "/no", of=document(web))) == 1
