"""Whether every instance of one schema is an instance of another (JSON Schema 2020-12).

:class:`Inclusion` takes the *narrow* schema apart into a conjunction and asks of every keyword of
the *wide* one whether it follows. Invariants:

- sound: no break means that no instance of the narrow schema breaks the wide one. What cannot be
  told is a break;
- not complete: two patterns that differ in their text are told as a break even if they accept the
  same texts, and so are conditions that are written in another way;
- schemas that refer to themselves are compared by induction over the depth of instances;
- the work is bounded by :data:`MAX_STEPS`; beyond it there is one break, ``unknown``.

With ``tolerant`` the wide schema is read as by somebody who ignores properties that it does not
declare: ``additionalProperties: false`` and ``unevaluatedProperties: false`` are passed over, but
not below ``oneOf``, ``not`` and conditions, where ignoring changes what else holds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from math import inf
from typing import Any, Final, TypeAlias

import jsonschema_rs
import orjson

from exchange.compatibility import conjunctions as of
from exchange.compatibility.breaks import Break, Way, distinct
from exchange.compatibility.conjunctions import At, Conjunction

MAX_STEPS: Final = 50_000
MAX_VALUES: Final = 5_000
MAX_SUBJECT: Final = 80


class _TooMuchError(Exception):
    """The bound of the work is reached."""


class Inclusion:
    """One comparison; :meth:`breaks` may be asked about many pairs of the same two sets."""

    def __init__(self, way: Way, *, tolerant: bool = False) -> None:
        self._way = way
        self._tolerant = tolerant
        self._found: dict[tuple[frozenset[int], int], tuple[Break, ...]] = {}
        self._engines: dict[int, jsonschema_rs.Draft202012Validator] = {}
        self._cases: dict[str, dict[str, Any]] = {}
        self._steps = 0
        self._strict = Inclusion(way) if tolerant else self

    def breaks(self, narrow: At, wide: At) -> tuple[Break, ...]:
        """Why an instance of ``narrow`` may not be one of ``wide``; nothing when all are."""
        self._steps = self._strict._steps = 0
        try:
            return self._check(of.conjuncts(narrow), wide)
        except (_TooMuchError, RecursionError):
            self._found.clear()
            self._strict._found.clear()
            return (Break(self._way, wide.place(), "unknown"),)

    # -- the whole of one schema --------------------------------------------------------------

    def _check(self, narrow: Conjunction | None, wide: At) -> tuple[Break, ...]:
        self._count()
        if wide.node is True or narrow is None or not of.is_possible(narrow):
            return ()
        if wide.node is False:
            return (Break(self._way, wide.place(), "false"),)
        key = (frozenset(id(at.node) for at in narrow), id(wide.node))
        if key not in self._found:
            self._found[key] = ()  # assumed while instances one level deeper are looked at
            self._found[key] = self._decide(narrow, wide)
        return self._found[key]

    def _holds(self, narrow: Conjunction | None, wide: At) -> bool:
        """Whether it holds; when not, what was concluded on the way is forgotten."""
        mark = len(self._found)
        if not self._check(narrow, wide):
            return True
        while len(self._found) > mark:
            self._found.popitem()
        return False

    def _decide(self, narrow: Conjunction, wide: At) -> tuple[Break, ...]:
        if any(of.same(at, wide) for at in narrow):
            return ()
        codes = wide.code_list if self._tolerant else None
        if codes is not None and any(at.code_list == codes for at in narrow):
            return ()
        listed = of.listed_values(narrow)
        whole = not (self._tolerant and _may_hold_code_list(wide))
        if listed is not None and len(listed) <= MAX_VALUES and whole:
            return self._each(narrow, listed, wide)
        groups = dict.fromkeys(_GROUPED.get(keyword, keyword) for keyword in wide.node)
        breaks = distinct(one for group in groups for one in self._keyword(group, narrow, wide))
        if breaks and any(
            all(self._holds(case, wide) for case in cases) for cases in self._splits(narrow)
        ):
            return ()
        return breaks

    def _splits(self, narrow: Conjunction) -> Iterator[list[Conjunction]]:
        """Ways to tell the instances of a conjunction apart into cases."""
        held = {id(at.node) for at in narrow}
        for at in narrow:
            for keyword in ("anyOf", "oneOf"):
                parts = of.alternatives(at, keyword) if keyword in at.node else []
                cases = [of.conjuncts(*narrow, part) for part in parts]
                possible = [case for case in cases if case is not None]
                # A case that says no more than the whole would be assumed of itself.
                if parts and all(held < {id(one.node) for one in case} for case in possible):
                    yield possible
        kinds = of.types(narrow)
        kinds = kinds - {"integer", "fraction"} | {"number"} if "fraction" in kinds else kinds
        if narrow and len(kinds) > 1:
            yield [(*narrow, self._case(narrow[0], {"type": kind})) for kind in sorted(kinds)]

    def _case(self, like: At, schema: dict[str, Any]) -> At:
        """A schema of our own; one value for each text, since identity tells schemas apart."""
        return At(like.side, "", "", self._cases.setdefault(repr(schema), schema))

    def _each(self, narrow: Conjunction, values: list[Any], wide: At) -> tuple[Break, ...]:
        """Judge the instances one by one, since there is a list of them."""
        breaks: list[Break] = []
        for value in self._instances(narrow, values):
            try:
                self._engine(wide).validate(value)
            except jsonschema_rs.ValidationError as error:
                where, rule = wide.side.place_of(error.absolute_keyword_location or "")
                breaks.append(Break(self._way, where or wide.place(), rule, shown(value)))
        return distinct(breaks)

    def _instances(self, conjunction: Conjunction, values: list[Any]) -> Iterator[Any]:
        for value in values:
            self._count()
            if all(self._engine(at).is_valid(value) for at in conjunction if at.name):
                yield value

    def _engine(self, at: At) -> jsonschema_rs.Draft202012Validator:
        if id(at.node) not in self._engines:
            self._engines[id(at.node)] = at.side.judge(at.name, at.pointer)
        return self._engines[id(at.node)]

    def _count(self) -> None:
        self._steps += 1
        if self._steps > MAX_STEPS:
            raise _TooMuchError

    def _is_empty(self, conjunction: Conjunction | None, depth: int = 3) -> bool:
        """Whether it is certain that nothing keeps all of it."""
        if conjunction is None or not of.is_possible(conjunction):
            return True
        listed = of.listed_values(conjunction)
        if listed is not None and len(listed) <= MAX_VALUES:
            return not any(True for _ in self._instances(conjunction, listed))
        if of.types(conjunction) != {"object"} or depth == 0:
            return False
        return any(
            self._is_empty(of.of_property(conjunction, name), depth - 1)
            for name in of.required(conjunction)
        )

    # -- one keyword, or some that mean something only together ---------------------------------

    def _keyword(self, keyword: str, narrow: Conjunction, wide: At) -> Iterable[Break]:
        kinds = _KINDS.get(keyword)
        if kinds is not None and not of.types(narrow) & kinds:
            return ()
        if keyword in _SIMPLE:
            return () if _SIMPLE[keyword](narrow, wide.node[keyword]) else self._one(wide, keyword)
        return _JUDGES[keyword](self, narrow, wide)

    def _one(self, wide: At, keyword: str, subject: str | None = None) -> tuple[Break, ...]:
        value = wide.node.get(keyword)
        if subject is None:
            subject = shown(value) if isinstance(value, str | int | float | list) else ""
        return (Break(self._way, wide.place(keyword), keyword, subject),)

    def _list(self, narrow: Conjunction, wide: At) -> Iterable[Break]:
        return self._one(wide, "const" if "const" in wide.node else "enum")

    def _reference(self, narrow: Conjunction, wide: At) -> Iterable[Break]:
        return self._check(narrow, wide.target)

    def _all(self, narrow: Conjunction, wide: At) -> Iterable[Break]:
        return [one for part in of.alternatives(wide, "allOf") for one in self._check(narrow, part)]

    def _any(self, narrow: Conjunction, wide: At) -> Iterable[Break]:
        parts = of.alternatives(wide, "anyOf")
        return (
            () if any(self._holds(narrow, part) for part in parts) else self._one(wide, "anyOf", "")
        )

    def _exactly_one(self, narrow: Conjunction, wide: At) -> Iterable[Break]:
        parts = of.alternatives(wide, "oneOf")
        for index, part in enumerate(parts):
            others = parts[:index] + parts[index + 1 :]
            if all(self._is_empty(of.conjuncts(*narrow, other)) for other in others) and (
                self._strict._holds(narrow, part)
            ):
                return ()
        return self._one(wide, "oneOf", "")

    def _excluded(self, narrow: Conjunction, wide: At) -> Iterable[Break]:
        excluded = wide / "not"
        if self._is_empty(of.conjuncts(*narrow, excluded)) or any(
            self._strict._holds(of.conjuncts(excluded), at / "not")
            for at in narrow
            if "not" in at.node
        ):
            return ()
        return self._one(wide, "not", "")

    def _condition(self, narrow: Conjunction, wide: At) -> Iterable[Break]:
        if "if" not in wide.node:  # then and else mean nothing alone
            return ()
        alike = [at for at in narrow if "if" in at.node and of.same(at / "if", wide / "if")]
        thens = [at / "then" for at in alike if "then" in at.node]
        elses = [at / "else" for at in alike if "else" in at.node]
        strict = self._strict
        kept = "then" not in wide.node or strict._holds(
            of.conjuncts(*narrow, wide / "if", *thens), wide / "then"
        )
        kept_else = (
            "else" not in wide.node
            or strict._holds(of.conjuncts(*narrow, *elses), wide / "else")
            or strict._holds(narrow, wide / "if")
        )
        return () if kept and kept_else else self._one(wide, "if", "")

    # -- arrays --------------------------------------------------------------------------------

    def _items(self, narrow: Conjunction, wide: At) -> Iterable[Break]:
        breaks: list[Break] = []
        end = max(of.prefix(narrow), of.prefix([wide]))
        for index in range(end + 1):  # the last one stands for all that follow
            if of.most(narrow, "maxItems") <= index:
                break
            self._count()
            wanted = of.item(wide, index)
            if wanted is not None:
                breaks += self._value(of.of_item(narrow, index), wanted, "items", str(index))
        return breaks

    def _contains(self, narrow: Conjunction, wide: At) -> Iterable[Break]:
        if "contains" not in wide.node:
            return ()
        low, high = wide.node.get("minContains", 1), wide.node.get("maxContains", inf)
        if low == 0 and high == inf:
            return ()
        for at in narrow:
            if (
                "contains" in at.node
                and at.node.get("minContains", 1) >= low
                and at.node.get("maxContains", inf) <= high
                and of.same(at / "contains", wide / "contains")
            ):
                return ()
        return self._one(wide, "contains", "")

    def _unevaluated_items(self, narrow: Conjunction, wide: At) -> Iterable[Break]:
        if wide.node["unevaluatedItems"] is True or of.most(narrow, "maxItems") == 0:
            return ()
        return self._one(wide, "unevaluatedItems", "")

    # -- objects -------------------------------------------------------------------------------

    def _properties(self, narrow: Conjunction, wide: At) -> Iterable[Break]:
        breaks: list[Break] = []
        declared = wide.node.get("properties", {})
        by_pattern = wide.node.get("patternProperties", {})
        for name in declared:
            self._count()
            wanted = wide / "properties" / name
            breaks += self._value(of.of_property(narrow, name), wanted, "properties", name)
        for pattern in by_pattern:
            wanted = wide / "patternProperties" / pattern
            for name in of.named(narrow):
                if of.matches(pattern, name):
                    breaks += self._value(
                        of.of_property(narrow, name), wanted, "patternProperties", name
                    )
            breaks += self._value(
                of.of_pattern(narrow, pattern), wanted, "patternProperties", pattern
            )
        if "additionalProperties" in wide.node:
            breaks += self._additional(narrow, wide)
        return breaks

    def _additional(self, narrow: Conjunction, wide: At) -> Iterator[Break]:
        wanted = wide / "additionalProperties"
        if self._tolerant and wanted.node is False:
            return
        declared = wide.node.get("properties", {})
        by_pattern = wide.node.get("patternProperties", {})
        for name in of.named(narrow):
            self._count()
            if name not in declared and not any(of.matches(one, name) for one in by_pattern):
                found = of.of_property(narrow, name)
                yield from self._value(found, wanted, "additionalProperties", name)
        for pattern in dict.fromkeys(
            one for at in narrow for one in at.node.get("patternProperties", ())
        ):
            if pattern not in by_pattern:
                found = of.of_pattern(narrow, pattern)
                yield from self._value(found, wanted, "additionalProperties", pattern)
        yield from self._value(of.of_others(narrow), wanted, "additionalProperties", "")

    def _value(
        self, narrow: Conjunction | None, wanted: At, rule: str, subject: str
    ) -> tuple[Break, ...]:
        """One value inside an object or an array; what is not allowed at all is told by name."""
        if wanted.node is False and of.is_possible(narrow):
            rule = "false" if rule == "properties" else rule
            return (Break(self._way, wanted.place(), rule, subject[:MAX_SUBJECT]),)
        return self._check(narrow, wanted)

    def _unevaluated(self, narrow: Conjunction, wide: At) -> Iterable[Break]:
        wanted = wide.node["unevaluatedProperties"]
        if wanted is True or (self._tolerant and wanted is False):
            return ()
        evaluated, possible = of.surely_evaluates(wide), of.possible_names(narrow)
        if evaluated is None or (possible is not None and possible <= evaluated):
            return ()
        if possible is None:
            return self._one(wide, "unevaluatedProperties", "")
        return [
            one
            for name in sorted(possible - evaluated)
            if of.is_possible(of.of_property(narrow, name))
            for one in self._one(wide, "unevaluatedProperties", name[:MAX_SUBJECT])
        ]

    def _required(self, narrow: Conjunction, wide: At) -> Iterable[Break]:
        missing = [name for name in wide.node["required"] if name not in of.required(narrow)]
        return [one for name in missing for one in self._one(wide, "required", name[:MAX_SUBJECT])]

    def _names(self, narrow: Conjunction, wide: At) -> Iterable[Break]:
        wanted = wide / "propertyNames"
        names = of.possible_names(narrow)
        if names is not None:
            engine = self._engine(wanted)
            refused = [name for name in sorted(names) if not engine.is_valid(name)]
            return [
                one
                for name in refused
                for one in self._one(wide, "propertyNames", name[:MAX_SUBJECT])
            ]
        known = [at / "propertyNames" for at in narrow if "propertyNames" in at.node]
        if self._holds(of.conjuncts(self._case(wide, {"type": "string"}), *known), wanted):
            return ()
        return self._one(wide, "propertyNames", "")

    def _required_beside(self, narrow: Conjunction, wide: At) -> Iterable[Break]:
        always = of.required(narrow)
        for name, wanted in wide.node["dependentRequired"].items():
            beside = always.union(
                *(at.node.get("dependentRequired", {}).get(name, ()) for at in narrow)
            )
            if not beside.issuperset(wanted) and of.is_possible(of.of_property(narrow, name)):
                yield from self._one(wide, "dependentRequired", name[:MAX_SUBJECT])

    def _schema_beside(self, narrow: Conjunction, wide: At) -> Iterable[Break]:
        for name in wide.node["dependentSchemas"]:
            beside = [
                at / "dependentSchemas" / name
                for at in narrow
                if name in at.node.get("dependentSchemas", ())
            ]
            present = self._case(wide, {"required": [name]})
            if of.is_possible(of.of_property(narrow, name)) and not self._strict._holds(
                of.conjuncts(*narrow, present, *beside), wide / "dependentSchemas" / name
            ):
                yield from self._one(wide, "dependentSchemas", name[:MAX_SUBJECT])


def _may_hold_code_list(wide: At) -> bool:
    """Whether a code list, which is read as one that grows, may be further inside."""
    return not wide.node.keys().isdisjoint({"$ref", "allOf", "anyOf"})


def shown(value: Any) -> str:
    """A value as the subject of a break."""
    return orjson.dumps(value).decode()[:MAX_SUBJECT]


# -- keywords that are decided by themselves -------------------------------------------------------


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


_SIMPLE: Final[Mapping[str, Callable[[Conjunction, Any], bool]]] = {
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
Judge: TypeAlias = Callable[[Inclusion, Conjunction, At], Iterable[Break]]
_JUDGES: Final[Mapping[str, Judge]] = {
    "$ref": Inclusion._reference,
    "allOf": Inclusion._all,
    "anyOf": Inclusion._any,
    "const": Inclusion._list,
    "contains": Inclusion._contains,
    "dependentRequired": Inclusion._required_beside,
    "dependentSchemas": Inclusion._schema_beside,
    "enum": Inclusion._list,
    "if": Inclusion._condition,
    "items": Inclusion._items,
    "not": Inclusion._excluded,
    "oneOf": Inclusion._exactly_one,
    "properties": Inclusion._properties,
    "propertyNames": Inclusion._names,
    "required": Inclusion._required,
    "unevaluatedItems": Inclusion._unevaluated_items,
    "unevaluatedProperties": Inclusion._unevaluated,
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
