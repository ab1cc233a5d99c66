"""Whether every instance of one schema is an instance of another (JSON Schema 2020-12).

A :class:`Comparison` takes the *narrow* schema apart into a conjunction and asks of every keyword
of the *wide* one whether it follows; :mod:`exchange.compatibility.inclusion` knows the keywords.
Invariants:

- sound: no break means that no instance of the narrow schema breaks the wide one. What cannot be
  told is a break;
- not complete: two patterns that differ in their text are told as a break even if they accept the
  same texts, and so are conditions that are written in another way;
- schemas that refer to themselves are compared by induction over the depth of instances;
- the work is bounded, by :data:`MAX_STEPS` for a pair and by :data:`MAX_STEPS_IN_ALL` for all pairs
  of a comparison; beyond it there is one break, ``unknown``.

With ``tolerant`` the wide schema is read as by somebody who ignores properties that it does not
declare: ``additionalProperties: false`` and ``unevaluatedProperties: false`` are passed over, but
not below ``oneOf``, ``not`` and conditions, where ignoring changes what else holds.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from typing import Any, Final

import jsonschema_rs
import orjson

from exchange.compatibility import conjunctions as of
from exchange.compatibility.breaks import Break, Way, distinct
from exchange.compatibility.conjunctions import At, Conjunction, TooMuchError

MAX_STEPS: Final = 50_000
MAX_STEPS_IN_ALL: Final = 100_000
MAX_VALUES: Final = 5_000
MAX_REFUSED: Final = 200
"""How many values of a list are told, each with its place, of those that are refused."""
MAX_SUBJECT: Final = 80


class Comparison(ABC):
    """One comparison; :meth:`breaks` may be asked about many pairs of the same two sets.

    ``strict`` is the same one without tolerance.
    """

    def __init__(self, way: Way, *, tolerant: bool = False) -> None:
        self.way = way
        self.tolerant = tolerant
        self._found: dict[tuple[frozenset[int], int], tuple[Break, ...]] = {}
        self._engines: dict[int, jsonschema_rs.Draft202012Validator] = {}
        self._cases: dict[str, dict[str, Any]] = {}
        self._steps = self._steps_in_all = 0
        self.strict: Comparison = type(self)(way) if tolerant else self

    def breaks(self, narrow: At, wide: At) -> tuple[Break, ...]:
        """Why an instance of ``narrow`` may not be one of ``wide``; nothing when all are."""
        self._steps = self.strict._steps = 0
        try:
            return self.check(of.conjuncts(narrow), wide)
        except (TooMuchError, RecursionError):
            self._found.clear()
            self.strict._found.clear()
            return (Break(self.way, wide.place(), "unknown"),)

    def check(self, narrow: Conjunction | None, wide: At) -> tuple[Break, ...]:
        """As :meth:`breaks`, within one comparison: a pair is decided once."""
        if wide.node is True or narrow is None:
            return ()
        self.count(1 + len(narrow) // 8)
        if not of.is_possible(narrow):
            return ()
        if wide.node is False:
            return (Break(self.way, wide.place(), "false"),)
        key = (frozenset(id(at.node) for at in narrow), id(wide.node))
        if key not in self._found:
            self._found[key] = ()  # assumed while instances one level deeper are looked at
            self._found[key] = self._decide(narrow, wide)
        return self._found[key]

    def holds(self, narrow: Conjunction | None, wide: At) -> bool:
        """Whether it holds; when not, what was concluded on the way is forgotten."""
        mark = len(self._found)
        if not self.check(narrow, wide):
            return True
        while len(self._found) > mark:
            self._found.popitem()
        return False

    def is_empty(self, conjunction: Conjunction | None, depth: int = 3) -> bool:
        """Whether it is certain that nothing keeps all of it."""
        if conjunction is None or not of.is_possible(conjunction):
            return True
        listed = of.listed_values(conjunction)
        if listed is not None and len(listed) <= MAX_VALUES:
            return not any(True for _ in self._instances(conjunction, listed))
        if of.types(conjunction) != {"object"} or depth == 0:
            return False
        self.count(1 + len(of.required(conjunction)))
        return any(
            self.is_empty(of.of_property(conjunction, name), depth - 1)
            for name in of.required(conjunction)
        )

    def case(self, like: At, schema: dict[str, Any]) -> At:
        """A schema of our own; one value for each text, since identity tells schemas apart."""
        return At(like.side, "", "", self._cases.setdefault(repr(schema), schema))

    def engine(self, at: At) -> jsonschema_rs.Draft202012Validator:
        """What judges single instances by a schema."""
        if id(at.node) not in self._engines:
            try:
                self._engines[id(at.node)] = at.side.judge(at.name, at.pointer)
            except ValueError as error:  # it cannot be compiled, as a pattern that is too large
                raise TooMuchError from error
        return self._engines[id(at.node)]

    def count(self, steps: int = 1) -> None:
        """Count steps of the work, which is bounded."""
        self._steps += steps
        self._steps_in_all += steps
        if self._steps > MAX_STEPS or self._steps_in_all > MAX_STEPS_IN_ALL:
            raise TooMuchError

    def broken(self, wide: At, keyword: str, subject: str | None = None) -> tuple[Break, ...]:
        """A break of one keyword; what it is about is the keyword's value if nothing is said."""
        value = wide.node.get(keyword)
        if subject is None:
            subject = shown(value) if isinstance(value, str | int | float | list) else ""
        return (Break(self.way, wide.place(keyword), keyword, subject),)

    def value(
        self, narrow: Conjunction | None, wanted: At, rule: str, subject: str
    ) -> tuple[Break, ...]:
        """One value inside an object or an array; what is not allowed at all is told by name."""
        if wanted.node is False and of.is_possible(narrow):
            rule = "false" if rule == "properties" else rule
            return (Break(self.way, wanted.place(), rule, subject[:MAX_SUBJECT]),)
        return self.check(narrow, wanted)

    @abstractmethod
    def judged(self, narrow: Conjunction, wide: At) -> Iterable[Break]:
        """Why instances of ``narrow`` may break a keyword of ``wide``, keyword by keyword."""

    def _decide(self, narrow: Conjunction, wide: At) -> tuple[Break, ...]:
        if any(of.same(at, wide) for at in narrow):
            return ()
        codes = wide.code_list if self.tolerant else None
        if codes is not None and any(at.code_list == codes for at in narrow):
            return ()
        listed = of.listed_values(narrow)
        whole = not (self.tolerant and _may_hold_code_list(wide))
        if listed is not None and len(listed) <= MAX_VALUES and whole:
            return self._each(narrow, listed, wide)
        breaks = distinct(self.judged(narrow, wide))
        if breaks and any(
            all(self.holds(case, wide) for case in cases) for cases in self._splits(narrow)
        ):
            return ()
        return breaks

    def _splits(self, narrow: Conjunction) -> Iterator[list[Conjunction]]:
        """Ways to tell the instances of a conjunction apart into cases."""
        held = {id(at.node) for at in narrow}
        for at in narrow:
            for keyword in ("anyOf", "oneOf"):
                if keyword not in at.node or any(id(one) in held for one in at.node[keyword]):
                    continue
                parts = of.alternatives(at, keyword)
                self.count(len(parts) * (1 + len(narrow) // 8))
                cases = [of.conjuncts(*narrow, part) for part in parts]
                possible = [case for case in cases if case is not None]
                # A case that says no more than the whole would be assumed of itself.
                if parts and all(held < {id(one.node) for one in case} for case in possible):
                    yield possible
        kinds = of.types(narrow)
        kinds = kinds - {"integer", "fraction"} | {"number"} if "fraction" in kinds else kinds
        if narrow and len(kinds) > 1:
            yield [(*narrow, self.case(narrow[0], {"type": kind})) for kind in sorted(kinds)]

    def _each(self, narrow: Conjunction, values: list[Any], wide: At) -> tuple[Break, ...]:
        """Judge the instances one by one, since there is a list of them."""
        breaks: list[Break] = []
        engine = self.engine(wide)
        for value in self._instances(narrow, values):
            try:
                engine.validate(value)
            except jsonschema_rs.ValidationError as error:
                where, rule = wide.side.place_of(error.absolute_keyword_location or "")
                breaks.append(Break(self.way, where or wide.place(), rule, shown(value)))
                if len(breaks) == MAX_REFUSED:
                    break
        return distinct(breaks)

    def _instances(self, conjunction: Conjunction, values: list[Any]) -> Iterator[Any]:
        for value in values:
            self.count()
            if all(self.engine(at).is_valid(value) for at in conjunction if at.name):
                yield value


def _may_hold_code_list(wide: At) -> bool:
    """Whether a code list, which is read as one that grows, may be further inside."""
    return not wide.node.keys().isdisjoint({"$ref", "allOf", "anyOf"})


def shown(value: Any) -> str:
    """A value as the subject of a break."""
    return orjson.dumps(value).decode()[:MAX_SUBJECT]
