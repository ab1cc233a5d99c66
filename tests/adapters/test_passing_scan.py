"""A scan of an HTTP API: its OpenAPI document becomes a mapping that passes it through."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

import schemas
from adapters import kinds
from adapters.mapping.reader import parse
from adapters.passing.kind import read
from adapters.passing.schemas import modern
from adapters.scan.scanned import Look
from exchange.contracts.contract import Contract
from exchange.identifiers import ApplicationId
from exchange.problems import Code, Problem

PERMIT: dict[str, Any] = {
    "type": "object",
    "required": ["no"],
    "properties": {
        "no": {"type": "string", "nullable": True},
        "owner": {"$ref": "#/components/schemas/Owner"},
        "price": {"type": "number", "minimum": 0, "exclusiveMinimum": True},
    },
}


def answer(schema: Mapping[str, Any]) -> dict[str, Any]:
    return {"description": "ok", "content": {"application/json": {"schema": schema}}}


DOCUMENT: dict[str, Any] = {
    "openapi": "3.0.3",
    "info": {"title": "ໃບອະນຸຍາດ", "version": "2"},
    "servers": [{"url": "https://trade.example/api"}],
    "paths": {
        "/permits/{permit-no}": {
            "parameters": [
                {"name": "permit-no", "in": "path", "required": True, "schema": {"type": "string"}}
            ],
            "get": {
                "summary": "One permit",
                "parameters": [
                    {"name": "year", "in": "query", "schema": {"type": "integer", "minimum": 1975}},
                    {"name": "sort[]", "in": "query", "schema": {"type": "string"}},
                    {"name": "ids", "in": "query", "schema": {"type": "array"}},
                    {"name": "X-Office", "in": "header", "schema": {"type": "string"}},
                ],
                "responses": {
                    "200": answer({"$ref": "#/components/schemas/Permit"}),
                    "302": {"description": "moved"},
                    "default": {"description": "else"},
                },
            },
        },
        "/permits": {
            "post": {
                "requestBody": {
                    "content": {
                        "application/json": {"schema": {"$ref": "#/components/schemas/Permit"}}
                    }
                },
                "responses": {"201": {"description": "made"}},
            }
        },
        "/page": {"get": {"responses": {"200": {"description": "x", "content": {"*/*": {}}}}}},
    },
    "components": {
        "schemas": {
            "Permit": PERMIT,
            "Owner": {"type": "object", "properties": {"yes": {"enum": ["no", "yes", "\u2028"]}}},
            "Unused": {"type": "object"},
        },
        "securitySchemes": {"key": {"type": "apiKey", "in": "header", "name": "X-Api-Key"}},
    },
}


def look(folder: Path, document: Any = DOCUMENT, *only: str) -> Look:
    path = folder / "trade.json"
    path.write_text(document if isinstance(document, str) else json.dumps(document), "utf-8")
    application = ApplicationId.parse("LA/GOV/MOIC/trade")
    return Look(str(path), application, "permits", {}, folder, only)


def test_what_is_proposed_can_be_read_and_promises_the_same(tmp_path: Path) -> None:
    """Reading operations, their parameters and schemas, in today's JSON Schema; keys are not in
    the file."""
    found = kinds.scan(look(tmp_path))
    mapping = read(parse(found.mapping.encode(), "m.yaml")).mapping
    assert mapping.source.url == "https://trade.example/api"
    assert mapping.source.headers == {"x-api-key": "${API_KEY}"}
    (operation,) = mapping.services["permits"].operations
    assert (operation.method, operation.path) == ("GET", "/permits/{permit_no}")
    assert {name: one.name for name, one in operation.sent.items()} == {
        "permit_no": "permit_no",
        "year": "year",
        "sort": "sort[]",
    }
    assert "x-office" in operation.passes
    assert mapping.schemas == {
        "Permit": {
            "type": "object",
            "required": ["no"],
            "properties": {
                "no": {"type": ["string", "null"]},
                "owner": {"$ref": "#/components/schemas/Owner"},
                "price": {"type": "number", "exclusiveMinimum": 0},
            },
        },
        "Owner": DOCUMENT["components"]["schemas"]["Owner"],
    }
    Contract.compile(read(parse(found.mapping.encode(), "m")).document("permits", {}), {})
    assert {(one.place, one.code) for one in found.unsure} == {
        ("GET /permits/{permit-no} ids", "parameter"),
        ("POST /permits", "writes"),
        ("GET /page 200", "media-type"),
        ("GET /page", "answers"),
        ("source", "access"),
    }


def test_what_writes_is_proposed_when_it_is_named(tmp_path: Path) -> None:
    """A body has its schema; an answer without one is 204."""
    found = kinds.scan(look(tmp_path, DOCUMENT, "POST /permits"))
    mapping = read(parse(found.mapping.encode(), "m.yaml")).mapping
    (operation,) = mapping.services["permits"].operations
    assert operation.body is not None
    assert operation.body.content.schema == {"$ref": "#/components/schemas/Permit"}
    assert operation.answers[201].status == 204


@pytest.mark.parametrize(
    ("document", "code"),
    [
        ("{", Code.INVALID_DOCUMENT),
        ("[]", Code.INVALID_DOCUMENT),
        ({"swagger": "2.0"}, Code.INVALID_DOCUMENT),
        ({"openapi": "3.1.0", "paths": {"/a": {"get": {}}}}, Code.NOT_FOUND),
        ({"openapi": "3.1.0", "paths": []}, Code.NOT_FOUND),
    ],
)
def test_what_is_no_document_is_refused(tmp_path: Path, document: Any, code: Code) -> None:
    """An older version, a document without operations, no document at all."""
    with pytest.raises(Problem) as caught:
        kinds.scan(look(tmp_path, document))
    assert caught.value.code is code


def test_our_own_documents_can_be_scanned(tmp_path: Path) -> None:
    """The document of a mapping becomes a mapping again."""
    first = kinds.scan(look(tmp_path))
    api = read(parse(first.mapping.encode(), "m.yaml"))
    again = kinds.scan(look(tmp_path, json.loads(api.document("permits", schemas.load_all()))))
    (operation,) = read(parse(again.mapping.encode(), "m")).mapping.services["permits"].operations
    assert operation.path == "/permits/{permit_no}"


@pytest.mark.parametrize("words", [["rice", "forest"], ["rice", "forest", None]])
def test_a_code_list_that_may_be_null_has_null_once(words: list[str | None]) -> None:
    """Whether the document lists it or not: the words of a code list are all different."""
    found = modern({"type": "string", "nullable": True, "enum": words})
    assert found == {"type": ["string", "null"], "enum": ["rice", "forest", None]}
