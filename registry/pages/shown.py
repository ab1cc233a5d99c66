"""What pages show of schemas and OpenAPI documents."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from exchange.contracts.deprecation import MARK, Deprecation, deprecation_of, read_deprecations
from exchange.once_only.elements import MARK as ELEMENT
from exchange.problems import Problem, Text

METHODS: Final = ("get", "put", "post", "delete", "options", "head", "patch", "trace")


def references(document: Any) -> tuple[set[str], set[str]]:
    """The data elements that a document marks, and the schemas that it refers to by ``$id``."""
    elements: set[str] = set()
    schemas: set[str] = set()
    pending = [document]
    while pending:
        node = pending.pop()
        if isinstance(node, list):
            pending += node
        elif isinstance(node, dict):
            pending += node.values()
            marked, named = node.get(ELEMENT), node.get("$ref")
            if isinstance(marked, str):
                elements.add(marked)
            if isinstance(named, str) and not named.startswith("#"):
                schemas.add(named.partition("#")[0])
    return elements, schemas


def text_of(node: Mapping[str, Any], key: str) -> Text:
    """A text of a schema or an OpenAPI document in both languages; empty where there is none."""
    return Text(str(node.get(key) or ""), str(node.get(f"x-{key}-lo") or ""))


def parts(schema: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Properties of a schema, then its definitions: each with what it says of itself."""
    required = schema.get("required", ())
    for kind, member in (("property", "properties"), ("definition", "$defs")):
        found = schema.get(member)
        for name, node in found.items() if isinstance(found, dict) else ():
            shown = node if isinstance(node, dict) else {}
            yield {
                "kind": kind,
                "name": name,
                "title": text_of(shown, "title"),
                "description": text_of(shown, "description"),
                "type": type_of(shown),
                "reference": str(shown.get("$ref", "")).partition("#")[0],
                "required": name in required,
            }


def type_of(node: Mapping[str, Any]) -> str:
    """What a value is, in one line: its type or reference, format and bounds."""
    if "$ref" in node:
        return str(node["$ref"])
    kinds = node.get("type", "")
    said = [" | ".join(kinds) if isinstance(kinds, list) else str(kinds)]
    bounds = ("format", "minLength", "maxLength", "minimum", "maximum", "maxItems", "pattern")
    said += [f"{name} {node[name]}" for name in bounds if name in node]
    if isinstance(node.get("items"), dict):
        said.append(f"items: {type_of(node['items'])}")
    if "enum" in node:
        said.append(", ".join(str(one) for one in node["enum"][:20]))
    return " · ".join(part for part in said if part)


def operations(document: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The operations of an OpenAPI document as the pages show them."""
    paths = document.get("paths")
    for template, item in paths.items() if isinstance(paths, dict) else ():
        for method in METHODS if isinstance(item, dict) else ():
            node = item.get(method)
            if isinstance(node, dict):
                yield {
                    "method": method.upper(),
                    "path": template,
                    "summary": text_of(node, "summary"),
                    "parameters": [
                        f"{one['name']} ({one.get('in')})"
                        for one in [*item.get("parameters", []), *node.get("parameters", [])]
                        if isinstance(one, dict) and "name" in one
                    ],
                }


def deprecation(schema: Mapping[str, Any]) -> Deprecation | None:
    """What a schema says of its end; None also when that is malformed."""
    try:
        return deprecation_of(schema, MARK, "")
    except Problem:
        return None


def deprecations(document: bytes | None) -> dict[tuple[str, str], Deprecation]:
    """What an OpenAPI document says of the ends of its operations; empty when it is malformed."""
    try:
        return {} if document is None else read_deprecations(document)
    except Problem:
        return {}
