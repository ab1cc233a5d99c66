"""Read-only sessions of all databases through SQLAlchemy.

Each database has a module of its own: :mod:`~adapters.sources.sqlite`,
:mod:`~adapters.sources.postgresql`, :mod:`~adapters.sources.mariadb` (MySQL). Those of SQL Server
and Oracle differ: :mod:`~adapters.sources.vendors`. Invariants of every connection to the others:
- the session cannot write, whatever text it is given: SQLite is opened ``mode=ro`` and
  ``query_only``, PostgreSQL and MariaDB begin every transaction READ ONLY;
- what is read between taking a connection of a server and giving it back is of one snapshot,
  however many statements it takes (REPEATABLE READ, on PostgreSQL READ COMMITTED for one alone;
  engines of MariaDB without transactions have none); SQLite, whose readers may keep writers
  waiting, is held (:func:`hold_still`) for answers of several statements only;
- no table is taken for empty because it was written anew after that snapshot: MariaDB says so by
  itself, PostgreSQL is asked (:func:`moved`);
- a statement ends by itself: ``statement_timeout``, ``max_statement_time``, or SQLite's progress
  handler; nobody has to be there to cut it;
- a connection that the database dropped, or whose SQLite file was replaced, is replaced before use:
  beginning the transaction is what tells, so that no other round trip is spent on it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from time import monotonic
from typing import Any

import structlog
from sqlalchemy import URL, Connection, Engine
from sqlalchemy import exc as sqlalchemy_exc

from adapters.mapping.model import Limits
from adapters.sources import mariadb, postgresql, sqlite, vendors
from exchange.problems import Code, Problem

_log = structlog.get_logger("saphan.adapters")
KEPT = "saphan_kept"
"""Where a connection's info has what is kept until an answer is told."""


def open_server(url: URL, limits: Limits) -> Engine:
    """An engine for a database server; nothing is connected yet.

    Raises:
        Problem: ``InvalidMapping`` when the driver is not installed, which few need.
    """
    dialect = url.get_backend_name()
    if dialect in vendors.EXTRAS:
        return vendors.open_reading(url, limits)
    if dialect == "postgresql":
        return postgresql.open_reading(url, limits)
    return mariadb.open_reading(url, limits)


def limit_time(connection: Connection, timeout_s: float) -> None:
    """Give what ``connection`` runs next at most ``timeout_s``.

    The session's own limit is left alone where it is short enough, which spares a round trip.
    """
    raw: Any = connection.connection.dbapi_connection
    info, dialect = connection.info, connection.dialect.name
    if dialect == "sqlite":
        sqlite.limit_time(raw, timeout_s)
    elif dialect == "postgresql":
        postgresql.limit_time(connection, timeout_s)
    elif dialect in vendors.EXTRAS:
        vendors.limit_time(raw, info, dialect, timeout_s)
    else:
        mariadb.limit_time(raw, info, timeout_s)


def limit_to_end(connection: Connection) -> None:
    """In a transaction that was begun anew: the time that is left of the request is its limit."""
    end = connection.info.get("end")
    if end is not None:
        limit_time(connection, max(0.001, end - monotonic()))  # 0 would be no limit


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
    nested = connection.dialect.name == "postgresql"
    try:
        with connection.begin_nested() if nested else nullcontext():
            yield
    except sqlalchemy_exc.DBAPIError as error:
        if error.connection_invalidated:
            raise


def moved(connection: Connection) -> bool:
    """Whether a table that was read had been written anew since the transaction's moment.

    Raises:
        sqlalchemy.exc.DBAPIError: when the connection is gone.
    """
    if connection.dialect.name != "postgresql":
        return False
    try:
        return postgresql.rewritten(connection)
    except sqlalchemy_exc.DBAPIError as error:
        if error.connection_invalidated:
            raise
        _log.warning("tables_not_compared", error=type(error.orig).__name__)
        return False


def check_moment(connection: Connection) -> None:
    """See, after the last of several statements, that the tables were there to be read.

    Raises:
        Problem: ``SourceFailed``, to be asked again, when one was written anew meanwhile.
    """
    if moved(connection):
        raise anew()


def anew() -> Problem:
    """A table was written anew under a transaction: the next one has its rows."""
    detail = "a table was written anew (TRUNCATE, ALTER TABLE) while it was read: ask again"
    return Problem(Code.SOURCE_FAILED, where="source", detail=detail, retryable=True)


def hold_still(connection: Connection) -> None:
    """Read what follows in ``connection`` as of one moment, that of the first statement.

    Others do so by themselves (see the module), but for SQL Server, which has such transactions
    only where its owner allowed them, and is not asked.
    """
    if connection.dialect.name == "sqlite":
        raw: Any = connection.connection.dbapi_connection
        if not raw.in_transaction:
            raw.execute("BEGIN")
