"""What each purpose demands of a certificate, and how what is wrong with one is told."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID as Purpose

from exchange.certificates.reading import fingerprint_of, subject_of, unreadable
from exchange.problems import Code, Problem


class Mismatch(StrEnum):
    """One way in which a certificate is not what it is used as."""

    EXPIRED = "expired"
    NOT_YET_VALID = "not-yet-valid"
    AUTHORITY_NOT_VALID = "authority-not-valid"
    UNTRUSTED_CHAIN = "untrusted-chain"
    IS_AUTHORITY = "is-authority"
    KEY_USAGE = "key-usage"
    EXTENDED_KEY_USAGE = "extended-key-usage"
    WEAK_KEY = "weak-key"
    NAME_MISSING = "name-missing"
    NAME_MALFORMED = "name-malformed"
    NAMES_DIFFER = "names-differ"
    MALFORMED = "malformed"


_OF_TIME: Final = frozenset(
    {Mismatch.EXPIRED, Mismatch.NOT_YET_VALID, Mismatch.AUTHORITY_NOT_VALID}
)


@dataclass(frozen=True, slots=True)
class Finding:
    """A mismatch and its particulars, one English clause."""

    mismatch: Mismatch
    detail: str


@dataclass(frozen=True, slots=True)
class Rule:
    """What one purpose demands of key usage and extended key usage.

    ``non_repudiation`` is None where it does not matter. ``sole`` demands an extended key usage
    that is critical and has no other purpose than the demanded.
    """

    noun: str
    expired: Code
    untrusted: Code
    non_repudiation: bool | None
    curves: frozenset[str]
    demanded: frozenset[x509.ObjectIdentifier]
    forbidden: frozenset[x509.ObjectIdentifier]
    sole: bool = False


_TLS: Final = frozenset({Purpose.SERVER_AUTH, Purpose.CLIENT_AUTH})
_SERVICES: Final = frozenset({Purpose.TIME_STAMPING, Purpose.OCSP_SIGNING})
_ANY: Final = frozenset({Purpose.ANY_EXTENDED_KEY_USAGE})
SEAL: Final = Rule(
    "seal certificate",
    Code.CERTIFICATE_EXPIRED,
    Code.CERTIFICATE_UNTRUSTED,
    non_repudiation=True,
    curves=frozenset({"secp256r1"}),  # what exchange.keys signs with
    demanded=frozenset(),
    forbidden=_TLS | _SERVICES | _ANY,
)
AUTH: Final = Rule(
    "server certificate",
    Code.PEER_CERTIFICATE_EXPIRED,
    Code.PEER_CERTIFICATE_UNTRUSTED,
    non_repudiation=False,
    curves=frozenset({"secp256r1", "secp384r1"}),
    demanded=_TLS,
    forbidden=_SERVICES | _ANY,
)
CLIENT: Final = Rule(
    "client certificate",
    Code.CLIENT_CERTIFICATE_REJECTED,
    Code.CLIENT_CERTIFICATE_REJECTED,
    non_repudiation=False,
    curves=frozenset({"secp256r1", "secp384r1"}),
    demanded=frozenset({Purpose.CLIENT_AUTH}),
    forbidden=_SERVICES | _ANY,
)
TSA: Final = Rule(
    "time-stamp certificate",
    Code.INVALID_TIMESTAMP,
    Code.INVALID_TIMESTAMP,
    non_repudiation=None,
    curves=frozenset({"secp256r1", "secp384r1", "secp521r1"}),
    demanded=frozenset({Purpose.TIME_STAMPING}),
    forbidden=frozenset(),
    sole=True,
)


def refuse_unreadable(certificate: x509.Certificate, rule: Rule) -> None:
    """Raises: Problem as :func:`refusal` when parts of the certificate cannot be read."""
    if fault := unreadable(certificate):
        raise refusal(certificate, [Finding(Mismatch.MALFORMED, fault)], rule)


def refusal(certificate: x509.Certificate, findings: Sequence[Finding], rule: Rule) -> Problem:
    """Why a certificate is refused: ``expired`` of the rule when only its validity fails, else
    ``untrusted``."""
    only_time = all(finding.mismatch in _OF_TIME for finding in findings)
    reasons = list(dict.fromkeys(finding.mismatch.value for finding in findings))
    return Problem(
        rule.expired if only_time else rule.untrusted,
        where=fingerprint_of(certificate),
        detail=f"{rule.noun} {subject_of(certificate)}: "
        + "; ".join(finding.detail for finding in findings),
        facts={"reasons": reasons, "certificate": fingerprint_of(certificate)},
    )
