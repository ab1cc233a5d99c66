"""Read-only sessions: SQLite, PostgreSQL and MariaDB (MySQL) through SQLAlchemy.

Invariants of every connection that :func:`open_sqlite` and :func:`open_server` give:
- the session cannot write, whatever text it is given: SQLite is opened ``mode=ro`` and
  ``query_only``, PostgreSQL begins every transaction READ ONLY, MariaDB's session is READ ONLY;
- a statement ends by itself: ``statement_timeout``, ``max_statement_time``, or SQLite's progress
  handler; nobody has to be there to cut it;
- a connection that the database dropped, or whose SQLite file was replaced, is replaced before use.

The drivers' exceptions stop here: :func:`problem_of` turns them into problems whose text holds no
address, password or value; the operator finds the driver's own words in ``__cause__``.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import quote

from sqlalchemy import URL, Connection, Engine, create_engine, event
from sqlalchemy import exc as sqlalchemy_exc
from sqlalchemy.engine import make_url
from sqlalchemy.pool import QueuePool

from adapters.mapping import Limits
from exchange.problems import Code, Problem

DRIVERS = {
    "sqlite": "sqlite",
    "postgresql": "postgresql+psycopg",
    "postgres": "postgresql+psycopg",
    "postgresql+psycopg": "postgresql+psycopg",
    "mariadb": "mariadb+pymysql",
    "mysql": "mariadb+pymysql",
    "mariadb+pymysql": "mariadb+pymysql",
    "mysql+pymysql": "mariadb+pymysql",
}
_PROGRESS_STEPS = 5_000
_PG_CANCELLED = "57014"
_MARIADB_TIMEOUT, _MYSQL_TIMEOUT = 1969, 3024


def parse_url(text: str, where: str) -> URL:
    """Parse a database address and set the driver that is used here.

    Raises:
        Problem: ``InvalidMapping`` when it is not an address or of another kind of database; the
            address itself, which may hold a password, is not repeated.
    """
    try:
        url = make_url(text)
    except (sqlalchemy_exc.ArgumentError, ValueError) as error:
        detail = "is not a database address such as postgresql://user:${PASSWORD}@host/name"
        raise Problem(Code.INVALID_MAPPING, where=where, detail=detail) from error
    driver = DRIVERS.get(url.drivername)
    if driver is None:
        detail = f"{url.drivername!r} is not one of: {', '.join(DRIVERS)}"
        raise Problem(Code.INVALID_MAPPING, where=where, detail=detail)
    return url.set(drivername=driver)


class SqliteDatabase(Protocol):
    """A SQLite database that may be replaced by another while connections to it are pooled."""

    def connect(self) -> sqlite3.Connection:
        """A new connection, usable in any thread."""
        ...

    def mark(self) -> Hashable:
        """What tells this database from one that replaced it.

        Raises:
            OSError: when it is gone.
        """
        ...


@dataclass(frozen=True, slots=True)
class SqliteFile:
    """A database in a file, opened for reading only."""

    path: Path

    def connect(self) -> sqlite3.Connection:
        address = f"file:{quote(str(self.path))}?mode=ro"
        return sqlite3.connect(address, uri=True, check_same_thread=False, timeout=2.0)

    def mark(self) -> Hashable:
        state = self.path.stat()
        return (state.st_dev, state.st_ino)


def open_sqlite(database: SqliteDatabase, limits: Limits) -> Engine:
    """An engine over ``database``; nothing is opened yet."""
    engine = _engine(URL.create("sqlite"), limits, creator=database.connect)

    def prepare(connection: sqlite3.Connection, record: Any) -> None:
        connection.execute("PRAGMA query_only=ON")
        record.info["mark"] = database.mark()

    def check(connection: Any, record: Any, proxy: Any) -> None:
        # A file that was moved away or replaced must not be read through an old handle.
        try:
            same = record.info["mark"] == database.mark()
        except OSError as error:
            raise sqlalchemy_exc.DisconnectionError("the file is gone") from error
        if not same:
            raise sqlalchemy_exc.DisconnectionError("the file was replaced")

    def end(connection: sqlite3.Connection | None, record: Any) -> None:
        if connection is not None:
            connection.set_progress_handler(None, 0)

    event.listen(engine, "connect", prepare)
    event.listen(engine, "checkout", check)
    event.listen(engine, "checkin", end)
    return engine


def open_server(url: URL, limits: Limits) -> Engine:
    """An engine for a database server; nothing is connected yet."""
    if url.get_backend_name() == "postgresql":
        arguments: dict[str, Any] = {
            "connect_timeout": max(1, round(limits.connect_timeout_s)),
            "client_encoding": "utf8",
            "application_name": "saphan-adapter",
            "prepare_threshold": None,  # connection poolers between us and the server forbid it
        }
        prepare = _prepare_postgresql(limits)
    else:
        arguments = {
            "connect_timeout": limits.connect_timeout_s,
            "read_timeout": limits.statement_timeout_s + 5,
            "charset": "utf8mb4",
        }
        prepare = _prepare_mariadb(limits)
    engine = _engine(url, limits, connect_args=arguments)
    event.listen(engine, "connect", prepare)
    return engine


def _engine(url: URL, limits: Limits, **arguments: Any) -> Engine:
    return create_engine(
        url,
        poolclass=QueuePool,
        pool_size=limits.max_connections,
        max_overflow=0,
        pool_timeout=limits.connect_timeout_s,
        pool_pre_ping=True,
        pool_recycle=1800,
        pool_use_lifo=True,
        hide_parameters=True,
        **arguments,
    )


def _prepare_postgresql(limits: Limits) -> Callable[[Any, Any], None]:
    milliseconds = max(1, round(limits.statement_timeout_s * 1000))

    def prepare(connection: Any, record: Any) -> None:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute("SET default_transaction_read_only = on")
            cursor.execute(f"SET statement_timeout = {milliseconds:d}".encode())
            cursor.execute(
                f"SET idle_in_transaction_session_timeout = {milliseconds * 2:d}".encode()
            )
        connection.autocommit = False
        connection.read_only = True
        record.info["timeout_s"] = limits.statement_timeout_s

    return prepare


def _prepare_mariadb(limits: Limits) -> Callable[[Any, Any], None]:
    def prepare(connection: Any, record: Any) -> None:
        with connection.cursor() as cursor:
            cursor.execute("SET SESSION TRANSACTION READ ONLY")
        record.info["mariadb"] = "mariadb" in connection.get_server_info().lower()
        _set_mariadb_timeout(connection, record.info, limits.statement_timeout_s)

    return prepare


def _set_mariadb_timeout(connection: Any, info: dict[str, Any], timeout_s: float) -> None:
    with connection.cursor() as cursor:
        if info["mariadb"]:
            cursor.execute("SET SESSION max_statement_time = %s", (timeout_s,))
        else:
            cursor.execute("SET SESSION max_execution_time = %s", (max(1, int(timeout_s * 1000)),))
    info["timeout_s"] = timeout_s


def limit_time(connection: Connection, timeout_s: float) -> None:
    """Give what ``connection`` runs next at most ``timeout_s``.

    The session's own limit is left alone where it is short enough, which spares a round trip.
    """
    raw: Any = connection.connection.dbapi_connection
    info = connection.info
    dialect = connection.dialect.name
    if dialect == "sqlite":
        end = time.monotonic() + timeout_s
        raw.set_progress_handler(lambda: time.monotonic() > end, _PROGRESS_STEPS)
    elif dialect == "postgresql":
        if timeout_s < info["timeout_s"]:
            milliseconds = max(1, int(timeout_s * 1000))
            connection.exec_driver_sql(f"SET LOCAL statement_timeout = {milliseconds:d}")
    elif timeout_s < info["timeout_s"] or info.get("shortened"):
        _set_mariadb_timeout(raw, info, timeout_s)
        info["shortened"] = True


def bound(dialect: str, value: Any) -> Any:
    """``value`` as the driver of ``dialect`` binds it: SQLite knows no decimals and no dates."""
    if dialect != "sqlite":
        return value
    match value:
        case Decimal():
            return int(value) if value == value.to_integral_value() else float(value)
        case datetime():
            return value.isoformat(sep=" ")
        case date():
            return value.isoformat()
        case _:
            return value


# Foreign exceptions.


def problem_of(error: Exception, dialect: str) -> Problem:
    """The problem that stands for a driver's exception."""
    origin = getattr(error, "orig", None) or error
    state = _state(origin)
    facts: dict[str, Any] = {"source": dialect, "error": type(origin).__name__, "state": state}
    if _is_timeout(origin, state):
        return Problem(
            Code.BACKEND_TIMEOUT,
            where="source",
            detail="the source was cut off because the query ran longer than allowed",
            facts=facts,
        )
    wrong_query = isinstance(error, sqlalchemy_exc.ProgrammingError | sqlalchemy_exc.DataError)
    return Problem(
        Code.SOURCE_FAILED,
        where="source",
        detail=f"{dialect} answered {type(origin).__name__} {state}".strip(),
        facts=facts,
        retryable=not wrong_query,
    )


def _state(origin: BaseException) -> str:
    """SQLite's error name, MariaDB's number or PostgreSQL's SQLSTATE."""
    if isinstance(origin, sqlite3.Error):
        return str(getattr(origin, "sqlite_errorname", "") or "")
    code = origin.args[0] if origin.args else ""
    if isinstance(code, int):
        return str(code)
    return str(getattr(origin, "sqlstate", "") or "")


def _is_timeout(origin: BaseException, state: str) -> bool:
    if isinstance(origin, sqlite3.OperationalError):
        return state == "SQLITE_INTERRUPT"
    return state in (_PG_CANCELLED, str(_MARIADB_TIMEOUT), str(_MYSQL_TIMEOUT))
