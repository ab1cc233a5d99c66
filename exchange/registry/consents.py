"""Consents: a consumer's sealed word that it is ready for a breaking change.

A consent is a JWS (:mod:`exchange.jws`) with the seal of one member over::

    {"consumer": "LA/GOV/MOF", "of": "LA/GOV/MPI/oda-mis/projects",
     "before": SHA-256 of the published document, "after": SHA-256 of the new one}

Invariants:
- ``of`` is a service, or the ``$id`` of a shared schema; the two digests (hexadecimal) name the one
  step that it allows, so it cannot be used for another change, nor a second time;
- the seal is that of the consumer, and of nobody else.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from typing import Final

from cryptography import x509

from exchange.certificates.judging import judge_seal
from exchange.certificates.names import member_of
from exchange.documents import format_document, invalid, parse_document
from exchange.identifiers import MemberId
from exchange.jws import format_jws, parse_jws, sign
from exchange.keys import SigningKey

CONSENT_TYPE: Final = "saphan-consent+jws"
NOUN: Final = "consent"
MAX_CONSENT_BYTES: Final = 4096
_DIGEST: Final = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Consent:
    """Who consents to which step of which document."""

    consumer: MemberId
    of: str
    before: str
    after: str


def digest_of(document: bytes) -> str:
    """How a consent names a document."""
    return sha256(document).hexdigest()


def seal_consent(
    of: str, before: bytes, after: bytes, key: SigningKey, certificate: x509.Certificate
) -> bytes:
    """The consent of the certificate's member to the step from one document to another.

    Raises:
        Problem: ``CERTIFICATE_MISMATCH`` when the key is not the certificate's.
    """
    payload = _format(Consent(member_of(certificate), of, digest_of(before), digest_of(after)))
    return format_jws(payload, [sign(payload, key, certificate, CONSENT_TYPE)])


def open_consent(
    jws: bytes, authorities: Sequence[x509.Certificate], at: datetime, noun: str = NOUN
) -> Consent:
    """Open a consent that its consumer has sealed.

    Raises:
        Problem: ``INVALID_DOCUMENT`` when it is malformed or sealed by another;
            ``INVALID_SIGNATURE``; ``CERTIFICATE_EXPIRED`` or ``CERTIFICATE_UNTRUSTED``.
    """
    found = parse_jws(jws, CONSENT_TYPE, noun)
    consent = _parse(found.payload, noun)
    if len(found.signatures) != 1:
        raise invalid(noun, "/signatures", "a consent has one seal")
    (signature,) = found.signatures
    signature.check(found.payload, f"{noun}#/signatures/0")
    if judge_seal(signature.certificate, authorities, at) != consent.consumer:
        raise invalid(noun, "/signatures/0", f"is not the seal of {consent.consumer}")
    return consent


def _format(consent: Consent) -> bytes:
    return format_document(
        {
            "consumer": str(consent.consumer),
            "of": consent.of,
            "before": consent.before,
            "after": consent.after,
        }
    )


def _parse(payload: bytes, noun: str) -> Consent:
    members = parse_document(payload, MAX_CONSENT_BYTES, noun).members(
        frozenset({"consumer", "of", "before", "after"})
    )
    digests = [members[name].text(64) for name in ("before", "after")]
    for name, digest in zip(("before", "after"), digests, strict=True):
        if not _DIGEST.fullmatch(digest):
            raise members[name].refuse("must be a SHA-256 in hexadecimal")
    consent = Consent(
        MemberId.parse(members["consumer"].text(2048), f"{noun}#/consumer"),
        members["of"].text(2048),
        *digests,
    )
    if _format(consent) != payload:
        raise invalid(noun, "", "is not in the canonical form")
    return consent
