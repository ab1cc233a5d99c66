"""What an adapter as a service of its own keeps of bodies, and for how long it waits for them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
from aiohttp.test_utils import TestClient, TestServer

from adapters import http
from adapters.mapping.reader import parse
from adapters.passing.kind import read
from serving.backends import BackendRequest, BackendResponse
from serving.bodies import IN_MEMORY_BYTES, Body, Spools
from tests.adapters.recording import Recording, recording, reply

Client = TestClient[aiohttp.web.Request, aiohttp.web.Application]
Serving = Callable[..., AbstractAsyncContextManager[Client]]

MAPPING = """\
saphan_mapping: 1
application: LA/GOV/MOIC/trade
title: {en: Papers, lo: ເອກະສານ}
source: {kind: http, url: "${PAPERS_URL}"}
services:
  papers:
    title: {en: Papers, lo: ເອກະສານ}
    endpoints:
      /papers:
        post:
          title: {en: Hand in, lo: ສົ່ງ}
          body: {media_types: [text/plain], max_bytes: 100000000}
          answers: {200: {media_types: [application/json]}}
        get:
          title: {en: All, lo: ທັງໝົດ}
          answers: {200: {media_types: [application/json]}}
"""
PLAIN = {"content-type": "text/plain"}


@pytest.fixture
async def backend() -> AsyncIterator[Recording]:
    async with recording() as running:
        yield running


@pytest.fixture
def serving(backend: Recording) -> Serving:
    @asynccontextmanager
    async def serve(spools: Spools, timeout_s: float = 30.0) -> AsyncIterator[Client]:
        api = read(parse(MAPPING.encode(), "papers.yaml"))
        opened = api.open({"PAPERS_URL": backend.url}, Path())
        app = http.application(opened, {"papers": b"{}"}, timeout_s=timeout_s, spools=spools)
        async with TestClient(TestServer(app)) as client:
            yield client
        assert (spools.in_memory, spools.on_disk) == (0, 0)
        spools.close()

    return serve


async def pieces(number: int, size: int = 64 << 10) -> AsyncIterator[bytes]:
    """A body whose length nobody tells before it ends."""
    for index in range(number):
        yield bytes([index % 256]) * size


async def test_bodies_in_memory_are_bounded_together(serving: Serving, backend: Recording) -> None:
    """The one too many is told to come again, and has room once another is done."""
    backend.go_on = asyncio.Event()
    spools = Spools(memory_bytes=1 << 20)

    async def hand_in(client: Client) -> tuple[int, str | None]:
        body = pieces(10)
        async with client.post("/papers/papers", data=body, headers=PLAIN) as response:
            return response.status, response.headers.get("retry-after")

    async with serving(spools) as client:
        first = asyncio.create_task(hand_in(client))
        await backend.asked.wait()
        assert await hand_in(client) == (503, "2")
        backend.go_on.set()
        assert await first == (200, None)
        assert await hand_in(client) == (200, None)
    assert [len(got.body) for got in backend.got] == [640 << 10] * 2


async def test_a_long_body_of_unknown_length_goes_through_the_disk(
    serving: Serving, backend: Recording, tmp_path: Path
) -> None:
    """Byte for byte, however many bytes bodies may take in memory."""
    spools = Spools.open(tmp_path, memory_bytes=2 * IN_MEMORY_BYTES)
    async with serving(spools) as client:
        data = pieces(100)
        async with client.post("/papers/papers", data=data, headers=PLAIN) as response:
            assert response.status == 200
    (got,) = backend.got
    assert got.body == b"".join([piece async for piece in pieces(100)])
    assert got.field("content-length") == [str(100 * (64 << 10))]
    assert spools.bodies_spooled == 1


@pytest.mark.parametrize("announced", [True, False])
async def test_a_body_that_is_too_long_is_refused(
    serving: Serving, backend: Recording, announced: bool
) -> None:
    """By what it says of itself, or where it passes the bound; the source hears nothing."""
    async with serving(Spools()) as client:
        data = bytes((16 << 20) + 1) if announced else pieces(257)
        async with client.post("/papers/papers", data=data, headers=PLAIN) as response:
            assert (response.status, (await response.json())["where"]) == (413, "body")
    assert backend.got == []


async def test_a_full_disk_is_told_as_such(
    serving: Serving, backend: Recording, tmp_path: Path
) -> None:
    """503 with the time to come again, for a long body; a short one needs no disk."""
    spools = Spools.open(tmp_path, reserve_bytes=1 << 60)
    async with serving(spools) as client:
        data = pieces(20)
        async with client.post("/papers/papers", data=data, headers=PLAIN) as response:
            assert (response.status, response.headers["retry-after"]) == (503, "2")
            assert "is full" in (await response.json())["detail"]
        async with client.post("/papers/papers", data=b"short", headers=PLAIN) as response:
            assert response.status == 200
    assert len(backend.got) == 1


async def test_who_stops_sending_is_not_waited_for(serving: Serving, backend: Recording) -> None:
    """A body that has not come in the time of a request is answered with 408."""
    async with serving(Spools(), timeout_s=0.3) as client:
        reader, writer = await asyncio.open_connection(client.host, client.port)
        writer.write(b"POST /papers/papers HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nhal")
        assert (await reader.readline()).startswith(b"HTTP/1.1 408 ")
        writer.close()
    assert backend.got == []


async def test_who_stops_reading_is_hung_up_on(
    serving: Serving, backend: Recording, tmp_path: Path
) -> None:
    """The room of a long answer is given back; what came is less than was announced."""
    size = 40 << 20
    backend.answer = lambda got: reply(body=b'"' + b"x" * (size - 2) + b'"')
    spools = Spools.open(tmp_path, stall_s=0.3)
    async with serving(spools) as client:
        assert await _taken_late(client, lambda: spools.on_disk, size) < size


class Whole:
    """A source whose answers are in memory as a whole, and counted."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.backends = {"papers": self}

    async def exchange(self, request: BackendRequest, **waits: float) -> BackendResponse[Body]:
        assert request.room is not None
        request.room.hold(self.size)
        return BackendResponse(200, (("content-type", "text/plain"),), bytes(self.size))

    async def health(self, timeout_s: float) -> None:
        pass

    async def close(self) -> None:
        pass


async def test_who_does_not_take_an_answer_in_memory_is_hung_up_on() -> None:
    """It is counted until it is taken, or for as long as a transfer may stand still."""
    size = 30 << 20
    spools = Spools(stall_s=0.3)
    app = http.application(Whole(size), {"papers": b"{}"}, spools=spools)
    async with TestClient(TestServer(app)) as client:
        assert await _taken_late(client, lambda: spools.in_memory, size) < size


async def _taken_late(client: Client, kept: Callable[[], int], size: int) -> int:
    """How much of an answer comes to who reads nothing but its head until nothing is kept of it."""
    reader, writer = await asyncio.open_connection(client.host, client.port, limit=1 << 16)
    writer.write(b"GET /papers/papers HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    head = await reader.readuntil(b"\r\n\r\n")
    assert f"Content-Length: {size}\r\n".encode() in head
    async with asyncio.timeout(30):
        while kept():  # noqa: ASYNC110  # a room tells nobody of its end
            await asyncio.sleep(0.05)
    came = 0
    try:
        while piece := await reader.read(1 << 20):
            came += len(piece)
    except ConnectionError:
        pass
    writer.close()
    return came
