"""Certificates of seals, servers and time-stamp authorities, judged at a given time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID as Purpose

from exchange.certificates.chains import chain_findings
from exchange.certificates.names import member_name, server_name
from exchange.certificates.reading import extension, is_critical, short
from exchange.certificates.rules import (
    AUTH,
    SEAL,
    TSA,
    Finding,
    Mismatch,
    Rule,
    refusal,
    refuse_unreadable,
)
from exchange.identifiers import MemberId, ServerId
from exchange.keys import MAX_RSA_BITS, MIN_RSA_BITS


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
    findings = _findings(certificate, authorities, at, SEAL)
    member = member_name(certificate, findings)
    if member is None or findings:
        raise refusal(certificate, findings, SEAL)
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
    findings = _findings(certificate, authorities, at, AUTH)
    server = server_name(certificate, findings)
    if server is None or findings:
        raise refusal(certificate, findings, AUTH)
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
    findings = _findings(certificate, authorities, at, TSA)
    if findings:
        raise refusal(certificate, findings, TSA)


def _findings(
    certificate: x509.Certificate,
    authorities: Sequence[x509.Certificate],
    at: datetime,
    rule: Rule,
) -> list[Finding]:
    refuse_unreadable(certificate, rule)
    findings = chain_findings(certificate, authorities, at)
    findings.extend(_usage_findings(certificate.extensions, rule))
    findings.extend(_key_findings(certificate, rule))
    return findings


def _usage_findings(extensions: x509.Extensions, rule: Rule) -> Iterator[Finding]:
    constraints = extension(extensions, x509.BasicConstraints)
    if constraints is not None and constraints.ca:
        yield Finding(Mismatch.IS_AUTHORITY, "it is a certificate authority's own certificate")
    usage = extension(extensions, x509.KeyUsage)
    if usage is None or not usage.digital_signature:
        yield Finding(Mismatch.KEY_USAGE, "keyUsage lacks digitalSignature")
    elif rule.non_repudiation not in {None, usage.content_commitment}:
        verb = "lacks" if rule.non_repudiation else "has"
        yield Finding(Mismatch.KEY_USAGE, f"keyUsage {verb} nonRepudiation")
    if usage is not None and (usage.key_cert_sign or usage.crl_sign):
        yield Finding(Mismatch.KEY_USAGE, "keyUsage has keyCertSign or cRLSign")
    extended = extension(extensions, x509.ExtendedKeyUsage)
    purposes = frozenset(extended or ())
    if lacking := rule.demanded - purposes:
        yield Finding(Mismatch.EXTENDED_KEY_USAGE, f"extendedKeyUsage lacks {_purposes(lacking)}")
    if foreign := purposes & rule.forbidden:
        yield Finding(
            Mismatch.EXTENDED_KEY_USAGE,
            f"extendedKeyUsage has {_purposes(foreign)}, which no {rule.noun} has",
        )
    if rule.sole and not (is_critical(extensions, x509.ExtendedKeyUsage) and len(purposes) == 1):
        yield Finding(
            Mismatch.EXTENDED_KEY_USAGE,
            f"extendedKeyUsage is not critical or has more than {_purposes(rule.demanded)}",
        )


def _key_findings(certificate: x509.Certificate, rule: Rule) -> Iterator[Finding]:
    try:
        key = certificate.public_key()
    except (ValueError, UnsupportedAlgorithm) as error:
        yield Finding(Mismatch.WEAK_KEY, f"the public key cannot be read: {short(error)}")
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


_PURPOSE_NAMES: Final = {
    Purpose.SERVER_AUTH: "serverAuth",
    Purpose.CLIENT_AUTH: "clientAuth",
    Purpose.TIME_STAMPING: "timeStamping",
    Purpose.OCSP_SIGNING: "OCSPSigning",
    Purpose.ANY_EXTENDED_KEY_USAGE: "anyExtendedKeyUsage",
}


def _purposes(oids: frozenset[x509.ObjectIdentifier]) -> str:
    return ", ".join(sorted(_PURPOSE_NAMES.get(oid, oid.dotted_string) for oid in oids))
