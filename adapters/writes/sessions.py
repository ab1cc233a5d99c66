"""Sessions that write: SQLite, PostgreSQL and MariaDB (MySQL) through SQLAlchemy.

Invariants of every connection:
- a transaction sees and leaves the source as if it ran alone (SERIALIZABLE; SQLite takes its one
  lock at once), so that what was read before a change still holds when it is committed; where the
  database finds that it does not, it says so and the transaction is run again;
- a statement, a wait for a lock and a transaction that nobody goes on with end by themselves;
- nothing is cut or rounded to fit a column in silence (MariaDB's strict mode; SQLite has no
  lengths) and SQLite keeps its foreign keys.
"""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from sqlalchemy import URL, Connection, Engine, event

from adapters.mapping.model import Limits, Writing
from adapters.sources import mariadb, postgresql
from adapters.sources.addresses import parse_url
from adapters.sources.engines import new_engine
from adapters.sources.variables import VARIABLE, resolve
from exchange.problems import Code, Problem

_STRICT = "SET SESSION sql_mode = CONCAT_WS(',', NULLIF(@@sql_mode, ''), 'STRICT_ALL_TABLES')"


def open_writing(
    writing: Writing, limits: Limits, environ: Mapping[str, str], folder: Path, where: str
) -> tuple[str, Engine, Path | None]:
    """The dialect, an engine whose sessions write, and the file of a SQLite database.

    Raises:
        Problem: ``InvalidMapping`` for an address that cannot be one or a missing ``${NAME}``.
    """
    url = parse_address(writing, environ, where)
    dialect = url.get_backend_name()
    if dialect == "sqlite":
        if not url.database or url.database.startswith(("file:", ":")):
            detail = "a SQLite address names a file, such as sqlite:///data/register.db"
            raise Problem(Code.INVALID_MAPPING, where=where, detail=detail)
        base = Path() if VARIABLE.search(writing.url) else folder
        file = base / url.database
        return dialect, _open_sqlite(file, limits), file
    return dialect, _SERVERS[dialect](url, limits), None


def parse_address(writing: Writing, environ: Mapping[str, str], where: str) -> URL:
    """The address that writes.

    Raises:
        Problem: ``InvalidMapping`` for one that cannot be, or of a database that is only read.
    """
    url = parse_url(resolve(writing.url, environ, where), where)
    dialect = url.get_backend_name()
    if dialect != "sqlite" and dialect not in _SERVERS:
        detail = f"{dialect} is only read: nobody has put writing to it to a crash"
        raise Problem(Code.INVALID_MAPPING, where=where, detail=detail)
    return url


def _open_sqlite(file: Path, limits: Limits) -> Engine:
    def connect() -> sqlite3.Connection:
        address = f"file:{quote(str(file))}?mode=rw"
        wait_s = min(limits.statement_timeout_s, 5.0)
        connection = sqlite3.connect(address, uri=True, check_same_thread=False, timeout=wait_s)
        connection.isolation_level = None  # transactions begin below, and nowhere else
        connection.execute("PRAGMA foreign_keys=ON")
        return connection

    engine = new_engine(URL.create("sqlite"), limits, creator=connect)

    def begin(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    def end(connection: sqlite3.Connection | None, record: Any) -> None:
        if connection is not None:
            connection.set_progress_handler(None, 0)

    event.listen(engine, "begin", begin)
    event.listen(engine, "checkin", end)
    return engine


def _open_postgresql(url: URL, limits: Limits) -> Engine:
    statement = postgresql.begin("SERIALIZABLE, READ WRITE", limits.statement_timeout_s)

    def prepare(connection: Any, record: Any) -> None:
        connection.autocommit = True  # transactions begin below, and nowhere else
        record.info["timeout_s"] = limits.statement_timeout_s

    def begin(connection: Connection) -> None:
        # All is the transaction's: a pooler may give each another session.
        connection.exec_driver_sql(statement)

    arguments = {
        "connect_timeout": max(1, round(limits.connect_timeout_s)),
        "client_encoding": "utf8",
        "application_name": "saphan-adapter-writes",
        "prepare_threshold": None,  # as for reading: poolers between us and the server forbid it
        **postgresql.KEEPALIVES,
    }
    engine = new_engine(url, limits, connect_args=arguments)
    postgresql.bound_answers(engine, limits)
    event.listen(engine, "connect", prepare)
    event.listen(engine, "begin", begin)
    return engine


def _open_mariadb(url: URL, limits: Limits) -> Engine:
    def prepare(connection: Any, record: Any) -> None:
        with connection.cursor() as cursor:
            cursor.execute("SET SESSION TRANSACTION ISOLATION LEVEL SERIALIZABLE")
            cursor.execute(_STRICT)
            wait_s = max(1, math.ceil(limits.statement_timeout_s))
            cursor.execute("SET SESSION innodb_lock_wait_timeout = %s", (wait_s,))
        record.info["mariadb"] = "mariadb" in connection.get_server_info().lower()
        mariadb.set_timeout(connection, record.info, limits.statement_timeout_s)
        mariadb.end_forsaken(connection, record.info, limits.statement_timeout_s)

    engine = new_engine(url, limits, connect_args=mariadb.arguments(limits))
    mariadb.bound_greetings(engine)
    event.listen(engine, "connect", prepare)
    return engine


_SERVERS: dict[str, Callable[[URL, Limits], Engine]] = {
    "postgresql": _open_postgresql,
    "mariadb": _open_mariadb,
    "mysql": _open_mariadb,
}
