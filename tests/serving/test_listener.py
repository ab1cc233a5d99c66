"""A listening socket: where it listens, how it stops, and the same over TLS."""

from __future__ import annotations

import asyncio
import os
import resource
import socket
import ssl
import struct
from contextlib import suppress
from datetime import UTC, datetime

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from certs.authority import create_development_pki
from exchange.identifiers import ServerId
from exchange.problems import Code, Problem, Side
from serving import listener as listeners
from serving.incoming import Request
from serving.listener import Listener, is_loopback, listen, split_address
from serving.requests import Handler, Reply

GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"


async def hello(request: Request) -> Reply:
    return Reply(200, (), await request.read(1 << 20, 5) or b"hello")


@pytest.fixture(scope="module")
def contexts(tmp_path_factory: pytest.TempPathFactory) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """Of a server, and of a client that trusts it."""
    folder, now = tmp_path_factory.mktemp("pki"), datetime.now(UTC)
    pki = create_development_pki(folder / "pki", "LA", at=now)
    server = pki.issue_auth(ServerId.parse("LA/GOV/MPI/ss1"), ["127.0.0.1"], at=now)
    server.write(folder / "auth.pem", folder / "auth.key")
    listening = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    listening.load_cert_chain(folder / "auth.pem", folder / "auth.key")
    calling = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    for authority in pki.authorities:
        calling.load_verify_locations(cadata=authority.public_bytes(Encoding.DER))
    return listening, calling


@pytest.fixture
def server_context(contexts: tuple[ssl.SSLContext, ssl.SSLContext]) -> ssl.SSLContext:
    return contexts[0]


@pytest.fixture
def client_context(contexts: tuple[ssl.SSLContext, ssl.SSLContext]) -> ssl.SSLContext:
    return contexts[1]


@pytest.fixture
def swept_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listeners, "_SWEEP_S", 0.01)


async def started(handler: Handler = hello, **options: object) -> Listener:
    return await listen(handler, "127.0.0.1:0", where="test", side=Side.CONSUMER, **options)  # type: ignore[arg-type]


async def busy_with(listener: Listener) -> None:
    """Wait until it answers something."""
    async with asyncio.timeout(60):
        while not any(one.busy for one in listener._connections):  # noqa: ASYNC110 (no event tells)
            await asyncio.sleep(0.002)


async def read_all(reader: asyncio.StreamReader) -> bytes:
    async with asyncio.timeout(60):
        with suppress(ConnectionError, ssl.SSLError):
            return await reader.read()
    return b""


async def read_reply(reader: asyncio.StreamReader, body: bytes) -> bytes:
    async with asyncio.timeout(60):
        head = await reader.readuntil(b"\r\n\r\n")
        assert await reader.readexactly(len(body)) == body
    return head


@pytest.mark.parametrize(
    ("address", "host", "port"),
    [("127.0.0.1:80", "127.0.0.1", 80), ("[::1]:0", "::1", 0), ("host:65535", "host", 65535)],
)
def test_an_address_is_host_and_port(address: str, host: str, port: int) -> None:
    """With brackets around an IPv6 address."""
    assert split_address(address, "x") == (host, port)


@pytest.mark.parametrize("address", ["", "host", ":80", "host:", "host:x", "host:65536", "h:٣"])
def test_another_address_is_refused(address: str) -> None:
    """As a fault of the settings."""
    with pytest.raises(Problem) as caught:
        split_address(address, "listen.http")
    assert (caught.value.code, caught.value.where) == (Code.INVALID_SETTINGS, "listen.http")


@pytest.mark.parametrize(
    ("host", "own"),
    [("localhost", True), ("127.9.9.9", True), ("::1", True), ("10.0.0.1", False), ("h", False)],
)
def test_loopback_is_of_this_machine_only(host: str, own: bool) -> None:
    """Names other than localhost are not trusted to be."""
    assert is_loopback(host) is own


async def test_an_address_in_use_is_a_fault_of_the_settings() -> None:
    """It names the address."""
    first = await started()
    with pytest.raises(Problem) as caught:
        await listen(hello, f"127.0.0.1:{first.port}", where="listen.http", side=Side.CONSUMER)
    assert caught.value.code is Code.INVALID_SETTINGS
    await first.stop()


async def test_it_says_where_it_listens(server_context: ssl.SSLContext) -> None:
    """A port that the system chose, too."""
    plain, secure = await started(), await started(context=server_context)
    assert plain.url == f"http://127.0.0.1:{plain.port}"
    assert secure.url == f"https://127.0.0.1:{secure.port}"
    await plain.stop()
    await secure.stop()


@pytest.mark.parametrize("secure", [False, True])
async def test_a_stop_lets_requests_end(
    secure: bool, server_context: ssl.SSLContext, client_context: ssl.SSLContext
) -> None:
    """One under way gets its whole reply, however large, and the end; an idle connection the end;
    a new one nothing. It may be asked for twice."""
    leave = asyncio.Event()
    large = b"x" * (1 << 22)

    async def slow(request: Request) -> Reply:
        if request.target == "/slow":
            await leave.wait()
            return Reply(200, (), large)
        return await hello(request)

    listener = await started(slow, context=server_context if secure else None)
    context = client_context if secure else None
    busy, busy_writer = await asyncio.open_connection(listener.host, listener.port, ssl=context)
    idle, idle_writer = await asyncio.open_connection(listener.host, listener.port, ssl=context)
    idle_writer.write(GET)
    await read_reply(idle, b"hello")
    busy_writer.write(GET.replace(b"/", b"/slow", 1))
    await busy_with(listener)
    stopping = asyncio.create_task(listener.stop())
    assert await read_all(idle) == b""
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection(listener.host, listener.port)
    assert not stopping.done()
    leave.set()
    head = await read_reply(busy, large)
    assert b"\r\nconnection: close\r\n" in head
    assert await read_all(busy) == b""
    await asyncio.wait_for(stopping, 15)
    await listener.stop()
    for writer in (busy_writer, idle_writer):
        writer.close()


async def test_a_stop_does_not_wait_for_ever() -> None:
    """Neither for a handler nor for a client that does not take its reply."""
    never = asyncio.Event()

    async def stuck(request: Request) -> Reply:
        if request.target == "/large":
            return Reply(200, (), b"x" * (1 << 24))
        await never.wait()
        return Reply(200, (), b"")

    listener = await started(stuck, drain_s=0.05)
    clients = [await asyncio.open_connection(listener.host, listener.port) for _ in range(2)]
    clients[0][1].write(GET)
    clients[1][0]._limit = 1  # type: ignore[attr-defined]
    clients[1][1].write(GET.replace(b"/", b"/large", 1))
    await busy_with(listener)
    async with asyncio.timeout(60):
        await listener.stop()
    for reader, writer in clients:
        writer.transport.abort()
        await read_all(reader)
    never.set()
    await asyncio.sleep(0.01)


@pytest.mark.usefixtures("swept_often")
async def test_idle_connections_are_swept() -> None:
    """Without a request for ``keepalive_s``, and without a head for ``head_s``, which is told."""
    listener = await started(keepalive_s=0.2, head_s=0.05)
    for sent in (b"", b"GET", GET):
        reader, writer = await asyncio.open_connection(listener.host, listener.port)
        writer.write(sent)
        if sent == GET:
            assert b"connection" not in await read_reply(reader, b"hello")
        told = await read_all(reader)
        assert told.startswith(b"HTTP/1.1 408 ") if sent == b"GET" else told == b""
        writer.close()
    await listener.stop()


@pytest.mark.usefixtures("swept_often")
async def test_a_client_that_goes_on_sending_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    """The rest of a body that nobody reads is taken for a while only."""
    monkeypatch.setattr("serving.requests.LINGER_S", 0.05)

    async def hasty(request: Request) -> Reply:
        return Reply(403, (), b"")

    listener = await started(hasty)
    reader, writer = await asyncio.open_connection(listener.host, listener.port)
    writer.write(b"PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 999999999\r\n\r\n")
    assert b" 403 " in await read_reply(reader, b"")
    async with asyncio.timeout(60):
        with suppress(ConnectionError):
            while True:
                writer.write(b"x" * 1000)
                await writer.drain()
                await asyncio.sleep(0.001)
    writer.close()
    await listener.stop()


async def test_requests_over_tls(
    server_context: ssl.SSLContext, client_context: ssl.SSLContext
) -> None:
    """Several on a connection; two in one packet; an early refusal whose reply arrives."""

    async def picky(request: Request) -> Reply:
        if request.target == "/no":
            return Reply(403, (), b"no")
        return await hello(request)

    listener = await started(picky, context=server_context)
    reader, writer = await asyncio.open_connection(listener.host, listener.port, ssl=client_context)
    writer.write(GET)
    await read_reply(reader, b"hello")
    writer.write(GET + GET)
    await read_reply(reader, b"hello")
    await read_reply(reader, b"hello")
    body = b"x" * (1 << 19)
    writer.write(b"PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
    await read_reply(reader, body)
    writer.write(b"PUT /no HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % (1 << 24))
    for _ in range(16):
        writer.write(b"x" * (1 << 18))
        await writer.drain()
    assert b"connection: close" in await read_reply(reader, b"no")
    writer.close()
    with suppress(OSError):
        await writer.wait_closed()
    await listener.stop()


async def test_a_handshake_that_fails_leaves_nothing(server_context: ssl.SSLContext) -> None:
    """Plain bytes at a TLS port end the connection, and the next client is served."""
    listener = await started(context=server_context)
    reader, writer = await asyncio.open_connection(listener.host, listener.port)
    writer.write(GET)
    await read_all(reader)
    writer.close()
    assert not listener._connections
    await listener.stop()


async def until_open(listener: Listener, number: int) -> None:
    """Wait until it counts so many connections."""
    async with asyncio.timeout(60):
        while len(listener._connections) != number:  # noqa: ASYNC110 (no event tells)
            await asyncio.sleep(0.002)


async def test_one_connection_too_many_gets_a_503() -> None:
    """At once and without a request, in the shape of all problems; a place that is given back is
    taken by the next."""
    refused: list[Problem] = []
    listener = await started(max_connections=2, on_malformed=refused.append)
    clients = [await asyncio.open_connection(listener.host, listener.port) for _ in range(2)]
    await until_open(listener, 2)
    reader, writer = await asyncio.open_connection(listener.host, listener.port)
    await asyncio.sleep(0.05)
    writer.write(GET)
    answer = await read_all(reader)
    assert answer.startswith(b"HTTP/1.1 503 ")
    assert b"\r\nx-road-error: Server.ClientProxy.ServerOverloaded\r\n" in answer
    assert b"\r\nretry-after: " in answer
    assert b"\r\nconnection: close\r\n" in answer
    assert [problem.code for problem in refused] == [Code.OVERLOADED]
    writer.close()
    clients[0][1].write(GET)
    await read_reply(clients[0][0], b"hello")
    clients[0][1].close()
    await until_open(listener, 1)
    reader, writer = await asyncio.open_connection(listener.host, listener.port)
    writer.write(GET)
    await read_reply(reader, b"hello")
    for _, one in (*clients, (reader, writer)):
        one.close()
    await listener.stop()


@pytest.mark.usefixtures("swept_often")
async def test_a_crowd_that_is_turned_away_holds_nothing() -> None:
    """Neither a place nor, for longer than a moment, a socket."""
    listener = await started(max_connections=1)
    first, first_writer = await asyncio.open_connection(listener.host, listener.port)
    await until_open(listener, 1)
    crowd = [await asyncio.open_connection(listener.host, listener.port) for _ in range(200)]
    for reader, writer in crowd:
        assert (await read_all(reader)).startswith(b"HTTP/1.1 503 ")
        writer.close()
    async with asyncio.timeout(60):
        while listener._leaving or listener._left:  # noqa: ASYNC110 (no event tells)
            await asyncio.sleep(0.002)
    first_writer.write(GET)
    await read_reply(first, b"hello")
    first_writer.close()
    await listener.stop()


async def test_handshakes_that_never_end_count_as_connections(
    server_context: ssl.SSLContext,
    client_context: ssl.SSLContext,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """While they last, nobody more is let in; they last ``_TLS_HANDSHAKE_S`` at most, and one
    that fails gives its place back at once."""
    monkeypatch.setattr(listeners, "_TLS_HANDSHAKE_S", 0.5)
    listener = await started(max_connections=2, context=server_context)
    silent = [await asyncio.open_connection(listener.host, listener.port) for _ in range(2)]
    await until_open(listener, 2)
    with pytest.raises(OSError):  # noqa: PT011 (the connection ends: in which way, TCP decides)
        await asyncio.open_connection(listener.host, listener.port, ssl=client_context)
    silent[0][1].write(GET)
    await until_open(listener, 1)
    reader, writer = await asyncio.open_connection(listener.host, listener.port, ssl=client_context)
    writer.write(GET)
    await read_reply(reader, b"hello")
    await until_open(listener, 1)
    for _, one in (*silent, (reader, writer)):
        one.close()
    await listener.stop()


async def test_a_handshake_under_way_ends_with_the_listener(
    server_context: ssl.SSLContext, client_context: ssl.SSLContext
) -> None:
    """It does not become a connection that nobody looks after."""
    listener = await started(context=server_context)
    reader, writer = await asyncio.open_connection(listener.host, listener.port)
    await until_open(listener, 1)
    async with asyncio.timeout(15):
        await listener.stop()
    assert await read_all(reader) == b""
    assert not listener._connections
    writer.close()


async def test_without_descriptors_it_waits_and_goes_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A process that may open no more files serves those who are there, and the others later."""
    monkeypatch.setattr(listeners, "_ACCEPT_AGAIN_S", 0.05)
    listener = await started()
    first, first_writer = await asyncio.open_connection(listener.host, listener.port)
    await until_open(listener, 1)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    second = socket.socket()
    second.setblocking(False)
    lowest = os.dup(0)
    os.close(lowest)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest, hard))
    try:
        await asyncio.get_running_loop().sock_connect(second, (listener.host, listener.port))
        await asyncio.sleep(0.1)
        first_writer.write(GET)
        await read_reply(first, b"hello")
        assert len(listener._connections) == 1
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    reader, writer = await asyncio.open_connection(sock=second)
    writer.write(GET)
    await read_reply(reader, b"hello")
    for one in (first_writer, writer):
        one.close()
    await listener.stop()


async def test_a_client_that_has_left_still_has_its_address() -> None:
    """Who sends a request and resets the connection is not taken for somebody from nowhere."""
    came: asyncio.Queue[str] = asyncio.Queue()

    async def note(request: Request) -> Reply:
        await came.put(request.remote)
        return Reply(200, (), b"")

    listener = await started(note)
    for _ in range(20):
        with socket.create_connection((listener.host, listener.port)) as hasty:
            hasty.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            hasty.sendall(GET)
        async with asyncio.timeout(60):
            assert await came.get() == "127.0.0.1"
    await listener.stop()
