"""What the account of a source may do besides reading.

The session is read-only whatever the account may do; this is for the operator, who should give the
adapter an account that can only SELECT. Nothing is tried: the database is asked for its rights.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from sqlalchemy import Connection

from adapters.sources import vendors

_SHOWN = 3
# MariaDB and MySQL: rights that change nothing.
_READING = frozenset(
    {"SELECT", "USAGE", "SHOW VIEW", "SHOW DATABASES", "PROCESS", "LOCK TABLES", "PROXY"}
)
_GRANT = re.compile(r"GRANT (?P<rights>.+?) ON (?P<object>\S+) TO ", re.ASCII | re.DOTALL)
_COLUMNS = re.compile(r"\([^()]*\)")

_POSTGRESQL_TABLES = """
SELECT format('%%I.%%I', n.nspname, c.relname)
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p', 'v', 'f') AND n.nspname <> 'information_schema'
  AND n.nspname NOT LIKE 'pg\\_%%'
  AND has_table_privilege(c.oid, 'INSERT, UPDATE, DELETE, TRUNCATE')
ORDER BY 1 LIMIT 4
"""
_POSTGRESQL_ROLE = """
SELECT rolsuper, rolcreaterole, rolcreatedb,
       has_database_privilege(current_database(), 'CREATE')
FROM pg_catalog.pg_roles WHERE rolname = current_user
"""
_POSTGRESQL_ROLE_WORDS = (
    "is a superuser",
    "may make roles",
    "may make databases",
    "may make schemas",
)


def may_write(connection: Connection) -> tuple[str, ...]:
    """Why the account is more than a reader's, each as the end of "the account …"; at most four.

    Empty for a reader, and for a dialect whose rights are not known here. SQLite has no accounts:
    the file is opened for reading only.
    """
    look = _LOOKS.get(connection.dialect.name)
    return () if look is None else look(connection)


def _postgresql(connection: Connection) -> tuple[str, ...]:
    flags = connection.exec_driver_sql(_POSTGRESQL_ROLE).one()
    found = [word for flag, word in zip(flags, _POSTGRESQL_ROLE_WORDS, strict=True) if flag]
    if flags[0]:
        return tuple(found[:1])  # a superuser has every right: no use in telling them
    tables = [str(row[0]) for row in connection.exec_driver_sql(_POSTGRESQL_TABLES)]
    return tuple(found + _written(tables))


def _mariadb(connection: Connection) -> tuple[str, ...]:
    objects: dict[str, list[str]] = {}
    for (grant,) in connection.exec_driver_sql("SHOW GRANTS"):
        match = _GRANT.match(str(grant))
        if match is None:
            continue
        rights = {word.strip() for word in _COLUMNS.sub("", match["rights"]).split(",")}
        beyond = sorted(rights - _READING)
        if beyond:
            objects[match["object"]] = beyond
    return tuple(
        f"has {', '.join(rights[:_SHOWN])} on {name}"
        for name, rights in list(objects.items())[:_SHOWN]
    )


def _sql_server(connection: Connection) -> tuple[str, ...]:
    rights = [str(row[0]) for row in connection.exec_driver_sql(vendors.MSSQL_RIGHTS)]
    return _beyond(connection, rights, vendors.MSSQL_TABLES)


def _oracle(connection: Connection) -> tuple[str, ...]:
    rights = [str(row[0]) for row in connection.exec_driver_sql(vendors.ORACLE_RIGHTS)]
    return _beyond(connection, rights, vendors.ORACLE_TABLES)


def _beyond(connection: Connection, rights: list[str], tables: str) -> tuple[str, ...]:
    found = [f"has {', '.join(rights[:_SHOWN])}"] if rights else []
    return tuple(found + _written([str(row[0]) for row in connection.exec_driver_sql(tables)]))


def _written(tables: list[str]) -> list[str]:
    if not tables:
        return []
    more = " and more" if len(tables) > _SHOWN else ""
    return [f"may write {', '.join(tables[:_SHOWN])}{more}"]


_LOOKS: dict[str, Callable[[Connection], tuple[str, ...]]] = {
    "postgresql": _postgresql,
    "mariadb": _mariadb,
    "mysql": _mariadb,
    "mssql": _sql_server,
    "oracle": _oracle,
}
