"""Instances made from a schema: valid by construction as far as that goes, and always checked.

Each instance is built from the schema's own bounds, then judged by the engine of the message path;
one that does not keep the schema (``not``, conditions, several patterns at once) is made anew, at
most :data:`MAX_TRIES` times. The same seed gives the same instances.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from math import ceil, floor
from typing import Any, Final

from exchange.compatibility import conjunctions as of
from exchange.compatibility.conjunctions import At, Conjunction
from exchange.contracts import patterns
from exchange.problems import Code, Problem
from exchange.schema_sets.collecting import SchemaSet
from exchange.schema_sets.keywords import Dialect, Direction
from exchange.schema_sets.places import Place

MAX_TRIES: Final = 200
MAX_DEPTH: Final = 12
MAX_SIZE: Final = 50_000
"""Values of one instance, and characters of its texts, together."""
_FIRST: Final = date(2015, 1, 1)
_WORDS: Final = ("ໂຄງການ", "ແຂວງ", "ນ້ຳ", "school", "road", "health", "village", "2025")
_parser: Any = re._parser  # type: ignore[attr-defined]  # the one reader of patterns at hand


class ExampleMaker:
    """Makes instances of one schema of a set."""

    def __init__(self, identifier: str, pointer: str, shared: Mapping[str, bytes]) -> None:
        self._set = SchemaSet({}, Dialect.JSON_SCHEMA_2020_12, shared)
        self._name = self._set.add(Place(identifier, pointer), Direction.RESPONSE)
        self._set.close()
        self._is_valid = self._set.compiled(self._name).is_valid

    def make(self, count: int, seed: int) -> Iterator[Any]:
        """``count`` instances.

        Raises:
            Problem: ``InvalidDocument`` when none is found.
        """
        chance = _Chance(seed)
        for _ in range(count):
            yield self._one(chance)

    def _one(self, chance: _Chance) -> Any:
        detail = f"no instance was found in {MAX_TRIES} tries; is there any?"
        chance.left = MAX_SIZE
        try:
            for _ in range(MAX_TRIES):
                made = _make((At.of(self._set, self._name),), chance, 0)
                if made is not _NOTHING and self._is_valid(made):
                    return made
        except _TooLargeError:
            detail = f"no instance was found among {MAX_SIZE} values and characters"
        where = str(self._set.origin(self._name))
        raise Problem(Code.INVALID_DOCUMENT, where=where, detail=detail)


class _TooLargeError(Exception):
    """More was tried for one instance than is made."""


class _Chance(random.Random):
    """Chance, and how much may still be made with it."""

    left = MAX_SIZE

    def take(self, size: int) -> None:
        """Raises: _TooLargeError."""
        self.left -= size
        if self.left < 0:
            raise _TooLargeError


_NOTHING: Final = object()


def _make(schemas: tuple[At, ...], chance: _Chance, depth: int) -> Any:
    chance.take(1)
    conjunction = _chosen(of.conjuncts(*schemas), chance)
    if not of.is_possible(conjunction) or conjunction is None or depth > MAX_DEPTH:
        return _NOTHING
    listed = of.listed_values(conjunction)
    if listed is not None:
        return chance.choice(listed) if listed else _NOTHING
    kinds = sorted(of.types(conjunction) - {"fraction"} or {"fraction"})
    shown = [kind for kind in kinds if kind != "null"] or kinds
    said = any("type" in at.node for at in conjunction)
    kind = chance.choice(shown) if said else _kind_of(conjunction)
    return _MAKERS[kind](conjunction, chance, depth)


def _kind_of(conjunction: Conjunction) -> str:
    """The type that a schema without one speaks of."""
    keywords = {keyword for at in conjunction for keyword in at.node}
    if keywords & {"properties", "required", "additionalProperties"}:
        return "object"
    if keywords & {"items", "prefixItems", "minItems"}:
        return "array"
    if keywords & {"minimum", "maximum", "multipleOf"}:
        return "integer"
    return "string"


def _chosen(conjunction: Conjunction | None, chance: _Chance) -> Conjunction | None:
    """A conjunction with one of each list of alternatives taken."""
    taken: set[int] = set()
    while conjunction is not None:
        for at in conjunction:
            keyword = next((one for one in ("oneOf", "anyOf") if one in at.node), None)
            if keyword is not None and id(at.node) not in taken:
                taken.add(id(at.node))
                part = chance.choice(of.alternatives(at, keyword))
                conjunction = of.conjuncts(*conjunction, part)
                break
        else:
            return conjunction
    return None


def _object(conjunction: Conjunction, chance: _Chance, depth: int) -> Any:
    required = of.required(conjunction)
    made = {}
    for name in dict.fromkeys([*of.named(conjunction), *sorted(required)]):
        found = of.of_property(conjunction, name)
        if found is None or (name not in required and (depth > 3 or chance.random() < 0.3)):
            continue
        value = _make(found, chance, depth + 1)
        if value is not _NOTHING:
            made[name] = value
        elif name in required:
            return _NOTHING
    return made


def _array(conjunction: Conjunction, chance: _Chance, depth: int) -> Any:
    low = max(of.least(conjunction, "minItems"), of.prefix(conjunction))
    high = min(of.most(conjunction, "maxItems"), low + 3)
    if low > chance.left:
        raise _TooLargeError
    distinct = any(at.node.get("uniqueItems") is True for at in conjunction)
    made: list[Any] = []
    for _ in range(chance.randint(min(low, int(high)), int(high)) * 4):
        if len(made) >= high:
            break
        found = of.of_item(conjunction, len(made))
        value = _NOTHING if found is None else _make(found, chance, depth + 1)
        if value is not _NOTHING and not (distinct and value in made):
            made.append(value)
    return made


def _integer(conjunction: Conjunction, chance: _Chance, _depth: int) -> Any:
    (low, out_low), (high, out_high) = of.lowest(conjunction), of.highest(conjunction)
    first = ceil(low) if low != -_INFINITE else (min(0, floor(high)) if high < 0 else 0)
    last = floor(high) if high != _INFINITE else first + 1000
    first, last = first + (out_low and first == low), last - (out_high and last == high)
    steps = [at.node["multipleOf"] for at in conjunction if "multipleOf" in at.node]
    step = int(max(steps, default=1)) or 1
    if first > last:
        return _NOTHING
    return min(ceil(chance.randint(first, last) / step) * step, last // step * step)


def _fraction(conjunction: Conjunction, chance: _Chance, depth: int) -> Any:
    return _integer(conjunction, chance, depth)


def _string(conjunction: Conjunction, chance: _Chance, _depth: int) -> Any:
    low, high = of.least(conjunction, "minLength"), of.most(conjunction, "maxLength")
    chance.take(low)
    for at in conjunction:
        if "format" in at.node:
            return _FORMATS[at.node["format"]](chance)
    pattern = next((at.node["pattern"] for at in conjunction if "pattern" in at.node), None)
    if pattern is not None:
        return "".join(_text(_parsed(pattern), chance))
    text = " ".join(chance.choice(_WORDS) for _ in range(chance.randint(1, 4)))
    while len(text) < low:
        text += f" {chance.choice(_WORDS)}"
    return text[: int(min(high, max(len(text), low)))].strip().ljust(low, "x")


_INFINITE: Final = float("inf")
_MAKERS: Final[Mapping[str, Callable[[Conjunction, _Chance, int], Any]]] = {
    "object": _object,
    "array": _array,
    "integer": _integer,
    "fraction": _fraction,
    "string": _string,
    "null": lambda _conjunction, _chance, _depth: None,
    "boolean": lambda _conjunction, chance, _depth: chance.random() < 0.5,
}


# -- texts ---------------------------------------------------------------------------------------


def _moment(chance: random.Random) -> str:
    at = datetime(2020, 1, 1, tzinfo=UTC) + timedelta(seconds=chance.randrange(200_000_000))
    return at.isoformat().replace("+00:00", "Z")


def _digits(chance: random.Random, count: int, signs: str = "0123456789abcdef") -> str:
    return "".join(chance.choice(signs) for _ in range(count))


_FORMATS: Final[Mapping[str, Callable[[random.Random], str]]] = {
    "date": lambda chance: (_FIRST + timedelta(days=chance.randrange(4000))).isoformat(),
    "time": lambda chance: _moment(chance)[11:],
    "date-time": _moment,
    "duration": lambda chance: f"P{chance.randint(1, 30)}D",
    "uuid": lambda chance: "-".join(_digits(chance, n) for n in (8, 4, 4, 4, 12)),
    "email": lambda chance: f"office{chance.randint(1, 99)}@example.la",
    "hostname": lambda chance: f"host{chance.randint(1, 99)}.example.la",
    "ipv4": lambda chance: f"192.0.2.{chance.randint(1, 254)}",
    "ipv6": lambda chance: f"2001:db8::{chance.randint(1, 9999)}",
    "uri": lambda chance: f"https://example.la/{chance.randint(1, 9999)}",
    "uri-reference": lambda chance: f"/{chance.randint(1, 9999)}",
    "json-pointer": lambda chance: f"/{chance.randint(1, 99)}",
}


@lru_cache(maxsize=256)
def _parsed(pattern: str) -> Any:
    return _parser.parse(patterns.for_python(pattern))


def _text(tokens: Any, chance: random.Random) -> Iterator[str]:
    """A text that a parsed pattern matches."""
    for kind, value in tokens:
        name = str(kind)
        if name == "LITERAL":
            yield chr(value)
        elif name == "IN":
            yield chance.choice(_signs(value))
        elif name == "ANY":
            yield chance.choice("abc019")
        elif name in ("MAX_REPEAT", "MIN_REPEAT"):
            low, high, inner = value
            for _ in range(chance.randint(low, min(int(high), low + 4))):
                yield from _text(inner, chance)
        elif name == "SUBPATTERN":
            yield from _text(value[-1], chance)
        elif name == "BRANCH":
            yield from _text(chance.choice(value[1]), chance)
        elif name == "NOT_LITERAL":
            yield "a" if value != ord("a") else "b"


def _signs(parts: Any) -> str:
    """Some of the signs of a class."""
    negated = str(parts[0][0]) == "NEGATE"
    found: set[str] = set()
    for kind, value in parts[1:] if negated else parts:
        if str(kind) == "RANGE":
            found.update(map(chr, range(value[0], min(value[1], value[0] + 80) + 1)))
        else:
            found.add(chr(value))
    if negated:
        found = set("abcdefgh0123456789") - found or {"໑"}
    return "".join(sorted(found))
