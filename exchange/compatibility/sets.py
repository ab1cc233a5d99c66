"""Two versions of a shared schema, each within the set of shared schemas that it refers to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from exchange.compatibility.breaks import Break, Way, distinct
from exchange.compatibility.conjunctions import At
from exchange.compatibility.inclusion import Inclusion
from exchange.schema_sets.collecting import SchemaSet
from exchange.schema_sets.keywords import Dialect, Direction
from exchange.schema_sets.places import Place

_DEFS: Final = "$defs"


def compare_schemas(
    identifier: str,
    old: Mapping[str, bytes],
    new: Mapping[str, bytes],
    way: Way,
    *,
    tolerant: bool = True,
) -> tuple[Break, ...]:
    """Compare a shared schema, and each of its ``$defs``, in an old set and a new one.

    Args:
        identifier: its ``$id``, which is in both sets.
        old, new: shared schemas by their ``$id``; those that it refers to are read.
        tolerant: readers of the old version ignore properties that they do not know, and expect
            new codes in code lists.

    Returns: the breaks; none means that the versions understand each other as ``way`` says.

    Raises:
        Problem: ``INVALID_DOCUMENT`` when a schema cannot be read.
    """
    before, after = _collected(identifier, old), _collected(identifier, new)
    breaks: list[Break] = []
    for one in way.ways:
        backward = one is Way.BACKWARD
        inclusion = Inclusion(one, tolerant=tolerant and not backward)
        for pointer in before:
            if pointer not in after:
                breaks.append(Break(one, f"{identifier}#{pointer}", _DEFS, pointer[7:]))
            elif backward:
                breaks += inclusion.breaks(before[pointer], after[pointer])
            else:
                breaks += inclusion.breaks(after[pointer], before[pointer])
    return distinct(breaks)


def check_readable(identifier: str, shared: Mapping[str, bytes]) -> None:
    """Read a shared schema with its ``$defs`` and what they refer to, as whoever refers to it does.

    Raises:
        Problem: ``INVALID_DOCUMENT`` at the place that cannot be read.
    """
    _collected(identifier, shared)


def _collected(identifier: str, shared: Mapping[str, bytes]) -> dict[str, At]:
    """The schema itself and its definitions, by their pointers."""
    found = SchemaSet({}, Dialect.JSON_SCHEMA_2020_12, shared)
    root = Place(identifier, "")
    parts = found.resolve(root)
    places = [root, *(root / _DEFS / name for name in parts.get(_DEFS, {}))]
    names = {place.pointer: found.add(place, Direction.RESPONSE) for place in places}
    found.close()
    return {pointer: At.of(found, name) for pointer, name in names.items()}
