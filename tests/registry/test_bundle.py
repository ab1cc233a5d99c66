"""One file for a server's first start: written from what is published, verified like downloads."""

from __future__ import annotations

import asyncio
import zipfile
from datetime import timedelta
from pathlib import Path

import pytest

from exchange.problems import Code, Problem
from mediator.registry_copy import RegistryCopy
from mediator.registry_copy.bundle import Bundle, BundleFetcher
from mediator.registry_copy.log import FollowedLog
from registry.bundle import write_bundle
from registry.ceremony import PUBLIC
from registry.store import Store
from registry.tree import Tree
from tests.registry.simulator import MOF, MPI
from tests.registry.world import World

URL = "https://registry.example/la"


def bundled(world: World, out: Path) -> Path:
    store, public = Store(world.settings.place(world.directory)), world.directory / PUBLIC
    try:
        write_bundle(store, Tree(public), public, out)
    finally:
        store.close()
    return out


def copy_from(world: World, bundle: Path, folder: Path) -> RegistryCopy:
    """A copy that has seen nothing but the bundle."""
    fetcher = BundleFetcher(Bundle(bundle), URL)
    copy = RegistryCopy(
        folder, URL, world.anchor, fetcher, timedelta(hours=1), log=FollowedLog(fetcher)
    )
    copy.load(world.clock.now())
    copy.synchronise(world.clock.now())
    return copy


async def test_a_bundle_is_a_whole_start_without_a_network(world: World, tmp_path: Path) -> None:
    """Members, schemas and the log's head are those of the registry; a second one goes on."""
    await world.register(MPI)
    first = await asyncio.to_thread(bundled, world, tmp_path / "one.zip")
    copy = await asyncio.to_thread(copy_from, world, first, tmp_path / "copy")
    assert copy.state is not None
    assert set(copy.state.members) == {MPI}
    assert copy.seen_log is not None
    await world.register(MOF)
    second = await asyncio.to_thread(bundled, world, tmp_path / "two.zip")
    copy = await asyncio.to_thread(copy_from, world, second, tmp_path / "copy")
    assert copy.state is not None
    assert set(copy.state.members) == {MPI, MOF}
    with pytest.raises(Problem) as caught:
        await asyncio.to_thread(copy_from, world, first, tmp_path / "copy")
    assert caught.value.code is Code.ROLLBACK_DETECTED


async def test_nothing_is_trusted_because_it_is_in_the_bundle(world: World, tmp_path: Path) -> None:
    """Changed, cut or foreign files are refused as downloads are."""
    await world.register(MPI)
    good = await asyncio.to_thread(bundled, world, tmp_path / "good.zip")
    with zipfile.ZipFile(good) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    forged = tmp_path / "forged.zip"
    role = next(name for name in files if name.endswith("snapshot.json"))
    files[role] = files[role].replace(b'"version"', b'"Version"')
    with zipfile.ZipFile(forged, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    with pytest.raises(Problem) as caught:
        await asyncio.to_thread(copy_from, world, forged, tmp_path / "copy")
    assert caught.value.code is Code.UNTRUSTED_METADATA
    (tmp_path / "cut.zip").write_bytes(good.read_bytes()[:-200])
    with pytest.raises(Problem) as caught:
        Bundle(tmp_path / "cut.zip")
    assert caught.value.code is Code.INVALID_DOCUMENT
