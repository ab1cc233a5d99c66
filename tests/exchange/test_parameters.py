"""Rules of exchange.parameters: text becomes a value only if it is that value's one spelling."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from exchange.contracts.contract import Contract
from exchange.problems import Code, Problem


def refusal(
    parameter: dict[str, Any],
    text: str,
    *,
    version: str = "3.1.0",
    strict: bool = False,
    headers: tuple[tuple[str, str], ...] = (),
) -> Problem | None:
    """What becomes of a request whose one declared parameter is this."""
    parameter = {"in": "query", "name": "p", **parameter}
    in_path = parameter["in"] == "path"
    node = {
        "x-saphan-strict-query": strict,
        "parameters": [{**parameter, "required": True} if in_path else parameter],
        "responses": {},
    }
    path = "/x/{p}" if in_path else "/x"
    document = {"openapi": version, "paths": {path: {"get": node}}}
    contract = Contract.compile(orjson.dumps(document), {})
    match = contract.find("GET", f"/x/{text}" if in_path else "/x")
    try:
        match.operation.check_request(match, "" if in_path else text, headers, b"")
    except Problem as problem:
        return problem if problem.code is Code.SCHEMA_VIOLATION else None
    return None


VALUES = {
    "integer": (
        ["0", "7", "-7", "9223372036854775807", "-9223372036854775808", "2025"],
        ["", "+7", "07", "-0", "7.0", "7_0", "1e3", " 7", "7 ", "໗", "٧", "9223372036854775808",
         "-9223372036854775809", "1" * 500, "0x7", "true", "null"],
    ),
    "number": (
        ["0", "-1.50", "1e3", "1E-3", "0.1"],
        ["", "+1", ".5", "5.", "1e", "1e999", "NaN", "inf", "1_0", "໑", "1,5", "01", "0x1", "--1"],
    ),
    "boolean": (["true", "false"], ["True", "1", "0", "yes", "", "TRUE"]),
    "string": (["", "a", "ໂຄງການ", "true", "1"], ["a" * 4097]),
}  # fmt: skip
CASES = [
    (kind, text, good) for kind, (yes, no) in VALUES.items() for good, texts in
    ((True, yes), (False, no)) for text in texts
]  # fmt: skip


@pytest.mark.parametrize(("kind", "text", "good"), CASES)
def test_scalars(kind: str, text: str, good: bool) -> None:
    """One spelling a value, in query and header alike, with or without further keywords."""
    schema = {"type": kind}
    encoded = text.replace("+", "%2B").replace(" ", "%20")
    assert (refusal({"schema": schema}, f"p={encoded}") is None) is good
    assert (
        refusal({"schema": {**schema, "not": {"const": "never"}}}, f"p={encoded}") is None
    ) is good
    header = {"in": "header", "schema": schema}
    assert (refusal(header, "", headers=(("p", text),)) is None) is good


@given(st.integers())
def test_integers_are_those_of_64_bits(number: int) -> None:
    """What prints back the same and fits in 64 bits, and nothing else."""
    assert (refusal({"schema": {"type": "integer"}}, f"p={number}") is None) is (
        -(2**63) <= number < 2**63
    )


INTEGERS = {"type": "array", "items": {"type": "integer"}}
QUERIES: list[tuple[dict[str, Any], str, bool]] = [
    ({"schema": {"type": "integer", "minimum": 3}}, "p=3", True),
    ({"schema": {"type": "integer", "minimum": 3}}, "p=2", False),
    ({"schema": {"type": "string", "pattern": "^LA-[A-Z]{2}$"}}, "p=LA-AT", True),
    ({"schema": {"type": "string", "pattern": "^LA-[A-Z]{2}$"}}, "p=LA-at", False),
    ({"schema": {"type": "string", "format": "date"}}, "p=2025-02-29", False),
    ({"schema": {"type": "string", "enum": ["ກ"]}}, "p=%E0%BA%81", True),
    ({"schema": {"type": "string", "enum": ["a b"]}}, "p=a+b", True),
    ({"schema": {"type": "string", "enum": ["a b"]}}, "p=a%20b", True),
    ({"schema": {"type": "string"}}, "p=%zz", False),
    ({"schema": {"type": "string"}}, "p=%FF", False),
    ({"schema": {"type": "string"}}, "p=1&p=2", False),
    ({"schema": {"type": "string"}}, "p=1&%70=2", False),
    ({"schema": {"type": "integer"}}, "%70=x", False),
    ({"schema": {"type": "integer"}, "required": True}, "", False),
    ({"schema": {"type": "integer"}, "required": True}, "q=1", False),
    ({"schema": {"type": "integer"}}, "", True),
    ({"schema": {"type": "integer"}}, "p", False),
    ({"schema": {"type": "integer"}, "allowEmptyValue": True}, "p=", True),
    ({"schema": {"type": "string", "minLength": 1}}, "p=", False),
    ({"schema": INTEGERS}, "p=1&p=2", True),
    ({"schema": INTEGERS}, "p=1&p=x", False),
    ({"schema": INTEGERS}, "p=1,2", False),
    ({"schema": INTEGERS, "explode": False}, "p=1,2", True),
    ({"schema": INTEGERS, "explode": False}, "p=1&p=2", False),
    ({"schema": INTEGERS, "explode": False}, "p=1%2C2", False),
    ({"schema": {**INTEGERS, "maxItems": 2}}, "p=1&p=2&p=3", False),
    ({"schema": {**INTEGERS, "uniqueItems": True}}, "p=1&p=1", False),
    (
        {"schema": {"type": "array", "items": {"type": "string"}}, "explode": False},
        "p=a%2Cb,c",
        True,
    ),
    ({"schema": {"type": "array"}}, "p=x&p=1", True),
    ({"schema": INTEGERS}, "&".join(["p=1"] * 1001), False),
    ({"schema": {"anyOf": [{"type": "integer"}, {"type": "null"}]}}, "p=7", True),
    ({"schema": {"anyOf": [{"type": "integer"}, {"type": "null"}]}}, "p=x", False),
    ({"schema": {"type": ["integer", "null"]}}, "p=x", False),
    ({"schema": {"oneOf": [{"type": "boolean"}, {"enum": ["all"]}]}}, "p=all", True),
    ({"schema": {"oneOf": [{"type": "boolean"}, {"enum": ["all"]}]}}, "p=true", True),
    ({"schema": {"oneOf": [{"type": "boolean"}, {"enum": ["all"]}]}}, "p=some", False),
    ({"schema": {"enum": [1, 2]}}, "p=2", True),
    ({"schema": {"enum": [1, 2]}}, "p=3", False),
    ({"schema": {}}, "p=anything", True),
    ({"schema": {"type": "number", "maximum": 1}}, "p=1.5", False),
    ({"schema": {"type": "number", "enum": [1, 2.5]}}, "p=1", True),
    ({"name": "p[]", "schema": INTEGERS}, "p[]=1&p%5B%5D=2", True),
    ({"name": "p[]", "schema": INTEGERS}, "p%5B%5D=x", False),
]


@pytest.mark.parametrize(("parameter", "query", "good"), QUERIES)
def test_queries(parameter: dict[str, Any], query: str, good: bool) -> None:
    """Styles, repetition, encoding and schemas of query parameters."""
    assert (refusal(parameter, query) is None) is good


@pytest.mark.parametrize("query", ["q=1", "p=1&q", "%71=1", "P=1", "p =1"])
def test_undeclared_parameters(query: str) -> None:
    """Ignored as OpenAPI says, unless the operation is strict; the name is not repeated."""
    assert refusal({"schema": {"type": "integer"}}, query) is None
    problem = refusal({"schema": {"type": "integer"}}, query, strict=True)
    assert problem is not None
    assert problem.where == "query"


HEADERS: list[tuple[dict[str, Any], tuple[tuple[str, str], ...], bool]] = [
    ({"schema": {"type": "integer"}}, (("p", "1"),), True),
    ({"schema": {"type": "integer"}}, (("p", "1"), ("p", "1")), False),
    ({"schema": INTEGERS}, (("p", "1, 2"), ("p", "3")), True),
    ({"schema": INTEGERS}, (("p", "1, x"),), False),
    ({"schema": {"type": "integer"}, "required": True}, (), False),
    ({"name": "P", "schema": {"type": "integer"}}, (("p", "x"),), False),
    ({"name": "Accept", "schema": {"type": "integer"}, "required": True}, (), True),
    ({"schema": {"type": "string", "enum": ["a+b%20"]}}, (("p", "a+b%20"),), True),
]


@pytest.mark.parametrize(("parameter", "headers", "good"), HEADERS)
def test_headers(
    parameter: dict[str, Any], headers: tuple[tuple[str, str], ...], good: bool
) -> None:
    """Header parameters are taken as they are, lists as RFC 9110 section 5.3 joins them."""
    assert (refusal({"in": "header", **parameter}, "", headers=headers) is None) is good


@pytest.mark.parametrize(
    ("schema", "text", "good"),
    [({"type": "integer"}, "7", True), ({"type": "integer"}, "%37", True),
     ({"type": "integer"}, "seven", False), (INTEGERS, "1,2", True), (INTEGERS, "1,x", False),
     ({"type": "string", "enum": ["ກ"]}, "%E0%BA%81", True),
     ({"type": "string", "enum": ["a+b"]}, "a+b", True),
     ({"type": "string", "format": "uuid"}, "x", False)],
)  # fmt: skip
def test_path_variables(schema: Any, text: str, good: bool) -> None:
    """Variables of the path are decoded once; + is a plus there."""
    assert (refusal({"in": "path", "schema": schema}, text) is None) is good


@pytest.mark.parametrize(
    ("parameter", "text", "headers", "where"),
    [({"name": "fiscal_year", "schema": {"type": "integer"}}, "fiscal_year=x", (),
      "query.fiscal_year"),
     ({"in": "path", "schema": {"type": "integer"}}, "x", (), "path.p"),
     ({"in": "header", "name": "X-Foo", "schema": {"type": "integer"}}, "", (("x-foo", "s"),),
      "header.x-foo"),
     ({"schema": INTEGERS}, "p=1&p=", (), "query.p"),
     ({"schema": {**INTEGERS, "items": {"type": "integer", "minimum": 9}}}, "p=9&p=-4711", (),
      "query.p#/1")],
)  # fmt: skip
def test_places(
    parameter: dict[str, Any], text: str, headers: tuple[tuple[str, str], ...], where: str
) -> None:
    """The place says where the parameter travels, and never what it holds."""
    problem = refusal(parameter, text, headers=headers)
    assert problem is not None
    assert problem.where == where
    assert "4711" not in f"{problem} {problem.facts}"


@given(st.text(max_size=40))
def test_any_query_is_judged_or_refused(query: str) -> None:
    """No query leads to anything but a verdict."""
    refusal({"schema": INTEGERS}, query)
