"""Checkpoints: a log's signed tree heads (c2sp.org/tlog-checkpoint@v1.0.0).

Invariants: the note text is origin, decimal size, base64 root hash, then extension lines (which we
never write); ``format(parse(x)) == x``; the size of the empty tree goes with the empty tree's root.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from exchange.log import notes
from exchange.log.merkle import EMPTY_ROOT, HASH_SIZE
from exchange.problems import Code, Problem

MAX_CHECKPOINT_SIZE = 400_000  # 64 signature lines of a post-quantum kind


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The head of a log at one size."""

    origin: str
    size: int
    root: bytes
    extensions: tuple[str, ...] = ()

    def __str__(self) -> str:
        lines = (self.origin, str(self.size), base64.b64encode(self.root).decode())
        return "".join(f"{line}\n" for line in (*lines, *self.extensions))


def parse_text(text: str, where: str = "checkpoint") -> Checkpoint:
    """Parse the note text of a checkpoint.

    Raises:
        Problem: ``InvalidNote`` at ``where``.
    """
    lines = text.split("\n")
    if len(lines) < 4 or lines[-1] or not all(lines[:-1]):
        raise Problem(
            Code.INVALID_NOTE, where=where, detail="not origin, size and root hash on three lines"
        )
    origin, size, root, *extensions = lines[:-1]
    checkpoint = Checkpoint(
        origin,
        notes.decode_number(size, where),
        notes.decode_base64(root, where),
        tuple(extensions),
    )
    if len(checkpoint.root) != HASH_SIZE:
        raise Problem(Code.INVALID_NOTE, where=where, detail="the root hash is not 32 bytes")
    if checkpoint.size == 0 and checkpoint.root != EMPTY_ROOT:
        raise Problem(Code.INVALID_NOTE, where=where, detail="an empty tree with another root")
    return checkpoint


def sign_checkpoint(checkpoint: Checkpoint, key: Ed25519PrivateKey) -> bytes:
    """The signed note of a checkpoint; the key's name is the origin."""
    return bytes(notes.sign_note(str(checkpoint), checkpoint.origin, key))


def open_checkpoint(
    data: bytes, key: notes.VerifierKey, origin: str | None = None, where: str = "checkpoint"
) -> Checkpoint:
    """Parse and verify a signed checkpoint.

    Args:
        data: the note.
        key: the log's verifier key.
        origin: the expected origin; the key's name when it is not given.
        where: for problems.

    Raises:
        Problem: ``InvalidNote`` at ``where`` when it is malformed, not signed by ``key``, or of
            another origin. Cosignatures are not looked at.
    """
    if len(data) > MAX_CHECKPOINT_SIZE:
        raise Problem(Code.INVALID_NOTE, where=where, detail="checkpoint too long")
    text = notes.open_note(notes.parse_note(data, where), [key], where)
    checkpoint = parse_text(text, where)
    if checkpoint.origin != (key.name if origin is None else origin):
        raise Problem(
            Code.INVALID_NOTE, where=where, detail=f"of another log: {checkpoint.origin[:200]!r}"
        )
    return checkpoint
