"""Who signed what an opened sealed part holds, and whether he did.

A signature counts as verified when the key of a certificate that is here made it, by the algorithm
that it states; when an authority that is here issued that certificate as a seal, to the party that
the entry names; and when the certificate was valid then. What cannot be held against anything
(no certificate, no authority, no key for the sealed part) is counted, and never taken for good.

A finding is only what no honest server records: a signature that is none, a key of another member
or for another algorithm, and of the other side a certificate that was not valid, since a server
opens no such message. That a certificate had been revoked, or that of this side had run out, is
counted: a server that only reports revocations goes on, and one seals with what it has until the
other side refuses.

Not checked: revocations that nobody told this server of; those are asked of the authority.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any, Final

from cryptography import x509

from exchange.certificates.judging import judge_seal
from exchange.certificates.names import member_name
from exchange.evidence.revocation import issuer_of
from exchange.identifiers import ApplicationId, MemberId, ServiceId
from exchange.journal.entries import Side
from exchange.journal.sealed_parts import SealedPart
from exchange.keys import VerifyingKey, verifying_key
from exchange.messages.signed import MAX_AGE_S, MAX_SKEW_S
from exchange.problems import Code, Problem
from mediator.journal.verify.signing import Signing
from mediator.journal.verify.stated import Stated

MAX_MISSING: Final = 16
"""Certificates that are not here: so many are named."""
_SKEW: Final = timedelta(seconds=MAX_SKEW_S + 1)
_AGE: Final = timedelta(seconds=MAX_AGE_S + MAX_SKEW_S + 1)


@dataclass(slots=True)
class Signed:
    """How many messages a signature was looked for, and what came of it.

    Of each record that tells of a signed message one of these is counted, unless it is a finding.
    """

    verified: int = 0
    revoked: int = 0
    """Right, by a certificate that had been revoked, as an authority said then or later."""
    expired: int = 0
    """Right, by a certificate of this server's own side that was not valid then."""
    unjudged: int = 0
    """Right, by a certificate that no authority here vouches for."""
    without_certificate: int = 0
    without_key: int = 0
    """Of these the sealed part cannot be opened: the member's key is not here."""
    erased: int = 0
    not_kept: int = 0
    """Of these the entry was kept alone."""

    def add(self, other: Signed) -> None:
        for one in _COUNTED:
            setattr(self, one, getattr(self, one) + getattr(other, one))

    def plus(self, other: Signed) -> Signed:
        """Both together."""
        both = Signed()
        both.add(self)
        both.add(other)
        return both

    @property
    def left(self) -> int:
        """How many nobody can vouch for."""
        return sum(int(getattr(self, one)) for one in _COUNTED) - self.verified


_COUNTED: Final = tuple(one.name for one in fields(Signed))


@dataclass(frozen=True, slots=True)
class Signers:
    """What is known of those who signed; goes to every process that reads records.

    Attributes:
        certificates: DER, by fingerprint.
        authorities: DER of those that are trusted to issue seals.
        revoked: by fingerprint, when (Unix time) one was revoked, as an authority said later.
    """

    certificates: Mapping[str, bytes] = field(default_factory=dict)
    authorities: tuple[bytes, ...] = ()
    revoked: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Signer:
    """A certificate, looked at once."""

    key: VerifyingKey
    member: MemberId | None
    """Whom it names; None: nobody."""
    judged: bool
    """An authority issued it as a seal."""
    begins: datetime
    ends: datetime


class Signatures:
    """Checks signatures; each certificate is read and judged once."""

    def __init__(self, signers: Signers) -> None:
        self._given = signers
        self._authorities = [x509.load_der_x509_certificate(one) for one in signers.authorities]
        self._known: dict[str, _Signer | None] = {}

    def check(
        self,
        part: SealedPart,
        stated: Stated,
        entry: Mapping[str, Any],
        signing: Signing,
        signed: Signed,
        missing: set[str],
    ) -> None:
        """Check one signature, and count what came of it.

        Args:
            part: opened, and held against its ``entry`` already.
            missing: is told the fingerprints of certificates that are not here.

        Raises:
            Problem: ``MalformedSignature`` (it states no key or no algorithm),
                ``InvalidSignature`` (what was signed is not what the key signed, or by another
                algorithm), ``IncorrectCertificate`` (of another member), ``CertificateExpired``, or
                what makes the certificate none for seals.
        """
        if not stated.keyid or not stated.algorithm:
            detail = "what was signed names no key, or no algorithm"
            raise Problem(Code.MALFORMED_SIGNATURE, detail=detail)
        signer = self._signer(stated.keyid)
        if signer is None:
            signed.without_certificate += 1
            if len(missing) < MAX_MISSING:
                missing.add(stated.keyid)
            return
        key = signer.key
        if key.algorithm.value != stated.algorithm:
            raise Problem(
                Code.INVALID_SIGNATURE,
                detail=f"it states {stated.algorithm[:40]!r}, but the key {key.keyid[:16]} is for "
                f"{key.algorithm.value}",
            )
        key.verify(part.signature, part.base)
        of_request = signing is Signing.REQUEST
        named = str(entry["client" if of_request else "service"])
        expected = _member_of(named, of_application=of_request)
        if signer.member != expected:
            raise Problem(
                Code.CERTIFICATE_MISMATCH,
                detail=f"the key of {signer.member} signed in the name of {expected}",
            )
        own = entry["side"] == (Side.CONSUMER if of_request else Side.PROVIDER)
        self._count(signer, stated, signed, own=own)

    def _count(self, signer: _Signer, stated: Stated, signed: Signed, *, own: bool) -> None:
        created = datetime.fromtimestamp(stated.created, UTC)
        # It was judged by the clock of who recorded it, within what the signer's may differ.
        valid = signer.begins <= created + _AGE and created - _SKEW <= signer.ends
        if not valid and not own:
            raise Problem(
                Code.CERTIFICATE_EXPIRED,
                detail=f"the seal certificate of {signer.member} was not valid when it signed, at "
                f"{created:%FT%TZ}",
            )
        revoked = self._given.revoked.get(signer.key.keyid)
        if not signer.judged:
            signed.unjudged += 1
        elif not valid:
            signed.expired += 1
        elif revoked is not None and stated.created >= revoked:
            signed.revoked += 1
        else:
            signed.verified += 1

    def _signer(self, keyid: str) -> _Signer | None:
        if keyid not in self._known:
            der = self._given.certificates.get(keyid)
            self._known[keyid] = None if der is None else self._judge(der)
        return self._known[keyid]

    def _judge(self, der: bytes) -> _Signer:
        """Look at a certificate; its own times are for each signature to judge.

        Raises:
            Problem: ``CertValidation``: it is no certificate of a seal.
        """
        try:
            certificate = x509.load_der_x509_certificate(der)
            begins, ends = certificate.not_valid_before_utc, certificate.not_valid_after_utc
        except ValueError as error:
            detail = "the signer's certificate cannot be read"
            raise Problem(Code.CERTIFICATE_UNTRUSTED, detail=detail) from error
        key = verifying_key(certificate)
        judged = False
        if issuer_of(certificate, self._authorities) is not None:
            for moment in (begins, ends):  # an authority's certificate may begin anew, or end
                try:
                    judge_seal(certificate, self._authorities, moment)
                except Problem as problem:
                    if problem.code is not Code.CERTIFICATE_EXPIRED:
                        raise
                else:
                    judged = True
                    break
        return _Signer(key, member_name(certificate, []), judged, begins, ends)


@lru_cache(maxsize=4096)
def _member_of(text: str, *, of_application: bool) -> MemberId:
    return (ApplicationId if of_application else ServiceId).parse(text).member
