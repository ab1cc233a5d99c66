"""Archiving: what is new in a journal goes into the archive, batch after batch.

One run, and what a crash after each step means:

1. what is to go is checked against the tree of the published checkpoint, so that damage here is
   found and not archived;
2. the objects of a batch are put and read back: a crash leaves objects that no manifest names, and
   the next run puts the same bytes again;
3. the manifest is put and read back: the batch is archived; a crash before the next step is found
   by asking the archive for the manifest that follows;
4. ``archive.json`` here notes the manifest. Lost, it is found again in the archive;
5. after the last batch, ``log/checkpoint``, ``holdings.json`` and the copies of anchors and
   evidence are replaced: a crash leaves those of the run before.

Only full bundles, segments behind which another one begins, and the partial tiles of the one
checkpoint go there. A run takes what was published when it began. Memory is bounded by the parts
in flight, each read in chunks.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from time import time
from typing import Final, NamedTuple

import orjson

from exchange.log.tiles import WIDTH
from exchange.problems import Code, Problem
from mediator.archive.manifests import (
    NO_DIGEST,
    Manifest,
    last_manifest,
    name_of,
    read_manifest,
)
from mediator.archive.source import Source, damaged
from mediator.archive.stores import (
    Store,
    Stored,
    describe,
    failed,
    fetch,
    put_checked,
)
from mediator.journal import segments
from mediator.journal.anchors import FILE as ANCHORS_FILE
from mediator.journal.holdings import FILE as HOLDINGS_FILE
from mediator.journal.holdings import Holdings
from mediator.journal.publication import CHECKPOINT
from mediator.journal.reader import JournalReader
from mediator.journal.recovery import DESCRIPTION
from serving.locks import locked
from serving.log.tiles import tiles_of_edge
from serving.sqlite_files import open_read_only

STATE: Final = "archive.json"
LOCK: Final = "archive.lock"
BATCH_ENTRIES: Final = 1024 * WIDTH
BATCH_SEGMENTS: Final = 16
EVIDENCE: Final = (ANCHORS_FILE, "evidence.sqlite")
_MAX_SMALL: Final = 1 << 20

Progress = Callable[[str, int, int], None]


class State(NamedTuple):
    """What this journal knows of its archive: ``archive.json``; derived from the archive."""

    url: str
    number: int
    evidence_at: float = 0.0


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run did, and what the archive holds now."""

    url: str
    manifest: Manifest
    batches: int
    objects: int
    bytes: int


class Archiver:
    """Archives one journal; made by :func:`archiving`, which lets nobody else do so meanwhile."""

    def __init__(
        self,
        journal: JournalReader,
        store: Store,
        *,
        parallel: int = 8,
        evidence_every_s: float = 0.0,
        progress: Progress = lambda what, done, total: None,
    ) -> None:
        self._journal = journal
        self._store = store
        self._parallel = parallel
        self._evidence_every_s = evidence_every_s
        self._progress = progress
        self._source = Source(journal)
        self._put_bytes = 0
        self._put_objects = 0

    def run(self) -> Outcome:
        """Archive what is new.

        Raises:
            Problem: ``ArchiveFailed``; ``JournalCorrupt`` when what should be archived is damaged;
                ``Conflict`` when the archive is of another journal, or lacks what was removed here.
        """
        journal, store = self._journal, self._store
        last = self.last()
        state = self._state()
        batches = 0
        for manifest in self._batches(last):
            self._batch(manifest)
            last, batches = manifest, batches + 1
            self._note(State(store.url, manifest.number, state.evidence_at))
        if last is None:
            raise Problem(
                Code.NOT_FOUND, where="archive", detail="the journal has published nothing yet"
            )
        evidence_at = self._show(last, state)
        self._note(State(store.url, last.number, evidence_at))
        self._progress("archived", journal.checkpoint.size, journal.checkpoint.size)
        return Outcome(store.url, last, batches, self._put_objects, self._put_bytes)

    def last(self) -> Manifest | None:
        """The last manifest of the archive, which may be ahead of ``archive.json``.

        Raises:
            Problem: ``ArchiveFailed``; ``Conflict``.
        """
        store, state = self._store, self._state()
        known = None
        if state.url == store.url and state.number >= 0:
            known = read_manifest(store, state.number)
            if known is None:
                raise failed(
                    store.url, name_of(state.number), "the archive has lost it: it was put there"
                )
        last = last_manifest(store, known)
        if last is not None and last.origin != self._journal.origin:
            raise self._conflict(f"it holds the journal {last.origin}")
        if last is not None and last.entries > self._journal.checkpoint.size:
            raise self._conflict(
                f"it holds {last.entries} entries, and the journal has "
                f"{self._journal.checkpoint.size}: was an old copy put in place?"
            )
        held = self._journal.holdings
        entries, sealed = (0, 0) if last is None else (last.entries, last.segments)
        if entries < held.entries_from or sealed < held.segments_from:
            raise self._conflict(
                f"it lacks what was removed here, which is in {held.archive}: copy that archive "
                "first"
            )
        return last

    def _conflict(self, detail: str) -> Problem:
        return Problem(Code.CONFLICT, where=self._store.url, detail=detail)

    # --- batches -------------------------------------------------------------------------------

    def _batches(self, last: Manifest | None) -> Iterator[Manifest]:
        """The batches of this run; each is described when the one before is archived."""
        head = self._journal.checkpoint
        note = self._journal.checkpoint_note.decode()
        entries_end = head.size - head.size % WIDTH
        ends = self._source.closed_segments(head.size)
        if not head.size or (last is not None and last.checkpoint == note):
            return
        while True:
            entries, sealed = (0, 0) if last is None else (last.entries, last.segments)
            self._progress("archiving", entries, entries_end)
            until = min(entries + BATCH_ENTRIES, entries_end)
            whole = [pair for pair in ends if pair[0] >= sealed and pair[1] <= until]
            taken = whole[:BATCH_SEGMENTS]
            if taken and taken[0][0] != sealed:
                raise damaged("segments", sealed, "its segment is missing")
            sealed_until = taken[-1][1] if taken else sealed
            done = until == entries_end and len(taken) == len(whole)
            names = [
                *self._source.bundles(entries, until),
                *(segments.path_of(Path("segments"), first).as_posix() for first, _ in taken),
            ]
            if done:
                names += [f"log/{tile}" for tile in tiles_of_edge(head.size)]
            names = [*dict.fromkeys(names)]
            for first, end in taken:
                self._source.check_segment(first, end)
            last = Manifest(
                number=0 if last is None else last.number + 1,
                previous=NO_DIGEST if last is None else last.digest,
                origin=self._journal.origin,
                checkpoint=note if done else "",
                entries=until,
                segments=sealed_until,
                objects=tuple(self._source.describe(name) for name in names),
            )
            yield last
            if done:
                return

    def _batch(self, manifest: Manifest) -> None:
        """Put a batch and commit it."""
        with ThreadPoolExecutor(self._parallel, "archive") as pool:
            for _ in pool.map(self._put, manifest.objects):  # the first that fails ends the rest
                pass
        self._put_objects += len(manifest.objects)
        self._put_bytes += sum(stored.size for stored in manifest.objects)
        data = bytes(manifest)
        put_checked(self._store, describe(name_of(manifest.number), data), data)

    def _put(self, stored: Stored) -> None:
        put_checked(self._store, stored, self._source.content(stored.name))

    # --- what is replaced ------------------------------------------------------------------------

    def _show(self, last: Manifest, state: State) -> float:
        """Replace what is not immutable; returns when evidence was copied last."""
        description = (self._journal.directory / DESCRIPTION).read_bytes()
        self._replace(DESCRIPTION, description)
        now, evidence_at = time(), state.evidence_at
        if state.url != self._store.url or not 0 <= now - evidence_at < self._evidence_every_s:
            self._copy_evidence()
            evidence_at = now
        self._replace(f"log/{CHECKPOINT}", last.checkpoint.encode())
        self._replace(HOLDINGS_FILE, bytes(Holdings(segments_until=last.segments)))
        return evidence_at

    def _replace(self, name: str, data: bytes) -> None:
        with contextlib.suppress(Problem):
            if fetch(self._store, name, _MAX_SMALL) == data:
                return
        put_checked(self._store, describe(name, data), data)

    def _copy_evidence(self) -> None:
        """Put a consistent copy of each store of evidence."""
        draft = self._journal.directory / "archive.draft"
        for name in EVIDENCE:
            path = self._journal.directory / name
            if not path.exists():
                continue
            try:
                _copy_database(path, draft)
                put_checked(self._store, describe(name, draft), draft)
            finally:
                draft.unlink(missing_ok=True)

    # --- archive.json ----------------------------------------------------------------------------

    def _state(self) -> State:
        path = self._journal.directory / STATE
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            document = orjson.loads(path.read_bytes())
            return State(
                str(document["archive"]), int(document["number"]), float(document["evidence_at"])
            )
        return State("", -1)

    def _note(self, state: State) -> None:
        path = self._journal.directory / STATE
        draft = path.with_suffix(".draft")
        draft.write_bytes(
            orjson.dumps(
                {"archive": state.url, "number": state.number, "evidence_at": state.evidence_at}
            )
        )
        draft.replace(path)


@contextlib.contextmanager
def archiving(directory: Path) -> Iterator[None]:
    """Let nobody else archive this journal, or remove from it, meanwhile.

    Raises:
        Problem: ``Conflict`` when somebody does.
    """
    with locked(directory / LOCK, "another process archives this journal now"):
        yield


def _copy_database(source: Path, target: Path) -> None:
    """A consistent copy of an SQLite file that is being written, as one file at rest."""
    reading = open_read_only(source)
    with contextlib.closing(reading), contextlib.closing(sqlite3.connect(target)) as writing:
        reading.backup(writing)
        writing.execute("PRAGMA journal_mode = DELETE")
