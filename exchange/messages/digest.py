"""Content-Digest (RFC 9530 section 2), in the one form of our profile: ``sha-256=:…:``.

Invariants:
- there is one spelling of a digest: a field that :func:`content_digest` would not write is
  refused, so a second algorithm that nobody checks cannot ride along;
- the digest is over the content as it travels, after content codings; an absent body has the
  digest of the empty string, so that "no body" is signed too;
- no problem repeats a digest: of a guessable body it would say what the body was.
"""

from __future__ import annotations

from binascii import Error, a2b_base64, b2a_base64
from hashlib import sha256

from exchange.problems import Code, Problem

_PREFIX = "sha-256=:"
_LENGTH = len(_PREFIX) + 44 + len(":")


def content_digest(body: bytes) -> str:
    """The Content-Digest field value of ``body``."""
    return format_content_digest(sha256(body).digest())


def format_content_digest(sha256_of_body: bytes) -> str:
    """The field value for a digest that was computed while the body streamed."""
    return f"{_PREFIX}{b2a_base64(sha256_of_body, newline=False).decode()}:"


def parse_content_digest(field: str) -> bytes:
    """The 32 bytes that a Content-Digest field states.

    Raises:
        Problem: ``MalformedSignature`` for anything :func:`format_content_digest` does not write.
    """
    if len(field) == _LENGTH and field.startswith(_PREFIX) and field.isascii():
        try:
            digest = a2b_base64(field[len(_PREFIX) : -1], strict_mode=True)
        except Error:
            digest = b""
        if len(digest) == 32 and format_content_digest(digest) == field:
            return digest
    raise Problem(
        Code.MALFORMED_SIGNATURE,
        where="content-digest",
        detail="Content-Digest is not exactly one sha-256 digest in canonical base64",
    )


def check_content_digest(field: str, sha256_of_body: bytes) -> None:
    """Return if the field states the digest of the body that was received.

    Raises:
        Problem: ``MalformedSignature`` if the field is not of our one form, ``DigestMismatch``
            if it states another digest.
    """
    if field == format_content_digest(sha256_of_body):
        return
    parse_content_digest(field)
    raise Problem(
        Code.DIGEST_MISMATCH,
        where="content-digest",
        detail="the body that arrived has another SHA-256 digest than Content-Digest states",
    )
