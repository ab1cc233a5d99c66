"""The values of nested members: records made of the rows that belong to a record."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from adapters.answers.joins import Joined
from adapters.fields import Mismatch
from exchange.problems import Problem


class Writer(Protocol):
    """What makes records of rows: :class:`adapters.answers.rows.RecordWriter`."""

    def build(self, row: Sequence[Any], indexes: Sequence[int], place: str) -> dict[str, Any]:
        """One record."""
        ...

    def build_all(
        self, rows: Sequence[Sequence[Any]], indexes: Sequence[int]
    ) -> list[dict[str, Any]]:
        """All records."""
        ...


def several_of(writer: Writer, refuse_none: bool) -> Callable[[Joined], list[dict[str, Any]]]:
    """A function from the rows of a member to its list; it raises :class:`Mismatch`."""

    def convert(cell: Joined) -> list[dict[str, Any]]:
        if not cell.rows:
            return []
        try:
            return writer.build_all(cell.rows, cell.indexes)
        except Mismatch:
            for number, row in enumerate(cell.rows):
                _build(writer, row, cell, f"/{number}")
            raise

    return convert


def one_of(writer: Writer, refuse_none: bool) -> Callable[[Joined], dict[str, Any] | None]:
    """A function from the rows of a member, one or none, to its record; as :func:`several_of`."""

    def convert(cell: Joined) -> dict[str, Any] | None:
        if cell.rows:
            return _build(writer, cell.rows[0], cell, "")
        if refuse_none:
            raise Mismatch("must have a record", None)
        return None

    return convert


def _build(writer: Writer, row: Sequence[Any], cell: Joined, place: str) -> dict[str, Any]:
    try:
        return writer.build(row, cell.indexes, place)
    except Problem as problem:
        rule, kind = str(problem.facts["rule"]), str(problem.facts["type"])
        raise Mismatch(rule, None, place=problem.where, kind=kind) from problem
