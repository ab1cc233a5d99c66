"""Rules of compatibility of OpenAPI documents: one example for each."""

from __future__ import annotations

import copy
from typing import Any

import orjson
import pytest

from exchange.compatibility import Way, compare_openapi
from exchange.compatibility.breaks import RULES

ANSWER = {
    "type": "object",
    "properties": {"name": {"type": "string"}},
    "required": ["name"],
    "additionalProperties": False,
}
BASE: dict[str, Any] = {
    "openapi": "3.1.0",
    "paths": {
        "/people/{id}": {
            "get": {
                "parameters": [
                    {"name": "id", "in": "path", "required": True, "schema": {"type": "string"}},
                    {"name": "year", "in": "query", "schema": {"type": "integer"}},
                ],
                "responses": {
                    "200": {"content": {"application/json": {"schema": ANSWER}}},
                    "404": {"description": "none"},
                },
            },
            "put": {
                "parameters": [
                    {"name": "id", "in": "path", "required": True, "schema": {"type": "string"}},
                ],
                "requestBody": {
                    "content": {
                        "application/json": {"schema": {"type": "object", "maxProperties": 9}}
                    }
                },
                "responses": {"204": {"description": "done"}},
            },
        }
    },
}


def changed(*path: str | int, value: Any = None) -> dict[str, Any]:
    """The base document with one place set, or removed."""
    document = copy.deepcopy(BASE)
    node: Any = document
    for token in path[:-1]:
        node = node[token]
    if value is None:
        del node[path[-1]]
    else:
        node[path[-1]] = value
    return document


def rules(old: Any, new: Any, way: Way = Way.BACKWARD) -> list[str]:
    return [one.rule for one in compare_openapi(orjson.dumps(old), orjson.dumps(new), {}, {}, way)]


PERSON = ("paths", "/people/{id}")
GET, PUT = (*PERSON, "get"), (*PERSON, "put")
YEAR = (*GET, "parameters", 1)
JSON = ("content", "application/json", "schema")

TABLE: list[tuple[str, dict[str, Any], list[str], list[str]]] = [
    ("an operation is gone", changed(*PUT), ["operation"], []),
    ("a parameter is gone", changed(*YEAR), ["parameter"], []),
    ("a parameter becomes required", changed(*YEAR, "required", value=True),
     ["parameter-required"], []),
    ("a parameter takes less", changed(*YEAR, "schema", value={"type": "integer", "minimum": 0}),
     ["minimum"], []),
    ("a parameter is written otherwise", changed(*YEAR, "explode", value=False),
     ["parameter-style"], ["parameter-style"]),
    ("other parameters are refused", changed(*GET, "x-saphan-strict-query", value=True),
     ["strict-query"], []),
    ("a body is required", changed(*PUT, "requestBody", "required", value=True),
     ["request-body-required"], []),
    ("a body is not taken", changed(*PUT, "requestBody"), ["request-body"], []),
    ("a body of another type", changed(*PUT, "requestBody", "content",
                                       value={"text/plain": {}}),
     ["request-type"], ["request-type"]),
    ("a body takes less", changed(*PUT, "requestBody", *JSON, value={"type": "object",
                                                                     "maxProperties": 8}),
     ["maxProperties"], []),
    ("an answer of another status", changed(*GET, "responses", "202", value={"description": ""}),
     ["answer"], []),
    ("an answer without its body", changed(*GET, "responses", "200", value={"description": ""}),
     ["answer-body"], ["answer-type"]),
    ("an answer of another type", changed(*GET, "responses", "200", "content",
                                          value={"text/csv": {}}),
     ["answer-type"], ["answer-type"]),
    ("an answer says more", changed(*GET, "responses", "200", *JSON, "properties", "age",
                                    value={"type": "integer"}), [], []),
    ("an answer says less", changed(*GET, "responses", "200", *JSON, "required"),
     ["required"], []),
    ("an answer keeps no schema", changed(*GET, "responses", "200", *JSON), ["unknown"], []),
    ("another error", changed(*GET, "responses", "409", value={"description": ""}), [], []),
]  # fmt: skip


@pytest.mark.parametrize(("what", "new", "backward", "forward"), TABLE)
def test_rule(what: str, new: dict[str, Any], backward: list[str], forward: list[str]) -> None:
    """What callers send must still be taken, what they get must still be understood."""
    assert rules(BASE, new) == backward
    assert rules(BASE, new, Way.FORWARD) == forward


def test_a_variable_of_a_path_may_have_another_name() -> None:
    """Callers see no names of variables, so renaming one breaks nothing."""
    text = (
        orjson.dumps(BASE).replace(b"{id}", b"{person}").replace(b'"name":"id"', b'"name":"person"')
    )
    assert rules(BASE, orjson.loads(text), Way.FULL) == []


def test_a_path_that_means_another_operation() -> None:
    """A concrete path wins over a variable, so adding one changes what a request means; unless
    the variable could not have that text."""
    new = copy.deepcopy(BASE)
    new["paths"]["/people/mine"] = {"get": {"responses": {"204": {"description": ""}}}}
    assert rules(BASE, new) == ["shadowed"]
    old = copy.deepcopy(BASE)
    old["paths"]["/people/{id}"]["get"]["parameters"][0]["schema"]["pattern"] = "^[0-9]+$"
    new["paths"]["/people/{id}"] = old["paths"]["/people/{id}"]
    assert rules(old, new) == []


def test_a_shared_schema_that_changes_under_a_service() -> None:
    """The same document over another set of shared schemas is compared, as callers feel it."""
    name = "https://schemas.example.la/name/1"
    document = orjson.dumps(changed(*GET, "responses", "200", *JSON, value={"$ref": name}))
    old = {name: orjson.dumps({"$id": name, "maxLength": 9})}
    new = {name: orjson.dumps({"$id": name, "maxLength": 10})}
    (found,) = compare_openapi(document, document, old, new)
    assert (found.rule, found.where) == ("maxLength", f"{name}#/maxLength")
    assert compare_openapi(document, document, new, old) == ()


def test_openapi_3_0_is_compared_in_its_own_dialect() -> None:
    """A value that may no longer be null is a break, in the words of OpenAPI 3.0."""
    old = changed(*YEAR, "schema", value={"type": "integer", "nullable": True}) | {
        "openapi": "3.0.3"
    }
    new = changed(*YEAR, "schema", value={"type": "integer"}) | {"openapi": "3.0.3"}
    assert rules(old, new) == ["type"]
    assert rules(new, old) == []


def test_every_rule_of_openapi_has_an_example() -> None:
    """No rule is without its row."""
    told = {rule for row in TABLE for rule in (*row[2], *row[3])} | {"shadowed"}
    assert {one for one in RULES if "-" in one or one in ("answer", "parameter")} <= told | {
        "parameter"
    }
