"""Every key of the registry is changed while a server follows it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from securesystemslib.signer import CryptoSigner, Key
from tuf.api.metadata import Root

from exchange.problems import Code, Problem, Text
from exchange.registrations import INSTANCE_TARGET, STANDING_TARGET, format_instance, parse_instance
from exchange.registry.delegations import STANDING_ROLE
from exchange.registry.standing import Disabled, format_standing
from mediator.registry_copy.view import RegistryView
from registry import service
from registry.offline.operator import draft_files, sign_files, signed
from registry.publication.ceremony import log_keys, online_keys, verifiers
from registry.publication.publish import judge_root, member_role, read, sign
from registry.publication.rotation import (
    Changes,
    draft_root,
    is_complete,
    protocol,
    sign_root,
)
from registry.publication.signers import key_set, new_signer, write_signer
from registry.requests.lifecycle import Kind
from registry.requests.orders import Order
from tests.registry.simulator import MOF, MPI
from tests.registry.world import World

DAY = timedelta(days=1)


@asynccontextmanager
async def follower(world: World, folder: Path) -> AsyncIterator[RegistryView]:
    view = await RegistryView.open(world.url, world.anchor, folder, clock=world.clock)
    try:
        yield view
    finally:
        await view.close()


async def drafted(
    world: World,
    add: Mapping[str, Sequence[Key]],
    remove: Mapping[str, Sequence[str]],
    signers: Sequence[CryptoSigner],
) -> tuple[bytes, bytes]:
    """The present root, and the next one signed by each of ``signers`` on its own machine."""
    current = (await world.call(world.operator.own)).root
    expires = world.clock.now() + 365 * DAY
    draft = draft_root(current, Changes(add, remove, {}), expires)
    for signer in signers:
        assert not is_complete(draft, current)
        draft = sign_root(draft, current, [signer])
    return current, draft


def disable_with(world: World, signer: CryptoSigner) -> None:
    """Publish, past all of the registry's own checks, that MPI is disabled, signed by this key."""
    registrar, at = world.running.registrar, world.clock.now()
    away = Disabled(MPI, at, Text("stolen", "ຖືກລັກ"))
    files = {STANDING_TARGET: format_standing((away,))}
    with registrar.acting():
        role = member_role(files, version=9, expires=at + DAY)
        signed_role = (9, sign(role, [signer]))
        registrar.publish_roles({STANDING_ROLE: signed_role}, {STANDING_ROLE: files}, at)


def keyid(signer: CryptoSigner) -> str:
    return str(signer.public_key.keyid)


async def test_root_keys_change_one_by_one(world: World, tmp_path: Path) -> None:
    """A root key goes and another comes; both old and new root must be signed by enough."""
    await world.register(MPI)
    old, new = world.root_signers, new_signer()
    async with follower(world, tmp_path / "member") as view:
        add, remove = {"root": [new.public_key]}, {"root": [keyid(old[0])]}
        current, draft = await drafted(world, add, remove, old[1:2])
        told = "\n".join(protocol(draft, current))
        assert f"{keyid(new)[:16]}  NEW" in told
        assert f"{keyid(old[0])[:16]}  GOES" in told
        assert "signed by 1 of 2 (old root)" in told
        with pytest.raises(Problem) as caught:
            await world.call(lambda: world.operator.publish_root(draft))
        assert caught.value.code is Code.UNTRUSTED_METADATA
        whole = sign_root(draft, current, [new, old[2]])
        assert is_complete(whole, current)
        assert (await world.call(lambda: world.operator.publish_root(whole)))["version"] == 2
        await world.register(MOF)
        await view.refresh()
        assert MOF in view.state.members
        await world.restart()
        assert not await view.refresh()


async def test_targets_keys_change_with_the_targets_under_the_new_ones(
    world: World, tmp_path: Path
) -> None:
    """Without targets under its keys such a root is refused; with them servers go on."""
    await world.register(MPI)
    old, fresh = world.targets_signers, [new_signer(), new_signer()]
    async with follower(world, tmp_path / "member") as view:
        _, draft = await drafted(
            world,
            {"targets": [one.public_key for one in fresh]},
            {"targets": [keyid(one) for one in old]},
            world.root_signers[:2],
        )
        with pytest.raises(Problem) as caught:
            await world.call(lambda: world.operator.publish_root(draft))
        assert caught.value.code is Code.CONFLICT
        own = await world.call(world.operator.own)
        again = draft_files(own, {}, world.clock.now()).signed(read(Root, draft, "root"), fresh)
        targets = again.targets
        await world.call(lambda: world.operator.publish_root(draft, targets))
        assert await view.refresh()
        assert MPI in view.state.members


@pytest.mark.parametrize("role", ["snapshot", "timestamp"])
async def test_online_keys_change(world: World, tmp_path: Path, role: str) -> None:
    """The new key lies beside the registry before the root names it; the old one ends with it."""
    await world.register(MPI)
    new = new_signer()
    async with follower(world, tmp_path / "member") as view:
        online = world.directory / "online"
        before = (await world.call(world.operator.own)).root
        old = judge_root(before).roles[role].keyids
        _, draft = await drafted(
            world, {role: [new.public_key]}, {role: old}, world.root_signers[:2]
        )
        with pytest.raises(Problem) as caught:
            await world.call(lambda: world.operator.publish_root(draft))
        assert caught.value.code is Code.NOT_FOUND
        write_signer(online / f"{role}-2.pem", new)
        await world.restart()
        await world.call(lambda: world.operator.publish_root(draft))
        assert await view.refresh()
        await world.register(MOF)
        assert await view.refresh()
        assert MOF in view.state.members


async def test_the_key_that_disables_changes(world: World, tmp_path: Path) -> None:
    """The registry's own role names the new key, which lies beside before; what is away stays away,
    and what the old key signs afterwards is refused."""
    await world.register(MPI)
    order = Order(Kind.DISABLE, MPI, Text("stolen", "ຖືກລັກ"))
    await world.call(lambda: world.operator.order(order))
    new, old = new_signer(), online_keys(world.directory).standing
    async with follower(world, tmp_path / "member") as view:
        own = await world.call(world.operator.own)
        standing = key_set([new], 1)
        draft = draft_files(own, {}, world.clock.now(), standing=standing)
        made = signed(own, draft, world.targets_signers)
        with pytest.raises(Problem) as caught:
            await world.call(lambda: world.operator.publish_own(made))
        assert caught.value.code is Code.NOT_FOUND
        write_signer(world.directory / "online" / "standing-2.pem", new)
        await world.restart()
        await world.call(lambda: world.operator.publish_own(made))
        assert await view.refresh()
        with pytest.raises(Problem) as caught:
            view.state.standing.check(MPI)
        assert caught.value.code is Code.DISABLED
        online = world.directory / "online"
        (online / "standing.pem").unlink()
        (online / "standing-2.pem").rename(online / "standing.pem")
        await world.restart()
        order = Order(Kind.ENABLE, MPI, Text("back", "ກັບມາ"))
        row = await world.call(lambda: world.operator.order(order))
        await world.approve(row["id"])
        assert await view.refresh()
        view.state.standing.check(MPI)
        await asyncio.to_thread(disable_with, world, old)
        with pytest.raises(Problem) as caught:
            await view.refresh()
        assert caught.value.code is Code.UNTRUSTED_METADATA


async def test_the_log_key_changes(world: World, tmp_path: Path) -> None:
    """Both keys sign while the instance names both; then the new one alone."""
    await world.register(MPI)
    async with follower(world, tmp_path / "member") as view:
        online = world.directory / "online"
        write_signer(online / "log-2.pem", new_signer())
        await world.restart()

        async def publish(keys: Sequence[Any]) -> None:
            own = await world.call(world.operator.own)
            record = replace(parse_instance(own.files[INSTANCE_TARGET]), log=verifiers("LA", keys))
            files = {INSTANCE_TARGET: format_instance(record)}
            signed = sign_files(own, files, world.targets_signers, world.clock.now())
            await world.call(lambda: world.operator.publish_own(signed))

        both = await asyncio.to_thread(log_keys, world.directory)
        await publish(both)
        assert await view.refresh()
        await publish(both[1:])
        assert await view.refresh()
        port = int(world.url.rpartition(":")[2])
        await world.running.stop()
        (online / "log.pem").unlink()
        (online / "log-2.pem").rename(online / "log.pem")
        world.running = await service.start(world.directory, port=port, clock=world.clock)
        await world.register(MOF)
        assert await view.refresh()
        assert MOF in view.state.members
        assert view.head_note is not None
        assert view.head_note.decode().count("— LA/registry") == 1


async def test_a_root_that_says_anything_unfit_is_refused(world: World) -> None:
    """Wrong version, keys that are not there, thresholds that nobody can meet."""
    current = (await world.call(world.operator.own)).root
    expires = world.clock.now() + 365 * DAY
    for changes, code in (
        (Changes({}, {"root": ["0" * 64]}, {}), Code.NOT_FOUND),
        (Changes({}, {}, {"root": 4}), Code.INVALID_SETTINGS),
        (Changes({}, {}, {"snapshots": 1}), Code.NOT_FOUND),
    ):
        with pytest.raises(Problem) as caught:
            draft_root(current, changes, expires)
        assert caught.value.code is code
    draft = draft_root(current, Changes({}, {}, {}), expires)
    with pytest.raises(Problem) as caught:
        sign_root(draft, current, [new_signer()])
    assert caught.value.code is Code.NOT_AUTHORISED
    signed = sign_root(draft, current, world.root_signers)
    await world.call(lambda: world.operator.publish_root(signed))
    with pytest.raises(Problem) as caught:
        await world.call(lambda: world.operator.publish_root(signed))
    assert caught.value.code is Code.CONFLICT
