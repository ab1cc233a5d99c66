"""Where the table of a sheet is: offices write titles above it, and other tables beside and below.

Nothing is decided that a mapping does not say: the row of the headers stands in it, and what is not
shown is told.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Final

from adapters.sources.sheets import Raw

DEEPEST_HEADER: Final = 30
"""The last row that may be that of the headers."""
_SHOWN: Final = 5
_NUMBER: Final = re.compile(r"(?!\d{4}$)[\d.,/:%+ -]+")  # a date, an amount; no year
_YEARS: Final = range(1900, 2700)  # of the Buddhist Era, too


@dataclass(frozen=True, slots=True)
class Layout:
    """The row of the headers (from 1), and what a person should know of the sheet's form."""

    header_row: int
    doubts: tuple[str, ...]


def layout_of(lines: Sequence[Sequence[Raw]]) -> Layout:
    """The layout of a sheet whose first rows are ``lines``.

    The headers are the first row that has a text, or a year, in more than half of as many columns
    as a usual row fills; the first row of all where none has.
    """
    usual = median([count for count in map(_count, lines) if count] or [0])
    row = next(
        (
            number
            for number, line in enumerate(lines[:DEEPEST_HEADER], 1)
            if _count(line) * 2 > usual and all(_is_title(one) for one in line if _there(one))
        ),
        1,
    )
    return Layout(row, tuple(_doubts(lines[row - 1 :], row)) if lines else ())


def _doubts(lines: Sequence[Sequence[Raw]], row: int) -> Iterator[str]:
    if row > 1:
        yield f"the headers are taken to be in row {row}: what is above is passed over"
    header = [str(one).strip() if _there(one) else "" for one in lines[0]]
    bare = [
        place
        for place, title in enumerate(header)
        if not title and any(_there(line[place]) for line in lines[1:] if place < len(line))
    ]
    if bare:
        columns = ", ".join(_letters(place) for place in bare[:_SHOWN])
        yield f"left out, for there is no header over it: column {columns}"
    second = _second(lines, header)
    if second is not None:
        yield f"another table may begin in row {row + second}: give it a sheet or a file of its own"


def doubled(header: Sequence[str]) -> list[str]:
    """The headers that stand over more than one column: a mapping cannot tell these apart."""
    return [title for title, count in Counter(header).items() if title and count > 1]


def _second(lines: Sequence[Sequence[Raw]], header: Sequence[str]) -> int | None:
    """Where a row of texts follows an empty one, over columns that held something else before."""
    for place in range(2, len(lines) - 1):
        line = lines[place]
        told = [number for number, one in enumerate(line) if _there(one)]
        if len(told) < 2 or _count(lines[place - 1]):
            continue
        if not all(isinstance(line[number], str) for number in told):
            continue
        before = [one for one in lines[1:place] if _count(one)]
        others = {type(one[number]) for one in before for number in told if number < len(one)} - {
            str,
            type(None),
        }
        same = [str(line[number]).strip() for number in told]
        if others or same == header[: len(same)]:
            return place
    return None


def _letters(place: int) -> str:
    """The column as a spreadsheet calls it: A, Z, AA."""
    letters = ""
    place += 1
    while place:
        place, rest = divmod(place - 1, 26)
        letters = chr(ord("A") + rest) + letters
    return letters


def _count(line: Sequence[Raw]) -> int:
    return sum(map(_there, line))


def _is_title(cell: Raw) -> bool:
    if isinstance(cell, int | float) and not isinstance(cell, bool):
        return cell in _YEARS  # the year of a column of numbers
    return isinstance(cell, str) and _NUMBER.fullmatch(cell.strip()) is None


def _there(cell: Raw) -> bool:
    return cell is not None and (not isinstance(cell, str) or bool(cell.strip()))
