"""Issuing one certificate: keys, requests, and the signature of an authority over a profile.

A requester's names are never taken from its request (CSR): only the public key is, after its
proof of possession. The names come from whoever approved the request.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Final, TypeAlias

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import AuthorityInformationAccessOID, NameOID

from certs.files import PRIVATE_MODE, PUBLIC_MODE, read_file, write_file
from certs.profiles import BACKDATE_S, PROFILES, Profile
from exchange.certificates.reading import DEVELOPMENT_MARK, fingerprint_of, parse_certificates
from exchange.problems import Code, Problem

PrivateKey: TypeAlias = ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | rsa.RSAPrivateKey
PublicKey: TypeAlias = ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey | rsa.RSAPublicKey

ALGORITHMS: Final = ("ecdsa-p256-sha256", "ed25519", "rsa-pss-sha512")
RSA_BITS: Final = 2048
_LABEL: Final = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_DNS_NAME: Final = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")
_MAX_COMMON_NAME: Final = 64  # X.520 ub-common-name


@dataclass(frozen=True, slots=True)
class Issuer:
    """An authority's certificate with its key."""

    certificate: x509.Certificate
    private_key: PrivateKey


@dataclass(frozen=True, slots=True)
class Issued:
    """A new certificate; ``private_key`` is None when the requester keeps it.

    ``chain_pem`` is the certificate followed by its issuing authority: what a TLS server sends.
    """

    certificate: x509.Certificate
    private_key: PrivateKey | None
    chain_pem: bytes

    @property
    def fingerprint(self) -> str:
        return fingerprint_of(self.certificate)

    def write(self, cert_path: Path, key_path: Path | None = None) -> None:
        """Write the chain, and before it the key (mode 0600), each atomically.

        Raises:
            ValueError: a key path is given but the key is not here.
            Problem: ``INVALID_SETTINGS`` when a file cannot be written.
        """
        if key_path is not None:
            if self.private_key is None:
                raise ValueError("the private key is with the requester")
            write_file(key_path, private_key_pem(self.private_key), mode=PRIVATE_MODE)
        write_file(cert_path, self.chain_pem, mode=PUBLIC_MODE)


def read_issued(directory: Path, name: str) -> Issued:
    """A certificate and its key from ``DIR/{name}/{name}.pem`` and ``{name}.key.pem`` beside it.

    Raises:
        Problem: ``NOT_FOUND`` or ``INVALID_DOCUMENT`` at the file.
    """
    chain, key = directory / name / f"{name}.pem", directory / name / f"{name}.key.pem"
    pem = read_file(chain)
    certificate = parse_certificates(pem, str(chain))[0]
    return Issued(certificate, parse_private_key(read_file(key), str(key)), pem)


def new_private_key(algorithm: str) -> PrivateKey:
    """A new key for one of :data:`ALGORITHMS`.

    Raises:
        Problem: ``INVALID_SETTINGS`` for any other name.
    """
    match str(algorithm):
        case "ecdsa-p256-sha256":
            return ec.generate_private_key(ec.SECP256R1())
        case "ed25519":
            return ed25519.Ed25519PrivateKey.generate()
        case "rsa-pss-sha512":
            return rsa.generate_private_key(public_exponent=65537, key_size=RSA_BITS)
        case other:
            raise Problem(
                Code.INVALID_SETTINGS,
                where="algorithm",
                detail=f"{other[:40]!r} is none of {', '.join(ALGORITHMS)}",
            )


def private_key_pem(key: PrivateKey) -> bytes:
    """PKCS #8 in PEM, not encrypted: the file's mode guards it."""
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def parse_private_key(pem: bytes, where: str) -> PrivateKey:
    """Parse an unencrypted EC, Ed25519 or RSA key.

    Raises:
        Problem: ``INVALID_DOCUMENT`` at ``where`` when it is anything else.
    """
    try:
        key = serialization.load_pem_private_key(pem, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise Problem(
            Code.INVALID_DOCUMENT, where=where, detail="not an unencrypted PEM private key"
        ) from error
    if not isinstance(
        key, ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | rsa.RSAPrivateKey
    ):
        raise Problem(
            Code.INVALID_DOCUMENT, where=where, detail="the key is not EC, Ed25519 or RSA"
        )
    return key


def requested_key(request_pem: bytes, where: str) -> PublicKey:
    """The public key of a certificate request (PKCS #10, PEM) that proves possession of its key.

    The names in the request are ignored.

    Raises:
        Problem: ``INVALID_DOCUMENT`` at ``where`` when it cannot be read, its signature is wrong,
            or the key is not EC, Ed25519 or RSA of 2048 bits and more.
    """
    try:
        request = x509.load_pem_x509_csr(request_pem)
        proven = request.is_signature_valid
        key = request.public_key()
    except (ValueError, TypeError, UnsupportedAlgorithm, x509.InvalidVersion) as error:
        raise Problem(
            Code.INVALID_DOCUMENT, where=where, detail="not a PEM certificate request"
        ) from error
    if not proven:
        raise Problem(
            Code.INVALID_DOCUMENT, where=where, detail="the request is not signed with its own key"
        )
    match key:
        case ec.EllipticCurvePublicKey() if key.curve.name in {"secp256r1", "secp384r1"}:
            return key
        case ed25519.Ed25519PublicKey():
            return key
        case rsa.RSAPublicKey() if key.key_size >= RSA_BITS:
            return key
    raise Problem(
        Code.INVALID_DOCUMENT,
        where=where,
        detail="the key is not P-256, P-384, Ed25519 or RSA of at least 2048 bits",
    )


def development_name(common_name: str, organization_identifier: str | None = None) -> x509.Name:
    """A subject that nobody can take for a real one."""
    attributes = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, DEVELOPMENT_MARK)]
    if organization_identifier is not None:
        attributes.append(
            x509.NameAttribute(NameOID.ORGANIZATION_IDENTIFIER, organization_identifier)
        )
    attributes.append(
        x509.NameAttribute(NameOID.COMMON_NAME, f"DEV {common_name}"[:_MAX_COMMON_NAME])
    )
    return x509.Name(attributes)


def address_names(names: Sequence[str]) -> list[x509.GeneralName]:
    """DNS names and IP addresses as general names, told apart by their form.

    Raises:
        Problem: ``INVALID_SETTINGS`` for a name that is neither.
    """
    general: list[x509.GeneralName] = []
    for name in names:
        try:
            general.append(x509.IPAddress(ip_address(name)))
            continue
        except ValueError:
            pass
        if len(name) > 253 or not _DNS_NAME.fullmatch(name):
            raise Problem(
                Code.INVALID_SETTINGS,
                where="name",
                detail=f"{name[:80]!r} is neither a DNS name nor an IP address",
            )
        general.append(x509.DNSName(name))
    return general


def sign_certificate(
    profile: Profile,
    subject: x509.Name,
    public_key: PublicKey,
    issuer: Issuer | PrivateKey,
    *,
    at: datetime,
    days: int,
    names: Sequence[x509.GeneralName] = (),
    services_url: str | None = None,
) -> x509.Certificate:
    """Sign a certificate of a profile.

    Args:
        issuer: the authority, or the subject's own key for a root.
        at: time of issue, aware; validity begins :data:`~certs.profiles.BACKDATE_S` before.
        days: validity after ``at``, cut to the authority's own end.
        services_url: where the authority answers OCSP (``/ocsp``) and has its list (``/crl``).

    Raises:
        Problem: ``CONFLICT`` when the authority is not valid at ``at``.
    """
    begin, end = _validity(issuer, at, days)
    shape = PROFILES[profile]
    own = issuer.private_key if isinstance(issuer, Issuer) else issuer
    above = issuer.certificate.subject if isinstance(issuer, Issuer) else subject
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(above)
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(begin)
        .not_valid_after(end)
        .add_extension(x509.BasicConstraints(shape.is_authority, shape.path_length), critical=True)
        .add_extension(shape.key_usage(), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(own.public_key()), critical=False
        )
    )
    if shape.purposes:
        builder = builder.add_extension(x509.ExtendedKeyUsage(shape.purposes), critical=shape.sole)
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    if shape.no_check:
        builder = builder.add_extension(x509.OCSPNoCheck(), critical=False)
    elif services_url is not None:
        for status in _status_sources(services_url.rstrip("/")):
            builder = builder.add_extension(status, critical=False)
    return builder.sign(own, _hash_for(own))


def _status_sources(url: str) -> tuple[x509.ExtensionType, x509.ExtensionType]:
    """Where the status can be asked (RFC 5280 sections 4.2.2.1 and 4.2.1.13)."""
    responder = x509.AccessDescription(
        AuthorityInformationAccessOID.OCSP, x509.UniformResourceIdentifier(f"{url}/ocsp")
    )
    crl = x509.UniformResourceIdentifier(f"{url}/crl")
    point = x509.DistributionPoint([crl], relative_name=None, reasons=None, crl_issuer=None)
    return x509.AuthorityInformationAccess([responder]), x509.CRLDistributionPoints([point])


def _validity(issuer: Issuer | PrivateKey, at: datetime, days: int) -> tuple[datetime, datetime]:
    if at.tzinfo is None:
        raise ValueError("the time of issue must be aware")
    if days < 1:
        raise Problem(Code.INVALID_SETTINGS, where="days", detail="must be 1 or more")
    moment = at.astimezone(UTC).replace(microsecond=0)
    end = moment + timedelta(days=days)
    if isinstance(issuer, Issuer):
        own = issuer.certificate
        if not own.not_valid_before_utc <= moment < own.not_valid_after_utc:
            raise Problem(
                Code.CONFLICT,
                where="issuing authority",
                detail=f"it is valid only from {own.not_valid_before_utc:%FT%TZ} to "
                f"{own.not_valid_after_utc:%FT%TZ}; create a new development PKI",
            )
        end = min(end, own.not_valid_after_utc)
    return moment - timedelta(seconds=BACKDATE_S), end


def _hash_for(key: PrivateKey) -> hashes.SHA256 | hashes.SHA384 | None:
    match key:
        case ed25519.Ed25519PrivateKey():
            return None
        case ec.EllipticCurvePrivateKey() if key.curve.name == "secp384r1":
            return hashes.SHA384()
        case _:
            return hashes.SHA256()
