"""What ends soon is told of: by the registry, by the command, and by every server that follows."""

from __future__ import annotations

import asyncio
from pathlib import Path

import aiohttp
from click.testing import CliRunner
from structlog.testing import capture_logs

from console.cli.main import main
from exchange.registry.endings import soon
from mediator.registry_copy.view import RegistryView
from tests.registry.simulator import MOF, MPI, member_record
from tests.registry.world import World, described, real_world

HOSTED = {"hosted": [MPI]}


async def status(world: World) -> tuple[int, str]:
    def run() -> tuple[int, str]:
        result = CliRunner().invoke(main, ["registry", "status", "--registry", world.url])
        return result.exit_code, result.output

    return await asyncio.to_thread(run)


async def test_the_registry_tells_what_ends(world: World) -> None:
    """Health, metrics and the command name the role, when it ends and what to do; members, too."""
    await world.register(MPI)
    assert (await status(world))[1].count("until") == 5
    world.clock.advance(days=345)
    await world.call(lambda: world.running.registrar.renew(world.clock.now()))
    code, told = await status(world)
    assert code == 0
    assert "targets ends within 30 days" in told
    assert "LA/GOV/MPI ends within 30 days" in told
    assert "saphan registry ceremony targets" in told
    async with aiohttp.ClientSession(world.url) as http, http.get("/metrics") as response:
        numbers = await response.text()
    assert 'saphan_registry_role_left_seconds{role="targets"} 1.728e+06' in numbers
    assert 'saphan_registry_members_ending{days="30"} 1.0' in numbers
    assert 'saphan_registry_members_ending{days="7"} 0.0' in numbers
    world.clock.advance(days=21)
    await world.call(lambda: world.running.registrar.renew(world.clock.now()))
    code, told = await status(world)
    assert code == 1
    assert "targets HAS ENDED" in told


async def test_the_running_registry_logs_each_nearness_once(tmp_path: Path) -> None:
    """Beside signing again in time it warns; a timestamp that is not signed again is told of at a
    third of its life."""
    async with real_world(tmp_path, timestamp_validity_s=10) as world:
        with capture_logs() as logs:
            world.clock.advance(days=359)

            async def warned() -> None:
                while "registry_role_ends" not in str(logs):  # noqa: ASYNC110
                    await asyncio.sleep(0.05)

            await asyncio.wait_for(warned(), 60)
        told = [one for one in logs if one["event"] == "registry_role_ends"]
        assert [(one["role"], one["within_days"]) for one in told] == [("targets", 7)]


async def test_servers_tell_what_ends(world: World, tmp_path: Path) -> None:
    """A server tells of the registry's roles and of its own members', not of others'; also from its
    copy alone, when it was started without the registry."""
    await world.register(MPI)
    world.clock.advance(days=1)
    await world.register(MOF)

    async def opened() -> RegistryView:
        anchor, folder = world.anchor, tmp_path / "copy"
        more = {"clock": world.clock, "grace_s": 400 * 86400, **HOSTED}
        return await RegistryView.open(world.url, anchor, folder, **more)

    view = await opened()
    ends = view.ends
    assert set(ends) == {"root", "targets", "snapshot", "timestamp", "standing", str(MPI)}
    assert soon(ends, world.clock.now()) == {}
    await world.running.stop()
    world.clock.advance(minutes=41)
    assert soon(view.ends, world.clock.now()) == {"timestamp": 30}
    await view.close()
    view = await opened()
    assert view.ends == ends
    world.clock.advance(days=360)
    near = soon(view.ends, world.clock.now())
    assert near == {"timestamp": 0, "snapshot": 0, "standing": 0, str(MPI): 7, "targets": 7}
    with capture_logs() as logs:
        view._warn_of_ends()
        view._warn_of_ends()
    steps = {one["role"]: one["next_step"] for one in logs}
    assert len(logs) == len(near)
    assert "saphan registry submit" in steps[str(MPI)]
    assert "operator" in steps["targets"]
    await view.close()


async def test_what_is_disabled_is_signed_again_however_often_others_publish(
    world: World, tmp_path: Path
) -> None:
    """Each publication brings a new snapshot, but no new word of what is disabled: that is renewed
    by itself, and servers go on."""
    await world.register(MPI)
    view = await RegistryView.open(world.url, world.anchor, tmp_path / "copy", clock=world.clock)
    for number in range(4):
        world.clock.advance(days=3)
        await world.call(lambda: world.running.registrar.renew(world.clock.now()))
        submission = world.folder(MPI).sign(
            described(member_record(MPI, name=f"Ministry {number}")), number + 1, world.clock.now()
        )
        row = await world.call(lambda one=submission: world.operator.submit(one))
        await world.approve(row["id"])
        assert await view.refresh()
        assert view.state.member(MPI).name.en == f"Ministry {number}"
    await view.close()
