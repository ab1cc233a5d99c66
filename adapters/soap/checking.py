"""Checking a SOAP mapping: every endpoint that reads is asked once, and its answer judged.

What writes is never asked. The judge is jsonschema, which shares no code with what made the answer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from collections.abc import Mapping as Map
from typing import Any
from urllib.parse import quote, urlencode

import orjson
from jsonschema import Draft202012Validator
from referencing import Registry, Resource

from adapters.findings import Finding
from adapters.kinds import Checking
from adapters.soap import openapi
from adapters.soap.documents import is_url
from adapters.soap.drifting import compare
from adapters.soap.file import fetched
from adapters.soap.mapping import Endpoint, Mapping, Method
from adapters.soap.service import SoapService
from adapters.soap.wsdl import BadWsdl
from exchange.problems import Problem
from serving.backends import BackendRequest

_TIMEOUT_S = 60.0
_MOST = 100
"""Findings of one answer; a thousand equal ones help nobody."""


async def check(mapping: Mapping, backends: Map[str, SoapService], how: Checking) -> list[Finding]:
    """All that is wrong between the mapping and the service.

    Raises:
        Problem: when the service cannot be reached at all.
    """
    findings = [*_headers(mapping), *await asyncio.to_thread(_drift, mapping)]
    for code, service in mapping.services.items():
        document = orjson.loads(mapping_document(mapping, code, how))
        for endpoint in service.endpoints:
            where = f"{code} {endpoint.method} {endpoint.path}"
            if endpoint.method is Method.POST:
                continue
            target = _target(endpoint, how.given)
            if target is None:
                rule = "was not asked: a parameter has no example; give one, or --with NAME=VALUE"
                findings.append(Finding(where, rule, warning=True))
                continue
            schema = openapi.answer_schema(endpoint, mapping.types)
            findings += await _ask(backends[code], schema, target, where, document, how)
    return findings


def _headers(mapping: Mapping) -> Iterator[Finding]:
    given = {path[0] for path, _ in mapping.source.header}
    for call in mapping.calls:
        for header in call.headers:
            if header.name not in given:
                rule = (
                    f"the WSDL declares the header {header.name}, which soap_header does not give"
                )
                yield Finding(call.name, rule, warning=True)


def _drift(mapping: Mapping) -> list[Finding]:
    """Whether a WSDL of a URL still promises what was kept of it; waits for its host."""
    if not is_url(mapping.source.wsdl):
        return []
    try:
        changes = compare(mapping, fetched(mapping.source))
    except BadWsdl as error:
        rule = f"cannot be compared with its kept copy: {error}"
        return [Finding(mapping.source.where, rule, warning=True)]
    return [
        Finding(one.place, f"{one.words}; saphan adapter drift tells all", type="drift")
        for one in changes
        if one.breaks
    ]


def mapping_document(mapping: Mapping, code: str, how: Checking) -> bytes:
    """The document that answers are judged by."""
    return openapi.document(mapping, code, how.shared)


def _target(endpoint: Endpoint, given: Map[str, str]) -> tuple[str, str] | None:
    """Path and query of a request with the values that are known; None when one is missing."""
    path, query = endpoint.path, {}
    for name, parameter in endpoint.parameters.items():
        value = given.get(name, parameter.example)
        in_path = name in endpoint.variables
        if value is None:
            if in_path or parameter.required:
                return None
        elif in_path:
            path = path.replace(f"{{{name}}}", quote(value, safe=""))
        elif parameter.required or name in given:
            query[name] = value
    return path, urlencode(query)


async def _ask(
    backend: SoapService,
    schema: dict[str, Any],
    target: tuple[str, str],
    where: str,
    document: dict[str, Any],
    how: Checking,
) -> list[Finding]:
    request = BackendRequest("GET", target[0], target[1], (), b"")
    try:
        response = await backend.exchange(request, timeout_s=_TIMEOUT_S)
    except Problem as problem:
        return [Finding(where, problem.detail, place=problem.where, type=str(problem.code))]
    body = orjson.loads(response.body)
    if response.status == 404:
        return [Finding(where, "answers that there is no such record: give another example")]
    if response.status != 200:
        return [Finding(where, str(body.get("detail")), place=str(body.get("where")))]
    how.progress(len(body.get("items", [body])))
    registry = Registry().with_resource("urn:document", Resource.opaque(document))
    for identifier, text in how.shared.items():
        registry = registry.with_resource(identifier, Resource.from_contents(orjson.loads(text)))
    judge = Draft202012Validator(_absolute(schema), registry=registry)
    return [
        Finding(where, f"{error.validator}", place=f"/{'/'.join(map(str, error.absolute_path))}")
        for error, _ in zip(judge.iter_errors(body), range(_MOST), strict=False)
    ]


def _absolute(schema: Any) -> Any:
    """References of the document as references to it from outside."""
    if isinstance(schema, dict):
        return {
            key: f"urn:document{value}"
            if key == "$ref" and str(value).startswith("#")
            else _absolute(value)
            for key, value in schema.items()
        }
    return [_absolute(one) for one in schema] if isinstance(schema, list) else schema
