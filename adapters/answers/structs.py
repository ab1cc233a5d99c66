"""Many records at once, from columns: a struct each, whose members are known before its values.

Structs are made and written in C: a page of dicts costs half as much again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, TypeAlias

import msgspec

Path: TypeAlias = tuple[str, ...]
Maker: TypeAlias = Callable[[Sequence[Sequence[Any]]], list[Any]]
ABSENT = msgspec.UNSET
"""Stands for a member that its record does not have."""


@lru_cache(512)
def records_maker(paths: tuple[Path, ...]) -> Maker:
    """A function from columns to records whose members at ``paths`` are their values in order.

    For ``(("id",), ("title", "lo"))`` and the columns ``[1]`` and ``["ກ"]`` it makes what is
    written as ``[{"id":1,"title":{"lo":"ກ"}}]``. No path is the beginning of another.
    """
    tree: dict[str, Any] = {}
    for index, path in enumerate(paths):
        inner = tree
        for step in path[:-1]:
            inner = inner.setdefault(step, {})
        inner[path[-1]] = index
    return _maker(tree)


def _maker(tree: dict[str, Any]) -> Maker:
    # Not by their own names, which may be words of Python.
    names = {f"m{number}": name for number, name in enumerate(tree)}
    # Values are not part of cycles, and records live as long as their page.
    record = msgspec.defstruct("Record", [*names], rename=names, gc=False)
    parts = [_maker(one) if isinstance(one, dict) else one for one in tree.values()]

    def make(columns: Sequence[Sequence[Any]]) -> list[Any]:
        cells = [columns[part] if isinstance(part, int) else part(columns) for part in parts]
        return list(map(record, *cells))

    return make
