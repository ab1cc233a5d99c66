"""The seal of an agreement: a JWS (RFC 7515) with one signature per party (:mod:`exchange.jws`)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from cryptography import x509

from exchange.agreements.document import format_agreement, parse_agreement
from exchange.agreements.reading import NOUN, as_agreement, invalid
from exchange.agreements.values import Agreement
from exchange.certificates.judging import judge_seal
from exchange.certificates.names import member_of
from exchange.documents import parse_document
from exchange.identifiers import MemberId
from exchange.jws import MAX_JWS_BYTES, Jws, format_jws, parse_jws, sign
from exchange.keys import SigningKey

SEAL_TYPE: Final = "saphan-agreement+jws"


def seal_agreement(document: bytes, key: SigningKey, certificate: x509.Certificate) -> bytes:
    """Add a party's seal to an agreement, written or already sealed by the other party.

    A party that seals again (with a renewed certificate) replaces its earlier seal.

    Args:
        document: the agreement as JSON, or the JWS that this function returned before.

    Returns:
        The JWS in canonical JSON.

    Raises:
        Problem: ``AGREEMENT_INVALID`` when the document or a seal on it is wrong, or the
            certificate is of neither party; ``CERTIFICATE_MISMATCH`` when the key is not the
            certificate's. The certificate is *not* judged: :func:`open_agreement` does.
    """
    if _is_sealed(document):
        agreement, earlier = _read(document)
        signatures = list(earlier.signatures)
        payload = earlier.payload
    else:
        agreement = parse_agreement(document)
        signatures = []
        payload = format_agreement(agreement)
    signer = member_of(certificate)
    if signer not in _parties(agreement):
        raise invalid("", f"{signer} is neither its provider nor its consumer's member")
    others = [each for each in signatures if member_of(each.certificate) != signer]
    with as_agreement():
        own = sign(payload, key, certificate, SEAL_TYPE)
    return format_jws(payload, [*others, own])


def read_agreement(jws: bytes) -> tuple[Agreement, tuple[x509.Certificate, ...]]:
    """Read a sealed agreement, with one party's seal or both, and the certificates of its seals.

    The seals are checked to be of those certificates; whether these are trusted, valid and of
    both parties is *not*. For display and countersigning only; access needs
    :func:`open_agreement`.

    Raises:
        Problem: ``AGREEMENT_INVALID`` when the file or a seal on it is wrong.
    """
    agreement, sealed = _read(jws)
    return agreement, tuple(each.certificate for each in sealed.signatures)


def open_agreement(jws: bytes, authorities: Sequence[x509.Certificate], at: datetime) -> Agreement:
    """Open an agreement that exactly its provider and its consumer's member have sealed.

    Both certificates are judged at the time ``at``; the agreement's own validity is not: that is
    for :meth:`Agreement.allow`. A member that agrees with itself seals once. Revocation is not
    checked.

    Raises:
        Problem: ``AGREEMENT_INVALID`` when the file is malformed, a seal is not over these bytes,
            a party's seal is missing, or there is one too many; ``CERTIFICATE_EXPIRED`` or
            ``CERTIFICATE_UNTRUSTED`` when a seal's certificate does not stand.
    """
    agreement, sealed = _read(jws)
    signers = [judge_seal(each.certificate, authorities, at) for each in sealed.signatures]
    parties = _parties(agreement)
    for number, signer in enumerate(signers):
        if signer not in parties:
            raise invalid(f"/signatures/{number}", f"{signer} is not a party")
        if signer in signers[:number]:
            raise invalid(f"/signatures/{number}", f"{signer} sealed twice")
    if missing := [str(party) for party in parties if party not in signers]:
        raise invalid("/signatures", f"the seal of {' and '.join(missing)} is missing")
    return agreement


def _read(jws: bytes) -> tuple[Agreement, Jws]:
    with as_agreement():
        sealed = parse_jws(jws, SEAL_TYPE, NOUN)
        agreement = parse_agreement(sealed.payload)
        if format_agreement(agreement) != sealed.payload:
            raise invalid("/payload", "is not in the canonical form")
        for number, signature in enumerate(sealed.signatures):
            signature.check(sealed.payload, f"{NOUN}#/signatures/{number}")
    return agreement, sealed


def _is_sealed(document: bytes) -> bool:
    with as_agreement():
        value = parse_document(document, MAX_JWS_BYTES, NOUN).value
    return isinstance(value, dict) and "signatures" in value


def _parties(agreement: Agreement) -> tuple[MemberId, ...]:
    return tuple(dict.fromkeys((agreement.provider, agreement.consumer.member)))
