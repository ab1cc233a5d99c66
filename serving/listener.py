"""A listening HTTP socket over aiohttp's low-level server: no router, no middleware, no cookies.

Bodies arrive as they were sent (no decompression). What aiohttp's parser refuses becomes a
:class:`Problem` reply like any other, and is reported to ``on_malformed``.
"""

from __future__ import annotations

import ssl
from collections.abc import Awaitable, Callable
from ipaddress import ip_address
from typing import Any

import structlog
from aiohttp import web
from aiohttp.web_protocol import RequestHandler

from exchange.problems import Code, Problem, Side
from serving import replies

Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]
OnMalformed = Callable[[Problem], None]
log = structlog.get_logger("serving.listener")


class _Protocol(RequestHandler):
    __slots__ = ("on_malformed", "side")

    on_malformed: OnMalformed | None
    side: Side

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """The reply to what is not HTTP, or to an error that a handler let through."""
        if request.writer.output_size > 0:
            raise ConnectionError("an answer has begun already")
        if status >= 500:
            log.error("handler_failed", exc_info=exc)
            problem = replies.internal()
        else:
            problem = Problem(
                Code.INVALID_REQUEST,
                where="HTTP message",
                detail=(message or "not a well-formed HTTP/1.1 message").splitlines()[0][:300],
                status=status,
            )
            if self.on_malformed is not None:
                self.on_malformed(problem)
        code, headers, body = replies.reply(problem, self.side, "")
        reply = web.Response(status=code, headers=dict(headers), body=body)
        reply.force_close()
        return reply


class _Server(web.Server):
    on_malformed: OnMalformed | None = None
    side: Side = Side.CONSUMER

    def __call__(self) -> RequestHandler:
        handler = _Protocol(self, loop=self._loop, **self._kwargs)
        handler.on_malformed = self.on_malformed
        handler.side = self.side
        return handler


class Listener:
    """One socket with its handler; made by :func:`listen`."""

    def __init__(self, runner: web.ServerRunner, site: web.TCPSite, scheme: str) -> None:
        self._runner = runner
        self._site = site
        sockets: Any = site._server.sockets if site._server is not None else []  # type: ignore[attr-defined]
        self.host, self.port = sockets[0].getsockname()[:2]
        self.url = f"{scheme}://{_bracketed(self.host)}:{self.port}"

    async def stop(self) -> None:
        """Stop accepting, close idle connections, wait for running handlers; idempotent."""
        await self._runner.cleanup()


def split_address(address: str, where: str) -> tuple[str, int]:
    """``host:port`` or ``[v6]:port`` as its parts.

    Raises:
        Problem: ``InvalidSettings`` at ``where``.
    """
    host, separator, port = address.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not separator or not host or not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise Problem(
            Code.INVALID_SETTINGS, where=where, detail=f"{address!r} is not an address host:port"
        )
    return host, int(port)


def is_loopback(host: str) -> bool:
    """Whether an address is of this machine only."""
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


async def listen(
    handler: Handler,
    address: str,
    *,
    where: str,
    side: Side,
    context: ssl.SSLContext | None = None,
    on_malformed: OnMalformed | None = None,
    drain_s: float = 20.0,
    keepalive_s: float = 75.0,
    max_line_bytes: int = 8190,
) -> Listener:
    """Listen on ``address`` and serve requests with ``handler``.

    Raises:
        Problem: ``InvalidSettings`` at ``where`` when the address cannot be used.
    """
    host, port = split_address(address, where)
    server = _Server(
        handler,
        access_log=None,
        auto_decompress=False,
        keepalive_timeout=keepalive_s,
        max_line_size=max_line_bytes + 64,
        lingering_time=2.0,
    )
    server.on_malformed = on_malformed
    server.side = side
    runner = web.ServerRunner(server, shutdown_timeout=drain_s)
    await runner.setup()
    site = web.TCPSite(runner, host, port, ssl_context=context, backlog=1024)
    try:
        await site.start()
    except OSError as error:
        await runner.cleanup()
        raise Problem(
            Code.INVALID_SETTINGS, where=where, detail=f"cannot listen on {address}: {error}"
        ) from error
    return Listener(runner, site, "https" if context else "http")


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host
