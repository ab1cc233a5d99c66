"""A time-stamp authority (RFC 3161) for development: a pure answer, and an HTTP handler for it.

Invariants:
- a request is answered with a token or with a refusal and its PKIFailureInfo; nothing raises;
- the ``certificates`` SET is sorted as DER demands (X.690 section 11.6), because strict clients
  refuse tokens in which it is not;
- serial numbers are the caller's and must never repeat.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any, Final

from aiohttp import web
from asn1crypto import algos, cms, core, tsp
from asn1crypto import x509 as asn1_x509
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding

from exchange.evidence.timestamps import TimeStampResponse
from serving.clock import Clock

POLICY: Final = "2.25.231473119421356104284160158926327512173"
"""The development policy: an identifier from a UUID (X.667), nobody's policy but this one."""

ACCURACY_S: Final = 1
MAX_REQUEST_BYTES: Final = 4096
_IMPRINTS: Final = {"sha256": 32, "sha384": 48, "sha512": 64}

StamperKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class _Refusal(Exception):
    """A request that gets no token; the argument is the name of the PKIFailureInfo bit."""


def respond(
    request: bytes,
    key: StamperKey,
    certificate: x509.Certificate,
    chain: Sequence[x509.Certificate],
    at: datetime,
    serial: int,
) -> bytes:
    """Answer a TimeStampReq with a TimeStampResp, both DER.

    Args:
        key: P-256, P-384 or RSA; ``openssl ts`` knows no Ed25519.
        chain: authorities above ``certificate`` to send along when certificates are asked for.
        at: the time to certify, aware.
        serial: never used before.
    """
    try:
        query = _query(request)
    except _Refusal as refusal:
        return _refuse(str(refusal))
    statement: dict[str, Any] = {
        "version": "v1",
        "policy": POLICY,
        "message_imprint": query["message_imprint"],
        "serial_number": serial,
        "gen_time": at.astimezone(UTC).replace(microsecond=0),
        "accuracy": {"seconds": ACCURACY_S},
    }
    if query["nonce"].native is not None:
        statement["nonce"] = query["nonce"]
    certificates = [certificate, *chain] if query["cert_req"].native else []
    token = _sign(_der(tsp.TSTInfo(statement)), key, certificate, certificates)
    return _der(TimeStampResponse({"status": {"status": "granted"}, "time_stamp_token": token}))


def stamper_handler(
    key: StamperKey,
    certificate: x509.Certificate,
    chain: Sequence[x509.Certificate],
    clock: Clock,
    new_serial: Callable[[], int] = lambda: secrets.randbits(127) | 1 << 127,
) -> Handler:
    """An aiohttp handler for ``POST`` of application/timestamp-query (RFC 3161 section 3.4)."""

    async def handle(request: web.Request) -> web.StreamResponse:
        if request.content_type != "application/timestamp-query":
            raise web.HTTPUnsupportedMediaType(text="send application/timestamp-query\n")
        body = await request.content.read(MAX_REQUEST_BYTES + 1)
        while len(body) <= MAX_REQUEST_BYTES and not request.content.at_eof():
            body += await request.content.read(MAX_REQUEST_BYTES + 1 - len(body))
        if len(body) > MAX_REQUEST_BYTES:
            raise web.HTTPRequestEntityTooLarge(max_size=MAX_REQUEST_BYTES, actual_size=len(body))
        # Milliseconds of pure Python: not on the loop.
        answer = await asyncio.to_thread(
            respond, body, key, certificate, chain, clock.now(), new_serial()
        )
        return web.Response(body=answer, content_type="application/timestamp-reply")

    return handle


def _query(request: bytes) -> Any:
    """The request with every field read once, so that later access cannot fail."""
    try:
        query = tsp.TimeStampReq.load(request, strict=True)
        version = query["version"].native
        algorithm = query["message_imprint"]["hash_algorithm"]["algorithm"].native
        imprint = query["message_imprint"]["hashed_message"].native
        policy = query["req_policy"].dotted if query["req_policy"].native else None
        extensions = query["extensions"].native
        _ = query["nonce"].native, query["cert_req"].native
    except (ValueError, TypeError, KeyError, IndexError, AttributeError, OverflowError) as error:
        raise _Refusal("bad_data_format") from error
    if version != "v1":
        raise _Refusal("bad_request")
    if algorithm not in _IMPRINTS:
        raise _Refusal("bad_alg")
    if len(imprint) != _IMPRINTS[algorithm]:
        raise _Refusal("bad_data_format")
    if policy not in {None, POLICY}:
        raise _Refusal("unaccepted_policy")
    if extensions:
        raise _Refusal("unaccepted_extensions")
    return query


def _sign(
    statement: bytes,
    key: StamperKey,
    certificate: x509.Certificate,
    certificates: Sequence[x509.Certificate],
) -> cms.ContentInfo:
    der = certificate.public_bytes(Encoding.DER)
    own = asn1_x509.Certificate.load(der)
    attributes = cms.CMSAttributes(
        [
            cms.CMSAttribute({"type": "content_type", "values": ["tst_info"]}),
            cms.CMSAttribute({"type": "message_digest", "values": [sha256(statement).digest()]}),
            cms.CMSAttribute(
                {
                    "type": "signing_certificate_v2",
                    "values": [
                        tsp.SigningCertificateV2(
                            {"certs": [tsp.ESSCertIDv2({"cert_hash": sha256(der).digest()})]}
                        )
                    ],
                }
            ),
        ]
    )
    signer = cms.SignerInfo(
        {
            "version": "v1",
            "sid": cms.SignerIdentifier(
                {
                    "issuer_and_serial_number": cms.IssuerAndSerialNumber(
                        {"issuer": own.issuer, "serial_number": own.serial_number}
                    )
                }
            ),
            "digest_algorithm": {"algorithm": "sha256"},
            "signed_attrs": attributes,
            "signature_algorithm": _signature_algorithm(key),
            "signature": _signature(key, attributes.dump()),
        }
    )
    signed: dict[str, Any] = {
        "version": "v3",
        "digest_algorithms": [algos.DigestAlgorithm({"algorithm": "sha256"})],
        "encap_content_info": {
            "content_type": "tst_info",
            "content": core.ParsableOctetString(statement),
        },
        "signer_infos": [signer],
    }
    if certificates:
        ders = sorted(each.public_bytes(Encoding.DER) for each in certificates)
        signed["certificates"] = [asn1_x509.Certificate.load(each) for each in ders]
    return cms.ContentInfo({"content_type": "signed_data", "content": cms.SignedData(signed)})


def _signature(key: StamperKey, data: bytes) -> bytes:
    if isinstance(key, rsa.RSAPrivateKey):
        return key.sign(data, padding.PKCS1v15(), hashes.SHA256())
    return key.sign(data, ec.ECDSA(hashes.SHA256()))


def _signature_algorithm(key: StamperKey) -> dict[str, str]:
    return {"algorithm": "sha256_rsa" if isinstance(key, rsa.RSAPrivateKey) else "sha256_ecdsa"}


def _refuse(failure: str) -> bytes:
    return _der(TimeStampResponse({"status": {"status": "rejection", "fail_info": {failure}}}))


def _der(value: Any) -> bytes:
    der: bytes = value.dump()
    return der
