"""The OpenAPI 3.1 document of a service over SOAP: its schemas are those of the WSDL.

Invariants: the document says exactly what :mod:`adapters.soap.requests` accepts and
:mod:`adapters.soap.answers` gives; it is the same bytes for the same mapping and WSDL.
"""

from __future__ import annotations

from collections.abc import Mapping as Map
from typing import Any

import orjson

from adapters.answers.faults import MAX_VALUE_LENGTH
from adapters.answers.replies import OPENAPI_VERSION, PROBLEM_SCHEMA, PROBLEM_TYPE
from adapters.mapping.model import Operation
from adapters.openapi import PAGE_SCHEMA
from adapters.service import JSON_TYPE, SELECTION_TYPE
from adapters.soap.lexical import Habits
from adapters.soap.mapping import Endpoint, FaultKind, Mapping, Method, Parameter
from adapters.soap.schemas import Schema, components, of_complex, of_simple, of_type
from adapters.soap.shapes import Lexical, Simple, Types, in_place

PROBLEM_NAME = "saphan.problem"
_TEXTS = {
    "400": "A parameter or the body is unknown, missing or malformed",
    "404": "There is no such record",
}


def document(mapping: Mapping, code: str, shared: Map[str, bytes]) -> bytes:
    """The document of the service ``code``; ``shared`` are the shared schemas by ``$id``."""
    service, habits = mapping.services[code], mapping.source.habits
    roots = [one.record.type for one in service.endpoints]
    roots += [one.body_member.type for one in service.endpoints if one.body_member is not None]
    schemas = components(roots, mapping.types, habits, mapping.masks)
    for endpoint in service.endpoints:
        if endpoint.method is Method.GET:
            schemas |= _selection(endpoint, mapping)
    tree = {
        "openapi": OPENAPI_VERSION,
        "info": {
            "title": service.title["en"],
            "x-title-lo": service.title["lo"],
            "version": mapping.head.version,
            "x-saphan-service": str(service.id),
        },
        "paths": {
            endpoint.path: {
                endpoint.method.lower(): _operation(
                    endpoint, mapping.types, habits, PAGE_SCHEMA in shared
                )
            }
            for endpoint in service.endpoints
        },
        "components": {"schemas": schemas | {PROBLEM_NAME: PROBLEM_SCHEMA}},
    }
    return orjson.dumps(tree, option=orjson.OPT_INDENT_2)


def answer_schema(
    endpoint: Endpoint, types: Types, paged: bool = False, selection: bool = False
) -> Schema:
    """The schema of the answer of ``endpoint``, whose references lie in the document."""
    record = of_type(endpoint.record.type, types, Habits())
    if selection:
        record = {"$ref": f"#/components/schemas/{endpoint.record.type}.selection"}
    if endpoint.operation is Operation.ONE:
        return record
    items: Schema = {"type": "array", "items": record}
    if paged:
        listed = {"type": "object", "properties": {"items": items}}
        return {"allOf": [{"$ref": PAGE_SCHEMA}, listed]}
    return {
        "type": "object",
        "required": ["items", "next"],
        "properties": {"items": items, "next": {"type": "null"}},
        "additionalProperties": False,
    }


def _selection(endpoint: Endpoint, mapping: Mapping) -> dict[str, Schema]:
    types, habits, masks = mapping.types, mapping.source.habits, mapping.masks
    name = str(endpoint.record.type)
    wholes = [of_complex(one, types, habits, masks) for one in in_place(types[name], types)]
    members: dict[str, list[Schema]] = {}
    for member, schema in (pair for whole in wholes for pair in whole["properties"].items()):
        ways = members.setdefault(member, [])
        ways += [schema] if schema not in ways else []
    parts = {
        member: ways[0] if len(ways) == 1 else {"anyOf": ways} for member, ways in members.items()
    }
    selection = {"type": "object", "properties": parts, "additionalProperties": False}
    return {f"{name}.selection": selection}


def _operation(endpoint: Endpoint, types: Types, habits: Habits, paged: bool) -> dict[str, Any]:
    content = {JSON_TYPE: {"schema": answer_schema(endpoint, types, paged)}}
    parameters = [_parameter(one, endpoint, habits) for one in endpoint.parameters.values()]
    if endpoint.method is Method.GET:
        content[SELECTION_TYPE] = {"schema": answer_schema(endpoint, types, paged, True)}
        parameters.append(_FIELDS)
    told: dict[str, Any] = {
        "operationId": endpoint.operation_id,
        "summary": endpoint.title["en"],
        "x-summary-lo": endpoint.title["lo"],
        "x-saphan-strict-query": True,
        "parameters": parameters,
        "responses": {
            "200": {"description": endpoint.title["en"], "content": content},
            **{status: _problem(text) for status, text in _TEXTS.items()},
        },
    }
    if FaultKind.BUSY in endpoint.faults.values():
        told["responses"]["503"] = _problem("The service is busy; ask again later")
    if endpoint.body_member is not None:
        schema = of_type(endpoint.body_member.type, types, habits)
        told["requestBody"] = {"required": True, "content": {JSON_TYPE: {"schema": schema}}}
    return told


def _problem(text: str) -> dict[str, Any]:
    schema = {"$ref": f"#/components/schemas/{PROBLEM_NAME}"}
    return {"description": text, "content": {PROBLEM_TYPE: {"schema": schema}}}


_FIELDS: dict[str, Any] = {
    "name": "fields",
    "in": "query",
    "description": "Only these members of the record, with commas between",
    "schema": {"type": "string", "maxLength": 8_000},
}


def _parameter(parameter: Parameter, endpoint: Endpoint, habits: Habits) -> dict[str, Any]:
    in_path = parameter.name in endpoint.variables
    told: dict[str, Any] = {
        "name": parameter.name,
        "in": "path" if in_path else "query",
        "required": in_path or parameter.required,
        "schema": parameter_schema(parameter.simple, habits),
    }
    if parameter.title is not None:
        told["description"] = parameter.title["en"]
        told["x-description-lo"] = parameter.title["lo"]
    if parameter.example is not None:
        told["example"] = _example(parameter)
    return told


def parameter_schema(simple: Simple, habits: Habits) -> Schema:
    """The schema of a parameter; decimals are numbers there, however records show them."""
    schema = of_simple(simple, Habits(habits.zone))
    if schema.get("type") == "string":
        schema["maxLength"] = min(schema.get("maxLength", MAX_VALUE_LENGTH), MAX_VALUE_LENGTH)
    return schema


def _example(parameter: Parameter) -> Any:
    if parameter.simple.kind in (Lexical.INTEGER, Lexical.DECIMAL, Lexical.FLOAT, Lexical.BOOLEAN):
        return orjson.Fragment(parameter.example or "")
    return parameter.example
