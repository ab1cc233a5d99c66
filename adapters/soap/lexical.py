"""Texts of XML as JSON values and back, by simple type.

Reading accepts what XML Schema allows and JSON can say: a decimal keeps its digits, a date loses
its time zone, a time without one gets that of the source, ``INF`` and ``NaN`` are refused. Writing
accepts the JSON that the published schema accepts.
"""

from __future__ import annotations

import base64
import binascii
import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime, timedelta, tzinfo
from decimal import Decimal
from typing import Any

import orjson

from adapters.soap.shapes import Lexical, Simple

_INTEGER = re.compile(r"[+-]?[0-9]{1,400}", re.ASCII)
_DECIMAL = re.compile(r"[+-]?([0-9]{1,400}(\.[0-9]{0,400})?|\.[0-9]{1,400})", re.ASCII)
_SHORT_DECIMAL = re.compile(r"[+-]?[0-9]{1,100}(\.[0-9]{1,100})?", re.ASCII)
_FLOAT = re.compile(
    r"[+-]?([0-9]{1,40}(\.[0-9]{0,40})?|\.[0-9]{1,40})([eE][+-]?[0-9]{1,3})?", re.ASCII
)
_ZONE = r"(Z|[+-][0-9]{2}:[0-9]{2})?"
_DATE = re.compile(r"([0-9]{4}-[0-9]{2}-[0-9]{2})" + _ZONE, re.ASCII)
_DATETIME = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2})T([0-9]{2}:[0-9]{2}:[0-9]{2})(\.[0-9]{1,40})?" + _ZONE, re.ASCII
)
_HEX = re.compile(r"([0-9A-Fa-f]{2})*", re.ASCII)
_BLANK = re.compile(r"[ \t\r\n]+")
_SAFE = 2**63


class Unfit(Exception):
    """A value that its type does not allow; ``place`` grows outward. Never tells the value."""

    def __init__(self, rule: str, place: str = "") -> None:
        super().__init__(rule)
        self.rule = rule
        self.place = place

    def inside(self, step: str) -> Unfit:
        """The same, seen from one step further out."""
        self.place = f"/{step}{self.place}"
        return self


@dataclass(frozen=True, slots=True)
class Habits:
    """What a WSDL leaves open: the zone of times that name none, and how decimals are shown."""

    zone: tzinfo | None = None
    decimals_as_text: bool = False


# From XML.


def read_text(simple: Simple, text: str, habits: Habits) -> Any:
    """The JSON value of the text of an element or attribute.

    Raises:
        Unfit: when it is not of the type.
    """
    if simple.listed:
        return [_read(simple, word, habits) for word in _BLANK.split(text) if word]
    return _read(simple, text, habits)


def _read(simple: Simple, text: str, habits: Habits) -> Any:
    if simple.kind is not Lexical.STRING and _BLANK.search(text):
        text = _BLANK.sub(" ", text).strip(" ")
    value = _READERS[simple.kind](text, habits)
    _check_facets(simple, text)
    return value


def _read_boolean(text: str, habits: Habits) -> bool:
    if text not in ("true", "false", "1", "0"):
        raise Unfit("must be true or false")
    return text in ("true", "1")


def _read_integer(text: str, habits: Habits) -> Any:
    if not _INTEGER.fullmatch(text):
        raise Unfit("must be a whole number")
    return _number(int(text))


def _number(value: int) -> Any:
    return value if -_SAFE <= value < _SAFE else orjson.Fragment(str(value))


def _read_decimal(text: str, habits: Habits) -> Any:
    if not _DECIMAL.fullmatch(text):
        raise Unfit("must be a decimal number")
    shown = plain_decimal(Decimal(text))
    return shown if habits.decimals_as_text else orjson.Fragment(shown)


def plain_decimal(value: Decimal) -> str:
    """``value`` with all its digits and no exponent, as JSON and XML both write it."""
    return format(value.copy_abs() if value.is_zero() else value, "f")


def _read_float(text: str, habits: Habits) -> float:
    value = float(text) if _FLOAT.fullmatch(text) else math.nan
    if not math.isfinite(value):
        raise Unfit("must be a finite number")
    return value


def _read_date(text: str, habits: Habits) -> str:
    found = _DATE.fullmatch(text)
    try:
        if not found:
            raise ValueError
        return date.fromisoformat(found[1]).isoformat()
    except ValueError as error:
        raise Unfit("must be a date written as 2026-01-31") from error


def _read_datetime(text: str, habits: Habits) -> str:
    found = _DATETIME.fullmatch(text)
    try:
        if not found:
            raise ValueError
        moment = datetime.fromisoformat(f"{found[1]}T{found[2]}")
        zone = found[4] or _offset(moment, habits.zone)
        datetime.fromisoformat(f"{found[1]}T{found[2]}{zone.replace('Z', '+00:00')}")
    except ValueError as error:
        raise Unfit("must be a time written as 2026-01-31T08:00:00+07:00") from error
    return f"{found[1]}T{found[2]}{found[3] or ''}{zone}"


def _offset(moment: datetime, zone: tzinfo | None) -> str:
    if zone is None:
        raise Unfit("must be a time that names its zone, or the source needs the key zone")
    away = moment.replace(tzinfo=zone).utcoffset() or timedelta()
    minutes = round(away.total_seconds() / 60)
    return f"{'-' if minutes < 0 else '+'}{abs(minutes) // 60:02}:{abs(minutes) % 60:02}"


def _read_base64(text: str, habits: Habits) -> str:
    compact = text.replace(" ", "")
    try:
        base64.b64decode(compact, validate=True)
    except (binascii.Error, ValueError) as error:
        raise Unfit("must be base64") from error
    return compact


def _read_hex(text: str, habits: Habits) -> str:
    if not _HEX.fullmatch(text):
        raise Unfit("must be hexadecimal digits in pairs")
    return text


_READERS: dict[Lexical, Callable[[str, Habits], Any]] = {
    Lexical.STRING: lambda text, habits: text,
    Lexical.TOKEN: lambda text, habits: text,
    Lexical.BOOLEAN: _read_boolean,
    Lexical.INTEGER: _read_integer,
    Lexical.DECIMAL: _read_decimal,
    Lexical.FLOAT: _read_float,
    Lexical.DATE: _read_date,
    Lexical.DATETIME: _read_datetime,
    Lexical.BASE64: _read_base64,
    Lexical.HEX: _read_hex,
}


def _check_facets(simple: Simple, text: str) -> None:
    if simple.values and text not in simple.values:
        raise Unfit("must be a word of the enumeration")
    if simple.pattern is not None and not simple.pattern.search(text):
        raise Unfit(f"must have the form {simple.pattern.pattern}")
    if simple.min_length is not None and len(text) < simple.min_length:
        raise Unfit(f"must have at least {simple.min_length} characters")
    if simple.max_length is not None and len(text) > simple.max_length:
        raise Unfit(f"must have at most {simple.max_length} characters")
    if simple.minimum is None and simple.maximum is None:
        return
    if not _DECIMAL.fullmatch(text):
        raise Unfit("must be a number")
    number = Decimal(text)
    if simple.minimum is not None and number < simple.minimum:
        raise Unfit(f"must be at least {simple.minimum:f}")
    if simple.maximum is not None and number > simple.maximum:
        raise Unfit(f"must be at most {simple.maximum:f}")


# To XML.


def write_text(simple: Simple, value: Any) -> str:
    """The text for a JSON value.

    Raises:
        Unfit: when the schema of the type does not allow the value.
    """
    if simple.listed:
        if not isinstance(value, list):
            raise Unfit("must be a list")
        words = [_write(simple, item) for item in value]
        if any(not word or _BLANK.search(word) for word in words):
            raise Unfit("the words of this list have no blanks")
        return " ".join(words)
    return _write(simple, value)


def _write(simple: Simple, value: Any) -> str:
    text = _WRITERS[simple.kind](value)
    _check_facets(simple, text)
    return text


def _write_string(value: Any) -> str:
    if not isinstance(value, str):
        raise Unfit("must be a text")
    return value


def _write_token(value: Any) -> str:
    text = _write_string(value)
    if _BLANK.sub(" ", text).strip(" ") != text:
        raise Unfit("must be a text without blanks around it or two in a row")
    return text


def _write_boolean(value: Any) -> str:
    if not isinstance(value, bool):
        raise Unfit("must be true or false")
    return "true" if value else "false"


def _write_integer(value: Any) -> str:
    if isinstance(value, Decimal) and _is_moderate(value) and value == value.to_integral_value():
        value = int(value)  # 1.0 is a whole number in JSON
    if isinstance(value, bool) or not isinstance(value, int):
        raise Unfit("must be a whole number")
    return str(value)


def _write_decimal(value: Any) -> str:
    if isinstance(value, bool):
        raise Unfit("must be a decimal number")
    if isinstance(value, float) and math.isfinite(value):
        value = Decimal(repr(value))  # the digits that were written, as far as a double keeps them
    elif isinstance(value, int) or (isinstance(value, str) and _SHORT_DECIMAL.fullmatch(value)):
        value = Decimal(value)
    if not isinstance(value, Decimal) or not _is_moderate(value):
        raise Unfit("must be a decimal number")
    return plain_decimal(value)


def _is_moderate(value: Decimal) -> bool:
    """Whether all digits can be written out: 1e999999999 has too many."""
    return value.is_finite() and abs(value.adjusted()) <= 400


def _write_float(value: Any) -> str:
    if isinstance(value, Decimal):
        value = float(value)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise Unfit("must be a finite number")
    return repr(value)


def _checked_text(read: Callable[[str, Habits], Any]) -> Callable[[Any], str]:
    def write(value: Any) -> str:
        text = _write_string(value)
        read(text, _NO_HABITS)
        return text

    return write


def _write_date(value: Any) -> str:
    text = _write_string(value)
    if _read_date(text, _NO_HABITS) != text:
        raise Unfit("must be a date written as 2026-01-31")
    return text


_NO_HABITS = Habits()
_WRITERS: dict[Lexical, Callable[[Any], str]] = {
    Lexical.STRING: _write_string,
    Lexical.TOKEN: _write_token,
    Lexical.BOOLEAN: _write_boolean,
    Lexical.INTEGER: _write_integer,
    Lexical.DECIMAL: _write_decimal,
    Lexical.FLOAT: _write_float,
    Lexical.DATE: _write_date,
    Lexical.DATETIME: _checked_text(_read_datetime),
    Lexical.BASE64: _checked_text(_read_base64),
    Lexical.HEX: _checked_text(_read_hex),
}


def of_parameter(simple: Simple, text: str) -> Any:
    """The JSON value that the text of a parameter stands for.

    Raises:
        Unfit: when it does not print back the same.
    """
    if simple.listed:
        raise Unfit("a list cannot be a parameter")
    match simple.kind:
        case Lexical.BOOLEAN if text in ("true", "false"):
            return text == "true"
        case Lexical.BOOLEAN:
            raise Unfit("must be true or false")
        case Lexical.INTEGER if len(text) <= 40 and _INTEGER.fullmatch(text):
            if str(int(text)) == text:
                return int(text)
            raise Unfit("must be a whole number")
        case Lexical.INTEGER:
            raise Unfit("must be a whole number")
        case Lexical.DECIMAL | Lexical.FLOAT if len(text) <= 100 and _DECIMAL.fullmatch(text):
            return Decimal(text)
        case Lexical.DECIMAL | Lexical.FLOAT:
            raise Unfit("must be a decimal number")
    return text
