"""Rules of exchange.openapi and exchange.schema_sets: which documents are refused, and where."""

from __future__ import annotations

import time
from typing import Any

import orjson
import pytest

from exchange.contracts.contract import Contract
from exchange.problems import Code, Problem
from exchange.schema_sets.places import MAX_DOCUMENT_BYTES, MAX_DOCUMENT_DEPTH

SHARED_ID = "https://schemas.example.la/thing/1"


def shared(**schema: Any) -> dict[str, bytes]:
    return {SHARED_ID: orjson.dumps({"$id": SHARED_ID, **schema})}


def place(document: Any, known: dict[str, bytes] | None = None) -> str:
    """Where a document is refused; empty when it is taken."""
    content = document if isinstance(document, bytes) else orjson.dumps(document)
    try:
        Contract.compile(content, known or {})
    except Problem as problem:
        assert problem.code is Code.INVALID_DOCUMENT  # noqa: PT017
        return problem.where
    return ""


def document(node: Any, version: str = "3.1.0", path: str = "/x", **more: Any) -> dict[str, Any]:
    return {"openapi": version, "paths": {path: {"get": node}}, **more}


def with_schema(schema: Any, version: str = "3.1.0", **more: Any) -> dict[str, Any]:
    content = {"application/json": {"schema": schema}}
    return document({"responses": {"200": {"content": content}}}, version, **more)


def with_parameter(version: str = "3.1.0", **parameter: Any) -> dict[str, Any]:
    found = {"in": "query", "name": "p", "schema": {"type": "string"}, **parameter}
    return document({"responses": {}, "parameters": [found]}, version)


OP = "#/paths/~1x/get"
PARAMETER = f"{OP}/parameters/0"
SCHEMA = f"{OP}/responses/200/content/application~1json/schema"

DOCUMENTS: dict[str, tuple[Any, str]] = {
    "not JSON": (b"openapi: 3.1.0", "#"),
    "duplicate key": (b'{"openapi":"3.1.0","openapi":"3.1.0"}', "#"),
    "too large": (b" " * MAX_DOCUMENT_BYTES + b"{}", "#"),
    "too deep": (b'{"a":' * (MAX_DOCUMENT_DEPTH + 1) + b"1" + b"}" * (MAX_DOCUMENT_DEPTH + 1), "#"),
    "not an object": ([], "#"),
    "no version": ({"paths": {}}, "#/openapi"),
    "Swagger": ({"openapi": "2.0"}, "#/openapi"),
    "OpenAPI 3.2": ({"openapi": "3.2.0"}, "#/openapi"),
    "another dialect": ({"openapi": "3.1.0", "jsonSchemaDialect": "http://json-schema.org/draft-07/schema#"},
                        "#/jsonSchemaDialect"),
    "paths no object": ({"openapi": "3.1.0", "paths": []}, "#/paths"),
    "path no template": (document({}, path="x"), "#/paths/x"),
    "half a segment": (document({}, path="/{a}.json"), "#/paths/~1{a}.json"),
    "equal templates": ({"openapi": "3.1.0", "paths": {
        "/a": {"get": {}}, "/%61": {"get": {}}}}, "#/paths/~1%61"),
    "too many operations": ({"openapi": "3.1.0", "paths": {
        f"/{n}": {"get": {}} for n in range(1001)}}, "#/paths"),
    "operation no object": (document(None), OP),
    "two of one operationId": ({"openapi": "3.1.0", "paths": {
        "/a": {"get": {"operationId": "o"}}, "/x": {"get": {"operationId": "o"}}}},
        f"{OP}/operationId"),
    "summary no text": (document({"summary": 1}), f"{OP}/summary"),
    "3.0 without responses": (document({}, "3.0.0"), f"{OP}/responses"),
    "odd status": (document({"responses": {"2xx": {}}}), f"{OP}/responses/2xx"),
    "response no object": (document({"responses": {"200": []}}), f"{OP}/responses/200"),
    "odd media type": (document({"responses": {"200": {"content": {"json": {}}}}}),
                       f"{OP}/responses/200/content/json"),
    "media type twice": (document({"responses": {"200": {"content": {
        "text/csv": {}, "text/csv; header": {}}}}}),
        f"{OP}/responses/200/content/text~1csv; header"),
    "body without content": (document({"requestBody": {}}), f"{OP}/requestBody"),
    "variable not declared": (document({}, path="/{a}"), "#/paths/~1{a}/get"),
    "variable not in the path": (with_parameter(**{"in": "path", "required": True}), OP),
    "cookie": (with_parameter(**{"in": "cookie"}), f"{PARAMETER}/in"),
    "parameter in nothing": (with_parameter(**{"in": "body"}), f"{PARAMETER}/in"),
    "parameter without name": (with_parameter(name=""), f"{PARAMETER}/name"),
    "optional path variable": (document({"parameters": [
        {"in": "path", "name": "a", "schema": {}}]}, path="/{a}"),
        "#/paths/~1{a}/get/parameters/0/required"),
    "required no boolean": (with_parameter(required="yes"), f"{PARAMETER}/required"),
    "deepObject": (with_parameter(style="deepObject"), f"{PARAMETER}/style"),
    "pipeDelimited": (with_parameter(style="pipeDelimited"), f"{PARAMETER}/style"),
    "matrix": (document({"parameters": [{"in": "path", "name": "a", "required": True, "schema": {},
        "style": "matrix"}]}, path="/{a}"), "#/paths/~1{a}/get/parameters/0/style"),
    "content of a parameter": (document({"parameters": [
        {"in": "query", "name": "p", "content": {}}]}), PARAMETER),
    "object as parameter": (with_parameter(schema={"type": "object"}), f"{PARAMETER}/schema"),
    "string or object": (with_parameter(schema={"type": ["string", "object"]}),
                         f"{PARAMETER}/schema"),
    "array of arrays": (with_parameter(schema={"type": "array", "items": {"type": "array"}}),
                        f"{PARAMETER}/schema"),
    "no value possible": (with_parameter(schema={"type": "string", "enum": [1]}),
                          f"{PARAMETER}/schema"),
    "parameter twice": (document({"parameters": [
        {"in": "query", "name": "p", "schema": {}}, {"in": "query", "name": "p", "schema": {}}]}),
        f"{OP}/parameters/1"),
    "two that select": (document({"parameters": [
        {"in": "query", "name": n, "schema": {"type": "string"}, "x-saphan-selects-fields": True}
        for n in "ab"]}), OP),
    "header that selects": (with_parameter(
        **{"in": "header", "x-saphan-selects-fields": True}), OP),
    "reference in a circle": ({"openapi": "3.1.0", "paths": {"/x": {"$ref": "#/paths/~1x"}}},
                              "#/paths/~1x"),
    "reference to a file": ({"openapi": "3.1.0", "paths": {"/x": {"$ref": "other.json"}}},
                            "#/paths/~1x/$ref"),
}  # fmt: skip


@pytest.mark.parametrize(("content", "where"), DOCUMENTS.values(), ids=DOCUMENTS)
def test_documents_that_are_refused(content: Any, where: str) -> None:
    """What cannot be held is refused at its JSON pointer, never passed over."""
    assert place(content) == where


SCHEMAS: dict[str, tuple[Any, str, str]] = {
    "remote reference": ({"$ref": "https://example.com/x"}, "/$ref", "3.1.0"),
    "file": ({"items": {"$ref": "x.json#/a"}}, "/items/$ref", "3.1.0"),
    "local file": ({"$ref": "file:///etc/passwd"}, "/$ref", "3.1.0"),
    "no such place": ({"$ref": "#/components/schemas/None"}, "/$ref", "3.1.0"),
    "index with a zero": ({"$ref": "#/paths/~1x/get/parameters/00"}, "/$ref", "3.1.0"),
    "anchor": ({"$ref": "#name"}, "/$ref", "3.1.0"),
    "reference no text": ({"$ref": 1}, "/$ref", "3.1.0"),
    "itself": ({"$ref": f"{SCHEMA}"}, "", "3.1.0"),
    "itself by allOf": ({"allOf": [{"not": {"$ref": f"{SCHEMA}"}}]}, "", "3.1.0"),
    "$id inside": ({"properties": {"a": {"$id": "urn:x"}}}, "/properties/a/$id", "3.1.0"),
    "$anchor": ({"$anchor": "a"}, "/$anchor", "3.1.0"),
    "$dynamicRef": ({"$dynamicRef": "#a"}, "/$dynamicRef", "3.1.0"),
    "draft 7": ({"$schema": "http://json-schema.org/draft-07/schema#"}, "/$schema", "3.1.0"),
    "dependencies": ({"dependencies": {}}, "/dependencies", "3.1.0"),
    "items as a list": ({"items": [{}]}, "/items", "3.1.0"),
    "no such type": ({"type": "text"}, "/type", "3.1.0"),
    "type of a type": ({"properties": {"a": {"type": "int"}}}, "/properties/a/type", "3.1.0"),
    "negative length": ({"minLength": -1}, "/minLength", "3.1.0"),
    "properties as a list": ({"properties": []}, "/properties", "3.1.0"),
    "required as a flag": ({"required": True}, "/required", "3.1.0"),
    "empty anyOf": ({"anyOf": []}, "/anyOf", "3.1.0"),
    "multiple of nothing": ({"multipleOf": 0}, "/multipleOf", "3.1.0"),
    "schema no object": ({"properties": {"a": 1}}, "/properties/a", "3.1.0"),
    "boolean bound": ({"minimum": 1, "exclusiveMinimum": True}, "/exclusiveMinimum", "3.1.0"),
    "look-ahead": ({"pattern": "(?=a)"}, "/pattern", "3.1.0"),
    "bad pattern": ({"patternProperties": {"(": {}}}, "/patternProperties/(", "3.1.0"),
    "huge pattern": ({"pattern": "(?:(?:a{1000}){1000}){1000}"}, "", "3.1.0"),
    "const in 3.0": ({"const": 1}, "/const", "3.0.3"),
    "types in 3.0": ({"type": ["string", "null"]}, "/type", "3.0.3"),
    "null in 3.0": ({"type": "null"}, "/type", "3.0.3"),
    "number as bound in 3.0": ({"exclusiveMinimum": 1}, "/exclusiveMinimum", "3.0.3"),
    "nullable no boolean": ({"type": "string", "nullable": "yes"}, "/nullable", "3.0.3"),
    "true as schema in 3.0": ({"properties": {"a": True}}, "/properties/a", "3.0.3"),
    "if in 3.0": ({"properties": {"a": {"if": {}}}}, "/properties/a/if", "3.0.3"),
}  # fmt: skip


@pytest.mark.parametrize(("schema", "where", "version"), SCHEMAS.values(), ids=SCHEMAS)
def test_schemas_that_are_refused(schema: Any, where: str, version: str) -> None:
    """Schemas that mean nothing, too much, or something else to another reader."""
    assert place(with_schema(schema, version)) == SCHEMA + where


SHARED_SCHEMAS: dict[str, tuple[dict[str, bytes], str]] = {
    "good": (shared(type="object"), ""),
    "its own definitions": (shared(**{"$ref": "#/$defs/a", "$defs": {"a": {"type": "null"}}}), ""),
    "another name": ({SHARED_ID: b'{"$id":"urn:other"}'}, SHARED_ID),
    "no name": ({SHARED_ID: b"{}"}, SHARED_ID),
    "not JSON": ({SHARED_ID: b"{"}, SHARED_ID),
    "another draft": (shared(**{"$schema": "http://json-schema.org/draft-07/schema#"}),
                      f"{SHARED_ID}#/$schema"),
    "breaks the metaschema": (shared(properties={"a": {"type": "text"}}),
                              f"{SHARED_ID}#/properties/a/type"),
    "breaks it where nobody looks": (shared(**{"$defs": {"a": {"minLength": "1"}}}),
                                     f"{SHARED_ID}#/$defs/a/minLength"),
    "refers to nothing": (shared(items={"$ref": "https://schemas.example.la/none/1"}),
                          f"{SHARED_ID}#/items/$ref"),
    "refers to the caller": (shared(items={"$ref": "#/components/schemas/X"}),
                             f"{SHARED_ID}#/items/$ref"),
    "is too large": ({SHARED_ID: b" " * MAX_DOCUMENT_BYTES + b"{}"}, SHARED_ID),
}  # fmt: skip


@pytest.mark.parametrize(("known", "where"), SHARED_SCHEMAS.values(), ids=SHARED_SCHEMAS)
def test_shared_schemas_are_checked_too(known: dict[str, bytes], where: str) -> None:
    """A shared schema carries its $id and passes its metaschema, whole."""
    assert place(with_schema({"$ref": SHARED_ID}), known) == where


def test_only_what_is_referred_to_is_read() -> None:
    """A broken shared schema harms only the documents that use it."""
    assert place(with_schema({}), {SHARED_ID: b"{"}) == ""


def test_relative_references_between_shared_schemas() -> None:
    """Resolved against the $id of the schema they stand in (RFC 3986 section 5)."""
    known = {
        SHARED_ID: orjson.dumps({"$id": SHARED_ID, "$ref": "../other/2#/$defs/a"}),
        "https://schemas.example.la/other/2": orjson.dumps(
            {"$id": "https://schemas.example.la/other/2", "$defs": {"a": {"type": "integer"}}}
        ),
    }
    contract = Contract.compile(orjson.dumps(with_schema({"$ref": SHARED_ID})), known)
    operation = contract.find("GET", "/x").operation
    json = (("content-type", "application/json"),)
    assert operation.check_response(200, json, b"7") == 7
    with pytest.raises(Problem) as caught:
        operation.check_response(200, json, b'"7"')
    assert caught.value.facts["rule"] == "https://schemas.example.la/other/2#/$defs/a/type"


def test_the_work_of_one_check_is_bounded() -> None:
    """References that double at every step would take for ever (2 to the 40th)."""
    schemas = {
        f"S{n}": {"allOf": [{"$ref": f"#/components/schemas/S{n + 1}"}] * 2} for n in range(40)
    }
    schemas["S40"] = {"type": "object"}
    refused = place(
        with_schema({"$ref": "#/components/schemas/S0"}, components={"schemas": schemas})
    )
    assert refused.startswith("#/components/schemas/S")


def test_recursion_through_values_is_allowed() -> None:
    """A tree of records is no circle: each step goes into a smaller value."""
    tree = {"properties": {"kids": {"items": {"$ref": "#/components/schemas/T"}}}}
    schemas = {"T": {"allOf": [tree]}}
    assert (
        place(with_schema({"$ref": "#/components/schemas/T"}, components={"schemas": schemas}))
        == ""
    )


def test_extensions_are_passed_over() -> None:
    """x- members bind nothing, wherever they stand."""
    node = {"x-a": 1, "responses": {"x-b": 2, "200": {"x-c": 3}}}
    found = document(node)
    found["paths"]["x-note"] = "text"
    found["x-d"] = []
    assert place(found) == ""


def many_operations(schema: str) -> dict[str, Any]:
    """900 operations that answer with the same web of schemas."""
    content = {"application/json": {"schema": {"$ref": f"#/components/schemas/{schema}"}}}
    operation = {"responses": {"200": {"content": content}}}
    web = {
        f"s{i}": {
            "properties": {f"p{j}": {"$ref": f"#/components/schemas/s{i + j}"} for j in range(9)}
        }
        for i in range(100)
    }
    return {
        "openapi": "3.1.0",
        "paths": {f"/p{number}": {"get": operation} for number in range(900)},
        "components": {"schemas": {**web, **{f"s{i}": {"enum": [i]} for i in range(100, 109)}}},
    }


def of_each_operation() -> dict[str, Any]:
    """As :func:`many_operations`, each with a schema of its own above the web."""
    document = many_operations("s0")
    for number, item in enumerate(document["paths"].values()):
        own = {"properties": {f"q{number}": {"$ref": "#/components/schemas/s0"}}}
        item["get"] = {"responses": {"200": {"content": {"application/json": {"schema": own}}}}}
    return document


HEAVY: dict[str, Any] = {
    "many properties": with_schema({"properties": {f"p{i}": {} for i in range(10_001)}}),
    "a web from every operation": of_each_operation(),
    "long repetitions": with_schema(
        {"properties": {f"p{i}": {"pattern": f"^.{{1,{900 + i}}}$"} for i in range(200)}}
    ),
    "repetitions in repetitions": with_schema({"pattern": "(?:a{1,999}){1,999}"}),
}


@pytest.mark.parametrize("name", HEAVY)
def test_what_would_fill_the_memory_is_refused_in_time(name: str) -> None:
    """A member's document costs those who call it a second and some 50 MiB at most."""
    started = time.monotonic()
    assert place(HEAVY[name]).startswith("#/paths/")
    assert time.monotonic() - started < 20


def test_one_web_of_schemas_is_weighed_once() -> None:
    """Operations that share a schema share what is compiled of it."""
    contract = Contract.compile(orjson.dumps(many_operations("s0")), {})
    assert 900 < contract.weight < 2000
