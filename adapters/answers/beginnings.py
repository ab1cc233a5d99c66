"""Texts that begin with a text: conditions that an index can answer, without a sign of a pattern.

SQLite walks along an index for a range, in the column's own collation; others for LIKE with what is
before the first wildcard (PostgreSQL with an index of ``text_pattern_ops`` or COLLATE "C"). What a
caller gives is a value, and signs that mean others in a pattern are escaped in it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from adapters.answers.dialects import Dialect
from adapters.answers.statements import Compares, Condition

ESCAPE: Final = "!"
_LAST: Final = "\U0010ffff"


def begins(one: Condition, dialect: Dialect, text: str, bind: Callable[[Any], str]) -> str:
    """The condition that a column begins with ``text``; it is bound as the condition says, too."""
    column, given = f"saphan_q.{one.column}", f":{one.parameter}_0"
    left = dialect.left % (column, len(text))

    def like(compared: str) -> str:
        return f"{compared} LIKE {bind(pattern(text, dialect.wild))} ESCAPE '{ESCAPE}'"

    if dialect.wild:
        said = like(column)
    else:
        # A number that the field answers as a text sorts before all texts.
        said = f"{column} >= {given} AND {column} < {bind(text + _LAST)}"
        said += f" AND (typeof({column}) = 'text' OR {left} = {given})"
    if not dialect.signs or (one.how is Compares.LOOSELY and not dialect.alone):
        return said
    exact = like(dialect.likes % column) if dialect.likes else ""
    exact = exact or f"{dialect.signs % left} = {dialect.sign % given}"
    return exact if dialect.alone else f"{said} AND {exact}"


def pattern(text: str, wild: str) -> str:
    """The pattern of LIKE for texts that begin with ``text``."""
    for sign in (ESCAPE, *wild):
        text = text.replace(sign, ESCAPE + sign)
    return f"{text}%"
