"""Visible rows: which records the owner shows to whom, written in the mapping.

The first rule whose condition a caller meets decides, else ``otherwise``, which must be written. A
record's rules and an endpoint's both apply, and so do the conditions of the agreement: what is
shown meets all of them. Nothing else is there for the caller, not even as a number.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from functools import partial
from typing import TypeAlias

from adapters.fields import Field
from adapters.mapping.callers import ByCaller, read_by_caller
from adapters.mapping.reader import Node
from adapters.mapping.terms import Term, check_today, read_terms


class Extent(StrEnum):
    """All rows, or none."""

    ALL = "all"
    NOTHING = "nothing"


Rows: TypeAlias = Extent | tuple[Term, ...]
"""All rows, none, or those for which all terms hold."""


class Visible(ByCaller[Rows]):
    """Which rows callers see."""

    __slots__ = ()

    @property
    def terms(self) -> tuple[Term, ...]:
        """Every term of every rule."""
        return tuple(term for rows in self.all if not isinstance(rows, Extent) for term in rows)


def read_visible(node: Node, fields: Sequence[Field], *, zoned: bool) -> Visible:
    """The key ``visible`` of a record or an endpoint.

    Args:
        zoned: whether the mapping says in which zone a day is today.
    """
    visible = Visible(*read_by_caller(node, "rows", partial(_rows, fields=fields)))
    check_today(visible.terms, zoned, node)
    return visible


def _rows(node: Node, fields: Sequence[Field]) -> Rows:
    return node.choice(Extent) if node.is_scalar else read_terms(node, fields)
