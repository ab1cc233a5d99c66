"""What an earlier run verified, so that the next one reads only what is new.

Kept of a log: its last verified checkpoint as it was signed, the right edge of its tree, and the
place behind the last record that was read. The edge must give the checkpoint's root, and the log
of today must extend that checkpoint: so a fork or a log that was set back is told as if everything
were read again. Of a run that was interrupted: the checkpoint that it verified, the roots of the
tiles of leaves that it had read behind the edge, which must lead to the root that is signed in the
end, and the place behind the last record. What came of the signatures is kept as numbers, and only
where all records up to there were looked at: a run that wants them and finds none reads those
records again. Damage that was done meanwhile to files that were verified before is *not* seen; who
wants to know that verifies without a state. The file belongs to whoever verifies: who may write it
says what is left out.
"""

from __future__ import annotations

from dataclasses import asdict, fields
from pathlib import Path
from time import monotonic
from typing import Any

from exchange.documents import Node, format_document, parse_document
from exchange.log import merkle
from exchange.log.checkpoint import Checkpoint, open_checkpoint
from exchange.log.merkle import HASH_SIZE
from exchange.log.notes import VerifierKey
from exchange.log.tiles import FULL_TILE_SIZE, WIDTH
from mediator.journal.segments import Position
from mediator.journal.verify.reached import Begun, Edge, Verified
from mediator.journal.verify.signatures import Signed
from serving.durable_files import replace_file

_MAX_SIZE = 64 << 20
_MAX_LEVELS = 8
_MAX_LEAVES = 1 << 19
"""Roots of tiles of an interrupted run: of 134 million entries. Of more no progress is kept."""
_MAX_NOTE = 100_000
_MAX_LOGS = 4096
_MOST = 2**53 - 1
_SIGNED = frozenset({"signed"})


class Kept:
    """A state file, while a run goes on: written at its end, and now and then before."""

    def __init__(self, path: Path, every_s: float = 10.0) -> None:
        """Read the file.

        Raises:
            Problem, OSError: as :func:`read_state`.
        """
        self._path = path
        self._every_s = every_s
        self._state = read_state(path)
        self._written = monotonic()
        self._changed = False

    def since(self, vkey: str) -> Verified | None:
        """How far a log was verified."""
        return self._state.get(vkey)

    def note(self, vkey: str, verified: Verified) -> None:
        """Take how far a log is verified by now; it is in the file some seconds later.

        Raises:
            OSError: the file cannot be written.
        """
        self._state[vkey] = verified
        self._changed = True
        if monotonic() - self._written >= self._every_s:
            self.write()

    def write(self) -> None:
        """Have in the file what was noted.

        Raises:
            OSError: the file is as it was.
        """
        if self._changed:
            write_state(self._path, self._state)
            self._changed, self._written = False, monotonic()


def read_state(path: Path) -> dict[str, Verified]:
    """How far each log (by its verifier key) was verified; nothing when there is no file.

    Raises:
        Problem: ``InvalidDocument`` when the file is no state, or contradicts itself.
        OSError: when it cannot be read.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return {}
    top = parse_document(data, _MAX_SIZE, str(path)).members(frozenset({"v", "logs"}))
    top["v"].integer(1, 1)
    return {vkey: _parse(vkey, node) for vkey, node in top["logs"].entries(_MAX_LOGS)}


def write_state(path: Path, state: dict[str, Verified]) -> None:
    """Put the state in the file's place, whole or not at all.

    Raises:
        OSError: the file is as it was.
    """
    logs = {vkey: _document(verified) for vkey, verified in state.items()}
    replace_file(path, format_document({"logs": logs, "v": 1}) + b"\n")


def _document(verified: Verified) -> dict[str, Any]:
    begun = verified.begun
    document: dict[str, Any] = {
        "edge": [level.hex() for level in verified.edge.levels],
        "note": verified.note.decode(),
        "records": _place(verified.records),
    }
    if begun is not None and len(begun.leaves) <= _MAX_LEAVES * HASH_SIZE:
        document["begun"] = {
            "leaves": begun.leaves.hex(),
            "note": begun.note.decode(),
            "records": _place(begun.records),
            **_signed(begun.signed),
        }
    return document | _signed(verified.signed)


def _signed(signed: Signed | None) -> dict[str, Any]:
    return {} if signed is None else {"signed": asdict(signed)}


def _place(records: Position) -> list[int]:
    return [records.index, records.segment, records.offset]


def _parse(vkey: str, node: Node) -> Verified:
    members = node.members(frozenset({"edge", "note", "records"}), _SIGNED | {"begun"})
    key = VerifierKey.parse(vkey)
    note, checkpoint = _checkpoint(members["note"], key)
    levels = [_hashes(level, FULL_TILE_SIZE) for level in members["edge"].items(_MAX_LEVELS, 0)]
    edge = Edge(checkpoint.size, levels)
    if edge.root() != checkpoint.root:
        raise members["edge"].refuse("does not give the root of the checkpoint")
    begun, more = None, members.get("begun")
    if more is not None:
        parts = more.members(frozenset({"leaves", "note", "records"}), _SIGNED)
        under, head = _checkpoint(parts["note"], key)
        leaves = _hashes(parts["leaves"], _MAX_LEAVES * HASH_SIZE)
        if (checkpoint.size // WIDTH + len(leaves) // HASH_SIZE) * WIDTH > head.size:
            raise parts["leaves"].refuse("is not within the checkpoint")
        records = _position(parts["records"], head.size)
        begun = Begun(under, leaves, records, _counts(parts.get("signed"), records))
    records = _position(members["records"], checkpoint.size)
    return Verified(note, edge, records, begun, _counts(members.get("signed"), records))


def _counts(node: Node | None, records: Position) -> Signed | None:
    if node is None:
        return None
    names = [one.name for one in fields(Signed)]
    numbers = node.members(frozenset(names))
    signed = Signed(**{name: numbers[name].integer(0, _MOST) for name in names})
    if signed.left + signed.verified > records.index:
        raise node.refuse("counts more signatures than there are records")
    return signed


def _checkpoint(node: Node, key: VerifierKey) -> tuple[bytes, Checkpoint]:
    """A signed note; an empty one says that no run came to its end yet."""
    note = node.text(_MAX_NOTE, 0).encode()
    if not note:
        return note, Checkpoint(key.name, 0, merkle.EMPTY_ROOT)
    return note, open_checkpoint(note, key, where=node.pointer)


def _position(node: Node, size: int) -> Position:
    index, segment, offset = (number.integer(0, _MOST) for number in node.items(3, 3))
    if not segment <= index <= size:
        raise node.refuse("is not within the checkpoint")
    return Position(index, segment, offset)


def _hashes(node: Node, most: int) -> bytes:
    text = node.text(2 * most, 0)
    try:
        hashes = bytes.fromhex(text)
        if hashes.hex() != text or len(hashes) % HASH_SIZE:
            raise ValueError("spelling")
    except ValueError as error:
        raise node.refuse("is no row of hashes") from error
    return hashes
