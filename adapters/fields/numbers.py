"""Numbers as offices write them: 1,250,000.50, 1.250.000,50, (1,200), 12%, ໑໒໕ ກີບ.

Invariant: a text is read as exactly one number or refused. A sign between thousands stands between
every three digits or nowhere, so that 1,5 is never 15; digits are Latin, Lao or Thai, of one script
in a text, as those of dates are.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from typing import Final

from adapters.fields.calendars import in_latin_digits
from adapters.fields.words import Mismatch


class Negative(StrEnum):
    """How a number below zero is written: always with a minus, and where said also in brackets."""

    SIGN = "sign"
    BRACKETS = "brackets"


@dataclass(frozen=True, slots=True)
class NumberForm:
    """How numbers are written.

    ``unit_words`` may stand before or behind a number, one at either end; they all mean one unit.
    """

    thousands: str = ""
    decimal_sign: str = "."
    negative: Negative = Negative.SIGN
    unit_words: tuple[str, ...] = ()

    def plain(self, text: str) -> str:
        """The number of ``text`` in Latin digits: ``-1250000.50``.

        Raises:
            Mismatch: when it is not written so; the rule has a number that is.
        """
        try:
            rest = self._bare(in_latin_digits(text))
        except ValueError as error:
            raise Mismatch(f"{self.rule}, in digits of one script", text) from error
        minus = rest.startswith("-")
        if minus:
            rest = self._bare(rest[1:])
        elif self.negative is Negative.BRACKETS and rest.startswith("(") and rest.endswith(")"):
            minus, rest = True, self._bare(rest[1:-1])
        match = _reads(self.thousands, self.decimal_sign).fullmatch(rest)
        if match is None:
            raise Mismatch(self.rule, text)
        whole = match[1].replace(self.thousands, "") if self.thousands else match[1]
        return f"{'-' if minus else ''}{whole}{'' if match[2] is None else '.' + match[2]}"

    @property
    def rule(self) -> str:
        """What a text must be, with an example."""
        if self == PLAIN:
            return "must be a number"
        example = self.thousands.join(("1", "250", "000"))
        words = f"must be a number written as {example}{self.decimal_sign}5"
        if self.negative is Negative.BRACKETS:
            words += f", below zero ({example}) or -{example}"
        if self.unit_words:
            words += f", with {' or '.join(self.unit_words)} or nothing beside it"
        return words

    def _bare(self, text: str) -> str:
        """``text`` without blanks and without a word for the unit at either end."""
        text = text.strip()
        for word in sorted(self.unit_words, key=len, reverse=True):
            if text.startswith(word):
                text = text.removeprefix(word).lstrip()
                break
        for word in sorted(self.unit_words, key=len, reverse=True):
            if text.endswith(word):
                return text.removesuffix(word).rstrip()
        return text


PLAIN: Final = NumberForm()


@lru_cache(64)
def _reads(thousands: str, decimal_sign: str) -> re.Pattern[str]:
    whole = "[0-9]{1,60}"
    if thousands:
        whole = f"[1-9][0-9]{{0,2}}(?:{re.escape(thousands)}[0-9]{{3}}){{1,19}}|{whole}"
    return re.compile(f"({whole})(?:{re.escape(decimal_sign)}([0-9]{{1,30}}))?", re.ASCII)
