"""One HTTP connection: requests in, replies out, over real sockets and whatever is sent on them."""

from __future__ import annotations

import asyncio
import math
import re
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from email.utils import parsedate_to_datetime
from typing import Any

import pytest
import uvloop
from httptools import HttpResponseParser
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from exchange.problems import Code, Problem, Side
from serving import replies, requests
from serving.field_names import FIELD_NAMES
from serving.incoming import MAX_UNREAD_BYTES, Request
from serving.listener import Listener, listen
from serving.requests import MAX_FIELDS, MAX_HEAD_BYTES, Reply

MAX_BODY = 1 << 20
LOOPS = {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}
GET = b"GET /a?b=c HTTP/1.1\r\nHost: x\r\n\r\n"
POST = b"POST /p HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello"
CHUNKED = (
    b"POST /c HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"3;ext=1\r\nabc\r\n2\r\nde\r\n0\r\nX-Trailer: t\r\n\r\n"
)


Handle = Callable[[Request], Awaitable[Reply]]


async def echo(request: Request) -> Reply:
    """Says what was understood: method, target, number of fields, body."""
    try:
        body = await request.read(MAX_BODY, 5)
    except Problem as problem:
        return Reply(*replies.reply(problem, Side.CONSUMER, ""))
    text = f"{request.method} {request.target} {len(request.headers)} ".encode()
    return Reply(200, (("x-method", request.method),), text + body)


@asynccontextmanager
async def serve(
    handler: Handle = echo, **options: Any
) -> AsyncIterator[tuple[Listener, list[Problem]]]:
    """A listener on loopback, and the problems it counts."""
    malformed: list[Problem] = []
    listener = await listen(
        handler,
        "127.0.0.1:0",
        where="test",
        side=Side.CONSUMER,
        on_malformed=malformed.append,
        **options,
    )
    try:
        yield listener, malformed
    finally:
        await listener.stop()


class Client:
    """A raw socket that reads replies one by one."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def send(self, *pieces: bytes) -> None:
        for piece in pieces:
            self.writer.write(piece)
            await self.writer.drain()
            if len(pieces) > 1:
                await asyncio.sleep(0)

    async def reply(self, *, head_only: bool = False) -> tuple[int, dict[str, str], bytes]:
        """Status, fields and body of the next reply."""
        async with asyncio.timeout(60):
            head = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            status, *lines = head[:-4].split("\r\n")
            fields = {name: value for name, _, value in (line.partition(": ") for line in lines)}
            length = 0 if head_only else int(fields.get("content-length", "0"))
            return int(status.split(" ")[1]), fields, await self.reader.readexactly(length)

    async def ended(self) -> bytes:
        """What still comes until the connection ends."""
        async with asyncio.timeout(60):
            with suppress(ConnectionError):
                return await self.reader.read()
        return b""

    async def close(self) -> None:
        self.writer.close()
        with suppress(OSError):
            await self.writer.wait_closed()


@asynccontextmanager
async def connect(listener: Listener) -> AsyncIterator[Client]:
    client = Client(*await asyncio.open_connection(listener.host, listener.port))
    try:
        yield client
    finally:
        await client.close()


def connection_of(listener: Listener) -> requests.Connection:
    (connection,) = listener._connections
    return connection


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110 (no event tells)
            await asyncio.sleep(0.002)


# --- requests as they should be --------------------------------------------------------------


@pytest.mark.parametrize(
    ("sent", "body"),
    [(GET, b"GET /a?b=c 1 "), (POST, b"POST /p 2 hello"), (CHUNKED, b"POST /c 2 abcde")],
)
async def test_a_request_may_be_cut_anywhere(sent: bytes, body: bytes) -> None:
    """Two pieces at every place, and single bytes, mean what the whole means."""
    async with serve() as (listener, malformed), connect(listener) as client:
        for cut in range(len(sent)):
            client.writer.write(sent[:cut])
            await asyncio.sleep(0.0005)
            await client.send(sent[cut:])
            status, fields, got = await client.reply()
            assert (status, got) == (200, body), cut
            assert "connection" not in fields
        await client.send(*(sent[i : i + 1] for i in range(len(sent))))
        assert (await client.reply())[2] == body
    assert not malformed


@pytest.mark.parametrize("cut", [1, 2, 3, 4])
async def test_the_end_of_a_head_may_come_with_a_large_body(cut: int) -> None:
    """The bound of heads is for heads, wherever they are cut; a request behind is not lost."""
    head = b"POST /p HTTP/1.1\r\nHost: x\r\nContent-Length: 200000\r\n\r\n"
    async with serve() as (listener, malformed), connect(listener) as client:
        await client.send(head[:-cut])
        await asyncio.sleep(0.01)
        await client.send(head[-cut:] + b"x" * 200_000 + GET)
        assert (await client.reply())[0] == 200
        assert (await client.reply())[2] == b"GET /a?b=c 1 "
    assert not malformed


@pytest.mark.parametrize("follower", [GET, POST, CHUNKED])
@pytest.mark.parametrize("first", [GET, POST])
async def test_requests_in_one_packet_are_answered_in_order(first: bytes, follower: bytes) -> None:
    """A client may send ahead (RFC 9112 section 9.3.2); each request is answered in its turn."""
    async with serve() as (listener, malformed), connect(listener) as client:
        await client.send(first + follower + first)
        got = [(await client.reply())[2].split(b" ")[1] for _ in range(2)]
        assert got == [first.split(b" ")[1], follower.split(b" ")[1]]
        if follower is not CHUNKED:
            assert (await client.reply())[0] == 200
    assert not malformed


async def test_what_follows_a_chunked_body_in_one_packet_is_not_taken() -> None:
    """Where a chunked body ends is known to the parser alone: the reply ends the connection, and
    the client sends the next request again (RFC 9112 section 9.3.2)."""
    async with serve() as (listener, malformed), connect(listener) as client:
        await client.send(CHUNKED + GET)
        status, fields, body = await client.reply()
        assert (status, body, fields["connection"]) == (200, b"POST /c 2 abcde", "close")
        assert await client.ended() == b""
    assert not malformed


async def test_what_is_sent_ahead_waits_in_the_socket() -> None:
    """While a request is answered, at most a read of what follows is in memory."""
    leave = asyncio.Event()

    async def slow(request: Request) -> Reply:
        await leave.wait()
        return await echo(request)

    async with serve(slow) as (listener, _), connect(listener) as client:
        await client.send(GET)
        await until(lambda: connection_of(listener).busy)
        client.writer.write(GET * 100_000)
        await asyncio.sleep(0.05)
        connection = connection_of(listener)
        assert connection._paused
        assert len(connection._ahead) <= 2 * MAX_UNREAD_BYTES
        leave.set()
        for _ in range(200):
            assert (await client.reply())[2] == b"GET /a?b=c 1 "


async def test_blank_lines_before_a_request_are_passed_over() -> None:
    """RFC 9112 section 2.2."""
    async with serve() as (listener, _), connect(listener) as client:
        await client.send(b"\r\n\r\n" + GET + b"\r\n" + GET)
        assert (await client.reply())[0] == 200
        assert (await client.reply())[0] == 200


async def test_http_1_0_gets_its_answer_and_the_end() -> None:
    """It need not name a host, and the connection is not kept."""
    async with serve() as (listener, _), connect(listener) as client:
        await client.send(b"GET /old HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
        status, fields, body = await client.reply()
        assert (status, body, fields["connection"]) == (200, b"GET /old 1 ", "close")
        assert await client.ended() == b""


async def test_connection_close_is_kept() -> None:
    """A client that asks for the end gets it behind its answer."""
    async with serve() as (listener, _), connect(listener) as client:
        await client.send(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert (await client.reply())[1]["connection"] == "close"
        assert await client.ended() == b""


async def test_head_has_fields_and_no_body() -> None:
    """The length is that of the GET's body where it is known, and left out where it is not."""

    async def answer(request: Request) -> Reply:
        return Reply(200, (), b"1234" if request.target == "/known" else b"")

    async with serve(answer) as (listener, _), connect(listener) as client:
        await client.send(b"HEAD /known HTTP/1.1\r\nHost: x\r\n\r\n")
        assert (await client.reply(head_only=True))[1]["content-length"] == "4"
        await client.send(b"HEAD / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert "content-length" not in (await client.reply(head_only=True))[1]
        await client.send(GET)
        assert (await client.reply())[2] == b""


@pytest.mark.parametrize("status", [204, 304])
async def test_a_reply_without_content_has_no_length(status: int) -> None:
    """RFC 9110 section 8.6."""

    async def answer(request: Request) -> Reply:
        return Reply(status, (), b"never sent")

    async with serve(answer) as (listener, _), connect(listener) as client:
        for _ in range(2):
            await client.send(GET)
            got, fields, _ = await client.reply()
            assert got == status
            assert "content-length" not in fields


async def test_100_continue_is_sent_when_the_body_is_wanted() -> None:
    """Only then (RFC 9110 section 10.1.1); a handler that refuses without reading saves it."""

    async def answer(request: Request) -> Reply:
        if request.target == "/no":
            return Reply(403, (), b"")
        return await echo(request)

    head = b"POST %b HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n"
    async with serve(answer) as (listener, _):
        async with connect(listener) as client:
            await client.send(head % b"/yes")
            assert (await client.reply(head_only=True))[0] == 100
            await client.send(b"ok")
            assert (await client.reply())[2] == b"POST /yes 3 ok"
        async with connect(listener) as client:
            await client.send(head % b"/no")
            status, fields, _ = await client.reply()
            assert (status, fields["connection"]) == (403, "close")
        async with connect(listener) as client:
            await client.send((head % b"/old").replace(b"1.1", b"1.0") + b"ok")
            assert (await client.reply())[2] == b"POST /old 3 ok"


async def test_an_offer_of_another_protocol_is_passed_over() -> None:
    """RFC 9110 section 7.8: the request is answered as it is, and the connection ends."""
    upgrade = b"GET /u HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n"
    async with serve() as (listener, malformed), connect(listener) as client:
        await client.send(upgrade + b"PRI * HTTP/2.0")
        status, fields, body = await client.reply()
        assert (status, body, fields["connection"]) == (200, b"GET /u 3 ", "close")
        assert await client.ended() == b""
    assert not malformed


async def test_a_large_body_and_a_large_reply_pass() -> None:
    """Reading and writing pause and go on."""
    body = bytes(range(256)) * 4000
    async with serve() as (listener, _), connect(listener) as client:
        await client.send(
            b"PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body) + body
        )
        assert (await client.reply())[2] == b"PUT / 2 " + body
        await client.send(GET)
        assert (await client.reply())[0] == 200


async def test_a_body_that_nobody_reads_is_bounded() -> None:
    """While the handler does something else, the client is made to wait."""
    leave = asyncio.Event()

    async def late(request: Request) -> Reply:
        await leave.wait()
        return await echo(request)

    async with serve(late) as (listener, _), connect(listener) as client:
        body = b"x" * MAX_BODY
        client.writer.write(b"PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % MAX_BODY)
        client.writer.write(body)
        await until(lambda: bool(listener._connections) and connection_of(listener)._paused)
        request = connection_of(listener)._reader.request
        assert request is not None
        assert request.size <= 3 * MAX_UNREAD_BYTES
        leave.set()
        assert len((await client.reply())[2]) == len(b"PUT / 2 ") + MAX_BODY


@pytest.mark.parametrize(
    ("framing", "sent"),
    [
        (b"Content-Length: 5", b"hello"),
        (b"Transfer-Encoding: chunked", b"2\r\nhe\r\n3\r\nllo\r\n0\r\nT: 1\r\n\r\n"),
    ],
)
@pytest.mark.parametrize("together", [True, False])
async def test_an_offer_to_upgrade_costs_no_body(
    framing: bytes, sent: bytes, together: bool
) -> None:
    """RFC 9110 section 7.8: what is offered is ignored, and what is sent is read as it says."""
    head = b"POST /u HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n" + framing
    pieces = [head + b"\r\n\r\n", sent, GET]
    async with serve() as (listener, _), connect(listener) as client:
        await client.send(*([b"".join(pieces)] if together else pieces))
        status, fields, body = await client.reply()
        assert (status, fields["connection"], body) == (200, "close", b"POST /u 4 hello")
        assert await client.ended() == b""


# --- requests as they should not be ----------------------------------------------------------


def _head(*lines: bytes, start: bytes = b"GET / HTTP/1.1") -> bytes:
    return b"\r\n".join((start, *lines, b"", b""))


REFUSED = {
    "both lengths": (
        _head(b"Host: x", b"Content-Length: 4", b"Transfer-Encoding: chunked") + b"0\r\n\r\n",
        400,
    ),
    "two lengths": (_head(b"Host: x", b"Content-Length: 1", b"Content-Length: 2") + b"ab", 400),
    "a list of lengths": (_head(b"Host: x", b"Content-Length: 1, 1") + b"a", 400),
    "a signed length": (_head(b"Host: x", b"Content-Length: +1") + b"a", 400),
    "a length without end": (_head(b"Host: x", b"Content-Length: " + b"9" * 40), 400),
    "obsolete folding": (_head(b"Host: x", b"A: b", b" c"), 400),
    "a bare CR": (_head(b"Host: x", b"A: b\rc"), 400),
    "a bare LF": (b"GET / HTTP/1.1\nHost: x\n\n", 400),
    "NUL": (_head(b"Host: x", b"A: b\0c"), 400),
    "a space before the colon": (_head(b"Host: x", b"A : b"), 400),
    "no colon": (_head(b"Host: x", b"A"), 400),
    "a space in the target": (_head(b"Host: x", start=b"GET / / HTTP/1.1"), 400),
    "two hosts": (_head(b"Host: x", b"Host: x"), 400),
    "no host": (_head(b"A: b"), 400),
    "two codings": (_head(b"Host: x", b"Transfer-Encoding: gzip, chunked") + b"0\r\n\r\n", 501),
    "two fields of codings": (
        _head(b"Host: x", b"Transfer-Encoding: gzip", b"Transfer-Encoding: chunked") + b"0\r\n\r\n",
        501,
    ),
    "chunked not last": (_head(b"Host: x", b"Transfer-Encoding: chunked, gzip"), 400),
    "chunked misspelt": (_head(b"Host: x", b"Transfer-Encoding: xchunked"), 501),
    "HTTP/2": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
    "HTTP/1.2": (_head(b"Host: x", start=b"GET / HTTP/1.2"), 505),
    "HTTP/0.9": (b"GET /\r\n\r\n", 505),
    "RTSP": (_head(b"Host: x", start=b"GET / RTSP/1.0"), 400),
    "ICE": (_head(b"Host: x", start=b"SOURCE / ICE/1.0"), 400),
    "codings in HTTP/1.0": (
        _head(b"Host: x", b"Transfer-Encoding: chunked", start=b"POST / HTTP/1.0") + b"0\r\n\r\n",
        400,
    ),
    "two spaces": (_head(b"Host: x", start=b"GET  / HTTP/1.1"), 400),
    "two spaces behind the target": (_head(b"Host: x", start=b"GET /  HTTP/1.1"), 400),
    "a tab in the request line": (_head(b"Host: x", start=b"GET\t/ HTTP/1.1"), 505),
    "a space behind the version": (_head(b"Host: x", start=b"GET / HTTP/1.1 "), 400),
    "a line feed in front": (b"\n" + _head(b"Host: x"), 400),
    "a carriage return in front": (b"\r" + _head(b"Host: x"), 400),
    "blank lines without end": (b"\r\n" * 100 + _head(b"Host: x"), 400),
    "a folded first line": (_head(b" Host: x"), 400),
    "a length in hex": (_head(b"Host: x", b"Content-Length: 0x1") + b"a", 400),
    "a length with a space": (_head(b"Host: x", b"Content-Length: 1 1") + b"a", 400),
    "a length with an underscore": (_head(b"Host: x", b"Content-Length: 1_0"), 400),
    "a negative length": (_head(b"Host: x", b"Content-Length: -1"), 400),
    "no length": (_head(b"Host: x", b"Content-Length: "), 400),
    "the same length twice": (
        _head(b"Host: x", b"Content-Length: 1", b"Content-Length: 1") + b"a",
        400,
    ),
    "a space before the colon of a length": (_head(b"Host: x", b"Content-Length : 1") + b"a", 400),
    "identity behind chunked": (_head(b"Host: x", b"Transfer-Encoding: chunked, identity"), 400),
    "identity before chunked": (_head(b"Host: x", b"Transfer-Encoding: identity, chunked"), 501),
    "identity alone": (_head(b"Host: x", b"Transfer-Encoding: identity"), 501),
    "chunked twice": (_head(b"Host: x", b"Transfer-Encoding: chunked, chunked"), 400),
    "chunked in two fields": (_head(b"Host: x", *[b"Transfer-Encoding: chunked"] * 2), 400),
    "chunked behind a comma": (_head(b"Host: x", b"Transfer-Encoding: ,chunked"), 501),
    "chunked with a parameter": (_head(b"Host: x", b"Transfer-Encoding: chunked;a=b"), 501),
    "chunked behind a vertical tab": (_head(b"Host: x", b"Transfer-Encoding: \x0bchunked"), 400),
    "chunked folded": (_head(b"Host: x", b"Transfer-Encoding:", b" chunked"), 400),
    "chunked behind a line feed": (_head(b"Host: x", b"A: b\nTransfer-Encoding: chunked"), 400),
    "a space before the colon of a coding": (
        _head(b"Host: x", b"Transfer-Encoding : chunked"),
        400,
    ),
    "no coding": (_head(b"Host: x", b"Transfer-Encoding:"), 400),
    "a name that is none": (_head(b"Host: x", b"A(b): c"), 400),
    "no name": (_head(b"Host: x", b": c"), 400),
    "a control in a value": (_head(b"Host: x", b"A: \x01"), 400),
    "DEL in a value": (_head(b"Host: x", b"A: \x7f"), 400),
    "a control in the target": (_head(b"Host: x", start=b"GET /\x01 HTTP/1.1"), 400),
    "UTF-8 in the target": (_head(b"Host: x", start="GET /ກ HTTP/1.1".encode()), 400),
    "a method in small letters": (_head(b"Host: x", start=b"get / HTTP/1.1"), 400),
    "a host that is none": (_head(b"Host: x y"), 400),
    "a host with a user": (_head(b"Host: u@x"), 400),
    "a host with a path": (_head(b"Host: x/a"), 400),
    "a list of hosts": (_head(b"Host: x, y"), 400),
    "a relative target": (_head(b"Host: x", start=b"GET a HTTP/1.1"), 400),
    "authority form of GET": (_head(b"Host: x:1", start=b"GET x:1 HTTP/1.1"), 400),
    "another protocol": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),
    "a method that is none": (_head(b"Host: x", start=b"GE\xc3T / HTTP/1.1"), 400),
    "a long target": (_head(b"Host: x", start=b"GET /" + b"a" * 9000 + b" HTTP/1.1"), 414),
    "many fields": (_head(b"Host: x", *[b"A: b"] * MAX_FIELDS), 431),
    "a long head": (_head(b"Host: x", b"A: " + b"b" * MAX_HEAD_BYTES), 431),
    "a long head without end": (b"GET / HTTP/1.1\r\nA: " + b"b" * MAX_HEAD_BYTES, 431),
}


FORMS = {
    "a URL of another host": (_head(b"Host: x", start=b"GET http://y/ HTTP/1.1"), 400),
    "a URL of another port": (_head(b"Host: x", start=b"GET http://x:81/ HTTP/1.1"), 400),
    "a URL with a user": (_head(b"Host: x", start=b"GET http://u@x/ HTTP/1.1"), 400),
    "a URL without a host": (_head(b"Host:", start=b"GET http:///a HTTP/1.1"), 400),
    "a URL of another scheme": (_head(b"Host: x", start=b"GET ftp://x/a HTTP/1.1"), 400),
    "asterisk form": (_head(b"Host: x", start=b"OPTIONS * HTTP/1.1"), 400),
    "asterisk form of GET": (_head(b"Host: x", start=b"GET * HTTP/1.1"), 400),
    "CONNECT": (_head(b"Host: x:1", start=b"CONNECT x:1 HTTP/1.1"), 501),
}


@pytest.mark.parametrize("shape", FORMS)
async def test_a_target_of_another_form_is_the_handlers_to_refuse(shape: str) -> None:
    """It is a request, to be recorded with all that it says; and the last of its connection."""
    sent, expected = FORMS[shape]

    async def refusing(request: Request) -> Reply:
        assert request.fault is not None
        return Reply(*replies.reply(request.fault, Side.CONSUMER, ""))

    async with serve(refusing) as (listener, malformed), connect(listener) as client:
        await client.send(sent + GET)
        status, fields, _ = await client.reply()
        assert (status, fields["connection"]) == (expected, "close")
        assert await client.ended() == b""
    assert not malformed


@pytest.mark.parametrize("shape", REFUSED)
async def test_what_is_not_http_is_refused_once(shape: str) -> None:
    """One reply with a problem, the end of the connection, and one count; the handler never runs.

    Behind it a request is hidden, which is not answered.
    """
    sent, expected = REFUSED[shape]
    handled: list[Request] = []

    async def never(request: Request) -> Reply:
        handled.append(request)
        return Reply(200, (), b"")

    async with serve(never) as (listener, malformed), connect(listener) as client:
        await client.send(sent + GET)
        status, fields, body = await client.reply()
        assert status == expected
        assert fields["connection"] == "close"
        assert fields["x-road-error"] in body.decode()
        assert await client.ended() == b""
    assert len(malformed) == 1
    assert not handled


@pytest.mark.parametrize(
    "tail",
    [
        b"x\r\nabc\r\n0\r\n\r\n",
        b"-1\r\n\r\n",
        b"3\r\nabcd\r\n0\r\n\r\n",
        b"3 \r\nabc\r\n0\r\n\r\n",
        b"3\nabc\n0\n\n",
        b" 3\r\nabc\r\n0\r\n\r\n",
        b"+3\r\nabc\r\n0\r\n\r\n",
        b"0x3\r\nabc\r\n0\r\n\r\n",
        b"3_0\r\nabc\r\n0\r\n\r\n",
        b"\r\nabc\r\n0\r\n\r\n",
        b"3\r\nabcXX0\r\n\r\n",
        b"3\r\nabc\n0\r\n\r\n",
        b"3\r\nabc\r0\r\n\r\n",
        b"3;a\nabc\r\n0\r\n\r\n",
        b"3;a\rb\r\nabc\r\n0\r\n\r\n",
        b'3;a="\n"\r\nabc\r\n0\r\n\r\n',
        b'3;a="b\r\nabc\r\n0\r\n\r\n',
        b"3;a=\x01\r\nabc\r\n0\r\n\r\n",
        b"3\r\nabc\r\n0\n\r\n",
        b"3\r\nabc\r\n0\r\nContent-Length: 5\r\n\r\n",
        b"3\r\nabc\r\n0\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"3\r\nabc\r\n0\r\nA: b\r\n c\r\n\r\n",
        b"3\r\nabc\r\n0\r\nA: b\nC: d\r\n\r\n",
        b"10000000000000003\r\nabc\r\n0\r\n\r\n",
        b"ffffffffffffffffff\r\n",
        b"0\r\nA b\r\n\r\n",
    ],
)
async def test_a_malformed_chunk_is_told_to_the_handler(tail: bytes) -> None:
    """Whose refusal is the one reply; nothing behind it is taken for a request."""
    head = _head(b"Host: x", b"Transfer-Encoding: chunked", start=b"POST / HTTP/1.1")
    async with serve() as (listener, malformed), connect(listener) as client:
        await client.send(head, tail + GET)
        status, fields, _ = await client.reply()
        assert (status, fields["connection"]) == (400, "close")
        assert await client.ended() == b""
    assert len(malformed) == 1


@pytest.mark.parametrize("endless", [b"1;" + b"e" * 1000, b"0\r\n" + b"A: b\r\n" * 100])
async def test_framing_without_end_is_refused(endless: bytes) -> None:
    """Chunk extensions and trailers are bounded too, though nothing of them is kept."""
    head = _head(b"Host: x", b"Transfer-Encoding: chunked", start=b"POST / HTTP/1.1")
    more = endless[2:] if endless.startswith(b"1;") else endless[3:]
    async with serve() as (listener, _), connect(listener) as client:
        await client.send(head, endless, more * 1000)
        assert (await client.reply())[0] == 400
        assert await client.ended() == b""


@pytest.mark.parametrize(
    ("target", "meant"),
    [
        (b"http://x/a?b", b"/a?b"),
        (b"HTTPS://X/a", b"/a"),
        (b"http://x", b"/"),
        (b"http://x?b", b"/?b"),
    ],
)
async def test_absolute_form_means_the_same_as_origin_form(target: bytes, meant: bytes) -> None:
    """When it names the host that the Host field names (RFC 9112 section 3.2.2)."""
    async with serve() as (listener, _), connect(listener) as client:
        await client.send(_head(b"Host: x", start=b"GET " + target + b" HTTP/1.1"))
        assert (await client.reply())[2] == b"GET " + meant + b" 1 "
        await client.send(b"GET " + target + b" HTTP/1.0\r\n\r\n")
        assert (await client.reply())[2] == b"GET " + meant + b" 0 "


async def test_a_reply_has_one_date() -> None:
    """RFC 9110 section 6.6.1: refusals have one, too."""
    async with serve() as (listener, _), connect(listener) as client:
        await client.send(GET, b"NONSENSE\r\n\r\n")
        got = (await client.ended()).decode().lower()
    replies_got = re.split(r"http/1\.1 \d{3} ", got)[1:]
    assert len(replies_got) == 2
    for reply in replies_got:
        dates = re.findall(r"^date: (.+)\r$", reply, re.MULTILINE)
        assert len(dates) == 1
        assert abs(parsedate_to_datetime(dates[0]).timestamp() - time.time()) < 3600


@pytest.mark.parametrize("shape", ["fields", "bytes"])
async def test_the_bounds_of_a_head_are_the_listeners(shape: str) -> None:
    """What they are is a setting of the server."""
    bounds = {"max_fields": 5} if shape == "fields" else {"max_head_bytes": 200}
    within = [b"A: b"] * 4 if shape == "fields" else [b"A: " + b"b" * 100]
    beyond = [b"A: b"] * 5 if shape == "fields" else [b"A: " + b"b" * 200]
    async with serve(**bounds) as (listener, _), connect(listener) as client:
        await client.send(_head(b"Host: x", *within))
        assert (await client.reply())[0] == 200
        await client.send(_head(b"Host: x", *beyond))
        assert (await client.reply())[0] == 431


async def test_a_target_without_end_is_refused_before_it_ends() -> None:
    """No more of it is kept than one may have."""
    async with serve(max_line_bytes=1000) as (listener, _), connect(listener) as client:
        await client.send(b"GET /", *[b"a" * 100] * 11)
        assert (await client.reply())[0] == 414
        assert await client.ended() == b""


@pytest.mark.parametrize("announced", [True, False])
async def test_a_body_past_the_bound_is_refused(announced: bool) -> None:
    """At once when it is announced, else when it comes; and the client can read why, although it
    has not sent everything (RFC 9112 section 9.6)."""
    async with serve() as (listener, _), connect(listener) as client:
        size = 4 * MAX_BODY
        if announced:
            await client.send(b"PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % size)
        else:
            await client.send(b"PUT / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
            client.writer.write(b"%x\r\n" % size)
        for _ in range(4):
            await client.send(b"x" * MAX_BODY)
        status, fields, body = await client.reply()
        assert (status, fields["connection"]) == (413, "close")
        assert Code.PAYLOAD_TOO_LARGE.value in body.decode()
        assert await client.ended() == b""


async def test_an_unread_body_is_never_the_next_request() -> None:
    """A handler that does not read ends the connection with its reply."""

    async def hasty(request: Request) -> Reply:
        return Reply(404, (), b"")

    async with serve(hasty) as (listener, _), connect(listener) as client:
        await client.send(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 200\r\n\r\n", GET, GET)
        status, fields, _ = await client.reply()
        assert (status, fields["connection"]) == (404, "close")
        assert await client.ended() == b""


# --- clients that wait, leave, or do not read ------------------------------------------------


async def test_a_client_that_ends_its_side_still_gets_the_answer() -> None:
    """Half-closed after a whole request; then the connection ends."""

    async def slow(request: Request) -> Reply:
        await asyncio.sleep(0.02)
        return await echo(request)

    async with serve(slow) as (listener, _), connect(listener) as client:
        await client.send(GET)
        client.writer.write_eof()
        assert (await client.reply())[2] == b"GET /a?b=c 1 "
        assert await client.ended() == b""


@pytest.mark.parametrize("hard", [False, True])
async def test_a_body_that_ends_early_is_told_at_once(hard: bool) -> None:
    """Whether the client ends its side or is gone: the handler does not wait for the time-out."""
    told = asyncio.get_running_loop().create_future()

    async def reading(request: Request) -> Reply:
        try:
            await request.read(MAX_BODY, 60)
        except Problem as problem:
            told.set_result(problem)
        return Reply(400, (), b"")

    async with serve(reading) as (listener, _), connect(listener) as client:
        await client.send(POST[:-2])
        if hard:
            client.writer.transport.abort()
        else:
            client.writer.write_eof()
            assert (await client.reply())[0] == 400
            assert await client.ended() == b""
        problem = await asyncio.wait_for(told, 60)
        assert (problem.code, problem.status) == (Code.INVALID_REQUEST, 400)


async def test_a_client_that_leaves_does_not_stop_the_handler() -> None:
    """What was begun is finished."""
    finished = asyncio.Event()
    begun = asyncio.Event()

    async def slow(request: Request) -> Reply:
        begun.set()
        await asyncio.sleep(0.05)
        finished.set()
        return Reply(200, (), b"")

    async with serve(slow) as (listener, _):
        async with connect(listener) as client:
            await client.send(GET)
            await begun.wait()
            client.writer.transport.abort()
        await asyncio.wait_for(finished.wait(), 60)
        await until(lambda: not listener._connections)


async def test_a_slow_body_is_refused_in_time() -> None:
    """The handler's own bound counts for the whole body."""

    async def impatient(request: Request) -> Reply:
        try:
            await request.read(MAX_BODY, 0.02)
        except Problem as problem:
            return Reply(problem.status, (), b"")
        raise AssertionError

    async with serve(impatient) as (listener, _), connect(listener) as client:
        await client.send(POST[:-1])
        status, fields, _ = await client.reply()
        assert (status, fields["connection"]) == (408, "close")


@pytest.mark.parametrize("sent", [b"", b"GET / HT", GET])
async def test_a_client_that_sends_nothing_more_is_closed(sent: bytes) -> None:
    """Before its first byte, within a head, between two requests; within a head it is told.

    A connection that an application opens ahead of its first call has the time of an idle one.
    """
    async with serve() as (listener, malformed), connect(listener) as client:
        await client.send(sent)
        if sent == GET:
            await client.reply()
        await until(lambda: bool(listener._connections))
        connection = connection_of(listener)
        if sent == b"GET / HT":
            await until(lambda: connection._reader.raw_bytes > 0)
        now = asyncio.get_running_loop().time()
        connection.expire(now)
        assert connection.transport is not None
        earliest, latest = (now, now + 10) if sent == b"GET / HT" else (now + 60, now + 75)
        assert earliest < connection.deadline <= latest
        connection.expire(connection.deadline + 0.1)
        if sent == b"GET / HT":
            status, fields, _ = await client.reply()
            assert (status, fields["connection"]) == (408, "close")
            await client.send(b"TP/1.1\r\nHost: x\r\n\r\n")  # too late: nobody listens
            connection.expire(connection.deadline + 0.1)
        assert await client.ended() == b""
        assert [problem.status for problem in malformed] == ([408] if sent == b"GET / HT" else [])


async def test_each_byte_does_not_give_a_head_more_time() -> None:
    """The time for a head runs from its first byte."""
    async with serve() as (listener, _), connect(listener) as client:
        await client.send(b"G")
        await until(
            lambda: bool(listener._connections) and connection_of(listener)._reader.raw_bytes > 0
        )
        connection = connection_of(listener)
        deadline = connection.deadline
        await client.send(b"E", b"T")
        await until(lambda: connection._reader.raw_bytes == 3)
        assert connection.deadline == deadline


async def test_nothing_expires_while_the_handler_works() -> None:
    """Its own deadlines hold then."""
    leave = asyncio.Event()

    async def slow(request: Request) -> Reply:
        await leave.wait()
        return await echo(request)

    async with serve(slow) as (listener, _), connect(listener) as client:
        await client.send(GET)
        await until(lambda: bool(listener._connections) and connection_of(listener).busy)
        connection_of(listener).expire(math.inf)
        connection_of(listener).expire(asyncio.get_running_loop().time() + 1e6)
        leave.set()
        assert (await client.reply())[0] == 200


def _deaf_socket(listener: Listener) -> socket.socket:
    """A client with small buffers that reads nothing by itself."""
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.connect((listener.host, listener.port))
    client.setblocking(False)
    return client


@pytest.mark.parametrize("ahead", [1, 2])
async def test_a_client_that_does_not_read_its_reply_is_cut_off(ahead: int) -> None:
    """After a while without progress, and also when its next request is being answered."""

    async def large(request: Request) -> Reply:
        return Reply(200, (), b"x" * (1 << 24))

    async with serve(large) as (listener, _):
        client = _deaf_socket(listener)
        client.sendall(GET * ahead)
        await until(lambda: bool(listener._connections))
        connection = connection_of(listener)
        await until(lambda: connection._unwritable is not None and connection.busy == (ahead > 1))
        await until(lambda: math.isfinite(connection.deadline))  # it waits for the client
        connection.expire(connection.deadline + 1)  # sees for the first time what is unsent
        assert connection.transport is not None
        assert not connection.transport.is_closing()
        connection.expire(connection.deadline + 1)
        await until(lambda: not listener._connections)
        client.close()


async def test_a_slow_reader_that_goes_on_is_not_cut_off() -> None:
    """As long as some of the reply is taken between two looks."""

    async def large(request: Request) -> Reply:
        return Reply(200, (), b"x" * (1 << 22))

    async with serve(large) as (listener, _):
        client = _deaf_socket(listener)
        loop = asyncio.get_running_loop()
        client.sendall(GET)
        await until(lambda: bool(listener._connections))
        connection = connection_of(listener)
        await until(lambda: connection._unwritable is not None)
        got, unsent = 0, math.inf
        while got < 1 << 22:
            piece = await loop.sock_recv(client, 1 << 18)
            assert piece
            got += len(piece)
            assert connection.transport is not None
            left = connection.transport.get_write_buffer_size()
            if 0 < left < unsent:
                connection.expire(connection.deadline + 1)
                unsent = left
        assert connection.transport is not None
        client.close()


# --- handlers ---------------------------------------------------------------------------------


async def test_an_error_of_the_handler_is_an_internal_error() -> None:
    """It is said so, and the connection ends."""

    async def broken(request: Request) -> Reply:
        raise RuntimeError("secret")

    async with serve(broken) as (listener, _), connect(listener) as client:
        await client.send(GET)
        status, fields, body = await client.reply()
        assert (status, fields["connection"]) == (500, "close")
        assert b"secret" not in body
        assert await client.ended() == b""


@pytest.mark.parametrize("value", ["a\r\nb: c", "a\nb", "a\rb", "a\0b", "ເຄບ"])
async def test_a_reply_cannot_be_split(value: str) -> None:
    """A line break in a field is an error of ours, not a second field."""

    async def splitting(request: Request) -> Reply:
        return Reply(200, (("x-a", value),), b"")

    async with serve(splitting) as (listener, _), connect(listener) as client:
        await client.send(GET)
        status, fields, _ = await client.reply()
        assert status == 500
        assert "x-a" not in fields
        assert "b" not in fields


# --- whatever comes ---------------------------------------------------------------------------

FRAGMENTS = [
    GET,
    POST,
    CHUNKED,
    b"GET ",
    b"HEAD / HTTP/1.1\r\n",
    b"CONNECT x:1 HTTP/1.1\r\n",
    b"Host: x\r\n",
    b"\r\n",
    b"\n",
    b"\r",
    b": ",
    b"Content-Length: 3\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"Connection: close\r\n",
    b"Connection: upgrade\r\nUpgrade: x\r\n",
    b"Expect: 100-continue\r\n",
    b"3\r\nabc\r\n",
    b"0\r\n\r\n",
    b" \t",
    b"\0\xff",
]


class _Judge:
    """Reads a sequence of replies with a foreign parser."""

    def __init__(self) -> None:
        self.whole = 0
        self.parser: Any = HttpResponseParser(self)

    def on_message_complete(self) -> None:
        if self.parser.get_status_code() != 100:
            self.whole += 1


@settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    pieces=st.lists(
        st.one_of(st.sampled_from(FRAGMENTS), st.binary(max_size=20)), min_size=1, max_size=12
    ),
    together=st.booleans(),
    loop=st.sampled_from(sorted(LOOPS)),
)
def test_whatever_comes_is_answered_or_ended(
    pieces: list[bytes], together: bool, loop: str
) -> None:
    """Never a hang, never an error of ours, never bytes that are no replies."""

    async def scenario() -> None:
        failures: list[dict[str, Any]] = []
        asyncio.get_running_loop().set_exception_handler(
            lambda _, context: failures.append(context)
        )
        seen: list[str] = []

        async def noting(request: Request) -> Reply:
            seen.append(request.method)
            return await echo(request)

        async with serve(noting) as (listener, _), connect(listener) as client:
            with suppress(ConnectionError):
                await client.send(*([b"".join(pieces)] if together else pieces))
                client.writer.write_eof()
            got = await client.ended()
            await until(lambda: not listener._connections)
        if "HEAD" not in seen:  # the parser of replies cannot know
            judge = _Judge()
            if got:
                judge.parser.feed_data(got)
            assert judge.whole <= len(seen) + 1
        assert not failures

    with asyncio.Runner(loop_factory=LOOPS[loop]) as runner:
        runner.run(scenario())


def test_names_of_fields_are_the_same_object_and_bounded() -> None:
    """One text for all spellings; what clients invent fills no memory."""
    assert FIELD_NAMES[b"X-Road-Client"] is FIELD_NAMES[b"x-road-client"]
    for number in range(5000):
        assert FIELD_NAMES[b"X-%d" % number] == f"x-{number}"
    assert FIELD_NAMES[b"X" * 1000] == "x" * 1000
    assert len(FIELD_NAMES) <= 1024
