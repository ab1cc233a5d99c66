"""The search index in PostgreSQL, shared by the servers of a member.

Each log has a schema of its own with the same tables as a SQLite file, so that the same statements
run on both and making one log's index anew drops its schema; ``saphan_index.logs`` says which is
whose. Rows go in by COPY. The index is derived: commits are not awaited (``synchronous_commit``).

Statements join their tables in the order in which they are written, by look-ups, as SQLite does
with CROSS JOIN: what the planner expects of a range of checksums is wrong by orders of magnitude.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Sequence
from typing import Any
from urllib.parse import urlsplit

import psycopg

from mediator.journal.index.store import Away, Damaged, GaveUp, Row
from mediator.journal.index.tables import (
    ENTRY,
    PART_BITS,
    POSTGRESQL,
    SHAPE,
    VERSION,
    Batch,
    schema,
)

CONNECT_S = 5
STATEMENT_S = 60
_LOCK = 0x5A_91_0C_E1  # of making the tables: IF NOT EXISTS alone races
_LOGS = """
CREATE SCHEMA IF NOT EXISTS saphan_index;
CREATE TABLE IF NOT EXISTS saphan_index.logs (
    number integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    origin text NOT NULL UNIQUE,
    version integer NOT NULL
);
"""
_UPSERT_PART = """
INSERT INTO parts VALUES (%s, %s, %s) ON CONFLICT (part) DO UPDATE
SET earliest = least(parts.earliest, excluded.earliest),
    latest = greatest(parts.latest, excluded.latest)
"""
_INSERT_SHAPE = f"INSERT INTO shapes VALUES ({', '.join(['%s'] * (len(SHAPE) + 2))})"  # noqa: S608
_WHOLE = """
SELECT count(*), min(e.idx), max(e.idx), count(s.number), (SELECT count(*) FROM parts),
    count(coalesce(e.id, e.request_id, e.trace, e.subject)) = 0 OR EXISTS (SELECT 1 FROM keys)
FROM entries e LEFT JOIN shapes s ON s.number = e.shape
"""
_IN_ORDER = (
    "SET join_collapse_limit = 1; SET enable_hashjoin = off; SET enable_mergejoin = off; "
    "SET enable_seqscan = off; SET jit = off"
)
# COPY's text format: backslashes, and what ends a column or a row. PostgreSQL holds no NUL.
_SPECIAL = re.compile(r"[\\\t\n\r\0]")
_ESCAPED = {"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r", "\0": "\ufffd"}


class PostgreSqlStore:
    """Implements :class:`mediator.journal.index.store.Store`."""

    def __init__(self, connection: psycopg.Connection[Row], name: str) -> None:
        self.name = name
        self._connection = connection

    def execute(self, sql: str, values: Sequence[Any] = ()) -> list[Row]:
        """See :class:`~mediator.journal.index.store.Store`."""
        with _failures():
            values = _without_nul(values)
            return self._connection.execute(sql.replace("?", "%s"), values or None).fetchall()

    def load(self, batch: Batch) -> None:
        """See :class:`~mediator.journal.index.store.Store`."""
        with _failures(), self._connection.transaction(), self._connection.cursor() as cursor:
            if batch.shapes:
                cursor.executemany(_INSERT_SHAPE, [_without_nul(row) for row in batch.shapes])
            with cursor.copy("COPY entries FROM STDIN") as copy:
                copy.write(_lines(batch.entries, len(ENTRY)))
            with cursor.copy("COPY keys FROM STDIN") as copy:
                copy.write("\n".join(map(str, dict.fromkeys(batch.keys))))
            cursor.executemany(
                _UPSERT_PART, [(part, *times) for part, times in batch.parts.items()]
            )

    def give_up_after(self, seconds: float) -> None:
        """See :class:`~mediator.journal.index.store.Store`: each statement has so long."""
        with _failures():
            self._connection.execute(f"SET statement_timeout = {max(1, int(seconds * 1000))}")

    def close(self) -> None:
        """See :class:`~mediator.journal.index.store.Store`."""
        with contextlib.suppress(psycopg.Error):
            self._connection.close()


class PostgreSqlPlace:
    """Implements :class:`mediator.journal.index.store.Place`: one log's index in a database.

    Args:
        url: such as ``postgresql://saphan@db.example/saphan``; a password is better kept in
            PGPASSFILE.
        origin: of the log.
    """

    def __init__(self, url: str, origin: str) -> None:
        self._url = url
        self._origin = origin
        self.name = name_of(url)

    def connect(self) -> PostgreSqlStore:
        """See :class:`~mediator.journal.index.store.Place`."""
        with _failures():
            connection = _connect(self._url, "SET synchronous_commit = off")
            try:
                with connection.transaction():
                    connection.execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK,))
                    number = self._number(connection)
                    connection.execute(f"CREATE SCHEMA IF NOT EXISTS saphan_index_{number}")
                    connection.execute(f"SET search_path = saphan_index_{number}")
                    for statement in schema(POSTGRESQL):
                        connection.execute(statement)
                _check_whole(connection)
            except BaseException:
                connection.close()
                raise
        return PostgreSqlStore(connection, self.name)

    def _number(self, connection: psycopg.Connection[Row]) -> int:
        connection.execute(_LOGS)
        row = connection.execute(
            "SELECT number, version FROM saphan_index.logs WHERE origin = %s", (self._origin,)
        ).fetchone()
        if row is None:
            row = connection.execute(
                "INSERT INTO saphan_index.logs (origin, version) VALUES (%s, %s)"
                " RETURNING number, version",
                (self._origin, VERSION),
            ).fetchone()
        assert row is not None  # noqa: S101  # an insert that returns has a row
        if row[1] != VERSION:
            raise Damaged(f"version {row[1]}")
        return int(row[0])

    def remove(self) -> None:
        """See :class:`~mediator.journal.index.store.Place`."""
        with (
            _failures(),
            contextlib.closing(_connect(self._url)) as connection,
            connection.transaction(),
        ):
            connection.execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK,))
            number = _number_of(connection, self._origin)
            if number is not None:
                connection.execute(f"DROP SCHEMA IF EXISTS saphan_index_{number} CASCADE")
                connection.execute("DELETE FROM saphan_index.logs WHERE number = %s", (number,))


def open_log(url: str, origin: str) -> PostgreSqlStore:
    """Open one log's index for reading; what is added to it meanwhile is not seen.

    Raises:
        StoreError: ``Damaged`` when there is none; ``Away``.
    """
    with _failures():
        connection = _connect(url, _IN_ORDER)
        try:
            number = _number_of(connection, origin)
            if number is None:
                raise Damaged(f"holds no index of {origin}")
            connection.execute(f"SET search_path = saphan_index_{number}")
            connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        except BaseException:
            connection.close()
            raise
    return PostgreSqlStore(connection, name_of(url))


def origins(url: str) -> list[str]:
    """The logs whose indexes a database holds, in order.

    Raises:
        StoreError: ``Damaged`` when it holds none; ``Away``.
    """
    with _failures(), contextlib.closing(_connect(url)) as connection:
        rows = connection.execute(
            "SELECT origin FROM saphan_index.logs WHERE version = %s ORDER BY origin", (VERSION,)
        )
        return [row[0] for row in rows]


def name_of(url: str) -> str:
    """The database as it may be shown: without user and password."""
    parts = urlsplit(url)
    return f"postgresql://{parts.hostname or ''}{parts.path}"


def _connect(url: str, settings: str = "") -> psycopg.Connection[Row]:
    connection = psycopg.connect(
        url,
        autocommit=True,
        connect_timeout=CONNECT_S,
        # A database that has gone without a word must not hold a thread.
        tcp_user_timeout=STATEMENT_S * 1000,
        keepalives_idle=CONNECT_S,
        keepalives_interval=2,
        keepalives_count=2,
        application_name="saphan search index",
    )
    connection.execute(f"SET statement_timeout = '{STATEMENT_S}s'; {settings}")
    return connection


def _check_whole(connection: psycopg.Connection[Row]) -> None:
    """Whether anybody took or added rows: others can write where a database is shared.

    Raises:
        StoreError: ``Damaged``.
    """
    try:
        row = connection.execute(_WHOLE).fetchone()
    except psycopg.errors.QueryCanceled:
        return  # too large to be counted in the time of a statement
    assert row is not None  # noqa: S101  # an aggregate has a row
    count, first, last, shaped, parts, findable = row
    if count and (
        (count, shaped) != (last - first + 1,) * 2
        or not findable
        or parts != (last >> PART_BITS) - (first >> PART_BITS) + 1
    ):
        raise Damaged("rows are missing")


def _number_of(connection: psycopg.Connection[Row], origin: str) -> int | None:
    found = connection.execute("SELECT to_regclass('saphan_index.logs')").fetchone()
    if found is None or found[0] is None:
        return None
    row = connection.execute(
        "SELECT number FROM saphan_index.logs WHERE origin = %s", (origin,)
    ).fetchone()
    return None if row is None else int(row[0])


def _lines(values: list[Any], columns: int) -> str:
    """Rows in COPY's text format."""
    texts = ["\\N" if value is None else str(value) for value in values]
    if _SPECIAL.search("".join([text for text in texts if text != "\\N"])):
        texts = [
            "\\N" if value is None else _SPECIAL.sub(lambda found: _ESCAPED[found[0]], text)
            for value, text in zip(values, texts, strict=True)
        ]
    rows = range(0, len(texts), columns)
    return "\n".join(["\t".join(texts[at : at + columns]) for at in rows])


def _without_nul(row: Sequence[Any]) -> tuple[Any, ...]:
    return tuple(value.replace("\0", "\ufffd") if type(value) is str else value for value in row)


@contextlib.contextmanager
def _failures() -> Iterator[None]:
    try:
        yield
    except psycopg.errors.QueryCanceled as error:
        raise GaveUp(_said(error)) from error
    except (psycopg.OperationalError, psycopg.InterfaceError, OSError) as error:
        raise Away(_said(error)) from error
    except psycopg.Error as error:
        raise Damaged(_said(error)) from error


def _said(error: Exception) -> str:
    return " ".join(str(error).split())[:300]
