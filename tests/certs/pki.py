"""Authorities in memory, and certificates as no authority should issue them."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding

from certs.authority import DevelopmentAuthority, create_development_pki
from certs.issue import Issued, Issuer, PrivateKey, PublicKey, new_private_key
from exchange.identifiers import ApplicationId, MemberId, ServerId
from exchange.problems import Problem

AT = datetime(2026, 6, 1, 12, tzinfo=UTC)
MPI = MemberId("LA", "GOV", "MPI")
MOF = MemberId("LA", "GOV", "MOF")
SS1 = ServerId("LA", "GOV", "MPI", "ss1")
BUDGET = ApplicationId("LA", "GOV", "MOF", "budget")

Extension = tuple[x509.ExtensionType, bool]


@cache
def development_authority(name: str = "ours", at: datetime = AT) -> DevelopmentAuthority:
    """An authority of the instance LA; each name another one, with the same subjects."""
    with TemporaryDirectory() as folder:
        return create_development_pki(Path(folder) / name, "LA", at=at)


@cache
def key(algorithm: str) -> PrivateKey:
    """One key of each kind for all tests; RSA keys take long to make."""
    return new_private_key(algorithm)


@cache
def weak_rsa_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=1024)  # noqa: S505


@cache
def seal(member: MemberId = MPI, algorithm: str = "ecdsa-p256-sha256") -> Issued:
    """A seal certificate of :func:`development_authority`, with its key."""
    return development_authority().issue_seal(member, at=AT, algorithm=algorithm)


def recrafted(
    certificate: x509.Certificate,
    issuer: Issuer | None = None,
    *,
    public_key: PublicKey | None = None,
    subject: x509.Name | None = None,
    begin: datetime | None = None,
    end: datetime | None = None,
    without: Iterable[type[x509.ExtensionType]] = (),
    extensions: Sequence[Extension] = (),
) -> x509.Certificate:
    """A copy of a certificate with some parts changed, signed again.

    ``extensions`` replace those of the same kind; ``without`` leaves kinds out.
    """
    issuer = issuer or development_authority().issuer
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject or certificate.subject)
        .issuer_name(issuer.certificate.subject)
        .public_key(public_key or certificate.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begin or certificate.not_valid_before_utc)
        .not_valid_after(end or certificate.not_valid_after_utc)
    )
    changed = {value.oid for value, _ in extensions} | {kind.oid for kind in without}
    for extension in certificate.extensions:
        if extension.oid not in changed:
            builder = builder.add_extension(extension.value, extension.critical)
    for value, critical in extensions:
        builder = builder.add_extension(value, critical)
    signer = issuer.private_key
    return builder.sign(
        signer, None if isinstance(signer, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    )


def issuer_of(issued: Issued) -> Issuer:
    """Any certificate with its key as if it were an authority."""
    assert issued.private_key is not None
    return Issuer(issued.certificate, issued.private_key)


def refusal(act: Callable[[], object]) -> Problem:
    """The problem that ``act`` raises."""
    with pytest.raises(Problem) as caught:
        act()
    return caught.value


def reasons(problem: Problem) -> set[str]:
    listed = problem.facts["reasons"]
    assert isinstance(listed, list)
    return set(listed)


def openssl(
    *arguments: str | Path, data: bytes | None = None
) -> subprocess.CompletedProcess[bytes]:
    """Run the openssl command, a foreign judge; the caller looks at the result."""
    return subprocess.run(
        ["openssl", *map(str, arguments)], input=data, capture_output=True, check=False, timeout=20
    )


def write_pem(path: Path, *certificates: x509.Certificate) -> Path:
    path.write_bytes(b"".join(each.public_bytes(Encoding.PEM) for each in certificates))
    return path


def unix(at: datetime) -> str:
    return str(int(at.timestamp()))


def days(count: float) -> timedelta:
    return timedelta(days=count)


def p384_key() -> ec.EllipticCurvePublicKey:
    return ec.generate_private_key(ec.SECP384R1()).public_key()
