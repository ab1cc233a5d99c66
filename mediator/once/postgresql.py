"""The exactly-once book that servers of one member share: a table in PostgreSQL.

Claims of a group are inserted in the order of their keys and before anything is deleted, so that
two servers never wait for each other in a circle. A statement is a transaction of its own: a claim
is durable when its statement returns, as durable as the database keeps its word
(``synchronous_commit`` is switched on where it is off; a standby that may take over must be a
synchronous one).
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import psycopg

from mediator.once.claims import Ending, Left, Released, Row, State, Totals, Wanted
from mediator.once.engine import BATCH, EngineFailed
from mediator.once.sqlite import enough, other_key, picked

CONNECT_S = 5
STATEMENT_S = 5
_LOCK = 0x5A_91_0C_E0  # of making the tables: IF NOT EXISTS alone races
_RACES = 5

_TABLES = """
CREATE TABLE IF NOT EXISTS saphan_once_claims (
    seq bigserial PRIMARY KEY,
    key bytea NOT NULL UNIQUE,
    fingerprint bytea NOT NULL,
    holder text NOT NULL,
    run text NOT NULL,
    nonce text NOT NULL,
    state smallint NOT NULL,
    claimed_at double precision NOT NULL,
    deadline double precision NOT NULL,
    ended_at double precision NOT NULL DEFAULT 0,
    size integer NOT NULL DEFAULT 0,
    answer bytea
);
ALTER TABLE saphan_once_claims ALTER COLUMN answer SET STORAGE EXTERNAL;
CREATE INDEX IF NOT EXISTS saphan_once_answers
    ON saphan_once_claims (ended_at, size) WHERE size > 0;
CREATE INDEX IF NOT EXISTS saphan_once_running ON saphan_once_claims (holder) WHERE state = 0;
CREATE TABLE IF NOT EXISTS saphan_once_book (name text PRIMARY KEY, value bytea NOT NULL);
"""
_CLAIM = """
INSERT INTO saphan_once_claims
    (key, fingerprint, holder, run, nonce, state, claimed_at, deadline)
SELECT key, fingerprint, %s, %s, nonce, 0, claimed_at, deadline
FROM unnest(%s::bytea[], %s::bytea[], %s::text[], %s::float8[], %s::float8[])
    AS wanted (key, fingerprint, nonce, claimed_at, deadline)
ON CONFLICT (key) DO NOTHING RETURNING key
"""
_FIND = """
SELECT key, fingerprint, state, deadline, answer FROM saphan_once_claims WHERE key = ANY(%s)
"""
_END = """
UPDATE saphan_once_claims AS claims
SET state = endings.state, ended_at = endings.ended_at,
    size = coalesce(length(endings.answer), 0), answer = endings.answer
FROM unnest(%s::bytea[], %s::text[], %s::smallint[], %s::float8[], %s::bytea[])
    AS endings (key, nonce, state, ended_at, answer)
WHERE claims.key = endings.key AND claims.nonce = endings.nonce AND claims.state <> 1
"""
_RELEASE = """
DELETE FROM saphan_once_claims AS claims USING unnest(%s::bytea[], %s::text[]) AS gone (key, nonce)
WHERE claims.key = gone.key AND claims.nonce = gone.nonce AND claims.state = 0
"""
_LEFT = """
SELECT key, fingerprint, nonce, claimed_at FROM saphan_once_claims
WHERE state = 0 AND holder = %s AND run <> %s
"""
_FORGET_CLAIMS = """
DELETE FROM saphan_once_claims
WHERE seq IN (SELECT seq FROM saphan_once_claims ORDER BY seq LIMIT %s) AND claimed_at < %s
"""
_FORGET_ANSWERS = """
UPDATE saphan_once_claims SET size = 0, answer = NULL WHERE seq IN (
    SELECT seq FROM saphan_once_claims WHERE size > 0 AND ended_at < %s ORDER BY ended_at LIMIT %s
)
"""
_OLDEST_ANSWERS = """
SELECT ended_at, size FROM saphan_once_claims WHERE size > 0 ORDER BY ended_at LIMIT %s
"""
_SHED = """
UPDATE saphan_once_claims SET size = 0, answer = NULL WHERE size > 0 AND ended_at <= %s
"""
_ERASE = """
UPDATE saphan_once_claims SET size = 0, answer = NULL
WHERE size > 0 AND (%s::bytea[] IS NULL OR key = ANY(%s::bytea[]))
"""
_TOTALS = """
SELECT coalesce((SELECT max(seq) FROM saphan_once_claims), 0)
     - coalesce((SELECT min(seq) FROM saphan_once_claims), 1) + 1,
       (SELECT coalesce(sum(size), 0) FROM saphan_once_claims WHERE size > 0)
"""


def connected(url: str, server: str) -> psycopg.Connection[tuple[Any, ...]]:
    """A connection on which each statement is a transaction of its own, bounded in time.

    Raises:
        psycopg.Error: when there is none to be had.
    """
    connection = psycopg.connect(
        url,
        autocommit=True,
        connect_timeout=CONNECT_S,
        # A database that has gone without a word must not hold a thread.
        tcp_user_timeout=STATEMENT_S * 1000,
        keepalives_idle=STATEMENT_S,
        keepalives_interval=2,
        keepalives_count=2,
        application_name=f"saphan {server}"[:63],
    )
    connection.execute(f"SET statement_timeout = '{STATEMENT_S}s'")
    connection.execute(
        "SELECT set_config('synchronous_commit', 'on', false)"
        " WHERE current_setting('synchronous_commit') = 'off'"
    )
    return connection


class PostgreSqlEngine:
    """Implements :class:`mediator.once.engine.Engine`.

    Args:
        url: of the database, such as ``postgresql://saphan@db.example/saphan``.
        holder: this server's identifier; its claims are its own to recover.
        run: names this run of the process.
    """

    name = "postgresql"

    def __init__(self, url: str, holder: str, run: str) -> None:
        self._url = url
        self._holder = holder
        self._run = run
        self._connection: psycopg.Connection[tuple[Any, ...]] | None = None

    def open(self, proof: bytes) -> None:
        """See :class:`mediator.once.engine.Engine`."""
        self.close()
        with _failures():
            connection = self._connection = connected(self._url, self._holder)
            with connection.transaction():
                connection.execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK,))
                made = connection.execute("SELECT to_regclass('saphan_once_book')").fetchone()
                if made is None or made[0] is None:
                    connection.execute(_TABLES)
                connection.execute(
                    "INSERT INTO saphan_once_book VALUES ('proof', %s) ON CONFLICT DO NOTHING",
                    (proof,),
                )
            known = connection.execute(
                "SELECT value FROM saphan_once_book WHERE name = 'proof'"
            ).fetchone()
        if known is None or bytes(known[0]) != proof:
            raise other_key("once.database")

    @property
    def _open(self) -> psycopg.Connection[tuple[Any, ...]]:
        if self._connection is None:
            raise EngineFailed("the book is not open")
        return self._connection

    def write(
        self, wanted: Sequence[Wanted], endings: Sequence[Ending], released: Sequence[Released]
    ) -> list[Row | None]:
        """See :class:`mediator.once.engine.Engine`: a statement for each of the three."""
        with _failures():
            found = self._claim(wanted) if wanted else {}
            if endings:
                self._open.execute(
                    _END,
                    (
                        [end.key for end in endings],
                        [end.nonce for end in endings],
                        [int(end.state) for end in endings],
                        [end.ended_at for end in endings],
                        [end.answer for end in endings],
                    ),
                )
            if released:
                self._open.execute(
                    _RELEASE, ([one.key for one in released], [one.nonce for one in released])
                )
        return [found.get(one.key) for one in wanted]

    def _claim(self, wanted: Sequence[Wanted]) -> dict[bytes, Row]:
        """The claims that are there already; the others are made."""
        found: dict[bytes, Row] = {}
        missing = {one.key: one for one in sorted(wanted)}
        for _ in range(_RACES):
            columns = list(zip(*missing.values(), strict=True))
            made = self._open.execute(
                _CLAIM, (self._holder, self._run, *(list(column) for column in columns))
            )
            for (key,) in made:
                del missing[bytes(key)]
            if not missing:
                return found
            for key, fingerprint, state, deadline, answer in self._open.execute(
                _FIND, (list(missing),)
            ):
                found[bytes(key)] = Row(
                    bytes(fingerprint),
                    State(state),
                    deadline,
                    None if answer is None else bytes(answer),
                )
                del missing[bytes(key)]
            if not missing:
                return found
            # Taken back between the two statements: free again.
        raise EngineFailed("claims came and went too often")

    def left(self) -> list[Left]:
        """See :class:`mediator.once.engine.Engine`."""
        with _failures():
            return [
                Left(bytes(key), bytes(fingerprint), nonce, claimed_at)
                for key, fingerprint, nonce, claimed_at in self._open.execute(
                    _LEFT, (self._holder, self._run)
                )
            ]

    def forget(self, claims_before: float, answers_before: float) -> int:
        """See :class:`mediator.once.engine.Engine`."""
        with _failures():
            claims = self._open.execute(_FORGET_CLAIMS, (BATCH, claims_before)).rowcount
            answers = self._open.execute(_FORGET_ANSWERS, (answers_before, BATCH)).rowcount
        return claims + answers

    def shed(self, answer_bytes: int) -> None:
        """See :class:`mediator.once.engine.Engine`."""
        with _failures():
            oldest = self._open.execute(_OLDEST_ANSWERS, (BATCH,)).fetchall()
            until = enough(((ended_at, size) for ended_at, size in oldest), answer_bytes)
            self._open.execute(_SHED, (until,))

    def erase(self, keys: Sequence[bytes] | None) -> None:
        """See :class:`mediator.once.engine.Engine`; old rows stay until the database's VACUUM."""
        with _failures():
            listed = None if keys is None else list(keys)
            self._open.execute(_ERASE, (listed, listed))

    def totals(self) -> Totals:
        """See :class:`mediator.once.engine.Engine`."""
        with _failures():
            row = self._open.execute(_TOTALS).fetchone()
        return Totals(int(row[0]), int(row[1])) if row else Totals(0, 0)

    def count(self) -> int:
        """See :class:`mediator.once.engine.Engine`."""
        with _failures():
            row = self._open.execute("SELECT count(*) FROM saphan_once_claims").fetchone()
        return int(row[0]) if row else 0

    def sample(self, most: int) -> list[bytes]:
        """See :class:`mediator.once.engine.Engine`."""
        with _failures():
            row = self._open.execute(
                "SELECT coalesce(min(seq), 1), coalesce(max(seq), 0) FROM saphan_once_claims"
            ).fetchone()
            first, last = row or (1, 0)
            found = self._open.execute(
                "SELECT key FROM saphan_once_claims WHERE seq = ANY(%s)",
                (list(picked(first, last, most)),),
            ).fetchall()
        return [bytes(key) for (key,) in found]

    def close(self) -> None:
        """See :class:`mediator.once.engine.Engine`."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(psycopg.Error):
                connection.close()


@contextlib.contextmanager
def _failures() -> Iterator[None]:
    try:
        yield
    except (psycopg.Error, OSError) as error:
        raise EngineFailed(" ".join(str(error).split())[:300]) from error
