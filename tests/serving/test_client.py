"""The pooled client against real servers on loopback, on asyncio's loop and on uvloop's."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import functools
import gc
import ipaddress
import os
import random
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import uvloop
from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from exchange.problems import Code, Problem
from serving.answers import Answer
from serving.client import Pool
from serving.failures import (
    ConnectFailed,
    Disconnected,
    ExchangeFailed,
    PoolClosed,
    PoolFull,
    ProtocolError,
    TimedOut,
    TooLarge,
)
from serving.pool_places import PoolLimits
from serving.waits import Phase, Waits

OK = b"HTTP/1.1 200 OK\r\n"
SHORT = OK + b"Content-Length: 2\r\n\r\nab"
HOST = ("Host", "localhost")
LOOPS = [asyncio.new_event_loop, uvloop.new_event_loop]


def sockets() -> set[str]:
    """Open sockets of this process."""
    found = set[str]()
    for entry in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            found.add(os.readlink(f"/proc/self/fd/{entry}"))
    return {name for name in found if name.startswith("socket:")}


def in_both_loops(test: Callable[..., Awaitable[None]]) -> Callable[..., None]:
    """Run a test under a time limit; then nothing may be left: task, socket, unread exception."""

    @pytest.mark.parametrize("new_loop", LOOPS, ids=["asyncio", "uvloop"])
    @functools.wraps(test)
    def run(new_loop: Callable[[], asyncio.AbstractEventLoop], **arguments: Any) -> None:
        complaints: list[str] = []

        async def limited() -> None:
            asyncio.get_running_loop().set_exception_handler(
                lambda loop, context: complaints.append(str(context))
            )
            await asyncio.wait_for(test(**arguments), 120)
            for _ in range(4000):  # asyncio's server may still be ending a refused handshake
                if len(asyncio.all_tasks()) == 1:
                    break
                await asyncio.sleep(0.005)
            assert asyncio.all_tasks() == {asyncio.current_task()}

        gc.collect()  # what tests before this one left is not of this one
        gc.freeze()  # what they keep is not looked at each time
        before = sockets()
        with asyncio.Runner(loop_factory=new_loop) as runner:
            runner.run(limited())
        assert complaints == []
        assert not sockets() - before

    del run.__wrapped__  # type: ignore[attr-defined]
    run.__signature__ = _signature(test)  # type: ignore[attr-defined]
    return run


def _signature(test: Callable[..., Awaitable[None]]) -> Any:
    import inspect

    own = inspect.signature(test)
    loop = inspect.Parameter("new_loop", inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return own.replace(parameters=[loop, *own.parameters.values()], return_annotation=None)


@dataclass
class Served:
    """What a scripted server saw."""

    port: int = 0
    connections: int = 0
    at_once: int = 0
    most_at_once: int = 0
    requests: list[bytes] = field(default_factory=list)


Script = Callable[[Served, asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


async def take_request(reader: asyncio.StreamReader) -> bytes:
    """One request as raw bytes; raises IncompleteReadError when the client is gone."""
    head = await reader.readuntil(b"\r\n\r\n")
    size = 0
    for line in head.split(b"\r\n"):
        if line.lower().startswith(b"content-length:"):
            size = int(line.split(b":")[1])
    return head + await reader.readexactly(size)


@contextlib.asynccontextmanager
async def serve(script: Script, context: ssl.SSLContext | None = None) -> AsyncIterator[Served]:
    """A server that follows a script on each connection; gone with all its tasks at the end."""
    served = Served()
    tasks: set[asyncio.Task[None]] = set()

    async def run(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        served.connections += 1
        served.at_once += 1
        served.most_at_once = max(served.most_at_once, served.at_once)
        try:
            await script(served, reader, writer)
        except (OSError, asyncio.IncompleteReadError):
            pass
        except RuntimeError as error:  # uvloop, on a connection that the client has closed
            assert "closed" in str(error)  # noqa: PT017
        finally:
            served.at_once -= 1
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.ensure_future(run(reader, writer))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    server = await asyncio.start_server(accept, "127.0.0.1", 0, ssl=context)
    served.port = server.sockets[0].getsockname()[1]
    try:
        yield served
    finally:
        server.close()
        for task in tuple(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await server.wait_closed()


def always(*pieces: bytes, pause_s: float = 0.0) -> Script:
    """Answer every request with the same pieces."""

    async def script(
        served: Served, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        while True:
            served.requests.append(await take_request(reader))
            for piece in pieces:
                writer.write(piece)
                await asyncio.sleep(pause_s)

    return script


def once(*pieces: bytes, then_close: bool = True) -> Script:
    """Answer the first request of a connection, then end it or fall silent."""

    async def script(
        served: Served, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        served.requests.append(await take_request(reader))
        for piece in pieces:
            writer.write(piece)
        if not then_close:
            await reader.read()

    return script


async def silence(
    served: Served, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    """Take everything, say nothing."""
    while data := await reader.read(65536):
        served.requests.append(data)


@contextlib.asynccontextmanager
async def pool_to(port: int, **options: Any) -> AsyncIterator[Pool]:
    """A pool that must be empty after it was closed."""
    options.setdefault("limits", PoolLimits(idle_s=60, connect_s=60))
    pool = Pool("127.0.0.1", port, **options)
    try:
        yield pool
    finally:
        await pool.close(drain_s=2)
        assert (pool.open_connections, pool.busy, pool.waiting) == (0, 0, 0)


async def get(pool: Pool, **options: Any) -> Answer:
    options.setdefault("timeout_s", 60)
    return await pool.exchange("GET", "/", [HOST], **options)


# what is written


@in_both_loops
async def test_the_request_is_written_exactly_as_given() -> None:
    """Headers in order and case as given; the pool adds Content-Length and nothing else."""
    async with serve(always(SHORT)) as served, pool_to(served.port) as pool:
        headers = [("Host", "a:1"), ("X-Road-Client", "LA/GOV/MOF/budget"), ("x-b", "é"), ("X", "")]
        await pool.exchange("POST", "/a%20b?c=d", headers, b"body", timeout_s=60)
        await pool.exchange(b"GET", "/", headers[:1], timeout_s=60)
        await pool.exchange("PUT", "/", headers[:1], timeout_s=60)
        await pool.exchange("DELETE", "/", headers[:1], timeout_s=60)
        assert served.requests == [
            b"POST /a%20b?c=d HTTP/1.1\r\nHost: a:1\r\nX-Road-Client: LA/GOV/MOF/budget\r\n"
            b"x-b: \xe9\r\nX: \r\nContent-Length: 4\r\n\r\nbody",
            b"GET / HTTP/1.1\r\nHost: a:1\r\n\r\n",
            b"PUT / HTTP/1.1\r\nHost: a:1\r\nContent-Length: 0\r\n\r\n",
            b"DELETE / HTTP/1.1\r\nHost: a:1\r\n\r\n",
        ]


@pytest.mark.parametrize(
    ("method", "target", "headers"),
    [
        ("GET", "/", [("A", "b\r\nEvil: 1")]),
        ("GET", "/", [("A", "b\nEvil: 1")]),
        ("GET", "/", [("A", "b\rEvil: 1")]),
        ("GET", "/", [("A", "b\0")]),
        ("GET", "/", [("A\r\nEvil", "b")]),
        ("GET", "/", [("A", "ສະພານ")]),
        ("GET", "/", [("Content-Length", "5")]),
        ("GET", "/", [("transfer-encoding", "chunked")]),
        ("GET", "/a b", []),
        ("GET", "/a\r\nEvil: 1", []),
        ("GET", "/ສ", []),
        ("GET", "", []),
        ("", "/", []),
        ("G T", "/", []),
        ("CONNECT", "a:1", []),
    ],
)
def test_what_would_be_read_as_something_else_is_never_written(
    method: str, target: str, headers: list[tuple[str, str]]
) -> None:
    """A line break in a header would be another header: refused before a connection is made."""

    async def run() -> None:
        pool = Pool("127.0.0.1", 1)
        with pytest.raises(ValueError, match=r".+"):
            await pool.exchange(method, target, headers, timeout_s=1)
        assert pool.busy == 0

    asyncio.run(run())


@in_both_loops
async def test_large_bodies_go_both_ways() -> None:
    """Megabytes in request and answer, through aiohttp's server."""

    async def echo(request: web.Request) -> web.Response:
        return web.Response(body=await request.read())

    async with aiohttp_server(echo) as port, pool_to(port) as pool:
        for size in (0, 1, 65_536, 65_537, 3_000_000):
            body = random.Random(size).randbytes(size)
            answer = await pool.exchange("POST", "/", [HOST], body, timeout_s=10)
            assert (answer.status, answer.body) == (200, body)
        assert pool.open_connections == 1


@contextlib.asynccontextmanager
async def aiohttp_server(
    handler: Callable[[web.Request], Awaitable[web.StreamResponse]],
) -> AsyncIterator[int]:
    application = web.Application(client_max_size=10_000_000)
    application.router.add_route("*", "/{tail:.*}", handler)
    runner = web.AppRunner(application, shutdown_timeout=1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield site._server.sockets[0].getsockname()[1]  # type: ignore[union-attr]
    finally:
        await runner.cleanup()


# connections are kept, shared, and let go


@in_both_loops
async def test_a_clean_connection_is_used_again() -> None:
    """One connection for many exchanges; HEAD, 204, chunks and interim answers between them."""
    pieces = iter(
        [
            SHORT,
            OK + b"Content-Length: 500\r\n\r\n",
            b"HTTP/1.1 204 No Content\r\n\r\n",
            OK + b"Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n",
            b"HTTP/1.1 100 Continue\r\n\r\n" + SHORT,
            b"HTTP/1.1 304 Not Modified\r\nContent-Length: 500\r\n\r\n",
            SHORT,
        ]
    )

    async def script(
        served: Served, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        for piece in pieces:
            await take_request(reader)
            writer.write(piece)
        await reader.read()

    async with serve(script) as served, pool_to(served.port) as pool:
        found = []
        for method in ("GET", "HEAD", "GET", "GET", "GET", "GET", "GET"):
            answer = await pool.exchange(method, "/", [HOST], timeout_s=60)
            found.append((answer.status, answer.body, answer.reused))
        assert found == [
            (200, b"ab", False),
            (200, b"", True),
            (204, b"", True),
            (200, b"a", True),
            (200, b"ab", True),
            (304, b"", True),
            (200, b"ab", True),
        ]
        assert served.connections == 1


@pytest.mark.parametrize(
    "answer",
    [
        OK + b"Connection: close\r\nContent-Length: 2\r\n\r\nab",
        b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nab",
    ],
)
@in_both_loops
async def test_a_connection_that_says_close_is_not_used_again(answer: bytes) -> None:
    """RFC 9112 section 9.3."""
    async with serve(always(answer)) as served, pool_to(served.port) as pool:
        for _ in range(3):
            assert (await get(pool)).body == b"ab"
        assert served.connections == 3


@in_both_loops
async def test_without_length_the_end_of_the_connection_ends_the_body() -> None:
    """As HTTP/1.0 servers do."""
    script = once(OK + b"\r\n", b"ab", b"c")
    async with serve(script) as served, pool_to(served.port) as pool:
        assert (await get(pool)).body == b"abc"
        assert (await get(pool)).body == b"abc"
        assert served.connections == 2


@in_both_loops
async def test_a_server_that_closes_its_half_after_the_answer_is_fine() -> None:
    """The answer counts; the connection is not used again."""

    async def script(
        served: Served, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        await take_request(reader)
        writer.write(SHORT)
        writer.write_eof()
        await reader.read()

    async with serve(script) as served, pool_to(served.port) as pool:
        for _ in range(3):
            assert (await get(pool)).body == b"ab"
            await asyncio.sleep(0.02)
        assert served.connections == 3


@in_both_loops
async def test_never_more_connections_than_allowed() -> None:
    """A hundred exchanges share four connections; each gets its own answer."""

    async def script(
        served: Served, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        while True:
            name = (await take_request(reader)).split(b" ")[1]
            await asyncio.sleep(random.random() * 0.005)
            writer.write(OK + b"Content-Length: %d\r\n\r\n%s" % (len(name), name))

    limits = PoolLimits(max_connections=4)
    async with serve(script) as served, pool_to(served.port, limits=limits) as pool:
        answers = await asyncio.gather(
            *(pool.exchange("GET", f"/{i}", [HOST], timeout_s=10) for i in range(100))
        )
        assert [answer.body for answer in answers] == [b"/%d" % i for i in range(100)]
        assert served.connections == served.most_at_once == 4


@in_both_loops
async def test_a_full_pool_says_so_at_once() -> None:
    """The queue is bounded; nothing was sent for those turned away."""
    limits = PoolLimits(max_connections=2, max_waiting=3)
    async with serve(silence) as served, pool_to(served.port, limits=limits) as pool:
        running = [asyncio.ensure_future(get(pool)) for _ in range(2)]
        await until(lambda: len(served.requests) == 2)
        tasks = [asyncio.ensure_future(get(pool, timeout_s=0.1)) for _ in range(6)]
        results = await asyncio.gather(*tasks, return_exceptions=True)
        full = [failure for failure in results if isinstance(failure, PoolFull)]
        late = [failure.phase for failure in results if isinstance(failure, TimedOut)]
        assert len(full) == 3
        assert all(not failure.sent for failure in full)
        assert late == [Phase.WAIT] * 3
        assert len(served.requests) == 2
        assert not any(task.done() for task in running)
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)


@in_both_loops
async def test_waiting_for_a_connection_has_a_bound_of_its_own() -> None:
    """Who waits is turned away long before the whole is over; who has a connection goes on."""
    limits = PoolLimits(max_connections=1, wait_s=0.1)
    async with serve(silence) as served, pool_to(served.port, limits=limits) as pool:
        running = asyncio.ensure_future(get(pool, timeout_s=600))
        await until(lambda: bool(served.requests))
        with pytest.raises(TimedOut) as caught:
            await get(pool, timeout_s=600)
        failure = caught.value
        assert (failure.phase, failure.bound, failure.seconds) == (Phase.WAIT, "wait_s", 0.1)
        assert not failure.sent
        assert not running.done()
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


@in_both_loops
@pytest.mark.parametrize(
    "head", [b"Content-Length: 11\r\n", b"Transfer-Encoding: chunked\r\n"], ids=["told", "not told"]
)
async def test_one_answer_may_have_a_stricter_bound(head: bytes) -> None:
    """It is cut off where it is over, and not read to its end: here none ever comes."""
    piece = b"" if b"Length" in head else b"b\r\n" + b"x" * 11 + b"\r\n"
    script = once(OK + head + b"\r\n" + piece, then_close=False)
    async with serve(script) as served, pool_to(served.port) as pool:
        with pytest.raises(TooLarge) as caught:
            await get(pool, timeout_s=600, max_body_bytes=10)
        assert (caught.value.what, caught.value.limit_bytes) == ("body", 10)


@in_both_loops
async def test_a_stricter_bound_is_for_one_answer() -> None:
    """The next one, on the same connection, has that of the pool."""
    script = always(OK + b"Content-Length: 11\r\n\r\n" + b"x" * 11)
    async with serve(script) as served, pool_to(served.port) as pool:
        assert len((await get(pool, max_body_bytes=11)).body) == 11
        assert len((await get(pool)).body) == 11
        with pytest.raises(TooLarge):
            await get(pool, max_body_bytes=10)
        assert served.connections == 1


@in_both_loops
async def test_idle_connections_end_by_themselves() -> None:
    """After idle_s, without any exchange to bring it about."""
    limits = PoolLimits(idle_s=0.1)
    async with serve(always(SHORT)) as served, pool_to(served.port, limits=limits) as pool:
        await asyncio.gather(*(get(pool) for _ in range(5)))
        assert served.connections == 5
        await until(lambda: pool.open_connections == 0)
        await until(lambda: served.at_once == 0)
        assert (await get(pool)).reused is False


@in_both_loops
async def test_old_connections_are_replaced() -> None:
    """After max_age_s, however busy."""
    limits = PoolLimits(max_age_s=0.1)
    async with serve(always(SHORT)) as served, pool_to(served.port, limits=limits) as pool:
        time = asyncio.get_running_loop().time
        begun = time()
        while served.connections < 4:
            await get(pool)
            assert pool.open_connections <= 2
        assert time() - begun > 0.29


@in_both_loops
async def test_retired_connections_are_not_used_again() -> None:
    """Idle ones are closed at once, busy ones after their answer."""
    script = always(SHORT[:20], SHORT[20:], pause_s=0.05)
    async with serve(script) as served, pool_to(served.port) as pool:
        await asyncio.gather(get(pool), get(pool))
        busy = asyncio.ensure_future(get(pool))
        await asyncio.sleep(0.02)
        pool.retire()
        assert (await busy).reused is True
        await until(lambda: pool.open_connections == 0)
        assert (await get(pool)).reused is False
        assert served.connections == 3


async def until(condition: Callable[[], bool], limit_s: float = 60.0) -> None:
    async with asyncio.timeout(limit_s):
        while not condition():  # noqa: ASYNC110 (what is waited for knows nothing of events)
            await asyncio.sleep(0.005)


# stale connections


def stale(*, answer_first: bytes = b"") -> Script:
    """Answer once; then end each connection when its second request comes."""

    async def script(
        served: Served, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        served.requests.append(await take_request(reader))
        writer.write(SHORT)
        served.requests.append(await take_request(reader))
        writer.write(answer_first)

    return script


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "OPTIONS"])
@in_both_loops
async def test_an_idempotent_request_is_repeated_once_when_a_kept_connection_was_stale(
    method: str,
) -> None:
    """On a fresh connection; the caller does not notice."""
    script = stale()
    async with serve(script) as served, pool_to(served.port) as pool:
        await get(pool)
        if method == "HEAD":
            return  # this server would answer it with a body
        answer = await pool.exchange(method, "/2", [HOST], timeout_s=60)
        assert (answer.status, answer.reused) == (200, False)
        assert [request.split(b" ")[1] for request in served.requests] == [b"/", b"/2", b"/2"]


@in_both_loops
async def test_an_unsafe_request_is_never_repeated() -> None:
    """It may have been acted upon; the failure says that it was sent, and without an answer."""
    async with serve(stale()) as served, pool_to(served.port) as pool:
        await get(pool)
        with pytest.raises(Disconnected) as caught:
            await pool.exchange("POST", "/", [HOST], b"x", timeout_s=60)
        assert (caught.value.sent, caught.value.answered) == (True, False)
        assert len(served.requests) == 2


@in_both_loops
async def test_the_caller_may_know_better_what_is_repeatable() -> None:
    """``repeatable`` overrides what the method says, both ways."""
    async with serve(stale()) as served, pool_to(served.port) as pool:
        await get(pool)
        answer = await pool.exchange("POST", "/", [HOST], b"x", timeout_s=60, repeatable=True)
        assert answer.status == 200
        with pytest.raises(Disconnected):
            await get(pool, repeatable=False)


@in_both_loops
async def test_nothing_is_repeated_once_an_answer_began() -> None:
    """Not even GET: what was answered in part was acted upon."""
    async with serve(stale(answer_first=b"HT")) as served, pool_to(served.port) as pool:
        await get(pool)
        with pytest.raises(Disconnected) as caught:
            await get(pool)
        assert caught.value.answered is True
        assert served.connections == 1


@in_both_loops
async def test_nothing_is_repeated_on_a_fresh_connection() -> None:
    """A server that hangs up without a word is broken, not stale."""
    async with serve(once()) as served, pool_to(served.port) as pool:
        with pytest.raises(Disconnected):
            await get(pool)
        assert served.connections == 1


@in_both_loops
async def test_a_connection_known_to_be_closed_is_passed_over() -> None:
    """Then even POST goes through: nothing was written to the dead one."""
    async with serve(once(SHORT)) as served, pool_to(served.port) as pool:
        await get(pool)
        await until(lambda: pool.open_connections == 0)
        answer = await pool.exchange("POST", "/", [HOST], b"x", timeout_s=60)
        assert answer.reused is False
        assert served.connections == 2


# nonsense


@pytest.mark.parametrize(
    ("pieces", "failure"),
    [
        ([b"SSH-2.0-OpenSSH_9.2p1\r\n"], ProtocolError),
        ([b"\0" * 100], ProtocolError),
        ([SHORT + b"x"], ProtocolError),
        ([SHORT * 2], ProtocolError),
        ([b"HTTP/1.1 101 S\r\nUpgrade: h2c\r\nConnection: upgrade\r\n\r\n"], ProtocolError),
        ([OK + b"Content-Length: x\r\n\r\n"], ProtocolError),
        ([OK + b"A: ", b"x" * 70_000], TooLarge),
        ([OK + b"Content-Length: 999999999999\r\n\r\n"], TooLarge),
        ([SHORT[:-1]], Disconnected),
        ([OK], Disconnected),
        ([], Disconnected),
    ],
)
@in_both_loops
async def test_nonsense_ends_the_exchange_and_the_connection(
    pieces: list[bytes], failure: type[ExchangeFailed]
) -> None:
    """Each kind has its exception, none hangs, and the pool works on."""
    scripts = iter([once(*pieces), once(SHORT)])

    async def script(*arguments: Any) -> None:
        await next(scripts)(*arguments)

    async with serve(script) as served, pool_to(served.port) as pool:
        with pytest.raises(failure) as caught:
            await get(pool)
        assert caught.value.sent is True
        await until(lambda: pool.open_connections == 0)
        assert (await get(pool)).body == b"ab"


@in_both_loops
async def test_bytes_behind_an_answer_end_the_connection() -> None:
    """When they come later the answer stands, but the connection is never used again."""
    taken = asyncio.Event()

    async def script(
        served: Served, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        await take_request(reader)
        writer.write(SHORT)
        await taken.wait()
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nwrong")
        await reader.read()

    async with serve(script) as served, pool_to(served.port) as pool:
        for _ in range(2):
            answer = await get(pool)
            assert (answer.body, answer.reused) == (b"ab", False)
            assert pool.open_connections == 1
            taken.set()
            await until(lambda: pool.open_connections == 0)
            taken.clear()
        assert served.connections == 2


@in_both_loops
async def test_an_answer_that_comes_before_the_request_is_never_taken_for_it() -> None:
    """Here while the certificate is being admitted: nothing is sent on such a connection."""

    async def script(
        served: Served, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        writer.write(b"220 ready\r\n")
        served.requests.append(await reader.read(1))

    async with serve(script) as served, pool_to(served.port) as pool:
        with pytest.raises(ProtocolError):
            await get(pool)


@in_both_loops
async def test_an_early_answer_does_not_leave_half_a_request_on_a_kept_connection() -> None:
    """A server may refuse a body before it has read it; the rest must not precede a request."""

    async def script(
        served: Served, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 0\r\n\r\n")
        await writer.drain()
        await asyncio.sleep(0.2)

    async with serve(script) as served, pool_to(served.port) as pool:
        answer = await pool.exchange("POST", "/", [HOST], b"x" * 30_000_000, timeout_s=60)
        assert answer.status == 413
        await until(lambda: pool.open_connections == 0)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.lists(
        st.binary(max_size=60)
        | st.sampled_from([OK, SHORT, b"Content-Length: 1\r\n", b"\r\n", b"0\r\n\r\n", b"a"]),
        max_size=6,
    ),
    st.booleans(),
)
def test_whatever_a_server_sends_an_exchange_ends(pieces: list[bytes], then_close: bool) -> None:
    """In an answer or in an exception of the client's own, before its time is over."""

    async def run() -> None:
        script = once(*pieces, then_close=then_close)
        async with serve(script) as served, pool_to(served.port) as pool:
            try:
                answer = await get(pool, timeout_s=0.05)
                assert 200 <= answer.status < 600
            except ExchangeFailed:
                pass

    asyncio.run(asyncio.wait_for(run(), 5))


# time


SLOW = pytest.mark.parametrize(
    ("pieces", "phase", "bound"),
    [
        ([], Phase.FIRST_BYTE, "first_byte_s"),
        ([b"HTTP/1.1 2"], Phase.ANSWER, "stall_s"),
        ([OK + b"Content-Length: 9\r\n\r\nab"], Phase.ANSWER, "stall_s"),
    ],
)


@SLOW
@in_both_loops
async def test_a_slow_answer_times_out(pieces: list[bytes], phase: Phase, bound: str) -> None:
    """Silent, or stopping within head or body; the connection is not used again."""
    script = once(*pieces, then_close=False)
    async with serve(script) as served, pool_to(served.port) as pool:
        with pytest.raises(TimedOut) as caught:
            await get(pool, timeout_s=0.3)
        assert (caught.value.phase, caught.value.sent) == (phase, True)
        assert caught.value.bound == "exchange_s"
        await until(lambda: pool.open_connections == 0)


@SLOW
@in_both_loops
async def test_each_phase_of_an_answer_has_a_bound(
    pieces: list[bytes], phase: Phase, bound: str
) -> None:
    """Within the whole's time, the failure names the phase that stood still and its bound."""
    script = once(*pieces, then_close=False)
    waits = Waits(**{"first_byte_s": 600, "stall_s": 600, bound: 0.1})
    async with serve(script) as served, pool_to(served.port) as pool:
        with pytest.raises(TimedOut) as caught:
            await get(pool, timeout_s=600, waits=waits)
        assert (caught.value.phase, caught.value.bound) == (phase, bound)
        assert caught.value.seconds == 0.1
        await until(lambda: pool.open_connections == 0)


@in_both_loops
async def test_a_request_that_nobody_reads_stalls() -> None:
    """A server that takes no more of the body is given up, and not taken for slow to answer."""

    async def deaf(
        served: Served, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        await asyncio.Event().wait()

    waits = Waits(first_byte_s=600, stall_s=0.1)
    async with serve(deaf) as served, pool_to(served.port) as pool:
        with pytest.raises(TimedOut) as caught:
            await pool.exchange(
                "POST", "/", [("Host", "x")], b"x" * 50_000_000, timeout_s=600, waits=waits
            )
        assert (caught.value.phase, caught.value.bound) == (Phase.SEND, "stall_s")


@in_both_loops
async def test_a_long_answer_that_moves_may_take_its_time() -> None:
    """Above the floor rate each byte prolongs the whole; below it the whole's bound holds."""
    script = always(OK + b"Content-Length: 40\r\n\r\n", *[b"x"] * 40, pause_s=0.02)
    async with serve(script) as served, pool_to(served.port) as pool:
        waits = Waits(stall_s=60, floor_bytes_per_s=0.01)
        assert len((await get(pool, timeout_s=0.4, waits=waits)).body) == 40
        with pytest.raises(TimedOut) as caught:
            await get(pool, timeout_s=0.2, waits=Waits(stall_s=60, floor_bytes_per_s=1e6))
        assert (caught.value.phase, caught.value.bound) == (Phase.ANSWER, "exchange_s")


@in_both_loops
async def test_a_trickling_answer_times_out() -> None:
    """The time is for the whole exchange: a byte now and then does not prolong it."""
    script = always(OK + b"Content-Length: 1000\r\n\r\n", *[b"x"] * 200, pause_s=0.02)
    async with serve(script) as served, pool_to(served.port) as pool:
        started = asyncio.get_running_loop().time()
        with pytest.raises(TimedOut):
            await get(pool, timeout_s=0.15)
        assert asyncio.get_running_loop().time() - started < 3


@in_both_loops
async def test_a_handshake_that_never_comes_times_out() -> None:
    """A server that accepts and says nothing costs connect_s at most."""
    async with serve(silence) as served:
        limits = PoolLimits(connect_s=0.1)
        context = ssl.create_default_context()
        async with pool_to(served.port, ssl=context, limits=limits) as pool:
            with pytest.raises(TimedOut) as caught:
                await get(pool)
            assert (caught.value.phase, caught.value.sent) == (Phase.CONNECT, False)
            assert (caught.value.bound, caught.value.seconds) == ("connect_s", 0.1)


@in_both_loops
async def test_connecting_that_the_whole_cuts_off_names_the_whole() -> None:
    """Who reads that connect_s was over would raise the wrong setting."""
    async with serve(silence) as served:
        limits = PoolLimits(connect_s=600)
        context = ssl.create_default_context()
        async with pool_to(served.port, ssl=context, limits=limits) as pool:
            with pytest.raises(TimedOut) as caught:
                await get(pool, timeout_s=0.1)
            assert (caught.value.phase, caught.value.sent) == (Phase.CONNECT, False)
            assert (caught.value.bound, caught.value.seconds) == ("exchange_s", 0.1)


@in_both_loops
async def test_a_refused_connection_was_never_sent() -> None:
    """So that another server of the same organisation can be tried."""
    async with serve(silence) as served:
        port = served.port
    async with pool_to(port) as pool:
        for _ in range(3):
            with pytest.raises(ConnectFailed) as caught:
                await get(pool)
            assert (caught.value.sent, caught.value.tls) == (False, None)
            assert caught.value.reason


@in_both_loops
async def test_a_name_that_cannot_be_is_a_failure_to_connect() -> None:
    """Host names from the registry may be nonsense; no other exception comes of it."""
    pool = Pool("a..b", 1, limits=PoolLimits(connect_s=3))
    with pytest.raises(ConnectFailed):
        await get(pool)
    await pool.close()


# cancelling and closing


@in_both_loops
async def test_a_cancelled_exchange_gives_back_its_place() -> None:
    """At any moment: waiting, connecting, sending, reading; then the pool is as good as new."""
    limits = PoolLimits(max_connections=3)
    script = always(SHORT[:20], SHORT[20:], pause_s=0.002)
    chance = random.Random(7)
    async with serve(script) as served, pool_to(served.port, limits=limits) as pool:
        for _ in range(30):
            tasks = [asyncio.ensure_future(get(pool)) for _ in range(8)]
            for task in chance.sample(tasks, 6):
                await asyncio.sleep(chance.random() * 0.002)
                task.cancel()
            results = await asyncio.gather(*tasks, return_exceptions=True)
            for result in results:
                assert isinstance(result, Answer | asyncio.CancelledError)
            assert (pool.busy, pool.waiting) == (0, 0)
        await until(lambda: served.at_once <= 3)
        assert [a.body for a in await asyncio.gather(*(get(pool) for _ in range(9)))] == [b"ab"] * 9


@in_both_loops
async def test_a_cancelled_exchange_ends_its_connection() -> None:
    """Its answer must not be taken for that of the next request."""
    async with serve(silence) as served, pool_to(served.port) as pool:
        task = asyncio.ensure_future(get(pool))
        await until(lambda: len(served.requests) == 1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await until(lambda: served.at_once == 0)


@in_both_loops
async def test_closing_drains() -> None:
    """Exchanges under way get their answer; those waiting, and new ones, are turned away."""
    script = always(SHORT[:20], SHORT[20:], pause_s=0.1)
    async with serve(script) as served:
        pool = Pool("127.0.0.1", served.port, limits=PoolLimits(max_connections=2))
        tasks = [asyncio.ensure_future(get(pool)) for _ in range(4)]
        await until(lambda: len(served.requests) == 2)
        await asyncio.gather(pool.close(), pool.close())
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert [type(result) for result in results] == [Answer, Answer, PoolClosed, PoolClosed]
        assert pool.open_connections == 0
        with pytest.raises(PoolClosed) as caught:
            await get(pool)
        assert caught.value.sent is False
        await pool.close()


@in_both_loops
async def test_closing_does_not_wait_for_ever() -> None:
    """After drain_s the exchanges under way are ended."""
    async with serve(silence) as served:
        pool = Pool("127.0.0.1", served.port)
        task = asyncio.ensure_future(get(pool))
        await until(lambda: len(served.requests) == 1)
        await pool.close(drain_s=0.05)
        with pytest.raises(Disconnected):
            await task
        assert (pool.open_connections, pool.busy) == (0, 0)


# TLS


@dataclass(frozen=True)
class Certificates:
    """An authority, a certificate of a server on 127.0.0.1, one of a client, and a stranger."""

    authority: Path
    server: Path
    server_der: bytes
    client: Path
    foreign_authority: Path


def _issue(
    name: str, issuer: tuple[x509.Certificate, ec.EllipticCurvePrivateKey] | None, directory: Path
) -> tuple[Path, x509.Certificate, ec.EllipticCurvePrivateKey]:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer[0].subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(x509.BasicConstraints(ca=issuer is None, path_length=None), critical=True)
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]),
            critical=False,
        )
    )
    certificate = builder.sign(issuer[1] if issuer else key, SHA256())
    path = directory / f"{name}.pem"
    path.write_bytes(
        key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        + certificate.public_bytes(Encoding.PEM)
    )
    return path, certificate, key


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    directory = tmp_path_factory.mktemp("certificates")
    authority, *issuer = _issue("authority", None, directory)
    foreign, *_ = _issue("stranger", None, directory)
    server, server_certificate, _ = _issue("server", (issuer[0], issuer[1]), directory)
    client, *_ = _issue("client", (issuer[0], issuer[1]), directory)
    return Certificates(
        authority, server, server_certificate.public_bytes(Encoding.DER), client, foreign
    )


def server_context(certificates: Certificates, *, mutual: bool = True) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.load_cert_chain(certificates.server)
    if mutual:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(certificates.authority)
    return context


def client_context(authority: Path, certificate: Path | None) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(authority))
    if certificate is not None:
        context.load_cert_chain(certificate)
    return context


@in_both_loops
async def test_the_certificate_of_the_peer_is_admitted_once(certificates: Certificates) -> None:
    """Mutual TLS 1.3 on kept connections: each shows the server's certificate when it is made."""
    seen: list[bytes | None] = []
    context = client_context(certificates.authority, certificates.client)
    async with (
        serve(always(SHORT), server_context(certificates)) as served,
        pool_to(served.port, ssl=context, admit=seen.append) as pool,
    ):
        answers = [await get(pool) for _ in range(3)]
        assert [answer.reused for answer in answers] == [False, True, True]
        assert seen == [certificates.server_der]


@in_both_loops
async def test_a_certificate_can_be_refused_before_anything_is_sent(
    certificates: Certificates,
) -> None:
    """The problem comes out unchanged, and not one byte of the request went over."""

    def refuse(certificate: bytes | None) -> None:
        raise Problem(Code.PEER_CERTIFICATE_UNTRUSTED, detail="not the one that was pinned")

    context = client_context(certificates.authority, certificates.client)
    async with (
        serve(silence, server_context(certificates)) as served,
        pool_to(served.port, ssl=context, admit=refuse) as pool,
    ):
        for _ in range(2):
            with pytest.raises(Problem) as caught:
                await get(pool)
            assert caught.value.code is Code.PEER_CERTIFICATE_UNTRUSTED
        await until(lambda: pool.open_connections == 0)
        assert (served.requests, pool.busy) == ([], 0)


@in_both_loops
async def test_a_server_of_an_unknown_authority_is_refused(certificates: Certificates) -> None:
    """The reason is TLS's own and nothing was sent."""
    context = client_context(certificates.foreign_authority, None)
    async with (
        serve(silence, server_context(certificates, mutual=False)) as served,
        pool_to(served.port, ssl=context) as pool,
    ):
        with pytest.raises(ConnectFailed) as caught:
            await get(pool)
        assert isinstance(caught.value.tls, ssl.SSLCertVerificationError)
        assert caught.value.sent is False


@in_both_loops
async def test_a_server_of_another_name_is_refused(certificates: Certificates) -> None:
    """``server_hostname`` is the name that counts."""
    context = client_context(certificates.authority, None)
    async with (
        serve(silence, server_context(certificates, mutual=False)) as served,
        pool_to(served.port, ssl=context, server_hostname="ss1.mof.example") as pool,
    ):
        with pytest.raises(ConnectFailed) as caught:
            await get(pool)
        assert isinstance(caught.value.tls, ssl.SSLCertVerificationError)


@in_both_loops
async def test_a_server_that_wants_our_certificate_hangs_up(certificates: Certificates) -> None:
    """In TLS 1.3 the refusal comes after our handshake; asyncio's server sends no alert."""
    context = client_context(certificates.authority, None)
    async with (
        serve(silence, server_context(certificates)) as served,
        pool_to(served.port, ssl=context) as pool,
    ):
        with pytest.raises(ExchangeFailed, match="certificate"):
            await get(pool)
        assert served.requests == []


@in_both_loops
async def test_a_refusal_of_our_certificate_with_an_alert_is_a_failure_to_connect(
    certificates: Certificates,
) -> None:
    """Servers that are not asyncio's send the alert; its reason is kept."""
    listener = socket.create_server(("127.0.0.1", 0))
    server = server_context(certificates)

    def accept() -> None:
        connection, _ = listener.accept()
        with connection, contextlib.suppress(OSError):
            connection.settimeout(5)
            server.wrap_socket(connection, server_side=True)
        connection.close()

    context = client_context(certificates.authority, None)
    accepting = asyncio.get_running_loop().run_in_executor(None, accept)
    with listener:
        async with pool_to(listener.getsockname()[1], ssl=context) as pool:
            with pytest.raises(ExchangeFailed) as caught:
                await get(pool)
            assert caught.value.sent is True
            if isinstance(caught.value, ConnectFailed):  # the alert may be lost to a reset
                assert "certificate required" in caught.value.reason
        await accepting


@in_both_loops
async def test_plain_text_where_tls_is_due_is_a_failure_to_connect(
    certificates: Certificates,
) -> None:
    """A server without TLS answers the handshake with nonsense."""
    context = client_context(certificates.authority, None)

    async def script(
        served: Served, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        await reader.read(1)
        writer.write(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
        await writer.drain()

    async with serve(script) as served, pool_to(served.port, ssl=context) as pool:
        with pytest.raises(ConnectFailed) as caught:
            await get(pool)
        assert caught.value.tls is not None


@in_both_loops
async def test_many_exchanges_over_tls_with_cancellations(certificates: Certificates) -> None:
    """Handshakes cancelled half-way leave no socket behind."""
    context = client_context(certificates.authority, certificates.client)
    limits = PoolLimits(max_connections=8)
    chance = random.Random(3)
    async with (
        serve(always(SHORT), server_context(certificates)) as served,
        pool_to(served.port, ssl=context, limits=limits) as pool,
    ):
        for _ in range(5):
            tasks = [asyncio.ensure_future(get(pool)) for _ in range(20)]
            for task in chance.sample(tasks, 10):
                await asyncio.sleep(chance.random() * 0.002)
                task.cancel()
            results = await asyncio.gather(*tasks, return_exceptions=True)
            assert all(isinstance(r, Answer | asyncio.CancelledError) for r in results)
            assert sum(isinstance(r, Answer) for r in results) >= 10
            pool.retire()
        assert (pool.busy, pool.waiting) == (0, 0)
