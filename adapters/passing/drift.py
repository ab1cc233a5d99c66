"""What of an API has changed since its mapping was written, by the API's own OpenAPI document.

What the mapping asks of the API, and expects of it, is an old caller; what the document says is the
new service. Both are said in one form: the document is read by the scan, so what a scan can propose
is what can be compared. :mod:`exchange.compatibility` decides whether the one still understands the
other. Header fields are not compared: those of keys are no document's, and others are optional.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final
from urllib.parse import unquote, urlsplit

import orjson

from adapters.answers.replies import OPENAPI_VERSION
from adapters.findings import Finding
from adapters.mapping.model import Parameter
from adapters.mapping.parameters import parameter_document
from adapters.passing.documents import server_of
from adapters.passing.model import ApiMapping, Content, Listed, Operation, Place
from adapters.passing.scanning import proposed
from exchange.compatibility import Break, Way, compare_openapi
from exchange.compatibility.breaks import RULES
from exchange.compatibility.conjunctions import At
from exchange.compatibility.inclusion import Inclusion
from exchange.contracts.openapi import Reader
from exchange.problems import Problem

_VARIABLE: Final = re.compile(r"\{[^{}/]*\}")
# An API's document is rarely exact to the letter; these are what calls fail by.
_FAILING: Final = frozenset(
    {
        "operation", "parameter", "parameter-required", "parameter-style", "request-body",
        "request-body-required", "request-type", "answer", "answer-body", "answer-type", "type",
        "required", "additionalProperties", "enum",
    }
)  # fmt: skip


def compare(
    mapping: ApiMapping, url: str, document: Mapping[str, Any], shared: Mapping[str, bytes]
) -> Iterator[Finding]:
    """All that the document no longer says as the mapping needs it.

    Args:
        url: the mapping's address, with what the environment gave.
        shared: the shared schemas by their ``$id``.
    """
    operations = [
        (code, one) for code, service in mapping.services.items() for one in service.operations
    ]
    base = _base_of(url)
    theirs_base = _base_of(server_of(document))
    paths = {id(one): _relative(base, theirs_base, _path(one)) for _, one in operations}
    asked = {(one.method, _shape(paths[id(one)])) for _, one in operations}
    api, unsure = proposed(document, url, lambda method, path: (method, _shape(path)) in asked)
    known = {} if api is None else {
        (one.method, _shape(_path(one))): one for one in api.services["api"].operations
    }  # fmt: skip
    for code, one in operations:
        where = f"{code} {one.method} {one.path}"
        theirs = known.get((one.method, _shape(paths[id(one)])))
        named = f"{one.method} {paths[id(one)]}"
        if theirs is not None and api is not None:
            yield from _changes(where, mapping, one, api, theirs, shared)
        elif said := [item for item in unsure if _shape(item.place) == _shape(named)]:
            words = f"cannot be compared with the API's document: {said[0].words}"
            yield Finding(where, words, warning=True)
        else:
            yield Finding(where, f"the API's document has no {named}")


def _changes(
    where: str,
    mapping: ApiMapping,
    ours: Operation,
    api: ApiMapping,
    theirs: Operation,
    shared: Mapping[str, bytes],
) -> Iterator[Finding]:
    path = _path(theirs)
    old = _document(path, ours, theirs, mapping.schemas)
    new = _document(path, theirs, theirs, api.schemas)
    try:
        breaks = (*compare_openapi(old, new, shared, {}), *_unforeseen(old, new, shared))
    except Problem as problem:
        words = f"cannot be compared with the API's document: {problem.where}: {problem.detail}"
        yield Finding(where, words, warning=True)
        return
    for one in dict.fromkeys(breaks):
        named = f" ({one.subject})" if one.subject else ""
        place = one.where.removeprefix("#/paths/").replace("~1", "/").replace("~0", "~")
        words = f"the API's document differs at {place}: {RULES[one.rule].en}{named}"
        yield Finding(where, words, warning=one.rule not in _FAILING)


def _unforeseen(old: bytes, new: bytes, shared: Mapping[str, bytes]) -> Iterator[Break]:
    """Members that the API may answer and a closed schema of the mapping refuses: other readers
    would pass over them, the contract does not."""
    ours, theirs = Reader(old, shared), Reader(new, {})
    (before,), (after,) = tuple(ours.drafts()), tuple(theirs.drafts())
    ours.schemas.close()
    theirs.schemas.close()
    for status, content in after.responses.items():
        expected = before.responses.get(status)
        for kind, schema in content.schemas.items():
            wanted = None if expected is None else expected.schemas.get(kind)
            if wanted is None or schema is None:
                continue
            narrow, wide = At.of(theirs.schemas, schema), At.of(ours.schemas, wanted)
            for one in Inclusion(Way.BACKWARD).breaks(narrow, wide):
                if one.rule == "additionalProperties":
                    yield one


def _base_of(url: str) -> str:
    return urlsplit(url).path.rstrip("/")


def _relative(base: str, theirs: str, path: str) -> str:
    """The path as the document has it, below its own base."""
    whole = base + path
    return whole.removeprefix(theirs) if whole.startswith(f"{theirs}/") else path


def _path(one: Operation) -> str:
    """The path at the backend, with the names of its variables."""
    parts = one.template.path
    return "".join(f"{{{part}}}" if index % 2 else part for index, part in enumerate(parts))


def _shape(path: str) -> str:
    return _VARIABLE.sub("{}", path)


# What is asked and expected, as a document.


def _document(path: str, one: Operation, theirs: Operation, schemas: Mapping[str, Any]) -> bytes:
    tree = {
        "openapi": OPENAPI_VERSION,
        "info": {"title": "API", "version": "1"},
        "paths": {path: {one.method.lower(): _operation(path, one, theirs)}},
        "components": {"schemas": schemas},
    }
    return orjson.dumps(tree)


def _operation(path: str, one: Operation, theirs: Operation) -> dict[str, Any]:
    names = [name[1:-1] for name in _VARIABLE.findall(path)]
    variables = zip(names, one.template.path[1::2], strict=True)
    told: dict[str, Any] = {
        "parameters": [
            {"name": name, "in": "path", "required": True, "schema": _schema(one.parameters[own])}
            for name, own in variables
        ],
        "responses": {str(status): _content(rule.content) for status, rule in one.answers.items()},
    }
    told["parameters"] += _query(one, theirs)
    if one.body is not None:
        told["requestBody"] = {"required": one.body.required, **_content(one.body.content)}
    return told


def _query(one: Operation, theirs: Operation) -> Iterator[dict[str, Any]]:
    known = {sent.name: name for name, sent in theirs.sent.items()}
    given = set(one.template.path[1::2])
    for pair in _pairs(one):
        name, _, value = pair.partition("=")
        name, variable = unquote(name), value[1:-1]
        if _VARIABLE.fullmatch(value) and variable in one.parameters:
            yield _parameter(name, one.parameters[variable], None, required=True)
        elif name in known:  # a text of the mapping, which the API takes as it always did
            yield _parameter(name, theirs.parameters[known[name]], None, required=True)
    given |= set(one.template.query[1::2])
    for name, parameter in one.parameters.items():
        sent = one.sent[name]
        if name not in given and sent.place is Place.QUERY:
            always = parameter.required or parameter.default is not None
            yield _parameter(sent.name, parameter, sent.listed, required=always)


def _pairs(one: Operation) -> list[str]:
    parts = one.template.query
    whole = "".join(f"{{{part}}}" if index % 2 else part for index, part in enumerate(parts))
    return [pair for pair in whole.split("&") if pair]


def _parameter(
    name: str, one: Parameter, listed: Listed | None, *, required: bool
) -> dict[str, Any]:
    schema = _schema(one)
    told: dict[str, Any] = {"name": name, "in": "query", "required": required, "schema": schema}
    if listed is not None:
        explode = listed is Listed.REPEATED
        told |= {"schema": {"type": "array", "items": schema}, "explode": explode}
    return told


def _schema(one: Parameter) -> dict[str, Any]:
    """The values that reach the API."""
    schema: dict[str, Any] = parameter_document(one)["schema"]
    schema.pop("default", None)
    return schema | ({"enum": sorted(one.table.values())} if one.table else {})


def _content(content: Content) -> dict[str, Any]:
    schema = {} if content.schema is None else {"schema": content.schema}
    told: dict[str, Any] = {"description": ""}
    return told | (
        {"content": dict.fromkeys(content.media_types, schema)} if content.media_types else {}
    )
