"""Rules of exchange.keys."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from hashlib import sha256

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, padding, rsa, x25519
from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st
from sealed_messages import signing_key_of, verifying

from exchange.certificates.reading import fingerprint
from exchange.keys import (
    Algorithm,
    algorithm_of,
    der_of_raw,
    raw_of_der,
    signing_key,
    verifying_key,
)
from exchange.problems import Code, Problem

DATA = b'"@method": GET\n"@signature-params": ("@method")'


def certificate_of(key: ed25519.Ed25519PrivateKey | ec.EllipticCurvePrivateKey) -> x509.Certificate:
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "test")])
    hashed = None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(7)
        .not_valid_before(datetime(2026, 1, 1, tzinfo=UTC))
        .not_valid_after(datetime(2026, 1, 1, tzinfo=UTC) + timedelta(days=365))
        .sign(key, hashed)
    )


@pytest.mark.parametrize("algorithm", Algorithm)
def test_a_key_verifies_what_it_signed(algorithm: Algorithm) -> None:
    """Sign and verify are a pair for every algorithm of the profile."""
    key = signing_key_of(algorithm)
    verifying(key).verify(key.sign(DATA), DATA)


@pytest.mark.parametrize("algorithm", Algorithm)
@pytest.mark.parametrize(
    "spoil",
    [
        pytest.param(lambda s: b"", id="empty"),
        pytest.param(lambda s: s[:-1], id="one byte short"),
        pytest.param(lambda s: s + b"\0", id="one byte long"),
        pytest.param(lambda s: bytes([s[0] ^ 1]) + s[1:], id="one bit other"),
        pytest.param(lambda s: bytes(len(s)), id="zeros"),
        pytest.param(lambda s: b"\xff" * len(s), id="ones"),
    ],
)
def test_a_spoiled_signature_is_refused(algorithm: Algorithm, spoil) -> None:
    """Whatever is wrong with a signature, the answer is InvalidSignatureValue."""
    key = signing_key_of(algorithm)
    with pytest.raises(Problem) as caught:
        verifying(key).verify(spoil(key.sign(DATA)), DATA)
    assert caught.value.code is Code.INVALID_SIGNATURE


@pytest.mark.parametrize("algorithm", Algorithm)
def test_a_signature_is_over_its_data_alone(algorithm: Algorithm) -> None:
    """A signature over other data is refused."""
    key = signing_key_of(algorithm)
    with pytest.raises(Problem) as caught:
        verifying(key).verify(key.sign(DATA), DATA + b" ")
    assert caught.value.code is Code.INVALID_SIGNATURE


def test_a_p256_signature_is_r_and_s() -> None:
    """RFC 9421 section 3.3.4: r and s, 32 bytes each, never DER."""
    key = signing_key_of(Algorithm.ECDSA_P256_SHA256)
    assert {len(key.sign(DATA)) for _ in range(20)} == {64}
    assert isinstance(key.private_key, ec.EllipticCurvePrivateKey)
    der = key.private_key.sign(DATA, ec.ECDSA(hashes.SHA256()))
    with pytest.raises(Problem) as caught:
        verifying(key).verify(der, DATA)
    assert caught.value.code is Code.INVALID_SIGNATURE


def test_an_rsa_signature_has_a_salt_of_64_bytes() -> None:
    """RFC 9421 section 3.3.1: SHA-512, MGF1 with SHA-512 and a salt of 64 bytes, nothing else."""
    key = signing_key_of(Algorithm.RSA_PSS_SHA512)
    assert isinstance(key.private_key, rsa.RSAPrivateKey)
    pss = padding.PSS(padding.MGF1(hashes.SHA512()), salt_length=64)
    key.private_key.public_key().verify(key.sign(DATA), DATA, pss, hashes.SHA512())
    short = padding.PSS(padding.MGF1(hashes.SHA512()), salt_length=32)
    with pytest.raises(Problem) as caught:
        verifying(key).verify(key.private_key.sign(DATA, short, hashes.SHA512()), DATA)
    assert caught.value.code is Code.INVALID_SIGNATURE


@pytest.mark.parametrize("algorithm", Algorithm)
def test_the_algorithm_follows_from_the_key(algorithm: Algorithm) -> None:
    """algorithm_of names the one algorithm of each accepted kind of key."""
    assert algorithm_of(signing_key_of(algorithm).private_key.public_key()) is algorithm


@pytest.mark.parametrize(
    "public_key",
    [
        pytest.param(ec.generate_private_key(ec.SECP384R1()).public_key(), id="P-384"),
        pytest.param(ec.generate_private_key(ec.SECP256K1()).public_key(), id="secp256k1"),
        pytest.param(ed448.Ed448PrivateKey.generate().public_key(), id="Ed448"),
        pytest.param(x25519.X25519PrivateKey.generate().public_key(), id="X25519"),
        pytest.param(rsa.RSAPublicNumbers(65537, (1 << 1023) + 1).public_key(), id="RSA 1024"),
        pytest.param(rsa.RSAPublicNumbers(65537, (1 << 8200) + 1).public_key(), id="RSA over 8192"),
    ],
)
def test_other_keys_cannot_seal(public_key: PublicKeyTypes) -> None:
    """Any other kind, curve or size is refused, and the fact says which it is."""
    with pytest.raises(Problem) as caught:
        algorithm_of(public_key)
    assert caught.value.code is Code.CERTIFICATE_UNTRUSTED
    assert caught.value.facts["key"]


def test_the_key_id_is_the_fingerprint_of_the_certificate() -> None:
    """Both halves of a pair have the lower-case hex SHA-256 of the certificate's DER as key id."""
    private_key = ed25519.Ed25519PrivateKey.generate()
    certificate = certificate_of(private_key)
    der = certificate.public_bytes(Encoding.DER)
    own, known = signing_key(private_key, certificate), verifying_key(certificate)
    assert own.keyid == known.keyid == sha256(der).hexdigest() == fingerprint(der)
    known.verify(own.sign(DATA), DATA)


def test_a_private_key_must_be_that_of_its_certificate() -> None:
    """A certificate of another key makes no signing key."""
    certificate = certificate_of(ed25519.Ed25519PrivateKey.generate())
    with pytest.raises(Problem) as caught:
        signing_key(ed25519.Ed25519PrivateKey.generate(), certificate)
    assert caught.value.code is Code.CERTIFICATE_MISMATCH


def test_a_certificate_of_another_kind_of_key_gives_no_key() -> None:
    """verifying_key refuses what algorithm_of refuses."""
    with pytest.raises(Problem) as caught:
        verifying_key(certificate_of(ec.generate_private_key(ec.SECP384R1())))
    assert caught.value.code is Code.CERTIFICATE_UNTRUSTED


def test_a_printed_signing_key_says_nothing_of_the_private_key() -> None:
    """repr is safe in logs."""
    assert "PrivateKey" not in repr(signing_key_of(Algorithm.ED25519))


_NUMBER = st.integers(0, 2**256 - 1) | st.integers(0, 300) | st.integers(2**247, 2**249)


@given(_NUMBER, _NUMBER)
def test_the_two_forms_of_a_p256_signature(r: int, s: int) -> None:
    """Raw and DER, as the foreign library writes and reads DER; leading zeros and ones included."""
    raw = r.to_bytes(32, "big") + s.to_bytes(32, "big")
    assert der_of_raw(raw) == encode_dss_signature(r, s)
    assert raw_of_der(encode_dss_signature(r, s)) == raw


def test_a_certificate_whose_key_is_damaged_is_a_problem() -> None:
    """A flipped byte in an exported certificate is told, not thrown."""
    key = ec.generate_private_key(ec.SECP256R1())
    der = certificate_of(key).public_bytes(Encoding.DER)
    point = key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    damaged = bytes(point[:-1]) + bytes([point[-1] ^ 1])
    with pytest.raises(Problem) as caught:
        verifying_key(x509.load_der_x509_certificate(der.replace(point, damaged, 1)))
    assert caught.value.code is Code.CERTIFICATE_UNTRUSTED
