"""Sealed parts: what of an exchange is kept only encrypted.

Invariants:
- plaintext is ``uint32 length || JSON || signature base || signature || body``; the JSON (sorted
  keys) holds the head, the salt and the lengths; one part has one spelling;
- each record has an AES-256-GCM key of its own: a leaf of the member's key of the month and
  retention class (:mod:`exchange.puncturable`), which the entry names by key and leaf. The 12-byte
  nonce in front of the ciphertext is random, so that even a leaf that is used again by mistake (a
  key file of a backup) repeats no key stream. The encryption binds the name of the member's key.
  Puncturing the leaf erases the record; destroying the member's key erases all that it sealed;
- the commitment ``HMAC-SHA256(salt, base || signature)`` in the entry binds the entry to what was
  signed without telling anything about it: the salt is in the sealed part only.
"""

from __future__ import annotations

import struct
from functools import lru_cache
from hashlib import sha256
from typing import Any, NamedTuple

import orjson
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from exchange.heads import Headers
from exchange.problems import Code, Problem

KEY_SIZE = 32
NONCE_SIZE = 12
MIN_SALT_SIZE = 16
MAX_SALT_SIZE = 64
_MAX_HEAD = 1 << 20
_LENGTH = struct.Struct(">I")
_HEAD_MEMBERS = {"headers", "method", "status", "target"}
_PART_MEMBERS = {"base", "head", "salt", "signature"}
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


def _length(value: Any, where: str) -> int:
    if type(value) is not int or value < 0:
        raise _refuse(where, "not a length")
    return value


def _headers(value: Any) -> Headers:
    """Pairs of strings; what else gives pairs when it is taken apart has another canonical form."""
    try:
        pairs = tuple([(name, text) for name, text in value])
        "".join([text for pair in pairs for text in pair])
    except (TypeError, ValueError) as error:
        raise _refuse("head", "headers are not pairs of strings") from error
    return pairs


def _head(value: Any) -> Head:
    if type(value) is not dict or not value.keys() <= _HEAD_MEMBERS:
        raise _refuse("head", "not headers, method, status and target")
    method, target, status = value.get("method"), value.get("target"), value.get("status")
    if not (
        (method is None or type(method) is str)
        and (target is None or type(target) is str)
        and (status is None or type(status) is int)
    ):
        raise _refuse("head", "method, target or status of a wrong type")
    return Head(_headers(value.get("headers")), method, target, status)


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
        document = orjson.loads(printed)
    except orjson.JSONDecodeError as error:
        raise _refuse("head", "not JSON") from error
    if type(document) is not dict or document.keys() != _PART_MEMBERS:
        raise _refuse("head", "not base, head, salt and signature")
    base_end = 4 + size + _length(document["base"], "base")
    body_start = base_end + _length(document["signature"], "signature")
    if body_start > len(plaintext):
        raise _refuse("length", "base and signature are longer than the part")
    try:
        salt = bytes.fromhex(document["salt"])
    except (TypeError, ValueError) as error:
        raise _refuse("salt", "not hex") from error
    base, signature = plaintext[4 + size : base_end], plaintext[base_end:body_start]
    part = SealedPart(base, signature, _head(document["head"]), plaintext[body_start:], salt)
    if _format_head(part) != printed:  # the rest has one spelling only
        raise _refuse("head", "not in canonical form")
    return part


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
