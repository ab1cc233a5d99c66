"""What the requests of a service ask for: properties and parameters marked as data elements.

``"x-saphan-element": "person.birth-date"`` on a property of a request, or on a parameter, says that
whoever fills in the request states that element. So ask-once can be judged from documents alone.

Invariants: nothing is fetched; every schema is looked at once, whatever refers to it; a mark that
is no id of an element is refused with its place.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any, Final, NamedTuple

from exchange.contracts.openapi import Reader
from exchange.identifiers import ServiceId
from exchange.once_only.elements import MARK, Dictionary, Element, is_element_id
from exchange.problems import Code, Problem
from exchange.schema_sets.collecting import SchemaSet
from exchange.schema_sets.places import Place, refuse

MAX_LOOKED: Final = 50_000
_ONE: Final = (
    "additionalProperties", "contains", "else", "if", "items", "not", "then",
    "unevaluatedItems", "unevaluatedProperties",
)  # fmt: skip
_LISTS: Final = ("allOf", "anyOf", "oneOf", "prefixItems")
_MAPS: Final = ("dependentSchemas", "patternProperties", "properties")


class Asked(NamedTuple):
    """An element that an operation asks for, and the place of the mark."""

    element: str
    method: str
    template: str
    place: str


def asked_elements(document: bytes, shared: Mapping[str, bytes]) -> tuple[Asked, ...]:
    """The elements that the requests of a service ask for.

    Args:
        document: its OpenAPI document in JSON.
        shared: shared JSON Schemas by their ``$id``.

    Raises:
        Problem: ``InvalidDocument`` at the place that is not accepted.
    """
    if MARK.encode() not in document and not any(MARK.encode() in one for one in shared.values()):
        return ()
    reader = Reader(document, shared)
    found: dict[tuple[str, str, str], Asked] = {}
    for method, template, place in reader.asked():
        for element, at in _marks(reader.schemas, place):
            found.setdefault((element, method, template), Asked(element, method, template, str(at)))
    return tuple(found.values())


def asks_again(
    service: ServiceId,
    asked: tuple[Asked, ...],
    dictionary: Dictionary,
    at: datetime,
    where: str = "",
) -> tuple[Problem, ...]:
    """A problem for each element that a service asks for although another service gives it.

    Args:
        asked: what its requests ask for.
        at: exceptions count until their day.
        where: the name of the document, before the place in it.
    """
    found = []
    for one in asked:
        element = dictionary.get(one.element)
        place = one.place if not one.place.startswith("#") else f"{where}{one.place}"
        if element is None:
            found.append(
                Problem(
                    Code.UNKNOWN_ELEMENT,
                    where=place,
                    detail=f"the dictionary has no element {one.element}",
                    facts={"element": one.element},
                )
            )
        elif not _may_ask(service, element, at):
            found.append(_ask_source(place, one, element))
    return tuple(found)


def _may_ask(service: ServiceId, element: Element, at: datetime) -> bool:
    """Its source may: somebody must be told first; and so may whoever has an exception."""
    return element.source.service.member == service.member or element.excepts(service, at)


def _ask_source(place: str, one: Asked, element: Element) -> Problem:
    source = element.source.service
    return Problem(
        Code.ASK_ONCE,
        where=place,
        detail=f"{one.method} {one.template} asks for {element.id} ({element.name.en}), which "
        f"{source} gives for a subject {element.subject}",
        facts={"element": element.id, "source": str(source)},
    )


def _marks(schemas: SchemaSet, place: Place) -> Iterator[tuple[str, Place]]:
    pending, seen = [place], set[Place]()
    while pending:
        at = pending.pop()
        if at in seen:
            continue
        seen.add(at)
        if len(seen) > MAX_LOOKED:
            raise refuse(place, "has too many schemas to be searched for data elements")
        node = schemas.resolve(at)
        if not isinstance(node, dict):
            continue
        if MARK in node:
            yield _id(node[MARK], at / MARK), at
        pending += _below(schemas, node, at)


def _below(schemas: SchemaSet, node: Mapping[str, Any], at: Place) -> Iterator[Place]:
    if "$ref" in node:
        yield schemas.target(node["$ref"], at)
    if isinstance(node.get("schema"), dict):  # of a parameter
        yield at / "schema"
    for keyword in _ONE:
        if isinstance(node.get(keyword), dict):
            yield at / keyword
    for keyword in _LISTS:
        yield from (at / keyword / number for number in range(len(node.get(keyword) or ())))
    for keyword in _MAPS:
        yield from (at / keyword / name for name in node.get(keyword) or ())


def _id(value: Any, place: Place) -> str:
    if not isinstance(value, str) or not is_element_id(value):
        raise refuse(place, "must be the id of a data element, such as person.birth-date")
    return value
