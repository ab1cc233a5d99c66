"""The SQL text of a mapping: read-only by its form, values only as bound parameters.

The query of a mapping is wrapped, never edited: ``SELECT columns FROM (query) AS saphan_q WHERE
filters AND keyset ORDER BY keys LIMIT n``. What is put together here is text of the mapping,
names that passed :data:`NAME`, and generated parameter names; a value never is.

:func:`check_select` is the first fence (the form of the text); the read-only session of
:mod:`adapters.sql` is the second, and the database account's rights should be the third.
Comments, backslashes in strings and dollar quotes are refused because databases read them
differently: MySQL executes ``/*! … */`` and takes ``\\'`` for a quote, PostgreSQL does neither.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,62}", re.ASCII)
MAX_SQL_LENGTH = 20_000

_TOKEN = re.compile(
    r"""
    (?P<string>'(?:[^'\\]|'')*')
  | (?P<quoted>"(?:[^"\\]|"")*"|`(?:[^`\\]|``)*`)
  | (?P<cast>::)
  | (?<!\w):(?P<parameter>[A-Za-z_][A-Za-z0-9_]*)
  | (?P<word>[A-Za-z_][A-Za-z0-9_]*)
  | (?P<number>[0-9][0-9A-Za-z_.]*)
  | (?P<refused>--|/\*|\*/|[#$\\;:'"`\x00])
  | (?P<other>.)
    """,
    re.ASCII | re.VERBOSE | re.DOTALL,
)
# Words that write, lock, change the session or reach the server's files. REPLACE is a function
# too, so it is refused only as REPLACE INTO, by its INTO.
# fmt: off
_REFUSED_WORDS = frozenset({
    "ALTER", "ANALYZE", "ATTACH", "CALL", "COMMIT", "COPY", "CREATE", "DELETE", "DETACH", "DO",
    "DROP", "EXEC", "EXECUTE", "GRANT", "HANDLER", "INSERT", "INTO", "LOAD", "LOAD_FILE", "LOCK",
    "MERGE", "PRAGMA", "PREPARE", "REINDEX", "RENAME", "REVOKE", "ROLLBACK", "SAVEPOINT",
    "SET_CONFIG", "TRUNCATE", "UPDATE", "VACUUM",
})
# fmt: on


class NotSelect(ValueError):
    """Why a text is not a query that only reads."""


@dataclass(frozen=True, slots=True)
class Select:
    """A query that passed :func:`check_select`.

    ``text`` has colons inside literals escaped, as SQLAlchemy's ``text()`` wants them.
    """

    text: str
    parameters: frozenset[str]


def check_select(sql: str) -> Select:
    """Check that ``sql`` is one SELECT (or WITH … SELECT) and find its ``:parameters``.

    Raises:
        NotSelect: when it begins with another word, holds a word that writes, a comment, a second
            statement or an unfinished literal.
    """
    if len(sql) > MAX_SQL_LENGTH:
        raise NotSelect(f"the query is longer than {MAX_SQL_LENGTH} characters")
    parts: list[str] = []
    words: list[str] = []
    parameters: set[str] = set()
    for token in _TOKEN.finditer(sql):
        text = token.group()
        match token.lastgroup:
            case "refused":
                raise NotSelect(
                    f"{text!r} is not allowed in a query (comments belong in the YAML, values in "
                    "parameters, and there is one statement without an end mark)"
                )
            case "string" | "quoted":
                text = text.replace(":", "\\:")
            case "parameter":
                parameters.add(token.group("parameter"))
            case "word":
                words.append(text.upper())
        parts.append(text)
    if not words or words[0] not in ("SELECT", "WITH"):
        raise NotSelect("a query must begin with SELECT or WITH")
    for word in words:
        if word in _REFUSED_WORDS:
            raise NotSelect(f"the word {word} is not allowed in a query that only reads")
    return Select("".join(parts).strip(), frozenset(parameters))


@dataclass(frozen=True, slots=True)
class Key:
    """One column of an order."""

    column: str
    descending: bool = False

    def __str__(self) -> str:
        return f"{self.column} desc" if self.descending else self.column


@dataclass(frozen=True, slots=True)
class Condition:
    """``column`` compared with ``count`` values, bound as ``{parameter}_0`` and so on."""

    column: str
    operator: str
    parameter: str
    count: int = 1

    def __str__(self) -> str:
        names = [f":{self.parameter}_{index}" for index in range(self.count)]
        if self.operator == "=" and self.count != 1:
            return f"saphan_q.{self.column} IN ({', '.join(names)})" if names else "1 = 0"
        return f"saphan_q.{self.column} {self.operator} {names[0]}"


LIMIT = "saphan_limit"
CURSOR = "saphan_key"


def wrap(
    select: Select,
    columns: Sequence[str],
    conditions: Sequence[Condition],
    order: Sequence[Key] = (),
    *,
    after: bool = False,
) -> str:
    """The statement that reads ``columns`` of the query, filtered, ordered and limited.

    With ``after`` it reads what follows the key bound as ``saphan_key_0``, ``saphan_key_1``, …
    """
    where = [str(condition) for condition in conditions]
    if after:
        where.append(_following(order))
    statement = f"SELECT {', '.join(f'saphan_q.{column}' for column in columns)}\n"
    statement += f"FROM (\n{select.text}\n) AS saphan_q"
    if where:
        statement += "\nWHERE " + "\n  AND ".join(where)
    if order:
        ends = (f"saphan_q.{key.column}{' DESC' if key.descending else ''}" for key in order)
        statement += "\nORDER BY " + ", ".join(ends)
    return f"{statement}\nLIMIT :{LIMIT}"


def _following(order: Sequence[Key]) -> str:
    """Rows after a key: ``a > :0 OR (a = :0 AND b > :1) OR …``.

    Row values, ``(a, b) > (:0, :1)``, would be shorter but know no mixed directions, and MariaDB
    does not use an index for them.
    """
    choices = []
    for index, key in enumerate(order):
        equal = [f"saphan_q.{order[n].column} = :{CURSOR}_{n}" for n in range(index)]
        sign = "<" if key.descending else ">"
        last = f"saphan_q.{key.column} {sign} :{CURSOR}_{index}"
        choices.append("(" + " AND ".join([*equal, last]) + ")")
    return "(" + " OR ".join(choices) + ")"
