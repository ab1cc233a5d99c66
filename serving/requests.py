"""Requests as they come in: one HTTP/1.1 connection over llhttp, without a framework.

A connection reads one request, hands it to the handler, writes the reply, and goes on. It is the
counterpart of :mod:`serving.client` for the message path, where a framework's server would cost
three times as much as all that it does here (docs/benchmarks.md).

Invariants:
- requests of a connection are answered one by one, in order; what a client sends ahead waits, one
  read of the socket of it at most, and is not parsed before its turn;
- the body is read only when the handler asks for it, up to the handler's bound; a body that nobody
  read ends the connection, so that it is never taken for the next request (RFC 9112 section 9.3);
- what is not HTTP as :mod:`serving.request_reader` takes it is answered once, with a problem, and
  ends the connection;
- every wait ends: for the first byte, for the head, for the body, for the client to take a reply;
  nothing that a client sends is kept without a bound, finished or not;
- a long reply is read from its file as the client takes it; what an exchange kept of bodies ends
  when its reply is written, or given up;
- a client that hangs up does not cancel the handler: what was begun is finished and recorded;
- a connection is closed so that the client can still read the reply (RFC 9112 section 9.6).
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable
from typing import Any, Final, Protocol, cast

import structlog

from exchange.problems import Problem
from serving.bodies import PIECE_BYTES, Spooled, Spools
from serving.incoming import Request as Request
from serving.outgoing import BODILESS, format_head
from serving.outgoing import Reply as Reply
from serving.request_lines import malformed
from serving.request_reader import RequestReader

MAX_FIELDS: Final = 100
MAX_HEAD_BYTES: Final = 64 * 1024
LINGER_S: Final = 2.0
"""For how long the rest of a body that nobody reads is taken and dropped."""
_JOIN_BELOW_BYTES: Final = 64 * 1024
log = structlog.get_logger("serving.requests")

Handler = Callable[[Request], Awaitable[Reply]]


class Owner(Protocol):
    """What a connection needs of its listener."""

    handler: Handler
    spools: Spools
    max_line_bytes: int
    max_head_bytes: int
    max_fields: int
    head_s: float
    keepalive_s: float
    stopping: bool

    def opened(self, connection: Connection) -> None: ...
    def closed(self, connection: Connection) -> None: ...
    def refusal(self, problem: Problem) -> Reply:
        """The reply to what is not HTTP, after it was counted."""
        ...

    def failure(self) -> Reply:
        """The reply to an error that a handler let through."""
        ...


class Connection(asyncio.Protocol):
    """One connection of a client; made by :mod:`serving.listener`.

    ``judged`` belongs to the handler: what it has found out about this connection.
    """

    __slots__ = (
        "_ahead",
        "_eof",
        "_gone",
        "_owner",
        "_paused",
        "_reader",
        "_reply_by",
        "_task",
        "_unsent",
        "_unwritable",
        "deadline",
        "deaf",
        "judged",
        "loop",
        "remote",
        "spools",
        "transport",
    )

    def __init__(self, owner: Owner, loop: asyncio.AbstractEventLoop, remote: str) -> None:
        self._owner = owner
        self.spools = owner.spools
        self.loop = loop
        self.transport: asyncio.Transport | None = None
        self.remote = remote  # as it was accepted: of a client that has left nobody can tell
        self.deadline = 0.0
        self.judged: Any = None
        self._reader = RequestReader(self, owner)
        self._task: asyncio.Task[None] | None = None
        self._ahead = b""
        self._paused = False
        self.deaf = False  # whatever still comes is dropped
        self._eof = False
        self._unsent: float = math.inf
        self._reply_by = math.inf  # at the slowest that a client may take a long reply
        self._unwritable: asyncio.Future[None] | None = None
        self._gone: asyncio.Future[None] | None = None

    @property
    def busy(self) -> bool:
        """Whether a request is being answered."""
        return self._task is not None

    # --- asyncio ---------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.deadline = self.loop.time() + self._owner.keepalive_s
        self._owner.opened(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self.transport = None
        self.deaf = True
        self._cut_short()
        if self._unwritable is not None and not self._unwritable.done():
            self._unwritable.set_result(None)
        if self._gone is not None and not self._gone.done():
            self._gone.set_result(None)
        self._owner.closed(self)

    def data_received(self, data: bytes) -> None:
        request = self._reader.request
        if request is not None and request.complete:
            self.wait_its_turn(data)
        else:
            self._reader.feed(data)

    def eof_received(self) -> bool:
        self._eof = True
        self._cut_short()
        # The way back stays open while an answer is made; over TLS it cannot (RFC 8446 6.1).
        return self._task is not None and extra_info(self.transport, "ssl_object") is None

    def _cut_short(self) -> None:
        if self._reader.request is not None:
            self._reader.request.failed(malformed("the connection ended before the body", 400))

    def pause_writing(self) -> None:
        self._unwritable = self.loop.create_future()

    def resume_writing(self) -> None:
        if self._unwritable is not None and not self._unwritable.done():
            self._unwritable.set_result(None)
        self._unwritable = None

    # --- what the reader tells -------------------------------------------------------------------

    def head_begins(self) -> None:
        """The first bytes of a request have come."""
        self.deadline = self.loop.time() + self._owner.head_s

    def answer(self, request: Request) -> None:
        """A head is read: its request is answered beside what is still read of its body."""
        self.deadline = math.inf
        self._task = self.loop.create_task(self._answer(request))

    def hear_no_more(self) -> None:
        """Answer the request under way, and end the connection behind it."""
        self.deaf = True
        request = self._reader.request
        if request is not None:
            request.keep_alive = False
            request.failed(malformed("the body does not end", 400))

    def wait_its_turn(self, data: bytes) -> None:
        """Keep what came behind the request that is being answered."""
        self._ahead += data
        self.pause()

    def refuse(self, problem: Problem) -> None:
        """Answer what is not HTTP, once, and end the connection."""
        self.deaf = True
        reply, request = self._owner.refusal(problem), self._reader.request
        if request is not None:
            # In the body of a request under way: its handler is told, and answers for it.
            request.keep_alive = False
            request.failed(problem)
            return
        self._write("", reply, keep=False)
        self._leave(drained=False)

    # --- answering -------------------------------------------------------------------------------

    async def _answer(self, request: Request) -> None:
        keep = False
        try:
            keep = await self._reply(request)
        finally:
            if self._unwritable is None or self.transport is None:
                request.room.end()
            else:  # what is written and not taken yet is memory still
                self._unwritable.add_done_callback(lambda _: request.room.end())
        self._task = None
        self._reader.next()
        if not keep:
            self._leave(drained=request.complete and not self._ahead and not self.deaf)
            return
        self._unsent, self.deadline = math.inf, self.loop.time() + self._owner.keepalive_s
        if self._ahead or self._paused:
            ahead, self._ahead = self._ahead, b""
            self.resume()
            self._reader.feed(ahead)

    async def _reply(self, request: Request) -> bool:
        """Answer a request; returns whether the connection may carry another one."""
        owner = self._owner
        try:
            reply = await owner.handler(request)
        except Exception:
            log.exception("handler_failed")
            reply = owner.failure()
            request.keep_alive = False
        except asyncio.CancelledError:
            self.abort()
            raise
        if self._unwritable is not None:
            await self._writable()  # the reply before this one is not taken yet
        keep = request.keep_alive and request.complete and not owner.stopping and not self._eof
        try:
            self._write(request.method, reply, keep)
        except ValueError:
            log.exception("reply_cannot_be_written")
            keep = False
            self._write(request.method, owner.failure(), keep)
            return False
        bodiless = reply.status in BODILESS or request.method == "HEAD"
        if isinstance(reply.body, Spooled) and not bodiless:
            await self._stream(reply.body)
        return keep

    async def _stream(self, body: Spooled) -> None:
        """Write a long body as the client takes it."""
        spools = self.spools
        self._reply_by = self.loop.time() + spools.stall_s + body.size / spools.floor_bytes_per_s
        try:
            for offset in range(0, body.size, PIECE_BYTES):
                piece = await body.read(offset, PIECE_BYTES)  # while the one before is taken
                await self._writable()
                if self.transport is None or self.transport.is_closing():
                    return
                self.transport.write(piece)
            await self._writable()
        except Problem:
            self.abort()  # the client sees that it is not whole
        finally:
            self._reply_by = math.inf

    async def _writable(self) -> None:
        """Wait until the client has taken nearly all that is written, or is gone."""
        self._unsent, self.deadline = math.inf, self.loop.time() + self.spools.stall_s
        if self._unwritable is not None:
            await self._unwritable
        self.deadline = math.inf

    def _write(self, method: str, reply: Reply, keep: bool) -> None:
        """Write a reply; of one with a long body, the head.

        Raises:
            ValueError: a field that would be read as something else; nothing was written.
        """
        transport = self.transport
        if transport is None or transport.is_closing():
            return
        head = format_head(method, reply, keep=keep)
        body = b"" if reply.status in BODILESS else reply.body
        if method == "HEAD" or not body or isinstance(body, Spooled):
            transport.write(head)
        elif len(body) < _JOIN_BELOW_BYTES:
            transport.write(head + body)
        else:
            transport.write(head)
            transport.write(body)

    def write_interim(self, data: bytes) -> None:
        """Send an interim answer (100 Continue)."""
        if self.transport is not None and not self.transport.is_closing():
            self.transport.write(data)

    # --- ending ----------------------------------------------------------------------------------

    def _leave(self, *, drained: bool) -> None:
        """End the connection behind the last reply.

        A socket that is closed while something unread is in it resets the connection, and the
        client may lose the reply: take and drop what comes, for a while (RFC 9112 section 9.6).
        """
        transport = self.transport
        if (
            drained
            or self._eof
            or self._owner.stopping
            or transport is None
            or transport.is_closing()
        ):
            self.close()
            return
        self.deaf, self._ahead = True, b""
        self._unsent, self.deadline = math.inf, self.loop.time() + LINGER_S
        self.resume()
        if transport.can_write_eof():
            transport.write_eof()

    def pause(self) -> None:
        if not self._paused and self.transport is not None and not self.transport.is_closing():
            self._paused = True
            self.transport.pause_reading()

    def resume(self) -> None:
        if self._paused and self.transport is not None and not self.transport.is_closing():
            self._paused = False
            self.transport.resume_reading()

    def close(self) -> None:
        """Close after what is written has gone out."""
        self.deaf = True
        self._unsent, self.deadline = math.inf, self.loop.time() + self.spools.stall_s
        if self.transport is not None:
            self.transport.close()

    def abort(self) -> None:
        """Close at once."""
        self.deaf = True
        if self.transport is not None:
            self.transport.abort()

    def expire(self, now: float) -> None:
        """End what waits for too long: for a head, the next request, a reply to be taken.

        A client that has begun a head is told (RFC 9110 section 15.5.9); one that has sent nothing
        asked for nothing, and could take an answer for that to its next request.
        """
        transport = self.transport
        if now <= self.deadline or transport is None:
            return
        unsent = transport.get_write_buffer_size()
        if 0 < unsent < self._unsent and now < self._reply_by:
            self._unsent, self.deadline = unsent, now + self.spools.stall_s  # it goes on, slowly
        elif self._task is None and not unsent and not transport.is_closing():
            if self._reader.raw_bytes and not self.deaf:  # of a head that was begun
                self.refuse(malformed("the head did not come in time", 408))
            else:
                self.close()
        else:
            self.abort()

    async def finished(self) -> None:
        """Wait until the request under way is answered and the connection has ended."""
        if self._task is not None:
            await asyncio.wait([self._task])
        if self.transport is not None:
            self._gone = self._gone or self.loop.create_future()
            await asyncio.wait([self._gone])


def extra_info(transport: Any, name: str) -> Any:
    """What a transport tells of itself; None when it is gone."""
    return None if transport is None else transport.get_extra_info(name)
