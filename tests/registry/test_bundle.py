"""One file for a server's first start: written from what is published, verified like downloads."""

from __future__ import annotations

import asyncio
import os
import subprocess
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path

import pytest

from exchange.problems import Code, Problem
from exchange.registry.bundles import (
    LISTING,
    MAX_PIECE_BYTES,
    Packing,
    Piece,
    parse_listing,
    unpack,
)
from mediator.registry_copy import RegistryCopy, following
from mediator.registry_copy.bundle import BundleFetcher
from mediator.registry_copy.fetcher import RegistryFetcher
from mediator.registry_copy.log import FollowedLog
from registry.publication.bundle import PIECE_BYTES, bundle_age_s, publish_bundle, write_bundle
from registry.publication.ceremony import PUBLIC
from registry.publication.tree import Tree
from registry.store import Store
from tests.registry.simulator import MOF, MPI
from tests.registry.world import World, real_world

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
    fetcher = BundleFetcher(bundle, URL, folder / "files")
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
    files = dict(unpack([good.read_bytes()], 1 << 24))
    forged = tmp_path / "forged"
    role = next(name for name in files if name.endswith("snapshot.json"))
    files[role] = files[role].replace(b'"version"', b'"Version"')
    forged.write_bytes(packed(files))
    with pytest.raises(Problem) as caught:
        await asyncio.to_thread(copy_from, world, forged, tmp_path / "copy")
    assert caught.value.code is Code.UNTRUSTED_METADATA
    (tmp_path / "cut").write_bytes(good.read_bytes()[:-200])
    with pytest.raises(Problem) as caught:
        BundleFetcher(tmp_path / "cut", URL, tmp_path / "files")
    assert caught.value.code is Code.INVALID_DOCUMENT


def packed(files: Mapping[str, bytes]) -> bytes:
    packing = Packing()
    return b"".join([*(packing.add(*item) for item in files.items()), packing.end()])


async def test_stock_tools_read_a_bundle(world: World, tmp_path: Path) -> None:
    """It is what tar makes of the published tree, and holds what servers read alone."""
    await world.register(MPI)
    bundle = await asyncio.to_thread(bundled, world, tmp_path / "one.tgz")
    out = tmp_path / "out"
    out.mkdir()
    await asyncio.to_thread(subprocess.run, ["tar", "xzf", bundle, "-C", out], check=True)
    found = {str(path.relative_to(out)) for path in files_under(out)}
    public = world.directory / PUBLIC
    assert {"metadata/timestamp.json", "metadata/1.root.json", "log/checkpoint"} <= found
    for name in found:
        assert (out / name).read_bytes() == (public / name).read_bytes()


def files_under(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


async def test_the_published_bundle_is_a_servers_start(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The registry puts a bundle out by itself; a server asks for its pieces, not for members."""
    monkeypatch.setattr(following, "_FEW", 0)
    for member in (MPI, MOF):
        await world.register(member)
    public = world.directory / PUBLIC
    assert await asyncio.to_thread(put_out, world)
    assert not await asyncio.to_thread(put_out, world)  # nothing has changed
    assert bundle_age_s(public) < 600
    (piece,) = parse_listing((public / LISTING).read_bytes()).pieces
    fetcher = RegistryFetcher()
    copy = RegistryCopy(tmp_path, world.url, world.anchor, fetcher, timedelta(hours=1))

    def start() -> None:
        copy.load(world.clock.now())
        copy.synchronise(world.clock.now())
        fetcher.close()

    await asyncio.to_thread(start)
    assert copy.state is not None
    assert set(copy.state.members) == {MPI, MOF}
    # root, timestamp, snapshot, targets, bundle, piece; proof, log, standing: nothing of members
    assert fetcher.requests <= 10
    assert (public / piece.path).stat().st_size == piece.size
    await world.call(world.running.registrar.prune)
    assert (public / piece.path).exists()


async def test_the_registry_makes_a_bundle_by_itself(tmp_path: Path) -> None:
    """When it starts there is one soon."""
    async with real_world(tmp_path, bundle_every_s=1) as world:
        listing = world.directory / PUBLIC / LISTING
        async with asyncio.timeout(20):
            while not listing.exists():
                await world.call(world.operator.own)


def put_out(world: World) -> bool:
    store, public = Store(world.settings.place(world.directory)), world.directory / PUBLIC
    try:
        return publish_bundle(public, Tree(public).present(store, read_alone=True))
    finally:
        store.close()


def test_a_file_that_fills_a_piece_spoils_no_bundle(tmp_path: Path) -> None:
    """A piece longer than servers take is left out; they take the others."""
    role, large, small = (tmp_path / "metadata" / f"1.{name}.json" for name in "abc")
    role.parent.mkdir()
    role.write_bytes(os.urandom(2 * PIECE_BYTES))
    large.write_bytes(os.urandom(MAX_PIECE_BYTES + 1))
    small.write_bytes(b"{}")
    assert publish_bundle(tmp_path, [role, large, small])
    pieces = parse_listing((tmp_path / LISTING).read_bytes()).pieces
    held = [name for piece in pieces for name, _ in unpack([_read(tmp_path, piece)], 1 << 24)]
    assert held == ["metadata/1.a.json", "metadata/1.c.json"]


def _read(public: Path, piece: Piece) -> bytes:
    return (public / piece.path).read_bytes()
