"""Where a refused value stands, when the database's refusal does not say: from its catalogue.

For a transaction of its own, after the refused one was rolled back. Nothing is found where the
catalogue does not tell; the refusal is then one of the whole body.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any

from sqlalchemy import Connection, text
from sqlalchemy import exc as sqlalchemy_exc

from adapters.sources.sessions import aside
from adapters.writes.refusals import Kind

_PG_COLUMNS = """
SELECT a.attname FROM pg_catalog.pg_class t
JOIN pg_catalog.pg_namespace n ON n.oid = t.relnamespace
LEFT JOIN pg_catalog.pg_constraint c ON c.conrelid = t.oid AND c.conname = :name
LEFT JOIN pg_catalog.pg_index i ON i.indrelid = t.oid
 AND i.indexrelid = (SELECT x.oid FROM pg_catalog.pg_class x
                     WHERE x.relname = :name AND x.relnamespace = n.oid)
JOIN pg_catalog.pg_attribute a ON a.attrelid = t.oid
 AND (a.attnum = ANY(c.conkey) OR a.attnum = ANY(CAST(i.indkey AS smallint[])))
WHERE t.relname = :table AND n.nspname = :schema
"""
_PG_BOUNDS = """
SELECT column_name, data_type, character_maximum_length, numeric_precision, numeric_scale
FROM information_schema.columns WHERE table_name = :table
"""
_MARIADB_COLUMNS = """
SELECT column_name FROM information_schema.statistics
WHERE table_schema = DATABASE() AND table_name = :table AND index_name = :name
UNION SELECT column_name FROM information_schema.key_column_usage
WHERE table_schema = DATABASE() AND table_name = :table AND constraint_name = :name
"""
_MARIADB_KEY = re.compile(r"for key '(?:[^']*\.)?([^'.]+)'\Z", re.ASCII)
_BITS = {"smallint": 15, "integer": 31, "bigint": 63}


def columns_of(
    connection: Connection,
    error: sqlalchemy_exc.DBAPIError,
    kind: Kind,
    table: str,
    values: Mapping[str, Any],
) -> tuple[str, ...]:
    """The columns at which ``table`` refused ``values`` (by column)."""
    name = table.rpartition(".")[2]
    look = _LOOKS.get(connection.dialect.name)
    if look is None:
        return ()
    with aside(connection):
        return tuple(look(connection, error.orig, kind, name, values))
    return ()


def _postgresql(
    connection: Connection, origin: Any, kind: Kind, table: str, values: Mapping[str, Any]
) -> Iterator[str]:
    if origin.diag.constraint_name and origin.diag.table_name:
        names = {
            "name": origin.diag.constraint_name,
            "table": origin.diag.table_name,
            "schema": origin.diag.schema_name,
        }
        yield from _names(connection, _PG_COLUMNS, names)
    elif kind in (Kind.TOO_LONG, Kind.OUT_OF_RANGE):
        for column, type_, length, precision, scale in connection.execute(
            text(_PG_BOUNDS), {"table": table}
        ):
            value = values.get(column.lower())
            if _long(value, length) or _beyond(value, type_, precision, scale):
                yield column.lower()


def _long(value: Any, length: int | None) -> bool:
    return isinstance(value, str) and length is not None and len(value) > length


def _beyond(value: Any, type_: str, precision: int | None, scale: int | None) -> bool:
    if not isinstance(value, int | Decimal):
        return False
    bits = _BITS.get(type_)
    if bits is not None:
        return not -(1 << bits) <= value < 1 << bits
    if type_ != "numeric" or precision is None:
        return False
    return abs(Decimal(value)) >= Decimal(10) ** (precision - (scale or 0))


def _mariadb(
    connection: Connection, origin: Any, kind: Kind, table: str, values: Mapping[str, Any]
) -> Iterator[str]:
    match = _MARIADB_KEY.search(str(origin.args[-1]))
    if match:
        yield from _names(connection, _MARIADB_COLUMNS, {"name": match[1], "table": table})


def _sqlite(
    connection: Connection, origin: Any, kind: Kind, table: str, values: Mapping[str, Any]
) -> Iterator[str]:
    """SQLite says of a foreign key nothing but that there is one: each is asked."""
    if kind is not Kind.REFERENCE:
        return
    quote = connection.dialect.identifier_preparer.quote_identifier
    keys = connection.exec_driver_sql(f"PRAGMA foreign_key_list({quote(table)})").fetchall()
    for key in keys:
        parent, column, other = str(key[2]), str(key[3]), str(key[4] or key[3])
        value = values.get(column.lower())
        if value is None:
            continue
        there = f"SELECT 1 FROM {quote(parent)} WHERE {quote(other)} = :value"  # noqa: S608
        if connection.execute(text(there), {"value": value}).first() is None:
            yield column.lower()


def _names(connection: Connection, statement: str, names: Mapping[str, str]) -> list[str]:
    return [str(row[0]).lower() for row in connection.execute(text(statement), names)]


_LOOKS = {
    "postgresql": _postgresql,
    "mariadb": _mariadb,
    "mysql": _mariadb,
    "sqlite": _sqlite,
}
