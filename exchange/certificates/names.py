"""The names in certificates: URNs of members, servers and applications, and back.

The organizationIdentifier has the form of ETSI EN 319 412-1 clause 5.1.4 for a national scheme:
two letters and a colon (``XR:``, X-Road), the country, a hyphen, the identifier.
"""

from __future__ import annotations

import re
from typing import TypeVar

from cryptography import x509
from cryptography.x509.oid import NameOID

from exchange.certificates.reading import extension, short
from exchange.certificates.rules import (
    AUTH,
    CLIENT,
    SEAL,
    Finding,
    Mismatch,
    refusal,
    refuse_unreadable,
)
from exchange.identifiers import ApplicationId, MemberId, ServerId
from exchange.problems import Problem

_OwnerT = TypeVar("_OwnerT", MemberId, ServerId, ApplicationId)


def _urn(kind: str, identifier: MemberId | ServerId | ApplicationId) -> str:
    instance, *codes = str(identifier).split("/")
    return ":".join(["urn", instance, kind, *codes])


def member_urn(member: MemberId) -> str:
    """``urn:LA:member:GOV:MPI``; codes are percent-encoded as in ``str(member)``."""
    return _urn("member", member)


def server_urn(server: ServerId) -> str:
    """``urn:LA:server:GOV:MPI:ss1``."""
    return _urn("server", server)


def application_urn(application: ApplicationId) -> str:
    """``urn:LA:application:GOV:MPI:oda-mis``."""
    return _urn("application", application)


def organization_identifier(member: MemberId) -> str:
    """The organizationIdentifier of a member, such as ``XR:LA-LA/GOV/MPI`` (EN 319 412-1, 5.1.4).

    The country is the first two letters of the instance when they are capital letters, else
    ``XX`` (user-assigned in ISO 3166-1).
    """
    country = member.instance[:2]
    if not re.fullmatch(r"[A-Z]{2}", country):
        country = "XX"
    return f"XR:{country}-{member}"


def member_of(certificate: x509.Certificate) -> MemberId:
    """The member that a seal certificate names, in its URI and its organizationIdentifier alike.

    Raises:
        Problem: ``CERTIFICATE_UNTRUSTED`` when a name is missing, malformed, or they differ. The
            certificate itself is *not* judged: use :func:`judge_seal`.
    """
    refuse_unreadable(certificate, SEAL)
    findings: list[Finding] = []
    member = member_name(certificate, findings)
    if member is None or findings:
        raise refusal(certificate, findings, SEAL)
    return member


def server_of(certificate: x509.Certificate) -> ServerId:
    """The server that an auth certificate names.

    Raises:
        Problem: ``PEER_CERTIFICATE_UNTRUSTED`` when a name is missing or malformed. The
            certificate itself is *not* judged: use :func:`judge_auth`.
    """
    refuse_unreadable(certificate, AUTH)
    findings: list[Finding] = []
    server = server_name(certificate, findings)
    if server is None or findings:
        raise refusal(certificate, findings, AUTH)
    return server


def application_of(certificate: x509.Certificate) -> ApplicationId:
    """The application that a client certificate names.

    Raises:
        Problem: ``CLIENT_CERTIFICATE_REJECTED`` when the name is missing or malformed. The
            certificate itself is *not* judged: a server pins its applications' certificates.
    """
    refuse_unreadable(certificate, CLIENT)
    findings: list[Finding] = []
    codes = _urn_codes(certificate, "application", findings)
    application = _parsed(ApplicationId, codes, findings)
    if application is None:
        raise refusal(certificate, findings, CLIENT)
    return application


def addresses_of(certificate: x509.Certificate) -> tuple[str, ...]:
    """The DNS names and IP addresses of a parsed certificate, in their order; often none."""
    alternative = _alternative_name(certificate)
    return tuple(
        str(name.value)
        for name in alternative or ()
        if isinstance(name, x509.DNSName | x509.IPAddress)
    )


def member_name(certificate: x509.Certificate, findings: list[Finding]) -> MemberId | None:
    """The member that a seal certificate names; faults of its names are added to ``findings``."""
    codes = _urn_codes(certificate, "member", findings)
    member = _parsed(MemberId, codes, findings)
    given = [
        attribute.value
        for attribute in certificate.subject.get_attributes_for_oid(NameOID.ORGANIZATION_IDENTIFIER)
    ]
    if len(given) != 1:
        findings.append(
            Finding(
                Mismatch.NAME_MISSING,
                f"the subject has {len(given)} organizationIdentifier(s) instead of one",
            )
        )
    elif member is not None and given[0] != organization_identifier(member):
        findings.append(
            Finding(
                Mismatch.NAMES_DIFFER,
                f"organizationIdentifier {short(given[0])} is not that of {member}",
            )
        )
    return member


def server_name(certificate: x509.Certificate, findings: list[Finding]) -> ServerId | None:
    """The server that an auth certificate names; faults of its names are added to ``findings``."""
    codes = _urn_codes(certificate, "server", findings)
    server = _parsed(ServerId, codes, findings)
    if not addresses_of(certificate):
        findings.append(Finding(Mismatch.NAME_MISSING, "it has no DNS name or IP address"))
    return server


def _urn_codes(certificate: x509.Certificate, kind: str, findings: list[Finding]) -> str | None:
    """The identifier in the one URI of the certificate, as text joined by ``/``."""
    alternative = _alternative_name(certificate)
    uris = [n.value for n in alternative or () if isinstance(n, x509.UniformResourceIdentifier)]
    if len(uris) != 1:
        findings.append(
            Finding(
                Mismatch.NAME_MISSING,
                f"it has {len(uris)} URIs instead of the one urn:…:{kind}:… that names its owner",
            )
        )
        return None
    scheme, *parts = uris[0].split(":")
    if scheme != "urn" or len(parts) < 3 or parts[1] != kind or "/" in uris[0]:
        findings.append(
            Finding(Mismatch.NAME_MALFORMED, f"{short(uris[0])!r} is not urn:…:{kind}:…")
        )
        return None
    return "/".join([parts[0], *parts[2:]])


def _parsed(kind: type[_OwnerT], text: str | None, findings: list[Finding]) -> _OwnerT | None:
    if text is None:
        return None
    try:
        return kind.parse(text)
    except Problem as problem:
        findings.append(Finding(Mismatch.NAME_MALFORMED, f"its URI: {problem.detail}"))
        return None


def _alternative_name(certificate: x509.Certificate) -> x509.SubjectAlternativeName | None:
    return extension(certificate.extensions, x509.SubjectAlternativeName)
