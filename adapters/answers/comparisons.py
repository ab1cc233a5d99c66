"""The comparisons of a statement as the columns of the source take them.

A condition compares a column with a value of the field's own kind. A column may be of another: a
float is answered as the decimal that is nearest to it, SQLite keeps times as text, and PostgreSQL
compares no number with a text. Here a condition is written so that it finds every row whose answer
is the value, by the types that the database tells of the query's columns; SQLite tells none, so
there it is made to hold for whatever it may keep.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any, Final, TypeAlias

from adapters.answers.beginnings import begins
from adapters.answers.dialects import Dialect
from adapters.answers.statements import BEGINS, NEVER, Compares, Condition, OneOf, either
from adapters.answers.types import Held
from adapters.fields import Near
from adapters.fields.inward import ISO_DATE
from exchange.problems import Code, Problem

Types: TypeAlias = Mapping[str, Held]
Bind: TypeAlias = Callable[[Any], str]

NOT_TOLD: Final[Types] = {}
_NUMBERS: Final = (Near, Decimal, int)
_TEXTS: Final = (Held.TEXT, Held.LAX, Held.OWN, Held.ANY)
# How whole numbers and times of a day are answered.
_WHOLE: Final = re.compile(r"0|-?[1-9][0-9]*", re.ASCII)
_CLOCK: Final = re.compile(
    r"(?!-00:00:00\Z)-?(?:[0-9]{2}|[1-9][0-9]{2}):[0-5][0-9]:[0-5][0-9](?:\.(?!0{6})[0-9]{6})?",
    re.ASCII,
)
_NO_MOMENT: Final = re.compile(r"[0-9-]{10} [0-9:]{8}(?:\.[0-9]{1,6})?", re.ASCII)
_MOST_DECIMALS: Final = 6
_DIGITS_OF_A_FLOAT: Final = 15
_ULPS: Final = 1024  # what adapters.fields.outward lets sums of doubles gather
_SIX: Final = 6


def writer(
    dialect: Dialect, types: Types, values: dict[str, Any]
) -> Callable[[Condition | OneOf], str]:
    """What writes a condition for columns of ``types``, as far as the database tells them.

    Values that it compares with besides are added to ``values``. It raises a :class:`Problem`,
    ``SourceFailed``, where a text would have to compare as a number.
    """

    def bind(value: Any) -> str:
        name = f"saphan_w{len(values)}"
        values[name] = value
        return f":{name}"

    def write(one: Condition | OneOf) -> str:
        if isinstance(one, OneOf) or not one.count:
            return str(one)
        first = values[f"{one.parameter}_0"]
        held = types.get(one.column.lower(), dialect.untold)
        if isinstance(first, str) and one.operator == BEGINS:
            return one.with_nulls(begins(one, dialect, first, bind))
        if isinstance(first, str):
            texts = [values[name] for name in one.names]
            return one.with_nulls(_words(one, dialect, held, texts, bind))
        compare = _COMPARISONS.get((held, type(first)))
        if compare is None:
            return str(one)
        column, given = f"saphan_q.{one.column}", [values[name] for name in one.names]
        said = either([compare(column, one.operator, value, bind) for value in given])
        return one.with_nulls(said)

    return write


def _words(one: Condition, dialect: Dialect, held: Held, texts: Sequence[str], bind: Bind) -> str:
    """The comparison with ``texts``."""
    how = one.how
    if one.operator != "=":
        return one.plain
    signs = dialect.trimmed if how is Compares.TRIMMED else dialect.signs
    if how is Compares.LOOSELY or (how is Compares.AS_KEY and held not in _TEXTS):
        as_answered = _AS_ANSWERED.get(held)
        if as_answered is None:
            return one.plain
        column, asked = f"saphan_q.{one.column}", zip(one.names, texts, strict=True)
        return either([as_answered(column, name, text, bind) for name, text in asked])
    if not signs:
        return one.plain
    said = ", ".join([dialect.sign % f":{name}" for name in one.names])
    said = f"{signs % f'saphan_q.{one.column}'} IN ({said})"
    return said if dialect.alone else f"{one.plain} AND {said}"


# Texts of what is no text: a database reads "07", "1.5" or "2026-1-31", too. What is never answered
# is compared all the same where it finds nothing: PostgreSQL tells then what it cannot read.


def _whole(column: str, name: str, text: str, bind: Bind) -> str:
    return _if(_WHOLE.fullmatch(text), column, name)


def _of_a_day(column: str, name: str, text: str, bind: Bind) -> str:
    return _if(ISO_DATE.fullmatch(text), column, name)


def _of_a_clock(column: str, name: str, text: str, bind: Bind) -> str:
    return _if(_CLOCK.fullmatch(text), column, name)


def _if(answered: object, column: str, name: str) -> str:
    same = f"{column} = :{name}"
    return same if answered else f"({same} AND {NEVER})"


def _digits(column: str, name: str, text: str, bind: Bind) -> str:
    """As a number, for texts compare as floats do; and with the decimals that it is told with."""
    try:
        number = Decimal(text)
    except ArithmeticError:
        return NEVER
    if str(number) != text or not number.is_finite():
        return NEVER
    told = format(number, "f")
    return f"({column} = {bind(number)} AND CAST({column} AS CHAR) = {bind(told)})"


def _of_a_moment(column: str, name: str, text: str, bind: Bind) -> str:
    """MariaDB keeps days that are none (0000-00-00 00:00:00), too; they are told as they are."""
    same = f"{column} = :{name}"
    try:
        return _if(str(datetime.fromisoformat(text)) == text, column, name)
    except ValueError:
        told = _NO_MOMENT.fullmatch(text)
        return f"({same} AND CAST({column} AS CHAR) = :{name})" if told else NEVER


def _nothing(column: str, name: str, text: str, bind: Bind) -> str:
    """A float is not answered as a text."""
    return _if(None, column, name)


def _whatever(column: str, name: str, text: str, bind: Bind) -> str:
    """What SQLite holds: of a number it takes every spelling for the same."""
    same = f"{column} = :{name}"
    if _WHOLE.fullmatch(text):
        return same
    return f"({same} AND typeof({column}) NOT IN ('integer', 'real'))"


_AS_ANSWERED: Final[dict[Held, Callable[[str, str, str, Bind], str]]] = {
    Held.INTEGER: _whole,
    Held.DAY: _of_a_day,
    Held.CLOCK: _of_a_clock,
    Held.DIGITS: _digits,
    Held.MOMENT: _of_a_moment,
    Held.DOUBLE: _nothing,
    Held.SINGLE: _nothing,
    Held.ROUGH: _nothing,
    Held.ANY: _whatever,
}


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
