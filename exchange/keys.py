"""Signing and verifying keys, each pinned to one algorithm (RFC 9421 section 3.3).

Invariants:
- the algorithm follows from the key, never from a message (RFC 9421 section 7.3.6);
- the key id is the fingerprint of the certificate: lower-case hex SHA-256 of its DER form, so a
  key id names one key, one owner and one period of validity;
- P-256 signatures are the 64 bytes ``r || s`` (section 3.3.4), not DER; RSA-PSS has a salt of 64
  bytes (section 3.3.1).

Not checked here: that a certificate is trusted, valid or allowed to seal
(:mod:`exchange.certificates`).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final, TypeAlias, cast

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes

from exchange.problems import Code, Problem

PrivateKey: TypeAlias = ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | rsa.RSAPrivateKey
PublicKey: TypeAlias = ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey | rsa.RSAPublicKey

MIN_RSA_BITS = 2048
MAX_RSA_BITS = 8192  # a larger key only burns the verifier's processor

_ECDSA: Final = ec.ECDSA(hashes.SHA256())
_PSS: Final = padding.PSS(mgf=padding.MGF1(hashes.SHA512()), salt_length=64)
_SHA512: Final = hashes.SHA512()


class Algorithm(StrEnum):
    """The algorithms of the profile, by their RFC 9421 names."""

    ECDSA_P256_SHA256 = "ecdsa-p256-sha256"
    ED25519 = "ed25519"
    RSA_PSS_SHA512 = "rsa-pss-sha512"


def algorithm_of(public_key: PublicKeyTypes) -> Algorithm:
    """The one algorithm this key may be used with.

    Raises:
        Problem: ``CertValidation`` for another kind of key, another curve than P-256, or an RSA
            key of fewer than 2048 or more than 8192 bits.
    """
    match public_key:
        case ec.EllipticCurvePublicKey(curve=ec.SECP256R1()):
            return Algorithm.ECDSA_P256_SHA256
        case ed25519.Ed25519PublicKey():
            return Algorithm.ED25519
        case rsa.RSAPublicKey(key_size=bits) if MIN_RSA_BITS <= bits <= MAX_RSA_BITS:
            return Algorithm.RSA_PSS_SHA512
        case ec.EllipticCurvePublicKey(curve=curve):
            kind = f"an elliptic curve key on {curve.name}"
        case rsa.RSAPublicKey(key_size=bits):
            kind = f"an RSA key of {bits} bits"
        case _:
            kind = type(public_key).__name__
    raise Problem(
        Code.CERTIFICATE_UNTRUSTED,
        where="public key",
        detail=f"{kind} cannot seal: P-256, Ed25519 and RSA of 2048 to 8192 bits can",
        facts={"key": kind},
    )


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A private key with its key id and its one algorithm."""

    keyid: str
    algorithm: Algorithm
    private_key: PrivateKey

    def sign(self, data: bytes) -> bytes:
        """Sign ``data`` as RFC 9421 section 3.3 says for the key's algorithm."""
        algorithm = self.algorithm
        private_key: Any = self.private_key  # whose kind the algorithm tells; asking it is slow
        signature: bytes
        if algorithm is Algorithm.ECDSA_P256_SHA256:
            return raw_of_der(private_key.sign(data, _ECDSA))
        if algorithm is Algorithm.ED25519:
            signature = private_key.sign(data)
        else:
            signature = private_key.sign(data, _PSS, _SHA512)
        return signature

    def __repr__(self) -> str:
        return f"SigningKey(keyid={self.keyid!r}, algorithm={self.algorithm.value!r})"


@dataclass(frozen=True, slots=True)
class VerifyingKey:
    """A public key with its key id and its one algorithm."""

    keyid: str
    algorithm: Algorithm
    public_key: PublicKey

    def verify(self, signature: bytes, data: bytes) -> None:
        """Return if ``signature`` is this key's over ``data``.

        Raises:
            Problem: ``InvalidSignatureValue`` if it is not, whatever the reason.
        """
        algorithm = self.algorithm
        public_key: Any = self.public_key
        try:
            if algorithm is Algorithm.ECDSA_P256_SHA256:
                if len(signature) != 64:
                    raise InvalidSignature
                public_key.verify(der_of_raw(signature), data, _ECDSA)
            elif algorithm is Algorithm.ED25519:
                public_key.verify(signature, data)
            else:
                public_key.verify(signature, data, _PSS, _SHA512)
        except InvalidSignature as error:
            raise Problem(
                Code.INVALID_SIGNATURE,
                where="signature",
                detail=f"the {self.algorithm} signature is not made over this message by the key "
                f"{self.keyid[:16]}",
                facts={"keyid": self.keyid, "algorithm": self.algorithm.value},
            ) from error


def raw_of_der(signature: bytes) -> bytes:
    """``r || s``, 64 bytes, of a P-256 signature that OpenSSL made (SEQUENCE of two INTEGERs).

    Not for DER from outside: nothing is checked.
    """
    end_of_r = 4 + signature[3]
    r, s = signature[4:end_of_r], signature[end_of_r + 2 :]
    return r[-32:].rjust(32, b"\0") + s[-32:].rjust(32, b"\0")


def der_of_raw(signature: bytes) -> bytes:
    """The DER form of ``r || s``, 64 bytes, as OpenSSL verifies it (RFC 3279 section 2.2.3)."""
    r = signature[:32].lstrip(b"\0") or b"\0"
    s = signature[32:].lstrip(b"\0") or b"\0"
    if r[0] > 127:
        r = b"\0" + r
    if s[0] > 127:
        s = b"\0" + s
    of_r, of_s = len(r), len(s)
    return b"0%c\2%c%b\2%c%b" % (of_r + of_s + 4, of_r, r, of_s, s)


def signing_key(private_key: PrivateKey, certificate: x509.Certificate) -> SigningKey:
    """The signing key that belongs to ``certificate``.

    Raises:
        Problem: ``IncorrectCertificate`` if the certificate holds another public key,
            ``CertValidation`` if a key of this kind cannot seal.
    """
    public_key = private_key.public_key()
    algorithm = algorithm_of(public_key)
    if public_key != certificate.public_key():
        raise Problem(
            Code.CERTIFICATE_MISMATCH,
            where="private key",
            detail="the certificate was issued for another key",
        )
    return SigningKey(_keyid(certificate), algorithm, private_key)


def verifying_key(certificate: x509.Certificate) -> VerifyingKey:
    """The verifying key inside ``certificate``.

    Raises:
        Problem: ``CertValidation`` if the key cannot be read, or one of this kind cannot seal.
    """
    try:
        public_key = certificate.public_key()
    # a certificate is read lazily: this part may be damaged, or of a kind that nobody knows
    except (ValueError, UnsupportedAlgorithm) as error:
        raise Problem(
            Code.CERTIFICATE_UNTRUSTED, where="certificate", detail="its key cannot be read"
        ) from error
    algorithm = algorithm_of(public_key)
    return VerifyingKey(_keyid(certificate), algorithm, cast(PublicKey, public_key))


def _keyid(certificate: x509.Certificate) -> str:
    return certificate.fingerprint(hashes.SHA256()).hex()
