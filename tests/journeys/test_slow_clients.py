"""Clients that are slow on purpose, through two running servers: each costs little, for a while."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import pytest

from benchmarks.processes import forget_peak_rss, peak_rss_bytes
from console.reference_world.standing import RunningServer
from exchange.problems import Code
from tests.starting import plainly
from tests.world import small
from tests.world.http import HttpWorld, http_world, ok, parse, request

MIB = 1 << 20
SIZE = 48 * MIB
MOST_RESIDENT = 200 * 1000 * 1000
WITHIN_S = 90
"""A test gives up; the bounds of the world are of seconds."""


@pytest.fixture(scope="module")
def world() -> Iterator[HttpWorld]:
    """A world in which a long body may stand still for a second and has a MiB a second at least.

    Its servers are started plainly, for their memory is looked at.
    """
    with (
        plainly(),
        http_world(
            request_max_bytes=SIZE, answer_max_bytes=SIZE, stall_s=1.0, floor_bytes_per_s=MIB
        ) as built,
    ):
        yield built


def servers(world: HttpWorld) -> tuple[RunningServer, RunningServer]:
    return world.small.mof, world.small.mpi


def measured(server: RunningServer, name: str) -> float:
    text = small.exchange(server.url("admin"), "GET", "/metrics", {}).body.decode()
    (found,) = re.findall(rf"(?m)^{name} (\S+)$", text)
    return float(found)


def on_disk(server: RunningServer) -> float:
    """Bytes of long bodies that a server keeps now, as it tells."""
    return measured(server, "saphan_bodies_disk_bytes")


def spooled(server: RunningServer) -> float:
    """Bytes of long bodies that it has kept at any time."""
    return measured(server, "saphan_bodies_spooled_bytes_total")


def until(done: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + WITHIN_S
    while not done():
        assert time.monotonic() < deadline, what
        time.sleep(0.05)


@pytest.fixture(autouse=True)
def _flat_and_empty(world: HttpWorld) -> Iterator[None]:
    """What every test leaves behind: nothing on disk, and memory was flat."""
    for server in servers(world):
        forget_peak_rss(server.process.pid)
    yield
    for server in servers(world):
        until(lambda one=server: on_disk(one) == 0, "a body is kept")  # type: ignore[misc]
        assert peak_rss_bytes(server.process.pid) < MOST_RESIDENT


def clean(world: HttpWorld) -> None:
    """Another application's call is as quick as ever."""
    assert world.ask("clean", answer=ok(b"clean")).body == b"clean"


def test_a_client_that_stops_reading_a_long_answer_is_cut_off(world: HttpWorld) -> None:
    """It has limits.stall_s; its exchange is recorded by both servers like any other."""
    body = ok(b"x" * (SIZE - MIB), kind="application/octet-stream")
    world.origin.scripts["long"] = body
    before = [spooled(server) for server in servers(world)]
    with world.connect(WITHIN_S) as connection:
        connection.sendall(request("long", "X-Road-Id: unread"))
        head = connection.recv(4096)
        assert head.startswith(b"HTTP/1.1 200 "), head
        clean(world)
        until(lambda: on_disk(world.small.mof) == 0, "the answer is kept for nobody")
        got = len(head)
        with suppress(ConnectionError):  # it may be told by a reset
            while piece := connection.recv(MIB):
                got += len(piece)
    assert got < SIZE - MIB
    for server, kept in zip(servers(world), before, strict=True):
        assert spooled(server) >= kept + SIZE - MIB
    for provider in (False, True):
        hits = world.hits(provider=provider, id="unread")
        assert sorted(hit.kind for hit in hits) == ["request", "response"]
    clean(world)


def test_a_client_that_reads_a_long_answer_byte_by_byte_is_cut_off(world: HttpWorld) -> None:
    """However often it takes a byte: the whole has limits.floor_bytes_per_s."""
    body = ok(b"x" * (SIZE - MIB), kind="application/octet-stream")
    world.origin.scripts["dripping"] = body
    got, deadline = 0, time.monotonic() + WITHIN_S
    with world.connect(WITHIN_S) as connection:
        connection.sendall(request("dripping", "X-Road-Id: bytewise"))
        assert connection.recv(1) == b"H"
        while on_disk(world.small.mof):
            assert time.monotonic() < deadline, "the answer is kept for a trickle"
            with suppress(ConnectionError):
                got += len(connection.recv(1))
            time.sleep(0.05)
    assert got < 16 * MIB
    assert sorted(hit.kind for hit in world.hits(id="bytewise")) == ["request", "response"]
    clean(world)


def test_a_client_that_sends_a_long_body_byte_by_byte_is_let_go(world: HttpWorld) -> None:
    """However often a byte comes: the whole has limits.floor_bytes_per_s. 408, and recorded."""
    since = datetime.now(UTC) - timedelta(milliseconds=2)
    head = request("drip", f"Content-Length: {SIZE}", "Content-Type: text/plain", method="PUT")
    seen, before = len(world.origin.seen), spooled(world.small.mof)
    got = b""
    with world.connect(0.2) as connection:
        connection.settimeout(WITHIN_S)
        connection.sendall(head + b"x" * (3 * MIB))
        clean(world)
        connection.settimeout(0.2)
        deadline = time.monotonic() + WITHIN_S
        while not got.endswith(b"}"):
            assert time.monotonic() < deadline
            with suppress(TimeoutError, BrokenPipeError):
                connection.sendall(b"x")
            with suppress(TimeoutError):
                piece = connection.recv(65536)
                if not piece:
                    break
                got += piece
    assert spooled(world.small.mof) > before
    reply = parse(got)
    assert (reply.status, reply.code) == (408, Code.INVALID_REQUEST), got[:300]
    until(lambda: bool(world.hits(problem=Code.INVALID_REQUEST.value, since=since)), "no record")
    assert not [item for item in world.origin.seen[seen:] if b"/x/drip " in item]
    clean(world)
