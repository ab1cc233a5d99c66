"""One connection of a client: writes a request, reads the answer, knows if it may be used again.

Invariants:

- One exchange at a time (no pipelining): an answer belongs to the request that was written last.
- ``usable`` is True only between two exchanges, when the last answer was read to its exact end and
  neither side asked to close (RFC 9112 section 9.3). Bytes that nobody asked for end it.
- The future of :meth:`Connection.ask` always comes to an end: with the answer, with a failure, or
  because the owner abandons the connection.

Does not reconnect, repeat or time out by itself: :mod:`serving.client` does.
"""

from __future__ import annotations

import asyncio
import math
import ssl
from typing import Any, Final, Protocol, cast

from serving.answers import (
    Answer,
    AnswerReader,
    ConnectFailed,
    Disconnected,
    ExchangeFailed,
    ProtocolError,
    TimedOut,
)
from serving.bodies import Body, Spooled
from serving.waits import Phase, Watch

_JOIN_BELOW_BYTES: Final = 64 * 1024


class Owner(Protocol):
    """Who keeps the connection is told when it begins and when it is gone."""

    def entered(self, connection: Connection) -> None: ...

    def left(self, connection: Connection) -> None: ...

    def hurried(self, connection: Connection) -> None:
        """Its deadline has come nearer."""
        ...


class Connection(asyncio.Protocol):
    """One connection, plain or TLS."""

    __slots__ = (
        "_future",
        "_loop",
        "_open",
        "_owner",
        "_reader",
        "_transport",
        "_unsent",
        "_watch",
        "certificate",
        "deadline",
        "fault",
        "generation",
        "idle_since",
        "made_at",
        "uses",
    )

    def __init__(
        self, owner: Owner, loop: asyncio.AbstractEventLoop, reader: AnswerReader, generation: int
    ) -> None:
        self._owner = owner
        self._loop = loop
        self._reader = reader
        self._transport: asyncio.Transport | None = None
        self._future: asyncio.Future[Answer[Body]] | None = None
        self._open = False
        self.generation = generation
        self.certificate: bytes | None = None
        self.fault: ExchangeFailed | None = None
        self.made_at = loop.time()
        self.idle_since = self.made_at
        self.uses = 0
        self.deadline = math.inf
        """When the exchange under way expires, as things stand."""
        self._watch: Watch | None = None
        self._unsent = 0  # of the request, when that was last looked at

    @property
    def usable(self) -> bool:
        """Open, clean and between two exchanges."""
        transport = self._transport
        return self._open and transport is not None and not transport.is_closing()

    def ask(
        self, head: bytes, body: Body, *, head_only: bool, watch: Watch
    ) -> asyncio.Future[Answer[Body]]:
        """Write a request on a usable connection; the future brings the answer or the failure.

        The owner calls :meth:`expire` when :attr:`deadline` has come.
        """
        transport = self._transport
        assert transport is not None  # noqa: S101 (a usable connection has one)
        self._reader.begin(head_only=head_only)
        self._future = future = self._loop.create_future()
        watch.begin(self._loop.time())
        self._watch, self._unsent = watch, 0
        if isinstance(body, Spooled):
            raise TypeError("not yet")
        if not body:
            transport.write(head)
        elif len(body) <= _JOIN_BELOW_BYTES:
            transport.write(head + body)
        else:
            self._unsent = len(head) + len(body)  # until resume_writing
            transport.write(head)
            transport.write(body)
            if not transport.get_write_buffer_size():
                watch.went(self._loop.time(), self._unsent)
                self._unsent = 0
        if not self._unsent:
            watch.written(self._loop.time())  # the network takes as much as that
        self.deadline = watch.due
        return future

    def expire(self, now: float) -> None:
        """The deadline has come: the exchange under way fails, if it stands still indeed."""
        watch, transport = self._watch, self._transport
        if self._future is None or watch is None:
            return
        if watch.phase is Phase.SEND and transport is not None:
            unsent = transport.get_write_buffer_size()
            if unsent < self._unsent:
                watch.went(now, self._unsent - unsent)
                self._unsent = unsent
                if not unsent:
                    watch.written(now)
        self.deadline = watch.due
        if self.deadline <= now:
            self._fail(TimedOut(watch.phase, *watch.bound))

    def leave(self) -> None:
        """End a connection that carries nothing, politely."""
        self._open = False
        if self._transport is not None:
            self._transport.close()

    def abandon(self) -> None:
        """End the connection at once, whatever is on it."""
        self._open = False
        if self._transport is not None:
            self._transport.abort()

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._open = True
        self._owner.entered(self)
        ssl_object = transport.get_extra_info("ssl_object")
        if ssl_object is not None:
            self.certificate = ssl_object.getpeercert(binary_form=True)

    def data_received(self, data: bytes) -> None:
        if self._future is None:
            if self._open:
                self._fail(ProtocolError("bytes came that answer no request", sent=False))
            return
        try:
            whole = self._reader.feed(data)
        except ExchangeFailed as failure:
            self._fail(failure)
            return
        if whole:
            self._finish()
        elif self._watch is not None:
            before, watch = self.deadline, self._watch
            watch.came(self._loop.time(), len(data))
            self.deadline = watch.due
            if self.deadline < before:
                self._owner.hurried(self)

    def resume_writing(self) -> None:
        watch = self._watch
        if watch is not None and watch.phase is Phase.SEND:
            now = self._loop.time()
            watch.went(now, self._unsent)
            watch.written(now)
            before, self.deadline = self.deadline, watch.due
            if self.deadline < before:
                self._owner.hurried(self)

    def eof_received(self) -> bool:
        self._ended(None)
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self._ended(exc)
        self._owner.left(self)

    def _ended(self, exc: Exception | None) -> None:
        if self._future is not None:
            if exc is None and self._reader.end():
                self._finish()
            else:
                self._fail(self._lost(exc))
        elif self._open and self.uses == 0 and self.fault is None:
            self.fault = self._lost(exc)
        self._open = False

    def _lost(self, exc: Exception | None) -> ExchangeFailed:
        sent = self._future is not None
        answered = sent and self._reader.started
        if isinstance(exc, ssl.SSLError) and self.uses == 0 and not answered:
            return ConnectFailed(tls_reason(exc), exc, sent=sent)
        detail = f"the connection ended {'within' if answered else 'before'} the answer"
        if exc is not None:
            detail += f" ({type(exc).__name__})"
        if self.certificate is not None and self.uses == 0 and not answered:
            detail += "; so ends a TLS 1.3 server that refuses our certificate without an alert"
        return Disconnected(detail, answered=answered, sent=sent)

    def _finish(self) -> None:
        future, self._future = self._future, None
        self.deadline = math.inf
        transport = self._transport
        reader = self._reader
        reused = self.uses > 0
        self.uses += 1
        if not reader.keep_alive:
            self.leave()
        elif transport is None or transport.get_write_buffer_size():
            # answered before the request was read: what is still unsent would confuse the next one
            self.abandon()
        if future is not None and not future.done():
            future.set_result(
                Answer(reader.status, reader.headers, reader.body, reused, self.certificate)
            )

    def _fail(self, failure: ExchangeFailed) -> None:
        future, self._future = self._future, None
        self.deadline = math.inf
        if self.fault is None:
            self.fault = failure
        self.abandon()
        if future is not None and not future.done():
            raise_in(future, failure)


def raise_in(future: asyncio.Future[Any], failure: ExchangeFailed) -> None:
    """Fail a future whose owner may have been cancelled and so will never look at it."""
    future.set_exception(failure)
    future.exception()


def tls_reason(error: ssl.SSLError) -> str:
    """A short English reason; OpenSSL's own words without file names and numbers."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"TLS: {error.verify_message}"
    reason = error.reason or "handshake failed"
    return f"TLS: {reason.replace('_', ' ').lower()}"
