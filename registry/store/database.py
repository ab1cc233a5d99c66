"""The database under the registry, of either engine: connections, transactions, and what fails.

SQLite in one file (WAL, ``synchronous=FULL``) or PostgreSQL (psycopg 3). Statements are written
once, in SQLAlchemy Core; what differs between the engines is here and in no other module.

Invariants:
- writers come one at a time, in one process or in several: a transaction begins by taking the one
  writers' lock (``BEGIN IMMEDIATE``; an advisory lock of the transaction), so what a transaction
  reads is what it changes, and nobody else changes it meanwhile;
- what is committed has reached the disk, whatever the server's default is;
- every wait is bounded: for a connection, a lock, a statement, and for a process that went silent
  in the middle of a transaction, which loses it;
- what the database raises leaves here as a Problem.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from sqlalchemy import (
    URL,
    BigInteger,
    Connection,
    CursorResult,
    Engine,
    Executable,
    Integer,
    MetaData,
    Select,
    Table,
    create_engine,
    event,
    func,
    make_url,
    select,
)
from sqlalchemy.exc import ArgumentError, SQLAlchemyError

from exchange.problems import Code, Problem

METADATA = MetaData()
"""Every table of the registry; each is defined in the module of the part that uses it."""
WHOLE = BigInteger().with_variant(Integer, "sqlite")
"""Whole numbers: versions, numbers of rows."""

CONNECT_S = 5
WAIT_S = 30
STATEMENT_S = 120
_WRITERS = 0x5A_91_0C_05  # the advisory lock that every writing transaction takes
_POOL = 5
_ROWS = 200  # of a table that is copied, in memory at a time


class Database:
    """One database; the parts of :class:`registry.store.Store` are built on it.

    Methods block and are called from any thread. Within :meth:`transaction` a thread keeps its
    connection; outside, each statement stands alone.
    """

    def __init__(self, place: Path | str) -> None:
        self.name = name_of(place)
        self._engine = _engine(place)
        self._lock = threading.RLock()
        self._mine = threading.local()

    @property
    def is_shared(self) -> bool:
        """Whether other processes may write to it."""
        return self._engine.dialect.name == "postgresql"

    @property
    def is_in_transaction(self) -> bool:
        """Whether this thread is within :meth:`transaction` or :meth:`reading`."""
        return self._held is not None

    def close(self) -> None:
        """Close all connections; idempotent."""
        self._engine.dispose()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All or nothing, and no other writer meanwhile; one within another is part of it.

        Raises:
            Problem: ``DatabaseUnavailable`` when the database or its lock cannot be had, or was
                lost on the way. If it was lost at the very end, what was done may stand.
        """
        if self._held is not None:
            yield
            return
        if not self._lock.acquire(timeout=WAIT_S):
            raise _unavailable(self.name, "another act takes too long")
        try:
            with self._failures(), self._engine.connect() as connection:
                self._begin(connection)
                self._mine.connection = connection
                self._mine.is_failed = False
                try:
                    yield
                except BaseException:
                    self._roll_back(connection)
                    raise
                finally:
                    self._mine.connection = None
                if self._mine.is_failed:  # PostgreSQL would take COMMIT for ROLLBACK, and say so
                    self._roll_back(connection)
                    raise _unavailable(self.name, "a statement of the transaction failed")
                connection.exec_driver_sql("COMMIT")
        finally:
            self._lock.release()

    @contextmanager
    def reading(self) -> Iterator[None]:
        """What is read in this thread is of one moment, while others write."""
        with self._failures(), self._engine.connect() as connection:
            how = "ISOLATION LEVEL REPEATABLE READ READ ONLY" if self.is_shared else "DEFERRED"
            connection.exec_driver_sql(f"BEGIN {how}")
            self._mine.connection = connection
            try:
                yield
            finally:
                self._mine.connection = None
                self._roll_back(connection)

    def _batches(self, table: Table) -> Iterator[list[dict[str, Any]]]:
        """All rows of a table, some at a time; within :meth:`reading`."""
        held = self._held
        assert held is not None  # noqa: S101  # within a reading
        with self._failures():
            query = select(table).execution_options(yield_per=_ROWS)
            for rows in held.execute(query).partitions():
                yield [dict(row._mapping) for row in rows]

    def _continue_numbers(self) -> None:
        """New rows are numbered after those that were put in with their numbers."""
        if not self.is_shared:
            return  # SQLite does so by itself
        for table in METADATA.sorted_tables:
            column = table.autoincrement_column
            if column is not None:
                sequence = func.pg_get_serial_sequence(table.name, column.name)
                most = select(func.coalesce(func.max(column), 0) + 1).scalar_subquery()
                self._rows(select(func.setval(sequence, most, False)))

    @property
    def _held(self) -> Connection | None:
        return getattr(self._mine, "connection", None)

    def _begin(self, connection: Connection) -> None:
        if self.is_shared:
            connection.exec_driver_sql("BEGIN")
            connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_WRITERS})")
        else:
            connection.exec_driver_sql("BEGIN IMMEDIATE")

    def _roll_back(self, connection: Connection) -> None:
        try:
            connection.exec_driver_sql("ROLLBACK")
        except SQLAlchemyError:
            connection.invalidate()

    def _rows(self, query: Select[Any]) -> Sequence[Any]:
        """All rows of a query."""
        held = self._held
        with self._failures():
            if held is not None:
                return held.execute(query).all()
            with self._engine.connect() as connection:
                return connection.execute(query).all()

    def _run(
        self, statement: Executable, values: Sequence[dict[str, Any]] | None = None
    ) -> CursorResult[Any]:
        """Change something: one statement, for each of ``values`` if there are any."""
        with self.transaction(), self._failures():
            held = self._held
            assert held is not None  # noqa: S101  # within a transaction
            return held.execute(statement, values or None)

    @contextmanager
    def _failures(self) -> Iterator[None]:
        try:
            yield
        except SQLAlchemyError as error:
            self._mine.is_failed = True
            cause = getattr(error, "orig", None) or error
            raise _unavailable(self.name, str(cause).strip().split("\n")[0][:300]) from error


def name_of(place: Path | str) -> str:
    """The database as it may be shown: without user and password.

    Raises:
        Problem: ``InvalidSettings`` for an address that is none of PostgreSQL.
    """
    if isinstance(place, Path):
        return str(place)
    url = _url(place)
    return f"postgresql://{url.host or ''}/{url.database or ''}"


def _engine(place: Path | str) -> Engine:
    pool: dict[str, Any] = {"pool_size": _POOL, "max_overflow": 0, "pool_timeout": WAIT_S}
    # AUTOCOMMIT: transactions begin and end where this module says.
    if isinstance(place, Path):
        engine = create_engine(
            URL.create("sqlite", database=str(place)),
            isolation_level="AUTOCOMMIT",
            connect_args={"timeout": WAIT_S, "check_same_thread": False},
            **pool,
        )
        event.listen(engine, "connect", _set_up_sqlite)
        return engine
    engine = create_engine(
        _url(place),
        isolation_level="AUTOCOMMIT",
        connect_args={
            "connect_timeout": CONNECT_S,
            "application_name": "saphan registry",
            # A server that is gone without a word is noticed.
            "keepalives_idle": 10,
            "tcp_user_timeout": WAIT_S * 1000,
        },
        pool_pre_ping=True,  # the server may have been started anew
        **pool,
    )
    event.listen(engine, "connect", _set_up_postgresql)
    return engine


def _set_up_sqlite(connection: sqlite3.Connection, _: object) -> None:
    for pragma in ("journal_mode = WAL", "synchronous = FULL", "foreign_keys = ON"):
        connection.execute(f"PRAGMA {pragma}")


def _set_up_postgresql(connection: Any, _: object) -> None:
    with connection.cursor() as cursor:
        for name, value in {
            "synchronous_commit": "on",
            "lock_timeout": f"{WAIT_S}s",
            "statement_timeout": f"{STATEMENT_S}s",
            "idle_in_transaction_session_timeout": f"{WAIT_S}s",
            "tcp_keepalives_idle": str(WAIT_S),
        }.items():
            cursor.execute("SELECT set_config(%s, %s, false)", (name, value))


def _url(place: str) -> URL:
    with suppress(ArgumentError, ValueError):
        url = make_url(place)
        if url.get_backend_name() == "postgresql":
            return url.set(drivername="postgresql+psycopg")
    raise Problem(
        Code.INVALID_SETTINGS,
        where="database",
        detail="must be empty (SQLite beside the registry) or postgresql://user@host/database",
    )


def _unavailable(name: str, detail: str) -> Problem:
    return Problem(Code.DATABASE_UNAVAILABLE, where=name, detail=detail)
