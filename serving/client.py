"""A lean pooled HTTP/1.1 client for one origin: the link between servers, and the way to backends.

Invariants:

- One exchange at a time on a connection (no pipelining), so an answer belongs to the request that
  was written last, or the connection ends.
- A connection is used again only when its last answer was read to its exact end, nothing came
  after it and neither side asked to close (RFC 9112 sections 6.3 and 9.3). Bytes that nobody asked
  for, before a request or behind an answer, close the connection.
- Everything is bounded: connections, waiting exchanges, time, header bytes, body bytes.
- A cancelled or failed exchange ends its connection and gives back its place in the pool.
- Nothing but the exceptions of this module (and what ``admit`` raises) comes out of a failed
  exchange; :class:`ValueError` alone means that the *caller* gave what cannot be sent.

Stricter than RFC 9112 asks, because both ends are known: no obsolete line folding, no bare LF, no
``Transfer-Encoding`` but ``chunked``, no ``Content-Length`` beside it, no protocol switch. Trailer
fields are read and dropped.

Written on :class:`asyncio.Protocol` and llhttp (httptools), not on streams: see docs/benchmarks.md.
"""

from __future__ import annotations

import asyncio
import re
import ssl as tls
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final, TypeAlias, cast

from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser

Headers: TypeAlias = tuple[tuple[str, str], ...]

IDEMPOTENT: Final = frozenset({"GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"})
"""RFC 9110 section 9.2.2."""

_WITHOUT_BODY: Final = frozenset({"GET", "HEAD", "OPTIONS", "TRACE", "DELETE"})
_METHOD: Final = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+").fullmatch
_TARGET: Final = re.compile(r"[!-~]+").fullmatch
_FRAMING: Final = frozenset({"content-length", "transfer-encoding"})
_INTERIM_WITHOUT_BODY: Final = frozenset({100, 102, 103})
_MAX_INTERIM_ANSWERS: Final = 16
_JOIN_BELOW_BYTES: Final = 64 * 1024
_TLS_SHUTDOWN_S: Final = 1.0
_LETTER_H: Final = ord("H")


class ExchangeFailed(Exception):
    """An exchange that brought no answer.

    ``sent`` is False only when it is certain that no byte of the request left this process, so
    that the same request may be given to another server whatever its method.
    """

    def __init__(self, detail: str, *, sent: bool) -> None:
        super().__init__(detail)
        self.detail = detail
        self.sent = sent


class ConnectFailed(ExchangeFailed):
    """No connection: refused, unreachable, unknown name, or TLS not agreed (then ``tls`` is set).

    A peer may refuse *our* certificate only after the first bytes of a request (TLS 1.3); that is a
    ``ConnectFailed`` too, with ``sent`` True.
    """

    def __init__(self, reason: str, tls: tls.SSLError | None = None, *, sent: bool = False) -> None:
        super().__init__(reason, sent=sent)
        self.reason = reason
        self.tls = tls


class Phase(StrEnum):
    """What an exchange was doing when its time was over."""

    WAIT = "waiting for a free connection"
    CONNECT = "connecting"
    ANSWER = "waiting for the answer"


class TimedOut(ExchangeFailed):
    """The time for the whole exchange, or for connecting, was over."""

    def __init__(self, phase: Phase) -> None:
        super().__init__(f"timed out {phase}", sent=phase is Phase.ANSWER)
        self.phase = phase


class ProtocolError(ExchangeFailed):
    """What came back is not the answer of an HTTP/1.1 server to this request."""

    def __init__(self, detail: str, *, sent: bool = True) -> None:
        super().__init__(detail, sent=sent)


class Disconnected(ProtocolError):
    """The connection ended before the end of the answer.

    ``answered`` says whether a first part of an answer had come.
    """

    def __init__(self, detail: str, *, answered: bool, sent: bool = True) -> None:
        super().__init__(detail, sent=sent)
        self.answered = answered


class TooLarge(ExchangeFailed):
    """Head or body of the answer is larger than the limit named in ``what``."""

    def __init__(self, what: str, limit_bytes: int) -> None:
        super().__init__(f"the {what} of the answer exceeds {limit_bytes} bytes", sent=True)
        self.what = what
        self.limit_bytes = limit_bytes


class PoolFull(ExchangeFailed):
    """All connections are busy and the queue for them is full."""

    def __init__(self, waiting: int) -> None:
        super().__init__(f"{waiting} exchanges are waiting already", sent=False)
        self.waiting = waiting


class PoolClosed(ExchangeFailed):
    """The pool is closing: it takes no new exchanges."""

    def __init__(self) -> None:
        super().__init__("the pool is closed", sent=False)


@dataclass(frozen=True, slots=True)
class PoolLimits:
    """Bounds of one pool. Keep ``idle_s`` below the idle time-out of the server at the other end:

    then a kept connection is rarely found closed.
    """

    max_connections: int = 64
    max_waiting: int = 1024
    idle_s: float = 30.0
    max_age_s: float = 600.0
    connect_s: float = 5.0
    max_head_bytes: int = 64 * 1024
    max_body_bytes: int = 16 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer.

    ``headers`` are in order, with lower-case names, stripped values (ISO 8859-1) and repeats.
    ``reused`` tells whether the connection had carried an exchange before; ``peer_certificate`` is
    the DER certificate that the server showed on it, None without TLS.
    """

    status: int
    headers: Headers
    body: bytes
    reused: bool
    peer_certificate: bytes | None


class _Connection(asyncio.Protocol):
    """One connection: writes a request, reads the answer, tells whether it may be used again."""

    __slots__ = (
        "_body",
        "_body_size",
        "_complete",
        "_fault",
        "_future",
        "_head_done",
        "_head_only",
        "_headers",
        "_interim",
        "_interims",
        "_keep_alive",
        "_limits",
        "_loop",
        "_open",
        "_parser",
        "_pool",
        "_received",
        "_status",
        "_tail",
        "_transport",
        "_until_end",
        "certificate",
        "generation",
        "idle_since",
        "made_at",
        "uses",
    )

    def __init__(self, pool: Pool, loop: asyncio.AbstractEventLoop, generation: int) -> None:
        self._pool = pool
        self._loop = loop
        self._limits = pool.limits
        self._parser: Any = HttpResponseParser(self)
        self._transport: asyncio.Transport | None = None
        self._future: asyncio.Future[Answer] | None = None
        self._fault: ExchangeFailed | None = None
        self._open = False
        self.generation = generation
        self.certificate: bytes | None = None
        self.made_at = loop.time()
        self.idle_since = self.made_at
        self.uses = 0
        self._reset(head_only=False)

    def _reset(self, *, head_only: bool) -> None:
        self._head_only = head_only
        self._headers: list[tuple[str, str]] = []
        self._body: list[bytes] = []
        self._body_size = 0
        self._received = 0
        self._status = 0
        self._tail = b""
        self._interims = 0
        self._head_done = False
        self._interim = False
        self._complete = False
        self._keep_alive = False
        self._until_end = False

    # the exchange

    @property
    def usable(self) -> bool:
        """Open, clean and between two exchanges."""
        transport = self._transport
        return self._open and transport is not None and not transport.is_closing()

    @property
    def fault(self) -> ExchangeFailed | None:
        """Why the connection ended before it carried a request."""
        return self._fault

    def ask(self, head: bytes, body: bytes, *, head_only: bool) -> asyncio.Future[Answer]:
        """Write a request on a usable connection; the future brings the answer or the failure."""
        transport = self._transport
        assert transport is not None  # noqa: S101 (a usable connection has one)
        self._reset(head_only=head_only)
        self._future = future = self._loop.create_future()
        if not body:
            transport.write(head)
        elif len(body) <= _JOIN_BELOW_BYTES:
            transport.write(head + body)
        else:
            transport.write(head)
            transport.write(body)
        return future

    def expire(self) -> None:
        """The deadline of the exchange that is under way has come."""
        if self._future is not None:
            self._fail(TimedOut(Phase.ANSWER))

    def leave(self) -> None:
        """End an idle connection politely."""
        self._open = False
        if self._transport is not None:
            self._transport.close()

    def abandon(self) -> None:
        """End the connection at once, whatever is on it."""
        self._open = False
        if self._transport is not None:
            self._transport.abort()

    def _finish(self) -> None:
        future, self._future = self._future, None
        transport = self._transport
        assert transport is not None  # noqa: S101
        reused = self.uses > 0
        self.uses += 1
        if not self._keep_alive:
            self.leave()
        elif transport.get_write_buffer_size():
            # answered before the request was read: what is still unsent would confuse the next one
            self.abandon()
        elif self._head_only:
            self._parser = HttpResponseParser(self)  # llhttp still waits for the body's bytes
        if future is not None and not future.done():
            body = self._body
            future.set_result(
                Answer(
                    self._status,
                    tuple(self._headers),
                    body[0] if len(body) == 1 else b"".join(body),
                    reused,
                    self.certificate,
                )
            )

    def _fail(self, failure: ExchangeFailed) -> None:
        future, self._future = self._future, None
        if self._fault is None:
            self._fault = failure
        self.abandon()
        if future is not None and not future.done():
            _raise_in(future, failure)

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._open = True
        self._pool._entered(self)
        ssl_object = transport.get_extra_info("ssl_object")
        if ssl_object is not None:
            self.certificate = ssl_object.getpeercert(binary_form=True)

    def data_received(self, data: bytes) -> None:
        if self._future is None:
            if self._open:
                self._fail(ProtocolError("bytes came that answer no request", sent=False))
            return
        if self._received == 0 and data[0] != _LETTER_H:
            # llhttp would also take RTSP/ and ICE/, and blank lines in front
            self._fail(ProtocolError("the answer does not begin with HTTP/"))
            return
        self._received += len(data)
        try:
            self._parser.feed_data(data)
        except (HttpParserError, HttpParserUpgrade) as error:
            self._fail(self._fault or ProtocolError(f"the answer cannot be read: {error}"))
            return
        limits = self._limits
        if self._fault is not None:
            self._fail(self._fault)
        elif self._received - self._body_size > limits.max_head_bytes + 8 * self._body_size:
            # the head, interim answers, chunk sizes and extensions, trailers: all but the body;
            # eight bytes frame a chunk of one byte
            self._fail(TooLarge("head", limits.max_head_bytes))
        elif self._complete:
            if self._head_only and not data.endswith(b"\r\n\r\n"):
                self._tail = (self._tail + data)[-4:]
                if self._tail != b"\r\n\r\n":
                    self._fail(ProtocolError("bytes came behind the answer to HEAD"))
                    return
            self._finish()
        elif self._head_only:
            self._tail = (self._tail + data)[-4:]

    def eof_received(self) -> bool:
        self._ended(None)
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self._ended(exc)
        self._open = False
        self._parser = None  # breaks the reference cycle
        self._pool._left(self)

    def _ended(self, exc: Exception | None) -> None:
        if self._future is None:
            if self._open and self._fault is None and self.uses == 0:
                self._fault = self._lost(exc)
            self._open = False
            return
        if exc is None and self._until_end and self._head_done:
            # RFC 9112 section 6.3, 8: no length given, so the end of the connection ends the body
            self._keep_alive = False
            self._finish()
            return
        self._fail(self._lost(exc))

    def _lost(self, exc: Exception | None) -> ExchangeFailed:
        answered = self._received > 0
        sent = self._future is not None
        if isinstance(exc, tls.SSLError) and self.uses == 0 and not answered:
            return ConnectFailed(_tls_reason(exc), exc, sent=sent)
        within = "within" if answered else "before"
        why = f" ({type(exc).__name__})" if exc is not None else ""
        return Disconnected(
            f"the connection ended {within} the answer{why}", answered=answered, sent=sent
        )

    # httptools; these must not raise: a fault is kept and looked at when the chunk is through

    def _blame(self, failure: ExchangeFailed) -> None:
        if self._fault is None:
            self._fault = failure

    def on_message_begin(self) -> None:
        if self._complete:
            self._blame(ProtocolError("bytes came behind the answer"))

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self._head_done:
            self._headers.append(
                (name.decode("latin-1").lower(), value.decode("latin-1").strip(" \t"))
            )

    def on_headers_complete(self) -> None:
        if self._complete:
            return
        parser = self._parser
        status: int = parser.get_status_code()
        if parser.get_http_version() not in ("1.1", "1.0"):
            self._blame(ProtocolError("the answer is not HTTP/1.1"))
        elif 100 <= status < 200:
            self._interims += 1
            self._interim = True
            if status not in _INTERIM_WITHOUT_BODY or self._interims > _MAX_INTERIM_ANSWERS:
                self._blame(ProtocolError(f"the interim answer {status} was not asked for"))
        elif not 200 <= status <= 599:
            self._blame(ProtocolError(f"the status {status} does not exist"))
        else:
            self._head_done = True
            self._status = status
            self._judge_framing(status)

    def _judge_framing(self, status: int) -> None:
        """RFC 9112 section 6.3: how the body will end."""
        codings = []
        length = None
        for name, value in self._headers:
            if name == "content-length":
                length = value
            elif name == "transfer-encoding":
                codings.append(value.lower())
        if self._head_only:
            self._complete = True
            self._keep_alive = self._parser.should_keep_alive()
        elif codings and codings != ["chunked"]:
            self._blame(ProtocolError("the answer has a transfer coding other than chunked"))
        elif status in (204, 304):
            return
        elif length is not None:
            if len(length) > 20 or not (length.isascii() and length.isdecimal()):
                self._blame(ProtocolError("the Content-Length is not a length"))
            elif int(length) > self._limits.max_body_bytes:
                self._blame(TooLarge("body", self._limits.max_body_bytes))
        elif not codings:
            self._until_end = True

    def on_chunk_header(self) -> None:
        if self._complete:
            self._blame(ProtocolError("bytes came behind the answer"))

    def on_body(self, data: bytes) -> None:
        if self._complete:
            self._blame(ProtocolError("bytes came behind the answer"))
            return
        self._body_size += len(data)
        if self._body_size > self._limits.max_body_bytes:
            self._blame(TooLarge("body", self._limits.max_body_bytes))
            self._body.clear()
        elif self._fault is None:
            self._body.append(data)

    def on_message_complete(self) -> None:
        if self._interim:
            self._interim = False
            self._headers.clear()
        elif not self._complete:
            self._complete = True
            self._keep_alive = self._parser.should_keep_alive()


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
        self._ssl = ssl
        self._server_hostname = (server_hostname or host) if ssl is not None else None
        self._admit = admit
        self._generation = 0
        self._slots = 0
        self._idle: list[_Connection] = []
        self._open: set[_Connection] = set()
        self._waiters: deque[asyncio.Future[_Connection | None]] = deque()
        self._reaper: asyncio.TimerHandle | None = None
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

    async def exchange(
        self,
        method: str | bytes,
        target: str,
        headers: Sequence[tuple[str, str]],
        body: bytes = b"",
        *,
        timeout_s: float,
        repeatable: bool | None = None,
    ) -> Answer:
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
            timeout_s: for the whole exchange: waiting, connecting, sending, answer.

        Raises:
            PoolFull: ``max_waiting`` exchanges wait already.
            ConnectFailed: no connection, or TLS was refused.
            TimedOut: ``timeout_s`` (or ``connect_s``, when connecting) is over.
            Disconnected: the connection ended before the answer was whole.
            ProtocolError: the answer is not well-formed, or bytes came that were not asked for.
            TooLarge: the answer exceeds ``max_head_bytes`` or ``max_body_bytes``.
            PoolClosed: :meth:`close` was called.
            ValueError: the request cannot be written as HTTP/1.1; nothing was sent.
        """
        verb = method.decode("ascii") if isinstance(method, bytes) else method
        head = _format_head(verb, target, headers, len(body))
        if repeatable is None:
            repeatable = verb in IDEMPOTENT
        head_only = verb == "HEAD"
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout_s
        if self._closing:
            raise PoolClosed
        connection = self._take_idle(loop.time())
        if connection is None:
            connection = await self._take_place(loop, deadline)
        # from here on one place in the pool is ours
        timer: asyncio.TimerHandle | None = None
        try:
            if connection is None or not connection.usable:
                connection = await self._connect(loop, deadline)
            timer = loop.call_at(deadline, connection.expire)
            try:
                return await connection.ask(head, body, head_only=head_only)
            except Disconnected as lost:
                if not repeatable or lost.answered or connection.uses == 0:
                    raise
            timer.cancel()
            connection = await self._connect(loop, deadline)
            timer = loop.call_at(deadline, connection.expire)
            return await connection.ask(head, body, head_only=head_only)
        except BaseException:
            if connection is not None:
                connection.abandon()
            raise
        finally:
            if timer is not None:
                timer.cancel()
            self._give_back(connection, loop)

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
                _raise_in(waiter, PoolClosed())
        if self._reaper is not None:
            self._reaper.cancel()
            self._reaper = None
        self.retire()
        await self._wait_until_empty(drain_s)
        self._aborting = True
        for connection in tuple(self._open):
            connection.abandon()
        await self._wait_until_empty(_TLS_SHUTDOWN_S)

    async def _wait_until_empty(self, timeout_s: float) -> None:
        deadline = asyncio.get_running_loop().time() + timeout_s
        while self._slots or self._open:
            self._emptied.clear()
            try:
                async with asyncio.timeout_at(deadline):
                    await self._emptied.wait()
            except TimeoutError:
                return

    # places: at most max_connections exchanges and idle connections hold one each

    def _take_idle(self, now: float) -> _Connection | None:
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
        self, loop: asyncio.AbstractEventLoop, deadline: float
    ) -> _Connection | None:
        """A place in the pool: an idle connection, or None for the right to make one."""
        limits = self.limits
        if self._slots < limits.max_connections:
            self._slots += 1
            return None
        if len(self._waiters) >= limits.max_waiting:
            raise PoolFull(len(self._waiters))
        waiter: asyncio.Future[_Connection | None] = loop.create_future()
        self._waiters.append(waiter)
        timer = loop.call_at(deadline, _time_out, waiter)
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

    def _give_back(self, connection: _Connection | None, loop: asyncio.AbstractEventLoop) -> None:
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

    async def _connect(self, loop: asyncio.AbstractEventLoop, deadline: float) -> _Connection:
        generation = self._generation
        secure = self._ssl is not None
        connection: _Connection
        try:
            async with asyncio.timeout_at(min(deadline, loop.time() + self.limits.connect_s)):
                _, connection = await loop.create_connection(
                    lambda: _Connection(self, loop, generation),
                    self.host,
                    self.port,
                    ssl=self._ssl,
                    server_hostname=self._server_hostname,
                    ssl_handshake_timeout=self.limits.connect_s if secure else None,
                    ssl_shutdown_timeout=_TLS_SHUTDOWN_S if secure else None,
                )
        except TimeoutError as error:
            raise TimedOut(Phase.CONNECT) from error
        except tls.SSLError as error:
            raise ConnectFailed(_tls_reason(error), error) from error
        except (OSError, UnicodeError) as error:
            raise ConnectFailed(_reason(error)) from error
        try:
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
            raise
        return connection

    def _entered(self, connection: _Connection) -> None:
        self._open.add(connection)

    def _left(self, connection: _Connection) -> None:
        self._open.discard(connection)
        if connection in self._idle:
            self._idle.remove(connection)
            self._free_place()
        if not self._open:
            self._emptied.set()


def _time_out(waiter: asyncio.Future[_Connection | None]) -> None:
    if not waiter.done():
        _raise_in(waiter, TimedOut(Phase.WAIT))


def _raise_in(future: asyncio.Future[Any], failure: ExchangeFailed) -> None:
    future.set_exception(failure)
    future.exception()  # seen: whoever waited may have been cancelled meanwhile


def _reason(error: OSError | UnicodeError) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error) or type(error).__name__


def _tls_reason(error: tls.SSLError) -> str:
    if isinstance(error, tls.SSLCertVerificationError):
        return f"TLS: {error.verify_message}"
    return f"TLS: {error.reason or 'handshake failed'}"


def _format_head(
    method: str, target: str, headers: Sequence[tuple[str, str]], body_size: int
) -> bytes:
    """The request's head; refuses what would be read as something else at the other end."""
    if not _METHOD(method) or method == "CONNECT":
        raise ValueError("the method is not a token that this client can send")
    if not _TARGET(target):
        raise ValueError("the target has characters that a request line cannot carry")
    lines = [f"{method} {target} HTTP/1.1"]
    for name, value in headers:
        lines.append(f"{name}: {value}")
        if name.lower() in _FRAMING:
            raise ValueError(f"{name} is set by the client, not by its caller")
    if body_size or method not in _WITHOUT_BODY:
        lines.append(f"Content-Length: {body_size}")
    text = "\r\n".join(lines)
    breaks = len(lines) - 1
    if text.count("\n") != breaks or text.count("\r") != breaks or "\0" in text:
        raise ValueError("a header field contains a line break or NUL")
    return f"{text}\r\n\r\n".encode("latin-1")
