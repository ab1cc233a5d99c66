"""The statement of a request as each database writes it: made once, changed where one differs.

:func:`adapters.answers.statements.wrap` writes what most databases understand. Here it gets the
form of the others: SQL Server's TOP, Oracle's FETCH FIRST and an alias without AS, and a comparison
sign by sign where the database takes ö for o, or "a " for "a". Only text of that module is
changed: the query of the mapping, which stands between :data:`OPENS` and :data:`CLOSES`, never is.

SQL Server and Oracle are tested at the level of SQL only (tests/adapters/test_vendors.py).
"""

from __future__ import annotations

import re
from collections.abc import Callable

from adapters.answers.statements import CLOSES, EXACTLY, LIMIT, OPENS, TRIMMED

_VALUE = rf":saphan_[{EXACTLY}{TRIMMED}][0-9]\w*"
_EXACT = re.compile(
    rf"(saphan_q\.\w+) (?:= ({_VALUE})|IN \(({_VALUE}(?:, {_VALUE})*)\))",
    re.ASCII,
)
_BESIDE_SIGNS = re.compile(rf"{_EXACT.pattern} AND (?=HEX\()", re.ASCII)
_PAGE = f"\nLIMIT :{LIMIT}"
# How a column and a value are compared besides; the plain comparison stays: it finds an index.
_SIGNS = {
    "mariadb": ("HEX(CONVERT({} USING utf8mb4))", "HEX({})"),
    "mssql": ("CAST(CAST({} AS nvarchar(max)) AS varbinary(max))",) * 2,
    # Of citext, which compares without case, char(n), whose cast cuts blanks off, and collations
    # that take signs for equal.
    "postgresql": ("concat({})", 'concat({}) COLLATE "C"'),
    "sqlite": ("CAST({} AS BLOB)",) * 2,  # of COLLATE NOCASE and RTRIM
}
_SIGNS["mysql"] = _SIGNS["mariadb"]
# The column without the blanks at its end, which are taken away before it is read.
_WITHOUT_BLANKS = {
    "mariadb": "HEX(RTRIM(CONVERT({} USING utf8mb4)))",
    "mssql": "CAST(CAST(RTRIM({}) AS nvarchar(max)) AS varbinary(max))",
    "postgresql": "RTRIM(concat({}))",
    "sqlite": "CAST(RTRIM({}) AS BLOB)",
}
_WITHOUT_BLANKS["mysql"] = _WITHOUT_BLANKS["mariadb"]


def in_dialect(statement: str, dialect: str) -> str:
    """``statement`` for the database of ``dialect`` (SQLAlchemy's name)."""
    signs = _SIGNS.get(dialect)
    change = _FORMS.get(dialect)
    if signs is None and change is None:
        return statement
    head, query, tail = parts(statement)
    if signs is not None:
        trimmed = _WITHOUT_BLANKS[dialect]
        tail = _EXACT.sub(lambda found: _by_signs(found, *signs, trimmed), tail)
    return "".join(change(head, query, tail) if change is not None else (head, query, tail))


def by_signs_alone(statement: str) -> str:
    """``statement`` without the comparisons that one by signs stands beside, which need an index
    to be of use. MariaDB refuses them where a column of latin1 cannot hold one of the values."""
    return _BESIDE_SIGNS.sub("", statement)


def parts(statement: str) -> tuple[str, str, str]:
    """What stands before the mapping's query, the query, and what follows it."""
    head, opens, rest = statement.partition(OPENS)
    query, closes, tail = rest.rpartition(CLOSES)
    return head, f"{opens}{query}", f"{closes}{tail}"


def _by_signs(found: re.Match[str], of_column: str, of_value: str, trimmed: str) -> str:
    names = (found[2] or found[3]).split(", ")
    values = ", ".join(of_value.format(name) for name in names)
    signs = trimmed if names[0].startswith(f":saphan_{TRIMMED}") else of_column
    return f"{found[0]} AND {signs.format(found[1])} IN ({values})"


def _sql_server(head: str, query: str, tail: str) -> tuple[str, str, str]:
    if tail.endswith(_PAGE):
        head = head.replace("SELECT ", f"SELECT TOP (:{LIMIT}) ", 1)
        tail = tail.removesuffix(_PAGE)
    return head, query, tail


def _oracle(head: str, query: str, tail: str) -> tuple[str, str, str]:
    if tail.endswith(_PAGE):
        tail = tail.removesuffix(_PAGE) + f"\nFETCH FIRST :{LIMIT} ROWS ONLY"
    return head, query, tail.replace(CLOSES, CLOSES.replace(" AS ", " "), 1)


_FORMS: dict[str, Callable[[str, str, str], tuple[str, str, str]]] = {
    "mssql": _sql_server,
    "oracle": _oracle,
}
