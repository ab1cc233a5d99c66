"""JWS General JSON Serialization (RFC 7515 section 7.2.1), one narrow profile.

Invariants:
- several signatures over one payload, each with the protected header ``alg``, ``typ``, ``x5c``
  (one certificate) and ``x5t#S256``, and nothing else; no unprotected header, no detached payload;
- the algorithm is that of the certificate's key: ES256 for P-256, EdDSA for Ed25519 (RFC 8037),
  PS512 for RSA; a header that says otherwise is refused (RFC 8725 section 3.1);
- base64 and base64url are accepted only in the one spelling that encoding gives back.

Not checked here: whether a certificate is trusted, valid or of the right signer.
"""

from __future__ import annotations

from base64 import b64decode, b64encode, urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding

from exchange.certificates.reading import fingerprint_of, parse_certificate
from exchange.documents import Node, format_document, parse_document
from exchange.keys import Algorithm, SigningKey, verifying_key
from exchange.problems import Code, Problem

MAX_JWS_BYTES: Final = 1024 * 1024
MAX_SIGNATURES: Final = 8
MAX_CERTIFICATE_TEXT: Final = 32 * 1024
_MAX_HEADER_TEXT: Final = 48 * 1024
_MAX_SIGNATURE_TEXT: Final = 1400  # RSA of 8192 bits

JWS_NAMES: Final = {
    Algorithm.ECDSA_P256_SHA256: "ES256",
    Algorithm.ED25519: "EdDSA",
    Algorithm.RSA_PSS_SHA512: "PS512",
}


@dataclass(frozen=True, slots=True)
class JwsSignature:
    """One signature: the protected header as it stands in the file, and what it says."""

    protected: str
    signature: bytes
    certificate: x509.Certificate

    def check(self, payload: bytes, where: str) -> None:
        """Return if this is the certificate's signature over its header and ``payload``.

        Raises:
            Problem: ``INVALID_SIGNATURE`` at ``where`` when it is not.
        """
        try:
            verifying_key(self.certificate).verify(
                self.signature, _signing_input(self.protected, payload)
            )
        except Problem as problem:
            raise Problem(problem.code, where=where, detail=problem.detail) from problem


@dataclass(frozen=True, slots=True)
class Jws:
    """A payload and its signatures, none of them checked yet."""

    payload: bytes
    signatures: tuple[JwsSignature, ...]


def sign(payload: bytes, key: SigningKey, certificate: x509.Certificate, typ: str) -> JwsSignature:
    """Sign ``payload`` with the key of ``certificate``.

    Raises:
        Problem: ``CERTIFICATE_MISMATCH`` when the key is that of another certificate.
    """
    if key.keyid != fingerprint_of(certificate):
        raise Problem(
            Code.CERTIFICATE_MISMATCH,
            where="certificate",
            detail="the signing key belongs to another certificate",
        )
    der = certificate.public_bytes(Encoding.DER)
    header = {
        "alg": JWS_NAMES[key.algorithm],
        "typ": typ,
        "x5c": [b64encode(der).decode()],
        "x5t#S256": _encode(sha256(der).digest()),
    }
    protected = _encode(format_document(header))
    return JwsSignature(protected, key.sign(_signing_input(protected, payload)), certificate)


def format_jws(payload: bytes, signatures: Sequence[JwsSignature]) -> bytes:
    """The General JSON Serialization, canonical JSON."""
    return format_document(
        {
            "payload": _encode(payload),
            "signatures": [
                {"protected": each.protected, "signature": _encode(each.signature)}
                for each in signatures
            ],
        }
    )


def parse_jws(data: bytes, typ: str, noun: str) -> Jws:
    """Parse a JWS whose signatures all have the type ``typ``.

    Raises:
        Problem: ``INVALID_DOCUMENT`` with a JSON pointer when anything is not of this profile.
    """
    members = parse_document(data, MAX_JWS_BYTES, noun).members(
        frozenset({"payload", "signatures"})
    )
    payload = _decode(members["payload"], MAX_JWS_BYTES)
    signatures = tuple(
        _parse_signature(node, typ) for node in members["signatures"].items(MAX_SIGNATURES, 1)
    )
    return Jws(payload, signatures)


def _parse_signature(node: Node, typ: str) -> JwsSignature:
    members = node.members(frozenset({"protected", "signature"}))
    place = members["protected"]
    protected = place.text(_MAX_HEADER_TEXT)
    header = parse_document(
        _decode(place, _MAX_HEADER_TEXT), _MAX_HEADER_TEXT, f"{place.noun}#{place.pointer}"
    ).members(frozenset({"alg", "typ", "x5c", "x5t#S256"}))
    if header["typ"].text() != typ:
        raise header["typ"].refuse(f"must be {typ}")
    certificate = _parse_certificate(next(header["x5c"].items(1, 1)))
    if header["x5t#S256"].text() != _encode(bytes.fromhex(fingerprint_of(certificate))):
        raise header["x5t#S256"].refuse("is not the SHA-256 of the certificate in x5c")
    try:
        demanded = JWS_NAMES[verifying_key(certificate).algorithm]
    except Problem as problem:
        raise header["x5c"].refuse(problem.detail) from problem
    if header["alg"].text() != demanded:
        raise header["alg"].refuse(f"must be {demanded}, the algorithm of the certificate's key")
    signature = _decode(members["signature"], _MAX_SIGNATURE_TEXT)
    return JwsSignature(protected, signature, certificate)


def _parse_certificate(node: Node) -> x509.Certificate:
    text = node.text(MAX_CERTIFICATE_TEXT)
    try:
        der = b64decode(text, validate=True)
        certificate = parse_certificate(der)
        certificate.public_key()
    except (ValueError, UnsupportedAlgorithm, Problem) as error:
        raise node.refuse("is not a certificate in base64 DER") from error
    if b64encode(der).decode() != text:
        raise node.refuse("is not base64 in its one spelling")
    return certificate


def _signing_input(protected: str, payload: bytes) -> bytes:
    return f"{protected}.{_encode(payload)}".encode("ascii")


def _encode(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode()


def _decode(node: Node, most: int) -> bytes:
    text = node.text(most)
    try:
        data = urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except ValueError as error:
        raise node.refuse("is not base64url") from error
    if _encode(data) != text:
        raise node.refuse("is not base64url in its one spelling without padding")
    return data
