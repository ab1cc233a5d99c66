"""A disk that fills up while a long body comes: said on the right side, recorded, and over soon.

Spool and journal lie on one small disk; the room that is kept for the journal is more than what is
left, and nearly all of that stays: what is refused is recorded there, and short calls go on.
"""

from __future__ import annotations

import os
import shutil
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from datetime import UTC, datetime

import orjson
import pytest

from console.reference_world.standing import RunningServer
from tests.faults.test_disk_full import small_disk
from tests.world import peer, small
from tests.world.fixtures import world_of
from tests.world.small import SmallWorld

MIB = 1 << 20
RESERVE = 12 * MIB
LEFT = 6 * MIB
SIZE = 4 * MIB
BODY = orjson.dumps({"code": "P-9", "amount": 1.5, "title_en": "x" * SIZE})
WRITTEN = "saphan_bodies_spooled_bytes_total"


@pytest.fixture(scope="module")
def world() -> Iterator[SmallWorld]:
    """A world whose servers have all that is theirs on small disks."""
    bounds = {"low_disk_bytes": RESERVE, "request_max_bytes": 8 * MIB}
    services = {small.PROJECTS: {"response_max_bytes": 8 * MIB}}
    agreements = [small.agreement("mof-mpi")]
    with (
        world_of(agreements, limits=bounds, services=services) as built,
        ExitStack() as disks,
    ):
        servers = (built.mof, built.mpi)
        for server in servers:
            server.process.stop()
            data = server.journal.parent
            before = data.rename(data.with_name("before"))
            disks.enter_context(small_disk(data))
            shutil.copytree(before, data, dirs_exist_ok=True)
        try:
            built.world.start()
            yield built
        finally:
            for server in servers:
                server.process.stop()


def free(server: RunningServer) -> int:
    disk = os.statvfs(server.journal)
    return disk.f_bavail * disk.f_frsize


@contextmanager
def crowded(server: RunningServer) -> Iterator[None]:
    """Less is left on the disk of this server than what it keeps for its journal."""
    filler = server.journal.parent / "filler"
    try:
        with filler.open("wb") as file:
            file.write(bytes(max(0, free(server) - LEFT)))
        yield
    finally:
        filler.unlink()


@contextmanager
def from_an_application(world: SmallWorld) -> Iterator[socket.socket]:
    """Half of a long body is at MOF's server."""
    head = (
        f"POST /r1/{small.PROJECTS}/projects HTTP/1.1\r\nHost: x\r\n"
        f"X-Road-Client: {small.BUDGET}\r\nExchange-Purpose: {small.PURPOSE}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(BODY)}\r\n\r\n"
    )
    with closing(socket.create_connection(("127.0.0.1", world.mof.ports["http"]), 20)) as line:
        line.sendall(head.encode() + BODY[: SIZE // 2])
        yield line


@contextmanager
def from_a_server(world: SmallWorld) -> Iterator[socket.socket]:
    """Half of the long body of a proven message is at MPI's server."""
    sent = peer.message(world, path="/projects", method="POST", body=BODY)
    head = f"POST {sent.target} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(BODY)}\r\n"
    head += "".join(f"{name}: {value}\r\n" for name, value in sent.headers)
    plain = socket.create_connection(("127.0.0.1", world.mpi.ports["peer"]), 20)
    with peer.context(world).wrap_socket(plain) as line:
        line.sendall(f"{head}\r\n".encode() + BODY[: SIZE // 2])
        yield line


def metric(server: RunningServer, name: str) -> int:
    text = small.exchange(server.url("admin"), "GET", "/metrics", {}).body.decode()
    (line,) = [one for one in text.splitlines() if one.startswith(f"{name} ")]
    return int(float(line.rpartition(" ")[2]))


def await_that(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.parametrize("side", ["consumer", "provider"])
def test_a_disk_that_fills_up_under_a_body_ends_that_body_alone(
    world: SmallWorld, side: str
) -> None:
    """ServerOverloaded, 503, with Retry-After, recorded where the disk is; then it is over."""
    server, halfway = (
        (world.mof, from_an_application) if side == "consumer" else (world.mpi, from_a_server)
    )
    other = world.mpi if side == "consumer" else world.mof
    since, reached = datetime.now(UTC), len(world.backend.seen)
    written = metric(server, WRITTEN)
    with halfway(world) as line:
        await_that(lambda: metric(server, WRITTEN) > written)
        with crowded(server):
            with suppress(ConnectionError):
                line.sendall(BODY[SIZE // 2 :])
            said = line.recv(65536)
            assert said.startswith(b"HTTP/1.1 503 "), said[:300]
            assert b"\r\nretry-after: " in said
            assert b".ServerOverloaded\r\n" in said
            assert b"the disk for long bodies is full" in said
            (hit,) = world.hits(server, problem="ServerOverloaded", since=since)
            assert (hit.kind, hit.side) == ("refusal", side)
            assert not world.hits(other, problem="ServerOverloaded", since=since)
            await_that(lambda: metric(server, "saphan_bodies_disk_bytes") == 0)
            assert len(world.backend.seen) == reached
            assert world.call().status == 200  # what is kept is the journal's
            assert free(server) > LEFT / 2
    kind = {"Content-Type": "application/json"}
    again = world.call("/projects", method="POST", headers=kind, body=BODY)
    assert again.status == 201, again.body[:300]
    for one in (world.mof, world.mpi):
        assert world.hits(one, id=again.headers["x-road-id"])
