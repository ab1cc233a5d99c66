"""What narrows a statement: filters, what the mapping shows to a caller, what an agreement opens.

All of them are conditions with bound values. A right is told of a record, wherever it stands: a
nested record's ``visible`` holds inside another as it does alone, and the condition of an agreement
whose name is a path (``tranches.number``) is on the rows of that nested member.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from typing import Any

from adapters.answers.faults import bad
from adapters.answers.statements import Compares, Condition
from adapters.fields import Field, Kind, Mismatch
from adapters.mapping.callers import NOBODY, Caller
from adapters.mapping.model import Comparison, Filter, Record
from adapters.mapping.terms import Term
from adapters.mapping.visibility import Extent, Rows
from exchange.agreements import ROWS_HEADER, RowCondition
from exchange.problems import Code

_MOST_WORDS = 10_000


@dataclass(slots=True)
class Draft:
    """What is gathered while a request is read.

    ``places`` say whose text a bound value is of, by its name: a caller's or an agreement's. One of
    the mapping's own, such as the words of a code list, has none.
    """

    conditions: list[Condition] = field(default_factory=list)
    values: dict[str, Any] = field(default_factory=dict)
    places: dict[str, str] = field(default_factory=dict)

    def add(
        self, narrowing: Filter, text: str, where: str, how: Compares = Compares.LOOSELY
    ) -> None:
        if narrowing.values and text not in narrowing.values:
            raise bad(where, f"must be one of: {', '.join(narrowing.values)}")
        if narrowing.comparison is Comparison.BEGINS_WITH and not text:
            raise bad(where, "must have at least one sign")
        try:
            found = narrowing.field.to_source(text)
        except Mismatch as mismatch:
            raise bad(where, mismatch.rule) from mismatch
        place = _said_by(narrowing.field, text, where)
        self.compare(how, narrowing.field, narrowing.comparison, found, place=place)

    def compare(
        self,
        how: Compares,
        field: Field,
        comparison: Comparison,
        values: Sequence[Any],
        *,
        or_null: bool = False,
        place: str = "",
    ) -> None:
        """Let only records through whose column is one of, or compares with, the values."""
        how = Compares.EXACTLY if field.exact else _texts(how, field, values)
        name = f"saphan_f{len(self.conditions)}"
        self.conditions.append(
            Condition(field.column, comparison.operator, name, len(values), or_null, how)
        )
        bound = {f"{name}_{index}": value for index, value in enumerate(values)}
        self.values |= bound
        if place:
            self.places |= dict.fromkeys(bound, place)

    def show(self, rows: Rows, today: date | None) -> None:
        """Let only records through that the mapping shows to the caller."""
        if rows is Extent.NOTHING:
            self.conditions.append(Condition("", "=", "", 0))
        for term in () if isinstance(rows, Extent) else rows:
            self.hold(term, today)

    def hold(self, term: Term, today: date | None) -> None:
        """Let only records through for which the term holds."""
        values = term.values(today)
        how, or_null = Compares.EXACTLY, term.or_null
        self.compare(how, term.field, term.comparison, values, or_null=or_null)

    def narrow(self, record: Record, condition: RowCondition, path: str) -> None:
        """Let only records through whose field has one of the values.

        Args:
            path: where the record stands in another, with a dot at its end.
        """
        found = record.field(condition.field)
        where = f"header.{ROWS_HEADER}.{path}{condition.field}"
        if found is None or not found.searchable:
            detail = f"the record {record.name} has no field {condition.field!r} to compare"
            raise bad(where, detail, Code.SERVICE_DISABLED, 503)
        words: list[Any] = []
        for value in condition.values:
            try:
                words += found.to_source(value)
            except Mismatch as mismatch:
                raise bad(where, mismatch.rule, Code.SERVICE_DISABLED, 503) from mismatch
        if len(words) > _MOST_WORDS:
            raise bad(where, "has too many spellings in the source", Code.SERVICE_DISABLED, 503)
        place = where if all(_said_by(found, one, where) for one in condition.values) else ""
        self.compare(Compares.EXACTLY, found, Comparison.EQUALS, words, place=place)


def _said_by(field: Field, text: str, where: str) -> str:
    """``where`` when what is bound is the text itself, and no word that the mapping has for it."""
    if field.kind is Kind.BOOLEAN:
        return ""
    if field.kind is Kind.ENUMERATION and text in (field.table or {}).values():
        return ""
    return where


def _texts(how: Compares, field: Field, values: Sequence[Any]) -> Compares:
    """How "m" is not found by "M" where it must not be: two words of a code list, a right to see.

    A filter of plain texts finds what the database takes for equal. A key of texts is exact, too,
    but that is said when it is known what the column holds.
    """
    if not values or not isinstance(values[0], str):
        return Compares.LOOSELY
    if how is Compares.EXACTLY or field.kind is Kind.STRING:
        return how
    return Compares.TRIMMED if field.trim else Compares.EXACTLY


@dataclass(frozen=True, slots=True)
class Sight:
    """What a caller may see of the rows of a record, and of those nested in it.

    ``rows`` are the conditions of an agreement, ``path`` is where the record stands in another.
    """

    caller: Caller = NOBODY
    today: date | None = None
    rows: tuple[RowCondition, ...] = ()
    path: str = ""

    def of(self, record: Record) -> Draft:
        """The conditions on the rows of ``record``, and the values to bind.

        Raises:
            Fault: as :meth:`narrow`.
        """
        draft = Draft()
        if record.visible is not None:
            draft.show(record.visible.of(self.caller), self.today)
        self.narrow(draft, record)
        return draft

    def narrow(self, draft: Draft, record: Record) -> None:
        """Let only those rows of ``record`` through that the agreement opens.

        Raises:
            Fault: 503 for a condition that cannot be applied, on a nested record too, whether
                that is asked for or not.
        """
        if not self.rows:
            return
        nested = {one.name: one.query.record for one in record.nested}
        for condition in self.rows:
            name, dot, _ = condition.field.partition(".")
            if not (dot and name in nested):
                draft.narrow(record, condition, self.path)
        for name, inner in nested.items():
            self.within(name).of(inner)

    def within(self, name: str) -> Sight:
        """What may be seen of the rows of the nested member ``name``."""
        start = f"{name}."
        rows = tuple(
            replace(one, field=one.field.removeprefix(start))
            for one in self.rows
            if one.field.startswith(start)
        )
        return replace(self, rows=rows, path=f"{self.path}{start}")


class _Everything(Sight):
    """For who checks a mapping."""

    __slots__ = ()

    def of(self, record: Record) -> Draft:
        """No condition."""
        return Draft()


EVERYTHING = _Everything()
