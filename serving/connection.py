"""One connection of a client: writes a request, reads the answer, knows if it may be used again.

Invariants:

- One exchange at a time (no pipelining): an answer belongs to the request that was written last.
- ``usable`` is True only between two exchanges, when the last answer was read to its exact end and
  neither side asked to close (RFC 9112 section 9.3). Bytes that nobody asked for end it.
- The future of :meth:`Connection.ask` always comes to an end: with the answer, with a failure, or
  because the owner abandons the connection.
- Of a long answer that nobody takes, no more than a piece is read (TCP stops the server); of a long
  request, no more is written than the server takes.

Does not reconnect, repeat or time out by itself: :mod:`serving.client` does.
"""

from __future__ import annotations

import asyncio
import math
import ssl
from typing import Any, Final, Protocol, cast

from exchange.problems import Problem
from serving.answers import Answer, AnswerReader
from serving.bodies import IN_MEMORY_BYTES, PIECE_BYTES, Body, Room, Spooled
from serving.failures import ConnectFailed, Disconnected, ExchangeFailed, ProtocolError, TimedOut
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
        "_busy",
        "_future",
        "_held",
        "_long",
        "_loop",
        "_open",
        "_owner",
        "_paused",
        "_reader",
        "_reused",
        "_room",
        "_sending",
        "_transport",
        "_unsent",
        "_unwritable",
        "_watch",
        "_whole",
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
        self._busy = False  # an exchange is under way
        self._future: asyncio.Future[Answer[Body] | None] | None = None
        self._open = False
        self._room: Room | None = None  # of this exchange
        self._held = 0
        self._long = False  # the answer is taken piece by piece
        self._paused = False
        self._sending = False  # of a long request, a part is not written yet
        self._reused = False
        self._whole = False
        self._unwritable: asyncio.Future[None] | None = None
        self.generation = generation
        self.certificate: bytes | None = None
        self.fault: Exception | None = None
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
        self,
        head: bytes,
        body: Body,
        *,
        head_only: bool,
        watch: Watch,
        room: Room | None = None,
        max_body_bytes: int | None = None,
    ) -> asyncio.Future[Answer[Body] | None]:
        """Write a request on a usable connection; the future brings the answer or the failure.

        Of a long body nothing is written: :meth:`send` does. When the future brings None, the
        answer is a long one: :meth:`receive` brings it. That happens only when there is ``room``.
        The owner calls :meth:`expire` when :attr:`deadline` has come.
        """
        transport = self._transport
        assert transport is not None  # noqa: S101 (a usable connection has one)
        self._reader.begin(head_only=head_only, max_body_bytes=max_body_bytes)
        self._future = future = self._loop.create_future()
        self._busy = True
        self._room, self._held = room, 0
        self._long = self._whole = False
        watch.begin(self._loop.time())
        self._watch, self._unsent = watch, 0
        if isinstance(body, Spooled):
            self._sending = True
            transport.write(head)
        elif not body:
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
        if not self._unsent and not self._sending:
            watch.written(self._loop.time())  # the network takes as much as that
        self.deadline = watch.due
        return future

    async def send(self, body: Spooled) -> None:
        """Write a long body as the server takes it, who may answer meanwhile.

        What goes wrong fails the exchange; the caller cancels this when the exchange has ended.
        """
        watch = self._watch
        assert watch is not None  # noqa: S101 (a request is under way)
        for offset in range(0, body.size, PIECE_BYTES):
            try:
                piece = await body.read(offset, PIECE_BYTES)  # while the one before is taken
            except Problem as problem:
                self._fail(problem)
                return
            await self._writable()
            if not self._busy or self._transport is None:
                return
            self._transport.write(piece)
            self._unsent = self._transport.get_write_buffer_size()
            watch.went(self._loop.time(), len(piece))
            self.deadline = watch.due
        await self._writable()
        self._sending = False
        if self._busy:
            watch.forwarded(self._loop.time())
            self.deadline = watch.due

    async def receive(self) -> Answer[Body]:
        """Spool an answer of which :meth:`ask` said that it is long.

        Raises:
            ExchangeFailed: it does not become whole.
            Problem: ``ServerOverloaded`` when there is no room for it.
        """
        reader, room = self._reader, self._room
        assert room is not None  # noqa: S101 (without one no answer is long)
        # So much is between socket and disk at most, while it comes and while it goes on.
        room.hold(IN_MEMORY_BYTES - self._held)
        spool = room.spool(reader.announced)
        while True:
            if reader.pending:
                pieces = reader.take()
                self._resume()
                await spool.write(pieces)
            elif not self._busy:
                break
            else:
                self._future = more = self._loop.create_future()
                await more
        if not self._whole and self.fault is not None:
            raise self.fault
        return self._answer(spool.done())

    async def _writable(self) -> None:
        """Wait until nearly all that is written is taken, or the connection is gone."""
        if self._unwritable is not None:
            await self._unwritable

    def expire(self, now: float) -> None:
        """The deadline has come: the exchange under way fails, if it stands still indeed."""
        watch, transport = self._watch, self._transport
        if not self._busy or watch is None:
            return
        if watch.phase is Phase.SEND and transport is not None:
            unsent = transport.get_write_buffer_size()
            if unsent < self._unsent:
                # Of a long request, each piece was counted when it was written.
                watch.went(now, 0 if self._sending else self._unsent - unsent)
                self._unsent = unsent
                if not unsent and not self._sending:
                    watch.written(now)
        if self._paused:
            watch.came(now, 0)  # it is our own disk that the answer waits for
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
        if not self._busy:
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
            return
        if self._watch is not None:
            before, watch = self.deadline, self._watch
            watch.came(self._loop.time(), len(data))
            self.deadline = watch.due
            if self.deadline < before:
                self._owner.hurried(self)
        if self._room is not None:
            self._came(self._room)

    def _came(self, room: Room) -> None:
        """More of an answer that is not whole: count it, or let it be spooled."""
        reader = self._reader
        pending = reader.pending
        if self._long:
            if pending >= PIECE_BYTES:
                self._pause()
                self._tell(None)
        elif max(reader.announced, pending) > IN_MEMORY_BYTES:
            self._long = True
            self._tell(None)
        else:
            self._hold(room, max(reader.announced, pending))

    def _hold(self, room: Room, size: int) -> bool:
        """Count what a short answer takes; False when there is no room for it."""
        try:
            room.hold(size - self._held)
        except Problem as problem:
            self._fail(problem)
            return False
        self._held = size
        return True

    def pause_writing(self) -> None:
        self._unwritable = self._loop.create_future()

    def resume_writing(self) -> None:
        if self._unwritable is not None and not self._unwritable.done():
            self._unwritable.set_result(None)
        self._unwritable = None
        watch = self._watch
        if watch is not None and watch.phase is Phase.SEND and not self._sending:
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
        if self._unwritable is not None and not self._unwritable.done():
            self._unwritable.set_result(None)
        self._owner.left(self)

    def _ended(self, exc: Exception | None) -> None:
        if self._busy:
            if exc is None and self._reader.end():
                self._finish()
            else:
                self._fail(self._lost(exc))
        elif self._open and self.uses == 0 and self.fault is None:
            self.fault = self._lost(exc)
        self._open = False

    def _lost(self, exc: Exception | None) -> ExchangeFailed:
        sent = self._busy
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
        """The answer is whole; of a long one, the rest is still to be taken."""
        reader, room = self._reader, self._room
        if room is not None and not self._long and reader.pending > self._held:
            if reader.pending > IN_MEMORY_BYTES:
                self._long = True  # all of it came at once
            elif not self._hold(room, reader.pending):
                return
        self._busy, self._whole = False, True
        self.deadline = math.inf
        transport = self._transport
        self._reused = self.uses > 0
        self.uses += 1
        if not reader.keep_alive:
            self.leave()
        elif transport is None or self._sending or transport.get_write_buffer_size():
            # answered before the request was read: what is still unsent would confuse the next one
            self.abandon()
        self._tell(None if self._long else self._answer(reader.body))

    def _answer(self, body: Body) -> Answer[Body]:
        reader = self._reader
        return Answer(reader.status, reader.headers, body, self._reused)

    def _tell(self, answer: Answer[Body] | None) -> None:
        future, self._future = self._future, None
        if future is not None and not future.done():
            future.set_result(answer)

    def _fail(self, failure: Exception) -> None:
        future, self._future = self._future, None
        self._busy = False
        self.deadline = math.inf
        if self.fault is None:
            self.fault = failure
        self.abandon()
        if future is not None and not future.done():
            raise_in(future, failure)

    def _pause(self) -> None:
        if not self._paused and self.usable and self._transport is not None:
            self._paused = True
            self._transport.pause_reading()

    def _resume(self) -> None:
        if self._paused and self.usable and self._transport is not None:
            self._paused = False
            self._transport.resume_reading()


def raise_in(future: asyncio.Future[Any], failure: Exception) -> None:
    """Fail a future whose owner may have been cancelled and so will never look at it."""
    future.set_exception(failure)
    future.exception()


def tls_reason(error: ssl.SSLError) -> str:
    """A short English reason; OpenSSL's own words without file names and numbers."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"TLS: {error.verify_message}"
    reason = error.reason or "handshake failed"
    return f"TLS: {reason.replace('_', ' ').lower()}"
