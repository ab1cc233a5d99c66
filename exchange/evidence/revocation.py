"""Revocation: asking about a certificate, and judging what an authority says of it.

An OCSP answer (RFC 6960) or a revocation list (CRL, RFC 5280 section 5) becomes a :class:`Finding`
only after everything was checked:

- it is about this certificate: name and key of its issuer, and its serial number;
- it is signed by the issuer itself, or by a responder whose certificate the issuer signed for
  OCSPSigning (RFC 6960 section 4.2.2.2), valid now;
- it speaks of now: ``thisUpdate`` is not to come and ``nextUpdate`` is not over, each with
  :data:`SKEW` of tolerance; without ``nextUpdate`` it is not older than :data:`MAX_AGE`;
- a list is whole: no delta, no indirect list, not for some reasons or for authorities only; one of
  several lists of an authority is the one that the certificate names (RFC 5280 section 6.3.3).

Requests name certificates by SHA-1, as RFC 5019 section 2.1.1 demands: it names, it proves nothing.
They carry no nonce: answers may be prepared ahead, and are bound to their time instead.

Not checked: whether the issuer itself is revoked; the registry says which authorities count.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from hashlib import sha256
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.x509 import ocsp
from cryptography.x509.oid import AuthorityInformationAccessOID, ExtendedKeyUsageOID

from exchange.certificates.reading import fingerprint_of, issued_by, parse_certificate
from exchange.problems import Code, Problem

MAX_OCSP_BYTES: Final = 64 << 10
MAX_CRL_BYTES: Final = 16 << 20
SKEW: Final = timedelta(minutes=5)
MAX_AGE: Final = timedelta(days=1)
MAX_URLS: Final = 4
_MAX_URL: Final = 300
# What the library raises from its lazy readers on bytes that are not what they should be.
_FOREIGN: Final = (
    ValueError,
    TypeError,
    UnsupportedAlgorithm,
    x509.DuplicateExtension,
    x509.InvalidVersion,
    x509.UnsupportedGeneralNameType,
)
_HASHES: Final = frozenset({"sha256", "sha384", "sha512"})


class Kind(StrEnum):
    """In which form an authority speaks of its certificates."""

    OCSP = "ocsp"
    CRL = "crl"


class Status(StrEnum):
    """What the authority says."""

    GOOD = "good"
    REVOKED = "revoked"


@dataclass(frozen=True, slots=True)
class Finding:
    """A checked statement about the certificate with this fingerprint.

    ``der`` is the statement as it came. ``revoked_at`` and ``reason`` (RFC 5280 section 5.3.1) are
    told of a revoked certificate, the reason as far as it is known.
    """

    certificate: str
    kind: Kind
    status: Status
    this_update: datetime
    next_update: datetime | None
    der: bytes
    revoked_at: datetime | None = None
    reason: str | None = None

    @property
    def digest(self) -> str:
        """What an entry of the journal commits to: the hex SHA-256 of ``der``."""
        return sha256(self.der).hexdigest()


@dataclass(frozen=True, slots=True)
class Sources:
    """Where a certificate says that its status can be asked."""

    ocsp: tuple[str, ...]
    crl: tuple[str, ...]


def sources_of(certificate: x509.Certificate) -> Sources:
    """The http addresses in a certificate, a few of each kind (RFC 5280, 4.2.1.13 and 4.2.2.1)."""
    responders: list[str] = []
    lists: list[str] = []
    for extension in certificate.extensions:
        value = extension.value
        if isinstance(value, x509.AuthorityInformationAccess):
            for description in value:
                if description.access_method == AuthorityInformationAccessOID.OCSP:
                    responders.extend(_addresses([description.access_location]))
        elif isinstance(value, x509.CRLDistributionPoints):
            for point in value:
                # A list for some reasons, or of another issuer, does not tell all.
                if point.reasons is None and point.crl_issuer is None:
                    lists.extend(_addresses(point.full_name or ()))
    return Sources(tuple(responders[:MAX_URLS]), tuple(lists[:MAX_URLS]))


def _addresses(names: Sequence[x509.GeneralName]) -> list[str]:
    return [
        name.value
        for name in names
        if isinstance(name, x509.UniformResourceIdentifier)
        and name.value.startswith(("http://", "https://"))
        and len(name.value) <= _MAX_URL
        and name.value.isascii()
    ]


def issuer_of(
    certificate: x509.Certificate, authorities: Sequence[x509.Certificate]
) -> x509.Certificate | None:
    """The authority that signed a certificate, among ``authorities``."""
    for authority in authorities:
        if authority.subject == certificate.issuer and issued_by(certificate, authority):
            return authority
    return None


def format_ocsp_request(certificate: x509.Certificate, issuer: x509.Certificate) -> bytes:
    """A request for the status of one certificate (OCSPRequest, DER)."""
    builder = ocsp.OCSPRequestBuilder().add_certificate(certificate, issuer, hashes.SHA1())  # noqa: S303
    return builder.build().public_bytes(serialization.Encoding.DER)


def check_ocsp(
    der: bytes, certificate: x509.Certificate, issuer: x509.Certificate, at: datetime
) -> Finding:
    """Judge an OCSP answer about ``certificate`` at the time ``at``.

    Raises:
        Problem: ``InvalidRevocationStatus`` at the part that is wrong; also when the responder
            refuses, or does not know the certificate.
    """
    if len(der) > MAX_OCSP_BYTES:
        raise _invalid("OCSP", f"longer than {MAX_OCSP_BYTES} bytes")
    try:
        answer = ocsp.load_der_ocsp_response(der)
        if answer.response_status is not ocsp.OCSPResponseStatus.SUCCESSFUL:
            raise _invalid("responseStatus", f"the responder says {answer.response_status.name}")
        # The library does not look at the number of unused bits in front of the signature, which no
        # signature covers: a second encoding of one answer would have another digest.
        if b"\0" + answer.signature not in der:
            raise _invalid("signature", "it is not a whole number of octets")
        _check_critical(answer.extensions, frozenset())
        _check_responder(answer, issuer, at)
        single = _single(answer, certificate, issuer)
        status = single.certificate_status
        if status is ocsp.OCSPCertStatus.UNKNOWN:
            raise _invalid("certStatus", "the responder does not know the certificate")
        reason = single.revocation_reason
        finding = Finding(
            certificate=fingerprint_of(certificate),
            kind=Kind.OCSP,
            status=Status.GOOD if status is ocsp.OCSPCertStatus.GOOD else Status.REVOKED,
            this_update=single.this_update_utc,
            next_update=single.next_update_utc,
            der=der,
            revoked_at=single.revocation_time_utc,
            reason=reason.value if reason is not None else None,
        )
    except _FOREIGN as error:
        raise _invalid("OCSP", "not an OCSPResponse in DER") from error
    except Problem as problem:
        raise _invalid(problem.where, problem.detail) from problem
    _check_time(finding, at)
    return finding


def _single(
    answer: ocsp.OCSPResponse, certificate: x509.Certificate, issuer: x509.Certificate
) -> ocsp.OCSPSingleResponse:
    for single in answer.responses:
        if single.serial_number != certificate.serial_number:
            continue
        # The request with this hash is the shortest way to the two hashes of the issuer.
        own = (
            ocsp.OCSPRequestBuilder()
            .add_certificate(certificate, issuer, single.hash_algorithm)
            .build()
        )
        if (single.issuer_name_hash, single.issuer_key_hash) == (
            own.issuer_name_hash,
            own.issuer_key_hash,
        ):
            return single
    raise _invalid("certID", "the answer is about other certificates")


def _check_responder(answer: ocsp.OCSPResponse, issuer: x509.Certificate, at: datetime) -> None:
    """The signature is the issuer's, or of a responder that the issuer made one."""
    if _is_named(answer, issuer) and _signed(answer, issuer):
        return
    for responder in answer.certificates[:MAX_URLS]:
        if not _is_named(answer, responder) or not issued_by(responder, issuer):
            continue
        parse_certificate(responder.public_bytes(serialization.Encoding.DER), "responder")
        try:
            usage = responder.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
        except x509.ExtensionNotFound:
            continue
        if ExtendedKeyUsageOID.OCSP_SIGNING not in usage:
            continue
        if not responder.not_valid_before_utc - SKEW <= at <= responder.not_valid_after_utc + SKEW:
            raise _invalid("responder", "the responder's certificate is not valid now")
        if _signed(answer, responder):
            return
    raise _invalid("signature", "it is not of the certificate's authority or a responder of it")


def _is_named(answer: ocsp.OCSPResponse, certificate: x509.Certificate) -> bool:
    if answer.responder_name is not None:
        return answer.responder_name == certificate.subject
    key = x509.SubjectKeyIdentifier.from_public_key(certificate.public_key())
    return answer.responder_key_hash == key.digest  # SHA-1 of the key (RFC 6960 section 4.2.1)


def _signed(answer: ocsp.OCSPResponse, certificate: x509.Certificate) -> bool:
    key, signature, data = certificate.public_key(), answer.signature, answer.tbs_response_bytes
    algorithm = answer.signature_hash_algorithm
    if algorithm is not None and algorithm.name not in _HASHES:
        return False
    try:
        if isinstance(key, ed25519.Ed25519PublicKey) and algorithm is None:
            key.verify(signature, data)
        elif isinstance(key, ec.EllipticCurvePublicKey) and algorithm is not None:
            key.verify(signature, data, ec.ECDSA(algorithm))
        elif isinstance(key, rsa.RSAPublicKey) and algorithm is not None:
            key.verify(signature, data, padding.PKCS1v15(), algorithm)
        else:
            return False
    except InvalidSignature:
        return False
    return True


def check_crl(
    der: bytes, certificate: x509.Certificate, issuer: x509.Certificate, at: datetime
) -> Finding:
    """Judge what a revocation list says of ``certificate`` at the time ``at``.

    Raises:
        Problem: ``InvalidRevocationStatus`` at the part that is wrong.
    """
    if len(der) > MAX_CRL_BYTES:
        raise _invalid("CRL", f"longer than {MAX_CRL_BYTES} bytes")
    try:
        crl = x509.load_der_x509_crl(der)
        _check_list(crl, issuer, certificate)
        revoked = crl.get_revoked_certificate_by_serial_number(certificate.serial_number)
        reason = None
        if revoked is not None:
            _check_critical(revoked.extensions, frozenset({x509.CRLReason}))
            reason = _reason(revoked.extensions)
        if reason is x509.ReasonFlags.remove_from_crl:
            raise _invalid("CRL", "it is a delta list")
        finding = Finding(
            certificate=fingerprint_of(certificate),
            kind=Kind.CRL,
            status=Status.GOOD if revoked is None else Status.REVOKED,
            this_update=crl.last_update_utc,
            next_update=crl.next_update_utc,
            der=der,
            revoked_at=None if revoked is None else revoked.revocation_date_utc,
            reason=None if reason is None else reason.value,
        )
    except _FOREIGN as error:
        raise _invalid("CRL", "not a CertificateList in DER") from error
    _check_time(finding, at)
    return finding


def _check_list(
    crl: x509.CertificateRevocationList, issuer: x509.Certificate, certificate: x509.Certificate
) -> None:
    algorithm = crl.signature_hash_algorithm
    key = issuer.public_key()
    if not isinstance(
        key, ec.EllipticCurvePublicKey | rsa.RSAPublicKey | ed25519.Ed25519PublicKey
    ) or (algorithm is not None and algorithm.name not in _HASHES):
        raise _invalid("signatureAlgorithm", "it is not accepted")
    if crl.issuer != issuer.subject or not crl.is_signature_valid(key):
        raise _invalid("signature", "it is not of the certificate's authority")
    try:
        usage = issuer.extensions.get_extension_for_class(x509.KeyUsage).value
    except x509.ExtensionNotFound:
        usage = None
    if usage is not None and not usage.crl_sign:
        raise _invalid("signature", "the authority's keyUsage lacks cRLSign")
    _check_critical(crl.extensions, frozenset({x509.IssuingDistributionPoint}))
    for extension in crl.extensions:
        point = extension.value
        if not isinstance(point, x509.IssuingDistributionPoint):
            continue
        if (
            point.indirect_crl
            or point.only_contains_ca_certs
            or point.only_contains_attribute_certs
            or point.only_some_reasons
        ):
            raise _invalid("issuingDistributionPoint", "the list does not tell all")
        if point.relative_name is not None or (
            point.full_name is not None and not {*point.full_name} & _points_of(certificate)
        ):
            raise _invalid("issuingDistributionPoint", "the list is of other certificates")


def _points_of(certificate: x509.Certificate) -> set[x509.GeneralName]:
    """The names of the lists that a certificate may be in."""
    try:
        points = certificate.extensions.get_extension_for_class(x509.CRLDistributionPoints).value
    except x509.ExtensionNotFound:
        return set()
    return {name for point in points for name in point.full_name or ()}


def _check_critical(
    extensions: x509.Extensions, known: frozenset[type[x509.ExtensionType]]
) -> None:
    for extension in extensions:
        if extension.critical and type(extension.value) not in known:
            raise _invalid("extensions", f"{extension.oid.dotted_string} is critical and unknown")


def _reason(extensions: x509.Extensions) -> x509.ReasonFlags | None:
    try:
        return extensions.get_extension_for_class(x509.CRLReason).value.reason
    except x509.ExtensionNotFound:
        return None


def _check_time(finding: Finding, at: datetime) -> None:
    begin, end = finding.this_update, finding.next_update
    if begin > at + SKEW:
        raise _invalid("thisUpdate", f"it is of {begin:%FT%TZ}, which is to come")
    if end is None and at > begin + MAX_AGE + SKEW:
        raise _invalid("thisUpdate", f"it is of {begin:%FT%TZ} and names no end")
    if end is not None and at > end + SKEW:
        raise _invalid("nextUpdate", f"it ended at {end:%FT%TZ}")


def _invalid(where: str, detail: str) -> Problem:
    return Problem(Code.INVALID_REVOCATION_STATUS, where=where, detail=detail)
