"""A listening socket with its handler: start, sweep of idle connections, stop in order."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from ipaddress import ip_address

from exchange.problems import Code, Problem, Side
from serving import replies
from serving.requests import Connection, Handler, Reply

OnMalformed = Callable[[Problem], None]
_SWEEP_S = 1.0
_TLS_HANDSHAKE_S = 10.0


class Listener:
    """One socket with its handler; made by :func:`listen`. See :class:`serving.requests.Owner`."""

    def __init__(
        self,
        handler: Handler,
        *,
        side: Side,
        on_malformed: OnMalformed | None,
        drain_s: float,
        head_s: float,
        keepalive_s: float,
        max_line_bytes: int,
    ) -> None:
        self.handler = handler
        self.max_line_bytes = max_line_bytes
        self.head_s = head_s
        self.keepalive_s = keepalive_s
        self.stopping = False
        self.host, self.port, self.url = "", 0, ""
        self._side = side
        self._on_malformed = on_malformed
        self._drain_s = drain_s
        self._connections: set[Connection] = set()
        self._server: asyncio.Server | None = None
        self._sweeper: asyncio.TimerHandle | None = None

    async def start(self, host: str, port: int, context: ssl.SSLContext | None) -> None:
        """Bind and listen.

        Raises:
            OSError: when the address cannot be used.
        """
        loop = asyncio.get_running_loop()
        timeout = _TLS_HANDSHAKE_S if context is not None else None
        self._server = await loop.create_server(
            lambda: Connection(self, loop),
            host,
            port,
            ssl=context,
            backlog=1024,
            ssl_handshake_timeout=timeout,
        )
        self.host, self.port = self._server.sockets[0].getsockname()[:2]
        bracketed = f"[{self.host}]" if ":" in self.host else self.host
        self.url = f"{'https' if context else 'http'}://{bracketed}:{self.port}"
        self._sweep(loop)

    async def stop(self) -> None:
        """Stop accepting, close idle connections, let running requests end; idempotent.

        A request under way is answered, and its client has ``drain_s`` to take the reply.
        """
        if self._server is None:
            return
        server, self._server = self._server, None
        self.stopping = True
        server.close()
        if self._sweeper is not None:
            self._sweeper.cancel()
        for connection in list(self._connections):
            if not connection.busy:
                connection.close()
        busy = [asyncio.ensure_future(item.finished()) for item in self._connections if item.busy]
        if busy:
            await asyncio.wait(busy, timeout=self._drain_s)
            for waiting in busy:
                waiting.cancel()
        for connection in list(self._connections):
            connection.abort()

    def opened(self, connection: Connection) -> None:
        """A client has come."""
        self._connections.add(connection)

    def closed(self, connection: Connection) -> None:
        """A client has gone."""
        self._connections.discard(connection)

    def refusal(self, problem: Problem) -> Reply:
        """The reply to what is not HTTP, after it was counted."""
        if self._on_malformed is not None:
            self._on_malformed(problem)
        return Reply(*replies.reply(problem, self._side, ""))

    def failure(self) -> Reply:
        """The reply to an error that a handler let through."""
        return Reply(*replies.reply(replies.internal(), self._side, ""))

    def _sweep(self, loop: asyncio.AbstractEventLoop) -> None:
        now = loop.time()
        for connection in list(self._connections):
            connection.expire(now)
        self._sweeper = loop.call_later(_SWEEP_S, self._sweep, loop)


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
    head_s: float = 10.0,
    keepalive_s: float = 75.0,
    max_line_bytes: int = 8190,
) -> Listener:
    """Listen on ``address`` and serve requests with ``handler``.

    Raises:
        Problem: ``InvalidSettings`` at ``where`` when the address cannot be used.
    """
    host, port = split_address(address, where)
    listener = Listener(
        handler,
        side=side,
        on_malformed=on_malformed,
        drain_s=drain_s,
        head_s=head_s,
        keepalive_s=keepalive_s,
        max_line_bytes=max_line_bytes,
    )
    try:
        await listener.start(host, port, context)
    except OSError as error:
        raise Problem(
            Code.INVALID_SETTINGS, where=where, detail=f"cannot listen on {address}: {error}"
        ) from error
    return listener
