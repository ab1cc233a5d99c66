"""The registry is gone: exchanges go on within the stated limits, stop honestly after, and heal."""

from __future__ import annotations

import contextlib
import http.client
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from console.reference_world.processes import free_ports, health
from console.reference_world.standing import RunningServer
from console.reference_world.world import World
from exchange.problems import Text
from tests.faults import peer
from tests.world import small
from tests.world.backend import Backend
from tests.world.fixtures import small_world
from tests.world.small import SmallWorld

VALIDITY_S = 10  # the shortest that a registry may be set to
GRACE_S = 20
WITHIN_S = 60.0


@contextlib.contextmanager
def short_lived_world() -> Iterator[SmallWorld]:
    """A world whose registry's word is good for ten seconds, and no grace after them."""
    backend = Backend()
    backend.start()
    with tempfile.TemporaryDirectory(prefix="saphan-") as name:
        folder = Path(name)
        world = World(folder / "world")
        try:
            world.open_instance(Text("Lao PDR", "ສປປ ລາວ"))
            world.registry.stop()
            settings = {"timestamp_validity_s": VALIDITY_S, "snapshot_validity_s": 3600}
            (world.directory / "registry" / "registry.yaml").write_text(yaml.safe_dump(settings))
            world.registry.start()
            world.registry.wait_ready()
            for plan in small.plans(folder, backend.port, free_ports(1)[0]):
                set_grace(world.add_server(plan), 0)
            world.agree(small.agreement("mof-mpi"))
            world.start()
            yield SmallWorld(world, backend)
        finally:
            world.close()
            backend.stop()


def set_grace(server: RunningServer, seconds: int) -> None:
    path = server.folder / "server.yaml"
    settings = yaml.safe_load(path.read_text("utf-8"))
    settings["registry"] |= {"grace_s": seconds, "poll_s": 0.5}
    path.write_text(yaml.safe_dump(settings, allow_unicode=True), "utf-8")


@pytest.fixture(scope="module")
def short_lived() -> Iterator[SmallWorld]:
    with short_lived_world() as built:
        yield built


def said(server: RunningServer) -> tuple[str, dict[str, Any]]:
    """What a server says of itself, and of the registry."""
    report: Any = health(f"{server.url('admin')}/healthz")
    return report["status"], report["checks"]["registry"]


def call(world: SmallWorld, message_id: str | None = None) -> small.Answer:
    headers = {"X-Road-Id": message_id} if message_id else None
    return world.call(headers=headers)


def await_outdated(world: SmallWorld, grace_s: int = 0) -> None:
    """Wait until the last word of the registry has ended for both servers, and the grace time."""
    deadline = time.monotonic() + VALIDITY_S + grace_s + WITHIN_S
    while time.monotonic() < deadline:
        if {said(server)[0] for server in (world.mof, world.mpi)} == {"failing"}:
            return
        time.sleep(0.1)
    raise AssertionError("the registry's word did not end")


def await_healed(world: SmallWorld) -> float:
    """Wait until both servers are well; how long that took."""
    start = time.monotonic()
    while time.monotonic() < start + WITHIN_S:
        if {said(server)[0] for server in (world.mof, world.mpi)} == {"ok"}:
            return time.monotonic() - start
        time.sleep(0.1)
    raise AssertionError([said(server) for server in (world.mof, world.mpi)])


def test_exchanges_and_restarts_do_without_the_registry() -> None:
    """Killed, it is missed by nobody: calls go on, servers restart from their copy, then follow."""
    with small_world() as world:
        assert call(world).status == 200
        world.world.registry.kill()
        for _ in range(20):
            assert call(world).status == 200
        for server in (world.mof, world.mpi):
            server.process.kill()
        world.world.start()
        assert call(world).status == 200
        ages = [said(server)[1]["age_s"] for server in (world.mof, world.mpi)]
        assert all(age > 0 for age in ages)
        assert {said(server)[0] for server in (world.mof, world.mpi)} == {"ok"}
        world.world.registry.start()
        world.world.registry.wait_ready()
        deadline = time.monotonic() + WITHIN_S
        while any(said(server)[1]["age_s"] > 1.5 for server in (world.mof, world.mpi)):
            assert time.monotonic() < deadline, "the registry is not followed again"
            time.sleep(0.1)


def test_a_word_that_ended_stops_exchanges_until_the_registry_is_back(
    short_lived: SmallWorld,
) -> None:
    """OutdatedGlobalConf on both sides, recorded; health names the reason; then all heals."""
    world = short_lived
    await_healed(world)
    assert call(world).status == 200
    world.world.registry.kill()
    assert call(world).status == 200
    await_outdated(world)
    reached = len(world.backend.seen)

    answer = call(world, "outdated-1")
    assert (answer.status, answer.code) == (503, "OutdatedGlobalConf")
    for page in ("/verificationconf", "/listClients"):
        listed = small.exchange(world.mof.url("http"), "GET", page, {})
        assert (listed.status, listed.code) == (503, "OutdatedGlobalConf"), page
    message = peer.seal(world, "outdated-2")
    foreign = peer.send(world, message, peer.link_context(world))
    assert foreign is not None
    assert (foreign.status, foreign.code) == (503, "OutdatedGlobalConf")
    assert len(world.backend.seen) == reached
    for server, message_id in ((world.mof, "outdated-1"), (world.mpi, "outdated-2")):
        (hit,) = world.hits(server, id=message_id)
        assert (hit.kind, hit.problem) == ("refusal", "OutdatedGlobalConf")
        status, registry = said(server)
        assert (status, registry["ok"]) == ("failing", False)
        assert "OutdatedGlobalConf" in registry["problem"]

    world.world.registry.start()
    world.world.registry.wait_ready()
    print(f"healed {await_healed(world):.2f} s after the registry was back")
    assert call(world).status == 200


def restart_with_grace(world: SmallWorld, seconds: int) -> None:
    for server in (world.mof, world.mpi):
        server.process.stop()
        set_grace(server, seconds)
    world.world.start()


def alarms(server: RunningServer, since: int) -> set[str]:
    """The events about the registry in a server's log from a place on."""
    log = server.process.log.read_text("utf-8")[since:]
    names = ("state_in_grace", "state_outdated", "not_followed", "role_ends")
    return {name for name in names if f"registry_{name}" in log}


def test_the_grace_time_carries_over_a_restart_and_then_ends(short_lived: SmallWorld) -> None:
    """When the word has ended both servers go on for the grace time, killed and started anew
    without the registry, and say so at each poll; then they refuse, say why, and heal."""
    world = short_lived
    servers = (world.mof, world.mpi)
    await_healed(world)
    restart_with_grace(world, GRACE_S)
    await_healed(world)
    since = {server.plan.id: len(server.process.log.read_text("utf-8")) for server in servers}
    world.world.registry.kill()
    deadline = time.monotonic() + VALIDITY_S + WITHIN_S
    while not all(said(server)[1].get("in_grace") for server in servers):
        assert time.monotonic() < deadline, "the registry's word did not end"
        time.sleep(0.1)
    assert call(world).status == 200
    for server in servers:
        server.process.kill()
    world.world.start()
    assert call(world, "in-grace").status == 200
    for server in servers:
        status, registry = said(server)
        assert (status, registry["in_grace"]) == ("ok", True)
        assert registry["ending_soon"]["timestamp"] == 0

    await_outdated(world, GRACE_S)
    answer = call(world, "after-grace")
    assert (answer.status, answer.code) == (503, "OutdatedGlobalConf")
    assert "of grace are over" in answer.json["message"]
    (hit,) = world.hits(world.mof, id="after-grace")
    assert (hit.kind, hit.problem) == ("refusal", "OutdatedGlobalConf")
    wanted = {"state_in_grace", "state_outdated", "role_ends"}
    deadline = time.monotonic() + WITHIN_S
    while not all(alarms(server, since[server.plan.id]) >= wanted for server in servers):
        assert time.monotonic() < deadline, "a poll should have told"
        time.sleep(0.1)
    world.world.registry.start()
    world.world.registry.wait_ready()
    await_healed(world)
    assert call(world).status == 200
    restart_with_grace(world, 0)


def test_a_server_that_was_off_for_long_starts_when_the_registry_is_there(
    short_lived: SmallWorld,
) -> None:
    """Its copy has ended meanwhile, so it asks first. Without the registry it says why."""
    world = short_lived
    await_healed(world)
    server = world.mpi
    world.world.registry.kill()
    server.process.stop()
    await_end_of_copy(world)
    server.process.start()
    deadline = time.monotonic() + WITHIN_S
    while server.process.running and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not server.process.running
    log = server.process.log.read_text("utf-8")
    assert "OutdatedGlobalConf" in log
    assert "Traceback" not in log
    world.world.registry.start()
    world.world.registry.wait_ready()
    server.process.start()
    server.process.wait_ready()
    await_healed(world)
    assert call(world).status == 200


def await_end_of_copy(world: SmallWorld) -> None:
    """Wait until the registry's last word has ended, as MOF's server sees it."""
    deadline = time.monotonic() + VALIDITY_S + WITHIN_S
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError, http.client.HTTPException):
            if said(world.mof)[0] == "failing":
                return
        time.sleep(0.1)
    raise AssertionError("the registry's word did not end")
