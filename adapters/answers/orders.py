"""The order of a list as SQL, and the rows that follow one of it: the same on every database.

Databases differ in where they put nulls. A key therefore says it: it is never null, or its nulls
stand first or last, whichever way the rest runs. The last key of every order is never null and
tells rows apart, so that each row has one place.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

CURSOR = "saphan_key"


class Nulls(StrEnum):
    """Where the rows without a value stand."""

    NEVER = "never null"
    FIRST = "nulls first"
    LAST = "nulls last"


@dataclass(frozen=True, slots=True)
class Key:
    """One column of an order."""

    column: str
    descending: bool = False
    nulls: Nulls = Nulls.NEVER

    def __str__(self) -> str:
        return f"{self.column} desc" if self.descending else self.column

    def turned(self) -> Key:
        """The other way round; nulls stay where they are."""
        return replace(self, descending=not self.descending)


def order_by(order: Sequence[Key]) -> str:
    """What stands after ORDER BY."""
    ends = []
    for key in order:
        column = f"saphan_q.{key.column}"
        if key.nulls is not Nulls.NEVER:
            null, value = (0, 1) if key.nulls is Nulls.FIRST else (1, 0)
            ends.append(f"CASE WHEN {column} IS NULL THEN {null} ELSE {value} END")
        ends.append(f"{column} DESC" if key.descending else column)
    return ", ".join(ends)


def following(order: Sequence[Key], nulls: Collection[int] = ()) -> str:
    """Rows after a key: ``a >= :0 AND (a > :0 OR (a = :0 AND b > :1) OR …)``.

    Row values, ``(a, b) > (:0, :1)``, would be shorter but know no mixed directions, and MariaDB
    does not use an index for them. The bound on the first column says nothing new: it is what
    databases find a range of an index by, which they do not see in the choice.

    Args:
        order: its keys, whose values are bound as ``saphan_key_0``, ``saphan_key_1``, …
        nulls: which of these values are null; they are not bound.
    """
    choices = []
    for index in range(len(order)):
        beyond = _beyond(order[index], index, index in nulls)
        if beyond:
            equal = [_equal(order[n], n, n in nulls) for n in range(index)]
            choices.append("(" + " AND ".join([*equal, beyond]) + ")")
    choice = "(" + " OR ".join(choices) + ")"
    first = order[0]
    if len(order) == 1 or first.nulls is not Nulls.NEVER:
        return choice
    sign = "<=" if first.descending else ">="
    return f"saphan_q.{first.column} {sign} :{CURSOR}_0 AND {choice}"


def _equal(key: Key, index: int, null: bool) -> str:
    if null:
        return f"saphan_q.{key.column} IS NULL"
    return f"saphan_q.{key.column} = :{CURSOR}_{index}"


def _beyond(key: Key, index: int, null: bool) -> str:
    """What stands after the key's value; nothing stands after nulls that come last."""
    if null:
        return f"saphan_q.{key.column} IS NOT NULL" if key.nulls is Nulls.FIRST else ""
    sign = "<" if key.descending else ">"
    beyond = f"saphan_q.{key.column} {sign} :{CURSOR}_{index}"
    if key.nulls is Nulls.LAST:
        return f"({beyond} OR saphan_q.{key.column} IS NULL)"
    return beyond
