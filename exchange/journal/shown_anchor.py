"""An anchor as a server shows it to an auditor: checkpoint, cosignatures, time-stamps, growth.

Invariants:
- :func:`open_anchor` gives only a checkpoint that the log's own key has signed, and that is proven
  to have grown from the one that the auditor knew, with tokens that are over it and as they were
  signed. Who cosigned and stamped is for a policy (:mod:`exchange.log.policy`) and authorities
  (:mod:`exchange.evidence.timestamps`) to judge;
- every length is bounded.
"""

from __future__ import annotations

from base64 import b64encode
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

from exchange.documents import Node, format_document, parse_document
from exchange.evidence.timestamps import MAX_TOKEN_BYTES, Timestamp, check_whole
from exchange.log import merkle, notes
from exchange.log.checkpoint import MAX_CHECKPOINT_SIZE, Checkpoint, open_checkpoint
from exchange.log.proof import parse_hash
from exchange.problems import Code, Problem

MAX_BYTES: Final = 2 << 20
_MAX_TOKENS: Final = 16
_MAX_HASHES: Final = 128


@dataclass(frozen=True, slots=True)
class ShownAnchor:
    """``checkpoint`` with its cosignatures, ``tokens`` (RFC 3161) with the names of who gave them,
    ``growth``: the consistency proof from the size that was named."""

    checkpoint: bytes
    tokens: tuple[tuple[str, bytes], ...]
    growth: tuple[bytes, ...]

    @property
    def stamps(self) -> list[Timestamp]:
        """What the tokens say, by whomever.

        Raises:
            Problem: ``InvalidTimestamp``.
        """
        digest = sha256(self.checkpoint[: self.checkpoint.rindex(b"\n\n") + 1]).digest()
        return [check_whole(token, digest) for _, token in self.tokens]


def format_anchor(anchor: ShownAnchor) -> bytes:
    """An anchor as it is answered."""
    return format_document(
        {
            "checkpoint": anchor.checkpoint.decode(),
            "growth": [b64encode(each).decode() for each in anchor.growth],
            "tokens": [
                {"authority": authority, "token": b64encode(token).decode()}
                for authority, token in anchor.tokens
            ],
        }
    )


def parse_anchor(data: bytes) -> ShownAnchor:
    """Parse an answer; nothing of it is proven yet.

    Raises:
        Problem: ``InvalidDocument`` or ``InvalidNote`` at the place.
    """
    members = parse_document(data, MAX_BYTES, "anchor").members(
        frozenset({"checkpoint", "growth", "tokens"})
    )
    return ShownAnchor(
        members["checkpoint"].text(MAX_CHECKPOINT_SIZE).encode(),
        tuple(_token(node) for node in members["tokens"].items(_MAX_TOKENS)),
        tuple(parse_hash(node) for node in members["growth"].items(_MAX_HASHES)),
    )


def open_anchor(
    data: bytes, key: notes.VerifierKey, known: Checkpoint | None = None
) -> tuple[ShownAnchor, Checkpoint]:
    """Parse an answer and prove it.

    Args:
        key: the log's verifier key as the registry has it.
        known: a checkpoint of the log from before, whose size was named in the question.

    Raises:
        Problem: what :func:`parse_anchor` says; ``InvalidNote`` when the log did not sign it;
            ``JournalForked`` when the log did not grow from what was known; ``InvalidTimestamp``
            when a token is not over it.
    """
    anchor = parse_anchor(data)
    checkpoint = open_checkpoint(anchor.checkpoint, key)
    _ = anchor.stamps
    if known is not None:
        try:
            merkle.check_consistency(
                known.size, checkpoint.size, anchor.growth, known.root, checkpoint.root
            )
        except Problem as problem:
            raise Problem(
                Code.JOURNAL_FORKED,
                where=f"{checkpoint.origin}: sizes {known.size} and {checkpoint.size}",
                detail=f"the log did not grow from the checkpoint that is known: {problem.detail}",
                facts={"known": known.size, "size": checkpoint.size},
            ) from problem
    return anchor, checkpoint


def _token(node: Node) -> tuple[str, bytes]:
    members = node.members(frozenset({"authority", "token"}))
    token = members["token"]
    return members["authority"].text(2048), notes.decode_base64(
        token.text(2 * MAX_TOKEN_BYTES), f"{token.noun}#{token.pointer}"
    )
