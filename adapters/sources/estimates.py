"""About how many rows a statement gives, from what the database has counted before.

PostgreSQL and MariaDB say it with their plans, which use the statistics of their tables
(``pg_class.reltuples``, ``pg_statistic``, InnoDB's). SQLite keeps only the sizes of tables, when
ANALYZE has been run (``sqlite_stat1``): a statement that narrows a table has no estimate there.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, Final

import sqlglot
from sqlalchemy import Connection, text
from sqlglot import exp
from sqlglot.errors import SqlglotError

from adapters.sources.sessions import aside

_NARROWS: Final = (
    exp.Where,
    exp.Group,
    exp.Having,
    exp.Distinct,
    exp.Limit,
    exp.Join,
    exp.SetOperation,
    exp.AggFunc,
)


def estimated_rows(connection: Connection, statement: str, values: Mapping[str, Any]) -> int | None:
    """About how many rows ``statement`` gives; None where the database does not know."""
    look = _LOOKS.get(connection.dialect.name)
    found: int | None = None
    if look is not None:
        with aside(connection):
            found = look(connection, statement, values)
    return found


def _postgresql(connection: Connection, statement: str, values: Mapping[str, Any]) -> int:
    answer = connection.execute(text(f"EXPLAIN (FORMAT JSON) {statement}"), values).scalar_one()
    plan = (json.loads(answer) if isinstance(answer, str) else answer)[0]["Plan"]
    return int(plan["Plan Rows"])


def _mariadb(connection: Connection, statement: str, values: Mapping[str, Any]) -> int | None:
    # MySQL tells what share a condition leaves without being asked.
    word = "EXPLAIN EXTENDED" if getattr(connection.dialect, "is_mariadb", False) else "EXPLAIN"
    steps = connection.execute(text(f"{word} {statement}"), values).mappings().all()
    if len(steps) != 1 or steps[0]["rows"] is None or str(steps[0]["table"]).startswith("<"):
        return 0 if len(steps) == 1 and "Impossible WHERE" in str(steps[0]["Extra"]) else None
    return round(int(steps[0]["rows"]) * float(steps[0]["filtered"] or 100) / 100)


def _sqlite(connection: Connection, statement: str, values: Mapping[str, Any]) -> int | None:
    try:
        tree = sqlglot.parse_one(statement, dialect="sqlite")
    except SqlglotError:
        return None
    tables = list(tree.find_all(exp.Table))
    if len(tables) != 1 or tree.find(*_NARROWS) is not None:
        return None
    found = connection.execute(
        text("SELECT stat FROM sqlite_stat1 WHERE lower(tbl) = :name"),
        {"name": tables[0].name.lower()},
    ).scalars()
    return max((int(str(stat).split()[0]) for stat in found if stat), default=None)


_LOOKS: Final[dict[str, Callable[[Connection, str, Mapping[str, Any]], int | None]]] = {
    "sqlite": _sqlite,
    "postgresql": _postgresql,
    "mariadb": _mariadb,
    "mysql": _mariadb,
}
