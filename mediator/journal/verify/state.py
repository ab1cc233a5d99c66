"""What an earlier run verified, so that the next one reads only what is new.

Kept of a log: its last verified checkpoint as it was signed, the right edge of its tree, and the
place behind the last record that was read. The edge must give the checkpoint's root, and the log
of today must extend that checkpoint: so a fork or a log that was set back is told as if everything
were read again. Damage that was done meanwhile to files that were verified before is *not* seen;
who wants to know that verifies without a state. The file belongs to whoever verifies: who may
write it says what is left out.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from exchange.checkpoint import open_checkpoint
from exchange.documents import Node, format_document, parse_document
from exchange.merkle import HASH_SIZE
from exchange.notes import VerifierKey
from exchange.tiles import FULL_TILE_SIZE
from mediator.journal.segments import Position
from mediator.journal.verify.reached import Edge, Verified

_MAX_SIZE = 64 << 20
_MAX_LEVELS = 8
_MAX_NOTE = 100_000
_MAX_LOGS = 4096
_MOST = 2**53 - 1


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
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with draft.open("wb") as file:
            file.write(format_document({"logs": logs, "v": 1}) + b"\n")
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


def _document(verified: Verified) -> dict[str, Any]:
    records = verified.records
    return {
        "edge": [level.hex() for level in verified.edge.levels],
        "note": verified.note.decode(),
        "records": [records.index, records.segment, records.offset],
    }


def _parse(vkey: str, node: Node) -> Verified:
    members = node.members(frozenset({"edge", "note", "records"}))
    note = members["note"].text(_MAX_NOTE).encode()
    checkpoint = open_checkpoint(note, VerifierKey.parse(vkey), where=node.pointer)
    levels = [_hashes(level) for level in members["edge"].items(_MAX_LEVELS)]
    edge = Edge(checkpoint.size, levels)
    if edge.root() != checkpoint.root:
        raise members["edge"].refuse("does not give the root of the checkpoint")
    index, segment, offset = (number.integer(0, _MOST) for number in members["records"].items(3, 3))
    if not segment <= index <= checkpoint.size:
        raise members["records"].refuse("is not within the checkpoint")
    return Verified(note, edge, Position(index, segment, offset))


def _hashes(node: Node) -> bytes:
    text = node.text(2 * FULL_TILE_SIZE, 0)
    try:
        hashes = bytes.fromhex(text)
        if hashes.hex() != text or len(hashes) % HASH_SIZE:
            raise ValueError("spelling")
    except ValueError as error:
        raise node.refuse("is no row of hashes") from error
    return hashes
