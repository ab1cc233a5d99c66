"""Sealed parts: what of an exchange is kept only encrypted.

Invariants:
- plaintext is ``uint32 length || JSON || signature base || signature || body``; the JSON (sorted
  keys) holds the head, the salt and the lengths; one part has one spelling;
- each record has an AES-256-GCM key of its own: a leaf of the member's key of the month and
  retention class (:mod:`exchange.journal.puncturable`), which the entry names by key and leaf. The
  12-byte nonce in front of the ciphertext is random, so that even a leaf that is used again by
  mistake (a key file of a backup) repeats no key stream. The encryption binds the name of the
  member's key. Puncturing the leaf erases the record; destroying the member's key erases all that
  it sealed;
- the commitment ``HMAC-SHA256(salt, base || signature)`` in the entry binds the entry to what was
  signed without telling anything about it: the salt is in the sealed part only.
"""

from __future__ import annotations

import struct
from functools import lru_cache
from hashlib import sha256
from typing import Annotated, Any, NamedTuple

import msgspec
import orjson
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from exchange.messages.heads import Headers
from exchange.problems import Code, Problem

KEY_SIZE = 32
NONCE_SIZE = 12
MIN_SALT_SIZE = 16
MAX_SALT_SIZE = 64
_MAX_HEAD = 1 << 20
_LENGTH = struct.Struct(">I")
_PART_CONTEXT = b"saphan sealed part v2 "
_INNER = bytes(byte ^ 0x36 for byte in range(256))
_OUTER = bytes(byte ^ 0x5C for byte in range(256))


class Head(NamedTuple):
    """The head of a message as it was signed: method and target, or status; and headers."""

    headers: Headers = ()
    method: str | None = None
    target: str | None = None
    status: int | None = None


class SealedPart(NamedTuple):
    """What a record keeps encrypted. ``salt`` is 16 to 64 random bytes, used once."""

    base: bytes
    signature: bytes
    head: Head
    body: bytes
    salt: bytes


class _Head(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True, gc=False):
    """The head as it is written, its members in order."""

    headers: tuple[tuple[str, str], ...]
    method: str | None = None
    status: int | None = None
    target: str | None = None


class _Front(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """The JSON in front of a sealed part, its members in order."""

    base: Annotated[int, msgspec.Meta(ge=0)]
    head: _Head
    salt: str
    signature: Annotated[int, msgspec.Meta(ge=0)]


# Read and compared in C: whoever verifies a journal reads millions.
_READ = msgspec.json.Decoder(_Front).decode
_WRITE = msgspec.json.Encoder().encode


def commitment(part: SealedPart) -> str:
    """The hex commitment to what was signed."""
    return hmac_sha256(part.salt, part.base + part.signature).hex()


def hmac_sha256(key: bytes, message: bytes) -> bytes:
    """HMAC with SHA-256 (RFC 2104) for keys of at most 64 bytes.

    The standard library's gives the interpreter's lock away on every call, which costs the message
    path more than the hashing.
    """
    padded = key.ljust(64, b"\x00")
    inner = sha256(padded.translate(_INNER) + message).digest()
    return sha256(padded.translate(_OUTER) + inner).digest()


def digest(ciphertext: bytes) -> str:
    """The hex SHA-256 of a ciphertext: how an entry names its sealed part."""
    return sha256(ciphertext).hexdigest()


def format_part(part: SealedPart) -> bytes:
    """The plaintext of a sealed part.

    Raises:
        Problem: ``InvalidDocument`` when the head is over 1 MiB or cannot be written as JSON, or
            the salt is too short or too long.
    """
    document = _format_head(part)
    size = _LENGTH.pack(len(document))
    return b"".join((size, document, part.base, part.signature, part.body))


def _format_head(part: SealedPart) -> bytes:
    """The JSON in front of a sealed part."""
    base, signature, (headers, method, target, status), _, salt = part
    if not MIN_SALT_SIZE <= len(salt) <= MAX_SALT_SIZE:
        raise _refuse("salt", f"a salt has {MIN_SALT_SIZE} to {MAX_SALT_SIZE} bytes")
    head: dict[str, Any] = {"headers": headers}
    if method is not None:
        head["method"] = method
    if status is not None:
        head["status"] = status
    if target is not None:
        head["target"] = target
    try:
        document = orjson.dumps(
            {"base": len(base), "head": head, "salt": salt.hex(), "signature": len(signature)}
        )
    except TypeError as error:
        raise _refuse("head", f"cannot be written: {error}") from error
    if len(document) > _MAX_HEAD:
        raise _refuse("head", f"a head of {len(document)} bytes")
    return document


def _refuse(where: str, detail: str) -> Problem:
    return Problem(Code.INVALID_DOCUMENT, where=f"sealed part {where}", detail=detail)


def parse_part(plaintext: bytes) -> SealedPart:
    """Parse the plaintext of a sealed part.

    Raises:
        Problem: ``InvalidDocument`` for anything that :func:`format_part` does not print.
    """
    if len(plaintext) < 4:
        raise _refuse("length", "shorter than its length field")
    (size,) = _LENGTH.unpack_from(plaintext)
    if size > _MAX_HEAD or 4 + size > len(plaintext):
        raise _refuse("length", "the head is longer than the part")
    printed = plaintext[4 : 4 + size]
    try:
        front = _READ(printed)
        if _WRITE(front) != printed:  # it has one spelling only
            raise _refuse("head", "not in canonical form")
    except ValueError as error:
        raise _refuse("head", f"not base, head, salt and signature: {error}") from error
    try:
        salt = bytes.fromhex(front.salt)
    except ValueError as error:
        raise _refuse("salt", "not hex") from error
    if not MIN_SALT_SIZE <= len(salt) <= MAX_SALT_SIZE or salt.hex() != front.salt:
        raise _refuse("salt", f"not {MIN_SALT_SIZE} to {MAX_SALT_SIZE} bytes in small hex")
    base_end = 4 + size + front.base
    body_start = base_end + front.signature
    if body_start > len(plaintext):
        raise _refuse("length", "base and signature are longer than the part")
    base, signature = plaintext[4 + size : base_end], plaintext[base_end:body_start]
    told = front.head
    head = Head(told.headers, told.method, told.target, told.status)
    return SealedPart(base, signature, head, plaintext[body_start:], salt)


@lru_cache(maxsize=1024)
def _part_context(key_name: str) -> bytes:
    return _PART_CONTEXT + key_name.encode()


def encrypt(plaintext: bytes, record_key: bytes, key_name: str, nonce: bytes) -> bytes:
    """Encrypt under a key that is used for nothing else; ``nonce`` is 12 random bytes."""
    return nonce + AESGCM(record_key).encrypt(nonce, plaintext, _part_context(key_name))


def decrypt(ciphertext: bytes, record_key: bytes, key_name: str) -> bytes:
    """Decrypt a sealed part.

    Raises:
        Problem: ``SealedPartUnreadable`` when it is not what this key encrypted.
    """
    nonce, rest = ciphertext[:NONCE_SIZE], ciphertext[NONCE_SIZE:]
    try:
        return AESGCM(record_key).decrypt(nonce, rest, _part_context(key_name))
    except (ValueError, InvalidTag) as error:
        raise Problem(
            Code.SEALED_PART_UNREADABLE,
            where=f"key {key_name}",
            detail="the sealed part is not what was encrypted",
        ) from error
