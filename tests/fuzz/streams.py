"""Our two parsers as functions of bytes, and streams for them."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Sequence
from typing import Any

from hypothesis import strategies as st

from exchange.problems import Problem, Side
from serving.answers import AnswerReader
from serving.failures import ProtocolError, TooLarge
from serving.listener import Listener
from serving.requests import Connection, Reply, Request
from tests.fuzz.reference import AnswerRead, RequestRead, answer_in, requests_in

LIMIT = 4096


class Wire:
    """A transport without a network: what the connection asks of one, and what it wrote."""

    def __init__(self) -> None:
        self.closing = self.paused = False
        self.written = b""

    def write(self, data: bytes) -> None:
        assert not self.closing
        self.written += data

    def pause_reading(self) -> None:
        self.paused = True

    def resume_reading(self) -> None:
        self.paused = False

    def is_closing(self) -> bool:
        return self.closing

    def close(self) -> None:
        self.closing = True

    abort = close

    def can_write_eof(self) -> bool:
        return False

    def get_write_buffer_size(self) -> int:
        return 0

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return default


async def _requests_by_us(pieces: Sequence[bytes]) -> tuple[list[RequestRead], bytes]:
    taken: list[RequestRead] = []

    async def handler(request: Request) -> Reply:
        try:
            body = await request.receive(LIMIT, 60)
            assert isinstance(body, bytes)  # so short a one is
        except Problem as problem:
            return Reply(problem.status, (), b"")
        if request.fault is not None:
            return Reply(request.fault.status, (), b"")
        taken.append(RequestRead(request.method, request.target, request.headers, body))
        return Reply(200, (), b"")

    listener = Listener(
        handler,
        side=Side.CONSUMER,
        on_malformed=None,
        drain_s=1,
        head_s=60,
        keepalive_s=60,
        max_line_bytes=LIMIT,
        max_head_bytes=2 * LIMIT,
        max_fields=50,
        max_connections=1,
    )
    wire = Wire()
    connection = Connection(listener, asyncio.get_running_loop(), "192.0.2.1")
    connection.connection_made(wire)  # type: ignore[arg-type]
    for piece in pieces:
        for _ in range(4):
            await asyncio.sleep(0)
        if wire.closing:
            break
        connection.data_received(piece)
    for _ in range(4):
        await asyncio.sleep(0)
    reader = connection._reader
    while connection.busy and reader.request is not None and reader.request.complete:  # noqa: ASYNC110 (no event tells)
        await asyncio.sleep(0)
    connection.eof_received()
    connection.connection_lost(None)
    while connection.busy:  # noqa: ASYNC110 (no event tells)
        await asyncio.sleep(0)
    return taken, wire.written


def check_requests(pieces: Sequence[bytes]) -> int:
    """Hold our reading of a stream against the reference; returns how many requests were taken.

    What we take is what the reference takes, in its order, with the same framing; we may stop
    earlier, and never take what it refuses.
    """
    taken, written = asyncio.run(_requests_by_us(pieces))
    expected = requests_in(b"".join(pieces))
    assert taken == expected[: len(taken)], (taken, expected)
    assert not written or written.startswith(b"HTTP/1.1 "), written
    return len(taken)


def check_answer(pieces: Sequence[bytes], *, head_only: bool) -> AnswerRead | None:
    """Hold our reading of an answer against the reference; returns what was taken."""
    reader = AnswerReader(max_head_bytes=2 * LIMIT, max_body_bytes=LIMIT)
    reader.begin(head_only=head_only)
    fed = b""
    rest = list(pieces)
    try:
        while rest and not reader.feed(rest[0]):
            fed += rest.pop(0)
        if not rest:
            return None
        fed += rest.pop(0)
    except (ProtocolError, TooLarge):
        return None
    taken = AnswerRead(reader.status, reader.headers, reader.body)
    assert taken == answer_in(fed, head_only=head_only)
    return None if rest else taken  # of bytes that come later, the connection ends


# --- streams ----------------------------------------------------------------------------------

_NAMES = [
    b"Host", b"Content-Length", b"Transfer-Encoding", b"Connection", b"Upgrade", b"Expect", b"A",
    b"content-LENGTH", b"transfer-ENCODING", b"Content_Length", b"TE", b"Trailer", b"X-\x80", b"",
]  # fmt: skip
_VALUES = [
    b"x", b"localhost:80", b"0", b"1", b"3", b"03", b"+3", b"-1", b"3 3", b"3, 3", b"0x3", b"3_0",
    b"\xb3", b"99999999999999999999", b"chunked", b"Chunked", b"xchunked", b"chunked, identity",
    b"identity, chunked", b"chunked,chunked", b",chunked", b"chunked;a", b"gzip", b"close",
    b"keep-alive", b"upgrade", b"h2c", b"websocket", b"100-continue", b"a\tb", b"\x0bchunked",
    b"chunked\x0b", b"\xa0chunked", b'"', b"", b"u@x", b"x, y", b"[::1]",
]  # fmt: skip
# ruff: noqa: E501
_LINES = [
    b"GET / HTTP/1.1", b"POST /a?b HTTP/1.1", b"HEAD / HTTP/1.1", b"DELETE /a HTTP/1.0",
    b"OPTIONS * HTTP/1.1", b"CONNECT x:1 HTTP/1.1", b"GET http://x/a HTTP/1.1", b"PUT /a#b HTTP/1.1",
    b"GET http://x:80?a HTTP/1.1", b"GET  / HTTP/1.1", b"GET / HTTP/1.1 ", b"GET /", b"GET / HTTP/2",
    b"PRI * HTTP/2.0", b"GET / RTSP/1.0", b"get / HTTP/1.1", b"GET\t/ HTTP/1.1", b"\xc7ET / HTTP/1.1",
]  # fmt: skip
_STATUSES = [
    b"HTTP/1.1 200 OK", b"HTTP/1.1 204 No Content", b"HTTP/1.1 304 N", b"HTTP/1.0 200 OK",
    b"HTTP/1.1 100 Continue", b"HTTP/1.1 101 S", b"HTTP/1.1 103 Early", b"HTTP/1.1 404", b"ICY 200 OK",
    b"HTTP/1.1 206 P", b"HTTP/2 200", b"HTTP/1.1 2000 X", b"HTTP/1.1  200 X", b"HTTP/1.1 099 X",
]  # fmt: skip
_BODIES = [
    b"", b"abc", b"0\r\n\r\n", b"3\r\nabc\r\n0\r\n\r\n", b"3;a=b\r\nabc\r\n0\r\nT: 1\r\n\r\n",
    b"3\nabc\n0\n\n", b"03\r\nabc\r\n0\r\n\r\n", b"3 \r\nabc\r\n0\r\n\r\n", b"3\r\nabcd\r\n0\r\n\r\n",
    b"3\r\nabcXX0\r\n\r\n", b'3;a="\r\nabc\r\n0\r\n\r\n', b"3;a\nabc\r\n0\r\n\r\n",
    b"0\r\nContent-Length: 3\r\n\r\n", b"0\r\nA: b\r\n c\r\n\r\n", b"0x3\r\nabc\r\n0\r\n\r\n",
    b"fffffffffffffffff\r\n", b"3;\xff\r\nabc\r\n0\r\n\r\n",
]  # fmt: skip
_BREAKS = [b"\r\n"] * 40 + [b"\n", b"\r", b"\r\n ", b"\r\n\t", b"\r\r\n", b"\0\r\n", b"\r\n\r\n"]
_COLONS = [b": "] * 20 + [b":", b" : ", b":\t", b"\t:", b": \x0c"]
_CHUNKED = b"Transfer-Encoding: chunked\r\n\r\n3;a=b\r\nabc\r\n0\r\nT: 1\r\n\r\n"
_GOOD_REQUESTS = [
    b"GET /a?b HTTP/1.1\r\nHost: x\r\n\r\n",
    b"PUT /a HTTP/1.1\r\nHost: x\r\nA: b\r\nContent-Length: 3\r\n\r\nabc",
    b"POST / HTTP/1.1\r\nHost: x\r\n" + _CHUNKED,
]
_GOOD_ANSWERS = [
    b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc",
    b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nA: b\r\n" + _CHUNKED,
]


@st.composite
def _message(draw: Any, lines: list[bytes]) -> bytes:
    line = draw(st.sampled_from(lines[:3]) | st.sampled_from(lines))
    data = line + draw(st.sampled_from(_BREAKS))
    fields = draw(
        st.lists(st.tuples(st.sampled_from(_NAMES[:3]) | st.sampled_from(_NAMES),
                           st.sampled_from(_COLONS),
                           st.sampled_from(_VALUES),
                           st.sampled_from(_BREAKS)), max_size=4)
    )  # fmt: skip
    if draw(st.integers(0, 9)):
        fields.insert(0, (b"Host", b": ", b"x", b"\r\n"))
    data += b"".join(b"".join(field) for field in fields)
    return data + b"\r\n" + draw(st.sampled_from(_BODIES) | st.binary(max_size=8))


@st.composite
def _pieces(draw: Any, lines: list[bytes], good: list[bytes], most: int) -> list[bytes]:
    message = st.sampled_from(good) | _message(lines)
    messages = draw(st.lists(message, min_size=1, max_size=most))
    data = bytearray(b"".join(messages))
    for _ in range(draw(st.integers(0, 2))):
        place = draw(st.integers(0, len(data)))
        noise = draw(st.binary(max_size=3) | st.sampled_from([b"\r\n", b"\n", b"\r", b"\0", b" "]))
        data[place : place + draw(st.integers(0, 3))] = noise
    return cut(bytes(data), draw(st.lists(st.integers(0, len(data)), max_size=6)))


def cut(data: bytes, places: Sequence[int]) -> list[bytes]:
    """The same bytes in pieces; a single place cuts them into single bytes."""
    if len(places) == 1:
        return [data[i : i + 1] for i in range(len(data))]
    at = [0, *sorted(set(places)), len(data)]
    return [data[a:b] for a, b in itertools.pairwise(at) if a < b]


def request_streams() -> st.SearchStrategy[list[bytes]]:
    """Requests one behind the other, good, ambiguous and broken, in pieces."""
    return _pieces(_LINES, _GOOD_REQUESTS, 3)


def answer_streams() -> st.SearchStrategy[list[bytes]]:
    """Answers, interim ones before them, in pieces."""
    return _pieces(_STATUSES, _GOOD_ANSWERS, 2)
