"""What an XML Schema says of messages, as plain values: the one base of schemas and of values.

Invariants: a complex type is named and refers to others by name, so a recursive type is a finite
table; the names of a complex type's members are unique in its JSON object; a member that may come
more than once is an array there. What XML Schema can say and this cannot (order in a repeated
group, choices inside choices) is dropped: values are then judged less strictly, never more.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Set
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum
from typing import TypeAlias


class Lexical(StrEnum):
    """How a text of XML is read and written (XML Schema 1.0 part 2, section 3)."""

    STRING = "string"
    TOKEN = "token"  # noqa: S105 (text whose blanks do not count)
    BOOLEAN = "boolean"
    INTEGER = "integer"
    DECIMAL = "decimal"
    FLOAT = "float"
    DATE = "date"
    DATETIME = "dateTime"
    BASE64 = "base64Binary"
    HEX = "hexBinary"


@dataclass(frozen=True, slots=True)
class Simple:
    """A simple type: its lexical form and what narrows it. ``listed`` is a list of such words."""

    kind: Lexical
    values: tuple[str, ...] = ()
    pattern: re.Pattern[str] | None = None
    min_length: int | None = None
    max_length: int | None = None
    minimum: Decimal | None = None
    maximum: Decimal | None = None
    listed: bool = False


Type: TypeAlias = Simple | str
"""A simple type, or the name of a complex one."""


@dataclass(frozen=True, slots=True)
class Member:
    """An element or an attribute of a complex type. ``maximum`` is None for any number."""

    name: str
    tag: str
    type: Type
    minimum: int = 1
    maximum: int | None = 1
    nillable: bool = False
    repeated: bool = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "repeated", self.maximum != 1)

    @property
    def matching(self) -> tuple[str, ...]:
        """The tags by which elements are it, as lxml matches them; see :meth:`Complex.element`."""
        qualified, _, local = self.tag.rpartition("}")
        return (self.tag, local) if qualified else (f"{{*}}{local}",)


@dataclass(frozen=True, slots=True)
class Alternative:
    """One way of a choice: what may come, and what then must."""

    names: frozenset[str]
    required: frozenset[str]


@dataclass(frozen=True, slots=True)
class Choice:
    """At most one of the alternatives comes; one must, unless the choice is ``optional``.

    ``names`` are those of all alternatives.
    """

    alternatives: tuple[Alternative, ...]
    optional: bool
    names: frozenset[str] = field(init=False)

    def __post_init__(self) -> None:
        names: frozenset[str] = frozenset().union(*(one.names for one in self.alternatives))
        object.__setattr__(self, "names", names)

    def holds(self, present: Set[str]) -> bool:
        """Whether an object with these members keeps the choice."""
        chosen = self.names & present
        if not chosen and self.optional:
            return True
        return any(chosen <= one.names and one.required <= chosen for one in self.alternatives)


@dataclass(frozen=True, slots=True)
class Complex:
    """A complex type.

    ``elements`` are in the order in which they are written. ``text`` is the member that the text of
    the element is (simple content). ``open`` tells that others may stand there (``xs:any``), which
    are not shown. ``ordered`` is false where a group of several elements repeats: such a type is
    read, but cannot be written. ``item``, one of the elements, is what any element is that is none
    of the others: the items of an encoded array (SOAP 1.1, 5.4.2) may have any name.

    ``tag`` is the name of the type in the WSDL, empty where it has none. ``derived`` are the names
    of those that may come in its place and tell so (``xsi:type``); ``abstract`` says that one of
    them must. ``stands`` is true of a type that may come in the place of another.

    What follows from these is kept with them: ``by_tag`` the elements, ``required`` the names of
    what must be there, ``counted`` what has other bounds in number.
    """

    name: str
    elements: tuple[Member, ...] = ()
    attributes: tuple[Member, ...] = ()
    text: Member | None = None
    choices: tuple[Choice, ...] = ()
    open: bool = False
    ordered: bool = True
    item: Member | None = None
    tag: str = ""
    derived: tuple[str, ...] = ()
    abstract: bool = False
    stands: bool = False
    by_tag: Mapping[str, Member] = field(init=False)
    by_local: Mapping[str, Member] = field(init=False)
    required: frozenset[str] = field(init=False)
    counted: tuple[Member, ...] = field(init=False)

    def __post_init__(self) -> None:
        members = list(self.members)
        tags = {one.tag: one for one in self.elements}
        needed = frozenset(one.name for one in members if one.minimum)
        counted = tuple(
            one for one in members if one.repeated and (one.minimum or one.maximum is not None)
        )
        local = {tag.rpartition("}")[2]: one for tag, one in tags.items()}
        object.__setattr__(self, "by_tag", tags)
        object.__setattr__(self, "by_local", local)
        object.__setattr__(self, "required", needed)
        object.__setattr__(self, "counted", counted)

    def element(self, tag: str) -> Member | None:
        """The element of this tag.

        Old services mistake whether names are qualified (``elementFormDefault``): where either
        side has no namespace, local names alone count. No namespace is taken for another.
        """
        found = self.by_tag.get(tag)
        if found is None:
            qualified, _, local = tag.rpartition("}")
            found = self.by_local.get(local)
            if found is not None and qualified and "}" in found.tag:
                return None
        return found or self.item

    @property
    def members(self) -> Iterator[Member]:
        yield from self.attributes
        if self.text is not None:
            yield self.text
        yield from self.elements

    def member(self, name: str) -> Member | None:
        return next((one for one in self.members if one.name == name), None)


Types: TypeAlias = Mapping[str, Complex]
"""The complex types of a WSDL by name."""

TYPE = "xsi:type"
"""The member that tells a type which came in the place of another; no element has such a name."""


def in_place(shape: Complex, types: Types) -> Iterator[Complex]:
    """The types of which an object may be where the WSDL says ``shape``."""
    if not shape.abstract:
        yield shape
    for name in shape.derived:
        yield types[name]


def reachable(roots: Iterable[Type], types: Types) -> set[str]:
    """The names of all complex types that values of ``roots`` may hold."""
    found: set[str] = set()
    waiting = [root for root in roots if isinstance(root, str)]
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            shape = types[name]
            waiting += [one.type for one in shape.members if isinstance(one.type, str)]
            waiting += shape.derived
    return found


def known_members(shape: Complex, types: Types) -> dict[str, Member]:
    """The members that an object may have where the WSDL says ``shape``, by name."""
    every = [one for each in (shape, *in_place(shape, types)) for one in each.members]
    return {one.name: one for one in reversed(every)}
