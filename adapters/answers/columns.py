"""The values of a column, many at once: what :meth:`Field.converter` does one by one, but quicker.

A page has few columns and many rows, and a column mostly has values of one type, often the same
ones: so types are looked at once a column, values that need no change are left as they are, and
equal values are converted once. Invariant: the result, written as JSON, and whether there is one,
is that of the converter for each value.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from datetime import date, datetime
from decimal import Decimal
from operator import eq
from typing import Annotated, Any, Final, TypeAlias

import msgspec
import orjson

from adapters.fields import Converter, Emit, Field, Kind, Null
from adapters.fields.written import Written

Values: TypeAlias = Sequence[Any]
Types: TypeAlias = set[type]
ColumnConverter: TypeAlias = Callable[[Values, Types], Values]
"""From the driver's values of a column, and the types they have, to those to be written."""

NULL: Final = type(None)
# Types whose equal values are the same value: 1, 1.0 and True are not, nor 1.0 and 1.00.
_REMEMBERED: Final = frozenset({str, int, date, datetime})
# Types that msgspec takes nothing else for; it looks at a column in a quarter of Python's time.
_OF_ONE_TYPE: Final = {kind: tuple[kind, ...] for kind in (str, int, date, datetime)}  # type: ignore[valid-type]
_TIMES: Final = (date, datetime)
_INT64: TypeAlias = Annotated[int, msgspec.Meta(ge=-(1 << 63), le=(1 << 63) - 1)]
_INTEGERS: Final = tuple[_INT64 | None, ...]
_NUMBERS: Final = msgspec.json.Decoder(list[Written])
_DIGITS_OF_A_FLOAT = 15
_DIGITS_OF_A_DECIMAL = 28  # what the converter's arithmetic holds


def types_of(values: Values) -> Types:
    """The types of ``values``, that of null among them."""
    kind = type(values[0]) if values else NULL
    if kind in _OF_ONE_TYPE and _fits(values, _OF_ONE_TYPE[kind]):
        return {kind}
    return set(map(type, values))


def _fits(values: Values, kind: Any) -> bool:
    """Whether the column is one of the type ``kind``, as msgspec reads types."""
    try:
        msgspec.convert(values, kind, builtin_types=_TIMES)  # a text is no day
    except (msgspec.ValidationError, UnicodeError):  # the latter for lone surrogates
        return False
    return True


def column_converter(field: Field) -> ColumnConverter:
    """What makes the values of a column those of ``field``.

    The function raises :class:`adapters.fields.Mismatch`. A text with lone surrogates passes it; it
    cannot be written as JSON. A date may stay one: it is written as the text that it stands for.
    """
    convert = field.converter()
    quick = _quick(field, convert)
    if field.null is not Null.REFUSE:
        return quick

    def read(values: Values, types: Types) -> Values:
        return [convert(value) for value in values] if NULL in types else quick(values, types)

    return read


def _quick(field: Field, convert: Converter) -> ColumnConverter:
    match field.kind:
        case Kind.STRING if field.plain:
            return _as_they_are(str, _remembering(convert))
        case Kind.DATE if field.plain:
            return _as_they_are(date, _remembering(convert))
        case Kind.INTEGER if field.plain:
            return _integers(convert)
        case Kind.DECIMAL if field.plain and field.scale:
            return _decimals(convert, field.scale, field.emit)
        case Kind.DECIMAL | Kind.INTEGER:
            return lambda values, types: [convert(value) for value in values]
    return _remembering(convert)


def _as_they_are(kind: type, otherwise: ColumnConverter) -> ColumnConverter:
    """For values of exactly this type, which JSON is written of at once."""
    known = {kind, NULL}

    def read(values: Values, types: Types) -> Values:
        return values if types <= known else otherwise(values, types)

    return read


def _integers(convert: Converter) -> ColumnConverter:
    def read(values: Values, types: Types) -> Values:
        if types <= {int, NULL} and _fits(values, _INTEGERS):
            return values
        return [convert(value) for value in values]

    return read


def _decimals(convert: Converter, scale: int, emit: Emit) -> ColumnConverter:
    as_text = emit is Emit.STRING
    write: Callable[[str], Any] = str if as_text else Written
    limit = 10.0 ** (_DIGITS_OF_A_FLOAT - scale)
    whole = max(1, int(limit))
    safe = tuple[
        Annotated[int, msgspec.Meta(gt=-whole, lt=whole)]
        | Annotated[float, msgspec.Meta(gt=-limit, lt=limit)],
        ...,
    ]
    pattern = f"%.{scale}f"
    point = -scale - 1
    zeros = "." + "0" * scale
    minus_zero = f"-0{zeros}"
    before = f"(?:0|[1-9][0-9]{{0,{_DIGITS_OF_A_DECIMAL - scale - 1}}}+)"
    number = rf"-?{before}\.[0-9]{{{scale}}}"
    written_so = re.compile(f"{number}(?:,{number})*+")

    def of_numbers(values: Values) -> Values | None:
        """Numbers that are what their text says: formatted and read back all at once."""
        if not _fits(values, safe):  # nan neither
            return None
        texts = ",".join([pattern] * len(values)) % tuple(values)
        if minus_zero in texts or orjson.loads(f"[{texts}]") != list(values):
            return None
        return texts.split(",") if as_text else _NUMBERS.decode(f"[{texts}]")

    def of_texts(words: Sequence[str]) -> Values | None:
        """Numbers that have as many decimals as the scale has: written as they are."""
        texts = ",".join(words)
        if minus_zero in texts or not written_so.fullmatch(texts):
            return None
        if texts.count(",") >= len(words):  # a text of two numbers
            return None
        return words if as_text else _NUMBERS.decode(f"[{texts}]")

    def of_decimal(value: Any) -> Any:
        text = str(value)
        # As many decimals as the scale has: the value is written as it is.
        short = len(text) <= _DIGITS_OF_A_DECIMAL
        if value and short and text[point : point + 1] == "." and "E" not in text:
            return write(text)
        return convert(value)

    def of_whole(value: Any) -> Any:
        return write(f"{value}{zeros}") if -limit < value < limit else convert(value)

    writers: dict[type, Converter] = {Decimal: of_decimal, int: of_whole}

    def read(values: Values, types: Types) -> Values:
        written = None
        if types == {Decimal}:
            written = of_texts(list(map(str, values)))
        elif types == {str}:
            written = of_texts(values)
        elif types and types <= {int, float}:
            written = of_numbers(values)
        if written is not None:
            return written
        return [writers.get(type(value), convert)(value) for value in values]

    return read


def _twice(moments: Values) -> bool:
    """Whether one may be of an hour that a clock shows twice: such moments are equal to Python."""
    return any(moment is not None and moment.fold for moment in moments)


def _remembering(convert: Converter) -> ColumnConverter:
    def read(values: Values, types: Types) -> Values:
        kinds = types - {NULL}
        if len(kinds) > 1 or not kinds <= _REMEMBERED or (datetime in kinds and _twice(values)):
            return [convert(value) for value in values]
        known = {value: convert(value) for value in dict.fromkeys(values)}
        if kinds == {str} and all(map(eq, known, known.values())):
            return values
        return list(map(known.__getitem__, values))

    return read
