"""What a development authority answers over HTTP: time-stamps, OCSP, its revocation list.

::

    POST /tsa            RFC 3161 section 3.4
    POST /ocsp           RFC 6960 appendix A.1
    GET  /ocsp/{base64}  the same, for small requests
    GET  /crl            RFC 5280 section 5, in DER

Everything is made anew for each request: milliseconds, in a thread.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
from dataclasses import dataclass
from typing import Final

from aiohttp import web
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from certs import responder
from certs.authority import DevelopmentAuthority
from certs.issue import Issued, Issuer
from certs.revocation import make_crl, revoked_by
from certs.stamper import stamper_handler
from serving.clock import Clock

TSA_PATH: Final = "/tsa"


@dataclass(frozen=True, slots=True)
class Services:
    """The handlers; ``tsa`` and ``ocsp`` are certificates of ``authority`` with their keys."""

    authority: DevelopmentAuthority
    tsa: Issued
    ocsp: Issued
    clock: Clock

    def application(self) -> web.Application:
        """The services as an aiohttp application.

        Raises:
            ValueError: the key of the time-stamp authority is neither ECDSA nor RSA, or a key is
                not here.
        """
        key, chain = self.tsa.private_key, [self.authority.issuer.certificate]
        if not isinstance(key, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey):
            raise ValueError("a time-stamp authority signs with ECDSA or RSA")
        if self.ocsp.private_key is None:
            raise ValueError("the responder's key is not here")
        application = web.Application(client_max_size=responder.MAX_REQUEST_BYTES)
        stamp = stamper_handler(key, self.tsa.certificate, chain, self.clock)
        application.router.add_post(TSA_PATH, stamp)
        application.router.add_post("/ocsp", self._ocsp)
        application.router.add_get("/ocsp/{request:.+}", self._ocsp_by_get)
        application.router.add_get("/crl", self._crl)
        return application

    async def _ocsp(self, request: web.Request) -> web.Response:
        if request.content_type != "application/ocsp-request":
            raise web.HTTPUnsupportedMediaType(text="send application/ocsp-request\n")
        return await self._answer(await request.read())

    async def _ocsp_by_get(self, request: web.Request) -> web.Response:
        try:
            query = base64.b64decode(request.match_info["request"], validate=True)
        except binascii.Error:
            query = b""  # is answered with malformedRequest
        return await self._answer(query)

    async def _answer(self, query: bytes) -> web.Response:
        body = await asyncio.to_thread(self._respond, query)
        return web.Response(body=body, content_type="application/ocsp-response")

    def _respond(self, query: bytes) -> bytes:
        assert self.ocsp.private_key is not None  # noqa: S101  seen to in application()
        signer = Issuer(self.ocsp.certificate, self.ocsp.private_key)
        revoked = revoked_by(self.authority.directory)
        issuer = self.authority.issuer.certificate
        return responder.respond(query, issuer, signer, revoked, self.clock.now())

    async def _crl(self, _request: web.Request) -> web.Response:
        body = await asyncio.to_thread(self._list)
        return web.Response(body=body, content_type="application/pkix-crl")

    def _list(self) -> bytes:
        revoked = revoked_by(self.authority.directory)
        return make_crl(self.authority, revoked, self.clock.now())
