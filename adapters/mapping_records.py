"""The ``records`` and ``enumerations`` of a mapping file: fields, types and translation tables."""

from __future__ import annotations

import re
from collections.abc import Mapping as Map
from datetime import UTC, timedelta, timezone, tzinfo
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from adapters.fields import Emit, Field, Kind, Null, Otherwise, Stored
from adapters.mapping import Record, Texts
from adapters.reader import Node
from adapters.statements import NAME

_FIELD_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*){0,3}", re.ASCII)
_OFFSET = re.compile(r"([+-])([01][0-9]):([0-5][0-9])", re.ASCII)
_SCHEMA_ID = re.compile(r"https?://[^\s#]+", re.ASCII)


def read_texts(node: Node) -> Texts:
    languages = node.members(("en", "lo"))
    return {name: languages[name].text(longest=500) for name in ("en", "lo")}


def named(node: Node) -> dict[str, Node]:
    found = node.entries()
    for name, child in found.items():
        if not NAME.fullmatch(name.replace("-", "_")):
            child.refuse(f"{name!r} is not a name of letters, digits, '-' and '_'")
    return found


def read_enumerations(node: Node | None) -> dict[str, dict[str, str]]:
    return {} if node is None else {name: _table(child) for name, child in named(node).items()}


def _table(node: Node) -> dict[str, str]:
    table = {word: meaning.text(longest=200) for word, meaning in node.entries().items()}
    if not table:
        node.refuse("a translation table needs at least one word")
    return table


def _words(node: Node | None) -> frozenset[str]:
    if node is None:
        return frozenset()
    return frozenset(item.text(longest=200) for item in node.items())


def _zone(node: Node) -> tzinfo:
    name = node.text(longest=60)
    offset = _OFFSET.fullmatch(name)
    if offset:
        away = timedelta(hours=int(offset[2]), minutes=int(offset[3]))
        return timezone(-away if offset[1] == "-" else away)
    if name == "UTC":
        return UTC
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        node.refuse(f"{name!r} is neither a time zone such as Asia/Vientiane nor +07:00")


def read_record(name: str, node: Node, tables: Map[str, Map[str, str]]) -> Record:
    found = node.members(("title", "fields"), ("schema",))
    fields = tuple(_field(key, child, tables) for key, child in found["fields"].entries().items())
    if not fields:
        found["fields"].refuse("at least one field is needed")
    paths = {field.path for field in fields}
    for field in fields:
        if any(field.path[:length] in paths for length in range(1, len(field.path))):
            found["fields"].refuse(f"{field.name} lies inside another field")
    schema = found["schema"].text(_SCHEMA_ID) if "schema" in found else None
    return Record(name, schema, read_texts(found["title"]), fields)


# The keys that each type understands, besides those of every field.
_FIELD_KEYS: dict[Kind, tuple[str, ...]] = {
    Kind.STRING: ("separator",),
    Kind.INTEGER: ("separator",),
    Kind.DECIMAL: ("scale", "emit"),
    Kind.DATE: ("format",),
    Kind.DATETIME: ("format", "zone"),
    Kind.BOOLEAN: ("true_words", "false_words", "stored"),
    Kind.ENUMERATION: ("table", "otherwise", "stored", "separator"),
}
_EVERY_FIELD = ("type", "column", "null", "null_words", "trim", "title")


def _field(name: str, node: Node, tables: Map[str, Map[str, str]]) -> Field:
    if not _FIELD_NAME.fullmatch(name):
        node.refuse(f"{name!r} is not a name of a field, such as amount_usd or title.lo")
    if node.is_scalar:
        return Field(name=name, column=_column(name), kind=node.choice(Kind))
    every = {key for keys in _FIELD_KEYS.values() for key in keys}
    found = node.members(("type",), (*_EVERY_FIELD, *every))
    kind = found["type"].choice(Kind)
    for key, child in found.items():
        if key not in (*_EVERY_FIELD, *_FIELD_KEYS[kind]):
            child.refuse(f"has no meaning for a field of the type {kind}")
    for needed in ("zone",) if kind is Kind.DATETIME else ():
        if needed not in found:
            node.refuse(f"a field of the type {kind} needs the key {needed!r}")
    return _checked(
        Field(
            name=name,
            column=found["column"].text(NAME) if "column" in found else _column(name),
            kind=kind,
            null=found["null"].choice(Null) if "null" in found else Null.OMIT,
            null_words=_words(found.get("null_words")),
            trim=found["trim"].boolean() if "trim" in found else False,
            format=found["format"].text(longest=40) if "format" in found else None,
            zone=_zone(found["zone"]) if "zone" in found else None,
            scale=found["scale"].integer(0, 12) if "scale" in found else None,
            emit=found["emit"].choice(Emit) if "emit" in found else Emit.NUMBER,
            table=read_table(found["table"], tables) if "table" in found else None,
            otherwise=found["otherwise"].choice(Otherwise)
            if "otherwise" in found
            else Otherwise.REFUSE,
            stored=found["stored"].choice(Stored) if "stored" in found else Stored.STRING,
            true_words=_words(found.get("true_words")),
            false_words=_words(found.get("false_words")),
            separator=found["separator"].text(longest=3) if "separator" in found else None,
            title=read_texts(found["title"]) if "title" in found else None,
        ),
        node,
    )


def _column(name: str) -> str:
    return name.replace(".", "_")


def read_table(node: Node, tables: Map[str, Map[str, str]]) -> Map[str, str]:
    """A table by the name of an enumeration, or written in place."""
    return tables[node.reference(tables, "enumeration")] if node.is_scalar else _table(node)


def _checked(field: Field, node: Node) -> Field:
    if field.kind is Kind.ENUMERATION and field.table is None:
        node.refuse("an enumeration needs the key 'table'")
    if bool(field.true_words) != bool(field.false_words):
        node.refuse("true_words and false_words belong together")
    if field.true_words & field.false_words:
        node.refuse("a word is both true and false")
    return field
