"""Sessions of PostgreSQL, which may be behind a pooler: what holds is of the transaction.

Nothing that was promised of a transaction depends on the session that it is in: a pooler may give
each another one (:func:`begin`).
"""

from __future__ import annotations

import math
from typing import Any

import psycopg
from sqlalchemy import URL, Connection, Engine, event

from adapters.mapping.model import Limits
from adapters.sources import engines
from adapters.sources.engines import begin_transactions, new_engine

# A PostgreSQL host that vanishes without a word is missed after a minute, not after two hours; nor
# after a quarter of one when it vanishes with a statement on its way.
KEEPALIVES = {
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 60_000,
}


def open_reading(url: URL, limits: Limits) -> Engine:
    """An engine whose sessions only read; nothing is connected yet."""

    def prepare(connection: Any, record: Any) -> None:
        connection.autocommit = True  # transactions begin where it is said, and nowhere else
        # Even outside of a transaction nothing is written; a session of a pooler is left alone.
        setting = "pg_catalog.set_config('default_transaction_read_only', 'on', false)"
        with connection.cursor() as cursor:
            cursor.execute(f"SELECT {setting} WHERE NOT {behind_pooler(connection)}".encode())
        record.info["timeout_s"] = limits.statement_timeout_s

    arguments: dict[str, Any] = {
        "connect_timeout": max(1, round(limits.connect_timeout_s)),
        "client_encoding": "utf8",
        "application_name": "saphan-adapter",
        "prepare_threshold": None,  # connection poolers between us and the server forbid it
        **KEEPALIVES,
    }
    engine = new_engine(url, limits, ping=False, connect_args=arguments)
    bound_answers(engine, limits)
    event.listen(engine, "connect", prepare)
    several, alone = (
        begin(f"{level}, READ ONLY", limits.statement_timeout_s)
        for level in ("REPEATABLE READ", "READ COMMITTED")
    )
    begin_transactions(engine, several, alone)
    return engine


# What this transaction has locked, as its moment has it and as it is. Of what was made since,
# the moment has nothing; catalogues have no file of their own to compare.
_REWRITTEN = """
SELECT EXISTS (
  SELECT FROM pg_catalog.pg_locks l LEFT JOIN pg_catalog.pg_class c ON c.oid = l.relation
  WHERE l.pid = pg_catalog.pg_backend_pid() AND l.locktype = 'relation'
   AND (c.oid IS NULL OR c.relkind IN ('r', 'm') AND c.relfilenode <> 0
        AND c.relfilenode IS DISTINCT FROM pg_catalog.pg_relation_filenode(c.oid)))
"""


def rewritten(connection: Connection) -> bool:
    """Whether a table that the transaction read was written anew after its moment.

    TRUNCATE and many an ALTER TABLE give a table another file. A transaction of an older moment
    that comes to it later finds it empty, and is told nothing (PostgreSQL, 13.6, "Caveats"). One
    statement alone in READ COMMITTED is safe: its moment is taken when it has its locks.
    """
    return bool(connection.exec_driver_sql(_REWRITTEN).scalar())


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
        connection.answer_s = limits.statement_timeout_s + engines.ANSWER_S
        return connection

    event.listen(engine, "do_connect", connect)


def begin(mode: str, timeout_s: float) -> str:
    """A message that begins a transaction with its time limits: one round trip, no parameters.

    They are the transaction's and not the session's: a pooler gives the next one another session,
    and this session to others, who must not find in it what was set here.
    """
    milliseconds = max(1, round(timeout_s * 1000))
    return (
        f"BEGIN ISOLATION LEVEL {mode}; SET LOCAL statement_timeout = {milliseconds:d};"
        f" SET LOCAL idle_in_transaction_session_timeout = {milliseconds * 2:d}"
    )


def behind_pooler(connection: Any) -> str:
    """A condition of SQL: whether the session is not the one that this connection began with.

    Poolers tell a number of their own for the session's process.
    """
    return f"pg_catalog.pg_backend_pid() <> {connection.info.backend_pid:d}"


def limit_time(connection: Connection, timeout_s: float) -> None:
    """Give what runs next in the transaction at most ``timeout_s``, where that is less."""
    if timeout_s < connection.info["timeout_s"]:
        milliseconds = max(1, int(timeout_s * 1000))
        connection.exec_driver_sql(f"SET LOCAL statement_timeout = {milliseconds:d}")
