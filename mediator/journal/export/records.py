"""Checking the sealed part of one entry of an export: content, signature, signer, binding.

Everything takes files by name and raises a Problem at the file that is wrong.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256

import orjson
from cryptography import x509
from cryptography.x509 import ocsp

from exchange.certificates.judging import judge_seal
from exchange.evidence.revocation import check_crl, check_ocsp, issuer_of
from exchange.identifiers import MemberId
from exchange.journal import sealed_parts
from exchange.journal.entries import Entry, format_entry
from exchange.journal.sealed_parts import SealedPart
from exchange.keys import verifying_key
from exchange.messages.signature import parse_signature_base
from exchange.messages.signed import REQUEST_TAG
from exchange.problems import Code, Problem
from mediator.journal.export.contents import contents_of
from mediator.journal.verify.contents import check_part

_BOUND = ";req"
# What an authority said longer before a signature, or after it, says little of it.
_BEFORE, _AFTER = timedelta(days=7), timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Message:
    """A message whose signature was read: what it says of itself."""

    folder: str
    lines: Mapping[str, str]
    input: str
    keyid: str
    created: int
    is_request: bool


def check_ciphertext(entry: Entry, ciphertext: bytes, where: str) -> None:
    """Check a sealed part against the digest in its entry.

    Raises:
        Problem: ``JournalCorrupt``.
    """
    assert entry.sealed is not None  # noqa: S101  # the caller asked
    found = len(ciphertext), sha256(ciphertext).hexdigest()
    if found != (entry.sealed.size, entry.sealed.digest):
        raise Problem(
            Code.JOURNAL_CORRUPT, where=where, detail="another digest than the entry says"
        )


def open_record(
    entry: Entry, ciphertext: bytes, key: bytes, folder: str, take: Callable[[str], bytes]
) -> SealedPart:
    """Decrypt a sealed part with its record's key and compare it with the files beside it.

    Raises:
        Problem: ``SealedPartUnreadable``, ``JournalCorrupt``, ``DigestMismatch``.
    """
    assert entry.sealed is not None  # noqa: S101  # the caller asked
    where = f"{folder}/record.key"
    try:
        record_key = bytes.fromhex(key.decode("ascii"))
        if f"{record_key.hex()}\n".encode() != key:
            raise ValueError("another spelling")
    except ValueError as error:
        raise Problem(Code.SEALED_PART_UNREADABLE, where=where, detail="not a key") from error
    plaintext = sealed_parts.decrypt(ciphertext, record_key, entry.sealed.key)
    part = sealed_parts.parse_part(plaintext)
    check_part(part, orjson.loads(format_entry(entry)))
    for name, data in contents_of(part).items():
        if take(f"{folder}/{name}") != data:
            raise Problem(
                Code.JOURNAL_CORRUPT,
                where=f"{folder}/{name}",
                detail="is not what the sealed part holds",
            )
    return part


def read_message(part: SealedPart, folder: str) -> Message:
    """Read the signature base of a part.

    Raises:
        Problem: ``MalformedSignature``.
    """
    where = f"{folder}/base.txt"
    try:
        lines, member = parse_signature_base(part.base)
    except Problem as problem:
        raise Problem(problem.code, where=where, detail=problem.detail) from problem
    parameters = member.parameters
    created = parameters.get("created")
    return Message(
        folder,
        lines,
        member.text,
        str(parameters.get("keyid", "")),
        created if isinstance(created, int) else 0,
        parameters.get("tag") == REQUEST_TAG,
    )


def check_signature(message: Message, part: SealedPart, pem: bytes, where: str) -> x509.Certificate:
    """Check a signature with a certificate of the export.

    Raises:
        Problem: ``CertValidation`` or ``IncorrectCertificate`` at ``where``,
            ``InvalidSignatureValue`` at the signature.
    """
    try:
        certificate = x509.load_pem_x509_certificate(pem)
        key = verifying_key(certificate)
    except ValueError as error:
        raise Problem(
            Code.CERTIFICATE_UNTRUSTED, where=where, detail="not a PEM certificate"
        ) from error
    if key.keyid != message.keyid:
        raise Problem(Code.CERTIFICATE_MISMATCH, where=where, detail="has another fingerprint")
    try:
        key.verify(part.signature, part.base)
    except Problem as problem:
        raise Problem(
            problem.code, where=f"{message.folder}/signature.bin", detail=problem.detail
        ) from problem
    return certificate


def check_signer(
    message: Message,
    entry: Entry,
    certificate: x509.Certificate,
    authorities: Sequence[x509.Certificate],
    where: str,
) -> None:
    """Check that the signer is the party that the entry names, certified when it signed.

    Raises:
        Problem: ``IncorrectCertificate``, ``CertValidation`` or ``CertificateExpired``.
    """
    at = datetime.fromtimestamp(message.created, UTC)
    try:
        member = judge_seal(certificate, authorities, at)
    except Problem as problem:
        raise Problem(problem.code, where=where, detail=problem.detail) from problem
    expected = _party(entry, of_request=message.is_request)
    if expected is not None and member != expected:
        raise Problem(
            Code.CERTIFICATE_MISMATCH, where=where, detail=f"is of {member}, not of {expected}"
        )


def _party(entry: Entry, *, of_request: bool) -> MemberId | None:
    if of_request:
        return None if entry.client is None else entry.client.member
    return None if entry.service is None else entry.service.member


def check_statement(
    der: bytes,
    where: str,
    certificate: x509.Certificate,
    authorities: Sequence[x509.Certificate],
    signed_at: datetime,
) -> str | None:
    """Check what an authority said of a signer's certificate (OCSP answer or CRL).

    Returns:
        What is to be noted of its time; None when it is of the time of the signature.

    Raises:
        Problem: ``InvalidRevocationStatus`` when it is not the authority's word of it,
            ``CertificateRevoked`` when it was revoked before it signed; both at ``where``.
    """
    issuer = issuer_of(certificate, authorities)
    if issuer is None:
        return None  # the certificate itself is a finding then
    try:
        if where.endswith(".ocsp"):
            at = ocsp.load_der_ocsp_response(der).this_update_utc
            finding = check_ocsp(der, certificate, issuer, at)
        else:
            at = x509.load_der_x509_crl(der).last_update_utc
            finding = check_crl(der, certificate, issuer, at)
    except ValueError as error:
        raise Problem(
            Code.INVALID_REVOCATION_STATUS, where=where, detail="cannot be read"
        ) from error
    except Problem as problem:
        raise Problem(problem.code, where=where, detail=problem.detail) from problem
    if finding.revoked_at is not None and finding.revoked_at <= signed_at:
        raise Problem(
            Code.CERTIFICATE_REVOKED,
            where=where,
            detail=f"the certificate was revoked at {finding.revoked_at:%FT%TZ}, before it signed",
        )
    if not signed_at - _BEFORE <= finding.this_update <= signed_at + _AFTER:
        return (
            f"{where}: is of {finding.this_update:%FT%TZ}, more than a day after, or a week before "
            "the signature"
        )
    return None


def check_binding(answer: Message, requests: Sequence[Message]) -> bool:
    """Whether one of the requests is what an answer answers; False when it is not here.

    Raises:
        Problem: ``InconsistentResponse`` when the answer repeats the request wrongly.
    """
    bound = {
        name.removesuffix(_BOUND): value
        for name, value in answer.lines.items()
        if name.endswith(_BOUND)
    }
    named = bound.pop('"signature-input"', "").partition("=")[2]
    found = [request for request in requests if request.input == named]
    for request in found:
        if any(request.lines.get(name) != value for name, value in bound.items()):
            raise Problem(
                Code.INCONSISTENT_RESPONSE,
                where=f"{answer.folder}/base.txt",
                detail=f"says other things of its request than {request.folder}",
            )
    return bool(found)
