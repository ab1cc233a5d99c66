"""Publication: what is durable becomes tiles, a signed checkpoint and rows of the search index.

One thread, about twice a second, behind the message path. The order of one round, and what a crash
after each step means:

1. tiles and bundles are put in their places: a crash leaves files that no checkpoint names, and
   the next round writes the same bytes again;
2. the checkpoint is signed and swapped into the store of the last signed checkpoint: from here on
   the log has this head; a crash leaves ``log/checkpoint`` one behind, and the next start, like
   the next round, publishes it first;
3. ``log/checkpoint`` is replaced;
4. the index takes the new entries: it is derived, and catches up from the bundles;
5. partial tiles whose full ones are there are removed.

Invariant: a checkpoint is signed only for a tree that extends the one in the store.
"""

from __future__ import annotations

import contextlib
import threading
from pathlib import Path
from queue import Empty, SimpleQueue

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from exchange.checkpoint import Checkpoint, sign_checkpoint
from exchange.problems import Code, Problem
from exchange.tiles import Tile
from mediator.journal import segments
from mediator.journal.files import Files
from mediator.journal.index import IndexWriter
from mediator.journal.intake import Intake
from mediator.journal.segments import Position
from mediator.journal.signed import SignedStore
from mediator.journal.tiles import Edge, TileFolder

ROUND_ENTRIES = 8192
CHECKPOINT = "checkpoint"


class Publisher:
    """Publishes rounds; used by one thread at a time."""

    def __init__(
        self,
        directory: Path,
        files: Files,
        store: SignedStore,
        origin: str,
        key: Ed25519PrivateKey,
        edge: Edge,
        position: Position,
        signed: bytes | None,
        index: IndexWriter | None,
    ) -> None:
        self.position = position
        self.signed = signed
        self.edge = edge
        self.folder = TileFolder(directory / "log")
        self._segments = directory / "segments"
        self._staging = directory / "staging"
        self._files = files
        self._store = store
        self._origin = origin
        self._key = key
        self._index = index
        self._shown: bytes | None = None
        self._attempt: tuple[Edge, Position, bytes] | None = None

    @property
    def size(self) -> int:
        """The size of the last signed checkpoint."""
        return self.edge.size

    def publish(self, durable: Position) -> None:
        """Publish everything up to ``durable``, in rounds.

        Raises:
            OSError: the disk failed; the next call goes on from there.
            Problem: ``JournalForked`` when somebody else signed; ``JournalCorrupt`` when the
                records cannot be read back.
        """
        self._settle()
        self._show()
        while self.position.index < durable.index:
            self._round(durable)
        if self._index is not None and self._index.size < self.size:
            self._index.catch_up(self.folder, self.size)

    def _settle(self) -> None:
        """Find out what became of a swap that failed: taken effect or not."""
        if self._attempt is None:
            return
        edge, position, note = self._attempt
        stored = self._store.read()
        current = None if stored is None else stored.current
        if current == note:
            self.edge, self.position, self.signed = edge, position, note
        elif current != self.signed:
            raise Problem(
                Code.JOURNAL_FORKED,
                where="last checkpoint",
                detail="another checkpoint was signed meanwhile: is a second process running?",
            )
        self._attempt = None

    def _show(self) -> None:
        """Put the last signed checkpoint in ``log/checkpoint``."""
        if self.signed is None or self._shown == self.signed:
            return
        draft = self._staging / CHECKPOINT
        self._files.write_file(draft, self.signed)
        self._files.rename(draft, self.folder.directory / CHECKPOINT)
        self._files.sync_directory(self.folder.directory)
        self._shown = self.signed

    def _round(self, durable: Position) -> None:
        old_size = self.edge.size
        edge, position = self.edge.copy(), self.position
        tiles: list[tuple[Tile, bytes]] = []
        entries: list[bytes] = []
        for group in segments.read_between(self._segments, position, durable):
            tiles += edge.append(group.entries)
            entries += group.entries
            position = segments.behind(group, position)
            if len(entries) >= ROUND_ENTRIES:
                break
        tiles += edge.partial()
        self.folder.write(self._files, self._staging, tiles)
        checkpoint = Checkpoint(self._origin, edge.size, edge.root())
        note = sign_checkpoint(checkpoint, self._key)
        self._attempt = edge, position, note
        self._store.swap(self.signed, note)
        self._settle()
        self._show()
        if self._index is not None:
            self._index.add(old_size, entries)
        self.folder.drop_partials(self._files, old_size, self.size)


class PublicationThread:
    """Runs a publisher about every ``interval_s``, and once more at the end."""

    def __init__(self, publisher: Publisher, intake: Intake, interval_s: float) -> None:
        self.problem: Problem | None = None
        self.published_size = publisher.size
        self._publisher = publisher
        self._intake = intake
        self._interval_s = interval_s
        self._stop: SimpleQueue[None] = SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="journal-publication", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Publish what is durable, then end the thread. Blocks."""
        self._stop.put(None)
        self._thread.join()

    def _run(self) -> None:
        stopping = False
        while not stopping:
            with contextlib.suppress(Empty):
                self._stop.get(timeout=self._interval_s)
                stopping = True
            self._publish()

    def _publish(self) -> None:
        if self.problem is not None and self.problem.code is Code.JOURNAL_FORKED:
            return  # never sign again: a person must look
        try:
            self._publisher.publish(self._intake.durable)
            self.problem = None
        except Problem as problem:
            self.problem = problem
        except Exception as error:
            self.problem = Problem(
                Code.LOGGING_FAILED,
                where="publication",
                detail=f"the journal's checkpoint and tiles cannot be published: {error}",
            )
        self.published_size = self._publisher.size
