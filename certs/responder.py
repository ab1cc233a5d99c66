"""An OCSP responder (RFC 6960) for development: a pure answer; :mod:`certs.services` serves it.

Invariants:
- a request is answered, be it with a refusal of RFC 6960 section 4.2.1; nothing raises;
- a certificate of another authority is *unknown*; of the own one, every serial number that is not
  revoked is *good*, since what was issued is not listed anywhere;
- a nonce comes back (RFC 9654); one answer speaks of one certificate.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp

from certs.issue import Issuer
from certs.revocation import Revoked

MAX_REQUEST_BYTES: Final = 4096
VALIDITY: Final = timedelta(hours=12)
_CERT_ID_HASHES: Final = (hashes.SHA1, hashes.SHA256, hashes.SHA384, hashes.SHA512)


def respond(
    request: bytes,
    authority: x509.Certificate,
    responder: Issuer,
    revoked: Sequence[Revoked],
    at: datetime,
    *,
    validity: timedelta | None = VALIDITY,
) -> bytes:
    """Answer an OCSPRequest with an OCSPResponse, both DER.

    Args:
        authority: whose certificates are asked about.
        responder: what signs: a certificate of the authority for OCSPSigning, with its key.
        at: the time of the answer.
        validity: until ``nextUpdate``; None leaves that out.
    """
    try:
        query = ocsp.load_der_ocsp_request(request)
        serial, algorithm = query.serial_number, query.hash_algorithm
        asked = (query.issuer_name_hash, query.issuer_key_hash)
        nonce = [each.value for each in query.extensions if isinstance(each.value, x509.OCSPNonce)]
    except (ValueError, TypeError, NotImplementedError, UnsupportedAlgorithm):
        return _refuse(ocsp.OCSPResponseStatus.MALFORMED_REQUEST)
    if (
        serial <= 0
        or not isinstance(algorithm, _CERT_ID_HASHES)
        or any(len(each) != algorithm.digest_size for each in asked)
    ):
        return _refuse(ocsp.OCSPResponseStatus.MALFORMED_REQUEST)
    moment = at.astimezone(UTC).replace(microsecond=0)
    row = next((each for each in revoked if each.serial == serial), None)
    status = ocsp.OCSPCertStatus.GOOD if row is None else ocsp.OCSPCertStatus.REVOKED
    if asked != _hashes_of(authority, algorithm):
        row, status = None, ocsp.OCSPCertStatus.UNKNOWN
    builder = (
        ocsp.OCSPResponseBuilder()
        .add_response_by_hash(
            issuer_name_hash=asked[0],
            issuer_key_hash=asked[1],
            serial_number=serial,
            algorithm=algorithm,
            cert_status=status,
            this_update=moment,
            next_update=None if validity is None else moment + validity,
            revocation_time=None if row is None else row.at,
            revocation_reason=None if row is None else row.reason,
        )
        .responder_id(ocsp.OCSPResponderEncoding.NAME, responder.certificate)
        .certificates([responder.certificate])
    )
    for value in nonce:
        builder = builder.add_extension(value, critical=False)
    key = responder.private_key
    signature = None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    return builder.sign(key, signature).public_bytes(Encoding.DER)


def _hashes_of(authority: x509.Certificate, algorithm: hashes.HashAlgorithm) -> tuple[bytes, bytes]:
    """Hashes of name and key of an authority, as requests about its certificates have them."""
    name = hashes.Hash(algorithm)
    name.update(authority.subject.public_bytes())
    # The library hashes keys for requests only.
    request = ocsp.OCSPRequestBuilder().add_certificate(authority, authority, algorithm).build()
    return name.finalize(), request.issuer_key_hash


def _refuse(status: ocsp.OCSPResponseStatus) -> bytes:
    return ocsp.OCSPResponseBuilder.build_unsuccessful(status).public_bytes(Encoding.DER)
