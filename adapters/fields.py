"""Values of legacy columns as values of a schema, exactly or not at all.

A :class:`Field` says how one column becomes one member of the answer. Invariants:
- a value that cannot be converted exactly is a :class:`Mismatch`, never a guess or a rounding;
- decimals never pass through a binary float on their way out: they are written digit by digit;
- a time without a zone gets the zone that the mapping names, and leaves as RFC 3339;
- a mismatch names the type of the value and the rule, never the value (it may be a person's).
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, datetime, time, tzinfo
from decimal import Decimal, InvalidOperation
from enum import StrEnum
from typing import Any, TypeAlias

import orjson

Converter: TypeAlias = Callable[[Any], Any]
Schema: TypeAlias = dict[str, Any]

_INTEGER = re.compile(r"-?(0|[1-9][0-9]{0,18})", re.ASCII)
_DECIMAL = re.compile(r"-?[0-9]{1,60}(\.[0-9]{1,30})?", re.ASCII)
_ISO_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", re.ASCII)
_SURROGATE = re.compile("[\ud800-\udfff]")
_INT64 = range(-(1 << 63), 1 << 63)


class Mismatch(Exception):
    """A value that the field cannot express: the rule it breaks and the type it has."""

    def __init__(self, rule: str, value: object) -> None:
        self.rule = rule
        self.type = type(value).__name__
        super().__init__(f"a value of type {self.type} breaks the rule: {rule}")


class Kind(StrEnum):
    """What a field's value is in the answer."""

    STRING = "string"
    INTEGER = "integer"
    DECIMAL = "decimal"
    DATE = "date"
    DATETIME = "datetime"
    BOOLEAN = "boolean"
    ENUMERATION = "enumeration"


class Null(StrEnum):
    """What becomes of a null."""

    OMIT = "omit"
    NULL = "null"
    REFUSE = "refuse"


class Emit(StrEnum):
    """How an exact decimal is written in JSON."""

    NUMBER = "number"
    STRING = "string"


class Otherwise(StrEnum):
    """What becomes of a word that the translation table does not know."""

    REFUSE = "refuse"
    NULL = "null"
    KEEP = "keep"


class Stored(StrEnum):
    """What the source compares a filter's word with, for enumerations and booleans."""

    STRING = "string"
    INTEGER = "integer"


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """How one column becomes one member; ``name`` may be a path such as ``title.lo``."""

    name: str
    column: str
    kind: Kind
    null: Null = Null.OMIT
    null_words: frozenset[str] = frozenset()
    trim: bool = False
    format: str | None = None
    zone: tzinfo | None = None
    scale: int | None = None
    emit: Emit = Emit.NUMBER
    table: Mapping[str, str] | None = None
    otherwise: Otherwise = Otherwise.REFUSE
    stored: Stored = Stored.STRING
    true_words: frozenset[str] = frozenset()
    false_words: frozenset[str] = frozenset()
    separator: str | None = None
    title: Mapping[str, str] | None = None

    @property
    def path(self) -> tuple[str, ...]:
        return tuple(self.name.split("."))

    @property
    def pointer(self) -> str:
        return "/" + "/".join(self.path)

    def converter(self) -> Converter:
        """A function from the driver's value to the value to be written, None for a null.

        The function raises :class:`Mismatch`.
        """
        convert = _single(self)
        separator = self.separator
        if separator is not None:
            convert = _listed(convert, separator)
        null_words, trim, refuse = self.null_words, self.trim, self.null is Null.REFUSE

        def read(value: Any) -> Any:
            if isinstance(value, bytes | bytearray | memoryview):
                value = _text_of(bytes(value), self.kind)
            if isinstance(value, str):
                if trim:
                    value = value.strip()
                if value in null_words:
                    value = None
            if value is not None:
                value = convert(value)
            if value is None and refuse:
                raise Mismatch("must not be null", None)
            return value

        return read

    def to_source(self, text: str) -> list[Any]:
        """The values in the source that stand for ``text`` of a filter.

        Raises:
            Mismatch: when the text is not a value of this field.
        """
        match self.kind:
            case Kind.STRING:
                return [text]
            case Kind.ENUMERATION:
                return _words_for(self, text)
            case Kind.BOOLEAN:
                return _booleans_for(self, text)
            case Kind.DATE if self.format is not None:
                return [parse_date(text).strftime(self.format)]
            case Kind.DATETIME:
                moment = parse_datetime(text).astimezone(self.zone)
                bare = moment.replace(tzinfo=None)
                return [bare.strftime(self.format) if self.format else bare]
            case kind:
                return [parse_plain(kind, text)]

    def schema(self) -> Schema:
        """The JSON Schema of the value, for records without a shared schema."""
        schema: Schema = dict(_PLAIN_SCHEMAS[self.kind])
        if self.kind is Kind.DECIMAL and self.emit is Emit.STRING:
            schema = {"type": "string", "pattern": r"^-?[0-9]+(\.[0-9]+)?$"}
        if self.table is not None and self.otherwise is not Otherwise.KEEP:
            schema["enum"] = sorted(set(self.table.values()))
        if self.separator is not None:
            schema = {"type": "array", "items": schema}
        if self.null is Null.NULL:
            schema["type"] = [schema["type"], "null"]
            if "enum" in schema:
                schema["enum"].append(None)
        if self.title is not None:
            schema["title"] = self.title["en"]
            schema["x-title-lo"] = self.title["lo"]
        return schema


_PLAIN_SCHEMAS: dict[Kind, Schema] = {
    Kind.STRING: {"type": "string"},
    Kind.INTEGER: {"type": "integer"},
    Kind.DECIMAL: {"type": "number"},
    Kind.DATE: {"type": "string", "format": "date"},
    Kind.DATETIME: {"type": "string", "format": "date-time"},
    Kind.BOOLEAN: {"type": "boolean"},
    Kind.ENUMERATION: {"type": "string"},
}


def plain_schema(kind: Kind) -> Schema:
    """The JSON Schema of a bare value of ``kind``."""
    return dict(_PLAIN_SCHEMAS[kind])


# The way out: the driver's value to JSON.


def _single(field: Field) -> Converter:
    match field.kind:
        case Kind.STRING:
            return _string
        case Kind.INTEGER:
            return _integer
        case Kind.DECIMAL:
            return _decimal_writer(field.scale, field.emit)
        case Kind.DATE:
            return _date_reader(field.format)
        case Kind.DATETIME:
            return _datetime_reader(field.format, field.zone)
        case Kind.BOOLEAN:
            return _boolean_reader(field.true_words, field.false_words)
        case Kind.ENUMERATION:
            return _translator(field.table or {}, field.otherwise)


def _listed(convert: Converter, separator: str) -> Converter:
    def read(value: Any) -> Any:
        if not isinstance(value, str):
            raise Mismatch("a list must be stored as a text", value)
        parts = (part.strip() for part in value.split(separator))
        return [convert(part) for part in parts if part]

    return read


def _text_of(value: bytes, kind: Kind) -> Any:
    # MySQL's BIT(1) comes as one byte, text columns with a binary collation as UTF-8.
    if kind is Kind.BOOLEAN and len(value) == 1 and value[0] in (0, 1):
        return bool(value[0])
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError as error:
        raise Mismatch("must be UTF-8 text", value) from error


def _string(value: Any) -> str:
    if isinstance(value, bool | float):
        raise Mismatch("must be a text", value)
    text = value if isinstance(value, str) else str(value)
    if not text.isascii() and _SURROGATE.search(text):
        raise Mismatch("must be Unicode text without lone surrogates", value)
    return text


def _integer(value: Any) -> int:
    number: int | None = None
    match value:
        case int():
            number = int(value)
        case float() if value.is_integer() and abs(value) < 2**53:
            number = int(value)
        case Decimal() if value.is_finite() and value == value.to_integral_value():
            number = int(value)
        case str() if _INTEGER.fullmatch(value):
            number = int(value)
    if number is None or number not in _INT64:
        raise Mismatch("must be a whole number of at most 64 bits", value)
    return number


def _decimal_writer(scale: int | None, emit: Emit) -> Converter:
    step = None if scale is None else Decimal(1).scaleb(-scale)

    def write(value: Any) -> Any:
        number = _decimal(value, scale)
        if step is not None:
            try:
                rounded = number.quantize(step)
            except InvalidOperation as error:
                raise Mismatch("has too many digits", value) from error
            if rounded != number:
                raise Mismatch(f"must have at most {scale} decimals", value)
            number = rounded
        text = format(number.copy_abs() if number.is_zero() else number, "f")
        return text if emit is Emit.STRING else orjson.Fragment(text)

    return write


def _decimal(value: Any, scale: int | None) -> Decimal:
    if isinstance(value, Decimal) and value.is_finite():
        return value
    if isinstance(value, int) and not isinstance(value, bool):
        return Decimal(value)
    if isinstance(value, float) and math.isfinite(value):
        return _decimal_of_float(value, scale)
    if isinstance(value, str) and _DECIMAL.fullmatch(value):
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


def _date_reader(pattern: str | None) -> Converter:
    rule = f"must be a date written as {pattern or '%Y-%m-%d'}"

    def read(value: Any) -> str:
        if isinstance(value, datetime):
            if value.time() != time():
                raise Mismatch("must be a date without a time of day", value)
            return value.date().isoformat()
        if isinstance(value, date):
            return value.isoformat()
        if isinstance(value, str):
            try:
                if pattern is not None:
                    return datetime.strptime(value, pattern).date().isoformat()
                return parse_date(value.removesuffix(" 00:00:00")).isoformat()
            except ValueError as error:
                raise Mismatch(rule, value) from error
        raise Mismatch("must be a date", value)

    return read


def _datetime_reader(pattern: str | None, zone: tzinfo | None) -> Converter:
    rule = f"must be a time written as {pattern or 'ISO 8601'}"

    def read(value: Any) -> str:
        if isinstance(value, str):
            try:
                if pattern is not None:
                    value = datetime.strptime(value, pattern)
                else:
                    value = datetime.fromisoformat(value)
            except ValueError as error:
                raise Mismatch(rule, value) from error
        if not isinstance(value, datetime):
            raise Mismatch("must be a date with a time of day", value)
        moment = value.replace(tzinfo=zone) if value.tzinfo is None else value.astimezone(zone)
        return moment.isoformat(timespec="milliseconds" if moment.microsecond else "seconds")

    return read


def _boolean_reader(true_words: frozenset[str], false_words: frozenset[str]) -> Converter:
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


def _translator(table: Mapping[str, str], otherwise: Otherwise) -> Converter:
    def read(value: Any) -> str | None:
        word = _string(value)
        known = table.get(word)
        if known is not None:
            return known
        if otherwise is Otherwise.KEEP:
            return word
        if otherwise is Otherwise.NULL:
            return None
        raise Mismatch("must be a word of the translation table", value)

    return read


# The way in: the text of a parameter to the source's value.


def parse_plain(kind: Kind, text: str) -> Any:
    """Parse the text of a parameter of ``kind``, strictly.

    Raises:
        Mismatch: when the text does not print back the same.
    """
    match kind:
        case Kind.INTEGER if _INTEGER.fullmatch(text) and text != "-0" and int(text) in _INT64:
            return int(text)
        case Kind.DECIMAL if _DECIMAL.fullmatch(text):
            return Decimal(text)
        case Kind.BOOLEAN if text in ("true", "false"):
            return text == "true"
        case Kind.DATE:
            return parse_date(text)
        case Kind.DATETIME:
            return parse_datetime(text)
        case Kind.STRING | Kind.ENUMERATION:
            return text
    raise Mismatch(f"must be a value of the type {kind}", text)


def parse_date(text: str) -> date:
    """An RFC 3339 full-date.

    Raises:
        Mismatch: for anything else.
    """
    try:
        if not _ISO_DATE.fullmatch(text):
            raise ValueError
        return date.fromisoformat(text)
    except ValueError as error:
        raise Mismatch("must be a date written as 2026-01-31", text) from error


def parse_datetime(text: str) -> datetime:
    """An RFC 3339 date-time, which always names its zone.

    Raises:
        Mismatch: for anything else.
    """
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise Mismatch("must be a time written as 2026-01-31T08:00:00+07:00", text) from error
    if moment.tzinfo is None or "T" not in text:
        raise Mismatch("must be a time that names its zone", text)
    return moment


def _words_for(field: Field, text: str) -> list[Any]:
    words = [word for word, meaning in (field.table or {}).items() if meaning == text]
    if not words and field.otherwise is Otherwise.KEEP:
        words = [text]
    if not words:
        raise Mismatch("must be a word of the code list", text)
    if field.stored is Stored.INTEGER:
        return [int(word) for word in words if _INTEGER.fullmatch(word)]
    return list(words)


def _booleans_for(field: Field, text: str) -> list[Any]:
    wanted = bool(parse_plain(Kind.BOOLEAN, text))
    words = field.true_words if wanted else field.false_words
    if field.stored is Stored.INTEGER:
        return [int(word) for word in sorted(words)] if words else [int(wanted)]
    return sorted(words) if words else [wanted]
