"""Terms: fields compared with values that the mapping itself writes.

Visible rows (:mod:`~adapters.mapping.visibility`) and predicates (:mod:`~adapters.mapping.asking`)
are lists of terms that must all hold. A value speaks the words of the schema, as a filter's does;
``today`` is the day of the request in the mapping's zone. Every value is tried when the mapping is
read, so that none can fail later.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from typing import Any, Final

from adapters.answers.statements import BEGINS
from adapters.fields import Field, Kind, Mismatch
from adapters.mapping.callers import several
from adapters.mapping.reader import Node

TODAY: Final = "today"
MOST_TERMS: Final = 16
_ORDERED: Final = (Kind.INTEGER, Kind.DECIMAL, Kind.DATE, Kind.DATETIME)


class Comparison(StrEnum):
    """How a filter or a term compares the field with its value."""

    EQUALS = "equals"
    AT_LEAST = "at_least"
    AT_MOST = "at_most"
    ABOVE = "above"
    BELOW = "below"
    BEGINS_WITH = "begins_with"

    @property
    def operator(self) -> str:
        signs = {"equals": "=", "at_least": ">=", "at_most": "<=", "above": ">", "below": "<"}
        return signs.get(self.value, BEGINS)


@dataclass(frozen=True, slots=True)
class Term:
    """``field`` compared with ``texts``: with one of them for ``equals``, else with the only one.

    ``or_null`` lets rows through whose column is null in the source.
    """

    field: Field
    comparison: Comparison
    texts: tuple[str, ...]
    or_null: bool = False

    @property
    def needs_today(self) -> bool:
        return TODAY in self.texts and self.field.kind is Kind.DATE

    def values(self, today: date | None) -> list[Any]:
        """The values in the source that stand for the texts.

        Raises:
            Mismatch: for a text that is no value of the field; not after the mapping was read.
        """
        found: list[Any] = []
        for text in self.texts:
            if text == TODAY and self.field.kind is Kind.DATE and today is not None:
                text = today.isoformat()
            found += self.field.to_source(text)
        return found


def why_not(field: Field, comparison: Comparison) -> str | None:
    """Why the source cannot compare ``field`` in this way; None when it can."""
    if not field.searchable:
        return f"{field.name} {field.unsearchable}: it cannot be filtered"
    if comparison is Comparison.EQUALS:
        return None
    if comparison is Comparison.BEGINS_WITH:
        if field.kind is not Kind.STRING:
            return f"{field.name} is no text: it has no beginning to search by"
        return None if field.decode is None else f"{field.name} is decoded: only equals finds it"
    if field.kind not in _ORDERED or field.format is not None or field.years_from is not None:
        form = f" ({field.format})" if field.format is not None else ""
        return (
            f"{field.name} is stored in a way that has no order{form}: filter a column of the query"
            " that has one"
        )
    return None


def read_terms(node: Node, fields: Sequence[Field]) -> tuple[Term, ...]:
    """The terms ``{sector: [health], start: {at_least: 2020-01-01, below: today}}``."""
    terms: list[Term] = []
    known = {field.name: field for field in fields}
    for name, child in node.entries().items():
        if name not in known:
            child.refuse(f"the record has no field {name!r}; known: {', '.join(known)}")
        terms += _terms(known[name], child)
    if not terms or len(terms) > MOST_TERMS:
        node.refuse(f"must name 1 to {MOST_TERMS} conditions on fields")
    return tuple(terms)


def _terms(field: Field, node: Node) -> Sequence[Term]:
    if node.is_scalar or node.is_sequence:
        texts = several(node, lambda one: one.text(longest=200))
        return [_checked(Term(field, Comparison.EQUALS, texts), node)]
    comparisons = tuple(str(one) for one in Comparison)
    found = node.members((), (*comparisons, "or_null"))
    or_null = "or_null" in found and found.pop("or_null").boolean()
    if not found:
        node.refuse(f"say how to compare: {', '.join(comparisons)}")
    terms = []
    for word, child in found.items():
        comparison = Comparison(word)
        texts = (
            several(child, lambda one: one.text(longest=200))
            if comparison is Comparison.EQUALS
            else (child.text(longest=200),)
        )
        terms.append(_checked(Term(field, comparison, texts, or_null), child))
    return terms


def _checked(term: Term, node: Node) -> Term:
    reason = why_not(term.field, term.comparison)
    if reason is not None:
        node.refuse(reason)
    try:
        values = term.values(date(2000, 1, 1))
    except Mismatch as mismatch:
        node.refuse(mismatch.rule)
    if not values:
        node.refuse("no word of the source means this")
    return term


def check_today(terms: Sequence[Term], zoned: bool, node: Node) -> None:
    """Refuse ``today`` where the mapping does not say in which zone."""
    if not zoned and any(term.needs_today for term in terms):
        node.refuse("'today' needs the key 'zone' of the mapping, such as Asia/Vientiane")
