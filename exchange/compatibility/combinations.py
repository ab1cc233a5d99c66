"""Judges of keywords that hold for any instance: lists of values, and what combines schemas."""

from __future__ import annotations

from collections.abc import Iterable

from exchange.compatibility import conjunctions as of
from exchange.compatibility.breaks import Break
from exchange.compatibility.comparison import Comparison
from exchange.compatibility.conjunctions import At, Conjunction


def listed(asking: Comparison, narrow: Conjunction, wide: At) -> Iterable[Break]:
    """``const`` and ``enum``, where the instances are not listed."""
    return asking.broken(wide, "const" if "const" in wide.node else "enum")


def reference(asking: Comparison, narrow: Conjunction, wide: At) -> Iterable[Break]:
    """``$ref``."""
    return asking.check(narrow, wide.target)


def every_one(asking: Comparison, narrow: Conjunction, wide: At) -> Iterable[Break]:
    """``allOf``: the breaks of every part."""
    return [one for part in of.alternatives(wide, "allOf") for one in asking.check(narrow, part)]


def any_one(asking: Comparison, narrow: Conjunction, wide: At) -> Iterable[Break]:
    """``anyOf``: all instances keep one part; cases are told apart elsewhere."""
    if any(asking.holds(narrow, part) for part in of.alternatives(wide, "anyOf")):
        return ()
    return asking.broken(wide, "anyOf", "")


def exactly_one(asking: Comparison, narrow: Conjunction, wide: At) -> Iterable[Break]:
    """``oneOf``: all instances keep one part, and none keeps another, too."""
    parts = of.alternatives(wide, "oneOf")
    for index, part in enumerate(parts):
        others = parts[:index] + parts[index + 1 :]
        if all(asking.is_empty(of.conjuncts(*narrow, other)) for other in others) and (
            asking.strict.holds(narrow, part)
        ):
            return ()
    return asking.broken(wide, "oneOf", "")


def excluded(asking: Comparison, narrow: Conjunction, wide: At) -> Iterable[Break]:
    """``not``: nothing keeps both, or the narrow schema excludes as much."""
    without = wide / "not"
    if asking.is_empty(of.conjuncts(*narrow, without)) or any(
        asking.strict.holds(of.conjuncts(without), at / "not") for at in narrow if "not" in at.node
    ):
        return ()
    return asking.broken(wide, "not", "")


def condition(asking: Comparison, narrow: Conjunction, wide: At) -> Iterable[Break]:
    """``if``, ``then``, ``else``."""
    if "if" not in wide.node:  # then and else mean nothing alone
        return ()
    alike = [at for at in narrow if "if" in at.node and of.same(at / "if", wide / "if")]
    thens = [at / "then" for at in alike if "then" in at.node]
    elses = [at / "else" for at in alike if "else" in at.node]
    strict = asking.strict
    kept = "then" not in wide.node or strict.holds(
        of.conjuncts(*narrow, wide / "if", *thens), wide / "then"
    )
    kept_else = (
        "else" not in wide.node
        or strict.holds(of.conjuncts(*narrow, *elses), wide / "else")
        or strict.holds(narrow, wide / "if")
    )
    return () if kept and kept_else else asking.broken(wide, "if", "")
