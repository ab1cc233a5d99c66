"""The ``records`` and ``enumerations`` of a mapping file: fields, types and translation tables."""

from __future__ import annotations

import re
from collections.abc import Mapping as Map
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, timedelta, timezone, tzinfo
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from adapters.answers.statements import NAME
from adapters.fields import Emit, Field, Kind, Null, Otherwise, Stored
from adapters.mapping.computed import read_compute
from adapters.mapping.conversions import check_conversion, read_conversion
from adapters.mapping.font_maps import encoding_of
from adapters.mapping.head import read_texts
from adapters.mapping.marks import KEYS as MARKS
from adapters.mapping.marks import Marks, field_marks
from adapters.mapping.masks import WHOLE, Mask, read_mask
from adapters.mapping.model import Record
from adapters.mapping.reader import Node
from adapters.mapping.visibility import read_visible
from adapters.text.columns import Form

_FIELD_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*){0,3}", re.ASCII)
_OFFSET = re.compile(r"([+-])([01][0-9]):([0-5][0-9])", re.ASCII)
SCHEMA_ID = re.compile(r"https?://[^\s#]+", re.ASCII)


def named(node: Node) -> dict[str, Node]:
    """The members of an object whose keys are names."""
    found = node.entries()
    for name, child in found.items():
        if not NAME.fullmatch(name.replace("-", "_")):
            child.refuse(f"{name!r} is not a name of letters, digits, '-' and '_'")
    return found


def read_enumerations(node: Node | None) -> dict[str, dict[str, str]]:
    """The tables of words by their names; none when nothing is said."""
    return {} if node is None else {name: _table(child) for name, child in named(node).items()}


def _table(node: Node) -> dict[str, str]:
    table = {word: meaning.text(longest=200) for word, meaning in node.entries().items()}
    if not table:
        node.refuse("a translation table needs at least one word")
    return table


def words_of(node: Node | None) -> frozenset[str]:
    """The words of a list; none when nothing is said."""
    if node is None:
        return frozenset()
    return frozenset(item.text(longest=200) for item in node.items())


def read_zone(node: Node) -> tzinfo:
    """A time zone by its name or its distance from UTC."""
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


def read_record(
    name: str, node: Node, tables: Map[str, Map[str, str]], *, zoned: bool, keyed: bool
) -> Record:
    """One record.

    Args:
        zoned: whether the mapping says in which zone a day is today.
        keyed: whether it has a key to hash with.
    """
    found = node.members(("title", "fields"), ("schema", "visible", "nested"))
    every = _fields(found["fields"], tables)
    unseen = _hidden(found["fields"])
    hidden = tuple(field for field in every if field.name in unseen)
    fields = tuple(field for field in every if field not in hidden)
    if not fields:
        found["fields"].refuse("at least one field is needed")
    paths = {field.path for field in every}
    for field in every:
        if any(field.path[:length] in paths for length in range(1, len(field.path))):
            found["fields"].refuse(f"{field.name} lies inside another field")
    schema = found["schema"].text(SCHEMA_ID) if "schema" in found else None
    visible = read_visible(found["visible"], every, zoned=zoned) if "visible" in found else None
    masks, marks = _masks_and_marks(found["fields"], fields, keyed=keyed)
    if schema is not None and marks:
        found["schema"].refuse(f"the shared schema has the marks, of {', '.join(marks)} too")
    title = read_texts(found["title"])
    record = Record(name, schema, title, fields, visible, masks, marks, hidden)
    if not record.columns:
        found["fields"].refuse("at least one field needs a column")
    _check_masks(record, found["fields"])
    return record


def _fields(node: Node, tables: Map[str, Map[str, str]]) -> list[Field]:
    """Every field; those that are computed from others after the others."""
    nodes = node.entries()
    fields = {name: read_field(name, child, tables) for name, child in nodes.items()}
    stored = dict(fields)
    for name, child in nodes.items():
        said = {} if child.is_scalar else child.entries()
        if "compute" in said:
            del stored[name]
    for name in [one for one in fields if one not in stored]:
        said = nodes[name].entries()
        compute = read_compute(said["compute"], fields[name], stored, said=set(said))
        fields[name] = replace(fields[name], column="", compute=compute)
    return list(fields.values())


def _hidden(node: Node) -> set[str]:
    names = set()
    for name, child in node.entries().items():
        said = {} if child.is_scalar else child.entries()
        if "hidden" in said and said["hidden"].boolean():
            names.add(name)
            for key in ("mask", "compute", *MARKS):
                if key in said:
                    said[key].refuse("has no meaning where the field is not answered")
    return names


def _check_masks(record: Record, node: Node) -> None:
    """What is shown again, or computed, from a masked value tells of it; so does a masked value
    that anybody can compute from what is shown."""
    shown = record.shown_columns
    nodes = node.entries()
    for field in record.fields:
        columns = {column.lower() for column in field.columns}
        masked = sorted(columns & record.masked_columns)
        if field.name not in record.masks and masked:
            what = "is computed from" if field.compute is not None else "shows again"
            detail = f"{what} what is masked for some ({', '.join(masked)})"
            nodes[field.name].refuse(f"{detail}: say with 'mask' who sees it")
        if field.name in record.masks and field.compute is not None and columns <= shown:
            detail = f"is masked, but computed from what all see ({', '.join(sorted(columns))})"
            nodes[field.name].refuse(f"{detail}: mask that, or show this whole")


def _masks_and_marks(
    node: Node, fields: Sequence[Field], *, keyed: bool
) -> tuple[dict[str, Mask], dict[str, Marks]]:
    """The masks and marks of fields; a mask by which everybody sees the whole is none."""
    nodes = node.entries()
    masks, marks = {}, {}
    for field in fields:
        members = {} if nodes[field.name].is_scalar else nodes[field.name].entries()
        if "mask" in members:
            mask = read_mask(members["mask"], field, keyed=keyed)
            if mask.ways != (WHOLE,):
                masks[field.name] = mask
        if not members.keys().isdisjoint(MARKS):
            marks[field.name] = field_marks(members, field)
    return masks, marks


_UNIT = ("factor", "offset", "rounding")
_CALENDAR = ("format", "calendar", "years_from")
# The keys that each type understands, besides those of every field.
_FIELD_KEYS: dict[Kind, tuple[str, ...]] = {
    Kind.STRING: ("separator", "decode", "normalise", "stored"),
    Kind.INTEGER: ("separator", *_UNIT, *_CALENDAR),
    Kind.DECIMAL: ("scale", "emit", *_UNIT),
    Kind.DATE: _CALENDAR,
    Kind.DATETIME: ("zone", *_CALENDAR),
    Kind.BOOLEAN: ("true_words", "false_words", "stored"),
    Kind.ENUMERATION: ("table", "otherwise", "stored", "separator"),
}
_ABOUT_COLUMNS = ("column", "null_words", "trim", "hidden")
_EVERY_FIELD = (
    *("type", "null", "title", "mask", "element", "subject", "statistics", "compute"),
    *_ABOUT_COLUMNS,
)


def read_field(name: str, node: Node, tables: Map[str, Map[str, str]]) -> Field:
    """One field of a record; ``tables`` are the enumerations of the file."""
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
            null_words=words_of(found.get("null_words")),
            trim=found["trim"].boolean() if "trim" in found else False,
            format=found["format"].text(longest=40) if "format" in found else None,
            zone=read_zone(found["zone"]) if "zone" in found else None,
            scale=found["scale"].integer(0, 12) if "scale" in found else None,
            emit=found["emit"].choice(Emit) if "emit" in found else Emit.NUMBER,
            table=read_table(found["table"], tables) if "table" in found else None,
            otherwise=found["otherwise"].choice(Otherwise)
            if "otherwise" in found
            else Otherwise.REFUSE,
            stored=found["stored"].choice(Stored) if "stored" in found else Stored.STRING,
            true_words=words_of(found.get("true_words")),
            false_words=words_of(found.get("false_words")),
            separator=found["separator"].text(longest=3) if "separator" in found else None,
            title=read_texts(found["title"]) if "title" in found else None,
            decode=encoding_of(found["decode"]) if "decode" in found else None,
            normalise=found["normalise"].choice(Form) if "normalise" in found else None,
            **read_conversion(found),
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
    wanted = (Stored.STRING, Stored.INTEGER)
    if field.kind is Kind.STRING:
        wanted = (Stored.STRING, Stored.BYTES if field.decode is not None else Stored.STRING)
    if field.stored not in wanted:
        node.refuse(f"stored: {field.stored} has no meaning here")
    check_conversion(field, node)
    return field
