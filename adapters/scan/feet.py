"""Where the rows of a sheet seem to end: a total, notes, signatures below them.

Nothing is decided that a mapping does not say: what is proposed stands in it as ``ends_at``, and is
told with the rows that it leaves out.
"""

from __future__ import annotations

import re
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from adapters.mapping.model import EndsAt
from adapters.sources.feet import is_there

_DEEPEST: Final = 60
"""Of how many rows at the end a foot may be."""
_TOTAL: Final = re.compile(
    r"(?i)ລວມ|ທັງໝົດ|ທັງຫມົດ|ຍອດ|ສັງລວມ|ສະຫຼຸບ|ສະຫລຸບ|รวม|((grand|sub)[ -]?)?totals?\b|sum\b"
)
_NOTE: Final = re.compile(
    r"(?i)ໝາຍເຫດ|ຫມາຍເຫດ|ລົງຊື່|ຜູ້|ຫົວໜ້າ|ຫົວຫນ້າ|ວັນທີ|ທີ່ |ແຫຼ່ງ|(foot)?notes?\b|sources?\b|\*|"
    r"(prepared|approved|checked|signed|signature|printed|date)\b"
)

Row = tuple[int, Sequence[Any]]


@dataclass(frozen=True, slots=True)
class FoundFoot:
    """The numbers of the first and last row of a foot, how many rows are above it, and the rule
    that finds it, if one does; ``totals`` are totals between the rows."""

    first: int = 0
    last: int = 0
    above: int = 0
    ends_at: EndsAt | None = None
    totals: tuple[int, ...] = ()

    def doubts(self) -> Iterator[str]:
        """What a person should look at."""
        if self.first:
            rows = f"rows {self.first} to {self.last}" if self.last > self.first else ""
            rows = rows or f"row {self.first}"
            if self.ends_at is None:
                yield f"{rows} may be no records, but a total or notes: no rule leaves them out"
            else:
                yield f"{rows} are taken for totals or notes, and left out (ends_at)"
        if self.totals:
            rows = ", ".join(map(str, self.totals[:5]))
            yield f"totals seem to stand between the rows (row {rows}): they are read as records"


@dataclass(slots=True)
class _Above:
    """What is known of the rows above those that may be a foot."""

    always: set[int] | None = None
    counts: Counter[int] = field(default_factory=Counter)
    begins: dict[int, set[str]] = field(default_factory=dict)
    """By column, words for totals and notes with which a cell of it begins."""
    totals: list[int] = field(default_factory=list)
    rows: int = 0

    def add(self, number: int, row: Sequence[Any]) -> None:
        there = {place for place, cell in enumerate(row) if is_there(cell)}
        self.always = there if self.always is None else self.always & there
        self.counts[len(there)] += 1
        self.rows += 1
        for place, cell in enumerate(row):
            word = _word(cell)
            if word:
                self.begins.setdefault(place, set()).add(word)
        if _is_total(row):
            self.totals.append(number)


def find_foot(header: Sequence[str], rows: Iterable[Row]) -> FoundFoot:
    """The foot of a sheet whose ``rows`` stand below ``header``; they are read to the end."""
    above = _Above()
    tail: deque[Row] = deque()
    for number, row in rows:
        if not any(map(is_there, row)):
            continue
        tail.append((number, row))
        if len(tail) > _DEEPEST:
            above.add(*tail.popleft())
    counts = above.counts + Counter(_count(row) for _, row in tail)
    usual = sorted(counts.elements())[counts.total() // 2] if counts else 0
    lead = _leading(above, [row for _, row in tail], usual)
    size = 0
    for _, row in reversed(tail):
        if not _is_foot(row, lead, usual):
            break
        size += 1
    for number, row in list(tail)[: len(tail) - size]:
        above.add(number, row)
    totals = tuple(above.totals)
    if not size or above.rows < 2:
        return FoundFoot(totals=totals if above.rows >= 2 else ())
    foot = list(tail)[-size:]
    rule = _rule(header, foot[0][1], lead, above)
    return FoundFoot(foot[0][0], foot[-1][0], above.rows, rule, totals)


def _leading(above: _Above, rows: Sequence[Sequence[Any]], usual: int) -> int | None:
    """The leftmost column that rows with as many cells as usual have, but for a few."""
    full = [row for row in rows if _count(row) * 2 > usual]
    for place in range(max(map(len, full), default=0)):
        if above.always is not None and place not in above.always:
            continue
        lacking = sum(not _there(row, place) for row in full)
        if lacking <= max(1, len(full) // 10):
            return place
    return None


def _is_foot(row: Sequence[Any], lead: int | None, usual: int) -> bool:
    count = _count(row)
    if _is_total(row):
        return True
    few = count * 2 <= usual
    if lead is not None and not _there(row, lead):
        return few or count <= usual - 2
    return few and (count == 1 or any(_word(cell) for cell in row))


def _rule(
    header: Sequence[str], first: Sequence[Any], lead: int | None, above: _Above
) -> EndsAt | None:
    """What tells the first row of a foot from each row above it."""
    for place, cell in enumerate(first[: len(header)]):
        word = _word(cell)
        if not word or not (place == lead or _TOTAL.match(word)):
            continue
        known = word in above.begins.get(place, ())
        if header[place] and header.count(header[place]) == 1 and not known:
            return EndsAt(header=header[place], begins_with=(word,))
        break
    if lead is None or lead not in (above.always or ()) or _there(first, lead):
        return None
    title = header[lead] if lead < len(header) else ""
    return EndsAt(header=title, empty=True) if header.count(title) == 1 and title else None


def _is_total(row: Sequence[Any]) -> bool:
    """Whether the first text of the row is a word for a total."""
    text = next((cell for cell in row if isinstance(cell, str) and is_there(cell)), "")
    return _TOTAL.match(text.strip()) is not None


def _word(cell: Any) -> str:
    """The word for a total or a note with which a cell begins."""
    if not isinstance(cell, str):
        return ""
    match = _TOTAL.match(cell.strip()) or _NOTE.match(cell.strip())
    return match[0].strip() if match else ""


def _count(row: Sequence[Any]) -> int:
    return sum(map(is_there, row))


def _there(row: Sequence[Any], place: int) -> bool:
    return place < len(row) and is_there(row[place])
