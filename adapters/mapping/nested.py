"""The key ``nested`` of a record: members that are records, or lists of records, of another query.

A nested member says which query gives its rows and by which columns they belong to a row: ``join``
maps columns of that query to columns of the record's own. Records are nested three levels deep at
most, so that a page takes a number of statements that can be read off the mapping.
"""

from __future__ import annotations

import re
from collections.abc import Mapping as Map
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from adapters.answers.orders import Key
from adapters.answers.statements import NAME
from adapters.fields import Null
from adapters.mapping.endpoints import read_order
from adapters.mapping.head import read_texts
from adapters.mapping.model import Nested, Query, Record, Texts
from adapters.mapping.reader import Node

DEEPEST: Final = 3
MOST_COLUMNS: Final = 4
MOST_MEMBERS: Final = 50
"""Nested members of a record on all levels: as many statements are needed for a page."""
MOST_OF_ONE: Final = 5_000
_MEMBER: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,62}", re.ASCII)


class Shape(StrEnum):
    """What a nested member is."""

    LIST = "list"
    ONE = "one"


@dataclass(frozen=True, slots=True)
class _Spec:
    """What a mapping says of a nested member, before its query's record is complete."""

    name: str
    query: str
    join: tuple[tuple[str, str], ...]
    shape: Shape
    order: tuple[Key, ...]
    most: int
    null: Null
    title: Texts | None
    node: Node


def nest(
    records: Map[str, Record], queries: Map[str, Query], nodes: Map[str, Node]
) -> tuple[dict[str, Record], dict[str, Query]]:
    """The records with their nested members, and the queries that give such records.

    Raises:
        Problem: ``InvalidMapping`` at the fault.
    """
    specs = {name: _specs(record, nodes[name], queries) for name, record in records.items()}
    complete = {name: _complete(one, records, queries, specs) for name, one in records.items()}
    return complete, {
        name: replace(query, record=complete[query.record.name]) for name, query in queries.items()
    }


def _complete(
    record: Record,
    records: Map[str, Record],
    queries: Map[str, Query],
    specs: Map[str, list[_Spec]],
    depth: int = 0,
    masked: frozenset[str] = frozenset(),
) -> Record:
    """The record with what is nested in it.

    Args:
        masked: columns, in small letters, that equal what is masked around it.
    """
    nested = []
    masked |= record.masked_columns
    for spec in specs[record.name]:
        if depth == DEEPEST:
            spec.node.refuse(f"records are nested {DEEPEST} levels deep at most")
        query = queries[spec.query]
        _check_join(spec, record, query.record, masked)
        equal = frozenset(own.lower() for own, outer in spec.join if outer.lower() in masked)
        inner = _complete(query.record, records, queries, specs, depth + 1, equal)
        if any(key.column.lower() in inner.telling(inner.masks) for key in spec.order):
            spec.node.refuse("its order is by what is masked for some, and tells of it")
        nested.append(
            Nested(
                name=spec.name,
                query=replace(query, record=inner),
                join=spec.join,
                many=spec.shape is Shape.LIST,
                order=spec.order,
                most=spec.most,
                null=spec.null,
                title=spec.title,
                where=spec.node.where,
            )
        )
    complete = replace(record, nested=tuple(nested))
    if _count(complete) > MOST_MEMBERS:
        last = specs[record.name][-1].node
        last.refuse(f"a record has at most {MOST_MEMBERS} nested members on all levels")
    return complete


def _check_join(spec: _Spec, record: Record, inner: Record, masked: frozenset[str]) -> None:
    """Joined columns are equal: whoever sees one sees the other."""
    for own, outer in ((own.lower(), outer.lower()) for own, outer in spec.join):
        if outer in masked and own in inner.shown_columns:
            detail = f"its column {own} shows {outer}, which is masked for some"
        elif own in inner.masked_columns and outer in record.shown_columns:
            detail = f"{outer} shows its column {own}, which is masked for some"
        else:
            continue
        spec.node.refuse(f"{detail}: say with 'mask' who sees it, on both sides")


def _count(record: Record) -> int:
    return sum(1 + _count(one.query.record) for one in record.nested)


def _specs(record: Record, node: Node, queries: Map[str, Query]) -> list[_Spec]:
    entries = node.entries()
    if "nested" not in entries:
        return []
    specs = []
    taken = {field.path[0] for field in (*record.fields, *record.hidden)}
    for name, child in entries["nested"].entries().items():
        if not _MEMBER.fullmatch(name):
            child.refuse(f"{name!r} is not a name of a member")
        if name in taken:
            child.refuse(f"{name!r} is a field already")
        specs.append(_spec(name, child, queries))
    return specs


def _spec(name: str, node: Node, queries: Map[str, Query]) -> _Spec:
    found = node.members(("query", "join"), ("as", "order", "most", "null", "title"))
    shape = found["as"].choice(Shape) if "as" in found else Shape.LIST
    query = found["query"].reference(queries, "query")
    for parameter in queries[query].parameters.values():
        if parameter.required:
            found["query"].refuse(f"nobody gives its parameter {parameter.name!r} a value here")
    if shape is Shape.LIST and "order" not in found:
        node.refuse("a list needs an order, so that it is the same every time")
    unfit = ("order", "most") if shape is Shape.ONE else ("null",)
    for key in unfit:
        if key in found:
            found[key].refuse(f"has no meaning for a nested {shape}")
    return _Spec(
        name=name,
        query=query,
        join=_join(found["join"]),
        shape=shape,
        order=read_order(found.get("order")),
        most=found["most"].integer(1, MOST_OF_ONE) if "most" in found else 100,
        null=found["null"].choice(Null) if "null" in found else Null.OMIT,
        title=read_texts(found["title"]) if "title" in found else None,
        node=node,
    )


def _join(node: Node) -> tuple[tuple[str, str], ...]:
    pairs = []
    for inner, child in node.entries().items():
        if not NAME.fullmatch(inner):
            child.refuse(f"{inner!r} is not a name of a column")
        pairs.append((inner, child.text(NAME)))
    if not 1 <= len(pairs) <= MOST_COLUMNS:
        node.refuse(f"needs 1 to {MOST_COLUMNS} columns: of the query → of this record's rows")
    return tuple(pairs)
