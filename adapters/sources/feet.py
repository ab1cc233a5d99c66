"""Where the rows of a sheet end: totals, notes and signatures below them are no records.

Invariant: nothing that has the form of a record is passed over. A row below the end that has a
value wherever every row above has one, and whose cells are of their columns' types, is refused:
then the end was not the end.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from adapters.mapping.model import EndsAt


@dataclass(slots=True)
class Foot:
    """The foot of one sheet, while its rows are read from above.

    Args:
        ends_at: what the first row of the foot is like.
        column: the place of the column that ``ends_at`` speaks of.
    """

    ends_at: EndsAt
    column: int
    begun: int | None = None
    _always: set[int] | None = field(default=None, init=False)

    def takes(self, number: int, row: Sequence[Any]) -> bool:
        """Whether the row ``number``, which is not empty, is a part of the foot."""
        if self.begun is None and self._begins(row):
            self.begun = number
        return self.begun is not None

    def saw(self, row: Sequence[Any]) -> None:
        """A row above the foot."""
        there = _filled(row)
        self._always = there if self._always is None else self._always & there

    def may_be_record(self, row: Sequence[Any]) -> bool:
        """Whether a row of the foot has a value wherever every row above it has."""
        there = _filled(row)
        return (
            self._always is not None
            and len(there) > 1
            and self._always <= there
            and not self._begins(row)
        )

    def _begins(self, row: Sequence[Any]) -> bool:
        cell = row[self.column] if self.column < len(row) else None
        text = "" if cell is None else str(cell).strip()
        return text.startswith(self.ends_at.begins_with) if text else self.ends_at.empty


def _filled(row: Sequence[Any]) -> set[int]:
    return {place for place, cell in enumerate(row) if is_there(cell)}


def is_there(cell: Any) -> bool:
    """Whether a cell holds more than blanks."""
    return cell is not None and (not isinstance(cell, str) or bool(cell.strip()))
