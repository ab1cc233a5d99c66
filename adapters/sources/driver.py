"""Statements on the driver's own cursor, within a connection of SQLAlchemy.

SQLAlchemy writes the statement in the driver's style, lends the connection, begins and ends its
transactions and tells which faults mean that it is gone. What it makes of a result besides (names,
types, tuples of its own) would be made for nothing where rows are taken as the driver gives them,
in a twelfth of the time of a page. Listeners of the engine are told as of every statement.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import lru_cache
from typing import Any

from psycopg.types.string import TextLoader
from sqlalchemy import Connection, Dialect, TextClause
from sqlalchemy import exc as sqlalchemy_exc

from adapters.sources import vendors


def begin(
    connection: Connection,
    statement: TextClause,
    values: Mapping[str, Any],
    *,
    numbers_as_text: bool = False,
) -> Any:
    """Run ``statement``; the caller reads the rows from the cursor and closes it.

    Args:
        values: what is bound; there may be more than the statement names.
        numbers_as_text: of PostgreSQL, ``numeric`` is read as the text that it is sent as.

    Raises:
        sqlalchemy.exc.DBAPIError: as SQLAlchemy raises it, for what the driver raises.
    """
    dialect = connection.dialect
    if dialect.name in vendors.EXTRAS:  # whose dialects prepare their cursors
        return connection.execute(statement, values).cursor
    if not connection.in_transaction():
        connection.begin()
    written, names = _written(statement, dialect)
    given: Any = values if names is None else tuple([values[name] for name in names])
    lent = connection.connection
    cursor = lent.cursor()
    try:
        if numbers_as_text:
            cursor.adapters.register_loader("numeric", TextLoader)
        told: Any = connection.dispatch
        for listener in told.before_cursor_execute:
            listener(connection, cursor, written, given, None, False)
        dialect.do_execute(cursor, written, given, None)
        for listener in told.after_cursor_execute:
            listener(connection, cursor, written, given, None, False)
    except dialect.loaded_dbapi.Error as error:
        gone = dialect.is_disconnect(error, lent.dbapi_connection, cursor)
        _close(cursor)
        if gone:
            connection.invalidate(error)
        raise sqlalchemy_exc.DBAPIError.instance(
            written,
            given,
            error,
            dialect.loaded_dbapi.Error,
            hide_parameters=True,
            connection_invalidated=gone,
            dialect=dialect,
        ) from error
    except BaseException:
        _close(cursor)
        raise
    return cursor


def _close(cursor: Any) -> None:
    with suppress(Exception):  # of a connection that is gone
        cursor.close()


@lru_cache(512)
def _written(statement: TextClause, dialect: Dialect) -> tuple[str, Sequence[str] | None]:
    """The statement for the driver, and the names of its values where these go by their places."""
    compiled: Any = statement.compile(dialect=dialect)
    return str(compiled), compiled.positiontup
