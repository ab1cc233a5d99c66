"""CAdES signatures over a file that stays beside them (ETSI EN 319 122-1, levels B-B and B-T).

Invariants:
- a signature is CMS SignedData (RFC 5652) without content, by one signer, with the signed
  attributes content-type, message-digest, signing-time and signing-certificate-v2, each once;
  level B-T has one unsigned attribute, an RFC 3161 token over the signature value;
- it has one spelling: what :func:`open_signature` would not print again is refused, so that no byte
  of it can be changed unnoticed but inside a token;
- the algorithm follows from the key (:mod:`exchange.keys`): ECDSA with SHA-256, RSA-PSS and Ed25519
  with SHA-512;
- the signer's certificate is judged at the time of the token, which others vouch for; without a
  token at the time that the signer states.

Not checked: revocation of the signer's certificate.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import new as new_hash
from hashlib import sha256
from typing import Any, Final

from asn1crypto import algos, cms, core, tsp
from asn1crypto import x509 as asn1_x509
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding

from exchange.certificates.judging import judge_seal
from exchange.certificates.reading import parse_certificate
from exchange.evidence.timestamps import MAX_TOKEN_BYTES, Timestamp, check_token
from exchange.identifiers import MemberId
from exchange.keys import Algorithm, SigningKey, VerifyingKey, der_of_raw, verifying_key
from exchange.problems import Code, Problem

MAX_SIGNATURE_BYTES: Final = 4 * MAX_TOKEN_BYTES
_MAX_CERTIFICATES: Final = 16
_DIGESTS: Final = {
    Algorithm.ECDSA_P256_SHA256: "sha256",
    Algorithm.ED25519: "sha512",
    Algorithm.RSA_PSS_SHA512: "sha512",
}
# What asn1crypto raises from its lazy readers on bytes that are not what they should be.
_FOREIGN: Final = (ValueError, TypeError, KeyError, IndexError, AttributeError, OverflowError)


@dataclass(frozen=True, slots=True)
class Cades:
    """A checked signature: who signed, when by the signer's clock, and when at the latest."""

    member: MemberId
    certificate: x509.Certificate
    signed_at: datetime
    timestamp: Timestamp | None

    @property
    def level(self) -> str:
        """The level of EN 319 122-1 section 6."""
        return "CAdES-B-B" if self.timestamp is None else "CAdES-B-T"


@dataclass(frozen=True, slots=True)
class _Parts:
    """What a signature is made of."""

    algorithm: Algorithm
    certificate: bytes
    issuers: tuple[bytes, ...]
    attributes: bytes
    signature: bytes
    token: bytes | None


def sign(
    content: bytes,
    key: SigningKey,
    certificate: x509.Certificate,
    issuers: Sequence[x509.Certificate],
    at: datetime,
) -> bytes:
    """Sign a file: level B-B, in DER.

    Args:
        key: the private key of ``certificate``.
        issuers: the authorities above the certificate; they go into the signature.
        at: the present.
    """
    der = certificate.public_bytes(Encoding.DER)
    attributes = _attributes(content, _DIGESTS[key.algorithm], der, at)
    signature = key.sign(attributes)
    if key.algorithm is Algorithm.ECDSA_P256_SHA256:
        signature = der_of_raw(signature)
    above = tuple(issuer.public_bytes(Encoding.DER) for issuer in issuers)
    return _format(_Parts(key.algorithm, der, above, attributes, signature, None))


def signature_value(cades: bytes) -> bytes:
    """The signature value: what a time-stamp for level B-T is over.

    Raises:
        Problem: ``InvalidDocument``.
    """
    return _parse(cades).signature


def with_token(cades: bytes, token: bytes) -> bytes:
    """The signature with a time-stamp token over its value: level B-T.

    Raises:
        Problem: ``InvalidDocument``.
    """
    found = _parse(cades)
    return _format(
        _Parts(
            found.algorithm,
            found.certificate,
            found.issuers,
            found.attributes,
            found.signature,
            token,
        )
    )


def open_signature(
    cades: bytes, content: bytes, authorities: Sequence[x509.Certificate], where: str = "signature"
) -> Cades:
    """Check a signature over ``content``.

    Args:
        authorities: the trusted authorities, of seals and of time-stamps, roots and links.
        where: for problems.

    Raises:
        Problem: ``InvalidDocument`` for what is no such signature, ``InvalidSignatureValue`` when
            it is not over this content by this certificate, ``InvalidTimestamp``, or what
            :func:`~exchange.certificates.judging.judge_seal` says of the certificate.
    """
    found = _parse(cades, where)
    certificate = parse_certificate(found.certificate, where)
    key = verifying_key(certificate)
    digest = _DIGESTS[found.algorithm]
    signed_at = _signing_time(found.attributes, where)
    if key.algorithm is not found.algorithm:
        raise _refuse(where, f"the algorithm is not that of the key, {key.algorithm.value}")
    if found.attributes != _attributes(content, digest, found.certificate, signed_at):
        raise Problem(
            Code.INVALID_SIGNATURE,
            where=where,
            detail="the signed attributes are not those of this content and this certificate",
        )
    try:
        key.verify(_raw(found.signature, key), found.attributes)
    except Problem as problem:
        raise Problem(problem.code, where=where, detail=problem.detail) from problem
    known = {authority.public_bytes(Encoding.DER) for authority in authorities}
    if not known.issuperset(found.issuers):
        raise _refuse(where, "it holds a certificate of an authority that is not trusted")
    timestamp = None
    if found.token is not None:
        timestamp = check_token(found.token, sha256(found.signature).digest(), authorities)
        _check_company(found.token, timestamp.certificate, known, where)
    at = signed_at if timestamp is None else timestamp.time
    try:
        member = judge_seal(certificate, authorities, at)
    except Problem as problem:
        raise Problem(problem.code, where=where, detail=problem.detail) from problem
    return Cades(member, certificate, signed_at, timestamp)


def _check_company(token: bytes, signer: x509.Certificate, known: set[bytes], where: str) -> None:
    """Refuse a token with more in it than its statement, its signer and trusted authorities.

    No signature covers this frame of a token, so what is not needed must not be there.
    """
    signed = cms.ContentInfo.load(token)["content"]
    brought = {choice.chosen.dump() for choice in signed["certificates"]}
    if not brought <= known | {signer.public_bytes(Encoding.DER)}:
        raise _refuse(where, "its time-stamp holds a certificate that is not trusted")
    (info,) = signed["signer_infos"]
    digests = [each.dump() for each in signed["digest_algorithms"]]
    if signed["version"].native != "v3" or digests != [info["digest_algorithm"].dump()]:
        raise _refuse(where, "its time-stamp is not framed as RFC 3161 demands")


def _attributes(content: bytes, digest: str, certificate: bytes, at: datetime) -> bytes:
    """The signed attributes, a SET in DER: what is signed (RFC 5652 section 5.4)."""
    moment = at.astimezone(UTC).replace(microsecond=0)
    values: list[tuple[str, Any]] = [
        ("content_type", "data"),
        ("message_digest", new_hash(digest, content).digest()),
        ("signing_time", cms.Time({"utc_time": core.UTCTime(moment)})),
        (
            "signing_certificate_v2",
            tsp.SigningCertificateV2(
                {"certs": [tsp.ESSCertIDv2({"cert_hash": sha256(certificate).digest()})]}
            ),
        ),
    ]
    der: bytes = cms.CMSAttributes(
        [cms.CMSAttribute({"type": name, "values": [value]}) for name, value in values]
    ).dump()
    return der


def _format(parts: _Parts) -> bytes:
    digest = algos.DigestAlgorithm({"algorithm": _DIGESTS[parts.algorithm]})
    own = asn1_x509.Certificate.load(parts.certificate)
    signer: dict[str, Any] = {
        "version": "v1",
        "sid": cms.SignerIdentifier(
            {
                "issuer_and_serial_number": cms.IssuerAndSerialNumber(
                    {"issuer": own.issuer, "serial_number": own.serial_number}
                )
            }
        ),
        "digest_algorithm": digest,
        "signed_attrs": cms.CMSAttributes.load(parts.attributes),
        "signature_algorithm": _signature_algorithm(parts.algorithm),
        "signature": parts.signature,
    }
    if parts.token is not None:
        token = cms.ContentInfo.load(parts.token)
        signer["unsigned_attrs"] = [
            cms.CMSAttribute({"type": "signature_time_stamp_token", "values": [token]})
        ]
    ders = sorted({parts.certificate, *parts.issuers})
    signed = cms.SignedData(
        {
            "version": "v1",
            "digest_algorithms": [digest],
            "encap_content_info": {"content_type": "data"},
            "certificates": [asn1_x509.Certificate.load(each) for each in ders],
            "signer_infos": [cms.SignerInfo(signer)],
        }
    )
    der: bytes = cms.ContentInfo({"content_type": "signed_data", "content": signed}).dump()
    return der


def _signature_algorithm(algorithm: Algorithm) -> cms.SignedDigestAlgorithm:
    if algorithm is Algorithm.ECDSA_P256_SHA256:
        return cms.SignedDigestAlgorithm({"algorithm": "sha256_ecdsa"})
    if algorithm is Algorithm.ED25519:
        return cms.SignedDigestAlgorithm({"algorithm": "ed25519"})
    digest = {"algorithm": "sha512"}
    mask = {"algorithm": "mgf1", "parameters": digest}
    parameters = algos.RSASSAPSSParams(
        {"hash_algorithm": digest, "mask_gen_algorithm": mask, "salt_length": 64}
    )
    return cms.SignedDigestAlgorithm({"algorithm": "rsassa_pss", "parameters": parameters})


def _parse(cades: bytes, where: str = "signature") -> _Parts:
    if len(cades) > MAX_SIGNATURE_BYTES:
        raise _refuse(where, f"longer than {MAX_SIGNATURE_BYTES} bytes")
    try:
        parts = _read(cms.ContentInfo.load(cades, strict=True)["content"])
        printed = _format(parts)
    except _FOREIGN as error:
        raise _refuse(where, "not a CAdES signature in DER") from error
    if printed != cades:
        raise _refuse(where, "not a CAdES signature of our profile in its one spelling")
    return parts


def _read(signed: Any) -> _Parts:
    signer = signed["signer_infos"][0]
    ders = [choice.chosen.dump() for choice in signed["certificates"]]
    if len(ders) > _MAX_CERTIFICATES:
        raise ValueError("too many certificates")
    named = signer["sid"].chosen
    (own,) = [
        der
        for der in ders
        if (each := asn1_x509.Certificate.load(der)).serial_number == named["serial_number"].native
        and each.issuer.dump() == named["issuer"].dump()
    ]
    unsigned = signer["unsigned_attrs"]
    return _Parts(
        _ALGORITHMS[signer["signature_algorithm"]["algorithm"].native],
        own,
        tuple(der for der in ders if der != own),
        signer["signed_attrs"].untag().dump(),
        bytes(signer["signature"].native),
        unsigned[0]["values"][0].dump() if unsigned.native else None,
    )


_ALGORITHMS: Final = {
    "sha256_ecdsa": Algorithm.ECDSA_P256_SHA256,
    "ed25519": Algorithm.ED25519,
    "rsassa_pss": Algorithm.RSA_PSS_SHA512,
}


def _signing_time(attributes: bytes, where: str) -> datetime:
    try:
        for attribute in cms.CMSAttributes.load(attributes):
            if attribute["type"].native == "signing_time":
                moment: datetime = attribute["values"][0].native
                return moment.astimezone(UTC)
    except _FOREIGN as error:
        raise _refuse(where, "the signing time cannot be read") from error
    raise _refuse(where, "no signing time")


def _raw(signature: bytes, key: VerifyingKey) -> bytes:
    """The signature in the form of RFC 9421, in which our keys verify."""
    if key.algorithm is not Algorithm.ECDSA_P256_SHA256:
        return signature
    try:
        r, s = decode_dss_signature(signature)
        return r.to_bytes(32, "big") + s.to_bytes(32, "big")
    except (ValueError, OverflowError):
        return b""


def _refuse(where: str, detail: str) -> Problem:
    return Problem(Code.INVALID_DOCUMENT, where=where, detail=detail)
