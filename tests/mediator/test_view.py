"""The view of the registry: a real registry on loopback and the real TUF client."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from exchange.identifiers import MemberId
from exchange.problems import Code, Problem
from mediator.registry_copy import RegistryCopy
from mediator.registry_copy.view import RegistryView
from tests.registry.simulator import MOF, MPI, NOW, URL, SimulatedRegistry
from tests.registry.world import World, real_world
from tests.world.clock import ShiftedClock

DAY = timedelta(days=1)


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    """A real registry on loopback."""
    async with real_world(tmp_path) as world:
        yield world


@asynccontextmanager
async def view_of(world: World, **settings: Any) -> AsyncIterator[RegistryView]:
    """A view as a server opens it."""
    view = await RegistryView.open(
        world.url,
        world.anchor,
        world.directory.parent / "copy",
        **{"poll_s": 0.05, "grace_s": 3600, "clock": world.clock, **settings},
    )
    try:
        yield view
    finally:
        await view.close()


async def until(condition: Any, within_s: float = 60.0) -> None:
    """Wait for a condition with a deadline."""
    async with asyncio.timeout(within_s):
        while not condition():  # noqa: ASYNC110 - the condition is another task's state
            await asyncio.sleep(0.01)


async def test_publication_reaches_the_view(world: World) -> None:
    """What is approved is in the state after the next look; nothing new is told as such."""
    async with view_of(world) as view:
        assert view.state.members == {}
        await world.register(MPI)
        assert await view.refresh()
        assert view.state.member(MPI).name.en == "Ministry"
        assert set(view.state.schemas) == {"https://schemas.saphan.la/province/1"}
        assert not await view.refresh()
        assert view.age_s == 0
        row = await world.submit(MPI, "Other name")
        assert not await view.refresh()
        await world.approve(row["id"])
        assert await view.refresh()
        assert view.state.member(MPI).name.en == "Other name"


async def test_the_poll_loop_follows_by_itself(world: World) -> None:
    """run() takes over what is published and survives an outage of the registry."""
    async with view_of(world) as view:
        polling = asyncio.create_task(view.run())
        await world.register(MPI)
        await until(lambda: MPI in view.state.members)
        await world.running.stop()
        await until(lambda: view.problem is not None)
        assert view.problem is not None
        assert view.problem.code is Code.REGISTRY_UNREACHABLE
        assert MPI in view.state.members
        await world.restart()
        await until(lambda: view.problem is None)
        await world.register(MOF)
        await until(lambda: MOF in view.state.members)
        polling.cancel()
        with pytest.raises(asyncio.CancelledError):
            await polling


async def test_a_key_changed_by_its_member_is_followed(world: World) -> None:
    """member-rotate, submit, approve: servers go on without a complaint."""
    await world.register(MPI)
    async with view_of(world) as view:
        world.folder(MPI).rotate(1)
        row = await world.submit(MPI, "With a new key")
        assert row["kind"] == "keys"
        await world.approve(row["id"])
        await view.refresh()
        assert view.state.member(MPI).name.en == "With a new key"
        assert view.state.complaints == ()


async def test_a_restart_works_without_the_registry(world: World) -> None:
    """A server starts from its copy while the registry is down, without waiting for it."""
    await world.register(MPI)
    async with view_of(world):
        pass
    await world.running.stop()
    started = time.perf_counter()
    async with view_of(world) as view:
        assert time.perf_counter() - started < 20
        assert MPI in view.state.members
        world.clock.advance(seconds=90)
        assert view.age_s == 90
        with pytest.raises(Problem) as caught:
            await view.refresh()
        assert caught.value.code is Code.REGISTRY_UNREACHABLE


async def test_without_copy_and_registry_there_is_no_view(world: World) -> None:
    """A first start without registry fails with its own code, the address, and why it cannot go on
    as a later start can."""
    await world.running.stop()
    with pytest.raises(Problem) as caught:
        async with view_of(world):
            pass
    assert caught.value.code is Code.REGISTRY_UNREACHABLE
    assert caught.value.where.startswith("http")
    assert "no copy" in caught.value.detail


async def test_another_anchor_is_not_this_registry(world: World) -> None:
    """A registry that the anchor does not vouch for is refused."""
    with pytest.raises(Problem) as caught:
        await RegistryView.open(
            world.url,
            SimulatedRegistry().root_bytes,
            world.directory.parent / "copy",
            clock=world.clock,
        )
    assert caught.value.code is Code.UNTRUSTED_METADATA


async def test_grace_goes_on_with_an_alarm_and_then_stops(world: World) -> None:
    """After the end of the timestamp: exchanges go on, with a warning; after the grace: no more,
    until the registry answers again."""
    await world.register(MPI)
    async with view_of(world) as view:
        await world.running.stop()
        with capture_logs() as logs:
            polling = asyncio.create_task(view.run())
            await until(lambda: any(log["event"] == "registry_not_followed" for log in logs))
            world.clock.advance(seconds=3600 + 1)
            assert MPI in view.state.members
            await until(lambda: any(log["event"] == "registry_state_in_grace" for log in logs))
            world.clock.advance(seconds=3600)
            with pytest.raises(Problem) as caught:
                _ = view.state
            assert caught.value.code is Code.REGISTRY_STATE_EXPIRED
            assert caught.value.status == 503
            await until(lambda: any(log["event"] == "registry_state_outdated" for log in logs))
        await world.restart()
        await until(lambda: view.problem is None)
        assert MPI in view.state.members
        polling.cancel()


async def test_complaints_are_logged_once(world: World, tmp_path: Path) -> None:
    """What the copy refuses is told when it appears, not at every poll."""
    registry = SimulatedRegistry()
    registry.register(MPI)
    registry.publish()
    copy = RegistryCopy(tmp_path / "c", URL, registry.root_bytes, registry.fetcher, DAY)
    view = RegistryView(copy, registry.fetcher, poll_s=1, grace_s=60, clock=world.clock)
    await view.refresh()
    registry.members[MPI].files = {"LA/GOV/MPI/member.json": b"{}"}
    registry.members[MPI].version += 1
    registry.publish()
    with capture_logs() as logs:
        await view.refresh()
        await view.refresh()
    # The registry of the world beside it logs what it does meanwhile.
    assert [log["event"] for log in logs].count("registry_complaint") == 1
    await view.close()


async def test_reading_the_state_is_cheap(world: World) -> None:
    """The message path pays well under ten microseconds."""
    clock = ShiftedClock((NOW - datetime.now(UTC)).total_seconds())
    async with view_of(world, clock=clock) as view:
        rounds = 20_000
        started = time.thread_time()  # its own work, however busy the machine is
        for _ in range(rounds):
            _ = view.state
        assert (time.thread_time() - started) / rounds < 10e-6


async def test_polling_does_not_hold_up_the_loop(tmp_path: Path, world: World) -> None:
    """Following 40 members at once leaves the event loop responsive."""
    registry = SimulatedRegistry()
    for number in range(40):
        registry.register(MemberId("LA", "GOV", f"M{number}"))
    registry.publish()
    copy = RegistryCopy(tmp_path / "c", URL, registry.root_bytes, registry.fetcher, DAY)
    view = RegistryView(copy, registry.fetcher, poll_s=1, grace_s=60, clock=world.clock)
    longest = 0.0

    async def watch() -> None:
        nonlocal longest
        while True:
            before = time.thread_time()  # the loop's own work, however busy the machine is
            await asyncio.sleep(0.001)
            longest = max(longest, time.thread_time() - before)

    watching = asyncio.create_task(watch())
    await view.refresh()
    watching.cancel()
    await view.close()
    assert len(view.state.members) == 40
    assert longest < 0.5


def test_a_cold_start_with_300_members_is_bounded(tmp_path: Path) -> None:
    """300 members: everything once in seconds of work; a poll without change in a fraction."""
    registry = SimulatedRegistry(NOW)
    for number in range(300):
        registry.register(MemberId("LA", "GOV", f"M{number}"))
    registry.publish()
    copy = RegistryCopy(tmp_path / "c", URL, registry.root_bytes, registry.fetcher, DAY)
    copy.load(NOW)
    started = time.process_time()
    assert copy.synchronise(NOW)
    cold = time.process_time() - started
    assert copy.state is not None
    assert len(copy.state.members) == 300
    assert copy.state.complaints == ()
    assert cold < 10
    started = time.process_time()
    assert not copy.synchronise(NOW)
    poll = time.process_time() - started
    assert poll < 0.5
    registry.update(MemberId("LA", "GOV", "M7"), "Changed")
    registry.publish()
    started = time.process_time()
    assert copy.synchronise(NOW)
    one = time.process_time() - started
    assert one < 1
    started = time.process_time()
    again = RegistryCopy(tmp_path / "c", URL, registry.root_bytes, registry.fetcher, DAY)
    again.load(NOW)
    print(f"cold {cold:.2f} s, poll {poll:.3f} s, one changed {one:.3f} s,", end=" ")
    print(f"from disk {time.process_time() - started:.2f} s")
    assert again.state == copy.state
