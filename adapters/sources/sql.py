"""Read-only sessions: SQLite, PostgreSQL and MariaDB (MySQL) through SQLAlchemy.

Those of SQL Server and Oracle differ: :mod:`adapters.sources.vendors`.

Invariants of every connection that :func:`open_sqlite` and :func:`open_server` give:
- the session cannot write, whatever text it is given: SQLite is opened ``mode=ro`` and
  ``query_only``, PostgreSQL and MariaDB begin every transaction READ ONLY;
- nothing that was promised of a PostgreSQL transaction depends on the session that it is in: a
  pooler may give each another one (:func:`begin_postgresql`);
- what is read between taking a connection of a server and giving it back is of one snapshot,
  however many statements it takes (REPEATABLE READ; engines of MariaDB without transactions have
  none); SQLite, whose readers may keep writers waiting, is held (:func:`hold_still`) for answers of
  several statements only;
- a statement ends by itself: ``statement_timeout``, ``max_statement_time``, or SQLite's progress
  handler; nobody has to be there to cut it;
- a connection that the database dropped, or whose SQLite file was replaced, is replaced before use:
  beginning the transaction is what tells, so that no other round trip is spent on it.

The drivers' exceptions stop here: :func:`problem_of` turns them into problems whose text holds no
address, password or value; the operator finds the driver's own words in ``__cause__``.
"""

from __future__ import annotations

import math
import sqlite3
import time
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import quote

import psycopg
from sqlalchemy import URL, Connection, Engine, create_engine, event
from sqlalchemy import exc as sqlalchemy_exc
from sqlalchemy.engine import make_url
from sqlalchemy.pool import QueuePool

from adapters.fields.inward import Near
from adapters.mapping.model import Limits
from adapters.sources import vendors
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
    "mssql": "mssql+pymssql",
    "sqlserver": "mssql+pymssql",
    "mssql+pymssql": "mssql+pymssql",
    "oracle": "oracle+oracledb",
    "oracle+oracledb": "oracle+oracledb",
}
# A PostgreSQL host that vanishes without a word is missed after a minute, not after two hours; nor
# after a quarter of one when it vanishes with a statement on its way.
KEEPALIVES = {
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 60_000,
}
# Longer than the server's own limit of a statement: it is the server that cuts, while it can.
_ANSWER_S = 5.0
_MIXED_COLLATIONS = (1267, 1270, 1271)  # of two, three and more values
KEPT = "saphan_kept"
"""Where a connection's info has what is kept until an answer is told."""
_PROGRESS_STEPS = 5_000
_BEGIN_MARIADB = "START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY"
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
    engine = new_engine(URL.create("sqlite"), limits, ping=False)

    def connect(dialect: Any, record: Any, *arguments: Any) -> sqlite3.Connection:
        # The mark is taken before: a replacement in between is noticed at the next checkout.
        with suppress(OSError):
            record.info["mark"] = database.mark()
        return database.connect()

    def prepare(connection: sqlite3.Connection, record: Any) -> None:
        connection.execute("PRAGMA query_only=ON")

    def check(connection: Any, record: Any, proxy: Any) -> None:
        # A file that was moved away or replaced must not be read through an old handle.
        try:
            same = record.info.get("mark") == database.mark()
        except OSError as error:
            raise sqlalchemy_exc.DisconnectionError("the file is gone") from error
        if not same:
            raise sqlalchemy_exc.DisconnectionError("the file was replaced")

    def end(connection: sqlite3.Connection | None, record: Any) -> None:
        if connection is not None:
            connection.set_progress_handler(None, 0)

    event.listen(engine, "do_connect", connect)
    event.listen(engine, "connect", prepare)
    event.listen(engine, "checkout", check)
    event.listen(engine, "checkin", end)
    return engine


def open_server(url: URL, limits: Limits) -> Engine:
    """An engine for a database server; nothing is connected yet.

    Raises:
        Problem: ``InvalidMapping`` when the driver is not installed, which few need.
    """
    if url.get_backend_name() in vendors.EXTRAS:
        return _open_vendor(url, limits)
    if url.get_backend_name() == "postgresql":
        arguments: dict[str, Any] = {
            "connect_timeout": max(1, round(limits.connect_timeout_s)),
            "client_encoding": "utf8",
            "application_name": "saphan-adapter",
            "prepare_threshold": None,  # connection poolers between us and the server forbid it
            **KEEPALIVES,
        }
        prepare = _prepare_postgresql(limits)
    else:
        arguments = {
            "connect_timeout": limits.connect_timeout_s,
            "read_timeout": limits.statement_timeout_s + _ANSWER_S,
            "charset": "utf8mb4",
        }
        prepare = _prepare_mariadb(limits)
    engine = new_engine(url, limits, ping=False, connect_args=arguments)
    if engine.dialect.name == "postgresql":
        bound_answers(engine, limits)
    event.listen(engine, "connect", prepare)
    begin = begin_postgresql("REPEATABLE READ, READ ONLY", limits.statement_timeout_s)
    _begin_transactions(engine, begin if engine.dialect.name == "postgresql" else _BEGIN_MARIADB)
    return engine


class _Bounded(psycopg.Connection[Any]):
    """A connection that gives up what is not answered within ``answer_s`` seconds, and closes.

    A server that hangs cuts no statement, and its system goes on answering for it.
    """

    answer_s = math.inf

    def wait(self, gen: Any, interval: float = 0.1, timeout: float | None = None) -> Any:
        try:
            return super().wait(gen, interval, self.answer_s if timeout is None else timeout)
        except psycopg.OperationalError as error:
            if self.pgconn.transaction_status != psycopg.pq.TransactionStatus.ACTIVE:
                raise
            self.pgconn.finish()  # what comes of the statement is not waited for any more
            raise psycopg.OperationalError("no answer for too long") from error


def bound_answers(engine: Engine, limits: Limits) -> None:
    """Let connections of ``engine`` to PostgreSQL give up soon after the server should have."""

    def connect(dialect: Any, record: Any, arguments: Any, named: Any) -> _Bounded:
        connection = _Bounded.connect(*arguments, **named)
        connection.answer_s = limits.statement_timeout_s + _ANSWER_S
        return connection

    event.listen(engine, "do_connect", connect)


def begin_postgresql(mode: str, timeout_s: float) -> str:
    """A message that begins a transaction with its time limits: one round trip, no parameters.

    They are the transaction's and not the session's: a pooler gives the next one another session,
    and this session to others, who must not find in it what was set here.
    """
    milliseconds = max(1, round(timeout_s * 1000))
    return (
        f"BEGIN ISOLATION LEVEL {mode}; SET LOCAL statement_timeout = {milliseconds:d};"
        f" SET LOCAL idle_in_transaction_session_timeout = {milliseconds * 2:d}"
    )


def _begin_transactions(engine: Engine, statement: str) -> None:
    """Begin a transaction whenever a connection is taken, and anew after one was rolled back."""

    def taken(connection: Any, record: Any, proxy: Any) -> None:
        cursor = connection.cursor()
        try:
            cursor.execute(statement)
        except engine.dialect.loaded_dbapi.Error as error:
            raise sqlalchemy_exc.InvalidatePoolError("the connection is gone") from error
        finally:
            cursor.close()
        record.info["begun"] = True

    def begin(connection: Connection) -> None:
        if not connection.info.pop("begun", False):
            connection.exec_driver_sql(statement)

    event.listen(engine, "checkout", taken)
    event.listen(engine, "begin", begin)


def _open_vendor(url: URL, limits: Limits) -> Engine:
    dialect = url.get_backend_name()
    try:
        engine = new_engine(url, limits, connect_args=vendors.arguments(dialect, limits))
    except ModuleNotFoundError as error:
        package, extra = vendors.EXTRAS[dialect]
        detail = f"the driver {package} is not installed: pip install 'saphan[{extra}]'"
        raise Problem(Code.INVALID_MAPPING, where="source", detail=detail) from error
    vendors.prepare(engine, limits)
    return engine


def new_engine(url: URL, limits: Limits, *, ping: bool = True, **arguments: Any) -> Engine:
    """An engine with a bounded pool that survives restarts; its sessions are the caller's care."""
    return create_engine(
        url,
        poolclass=QueuePool,
        pool_size=limits.max_connections,
        max_overflow=0,
        pool_timeout=limits.connect_timeout_s,
        pool_pre_ping=ping,
        pool_recycle=1800,
        pool_use_lifo=True,
        hide_parameters=True,
        **arguments,
    )


def behind_pooler(connection: Any) -> str:
    """A condition of SQL: whether the session is not the one that this connection began with.

    Poolers tell a number of their own for the session's process.
    """
    return f"pg_catalog.pg_backend_pid() <> {connection.info.backend_pid:d}"


def _prepare_postgresql(limits: Limits) -> Callable[[Any, Any], None]:
    def prepare(connection: Any, record: Any) -> None:
        connection.autocommit = True  # transactions begin where it is said, and nowhere else
        # Even outside of a transaction nothing is written; a session of a pooler is left alone.
        setting = "pg_catalog.set_config('default_transaction_read_only', 'on', false)"
        with connection.cursor() as cursor:
            cursor.execute(f"SELECT {setting} WHERE NOT {behind_pooler(connection)}".encode())
        record.info["timeout_s"] = limits.statement_timeout_s

    return prepare


def _prepare_mariadb(limits: Limits) -> Callable[[Any, Any], None]:
    def prepare(connection: Any, record: Any) -> None:
        with connection.cursor() as cursor:
            cursor.execute("SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        record.info["mariadb"] = "mariadb" in connection.get_server_info().lower()
        set_mariadb_timeout(connection, record.info, limits.statement_timeout_s)

    return prepare


def set_mariadb_timeout(connection: Any, info: dict[str, Any], timeout_s: float) -> None:
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
    elif dialect in vendors.EXTRAS:
        vendors.limit_time(raw, info, dialect, timeout_s)
    elif timeout_s < info["timeout_s"] or info.get("shortened"):
        set_mariadb_timeout(raw, info, timeout_s)
        info["shortened"] = True


def limit_to_end(connection: Connection) -> None:
    """In a transaction that was begun anew: the time that is left of the request is its limit."""
    end = connection.info.get("end")
    if end is not None:
        limit_time(connection, max(0.001, end - time.monotonic()))  # 0 would be no limit


def keep_until_told(connection: Connection, *objects: Any) -> None:
    """Keep what an answer was made of until it is told: to free many rows takes its time, too."""
    connection.info[KEPT] = objects


@contextmanager
def aside(connection: Connection) -> Iterator[None]:
    """A look beside what was asked: when the database refuses it, nothing is lost but the look.

    PostgreSQL would refuse all that follows in the transaction, so it goes back to before the look.

    Raises:
        sqlalchemy.exc.DBAPIError: when the connection is gone.
    """
    postgresql = connection.dialect.name == "postgresql"
    try:
        with connection.begin_nested() if postgresql else nullcontext():
            yield
    except sqlalchemy_exc.DBAPIError as error:
        if error.connection_invalidated:
            raise


def hold_still(connection: Connection) -> None:
    """Read what follows in ``connection`` as of one moment, that of the first statement.

    Others do so by themselves (see the module), but for SQL Server, which has such transactions
    only where its owner allowed them, and is not asked.
    """
    if connection.dialect.name == "sqlite":
        raw: Any = connection.connection.dbapi_connection
        if not raw.in_transaction:
            raw.execute("BEGIN")


def bound(dialect: str, value: Any) -> Any:
    """``value`` as the driver of ``dialect`` binds it: SQLite knows no decimals and no dates,
    Oracle and SQL Server no truth values.

    PostgreSQL gets times that name their zone, and floats, as texts without a type, which it reads
    as the column's: so the zone counts where the column has one, and a ``real`` equals itself. To
    the others a time is that of its clock. What a database has no value of, such as
    SQLite of a duration, is only in a cursor of somebody's own making: nothing compares with it.
    """
    if isinstance(value, Near):
        value = value.number
    if dialect == "postgresql":
        if isinstance(value, float):
            return repr(value)
        if isinstance(value, datetime) and value.tzinfo is not None:
            return value.isoformat(sep=" ")
        return value
    if isinstance(value, datetime):
        value = value.replace(tzinfo=None)
    if isinstance(value, Decimal | float) and not math.isfinite(value):
        return float(value) if dialect == "sqlite" else None
    if dialect != "sqlite":
        return int(value) if dialect in vendors.EXTRAS and isinstance(value, bool) else value
    match value:
        case Decimal():
            whole = abs(value) < 1 << 63 and value == value.to_integral_value()
            return int(value) if whole else float(value)
        case datetime():
            return value.isoformat(sep=" ")
        case date():
            return value.isoformat()
        case timedelta():
            return None
        case _:
            return value


# Foreign exceptions.


def problem_of(error: Exception, dialect: str) -> Problem:
    """The problem that stands for a driver's exception."""
    origin = getattr(error, "orig", None) or error
    state = state_of(origin)
    facts: dict[str, Any] = {"source": dialect, "error": type(origin).__name__, "state": state}
    if is_timeout(origin, state):
        return Problem(
            Code.BACKEND_TIMEOUT,
            where="source",
            detail="the source was cut off because the query ran longer than allowed",
            facts=facts,
        )
    if is_unreadable(origin):
        return Problem(
            Code.RESPONSE_SCHEMA_VIOLATION,
            where="source",
            detail=f"the source holds a value that the driver cannot read: {type(origin).__name__}",
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


def mixes_collations(origin: BaseException | None) -> bool:
    """Whether MariaDB cannot compare, for the column's character set lacks a sign of the value."""
    return origin is not None and bool(origin.args) and origin.args[0] in _MIXED_COLLATIONS


def is_unreadable(origin: BaseException) -> bool:
    """Whether the driver could not read a value: the connection and the statement are sound."""
    if isinstance(origin, sqlite3.OperationalError):
        return "decode" in str(origin)  # text that is not UTF-8: SQLite has no code for it
    return isinstance(origin, UnicodeDecodeError | psycopg.DataError) and not state_of(origin)


def state_of(origin: BaseException) -> str:
    """SQLite's error name, MariaDB's and SQL Server's number, Oracle's code or a SQLSTATE."""
    if isinstance(origin, sqlite3.Error):
        return str(getattr(origin, "sqlite_errorname", "") or "")
    code = origin.args[0] if origin.args else ""
    if isinstance(code, int):
        return str(code)
    return str(getattr(origin, "sqlstate", "") or getattr(code, "full_code", "") or "")


def is_timeout(origin: BaseException, state: str) -> bool:
    if isinstance(origin, sqlite3.OperationalError):
        return state == "SQLITE_INTERRUPT"
    return state in vendors.TIMEOUTS or state in (
        _PG_CANCELLED,
        str(_MARIADB_TIMEOUT),
        str(_MYSQL_TIMEOUT),
    )
