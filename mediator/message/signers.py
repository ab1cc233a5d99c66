"""Whose key may have signed: the look-up that opening a message is given."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from cryptography import x509

from exchange.certificates.judging import judge_seal
from exchange.certificates.reading import fingerprint_of
from exchange.identifiers import MemberId
from exchange.keys import VerifyingKey
from exchange.problems import Code, Problem
from exchange.trust.admission import trusted_authorities
from exchange.trust.state import RegistryState
from mediator.background.revocation import Statuses


def signer_of(
    state: RegistryState, expected: MemberId, now: datetime, statuses: Statuses
) -> Callable[[str], VerifyingKey]:
    """A function from keyid to the key, provided that it is a valid one of ``expected``.

    The function raises:
        Problem: ``IncorrectCertificate`` when the key is unknown or another member's;
            ``CertificateExpired`` or ``CertValidation`` when the registered certificate is not
            good at ``now``; ``CertificateRevoked`` or ``CertificateStatusUnknown``.
    """

    def find(keyid: str) -> VerifyingKey:
        try:
            member, key, certificate = state.seal_key(keyid)
        except Problem:
            _explain(state, expected, keyid, now)
            raise
        if member != expected:
            raise Problem(
                Code.CERTIFICATE_MISMATCH,
                where="Signature-Input keyid",
                detail=f"the key of {member} signed in the name of {expected}",
            )
        begins, ends = _validity(keyid, certificate)
        if not begins <= now <= ends:
            raise Problem(
                Code.CERTIFICATE_EXPIRED,
                where="Signature-Input keyid",
                detail=f"the seal certificate of {member} is not valid now",
            )
        statuses.check(keyid, "Signature-Input keyid")
        return key

    return find


_VALIDITIES: dict[str, tuple[datetime, datetime]] = {}
_MAX_VALIDITIES = 10_000


def _validity(keyid: str, certificate: x509.Certificate) -> tuple[datetime, datetime]:
    """From when to when; the key id is the certificate's fingerprint, so it is looked up by it."""
    found = _VALIDITIES.get(keyid)
    if found is None:
        if len(_VALIDITIES) >= _MAX_VALIDITIES:
            _VALIDITIES.clear()
        found = certificate.not_valid_before_utc, certificate.not_valid_after_utc
        _VALIDITIES[keyid] = found
    return found


def _explain(state: RegistryState, expected: MemberId, keyid: str, now: datetime) -> None:
    """Raise why a registered certificate was not taken, where that is the reason."""
    for certificate in state.member(expected).seal_certificates:
        if fingerprint_of(certificate) == keyid:
            judge_seal(certificate, trusted_authorities(state.instance), now)
