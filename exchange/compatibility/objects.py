"""Judges of the keywords of objects: which properties they have, and what is in them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from exchange.compatibility import conjunctions as of
from exchange.compatibility.breaks import Break
from exchange.compatibility.comparison import MAX_SUBJECT, Comparison
from exchange.compatibility.conjunctions import At, Conjunction


def properties(asking: Comparison, narrow: Conjunction, wide: At) -> Iterable[Break]:
    """``properties``, ``patternProperties`` and ``additionalProperties``."""
    breaks: list[Break] = []
    declared = wide.node.get("properties", {})
    by_pattern = wide.node.get("patternProperties", {})
    patterns = sum(len(at.node.get("patternProperties", ())) for at in narrow)
    for name in declared:
        asking.count(1 + patterns // 8)
        wanted = wide / "properties" / name
        breaks += asking.value(of.of_property(narrow, name), wanted, "properties", name)
    for pattern in by_pattern:
        wanted = wide / "patternProperties" / pattern
        asking.count(1 + patterns // 8)
        for name in of.named(narrow):
            if of.matches(pattern, name):
                breaks += asking.value(
                    of.of_property(narrow, name), wanted, "patternProperties", name
                )
        breaks += asking.value(of.of_pattern(narrow, pattern), wanted, "patternProperties", pattern)
    if "additionalProperties" in wide.node:
        breaks += _additional(asking, narrow, wide)
    return breaks


def _additional(asking: Comparison, narrow: Conjunction, wide: At) -> Iterator[Break]:
    wanted = wide / "additionalProperties"
    if asking.tolerant and wanted.node is False:
        return
    declared = wide.node.get("properties", {})
    by_pattern = wide.node.get("patternProperties", {})
    for name in of.named(narrow):
        asking.count()
        if name not in declared and not any(of.matches(one, name) for one in by_pattern):
            found = of.of_property(narrow, name)
            yield from asking.value(found, wanted, "additionalProperties", name)
    for pattern in dict.fromkeys(
        one for at in narrow for one in at.node.get("patternProperties", ())
    ):
        if pattern not in by_pattern:
            found = of.of_pattern(narrow, pattern)
            yield from asking.value(found, wanted, "additionalProperties", pattern)
    yield from asking.value(of.of_others(narrow), wanted, "additionalProperties", "")


def unevaluated(asking: Comparison, narrow: Conjunction, wide: At) -> Iterable[Break]:
    """``unevaluatedProperties``."""
    wanted = wide.node["unevaluatedProperties"]
    if wanted is True or (asking.tolerant and wanted is False):
        return ()
    evaluated, possible = of.surely_evaluates(wide), of.possible_names(narrow)
    if evaluated is None or (possible is not None and possible <= evaluated):
        return ()
    if possible is None:
        return asking.broken(wide, "unevaluatedProperties", "")
    return [
        one
        for name in sorted(possible - evaluated)
        if of.is_possible(of.of_property(narrow, name))
        for one in asking.broken(wide, "unevaluatedProperties", name[:MAX_SUBJECT])
    ]


def required(asking: Comparison, narrow: Conjunction, wide: At) -> Iterable[Break]:
    """``required``: a break for each name that instances may lack."""
    missing = [name for name in wide.node["required"] if name not in of.required(narrow)]
    return [one for name in missing for one in asking.broken(wide, "required", name[:MAX_SUBJECT])]


def names(asking: Comparison, narrow: Conjunction, wide: At) -> Iterable[Break]:
    """``propertyNames``."""
    wanted = wide / "propertyNames"
    names = of.possible_names(narrow)
    if names is not None:
        engine = asking.engine(wanted)
        refused = [name for name in sorted(names) if not engine.is_valid(name)]
        return [
            one
            for name in refused
            for one in asking.broken(wide, "propertyNames", name[:MAX_SUBJECT])
        ]
    known = [at / "propertyNames" for at in narrow if "propertyNames" in at.node]
    if asking.holds(of.conjuncts(asking.case(wide, {"type": "string"}), *known), wanted):
        return ()
    return asking.broken(wide, "propertyNames", "")


def required_beside(asking: Comparison, narrow: Conjunction, wide: At) -> Iterable[Break]:
    """``dependentRequired``."""
    always = of.required(narrow)
    for name, wanted in wide.node["dependentRequired"].items():
        beside = always.union(
            *(at.node.get("dependentRequired", {}).get(name, ()) for at in narrow)
        )
        if not beside.issuperset(wanted) and of.is_possible(of.of_property(narrow, name)):
            yield from asking.broken(wide, "dependentRequired", name[:MAX_SUBJECT])


def schema_beside(asking: Comparison, narrow: Conjunction, wide: At) -> Iterable[Break]:
    """``dependentSchemas``."""
    for name in wide.node["dependentSchemas"]:
        beside = [
            at / "dependentSchemas" / name
            for at in narrow
            if name in at.node.get("dependentSchemas", ())
        ]
        present = asking.case(wide, {"required": [name]})
        if of.is_possible(of.of_property(narrow, name)) and not asking.strict.holds(
            of.conjuncts(*narrow, present, *beside), wide / "dependentSchemas" / name
        ):
            yield from asking.broken(wide, "dependentSchemas", name[:MAX_SUBJECT])
