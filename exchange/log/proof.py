"""Proofs that stand alone: one file shows that an entry is in a log (c2sp.org/tlog-proof@v1).

Lines: the header, optional ``extra`` data (not authenticated), ``index``, the inclusion proof from
the leaf's sibling up, a blank line, and the log's checkpoint as it is. ``format(parse(x)) == x``.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass

from exchange.documents import Node
from exchange.log import merkle, notes
from exchange.log.checkpoint import MAX_CHECKPOINT_SIZE, Checkpoint, open_checkpoint
from exchange.problems import Code, Problem

HEADER = "c2sp.org/tlog-proof@v1"
EXTENSION = ".tlog-proof"
_MAX_HASHES = 63


@dataclass(frozen=True, slots=True)
class LogProof:
    """Entry ``index`` is in the tree of ``checkpoint`` (the signed note's bytes)."""

    index: int
    path: tuple[bytes, ...]
    checkpoint: bytes
    extra: bytes | None = None


def format_proof(proof: LogProof) -> bytes:
    """The file of a proof; :func:`parse_proof` reads it back."""
    lines = [HEADER]
    if proof.extra is not None:
        lines.append(f"extra {base64.b64encode(proof.extra).decode()}")
    lines.append(f"index {proof.index}")
    lines += [base64.b64encode(sibling).decode() for sibling in proof.path]
    return "".join(f"{line}\n" for line in lines).encode() + b"\n" + proof.checkpoint


def parse_proof(data: bytes, where: str = "proof") -> LogProof:
    """Parse a proof; nothing of it is verified yet.

    Raises:
        Problem: ``InvalidProof`` or ``InvalidNote`` at ``where``.
    """
    if len(data) > MAX_CHECKPOINT_SIZE + 100_000:
        raise Problem(Code.INVALID_PROOF, where=where, detail="proof too long")
    head, blank, checkpoint = data.partition(b"\n\n")
    try:
        lines = head.decode("ascii").split("\n")
    except UnicodeDecodeError as error:
        raise Problem(Code.INVALID_PROOF, where=where, detail="not ASCII") from error
    if not blank or not checkpoint or lines.pop(0) != HEADER:
        raise Problem(Code.INVALID_PROOF, where=where, detail=f"not a {HEADER} file")
    extra = None
    if lines and lines[0].startswith("extra "):
        extra = notes.decode_base64(lines.pop(0)[6:], where)
    if not lines or not lines[0].startswith("index "):
        raise Problem(Code.INVALID_PROOF, where=where, detail="no index line")
    index = notes.decode_number(lines.pop(0)[6:], where)
    if len(lines) > _MAX_HASHES:
        raise Problem(Code.INVALID_PROOF, where=where, detail=f"{len(lines)} hashes")
    path = tuple(notes.decode_base64(line, where) for line in lines)
    if any(len(sibling) != merkle.HASH_SIZE for sibling in path):
        raise Problem(Code.INVALID_PROOF, where=where, detail="a hash that is not 32 bytes")
    return LogProof(index, path, checkpoint, extra)


def parse_hash(node: Node) -> bytes:
    """A hash of a proof in JSON: :data:`~exchange.log.merkle.HASH_SIZE` bytes in Base64.

    Raises:
        Problem: ``InvalidDocument`` or ``InvalidNote`` at the place.
    """
    sibling = notes.decode_base64(node.text(), f"{node.noun}#{node.pointer}")
    if len(sibling) != merkle.HASH_SIZE:
        raise node.refuse(f"must be {merkle.HASH_SIZE} bytes")
    return sibling


def check_proof(
    proof: LogProof, entry: bytes, key: notes.VerifierKey, where: str = "proof"
) -> Checkpoint:
    """Check that ``entry`` is in the log of ``key``; return the verified checkpoint.

    Raises:
        Problem: ``InvalidNote`` when the checkpoint is not signed by the log, ``InvalidProof``
            when the path does not lead to its root. Cosignatures are not looked at.
    """
    checkpoint = open_checkpoint(proof.checkpoint, key, where=where)
    merkle.check_inclusion(
        proof.index, checkpoint.size, merkle.leaf_hash(entry), proof.path, checkpoint.root
    )
    return checkpoint
