"""A :class:`Field`: how one column becomes one member of the answer, and a filter's value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, tzinfo
from decimal import Decimal
from typing import Any

from adapters.fields.calendars import Calendar, in_every_script
from adapters.fields.computing import Computation
from adapters.fields.forms import Form as WrittenForm
from adapters.fields.forms import form_of
from adapters.fields.inward import INTEGER, Near, parse_date, parse_datetime, parse_plain
from adapters.fields.outward import (
    boolean_reader,
    date_reader,
    datetime_reader,
    decimal_writer,
    integer,
    listed,
    old_text,
    string,
    text_of,
    translator,
    whole_number_of,
    year_reader,
)
from adapters.fields.units import Rounding, Unit
from adapters.fields.words import (
    Converter,
    Emit,
    Kind,
    Mismatch,
    Null,
    Otherwise,
    Schema,
    Stored,
)
from adapters.text.columns import Form
from adapters.text.convert import Encoding
from adapters.text.spellings import MOST, TooMany, as_bytes, as_characters


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
    decode: Encoding | None = None
    normalise: Form | None = None
    unit: Unit | None = None
    rounding: Rounding = Rounding.REFUSE
    calendar: Calendar = Calendar.GREGORIAN
    years_from: int | None = None
    compute: Computation | None = None

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns of which the value is made."""
        return (self.column,) if self.compute is None else self.compute.columns

    @property
    def searchable(self) -> bool:
        """Whether the source can compare the column with a value of the field."""
        return not self.unsearchable

    @property
    def unsearchable(self) -> str:
        """Why the source cannot compare the column with a value of the field, if so."""
        if self.compute is not None:
            return "is computed"
        if self.separator is not None:
            return "is a list"
        if self.normalise is not None:
            return "is brought to one form (normalise): its spellings cannot be counted"
        if self.decode is not None and self.trim:
            return "is trimmed after decoding: trim it in the SQL of the query"
        if self.rounding is not Rounding.REFUSE:
            return "is rounded: several numbers of the source become one"
        if self.unit is not None and not self.unit.turns_back:
            return f"is multiplied by {self.unit.factor}, which has no exact way back"
        return ""

    @property
    def exact(self) -> bool:
        """Whether the source must compare sign by sign: ö and o are two letters of old text."""
        return self.decode is not None and self.stored is not Stored.BYTES

    @property
    def plain(self) -> bool:
        """Whether a value of the right type is answered as it is stored, and never as null."""
        return (
            self.compute is None
            and self.separator is None
            and not (self.null_words or self.trim)
            and self.decode is None
            and self.normalise is None
            and self.unit is None
            and self.rounding is Rounding.REFUSE
            and self.calendar is Calendar.GREGORIAN
            and self.years_from is None
            and self.format is None
        )

    @property
    def form(self) -> WrittenForm | None:
        """How a date or time is written, where the column holds texts of a form."""
        pattern = self.format
        if pattern is None and self.calendar is not Calendar.GREGORIAN:
            pattern = "%Y-%m-%d" if self.kind is Kind.DATE else "%Y-%m-%d %H:%M:%S"
        return None if pattern is None else form_of(pattern, self.calendar, self.years_from)

    @property
    def path(self) -> tuple[str, ...]:
        return tuple(self.name.split("."))

    @property
    def pointer(self) -> str:
        return "/" + "/".join(self.path)

    def converter(self) -> Converter:
        """A function from the driver's value to the value to be written, None for a null.

        Of a computed field it takes the values of all its columns.

        The function raises :class:`Mismatch`.
        """
        convert = _single(self)
        separator = self.separator
        if separator is not None:
            convert = listed(convert, separator)
        null_words, trim, refuse = self.null_words, self.trim, self.null is Null.REFUSE
        compute = self.compute
        decode = old_text(self.decode, self.normalise) if compute is None else compute.reader()

        def read(value: Any) -> Any:
            if isinstance(value, bytearray | memoryview):
                value = bytes(value)
            if decode is not None:
                value = decode(value)
            elif isinstance(value, bytes):
                value = text_of(value, self.kind)
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
                return [text] if self.decode is None else _spellings(self.decode, self.stored, text)
            case Kind.ENUMERATION:
                return _words_for(self, text)
            case Kind.BOOLEAN:
                return _booleans_for(self, text)
            case Kind.DATE:
                return self._dates_for(parse_date(text))
            case Kind.DATETIME:
                return self._dates_for(self._local(text))
            case Kind.INTEGER if self.is_year:
                return _years_for(self, parse_plain(self.kind, text))
            case kind:
                number = parse_plain(kind, text)
                if self.unit is not None:
                    return [_inward(self.unit, number)]
                near = kind is Kind.DECIMAL and self.scale is not None
                return [Near(number, self.scale or 0) if near else number]

    @property
    def is_year(self) -> bool:
        """Whether a whole number is a year of a calendar."""
        return self.kind is Kind.INTEGER and (
            self.calendar is not Calendar.GREGORIAN
            or self.format is not None
            or self.years_from is not None
        )

    def _local(self, text: str) -> datetime:
        """The moment with the clock of the column's zone, which it still names."""
        try:
            return parse_datetime(text).astimezone(self.zone)
        except OverflowError as error:
            raise Mismatch("must be a time of the years 1 to 9999", text) from error

    def _dates_for(self, moment: date) -> list[Any]:
        if self.format is not None:
            form = self.form
            if isinstance(moment, datetime):
                moment = moment.replace(tzinfo=None)
            return [] if form is None else list(form.spellings(moment))
        try:
            return [moment.replace(year=moment.year + self.calendar.shift)]
        except ValueError as error:
            raise Mismatch("is no day of a column of Buddhist dates", moment) from error

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


def _single(field: Field) -> Converter:
    match field.kind:
        case Kind.STRING:
            return string
        case Kind.INTEGER:
            if field.is_year:
                return year_reader(field.calendar, field.format, field.years_from)
            if field.unit is None and field.rounding is Rounding.REFUSE:
                return integer
            return whole_number_of(field.unit, field.rounding)
        case Kind.DECIMAL:
            return decimal_writer(field.scale, field.emit, field.unit, field.rounding)
        case Kind.DATE:
            return date_reader(field.form, field.calendar)
        case Kind.DATETIME:
            return datetime_reader(field.form, field.zone, field.calendar)
        case Kind.BOOLEAN:
            return boolean_reader(field.true_words, field.false_words)
        case Kind.ENUMERATION:
            return translator(field.table or {}, field.otherwise)


def _inward(unit: Unit, number: Any) -> Decimal:
    try:
        return unit.inward(Decimal(number))
    except ArithmeticError as error:
        raise Mismatch("has too many digits", number) from error


def _years_for(field: Field, common: int) -> list[Any]:
    year = common + field.calendar.shift
    if field.format is None:
        if field.years_from is None:
            return [year]
        if 0 <= year < 100:  # is read as another year
            return []
        return [year, year % 100] if 0 <= year - field.years_from < 100 else [year]
    if field.format == "%Y":
        return in_every_script([f"{year:04d}"]) if 0 <= year <= 9999 else []
    first = field.years_from or field.calendar.years_from
    return in_every_script([f"{year % 100:02d}"]) if 0 <= year - first < 100 else []


def _spellings(encoding: Encoding, stored: Stored, text: str) -> list[Any]:
    """All spellings; their number is a power of two, so that statements have few forms."""
    try:
        found: list[Any] = list(
            (as_bytes if stored is Stored.BYTES else as_characters)(encoding, text)
        )
    except TooMany as error:
        rule = (
            f"has more than {MOST} spellings in {encoding}: ask for less of it, or by another key"
        )
        raise Mismatch(rule, text) from error
    if not found:
        return []
    return found + found[-1:] * ((1 << (len(found) - 1).bit_length()) - len(found))


def _words_for(field: Field, text: str) -> list[Any]:
    words = [word for word, meaning in (field.table or {}).items() if meaning == text]
    if field.otherwise is Otherwise.KEEP and text not in (field.table or {}):
        words.append(text)
    if not words:
        raise Mismatch("must be a word of the code list", text)
    if field.stored is Stored.INTEGER:
        return [int(word) for word in words if INTEGER.fullmatch(word)]
    return list(words)


def _booleans_for(field: Field, text: str) -> list[Any]:
    wanted = bool(parse_plain(Kind.BOOLEAN, text))
    words = field.true_words if wanted else field.false_words
    if field.stored is Stored.INTEGER:
        return [int(word) for word in sorted(words)] if words else [int(wanted)]
    return sorted(words) if words else [wanted]
