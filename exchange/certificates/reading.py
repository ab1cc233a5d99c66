"""Certificates read whole, their fingerprints, and the mark of the development authority."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256
from typing import Final, TypeVar

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from exchange.problems import Code, Problem

DEVELOPMENT_MARK: Final = "DEV - not for production"
"""organizationName of every subject of the development certificate authority."""
MAX_PEM_BYTES: Final = 256 * 1024
_ExtensionT = TypeVar("_ExtensionT", bound=x509.ExtensionType)
# What the library raises from its lazy readers on parts that are not what they should be.
_FOREIGN: Final = (ValueError, TypeError, x509.DuplicateExtension, x509.UnsupportedGeneralNameType)


def fingerprint(der: bytes) -> str:
    """The key id of a certificate: lower-case hexadecimal SHA-256 of its DER form."""
    return sha256(der).hexdigest()


def fingerprint_of(certificate: x509.Certificate) -> str:
    """:func:`fingerprint` of a parsed certificate."""
    return certificate.fingerprint(hashes.SHA256()).hex()


def parse_certificates(pem: bytes, where: str = "certificate") -> tuple[x509.Certificate, ...]:
    """Parse the certificates of a PEM text, in their order, every part of them.

    Raises:
        Problem: ``INVALID_DOCUMENT`` at ``where`` when there is none, one cannot be read, or the
            text is longer than 256 KiB.
    """
    if len(pem) > MAX_PEM_BYTES:
        raise Problem(Code.INVALID_DOCUMENT, where=where, detail="PEM text longer than 256 KiB")
    try:
        certificates = tuple(x509.load_pem_x509_certificates(pem))
    except (ValueError, x509.InvalidVersion) as error:
        raise Problem(
            Code.INVALID_DOCUMENT, where=where, detail=f"not PEM certificates: {short(error)}"
        ) from error
    for certificate in certificates:
        if fault := unreadable(certificate):
            raise Problem(Code.INVALID_DOCUMENT, where=where, detail=fault)
    return certificates


def parse_certificate(der: bytes, where: str = "certificate") -> x509.Certificate:
    """Parse one certificate in DER, every part of it.

    Raises:
        Problem: ``INVALID_DOCUMENT`` at ``where`` when a part cannot be read.
    """
    try:
        certificate = x509.load_der_x509_certificate(der)
    except (ValueError, x509.InvalidVersion) as error:  # InvalidVersion is no ValueError
        raise Problem(
            Code.INVALID_DOCUMENT, where=where, detail="not a certificate in DER"
        ) from error
    if fault := unreadable(certificate):
        raise Problem(Code.INVALID_DOCUMENT, where=where, detail=fault)
    return certificate


def unreadable(certificate: x509.Certificate) -> str | None:
    """Which part of a certificate cannot be read, if any: the library reads each when asked."""
    part = "validity"
    try:
        _ = certificate.not_valid_before_utc, certificate.not_valid_after_utc
        part = "names"
        _ = certificate.subject, certificate.issuer
        part = "extensions"
        _ = certificate.extensions
    except _FOREIGN as error:
        return f"its {part} cannot be read: {short(error)}"
    # The library does not look at the number of unused bits in front of the signature, which no
    # signature covers: a second encoding of one certificate would have another fingerprint.
    if not certificate.public_bytes(Encoding.DER).endswith(b"\0" + certificate.signature):
        return "its signature is not a whole number of octets"
    return None


def issued_by(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    """Whether ``issuer`` signed ``certificate`` and is named there; nothing else is judged."""
    try:
        certificate.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
        return False
    return True


def is_development(certificate: x509.Certificate) -> bool:
    """Whether the certificate, or its issuer, says that it is a development certificate."""
    return any(
        attribute.value == DEVELOPMENT_MARK
        for name in (certificate.subject, certificate.issuer)
        for attribute in name.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)
    )


def refuse_development(certificates: Sequence[x509.Certificate], environment: str) -> None:
    """Refuse development certificates where the instance says ``production``.

    Raises:
        Problem: ``DEVELOPMENT_ONLY`` naming the first development certificate.
    """
    if environment != "production":
        return
    for certificate in certificates:
        if is_development(certificate):
            raise Problem(
                Code.DEVELOPMENT_ONLY,
                where=fingerprint_of(certificate),
                detail=f"{subject_of(certificate)} is a development certificate",
            )


def extension(extensions: x509.Extensions, kind: type[_ExtensionT]) -> _ExtensionT | None:
    """The extension of a kind; None when there is none."""
    try:
        return extensions.get_extension_for_class(kind).value
    except x509.ExtensionNotFound:
        return None


def is_critical(extensions: x509.Extensions, kind: type[x509.ExtensionType]) -> bool:
    """Whether there is an extension of this kind that must be understood."""
    try:
        return extensions.get_extension_for_class(kind).critical
    except x509.ExtensionNotFound:
        return False


def subject_of(certificate: x509.Certificate) -> str:
    """The subject for people, at most 200 characters."""
    try:
        return short(certificate.subject.rfc4514_string())
    except ValueError:
        return "with an unreadable subject"


def short(value: object) -> str:
    """A value from outside for people, at most 200 characters."""
    text = str(value)
    return text if len(text) <= 200 else text[:199] + "…"
