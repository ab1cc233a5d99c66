"""How a database would run a statement, looked at before it does: no full-table surprises.

The database's own plan says which tables a statement reads whole. A page in the order of the table
reads no more than a page, so a statement that neither narrows, groups nor sorts is let pass
whatever its plan; any other that reads a large table whole is *wide*. What to do then is the
mapping's to say (``wide_queries``).

Sizes and plans are the database's estimates. A dialect whose plans are not understood here has
none to show (:data:`KNOWN`).
"""

from __future__ import annotations

import json
import re
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from time import monotonic
from typing import Any, TypeAlias

import sqlglot
from sqlalchemy import Connection, text
from sqlalchemy import exc as sqlalchemy_exc
from sqlglot import exp
from sqlglot.errors import SqlglotError

from adapters.sources.guard import DIALECTS
from adapters.sources.sessions import aside

_KEPT = 512
_VALID_S = 3600.0
_SQLITE_STEP = re.compile(r"SCAN (?P<table>\w+)", re.ASCII)
# Estimates of a table that was never analysed: PostgreSQL says -1, so its size is taken.
_BYTES_A_ROW = 80
_POSTGRESQL_SIZE = """
SELECT c.relname, CASE WHEN c.reltuples >= 0 THEN CAST(c.reltuples AS bigint)
                       ELSE pg_relation_size(c.oid) / CAST(:bytes AS integer) END
FROM pg_catalog.pg_class c WHERE c.relname = :name AND c.relkind IN ('r', 'm')
ORDER BY 2 DESC LIMIT 1
"""

_MARIADB_SIZE = """
SELECT table_rows FROM information_schema.tables
WHERE table_name = :name AND table_schema = DATABASE()
"""


@dataclass(frozen=True, slots=True)
class Scan:
    """A table that a statement reads whole, and about how many rows that are."""

    table: str
    rows: int


def wide_scans(
    connection: Connection, statement: str, values: Mapping[str, Any], large_rows: int
) -> tuple[Scan, ...]:
    """The tables of at least ``large_rows`` rows that ``statement`` reads whole, if it is wide.

    None where the database does not tell the plan; a statement that it refuses fails when it runs.
    """
    dialect = connection.dialect.name
    look = _LOOKS.get(dialect)
    if look is None:
        return ()
    try:
        tree = sqlglot.parse_one(statement, dialect=DIALECTS[dialect])
    except SqlglotError:
        return ()  # what the guard let through is understood: this is for direct callers
    narrows = tree.find(exp.Where, exp.Group, exp.Distinct, exp.AggFunc) is not None
    found: list[Scan] = []
    with aside(connection):  # MariaDB explains a view only to who may SHOW VIEW
        found += look(connection, statement, values, _Statement(tree, narrows))
    return tuple(scan for scan in found if scan.rows >= large_rows)


@dataclass(frozen=True, slots=True)
class _Statement:
    tree: exp.Expr
    narrows: bool

    def table(self, alias: str) -> str:
        """The table that ``alias`` stands for in the statement."""
        for table in self.tree.find_all(exp.Table):
            if table.alias_or_name.lower() == alias.lower():
                return table.name
        return alias


_Look: TypeAlias = Callable[[Connection, str, Mapping[str, Any], _Statement], Iterable[Scan]]


def _sqlite(
    connection: Connection, statement: str, values: Mapping[str, Any], asked: _Statement
) -> Iterable[Scan]:
    steps = [
        str(row[3]) for row in connection.execute(text(f"EXPLAIN QUERY PLAN {statement}"), values)
    ]
    sorts = any(step.startswith("USE TEMP B-TREE") for step in steps)
    if not (asked.narrows or sorts):
        return
    for step in steps:
        match = _SQLITE_STEP.match(step)
        if match is None:
            continue
        table = asked.table(match["table"])
        try:
            # The last row's number: the one estimate that costs nothing without ANALYZE.
            quoted = table.replace('"', '""')
            rows = connection.exec_driver_sql(f'SELECT max(rowid) FROM "{quoted}"').scalar()  # noqa: S608
        except sqlalchemy_exc.SQLAlchemyError:
            continue  # a step over an inner query, or a table without row numbers
        yield Scan(table, rows if isinstance(rows, int) else 0)


def _postgresql(
    connection: Connection, statement: str, values: Mapping[str, Any], asked: _Statement
) -> Iterable[Scan]:
    answer = connection.execute(text(f"EXPLAIN (FORMAT JSON) {statement}"), values).scalar_one()
    plan = (json.loads(answer) if isinstance(answer, str) else answer)[0]["Plan"]
    nodes = list(_nodes(plan))
    sorts = any(node["Node Type"] in ("Sort", "Incremental Sort") for node in nodes)
    if not (asked.narrows or sorts):
        return
    for node in nodes:
        # A walk along an index that narrows nothing reads the whole table as a scan does.
        whole = node["Node Type"] == "Seq Scan" or (
            node["Node Type"] in ("Index Scan", "Index Only Scan") and "Index Cond" not in node
        )
        if whole and "Relation Name" in node:
            asks = {"name": node["Relation Name"], "bytes": _BYTES_A_ROW}
            row = connection.execute(text(_POSTGRESQL_SIZE), asks).one_or_none()
            # A table that was replaced since the transaction began has a name there, and no size.
            if row is not None and row[1] is not None:
                yield Scan(str(row[0]), int(row[1]))


def _nodes(plan: dict[str, Any]) -> Iterable[dict[str, Any]]:
    yield plan
    for child in plan.get("Plans", ()):
        yield from _nodes(child)


def _mariadb(
    connection: Connection, statement: str, values: Mapping[str, Any], asked: _Statement
) -> Iterable[Scan]:
    steps = connection.execute(text(f"EXPLAIN {statement}"), values).mappings().all()
    extras = " ".join(str(step["Extra"]) for step in steps)
    if not (asked.narrows or "filesort" in extras):
        return
    for step in steps:
        table = str(step["table"] or "")
        if step["type"] in ("ALL", "index") and not table.startswith("<"):
            name = asked.table(table)
            # The plan's rows are those until the page is full, not those that may be looked at.
            size = connection.execute(text(_MARIADB_SIZE), {"name": name}).scalar()
            yield Scan(name, max(int(step["rows"] or 0), int(size or 0)))


_LOOKS: dict[str, _Look] = {
    "sqlite": _sqlite,
    "postgresql": _postgresql,
    "mariadb": _mariadb,
    "mysql": _mariadb,
}
KNOWN = frozenset(_LOOKS)


class PlanBook:
    """The judged statements of one source, each looked at once an hour; at most 512 are kept.

    Safe to use from the source's threads.
    """

    def __init__(self, large_rows: int) -> None:
        self._large_rows = large_rows
        self._judged: OrderedDict[str, tuple[float, tuple[Scan, ...]]] = OrderedDict()
        self._lock = threading.Lock()

    def scans(
        self, connection: Connection, statement: str, values: Mapping[str, Any]
    ) -> tuple[tuple[Scan, ...], bool]:
        """As :func:`wide_scans`, and whether the statement was looked at just now."""
        now = monotonic()
        with self._lock:
            known = self._judged.get(statement)
            if known is not None and now < known[0]:
                self._judged.move_to_end(statement)
                return known[1], False
        found = wide_scans(connection, statement, values, self._large_rows)
        with self._lock:
            self._judged[statement] = (now + _VALID_S, found)
            while len(self._judged) > _KEPT:
                self._judged.popitem(last=False)
        return found, True
