"""Proofs of possession: whoever registers a certificate shows that it holds the certificate's key.

With a member's role come signatures by the keys of its new certificates, each over::

    {"_type":"saphan-possession","certificate":HEX,"member":"LA/GOV/MPI","role":HEX}

in canonical form (keys sorted, no spaces), where ``certificate`` is the SHA-256 fingerprint and
``role`` the SHA-256 of the signed role. So a proof is of one member, one role and one key, and is
worth nothing elsewhere.

Signatures are what ``openssl dgst -sha256 -sign KEY`` makes: ECDSA in DER, RSASSA-PKCS1-v1_5
(RFC 8017 section 8.2), both with SHA-256; Ed25519 signs the bytes themselves.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from hashlib import sha256
from pathlib import Path
from typing import TypeAlias

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from exchange.certificates.reading import fingerprint_of
from exchange.documents import format_document, invalid
from exchange.identifiers import MemberId
from exchange.problems import Code, Problem

PrivateKey: TypeAlias = ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | rsa.RSAPrivateKey
Keys: TypeAlias = Mapping[x509.Certificate, PrivateKey]
KEY_SUFFIXES = (".key.pem", ".key")
"""Where the key of ``NAME.pem`` is looked for: ``NAME.key.pem``, ``NAME.key``."""


def key_beside(path: Path) -> PrivateKey | None:
    """The private key that lies beside a certificate's file; nothing when there is none.

    Raises:
        Problem: ``InvalidDocument`` when the file there is not a private key without password.
    """
    for suffix in KEY_SUFFIXES:
        place = path.with_suffix(suffix)
        try:
            key = load_pem_private_key(place.read_bytes(), None)
        except FileNotFoundError:
            continue
        except (OSError, ValueError, TypeError, UnsupportedAlgorithm) as error:
            raise invalid(str(place), "", "not a private key in PEM without password") from error
        if isinstance(
            key, ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | rsa.RSAPrivateKey
        ):
            return key
    return None


def prove_all(member: MemberId, role: bytes, keys: Keys) -> dict[str, bytes]:
    """A proof for each certificate whose key is at hand, by fingerprint."""
    return {
        fingerprint_of(certificate): prove_possession(member, certificate, role, key)
        for certificate, key in keys.items()
    }


def proof_statement(member: MemberId, certificate: x509.Certificate, role: str) -> bytes:
    """The bytes that the certificate's key signs; ``role`` is the SHA-256 of the signed role."""
    return format_document(
        {
            "_type": "saphan-possession",
            "certificate": fingerprint_of(certificate),
            "member": str(member),
            "role": role,
        }
    )


def prove_possession(
    member: MemberId, certificate: x509.Certificate, role: bytes, key: PrivateKey
) -> bytes:
    """As :func:`prove_digest`, from the signed role itself."""
    return prove_digest(member, certificate, sha256(role).hexdigest(), key)


def prove_digest(
    member: MemberId, certificate: x509.Certificate, role: str, key: PrivateKey
) -> bytes:
    """The proof that ``key`` is the certificate's; ``role`` is the SHA-256 of the signed role.

    Raises:
        Problem: ``IncorrectCertificate`` when it is another key.
    """
    if key.public_key() != certificate.public_key():
        raise Problem(
            Code.CERTIFICATE_MISMATCH,
            where=fingerprint_of(certificate),
            detail="the key beside the certificate is another one",
        )
    statement = proof_statement(member, certificate, role)
    match key:
        case ec.EllipticCurvePrivateKey():
            return key.sign(statement, ec.ECDSA(hashes.SHA256()))
        case rsa.RSAPrivateKey():
            return key.sign(statement, padding.PKCS1v15(), hashes.SHA256())
        case _:
            return key.sign(statement)


def check_possession(
    member: MemberId,
    certificates: Iterable[x509.Certificate],
    role: bytes,
    proofs: Mapping[str, bytes],
) -> None:
    """Refuse certificates without a good proof.

    Args:
        certificates: those that are new.
        proofs: signatures by the fingerprint of their certificate.

    Raises:
        Problem: ``InvalidSignatureValue`` (422) with the fingerprint.
    """
    for certificate in certificates:
        fingerprint = fingerprint_of(certificate)
        proof = proofs.get(fingerprint)
        if proof is None:
            raise _unproven(
                fingerprint,
                f"no proof that you hold the key of {certificate.subject.rfc4514_string()[:200]}; "
                "saphan registry submit makes it from the key beside the certificate, saphan "
                "registry prove where the key lies",
            )
        if not is_proof(member, certificate, role, proof):
            raise _unproven(fingerprint, "the proof is not made with this key over this role")


def is_proof(member: MemberId, certificate: x509.Certificate, role: bytes, proof: bytes) -> bool:
    """Whether a proof is made with the certificate's key over this signed role."""
    statement = proof_statement(member, certificate, sha256(role).hexdigest())
    return _verifies(certificate, proof, statement)


def _verifies(certificate: x509.Certificate, proof: bytes, statement: bytes) -> bool:
    try:
        match certificate.public_key():
            case ec.EllipticCurvePublicKey() as key:
                key.verify(proof, statement, ec.ECDSA(hashes.SHA256()))
            case rsa.RSAPublicKey() as key:
                key.verify(proof, statement, padding.PKCS1v15(), hashes.SHA256())
            case ed25519.Ed25519PublicKey() as key:
                key.verify(proof, statement)
            case _:
                return False
    except (InvalidSignature, UnsupportedAlgorithm, ValueError):
        return False
    return True


def _unproven(fingerprint: str, detail: str) -> Problem:
    return Problem(
        Code.INVALID_SIGNATURE,
        where=f"submission#/proofs/{fingerprint}",
        detail=detail,
        facts={"certificate": fingerprint},
        status=422,
    )
