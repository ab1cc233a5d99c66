"""Which tables an account may write, by what the database says of its rights."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection

from sqlalchemy import Connection

_MOST = 20
_POSTGRESQL = """
SELECT n.nspname, c.relname, n.nspname = current_schema()
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p', 'v', 'f') AND n.nspname <> 'information_schema'
  AND n.nspname NOT LIKE 'pg\\_%%'
  AND has_table_privilege(c.oid, 'INSERT, UPDATE, DELETE, TRUNCATE')
ORDER BY 1, 2 LIMIT 1000
"""
_WRITING = frozenset({"INSERT", "UPDATE", "DELETE", "DROP", "ALTER", "ALL PRIVILEGES", "CREATE"})
_GRANT = re.compile(r"GRANT (?P<rights>.+?) ON (?P<object>\S+) TO ", re.ASCII | re.DOTALL)
_COLUMNS = re.compile(r"\([^()]*\)")


def tables_beyond(connection: Connection, listed: Collection[str]) -> tuple[str, ...]:
    """Tables, or groups of tables, that the account may write and that are not ``listed``.

    At most twenty. SQLite has no accounts: whoever may write the file may write all of it.
    """
    look = _LOOKS.get(connection.dialect.name)
    return tuple(look(connection, listed))[:_MOST] if look is not None else ()


def _postgresql(connection: Connection, listed: Collection[str]) -> list[str]:
    found = []
    for schema, table, usual in connection.exec_driver_sql(_POSTGRESQL):
        names = {f"{schema}.{table}".lower()} | ({str(table).lower()} if usual else set())
        if not names & {*listed}:
            found.append(table if usual else f"{schema}.{table}")
    return found


def _mariadb(connection: Connection, listed: Collection[str]) -> list[str]:
    found = []
    for (grant,) in connection.exec_driver_sql("SHOW GRANTS"):
        match = _GRANT.match(str(grant))
        if match is None:
            continue
        rights = {word.strip() for word in _COLUMNS.sub("", match["rights"]).split(",")}
        name = match["object"].replace("`", "").replace("\\", "").lower()
        if rights & _WRITING and name not in listed and name.partition(".")[2] not in listed:
            found.append(name)
    return found


_LOOKS: dict[str, Callable[[Connection, Collection[str]], list[str]]] = {
    "postgresql": _postgresql,
    "mariadb": _mariadb,
    "mysql": _mariadb,
}
