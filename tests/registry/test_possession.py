"""Who registers a certificate holds its key, and shows it."""

from __future__ import annotations

import subprocess
from datetime import timedelta
from hashlib import sha256
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from cryptography.x509.oid import NameOID

from exchange.certificates.reading import fingerprint_of
from exchange.identifiers import MemberId
from exchange.problems import Code, Problem
from registry.requests.possession import (
    PrivateKey,
    check_possession,
    key_beside,
    proof_statement,
    prove_all,
    prove_possession,
)
from tests.registry.simulator import MOF, MPI, NOW

ROLE = b"a signed role"
KINDS: dict[str, PrivateKey] = {
    "P-256": ec.generate_private_key(ec.SECP256R1()),
    "P-384": ec.generate_private_key(ec.SECP384R1()),
    "RSA": rsa.generate_private_key(65537, 2048),
    "Ed25519": ed25519.Ed25519PrivateKey.generate(),
}


def certificate_of(key: PrivateKey) -> x509.Certificate:
    """A certificate of this key; who issued it does not matter here."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "somebody")])
    digest = None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    return builder.not_valid_before(NOW).not_valid_after(NOW + timedelta(days=1)).sign(key, digest)


def is_proven(
    certificate: x509.Certificate,
    proofs: dict[str, bytes],
    member: MemberId = MPI,
    role: bytes = ROLE,
) -> bool:
    """Whether the proofs are taken."""
    try:
        check_possession(member, [certificate], role, proofs)
    except Problem as problem:
        where = f"submission#/proofs/{fingerprint_of(certificate)}"
        if (problem.code, problem.where) != (Code.INVALID_SIGNATURE, where):
            raise
        return False
    return True


@pytest.mark.parametrize("kind", KINDS)
def test_a_proof_is_of_one_key_one_member_and_one_role(kind: str) -> None:
    """Its own is taken; none, another member's, another role's and another key's are not."""
    key = KINDS[kind]
    certificate = certificate_of(key)
    proofs = prove_all(MPI, ROLE, {certificate: key})
    assert is_proven(certificate, proofs)
    assert not is_proven(certificate, {})
    assert not is_proven(certificate, proofs, member=MOF)
    assert not is_proven(certificate, proofs, role=b"another role")
    (proof,) = proofs.values()
    other = certificate_of(KINDS["P-256"] if kind != "P-256" else KINDS["RSA"])
    assert not is_proven(other, {fingerprint_of(other): proof})
    assert not is_proven(certificate, {fingerprint_of(certificate): proof[:-1]})


def test_a_key_that_is_not_the_certificates_makes_no_proof() -> None:
    """The mistake is told before anything is handed in."""
    with pytest.raises(Problem) as caught:
        prove_possession(MPI, certificate_of(KINDS["P-256"]), ROLE, KINDS["P-384"])
    assert caught.value.code is Code.CERTIFICATE_MISMATCH


@pytest.mark.parametrize("kind", ["P-256", "RSA"])
def test_openssl_makes_the_same_proof(tmp_path: Path, kind: str) -> None:
    """`openssl dgst -sha256 -sign` suffices, for keys that Saphan never sees."""
    key = KINDS[kind]
    certificate = certificate_of(key)
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (tmp_path / "key.pem").write_bytes(pem)
    statement = proof_statement(MPI, certificate, sha256(ROLE).hexdigest())
    (tmp_path / "statement").write_bytes(statement)
    proof = subprocess.run(
        ["openssl", "dgst", "-sha256", "-sign", "key.pem", "statement"],
        cwd=tmp_path, capture_output=True, check=True,
    ).stdout  # fmt: skip
    assert is_proven(certificate, {fingerprint_of(certificate): proof})


@pytest.mark.parametrize("name", ["seal.key.pem", "seal.key"])
def test_the_key_is_found_beside_the_certificate(tmp_path: Path, name: str) -> None:
    """NAME.key.pem or NAME.key beside NAME.pem; none is no fault, nonsense is one."""
    assert key_beside(tmp_path / "seal.pem") is None
    (tmp_path / name).write_bytes(b"no key")
    with pytest.raises(Problem) as caught:
        key_beside(tmp_path / "seal.pem")
    assert caught.value.code is Code.INVALID_DOCUMENT
    key = KINDS["P-256"]
    (tmp_path / name).write_bytes(
        key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    )
    found = key_beside(tmp_path / "seal.pem")
    assert found is not None
    assert found.public_key() == key.public_key()
