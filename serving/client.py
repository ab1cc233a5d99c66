"""A lean pooled HTTP/1.1 client for one origin: the link between servers, and the way to backends.

Invariants:

- Everything is bounded: connections, waiting exchanges, time, header bytes, body bytes.
- A connection is used again only when it is clean (:mod:`serving.connection`), young enough, and
  was not retired.
- A cancelled or failed exchange ends its connection and gives back its place in the pool.
- Nothing but :class:`ExchangeFailed` (and what ``admit`` raises) comes out of a failed exchange;
  :class:`ValueError` alone means that the *caller* gave what cannot be sent.

Written on :class:`asyncio.Protocol` and llhttp (httptools), not on streams: docs/benchmarks.md says
what that is worth.
"""

from __future__ import annotations

import asyncio
import math
import ssl as tls
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, overload

from serving.answers import (
    Answer,
    AnswerReader,
    ConnectFailed,
    Disconnected,
    ExchangeFailed,
    PoolClosed,
    PoolFull,
    ProtocolError,
    TimedOut,
    TooLarge,
)
from serving.backends import Headers
from serving.bodies import Body, Room, Spooled
from serving.connection import Connection, raise_in
from serving.origin import TLS_SHUTDOWN_S, Origin
from serving.outgoing import format_request_head
from serving.waits import UNBOUNDED, Phase, Waits, Watch

__all__ = [
    "IDEMPOTENT",
    "UNBOUNDED",
    "Answer",
    "ConnectFailed",
    "Disconnected",
    "ExchangeFailed",
    "Headers",
    "Phase",
    "Pool",
    "PoolClosed",
    "PoolFull",
    "PoolLimits",
    "ProtocolError",
    "TimedOut",
    "TooLarge",
    "Waits",
]

IDEMPOTENT: Final = frozenset({"GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"})
"""RFC 9110 section 9.2.2."""


@dataclass(frozen=True, slots=True)
class PoolLimits:
    """Bounds of one pool. ``wait_s`` is for a free connection: those who wait are a queue.

    Keep ``idle_s`` below the idle time-out of the server at the other end: then a kept connection
    is rarely found closed.
    """

    max_connections: int = 64
    max_waiting: int = 1024
    idle_s: float = 30.0
    max_age_s: float = 600.0
    wait_s: float = math.inf
    connect_s: float = 5.0
    max_head_bytes: int = 64 * 1024
    max_body_bytes: int = 16 * 1024 * 1024


class _Whole(NamedTuple):
    """When all of an exchange must have ended, as far as nothing has moved, and its length."""

    deadline: float
    timeout_s: float

    def or_before(self, now: float, bound: str, seconds: float) -> tuple[float, str, float]:
        """When a phase that begins now is over, and name and seconds of the bound that ends it."""
        if now + seconds < self.deadline:
            return now + seconds, bound, seconds
        return self.deadline, "exchange_s", self.timeout_s


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
        self._generation = 0
        self._slots = 0
        self._idle: list[Connection] = []
        self._open: set[Connection] = set()
        self._waiters: deque[asyncio.Future[Connection | None]] = deque()
        self._reaper: asyncio.TimerHandle | None = None
        self._alarm: asyncio.TimerHandle | None = None
        self._alarm_at = math.inf
        self._closing = False
        self._aborting = False
        self._emptied: asyncio.Event = asyncio.Event()

    @property
    def open_connections(self) -> int:
        """Connections that exist now, those being closed included."""
        return len(self._open)

    @property
    def busy(self) -> int:
        """Exchanges that hold a connection or are making one."""
        return self._slots - len(self._idle)

    @property
    def waiting(self) -> int:
        """Exchanges that wait for a connection."""
        return len(self._waiters)

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
        whole = _Whole(now + timeout_s, timeout_s)
        if self._closing:
            raise PoolClosed
        connection = self._take_idle(now)
        if connection is None:
            connection = await self._take_place(loop, whole)
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
            self._give_back(connection, loop)

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
        self._generation += 1
        idle, self._idle = self._idle, []
        for connection in idle:
            self._free_place()
            connection.leave()

    async def close(self, *, drain_s: float = 5.0) -> None:
        """Take no new exchanges and let those under way end within ``drain_s``; idempotent.

        Order: waiting exchanges fail with :class:`PoolClosed`; idle connections are closed; busy
        ones are closed after their answer; when the time is over, they are aborted, and their
        exchanges fail with :class:`Disconnected`. Returns when no connection is left.
        """
        self._closing = True
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                raise_in(waiter, PoolClosed())
        if self._reaper is not None:
            self._reaper.cancel()
            self._reaper = None
        self.retire()
        await self._wait_until_empty(drain_s)
        self._aborting = True
        for connection in tuple(self._open):
            connection.abandon()
        await self._wait_until_empty(TLS_SHUTDOWN_S)
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None

    async def _wait_until_empty(self, timeout_s: float) -> None:
        deadline = asyncio.get_running_loop().time() + timeout_s
        while self._slots or self._open:
            self._emptied.clear()
            try:
                async with asyncio.timeout_at(deadline):
                    await self._emptied.wait()
            except TimeoutError:
                return

    # deadlines: one timer for all exchanges, at the earliest deadline or before it

    def _set_alarm(self, loop: asyncio.AbstractEventLoop, at: float) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
        self._alarm_at = at
        self._alarm = loop.call_at(at, self._ring, loop)

    def _ring(self, loop: asyncio.AbstractEventLoop) -> None:
        """Expire what is due; comes back as long as exchanges are under way."""
        self._alarm, self._alarm_at = None, math.inf
        now = loop.time()
        for connection in tuple(self._open):
            if connection.deadline <= now:
                connection.expire(now)
        first = min((connection.deadline for connection in self._open), default=math.inf)
        if first < math.inf:
            self._set_alarm(loop, first)

    # places: at most max_connections exchanges and idle connections hold one each

    def _take_idle(self, now: float) -> Connection | None:
        """The connection that was used last, so that those not needed grow old and end."""
        idle = self._idle
        limits = self.limits
        while idle:
            connection = idle.pop()
            if (
                connection.usable
                and now - connection.idle_since < limits.idle_s
                and now - connection.made_at < limits.max_age_s
            ):
                return connection
            self._free_place()
            connection.leave()
        return None

    async def _take_place(
        self, loop: asyncio.AbstractEventLoop, whole: _Whole
    ) -> Connection | None:
        """A place in the pool: an idle connection, or None for the right to make one."""
        limits = self.limits
        if self._slots < limits.max_connections:
            self._slots += 1
            return None
        if len(self._waiters) >= limits.max_waiting:
            raise PoolFull(len(self._waiters))
        waiter: asyncio.Future[Connection | None] = loop.create_future()
        self._waiters.append(waiter)
        until, bound, seconds = whole.or_before(loop.time(), "wait_s", limits.wait_s)
        timer = loop.call_at(until, _time_out, waiter, bound, seconds)
        try:
            return await waiter
        except BaseException:
            if waiter.done() and not waiter.cancelled() and waiter.exception() is None:
                self._give_back(waiter.result(), loop)  # cancelled with the place in hand
            elif waiter in self._waiters:
                self._waiters.remove(waiter)
            raise
        finally:
            timer.cancel()

    def _give_back(self, connection: Connection | None, loop: asyncio.AbstractEventLoop) -> None:
        now = loop.time()
        if (
            connection is None
            or not connection.usable
            or self._closing
            or connection.generation != self._generation
            or now - connection.made_at >= self.limits.max_age_s
        ):
            if connection is not None:
                connection.leave()
            self._free_place()
            return
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_result(connection)
                return
        connection.idle_since = now
        self._idle.append(connection)
        if self._reaper is None:
            self._reaper = loop.call_at(now + self.limits.idle_s, self._reap, loop)

    def _free_place(self) -> None:
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_result(None)
                return
        self._slots -= 1
        if not self._slots:
            self._emptied.set()

    def _reap(self, loop: asyncio.AbstractEventLoop) -> None:
        """Close what has been idle for too long; comes back as long as something is idle."""
        self._reaper = None
        oldest = loop.time() - self.limits.idle_s
        kept = []
        for connection in self._idle:
            if connection.idle_since > oldest:
                kept.append(connection)
            else:
                self._free_place()
                connection.leave()
        self._idle = kept
        if kept:
            first = min(connection.idle_since for connection in kept)
            self._reaper = loop.call_at(first + self.limits.idle_s, self._reap, loop)

    # connections

    async def _connect(
        self, loop: asyncio.AbstractEventLoop, whole: _Whole, connect_s: float
    ) -> Connection:
        limits = self.limits
        reader = AnswerReader(
            max_head_bytes=limits.max_head_bytes, max_body_bytes=limits.max_body_bytes
        )
        connection = Connection(self, loop, reader, self._generation)
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
        if connection.deadline < self._alarm_at:
            self._set_alarm(asyncio.get_running_loop(), connection.deadline)

    def left(self, connection: Connection) -> None:
        """For :class:`serving.connection.Connection` alone."""
        self._open.discard(connection)
        if connection in self._idle:
            self._idle.remove(connection)
            self._free_place()
        if not self._open:
            self._emptied.set()


def _time_out(waiter: asyncio.Future[Connection | None], bound: str, seconds: float) -> None:
    if not waiter.done():
        raise_in(waiter, TimedOut(Phase.WAIT, bound, seconds))
