"""The SQL text of a mapping: read-only by its form, values only as bound parameters.

The query of a mapping is wrapped, never edited: ``SELECT columns FROM (query) AS saphan_q WHERE
filters AND keyset ORDER BY keys LIMIT n``. What is put together here is text of the mapping,
names that passed :data:`NAME`, and generated parameter names; a value never is.

:func:`check_select` is the first fence (the form of the text); the read-only session of
:mod:`adapters.sources.sessions` is the second, and the database account's rights should be the
third. Comments, backslashes in strings and dollar quotes are refused because databases read them
differently: MySQL executes ``/*! … */`` and takes ``\\'`` for a quote, PostgreSQL does neither.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from enum import Enum, auto

from adapters.answers.dialects import COMMON, Dialect
from adapters.answers.dialects import LIMIT as LIMIT
from adapters.answers.orders import Key, following, order_by

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
REFUSED_WORDS = frozenset({
    "ALTER", "ANALYZE", "ATTACH", "CALL", "COMMIT", "COPY", "CREATE", "DELETE", "DETACH", "DO",
    "DROP", "EXEC", "EXECUTE", "GRANT", "HANDLER", "INSERT", "INTO", "LOAD", "LOAD_FILE", "LOCK",
    "MERGE", "PRAGMA", "PREPARE", "REINDEX", "RENAME", "REVOKE", "ROLLBACK", "SAVEPOINT",
    "SET_CONFIG", "TRUNCATE", "UPDATE", "VACUUM",
})
# fmt: on


class NotSelect(ValueError):
    """Why a text is not a query that only reads."""


class BadForm(ValueError):
    """Why a text is not one plain statement."""


@dataclass(frozen=True, slots=True)
class Select:
    """A query that passed :func:`check_select`.

    ``text`` has colons inside literals escaped, as SQLAlchemy's ``text()`` wants them; ``sql`` is
    as it was written.
    """

    text: str
    parameters: frozenset[str]
    sql: str


@dataclass(frozen=True, slots=True)
class Scanned:
    """One plain statement: its text for SQLAlchemy, its parameters and its words in capitals."""

    text: str
    parameters: frozenset[str]
    words: tuple[str, ...]


def scan(sql: str) -> Scanned:
    """Take one statement into its words and ``:parameters``.

    Raises:
        BadForm: when it is too long, or holds a comment, a second statement, an unfinished
            literal or a sign that databases read differently.
    """
    if len(sql) > MAX_SQL_LENGTH:
        raise BadForm(f"the statement is longer than {MAX_SQL_LENGTH} characters")
    parts: list[str] = []
    words: list[str] = []
    parameters: set[str] = set()
    for token in _TOKEN.finditer(sql):
        text = token.group()
        match token.lastgroup:
            case "refused":
                raise BadForm(
                    f"{text!r} is not allowed in a statement (comments belong in the YAML, values "
                    "in parameters, and there is one statement without an end mark)"
                )
            case "string" | "quoted":
                text = text.replace(":", "\\:")
            case "parameter":
                parameters.add(token.group("parameter"))
            case "word":
                words.append(text.upper())
        parts.append(text)
    return Scanned("".join(parts).strip(), frozenset(parameters), tuple(words))


def check_select(sql: str) -> Select:
    """Check that ``sql`` is one SELECT (or WITH … SELECT) and find its ``:parameters``.

    Raises:
        NotSelect: when it begins with another word, holds a word that writes, or :func:`scan`
            refuses its form.
    """
    try:
        found = scan(sql)
    except BadForm as error:
        raise NotSelect(str(error)) from error
    if not found.words or found.words[0] not in ("SELECT", "WITH"):
        raise NotSelect("a query must begin with SELECT or WITH")
    for word in found.words:
        if word in REFUSED_WORDS:
            raise NotSelect(f"the word {word} is not allowed in a query that only reads")
    return Select(found.text, found.parameters, sql)


NEVER = "1 = 0"
BEGINS = "begins with"
"""The operator of a condition on the beginning of a text; each database writes it in its own way
(:mod:`adapters.answers.beginnings`)."""


class Compares(Enum):
    """How a column compares with texts."""

    LOOSELY = auto()
    """As the database takes them for equal."""
    EXACTLY = auto()
    """Sign by sign, whatever the collation."""
    TRIMMED = auto()
    """Sign by sign but for blanks at the end of what is stored."""
    AS_KEY = auto()
    """Sign by sign where the column holds texts; of others only as the value is answered."""


@dataclass(frozen=True, slots=True)
class Condition:
    """``column`` compared with ``count`` values, bound as ``{parameter}_0`` and so on.

    With ``or_null`` it holds for nulls, too. Compared with no value it never holds. How a number, a
    day or a time compares is said for the column's type (:mod:`adapters.answers.comparisons`).
    """

    column: str
    operator: str
    parameter: str
    count: int = 1
    or_null: bool = False
    how: Compares = Compares.LOOSELY

    @property
    def names(self) -> list[str]:
        return [f"{self.parameter}_{index}" for index in range(self.count)]

    @property
    def plain(self) -> str:
        """The comparison as most databases take it, but for nulls."""
        if self.operator == BEGINS:
            return f"saphan_q.{self.column} LIKE :{self.parameter}_0"
        if self.operator != "=" or self.count == 1:
            return f"saphan_q.{self.column} {self.operator} :{self.parameter}_0"
        names = ", ".join([f":{name}" for name in self.names])
        return f"saphan_q.{self.column} IN ({names})" if names else NEVER

    def with_nulls(self, said: str) -> str:
        return f"({said} OR saphan_q.{self.column} IS NULL)" if self.or_null else said

    def __str__(self) -> str:
        return self.with_nulls(self.plain)


@dataclass(frozen=True, slots=True)
class OneOf:
    """``columns`` together equal one of ``count`` keys, bound as ``{parameter}_{key}_{part}``."""

    columns: tuple[str, ...]
    parameter: str
    count: int

    def __str__(self) -> str:
        if len(self.columns) == 1:
            names = ", ".join(f":{self.parameter}_{number}_0" for number in range(self.count))
            return f"saphan_q.{self.columns[0]} IN ({names})"
        return either([f"({self._equal(number)})" for number in range(self.count)])

    def _equal(self, number: int) -> str:
        return " AND ".join(
            f"saphan_q.{column} = :{self.parameter}_{number}_{part}"
            for part, column in enumerate(self.columns)
        )


def either(choices: Sequence[str]) -> str:
    """A balanced choice: SQLite does not follow a long chain of them."""
    if len(choices) == 1:
        return choices[0]
    middle = len(choices) // 2
    return f"({either(choices[:middle])} OR {either(choices[middle:])})"


@dataclass(frozen=True, slots=True)
class Statement:
    """What is asked of a query; written when it is known how the database and its columns compare.

    It reads ``columns``, filtered, ordered and limited. With ``after`` it reads what follows the
    key bound as ``saphan_key_0``, ``saphan_key_1``, …, of whose values those numbered ``nulls`` are
    null. With ``counts``, what stands for a number, it counts.
    """

    select: Select
    columns: Sequence[str]
    conditions: Sequence[Condition | OneOf]
    order: Sequence[Key] = ()
    after: bool = False
    nulls: Collection[int] = ()
    counts: str = ""

    def write(
        self,
        dialect: Dialect = COMMON,
        say: Callable[[Condition | OneOf], str] = str,
        query: str = "",
    ) -> str:
        """The text, in which ``say`` writes the conditions and ``query`` may stand for its own."""
        where = [say(condition) for condition in self.conditions]
        if self.after:
            where.append(following(self.order, self.nulls))
        wanted = self.counts or ", ".join([f"saphan_q.{column}" for column in self.columns])
        verb, limit = ("SELECT", "") if self.counts else (dialect.verb, dialect.limit)
        text = f"{verb} {wanted}\nFROM (\n{query or self.select.text}\n){dialect.named}"
        if where:
            text += "\nWHERE " + "\n  AND ".join(where)
        if self.order:
            text += "\nORDER BY " + order_by(self.order)
        return text + limit


def count(select: Select, conditions: Sequence[Condition], *, estimated: bool = False) -> Statement:
    """The statement that counts the rows of the query that meet ``conditions``.

    When the number is to be ``estimated``, the statement that would give them: it is not run.
    """
    counts = "1 AS saphan_one" if estimated else "COUNT(*)"
    return Statement(select, (), conditions, counts=counts)
