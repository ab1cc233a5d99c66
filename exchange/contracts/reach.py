"""Reach: what of an agreement's grant the contract of its service has anything for.

A grant names endpoints and fields as text. An endpoint that the contract does not declare opens
nothing, and a field that no answer of the granted endpoints can hold releases nothing; both are
slips that show only when the first caller is refused or gets less than was agreed.

A field is believed to be possible where a schema leaves it open (no schema, no ``properties``,
``additionalProperties``). Not checked: whether an answer that keeps its schema in fact holds it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from exchange.agreements import Grant
from exchange.contracts.openapi import Reader
from exchange.schema_sets.collecting import SchemaSet

_LISTS = ("allOf", "anyOf", "oneOf")
_OF_OBJECTS = ("properties", "patternProperties", "additionalProperties", "unevaluatedProperties")
_OF_ARRAYS = ("prefixItems", "items", "unevaluatedItems")
_TELLING = {"$ref", *_LISTS, "then", "else", "dependentSchemas", "enum", "const"}.union(
    _OF_OBJECTS, _OF_ARRAYS
)


def idle_parts(grant: Grant, document: bytes, shared: Mapping[str, bytes]) -> list[str]:
    """A sentence for each endpoint and field of ``grant`` that matches nothing.

    Args:
        document: the OpenAPI document of the granted service.
        shared: shared JSON Schemas by their ``$id``.

    Raises:
        Problem: ``INVALID_DOCUMENT`` as :meth:`exchange.contracts.contract.Contract.compile`.
    """
    reader = Reader(document, shared)
    answers = reader.answers()
    idle = []
    found: list[str | None] = []
    for endpoint in grant.endpoints:
        names = answers.get((endpoint.method, endpoint.path))
        if names is None and endpoint.method == "HEAD":
            names = answers.get(("GET", endpoint.path))
        if names is None:
            idle.append(f"the contract has no endpoint {endpoint.method} {endpoint.path}")
        else:
            found.extend(names)
    if found and not grant.projection.everything and None not in found:
        idle += [
            f"no answer of the granted endpoints can hold the field {field}"
            for field in grant.fields
            if not any(_leads(reader.schemas, name, _tokens(field)) for name in found if name)
        ]
    return idle


def _tokens(field: str) -> tuple[str, ...]:
    return tuple(token.replace("~1", "/").replace("~0", "~") for token in field[1:].split("/"))


def _leads(schemas: SchemaSet, name: str, tokens: Sequence[str]) -> bool:
    """Whether an instance of a schema can hold the place; each schema is asked once a depth."""
    pending: list[tuple[Any, int]] = [(schemas.schema(name), 0)]
    seen: set[tuple[int, int]] = set()
    while pending:
        schema, depth = pending.pop()
        if schema is False or (id(schema), depth) in seen:
            continue
        if schema is True or depth == len(tokens):
            return True
        seen.add((id(schema), depth))
        pending += [(part, depth) for part in _same_instance(schemas, schema)]
        below = _below(schema, tokens[depth])
        if below is None:
            return True
        pending += [(part, depth + 1) for part in below]
    return False


def _same_instance(schemas: SchemaSet, schema: Mapping[str, Any]) -> Iterator[Any]:
    if "$ref" in schema:
        yield schemas.schema(schema["$ref"].rpartition("/")[2])
    for keyword in ("then", "else"):
        if keyword in schema:
            yield schema[keyword]
    for keyword in _LISTS:
        yield from schema.get(keyword, ())
    yield from schema.get("dependentSchemas", {}).values()


def _below(schema: Mapping[str, Any], step: str) -> list[Any] | None:
    """The schemas of the values a ``step`` below; None when the schema says nothing of them."""
    kind, keywords = ("array", _OF_ARRAYS) if step == "*" else ("object", _OF_OBJECTS)
    kinds = schema.get("type", kind)
    if kind != kinds and kind not in kinds:
        return []
    if not any(keyword in schema for keyword in keywords):
        return [] if _TELLING & schema.keys() else None
    found: list[Any] = []
    for keyword in keywords:
        value = schema.get(keyword, [])
        if keyword == "properties":
            found += [value[step]] if step in value else []
        elif keyword == "patternProperties":
            found += value.values() if value else []
        else:
            found += value if isinstance(value, list) else [value]
    return found
