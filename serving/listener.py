"""A listening socket with its handler: start, sweep of idle connections, stop in order.

Invariants:
- at most ``max_connections`` at the same time, from the moment they are accepted, so that those
  whose TLS handshake never ends count too; more are turned away at once: with a 503 in plain
  text, without a word where TLS would have to be agreed first;
- a stop leaves nothing behind: no handshake under way ends in a connection after it.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable
from contextlib import suppress
from ipaddress import ip_address

import structlog

from exchange.problems import Code, Problem, Side
from serving import replies
from serving.bodies import Spools, in_memory
from serving.outgoing import format_head
from serving.requests import (
    MAX_FIELDS,
    MAX_HEAD_BYTES,
    Connection,
    Handler,
    Reply,
)

OnMalformed = Callable[[Problem], None]
MAX_CONNECTIONS = 2000
_BACKLOG = 1024
_SWEEP_S = 1.0
_TLS_HANDSHAKE_S = 10.0
_ACCEPTED_A_TURN = 64
_ACCEPT_AGAIN_S = 1.0
_MAX_LEAVING = 64
"""Of those turned away, how many keep their socket until they can have read the reply."""
log = structlog.get_logger("serving.listener")


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
        max_head_bytes: int,
        max_fields: int,
        max_connections: int,
        spools: Spools | None = None,
    ) -> None:
        self.handler = handler
        self.spools = spools or Spools()
        self.max_line_bytes = max_line_bytes
        self.max_head_bytes = max_head_bytes
        self.max_fields = max_fields
        self.head_s = head_s
        self.keepalive_s = keepalive_s
        self.stopping = False
        self.host, self.port, self.url = "", 0, ""
        self._side = side
        self._on_malformed = on_malformed
        self._drain_s = drain_s
        self._max_connections = max_connections
        self._connections: set[Connection] = set()
        self._arriving: set[asyncio.Task[None]] = set()
        self._leaving: list[socket.socket] = []
        self._left: list[socket.socket] = []
        self._sockets: list[socket.socket] = []
        self._context: ssl.SSLContext | None = None
        self._sweeper: asyncio.TimerHandle | None = None

    async def start(self, host: str, port: int, context: ssl.SSLContext | None) -> None:
        """Bind and listen.

        Raises:
            OSError: when the address cannot be used.
        """
        loop = asyncio.get_running_loop()
        self._context = context
        found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        try:
            for family, _, _, _, address in dict.fromkeys(found):
                listening = socket.create_server(address, family=family, backlog=_BACKLOG)
                self._sockets.append(listening)
                listening.setblocking(False)
        except OSError:
            self._close_sockets()
            raise
        self.host, self.port = self._sockets[0].getsockname()[:2]
        bracketed = f"[{self.host}]" if ":" in self.host else self.host
        self.url = f"{'https' if context else 'http'}://{bracketed}:{self.port}"
        for listening in self._sockets:
            loop.add_reader(listening, self._accept, loop, listening)
        self._sweep(loop)

    async def stop(self) -> None:
        """Stop accepting, close idle connections, let running requests end; idempotent.

        A request under way is answered, and its client has ``drain_s`` to take the reply.
        """
        if self.stopping:
            return
        self.stopping = True
        self._close_sockets()
        if self._sweeper is not None:
            self._sweeper.cancel()
        for task in self._arriving:
            task.cancel()
        if self._arriving:
            await asyncio.wait(self._arriving)
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
        for client in (*self._leaving, *self._left):
            client.close()

    def _close_sockets(self) -> None:
        loop = asyncio.get_running_loop()
        sockets, self._sockets = self._sockets, []
        for listening in sockets:
            loop.remove_reader(listening)
            listening.close()

    # --- who comes -------------------------------------------------------------------------------

    def _accept(self, loop: asyncio.AbstractEventLoop, listening: socket.socket) -> None:
        for _ in range(_ACCEPTED_A_TURN):
            try:
                client, address = listening.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                # The process has no descriptor left: to try again at once would only spin.
                log.error("cannot_accept", listener=self.url, why=str(error))
                loop.remove_reader(listening)
                loop.call_later(_ACCEPT_AGAIN_S, self._accept_again, loop, listening)
                return
            client.setblocking(False)
            if len(self._connections) < self._max_connections:
                connection = Connection(self, loop, str(address[0]))
                self._connections.add(connection)
                task = loop.create_task(self._take_in(loop, connection, client))
                self._arriving.add(task)
                task.add_done_callback(self._arriving.discard)
            else:
                self._turn_away(client)

    def _accept_again(self, loop: asyncio.AbstractEventLoop, listening: socket.socket) -> None:
        if not self.stopping:
            loop.add_reader(listening, self._accept, loop, listening)

    async def _take_in(
        self, loop: asyncio.AbstractEventLoop, connection: Connection, client: socket.socket
    ) -> None:
        timeout = _TLS_HANDSHAKE_S if self._context is not None else None
        try:
            await loop.connect_accepted_socket(
                lambda: connection, client, ssl=self._context, ssl_handshake_timeout=timeout
            )
        except OSError as error:  # the client left, or TLS was not agreed: its context tells who
            log.debug("connection_not_made", listener=self.url, why=str(error))
        finally:
            if connection.transport is None:
                self._connections.discard(connection)

    def _turn_away(self, client: socket.socket) -> None:
        problem = Problem(
            Code.OVERLOADED,
            where="listener",
            detail=f"{self._max_connections} connections are open",
        )
        reply = self.refusal(problem)
        if self._context is not None:
            client.close()
            return
        with suppress(OSError):
            client.send(format_head("", reply, keep=False) + in_memory(reply.body))
            client.shutdown(socket.SHUT_WR)
        # Closed at once, with a request unread in it, it would be reset and the reply be lost.
        self._leaving.append(client)
        if len(self._leaving) > _MAX_LEAVING:
            self._leaving.pop(0).close()

    def opened(self, connection: Connection) -> None:
        """A client has come."""
        self._connections.add(connection)

    def closed(self, connection: Connection) -> None:
        """A client has gone."""
        self._connections.discard(connection)

    def refusal(self, problem: Problem) -> Reply:
        """The reply to what is not HTTP, or to one connection too many, after it was counted."""
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
        for client in self._left:
            client.close()
        self._left, self._leaving = self._leaving, []
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
    max_head_bytes: int = MAX_HEAD_BYTES,
    max_fields: int = MAX_FIELDS,
    max_connections: int = MAX_CONNECTIONS,
    spools: Spools | None = None,
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
        max_head_bytes=max_head_bytes,
        max_fields=max_fields,
        max_connections=max_connections,
        spools=spools,
    )
    try:
        await listener.start(host, port, context)
    except OSError as error:
        raise Problem(
            Code.INVALID_SETTINGS, where=where, detail=f"cannot listen on {address}: {error}"
        ) from error
    return listener
