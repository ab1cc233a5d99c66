"""What was told of a source, in a SQLite file: key → digest, and the position reached.

Invariants:
- one process at a time: the file is locked from opening to closing (by the system, so that a
  crash unlocks it);
- :meth:`State.store` is one transaction: what was told and the position change together or not at
  all;
- the file holds keys and digests, no other value of a record; only its owner may read it;
- the memory taken does not grow with the number of records.

Not safe for several threads at once; any one thread may use it.
"""

from __future__ import annotations

import os
import secrets
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Self

from adapters.changes.events import Known, Standing
from exchange.problems import Code, Problem

FORMAT = "1"
_TABLES = """
CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS known (
    key TEXT PRIMARY KEY, standing TEXT NOT NULL, digest BLOB NOT NULL, event TEXT NOT NULL
) WITHOUT ROWID;
CREATE TEMP TABLE seen (key TEXT PRIMARY KEY) WITHOUT ROWID;
"""
_AT_ONCE = 500


class State:
    """The state in ``path``, made when it is not there; ``owner`` is whose changes it is about.

    Raises:
        Problem: ``ChangeStateUnusable`` when the file is another's, in use, or cannot be written.
    """

    def __init__(self, path: Path, owner: str) -> None:
        self._where = str(path)
        with self._border():
            os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
            self._sql = sqlite3.connect(path, timeout=0, check_same_thread=False)
            try:
                self._begin(owner)
            except BaseException:
                self._sql.close()
                raise
        self.id = self.read("id") or ""

    def _begin(self, owner: str) -> None:
        self._sql.isolation_level = None
        self._sql.execute("PRAGMA locking_mode = EXCLUSIVE")
        self._sql.execute("PRAGMA synchronous = FULL")
        self._sql.execute("BEGIN EXCLUSIVE")  # and never unlocked before close
        self._sql.execute("COMMIT")
        self._sql.executescript(_TABLES)
        first = {"format": FORMAT, "owner": owner, "id": secrets.token_hex(16)}
        self._sql.executemany("INSERT OR IGNORE INTO meta VALUES (?, ?)", first.items())
        for name in ("format", "owner"):
            if self.read(name) != first[name]:
                raise self._unusable(f"is the state of {self.read(name)}, not of {first[name]}")

    def read(self, name: str) -> str | None:
        """What was stored under ``name``."""
        with self._border():
            row = self._sql.execute("SELECT value FROM meta WHERE name = ?", (name,)).fetchone()
        return None if row is None else str(row[0])

    def known(self, keys: Sequence[str]) -> dict[str, Known]:
        """What is remembered of ``keys``."""
        found: dict[str, Known] = {}
        with self._border():
            for start in range(0, len(keys), _AT_ONCE):
                part = keys[start : start + _AT_ONCE]
                places = ", ".join("?" * len(part))
                rows = self._sql.execute(
                    f"SELECT key, standing, digest, event FROM known WHERE key IN ({places})",  # noqa: S608
                    part,
                )
                found.update((row[0], Known(Standing(row[1]), row[2], row[3])) for row in rows)
        return found

    def store(self, known: Mapping[str, Known], meta: Mapping[str, str | None]) -> None:
        """Remember what was told, and where the reading stands; None takes a name away."""
        if not known and not meta:
            return
        with self._border():
            self._sql.execute("BEGIN")
            try:
                self._sql.executemany(
                    "INSERT OR REPLACE INTO known VALUES (?, ?, ?, ?)",
                    ((key, one.standing, one.digest, one.event) for key, one in known.items()),
                )
                for name, value in meta.items():
                    self._sql.execute("DELETE FROM meta WHERE name = ?", (name,))
                    if value is not None:
                        self._sql.execute("INSERT INTO meta VALUES (?, ?)", (name, value))
                self._sql.execute("COMMIT")
            except BaseException:
                self._sql.execute("ROLLBACK")
                raise

    def begin_walk(self) -> None:
        """Forget which keys a walk has seen."""
        with self._border():
            self._sql.execute("DELETE FROM seen")

    def mark_seen(self, keys: Iterable[str]) -> None:
        """A walk has come past ``keys``."""
        with self._border():
            self._sql.execute("BEGIN")
            self._sql.executemany("INSERT OR IGNORE INTO seen VALUES (?)", ((key,) for key in keys))
            self._sql.execute("COMMIT")

    def count(self) -> tuple[int, int]:
        """How many keys are known and not gone, and how many of these the walk has not seen."""
        with self._border():
            row = self._sql.execute(
                "SELECT count(*), count(*) - count(seen.key) FROM known"
                " LEFT JOIN seen ON seen.key = known.key WHERE standing <> ?",
                (Standing.GONE,),
            ).fetchone()
        return int(row[0]), int(row[1])

    def unseen(self, after: str, most: int) -> list[str]:
        """The next keys after ``after`` that are known and that the walk has not seen."""
        with self._border():
            rows = self._sql.execute(
                "SELECT key FROM known WHERE key > ? AND standing <> ?"
                " AND NOT EXISTS (SELECT 1 FROM seen WHERE seen.key = known.key)"
                " ORDER BY key LIMIT ?",
                (after, Standing.GONE, most),
            ).fetchall()
        return [str(row[0]) for row in rows]

    def close(self) -> None:
        """Unlock and close; idempotent."""
        self._sql.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _unusable(self, detail: str) -> Problem:
        return Problem(Code.CHANGE_STATE_UNUSABLE, where=self._where, detail=detail)

    @contextmanager
    def _border(self) -> Iterator[None]:
        """Where SQLite's and the system's exceptions stop."""
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            name = getattr(error, "sqlite_errorname", "") or type(error).__name__
            if name == "SQLITE_BUSY":
                raise self._unusable("another process uses it; end that one first") from error
            raise self._unusable(f"cannot be used: {error} ({name})") from error
