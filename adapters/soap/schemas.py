"""JSON Schemas (2020-12) of shapes: what a value that was read always satisfies.

Complex types stand under ``#/components/schemas/``, each once, so a recursive type needs no more.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypeAlias

from adapters.soap.lexical import Habits
from adapters.soap.rules import NO_MASKS, Masks
from adapters.soap.shapes import (
    TYPE,
    Choice,
    Complex,
    Lexical,
    Member,
    Simple,
    Type,
    Types,
    in_place,
    reachable,
)

Schema: TypeAlias = dict[str, Any]

_BASE: dict[Lexical, Schema] = {
    Lexical.STRING: {"type": "string"},
    Lexical.TOKEN: {"type": "string"},
    Lexical.BOOLEAN: {"type": "boolean"},
    Lexical.INTEGER: {"type": "integer"},
    Lexical.DECIMAL: {"type": "number"},
    Lexical.FLOAT: {"type": "number"},
    Lexical.DATE: {"type": "string", "format": "date"},
    Lexical.DATETIME: {"type": "string", "format": "date-time"},
    Lexical.BASE64: {"type": "string", "contentEncoding": "base64"},
    Lexical.HEX: {"type": "string", "pattern": "^([0-9A-Fa-f]{2})*$"},
}
DECIMAL_TEXT = "^-?[0-9]+(\\.[0-9]+)?$"


def of_simple(simple: Simple, habits: Habits) -> Schema:
    """The schema of a value of ``simple``."""
    schema = dict(_BASE[simple.kind])
    as_text = simple.kind is Lexical.DECIMAL and habits.decimals_as_text
    if as_text:
        schema = {"type": "string", "pattern": DECIMAL_TEXT}
    if simple.values:
        schema["enum"] = list(simple.values)
    if simple.pattern is not None:
        schema["pattern"] = simple.pattern.pattern
    elif simple.listed and simple.kind in (Lexical.STRING, Lexical.TOKEN):
        schema["pattern"] = "^[^ \\t\\r\\n]+$"  # a blank would part it
    for key, length in (("minLength", simple.min_length), ("maxLength", simple.max_length)):
        if length is not None:
            schema[key] = length
    for key, bound in (("minimum", simple.minimum), ("maximum", simple.maximum)):
        if bound is not None and not as_text:
            whole = bound == bound.to_integral_value()
            schema[key] = int(bound) if whole else float(bound)
    return {"type": "array", "items": schema} if simple.listed else schema


def of_type(kind: Type, types: Types, habits: Habits) -> Schema:
    """The schema of a value of ``kind``: its own, or a reference to each type that may come."""
    if not isinstance(kind, str):
        return of_simple(kind, habits)
    ways: list[Schema] = []
    for one in in_place(types[kind], types):
        told = {} if one.name == kind else {"required": [TYPE]}
        ways.append({"$ref": f"#/components/schemas/{one.name}"} | told)
    return ways[0] if len(ways) == 1 else {"anyOf": ways}


def _of_member(
    shape: Complex, member: Member, types: Types, habits: Habits, masks: Masks
) -> Schema:
    schema = masks.schema(shape, member, of_type(member.type, types, habits))
    if member.nillable:
        schema = {"anyOf": [schema, {"type": "null"}]}
    if not member.repeated:
        return schema
    listed: Schema = {"type": "array", "items": schema}
    if member.minimum:
        listed["minItems"] = member.minimum
    if member.maximum is not None:
        listed["maxItems"] = member.maximum
    return listed


def of_complex(shape: Complex, types: Types, habits: Habits, masks: Masks = NO_MASKS) -> Schema:
    """The schema of an object of a complex type, as any caller may see it."""
    told: Schema = {TYPE: {"const": shape.name}} if shape.stands else {}
    members = {one.name: _of_member(shape, one, types, habits, masks) for one in shape.members}
    schema: Schema = {
        "type": "object",
        "properties": told | members,
        "additionalProperties": False,
    }
    absent = {name for name in members if masks.may_be_absent(shape, name)}
    required = [one.name for one in shape.members if one.minimum and one.name not in absent]
    if required:
        schema["required"] = required
    choices = [_of_choice(choice) for choice in shape.choices if not choice.names & absent]
    if choices:
        schema["allOf"] = choices
    return schema


def _of_choice(choice: Choice) -> Schema:
    ways: list[Schema] = []
    for one in choice.alternatives:
        way: Schema = {"properties": dict.fromkeys(sorted(choice.names - one.names), False)}
        if one.required:
            way["required"] = sorted(one.required)
        ways.append(way)
    if choice.optional:
        ways.append({"properties": dict.fromkeys(sorted(choice.names), False)})
    return {"anyOf": ways}


def components(
    roots: Iterable[Type], types: Types, habits: Habits, masks: Masks = NO_MASKS
) -> dict[str, Schema]:
    """The schemas of all complex types that ``roots`` need, by name."""
    names = sorted(reachable(roots, types))
    return {name: of_complex(types[name], types, habits, masks) for name in names}
