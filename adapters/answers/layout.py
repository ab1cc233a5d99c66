"""Which columns a statement reads, and which of them each member of a record is made of.

The statement reads first the columns of the members that have one each, in the order of the
record, then what computed and nested members need besides. Most records have only members of the
first kind: their rows are the cells that the writer wants, and nothing is done to them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from adapters.answers.masking import Profile, profile_of
from adapters.answers.narrowing import Sight
from adapters.answers.statements import Condition
from adapters.mapping.callers import Caller
from adapters.mapping.model import Nested, Record

Members: TypeAlias = frozenset[str] | None
"""The members that are asked for, those inside others as paths with dots; None for all."""


@dataclass(frozen=True, slots=True)
class Join:
    """A nested member of the answer: the cell it fills, where the parent's key is, its own rows.

    ``keys`` are places in the parent's row, ``own_keys`` in the nested one; ``places`` say whose
    the ``values`` are, as those of a draft.
    """

    nested: Nested
    cell: int
    keys: tuple[int, ...]
    own_keys: tuple[int, ...]
    layout: Layout
    conditions: list[Condition]
    values: Mapping[str, Any]
    places: Mapping[str, str]

    @property
    def asked(self) -> tuple[Any, ...]:
        """What tells its rows from those that another caller would get."""
        inner = tuple(join.asked for join in self.layout.joins)
        return (self.nested.name, repr(self.conditions), sorted(self.values.items()), inner)


@dataclass(frozen=True, slots=True)
class Layout:
    """``indexes`` are the members of the cells, as :class:`RecordWriter` numbers them.

    ``cells`` are the places of a row that make each cell: one, or several for a computed member;
    it is None where the cells are the row as it is.
    """

    columns: tuple[str, ...]
    indexes: tuple[int, ...]
    cells: tuple[int | tuple[int, ...], ...] | None = None
    joins: tuple[Join, ...] = ()


def lay_out(record: Record, members: Members, sight: Sight) -> Layout:
    """The layout of the ``members`` of ``record``, with what may be seen of the nested rows."""
    fields = [
        (index, one)
        for index, one in enumerate(record.fields)
        if members is None or _chosen(one.path, members)
    ]
    stored = [(index, one) for index, one in fields if one.compute is None]
    columns = [one.column for _, one in stored]
    indexes = [index for index, _ in stored]
    if len(stored) == len(fields) and not record.nested:
        return Layout(tuple(columns), tuple(indexes))

    def place(column: str) -> int:
        if column not in columns:
            columns.append(column)
        return columns.index(column)

    cells: list[int | tuple[int, ...]] = list(range(len(stored)))
    for index, one in fields:
        if one.compute is not None:
            indexes.append(index)
            cells.append(tuple(place(column) for column in one.columns))
    joins = []
    for index, nested in enumerate(record.nested, len(record.fields)):
        inner = _inside(nested.name, members)
        if inner is None or inner:
            keys = tuple(place(column) for _, column in nested.join)
            joins.append(_join(nested, inner, len(cells), keys, sight.within(nested.name)))
            indexes.append(index)
            cells.append(keys)
    if not columns:  # only constants: a row must still be read to know that it is there
        place(record.columns[0])
    plain = cells == list(range(len(columns)))
    return Layout(tuple(columns), tuple(indexes), None if plain else tuple(cells), tuple(joins))


def _chosen(path: tuple[str, ...], members: frozenset[str]) -> bool:
    return any(".".join(path[:count]) in members for count in range(1, len(path) + 1))


def _inside(name: str, members: Members) -> Members:
    """Which members of the nested member ``name`` are asked for: an empty set for none of it."""
    if members is None or name in members:
        return None
    start = f"{name}."
    return frozenset(one.removeprefix(start) for one in members if one.startswith(start))


def _join(nested: Nested, members: Members, cell: int, keys: tuple[int, ...], sight: Sight) -> Join:
    record = nested.query.record
    layout = lay_out(record, members, sight)
    columns = list(layout.columns)
    columns += dict.fromkeys(own for own, _ in nested.join if own not in columns)
    if layout.cells is None:  # the key is not among the cells
        layout = Layout(layout.columns, layout.indexes, tuple(range(len(layout.columns))))
    layout = Layout(tuple(columns), layout.indexes, layout.cells, layout.joins)
    own_keys = tuple(columns.index(own) for own, _ in nested.join)
    rows = sight.of(record)
    return Join(nested, cell, keys, own_keys, layout, rows.conditions, rows.values, rows.places)


def profile(record: Record, caller: Caller) -> Profile:
    """How ``caller`` sees what is masked in ``record`` and the records nested in it."""
    found = profile_of(record.masks, caller)
    for nested in record.nested:
        inner = profile(nested.query.record, caller)
        found += tuple((f"{nested.name}.{name}", shown) for name, shown in inner)
    return found


def inner_profile(masked: Profile, name: str) -> Profile:
    """The part of a profile that is of the nested member ``name``."""
    start = f"{name}."
    return tuple((one.removeprefix(start), how) for one, how in masked if one.startswith(start))
