"""Keywords that are decided by themselves: bounds of types, numbers, lengths and texts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from exchange.compatibility import conjunctions as of
from exchange.compatibility.conjunctions import Conjunction


def _above(narrow: Conjunction, bound: float) -> bool:
    return of.lowest(narrow)[0] >= bound


def _strictly_above(narrow: Conjunction, bound: float) -> bool:
    return of.lowest(narrow) > (bound, False)


def _below(narrow: Conjunction, bound: float) -> bool:
    return of.highest(narrow)[0] <= bound


def _strictly_below(narrow: Conjunction, bound: float) -> bool:
    highest, excluded = of.highest(narrow)
    return highest < bound or (highest == bound and excluded)


def _in_steps(narrow: Conjunction, step: float) -> bool:
    if step == 1 and "fraction" not in of.types(narrow):
        return True
    steps = [at.node["multipleOf"] for at in narrow if "multipleOf" in at.node]
    return step in steps or (
        isinstance(step, int) and any(isinstance(one, int) and one % step == 0 for one in steps)
    )


def _at_least(keyword: str) -> Callable[[Conjunction, Any], bool]:
    return lambda narrow, bound: of.least(narrow, keyword) >= bound


def _at_most(keyword: str) -> Callable[[Conjunction, Any], bool]:
    return lambda narrow, bound: of.most(narrow, keyword) <= bound


def _equally(keyword: str) -> Callable[[Conjunction, Any], bool]:
    return lambda narrow, value: any(at.node.get(keyword) == value for at in narrow)


def _distinct_items(narrow: Conjunction, wanted: bool) -> bool:
    return (
        not wanted
        or of.most(narrow, "maxItems") <= 1
        or any(at.node.get("uniqueItems") is True for at in narrow)
    )


BOUNDS: Final[Mapping[str, Callable[[Conjunction, Any], bool]]] = {
    "type": lambda narrow, kinds: of.types(narrow) <= of.atoms(kinds),
    "minimum": _above,
    "exclusiveMinimum": _strictly_above,
    "maximum": _below,
    "exclusiveMaximum": _strictly_below,
    "multipleOf": _in_steps,
    **{name: _at_least(name) for name in ("minLength", "minItems", "minProperties")},
    **{name: _at_most(name) for name in ("maxLength", "maxItems", "maxProperties")},
    **{name: _equally(name) for name in ("pattern", "format")},
    "uniqueItems": _distinct_items,
}
"""Whether all instances of a conjunction keep a keyword of this value."""
