"""Masks: how much of a field is shown to whom, written in the mapping.

As with visible rows, the first rule whose condition a caller meets decides, else ``otherwise``.
What a masked value looks like is :mod:`adapters.answers.masking`'s.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from typing import Final

from adapters.fields import Field, Kind, Null
from adapters.mapping.callers import ByCaller, read_by_caller
from adapters.mapping.reader import Node

_LAST: Final = re.compile(r"last_([1-8])", re.ASCII)


class Show(StrEnum):
    """How a value is shown."""

    WHOLE = "whole"
    LAST = "last"
    INITIALS = "initials"
    YEAR = "year"
    HASHED = "hashed"
    NULL = "null"
    ABSENT = "absent"


@dataclass(frozen=True, slots=True)
class Shown:
    """A way to show a value; ``last`` characters for :attr:`Show.LAST`."""

    show: Show
    last: int = 0

    def __str__(self) -> str:
        return f"last_{self.last}" if self.show is Show.LAST else str(self.show)


WHOLE: Final = Shown(Show.WHOLE)
_TEXTS: Final = frozenset({Kind.STRING})
_KINDS: Final = {
    Show.LAST: _TEXTS,
    Show.INITIALS: _TEXTS,
    Show.YEAR: frozenset({Kind.DATE, Kind.DATETIME}),
    Show.HASHED: frozenset({Kind.STRING, Kind.INTEGER, Kind.DATE, Kind.DATETIME, Kind.ENUMERATION}),
}


class Mask(ByCaller[Shown]):
    """How callers see the field."""

    __slots__ = ()

    @property
    def ways(self) -> tuple[Shown, ...]:
        """Every way in which somebody may see the field."""
        return tuple(dict.fromkeys(self.all))


def read_mask(node: Node, field: Field, *, keyed: bool) -> Mask:
    """The key ``mask`` of a field: a word for everybody, or ``rules`` and ``otherwise``.

    Args:
        keyed: whether the mapping has a key to hash with.
    """
    read = partial(_shown, field=field, keyed=keyed)
    if node.is_scalar:
        return Mask((), read(node))
    return Mask(*read_by_caller(node, "show", read))


def _shown(node: Node, field: Field, *, keyed: bool) -> Shown:
    last = None if node.is_null else _LAST.fullmatch(node.text(longest=20))
    shown = Shown(Show.LAST, int(last[1])) if last is not None else Shown(node.choice(Show))
    if shown.show is Show.LAST and not shown.last:
        node.refuse("say how many characters: last_1 to last_8")
    kinds = _KINDS.get(shown.show)
    if kinds is not None and (field.kind not in kinds or field.separator is not None):
        node.refuse(f"a field of the type {field.kind} cannot be shown as {shown}")
    if shown.show is Show.HASHED and not keyed:
        node.refuse("the mapping needs the key 'mask_key', such as ${MASK_KEY}")
    if shown.show is Show.NULL and field.null is Null.REFUSE:
        node.refuse("the field refuses nulls; show it 'absent', or allow nulls")
    return shown
