"""What the columns of a query hold, as far as pages and comparisons depend on it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import Enum, auto
from typing import TYPE_CHECKING, Any, Final, TypeAlias

if TYPE_CHECKING:
    from sqlalchemy import CursorResult

Columns: TypeAlias = Sequence[Sequence[Any]]
"""What the driver tells of the columns of a result (PEP 249)."""
NUMERIC: Final = 1700
"""The type of PostgreSQL whose numbers have any number of digits."""
_ROUGH: Final = ("mariadb", "mysql")
_FLOAT, _BIT = 4, 16  # of MariaDB; a DOUBLE is 5, and its text is read back as the same number
_ORDINAL: Final = 256 | 2048  # the flags of ENUM and SET
_INTERVAL: Final = 1186  # of PostgreSQL, whose months and years Python's has not
_FIRST_OWN: Final = 16_384  # of PostgreSQL; MariaDB has none


class Held(Enum):
    """What a column holds, as the database compares it."""

    INTEGER = auto()
    SINGLE = auto()
    """Floats of four bytes, told by a text that is read back as the same."""
    ROUGH = auto()
    """Floats of four bytes, told by six digits."""
    DOUBLE = auto()
    DAY = auto()
    DIGITS = auto()
    """Decimals of MariaDB, which reads every spelling of one."""
    MOMENT = auto()
    """A day and a time of MariaDB."""
    CLOCK = auto()
    """Hours, minutes and seconds of MariaDB."""
    TEXT = auto()
    LAX = auto()
    """Texts that compare with numbers as floats: MariaDB."""
    OWN = auto()
    """A type that somebody made, such as citext."""
    OTHER = auto()
    """What compares with a value of its field as it should."""
    ANY = auto()
    """Whatever a row has: SQLite."""


_HELD: Final[dict[str, dict[int, Held]]] = {
    "postgresql": {
        **dict.fromkeys((20, 21, 23), Held.INTEGER),
        700: Held.SINGLE,
        701: Held.DOUBLE,
        1082: Held.DAY,
        **dict.fromkeys((18, 19, 25, 1042, 1043), Held.TEXT),
    },
    "mariadb": {
        **dict.fromkeys((1, 2, 3, 8, 9, 13), Held.INTEGER),
        _FLOAT: Held.ROUGH,
        5: Held.DOUBLE,
        **dict.fromkeys((0, 246), Held.DIGITS),
        **dict.fromkeys((7, 12), Held.MOMENT),
        11: Held.CLOCK,
        **dict.fromkeys((10, 14), Held.DAY),
        **dict.fromkeys((15, 249, 250, 251, 252, 253, 254), Held.LAX),
    },
}
_HELD["mysql"] = _HELD["mariadb"]
TOLD: Final = frozenset(_HELD)
"""The dialects whose databases tell the types of a query's columns."""


def types_of(result: CursorResult[Any]) -> Mapping[str, Held]:
    """What each column of ``result`` holds, by its name in small letters."""
    return held_of(result.dialect.name, result.cursor.description)


def held_of(dialect: str, columns: Columns) -> Mapping[str, Held]:
    """What ``columns`` hold, as the driver of a database tells of them, one of :data:`TOLD`."""
    held = _HELD[dialect]
    return {
        str(name).lower(): held.get(code, Held.OWN if code >= _FIRST_OWN else Held.OTHER)
        for name, code, *_ in columns
    }


def unordered(
    dialect: str, cursor: Any, places: Sequence[int], columns: Columns | None = None
) -> str:
    """Why no page can begin after a value of one of the columns at ``places``; empty if one can.

    ``columns`` are those of the driver's ``cursor``, for who has asked it for them already.

    What the driver tells of such a value compares with the column as another value.
    """
    columns = columns or cursor.description
    if dialect == "postgresql" and any(columns[one][1] == _INTERVAL for one in places):
        return "an INTERVAL, which is read without its months and years: order by a number"
    if dialect in _ROUGH:
        if any(columns[one][1] == _FLOAT for one in places):
            return "a FLOAT, of which six digits are told: cast it to DOUBLE"
        if any(columns[one][1] == _BIT for one in places):
            return "a BIT, which is read as bytes: add 0 to it"
        sent = getattr(cursor, "_result", None)
        fields = getattr(sent, "fields", None) or ()
        if any(fields[one].flags & _ORDINAL for one in places if one < len(fields)):
            return "an ENUM or SET, which is ordered by numbers and compared by words: cast it"
    return ""
