"""What a conjunction of schemas says of the instances that keep them all.

A :data:`Conjunction` is a schema taken apart: the schema itself, what its ``$ref`` leads to and
the parts of its ``allOf``, all of which hold. None stands for one that nothing keeps.

Every answer is a bound that holds for all instances; where a keyword is passed over, the bound is
wider than it need be, never narrower. So what follows from it is true.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from math import ceil, floor, inf
from typing import Any, Final, TypeAlias, TypeVar

import jsonschema_rs
import orjson

from exchange.schema_sets.collecting import SchemaSet
from exchange.schema_sets.keywords import LIST, MAP, ONE
from exchange.schema_sets.places import Place, escape
from schemas import CODE_LIST

ATOMS: Final = frozenset({"array", "boolean", "fraction", "integer", "null", "object", "string"})
"""The types, so that no two overlap; ``number`` is integers and fractions."""
_SPLIT: Final = ("anyOf", "oneOf")


T = TypeVar("T")


class TooMuchError(Exception):
    """The bound of the work is reached, or of what the engine takes; nothing can be told."""


@dataclass(frozen=True, slots=True)
class At:
    """A schema in a set: ``pointer`` leads to it within the collected schema ``name``."""

    side: SchemaSet
    name: str
    pointer: str
    node: Any

    @classmethod
    def of(cls, side: SchemaSet, name: str) -> At:
        """A schema by the name that :meth:`SchemaSet.add` gave."""
        return cls(side, name, "", side.schema(name))

    def __truediv__(self, token: str | int) -> At:
        pointer = f"{self.pointer}/{escape(str(token))}"
        return At(self.side, self.name, pointer, self.node[token])

    @property
    def target(self) -> At:
        """Where ``$ref`` leads."""
        return At.of(self.side, self.node["$ref"].rpartition("/")[2])

    @property
    def code_list(self) -> str | None:
        """The ``$id`` of the code list that this is."""
        origin = self.side.origin(self.name) if self.name and not self.pointer else None
        if origin is None or not origin.base or origin.pointer:
            return None
        return origin.base if CODE_LIST in self.side.resolve(origin) else None

    def place(self, keyword: str = "") -> str:
        """Where it stands in its document, or a keyword in it."""
        origin = self.side.origin(self.name)
        tail = f"/{escape(keyword)}" if keyword else ""
        found = Place(origin.base, f"{origin.pointer}{self.pointer}{tail}")
        return str(found) if found.base else found.pointer


Conjunction: TypeAlias = tuple[At, ...]


def conjuncts(*schemas: At) -> Conjunction | None:
    """Take schemas apart; None when one of them is false."""
    found: dict[int, At] = {}
    further = list(schemas)
    while further:
        one = further.pop()
        if one.node is False:
            return None
        if one.node is True or id(one.node) in found:
            continue
        found[id(one.node)] = one
        if "$ref" in one.node:
            further.append(one.target)
        parts = one / "allOf" if "allOf" in one.node else None
        further += [parts / index for index in range(len(parts.node))] if parts else []
    return tuple(found.values())


def alternatives(at: At, keyword: str) -> list[At]:
    """The parts of ``anyOf`` or ``oneOf``."""
    whole = at / keyword
    return [whole / index for index in range(len(whole.node))]


def types(conjunction: Conjunction) -> frozenset[str]:
    """The types that an instance can have."""
    admitted = ATOMS
    for at in conjunction:
        if "type" in at.node:
            admitted &= atoms(at.node["type"])
        if (listed := values_of(at.node)) is not None:
            admitted &= frozenset(atom(value) for value in listed)
        for keyword in _SPLIT:
            if keyword in at.node:
                admitted &= _remembered("types", at / keyword, _types_of_parts)
    return admitted


def _types_of_parts(parts: At) -> frozenset[str]:
    """The types that one part or another admits."""
    cases = [conjuncts(parts / index) for index in range(len(parts.node))]
    return frozenset().union(*(types(case) for case in cases if case is not None))


def atoms(kinds: str | list[str]) -> frozenset[str]:
    """The types of a keyword ``type``."""
    named = frozenset([kinds] if isinstance(kinds, str) else kinds)
    return (named - {"number"}) | ({"integer", "fraction"} if "number" in named else frozenset())


def atom(value: Any) -> str:
    """The type of a value; 1.0 is an integer (validation, section 6.1.1)."""
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int) or (isinstance(value, float) and value.is_integer()):
        return "integer"
    kinds: dict[type, str] = {str: "string", float: "fraction", list: "array", dict: "object"}
    return kinds.get(type(value), "null")


def is_possible(conjunction: Conjunction | None) -> bool:
    """Whether something may keep it, as far as types tell."""
    return conjunction is not None and bool(types(conjunction))


def values_of(node: dict[str, Any]) -> list[Any] | None:
    """The values that ``enum`` or ``const`` lists."""
    if "const" in node:
        return [node["const"]]
    listed: list[Any] | None = node.get("enum")
    return listed


def listed_values(conjunction: Conjunction) -> list[Any] | None:
    """A list that holds every instance, where there is one; some of it may not be instances."""
    lists = [found for at in conjunction if (found := values_of(at.node)) is not None]
    for at in conjunction:
        for keyword in _SPLIT:
            if keyword in at.node and not lists:
                lists += _values_of_parts(at.node[keyword])
    if lists:
        return min(lists, key=len)
    kinds = types(conjunction)
    if kinds <= {"boolean", "null"}:
        return [value for value in (None, False, True) if atom(value) in kinds]
    return None


def _values_of_parts(parts: list[Any]) -> list[list[Any]]:
    """The values of alternatives that each list theirs: a code list whose codes have titles."""
    found: list[Any] = []
    for part in parts:
        listed = values_of(part) if isinstance(part, dict) else None
        if listed is None:
            return []
        found += listed
    return [found]


# -- numbers and lengths ---------------------------------------------------------------------


def lowest(conjunction: Conjunction) -> tuple[float, bool]:
    """The least number, and whether it is itself excluded."""
    found: tuple[float, bool] = (-inf, False)
    for at in conjunction:
        if "minimum" in at.node:
            found = max(found, (at.node["minimum"], False))
        if "exclusiveMinimum" in at.node:
            found = max(found, (at.node["exclusiveMinimum"], True))
    if found[0] != -inf and "fraction" not in types(conjunction):
        bound, excluded = found
        least = ceil(bound)
        return (least + 1 if excluded and least == bound else least), False
    return found


def highest(conjunction: Conjunction) -> tuple[float, bool]:
    """The greatest number, and whether it is itself excluded."""
    bound, excluded = inf, False
    for at in conjunction:
        for keyword, out in (("maximum", False), ("exclusiveMaximum", True)):
            value = at.node.get(keyword, inf)
            if value < bound or (value == bound != inf and out):
                bound, excluded = value, out
    if bound != inf and "fraction" not in types(conjunction):
        most = floor(bound)
        return (most - 1 if excluded and most == bound else most), False
    return bound, excluded


def least(conjunction: Conjunction, keyword: str) -> int:
    """The greatest of the values of ``minLength``, ``minItems`` or ``minProperties``."""
    found = max((at.node.get(keyword, 0) for at in conjunction), default=0)
    if keyword == "minProperties":
        found = max(found, len(required(conjunction)))
    return int(found)


def most(conjunction: Conjunction, keyword: str) -> float:
    """The least of the values of ``maxLength``, ``maxItems`` or ``maxProperties``."""
    found: float = min((at.node.get(keyword, inf) for at in conjunction), default=inf)
    for at in conjunction:
        if keyword == "maxItems" and at.node.get("items") is False:
            found = min(found, len(at.node.get("prefixItems", ())))
    if keyword == "maxProperties" and (names := possible_names(conjunction)) is not None:
        found = min(found, len(names))
    return found


# -- objects ---------------------------------------------------------------------------------


def required(conjunction: Conjunction) -> frozenset[str]:
    """The names that every object has."""
    return frozenset(name for at in conjunction for name in at.node.get("required", ()))


def named(conjunction: Conjunction) -> Iterator[str]:
    """The names under ``properties``, each once."""
    yield from dict.fromkeys(n for at in conjunction for n in at.node.get("properties", ()))


def of_property(conjunction: Conjunction, name: str) -> Conjunction | None:
    """What the value of a property keeps."""
    found: list[At] = []
    for at in conjunction:
        before = len(found)
        if name in at.node.get("properties", ()):
            found.append(at / "properties" / name)
        for pattern in at.node.get("patternProperties", ()):
            if matches(pattern, name):
                found.append(at / "patternProperties" / pattern)
        if len(found) == before and "additionalProperties" in at.node:
            found.append(at / "additionalProperties")
        if _closes(at) and (names := may_evaluate(at)) is not None and name not in names:
            return None
    return conjuncts(*found)


def of_others(conjunction: Conjunction) -> Conjunction | None:
    """What the value of a property keeps that no schema names and no pattern matches."""
    if any(_closes(at) and may_evaluate(at) is not None for at in conjunction):
        return None
    return conjuncts(
        *(at / "additionalProperties" for at in conjunction if "additionalProperties" in at.node)
    )


def of_pattern(conjunction: Conjunction, pattern: str) -> Conjunction | None:
    """What the value of a property keeps that no schema names and the pattern matches."""
    found: list[At] = []
    for at in conjunction:
        by_pattern = at.node.get("patternProperties", {})
        if pattern in by_pattern:
            found.append(at / "patternProperties" / pattern)
        elif not by_pattern and "additionalProperties" in at.node:
            found.append(at / "additionalProperties")
        if _closes(at) and may_evaluate(at) is not None:
            return None
    return conjuncts(*found)


def possible_names(conjunction: Conjunction) -> frozenset[str] | None:
    """The names that properties can have; None when they are not listed."""
    found: frozenset[str] | None = None
    for at in conjunction:
        names: frozenset[str] | None = None
        if at.node.get("additionalProperties") is False and "patternProperties" not in at.node:
            names = frozenset(at.node.get("properties", ()))
        elif _closes(at):
            names = may_evaluate(at)
        if names is not None:
            found = names if found is None else found & names
    return found


def may_evaluate(at: At) -> frozenset[str] | None:
    """The names that a schema may have evaluated, in any of its parts; None: not listed."""
    return _remembered("names", at, _may_evaluate)


def _may_evaluate(at: At) -> frozenset[str] | None:
    names: set[str] = set()
    for part in _parts(at, always=False):
        if part.node is True or part.node is False:
            continue
        if "additionalProperties" in part.node or "patternProperties" in part.node:
            return None
        if part.node is not at.node and "unevaluatedProperties" in part.node:
            return None
        names.update(part.node.get("properties", ()))
    return frozenset(names)


def surely_evaluates(at: At) -> frozenset[str] | None:
    """The names that a schema always evaluates; None: all of them."""
    names: set[str] = set()
    for part in _parts(at, always=True):
        if part.node is True or part.node is False:
            continue
        if "additionalProperties" in part.node:
            return None
        if part.node is not at.node and "unevaluatedProperties" in part.node:
            return None
        names.update(part.node.get("properties", ()))
    return frozenset(names)


def _closes(at: At) -> bool:
    return at.node.get("unevaluatedProperties") is False


def _parts(at: At, *, always: bool) -> Iterator[At]:
    """The schemas that apply to the same instance; ``always``: only those that surely do."""
    further = [at]
    while further:
        one = further.pop()
        yield one
        if not isinstance(one.node, dict):
            continue
        if "$ref" in one.node:
            further.append(one.target)
        if "allOf" in one.node:
            further += alternatives(one, "allOf")
        if not always:
            for keyword in _SPLIT:
                further += alternatives(one, keyword) if keyword in one.node else []
            further += [one / key for key in ("if", "then", "else") if key in one.node]
            if "dependentSchemas" in one.node:
                whole = one / "dependentSchemas"
                further += [whole / name for name in whole.node]


# -- arrays ----------------------------------------------------------------------------------


def prefix(conjunction: Iterable[At]) -> int:
    """How many first items have schemas of their own."""
    return max((len(at.node.get("prefixItems", ())) for at in conjunction), default=0)


def item(at: At, index: int) -> At | None:
    """The schema of one item, if there is one."""
    if index < len(at.node.get("prefixItems", ())):
        return at / "prefixItems" / index
    return at / "items" if "items" in at.node else None


def of_item(conjunction: Conjunction, index: int) -> Conjunction | None:
    """What one item keeps."""
    found = [item(at, index) for at in conjunction]
    return conjuncts(*(one for one in found if one is not None))


# -- memory ----------------------------------------------------------------------------------


def _remembered(what: str, at: At, work: Callable[[At], T]) -> T:
    """What was worked out of a schema once: parts that are referred to often are not walked again.

    By the identity of the node, which lives as long as its set; cases of our own do not.
    """
    if not at.name:
        return work(at)
    key = what, id(at.node)
    if key not in at.side.memory:
        at.side.memory[key] = work(at)
    found: T = at.side.memory[key]
    return found


# -- equality --------------------------------------------------------------------------------


def same(first: At, second: At) -> bool:
    """Whether two schemas are the same text, what they refer to included."""
    assumed: set[tuple[int, int]] = set()
    further: list[tuple[At, At]] = [(first, second)]
    while further:
        one, other = further.pop()
        if isinstance(one.node, bool) or isinstance(other.node, bool):
            if one.node is not other.node:
                return False
            continue
        if one.node is other.node or (id(one.node), id(other.node)) in assumed:
            continue
        assumed.add((id(one.node), id(other.node)))
        if one.node.keys() != other.node.keys():
            return False
        for keyword in one.node:
            if keyword == "$ref":
                further.append((one.target, other.target))
            elif (pairs := _pairs(one / keyword, other / keyword, keyword)) is None:
                return False
            else:
                further += pairs
    return True


def _pairs(one: At, other: At, keyword: str) -> list[tuple[At, At]] | None:
    """The schemas inside two values of a keyword, side by side; None when the rest differs."""
    if keyword in ONE:
        return [(one, other)]
    if keyword in LIST and len(one.node) == len(other.node):
        return [(one / index, other / index) for index in range(len(one.node))]
    if keyword in MAP and one.node.keys() == other.node.keys():
        return [(one / name, other / name) for name in one.node]
    if keyword in LIST or keyword in MAP:
        return None
    return [] if orjson.dumps(one.node) == orjson.dumps(other.node) else None


def matches(pattern: str, text: str) -> bool:
    """Whether a pattern of JSON Schema finds something in a text.

    By the engine of the message path, in linear time: Python's ``re`` goes back and forth, and a
    pattern such as ``^(a+)+$`` would hold the whole process.
    """
    return _searcher(pattern)(text)


@lru_cache(maxsize=1024)
def _searcher(pattern: str) -> Callable[[str], bool]:
    try:
        return jsonschema_rs.Draft202012Validator(
            {"pattern": pattern}, pattern_options=jsonschema_rs.RegexOptions()
        ).is_valid
    except ValueError as error:
        raise TooMuchError from error
