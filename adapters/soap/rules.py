"""Who sees what of a SOAP service: rows by their members, masks of members by their type.

A mask is of a member of a type of the WSDL, so it holds wherever such an object stands, in
whichever answer and however deep, and of every type derived of it. Rows are judged by the whole
record as the service gave it, before anything is masked. Both are applied here, to what has been
read: the service itself knows nothing of callers.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from collections.abc import Mapping as Map
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final, TypeAlias

import orjson

from adapters.answers.masking import Profile, masked_schema, masker, may_be_absent
from adapters.fields import Field, Kind, Schema
from adapters.mapping.callers import ByCaller, read_by_caller, several
from adapters.mapping.masks import Mask, Show, Shown, read_mask
from adapters.mapping.reader import Node
from adapters.mapping.terms import MOST_TERMS
from adapters.mapping.visibility import Extent
from adapters.soap.shapes import TYPE, Complex, Lexical, Member, Simple, Types, reachable

Path: TypeAlias = tuple[str, ...]
Condition: TypeAlias = tuple[Path, frozenset[str]]
"""A member of the record, and the texts of which its value must be one."""

Rows: TypeAlias = Extent | tuple[Condition, ...]
Visible: TypeAlias = ByCaller[Rows]

_COMPARED: Final = (
    Lexical.STRING, Lexical.TOKEN, Lexical.DATE, Lexical.BOOLEAN, Lexical.INTEGER
)  # fmt: skip
_KINDS: Final = {
    Lexical.BOOLEAN: Kind.BOOLEAN,
    Lexical.INTEGER: Kind.INTEGER,
    Lexical.DECIMAL: Kind.DECIMAL,
    Lexical.FLOAT: Kind.DECIMAL,
    Lexical.DATE: Kind.DATE,
    Lexical.DATETIME: Kind.DATETIME,
}


# Rows.


def compared(record: Member, types: Types, name: str) -> Path | None:
    """The path of the member ``name`` of a record, None when it cannot be compared."""
    path = tuple(name.split("."))
    kind: Simple | str | None = record.type
    for step in path:
        member = types[kind].member(step) if isinstance(kind, str) else None
        kind = None if member is None or member.repeated else member.type
    if not isinstance(kind, Simple) or kind.listed or kind.kind not in _COMPARED:
        return None
    return path


def read_visible(node: Node, record: Member, types: Types) -> Visible:
    """The key ``visible`` of an endpoint."""

    def rows(one: Node) -> Rows:
        if one.is_scalar:
            return one.choice(Extent)
        found = tuple(
            _condition(name, child, record, types) for name, child in one.entries().items()
        )
        if not 0 < len(found) <= MOST_TERMS:
            one.refuse(f"must name 1 to {MOST_TERMS} conditions on members")
        return found

    return ByCaller(*read_by_caller(node, "rows", rows))


def _condition(name: str, node: Node, record: Member, types: Types) -> Condition:
    path = compared(record, types, name)
    if path is None:
        node.refuse(f"the record has no member {name!r} that can be compared with words")
    if not node.is_scalar and not node.is_sequence:
        node.refuse("answers of a SOAP service are compared with words alone: one, or a list")
    return path, frozenset(several(node, lambda one: one.text(longest=200)))


def meets(record: Map[str, Any], rows: tuple[Condition, ...]) -> bool:
    """Whether a record meets all conditions."""
    for path, texts in rows:
        value: Any = record
        for name in path:
            value = value.get(name) if isinstance(value, dict) else None
        word = str(value).lower() if isinstance(value, bool) else str(value)
        if value is None or word not in texts:
            return False
    return True


# Masks.


class _OfObjects(StrEnum):
    """How an object may be shown."""

    WHOLE = "whole"
    NULL = "null"
    ABSENT = "absent"


@dataclass(frozen=True, slots=True)
class Masks:
    """The masks of a mapping, by ``Type.member``, and the members that each is of."""

    masks: Map[str, Mask]
    fields: Map[str, Field]
    covers: Map[tuple[str, str], str]
    """Type and member → the mask's name."""

    def of(self, shape: Complex, member: Member) -> Mask | None:
        """The mask of a member, if it has one."""
        name = self.covers.get((shape.name, member.name))
        return None if name is None else self.masks[name]

    def schema(self, shape: Complex, member: Member, whole: Schema) -> Schema:
        """The schema of one value of a member of which some callers see less than ``whole``."""
        mask = self.of(shape, member)
        return whole if mask is None else masked_schema(whole, mask)

    def may_be_absent(self, shape: Complex, name: str) -> bool:
        """Whether some callers do not get the member."""
        covered = self.covers.get((shape.name, name))
        return covered is not None and may_be_absent(self.masks[covered])


NO_MASKS: Final = Masks({}, {}, {})


def read_masks(
    node: Node | None, types: Types, answered: Iterable[Member], *, keyed: bool
) -> Masks:
    """The key ``masks`` of a mapping: ``Type.member`` → how it is shown to whom.

    Args:
        answered: the members that answers are. Where several types in them have one name in the
            WSDL, which have numbers here, a member of one is not masked and bare in another.
    """
    masks, fields, covers, taken_over = {}, {}, {}, {}
    told = [
        (name, child, *_member(name, child, types))
        for name, child in (node.entries() if node is not None else {}).items()
    ]
    # A type that is nearer to a derived one has fewer derived of it, and comes later.
    for name, child, shape, member in sorted(told, key=lambda one: -len(one[2].derived)):
        kind = member.type
        simple = kind if isinstance(kind, Simple) else Simple(Lexical.STRING)
        field = Field(
            name=name,
            column="",
            kind=_KINDS.get(simple.kind, Kind.STRING),
            separator=" " if simple.listed else None,
        )
        masks[name] = (
            read_mask(child, field, keyed=keyed)
            if isinstance(kind, Simple)
            else _read_of_object(child)
        )
        if member.repeated and any(way.show is Show.NULL for way in masks[name].ways):
            child.refuse("is a list, which is never null; show it 'absent'")
        fields[name] = field
        for each in shape.derived:
            if types[each].member(member.name) is not None:
                taken_over[each, member.name] = name
        covers[shape.name, member.name] = name
    every = taken_over | covers
    for kind in sorted(reachable((one.type for one in answered), types)):
        for covered, inner in covers:
            alike = _unnumbered(kind) == _unnumbered(covered)
            if alike and (kind, inner) not in every and types[kind].member(inner) is not None:
                assert node is not None  # noqa: S101 (it has masks)
                node.refuse(f"say also how {kind}.{inner} is shown: it is of a type of that name")
    return Masks(masks, fields, every)


def _unnumbered(name: str) -> str:
    return re.sub(r"\.[0-9]+$", "", name)


def _read_of_object(node: Node) -> Mask:
    def shown(one: Node) -> Shown:
        return Shown(Show(one.choice(_OfObjects)))

    return Mask((), shown(node)) if node.is_scalar else Mask(*read_by_caller(node, "show", shown))


def _member(name: str, node: Node, types: Types) -> tuple[Complex, Member]:
    dots = [index for index, sign in enumerate(name) if sign == "."]
    for shape, rest in ((types.get(name[:dot]), name[dot + 1 :]) for dot in dots):
        member = None if shape is None else shape.member(rest)
        if shape is not None and member is not None:
            return shape, member
    known = ", ".join(sorted(types))[:600]
    return node.refuse(f"{name!r} is no member of a type of the WSDL; types: {known}")


Hidings: TypeAlias = Map[str, Map[str, "Hiding"]]
"""Type → member → what becomes of it."""


@dataclass(frozen=True, slots=True)
class Hiding:
    """What is written instead of a value; ``change`` is None for no value at all."""

    absent: bool
    change: Callable[[Any], Any] | None


def hidings(masks: Masks, profile: Profile, key: bytes) -> Hidings:
    """What a caller of ``profile`` does not see whole."""
    ways = dict(profile)
    found: dict[str, dict[str, Hiding]] = {}
    for (kind, member), name in masks.covers.items():
        if name in ways:
            change = masker(masks.fields[name], ways[name], key)
            hiding = Hiding(ways[name].show is Show.ABSENT, change)
            found.setdefault(kind, {})[member] = hiding
    return found


def hide(record: dict[str, Any], shape: Complex, types: Types, hidden: Hidings) -> None:
    """Write masked values into a record that was read as ``shape``, and into what it holds."""
    shape = types[record[TYPE]] if TYPE in record else shape
    here = hidden.get(shape.name, {})
    for name, hiding in here.items():
        if hiding.absent:
            record.pop(name, None)
        elif hiding.change is None:
            record[name] = None
    for member, value in _present(record, shape):
        change = here[member.name].change if member.name in here else None
        items = value if member.repeated else [value]
        if change is not None:
            done = [None if one is None else change(_text(one)) for one in items]
            record[member.name] = done if member.repeated else done[0]
        elif isinstance(member.type, str):
            for one in items:
                if one is not None:
                    hide(one, types[member.type], types, hidden)


def _present(record: Map[str, Any], shape: Complex) -> Iterator[tuple[Member, Any]]:
    for member in shape.members:
        value = record.get(member.name)
        if value is not None:
            yield member, value


def _text(value: Any) -> Any:
    """A number with more digits than the writer of JSON knows as its text."""
    return orjson.dumps(value).decode() if isinstance(value, orjson.Fragment) else value
