"""What has changed in an API since its mapping was written, and what a scan of one hands out."""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

import schemas
from adapters import kinds
from adapters.findings import Finding
from adapters.kinds import Checking
from adapters.mapping.reader import parse
from adapters.passing.drift import compare
from adapters.passing.kind import Api, read
from adapters.scan.scanned import Look
from exchange.contracts.contract import Contract
from exchange.identifiers import ApplicationId
from exchange.problems import Problem
from tests.adapters.recording import recording, reply

MAPPING = """\
saphan_mapping: 1
application: LA/GOV/MOIC/trade
title: {en: Trade permits, lo: ໃບອະນຸຍາດ}
source:
  kind: http
  url: http://10.1.2.3/api
  openapi: trade.json
schemas:
  permit:
    type: object
    required: [no]
    properties:
      no: {type: string}
      state: {enum: [valid, ended]}
      goods: {type: array, items: {type: string}}
    additionalProperties: false
services:
  permits:
    title: {en: Permits, lo: ໃບອະນຸຍາດ}
    endpoints:
      /permits/{number}:
        get:
          title: {en: One permit, lo: ໃບອະນຸຍາດໜຶ່ງ}
          backend: /v2/permits/{number}?format=json&l={lang}
          parameters:
            number: {type: string}
            lang: {type: string, values: [lo, en], default: lo}
            years: {type: integer, list: comma, required: false, sent_as: year}
          answers: {200: {media_types: [application/json], schema: permit}}
      /permits:
        post:
          title: {en: Apply, lo: ຂໍ}
          backend: /v2/permits
          body: {media_types: [application/json], schema: permit}
          answers: {201: {}, 204: {}}
"""
MAPPING = MAPPING.replace("{201: {}, 204: {}}", "{204: {}}")
PERMIT: dict[str, Any] = {
    "type": "object",
    "required": ["no"],
    "properties": {
        "no": {"type": "string", "maxLength": 20},
        "state": {"type": "string", "enum": ["valid", "ended"]},
        "goods": {"type": "array", "items": {"type": "string"}},
    },
    "additionalProperties": False,
}
PARAMETERS: list[dict[str, Any]] = [
    {"name": "permit-no", "in": "path", "required": True, "schema": {"type": "string"}},
    {"name": "format", "in": "query", "required": True, "schema": {"enum": ["json", "xml"]}},
    {"name": "l", "in": "query", "schema": {"type": "string"}},
    {"name": "year", "in": "query", "explode": False,
     "schema": {"type": "array", "items": {"type": "integer"}, "maxItems": 9}},
]  # fmt: skip
PARAMETERS[1]["schema"]["type"] = "string"
CONTENT = {"application/json": {"schema": {"$ref": "#/components/schemas/Permit"}}}
DOCUMENT: dict[str, Any] = {
    "openapi": "3.0.3",
    "info": {"title": "Trade", "version": "2"},
    "servers": [{"url": "https://trade.example/api/v2"}],
    "paths": {
        "/permits/{permit-no}": {
            "get": {"parameters": PARAMETERS, "responses": {"200": {"content": CONTENT}}}
        },
        "/permits": {
            "post": {
                "requestBody": {"required": True, "content": CONTENT},
                "responses": {"204": {"description": "taken"}},
            }
        },
        "/other": {"get": {"responses": {"200": {"content": {"*/*": {}}}}}},
    },
    "components": {"schemas": {"Permit": PERMIT}},
}
GET = ("paths", "/permits/{permit-no}", "get")
SCHEMA = ("components", "schemas", "Permit")


def mapped(text: str = MAPPING) -> Api:
    return read(parse(text.encode(), "trade.yaml"))


def found(document: dict[str, Any]) -> list[Finding]:
    return list(compare(mapped().mapping, "http://10.1.2.3/api", document, schemas.load_all()))


def test_an_api_that_says_what_the_mapping_needs_has_not_drifted() -> None:
    """Whatever the document names its variables, whoever serves it, and beside what else it has;
    a text that may be shorter than the mapping knows fails no call."""
    assert [one for one in found(DOCUMENT) if not one.warning] == []
    assert {one.rule.partition(": ")[2] for one in found(DOCUMENT)} == {
        "texts must be shorter (20)"
    }


def _set(*path: Any, to: Any) -> Callable[[dict[str, Any]], None]:
    def change(document: dict[str, Any]) -> None:
        node: Any = document
        for step in path[:-1]:
            node = node[step]
        if to is None:
            del node[path[-1]]
        else:
            node[path[-1]] = to

    return change


@pytest.mark.parametrize(
    ("change", "where", "words"),
    [
        (_set(*GET, to=None), "permits GET /permits/{number}", "has no GET /permits/{number}"),
        (_set("paths", "/permits", to=None), "permits POST /permits", "has no POST /permits"),
        (_set(*GET, "parameters", 3, to=None), "GET", "a parameter is gone (year)"),
        (_set(*GET, "parameters", 3, "explode", to=True), "GET", "written otherwise (year)"),
        (_set(*GET, "parameters", 2, "schema", "type", to="integer"), "GET", "fewer types"),
        (_set(*GET, "parameters", 2, "schema", "enum", to=["en"]), "GET", "lacks some (\"lo\")"),
        (_set(*GET, "parameters", 2, "name", to="lang"), "GET", "a parameter is gone (l)"),
        (
            _set(*GET, "parameters", 3, to={**PARAMETERS[3], "name": "office", "required": True}),
            "GET",
            "a parameter is required (office)",
        ),
        (
            _set(*GET, "responses", "200", "content", to={"text/xml": {}}),
            "GET",
            "another media type",
        ),
        (_set(*GET, "responses", "202", to={"content": CONTENT}), "GET", "another status (202)"),
        (_set(*SCHEMA, "required", to=None), "GET", "a property is required (no)"),
        (_set(*SCHEMA, "properties", "no", "type", to="integer"), "GET", "fewer types"),
        (_set(*SCHEMA, "properties", "state", "enum", to=["valid", "ended", "lost"]), "GET",
         "the list of values lacks some"),
        (_set(*SCHEMA, "properties", "owner", to={"type": "string"}), "GET", "(owner)"),
        (_set(*SCHEMA, "required", to=["no", "goods"]), "POST", "a property is required (goods)"),
        (_set("paths", "/permits", "post", "requestBody", "content", to={"text/csv": {}}), "POST",
         "(application/json)"),
    ],
)  # fmt: skip
def test_what_calls_would_fail_by_is_told(
    change: Callable[[dict[str, Any]], None], where: str, words: str
) -> None:
    """Operations, parameters, bodies and answers, by what the document says of them today."""
    document = copy.deepcopy(DOCUMENT)
    change(document)
    told = [one for one in found(document) if not one.warning]
    assert any(where in one.where and words in one.rule for one in told), told


def test_what_cannot_be_compared_is_told_as_that() -> None:
    """An operation that the scan could not say is neither gone nor sound."""
    document = copy.deepcopy(DOCUMENT)
    content = {"application/*": {}}
    document["paths"]["/permits/{permit-no}"]["get"]["responses"]["200"]["content"] = content
    told = [one for one in found(document) if "GET" in one.where]
    assert told
    assert all(one.warning and "cannot be compared" in one.rule for one in told)


@pytest.mark.parametrize("as_yaml", [False, True])
async def test_a_check_compares_with_the_document(tmp_path: Path, as_yaml: bool) -> None:
    """One beside the mapping, or of a URL; one that cannot be had is a warning."""
    document = copy.deepcopy(DOCUMENT)
    del document["paths"]["/permits"]
    text = yaml.safe_dump(document) if as_yaml else json.dumps(document)
    (tmp_path / "trade.json").write_text(text, "utf-8")
    how = Checking(schemas.load_all(), False, {}, lambda count: None)
    async with recording() as backend:
        backend.answer = lambda got: reply(body=text.encode())
        local = MAPPING.replace("http://10.1.2.3", backend.url)
        far = local.replace("openapi: trade.json", 'openapi: "${TRADE_DOCUMENT}"')
        environ = {"TRADE_DOCUMENT": f"{backend.url}/openapi.json"}
        for mapping in (local, far):
            told = await mapped(mapping).check(environ, tmp_path, how)
            wrong = [one.where for one in told if not one.warning]
            assert wrong == ["permits POST /permits"]
        (tmp_path / "trade.json").unlink()
        told = await mapped(local).check({}, tmp_path, how)
        assert any(one.warning and "cannot be read" in one.rule for one in told)


def look(folder: Path, document: Any, seed: int = 1) -> Look:
    path = folder / "trade.json"
    path.write_text(json.dumps(document), "utf-8")
    application = ApplicationId.parse("LA/GOV/MOIC/trade")
    return Look(str(path), application, "permits", {}, folder, seed=seed)


def test_a_scan_hands_out_lists_schemas_and_test_data(tmp_path: Path) -> None:
    """What is proposed has not drifted from what it was made of; made-up answers keep their
    contract, are the same for the same seed, and take nothing over from examples."""
    document = copy.deepcopy(DOCUMENT)
    permit = document["components"]["schemas"]["Permit"]
    permit["example"] = {"no": "SECRET-1"}
    permit["required"] = [*permit["properties"], "when", "code", "price", "owner"]
    permit["properties"] |= {
        "when": {"type": "string", "format": "date-time"},
        "code": {"type": "string", "pattern": "^[A-Z]{2}-[0-9]{4}$"},
        "price": {"type": "number", "minimum": 5, "exclusiveMinimum": True, "maximum": 9},
        "owner": {"allOf": [{"$ref": "#/components/schemas/Owner"}], "nullable": True},
    }
    document["components"]["schemas"]["Owner"] = {
        "type": "object",
        "required": ["mail"],
        "properties": {"mail": {"type": "string", "format": "email"}},
    }
    scanned = kinds.scan(look(tmp_path, document))
    wrapping = read(parse(scanned.mapping.encode(), "m.yaml"))
    (operation,) = wrapping.mapping.services["permits"].operations
    assert (operation.sent["year"].listed, operation.sent["year"].most) == ("comma", 9)
    assert list(compare(wrapping.mapping, "https://trade.example/api/v2", document, {})) == []
    assert scanned.schema is not None
    assert set(scanned.schema["$defs"]) == {"Permit", "Owner"}
    assert scanned.test_data is not None
    (made,) = scanned.test_data.values()
    assert list(scanned.test_data) == ["Permit"]
    assert len(made) == 5
    assert "SECRET" not in json.dumps(made)
    judge = Contract.compile(wrapping.document("permits", {}), {}).find("GET", "/permits/x")
    for value in made:
        kind = (("content-type", "application/json"),)
        judge.operation.check_response(200, kind, json.dumps(value).encode())
    assert kinds.scan(look(tmp_path, document)).test_data == scanned.test_data
    assert kinds.scan(look(tmp_path, document, 2)).test_data != scanned.test_data


_JUNK: tuple[Any, ...] = (
    None, 1, True, 1.5, "x", "http://[", [], {}, [1], {"a": 1}, {"$ref": "#/x"}, ["string", "null"],
    {"$ref": "#/components/schemas/Permit"}, "/{a}",
)  # fmt: skip


def _places(node: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    if path:
        yield path
    items = node.items() if isinstance(node, dict) else enumerate(node if _many(node) else ())
    for step, child in items:
        yield from _places(child, (*path, step))


def _many(node: Any) -> bool:
    return isinstance(node, list)


def test_a_document_that_is_not_what_it_says_is_a_clear_problem(tmp_path: Path) -> None:
    """Whatever stands in whatever place: something is proposed and compared, or a problem says
    why not."""
    chance = random.Random(71)
    everywhere = list(_places(DOCUMENT))
    for _ in range(60):
        path, junk = chance.choice(everywhere), chance.choice(_JUNK)
        document = copy.deepcopy(DOCUMENT)
        _set(*path, to=None)(document) if junk is None else _set(*path, to=junk)(document)
        try:
            kinds.scan(look(tmp_path, document))
            found(document)
        except Problem:
            continue
        except Exception as error:
            raise AssertionError(f"{junk!r} at {path}") from error
