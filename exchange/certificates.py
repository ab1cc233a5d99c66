"""Certificates of seals, servers and applications, judged at a given time (RFC 5280).

Invariants:
- a certificate is trusted only when its chain ends at a listed authority, it is valid at the time
  asked about, its key and key usages fit its one purpose, and it names exactly one owner;
- a judgement costs about a millisecond: judge once and remember, then compare validity only;
- a judgement lists *every* mismatch, each as a :class:`Mismatch` in ``facts["reasons"]``;
- an identifier has one spelling in a certificate, the one that :func:`member_urn`,
  :func:`server_urn` and :func:`application_urn` give.

Purposes and names (profiles of ``certs.profiles``):

========  ==============================================  =======================================
purpose   key usage; extended key usage                   name
========  ==============================================  =======================================
seal      digitalSignature + nonRepudiation; none of TLS  URI ``urn:LA:member:GOV:MPI`` and subject
                                                          organizationIdentifier (2.5.4.97)
                                                          ``XR:LA-LA/GOV/MPI``
auth      digitalSignature; serverAuth + clientAuth       URI ``urn:LA:server:GOV:MPI:ss1``, and
                                                          DNS names or IP addresses
client    digitalSignature; clientAuth                    URI ``urn:LA:application:GOV:MPI:oda``
========  ==============================================  =======================================

The organizationIdentifier has the form of ETSI EN 319 412-1 clause 5.1.4 for a national scheme:
two letters and a colon (``XR:``, X-Road), the country, a hyphen, the identifier.

What is *not* checked anywhere here: revocation (:mod:`exchange.revocation`), certificate
transparency, and whether a server's DNS name is the one that was dialled (TLS does that).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from hashlib import sha256
from typing import Final, TypeVar

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import verification
from cryptography.x509.oid import ExtendedKeyUsageOID as Purpose
from cryptography.x509.oid import NameOID

from exchange.identifiers import ApplicationId, MemberId, ServerId
from exchange.keys import MAX_RSA_BITS, MIN_RSA_BITS
from exchange.problems import Code, Problem

DEVELOPMENT_MARK: Final = "DEV - not for production"
"""organizationName of every subject of the development certificate authority."""

MAX_PEM_BYTES: Final = 256 * 1024

_OwnerT = TypeVar("_OwnerT", MemberId, ServerId, ApplicationId)
_ExtensionT = TypeVar("_ExtensionT", bound=x509.ExtensionType)


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
class _Rule:
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
# What the library raises from its lazy readers on parts that are not what they should be.
_FOREIGN: Final = (ValueError, TypeError, x509.DuplicateExtension, x509.UnsupportedGeneralNameType)
_PURPOSE_NAMES: Final = {
    Purpose.SERVER_AUTH: "serverAuth",
    Purpose.CLIENT_AUTH: "clientAuth",
    Purpose.TIME_STAMPING: "timeStamping",
    Purpose.OCSP_SIGNING: "OCSPSigning",
    Purpose.ANY_EXTENDED_KEY_USAGE: "anyExtendedKeyUsage",
}

_SEAL: Final = _Rule(
    "seal certificate",
    Code.CERTIFICATE_EXPIRED,
    Code.CERTIFICATE_UNTRUSTED,
    non_repudiation=True,
    curves=frozenset({"secp256r1"}),  # what exchange.keys signs with
    demanded=frozenset(),
    forbidden=_TLS | _SERVICES | _ANY,
)
_AUTH: Final = _Rule(
    "server certificate",
    Code.PEER_CERTIFICATE_EXPIRED,
    Code.PEER_CERTIFICATE_UNTRUSTED,
    non_repudiation=False,
    curves=frozenset({"secp256r1", "secp384r1"}),
    demanded=_TLS,
    forbidden=_SERVICES | _ANY,
)
_CLIENT: Final = _Rule(
    "client certificate",
    Code.CLIENT_CERTIFICATE_REJECTED,
    Code.CLIENT_CERTIFICATE_REJECTED,
    non_repudiation=False,
    curves=frozenset({"secp256r1", "secp384r1"}),
    demanded=frozenset({Purpose.CLIENT_AUTH}),
    forbidden=_SERVICES | _ANY,
)
_TSA: Final = _Rule(
    "time-stamp certificate",
    Code.INVALID_TIMESTAMP,
    Code.INVALID_TIMESTAMP,
    non_repudiation=None,
    curves=frozenset({"secp256r1", "secp384r1", "secp521r1"}),
    demanded=frozenset({Purpose.TIME_STAMPING}),
    forbidden=frozenset(),
    sole=True,
)


def fingerprint(der: bytes) -> str:
    """The key id of a certificate: lower-case hexadecimal SHA-256 of its DER form."""
    return sha256(der).hexdigest()


def parse_certificates(pem: bytes, where: str = "certificate") -> tuple[x509.Certificate, ...]:
    """Parse the certificates of a PEM text, in their order, every part of them.

    Raises:
        Problem: ``INVALID_DOCUMENT`` at ``where`` when there is none, one cannot be read, or the
            text is longer than 256 KiB.
    """
    if len(pem) > MAX_PEM_BYTES:
        raise Problem(Code.INVALID_DOCUMENT, where=where, detail="PEM text longer than 256 KiB")
    try:
        certificates = tuple(x509.load_pem_x509_certificates(pem))
    except (ValueError, x509.InvalidVersion) as error:
        raise Problem(
            Code.INVALID_DOCUMENT, where=where, detail=f"not PEM certificates: {_short(error)}"
        ) from error
    for certificate in certificates:
        if fault := _unreadable(certificate):
            raise Problem(Code.INVALID_DOCUMENT, where=where, detail=fault)
    return certificates


def parse_certificate(der: bytes, where: str = "certificate") -> x509.Certificate:
    """Parse one certificate in DER, every part of it.

    Raises:
        Problem: ``INVALID_DOCUMENT`` at ``where`` when a part cannot be read.
    """
    try:
        certificate = x509.load_der_x509_certificate(der)
    except (ValueError, x509.InvalidVersion) as error:  # InvalidVersion is no ValueError
        raise Problem(
            Code.INVALID_DOCUMENT, where=where, detail="not a certificate in DER"
        ) from error
    if fault := _unreadable(certificate):
        raise Problem(Code.INVALID_DOCUMENT, where=where, detail=fault)
    return certificate


# ---------------------------------------------------------------------------------------- names


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
    _refuse_unreadable(certificate, _SEAL)
    findings: list[Finding] = []
    member = _member_name(certificate, findings)
    if member is None or findings:
        raise _refusal(certificate, findings, _SEAL)
    return member


def server_of(certificate: x509.Certificate) -> ServerId:
    """The server that an auth certificate names.

    Raises:
        Problem: ``PEER_CERTIFICATE_UNTRUSTED`` when a name is missing or malformed. The
            certificate itself is *not* judged: use :func:`judge_auth`.
    """
    _refuse_unreadable(certificate, _AUTH)
    findings: list[Finding] = []
    server = _server_name(certificate, findings)
    if server is None or findings:
        raise _refusal(certificate, findings, _AUTH)
    return server


def application_of(certificate: x509.Certificate) -> ApplicationId:
    """The application that a client certificate names.

    Raises:
        Problem: ``CLIENT_CERTIFICATE_REJECTED`` when the name is missing or malformed. The
            certificate itself is *not* judged: a server pins its applications' certificates.
    """
    _refuse_unreadable(certificate, _CLIENT)
    findings: list[Finding] = []
    codes = _urn_codes(certificate, "application", findings)
    application = _parsed(ApplicationId, codes, findings)
    if application is None:
        raise _refusal(certificate, findings, _CLIENT)
    return application


def addresses_of(certificate: x509.Certificate) -> tuple[str, ...]:
    """The DNS names and IP addresses of a parsed certificate, in their order; often none."""
    alternative = _alternative_name(certificate)
    return tuple(
        str(name.value)
        for name in alternative or ()
        if isinstance(name, x509.DNSName | x509.IPAddress)
    )


def fingerprint_of(certificate: x509.Certificate) -> str:
    """:func:`fingerprint` of a parsed certificate."""
    return certificate.fingerprint(hashes.SHA256()).hex()


def is_development(certificate: x509.Certificate) -> bool:
    """Whether the certificate, or its issuer, says that it is a development certificate."""
    return any(
        attribute.value == DEVELOPMENT_MARK
        for name in (certificate.subject, certificate.issuer)
        for attribute in name.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)
    )


def refuse_development(certificates: Sequence[x509.Certificate], environment: str) -> None:
    """Refuse development certificates where the instance says ``production``.

    Raises:
        Problem: ``DEVELOPMENT_ONLY`` naming the first development certificate.
    """
    if environment != "production":
        return
    for certificate in certificates:
        if is_development(certificate):
            raise Problem(
                Code.DEVELOPMENT_ONLY,
                where=fingerprint_of(certificate),
                detail=f"{_subject(certificate)} is a development certificate",
            )


# ------------------------------------------------------------------------------------ judgement


def judge_seal(
    certificate: x509.Certificate, authorities: Sequence[x509.Certificate], at: datetime
) -> MemberId:
    """Judge a seal certificate at the time ``at`` and return the member it belongs to.

    Checked: the chain to ``authorities`` (signatures, basicConstraints and path lengths, key
    usage, critical extensions), validity, key kind and size, that it is no authority itself,
    digitalSignature and nonRepudiation, that it is not for TLS, time-stamps or OCSP, and that
    URI and organizationIdentifier name the same member. Not checked: revocation; whether the
    registry lists this certificate for the member.

    Raises:
        Problem: ``CERTIFICATE_EXPIRED`` when only validity periods fail, else
            ``CERTIFICATE_UNTRUSTED``; every reason is in ``detail`` and ``facts["reasons"]``.
    """
    findings = _findings(certificate, authorities, at, _SEAL)
    member = _member_name(certificate, findings)
    if member is None or findings:
        raise _refusal(certificate, findings, _SEAL)
    return member


def judge_auth(
    certificate: x509.Certificate, authorities: Sequence[x509.Certificate], at: datetime
) -> ServerId:
    """Judge a server's TLS certificate at the time ``at`` and return the server it belongs to.

    Checked: as :func:`judge_seal`, with serverAuth and clientAuth instead, no nonRepudiation, and
    at least one DNS name or IP address. Not checked: revocation; whether the name is the one
    dialled; whether the registry lists this certificate for the server.

    Raises:
        Problem: ``PEER_CERTIFICATE_EXPIRED`` when only validity periods fail, else
            ``PEER_CERTIFICATE_UNTRUSTED``; every reason is in ``detail`` and ``facts["reasons"]``.
    """
    findings = _findings(certificate, authorities, at, _AUTH)
    server = _server_name(certificate, findings)
    if server is None or findings:
        raise _refusal(certificate, findings, _AUTH)
    return server


def judge_tsa(
    certificate: x509.Certificate, authorities: Sequence[x509.Certificate], at: datetime
) -> None:
    """Judge a time-stamp authority's certificate at the time ``at`` (RFC 3161 section 2.3).

    Checked: as :func:`judge_seal`, with timeStamping as the sole purpose, critical, and no name.
    Not checked: revocation; whether the instance lists this authority.

    Raises:
        Problem: ``INVALID_TIMESTAMP``; every reason is in ``detail`` and ``facts["reasons"]``.
    """
    findings = _findings(certificate, authorities, at, _TSA)
    if findings:
        raise _refusal(certificate, findings, _TSA)


def _chain_findings(
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
                f"its authority {_subject(issuer)} is valid only from "
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
        return _short(error)
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


def issued_by(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    """Whether ``issuer`` signed ``certificate`` and is named there; nothing else is judged."""
    try:
        certificate.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
        return False
    return True


def _unreadable(certificate: x509.Certificate) -> str | None:
    """Which part of a certificate cannot be read, if any: the library reads each when asked."""
    part = "validity"
    try:
        _ = certificate.not_valid_before_utc, certificate.not_valid_after_utc
        part = "names"
        _ = certificate.subject, certificate.issuer
        part = "extensions"
        _ = certificate.extensions
    except _FOREIGN as error:
        return f"its {part} cannot be read: {_short(error)}"
    # The library does not look at the number of unused bits in front of the signature, which no
    # signature covers: a second encoding of one certificate would have another fingerprint.
    if not certificate.public_bytes(Encoding.DER).endswith(b"\0" + certificate.signature):
        return "its signature is not a whole number of octets"
    return None


def _refuse_unreadable(certificate: x509.Certificate, rule: _Rule) -> None:
    if fault := _unreadable(certificate):
        raise _refusal(certificate, [Finding(Mismatch.MALFORMED, fault)], rule)


def _findings(
    certificate: x509.Certificate,
    authorities: Sequence[x509.Certificate],
    at: datetime,
    rule: _Rule,
) -> list[Finding]:
    _refuse_unreadable(certificate, rule)
    findings = _chain_findings(certificate, authorities, at)
    findings.extend(_usage_findings(certificate.extensions, rule))
    findings.extend(_key_findings(certificate, rule))
    return findings


def _usage_findings(extensions: x509.Extensions, rule: _Rule) -> Iterator[Finding]:
    constraints = _extension(extensions, x509.BasicConstraints)
    if constraints is not None and constraints.ca:
        yield Finding(Mismatch.IS_AUTHORITY, "it is a certificate authority's own certificate")
    usage = _extension(extensions, x509.KeyUsage)
    if usage is None or not usage.digital_signature:
        yield Finding(Mismatch.KEY_USAGE, "keyUsage lacks digitalSignature")
    elif rule.non_repudiation not in {None, usage.content_commitment}:
        verb = "lacks" if rule.non_repudiation else "has"
        yield Finding(Mismatch.KEY_USAGE, f"keyUsage {verb} nonRepudiation")
    if usage is not None and (usage.key_cert_sign or usage.crl_sign):
        yield Finding(Mismatch.KEY_USAGE, "keyUsage has keyCertSign or cRLSign")
    extended = _extension(extensions, x509.ExtendedKeyUsage)
    purposes = frozenset(extended or ())
    if lacking := rule.demanded - purposes:
        yield Finding(Mismatch.EXTENDED_KEY_USAGE, f"extendedKeyUsage lacks {_purposes(lacking)}")
    if foreign := purposes & rule.forbidden:
        yield Finding(
            Mismatch.EXTENDED_KEY_USAGE,
            f"extendedKeyUsage has {_purposes(foreign)}, which no {rule.noun} has",
        )
    if rule.sole and not (_critical(extensions, x509.ExtendedKeyUsage) and len(purposes) == 1):
        yield Finding(
            Mismatch.EXTENDED_KEY_USAGE,
            f"extendedKeyUsage is not critical or has more than {_purposes(rule.demanded)}",
        )


def _key_findings(certificate: x509.Certificate, rule: _Rule) -> Iterator[Finding]:
    try:
        key = certificate.public_key()
    except (ValueError, UnsupportedAlgorithm) as error:
        yield Finding(Mismatch.WEAK_KEY, f"the public key cannot be read: {_short(error)}")
        return
    match key:
        case ec.EllipticCurvePublicKey():
            if key.curve.name not in rule.curves:
                yield Finding(Mismatch.WEAK_KEY, f"no {rule.noun} is on curve {key.curve.name}")
        case rsa.RSAPublicKey():
            if not MIN_RSA_BITS <= key.key_size <= MAX_RSA_BITS:
                yield Finding(
                    Mismatch.WEAK_KEY,
                    f"RSA key of {key.key_size} bits, not {MIN_RSA_BITS} to {MAX_RSA_BITS}",
                )
        case ed25519.Ed25519PublicKey():
            pass
        case _:
            yield Finding(Mismatch.WEAK_KEY, "the public key is not EC, Ed25519 or RSA")


def _member_name(certificate: x509.Certificate, findings: list[Finding]) -> MemberId | None:
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
                f"organizationIdentifier {_short(given[0])} is not that of {member}",
            )
        )
    return member


def _server_name(certificate: x509.Certificate, findings: list[Finding]) -> ServerId | None:
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
            Finding(Mismatch.NAME_MALFORMED, f"{_short(uris[0])!r} is not urn:…:{kind}:…")
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
    return _extension(certificate.extensions, x509.SubjectAlternativeName)


def _extension(extensions: x509.Extensions, kind: type[_ExtensionT]) -> _ExtensionT | None:
    try:
        return extensions.get_extension_for_class(kind).value
    except x509.ExtensionNotFound:
        return None


def _critical(extensions: x509.Extensions, kind: type[x509.ExtensionType]) -> bool:
    try:
        return extensions.get_extension_for_class(kind).critical
    except x509.ExtensionNotFound:
        return False


def _refusal(certificate: x509.Certificate, findings: Sequence[Finding], rule: _Rule) -> Problem:
    only_time = all(finding.mismatch in _OF_TIME for finding in findings)
    reasons = list(dict.fromkeys(finding.mismatch.value for finding in findings))
    return Problem(
        rule.expired if only_time else rule.untrusted,
        where=fingerprint_of(certificate),
        detail=f"{rule.noun} {_subject(certificate)}: "
        + "; ".join(finding.detail for finding in findings),
        facts={"reasons": reasons, "certificate": fingerprint_of(certificate)},
    )


def _purposes(oids: frozenset[x509.ObjectIdentifier]) -> str:
    return ", ".join(sorted(_PURPOSE_NAMES.get(oid, oid.dotted_string) for oid in oids))


def _subject(certificate: x509.Certificate) -> str:
    try:
        return _short(certificate.subject.rfc4514_string())
    except ValueError:
        return "with an unreadable subject"


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= 200 else text[:199] + "…"
