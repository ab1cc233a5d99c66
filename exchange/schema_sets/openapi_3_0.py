"""Schemas in the dialect of OpenAPI 3.0, translated."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

from exchange.schema_sets.keywords import NOT_IN_3_0, Direction
from exchange.schema_sets.places import Place, refuse

Marked: TypeAlias = Callable[[Any, Place, str], bool]


def from_3_0(
    node: dict[str, Any], place: Place, direction: Direction | None, marked: Marked
) -> dict[str, Any]:
    """A Schema Object as JSON Schema 2020-12: what differs (OpenAPI 3.0.4 section 4.7.24).

    Args:
        marked: whether the property at a place has a mark, through references.

    Raises:
        Problem: ``INVALID_DOCUMENT`` at a keyword that 3.0 does not have, or has otherwise.
    """
    if "$ref" in node:  # section 4.7.23.1: siblings of a Reference Object are ignored
        return {"$ref": node["$ref"]}
    for keyword in NOT_IN_3_0:
        if keyword in node:
            raise refuse(
                place / keyword, "not a keyword of OpenAPI 3.0; declare openapi 3.1 to use it"
            )
    out = dict(node)
    kind = out.get("type")
    if kind is not None and not isinstance(kind, str):
        raise refuse(place / "type", "OpenAPI 3.0 has one type; declare openapi 3.1 for a list")
    if kind == "null":
        raise refuse(place / "type", "OpenAPI 3.0 has no type null; use nullable")
    nullable = out.pop("nullable", False)
    if not isinstance(nullable, bool):
        raise refuse(place / "nullable", "must be true or false")
    if nullable and kind is not None:
        out["type"] = [kind, "null"]
    for bound, exclusive in (
        ("minimum", "exclusiveMinimum"),
        ("maximum", "exclusiveMaximum"),
    ):
        flag = out.pop(exclusive, False)
        if not isinstance(flag, bool):
            raise refuse(place / exclusive, "true or false in OpenAPI 3.0")
        if flag and bound in out:
            out[exclusive] = out.pop(bound)
    _one_way(out, place, direction, marked)
    return out


def _one_way(
    out: dict[str, Any], place: Place, direction: Direction | None, marked: Marked
) -> None:
    """``required`` binds a readOnly property in responses only, a writeOnly in requests."""
    mark = "readOnly" if direction is Direction.REQUEST else "writeOnly"
    required, properties = out.get("required"), out.get("properties")
    if isinstance(required, list) and isinstance(properties, dict):
        out["required"] = [
            name
            for name in required
            if not isinstance(name, str) or not marked(properties.get(name), place, mark)
        ]
