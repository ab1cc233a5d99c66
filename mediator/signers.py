"""Whose key may have signed: the look-up that opening a message is given."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from exchange.certificates import fingerprint_of, judge_seal
from exchange.identifiers import MemberId
from exchange.keys import VerifyingKey
from exchange.problems import Code, Problem
from exchange.trust import RegistryState, trusted_authorities


def signer_of(
    state: RegistryState, expected: MemberId, now: datetime
) -> Callable[[str], VerifyingKey]:
    """A function from keyid to the key, provided that it is a valid one of ``expected``.

    The function raises:
        Problem: ``IncorrectCertificate`` when the key is unknown or another member's;
            ``CertificateExpired`` or ``CertValidation`` when the registered certificate is not
            good at ``now``.
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
        if not certificate.not_valid_before_utc <= now <= certificate.not_valid_after_utc:
            raise Problem(
                Code.CERTIFICATE_EXPIRED,
                where="Signature-Input keyid",
                detail=f"the seal certificate of {member} is not valid now",
            )
        return key

    return find


def _explain(state: RegistryState, expected: MemberId, keyid: str, now: datetime) -> None:
    """Raise why a registered certificate was not taken, where that is the reason."""
    for certificate in state.member(expected).seal_certificates:
        if fingerprint_of(certificate) == keyid:
            judge_seal(certificate, trusted_authorities(state.instance), now)
