"""What each database writes in its own way: values of a table, no change of a text.

SQL Server has TOP, Oracle FETCH FIRST and an alias without AS; and where a database takes ö for o,
or "a " for "a", texts compare sign by sign in words of its own.

SQL Server and Oracle are tested at the level of SQL only (tests/adapters/test_vendors.py).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from adapters.answers.types import Held

LIMIT: Final = "saphan_limit"


@dataclass(frozen=True, slots=True)
class Dialect:
    """How a database writes a statement.

    ``sign``, ``signs`` and ``trimmed`` are a value, a column, and a column without the blanks at
    its end as they compare sign by sign; empty where the plain comparison does.
    """

    verb: str = "SELECT"
    named: str = " AS saphan_q"
    limit: str = f"\nLIMIT :{LIMIT}"
    sign: str = ""
    signs: str = ""
    trimmed: str = ""
    alone: bool = False
    """Whether texts compare by signs alone. The plain comparison beside that finds an index, but
    MariaDB refuses it where a column of latin1 cannot hold one of the values."""
    wild: str = "%_"
    """What stands for other signs in a pattern of LIKE; empty where texts are ranges."""
    left: str = "LEFT(%s, %d)"
    """The first signs of a text."""
    likes: str = ""
    """A column as it compares sign by sign with a pattern; without it the first signs are compared
    with the value, whose type PostgreSQL could not tell."""
    untold: Held = Held.OTHER
    """What a column holds of which nothing is told."""


COMMON: Final = Dialect()
_MARIADB: Final = Dialect(
    sign="HEX(%s)",
    signs="HEX(CONVERT(%s USING utf8mb4))",
    trimmed="HEX(RTRIM(CONVERT(%s USING utf8mb4)))",
)
_DIALECTS: Final = {
    "mariadb": _MARIADB,
    "mysql": _MARIADB,
    "mssql": Dialect(
        verb=f"SELECT TOP (:{LIMIT})",
        limit="",
        sign="CAST(CAST(%s AS nvarchar(max)) AS varbinary(max))",
        signs="CAST(CAST(%s AS nvarchar(max)) AS varbinary(max))",
        trimmed="CAST(CAST(RTRIM(%s) AS nvarchar(max)) AS varbinary(max))",
        wild="%_[",
    ),
    "oracle": Dialect(named=" saphan_q", limit=f"\nFETCH FIRST :{LIMIT} ROWS ONLY"),
    # Of citext, which compares without case, char(n), whose cast cuts blanks off, and collations
    # that take signs for equal.
    "postgresql": Dialect(
        sign='concat(%s) COLLATE "C"',
        signs="concat(%s)",
        trimmed="RTRIM(concat(%s))",
        likes='concat(%s) COLLATE "C"',
    ),
    # Of COLLATE NOCASE and RTRIM.
    "sqlite": Dialect(
        sign="CAST(%s AS BLOB)",
        signs="CAST(%s AS BLOB)",
        trimmed="CAST(RTRIM(%s) AS BLOB)",
        wild="",
        left="SUBSTR(%s, 1, %d)",
        untold=Held.ANY,
    ),
}


def dialect_of(name: str) -> Dialect:
    """That of the database which SQLAlchemy calls ``name``."""
    return _DIALECTS.get(name, COMMON)
