"""Sessions of MariaDB and MySQL."""

from __future__ import annotations

import math
from typing import Any

import pymysql.connections
from sqlalchemy import URL, Engine, event

from adapters.mapping.model import Limits
from adapters.sources import engines
from adapters.sources.engines import begin_transactions, new_engine

_BEGIN = "START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY"


def open_reading(url: URL, limits: Limits) -> Engine:
    """An engine whose sessions only read; nothing is connected yet."""

    def prepare(connection: Any, record: Any) -> None:
        with connection.cursor() as cursor:
            cursor.execute("SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        record.info["mariadb"] = "mariadb" in connection.get_server_info().lower()
        set_timeout(connection, record.info, limits.statement_timeout_s)
        end_forsaken(connection, record.info, limits.statement_timeout_s)

    engine = new_engine(url, limits, ping=False, connect_args=arguments(limits))
    bound_greetings(engine)
    event.listen(engine, "connect", prepare)
    begin_transactions(engine, _BEGIN)
    return engine


def arguments(limits: Limits) -> dict[str, Any]:
    """What the driver connects with: whatever it waits for has an end, also to be rid of bytes."""
    answer_s = limits.statement_timeout_s + engines.ANSWER_S
    return {
        "connect_timeout": limits.connect_timeout_s,
        "read_timeout": answer_s,
        "write_timeout": answer_s,
        "charset": "utf8mb4",
    }


class _Greeted(pymysql.connections.Connection):  # type: ignore[misc, name-defined, unused-ignore]
    """A connection whose server has as long for its greeting as for being reached.

    PyMySQL waits for what follows a TCP connection as long as for the rows of a statement.
    """

    _read_timeout: float | None

    def connect(self, sock: Any = None) -> None:
        later, self._read_timeout = self._read_timeout, self.connect_timeout
        try:
            super().connect(sock)
        finally:
            self._read_timeout = later  # taken up with the next packet


def bound_greetings(engine: Engine) -> None:
    """Let connections of ``engine`` give up a server that accepts them and does not speak."""

    def connect(dialect: Any, record: Any, given: Any, named: Any) -> _Greeted:
        return _Greeted(*given, **named)

    event.listen(engine, "do_connect", connect)


def end_forsaken(connection: Any, info: dict[str, Any], timeout_s: float) -> None:
    """Let the server end a session whose transaction nobody goes on with, and its locks.

    It sees no end of a line that fell silent, and would keep them for hours. MySQL, which knows no
    time of a transaction, ends whatever session nobody uses, and a ping replaces it.
    """
    seconds = math.ceil(2 * timeout_s)
    name = "idle_transaction_timeout"
    if not info["mariadb"]:
        name, seconds = "wait_timeout", max(60, seconds)
    with connection.cursor() as cursor:
        cursor.execute(f"SET SESSION {name} = %s", (seconds,))


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
