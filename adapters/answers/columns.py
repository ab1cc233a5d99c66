"""The values of a column, many at once: what :meth:`Field.converter` does one by one, but quicker.

A page has few columns and many rows, and a column mostly has values of one type, often the same
ones: so types are looked at once a column, values that need no change are left as they are, and
equal values are converted once. Invariant: the result, written as JSON, and whether there is one,
is that of the converter for each value.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Final, TypeAlias

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
_MOST, _LEAST = (1 << 63) - 1, -(1 << 63)
_DIGITS_OF_A_FLOAT = 15
_DIGITS_OF_A_DECIMAL = 28  # what the converter's arithmetic holds


def types_of(values: Values) -> Types:
    """The types of ``values``, that of null among them."""
    if values and type(values[0]) is str:
        with suppress(TypeError):  # one that is no text
            "".join(values)  # three times as fast as looking at each type
            return {str}
    return set(map(type, values))


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
        if types <= {int, NULL}:
            known = [value for value in values if value is not None] if NULL in types else values
            if not known or (max(known) <= _MOST and min(known) >= _LEAST):
                return values
        return [convert(value) for value in values]

    return read


def _decimals(convert: Converter, scale: int, emit: Emit) -> ColumnConverter:
    write: Callable[[str], Any] = str if emit is Emit.STRING else Written
    limit = 10.0 ** (_DIGITS_OF_A_FLOAT - scale)
    pattern = f"%.{scale}f"
    point = -scale - 1
    zeros = "." + "0" * scale
    minus_zero = f"-0{zeros}"
    before = f"(?:0|[1-9][0-9]{{0,{_DIGITS_OF_A_DECIMAL - scale - 1}}})"
    number = rf"-?{before}\.[0-9]{{{scale}}}"
    written_so = re.compile(f"{number}(?:,{number})*")

    def of_numbers(values: Values) -> Values | None:
        """Numbers that are what their text says: formatted and read back all at once."""
        if max(values) >= limit or min(values) <= -limit:
            return None
        texts = ",".join([pattern] * len(values)) % tuple(values)
        if minus_zero in texts or "n" in texts:  # nan is no number
            return None
        same = orjson.loads(f"[{texts}]") == list(values)
        return list(map(write, texts.split(","))) if same else None

    def of_texts(words: Sequence[str]) -> Values | None:
        """Numbers that have as many decimals as the scale has: written as they are."""
        texts = ",".join(words)
        if minus_zero in texts or not written_so.fullmatch(texts):
            return None
        if texts.count(",") >= len(words):  # a text of two numbers
            return None
        return list(map(write, words))

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


class _Memory(dict[Any, Any]):
    """What each value became."""

    def __init__(self, convert: Converter) -> None:
        self._convert = convert

    def __missing__(self, value: Any) -> Any:
        converted = self[value] = self._convert(value)
        return converted


def _twice(moments: Values) -> bool:
    """Whether one may be of an hour that a clock shows twice: such moments are equal to Python."""
    return any(moment is not None and moment.fold for moment in moments)


def _remembering(convert: Converter) -> ColumnConverter:
    def read(values: Values, types: Types) -> Values:
        kinds = types - {NULL}
        if len(kinds) > 1 or not kinds <= _REMEMBERED or (datetime in kinds and _twice(values)):
            return [convert(value) for value in values]
        memory = _Memory(convert)
        return list(map(memory.__getitem__, values))

    return read
