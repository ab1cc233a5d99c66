"""The exactly-once book of one server: SQLite in its own folder."""

from __future__ import annotations

import contextlib
import random
import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path

from exchange.problems import Code, Problem
from mediator.once.claims import Ending, Left, Released, Row, State, Totals, Wanted
from mediator.once.engine import BATCH, EngineFailed
from serving.sqlite_files import open_book
from serving.transactions import transaction

FILE = "once.sqlite"
_RANDOM = random.SystemRandom()

# `seq` grows with time, so that the oldest are found without an index on the time.
_TABLES = """
CREATE TABLE IF NOT EXISTS claims (
    seq INTEGER PRIMARY KEY,
    key BLOB NOT NULL UNIQUE,
    fingerprint BLOB NOT NULL,
    run TEXT NOT NULL,
    nonce TEXT NOT NULL,
    state INTEGER NOT NULL,
    claimed_at REAL NOT NULL,
    deadline REAL NOT NULL,
    ended_at REAL NOT NULL DEFAULT 0,
    size INTEGER NOT NULL DEFAULT 0,
    answer BLOB
) STRICT;
CREATE INDEX IF NOT EXISTS answers ON claims (ended_at, size) WHERE size > 0;
CREATE INDEX IF NOT EXISTS running ON claims (run) WHERE state = 0;
CREATE TABLE IF NOT EXISTS book (name TEXT PRIMARY KEY, value BLOB NOT NULL) STRICT;
"""
_CLAIM = """
INSERT INTO claims (key, fingerprint, run, nonce, state, claimed_at, deadline)
VALUES (?, ?, ?, ?, 0, ?, ?) ON CONFLICT (key) DO NOTHING
"""
_FIND = "SELECT fingerprint, state, deadline, answer FROM claims WHERE key = ?"
_END = """
UPDATE claims SET state = ?, ended_at = ?, size = ?, answer = ?
WHERE key = ? AND nonce = ? AND state <> 1
"""
_RELEASE = "DELETE FROM claims WHERE key = ? AND nonce = ? AND state = 0"
_LEFT = "SELECT key, fingerprint, nonce, claimed_at FROM claims WHERE state = 0 AND run <> ?"
_FORGET_CLAIMS = """
DELETE FROM claims WHERE seq IN (SELECT seq FROM claims ORDER BY seq LIMIT ?) AND claimed_at < ?
"""
_FORGET_ANSWERS = """
UPDATE claims SET size = 0, answer = NULL WHERE seq IN (
    SELECT seq FROM claims WHERE size > 0 AND ended_at < ? ORDER BY ended_at LIMIT ?
)
"""
_ERASE = "UPDATE claims SET size = 0, answer = NULL WHERE key = ?"
_ERASE_ALL = "UPDATE claims SET size = 0, answer = NULL WHERE size > 0"
_OLDEST_ANSWERS = "SELECT ended_at, size FROM claims WHERE size > 0 ORDER BY ended_at LIMIT ?"
_SHED = "UPDATE claims SET size = 0, answer = NULL WHERE size > 0 AND ended_at <= ?"


class SqliteEngine:
    """Implements :class:`mediator.once.engine.Engine`; ``run`` names this run of the process.

    Write-ahead log with ``synchronous=FULL``: a commit is one write and one sync.
    """

    name = "sqlite"

    def __init__(self, path: Path, run: str) -> None:
        self._path = path
        self._run = run
        self._connection: sqlite3.Connection | None = None

    def open(self, proof: bytes) -> None:
        """See :class:`mediator.once.engine.Engine`."""
        self.close()
        with _failures():
            connection = self._connection = open_book(self._path)
            connection.executescript(_TABLES)
            connection.execute("INSERT OR IGNORE INTO book VALUES ('proof', ?)", (proof,))
            (known,) = connection.execute("SELECT value FROM book WHERE name = 'proof'").fetchone()
        if known != proof:
            raise other_key(str(self._path))

    @property
    def _open(self) -> sqlite3.Connection:
        if self._connection is None:
            raise EngineFailed("the book is not open")
        return self._connection

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        connection = self._open
        with _failures(), transaction(connection):
            yield connection

    def write(
        self, wanted: Sequence[Wanted], endings: Sequence[Ending], released: Sequence[Released]
    ) -> list[Row | None]:
        """See :class:`mediator.once.engine.Engine`: one transaction."""
        with self._transaction() as connection:
            found = [self._claim(connection, one) for one in wanted]
            connection.executemany(
                _END,
                [
                    (
                        end.state,
                        end.ended_at,
                        len(end.answer or b""),
                        end.answer,
                        end.key,
                        end.nonce,
                    )
                    for end in endings
                ],
            )
            connection.executemany(_RELEASE, released)
        return found

    def _claim(self, connection: sqlite3.Connection, wanted: Wanted) -> Row | None:
        key, fingerprint, nonce, claimed_at, deadline = wanted
        done = connection.execute(
            _CLAIM, (key, fingerprint, self._run, nonce, claimed_at, deadline)
        )
        if done.rowcount:
            return None
        fingerprint, state, deadline, answer = connection.execute(_FIND, (key,)).fetchone()
        return Row(fingerprint, State(state), deadline, answer)

    def left(self) -> list[Left]:
        """See :class:`mediator.once.engine.Engine`."""
        with _failures():
            return [Left(*row) for row in self._open.execute(_LEFT, (self._run,))]

    def forget(self, claims_before: float, answers_before: float) -> int:
        """See :class:`mediator.once.engine.Engine`."""
        with self._transaction() as connection:
            claims = connection.execute(_FORGET_CLAIMS, (BATCH, claims_before)).rowcount
            answers = connection.execute(_FORGET_ANSWERS, (answers_before, BATCH)).rowcount
        return claims + answers

    def shed(self, answer_bytes: int) -> None:
        """See :class:`mediator.once.engine.Engine`."""
        with self._transaction() as connection:
            until = enough(connection.execute(_OLDEST_ANSWERS, (BATCH,)), answer_bytes)
            connection.execute(_SHED, (until,))

    def erase(self, keys: Sequence[bytes] | None) -> None:
        """See :class:`mediator.once.engine.Engine`; nothing of it stays in the write-ahead log."""
        with self._transaction() as connection:
            if keys is None:
                connection.execute(_ERASE_ALL)
            else:
                connection.executemany(_ERASE, [(key,) for key in keys])
        with _failures():
            self._open.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()

    def totals(self) -> Totals:
        """See :class:`mediator.once.engine.Engine`."""
        with _failures():
            (claims,) = self._open.execute(
                "SELECT (SELECT coalesce(max(seq), 0) FROM claims)"
                " - (SELECT coalesce(min(seq), 1) FROM claims) + 1"
            ).fetchone()
            (size,) = self._open.execute(
                "SELECT coalesce(sum(size), 0) FROM claims WHERE size > 0"
            ).fetchone()
        return Totals(claims, size)

    def count(self) -> int:
        """See :class:`mediator.once.engine.Engine`."""
        with _failures():
            (claims,) = self._open.execute("SELECT count(*) FROM claims").fetchone()
        return int(claims)

    def sample(self, most: int) -> list[bytes]:
        """See :class:`mediator.once.engine.Engine`."""
        with _failures():
            first, last = self._open.execute(
                "SELECT coalesce(min(seq), 1), coalesce(max(seq), 0) FROM claims"
            ).fetchone()
            found = [
                self._open.execute("SELECT key FROM claims WHERE seq = ?", (seq,)).fetchone()
                for seq in picked(first, last, most)
            ]
        return [row[0] for row in found if row is not None]

    def close(self) -> None:
        """See :class:`mediator.once.engine.Engine`."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(sqlite3.Error):
                connection.close()


@contextlib.contextmanager
def _failures() -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        raise EngineFailed(str(error)) from error


def enough(oldest: Iterator[tuple[float, int]], answer_bytes: int) -> float:
    """Until when answers must go, oldest first, for as many bytes to be free."""
    until = 0.0
    for ended_at, size in oldest:
        if answer_bytes <= 0:
            break
        until = ended_at
        answer_bytes -= size
    return until


def picked(first: int, last: int, most: int) -> Sequence[int]:
    """Numbers between these two, at random; all of them when they are no more than ``most``."""
    between = range(first, last + 1)
    return between if len(between) <= most else _RANDOM.sample(between, most)


def other_key(where: str) -> Problem:
    """The book in the database was begun with another key."""
    return Problem(
        Code.INVALID_SETTINGS,
        where="once.key",
        detail=f"the exactly-once book in {where} was begun with another key",
    )
