"""A registry behind a plain web server, and one whose log real witnesses cosign."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from exchange.log.policy import Policy, parse_policy
from exchange.problems import Code, Problem
from mediator.registry_copy.view import RegistryView
from registry import service
from registry.publication.ceremony import PUBLIC, log_keys, verifiers
from registry.settings import RegistrySettings
from tests.registry.simulator import MOF, MPI
from tests.registry.world import World
from tests.thief.test_thief import served
from tests.witness.world import witness_in

NOWHERE = "http://127.0.0.1:9"


async def view_of(world: World, folder: Path, url: str, *mirrors: str) -> RegistryView:
    return await RegistryView.open(
        url, world.anchor, folder, clock=world.clock, mirrors=mirrors, grace_s=3600
    )


async def test_any_web_server_is_a_mirror(world: World, tmp_path: Path) -> None:
    """Static files are enough; mirrors are asked in turn, and one that dies is left for another."""
    await world.register(MPI)
    with served(world.directory / PUBLIC) as mirror:
        view = await view_of(world, tmp_path / "copy", NOWHERE, mirror, world.url)
        try:
            assert MPI in view.state.members
            await world.register(MOF)
            assert await view.refresh()
            assert MOF in view.state.members
        finally:
            await view.close()
    view = await view_of(world, tmp_path / "copy", NOWHERE, mirror, world.url)
    try:
        await view.refresh()
        assert MOF in view.state.members
        assert view.problem is None
    finally:
        await view.close()


async def test_witnesses_cosign_the_log_before_a_state_is_shown(
    world: World, tmp_path: Path
) -> None:
    """With the quorum a server takes the state over; with the witness away it keeps the last good
    one, until the witness is back and the registry asks again."""
    keys = [str(key) for key in verifiers("LA", await asyncio.to_thread(log_keys, world.directory))]

    async def restart(policy: str) -> None:
        (world.directory / "witnesses.policy").write_text(policy)
        port = int(world.url.rpartition(":")[2])
        await world.running.stop()
        settings = RegistrySettings(witnesses="witnesses.policy", witness_timeout_s=5)
        world.running = await service.start(
            world.directory, port=port, settings=settings, clock=world.clock
        )

    async def open_view(policy: Policy, folder: str) -> RegistryView:
        return await RegistryView.open(
            world.url, world.anchor, tmp_path / folder, clock=world.clock, policy=policy
        )

    async with witness_in(tmp_path / "witness", logs=tuple(keys)) as witness:
        line = f"witness w1 {witness.witness.key} {witness.listener.url}/witness\nquorum w1\n"
        policy = parse_policy(line.encode())
        with pytest.raises(Problem) as caught:
            await open_view(policy, "too-early")
        assert caught.value.code is Code.NOT_WITNESSED
        await restart(line)
        await world.register(MPI)
        view = await open_view(policy, "copy")
        assert MPI in view.state.members
    try:
        await world.register(MOF)
        with pytest.raises(Problem) as caught:
            await view.refresh()
        assert caught.value.code is Code.NOT_WITNESSED
        assert MOF not in view.state.members
        at = witness.listener.url.rpartition("/")[2]
        async with witness_in(tmp_path / "witness", logs=tuple(keys), listen=at):
            assert await asyncio.to_thread(world.running.registrar.put_out_log)
            await view.refresh()
        assert MOF in view.state.members
    finally:
        await view.close()
