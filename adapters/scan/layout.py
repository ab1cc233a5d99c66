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

from adapters.sources.feet import is_there as _there
from adapters.sources.headers import combined, title_of
from adapters.sources.sheets import Raw

DEEPEST_HEADER: Final = 30
"""The last row that may be that of the headers."""
_SHOWN: Final = 5
_NUMBER: Final = re.compile(r"(?!\d{4}$)[\d.,/:%+ -]+")  # a date, an amount; no year
_YEARS: Final = range(1900, 2700)  # of the Buddhist Era, too


@dataclass(frozen=True, slots=True)
class Layout:
    """The first row of the headers (from 1), how many there are, and what a person should know of
    the sheet's form."""

    header_row: int
    doubts: tuple[str, ...]
    header_rows: int = 1


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
    if not lines:
        return Layout(row, ())
    first, count = _header_rows(lines, row)
    return Layout(first, tuple(_doubts(lines[first - 1 :], first, count)), count)


def _header_rows(lines: Sequence[Sequence[Raw]], row: int) -> tuple[int, int]:
    """The first row of the headers and their number, where one of them is in ``row``.

    Two rows belong together where a title of the upper one stands over several of the lower, and
    the lower one is none of the rows of the table: it is empty where they are not, or has titles
    where they have numbers.
    """
    here = lines[row - 1]
    if row < len(lines):
        below, rows = lines[row], [line for line in lines[row + 1 :] if _count(line)]
        is_titles = _count(below) > 0 and all(_is_title(one) for one in below if _there(one))
        if is_titles and _groups(here, below) and _is_no_row(below, rows):
            return row, 2
    if row > 1:
        above = lines[row - 2]
        is_titles = all(_is_title(one) for one in above if _there(one))
        if is_titles and _groups(above, here) and _is_no_title(above, here):
            return row - 1, 2
    return row, 1


def _groups(upper: Sequence[Raw], lower: Sequence[Raw]) -> bool:
    """Whether a title of ``upper`` stands over several of ``lower``."""
    over = False
    for place in range(max(len(upper), len(lower))):
        if _at(upper, place):
            over = _at(lower, place)
        elif over and _at(lower, place):
            return True
        else:
            over = False
    return False


def _is_no_row(line: Sequence[Raw], rows: Sequence[Sequence[Raw]]) -> bool:
    """Whether ``line`` is empty, or has a title, where each of ``rows`` is not or has a number."""
    full = [one for one in rows if _count(one) * 2 > median(map(_count, rows))] if rows else []
    for place in range(max(map(len, full), default=0)):
        cells = [one[place] if place < len(one) else None for one in full]
        if not all(map(_there, cells)):
            continue
        if not _at(line, place):
            return len(full) > 1
        if isinstance(line[place], str) and not any(map(_is_title, cells)):
            return True
    return False


def _is_no_title(upper: Sequence[Raw], lower: Sequence[Raw]) -> bool:
    """Whether ``upper``, a row above the headers, is no title of the whole sheet."""
    titles = [place for place, one in enumerate(upper) if _there(one)]
    if len(titles) > 1:
        return True
    years = [one for one in lower[titles[0] :] if _is_year(one)]
    return titles[0] > 0 and len(years) > 1


def _is_year(cell: Raw) -> bool:
    text = str(cell).strip().removesuffix(".0")
    return text.isdecimal() and len(text) == 4 and int(text) in _YEARS


def _at(line: Sequence[Raw], place: int) -> bool:
    return place < len(line) and _there(line[place])


def _doubts(lines: Sequence[Sequence[Raw]], row: int, count: int) -> Iterator[str]:
    if row > 1 and count == 1:
        yield f"the headers are taken to be in row {row}: what is above is passed over"
    titles = [[title_of(one).strip() for one in line] for line in lines[:count]]
    header = combined(titles)
    if count > 1:
        single = {*titles[0], *titles[-1]}
        example = next((title for title in header if title not in single), header[0])
        words = f"the headers are taken to be in the rows {row} and {row + 1}, as in {example!r}"
        yield f"{words}: what is above is passed over" if row > 1 else words
        lines = lines[count - 1 :]
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
        begins = row + count - 1 + second
        yield f"another table may begin in row {begins}: give it a sheet or a file of its own"


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
