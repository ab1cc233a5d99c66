"""What a scan found: tables, columns and a few rows, whatever the source is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from adapters.fields import NumberForm
from adapters.mapping.model import FileFormat

SAMPLE_ROWS = 500
MAX_TABLES = 1_000


@dataclass(frozen=True, slots=True)
class WrittenNumbers:
    """Numbers that cells hold as texts: how they are written, words for nothing, and what is unsure
    of it. Without a form the cells stay the texts that they are."""

    form: NumberForm | None
    null_words: tuple[str, ...]
    doubts: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class FoundColumn:
    """A column: its name, its type in the source's words, and what the source says of it.

    ``unread`` says why the driver could not read a value of it: what was seen then are its values
    as texts, or nothing. ``written`` is how the cells of a file write numbers.
    """

    name: str
    type: str
    nullable: bool = True
    comment: str = ""
    unread: str = ""
    written: WrittenNumbers | None = None


@dataclass(frozen=True, slots=True)
class Reference:
    """A foreign key of one column."""

    column: str
    table: str
    other: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundTable:
    """A table, a view or a sheet, with at most :data:`SAMPLE_ROWS` of its rows.

    ``key`` are the columns of its primary key, or of a unique index without nulls; ``file``,
    ``format`` and ``sheet`` are those of a file's table; ``as_text`` is how the source's SQL makes
    a text of a column (``{}``), where it can; ``unread`` says why a table could not be read;
    ``layout`` is what is unsure of the form of a sheet.
    """

    name: str
    columns: tuple[FoundColumn, ...]
    key: tuple[str, ...] = ()
    indexed: frozenset[str] = frozenset()
    refers: tuple[Reference, ...] = ()
    comment: str = ""
    samples: Sequence[Sequence[Any]] = ()
    file: str = ""
    format: FileFormat | None = None
    sheet: str | None = None
    as_text: str = ""
    unread: str = ""
    layout: Sequence[str] = ()

    def values(self, index: int) -> list[Any]:
        """The sampled values of the column ``index``."""
        return [row[index] for row in self.samples]
