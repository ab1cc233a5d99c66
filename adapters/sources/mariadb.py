"""Sessions of MariaDB and MySQL."""

from __future__ import annotations

from typing import Any

from sqlalchemy import URL, Engine, event

from adapters.mapping.model import Limits
from adapters.sources.engines import ANSWER_S, begin_transactions, new_engine

_BEGIN = "START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY"


def open_reading(url: URL, limits: Limits) -> Engine:
    """An engine whose sessions only read; nothing is connected yet."""

    def prepare(connection: Any, record: Any) -> None:
        with connection.cursor() as cursor:
            cursor.execute("SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        record.info["mariadb"] = "mariadb" in connection.get_server_info().lower()
        set_timeout(connection, record.info, limits.statement_timeout_s)

    arguments = {
        "connect_timeout": limits.connect_timeout_s,
        "read_timeout": limits.statement_timeout_s + ANSWER_S,
        "charset": "utf8mb4",
    }
    engine = new_engine(url, limits, ping=False, connect_args=arguments)
    event.listen(engine, "connect", prepare)
    begin_transactions(engine, _BEGIN)
    return engine


def set_timeout(connection: Any, info: dict[str, Any], timeout_s: float) -> None:
    """Give each statement of a session at most ``timeout_s``, in the way of its server."""
    with connection.cursor() as cursor:
        if info["mariadb"]:
            cursor.execute("SET SESSION max_statement_time = %s", (timeout_s,))
        else:
            cursor.execute("SET SESSION max_execution_time = %s", (max(1, int(timeout_s * 1000)),))
    info["timeout_s"] = timeout_s


def limit_time(raw: Any, info: dict[str, Any], timeout_s: float) -> None:
    """Give what the session runs next at most ``timeout_s``.

    Its own limit is left alone where it is short enough, which spares a round trip.
    """
    if timeout_s < info["timeout_s"] or info.get("shortened"):
        set_timeout(raw, info, timeout_s)
        info["shortened"] = True
