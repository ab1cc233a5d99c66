"""The OpenAPI 3.1 document of a service that is passed through.

Invariants: it says exactly what :mod:`adapters.passing.requests` lets in and
:mod:`adapters.passing.answers` lets out; it is the same bytes for the same mapping.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import orjson

from adapters.answers.replies import OPENAPI_VERSION, PROBLEM_SCHEMA, PROBLEM_TYPE
from adapters.mapping.parameters import parameter_document
from adapters.passing.model import ApiMapping, Content, Operation, Sent

_PROBLEM = {PROBLEM_TYPE: {"schema": {"$ref": "#/components/schemas/problem"}}}


def document(mapping: ApiMapping, code: str) -> bytes:
    """The document of the service ``code`` as JSON."""
    service = mapping.services[code]
    tree = {
        "openapi": OPENAPI_VERSION,
        "info": {
            "title": service.title["en"],
            "x-title-lo": service.title["lo"],
            "version": mapping.head.version,
            "x-saphan-service": str(service.id),
        },
        "paths": {
            path: {method.lower(): _operation(one) for method, one in methods.items()}
            for path, methods in service.endpoints.items()
        },
        "components": {"schemas": {"problem": PROBLEM_SCHEMA, **mapping.schemas}},
    }
    return orjson.dumps(tree, option=orjson.OPT_INDENT_2)


def _operation(one: Operation) -> dict[str, Any]:
    parameters = [
        _parameter(parameter_document(parameter, in_path=name in one.variables), one.sent[name])
        for name, parameter in one.parameters.items()
    ]
    told: dict[str, Any] = {
        "operationId": one.operation_id,
        "summary": one.title["en"],
        "x-summary-lo": one.title["lo"],
        "x-saphan-strict-query": True,
        "parameters": parameters,
        "responses": dict(_responses(one)),
    }
    if one.body is not None:
        told["requestBody"] = {
            "required": one.body.required,
            "content": _content(one.body.content),
        }
    return told


def _parameter(told: dict[str, Any], sent: Sent) -> dict[str, Any]:
    """One value, or a list in which the name comes with each (``form``, exploded)."""
    if sent.listed is None:
        return told
    items = {"type": "array", "items": told["schema"], "minItems": 1, "maxItems": sent.most}
    example = {"example": [told["example"]]} if "example" in told else {}
    return told | {"schema": items, "style": "form", "explode": True} | example


def _responses(one: Operation) -> Iterator[tuple[str, Any]]:
    declared = {rule.status: rule for rule in one.answers.values()}
    for status, rule in sorted(declared.items()):
        response: dict[str, Any] = {"description": one.title["en"] if status < 400 else "Refused"}
        if rule.content.media_types:
            response["content"] = _content(rule.content)
        yield str(status), response
    refusals = [(400, "The request is malformed"), (404, "There is no such thing")]
    if one.visible is not None:
        refusals.append((403, "The caller may not ask for this"))
    if one.ranges:
        refusals.append((416, "There is no such part"))
        part = _content(one.answers[200].content)
        yield "206", {"description": "The part that Range asked for", "content": part}
    for status, words in refusals:
        if status not in declared:
            yield str(status), {"description": words, "content": _PROBLEM}


def _content(content: Content) -> dict[str, Any]:
    told = {} if content.schema is None else {"schema": content.schema}
    return dict.fromkeys(content.media_types, told)
