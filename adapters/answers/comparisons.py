"""The comparisons of a statement as the columns of the source take them.

:mod:`adapters.answers.statements` compares a column with a value of the field's own kind. A column
may be of another: a float is answered as the decimal that is nearest to it, SQLite keeps times as
text, and PostgreSQL compares no number with a text. Here such a comparison becomes one that finds
every row whose answer is the value, by the types that the database tells of the query's columns;
SQLite tells none, so there it is made to hold for whatever it may keep. Every other one is left
as it is, and so is the query of the mapping.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any, Final, TypeAlias

from adapters.answers.dialects import parts
from adapters.answers.statements import EXACTLY, KEY, either
from adapters.answers.types import Held
from adapters.fields import Near
from adapters.fields.inward import INTEGER
from exchange.problems import Code, Problem

Types: TypeAlias = Mapping[str, Held]
Bind: TypeAlias = Callable[[Any], str]

_NAME: Final = r"saphan_[a-z][0-9]+_[0-9]+"
_PARAMETER: Final = re.compile(_NAME, re.ASCII)
_COMPARED: Final = re.compile(
    rf"saphan_q\.(\w+) (?:(=|>=|<=|>|<) :({_NAME})\b|IN \((:{_NAME}(?:, :{_NAME})*)\))", re.ASCII
)
_KEY: Final = f"saphan_{KEY}"
_NUMBERS: Final = (Near, Decimal, int)
_OF_SQLITE: Final = frozenset({Near, Decimal, date, datetime})
_KINDS: Final = _OF_SQLITE | {int, bool}
_WORDS: Final = (Held.TEXT, Held.LAX, Held.OWN, Held.ANY)
_MOST_DECIMALS: Final = 6
_DIGITS_OF_A_FLOAT: Final = 15
_ULPS: Final = 1024  # what adapters.fields.outward lets sums of doubles gather
_SIX: Final = 6


def depends(values: Mapping[str, Any], dialect: str) -> bool:
    """Whether one of the compared ``values`` may have to be compared otherwise."""
    kinds = _OF_SQLITE if dialect == "sqlite" else _KINDS
    return any(
        type(value) in kinds or name.startswith(_KEY)
        for name, value in values.items()
        if _PARAMETER.fullmatch(name)
    )


def fitted(
    statement: str, values: Mapping[str, Any], types: Types | None
) -> tuple[str, Mapping[str, Any]]:
    """The statement and its values for columns of ``types``; None where the database tells none.

    Raises:
        Problem: ``SourceFailed`` where a text would have to compare as a number.
    """
    bound = dict(values)

    def bind(value: Any) -> str:
        name = f"saphan_w{len(bound)}"
        bound[name] = value
        return f":{name}"

    def change(found: re.Match[str]) -> str:
        names = [found[3]] if found[3] else [one[1:] for one in found[4].split(", ")]
        held = Held.ANY if types is None else types.get(found[1].lower(), Held.OTHER)
        if names[0].startswith(_KEY) and held is Held.INTEGER and not _is_whole(values[names[0]]):
            return "1 = 0"  # MariaDB takes "7x" for 7, and both it and PostgreSQL "07"
        # Bytes of an old encoding, in several spellings, compare as they are.
        if names[0].startswith(_KEY) and held in _WORDS and isinstance(values[names[0]], str):
            exact = f"saphan_{EXACTLY}{names[0].removeprefix(_KEY)}"
            bound[exact] = values[names[0]]
            return f"saphan_q.{found[1]} = :{exact}"
        said = _said(
            f"saphan_q.{found[1]}", found[2] or "=", [values[n] for n in names], held, bind
        )
        return found[0] if said is None else said

    head, query, tail = parts(statement)
    return head + query + _COMPARED.sub(change, tail), bound


def _is_whole(value: Any) -> bool:
    """Whether it may be what a column of whole numbers is answered as."""
    return not isinstance(value, str) or (bool(INTEGER.fullmatch(value)) and value != "-0")


def _said(column: str, operator: str, values: Sequence[Any], held: Held, bind: Bind) -> str | None:
    """The comparison in other words, or None where the plain one is right."""
    compare = _COMPARISONS.get((held, type(values[0])))
    if compare is None:
        return None
    return either([compare(column, operator, value, bind) for value in values])


# Numbers that stand for all floats which are answered as they.


def _between(column: str, operator: str, low: Any, high: Any, bind: Bind) -> str:
    if operator == "=" and low != high:
        return f"{column} BETWEEN {bind(low)} AND {bind(high)}"
    return f"{column} {operator} {bind(high if operator in ('>', '<=') else low)}"


def _double(column: str, operator: str, value: Near, bind: Bind) -> str:
    return _between(column, operator, *span(value), bind)


def span(value: Near) -> tuple[float, float]:
    """The first and the last double that is answered as ``value``."""
    middle = float(value.number)
    if abs(middle) >= 10.0 ** (_DIGITS_OF_A_FLOAT - value.scale):
        return middle, middle

    def room(ulp: float) -> float:
        return min(_ULPS * ulp, 10.0**-value.scale / 4)

    about = room(math.ulp(middle))  # the unit in the last place changes at powers of two
    return (
        middle - room(math.ulp(middle - about)),
        middle + room(math.ulp(middle + about)),
    )


def _rough(column: str, operator: str, value: Near | Decimal | int, bind: Bind) -> str:
    return _between(column, operator, *six_digits(_number(value)), bind)


def six_digits(number: Decimal) -> tuple[Decimal, Decimal]:
    """Between what a FLOAT of MariaDB is of which ``number`` is told: six digits, rounded."""
    bare = number.normalize()
    digits = len(bare.as_tuple().digits)
    if number.is_zero() or digits > _SIX:
        return number, number
    half = Decimal(5).scaleb(bare.adjusted() - _SIX)
    inner = half / 10 if digits == 1 and abs(bare.as_tuple().digits[0]) == 1 else half
    return (number - inner, number + half) if number > 0 else (number - half, number + inner)


def _single(column: str, operator: str, value: Near | Decimal, bind: Bind) -> str:
    """PostgreSQL reads a text without a type as the column's own."""
    return f"{column} {operator} {bind(format(_number(value), 'f'))}"


def _any_number(column: str, operator: str, value: Near | Decimal, bind: Bind) -> str:
    """A number of SQLite, or, for the owner of such a column, a text of it."""
    low, high = span(value) if isinstance(value, Near) else (value, value)
    said = _between(column, operator, low, high, bind)
    if operator != "=":
        return said
    texts = ", ".join(bind(text) for text in _texts_of(_number(value)))
    return f"({said} OR {column} IN ({texts}))"


def _number(value: Near | Decimal | int) -> Decimal:
    return value.number if isinstance(value, Near) else Decimal(value)


def _texts_of(number: Decimal) -> list[str]:
    bare = format(number.normalize(), "f")
    decimals = len(bare.partition(".")[2])
    more = range(max(1, decimals), max(_MOST_DECIMALS, decimals) + 1)
    return [bare, *(f"{number:.{count}f}" for count in more)]


# Days and moments that are kept as texts.


def _day(column: str, operator: str, value: date, bind: Bind) -> str:
    low = value.isoformat()
    high = f"{low} 00:00:00"
    if operator == "=":
        return f"{column} IN ({bind(low)}, {bind(high)})"
    return _between(column, operator, low, high, bind)


def _moment(column: str, operator: str, value: datetime, bind: Bind) -> str:
    """Texts sort by their clock; with T between day and time they stand after all with a blank."""
    if operator == "=":
        return f"{column} IN ({', '.join(map(bind, spellings(value)))})"
    clock = value.replace(tzinfo=None)
    times = _times(clock)
    day, time = clock.date().isoformat(), times[-1 if operator in (">", "<=") else 0]
    blank, t, border = (bind(one) for one in (f"{day} {time}", f"{day}T{time}", f"{day}T"))
    if operator in (">", ">="):
        return f"{column} {operator} {blank} AND ({column} < {border} OR {column} {operator} {t})"
    return f"{column} {operator} {t} AND ({column} {operator} {blank} OR {column} >= {border})"


def spellings(moment: datetime) -> list[str]:
    """The texts that are read as ``moment``: by the clock of its zone, or naming zone or UTC."""
    texts = []
    offset = moment.isoformat()[-6:]
    own = ("", offset) if offset[0] in "+-" else ("",)  # zones had seconds once
    for one, ends in ((moment, own), (_in_utc(moment), ("Z", "+00:00"))):
        clock = one.replace(tzinfo=None)
        day = clock.date().isoformat()
        times = _times(clock)
        if not clock.second and not clock.microsecond:
            times.append(f"{clock:%H:%M}")
        texts += [
            f"{day}{between}{time}{end}" for between in " T" for time in times for end in ends
        ]
    return list(dict.fromkeys(texts))


def _in_utc(moment: datetime) -> datetime:
    try:
        return moment.astimezone(UTC)
    except OverflowError:  # the first hours of the year 1
        return moment


def _times(clock: datetime) -> list[str]:
    """The ways to write a time of day, the shortest first, which sorts before the others."""
    whole, micro = f"{clock:%H:%M:%S}", f"{clock.microsecond:06d}"
    short = micro.rstrip("0")
    fractions = [one for one in (short, micro[:3], micro) if len(one) >= len(short)]
    return list(dict.fromkeys(f"{whole}.{one}" if one else whole for one in fractions))


# Columns of texts, and of numbers for truth values.


def _text(column: str, operator: str, value: int, bind: Bind) -> str:
    if operator != "=":
        return _refuse(column, operator, value, bind)
    return f"{column} = {bind(str(int(value)))}"


def _lax(column: str, operator: str, value: int, bind: Bind) -> str:
    """As texts they are equal beyond the 53 bits of a float, too."""
    return f"{column} {operator} {bind(str(int(value)) if operator == '=' else value)}"


def _refuse(column: str, operator: str, value: Any, bind: Bind) -> str:
    name = column.partition(".")[2]
    detail = f"the column {name} holds texts, which do not compare as numbers: cast it in the SQL"
    raise Problem(Code.SOURCE_FAILED, where="source", detail=detail, retryable=False)


def _zero_or_one(column: str, operator: str, value: bool, bind: Bind) -> str:
    return f"{column} {operator} {bind(int(value))}"


_Comparison: TypeAlias = Callable[[str, str, Any, Bind], str]
_COMPARISONS: Final[dict[tuple[Held, type], _Comparison]] = {
    (Held.ANY, Near): _any_number,
    (Held.ANY, Decimal): _any_number,
    (Held.ANY, date): _day,
    (Held.ANY, datetime): _moment,
    (Held.DOUBLE, Near): _double,
    (Held.SINGLE, Near): _single,
    (Held.SINGLE, Decimal): _single,
    **{(Held.ROUGH, kind): _rough for kind in _NUMBERS},
    (Held.TEXT, Near): _refuse,
    (Held.TEXT, Decimal): _refuse,
    (Held.TEXT, int): _text,
    (Held.TEXT, bool): _text,
    (Held.TEXT, date): _day,
    (Held.TEXT, datetime): _moment,
    (Held.LAX, Near): _double,
    (Held.LAX, int): _lax,
    (Held.LAX, bool): _lax,
    (Held.LAX, date): _day,
    (Held.LAX, datetime): _moment,
    (Held.INTEGER, bool): _zero_or_one,
}
