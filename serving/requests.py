"""Requests as they come in: one HTTP/1.1 connection over llhttp, without a framework.

A connection reads one request, hands it to the handler, writes the reply, and goes on. It is the
counterpart of :mod:`serving.client` for the message path, where a framework's server would cost
three times as much as all that it does here (docs/benchmarks.md).

Invariants:
- requests of a connection are answered one by one, in order; what a client sends ahead waits, one
  read of the socket of it at most, and is not parsed before its turn;
- the body is read only when the handler asks for it, up to the handler's bound; a body that nobody
  read ends the connection, so that it is never taken for the next request (RFC 9112 section 9.3);
- what llhttp refuses (both lengths, bare CR, obs-fold, illegal characters), and what it takes but
  others may read in another way (:mod:`serving.request_lines`), is answered once, with a problem,
  and ends the connection; another protocol is not taken up (RFC 9110 section 7.8);
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
import time
from collections.abc import Awaitable, Callable
from email.utils import formatdate
from http import HTTPStatus
from typing import Any, Final, NamedTuple, Protocol, cast

import structlog
from httptools import HttpParserError, HttpParserUpgrade, HttpRequestParser

from exchange.problems import Code, Problem
from serving.backends import Headers
from serving.bodies import PIECE_BYTES, Body, Spooled, Spools
from serving.field_names import FIELD_NAMES
from serving.incoming import Request as Request
from serving.request_lines import (
    is_host,
    is_whole,
    long_target,
    malformed,
    origin_form,
    skip_blank,
)

MAX_FIELDS: Final = 100
MAX_HEAD_BYTES: Final = 64 * 1024
LINGER_S: Final = 2.0
"""For how long the rest of a body that nobody reads is taken and dropped."""
_STATUS_LINES: Final = {
    status.value: f"HTTP/1.1 {status.value} {status.phrase}" for status in HTTPStatus
}
_BODILESS: Final = frozenset({204, 304})
_HEAD_END: Final = b"\r\n\r\n"
_SPACE: Final = ord(" ")
_JOIN_BELOW_BYTES: Final = 64 * 1024
log = structlog.get_logger("serving.requests")


class Reply(NamedTuple):
    """What a handler answers: end-to-end fields with lower-case names, and the whole body."""

    status: int
    headers: Headers
    body: Body


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
        "_deaf",
        "_eof",
        "_fields",
        "_gone",
        "_host",
        "_line",
        "_line_whole",
        "_names",
        "_owner",
        "_parser",
        "_paused",
        "_raw_bytes",
        "_reply_by",
        "_request",
        "_tail",
        "_target",
        "_task",
        "_unsent",
        "_unwritable",
        "deadline",
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
        self._parser: Any = HttpRequestParser(self)
        self._request: Request | None = None
        self._task: asyncio.Task[None] | None = None
        self._ahead = b""
        self._fields: list[tuple[str, str]] = []
        self._names: list[bytes] = []
        self._target = b""
        self._line = b""  # as much of a request line as has come, while it is not whole
        self._line_whole = False
        self._host = ""  # the last one that was judged good
        self._tail = b""  # of the pieces of a head that is not complete
        self._raw_bytes = 0  # of the head, and of a chunked body with its framing
        self._paused = False
        self._deaf = False  # whatever still comes is dropped
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
        self.deadline = self.loop.time() + self._owner.head_s
        self._owner.opened(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self.transport = None
        self._deaf = True
        if self._request is not None:
            self._request.failed(malformed("the connection ended before the body", 400))
        if self._unwritable is not None and not self._unwritable.done():
            self._unwritable.set_result(None)
        if self._gone is not None and not self._gone.done():
            self._gone.set_result(None)
        self._owner.closed(self)

    def data_received(self, data: bytes) -> None:
        if self._request is not None and self._request.complete:
            self._wait_its_turn(data)
        else:
            self._feed(data)

    def eof_received(self) -> bool:
        self._eof = True
        if self._request is not None:
            self._request.failed(malformed("the connection ended before the body", 400))
        # The way back stays open while an answer is made; over TLS it cannot (RFC 8446 6.1).
        return self._task is not None and extra_info(self.transport, "ssl_object") is None

    def pause_writing(self) -> None:
        self._unwritable = self.loop.create_future()

    def resume_writing(self) -> None:
        if self._unwritable is not None and not self._unwritable.done():
            self._unwritable.set_result(None)
        self._unwritable = None

    # --- llhttp ----------------------------------------------------------------------------------

    def _feed(self, data: bytes) -> None:
        """Parse, one message at a time: llhttp cannot be told to stop behind one."""
        while data and not self._deaf:
            request = self._request
            if request is None:
                if not self._raw_bytes:
                    self.deadline = self.loop.time() + self._owner.head_s
                if not self._line_whole:
                    data = self._judge_line(data)
                    if not data:
                        return
                cut = self._end_of_head(data)
                self._raw_bytes += cut
                if self._raw_bytes > self._owner.max_head_bytes:
                    self._refuse(self._too_long_head())
                    return
            elif request.complete:
                self._wait_its_turn(data)
                return
            elif request.length is None:
                cut = len(data)
                self._raw_bytes += cut
            else:
                cut = request.length - request.size
            if cut >= len(data):
                piece, data = data, b""
            else:
                piece, data = data[:cut], data[cut:]
            if not self._parse(piece):
                return

    def _judge_line(self, data: bytes) -> bytes:
        """Judge the request line as it comes; returns what is to be parsed of this piece: all but
        blank lines in front, and nothing when the line was refused."""
        start = self._line + data if self._line else data
        end = start.find(b"\r\n")
        if (
            start[end - 9 : end] == b" HTTP/1.1"
            and start.count(b" ", 0, end) == 2
            and start[0] > _SPACE
        ):
            self._line, self._line_whole = b"", True  # as nearly all are
            return data
        try:
            if self._line in (b"", b"\r"):
                data = skip_blank(start, self._raw_bytes)
                self._raw_bytes += len(start) - len(data)
                start = data
            if start in (b"", b"\r"):
                self._line = start
                return b""
            self._line_whole = is_whole(start, self._owner.max_line_bytes)
        except Problem as problem:
            self._refuse(problem)
            return b""
        self._line = b"" if self._line_whole else start
        return data

    def _end_of_head(self, data: bytes) -> int:
        """How much of this piece belongs to a head, whose end may be cut between two pieces."""
        tail = self._tail
        if tail:
            place = (tail + data[:3]).find(_HEAD_END)
            if place >= 0:
                self._tail = b""
                return place + len(_HEAD_END) - len(tail)
        place = data.find(_HEAD_END)
        if place >= 0:
            self._tail = b""
            return place + len(_HEAD_END)
        self._tail = (tail + data[-3:])[-3:]
        return len(data)

    def _parse(self, data: bytes) -> bool:
        """Give llhttp a piece; False when nothing more may follow."""
        try:
            self._parser.feed_data(data)
        except HttpParserUpgrade:
            request = self._request
            if request is None or request.length == 0:
                self._hear_no_more()
                return False
            # The offer is ignored, and the body belongs to the request (RFC 9110 section 7.8);
            # llhttp leaves it to the other protocol.
            request.keep_alive = False
            self._parser = _parser_of_body(self, request.length)
            return True
        except HttpParserError as error:
            cause = error.__context__
            if isinstance(cause, _SentAhead):
                self._hear_no_more()
            elif isinstance(cause, _Refused):
                self._refuse(cause.problem)
            else:
                text = str(error)[:200]
                self._refuse(malformed(text or "not a well-formed HTTP/1.1 message", 400))
            return False
        request = self._request
        if (
            request is not None
            and request.length is None
            and self._raw_bytes > 2 * self._owner.max_head_bytes + 8 * request.size
        ):
            # Chunk extensions and trailers without end; eight bytes frame a chunk of one byte.
            self._refuse(malformed("the chunks carry too little", 400))
            return False
        return True

    def _hear_no_more(self) -> None:
        """Answer the request under way, and end the connection behind it."""
        self._deaf = True
        if self._request is not None:
            self._request.keep_alive = False
            self._request.failed(malformed("the body does not end", 400))

    def _wait_its_turn(self, data: bytes) -> None:
        self._ahead += data
        self.pause()

    def on_url(self, url: bytes) -> None:
        if self._request is not None:
            raise _SentAhead
        self._target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._request is None:  # and not in a trailer, which is dropped
            self._names.append(name)
            self._fields.append((FIELD_NAMES[name], value.decode("latin-1").strip(" \t")))

    def on_headers_complete(self) -> None:
        if self._request is not None:
            raise _SentAhead
        parser = self._parser
        target, self._target = self._target, b""
        fields, self._fields = tuple(self._fields), []
        written, self._names = tuple(self._names), []
        names = [name for name, _ in fields]
        version = parser.get_http_version()
        method = parser.get_method().decode("ascii")
        self._judge(version, target, names)
        host = self._judge_host(fields, names) if "host" in names else None
        fault: Problem | None = None
        if target[:1] != b"/":
            try:
                target = origin_form(method, target, host)
            except Problem as problem:
                fault = problem
        length: int | None = 0
        if "content-length" in names:
            length = int(fields[names.index("content-length")][1])
        elif "transfer-encoding" in names:
            if version == "1.0":  # RFC 9112 section 6.1: its framing is faulty
                raise _Refused(malformed("HTTP/1.0 has no transfer codings", 400))
            length = None
            codings = [value.lower() for name, value in fields if name == "transfer-encoding"]
            if codings != ["chunked"]:
                raise _Refused(malformed("no transfer coding but chunked is taken", 501))
        self._request = request = Request(
            self,
            method,
            target.decode("latin-1"),
            fields,
            names=written,
            length=length,
            keep_alive=fault is None and version == "1.1" and parser.should_keep_alive(),
            expects_continue="expect" in names
            and version == "1.1"
            and fields[names.index("expect")][1].lower() == "100-continue",
        )
        request.fault = fault
        self.deadline = math.inf
        self._task = self.loop.create_task(self._answer(request))

    def _judge(self, version: str, target: bytes, names: list[str]) -> None:
        if version not in ("1.1", "1.0"):
            raise _Refused(malformed("only HTTP/1.1 is spoken here", 505))
        if len(target) > self._owner.max_line_bytes:
            raise _Refused(long_target(self._owner.max_line_bytes))
        if len(names) > self._owner.max_fields:
            raise _Refused(self._too_long_head())
        hosts = names.count("host")
        if hosts != 1 and (hosts > 1 or version == "1.1"):
            raise _Refused(malformed("exactly one Host field is needed", 400))

    def _judge_host(self, fields: Headers, names: list[str]) -> str:
        """RFC 9112 section 3.2: an invalid Host is answered with 400."""
        host = fields[names.index("host")][1]
        if host != self._host:
            if not is_host(host):
                raise _Refused(malformed("the Host field names no host", 400))
            self._host = host
        return host

    def _too_long_head(self) -> Problem:
        owner = self._owner
        return Problem(
            Code.INVALID_HEADER,
            where="header block",
            detail=f"more than {owner.max_fields} fields or {owner.max_head_bytes} bytes",
            status=431,
        )

    def on_body(self, body: bytes) -> None:
        request = self._request
        if request is not None and request.came(body):
            self.pause()

    def on_message_complete(self) -> None:
        request = self._request
        if request is not None and (
            request.size == request.length
            or (request.length is None and not self._parser.should_upgrade())
        ):
            request.ended()

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
        self._request = self._task = None
        if not keep:
            self._leave(drained=request.complete and not self._ahead and not self._deaf)
            return
        self._raw_bytes, self._line_whole = 0, False
        self._unsent, self.deadline = math.inf, self.loop.time() + self._owner.keepalive_s
        if self._ahead or self._paused:
            ahead, self._ahead = self._ahead, b""
            self.resume()
            self._feed(ahead)

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
        bodiless = reply.status in _BODILESS or request.method == "HEAD"
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
        body = b"" if reply.status in _BODILESS else reply.body
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

    def _refuse(self, problem: Problem) -> None:
        """Answer what is not HTTP, once, and end the connection."""
        self._deaf = True
        reply = self._owner.refusal(problem)
        if self._request is not None:
            # In the body of a request under way: its handler is told, and answers for it.
            self._request.keep_alive = False
            self._request.failed(problem)
            return
        self._write("", reply, keep=False)
        self._leave(drained=False)

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
        self._deaf, self._ahead = True, b""
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
        self._deaf = True
        self._unsent, self.deadline = math.inf, self.loop.time() + self.spools.stall_s
        if self.transport is not None:
            self.transport.close()

    def abort(self) -> None:
        """Close at once."""
        self._deaf = True
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
            if self._raw_bytes and not self._deaf:  # of a head that was begun
                self._refuse(malformed("the head did not come in time", 408))
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


def format_head(method: str, reply: Reply, *, keep: bool) -> bytes:
    """Status line and fields of a reply to a request of this method.

    Raises:
        ValueError: a field that would be read as something else.
    """
    status, headers, body = reply
    lines = [
        _STATUS_LINES.get(status) or f"HTTP/1.1 {status} ",
        _DATE.line(),
        *map(": ".join, headers),
    ]
    if status not in _BODILESS and (body or method != "HEAD"):
        # Of HEAD without a body it is not known (RFC 9110 section 8.6).
        lines.append(f"content-length: {len(body)}")
    if not keep:
        lines.append("connection: close")
    text = "\r\n".join(lines)
    breaks = len(lines) - 1
    if text.count("\n") != breaks or text.count("\r") != breaks or "\0" in text:
        raise ValueError("a field of the reply contains a line break or NUL")
    return f"{text}\r\n\r\n".encode("latin-1")


class _OfBody:
    """The callbacks of a parser that reads a body alone."""

    def __init__(self, connection: Connection) -> None:
        self.on_body = connection.on_body
        self.on_message_complete = connection.on_message_complete


def _parser_of_body(connection: Connection, length: int | None) -> Any:
    parser: Any = HttpRequestParser(_OfBody(connection))
    framing = b"Transfer-Encoding: chunked" if length is None else b"Content-Length: %d" % length
    parser.feed_data(b"POST / HTTP/1.1\r\n" + framing + b"\r\n\r\n")
    return parser


class _Date:
    """The Date field, written once a second (RFC 9110 section 6.6.1)."""

    def __init__(self) -> None:
        self._second = -1
        self._line = ""

    def line(self) -> str:
        now = int(time.time())
        if now != self._second:
            self._second, self._line = now, f"date: {formatdate(now, usegmt=True)}"
        return self._line


_DATE: Final = _Date()


class _SentAhead(Exception):
    """The next request behind this one, in a piece that could not be cut between them."""


class _Refused(Exception):
    """A problem found inside a callback of the parser."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(str(problem))
        self.problem = problem


def extra_info(transport: Any, name: str) -> Any:
    """What a transport tells of itself; None when it is gone."""
    return None if transport is None else transport.get_extra_info(name)
