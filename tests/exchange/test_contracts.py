"""Rules of exchange.contracts: what crosses keeps what the service published."""

from __future__ import annotations

import time
from typing import Any

import orjson
import pytest

import schemas
from exchange.contracts.contract import Contract, Match
from exchange.problems import Code, Problem

SHARED = schemas.load_all()
JSON = (("content-type", "application/json"),)
DISBURSEMENT = "https://schemas.saphan.la/disbursement/1"


def contract(paths: dict[str, Any], version: str = "3.1.0", **more: Any) -> Contract:
    document = {"openapi": version, "info": {"title": "t", "version": "1"}, "paths": paths, **more}
    return Contract.compile(orjson.dumps(document), SHARED)


def operation(node: dict[str, Any], version: str = "3.1.0", **more: Any) -> Match:
    """The one operation POST /x of a document."""
    node = {"responses": {"200": {"description": "ok"}}, **node}
    return contract({"/x": {"post": node}}, version, **more).find("POST", "/x")


def taking(schema: Any, version: str = "3.1.0", **more: Any) -> Match:
    """An operation whose body has this schema."""
    body = {"required": True, "content": {"application/json": {"schema": schema}}}
    return operation({"requestBody": body}, version, **more)


def giving(schema: Any, version: str = "3.1.0", **more: Any) -> Match:
    """An operation whose answer has this schema."""
    answer = {"description": "ok", "content": {"application/json": {"schema": schema}}}
    return operation({"responses": {"200": answer}}, version, **more)


def send(match: Match, value: Any, headers: Any = JSON, query: str = "") -> Problem | None:
    body = value if isinstance(value, bytes) else orjson.dumps(value)
    try:
        match.operation.check_request(match, query, headers, body)
    except Problem as problem:
        return problem
    return None


def reply(match: Match, body: Any, status: int = 200, headers: Any = JSON) -> Problem | None:
    body = body if isinstance(body, bytes) else orjson.dumps(body)
    try:
        match.operation.check_response(status, headers, body)
    except Problem as problem:
        return problem
    return None


def code(problem: Problem | None) -> Code | None:
    return problem.code if problem else None


# -- finding ---------------------------------------------------------------------------------

LIST = contract(
    {
        "/items": {"get": {"operationId": "list", "summary": "All", "responses": {}}},
        "/items/{id}": {
            "parameters": [
                {"in": "path", "name": "id", "required": True, "schema": {"type": "integer"}}
            ],
            "get": {"responses": {}},
            "delete": {"responses": {}},
        },
    }
)


def test_endpoints_are_those_declared() -> None:
    """HEAD is understood but not listed; the order is the document's."""
    assert LIST.endpoints() == (
        ("GET", "/items"),
        ("GET", "/items/{id}"),
        ("DELETE", "/items/{id}"),
    )
    assert (LIST.operations[0].operation_id, LIST.operations[0].summary) == ("list", "All")


def test_find_gives_operation_and_variables() -> None:
    """The match carries the template and the decoded variables."""
    match = LIST.find("GET", "/items/7")
    assert (match.operation.template, match.path_parameters) == ("/items/{id}", {"id": "7"})
    assert LIST.find("HEAD", "/items/7").operation.method == "HEAD"


@pytest.mark.parametrize(
    ("method", "path", "where"),
    [("POST", "/items", "method"), ("get", "/items", "method"), ("GET", "/other", "path"),
     ("GET", "", "path"), ("OPTIONS", "/items", "method")],
)  # fmt: skip
def test_unknown_endpoints(method: str, path: str, where: str) -> None:
    """The problem says whether the path or the method is unknown."""
    with pytest.raises(Problem) as caught:
        LIST.find(method, path)
    assert (caught.value.code, caught.value.where) == (Code.UNKNOWN_ENDPOINT, where)


def test_known_methods_are_told() -> None:
    """A wrong method is told the right ones."""
    with pytest.raises(Problem) as caught:
        LIST.find("PATCH", "/items/7")
    assert caught.value.facts["methods"] == ["DELETE", "GET", "HEAD"]


def test_head_has_no_body_to_judge() -> None:
    """RFC 9110 section 9.3.2: HEAD answers with the fields of GET and no content."""
    match = giving({"type": "object"})
    get = contract({"/x": {"get": {"responses": {"200": {
        "content": {"application/json": {"schema": {"type": "object"}}}}}}}})  # fmt: skip
    head = get.find("HEAD", "/x").operation
    assert head.check_response(200, JSON, b"") is None
    assert code(reply(match, b"")) is Code.BACKEND_NONSENSE


# -- request bodies --------------------------------------------------------------------------


def test_good_body_passes() -> None:
    """A body that keeps a shared schema raises nothing."""
    good = orjson.loads(
        (schemas.resources.files("schemas") / "examples/disbursement.json").read_bytes()
    )
    assert send(taking({"$ref": DISBURSEMENT}), good["valid"][0]) is None


def test_place_and_rule_are_told_but_never_the_value() -> None:
    """where is a JSON pointer into the body, the rule a URI into the schema."""
    match = taking({"type": "array", "items": {"$ref": DISBURSEMENT}})
    good = orjson.loads(
        (schemas.resources.files("schemas") / "examples/disbursement.json").read_bytes()
    )
    bad = {**good["valid"][0], "amount_usd": "secret-4711"}
    problem = send(match, [good["valid"][0], bad])
    assert problem is not None
    assert problem.code is Code.SCHEMA_VIOLATION
    assert problem.where == "body#/1/amount_usd"
    assert problem.facts["rule"] == "https://schemas.saphan.la/values/1#/$defs/amount/pattern"
    assert problem.facts["keyword"] == "pattern"
    assert "4711" not in f"{problem} {problem.facts}"


def test_all_places_are_counted() -> None:
    """Several violations are told together, at most ten."""
    match = taking({"type": "array", "items": {"type": "integer"}})
    problem = send(match, [1, "a", 2, None])
    assert problem is not None
    assert problem.facts["places"] == ["body#/1", "body#/3"]
    problem = send(match, ["a"] * 500)
    assert problem is not None
    assert problem.facts["violations"] == 10


@pytest.mark.parametrize(
    ("schema", "where"),
    [({"items": {"type": "integer"}}, "body#/0"),
     ({"anyOf": [{"items": {"type": "integer"}}, {"type": "null"}]}, "body"),
     ({"oneOf": [{"items": {"$ref": "#/components/schemas/S"}}, {"type": "null"}]}, "body")],
)  # fmt: skip
def test_large_bodies_are_refused_quickly(schema: Any, where: str) -> None:
    """However many violations a body holds, telling them takes no longer than reading it."""
    match = taking(schema, components={"schemas": {"S": {"type": "integer"}}})
    begin = time.process_time()
    problem = send(match, ["a"] * 250_000)
    assert time.process_time() - begin < 1
    assert problem is not None
    assert problem.where == where


def test_names_of_the_instance_are_not_repeated() -> None:
    """A name that the schema does not declare can be personal data, unless it is spelled as fields
    are; a near declared one is told."""
    match = taking(
        {
            "properties": {"amount_usd": {"type": "string"}},
            "additionalProperties": {"type": "object", "additionalProperties": {"type": "integer"}},
        }
    )
    problem = send(match, {"Bounmy Somsanith": {"1970-01-01": "x"}})
    assert problem is not None
    assert problem.where == "body#/*/*"
    assert "Bounmy" not in f"{problem} {problem.facts}"
    closed = taking({"properties": {"amount_usd": True}, "additionalProperties": False})
    problem = send(closed, {"ammount_usd": "1"})
    assert problem is not None
    assert problem.detail.endswith(": ammount_usd; declared names like it: amount_usd")
    for name in ("Bounmy", "ບຸນມີ", "bounmy@mof.gov.la", "1970", "p1234567", "a" * 41):
        problem = send(closed, {name: "1"})
        assert problem is not None
        assert name not in f"{problem} {problem.facts}"
    problem = send(closed, {"one": 1, "nameLo": 1, "item_2": 1, "four": 1})
    assert problem is not None
    assert "4 properties" in problem.detail
    assert problem.detail.count(", ") == 3


def test_allowed_values_are_listed_within_bounds() -> None:
    """The values of an enumeration or a constant are the schema's own: ten, and 40 characters."""
    problem = send(taking({"enum": ["GRANT", "LOAN"]}), "grant-4711")
    assert problem is not None
    assert problem.detail.endswith(': "GRANT", "LOAN"')
    assert "4711" not in str(problem)
    problem = send(taking({"enum": [f"{n}{'x' * 500}" for n in range(500)]}), "a")
    assert problem is not None
    assert len(problem.detail) < 600
    problem = send(taking({"const": "LA"}), "TH")
    assert problem is not None
    assert '"LA"' in problem.detail


def test_the_alternative_that_got_furthest_is_told() -> None:
    """Of anyOf's failures, the deepest says more than 'none fits'."""
    match = taking({"anyOf": [{"type": "null"}, {"properties": {"a": {"type": "integer"}}}]})
    problem = send(match, {"a": "x"})
    assert problem is not None
    assert problem.where == "body#/a"


KEYWORDS = [
    ({"type": "integer"}, "1", "must be of type integer but is a string"),
    ({"type": ["integer", "null"]}, True, "must be of type null or integer but is a boolean"),
    ({"required": ["ຊື່"]}, {}, "lacks the required property 'ຊື່'"),
    ({"enum": [1, 2]}, 3, "2 values"),
    ({"format": "date"}, "x", "not a valid date"),
    ({"pattern": "^a$"}, "x", "^a$"),
    ({"minimum": 3}, 2, "limit of 3"),
    ({"exclusiveMaximum": 3}, 3, "exclusiveMaximum"),
    ({"minLength": 3}, "ກກ", "minLength 3"),
    ({"maxItems": 1}, [1, 2], "maxItems 1"),
    ({"multipleOf": 5}, 3, "multipleOf"),
    ({"uniqueItems": True}, [1, 1.0], "uniqueItems"),
    ({"const": 1}, 2, "the one value that the schema allows: 1"),
    ({"not": {}}, 2, "not"),
    ({"anyOf": [{"type": "null"}, {"type": "string"}]}, 2, "none of the alternatives"),
    ({"oneOf": [{}, {"type": "integer"}]}, 2, "more than one"),
    ({"unevaluatedProperties": False}, {"b": 1}, "does not declare"),
    ({"properties": {"a": True}, "additionalProperties": False}, {"b": 1, "c": 2}, "2 properties"),
    ({"additionalProperties": False}, {"b": 1, "c": 2}, "not allowed"),
    ({"propertyNames": {"maxLength": 1}}, {"secret": 1}, ""),
    ({"contains": {"const": 1}}, [2], "contains"),
    (False, 2, "not allowed"),
]


@pytest.mark.parametrize(("schema", "value", "text"), KEYWORDS)
def test_sentences(schema: Any, value: Any, text: str) -> None:
    """Each keyword has a sentence with its rule, and none quotes the instance."""
    problem = send(taking(schema), value)
    assert problem is not None
    assert text in problem.detail
    assert "secret" not in str(problem)


BODIES = {
    "empty": (b"", JSON, Code.SCHEMA_VIOLATION, 422),
    "not JSON": (b"{", JSON, Code.INVALID_JSON, 400),
    "duplicate name": (b'{"a":1,"a":"x"}', JSON, Code.INVALID_JSON, 400),
    "nested too deep": (b"[" * 300 + b"]" * 300, JSON, Code.INVALID_JSON, 400),
    "big integer": (b'{"a":18446744073709551616}', JSON, Code.INVALID_JSON, 400),
    "invalid UTF-8": (b'{"a":"\xe0\xba"}', JSON, Code.INVALID_JSON, 400),
    "no media type": (b"{}", (), Code.SCHEMA_VIOLATION, 415),
    "other media type": (b"{}", (("content-type", "text/plain"),), Code.SCHEMA_VIOLATION, 415),
    "other charset": (b"{}", (("content-type", "application/json; charset=utf-16"),),
                      Code.SCHEMA_VIOLATION, 415),
    "two media types": (b"{}", (*JSON, ("content-type", "text/plain")), Code.SCHEMA_VIOLATION, 415),
    "content coding": (b"{}", (*JSON, ("content-encoding", "gzip")), Code.SCHEMA_VIOLATION, 415),
}  # fmt: skip


@pytest.mark.parametrize(("body", "headers", "expected", "status"), BODIES.values(), ids=BODIES)
def test_bad_bodies(body: bytes, headers: Any, expected: Code, status: int) -> None:
    """What cannot be judged does not pass."""
    problem = send(taking({"type": "object"}), body, headers)
    assert problem is not None
    assert (problem.code, problem.status) == (expected, status)


@pytest.mark.parametrize(
    "kind",
    ["application/json", "Application/JSON", "application/json;charset=UTF-8",
     'application/json; charset="utf-8"', "application/json ; q=1"],
)  # fmt: skip
def test_spellings_of_the_media_type(kind: str) -> None:
    """Media types compare without case and parameters (RFC 9110 section 8.3.1)."""
    assert send(taking({"type": "object"}), {}, (("content-type", kind),)) is None
    assert code(send(taking({"type": "object"}), [], (("content-type", kind),)))


def test_ranges_and_suffixes() -> None:
    """The most specific declaration counts; +json is JSON, anything else is taken as it is."""
    content = {
        "application/*": {"schema": {"type": "object"}},
        "application/merge-patch+json": {"schema": {"type": "array"}},
        "text/*": {"schema": {"type": "array"}},
        "text/csv": {},
    }
    match = operation({"requestBody": {"content": content}})

    def outcome(kind: str, value: Any) -> Code | None:
        return code(send(match, value, (("content-type", kind),)))

    assert outcome("application/merge-patch+json", []) is None
    assert outcome("application/merge-patch+json", {}) is Code.SCHEMA_VIOLATION
    assert outcome("application/vnd.x+json", {}) is None
    assert outcome("application/vnd.x+json", []) is Code.SCHEMA_VIOLATION
    assert outcome("application/vnd.x+json", b"{") is Code.INVALID_JSON
    assert outcome("application/pdf", b"%PDF") is None
    assert outcome("text/csv", b"a;b") is None
    assert outcome("image/png", b"x") is Code.SCHEMA_VIOLATION
    assert send(match, b"") is None


def test_a_body_that_is_not_declared_is_refused() -> None:
    """An operation without requestBody takes none: nothing unchecked reaches the backend."""
    assert code(send(operation({}), {})) is Code.SCHEMA_VIOLATION
    assert send(operation({}), b"") is None


# -- responses -------------------------------------------------------------------------------

ANSWERS = operation(
    {
        "responses": {
            "200": {
                "content": {"application/json": {"schema": {"type": "object"}}, "text/csv": {}}
            },
            "201": {"description": "made, nothing to say"},
            "204": {"description": "gone"},
            "2XX": {"content": {"application/json": {"schema": {"type": "array"}}}},
            "404": {"content": {"application/problem+json": {"schema": {"required": ["type"]}}}},
            "422": {"description": "no content declared"},
        }
    }
)
CSV = (("content-type", "text/csv"),)
PROBLEM_JSON = (("content-type", "application/problem+json"),)
VIOLATION, NONSENSE = Code.RESPONSE_SCHEMA_VIOLATION, Code.BACKEND_NONSENSE
RESPONSES = [
    (200, JSON, b"{}", None),
    (200, JSON, b"[]", VIOLATION),
    (200, JSON, b"{", NONSENSE),
    (200, JSON, b"", NONSENSE),
    (200, JSON, b'{"a":1,"a":2}', NONSENSE),
    (200, CSV, b"a;b", None),
    (200, PROBLEM_JSON, b"{}", VIOLATION),
    (200, (), b"{}", VIOLATION),
    (200, (*JSON, ("content-encoding", "gzip")), b"{}", VIOLATION),
    (200, (*JSON, ("content-encoding", "identity")), b"{}", None),
    (201, (), b"", None),
    (201, JSON, b"{}", VIOLATION),
    (204, (), b"", None),
    (204, JSON, b"{}", VIOLATION),
    (206, JSON, b"[]", None),
    (206, JSON, b"{}", VIOLATION),
    (302, (("location", "/y"),), b"", VIOLATION),
    (304, (), b"", None),
    (404, PROBLEM_JSON, b'{"type":"x"}', None),
    (404, PROBLEM_JSON, b"{}", VIOLATION),
    (404, CSV, b"not found", None),
    (422, JSON, b"{}", None),
    (500, (("content-type", "text/html"),), b"<h1>", None),
    (503, (), b"", None),
]


@pytest.mark.parametrize(("status", "headers", "body", "expected"), RESPONSES)
def test_responses(status: int, headers: Any, body: bytes, expected: Code | None) -> None:
    """Success is declared and kept; an error passes where the document says nothing of it."""
    assert code(reply(ANSWERS, body, status, headers)) is expected


def test_an_undeclared_success_is_a_violation() -> None:
    """A 2xx that the document does not know does not cross."""
    assert code(reply(operation({"responses": {"200": {}}}), {}, 202)) is VIOLATION


def test_default_covers_the_rest() -> None:
    """default is used where neither status nor range is declared."""
    match = operation(
        {
            "responses": {
                "default": {"content": {"application/json": {"schema": {"type": "object"}}}}
            }
        }
    )
    assert reply(match, {}, 202) is None
    assert code(reply(match, [], 202)) is VIOLATION
    assert code(reply(match, [], 500)) is VIOLATION


def test_the_parsed_value_is_returned() -> None:
    """So that the projection need not parse again."""
    assert giving({}).operation.check_response(200, JSON, b'{"a": [1]}') == {"a": [1]}
    assert ANSWERS.operation.check_response(200, CSV, b"a") is None
    assert ANSWERS.operation.check_response(500, JSON, b"{}") is None


def test_selected_fields_may_leave_out_required_ones() -> None:
    """Where callers pick fields, records lack the others; the envelope is still whole."""
    schema = {
        "allOf": [
            {"$ref": "https://schemas.saphan.la/page/1"},
            {"properties": {"items": {"items": {"$ref": DISBURSEMENT}}}},
        ]
    }
    responses = {"200": {"content": {"application/json": {"schema": schema}}}}
    fields = {"in": "query", "name": "fields", "schema": {"type": "string"}}
    full = operation({"responses": responses, "parameters": [fields]})
    some = operation(
        {"responses": responses, "parameters": [{**fields, "x-saphan-selects-fields": True}]}
    )
    page = {"items": [{"amount_usd": "1.00"}], "next": None}
    assert (full.operation.selects, some.operation.selects) == (None, "fields")
    assert code(reply(full, page)) is VIOLATION
    assert reply(some, page) is None
    assert code(reply(some, {"items": [{"amount_usd": "1"}], "next": None})) is VIOLATION
    assert code(reply(some, {"items": []})) is VIOLATION


# -- dialects --------------------------------------------------------------------------------

DIALECTS = [
    ("3.0.3", {"type": "string", "nullable": True}, [None, "a"], [1]),
    ("3.0.3", {"nullable": True}, [None, 1], []),
    ("3.0.3", {"type": "string", "nullable": True, "enum": ["a"]}, ["a"], [None]),
    ("3.0.3", {"type": "string", "nullable": True, "enum": ["a", None]}, ["a", None], ["b"]),
    ("3.0.3", {"type": "integer", "minimum": 1, "exclusiveMinimum": True}, [2], [1]),
    ("3.0.3", {"type": "integer", "minimum": 1, "exclusiveMinimum": False}, [1], [0]),
    ("3.0.3", {"maximum": 9, "exclusiveMaximum": True}, [8], [9]),
    ("3.0.3", {"exclusiveMaximum": True}, [9], []),
    ("3.0.3", {"type": "object", "additionalProperties": False}, [{}], [{"a": 1}]),
    ("3.0.3", {"type": "object", "additionalProperties": {"type": "integer"}},
     [{"a": 1}], [{"a": ""}]),
    ("3.0.3", {"properties": {"nullable": {"type": "string"}}},
     [{"nullable": ""}], [{"nullable": 1}]),
    ("3.0.3", {"type": "string", "example": {"$ref": "#/nowhere"}}, ["a"], [1]),
    ("3.0.3", {"enum": [{"nullable": True}]}, [{"nullable": True}], [{}]),
    ("3.0.3", {"$ref": "#/components/schemas/S", "nullable": True}, ["a"], [None]),
    ("3.0.3", {"$ref": "#/components/schemas/S", "maxLength": 1}, ["aaa"], [None]),
    ("3.0.3", {"$ref": DISBURSEMENT}, [], [{}]),
    ("3.1.0", {"$ref": "#/components/schemas/S", "maxLength": 1}, ["a"], ["aaa"]),
    ("3.1.0", {"type": "string", "nullable": True}, ["a"], [None]),
    ("3.1.0", {"type": ["string", "null"]}, ["a", None], [1]),
    ("3.1.0", {"minimum": 1, "exclusiveMinimum": 1}, [2], [1]),
    ("3.1.0", {"properties": {"a": {"const": 1}}, "patternProperties": {"^x-": True},
               "unevaluatedProperties": False}, [{"a": 1, "x-b": 2}], [{"a": 2}, {"b": 1}]),
    ("3.1.0", {"$ref": "#/components/schemas/Tree"}, [{"kids": [{"kids": []}]}], [{"kids": [1]}]),
    ("3.1.0", {"$ref": "#/components/schemas/S/x-inner"}, [1], ["a"]),
    ("3.1.0", {"$ref": "#/components/schemas/a~1b%20%E0%BA%81"}, [True], ["a"]),
    ("3.1.0", {"$defs": {"x": {"type": "null"}}, "$comment": "", "type": "null"}, [None], [1]),
    ("3.1.0", {"$ref": "https://schemas.saphan.la/code-lists/province"}, ["LA-AT"], ["x"]),
    ("3.1.0", {"type": "integer", "format": "int32"}, [2**40], ["a"]),
    ("3.1.0", {"type": "string", "format": "phone", "contentEncoding": "base64"}, ["!"], [1]),
    ("3.1.0", True, [1], []),
    ("3.1.0", {"type": "integer"}, [1, 1.0, 2**63], [1.5, True, "1"]),
    ("3.1.0", {"maxLength": 2}, ["ກຳ", "😀😀"], ["ກຳກ"]),
]  # fmt: skip
COMPONENTS = {
    "S": {"type": "string", "x-inner": {"type": "integer"}},
    "Tree": {"properties": {"kids": {"items": {"$ref": "#/components/schemas/Tree"}}},
             "type": "object"},
    "a/b ກ": {"type": "boolean"},
}  # fmt: skip


@pytest.mark.parametrize(("version", "schema", "good", "bad"), DIALECTS)
def test_dialects(version: str, schema: Any, good: list[Any], bad: list[Any]) -> None:
    """OpenAPI 3.0's own dialect and JSON Schema 2020-12, each as its specification says."""
    match = taking(schema, version, components={"schemas": COMPONENTS})
    assert [value for value in good if send(match, value)] == []
    assert [value for value in bad if not send(match, value)] == []


def test_required_binds_one_way_in_3_0() -> None:
    """OpenAPI 3.0.4: a readOnly property is required in responses only, a writeOnly in requests."""
    schema = {
        "type": "object",
        "required": ["id", "pin", "name"],
        "properties": {
            "id": {"type": "integer", "readOnly": True},
            "pin": {"$ref": "#/components/schemas/Pin"},
            "name": {"type": "string"},
        },
    }
    more = {"components": {"schemas": {"Pin": {"type": "string", "writeOnly": True}}}}
    asked, given = taking(schema, "3.0.3", **more), giving(schema, "3.0.3", **more)
    assert send(asked, {"pin": "1", "name": "n"}) is None
    assert reply(given, {"id": 1, "name": "n"}) is None
    assert code(send(asked, {"id": 1, "name": "n"})) is Code.SCHEMA_VIOLATION
    assert code(reply(given, {"pin": "1", "name": "n"})) is VIOLATION
    assert code(send(taking(schema, "3.1.0", **more), {"pin": "1", "name": "n"}))


def test_references_to_other_objects() -> None:
    """Parameters, bodies, responses and path items can stand in components."""
    document = contract(
        {"/x/{id}": {"$ref": "#/components/pathItems/X"}},
        components={
            "pathItems": {
                "X": {
                    "parameters": [{"$ref": "#/components/parameters/Id"}],
                    "post": {
                        "requestBody": {"$ref": "#/components/requestBodies/B"},
                        "responses": {"200": {"$ref": "#/components/responses/R"}},
                    },
                }
            },
            "parameters": {
                "Id": {"in": "path", "name": "id", "required": True, "schema": {"type": "integer"}}
            },
            "requestBodies": {"B": {"content": {"application/json": {"schema": {"type": "null"}}}}},
            "responses": {"R": {"content": {"application/json": {"schema": {"type": "null"}}}}},
        },
    )
    match = document.find("POST", "/x/1")
    assert send(match, None) is None
    assert code(send(match, 1)) is Code.SCHEMA_VIOLATION
    assert code(reply(match, 1)) is VIOLATION
    assert code(send(document.find("POST", "/x/a"), None)) is Code.SCHEMA_VIOLATION


def test_a_body_without_a_type_is_octets() -> None:
    """RFC 9110 section 8.3: without Content-Type it is what takes octets, or nothing declared."""
    for kind in ("*/*", "application/*", "application/octet-stream"):
        assert send(operation({"requestBody": {"content": {kind: {}}}}), b"\x00", ()) is None
    problem = send(taking({}), {}, ())
    assert code(problem) is Code.SCHEMA_VIOLATION
    assert problem is not None
    assert (problem.status, problem.where) == (415, "header.content-type")
