"""Values of a request's JSON as the legacy column stores them: the way back of a field.

Invariant: what is stored is read back as the value that was given, or nothing is stored. Whatever a
field does on the way out, its own converter says so (:func:`stored` asks it).
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from adapters.fields import Field, Kind, Mismatch, Near, Null, Otherwise, Stored
from adapters.fields.inward import parse_datetime, parse_plain
from adapters.fields.units import Rounding
from adapters.fields.written import write_json
from adapters.text.convert import Encoding, copied
from adapters.text.spellings import TooMany, Unwritable, usual
from exchange.lao import normalise, ordered

_MOST_DIGITS = 60
_TODAY = Encoding(None)


def why_not_written(field: Field) -> str | None:
    """Why no value of ``field`` can be written; None when it can."""
    if field.decode is not None and field.separator is not None:
        return "it is a list in an old encoding (decode)"
    # What is read trimmed, rounded or in one form is written as it is given.
    bare = replace(field, separator=None, normalise=None, decode=None, rounding=Rounding.REFUSE)
    reason = bare.unsearchable
    if reason:
        return f"it {reason}"
    if field.kind is Kind.BOOLEAN and (len(field.true_words) > 1 or len(field.false_words) > 1):
        return "several words are stored for true or false: declare a parameter with a table"
    return None


def read_json(body: bytes) -> Any:
    """The value of a body that was judged already; fractions keep every digit."""
    return json.loads(body, parse_float=Decimal)


def stored(field: Field, value: Any) -> Any:
    """What the column of ``field`` stores for ``value`` of the request's JSON.

    Raises:
        Mismatch: when the field has no such value, or would not read it back.
    """
    if value is None:
        if field.null is Null.REFUSE:
            raise Mismatch("must not be null", None)
        return None
    if field.separator is not None:
        if not isinstance(value, list):
            raise Mismatch("must be a list", value)
        kept: Any = field.separator.join(str(_single(field, item)) for item in value)
    else:
        kept = _single(field, value)
    if not _same(field.converter()(kept), value, field):
        raise Mismatch("would not be read back as it was given", value)
    return kept


def of_text(field: Field, text: str) -> Any:
    """What the column stores for the text of a path's variable.

    Raises:
        Mismatch: as :func:`stored`.
    """
    if field.kind in (Kind.INTEGER, Kind.DECIMAL, Kind.BOOLEAN):
        return stored(field, parse_plain(field.kind, text))
    return stored(field, text)


def text_of(value: Any) -> str:
    """The text that names a value of JSON in a path or a query."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Decimal):
        return format(value, "f")
    return str(value)


def _single(field: Field, value: Any) -> Any:
    return _WRITERS[field.kind](field, value)


def _string(field: Field, value: Any) -> str:
    if not isinstance(value, str):
        raise Mismatch("must be a text", value)
    if "\x00" in value:
        raise Mismatch("must not hold a NUL", value)
    text = value.strip() if field.trim else value
    return text if field.decode is None else _old(field.decode, field.stored, text)


def _old(encoding: Encoding, stored: Stored, text: str) -> Any:
    """The text in the encoding of the column, as its bytes or the characters that stand for them.

    Text of today in a column of old text would be unreadable to the owner's own program.
    """
    try:
        data = usual(encoding, text)
    except Unwritable as error:
        rule = f"has a letter that {encoding} cannot write: character {error.place + 1}"
        raise Mismatch(rule, text) from error
    except TooMany as error:
        raise Mismatch("has too many marks on one letter", text) from error
    if stored is not Stored.BYTES:
        return text if encoding == _TODAY else copied(data)
    return copied(data).encode("utf-8") if encoding.copied else data


def _integer(field: Field, value: Any) -> Any:
    if not isinstance(value, int) or isinstance(value, bool):
        raise Mismatch("must be a whole number", value)
    return _first(field, str(value))


def _decimal(field: Field, value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, int | Decimal | str):
        raise Mismatch("must be a decimal number", value)
    if isinstance(value, Decimal) and abs(value.adjusted()) > _MOST_DIGITS:
        raise Mismatch("has too many digits", value)
    return _first(field, text_of(value))


def _moment(field: Field, value: Any) -> Any:
    return _first(field, _text(value))


def _first(field: Field, text: str) -> Any:
    """The first of the spellings that a filter would look for: the usual one."""
    found = field.to_source(text)
    if not found:
        raise Mismatch("cannot be written in the form that the column has", text)
    return found[0].number if isinstance(found[0], Near) else found[0]


def _boolean(field: Field, value: Any) -> Any:
    if not isinstance(value, bool):
        raise Mismatch("must be true or false", value)
    words = field.true_words if value else field.false_words
    word = next(iter(words), None)
    if field.stored is Stored.INTEGER:
        return int(value) if word is None else _number(word)
    return value if word is None else word


def _enumeration(field: Field, value: Any) -> Any:
    text = _text(value)
    for word, meaning in (field.table or {}).items():
        if meaning == text:  # the first word of the table is the one that is written
            return _number(word) if field.stored is Stored.INTEGER else word
    if field.otherwise is Otherwise.KEEP and text not in (field.table or {}):
        return _number(text) if field.stored is Stored.INTEGER else text
    raise Mismatch("must be a word of the code list", value)


def _number(word: str) -> Any:
    return parse_plain(Kind.INTEGER, word)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise Mismatch("must be a text", value)
    return value


_WRITERS: dict[Kind, Callable[[Field, Any], Any]] = {
    Kind.STRING: _string,
    Kind.INTEGER: _integer,
    Kind.DECIMAL: _decimal,
    Kind.DATE: _moment,
    Kind.DATETIME: _moment,
    Kind.BOOLEAN: _boolean,
    Kind.ENUMERATION: _enumeration,
}


def _same(read: Any, given: Any, field: Field) -> bool:
    if field.separator is not None:
        return bool(read == given)
    if field.kind is Kind.DECIMAL:
        return Decimal(json.loads(write_json(read), parse_float=Decimal)) == Decimal(given)
    if field.kind is Kind.DATETIME and isinstance(read, str):
        gap = datetime.fromisoformat(read) - parse_datetime(given)
        # What is finer than a thousandth of a second is not given out either.
        return abs(gap) < timedelta(milliseconds=1)
    if field.kind is Kind.STRING:
        given = given.strip() if field.trim else given
        given = given if field.normalise is None else normalise(given).text
        table = None if field.decode is None else field.decode.table
        given = ordered(given) if table is not None and table.typed_order else given
    return bool(read == given)
