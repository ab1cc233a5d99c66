"""What a certificate says, for people and for `--json`: no judgement of trust."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import NameOID

from certs.profiles import PROFILES, Profile, profile_of
from exchange.certificates.names import addresses_of, application_of, member_of, server_of
from exchange.certificates.reading import fingerprint_of, is_development
from exchange.problems import Fact, Problem


class State(StrEnum):
    """Where a time lies in a certificate's validity."""

    VALID = "valid"
    EXPIRED = "expired"
    NOT_YET_VALID = "not yet valid"


@dataclass(frozen=True, slots=True)
class Description:
    """The readable facts of one certificate at one time.

    ``days_left`` counts whole days and is negative after the end. ``owner`` is the member,
    server or application that it names, None when it names none.
    """

    subject: str
    issuer: str
    profile: Profile | None
    owner: str | None
    organization_identifier: str | None
    addresses: tuple[str, ...]
    key_kind: str
    not_before: datetime
    not_after: datetime
    state: State
    days_left: int
    fingerprint: str
    development: bool

    @property
    def title(self) -> str:
        return PROFILES[self.profile].title if self.profile else "of no profile of Saphan"

    def facts(self) -> dict[str, Fact]:
        """The same as JSON members."""
        return {
            "subject": self.subject,
            "issuer": self.issuer,
            "profile": self.profile.value if self.profile else None,
            "owner": self.owner,
            "organization_identifier": self.organization_identifier,
            "addresses": list(self.addresses),
            "key_kind": self.key_kind,
            "not_before": f"{self.not_before:%FT%TZ}",
            "not_after": f"{self.not_after:%FT%TZ}",
            "state": self.state.value,
            "days_left": self.days_left,
            "fingerprint": self.fingerprint,
            "development": self.development,
        }


def describe(certificate: x509.Certificate, at: datetime) -> Description:
    """Describe a certificate as of the time ``at``."""
    begin, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    state = State.VALID
    if at < begin:
        state = State.NOT_YET_VALID
    elif at > end:
        state = State.EXPIRED
    profile = profile_of(certificate)
    organizations = certificate.subject.get_attributes_for_oid(NameOID.ORGANIZATION_IDENTIFIER)
    return Description(
        subject=certificate.subject.rfc4514_string(),
        issuer=certificate.issuer.rfc4514_string(),
        profile=profile,
        owner=_owner(certificate, profile),
        organization_identifier=str(organizations[0].value) if organizations else None,
        addresses=addresses_of(certificate),
        key_kind=_key_kind(certificate),
        not_before=begin,
        not_after=end,
        state=state,
        days_left=(end - at).days,
        fingerprint=fingerprint_of(certificate),
        development=is_development(certificate),
    )


def _owner(certificate: x509.Certificate, profile: Profile | None) -> str | None:
    try:
        match profile:
            case Profile.AUTH:
                return str(server_of(certificate))
            case Profile.SEAL:
                return str(member_of(certificate))
            case Profile.CLIENT:
                return str(application_of(certificate))
            case _:
                return None
    except Problem:
        return None


def _key_kind(certificate: x509.Certificate) -> str:
    try:
        key = certificate.public_key()
    except (ValueError, UnsupportedAlgorithm):
        return "unknown"
    match key:
        case ec.EllipticCurvePublicKey():
            return f"EC {key.curve.name}"
        case ed25519.Ed25519PublicKey():
            return "Ed25519"
        case rsa.RSAPublicKey():
            return f"RSA {key.key_size}"
        case _:
            return "unknown"
