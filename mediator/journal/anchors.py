"""Anchors: the checkpoints that witnesses cosign and authorities stamp.

The log signs a checkpoint twice a second; every few seconds the newest becomes an anchor, when the
log grew since the last one. An anchor covers every entry before its size: after an outage of any
length it is enough to have the newest one cosigned and stamped.

Invariants:
- an anchor is the log's signed note as it was published, and never changes; cosignature lines and
  time-stamp tokens are added beside it, and are checked by who adds them, not here;
- ``anchors.sqlite`` is evidence, not derived (:mod:`mediator.journal.evidence_files`). Anchors are
  thinned out when they are old, and entries of the journal commit to tokens, which stay.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final, Protocol

from mediator.journal.evidence_files import EvidenceFile

FILE = "anchors.sqlite"
EVENT: Final = "time-stamp"
"""The event of the entries that commit to tokens."""
KEEP_ALL: Final = timedelta(days=7)
"""So long no anchor is thinned out."""
SPACING: Final = timedelta(hours=1)
"""Of older ones, one of each such interval stays at least."""
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
CREATE TABLE IF NOT EXISTS committed (
    size INTEGER NOT NULL REFERENCES anchors, authority TEXT NOT NULL,
    PRIMARY KEY (size, authority)) STRICT, WITHOUT ROWID;
"""
_TOKENS = """SELECT size, authority, der FROM tokens WHERE (size, authority) > (?, ?)
    ORDER BY size, authority LIMIT 64"""
_STAMPED = "EXISTS (SELECT 1 FROM tokens WHERE tokens.size = anchors.size)"
_COSIGNED = "EXISTS (SELECT 1 FROM cosignatures WHERE cosignatures.size = anchors.size)"
_COVERED_LATER = f"""
WITH old AS (
    SELECT size, CAST(at / :spacing AS INTEGER) AS slot, {_STAMPED} AS stamped,
        {_COSIGNED} AS cosigned FROM anchors WHERE at < :before),
last AS (
    SELECT slot, MAX(size) AS whatever, MAX(size * stamped) AS with_token,
        MAX(size * cosigned) AS with_line, MAX(size * stamped * cosigned) AS with_both
    FROM old GROUP BY slot)
SELECT size FROM old JOIN last USING (slot) WHERE size < CASE
    WHEN stamped AND cosigned THEN with_both WHEN stamped THEN with_token
    WHEN cosigned THEN with_line ELSE whatever END
AND NOT EXISTS (SELECT 1 FROM committed WHERE committed.size = old.size)
"""  # noqa: S608


class Quorum(Protocol):
    """What decides whether enough witnesses cosigned a checkpoint (:mod:`exchange.policy`)."""

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

    def tokens(self) -> Iterator[bytes]:
        """All tokens, oldest anchor first."""
        size, authority = -1, ""
        while rows := self._rows(_TOKENS, size, authority):
            yield from (der for _, _, der in rows)
            size, authority, _ = rows[-1]

    def newest(self) -> Iterator[Anchor]:
        """All anchors, newest first."""
        return self._anchors("1", newest_first=True)

    def after(self, size: int) -> Anchor | None:
        """The oldest anchor that is larger than ``size``."""
        return next(self._anchors(f"size > {size:d}"), None)

    def all(self) -> Iterator[Anchor]:
        """All anchors, oldest first."""
        return self._anchors("1")

    def unstamped(self) -> Iterator[Anchor]:
        """The anchors without a token, newest first."""
        return self._anchors(f"NOT {_STAMPED}", newest_first=True)

    def unwitnessed(self) -> Iterator[Anchor]:
        """The anchors without a cosignature, newest first."""
        return self._anchors(f"NOT {_COSIGNED}", newest_first=True)

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
        """Add a cosignature line (with its newline) that was verified, durably.

        Raises:
            OSError: the disk failed, or there is no such anchor.
        """
        self._write("INSERT INTO cosignatures VALUES (?, ?) ON CONFLICT DO NOTHING", size, line)

    def add_token(self, size: int, authority: str, der: bytes) -> None:
        """Add a time-stamp token that was verified, durably; the first of an authority stays.

        Raises:
            OSError: the disk failed, or there is no such anchor.
        """
        self._write(
            "INSERT INTO tokens VALUES (?, ?, ?) ON CONFLICT DO NOTHING", size, authority, der
        )

    def commit_to(self, size: int, authority: str) -> None:
        """Keep a token for ever: an entry of the journal will commit to it. Durable.

        Raises:
            OSError: the disk failed, or there is no such anchor.
        """
        self._write("INSERT INTO committed VALUES (?, ?) ON CONFLICT DO NOTHING", size, authority)

    def thin_out(self, now: float) -> int:
        """:meth:`prune` what is older than :data:`KEEP_ALL`; ``now`` in POSIX seconds.

        Raises:
            OSError: the disk failed; nothing or all of it is gone.
        """
        return self.prune(now - KEEP_ALL.total_seconds(), SPACING.total_seconds())

    def prune(self, before: float, spacing_s: float) -> int:
        """Thin out old anchors: of those chosen before a time, keep the last of each interval.

        What goes is covered by one that stays, with as much evidence, at a later time of the same
        interval. Returns how many went.

        Raises:
            OSError: the disk failed; nothing or all of it is gone.
        """
        bounds = {"before": before, "spacing": spacing_s}
        with self._writing() as connection:
            rows = connection.execute(_COVERED_LATER, bounds).fetchall()
            for table in ("cosignatures", "tokens", "anchors"):
                connection.executemany(f"DELETE FROM {table} WHERE size = ?", rows)  # noqa: S608
        return len(rows)

    def _write(self, statement: str, *arguments: Any) -> None:
        with self._writing() as connection:
            connection.execute(statement, arguments)
