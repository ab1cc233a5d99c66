"""Requests as they come in: one HTTP/1.1 connection over llhttp, without a framework.

A connection reads one request, hands it to the handler, writes the reply, and goes on. It is the
counterpart of :mod:`serving.client` for the message path, where a framework's server would cost
three times as much as all that it does here (docs/benchmarks.md).

Invariants:
- requests of a connection are answered one by one, in order; what a client sends ahead waits in
  the socket, not in memory;
- the body is read only when the handler asks for it, up to the handler's bound; a body that nobody
  read ends the connection, so that it is never taken for the next request (RFC 9112 section 9.3);
- what llhttp refuses (both lengths, bare CR, obs-fold, illegal characters) is answered once, with
  a problem, and ends the connection; so does anything that asks for another protocol;
- every wait ends: for the first byte, for the head, for the body, for the client to take a reply;
- a client that hangs up does not cancel the handler: what was begun is finished and recorded.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final, Protocol

import structlog
from httptools import HttpParserError, HttpParserUpgrade, HttpRequestParser

from exchange.problems import Code, Problem
from serving.backends import Headers

MAX_FIELDS: Final = 100
MAX_HEAD_BYTES: Final = 64 * 1024
MAX_UNREAD_BYTES: Final = 256 * 1024
_CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"
_REASONS: Final = {status.value: status.phrase for status in HTTPStatus}
_BODILESS: Final = frozenset({204, 304})
log = structlog.get_logger("serving.requests")


@dataclass(frozen=True, slots=True)
class Reply:
    """What a handler answers: end-to-end fields with lower-case names, and the whole body."""

    status: int
    headers: Headers
    body: bytes


class Request:
    """One request; its body comes with :meth:`read`."""

    __slots__ = (
        "_body",
        "_complete",
        "_connection",
        "_expects_continue",
        "_failure",
        "_size",
        "_waiter",
        "headers",
        "keep_alive",
        "method",
        "target",
    )

    def __init__(self, connection: Connection) -> None:
        self.method = ""
        self.target = ""
        self.headers: Headers = ()
        self.keep_alive = True
        self._connection = connection
        self._body: list[bytes] = []
        self._size = 0
        self._complete = False
        self._expects_continue = False
        self._failure: Problem | None = None
        self._waiter: asyncio.Future[None] | None = None

    @property
    def transport(self) -> asyncio.Transport | None:
        """The connection's transport; None when the client is gone."""
        return self._connection.transport

    @property
    def remote(self) -> str:
        """The client's address, or empty."""
        return self._connection.remote

    async def read(self, max_bytes: int, timeout_s: float) -> bytes:
        """The whole body.

        Raises:
            Problem: ``PayloadTooLarge`` as soon as more than ``max_bytes`` are announced or come;
                ``InvalidRequest`` (408) when the body is not there within ``timeout_s``, or (400)
                when it ends early or is malformed.
        """
        announced = next((v for name, v in self.headers if name == "content-length"), "")
        if announced and int(announced) > max_bytes:
            raise _too_large(int(announced), max_bytes)
        if not self._complete:
            await self._gather(max_bytes, timeout_s)
        if self._size > max_bytes:
            raise _too_large(self._size, max_bytes)
        return self._body[0] if len(self._body) == 1 else b"".join(self._body)

    async def _gather(self, max_bytes: int, timeout_s: float) -> None:
        if self._expects_continue:
            self._connection.write_interim(_CONTINUE)
            self._expects_continue = False
        try:
            async with asyncio.timeout(timeout_s):
                while not self._complete and self._failure is None and self._size <= max_bytes:
                    self._connection.resume()
                    self._waiter = self._connection.loop.create_future()
                    await self._waiter
        except TimeoutError as error:
            raise Problem(
                Code.INVALID_REQUEST,
                where="body",
                detail=f"the body was not complete within {timeout_s:g} s",
                status=408,
            ) from error
        finally:
            self._waiter = None
        if self._failure is not None:
            raise self._failure

    # --- what the connection tells ---------------------------------------------------------------

    def began(self, expects_continue: bool) -> None:
        self._expects_continue = expects_continue

    def came(self, data: bytes) -> int:
        """A piece of the body; returns how much waits unread."""
        self._body.append(data)
        self._size += len(data)
        self._wake()
        return self._size

    def ended(self) -> None:
        self._complete = True
        self._wake()

    def failed(self, problem: Problem) -> None:
        self._failure = problem
        self._wake()

    @property
    def complete(self) -> bool:
        return self._complete

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


Handler = Callable[[Request], Awaitable[Reply]]


class Owner(Protocol):
    """What a connection needs of its listener."""

    handler: Handler
    max_line_bytes: int
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
    """One connection of a client; made by :mod:`serving.listener`."""

    __slots__ = (
        "_ahead",
        "_closing",
        "_fields",
        "_head_bytes",
        "_owner",
        "_parser",
        "_paused",
        "_request",
        "_target",
        "_task",
        "_unwritable",
        "deadline",
        "loop",
        "remote",
        "transport",
    )

    def __init__(self, owner: Owner, loop: asyncio.AbstractEventLoop) -> None:
        self._owner = owner
        self.loop = loop
        self.transport: asyncio.Transport | None = None
        self.remote = ""
        self.deadline = 0.0
        self._parser = HttpRequestParser(self)
        self._request: Request | None = None
        self._task: asyncio.Task[None] | None = None
        self._ahead: deque[bytes] = deque()
        self._fields: list[tuple[str, str]] = []
        self._target = b""
        self._head_bytes = 0
        self._paused = False
        self._closing = False
        self._unwritable: asyncio.Future[None] | None = None

    @property
    def busy(self) -> bool:
        """Whether a request is being answered."""
        return self._task is not None

    # --- asyncio ---------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        if not isinstance(transport, asyncio.Transport) and not hasattr(transport, "write"):
            raise TypeError("a stream transport is needed")
        self.transport = transport  # type: ignore[assignment]
        peer = transport.get_extra_info("peername")
        self.remote = str(peer[0]) if isinstance(peer, tuple) and peer else ""
        self.deadline = self.loop.time() + self._owner.head_s
        self._owner.opened(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self.transport = None
        if self._request is not None and not self._request.complete:
            self._request.failed(_malformed("the connection ended before the body", 400))
        if self._unwritable is not None and not self._unwritable.done():
            self._unwritable.set_result(None)
        self._owner.closed(self)

    def data_received(self, data: bytes) -> None:
        if self._request is not None and self._request.complete:
            # A request sent ahead: it waits until the one before is answered.
            self._ahead.append(data)
            self.pause()
            return
        self._feed(data)

    def eof_received(self) -> bool:
        return self._task is not None  # keep the way back open while an answer is made

    def pause_writing(self) -> None:
        self._unwritable = self.loop.create_future()

    def resume_writing(self) -> None:
        if self._unwritable is not None and not self._unwritable.done():
            self._unwritable.set_result(None)
        self._unwritable = None

    # --- llhttp ----------------------------------------------------------------------------------

    def _feed(self, data: bytes) -> None:
        if self._closing:
            return
        try:
            self._parser.feed_data(data)
        except HttpParserUpgrade:
            self._refuse(_malformed("another protocol is not spoken here", 400))
        except _Refused as refused:
            self._refuse(refused.problem)
        except HttpParserError as error:
            cause = error.__context__
            self._refuse(
                cause.problem
                if isinstance(cause, _Refused)
                else _malformed(str(error)[:200] or "not a well-formed HTTP/1.1 message", 400)
            )

    def on_message_begin(self) -> None:
        if self._request is not None:
            # llhttp goes on to the next request in the same bytes; it must wait its turn.
            raise _Refused(_malformed("requests sent ahead in one packet are not taken", 400))
        self._fields, self._target, self._head_bytes = [], b"", 0
        self.deadline = self.loop.time() + self._owner.head_s

    def on_url(self, url: bytes) -> None:
        self._target += url
        if len(self._target) > self._owner.max_line_bytes:
            raise _Refused(
                Problem(
                    Code.INVALID_REQUEST,
                    where="request target",
                    detail=f"longer than {self._owner.max_line_bytes} bytes",
                    status=414,
                )
            )

    def on_header(self, name: bytes, value: bytes) -> None:
        self._head_bytes += len(name) + len(value) + 4
        fields = self._fields
        if self._head_bytes > MAX_HEAD_BYTES or len(fields) >= MAX_FIELDS:
            raise _Refused(
                Problem(
                    Code.INVALID_HEADER,
                    where="header block",
                    detail=f"more than {MAX_FIELDS} fields or {MAX_HEAD_BYTES} bytes",
                    status=431,
                )
            )
        fields.append((name.decode("latin-1").lower(), value.decode("latin-1").strip(" \t")))

    def on_headers_complete(self) -> None:
        parser = self._parser
        if parser.get_http_version() not in ("1.1", "1.0"):
            raise _Refused(_malformed("only HTTP/1.1 is spoken here", 505))
        fields = self._fields
        hosts = sum(name == "host" for name, _ in fields)
        if hosts != 1 and (hosts > 1 or parser.get_http_version() == "1.1"):
            raise _Refused(_malformed("exactly one Host field is needed", 400))
        request = Request(self)
        request.method = parser.get_method().decode("ascii")
        request.target = self._target.decode("latin-1")
        request.headers = tuple(fields)
        request.keep_alive = parser.should_keep_alive()
        request.began(any(n == "expect" and v.lower() == "100-continue" for n, v in fields))
        self._request = request
        self._task = self.loop.create_task(self._answer(request))

    def on_body(self, body: bytes) -> None:
        request = self._request
        if request is not None and request.came(body) > MAX_UNREAD_BYTES:
            self.pause()

    def on_message_complete(self) -> None:
        if self._request is not None:
            self._request.ended()

    # --- answering -------------------------------------------------------------------------------

    async def _answer(self, request: Request) -> None:
        try:
            reply = await self._owner.handler(request)
        except Exception:
            log.exception("handler_failed")
            reply = self._owner.failure()
            request.keep_alive = False
        if self._unwritable is not None:
            await self._unwritable
        keep = request.keep_alive and request.complete and not self._owner.stopping
        self._write(request.method, reply, keep)
        self._request = None
        self._task = None
        if not keep or self._closing:
            self.close()
            return
        self.deadline = self.loop.time() + self._owner.keepalive_s
        if self._ahead:
            self._feed(b"".join(self._ahead))
            self._ahead.clear()
        self.resume()

    def _write(self, method: str, reply: Reply, keep: bool) -> None:
        transport = self.transport
        if transport is None or transport.is_closing():
            return
        status = reply.status
        lines = [f"HTTP/1.1 {status} {_REASONS.get(status, '')}\r\n"]
        lines += [f"{name}: {value}\r\n" for name, value in reply.headers]
        body = reply.body
        if status in _BODILESS:
            body = b""
        else:
            lines.append(f"content-length: {len(body)}\r\n")
        lines.append("\r\n" if keep else "connection: close\r\n\r\n")
        head = "".join(lines).encode("latin-1")
        if method == "HEAD" or not body:
            transport.write(head)
        elif len(body) < 65536:
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
        if self._closing:
            return
        reply = self._owner.refusal(problem)
        if self._request is not None:
            # In the body of a request under way: its handler is told, and answers for it.
            self._request.keep_alive = False
            self._request.failed(problem)
            self._closing = True
            return
        self._closing = True
        self._write("", reply, keep=False)
        self.close()

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
        self._closing = True
        if self.transport is not None:
            self.transport.close()

    def abort(self) -> None:
        """Close at once."""
        self._closing = True
        if self.transport is not None:
            self.transport.abort()

    def expire(self, now: float) -> None:
        """Close when a wait is over: for a head, or for the next request."""
        if self._task is None and now > self.deadline:
            self.close()

    async def finished(self) -> None:
        """Wait until the request under way is answered."""
        if self._task is not None:
            await asyncio.wait([self._task])


class _Refused(Exception):
    """A problem found inside a callback of the parser."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(str(problem))
        self.problem = problem


def _malformed(detail: str, status: int) -> Problem:
    return Problem(Code.INVALID_REQUEST, where="HTTP message", detail=detail, status=status)


def _too_large(size: int, limit: int) -> Problem:
    return Problem(
        Code.PAYLOAD_TOO_LARGE,
        where="body",
        detail=f"at least {size} bytes, at most {limit} are taken",
        facts={"limit_bytes": limit},
    )


def extra_info(transport: Any, name: str) -> Any:
    """What a transport tells of itself; None when it is gone."""
    return None if transport is None else transport.get_extra_info(name)
