"""The time-stamp authority of the reference world: RFC 3161 over HTTP on loopback.

It runs on a thread of the process that builds the world, with an event loop of its own, and ends
with :meth:`Stamper.stop` or with the process.
"""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import Future

from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from certs.issue import Issued
from certs.stamper import stamper_handler
from serving.clock import SystemClock

START_TIMEOUT_S = 10.0


class Stamper:
    """Serves one time-stamp certificate; ``issuer`` is sent along in the tokens."""

    def __init__(self, issued: Issued, issuer: x509.Certificate) -> None:
        if not isinstance(issued.private_key, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey):
            raise ValueError("a time-stamp authority signs with ECDSA or RSA")
        self.certificate = issued.certificate
        self.url = ""
        self._port = 0
        self._handler = stamper_handler(
            issued.private_key, issued.certificate, [issuer], SystemClock()
        )
        self._loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()
        self._listening: Future[str] = Future()
        self._thread = threading.Thread(target=self._run, name="time-stamp authority", daemon=True)

    def start(self, port: int = 0) -> str:
        """Listen on a port of loopback, 0 for a free one; returns the address.

        Raises:
            OSError: it cannot listen.
        """
        self._port = port
        self._thread.start()
        self.url = self._listening.result(START_TIMEOUT_S)
        return self.url

    def stop(self) -> None:
        """End it; idempotent."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stop.set)
            self._thread.join(START_TIMEOUT_S)

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._serve())

    async def _serve(self) -> None:
        application = web.Application()
        application.router.add_post("/", self._handler)
        runner = web.AppRunner(application, access_log=None, shutdown_timeout=1.0)
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", self._port).start()
            host, port = runner.addresses[0][:2]
            self._listening.set_result(f"http://{host}:{port}/")
            await self._stop.wait()
        except OSError as error:
            self._listening.set_exception(error)
        finally:
            await runner.cleanup()
