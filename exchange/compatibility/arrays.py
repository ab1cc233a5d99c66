"""Judges of the keywords of arrays that hold schemas."""

from __future__ import annotations

from collections.abc import Iterable
from math import inf

from exchange.compatibility import conjunctions as of
from exchange.compatibility.breaks import Break
from exchange.compatibility.comparison import Comparison
from exchange.compatibility.conjunctions import At, Conjunction


def items(asking: Comparison, narrow: Conjunction, wide: At) -> Iterable[Break]:
    """``prefixItems`` and ``items``."""
    breaks: list[Break] = []
    end = max(of.prefix(narrow), of.prefix([wide]))
    for index in range(end + 1):  # the last one stands for all that follow
        if of.most(narrow, "maxItems") <= index:
            break
        asking.count()
        wanted = of.item(wide, index)
        if wanted is not None:
            breaks += asking.value(of.of_item(narrow, index), wanted, "items", str(index))
    return breaks


def contains(asking: Comparison, narrow: Conjunction, wide: At) -> Iterable[Break]:
    """``contains`` with its least and most."""
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
    return asking.broken(wide, "contains", "")


def unevaluated_items(asking: Comparison, narrow: Conjunction, wide: At) -> Iterable[Break]:
    """``unevaluatedItems``: kept where it is true, or no instance has an item."""
    if wide.node["unevaluatedItems"] is True or of.most(narrow, "maxItems") == 0:
        return ()
    return asking.broken(wide, "unevaluatedItems", "")
