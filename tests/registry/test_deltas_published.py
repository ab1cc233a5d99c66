"""What a registry publishes of changes in its long roles."""

from __future__ import annotations

import os
import time
from pathlib import Path

from exchange.registry.deltas import apply_delta
from registry.publication.ceremony import PUBLIC
from registry.publication.tree import KEEP
from tests.registry.simulator import MOF, MPI
from tests.registry.world import World


def published(public: Path) -> list[Path]:
    return list(public.rglob("*.json*"))


async def test_each_delta_leads_from_one_published_version_to_the_next(world: World) -> None:
    """After a registration and a change, deltas of both long roles lead to the published bytes."""
    for name in ("Ministry", "Another name"):
        for member in (MPI, MOF):
            await world.register(member, name)
    public = world.directory / PUBLIC
    found = sorted(public.glob("deltas/*/*.json"))
    assert {path.parent.name for path in found} == {"snapshot", "targets"}
    for path in found:
        role, version = path.parent.name, int(path.stem)
        old, new = (public / f"metadata/{one}.{role}.json" for one in (version - 1, version))
        assert apply_delta(old.read_bytes(), path.read_bytes()) == new.read_bytes()


async def test_the_last_deltas_stay(world: World) -> None:
    """Pruning takes old metadata and leaves the deltas that lead to what is published."""
    for name in ("Ministry", "Another name"):
        for member in (MPI, MOF):
            await world.register(member, name)
    public = world.directory / PUBLIC
    deltas = sorted(public.glob("deltas/*/*"))
    assert deltas
    old = time.time() - KEEP.total_seconds() - 60
    foreign = public / "deltas/snapshot/99.json"
    foreign.write_bytes(b"[]")
    for path in published(public):
        os.utime(path, (old, old))
    assert await world.call(world.running.registrar.prune) > 0
    assert sorted(public.glob("deltas/*/*")) == deltas
