"""The services of the reference world's authority on loopback: time-stamps, OCSP, its CRL.

They run on a thread of the process that builds the world, with an event loop of its own, and end
with :meth:`AuthorityServices.stop` or with the process.
"""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import Future

from certs.authority import DevelopmentAuthority
from certs.services import Services, start
from serving.clock import SystemClock

START_TIMEOUT_S = 10.0


class AuthorityServices:
    """Serves what a development authority answers, on the port that its certificates name."""

    def __init__(self, authority: DevelopmentAuthority) -> None:
        self._services = Services.open(authority, SystemClock())
        self.certificate = self._services.tsa.certificate
        self.url = ""
        self._port = 0
        self._loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()
        self._listening: Future[str] = Future()
        self._thread = threading.Thread(target=self._run, name="authority services", daemon=True)

    def start(self, port: int = 0) -> str:
        """Listen on a port of loopback, 0 for a free one; returns the time-stamps' address.

        Raises:
            OSError: it cannot listen.
        """
        self._port = port
        self._thread.start()
        self.url = self._listening.result(START_TIMEOUT_S)
        return self.url

    def stop(self) -> None:
        """End them; idempotent."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stop.set)
            self._thread.join(START_TIMEOUT_S)

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._serve())

    async def _serve(self) -> None:
        try:
            listening = await start(self._services, "127.0.0.1", self._port)
        except OSError as error:
            self._listening.set_exception(error)
            return
        self._listening.set_result(listening.tsa_url)
        await self._stop.wait()
        await listening.stop()
