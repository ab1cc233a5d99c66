"""Engines: bounded pools of connections, and transactions that begin with what they need.

What a session may do and how long is the care of whoever opens it: :mod:`adapters.sources.sessions`
for those that read, :mod:`adapters.writes.sessions` for those that write.
"""

from __future__ import annotations

from contextvars import ContextVar
from typing import Any, Final

from sqlalchemy import URL, Connection, Engine, create_engine, event
from sqlalchemy import exc as sqlalchemy_exc
from sqlalchemy.pool import QueuePool

from adapters.mapping.model import Limits

ANSWER_S: Final = 5.0
"""Longer than the server's own limit of a statement: it is the server that cuts, while it can."""


ALONE: Final = ContextVar("saphan_alone", default=False)
"""In a thread of a source: whether one statement is all that its job answers by."""


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


def begin_transactions(engine: Engine, statement: str, alone: str | None = None) -> None:
    """Begin a transaction whenever a connection is taken, and anew after one was rolled back.

    Args:
        alone: what begins it for one statement (:data:`ALONE`), where that is another.
    """

    def chosen() -> str:
        return alone if alone is not None and ALONE.get() else statement

    def taken(connection: Any, record: Any, proxy: Any) -> None:
        cursor = connection.cursor()
        try:
            cursor.execute(chosen())
        except engine.dialect.loaded_dbapi.Error as error:
            raise sqlalchemy_exc.InvalidatePoolError("the connection is gone") from error
        finally:
            cursor.close()
        record.info["begun"] = True

    def begin(connection: Connection) -> None:
        if not connection.info.pop("begun", False):
            connection.exec_driver_sql(chosen())

    event.listen(engine, "checkout", taken)
    event.listen(engine, "begin", begin)
