"""Declared parameters: in a mapping file, in a request (``name=``), in the document."""

from __future__ import annotations

import re
from collections.abc import Iterable
from collections.abc import Mapping as Map
from typing import Any

from adapters.answers.faults import bad
from adapters.fields import Kind, Mismatch, Schema, parse_plain, plain_schema
from adapters.mapping.head import Texts, read_texts
from adapters.mapping.model import Parameter
from adapters.mapping.reader import Node
from adapters.mapping.records import read_table

RESERVED_PARAMETERS = frozenset({"fields", "cursor", "page_size", "sort", "count"})
_PARAMETER_NAME = re.compile(r"[a-z][a-z0-9_]{0,40}", re.ASCII)


def read_parameter(name: str, node: Node, tables: Map[str, Map[str, str]]) -> Parameter:
    """A parameter that a query declares, under a name that it may have."""
    check_parameter_name(name, node)
    return declared_parameter(name, node, tables)


def declared_parameter(
    name: str, node: Node, tables: Map[str, Map[str, str]], further: Iterable[str] = ()
) -> Parameter:
    """A parameter of any name; ``further`` are keys that the caller reads."""
    found = node.members(
        ("type",),
        (
            "required",
            "default",
            "pattern",
            "minimum",
            "maximum",
            "values",
            "table",
            "example",
            "title",
            *further,
        ),
    )
    kind = found["type"].choice(Kind)
    if kind is Kind.ENUMERATION:
        found["type"].refuse("give a string parameter the key 'values' or 'table' instead")
    if kind is Kind.DATETIME:
        found["type"].refuse("a time is compared by a filter of a field, which knows its zone")
    table = _inverse(found["table"], tables) if "table" in found else None
    parameter = Parameter(
        name=name,
        kind=kind,
        required=found["required"].boolean() if "required" in found else "default" not in found,
        default=_value(kind, found["default"]) if "default" in found else None,
        pattern=_pattern(found.get("pattern")),
        minimum=found["minimum"].integer(-(10**15), 10**15) if "minimum" in found else None,
        maximum=found["maximum"].integer(-(10**15), 10**15) if "maximum" in found else None,
        values=tuple(item.text(longest=200) for item in found["values"].items())
        if "values" in found
        else (),
        table=table,
        example=found["example"].text(longest=200) if "example" in found else None,
        title=read_texts(found["title"]) if "title" in found else None,
    )
    if parameter.required and "default" in found:
        found["default"].refuse("a required parameter has no default")
    for key in ("minimum", "maximum"):
        if key in found and kind is not Kind.INTEGER:
            found[key].refuse("only an integer has bounds")
    for key in ("pattern", "values", "table"):
        if key in found and kind is not Kind.STRING:
            found[key].refuse("only a string has a pattern, values or a table")
    return parameter


def check_parameter_name(name: str, node: Node) -> None:
    """Refuse a name that is malformed or that every list has."""
    if not _PARAMETER_NAME.fullmatch(name) or name.startswith("saphan_"):
        node.refuse(f"{name!r} is not a name of a parameter: small letters, digits and '_'")
    if name in RESERVED_PARAMETERS:
        node.refuse(f"{name!r} is a parameter of every list and cannot be declared")


def _value(kind: Kind, node: Node) -> Any:
    try:
        return parse_plain(kind, node.text(longest=200))
    except Mismatch as mismatch:
        node.refuse(mismatch.rule)


def _inverse(node: Node, tables: Map[str, Map[str, str]]) -> dict[str, str]:
    """The one word of the source for each meaning."""
    words: dict[str, str] = {}
    for word, meaning in read_table(node, tables).items():
        if meaning in words:
            node.refuse(f"{meaning!r} has several words; a parameter binds one")
        words[meaning] = word
    return words


def _pattern(node: Node | None) -> str | None:
    if node is None:
        return None
    text = node.text(longest=200)
    try:
        re.compile(text)
    except re.error as error:
        node.refuse(f"is not a regular expression: {error}")
    return text


def parameter_value(parameter: Parameter, text: str | None, where: str) -> Any:
    """The value that a request gives a parameter, or its default.

    Raises:
        Fault: 400 with the place and the rule.
    """
    if text is None:
        if parameter.required:
            raise bad(where, "is needed here")
        return parameter.default
    try:
        value = parse_plain(parameter.kind, text)
    except Mismatch as mismatch:
        raise bad(where, mismatch.rule) from mismatch
    if parameter.table is not None:
        if text not in parameter.table:
            raise bad(where, f"must be one of: {', '.join(sorted(parameter.table))}")
        return parameter.table[text]
    if parameter.minimum is not None and value < parameter.minimum:
        raise bad(where, f"must be at least {parameter.minimum}")
    if parameter.maximum is not None and value > parameter.maximum:
        raise bad(where, f"must be at most {parameter.maximum}")
    if parameter.pattern is not None and not re.search(parameter.pattern, text):
        raise bad(where, f"must have the form {parameter.pattern}")
    if parameter.values and text not in parameter.values:
        raise bad(where, f"must be one of: {', '.join(parameter.values)}")
    return value


def parameter_object(
    name: str, schema: Schema, title: Texts | None, *, in_path: bool, required: bool
) -> dict[str, Any]:
    """A parameter object of OpenAPI with both languages."""
    parameter: dict[str, Any] = {
        "name": name,
        "in": "path" if in_path else "query",
        "required": required or in_path,
        "schema": schema,
    }
    if title is not None:
        parameter |= {"description": title["en"], "x-description-lo": title["lo"]}
    return parameter


def parameter_document(one: Parameter, *, in_path: bool = False) -> dict[str, Any]:
    """What a document says of a declared parameter."""
    schema = plain_schema(one.kind)
    for key, value in (
        ("pattern", one.pattern),
        ("minimum", one.minimum),
        ("maximum", one.maximum),
        ("enum", list(one.values) or (sorted(one.table) if one.table else None)),
        ("default", one.default if isinstance(one.default, str | int | bool) else None),
    ):
        if value is not None:
            schema[key] = value
    parameter = parameter_object(
        one.name, schema, one.title, in_path=in_path, required=one.required
    )
    return parameter | ({"example": _example(one)} if one.example is not None else {})


def _example(one: Parameter) -> Any:
    return int(one.example) if one.kind.value == "integer" and one.example else one.example
