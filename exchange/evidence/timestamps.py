"""RFC 3161 time-stamps: asking for one, and checking one with nothing but files.

Invariants:
- a :class:`Timestamp` exists only after everything was checked: the imprint is that of the given
  digest, the nonce is the one asked with, the CMS signature is over exactly this statement
  (RFC 5652 section 5.4), the signing certificate is bound by ESSCertID (RFC 5816), it is a
  time-stamp certificate, and its chain ends at a listed authority;
- the certificate is judged at the time that the token states: a token outlives its certificate;
- imprints are SHA-256; signatures are ECDSA or RSA (PKCS #1 v1.5) with SHA-256, 384 or 512.

Not checked: revocation of the authority's certificate, and whether the policy suits.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import new as new_hash
from typing import Any, ClassVar, Final

from asn1crypto import cms, tsp
from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding

from exchange.certificates.judging import judge_tsa
from exchange.certificates.reading import parse_certificate
from exchange.problems import Code, Problem

MAX_TOKEN_BYTES: Final = 64 * 1024
MAX_NONCE: Final = 2**128
_MAX_CERTIFICATES: Final = 16
_HASHES: Final[dict[str, hashes.HashAlgorithm]] = {
    "sha256": hashes.SHA256(),
    "sha384": hashes.SHA384(),
    "sha512": hashes.SHA512(),
}
_GRANTED: Final = frozenset({"granted", "granted_with_mods"})
# What asn1crypto raises from its lazy readers on bytes that are not what they should be.
_FOREIGN: Final = (ValueError, TypeError, KeyError, IndexError, AttributeError, OverflowError)


class TimeStampResponse(tsp.TimeStampResp):  # type: ignore[misc]  # the library has no types
    """TimeStampResp of RFC 3161 section 2.4.2, whose token is optional; the library forgot that."""

    _fields: ClassVar[list[Any]] = [  # the library writes into the list
        ("status", tsp.PKIStatusInfo),
        ("time_stamp_token", cms.ContentInfo, {"optional": True}),
    ]


@dataclass(frozen=True, slots=True)
class Timestamp:
    """A checked time-stamp.

    ``accuracy_s`` is how far ``time`` may be off to either side; None when the authority does
    not say. ``policy`` is a dotted object identifier.
    """

    time: datetime
    accuracy_s: float | None
    serial: int
    policy: str
    certificate: x509.Certificate


@dataclass(frozen=True, slots=True)
class _Token:
    """What a token says, nothing of it checked."""

    statement: bytes
    imprint_algorithm: str
    imprint: bytes
    nonce: int | None
    time: datetime
    accuracy_s: float | None
    serial: int
    policy: str
    content_types: list[str]
    message_digests: list[bytes]
    digest_algorithm: str
    signed_attributes: bytes
    signature_kind: str
    signature_hash: str
    signature: bytes
    signing_certificates: list[tuple[str, bytes]]
    signer: tuple[bytes, int] | bytes
    certificates: tuple[x509.Certificate, ...]


def format_request(digest: bytes, nonce: int, *, certificate: bool = True) -> bytes:
    """A request to stamp a SHA-256 digest (TimeStampReq, DER).

    Args:
        nonce: at least 64 random bits of the caller's; comes back in the token.
        certificate: ask for the authority's certificate inside the token.
    """
    if len(digest) != 32:
        raise ValueError("a SHA-256 digest has 32 bytes")
    if not 0 < nonce < MAX_NONCE:
        raise ValueError("a nonce is from 1 to 2**128 - 1")
    der: bytes = tsp.TimeStampReq(
        {
            "version": "v1",
            "message_imprint": {
                "hash_algorithm": {"algorithm": "sha256"},
                "hashed_message": digest,
            },
            "nonce": nonce,
            "cert_req": certificate,
        }
    ).dump()
    return der


def open_response(response: bytes) -> bytes:
    """The token inside a TimeStampResp, not yet checked.

    Raises:
        Problem: ``INVALID_TIMESTAMP`` when the authority refused (its reason in ``facts``) or the
            response cannot be read.
    """
    if len(response) > MAX_TOKEN_BYTES:
        raise _invalid("response", f"longer than {MAX_TOKEN_BYTES} bytes")
    try:
        parsed = TimeStampResponse.load(response, strict=True)
        status = str(parsed["status"]["status"].native)
        failures = sorted(parsed["status"]["fail_info"].native or ())
        token: bytes = parsed["time_stamp_token"].dump() if status in _GRANTED else b""
    except _FOREIGN as error:
        raise _invalid("response", "not a TimeStampResp in DER") from error
    if status not in _GRANTED:
        raise Problem(
            Code.INVALID_TIMESTAMP,
            where="response",
            detail=f"the authority answered {status}: {', '.join(failures) or 'no reason given'}",
            facts={"status": status, "failures": failures},
        )
    return token


def check_token(
    token: bytes,
    digest: bytes,
    authorities: Sequence[x509.Certificate],
    *,
    nonce: int | None = None,
    certificates: Sequence[x509.Certificate] = (),
) -> Timestamp:
    """Check a time-stamp token over a SHA-256 digest.

    Args:
        token: the CMS ContentInfo in DER, as :func:`open_response` gives it.
        digest: the SHA-256 that was to be stamped.
        authorities: certificates of the trusted authorities, roots and links.
        nonce: the one of the request; None checks a stored token without it.
        certificates: time-stamp certificates to look at besides those in the token.

    Raises:
        Problem: ``INVALID_TIMESTAMP`` at the part of the token that is wrong.
    """
    said, stamp = _read_whole(token, digest, nonce, certificates)
    judge_tsa(stamp.certificate, authorities, said.time)
    return stamp


def check_whole(token: bytes, digest: bytes) -> Timestamp:
    """Check that a kept token is over a SHA-256 digest and as it was signed.

    Not checked: by whom. The certificate is the one that the token brings along.

    Raises:
        Problem: ``INVALID_TIMESTAMP`` at the part of the token that is wrong.
    """
    return _read_whole(token, digest, None, ())[1]


def _read_whole(
    token: bytes, digest: bytes, nonce: int | None, certificates: Sequence[x509.Certificate]
) -> tuple[_Token, Timestamp]:
    said = _parse(token)
    if said.imprint_algorithm != "sha256" or said.imprint != digest:
        raise _invalid("messageImprint", "the token stamps other data")
    if nonce is not None and said.nonce != nonce:
        raise _invalid("nonce", "the token answers another request")
    if said.content_types != ["tst_info"]:
        raise _invalid("signedAttrs", "contentType is not id-ct-TSTInfo, once")
    if said.digest_algorithm not in _HASHES or said.message_digests != [
        new_hash(said.digest_algorithm, said.statement).digest()
    ]:
        raise _invalid("signedAttrs", "messageDigest is not the SHA-2 of the statement, once")
    certificate = _signer(said, (*said.certificates, *certificates))
    _check_signature(said, certificate)
    stamp = Timestamp(said.time, said.accuracy_s, said.serial, said.policy, certificate)
    return said, stamp


def _parse(token: bytes) -> _Token:
    if len(token) > MAX_TOKEN_BYTES:
        raise _invalid("token", f"longer than {MAX_TOKEN_BYTES} bytes")
    try:
        content = cms.ContentInfo.load(token, strict=True)
        if content["content_type"].native != "signed_data":
            raise _invalid("token", "it is not CMS SignedData")
        signed = content["content"]
        if len(signed["signer_infos"]) != 1:
            raise _invalid("signerInfos", "there must be exactly one")
        return _read(signed, signed["signer_infos"][0])
    except _FOREIGN as error:
        raise _invalid("token", "not a time-stamp token in DER") from error
    except Problem as problem:
        raise _invalid(problem.where, problem.detail) from problem


def _read(signed: Any, signer: Any) -> _Token:
    capsule = signed["encap_content_info"]
    if capsule["content_type"].native != "tst_info":
        raise _invalid("eContentType", "it is not id-ct-TSTInfo")
    statement = bytes(capsule["content"])
    info = tsp.TSTInfo.load(statement, strict=True)
    imprint = info["message_imprint"]
    attributes: dict[str, Any] = {}
    for attribute in signer["signed_attrs"]:
        name = str(attribute["type"].native)
        if name in attributes:
            raise _invalid("signedAttrs", f"{name} comes twice")
        attributes[name] = attribute["values"]
    algorithm = signer["signature_algorithm"]
    digest_algorithm = str(signer["digest_algorithm"]["algorithm"].native)
    kind = str(algorithm.signature_algo)
    # rsaEncryption names no hash: then it is that of the digest (RFC 3370 section 3.2).
    named = algorithm["algorithm"].native not in {"rsassa_pkcs1v15", "rsa"}
    return _Token(
        statement=statement,
        imprint_algorithm=str(imprint["hash_algorithm"]["algorithm"].native),
        imprint=bytes(imprint["hashed_message"].native),
        nonce=info["nonce"].native,
        time=info["gen_time"].native.astimezone(UTC),
        accuracy_s=_accuracy(info["accuracy"]),
        serial=int(info["serial_number"].native),
        policy=str(info["policy"].dotted),
        content_types=[value.native for value in attributes.get("content_type", ())],
        message_digests=[value.native for value in attributes.get("message_digest", ())],
        digest_algorithm=digest_algorithm,
        signed_attributes=signer["signed_attrs"].untag().dump(),
        signature_kind=kind,
        signature_hash=str(algorithm.hash_algo) if named else digest_algorithm,
        signature=bytes(signer["signature"].native),
        signing_certificates=_signing_certificates(attributes),
        signer=_signer_id(signer["sid"]),
        certificates=_certificates(signed["certificates"]),
    )


def _accuracy(accuracy: Any) -> float | None:
    if accuracy.native is None:
        return None
    parts = [(accuracy[name].native or 0) for name in ("seconds", "millis", "micros")]
    return float(parts[0] + parts[1] / 1e3 + parts[2] / 1e6)


def _signing_certificates(attributes: dict[str, Any]) -> list[tuple[str, bytes]]:
    """The hash of the signer's certificate, from ESSCertID and ESSCertIDv2: the first of each."""
    found: list[tuple[str, bytes]] = []
    for value in attributes.get("signing_certificate", ()):
        found.append(("sha1", bytes(value["certs"][0]["cert_hash"].native)))
    for value in attributes.get("signing_certificate_v2", ()):
        first = value["certs"][0]
        name = str(first["hash_algorithm"]["algorithm"].native)
        found.append((name, bytes(first["cert_hash"].native)))
    return found


def _signer_id(sid: Any) -> tuple[bytes, int] | bytes:
    if sid.name == "issuer_and_serial_number":
        return sid.chosen["issuer"].dump(), int(sid.chosen["serial_number"].native)
    return bytes(sid.chosen.native)


def _certificates(choices: Any) -> tuple[x509.Certificate, ...]:
    if choices.native is None:
        return ()
    if len(choices) > _MAX_CERTIFICATES:
        raise _invalid("certificates", f"more than {_MAX_CERTIFICATES}")
    return tuple(
        parse_certificate(choice.chosen.dump(), "certificates")
        for choice in choices
        if choice.name == "certificate"
    )


def _signer(said: _Token, certificates: Sequence[x509.Certificate]) -> x509.Certificate:
    for certificate in certificates:
        if _is_signer(said.signer, certificate):
            break
    else:
        raise _invalid("signerInfo", "the signer's certificate is not in the token nor given")
    der = certificate.public_bytes(Encoding.DER)
    if not said.signing_certificates:
        raise _invalid("signedAttrs", "signingCertificate is missing")
    for name, value in said.signing_certificates:
        if name not in {"sha1", *_HASHES} or new_hash(name, der).digest() != value:
            raise _invalid("signedAttrs", "signingCertificate is another certificate")
    return certificate


def _is_signer(signer: tuple[bytes, int] | bytes, certificate: x509.Certificate) -> bool:
    if isinstance(signer, tuple):
        return signer == (certificate.issuer.public_bytes(), certificate.serial_number)
    try:
        extension = certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier)
    except (ValueError, x509.ExtensionNotFound, x509.DuplicateExtension):
        return False
    return extension.value.digest == signer


def _check_signature(said: _Token, certificate: x509.Certificate) -> None:
    algorithm = _HASHES.get(said.signature_hash)
    if algorithm is None:
        raise _invalid("signatureAlgorithm", f"{said.signature_hash} is not accepted")
    try:
        key = certificate.public_key()
        if isinstance(key, ec.EllipticCurvePublicKey) and said.signature_kind == "ecdsa":
            key.verify(said.signature, said.signed_attributes, ec.ECDSA(algorithm))
        elif isinstance(key, rsa.RSAPublicKey) and said.signature_kind == "rsassa_pkcs1v15":
            key.verify(said.signature, said.signed_attributes, padding.PKCS1v15(), algorithm)
        else:
            raise _invalid("signatureAlgorithm", "it is not ECDSA or RSA PKCS #1, as the key is")
    except (InvalidSignature, ValueError, UnsupportedAlgorithm) as error:
        raise _invalid("signature", "it is not the authority's over this statement") from error


def _invalid(where: str, detail: str) -> Problem:
    return Problem(Code.INVALID_TIMESTAMP, where=where, detail=detail)
