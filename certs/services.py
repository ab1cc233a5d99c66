"""What a development authority answers over HTTP: time-stamps, OCSP, its revocation list.

::

    POST /tsa            RFC 3161 section 3.4
    POST /ocsp           RFC 6960 appendix A.1
    GET  /ocsp/{base64}  the same, for small requests
    GET  /crl            RFC 5280 section 5, in DER

Everything is made anew for each request: milliseconds, in a thread. :func:`make_keys` makes the
certificates of the services in an authority's folder, :func:`start` listens.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from aiohttp import web
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from certs import responder
from certs.authority import DevelopmentAuthority
from certs.issue import Issued, Issuer, read_issued
from certs.profiles import PROFILES, Profile
from certs.revocation import make_crl, revoked_by
from certs.stamper import stamper_handler
from serving.clock import Clock

TSA_PATH: Final = "/tsa"


def make_keys(authority: DevelopmentAuthority, at: datetime) -> Issued:
    """Certificates for time-stamps and OCSP, where they are not there yet; returns the former.

    They last as long as the authority: the registry lists the former.

    Raises:
        Problem: ``CONFLICT`` when the authority is not valid at ``at``.
    """
    for name, issue in (("tsa", authority.issue_tsa), ("ocsp", authority.issue_ocsp)):
        folder = authority.directory / name
        if not (folder / f"{name}.pem").exists():
            days = PROFILES[Profile.ISSUING].days
            issue(at=at, days=days).write(folder / f"{name}.pem", folder / f"{name}.key.pem")
    return read_issued(authority.directory, "tsa")


@dataclass(frozen=True, slots=True)
class Services:
    """The handlers; ``tsa`` and ``ocsp`` are certificates of ``authority`` with their keys."""

    authority: DevelopmentAuthority
    tsa: Issued
    ocsp: Issued
    clock: Clock

    @classmethod
    def open(cls, authority: DevelopmentAuthority, clock: Clock) -> Services:
        """The services with the keys in the authority's folder.

        Raises:
            Problem: ``NOT_FOUND`` or ``INVALID_DOCUMENT`` at a file of them.
        """
        folder = authority.directory
        return cls(authority, read_issued(folder, "tsa"), read_issued(folder, "ocsp"), clock)

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


@dataclass(frozen=True, slots=True)
class Listening:
    """Services that listen at ``url``."""

    url: str
    _runner: web.AppRunner

    @property
    def tsa_url(self) -> str:
        return f"{self.url}{TSA_PATH}"

    async def stop(self) -> None:
        """Answer what is under way for a second, then end; idempotent."""
        await self._runner.cleanup()


async def start(services: Services, host: str, port: int) -> Listening:
    """Listen; port 0 takes a free one.

    Raises:
        OSError: the address cannot be had. ValueError: as :meth:`Services.application`.
    """
    runner = web.AppRunner(services.application(), access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port).start()
    except OSError:
        await runner.cleanup()
        raise
    own_host, own_port = runner.addresses[0][:2]
    shown = f"[{own_host}]" if ":" in own_host else own_host
    return Listening(f"http://{shown}:{own_port}", runner)
