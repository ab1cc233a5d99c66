"""What journals hold, read from their published files alone, and checked the obvious way."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

import orjson

from exchange.log import merkle
from exchange.log.checkpoint import Checkpoint, open_checkpoint
from mediator.journal import segments
from mediator.journal.recovery import DESCRIPTION, Description
from mediator.journal.verify import verify
from serving.log.tiles import TileFolder

POLL_S = 0.005


@dataclass(frozen=True, slots=True)
class Published:
    """A journal as its files tell: head and entries."""

    journal: Path
    head: Checkpoint
    entries: list[dict[str, Any]]
    leaves: list[bytes]

    def by_id(self) -> dict[str, list[dict[str, Any]]]:
        """The entries of each message id, in their order."""
        found: dict[str, list[dict[str, Any]]] = defaultdict(list)
        for entry in self.entries:
            if "id" in entry:
                found[entry["id"]].append(entry)
        return found


def open_head(journal: Path, data: bytes) -> Checkpoint:
    """A checkpoint of this journal, its signature checked."""
    return open_checkpoint(data, Description.read(journal / DESCRIPTION).key)


def read(journal: Path) -> Published:
    """Read a journal that is not open, and check it, also the slow, obvious way.

    The root is computed from the entries by RFC 6962's recursive definition; every entry must be
    in the segments as it is in the bundles, with the sealed part that it names by its digest.
    """
    head = open_head(journal, (journal / "log" / "checkpoint").read_bytes())
    folder = TileFolder(journal / "log")
    entries = [entry for _, entry in folder.entries(0, head.size, head.size)]
    leaves = [sha256(b"\x00" + entry).digest() for entry in entries]
    assert len(entries) == head.size
    assert slow_root(leaves) == head.root
    documents = [orjson.loads(entry) for entry in entries]
    committed = 0
    for first in segments.segments_in(journal / "segments"):
        path = segments.path_of(journal / "segments", first)
        for group in segments.read_groups(path, first):
            assert isinstance(group, segments.Group), group
            for index, (entry, sealed) in enumerate(
                zip(group.entries, group.sealed, strict=True), group.first
            ):
                assert index == committed
                committed += 1
                assert entry == entries[index]
                named = documents[index].get("sealed", {}).get("digest")
                assert named == (sha256(sealed).hexdigest() if sealed else None)
    assert committed == head.size
    verdict = verify(journal)
    assert verdict.good, verdict.findings
    assert verdict.size == head.size
    return Published(journal, head, documents, leaves)


def slow_root(leaves: list[bytes]) -> bytes:
    """RFC 6962 section 2.1, word for word."""
    if not leaves:
        return sha256(b"").digest()
    if len(leaves) == 1:
        return leaves[0]
    split = 1
    while split * 2 < len(leaves):
        split *= 2
    left, right = slow_root(leaves[:split]), slow_root(leaves[split:])
    return sha256(b"\x01" + left + right).digest()


def check_consistent(published: Published, old: Iterable[bytes]) -> int:
    """Hold every old checkpoint to the log as it is now; how many there were.

    Each one's root is computed from the tiles of today, and its consistency proof is checked.
    """
    folder, head, count = TileFolder(published.journal / "log"), published.head, 0
    read_subtree = folder.subtrees(head.size)
    for data in old:
        before = open_head(published.journal, data)
        assert before.size <= head.size, "a checkpoint tells of more than the log holds"
        assert merkle.root(before.size, read_subtree) == before.root
        proof = merkle.prove_consistency(before.size, head.size, read_subtree)
        merkle.check_consistency(before.size, head.size, proof, before.root, head.root)
        count += 1
    return count


@dataclass(slots=True)
class Watch:
    """Collects every checkpoint that is published while it runs."""

    journals: tuple[Path, ...]
    seen: dict[Path, dict[bytes, None]] = field(default_factory=dict)
    _stopping: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        self.seen = {journal: {} for journal in self.journals}
        while not self._stopping.wait(POLL_S):
            for journal in self.journals:
                path = journal / "log" / "checkpoint"
                if path.exists():
                    self.seen[journal][path.read_bytes()] = None

    def stop(self) -> None:
        self._stopping.set()


@contextmanager
def watch(*journals: Path) -> Iterator[Watch]:
    """Watch the published checkpoints of journals while the block runs."""
    watching = Watch(journals)
    thread = threading.Thread(target=watching.run, daemon=True)
    thread.start()
    try:
        yield watching
    finally:
        watching.stop()
        thread.join(10)


def assert_in_both(consumer: Published, provider: Published, ids: Iterable[str]) -> None:
    """Every message id has its request and its response in both journals, in this order."""
    for journal in (consumer, provider):
        found = journal.by_id()
        for message in ids:
            kinds = [entry["kind"] for entry in found.get(message, ())]
            assert kinds == ["request", "response"], (journal.journal, message, kinds)
