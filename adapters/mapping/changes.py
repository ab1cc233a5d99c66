"""The ``changes`` of a mapping file: whose changes are told, and how they are found.

docs/mapping.md is the reference of the keys; :mod:`adapters.changes` does what is written here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping as Map
from dataclasses import dataclass
from datetime import tzinfo
from enum import StrEnum

from adapters.answers.statements import NAME
from adapters.mapping.model import Query, SourceKind, SourceSettings
from adapters.mapping.reader import Node
from adapters.mapping.records import named, read_zone

MAX_KEYS = 8
MAX_NAME = 40
_TABLE = re.compile(rf"({NAME.pattern}\.)?{NAME.pattern}", re.ASCII)


class Method(StrEnum):
    """How changes are found."""

    COMPARISON = "comparison"
    WATERMARK = "watermark"
    LOG = "log"


@dataclass(frozen=True, slots=True, kw_only=True)
class Watermark:
    """A column that grows with each change of its row.

    Each look goes back behind the last mark by ``overlap``: seconds for a time, a difference for
    a number. ``zone`` is that of times that name none.
    """

    column: str
    overlap: float = 60.0
    zone: tzinfo | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Log:
    """Triggers that the owner installs: table → those of its columns that are the key.

    On MariaDB each look goes back by ``overlap`` seconds behind the last.
    """

    tables: Map[str, tuple[str, ...]]
    keep_days: int = 30
    overlap: float = 600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Changes:
    """Whose changes are told: the rows of ``query``, known by the columns ``key``."""

    name: str
    query: Query
    key: tuple[str, ...]
    method: Method
    watermark: Watermark | None = None
    log: Log | None = None
    listen: str | None = None
    poll_s: float = 60.0
    compare_every_s: float = 0.0
    max_removed_share: float = 0.2
    page_size: int = 1000
    where: str = ""


def read_changes(
    node: Node | None, queries: Map[str, Query], source: SourceSettings
) -> dict[str, Changes]:
    """The ``changes`` section; nothing where it is left out."""
    if node is None:
        return {}
    found = named(node)
    for name, child in found.items():
        if len(name) > MAX_NAME:
            child.refuse(f"a name has at most {MAX_NAME} characters")
    return {name: _changes(name, child, queries, source) for name, child in found.items()}


def _changes(name: str, node: Node, queries: Map[str, Query], source: SourceSettings) -> Changes:
    found = node.members(
        ("query", "key", "method"),
        (
            "watermark",
            "log",
            "listen",
            "poll_s",
            "compare_every_s",
            "max_removed_share",
            "page_size",
        ),
    )
    query = queries[found["query"].reference(queries, "query")]
    if query.parameters:
        found["query"].refuse("a query whose changes are told has no parameters")
    method = found["method"].choice(Method)
    for wanted in (Method.WATERMARK, Method.LOG):
        if (wanted is method) != (wanted.value in found):
            node.refuse(f"the method {wanted} and the key {wanted.value!r} belong together")
    for key in ("log", "listen"):
        if key in found and source.kind is not SourceKind.SQL:
            found[key].refuse("only a database has a log or notifies")
    columns = _names(found["key"], "key")
    for column in columns:
        if column.lower() in query.record.telling(query.record.masks):
            found["key"].refuse(f"{column} is masked for some, and every event names it")
    return Changes(
        name=name,
        query=query,
        key=columns,
        method=method,
        watermark=_watermark(found["watermark"]) if "watermark" in found else None,
        log=_log(found["log"], columns) if "log" in found else None,
        listen=found["listen"].text(NAME) if "listen" in found else None,
        poll_s=_number(found, "poll_s", 60.0, 0.1, 86_400),
        compare_every_s=_number(found, "compare_every_s", 0.0, 0, 10**8),
        max_removed_share=_number(found, "max_removed_share", 0.2, 0, 1),
        page_size=found["page_size"].integer(1, 5_000) if "page_size" in found else 1_000,
        where=node.where,
    )


def _number(found: Map[str, Node], key: str, default: float, low: float, high: float) -> float:
    return found[key].number(low, high) if key in found else default


def _names(node: Node, noun: str) -> tuple[str, ...]:
    names = tuple(item.text(NAME) for item in node.items())
    if not 1 <= len(names) <= MAX_KEYS or len(set(names)) != len(names):
        node.refuse(f"the {noun} is a list of one to {MAX_KEYS} different columns")
    return names


def _watermark(node: Node) -> Watermark:
    found = node.members(("column",), ("overlap", "zone"))
    return Watermark(
        column=found["column"].text(NAME),
        overlap=_number(found, "overlap", 60.0, 0, 10**9),
        zone=read_zone(found["zone"]) if "zone" in found else None,
    )


def _log(node: Node, key: tuple[str, ...]) -> Log:
    found = node.members(("tables",), ("keep_days", "overlap"))
    tables = {}
    for table, child in found["tables"].entries().items():
        if not _TABLE.fullmatch(table):
            child.refuse(f"{table!r} is not a name of a table, such as tbl_book or public.tbl_book")
        tables[table] = _names(child, "key")
        if len(tables[table]) != len(key):
            child.refuse(f"the key has {len(key)} column(s): name as many of the table's")
    if not tables:
        found["tables"].refuse("at least one table is needed")
    days = found["keep_days"].integer(1, 3_650) if "keep_days" in found else 30
    return Log(tables=tables, keep_days=days, overlap=_number(found, "overlap", 600.0, 0, 10**6))
