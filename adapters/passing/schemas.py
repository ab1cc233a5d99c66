"""JSON Schemas of somebody else's OpenAPI document: what they refer to, and in today's words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

_COMPONENT: Final = "#/components/schemas/"
# Words of OpenAPI 3.0 alone, or that say nothing of what is valid.
_LEFT_OUT: Final = frozenset({"nullable", "discriminator", "xml", "externalDocs", "example"})
_BOUNDS: Final = {"exclusiveMinimum": "minimum", "exclusiveMaximum": "maximum"}


def modern(schema: Any) -> Any:
    """A schema of OpenAPI 3.0 as JSON Schema 2020-12, of which 3.1 speaks; one of 3.1 as it is."""
    if isinstance(schema, list):
        return [modern(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    found: dict[str, Any] = {}
    for key, value in schema.items():
        if key in ("properties", "patternProperties", "$defs") and isinstance(value, dict):
            found[key] = {name: modern(one) for name, one in value.items()}
        elif key in ("enum", "const", "default", "examples"):
            found[key] = value
        elif key not in _LEFT_OUT and not (key in _BOUNDS and isinstance(value, bool)):
            found[key] = modern(value)
    for key, bound in _BOUNDS.items():
        if schema.get(key) is True and bound in found:
            found[key] = found.pop(bound)
    if schema.get("nullable") is True:
        return _nullable(found)
    return found


def _nullable(schema: dict[str, Any]) -> dict[str, Any]:
    if isinstance(schema.get("type"), str):
        enum = {"enum": _with_null(schema["enum"])} if "enum" in schema else {}
        return schema | {"type": [schema["type"], "null"]} | enum
    return {"anyOf": [schema, {"type": "null"}]} if schema else schema


def _with_null(words: list[Any]) -> list[Any]:
    return words if None in words else [*words, None]


def referred(schema: Any, known: Mapping[str, Any]) -> Iterator[str]:
    """The names of components that a schema needs, each once."""
    seen: set[str] = set()
    todo = [schema]
    while todo:
        node = todo.pop()
        if isinstance(node, list):
            todo += node
        elif isinstance(node, dict):
            todo += node.values()
            reference = node.get("$ref")
            if isinstance(reference, str) and reference.startswith(_COMPONENT):
                name = reference.removeprefix(_COMPONENT)
                if name not in seen and name in known:
                    seen.add(name)
                    todo.append(known[name])
                    yield name
