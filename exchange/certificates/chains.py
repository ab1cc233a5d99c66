"""Whether a certificate, at a time, has a chain to a listed authority (RFC 5280 section 6)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime

from cryptography import x509
from cryptography.x509 import verification

from exchange.certificates.reading import issued_by, short, subject_of
from exchange.certificates.rules import Finding, Mismatch


def chain_findings(
    certificate: x509.Certificate, authorities: Sequence[x509.Certificate], at: datetime
) -> list[Finding]:
    """What is wrong with validity and chain of a certificate at the time ``at``."""
    if at.tzinfo is None:
        raise ValueError("a judgement needs an aware time")
    begin, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    findings = []
    if at < begin:
        findings.append(Finding(Mismatch.NOT_YET_VALID, f"valid only from {begin:%FT%TZ}"))
    if at > end:
        findings.append(Finding(Mismatch.EXPIRED, f"expired at {end:%FT%TZ}"))
    # An expired certificate of a foreign authority has two faults: ask about the chain at the
    # nearest moment at which the certificate itself was valid, so that both are told.
    moment = min(max(at, begin), end)
    fault = _chain_fault(certificate, authorities, moment)
    if fault is None:
        return findings
    path = list(_issuers(certificate, authorities))
    lapsed = [
        issuer
        for issuer in path
        if not issuer.not_valid_before_utc <= moment <= issuer.not_valid_after_utc
    ]
    for issuer in lapsed:
        findings.append(
            Finding(
                Mismatch.AUTHORITY_NOT_VALID,
                f"its authority {subject_of(issuer)} is valid only from "
                f"{issuer.not_valid_before_utc:%FT%TZ} to {issuer.not_valid_after_utc:%FT%TZ}",
            )
        )
    if lapsed:
        together = max(each.not_valid_before_utc for each in (certificate, *path))
        fault = _chain_fault(certificate, authorities, together)
    if fault is not None:
        findings.append(Finding(Mismatch.UNTRUSTED_CHAIN, f"no trusted chain: {fault}"))
    return findings


def _chain_fault(
    certificate: x509.Certificate, authorities: Sequence[x509.Certificate], moment: datetime
) -> str | None:
    """Why no chain leads from the certificate to an authority at ``moment``; None when one does.

    Anchors are the authorities that no other listed authority issued; the others only link.
    """
    subjects = {authority.subject for authority in authorities}
    anchors = [a for a in authorities if a.issuer == a.subject or a.issuer not in subjects]
    if not anchors:
        return "no authority is listed"
    links = [authority for authority in authorities if authority not in anchors]
    # The library's own policy for the leaf is that of web servers, which demands DNS names of
    # seals too; what a leaf must be is checked by the rules here instead.
    verifier = (
        verification.PolicyBuilder()
        .store(verification.Store(anchors))
        .time(moment)
        .extension_policies(
            ca_policy=verification.ExtensionPolicy.webpki_defaults_ca(),
            ee_policy=verification.ExtensionPolicy.permit_all(),
        )
        .build_client_verifier()
    )
    try:
        verifier.verify(certificate, links)
    except verification.VerificationError as error:
        return short(error)
    return None


def _issuers(
    certificate: x509.Certificate, authorities: Sequence[x509.Certificate]
) -> Iterator[x509.Certificate]:
    """The authorities above a certificate by name and signature, whatever their validity."""
    current = certificate
    for _ in authorities:
        if current.issuer == current.subject:
            return
        for candidate in authorities:
            if candidate.subject == current.issuer and issued_by(current, candidate):
                current = candidate
                yield candidate
                break
        else:
            return
