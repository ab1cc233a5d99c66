"""Failures of a source: what the drivers' exceptions mean.

:func:`problem_of` turns them into problems whose text holds no address, password or value; the
operator finds the driver's own words in ``__cause__``.
"""

from __future__ import annotations

import sqlite3
from typing import Any

import psycopg
from sqlalchemy import exc as sqlalchemy_exc

from adapters.sources import vendors
from exchange.problems import Code, Problem

_MIXED_COLLATIONS = (1267, 1270, 1271)  # of two, three and more values
_PG_CANCELLED = "57014"
_MARIADB_TIMEOUT, _MYSQL_TIMEOUT = 1969, 3024


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
    """Whether the database cut a statement that took too long."""
    if isinstance(origin, sqlite3.OperationalError):
        return state == "SQLITE_INTERRUPT"
    return state in vendors.TIMEOUTS or state in (
        _PG_CANCELLED,
        str(_MARIADB_TIMEOUT),
        str(_MYSQL_TIMEOUT),
    )
