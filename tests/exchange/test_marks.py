"""Statistics fields in contracts: where marks may stand, and what they find in an answer."""

from __future__ import annotations

import json
from typing import Any

import pytest

from exchange.contracts.contract import Contract
from exchange.contracts.marks import MAX_MARKS, Mark
from exchange.problems import Code, Problem

SHARED = {
    "https://schemas.example/lists": json.dumps(
        {
            "$id": "https://schemas.example/lists",
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "$defs": {"province": {"type": "string", "enum": ["LA-VT", "LA-XI"]}},
        }
    ).encode()
}
JSON = (("content-type", "application/json"),)


def marks(schema: dict[str, Any], status: str = "200") -> tuple[Mark, ...]:
    document = {
        "openapi": "3.1.0",
        "info": {"title": "t", "version": "1"},
        "components": {"schemas": {"person": schema}},
        "paths": {
            "/persons": {
                "get": {
                    "responses": {
                        status: {
                            "description": "d",
                            "content": {
                                "application/json": {
                                    "schema": {"$ref": "#/components/schemas/person"}
                                }
                            },
                        }
                    }
                }
            }
        },
    }
    operation = Contract.compile(json.dumps(document).encode(), SHARED).operations[0]
    found = operation.marks(int(status), JSON)
    assert operation.counts == bool(found)
    return found


def with_(name: str, schema: Any) -> dict[str, Any]:
    return {"type": "object", "properties": {name: schema}}


def test_values_are_found_wherever_they_stand() -> None:
    """In nested objects, items of arrays, behind references and alternatives; each time it comes
    up; values that are not listed, or of another type, are not counted."""
    sex = {"type": ["string", "null"], "enum": ["F", "M", None], "x-saphan-statistics": "sex"}
    province = {"$ref": "https://schemas.example/lists#/$defs/province"}
    person = {
        "type": "object",
        "properties": {
            "sex": sex,
            "lives": {"allOf": [with_("province", province | {"x-saphan-statistics": "province"})]},
            "worked": {"type": "array", "items": province, "x-saphan-statistics": "province"},
            "alive": {"type": "boolean", "x-saphan-statistics": "alive"},
        },
    }
    found = marks({"type": "object", "properties": {"items": {"type": "array", "items": person}}})
    document = {
        "items": [
            {"sex": "F", "lives": {"province": "LA-VT"}, "worked": ["LA-XI", "LA-VT", "LA-ZZ"]},
            {"sex": "M", "alive": True, "worked": "LA-XI"},
            {"sex": None, "alive": "true", "lives": "LA-VT"},
            {"sex": 7, "alive": False},
            "F",
        ]
    }
    values = sorted((mark.field, value) for mark in found for value in mark.found_in(document))
    assert values == [
        ("alive", "false"),
        ("alive", "true"),
        ("alive", "true"),
        ("province", "LA-VT"),
        ("province", "LA-VT"),
        ("province", "LA-XI"),
        ("sex", "F"),
        ("sex", "M"),
    ]


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "string", "x-saphan-statistics": "name"},
        {"enum": [1, 2], "x-saphan-statistics": "age"},
        {"enum": ["x" * 65], "x-saphan-statistics": "long"},
        {"enum": ["F", "M"], "x-saphan-statistics": "Sex"},
        {"enum": ["F", "M"], "x-saphan-statistics": True},
        {"type": "object", "x-saphan-statistics": "person"},
    ],
)
def test_only_listed_values_may_be_marked(schema: dict[str, Any]) -> None:
    """A mark on anything that could be a name or a number of a person is refused at its place."""
    with pytest.raises(Problem) as raised:
        marks(with_("field", schema))
    assert raised.value.code is Code.INVALID_DOCUMENT
    assert raised.value.where.endswith("/field/x-saphan-statistics")


def test_marks_are_bounded() -> None:
    """A schema that refers to itself ends the search; too many marks are refused."""
    node = {"$ref": "#/components/schemas/person"}
    sex = {"enum": ["F", "M"], "x-saphan-statistics": "sex"}
    found = marks({"type": "object", "properties": {"sex": sex, "parent": node}})
    assert Mark("sex", ("sex",), frozenset("FM")) in found
    assert Mark("sex", ("parent", "sex"), frozenset("FM")) in found
    many = {f"f{n}": sex for n in range(MAX_MARKS + 1)}
    with pytest.raises(Problem) as raised:
        marks({"type": "object", "properties": many})
    assert raised.value.code is Code.INVALID_DOCUMENT


def test_errors_are_not_counted() -> None:
    """An answer that is an error has no marks."""
    assert marks(with_("sex", {"enum": ["F"], "x-saphan-statistics": "sex"}), "404") == ()
