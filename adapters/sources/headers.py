"""Headers of several rows, as spreadsheets have them: ງົບປະມານ over 2024 and 2025."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


def combined(lines: Sequence[Sequence[str]]) -> list[str]:
    """The title of each column: what stands over it, from above, with blanks between.

    A title of an upper row goes on to the right, over the cells that are merged with it (which
    are empty), for as long as a lower row has a title there.
    """
    width = max((len(line) for line in lines), default=0)
    rows = [[*(text.strip() for text in line), *[""] * (width - len(line))] for line in lines]
    titles: list[list[str]] = [[] for _ in range(width)]
    for level, row in enumerate(rows):
        above = ""
        for place, text in enumerate(row):
            deeper = any(lower[place] for lower in rows[level + 1 :])
            if text:
                above = text if deeper else ""
            elif not deeper or any(upper[place] for upper in rows[:level]):
                above = ""
            title = text or above
            if title and title not in titles[place][-1:]:
                titles[place].append(title)
    return [" ".join(parts) for parts in titles]


def title_of(cell: Any) -> str:
    """The text of a cell over a column; a year is its digits."""
    if isinstance(cell, float) and cell.is_integer():
        return str(int(cell))
    return "" if cell is None else str(cell)
