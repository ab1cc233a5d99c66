"""Recovery: from what is on disk to a journal that may sign again, or a refusal.

The normal start and the start after a crash are the same code. In this order:

1. ``journal.json`` must name this origin and key; it is written once;
2. the last checkpoint in the store must be signed by this key, and ``log/checkpoint`` must be that
   one, or the one before it (a crash between signing and publishing);
3. the tiles must give the root of that checkpoint; if they do not, the tree is derived anew from
   the segments, and the tiles are written again if *that* gives the root;
4. the segments must hold at least the published entries, from the first that was not pruned
   (:mod:`mediator.journal.holdings`), and those that are read here must be leaves of the published
   tree; a torn tail behind the last durable group is cut off.

Anything else is ``JournalForked`` (signing would contradict what was signed) or
``JournalCorrupt`` (what was durable cannot be read), and a person must look.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from exchange.journal.entries import Kind
from exchange.log import merkle
from exchange.log.checkpoint import Checkpoint, open_checkpoint, parse_text
from exchange.log.notes import VerifierKey
from exchange.problems import Code, Problem
from mediator.journal import segments
from mediator.journal.anchors import FILE as ANCHORS_FILE
from mediator.journal.anchors import AnchorReader
from mediator.journal.holdings import Holdings
from mediator.journal.publication import CHECKPOINT
from mediator.journal.segments import Broken, Position
from mediator.journal.signed import SignedStore
from serving.log.files import Files
from serving.log.tiles import Edge, TileFolder

DESCRIPTION = "journal.json"
LOCK = "journal.lock"
_MAX_DESCRIPTION = 10_000


@dataclass(frozen=True, slots=True)
class Recovered:
    """Where a journal goes on."""

    durable: Position
    published: Position
    edge: Edge
    signed: bytes | None


@dataclass(frozen=True, slots=True)
class Description:
    """``journal.json``: the log's origin and verifier key."""

    origin: str
    key: VerifierKey

    def __bytes__(self) -> bytes:
        document = {"origin": self.origin, "v": 1, "vkey": str(self.key)}
        return orjson.dumps(document, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)

    @classmethod
    def read(cls, path: Path) -> Description:
        """Read ``journal.json``.

        Raises:
            Problem: ``JournalCorrupt`` when it is missing or malformed.
        """
        try:
            data = path.read_bytes()
            document = orjson.loads(data[: _MAX_DESCRIPTION + 1])
            description = cls(document["origin"], VerifierKey.parse(document["vkey"]))
            if bytes(description) != data:
                raise ValueError("not in its canonical form")
            if description.origin != description.key.name:
                raise ValueError("the origin is not the name of the key")
        except (OSError, ValueError, KeyError, TypeError, AttributeError, Problem) as error:
            why = error.strerror if isinstance(error, OSError) else error
            raise Problem(
                Code.JOURNAL_CORRUPT,
                where=path.name,
                detail=f"does not describe a journal: {why}",
                facts={"file": path.name},
            ) from error
        return description


def _forked(where: str, detail: str) -> Problem:
    return Problem(Code.JOURNAL_FORKED, where=where, detail=detail)


def recover(
    directory: Path, origin: str, key: Ed25519PrivateKey, store: SignedStore, files: Files
) -> Recovered:
    """Find where the journal goes on, and cut off a torn tail.

    Raises:
        Problem: ``JournalForked`` or ``JournalCorrupt``.
        OSError: when the disk cannot be read or written.
    """
    for draft in (directory / "staging").iterdir():
        files.remove(draft)
    verifier = VerifierKey.of(origin, key.public_key())
    _describe(directory, Description(origin, verifier), files)
    signed, head = _last_signed(directory, store, verifier)
    holdings = Holdings.read(directory)
    durable, published = _positions(directory / "segments", head, holdings, files)
    edge = _edge(directory, head, durable, holdings, files)
    return Recovered(durable, published, edge, signed)


def _describe(directory: Path, description: Description, files: Files) -> None:
    path = directory / DESCRIPTION
    if path.exists():
        if bytes(Description.read(path)) != bytes(description):
            raise _forked(
                DESCRIPTION, "the journal was begun with another origin or another signing key"
            )
        return
    draft = directory / "staging" / DESCRIPTION
    files.write_file(draft, bytes(description))
    files.rename(draft, path)
    files.sync_directory(directory)


def _last_signed(
    directory: Path, store: SignedStore, verifier: VerifierKey
) -> tuple[bytes | None, Checkpoint]:
    shown: bytes | None = None
    with contextlib.suppress(FileNotFoundError):
        shown = (directory / "log" / CHECKPOINT).read_bytes()
    last = store.read()
    if last is None:
        if shown is not None:
            raise _forked(
                f"log/{CHECKPOINT}",
                "a checkpoint is published, but the store of the last signed one is empty",
            )
        return None, Checkpoint(verifier.name, 0, merkle.EMPTY_ROOT)
    head = open_checkpoint(last.current, verifier, where="last signed checkpoint")
    if shown not in (last.current, last.previous):
        raise _forked(
            f"log/{CHECKPOINT}",
            f"the published checkpoint is not the one that was signed last (size {head.size})",
        )
    return last.current, head


def _positions(
    records: Path, head: Checkpoint, holdings: Holdings, files: Files
) -> tuple[Position, Position]:
    """The durable end, and the place of the published size; cuts off a torn tail."""
    firsts = segments.segments_in(records)
    if not firsts:
        if head.size:
            raise _forked("segments", f"no segment is left of {head.size} published entries")
        return Position(0, 0, 0), Position(0, 0, 0)
    if firsts[0] > holdings.segments_from:
        raise _forked("segments", f"the first segment left begins with entry {firsts[0]}")
    end, broken = segments.find_end(records, firsts[-1])
    if end.index < head.size:
        name = segments.path_of(records, firsts[-1]).name
        raise _forked(
            f"segments/{name}",
            f"the segments end with entry {end.index - 1}, but {head.size} are published"
            + (f" ({broken.reason})" if broken else ""),
        )
    if broken is not None:
        _cut(segments.path_of(records, firsts[-1]), end, files)
    return end, _place_of(records, firsts, head.size)


def _cut(path: Path, end: Position, files: Files) -> None:
    descriptor = files.open(path)
    try:
        files.truncate(descriptor, end.offset)
        files.sync(descriptor)
    finally:
        os.close(descriptor)


def _place_of(records: Path, firsts: list[int], size: int) -> Position:
    """The end of the last group that is wholly among the first ``size`` records."""
    position = Position(0, 0, 0)
    for at, first in enumerate(firsts):
        following = firsts[at + 1] if at + 1 < len(firsts) else None
        if following is not None and following <= size:
            continue
        position = Position(first, first, 0)
        for group in segments.read_groups(segments.path_of(records, first), first):
            if isinstance(group, Broken) or group.next > size:
                break
            position = Position(group.next, first, group.end)
        break
    return position


def _edge(
    directory: Path, head: Checkpoint, durable: Position, holdings: Holdings, files: Files
) -> Edge:
    """The right edge of the published tree: from the tiles, or derived anew.

    Raises:
        Problem: ``JournalForked`` when the segments do not give the published root;
            ``JournalCorrupt`` when the tiles do not, and the oldest segments were pruned.
    """
    folder, records = TileFolder(directory / "log"), directory / "segments"
    with contextlib.suppress(Problem):
        edge = folder.edge(head.size)
        if edge.root() == head.root and _last_segment_fits(folder, records, head.size):
            return edge
    if holdings.segments_from:
        raise Problem(
            Code.JOURNAL_CORRUPT,
            where="log/tile",
            detail=f"the tiles do not give the root that was signed (size {head.size}), and the "
            f"segments before entry {holdings.segments_from} are in the archive "
            f"{holdings.archive}: put its log/tile in place",
            facts={"file": "log/tile", "archive": holdings.archive},
        )
    edge = Edge.empty()
    for entries in _published(records, head.size, durable):
        for _ in edge.append(entries):
            pass
    if edge.root() != head.root:
        raise _forked(
            "segments", f"the first {head.size} records do not give the root that was signed"
        )
    again = Edge.empty()
    for entries in _published(records, head.size, durable):
        folder.write(files, directory / "staging", again.append(entries))
    folder.write_edge(files, directory / "staging", again)
    return edge


def check_anchor(directory: Path, anchors: AnchorReader, edge: Edge) -> None:
    """Check that the log still extends its newest anchor, which others may have cosigned.

    Raises:
        Problem: ``JournalForked``. A tile that cannot be read is not told here.
    """
    newest = anchors.latest()
    if newest is None:
        return
    anchored = parse_text(newest.text.decode(), ANCHORS_FILE)
    if anchored.size > edge.size:
        raise _forked(
            ANCHORS_FILE,
            f"the log has {edge.size} entries, but its checkpoint of size {anchored.size} was "
            "given to others",
        )
    root: bytes | None = None
    with contextlib.suppress(Problem):
        read = TileFolder(directory / "log").subtrees(edge.size)
        root = edge.root() if anchored.size == edge.size else merkle.root(anchored.size, read)
    if root not in (None, anchored.root):
        raise _forked(
            ANCHORS_FILE,
            f"at size {anchored.size} the log had another root when its checkpoint was given to "
            "others",
        )


def _published(records: Path, size: int, durable: Position) -> Iterator[list[bytes]]:
    """The first ``size`` entries, group by group; a checkpoint may end within a group."""
    for group in segments.read_between(records, Position(0, 0, 0), durable):
        yield group.entries[: size - group.first]
        if group.next >= size:
            break


def _last_segment_fits(folder: TileFolder, records: Path, size: int) -> bool:
    """Whether the published records of the last segment that has any are leaves of the tree."""
    firsts = [first for first in segments.segments_in(records) if first < size]
    if not firsts:
        return size == 0
    read = folder.subtrees(size)
    for group in segments.read_groups(segments.path_of(records, firsts[-1]), firsts[-1]):
        if isinstance(group, Broken):
            return False
        for index, entry in enumerate(group.entries[: max(size - group.first, 0)], group.first):
            if merkle.leaf_hash(entry) != read(0, index):
                return False
        if group.next >= size:
            return True
    return False


def recent(records: Path, durable: Position, since: str) -> Iterator[dict[str, Any]]:
    """See :meth:`mediator.journal.log.Journal.recent`."""
    for group in _groups_since(records, durable, since):
        for document in map(orjson.loads, group.entries):
            if document["at"] >= since:
                yield document


def outcomes(
    records: Path, durable: Position, since: str, nonces: Collection[str]
) -> Iterator[tuple[dict[str, Any], bytes]]:
    """See :meth:`mediator.journal.log.Journal.outcomes`; the sealed parts are still encrypted."""
    for group in _groups_since(records, durable, since):
        for at, document in enumerate(map(orjson.loads, group.entries)):
            if document["kind"] != Kind.REQUEST and document.get("nonce") in nonces:
                yield document, group.sealed[at]


def _groups_since(records: Path, durable: Position, since: str) -> Iterator[segments.Group]:
    """The groups from the last segment on that begins before ``since``."""
    start = Position(0, 0, 0)  # of an empty journal; else the oldest segment at the least
    for first in reversed(segments.segments_in(records)):
        start = Position(first, first, 0)
        group = next(segments.read_groups(segments.path_of(records, first), first), None)
        if isinstance(group, segments.Group) and orjson.loads(group.entries[0])["at"] < since:
            break
    yield from segments.read_between(records, start, durable)
