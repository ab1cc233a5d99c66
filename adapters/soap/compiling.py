"""Types as zeep found them to the shapes that messages are written and read by."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import Any

from lxml import etree
from zeep.xsd import elements as xsd_elements
from zeep.xsd.elements.indicators import Choice as ZeepChoice
from zeep.xsd.elements.indicators import Group, Indicator
from zeep.xsd.types.any import AnyType
from zeep.xsd.types.complex import ComplexType
from zeep.xsd.types.simple import AnySimpleType

from adapters.soap.noting import Notes
from adapters.soap.shapes import Alternative, Choice, Complex, Lexical, Member, Simple, Type
from adapters.soap.simple_types import simple

MAX_TYPES = 5_000
MAX_MEMBERS = 2_000
MAX_NESTING = 60
MAX_DERIVED = 100
"""Types that may come in the place of one; where there are more, none may."""


class Unsupported(Exception):
    """Something of a WSDL that has no JSON here; the message says what."""


class Compiler:
    """Makes shapes of zeep's types, each once."""

    def __init__(self, schema: Any) -> None:
        self._schema = schema
        self._notes: Notes = schema.notes
        self._names: dict[Any, str] = {}
        self._kept: list[Any] = []  # so that no identity is used twice
        self._shapes: dict[str, Complex] = {}

    def types(self) -> dict[str, Complex]:
        """The complex types that were met."""
        shapes = {name: self._of_one_naming(shape) for name, shape in self._shapes.items()}
        standing = {name for shape in shapes.values() for name in shape.derived}
        return {
            name: replace(shape, stands=True) if name in standing else shape
            for name, shape in shapes.items()
        }

    def _of_one_naming(self, shape: Complex) -> Complex:
        """A type without those derived of it in which an attribute of its has another name, since
        an element has that: what is said of the member would be of another one there."""
        if not shape.derived:
            return shape
        named = {one.tag: one.name for one in shape.attributes}
        derived = tuple(
            each
            for each in shape.derived
            if all(
                named.get(one.tag, one.name) == one.name for one in self._shapes[each].attributes
            )
        )
        return replace(shape, derived=derived, abstract=shape.abstract and bool(derived))

    def root(self, element: Any) -> Member:
        """The member that an element of the envelope's body is.

        Raises:
            Unsupported: when it holds what has no JSON here.
        """
        with self._whole():
            return self._member(element, 1, 1, 0)

    @contextmanager
    def _whole(self) -> Iterator[None]:
        """Keep all of the types that are met inside, or none."""
        before = dict(self._shapes), dict(self._names)
        try:
            yield
        except Unsupported:
            self._shapes, self._names = before
            raise

    def _member(self, element: Any, minimum: int, maximum: int | None, depth: int) -> Member:
        if depth > MAX_NESTING:
            raise Unsupported(f"types nest deeper than {MAX_NESTING}")
        kind = self._type(element.type, element.name, depth)
        return Member(
            element.name, element.qname.text, kind, minimum, maximum, bool(element.nillable)
        )

    def _type(self, found: Any, name: str, depth: int) -> Type:
        if isinstance(found, AnySimpleType):
            return simple(found)
        if isinstance(found, ComplexType):
            return self._complex(found, name, depth)
        if isinstance(found, AnyType):
            return Simple(Lexical.STRING)  # anyType: as far as it is text
        raise Unsupported(f"the type of {name} is not known")

    def _complex(self, found: Any, name: str, depth: int) -> str:
        key: Any = id(found)
        if found.is_global and found.qname is not None:
            # zeep leaves a recursive reference at the type as it was before it was extended.
            key = found.qname.text
            found = self._schema.get_type(found.qname)
        if key in self._names:
            return self._names[key]
        local = found.qname.localname if found.is_global and found.qname is not None else name
        word = re.sub(r"[^A-Za-z0-9._-]", "_", local) or "type"
        taken = set(self._names.values())
        unique = next(
            one
            for one in (word if not index else f"{word}.{index}" for index in range(MAX_TYPES + 1))
            if one not in taken
        )
        if len(self._names) >= MAX_TYPES:
            raise Unsupported(f"there are more than {MAX_TYPES:,} types")
        self._names[key] = unique
        self._kept.append(found)
        shape = self._shape(unique, found, depth)
        if isinstance(key, str):
            derived = tuple(self._derived(key, depth))
            abstract = bool(derived) and key in self._notes.abstract_types
            shape = replace(shape, tag=key, derived=derived, abstract=abstract)
        self._shapes[unique] = shape
        return unique

    def _derived(self, key: str, depth: int) -> Iterator[str]:
        """The types that may come in the place of one; not those that have no JSON here."""
        names = list(self._notes.descendants(key))
        for name in names if len(names) <= MAX_DERIVED else ():
            found = self._schema.get_type(etree.QName(name), fail_silently=True)
            with suppress(Unsupported), self._whole():
                if isinstance(found, ComplexType):
                    yield self._complex(found, name, depth + 1)

    def _shape(self, name: str, found: Any, depth: int) -> Complex:
        if found._array_type:
            return self._array(name, found, depth)
        content = found._element
        text: Member | None = None
        elements: list[Member] = []
        draft = _Content(self._substitutes)
        if isinstance(content, xsd_elements.Element):
            text = self._text(content.type, depth)
        elif isinstance(content, Indicator):
            draft.take(content, 1, 1)
            elements = [
                self._member(one.element, one.minimum, one.maximum, depth + 1)
                for one in draft.merged()
            ]
        names = [one.name for one in elements]
        if len(set(names)) < len(names):
            double = next(one for one in names if names.count(one) > 1)
            raise Unsupported(f"two elements of {name} have the name {double}")
        attributes = []
        taken = {*names, *([text.name] if text is not None else [])}
        for attribute in found._attributes_unwrapped:
            if not isinstance(attribute, xsd_elements.Attribute) or attribute.qname is None:
                draft.open = draft.open or not isinstance(attribute, xsd_elements.AnyAttribute)
                continue
            shown = attribute.name if attribute.name not in taken else f"@{attribute.name}"
            attributes.append(
                Member(
                    shown,
                    attribute.qname.text,
                    simple(attribute.type),
                    int(bool(attribute.required)),
                )
            )
        return Complex(
            name,
            tuple(elements),
            tuple(attributes),
            text,
            tuple(draft.choices()),
            draft.open,
            draft.ordered,
        )

    def _substitutes(self, element: Any) -> list[Any]:
        """What may come where ``element`` is named, itself unless it is abstract."""
        name = element.qname.text
        if not element.is_global or name not in self._notes.substitutes:
            return [element]
        every = {name: element}
        for one, head in self._notes.group(name):
            found = self._schema.get_element(etree.QName(one))
            if isinstance(found.type, AnyType):  # none is told: that of its head (3.3.2)
                found = found.clone()
                found.type = every[head].type
            every[one] = found
        abstract = self._notes.abstract_elements
        return [found for one, found in every.items() if one not in abstract] or [element]

    def _array(self, name: str, found: Any, depth: int) -> Complex:
        """An encoded array (SOAP 1.1, 5.4.2): elements of one type, whatever their names."""
        inner = found._array_type.array_type
        if inner is None:
            raise Unsupported(f"the encoded array {name} does not say of what")
        item = Member("item", "item", self._type(inner, f"{name}.item", depth + 1), 0, None, True)
        return Complex(name, (item,), ordered=False, item=item)

    def _text(self, found: Any, depth: int) -> Member:
        """Simple content, maybe of a type that has simple content itself."""
        for _ in range(MAX_NESTING):
            if isinstance(found, AnySimpleType):
                return Member("value", "", simple(found))
            inner = found._element if isinstance(found, ComplexType) else None
            if not isinstance(inner, xsd_elements.Element):
                break
            found = inner.type
        return Member("value", "", Simple(Lexical.STRING))


class _Placed:
    """An element as often as it may come where it stands."""

    __slots__ = ("element", "maximum", "minimum")

    def __init__(self, element: Any, minimum: int, maximum: int | None) -> None:
        self.element, self.minimum, self.maximum = element, minimum, maximum


class _Content:
    """Gathers the elements of a content model in their order, and its choices."""

    def __init__(self, substitutes: Callable[[Any], list[Any]]) -> None:
        self._substitutes = substitutes
        self.placed: list[_Placed] = []
        self.open = False
        self.ordered = True
        self._choices: list[Choice] = []

    def take(self, group: Any, minimum: int, maximum: int | None, in_choice: bool = False) -> None:
        """Add what ``group`` holds, which itself may come so often."""
        if isinstance(group, Group):
            minimum, maximum = _times(group, minimum, maximum)
            group = group.child
        minimum, maximum = _times(group, minimum, maximum)
        if len(self.placed) > MAX_MEMBERS:
            raise Unsupported(f"a type has more than {MAX_MEMBERS:,} elements")
        chosen = isinstance(group, ZeepChoice)
        if chosen and maximum == 1 and not in_choice:
            self._choose(group, minimum)
        elif maximum != 1 and not chosen and len(list(group)) > 1:
            self.ordered = False
        for child in group:
            least = 0 if chosen else minimum
            if isinstance(child, Indicator):
                self.take(child, least, maximum, in_choice or chosen)
            elif isinstance(child, xsd_elements.Any):
                self.open = True
            else:
                self._place(child, *_times(child, least, maximum), in_choice or chosen)

    def _place(self, child: Any, minimum: int, maximum: int | None, in_choice: bool) -> None:
        ways = self._substitutes(child)
        if len(ways) == 1:
            self.placed.append(_Placed(ways[0], minimum, maximum))
            return
        self.placed += [_Placed(way, 0, maximum) for way in ways]
        if maximum == 1 and not in_choice:
            names = [frozenset([way.name]) for way in ways]
            one_of = tuple(Alternative(name, name) for name in names)
            self._choices.append(Choice(one_of, not minimum))

    def _choose(self, group: Any, minimum: int) -> None:
        alternatives = []
        optional = getattr(group, "saphan_optional", [])
        if len(optional) != len(list(group)):
            return  # put together of several: it is not known what must come
        for child, free in zip(group, optional, strict=True):
            inner = _Content(self._substitutes)
            if isinstance(child, Indicator):
                inner.take(child, 1, 1)
            elif isinstance(child, xsd_elements.Any):
                return  # whatever comes may be that
            else:
                alternatives += [
                    Alternative(frozenset([way.name]), frozenset([way.name][: not free]))
                    for way in self._substitutes(child)
                ]
                continue
            alternatives.append(
                Alternative(
                    frozenset(one.element.name for one in inner.placed),
                    frozenset(one.element.name for one in inner.placed if one.minimum),
                )
            )
        self._choices.append(Choice(tuple(alternatives), not minimum))

    def choices(self) -> Iterator[Choice]:
        """Those whose elements stand nowhere else."""
        every = [one.element.name for one in self.placed]
        for choice in self._choices:
            inside = sum(len(one.names) for one in choice.alternatives)
            if inside == sum(every.count(name) for name in choice.names):
                yield choice

    def merged(self) -> list[_Placed]:
        """One entry for each element: one that stands in several places may come as often."""
        found: dict[str, _Placed] = {}
        for one in self.placed:
            tag = one.element.qname.text
            before = found.get(tag)
            if before is None:
                found[tag] = one
                continue
            if before.element.type is not one.element.type:
                raise Unsupported(f"the element {one.element.name} has two types in one place")
            self._merge(before, one)
        return list(found.values())

    def _merge(self, before: _Placed, one: _Placed) -> None:
        name = one.element.name
        for choice in self._choices:
            ways = [way for way in choice.alternatives if name in way.names]
            if len(ways) > 1:  # in one of them at a time
                before.minimum = min(before.minimum, one.minimum)
                if before.maximum is not None:
                    most = one.maximum
                    before.maximum = None if most is None else max(before.maximum, most)
                return
        self.ordered = False
        before.minimum += one.minimum
        known = before.maximum is not None and one.maximum is not None
        before.maximum = before.maximum + one.maximum if known else None  # type: ignore[operator]


def _times(item: Any, minimum: int, maximum: int | None) -> tuple[int, int | None]:
    most = None if item.max_occurs == "unbounded" else int(item.max_occurs)
    least = minimum * int(item.min_occurs)
    return least, None if most is None or maximum is None else most * maximum
