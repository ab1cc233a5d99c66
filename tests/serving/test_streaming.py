"""Long bodies over real sockets: in, out, slowly, cut in the middle, with no room for them."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from exchange.problems import Code, Problem, Side
from serving import replies
from serving.bodies import IN_MEMORY_BYTES, PIECE_BYTES, Body, Spooled, Spools
from serving.client import Pool
from serving.failures import Disconnected, TimedOut, TooLarge
from serving.incoming import MAX_UNREAD_BYTES, Request
from serving.listener import Listener, listen
from serving.pool_places import PoolLimits
from serving.requests import Reply
from serving.waits import Waits

LONG = os.urandom(PIECE_BYTES) * 13 + b"end"
MOST = 16 << 20
HOST = [("host", "x")]
HEAD = b"PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n%s\r\n"


@pytest.fixture
def spools(tmp_path: Path) -> Iterator[Spools]:
    made = Spools.open(tmp_path / "spool", stall_s=5)
    yield made
    made.close()
    assert (made.in_memory, made.on_disk) == (0, 0)


class Echo:
    """Answers with what came; keeps the bodies' kinds, and the codes of what was refused."""

    def __init__(self) -> None:
        self.came: list[Any] = []
        self.reading = asyncio.Event()
        self.ended = asyncio.Event()
        self.requests: list[Request] = []

    async def __call__(self, request: Request) -> Reply:
        self.requests.append(request)
        self.reading.set()
        try:
            body = await request.receive(MOST, 5)
        except Problem as problem:
            self.came.append(problem.code)
            return Reply(*replies.reply(problem, Side.CONSUMER, ""))
        finally:
            self.ended.set()
        self.came.append(type(body))
        return Reply(200, (), body)


@asynccontextmanager
async def serve(handler: Any, spools: Spools) -> AsyncIterator[Listener]:
    listener = await listen(handler, "127.0.0.1:0", where="test", side=Side.CONSUMER, spools=spools)
    try:
        yield listener
    finally:
        await listener.stop()


@asynccontextmanager
async def pool_to(listener: Listener, most: int = MOST) -> AsyncIterator[Pool]:
    pool = Pool("127.0.0.1", listener.port, limits=PoolLimits(max_body_bytes=most))
    try:
        yield pool
    finally:
        await pool.close(drain_s=1)
        assert pool.open_connections == 0


async def bytes_of(body: Body) -> bytes:
    return await body.load() if isinstance(body, Spooled) else body


async def nothing_kept(spools: Spools) -> None:
    """Wait until every room has ended."""
    async with asyncio.timeout(60):
        while spools.in_memory or spools.on_disk:  # noqa: ASYNC110 (nobody tells of it)
            await asyncio.sleep(0.01)


async def open_to(listener: Listener) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.open_connection("127.0.0.1", listener.port)


@pytest.mark.parametrize("size", [0, 1, IN_MEMORY_BYTES, IN_MEMORY_BYTES + 1, len(LONG)])
async def test_a_body_goes_there_and_back_whole(spools: Spools, size: int) -> None:
    """Up to 1 MiB nothing touches the disk; beyond, nothing of it stays in memory."""
    echo, room = Echo(), spools.room()
    body = await room.take(LONG[:size])
    before = spools.bodies_spooled
    async with serve(echo, spools) as listener, pool_to(listener) as pool:
        for _ in range(2):
            answer = await pool.exchange("PUT", "/", HOST, body, timeout_s=60, room=room)
            assert await bytes_of(answer.body) == LONG[:size]
        assert pool.open_connections == 1  # and the connection is used again
    long = size > IN_MEMORY_BYTES
    assert echo.came == [Spooled if long else bytes] * 2
    assert isinstance(answer.body, Spooled) is long
    assert spools.bodies_spooled - before == (4 if long else 0)
    room.end()
    await nothing_kept(spools)


@pytest.mark.parametrize("size", [1000, IN_MEMORY_BYTES, len(LONG)])
async def test_a_body_in_chunks_is_spooled_when_it_has_become_long(
    spools: Spools, size: int
) -> None:
    """Its length is not known before."""
    echo = Echo()
    async with serve(echo, spools) as listener:
        reader, writer = await open_to(listener)
        writer.write(b"PUT / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
        for start in range(0, size, 100_000):
            piece = LONG[start : min(start + 100_000, size)]
            writer.write(b"%x\r\n%s\r\n" % (len(piece), piece))
            await writer.drain()
        writer.write(b"0\r\n\r\n")
        await reader.readuntil(b"\r\n\r\n")
        assert await reader.readexactly(size) == LONG[:size]
        writer.close()
    assert echo.came == [Spooled if size > IN_MEMORY_BYTES else bytes]
    await nothing_kept(spools)


async def test_without_a_room_an_answer_is_kept_in_memory(spools: Spools) -> None:
    """For callers that have bounded it themselves."""
    room = spools.room()
    body = await room.take(LONG)
    async with serve(Echo(), spools) as listener, pool_to(listener) as pool:
        answer = await pool.exchange("PUT", "/", HOST, body, timeout_s=10)
        assert answer.body == LONG
    room.end()
    await nothing_kept(spools)


async def test_continue_is_said_when_the_body_is_wanted_only(spools: Spools) -> None:
    """Not for one that is too long, nor for one that there is no room for."""
    spools.spool_bytes = 2 * len(LONG)
    async with serve(Echo(), spools) as listener:
        said = []
        for size in (len(LONG), 3 * len(LONG), MOST + 1):
            reader, writer = await open_to(listener)
            writer.write(HEAD % (size, b"Expect: 100-continue\r\n"))
            said.append(int((await reader.readuntil(b"\r\n")).split()[1]))
            writer.close()
        assert said == [100, 503, 413]
        await nothing_kept(spools)


@pytest.mark.parametrize("sent", [0, 1000, IN_MEMORY_BYTES + 1, len(LONG) - 1])
async def test_a_request_that_is_cut_leaves_nothing(spools: Spools, sent: int) -> None:
    """Neither bytes on the disk nor in memory, and the handler is told."""
    echo = Echo()
    async with serve(echo, spools) as listener:
        _, writer = await open_to(listener)
        writer.write(HEAD % (len(LONG), b"") + LONG[:sent])
        await writer.drain()
        await echo.reading.wait()
        writer.transport.abort()
        await asyncio.wait_for(echo.ended.wait(), 5)
        await nothing_kept(spools)
    assert echo.came == [Code.INVALID_REQUEST]


async def test_a_sender_that_stands_still_is_given_up(spools: Spools) -> None:
    """After ``stall_s``, with what was wrong."""
    spools.stall_s = 0.1
    async with serve(Echo(), spools) as listener:
        reader, writer = await open_to(listener)
        writer.write(HEAD % (len(LONG), b"") + LONG[:-1])
        await writer.drain()
        assert (await reader.readuntil(b"\r\n")).split()[1] == b"408"
        writer.close()
        await nothing_kept(spools)


async def test_a_sender_below_the_floor_rate_is_given_up(spools: Spools) -> None:
    """It goes on, but not fast enough: the time of a short body is over, and it earned no more."""
    spools.floor_bytes_per_s = 1 << 40

    async def handler(request: Request) -> Reply:
        with pytest.raises(Problem) as caught:
            await request.receive(MOST, 0.3)
        return Reply(*replies.reply(caught.value, Side.CONSUMER, ""))

    async with serve(handler, spools) as listener:
        reader, writer = await open_to(listener)
        writer.write(HEAD % (len(LONG), b""))

        async def dribble() -> None:
            while True:
                writer.write(b"x")
                await asyncio.sleep(0.02)

        task = asyncio.ensure_future(dribble())
        assert (await reader.readuntil(b"\r\n")).split()[1] == b"408"
        task.cancel()
        writer.close()
        await nothing_kept(spools)


async def test_an_unread_body_stops_the_sender(spools: Spools) -> None:
    """What the handler does not ask for stays with the client, but for a piece."""
    release = asyncio.Event()
    seen: list[Request] = []

    async def handler(request: Request) -> Reply:
        seen.append(request)
        await release.wait()
        return Reply(200, (), b"")

    async with serve(handler, spools) as listener:
        _, writer = await open_to(listener)
        writer.write(HEAD % (MOST, b"") + LONG * 4)
        with suppress(TimeoutError):
            await asyncio.wait_for(writer.drain(), 0.5)
        assert writer.transport.get_write_buffer_size() > 0
        assert seen[0].size <= 3 * MAX_UNREAD_BYTES
        release.set()
        writer.transport.abort()


async def test_a_client_that_takes_no_reply_is_given_up(spools: Spools) -> None:
    """The file is read as far as the client takes it, and let go when it does not."""
    spools.stall_s = 0.2
    answering = asyncio.Event()

    async def handler(request: Request) -> Reply:
        body = await request.room.take(bytes(MOST))
        answering.set()
        return Reply(200, (), body)

    async with serve(handler, spools) as listener:
        with socket.socket() as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            client.setblocking(False)
            loop = asyncio.get_running_loop()
            await loop.sock_connect(client, ("127.0.0.1", listener.port))
            await loop.sock_sendall(client, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            await asyncio.wait_for(answering.wait(), 60)
            await nothing_kept(spools)


async def test_a_client_that_leaves_ends_the_reply(spools: Spools) -> None:
    """In the middle of a long one."""

    async def handler(request: Request) -> Reply:
        return Reply(200, (), await request.room.take(bytes(MOST)))

    async with serve(handler, spools) as listener:
        reader, writer = await open_to(listener)
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        await reader.readexactly(100_000)
        writer.transport.abort()
        await nothing_kept(spools)


async def scripted(answer: bytes, *, close: bool) -> asyncio.Server:
    """A server that says something to the first request, and ends or falls silent."""

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        if close:
            writer.close()
        else:
            await reader.read()
            writer.close()

    return await asyncio.start_server(accept, "127.0.0.1", 0)


@pytest.mark.parametrize(
    ("close", "failure"), [(True, Disconnected), (False, TimedOut)], ids=["cut", "still"]
)
@pytest.mark.parametrize("came", [1000, IN_MEMORY_BYTES + 1, len(LONG) - 1])
async def test_an_answer_that_does_not_become_whole_leaves_nothing(
    spools: Spools, close: bool, failure: type[Exception], came: int
) -> None:
    """Cut, or standing still."""
    head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(LONG)
    room = spools.room()
    async with await scripted(head + LONG[:came], close=close) as server:
        pool = Pool("127.0.0.1", server.sockets[0].getsockname()[1])
        waits = Waits(stall_s=60 if close else 0.2)
        with pytest.raises(failure):
            await pool.exchange("GET", "/", HOST, timeout_s=60, waits=waits, room=room)
        await pool.close(drain_s=1)
    room.end()
    await nothing_kept(spools)


async def test_a_long_answer_that_ends_with_the_connection_is_whole(spools: Spools) -> None:
    """RFC 9112 section 6.3, item 8."""
    room = spools.room()
    async with await scripted(b"HTTP/1.1 200 OK\r\n\r\n" + LONG, close=True) as server:
        pool = Pool("127.0.0.1", server.sockets[0].getsockname()[1])
        answer = await pool.exchange("GET", "/", HOST, timeout_s=60, room=room)
        assert await bytes_of(answer.body) == LONG
        await pool.close(drain_s=1)
    room.end()


async def test_an_answer_without_room_fails_the_exchange(spools: Spools) -> None:
    """On the disk, in memory, and beyond the bound of one body."""
    room = spools.room()
    body = await room.take(LONG)
    other = Spools(spools.directory, memory_bytes=0, spool_bytes=len(LONG) - 1)
    async with serve(Echo(), spools) as listener:
        async with pool_to(listener) as pool:
            for some in (body, b"short"):
                with pytest.raises(Problem) as caught:
                    await pool.exchange("PUT", "/", HOST, some, timeout_s=60, room=other.room())
                assert caught.value.code is Code.OVERLOADED
        async with pool_to(listener, most=len(LONG) - 1) as pool:
            with pytest.raises(TooLarge):
                await pool.exchange("PUT", "/", HOST, body, timeout_s=60, room=room)
    other.close()
    assert (other.in_memory, other.on_disk) == (0, 0)
    room.end()
    await nothing_kept(spools)


async def test_an_early_answer_ends_the_sending(spools: Spools) -> None:
    """A server that refuses a long request need not read it; the connection is not used again."""
    room = spools.room()
    body = await room.take(LONG * 4)
    refusal = b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 2\r\n\r\nno"
    async with await scripted(refusal, close=False) as server:
        pool = Pool("127.0.0.1", server.sockets[0].getsockname()[1])
        answer = await pool.exchange("PUT", "/", HOST, body, timeout_s=60, room=room)
        assert (answer.status, answer.body) == (413, b"no")
        await pool.close(drain_s=1)
        assert pool.open_connections == 0
    room.end()


async def test_a_server_that_answers_while_it_reads_gets_the_whole_request(
    spools: Spools,
) -> None:
    """An echo in step with the request: neither side waits for the other's end."""

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(LONG))
        left = len(LONG)
        while left:
            piece = await reader.read(65536)
            left -= len(piece)
            writer.write(piece)
            await writer.drain()
        writer.close()

    room = spools.room()
    body = await room.take(LONG)
    async with await asyncio.start_server(accept, "127.0.0.1", 0) as server:
        pool = Pool("127.0.0.1", server.sockets[0].getsockname()[1])
        answer = await pool.exchange("PUT", "/", HOST, body, timeout_s=60, room=room)
        assert await bytes_of(answer.body) == LONG
        await pool.close(drain_s=1)
    room.end()


async def test_a_server_that_takes_nothing_of_a_long_request_is_given_up(spools: Spools) -> None:
    """After ``stall_s``: it reads the head, and nothing more."""

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.transport.pause_reading()
        await asyncio.sleep(30)

    room = spools.room()
    body = await room.take(bytes(MOST))
    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    pool = Pool("127.0.0.1", server.sockets[0].getsockname()[1])
    waits = Waits(stall_s=0.2)
    with pytest.raises(TimedOut):
        await pool.exchange("PUT", "/", HOST, body, timeout_s=60, waits=waits, room=room)
    await pool.close(drain_s=1)
    server.close()
    room.end()
