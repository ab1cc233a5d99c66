"""Anchors: the checkpoints that witnesses cosign and authorities stamp.

The log signs a checkpoint twice a second; every few seconds the newest becomes an anchor, when the
log grew since the last one. An anchor covers every entry before its size: after an outage of any
length it is enough to have the newest one cosigned and stamped.

Invariants:
- an anchor is the log's signed note as it was published, and never changes; cosignature lines and
  time-stamp tokens are added beside it, and are checked by who adds them, not here;
- ``anchors.sqlite`` is evidence, not derived (:mod:`mediator.journal.evidence_files`). Anchors are
  thinned out when they are old; entries of the journal commit to what there was, and to what stays
  (:mod:`mediator.journal.anchor_batches`).
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final, Protocol

from mediator.journal.anchor_batches import Statement, state
from mediator.journal.evidence_files import EvidenceFile

FILE = "anchors.sqlite"
KEEP_ALL: Final = timedelta(days=7)
"""So long no anchor is thinned out."""
SPACING: Final = timedelta(hours=1)
"""Anchors of such an interval are a batch; of an older one, one stays at least."""
SETTLE: Final = timedelta(minutes=2)
"""So long after its end a batch takes what witnesses and authorities give."""
_MAX_BATCH = 10_000
_PAGE = 64
_TABLES = """
CREATE TABLE IF NOT EXISTS anchors (
    size INTEGER PRIMARY KEY, at REAL NOT NULL, note BLOB NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS cosignatures (
    size INTEGER NOT NULL REFERENCES anchors, line TEXT NOT NULL,
    PRIMARY KEY (size, line)) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS tokens (
    size INTEGER NOT NULL REFERENCES anchors, authority TEXT NOT NULL, der BLOB NOT NULL,
    PRIMARY KEY (size, authority)) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS batches (
    after INTEGER NOT NULL, until INTEGER PRIMARY KEY, statement TEXT NOT NULL, entry INTEGER
) STRICT;
CREATE TABLE IF NOT EXISTS staying (size INTEGER PRIMARY KEY) STRICT;
"""
_OPEN = "NOT EXISTS (SELECT 1 FROM batches WHERE until >= ?)"
_GOES = """
SELECT size FROM batches CROSS JOIN anchors ON size > after AND size <= until
WHERE entry IS NOT NULL AND size NOT IN (SELECT size FROM staying)
AND ? > (SELECT at FROM anchors AS last WHERE last.size = until)
"""
_STAMPED = "EXISTS (SELECT 1 FROM tokens WHERE tokens.size = anchors.size)"
_COSIGNED = "EXISTS (SELECT 1 FROM cosignatures WHERE cosignatures.size = anchors.size)"


class Quorum(Protocol):
    """What decides whether enough witnesses cosigned a checkpoint (:mod:`exchange.log.policy`)."""

    @property
    def demands(self) -> bool:
        """Whether any cosignature is wanted at all."""
        ...

    def is_met(self, checkpoint: bytes) -> bool:
        """Whether the signed note carries the cosignatures that are wanted."""
        ...


@dataclass(frozen=True, slots=True)
class Token:
    """An RFC 3161 token over the checkpoint's note text, and the name of who gave it."""

    authority: str
    der: bytes


@dataclass(frozen=True, slots=True)
class Anchor:
    """A checkpoint with the evidence that others gave for it.

    ``at`` is when it was chosen (POSIX seconds, this server's clock), ``note`` the log's signed
    note, ``cosignatures`` signature lines that end in a newline.
    """

    size: int
    at: float
    note: bytes
    cosignatures: tuple[str, ...]
    tokens: tuple[Token, ...]

    @property
    def checkpoint(self) -> bytes:
        """The signed note with the cosignatures."""
        return self.note + "".join(self.cosignatures).encode()

    @property
    def text(self) -> bytes:
        """The note text with its final newline: what tokens are over."""
        return self.note[: self.note.rindex(b"\n\n") + 1]


class AnchorReader(EvidenceFile):
    """The anchors of a journal or of a copy, read only."""

    NAME = FILE
    TABLES = _TABLES
    PROBE = "SELECT size FROM anchors LIMIT 1"
    WRITE_BUSY_S = 0.5  # publication must not stand still for long

    def latest(self) -> Anchor | None:
        """The newest anchor."""
        return next(self._anchors("1", newest_first=True), None)

    def at_size(self, size: int) -> Anchor | None:
        """The anchor of this size."""
        return next(self._anchors(f"size = {size:d}"), None)

    def at_most(self, size: int) -> Anchor | None:
        """The newest anchor that is no larger than ``size``."""
        return next(self._anchors(f"size <= {size:d}", newest_first=True), None)

    def covering(
        self, index: int, *, stamped: bool = False, quorum: Quorum | None = None
    ) -> Anchor | None:
        """The earliest anchor that covers entry ``index`` and has what is asked.

        Args:
            index: of the entry.
            stamped: it has a token.
            quorum: its cosignatures meet this policy.
        """
        return next(self._having(stamped, quorum, f"size > {index:d}"), None)

    def sizes(self) -> list[int]:
        """The sizes of all anchors, smallest first."""
        return [size for (size,) in self._rows("SELECT size FROM anchors ORDER BY size")]

    def stamped_sizes(self) -> list[int]:
        """The sizes of the anchors that have a token, smallest first."""
        return [size for (size,) in self._rows("SELECT DISTINCT size FROM tokens ORDER BY size")]

    def between(self, after: int, until: int) -> Iterator[Anchor]:
        """The anchors larger than ``after`` up to ``until``, oldest first."""
        return self._anchors(f"size > {after:d} AND size <= {until:d}")

    def statements(self) -> Iterator[bytes]:
        """What was stated of closed batches, oldest first."""
        rows = self._rows("SELECT statement FROM batches WHERE statement <> '' ORDER BY until")
        return (statement.encode() for (statement,) in rows)

    def newest(self) -> Iterator[Anchor]:
        """All anchors, newest first."""
        return self._anchors("1", newest_first=True)

    def after(self, size: int) -> Anchor | None:
        """The oldest anchor that is larger than ``size``."""
        return next(self._anchors(f"size > {size:d}"), None)

    def all(self) -> Iterator[Anchor]:
        """All anchors, oldest first."""
        return self._anchors("1")

    def cosigned(self) -> Iterator[Anchor]:
        """The anchors with a cosignature, newest first."""
        return self._anchors(_COSIGNED, newest_first=True)

    def stamped_before(self, index: int) -> Anchor | None:
        """The newest anchor with a token that does not cover entry ``index`` yet."""
        condition = f"{_STAMPED} AND size <= {index:d}"
        return next(self._anchors(condition, newest_first=True), None)

    def waiting_since(self, *, stamped: bool = False, quorum: Quorum | None = None) -> float | None:
        """Since when entries lack what is asked; None when the newest anchor has it.

        That is when the oldest anchor was chosen that no anchor with a token (``stamped``), or
        with the quorum, covers.
        """
        covered = next(self._having(stamped, quorum, "1", newest_first=True), None)
        rows = self._rows(
            "SELECT at FROM anchors WHERE size > ? ORDER BY size LIMIT 1",
            covered.size if covered is not None else -1,
        )
        return rows[0][0] if rows else None

    def _having(
        self, stamped: bool, quorum: Quorum | None, condition: str, *, newest_first: bool = False
    ) -> Iterator[Anchor]:
        if stamped:
            condition += f" AND {_STAMPED}"
        if quorum is not None and quorum.demands:
            condition += f" AND {_COSIGNED}"
        for anchor in self._anchors(condition, newest_first=newest_first):
            if quorum is None or quorum.is_met(anchor.checkpoint):
                yield anchor

    def _anchors(self, condition: str, *, newest_first: bool = False) -> Iterator[Anchor]:
        """Anchors page by page: no lock is held between two."""
        beyond, order = ("size < ?", "DESC") if newest_first else ("size > ?", "ASC")
        last, page = 2**63 - 1 if newest_first else -1, 1
        while True:
            rows = self._rows(
                f"SELECT size, at, note FROM anchors WHERE {condition} AND {beyond}"  # noqa: S608
                f" ORDER BY size {order} LIMIT {page}",
                last,
            )
            for size, at, note in rows:
                yield self._whole(size, at, note)
            if len(rows) < page:
                return
            last, page = rows[-1][0], _PAGE

    def _whole(self, size: int, at: float, note: bytes) -> Anchor:
        lines = self._rows("SELECT line FROM cosignatures WHERE size = ? ORDER BY line", size)
        tokens = self._rows(
            "SELECT authority, der FROM tokens WHERE size = ? ORDER BY authority", size
        )
        return Anchor(
            size, at, note, tuple(line for (line,) in lines), tuple(Token(*row) for row in tokens)
        )


class AnchorStore(AnchorReader):
    """The anchors of an open journal."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        super().__init__(connection)
        newest = self.latest()
        self.latest_size = 0 if newest is None else newest.size
        closed = self._rows("SELECT COALESCE(MAX(until), 0) FROM batches")
        self.closed_size: int = closed[0][0]
        """Anchors up to this size are complete, and nothing is added to them."""
        self._watchers: list[Callable[[], None]] = []

    def watch(self, watcher: Callable[[], None]) -> None:
        """Have ``watcher`` called after each new anchor, in the thread that added it."""
        self._watchers.append(watcher)

    def add(self, size: int, note: bytes, at: float) -> None:
        """Add an anchor, durably; one that is there already stays as it is.

        Raises:
            OSError: the disk failed; it may have been added or not.
        """
        self._write(
            "INSERT INTO anchors (size, at, note) VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
            size,
            at,
            note,
        )
        self.latest_size = max(self.latest_size, size)
        for watcher in self._watchers:
            watcher()

    def add_cosignature(self, size: int, line: str) -> None:
        """Add a cosignature line (with its newline) that was verified, durably; not to an anchor of
        a closed batch.

        Raises:
            OSError: the disk failed, or there is no such anchor.
        """
        self._write(
            f"INSERT INTO cosignatures SELECT ?, ? WHERE {_OPEN} ON CONFLICT DO NOTHING",
            size,
            line,
            size,
        )

    def add_token(self, size: int, authority: str, der: bytes) -> None:
        """Add a time-stamp token that was verified, durably; the first of an authority stays, and
        nothing is added to an anchor of a closed batch.

        Raises:
            OSError: the disk failed, or there is no such anchor.
        """
        self._write(
            f"INSERT INTO tokens SELECT ?, ?, ? WHERE {_OPEN} ON CONFLICT DO NOTHING",
            size,
            authority,
            der,
            size,
        )

    def close_batch(self, now: float, *, final: bool = False) -> bool:
        """Close the oldest anchors of an hour that is over, durably; whether there are such.

        Args:
            now: POSIX seconds.
            final: close what there is, over or not.

        Raises:
            OSError: the disk failed. Problem: ``JournalCorrupt``.
        """
        rows = self._rows(
            "SELECT size, at FROM anchors WHERE size > ? ORDER BY size LIMIT ?",
            self.closed_size,
            _MAX_BATCH,
        )
        if not rows:
            return False
        spacing_s = SPACING.total_seconds()
        begin = rows[0][1]
        over = begin + spacing_s + SETTLE.total_seconds() <= now or begin > now + spacing_s
        if not (over or final):
            return False
        until = rows[0][0]
        for size, at in rows:
            if at >= begin + spacing_s:
                break
            until = size
        self._write("INSERT INTO batches VALUES (?, ?, '', NULL)", self.closed_size, until)
        self.closed_size = until
        return True

    def pending(self) -> Statement | None:
        """The statement of the oldest closed batch that no entry commits to, kept durably.

        After a crash the entry may be in the log all the same: it is recorded again then.

        Raises:
            OSError: the disk failed. Problem: ``JournalCorrupt``.
        """
        rows = self._rows("SELECT after, until FROM batches WHERE entry IS NULL ORDER BY until")
        if not rows:
            return None
        after, until = rows[0]
        statement, stay = state(after, until, list(self.between(after, until)))
        with self._writing() as connection:
            connection.execute(
                "UPDATE batches SET statement = ? WHERE until = ?",
                (bytes(statement).decode(), until),
            )
            connection.executemany(
                "INSERT INTO staying VALUES (?) ON CONFLICT DO NOTHING", [(one,) for one in stay]
            )
        return statement

    def settle(self, statement: Statement, entry: int) -> None:
        """Note which entry commits to a batch, durably.

        Raises:
            OSError: the disk failed.
        """
        self._write("UPDATE batches SET entry = ? WHERE until = ?", entry, statement.until)

    def thin_out(self, now: float) -> int:
        """Remove of each batch to which an entry commits, and that is older than :data:`KEEP_ALL`,
        what does not stay; how many anchors went.

        Args:
            now: POSIX seconds.

        Raises:
            OSError: the disk failed; nothing or all of it is gone.
        """
        with self._writing() as connection:
            gone = connection.execute(_GOES, (now - KEEP_ALL.total_seconds(),)).fetchall()
            for table in ("cosignatures", "tokens", "anchors"):
                connection.executemany(f"DELETE FROM {table} WHERE size = ?", gone)  # noqa: S608
        return len(gone)

    def _write(self, statement: str, *arguments: Any) -> None:
        with self._writing() as connection:
            connection.execute(statement, arguments)
