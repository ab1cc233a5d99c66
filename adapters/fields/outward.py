"""The way out: a driver's value to the value that is written as JSON.

Each function here makes, or is, a converter that raises :class:`~adapters.fields.words.Mismatch`
and never sees a null.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from decimal import Decimal, Inexact, InvalidOperation
from typing import Any, TypeVar

from adapters.fields.calendars import EARLIEST, Calendar, in_latin_digits, whole_year
from adapters.fields.forms import Form
from adapters.fields.inward import DECIMAL, INT64, INTEGER, parse_date
from adapters.fields.units import Rounding, Unit
from adapters.fields.words import Converter, Emit, Kind, Mismatch, Otherwise
from adapters.fields.written import Written
from adapters.text.columns import Form as TextForm
from adapters.text.columns import Unreadable, reader
from adapters.text.convert import Encoding

Date = TypeVar("Date", bound=date)
_SURROGATE = re.compile("[\ud800-\udfff]")


def listed(convert: Converter, separator: str) -> Converter:
    """A converter of texts that hold a list: ``convert`` reads its parts, empty ones are none."""

    def read(value: Any) -> Any:
        if not isinstance(value, str):
            raise Mismatch("a list must be stored as a text", value)
        parts = (part.strip() for part in value.split(separator))
        return [convert(part) for part in parts if part]

    return read


def text_of(value: bytes, kind: Kind) -> Any:
    """What the bytes of a column stand for.

    Raises:
        Mismatch: when they are not UTF-8.
    """
    # MySQL's BIT(1) comes as one byte, text columns with a binary collation as UTF-8.
    if kind is Kind.BOOLEAN and len(value) == 1 and value[0] in (0, 1):
        return bool(value[0])
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError as error:
        raise Mismatch("must be UTF-8 text", value) from error


def old_text(encoding: Encoding | None, form: TextForm | None) -> Converter | None:
    """A converter of text in an old encoding, in the form that is wanted; None when neither is."""
    if encoding is None and form is None:
        return None
    read = reader(encoding, form)

    def convert(value: Any) -> Any:
        try:
            return read(value) if isinstance(value, str | bytes) else value
        except Unreadable as error:
            raise Mismatch(str(error), value) from error

    return convert


def string(value: Any) -> str:
    """A value as text.

    Raises:
        Mismatch: for a truth value, a float or half a surrogate pair.
    """
    if isinstance(value, bool | float):
        raise Mismatch("must be a text", value)
    text = value if isinstance(value, str) else _written(value)
    if not text.isascii() and _SURROGATE.search(text):
        raise Mismatch("must be Unicode text without lone surrogates", value)
    return text


def _written(value: Any) -> str:
    if isinstance(value, timedelta):  # a TIME of MariaDB: up to 838 hours, as it writes them
        sign = "-" if value < timedelta(0) else ""
        seconds, micro = divmod(abs(value) // timedelta(microseconds=1), 1_000_000)
        text = f"{sign}{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}"
        return f"{text}.{micro:06d}" if micro else text
    return str(value)


def integer(value: Any) -> int:
    """A value as a whole number.

    Raises:
        Mismatch: when it is none, or has more than 64 bits.
    """
    number: int | None = None
    match value:
        case int():
            number = int(value)
        case float() if value.is_integer() and abs(value) < 2**53:
            number = int(value)
        case Decimal() if value.is_finite() and value == value.to_integral_value():
            number = int(value)
        case str() if INTEGER.fullmatch(value):
            number = int(value)
    if number is None or number not in INT64:
        raise Mismatch("must be a whole number of at most 64 bits", value)
    return number


def decimal_writer(
    scale: int | None,
    emit: Emit,
    unit: Unit | None = None,
    rounding: Rounding = Rounding.REFUSE,
) -> Converter:
    """A converter to exact decimals, as numbers or texts.

    Args:
        scale: digits behind the point of what is answered; None leaves them as they are.
        unit: what the value is multiplied by and moved by.
        rounding: what is done with digits behind the scale.
    """
    # The scale is that of the answer: of another unit, or of what is rounded, it says nothing.
    stored_scale = scale if unit is None and rounding is Rounding.REFUSE else None

    def write(value: Any) -> Any:
        number = _converted(_decimal(value, stored_scale), value, scale, unit, rounding)
        text = format(number.copy_abs() if number.is_zero() else number, "f")
        return text if emit is Emit.STRING else Written(text)

    return write


def whole_number_of(unit: Unit | None, rounding: Rounding) -> Converter:
    """Whole numbers from a column of another unit."""

    def read(value: Any) -> int:
        return integer(_converted(_decimal(value, None), value, 0, unit, rounding))

    return read


def _converted(
    number: Decimal, value: Any, scale: int | None, unit: Unit | None, rounding: Rounding
) -> Decimal:
    try:
        if unit is not None:
            number = unit.outward(number)
    except ArithmeticError as error:
        raise Mismatch("has too many digits", value) from error
    if scale is None:
        return number
    try:
        return rounding.to(number, scale)
    except Inexact as error:
        raise Mismatch(f"must have at most {scale} decimals", value) from error
    except InvalidOperation as error:
        raise Mismatch("has too many digits", value) from error


def _decimal(value: Any, scale: int | None) -> Decimal:
    if isinstance(value, Decimal) and value.is_finite():
        return value
    if isinstance(value, int) and not isinstance(value, bool):
        return Decimal(value)
    if isinstance(value, float) and math.isfinite(value):
        return _decimal_of_float(value, scale)
    if isinstance(value, str) and DECIMAL.fullmatch(value):
        return Decimal(value)
    raise Mismatch("must be a decimal number", value)


def _decimal_of_float(value: float, scale: int | None) -> Decimal:
    """The decimal that a binary float stands for (SQLite has no other fractions).

    A double holds 15 decimal digits for certain. With a scale the nearest decimal of that scale
    is the value if the two differ by no more than what sums of doubles gather.
    """
    if scale is None:
        return Decimal(repr(value))
    near = Decimal(f"{value:.{scale}f}")
    error = abs(float(near) - value)
    if abs(value) >= 10.0 ** (15 - scale) or error > min(1024 * math.ulp(value), 10.0**-scale / 4):
        raise Mismatch(f"cannot be read exactly as a decimal with {scale} decimals", value)
    return near


def date_reader(form: Form | None, calendar: Calendar) -> Converter:
    """A converter to dates, ``YYYY-MM-DD`` of the common era.

    Args:
        form: how texts are written; None for ISO 8601.
        calendar: the era of the source.
    """
    rule = f"must be a date written as {form.pattern if form else '%Y-%m-%d'}"

    def read(value: Any) -> str:
        if isinstance(value, datetime) and value.time() != time():
            raise Mismatch("must be a date without a time of day", value)
        if isinstance(value, date):
            return _common(value, calendar).isoformat()[:10]
        if isinstance(value, str):
            try:
                if form is not None:
                    return form.parse(value).date().isoformat()
                return parse_date(value.removesuffix(" 00:00:00")).isoformat()
            except ValueError as error:
                raise Mismatch(rule, value) from error
        raise Mismatch("must be a date", value)

    return read


def _common(value: Date, calendar: Calendar) -> Date:
    """The day of a column of dates whose years may be Buddhist ones."""
    if calendar is Calendar.GREGORIAN:
        return value
    try:
        return value.replace(year=calendar.common(value.year))
    except ValueError as error:  # 29/02/2568 is a day of a column of dates, but of no calendar
        raise Mismatch(f"must be a day of the Buddhist Era from {EARLIEST} on", value) from error


def datetime_reader(form: Form | None, zone: tzinfo | None, calendar: Calendar) -> Converter:
    """A converter to times with their offset (RFC 3339).

    Args:
        form: how texts are written; None for ISO 8601.
        zone: that of times which name none, and the one that is answered.
        calendar: the era of the source.
    """
    rule = f"must be a time written as {form.pattern if form else 'ISO 8601'}"

    def read(value: Any) -> str:
        if isinstance(value, str):
            try:
                value = datetime.fromisoformat(value) if form is None else form.parse(value)
            except ValueError as error:
                raise Mismatch(rule, value) from error
        elif isinstance(value, datetime):
            value = _common(value, calendar)
        if not isinstance(value, datetime):
            raise Mismatch("must be a date with a time of day", value)
        try:
            moment = value.replace(tzinfo=zone) if value.tzinfo is None else value.astimezone(zone)
        except OverflowError as error:
            raise Mismatch("must be a time of the years 1 to 9999", value) from error
        # Whole, or no filter would find it again.
        of_second = "microseconds" if moment.microsecond % 1000 else "milliseconds"
        timespec = of_second if moment.microsecond else "seconds"
        text = moment.isoformat(timespec=timespec)
        if text[-3] == ":" and text[-6] == ":":
            # 1900-01-01 stands for nothing in many systems; zones had seconds then, and RFC 3339
            # has none in an offset.
            return moment.astimezone(UTC).isoformat(timespec=timespec)
        return text

    return read


def year_reader(calendar: Calendar, pattern: str | None, years_from: int | None) -> Converter:
    """Years as numbers or, with a pattern (``%Y``, ``%y``), as texts of four or two digits."""
    digits = {None: 0, "%Y": 4, "%y": 2}[pattern]
    rule = f"must be a year written as {pattern}" if pattern else "must be a year"

    def read(value: Any) -> int:
        try:
            if pattern is None:
                year = integer(value)
                short = years_from is not None and 0 <= year < 100
            else:
                text = in_latin_digits(value) if isinstance(value, str) else ""
                if len(text) != digits or not (text.isascii() and text.isdigit()):
                    raise Mismatch(rule, value)
                year, short = int(text), digits == 2
            if short:
                year = whole_year(year, years_from or calendar.years_from)
            return calendar.common(year)
        except ValueError as error:
            raise Mismatch(rule, value) from error

    return read


def boolean_reader(true_words: frozenset[str], false_words: frozenset[str]) -> Converter:
    """A converter to truth values; without words, 0 and 1 are read."""

    def read(value: Any) -> bool:
        word = str(value) if isinstance(value, str | int | Decimal) else None
        if isinstance(value, bool):
            return value
        if word in true_words:
            return True
        if word in false_words:
            return False
        if not true_words and not false_words and word in ("0", "1"):
            return word == "1"
        raise Mismatch("must be one of the words for true and false", value)

    return read


def translator(table: Mapping[str, str], otherwise: Otherwise) -> Converter:
    """A converter of words by a table; ``otherwise`` says what becomes of the others."""

    def read(value: Any) -> str | None:
        word = string(value)
        known = table.get(word)
        if known is not None:
            return known
        if otherwise is Otherwise.KEEP:
            return word
        if otherwise is Otherwise.NULL:
            return None
        raise Mismatch("must be a word of the translation table", value)

    return read
