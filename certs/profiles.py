"""Certificate profiles: what each purpose puts into a certificate (RFC 5280, EN 319 412).

The table :data:`PROFILES` is the whole rule. :mod:`exchange.certificates` judges what is issued
here without knowing this table, so that a national authority's certificates are judged alike.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID as Purpose

BACKDATE_S: Final = 300
"""Certificates begin this much before their issue, for receivers whose clocks are behind."""


class Profile(StrEnum):
    """The purposes that the development authority issues for."""

    ROOT = "root"
    ISSUING = "issuing"
    AUTH = "auth"
    SEAL = "seal"
    CLIENT = "client"
    TSA = "tsa"
    OCSP = "ocsp"


@dataclass(frozen=True, slots=True)
class Shape:
    """The fixed part of a profile.

    ``path_length`` is None for everything that is not an authority. ``sole`` makes the extended
    key usage critical, as RFC 3161 section 2.3 demands of time-stamp authorities.
    """

    title: str
    days: int
    non_repudiation: bool = False
    path_length: int | None = None
    purposes: tuple[x509.ObjectIdentifier, ...] = ()
    sole: bool = False
    no_check: bool = False

    @property
    def is_authority(self) -> bool:
        return self.path_length is not None

    def key_usage(self) -> x509.KeyUsage:
        return x509.KeyUsage(
            digital_signature=not self.is_authority,
            content_commitment=self.non_repudiation,
            key_encipherment=False,
            data_encipherment=False,
            key_agreement=False,
            key_cert_sign=self.is_authority,
            crl_sign=self.is_authority,
            encipher_only=False,
            decipher_only=False,
        )


PROFILES: Final[dict[Profile, Shape]] = {
    Profile.ROOT: Shape("root authority", days=3652, path_length=1),
    Profile.ISSUING: Shape("issuing authority", days=730, path_length=0),
    Profile.AUTH: Shape(
        "TLS between security servers", days=7, purposes=(Purpose.SERVER_AUTH, Purpose.CLIENT_AUTH)
    ),
    Profile.SEAL: Shape("seal of a member", days=365, non_repudiation=True),
    Profile.CLIENT: Shape(
        "application that calls its server", days=365, purposes=(Purpose.CLIENT_AUTH,)
    ),
    Profile.TSA: Shape(
        "time-stamp authority", days=365, purposes=(Purpose.TIME_STAMPING,), sole=True
    ),
    # RFC 6960 section 4.2.2.2.1: a responder's certificate cannot be asked about at itself.
    Profile.OCSP: Shape("OCSP responder", days=90, purposes=(Purpose.OCSP_SIGNING,), no_check=True),
}


def profile_of(certificate: x509.Certificate) -> Profile | None:
    """The profile whose key usage, extended key usage and path length a certificate has.

    Returns None when it is of no profile of ours. Nothing is judged: no signature, no time.
    """
    try:
        extensions = certificate.extensions
        usage = extensions.get_extension_for_class(x509.KeyUsage).value
        constraints = extensions.get_extension_for_class(x509.BasicConstraints).value
    except (ValueError, x509.ExtensionNotFound, x509.DuplicateExtension):
        return None
    try:
        purposes = frozenset(extensions.get_extension_for_class(x509.ExtendedKeyUsage).value)
    except x509.ExtensionNotFound:
        purposes = frozenset()
    for profile, shape in PROFILES.items():
        if (
            constraints.ca == shape.is_authority
            and constraints.path_length == shape.path_length
            and usage == shape.key_usage()
            and purposes == frozenset(shape.purposes)
        ):
            return profile
    return None
