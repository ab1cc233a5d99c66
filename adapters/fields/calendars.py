"""Dates as legacy systems write them: Buddhist years, two-digit years, months by name, Lao digits.

A year of the Buddhist Era (ພ.ສ.) is the common one + :data:`SHIFT`, as Laos and Thailand count;
leap years are those of the common year, so 29/02/2567 is a day. (In Thailand the year began in
April until 1940; such dates are not adjusted.)

A :class:`DateForm` reads exactly the spellings that :meth:`DateForm.spellings` gives, which is what
a filter on such a column needs: day and month with or without a leading zero, all digits Latin, Lao
or Thai, a month's name in Lao, Thai or English. Names are those of the GNU C Library (``lo_LA``,
``th_TH``, ``C``).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum
from functools import lru_cache
from itertools import product
from typing import Final

SHIFT: Final = 543
EARLIEST: Final = 1800 + SHIFT
"""An earlier Buddhist year is taken for a common year that was typed into the wrong column."""

_LAO: Final = "໐໑໒໓໔໕໖໗໘໙"
_THAI: Final = "๐๑๒๓๔๕๖๗๘๙"
_LATIN: Final = "0123456789"
_TO_LATIN: Final = str.maketrans(_LAO + _THAI, _LATIN + _LATIN)
_SCRIPTS: Final = tuple(re.compile(f"[{digits}]") for digits in (_LATIN, _LAO, _THAI))

_NAMES: Final = [
    line.split()
    for line in """
    ມັງກອນ ມ.ກ. มกราคม ม.ค. January
    ກຸມພາ ກ.ພ. กุมภาพันธ์ ก.พ. February
    ມີນາ ມ.ນ. มีนาคม มี.ค. March
    ເມສາ ມ.ສ. เมษายน เม.ย. April
    ພຶດສະພາ ພ.ພ. พฤษภาคม พ.ค. May
    ມິຖຸນາ ມິ.ຖ. มิถุนายน มิ.ย. June
    ກໍລະກົດ ກ.ລ. กรกฎาคม ก.ค. July
    ສິງຫາ ສ.ຫ. สิงหาคม ส.ค. August
    ກັນຍາ ກ.ຍ. กันยายน ก.ย. September
    ຕຸລາ ຕ.ລ. ตุลาคม ต.ค. October
    ພະຈິກ ພ.ຈ. พฤศจิกายน พ.ย. November
    ທັນວາ ທ.ວ. ธันวาคม ธ.ค. December
    """.strip().splitlines()
]


def _spelled(lao: str, thai: str, english: str) -> tuple[str, ...]:
    return (lao, thai, english, english.upper(), english.lower())


MONTHS: Final = {
    "B": [_spelled(lao, thai, english) for lao, _, thai, _, english in _NAMES],
    "b": [_spelled(lao, thai, english[:3]) for _, lao, _, thai, english in _NAMES],
}
"""By the part's letter, every spelling of each month: English in capitals and small letters too."""


class Calendar(StrEnum):
    """How the years of a column count."""

    GREGORIAN = "gregorian"
    BUDDHIST = "buddhist"

    @property
    def shift(self) -> int:
        return SHIFT if self is Calendar.BUDDHIST else 0

    @property
    def years_from(self) -> int:
        """Where the hundred years that two digits mean begin, unless a mapping says it."""
        return 2500 if self is Calendar.BUDDHIST else 1969

    def common(self, year: int) -> int:
        """The common year of ``year``.

        Raises:
            ValueError: when it cannot be a year of this calendar.
        """
        if self is Calendar.BUDDHIST and year < EARLIEST:
            raise ValueError(f"must be a year of the Buddhist Era, {EARLIEST} or later")
        return year - self.shift


def in_latin_digits(text: str) -> str:
    """``text`` with Lao or Thai digits as Latin ones.

    Raises:
        ValueError: when digits of two scripts are mixed.
    """
    if text.isascii():
        return text
    if sum(script.search(text) is not None for script in _SCRIPTS) > 1:
        raise ValueError("digits of two scripts")
    return text.translate(_TO_LATIN)


def in_every_script(texts: list[str]) -> list[str]:
    """``texts`` as they are, then with Lao and with Thai digits."""
    return list(
        dict.fromkeys(
            text.translate(str.maketrans(_LATIN, digits))
            for digits in (_LATIN, _LAO, _THAI)
            for text in texts
        )
    )


def whole_year(short: int, first: int) -> int:
    """The year of the hundred from ``first`` on that ends with the two digits ``short``."""
    return first + (short - first) % 100


_PIECES: Final = re.compile(r"%(.)|([^%]+)", re.DOTALL)
_WIDTHS: Final = {"d": (1, 2), "m": (1, 2), "H": (1, 2), "M": (2, 2), "S": (2, 2), "Y": (4, 4)} | {
    "y": (2, 2)
}
_PARTS: Final = {"Y": "year", "y": "year", "m": "month", "B": "month", "b": "month", "d": "day"} | {
    "H": "hour",
    "M": "minute",
    "S": "second",
}


class UnknownForm(ValueError):
    """A pattern that is not made of the known parts, or does not say a whole date."""


@dataclass(frozen=True, slots=True)
class DateForm:
    """How a date is written: parts of ``strftime`` (``d m b B Y y H M S``) and text between."""

    pattern: str
    calendar: Calendar
    years_from: int
    pieces: tuple[tuple[str, str], ...]
    """Of each piece the letter of its part, or nothing, and its text."""
    reads: re.Pattern[str]

    @classmethod
    def compile(cls, pattern: str, calendar: Calendar, years_from: int | None) -> DateForm:
        """The form of ``pattern``; years of two digits lie in the hundred from ``years_from`` on.

        Raises:
            UnknownForm: for a part that is unknown or there twice, or when day, month or year are
                missing.
        """
        return _compile(pattern, calendar, years_from or calendar.years_from)

    def parse(self, text: str) -> datetime:
        """The moment, in common years, that ``text`` writes.

        Raises:
            ValueError: when it is not written in this form, or there is no such day.
        """
        match = self.reads.fullmatch(in_latin_digits(text))
        if match is None:
            raise ValueError("not of the form")
        found = {letter: self._number(letter, match[letter]) for letter in match.groupdict()}
        if "y" in found:
            found["y"] = whole_year(found["y"], self.years_from)
        parts = {_PARTS[letter]: number for letter, number in found.items()}
        parts["year"] = self.calendar.common(parts["year"])
        return datetime(**parts)  # type: ignore[arg-type]

    def spellings(self, moment: date) -> list[str]:
        """Every text that :meth:`parse` reads as ``moment``; none when it reads none so."""
        if not isinstance(moment, datetime):
            moment = datetime(moment.year, moment.month, moment.day)
        texts = ["".join(pieces) for pieces in product(*map(self._ways(moment), self.pieces))]
        return [one for one in in_every_script(texts) if self._reads_as(one, moment)]

    def _reads_as(self, text: str, moment: datetime) -> bool:
        try:
            return self.parse(text) == moment
        except ValueError:
            return False

    def _ways(self, moment: datetime) -> Callable[[tuple[str, str]], tuple[str, ...]]:
        def ways(piece: tuple[str, str]) -> tuple[str, ...]:
            letter, text = piece
            if not letter:
                return (text,)
            if letter in MONTHS:
                return MONTHS[letter][moment.month - 1]
            number = getattr(moment, _PARTS[letter])
            if letter in "Yy":
                number += self.calendar.shift
            if letter == "y":
                number %= 100
            least, most = _WIDTHS[letter]
            return tuple(dict.fromkeys(f"{number:0{width}d}" for width in (most, least)))

        return ways

    def _number(self, letter: str, text: str) -> int:
        if letter in MONTHS:
            return next(n for n, names in enumerate(MONTHS[letter], 1) if text in names)
        return int(text)


@lru_cache(256)
def _compile(pattern: str, calendar: Calendar, years_from: int) -> DateForm:
    pieces = tuple(_pieces(pattern))
    parts = [_PARTS[letter] for letter, _ in pieces if letter]
    if len(set(parts)) != len(parts) or not {"day", "month", "year"} <= set(parts):
        raise UnknownForm("a form says day, month and year, each once")
    reads = ""
    for index, (letter, text) in enumerate(pieces):
        if not letter:
            reads += re.escape(text)
        elif letter in MONTHS:
            names = sorted((name for each in MONTHS[letter] for name in each), key=len)[::-1]
            reads += f"(?P<{letter}>{'|'.join(map(re.escape, names))})"
        else:
            # Where two numbers touch, only both digits tell one from the other.
            touches = any(
                0 <= n < len(pieces) and pieces[n][0] in _WIDTHS for n in (index - 1, index + 1)
            )
            least, most = _WIDTHS[letter]
            reads += f"(?P<{letter}>[0-9]{{{most if touches else least},{most}}})"
    return DateForm(pattern, calendar, years_from, pieces, re.compile(reads, re.ASCII))


def _pieces(pattern: str) -> Iterator[tuple[str, str]]:
    end = 0
    for match in _PIECES.finditer(pattern):
        end = match.end()
        letter, text = match[1], match[2]
        if letter == "%":
            yield "", "%"
        elif letter is not None and letter not in _PARTS:
            raise UnknownForm(f"%{letter} is not one of: {', '.join('%' + one for one in _PARTS)}")
        else:
            yield letter or "", text or ""
    if end != len(pattern):
        raise UnknownForm("ends with %")
