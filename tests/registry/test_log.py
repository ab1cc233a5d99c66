"""The registry's own log: tiles of the database's entries, heads, witnesses, old copies."""

from __future__ import annotations

import asyncio
import os
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from exchange.documents import parse_document
from exchange.log.checkpoint import open_checkpoint
from exchange.log.notes import VerifierKey
from exchange.log.tiles import bundles_of, parse_bundle
from exchange.problems import Code, Problem
from exchange.registrations import INSTANCE_TARGET, parse_instance
from exchange.registry.log import act_digest, check_state, parse_state, proof_path
from mediator.journal.verify import verify
from registry import service
from registry.publication.ceremony import PUBLIC, open_log
from registry.publication.log import RegistryLog
from registry.settings import RegistrySettings
from registry.store import Store
from tests.registry.simulator import MOF, MPI
from tests.registry.world import World, real_world


def published_log(world: World) -> tuple[int, list[bytes]]:
    """Size and entries of the log, as anybody can read them from the published files."""
    log = world.directory / PUBLIC / "log"
    checkpoint = open_checkpoint((log / "checkpoint").read_bytes(), key_of(world))
    entries: list[bytes] = []
    for bundle in bundles_of(checkpoint.size):
        entries += parse_bundle((log / str(bundle)).read_bytes(), bundle.width)
    return checkpoint.size, entries


def key_of(world: World) -> VerifierKey:
    store = Store(world.settings.place(world.directory))
    try:
        return parse_instance(store.files("targets")[INSTANCE_TARGET]).log[0]
    finally:
        store.close()


async def test_acts_and_states_are_entries(world: World) -> None:
    """Each act is in the log without who did it, and commits to its row; each snapshot is, too."""
    await world.register(MPI)
    size, entries = await asyncio.to_thread(published_log, world)
    found = [parse_document(entry, 4096, "entry").value for entry in entries]
    assert size == len(found)
    states = [entry["snapshot"]["version"] for entry in found if entry["kind"] == "state"]
    assert states == [1, 2]
    acts = [entry for entry in found if entry["kind"] == "act"]
    rows = await world.call(lambda: world.operator.pages("acts"))
    assert [(act["number"], act["act"]) for act in acts] == [
        (row["number"], row["act"]) for row in rows
    ]
    for act, row in zip(acts, rows, strict=True):
        named = (row["at"], row["actor"], row["act"], row["subject"], row["detail"])
        assert act["digest"] == act_digest(*named)
    assert all(str(row["actor"]).encode() not in b"".join(entries) for row in rows[1:])


async def test_the_log_verifies_as_any_other(world: World) -> None:
    """By its key, although its entries are not those of a server's journal."""
    await world.register(MPI)
    key = await asyncio.to_thread(key_of, world)
    verdict = await asyncio.to_thread(verify, world.directory / PUBLIC / "log", key=key)
    assert verdict.findings == ()
    assert verdict.size > 1


async def test_the_state_is_proven_before_servers_can_see_it(world: World) -> None:
    """The proof of the present snapshot is among the static files."""
    await world.register(MPI)
    public = world.directory / PUBLIC
    snapshot = (public / "metadata/2.snapshot.json").read_bytes()
    key = await asyncio.to_thread(key_of, world)
    proven = check_state((public / proof_path(2)).read_bytes(), snapshot, 2, [key])
    assert proven.state.version == 2
    assert proven.state.targets == 2


async def test_a_lost_tree_is_made_again(world: World) -> None:
    """Tiles are derived: without them, or with a damaged one, the next start writes them anew."""
    await world.register(MPI)
    before = await asyncio.to_thread(published_log, world)
    log = world.directory / PUBLIC / "log"
    for path in sorted(log.rglob("*")):
        if path.is_file():
            path.unlink()
    await world.restart()
    assert await asyncio.to_thread(published_log, world) == before
    for path in (log / "tile" / "0").rglob("*"):
        if path.is_file():
            path.write_bytes(bytes(path.stat().st_size))
    await world.restart()
    await world.submit(MPI, "Other name")
    await world.restart()
    size, entries = await asyncio.to_thread(published_log, world)
    assert size > before[0]
    assert entries[: before[0]] == before[1]


async def test_an_old_copy_of_the_database_signs_nothing(world: World, tmp_path: Path) -> None:
    """Put back an old database beside a newer tree, and the registry does not start."""
    await world.running.stop()
    place = world.directory / "registry.db"
    old = tmp_path / "old.db"
    with closing(sqlite3.connect(place)) as live, closing(sqlite3.connect(old)) as copy:
        live.backup(copy)
    world.running = await service.start(world.directory, clock=world.clock)
    await world.register(MPI)
    await world.running.stop()
    with closing(sqlite3.connect(place)) as live, closing(sqlite3.connect(old)) as copy:
        copy.backup(live)
    with pytest.raises(Problem) as caught:
        await service.start(world.directory, clock=world.clock)
    assert caught.value.code is Code.JOURNAL_FORKED


async def test_two_processes_put_out_one_log(world: World) -> None:
    """Whoever is later takes over the head of the other; neither signs another history."""
    await world.register(MPI)
    store = Store(world.settings.place(world.directory))
    try:

        def of(folder: str) -> RegistryLog:
            elsewhere = world.directory / folder
            elsewhere.mkdir(exist_ok=True)
            (elsewhere / "online").mkdir(exist_ok=True)
            key = (world.directory / "online" / "log.pem").read_bytes()
            (elsewhere / "online" / "log.pem").write_bytes(key)
            return open_log(store, elsewhere, RegistrySettings())

        def work() -> None:
            first, second = of("first"), of("second")
            assert first.publish() == second.publish()
            for number in range(300):
                store.append_log(b'{"kind":"act","n":%d}' % number)
                if number % 50 == 0:
                    (first if number % 100 else second).publish()
            heads = [log.publish() for log in (second, first)]
            assert heads[0] == heads[1]
            roots = [
                (world.directory / name / PUBLIC / "log" / "checkpoint").read_bytes()
                for name in ("first", "second")
            ]
            assert roots[0] == roots[1]

        await asyncio.to_thread(work)
    finally:
        store.close()


async def test_old_partial_tiles_and_proofs_are_cleared_away(tmp_path: Path) -> None:
    """What nobody can be asking for goes; tiles, the head and the present proof stay."""
    async with real_world(tmp_path) as world:
        await world.register(MPI)
        public = world.directory / PUBLIC
        store = Store(world.settings.place(world.directory))
        for number in range(300):
            store.append_log(b'{"kind":"act","n":%d}' % number)
        store.close()
        await world.register(MOF)
        for path in public.rglob("*"):
            if path.is_file():
                os.utime(path, (0, 0))
        await asyncio.to_thread(world.running.registrar.prune)
        left = sorted(str(path.relative_to(public / "log")) for path in (public / "log").rglob("*"))
        assert not [name for name in left if name.startswith("tile/0/000.p/")]
        assert "tile/0/000" in left
        assert "checkpoint" in left
        assert [name for name in left if name.startswith("state/")] == ["state/3.tlog-proof"]
        assert parse_state((await asyncio.to_thread(published_log, world))[1][-1]) is not None
