"""Admission: which of a member's certificates count at a given time.

Invariants:
- a seal certificate is admitted only if, at the time ``at``, it chains to an authority of the
  instance, may seal, and names the member whose document lists it; an auth certificate likewise
  names the server that lists it; development certificates are not in a production instance's;
- what does not qualify is left out and told in ``complaints``; it does not spoil the rest.

A certificate may end later: ``review_at`` is the first moment at which a judgement could come out
differently, and the member must be judged anew then. Not checked here: revocation.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from types import MappingProxyType
from typing import TypeVar

from cryptography import x509

from exchange.certificates.judging import judge_auth, judge_seal
from exchange.certificates.reading import fingerprint_of, is_development, refuse_development
from exchange.identifiers import MemberId, ServerId
from exchange.keys import VerifyingKey, verifying_key
from exchange.problems import Code, Problem
from exchange.registrations import Environment, InstanceRecord, MemberRecord

SealKey = tuple[MemberId, VerifyingKey, x509.Certificate]
Owner = TypeVar("Owner", MemberId, ServerId)


@dataclass(frozen=True, slots=True)
class AdmittedMember:
    """A member's record with those of its certificates that qualified at one time."""

    record: MemberRecord
    seals: Mapping[str, SealKey]
    auths: Mapping[str, ServerId]
    complaints: tuple[Problem, ...]
    review_at: datetime | None


def trusted_authorities(instance: InstanceRecord) -> tuple[x509.Certificate, ...]:
    """The authorities whose certificates count: in production, none of development."""
    if instance.environment is Environment.DEVELOPMENT:
        return instance.authorities
    return tuple(authority for authority in instance.authorities if not is_development(authority))


def admit_member(record: MemberRecord, instance: InstanceRecord, at: datetime) -> AdmittedMember:
    """Judge a member's certificates at the time ``at``; what fails is told, not raised."""
    judging = _Judging(instance, trusted_authorities(instance), at)
    seals: dict[str, SealKey] = {}
    auths: dict[str, ServerId] = {}
    for certificate in record.seal_certificates:
        if judging.passes(certificate, judge_seal, record.member):
            key = verifying_key(certificate)
            seals[key.keyid] = (record.member, key, certificate)
    for server in record.servers:
        for certificate in server.auth_certificates:
            if judging.passes(certificate, judge_auth, server.id):
                auths[fingerprint_of(certificate)] = server.id
    return AdmittedMember(
        record,
        MappingProxyType(seals),
        MappingProxyType(auths),
        tuple(judging.complaints),
        judging.review_at,
    )


@dataclass(slots=True)
class _Judging:
    """One pass over a member's certificates."""

    instance: InstanceRecord
    authorities: tuple[x509.Certificate, ...]
    at: datetime
    complaints: list[Problem] = field(default_factory=list)
    review_at: datetime | None = None

    def passes(
        self,
        certificate: x509.Certificate,
        judge: Callable[[x509.Certificate, tuple[x509.Certificate, ...], datetime], Owner],
        owner: Owner,
    ) -> bool:
        self._watch(certificate)
        try:
            refuse_development((certificate,), self.instance.environment)
            named = judge(certificate, self.authorities, self.at)
        except Problem as problem:
            problem.facts["owner"] = str(owner)
            self.complaints.append(problem)
            return False
        if named != owner:
            self.complaints.append(
                Problem(
                    Code.CERTIFICATE_MISMATCH,
                    where=fingerprint_of(certificate),
                    detail=f"the certificate names {named} but is listed for {owner}",
                    facts={"owner": str(owner)},
                )
            )
            return False
        return True

    def _watch(self, certificate: x509.Certificate) -> None:
        for moment in (certificate.not_valid_before_utc, certificate.not_valid_after_utc):
            if moment > self.at and (self.review_at is None or moment < self.review_at):
                self.review_at = moment
