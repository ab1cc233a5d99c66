"""Publication: what is durable becomes tiles, a signed checkpoint and rows of the search index.

One thread, about twice a second, behind the message path. The order of one round, and what a crash
after each step means:

1. tiles and bundles are put in their places: a crash leaves files that no checkpoint names, and
   the next round writes the same bytes again;
2. the checkpoint is signed and swapped into the store of the last signed checkpoint: from here on
   the log has this head; a crash leaves ``log/checkpoint`` one behind, and the next start, like
   the next round, publishes it first;
3. ``log/checkpoint`` is replaced;
4. partial tiles whose full ones are there are removed.

The search index follows at its own pace, many entries at once: it is derived, and catches up from
the bundles after a crash. Whenever everything that is durable is published, the index has it too.

Under load a round ends with a full bundle: partial tiles and bundles, which the next round would
write anew, are written only when less than a bundle is new.

Invariant: a checkpoint is signed only for a tree that extends the one in the store.
"""

from __future__ import annotations

import contextlib
import threading
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from queue import Empty, SimpleQueue
from time import monotonic, time

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from exchange.log.checkpoint import Checkpoint, sign_checkpoint
from exchange.log.tiles import WIDTH, Tile
from exchange.problems import Code, Problem
from mediator.journal import segments
from mediator.journal.anchors import AnchorStore
from mediator.journal.index.feed import IndexFeed
from mediator.journal.index.keeper import IndexKeeper
from mediator.journal.intake import KEPT_ENTRIES, Committed, Intake
from mediator.journal.segments import Position
from mediator.journal.signed import SignedStore
from serving.log.files import Files
from serving.log.tiles import Edge, TileFolder

ROUND_ENTRIES = 8192
INDEX_ENTRIES = 4096
"""So many entries go into the search index at once under load ..."""
INDEX_INTERVAL_S = 2.0
"""... or those of so many seconds."""
ANCHOR_PATIENCE_S = 30.0
"""For so long an anchor may fail to be kept before it is told: somebody may read the file."""
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
        index: IndexKeeper | IndexFeed | None,
        committed: deque[Committed] | None = None,
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
        self._committed = deque[Committed]() if committed is None else committed
        self._recent: deque[Committed] = deque()
        self._unindexed: list[bytes] = []
        self._unindexed_from = 0
        self._indexed_at = 0.0
        self._shown: bytes | None = None
        self._attempt: tuple[Edge, Position, bytes] | None = None

    @property
    def size(self) -> int:
        """The size of the last signed checkpoint."""
        return self.edge.size

    def publish(self, durable: Position, *, whole: bool = False) -> None:
        """Publish what is durable, in rounds; up to the last full bundle when more than one is new.

        Args:
            durable: where the records end that are durable.
            whole: publish all of it in any case.

        Raises:
            OSError: the disk failed; the next call goes on from there.
            Problem: ``JournalForked`` when somebody else signed; ``JournalCorrupt`` when the
                records cannot be read back.
        """
        self._settle()
        self._show()
        target = durable.index - durable.index % WIDTH
        if whole or target - self.size < WIDTH:
            target = durable.index
        while self.size < target:
            self._round(durable, min(target, self.size - self.size % WIDTH + ROUND_ENTRIES))

    def index(self, *, now: bool) -> None:
        """Have the search index take what was published: now, or when it is worth a transaction.

        Raises:
            OSError, Problem: as :meth:`IndexKeeper.add` and when a bundle cannot be read.
        """
        index, waiting = self._index, self._unindexed
        if index is None:
            return
        if (
            not now
            and len(waiting) < INDEX_ENTRIES
            and (monotonic() < self._indexed_at + INDEX_INTERVAL_S)
        ):
            return
        self._unindexed = []
        index.add(self._unindexed_from, waiting)
        if index.size < self.size:
            index.catch_up(self.folder, self.size)
        self._indexed_at = monotonic()

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

    def _round(self, durable: Position, target: int) -> None:
        """Publish the first ``target`` entries."""
        old_size = self.edge.size
        edge, position = self.edge.copy(), self.position
        tiles: list[tuple[Tile, bytes]] = []
        new: list[bytes] = []
        for entries, end in self._groups(position, durable):
            # The end of the last round and of this one may fall within a group.
            first = end.index - len(entries)
            taken = entries[edge.size - first : target - first]
            tiles += edge.append(taken)
            new += taken
            if end.index > target:
                break
            position = end
            if edge.size == target:
                break
        tiles += edge.partial()
        self.folder.write(self._files, self._staging, tiles)
        checkpoint = Checkpoint(self._origin, edge.size, edge.root())
        note = sign_checkpoint(checkpoint, self._key)
        self._attempt = edge, position, note
        self._store.swap(self.signed, note)
        self._settle()
        self._show()
        self._keep_for_index(old_size, new)
        self.folder.drop_partials(self._files, old_size, self.size)

    def _groups(
        self, position: Position, durable: Position
    ) -> Iterator[tuple[list[bytes], Position]]:
        """The entries from ``position`` on, group by group: from memory, or read back."""
        recent, committed = self._recent, self._committed
        with contextlib.suppress(IndexError):  # at the end, or the intake dropped old ones
            while True:
                recent.append(committed.popleft())
        while recent and (
            recent[0].end.index <= position.index
            or recent[-1].end.index - recent[0].first > KEPT_ENTRIES
        ):
            recent.popleft()
        for group in tuple(recent):
            if group.first != position.index or position.index >= durable.index:
                break
            yield group.entries, group.end
            position = group.end
        for read in segments.read_between(self._segments, position, durable):
            position = segments.behind(read, position)
            yield read.entries, position

    def _keep_for_index(self, first: int, entries: list[bytes]) -> None:
        if self._unindexed_from + len(self._unindexed) != first:
            self._unindexed_from, self._unindexed = first, []
        if self._index is not None:
            self._unindexed += entries


class PublicationThread:
    """Runs a publisher about every ``interval_s``, and once more at the end.

    About every ``anchor_s``, and at the end, the last checkpoint becomes an anchor.
    """

    def __init__(
        self,
        publisher: Publisher,
        intake: Intake,
        anchors: AnchorStore,
        interval_s: float,
        anchor_s: float,
        *,
        held: bool = False,
    ) -> None:
        """Begin; ``held`` publishes nothing before :meth:`release`."""
        self.problem: Problem | None = None
        self.published_size = publisher.size
        self._publisher = publisher
        self._intake = intake
        self._anchors = anchors
        self._interval_s = interval_s
        self._anchor_s = anchor_s
        self._next_anchor = 0.0
        self._unanchored_since: float | None = None
        self._held = held
        self._forked: Problem | None = None
        self._stop: SimpleQueue[None] = SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="journal-publication", daemon=True)
        self._thread.start()

    def release(self) -> None:
        """Publish from now on."""
        self._held = False

    def never_sign_again(self, problem: Problem) -> None:
        """Stop for good: somebody remembers that this log signed what it does not continue."""
        self._forked = self.problem = problem

    def close(self) -> None:
        """Publish what is durable, then end the thread. Blocks.

        What is still held stays unpublished until the next start.
        """
        self._stop.put(None)
        self._thread.join()

    def _run(self) -> None:
        stopping = False
        while not stopping:
            with contextlib.suppress(Empty):
                self._stop.get(timeout=self._interval_s)
                stopping = True
            self._publish(stopping)

    def _publish(self, stopping: bool) -> None:
        if self._held or self._forked is not None:
            return
        publisher, intake = self._publisher, self._intake
        try:
            publisher.publish(intake.durable, whole=stopping)
            self._anchor(stopping)
            publisher.index(now=publisher.size == intake.durable.index)
            self.problem = self._forked  # which another thread may have found meanwhile
        except Problem as problem:
            self.problem = problem
            if problem.code is Code.JOURNAL_FORKED:
                self._forked = problem  # never sign again: a person must look
        except Exception as error:
            self.problem = Problem(
                Code.LOGGING_FAILED,
                where="publication",
                detail=f"the journal's checkpoint and tiles cannot be published: {error}",
            )
        self.published_size = publisher.size

    def _anchor(self, stopping: bool) -> None:
        """Make the last checkpoint an anchor when it is time and the log grew.

        Raises:
            OSError: it could not be kept, for longer than somebody reads the file.
        """
        size, note = self._publisher.size, self._publisher.signed
        now = monotonic()
        if note is None or size <= self._anchors.latest_size:
            return
        if not stopping and now < self._next_anchor:
            return
        try:
            self._anchors.add(size, note, time())
        except OSError:
            self._unanchored_since = self._unanchored_since or now
            if now > self._unanchored_since + ANCHOR_PATIENCE_S:
                raise
            return  # the next round tries again
        self._unanchored_since = None
        self._next_anchor = now + self._anchor_s
