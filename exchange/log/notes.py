"""Signed notes and verifier keys (c2sp.org/signed-note@v1.0.0).

Invariants:
- a note is text ending in a newline, a blank line and one to :data:`MAX_SIGNATURES` signature
  lines; the *last* blank line divides them; no control characters but the newline;
- base64 is accepted only in the one spelling that it is printed in; ``format(parse(x)) == x``;
- a signature by an unknown key is ignored; a bad signature by a known key refuses the whole note.

Ed25519 (type 0x01) for the note text, and 0x04 for timestamped cosignatures, whose message
:mod:`exchange.log.cosignature` builds. Other types (ECDSA, ML-DSA-44) are ignored like unknown
keys.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Self

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from exchange.problems import Code, Problem

ED25519 = 0x01
COSIGNATURE_ED25519 = 0x04
MAX_SIGNATURES = 64
MAX_NOTE_SIZE = 1_000_000
MAX_NAME_LENGTH = 1024


def decode_base64(text: str, where: str) -> bytes:
    """Decode standard base64 (RFC 4648 section 4) that prints back the same.

    Raises:
        Problem: ``InvalidNote`` at ``where``.
    """
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise Problem(Code.INVALID_NOTE, where=where, detail="not base64") from error
    if base64.b64encode(data).decode() != text:
        raise Problem(Code.INVALID_NOTE, where=where, detail="base64 in a non-canonical spelling")
    return data


def decode_number(text: str, where: str) -> int:
    """Decode an ASCII decimal number below 2**63 that prints back the same.

    Raises:
        Problem: ``InvalidNote`` at ``where`` for signs, spaces, leading zeroes, foreign digits.
    """
    number = int(text) if len(text) <= 19 and text.isascii() and text.isdigit() else -1
    if number < 0 or number >= 2**63 or str(number) != text:
        raise Problem(Code.INVALID_NOTE, where=where, detail=f"{text[:40]!r} is not a number")
    return number


def _check_name(name: str, where: str) -> None:
    if (
        not name
        or len(name) > MAX_NAME_LENGTH
        or "+" in name
        or not name.isprintable()
        or any(character.isspace() for character in name)
    ):
        raise Problem(
            Code.INVALID_NOTE,
            where=where,
            detail="a key name is not empty and has no spaces, plus signs or control characters",
        )


def key_id(name: str, kind: int, public: bytes) -> bytes:
    """The four bytes that tell keys of one name apart."""
    return sha256(name.encode() + b"\n" + bytes([kind]) + public).digest()[:4]


@dataclass(frozen=True, slots=True)
class VerifierKey:
    """A verifier key ``name+hex key id+base64(type || public key)``."""

    name: str
    kind: int
    public: bytes

    def __post_init__(self) -> None:
        _check_name(self.name, "verifier key")
        if self.kind not in {ED25519, COSIGNATURE_ED25519} or len(self.public) != 32:
            raise Problem(
                Code.INVALID_NOTE,
                where="verifier key",
                detail=f"type 0x{self.kind:02x} with {len(self.public)} bytes is not Ed25519",
            )

    @property
    def id(self) -> bytes:
        return key_id(self.name, self.kind, self.public)

    def __str__(self) -> str:
        material = base64.b64encode(bytes([self.kind]) + self.public).decode()
        return f"{self.name}+{self.id.hex()}+{material}"

    @classmethod
    def parse(cls, text: str, where: str = "verifier key") -> Self:
        """Parse a vkey.

        Raises:
            Problem: ``InvalidNote`` at ``where`` when it is malformed, of a type that is not
                Ed25519, or its key id is not that of name and key.
        """
        if len(text) > MAX_NAME_LENGTH + 100:
            raise Problem(Code.INVALID_NOTE, where=where, detail="verifier key too long")
        parts = text.split("+", 2)
        if len(parts) != 3:
            raise Problem(Code.INVALID_NOTE, where=where, detail="not name+id+base64")
        material = decode_base64(parts[2], where)
        if not material:
            raise Problem(Code.INVALID_NOTE, where=where, detail="no key")
        key = cls(parts[0], material[0], material[1:])
        if str(key) != text:
            raise Problem(Code.INVALID_NOTE, where=where, detail="the key id is of another key")
        return key

    @classmethod
    def of(cls, name: str, key: Ed25519PublicKey, kind: int = ED25519) -> Self:
        return cls(name, kind, key.public_bytes_raw())

    def verify(self, signature: bytes, message: bytes, where: str = "note") -> None:
        """Check an Ed25519 signature over ``message``.

        Raises:
            Problem: ``InvalidNote`` at ``where``.
        """
        try:
            Ed25519PublicKey.from_public_bytes(self.public).verify(signature, message)
        except (InvalidSignature, ValueError) as error:
            raise Problem(
                Code.INVALID_NOTE, where=where, detail=f"the signature of {self.name} is wrong"
            ) from error


@dataclass(frozen=True, slots=True)
class NoteSignature:
    """One signature line: key name, key id and what follows it."""

    name: str
    key_id: bytes
    signature: bytes

    def __str__(self) -> str:
        return f"— {self.name} {base64.b64encode(self.key_id + self.signature).decode()}\n"

    def is_by(self, key: VerifierKey) -> bool:
        return self.name == key.name and self.key_id == key.id


def parse_signature_line(line: str, where: str = "signature") -> NoteSignature:
    """Parse one signature line without its newline.

    Raises:
        Problem: ``InvalidNote`` at ``where``.
    """
    parts = line.split(" ")
    if len(parts) != 3 or parts[0] != "—":
        raise Problem(Code.INVALID_NOTE, where=where, detail="not '— name base64'")
    _check_name(parts[1], where)
    data = decode_base64(parts[2], where)
    if len(data) < 5:
        raise Problem(Code.INVALID_NOTE, where=where, detail="no signature after the key id")
    return NoteSignature(parts[1], data[:4], data[4:])


@dataclass(frozen=True, slots=True)
class Note:
    """A note that has been parsed; its text is not to be trusted before :func:`open_note`."""

    text: str
    signatures: tuple[NoteSignature, ...]

    def __bytes__(self) -> bytes:
        return (self.text + "\n" + "".join(map(str, self.signatures))).encode()


def parse_note(data: bytes, where: str = "note") -> Note:
    """Parse a signed note.

    Raises:
        Problem: ``InvalidNote`` at ``where``.
    """
    if len(data) > MAX_NOTE_SIZE:
        raise Problem(Code.INVALID_NOTE, where=where, detail="note too long")
    try:
        whole = data.decode()
    except UnicodeDecodeError as error:
        raise Problem(Code.INVALID_NOTE, where=where, detail="not UTF-8") from error
    if any(byte < 0x20 and byte != 0x0A for byte in data):
        raise Problem(Code.INVALID_NOTE, where=where, detail="control character")
    text, blank, tail = whole.rpartition("\n\n")
    if not blank or not tail.endswith("\n"):
        raise Problem(
            Code.INVALID_NOTE, where=where, detail="no blank line with signature lines after it"
        )
    lines = tail[:-1].split("\n")
    if len(lines) > MAX_SIGNATURES:
        raise Problem(Code.INVALID_NOTE, where=where, detail=f"{len(lines)} signatures")
    return Note(text + "\n", tuple(parse_signature_line(line, where) for line in lines))


def sign_note(text: str, name: str, key: Ed25519PrivateKey) -> Note:
    """Sign a text that ends in a newline.

    Raises:
        Problem: ``InvalidNote`` when the text is no note text.
    """
    if not text.endswith("\n") or any(c < " " and c != "\n" for c in text):
        raise Problem(Code.INVALID_NOTE, where="note", detail="not text ending in a newline")
    verifier = VerifierKey.of(name, key.public_key())
    return Note(text, (NoteSignature(name, verifier.id, key.sign(text.encode())),))


def open_note(note: Note, keys: Sequence[VerifierKey], where: str = "note") -> str:
    """Return the text if it is signed by one of the keys, and by none of them wrongly.

    Raises:
        Problem: ``InvalidNote`` at ``where``.
    """
    verified = False
    message = note.text.encode()
    for signature in note.signatures:
        for key in keys:
            if key.kind == ED25519 and signature.is_by(key):
                key.verify(signature.signature, message, where)
                verified = True
    if not verified:
        raise Problem(
            Code.INVALID_NOTE,
            where=where,
            detail="no signature by a known key",
            facts={"signed_by": [signature.name for signature in note.signatures]},
        )
    return note.text
