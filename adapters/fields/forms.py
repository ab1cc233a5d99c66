"""How dates and times are written in a column of text: read, and written back for a filter."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, time
from typing import Protocol

from adapters.fields.calendars import Calendar, DateForm, UnknownForm


class Form(Protocol):
    """One way to write a date or a time."""

    @property
    def pattern(self) -> str:
        """The way, as ``strftime`` has it."""
        ...

    def parse(self, text: str) -> datetime:
        """The moment that ``text`` writes, without a zone.

        Raises:
            ValueError: when it is not written so.
        """
        ...

    def spellings(self, moment: date) -> list[str]:
        """The texts that are read as ``moment``."""
        ...


@dataclass(frozen=True, slots=True)
class StandardForm:
    """A pattern with parts that only ``strptime`` knows, such as ``%p``: it has one spelling."""

    pattern: str

    def parse(self, text: str) -> datetime:
        return datetime.strptime(text, self.pattern)

    def spellings(self, moment: date) -> list[str]:
        if not isinstance(moment, datetime):
            moment = datetime.combine(moment, time())
        return [moment.strftime(self.pattern)]


def form_of(pattern: str, calendar: Calendar, years_from: int | None) -> Form:
    """The form of ``pattern``.

    Raises:
        UnknownForm: for a pattern that cannot be one of this calendar.
    """
    try:
        return DateForm.compile(pattern, calendar, years_from)
    except UnknownForm:
        if calendar is Calendar.GREGORIAN and years_from is None:
            return StandardForm(pattern)
        raise
