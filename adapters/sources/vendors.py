"""Sessions of SQL Server and Oracle; tested at the level of SQL and settings only, on no server.

What differs from the other databases:
- Oracle begins every transaction READ ONLY. SQL Server has no session that cannot write: there
  the grammar of the query and the account's rights are the fences, and every transaction is rolled
  back;
- the driver cuts a statement that takes too long (Oracle's call timeout, pymssql's query timeout,
  which holds for a connection).

Their drivers are extras: ``saphan[mssql]``, ``saphan[oracle]``.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import URL, Connection, Engine, event

from adapters.mapping.model import Limits
from adapters.sources.engines import new_engine
from exchange.problems import Code, Problem

EXTRAS = {"mssql": ("pymssql", "mssql"), "oracle": ("oracledb", "oracle")}
"""SQLAlchemy's name of a dialect → the driver's package and the extra that brings it."""

READ_ONLY = "SET TRANSACTION READ ONLY"


def open_reading(url: URL, limits: Limits) -> Engine:
    """An engine whose sessions only read, as far as the database can have it.

    Raises:
        Problem: ``InvalidMapping`` when the driver is not installed, which few need.
    """
    dialect = url.get_backend_name()
    try:
        engine = new_engine(url, limits, connect_args=arguments(dialect, limits))
    except ModuleNotFoundError as error:
        package, extra = EXTRAS[dialect]
        detail = f"the driver {package} is not installed: pip install 'saphan[{extra}]'"
        raise Problem(Code.INVALID_MAPPING, where="source", detail=detail) from error
    prepare(engine, limits)
    return engine


def arguments(dialect: str, limits: Limits) -> dict[str, Any]:
    """What the driver connects with."""
    connect_s = max(1, round(limits.connect_timeout_s))
    if dialect == "mssql":
        return {
            "login_timeout": connect_s,
            "timeout": max(1, round(limits.statement_timeout_s)),
            "appname": "saphan-adapter",
            "charset": "UTF-8",
            "autocommit": False,
        }
    return {"tcp_connect_timeout": limits.connect_timeout_s, "retry_count": 0}


def prepare(engine: Engine, limits: Limits) -> None:
    """Set up every session of ``engine``."""
    if engine.dialect.name != "oracle":
        return

    def connected(connection: Any, record: Any) -> None:
        connection.call_timeout = max(1, round(limits.statement_timeout_s * 1000))
        record.info["timeout_s"] = limits.statement_timeout_s

    def begin(connection: Connection) -> None:
        connection.exec_driver_sql(READ_ONLY)

    event.listen(engine, "connect", connected)
    event.listen(engine, "begin", begin)


def limit_time(raw: Any, info: dict[str, Any], dialect: str, timeout_s: float) -> None:
    """Give what the connection runs next at most ``timeout_s``; pymssql has one time for all."""
    if dialect == "oracle" and timeout_s != info.get("timeout_s"):
        raw.call_timeout = max(1, round(timeout_s * 1000))
        info["timeout_s"] = timeout_s


# What the driver says when time was up: pymssql's number, oracledb's full code.
TIMEOUTS = frozenset({"20003", "20047", "DPY-4024", "DPI-1067", "ORA-03136", "ORA-01013"})

MSSQL_RIGHTS = """
SELECT DISTINCT permission_name FROM fn_my_permissions(NULL, 'DATABASE')
WHERE permission_name IN ('INSERT', 'UPDATE', 'DELETE', 'ALTER', 'CONTROL', 'EXECUTE',
 'ALTER ANY SCHEMA', 'CREATE TABLE')
ORDER BY permission_name
"""
MSSQL_TABLES = """
SELECT TOP 4 s.name + '.' + t.name FROM sys.tables t JOIN sys.schemas s ON s.schema_id = t.schema_id
WHERE HAS_PERMS_BY_NAME(QUOTENAME(s.name) + '.' + QUOTENAME(t.name), 'OBJECT', 'INSERT') = 1
   OR HAS_PERMS_BY_NAME(QUOTENAME(s.name) + '.' + QUOTENAME(t.name), 'OBJECT', 'UPDATE') = 1
   OR HAS_PERMS_BY_NAME(QUOTENAME(s.name) + '.' + QUOTENAME(t.name), 'OBJECT', 'DELETE') = 1
ORDER BY 1
"""
ORACLE_RIGHTS = """
SELECT privilege FROM session_privs
WHERE privilege LIKE '%ANY TABLE%' AND privilege NOT LIKE 'SELECT%' AND privilege NOT LIKE 'READ%'
   OR privilege LIKE 'CREATE %' AND privilege <> 'CREATE SESSION'
   OR privilege IN ('ALTER SYSTEM', 'ALTER DATABASE')
ORDER BY privilege
"""
ORACLE_TABLES = """
SELECT owner || '.' || table_name FROM (
  SELECT USER AS owner, table_name FROM user_tables
  UNION SELECT table_schema, table_name FROM all_tab_privs
  WHERE privilege IN ('INSERT', 'UPDATE', 'DELETE', 'ALTER')
    AND grantee IN (SELECT USER FROM dual UNION SELECT role FROM session_roles)
)
ORDER BY 1 FETCH FIRST 4 ROWS ONLY
"""
