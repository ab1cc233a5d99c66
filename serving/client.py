"""A lean pooled HTTP/1.1 client for one origin: the link between servers, and the way to backends.

Invariants:

- Everything is bounded: connections, waiting exchanges, time, header bytes, body bytes.
- A connection is used again only when it is clean (:mod:`serving.connection`), young enough, and
  was not retired.
- A cancelled or failed exchange ends its connection and gives back its place in the pool.
- Nothing but an ``ExchangeFailed`` of :mod:`serving.failures` (and what ``admit`` raises) comes out
  of a failed exchange; :class:`ValueError` alone means that the *caller* gave what cannot be sent.

Written on :class:`asyncio.Protocol` and llhttp (httptools), not on streams: docs/benchmarks.md says
what that is worth.
"""

from __future__ import annotations

import asyncio
import ssl as tls
from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple, overload

from serving.alarm import Alarm
from serving.answers import Answer, AnswerReader
from serving.bodies import Body, Room, Spooled
from serving.connection import Connection
from serving.failures import Disconnected, PoolClosed
from serving.origin import TLS_SHUTDOWN_S, Origin
from serving.outgoing import format_request_head
from serving.pool_places import PoolLimits, PoolPlaces
from serving.waits import UNBOUNDED, Waits, Watch, Whole

IDEMPOTENT: Final = frozenset({"GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"})
"""RFC 9110 section 9.2.2."""


class _Asked(NamedTuple):
    """What is asked of an answer."""

    head_only: bool
    watch: Watch
    room: Room | None
    max_body_bytes: int | None


class Pool:
    """Kept connections to one origin.

    Args:
        host, port: where to connect.
        ssl: the TLS context with our certificate and the trust of the peer's; None for plain TCP.
        server_hostname: the name that the peer's certificate must carry (when the context checks
            names); ``host`` if None.
        limits: see :class:`PoolLimits`.
        admit: is called once for each new connection with the peer's DER certificate (None without
            TLS), before any byte of a request is written. What it raises refuses the connection
            and comes out of :meth:`exchange` unchanged.

    Belongs to one event loop. Does not judge certificates beyond what the context does, follows no
    redirect, keeps no cookies, decodes no content coding.
    """

    def __init__(
        self,
        host: str,
        port: int,
        *,
        ssl: tls.SSLContext | None = None,
        server_hostname: str | None = None,
        limits: PoolLimits | None = None,
        admit: Callable[[bytes | None], None] | None = None,
    ) -> None:
        self.host = host
        self.port = port
        self.limits = limits or PoolLimits()
        self._origin = Origin(host, port, ssl, server_hostname, self.limits.connect_s)
        self._admit = admit
        self._emptied = asyncio.Event()
        self._places = PoolPlaces(self.limits, self._emptied)
        self._open: set[Connection] = set()
        self._alarm = Alarm(self._open)
        self._aborting = False

    @property
    def open_connections(self) -> int:
        """Connections that exist now, those being closed included."""
        return len(self._open)

    @property
    def busy(self) -> int:
        """Exchanges that hold a connection or are making one."""
        return self._places.busy

    @property
    def waiting(self) -> int:
        """Exchanges that wait for a connection."""
        return self._places.waiting

    @overload
    async def exchange(
        self,
        method: str | bytes,
        target: str,
        headers: Sequence[tuple[str, str]],
        body: Body = b"",
        *,
        timeout_s: float,
        waits: Waits = UNBOUNDED,
        repeatable: bool | None = None,
    ) -> Answer[bytes]: ...

    @overload
    async def exchange(
        self,
        method: str | bytes,
        target: str,
        headers: Sequence[tuple[str, str]],
        body: Body = b"",
        *,
        timeout_s: float,
        waits: Waits = UNBOUNDED,
        repeatable: bool | None = None,
        room: Room | None,
        max_body_bytes: int | None = None,
    ) -> Answer[Body]: ...

    async def exchange(
        self,
        method: str | bytes,
        target: str,
        headers: Sequence[tuple[str, str]],
        body: Body = b"",
        *,
        timeout_s: float,
        waits: Waits = UNBOUNDED,
        repeatable: bool | None = None,
        room: Room | None = None,
        max_body_bytes: int | None = None,
    ) -> Answer[Any]:
        """Send one request and return the whole answer.

        The headers go out exactly as given, ``Host`` included; the pool adds ``Content-Length``
        (when there is a body or the method expects one) and nothing else.

        A kept connection may turn out to have been closed by the server. The request is then sent
        once more, on a fresh connection, when *all* of this holds: the connection had been used
        before, not one byte of an answer came, and the request is repeatable: its method is
        idempotent (RFC 9110 section 9.2.2), unless ``repeatable`` says otherwise. A connection
        that is known to be closed before the request is written is passed over silently, whatever
        the method.

        Args:
            timeout_s: for the whole exchange: waiting (``wait_s`` at most), connecting, sending,
                answer; it grows with the bytes that move, see :mod:`serving.waits`.
            waits: bounds of the single phases.
            room: where a long answer goes; without it all of the answer is kept in memory.
            max_body_bytes: of this answer, where that is less than the pool's bound.

        Raises:
            PoolFull: ``max_waiting`` exchanges wait already.
            ConnectFailed: no connection, or TLS was refused.
            TimedOut: ``timeout_s`` or the bound of a phase is over; it says which.
            Disconnected: the connection ended before the answer was whole.
            ProtocolError: the answer is not well-formed, or bytes came that were not asked for.
            TooLarge: the answer exceeds ``max_head_bytes`` or ``max_body_bytes``; no more of it
                is read.
            PoolClosed: :meth:`close` was called.
            ValueError: the request cannot be written as HTTP/1.1; nothing was sent.
        """
        verb = method.decode("ascii") if isinstance(method, bytes) else method
        head = format_request_head(verb, target, headers, len(body))
        if repeatable is None:
            repeatable = verb in IDEMPOTENT
        head_only = verb == "HEAD"
        loop = asyncio.get_running_loop()
        now = loop.time()
        whole = Whole(now + timeout_s, timeout_s)
        if self._places.closed:
            raise PoolClosed
        connection = self._places.take_idle(now)
        if connection is None:
            connection = await self._places.take(loop, whole)
        # from here on one place in the pool is ours
        asked = _Asked(head_only, Watch(waits, timeout_s, now), room, max_body_bytes)
        try:
            if connection is None or not connection.usable:
                connection = await self._connect(loop, whole, waits.connect_s)
            try:
                return await self._converse(connection, head, body, asked)
            except Disconnected as lost:
                if not repeatable or lost.answered or connection.uses == 0:
                    raise
            connection = await self._connect(loop, whole, waits.connect_s)
            return await self._converse(connection, head, body, asked)
        except BaseException:
            if connection is not None:
                connection.abandon()
            raise
        finally:
            self._places.give_back(connection, loop)

    async def _converse(
        self, connection: Connection, head: bytes, body: Body, asked: _Asked
    ) -> Answer[Body]:
        answer = connection.ask(
            head,
            body,
            head_only=asked.head_only,
            watch=asked.watch,
            room=asked.room,
            max_body_bytes=asked.max_body_bytes,
        )
        self.hurried(connection)
        if not isinstance(body, Spooled):
            return await answer or await connection.receive()
        sending = asyncio.create_task(connection.send(body))
        try:
            return await answer or await connection.receive()
        finally:
            sending.cancel()

    def retire(self) -> None:
        """Use no connection again that was made before now (keys or pinned certificates changed).

        Idle ones are closed at once, busy ones after their answer.
        """
        self._places.retire()

    async def close(self, *, drain_s: float = 5.0) -> None:
        """Take no new exchanges and let those under way end within ``drain_s``; idempotent.

        Order: waiting exchanges fail with :class:`PoolClosed`; idle connections are closed; busy
        ones are closed after their answer; when the time is over, they are aborted, and their
        exchanges fail with :class:`Disconnected`. Returns when no connection is left.
        """
        self._places.close()
        await self._wait_until_empty(drain_s)
        self._aborting = True
        for connection in tuple(self._open):
            connection.abandon()
        await self._wait_until_empty(TLS_SHUTDOWN_S)
        self._alarm.cancel()

    async def _wait_until_empty(self, timeout_s: float) -> None:
        deadline = asyncio.get_running_loop().time() + timeout_s
        while self._places.held or self._open:
            self._emptied.clear()
            try:
                async with asyncio.timeout_at(deadline):
                    await self._emptied.wait()
            except TimeoutError:
                return

    async def _connect(
        self, loop: asyncio.AbstractEventLoop, whole: Whole, connect_s: float
    ) -> Connection:
        limits = self.limits
        reader = AnswerReader(
            max_head_bytes=limits.max_head_bytes, max_body_bytes=limits.max_body_bytes
        )
        connection = Connection(self, loop, reader, self._places.generation)
        most = min(connect_s, limits.connect_s)
        until, bound, seconds = whole.or_before(loop.time(), "connect_s", most)
        try:
            await self._origin.connect(loop, connection, until, bound, seconds)
            if self._aborting:
                raise PoolClosed
            if self._admit is not None:
                self._admit(connection.certificate)
            if not connection.usable:
                raise connection.fault or Disconnected(
                    "the connection ended before the request", answered=False, sent=False
                )
        except BaseException:
            connection.abandon()
            self.left(connection)  # uvloop tells no protocol that its connecting was cancelled
            raise
        return connection

    def entered(self, connection: Connection) -> None:
        """For :class:`serving.connection.Connection` alone."""
        self._open.add(connection)

    def hurried(self, connection: Connection) -> None:
        """For :class:`serving.connection.Connection` and :meth:`exchange`."""
        self._alarm.by(connection.deadline)

    def left(self, connection: Connection) -> None:
        """For :class:`serving.connection.Connection` alone."""
        self._open.discard(connection)
        self._places.left(connection)
        if not self._open:
            self._emptied.set()
