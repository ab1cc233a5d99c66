"""What a witness has cosigned: the last checkpoint of each log, in SQLite.

Invariants:
- check and persist are one step (C2SP tlog-witness): a submission is judged against the stored
  checkpoint inside the transaction that replaces it, which no other process can enter meanwhile;
- what is cosigned was durable before: the cosignature is made from the row after the commit. Since
  it is of Ed25519 and its time is in the row, it can be made again at any time, byte by byte;
- a repeat of what was cosigned is cosigned with its own time, and costs no write.

This file is the witness's memory. Restored from a copy, or begun anew, it would let a log sign
again what it has signed otherwise since: see docs/operators.md.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from exchange.log.checkpoint import Checkpoint, parse_text
from exchange.log.notes import Note, parse_note
from exchange.log.witness import Submission, check_growth
from exchange.problems import Code, Problem
from serving.sqlite_files import open_evidence
from serving.transactions import transaction

FILE: Final = "witness.sqlite"


@dataclass(frozen=True, slots=True)
class Known:
    """The last checkpoint of a log that was cosigned, as it was submitted, and when."""

    note: Note
    at: int

    @property
    def checkpoint(self) -> Checkpoint:
        return parse_text(self.note.text)


@dataclass(frozen=True, slots=True)
class Judged:
    """What came of a submission: stored now, or why not; and what was known before."""

    before: Known | None
    refusal: Problem | None


class WitnessState:
    """The store; may be used by several threads and processes."""

    def __init__(self, path: Path) -> None:
        """Open the file, or begin it.

        Raises:
            Problem: ``JournalCorrupt`` when it is no store of a witness.
        """
        self._path = path
        self._lock = threading.Lock()
        try:
            self._connection = open_evidence(path)
            self._connection.execute(
                "CREATE TABLE IF NOT EXISTS logs (origin TEXT PRIMARY KEY, note BLOB NOT NULL,"
                " at INTEGER NOT NULL) STRICT, WITHOUT ROWID"
            )
        except sqlite3.DatabaseError as error:
            raise Problem(
                Code.JOURNAL_CORRUPT,
                where=path.name,
                detail=f"the witness's memory cannot be read: {error}",
            ) from error

    def judge(self, submission: Submission, checkpoint: Checkpoint, at: int) -> Judged:
        """Judge an opened submission, and store it when it holds: durable on return.

        What is stored already is not written again, whatever the time: anybody can send it, and a
        write that lasts is dear. It may be cosigned with the new time, since it is still the last.

        Args:
            checkpoint: what :func:`exchange.log.witness.open_submission` gave.
            at: the time that will be cosigned, POSIX seconds.

        Raises:
            OSError: the disk failed; it may have been stored or not.
        """
        with self._lock, self._failing():
            known = self._read(checkpoint.origin)
            if known is not None and _repeats(submission, checkpoint, known):
                return Judged(known, None)
        with self._lock, self._failing(), transaction(self._connection) as connection:
            known = self._read(checkpoint.origin)
            try:
                check_growth(submission, checkpoint, known.checkpoint if known else None)
            except Problem as problem:
                return Judged(known, problem)  # the transaction changed nothing
            connection.execute(
                "INSERT INTO logs VALUES (?, ?, ?) ON CONFLICT (origin)"
                " DO UPDATE SET note = excluded.note, at = excluded.at",
                (checkpoint.origin, bytes(_with_lines_of(known, submission.note)), at),
            )
        return Judged(known, None)

    def known(self, origin: str) -> Known | None:
        """The last checkpoint of a log.

        Raises:
            OSError: the disk failed.
        """
        with self._lock, self._failing():
            return self._read(origin)

    def all(self) -> list[Known]:
        """The last checkpoint of each log, by origin.

        Raises:
            OSError: the disk failed.
        """
        with self._lock, self._failing():
            rows = self._connection.execute("SELECT note, at FROM logs ORDER BY origin").fetchall()
        return [Known(parse_note(note), at) for note, at in rows]

    def close(self) -> None:
        self._connection.close()

    def _read(self, origin: str) -> Known | None:
        row = self._connection.execute(
            "SELECT note, at FROM logs WHERE origin = ?", (origin,)
        ).fetchone()
        return None if row is None else Known(parse_note(row[0]), row[1])

    @contextmanager
    def _failing(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.DatabaseError as error:
            raise OSError(f"{self._path.name}: {error}") from error


def _repeats(submission: Submission, checkpoint: Checkpoint, known: Known) -> bool:
    """Whether this was cosigned before, and shows no signature of another key of its log."""
    if (submission.old_size, checkpoint) != (checkpoint.size, known.checkpoint):
        return False
    keys = {(line.name, line.key_id) for line in known.note.signatures}
    return not submission.proof and all(
        (line.name, line.key_id) in keys for line in submission.note.signatures
    )


def _with_lines_of(known: Known | None, note: Note) -> Note:
    """A note with the signatures by other keys that were shown before over the same text."""
    if known is None or known.note.text != note.text:
        return note
    keys = {(line.name, line.key_id) for line in note.signatures}
    lines = (line for line in known.note.signatures if (line.name, line.key_id) not in keys)
    return Note(note.text, (*note.signatures, *lines))
