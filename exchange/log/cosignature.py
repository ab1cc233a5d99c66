"""Cosignatures: a witness says when it saw a checkpoint (c2sp.org/tlog-cosignature@v1.0.1).

The signed message is ``cosignature/v1``, a ``time`` line and the note text; the signature line
holds the time as a big-endian uint64 and the Ed25519 signature. What a witness must check *before*
it signs (that the log only grew) is not done here.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from exchange.log.notes import COSIGNATURE_ED25519, Note, NoteSignature, VerifierKey
from exchange.problems import Code, Problem

_SIZE = 8 + 64


@dataclass(frozen=True, slots=True)
class Cosignature:
    """A verified statement: ``name`` saw the checkpoint at ``timestamp`` (POSIX seconds)."""

    name: str
    timestamp: int


def message(text: str, timestamp: int) -> bytes:
    """The bytes a witness signs."""
    return f"cosignature/v1\ntime {timestamp}\n{text}".encode()


def cosign(text: str, name: str, key: Ed25519PrivateKey, timestamp: int) -> NoteSignature:
    """Cosign a checkpoint's note text at ``timestamp`` (POSIX seconds)."""
    verifier = VerifierKey.of(name, key.public_key(), COSIGNATURE_ED25519)
    signature = struct.pack(">Q", timestamp) + key.sign(message(text, timestamp))
    return NoteSignature(name, verifier.id, signature)


def open_cosignature(note: Note, key: VerifierKey, where: str = "cosignature") -> Cosignature:
    """Verify the cosignature by ``key`` on a note.

    Raises:
        Problem: ``InvalidNote`` at ``where`` when there is none by this key or it is wrong.
    """
    if key.kind != COSIGNATURE_ED25519:
        raise Problem(Code.INVALID_NOTE, where=where, detail="not a cosigner's key")
    for line in note.signatures:
        if line.is_by(key):
            if len(line.signature) != _SIZE:
                raise Problem(Code.INVALID_NOTE, where=where, detail="not 72 bytes")
            (timestamp,) = struct.unpack_from(">Q", line.signature)
            if timestamp >= 2**63:
                raise Problem(Code.INVALID_NOTE, where=where, detail="time out of range")
            key.verify(line.signature[8:], message(note.text, timestamp), where)
            return Cosignature(key.name, timestamp)
    raise Problem(Code.INVALID_NOTE, where=where, detail=f"no cosignature by {key.name}")
