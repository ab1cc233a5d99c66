"""The revocation of an agreement: a file that either party seals alone; it takes the right away.

Invariants:
- a revocation names the agreement by its id and both parties, and ends every version up to the one
  it names; a later version, which both must seal again, opens the door again;
- it is a JWS (RFC 7515) with exactly one signature, of the provider or of the consumer's member,
  over the canonical bytes.

Whether the certificate of its seal is still valid, or was revoked, is not asked: a revocation only
takes away, whoever can place one where a server reads it could remove the agreement as well, and a
door that was closed must not open again because the certificate that closed it has expired.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from cryptography import x509

from exchange.agreements.document import MAX_VERSION
from exchange.agreements.reading import (
    NOUN,
    as_agreement,
    invalid,
    name,
)
from exchange.agreements.values import Agreement
from exchange.certificates.names import member_of
from exchange.documents import format_document, format_moment, parse_document
from exchange.identifiers import ApplicationId, MemberId
from exchange.jws import format_jws, parse_jws, sign
from exchange.keys import SigningKey
from exchange.problems import Code, Problem, Text

REVOCATION_TYPE: Final = "saphan-agreement-revocation+jws"
MAX_REVOCATION_BYTES: Final = 16 * 1024


@dataclass(frozen=True, slots=True)
class AgreementRevocation:
    """The end of an agreement before its time, and why; ``revoked_at`` is aware.

    ``version`` is the last version that it ends.
    """

    agreement: str
    version: int
    provider: MemberId
    consumer: ApplicationId
    revoked_at: datetime
    reason: Text

    def ends(self, agreement: Agreement) -> bool:
        """Whether it is this agreement that is revoked."""
        return (
            self.agreement == agreement.id
            and self.provider == agreement.provider
            and self.consumer == agreement.consumer
            and agreement.version <= self.version
        )

    def problem(self, agreement: Agreement) -> Problem:
        """What a call gets that the agreement would have allowed."""
        return Problem(
            Code.AGREEMENT_REVOKED,
            where=agreement.reference,
            detail=f"it was revoked at {format_moment(self.revoked_at)}: "
            f"{self.reason.en} / {self.reason.lo}",
            facts={
                "agreement": agreement.reference,
                "revoked_at": format_moment(self.revoked_at),
                "reason_en": self.reason.en,
                "reason_lo": self.reason.lo,
            },
        )


def revocation_of(agreement: Agreement, at: datetime, reason: Text) -> AgreementRevocation:
    """The revocation of an agreement and of its earlier versions."""
    return AgreementRevocation(
        agreement.id, agreement.version, agreement.provider, agreement.consumer, at, reason
    )


def seal_revocation(
    revocation: AgreementRevocation, key: SigningKey, certificate: x509.Certificate
) -> bytes:
    """The revocation as a JWS in canonical JSON, sealed by one party.

    Raises:
        Problem: ``AGREEMENT_INVALID`` when the certificate is of neither party;
            ``CERTIFICATE_MISMATCH`` when the key is not the certificate's.
    """
    _check_party(revocation, member_of(certificate), "")
    payload = format_revocation(revocation)
    with as_agreement():
        return format_jws(payload, [sign(payload, key, certificate, REVOCATION_TYPE)])


def open_revocation(jws: bytes) -> tuple[AgreementRevocation, MemberId]:
    """A revocation that one of the parties has sealed, and which one.

    Raises:
        Problem: ``AGREEMENT_INVALID`` when the file is malformed, the seal is not over these
            bytes, or it is of neither party.
    """
    with as_agreement():
        sealed = parse_jws(jws, REVOCATION_TYPE, NOUN)
        revocation = parse_revocation(sealed.payload)
        if format_revocation(revocation) != sealed.payload:
            raise invalid("/payload", "is not in the canonical form")
        if len(sealed.signatures) != 1:
            raise invalid("/signatures", "a revocation has one seal")
        sealed.signatures[0].check(sealed.payload, f"{NOUN}#/signatures/0")
    signer = member_of(sealed.signatures[0].certificate)
    _check_party(revocation, signer, "/signatures/0")
    return revocation, signer


def parse_revocation(payload: bytes) -> AgreementRevocation:
    """Parse what the seal is over.

    Raises:
        Problem: ``AGREEMENT_INVALID`` with the JSON pointer of the fault.
    """
    with as_agreement():
        members = parse_document(payload, MAX_REVOCATION_BYTES, NOUN).members(
            frozenset({"agreement", "version", "provider", "consumer", "revoked_at", "reason"})
        )
        return AgreementRevocation(
            agreement=name(members["agreement"]),
            version=members["version"].integer(1, MAX_VERSION),
            provider=members["provider"].identifier(MemberId),
            consumer=members["consumer"].identifier(ApplicationId),
            revoked_at=members["revoked_at"].moment(),
            reason=members["reason"].bilingual(),
        )


def format_revocation(revocation: AgreementRevocation) -> bytes:
    """The canonical bytes; ``parse_revocation`` reads them back."""
    return format_document(
        {
            "agreement": revocation.agreement,
            "version": revocation.version,
            "provider": str(revocation.provider),
            "consumer": str(revocation.consumer),
            "revoked_at": format_moment(revocation.revoked_at),
            "reason": revocation.reason.as_dict(),
        }
    )


def _check_party(revocation: AgreementRevocation, signer: MemberId, place: str) -> None:
    if signer not in (revocation.provider, revocation.consumer.member):
        raise invalid(place, f"{signer} is neither its provider nor its consumer's member")
