"""Inclusion: a :class:`~exchange.compatibility.comparison.Comparison` that knows every keyword.

A keyword says something only of instances of its types. Those that need no other schema are judged
by :mod:`exchange.compatibility.bounds`, the others by the modules named in the table.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Final, TypeAlias

from exchange.compatibility import arrays, combinations, objects
from exchange.compatibility import conjunctions as of
from exchange.compatibility.bounds import BOUNDS
from exchange.compatibility.breaks import Break
from exchange.compatibility.comparison import Comparison
from exchange.compatibility.conjunctions import At, Conjunction

Judge: TypeAlias = Callable[[Comparison, Conjunction, At], Iterable[Break]]
_JUDGES: Final[Mapping[str, Judge]] = {
    "$ref": combinations.reference,
    "allOf": combinations.every_one,
    "anyOf": combinations.any_one,
    "const": combinations.listed,
    "contains": arrays.contains,
    "dependentRequired": objects.required_beside,
    "dependentSchemas": objects.schema_beside,
    "enum": combinations.listed,
    "if": combinations.condition,
    "items": arrays.items,
    "not": combinations.excluded,
    "oneOf": combinations.exactly_one,
    "properties": objects.properties,
    "propertyNames": objects.names,
    "required": objects.required,
    "unevaluatedItems": arrays.unevaluated_items,
    "unevaluatedProperties": objects.unevaluated,
}
_GROUPED: Final = {
    "additionalProperties": "properties",
    "else": "if",
    "maxContains": "contains",
    "minContains": "contains",
    "patternProperties": "properties",
    "prefixItems": "items",
    "then": "if",
}
"""Keywords that mean something only together with another, under which they are judged."""
_KINDS: Final[Mapping[str, frozenset[str]]] = {
    **dict.fromkeys(
        ("minimum", "exclusiveMinimum", "maximum", "exclusiveMaximum", "multipleOf"),
        frozenset({"integer", "fraction"}),
    ),
    **dict.fromkeys(("minLength", "maxLength", "pattern", "format"), frozenset({"string"})),
    **dict.fromkeys(
        ("items", "minItems", "maxItems", "uniqueItems", "contains", "unevaluatedItems"),
        frozenset({"array"}),
    ),
    **dict.fromkeys(
        (
            "dependentRequired",
            "dependentSchemas",
            "maxProperties",
            "minProperties",
            "properties",
            "propertyNames",
            "required",
            "unevaluatedProperties",
        ),
        frozenset({"object"}),
    ),
}
"""The types whose instances a keyword binds; it says nothing of others."""


class Inclusion(Comparison):
    """Whether every instance of one schema is an instance of another."""

    def judged(self, narrow: Conjunction, wide: At) -> Iterable[Break]:
        groups = dict.fromkeys(_GROUPED.get(keyword, keyword) for keyword in wide.node)
        return (one for group in groups for one in self._keyword(group, narrow, wide))

    def _keyword(self, keyword: str, narrow: Conjunction, wide: At) -> Iterable[Break]:
        """Judge one keyword, or some that mean something only together."""
        kinds = _KINDS.get(keyword)
        if kinds is not None and not of.types(narrow) & kinds:
            return ()
        if keyword in BOUNDS:
            return () if BOUNDS[keyword](narrow, wide.node[keyword]) else self.broken(wide, keyword)
        return _JUDGES[keyword](self, narrow, wide)
