"""Statistics fields: what a schema marks to be counted in answers, about nobody.

A property with ``"x-saphan-statistics": "sex"`` is counted by the provider's server: how often each
of its values came up, by day, service and purpose. Only values that the schema lists are counted,
so that no name or number of a person can become one; what is not listed is not counted.

Invariants:
- a mark stands on a property whose values are an ``enum`` of strings or ``true`` and ``false``, or
  an array of such; any other is refused when the contract is compiled;
- the search for marks is bounded in depth and number.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

from exchange.schema_sets.collecting import SchemaSet
from exchange.schema_sets.keywords import MARK
from exchange.schema_sets.places import Place, refuse

MAX_DEPTH: Final = 16
MAX_MARKS: Final = 32
MAX_VALUES: Final = 500
MAX_VALUE: Final = 64
EACH: Final = "*"
_NAME: Final = re.compile(r"[a-z][a-z0-9-]{0,39}", re.ASCII)
_BOOLEANS: Final = {"true": "true", "false": "false"}
_TRUTH: Final = {True: "true", False: "false"}


class Mark(NamedTuple):
    """A field to be counted, where it stands in an answer, and the values that count.

    ``path`` has names of properties, and :data:`EACH` for the items of an array.
    """

    field: str
    path: tuple[str, ...]
    values: frozenset[str]

    def found_in(self, document: Any) -> Iterator[str]:
        """The values of the field in a document, as often as they come up."""
        at = [document]
        for name in self.path:
            if name == EACH:
                at = [item for each in at if isinstance(each, list) for item in each]
            else:
                at = [each[name] for each in at if isinstance(each, dict) and name in each]
        for value in at:
            text = _TRUTH.get(value) if isinstance(value, bool) else value
            if isinstance(text, str) and text in self.values:
                yield text


def marks_of(schemas: SchemaSet, place: Place) -> tuple[Mark, ...]:
    """The marks in the schema at a place, and in what it refers to.

    Raises:
        Problem: ``INVALID_DOCUMENT`` at a mark that stands wrong.
    """
    found: dict[tuple[str, tuple[str, ...]], Mark] = {}
    for mark in _walk(schemas, place, (), 0):
        found[mark.field, mark.path] = mark
        if len(found) > MAX_MARKS:
            raise refuse(place, f"more than {MAX_MARKS} statistics fields")
    return tuple(found.values())


def _walk(schemas: SchemaSet, place: Place, path: tuple[str, ...], depth: int) -> Iterator[Mark]:
    node = schemas.resolve(place)
    if not isinstance(node, dict) or depth > MAX_DEPTH:
        return
    if MARK in node:
        yield _mark(schemas, place, node[MARK], path)
        return
    if "$ref" in node:
        yield from _walk(schemas, schemas.target(node["$ref"], place), path, depth + 1)
    for keyword in ("allOf", "anyOf", "oneOf"):
        for number in range(len(node.get(keyword, ()))):
            yield from _walk(schemas, place / keyword / number, path, depth + 1)
    if isinstance(node.get("items"), dict):
        yield from _walk(schemas, place / "items", (*path, EACH), depth + 1)
    for name in node.get("properties", ()):
        yield from _walk(schemas, place / "properties" / name, (*path, name), depth + 1)


def _mark(schemas: SchemaSet, place: Place, field: Any, path: tuple[str, ...]) -> Mark:
    if not isinstance(field, str) or not _NAME.fullmatch(field):
        raise refuse(place / MARK, "must be a name of small letters, digits and hyphens")
    each, values = _values(schemas, place, 0)
    if values is None:
        raise refuse(
            place / MARK,
            "what is counted needs an enum of strings or true and false: no other "
            "value may be counted",
        )
    return Mark(field, (*path, *each), values)


def _values(
    schemas: SchemaSet, place: Place, depth: int
) -> tuple[tuple[str, ...], frozenset[str] | None]:
    """The values that a schema lists; of an array those of its items, with the step to them."""
    node = schemas.resolve(place)
    if not isinstance(node, dict) or depth > MAX_DEPTH:
        return (), None
    listed = node.get("enum")
    if isinstance(listed, list):
        texts = [value for value in listed if value is not None]
        good = len(texts) <= MAX_VALUES and all(
            isinstance(text, str) and len(text) <= MAX_VALUE and text.isprintable()
            for text in texts
        )
        return (), frozenset(texts) if good else None
    if node.get("type") == "boolean":
        return (), frozenset(_BOOLEANS)
    inner: list[Place] = []
    if "$ref" in node:
        inner.append(schemas.target(node["$ref"], place))
    for keyword in ("allOf", "anyOf", "oneOf"):
        inner += [place / keyword / number for number in range(len(node.get(keyword, ())))]
    for one in inner:
        each, values = _values(schemas, one, depth + 1)
        if values is not None:
            return each, values
    if isinstance(node.get("items"), dict):
        each, values = _values(schemas, place / "items", depth + 1)
        return (EACH, *each), values
    return (), None
