"""What translated schemas say: the types they admit, and how much applies to one value.

References in them are ``#/$defs/{name}``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, TypeAlias

from exchange.schema_sets.keywords import IN_PLACE
from exchange.schema_sets.places import Place, refuse

Schemas: TypeAlias = Mapping[str, Any]
"""Translated schemas by their names."""

MAX_WORK: Final = 10_000
_ALL_TYPES: Final = frozenset({"array", "boolean", "integer", "null", "number", "object", "string"})


def types_of(schemas: Schemas, schema: Any, depth: int = 0) -> frozenset[str]:
    """The JSON types that ``schema`` can admit, as far as it says so."""
    admitted = _ALL_TYPES
    if not isinstance(schema, dict) or depth > 32:
        return admitted
    if "type" in schema:
        kinds = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
        admitted &= frozenset(kinds) | ({"integer"} if "number" in kinds else frozenset())
    if "enum" in schema:
        admitted &= frozenset(_type_of(value) for value in schema["enum"])
    if "const" in schema:
        admitted &= {_type_of(schema["const"])}
    if "$ref" in schema:
        target = schema["$ref"].rpartition("/")[2]
        admitted &= types_of(schemas, schemas[target], depth + 1)
    for one in schema.get("allOf", ()):
        admitted &= types_of(schemas, one, depth + 1)
    for keyword in ("anyOf", "oneOf"):
        if keyword in schema:
            admitted &= frozenset().union(
                *(types_of(schemas, one, depth + 1) for one in schema[keyword])
            )
    return admitted


def items_of(schemas: Schemas, name: str) -> frozenset[str]:
    """The JSON types that items of an array of this schema can have."""
    schema, hops = schemas[name], 0
    while isinstance(schema, dict) and "$ref" in schema and "items" not in schema and hops < 32:
        schema, hops = schemas[schema["$ref"].rpartition("/")[2]], hops + 1
    return types_of(schemas, schema.get("items", True) if isinstance(schema, dict) else True)


def _type_of(value: Any) -> str:
    if isinstance(value, bool):
        return "boolean"
    kinds: dict[type, str] = {
        str: "string", int: "integer", float: "number", list: "array", dict: "object"
    }  # fmt: skip
    return kinds.get(type(value), "null")


def has_alternatives(schemas: Schemas, name: str) -> bool:
    """Whether ``anyOf`` or ``oneOf`` occurs in a schema or in what it refers to."""
    nodes, seen = [schemas[name]], {name}
    while nodes:
        node = nodes.pop()
        if isinstance(node, dict):
            if "anyOf" in node or "oneOf" in node:
                return True
            target = str(node.get("$ref", "")).rpartition("/")[2]
            if target in schemas and target not in seen:
                seen.add(target)
                nodes.append(schemas[target])
            nodes.extend(node.values())
        elif isinstance(node, list):
            nodes.extend(node)
    return False


def check_work(schemas: Schemas, origins: Mapping[str, Place]) -> None:
    """Bound the schemas that apply to one instance; a circle would have no bound.

    Raises:
        Problem: ``INVALID_DOCUMENT`` at the schema that has no bound, or too high a one.
    """
    work: dict[str, int] = {}
    parts = {name: _in_place(schema) for name, schema in schemas.items()}
    for start in schemas:
        stack: list[tuple[str, bool]] = [(start, False)]
        open_names: set[str] = set()
        while stack:
            name, done = stack.pop()
            count, targets = parts[name]
            if done:
                open_names.discard(name)
                work[name] = count + sum(work[target] for target in targets)
                if work[name] > MAX_WORK:
                    raise refuse(
                        origins[name],
                        f"more than {MAX_WORK} schemas apply to one value",
                    )
            elif name in open_names:
                raise refuse(origins[name], "$ref leads in a circle on one value")
            elif name not in work:
                open_names.add(name)
                stack.append((name, True))
                stack.extend((target, False) for target in targets if target not in work)


def _in_place(schema: Any) -> tuple[int, list[str]]:
    """How many schemas apply to the same instance, and the names referred to among them."""
    if not isinstance(schema, dict):
        return 1, []
    count, targets = 1, []
    if "$ref" in schema:
        targets.append(schema["$ref"].rpartition("/")[2])
    for keyword in IN_PLACE & schema.keys():
        value = schema[keyword]
        parts = value if isinstance(value, list) else [value]
        if keyword == "dependentSchemas":
            parts = list(value.values())
        for part in parts:
            more, further = _in_place(part)
            count += more
            targets += further
    return count, targets
