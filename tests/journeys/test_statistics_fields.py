"""Counting by a statistics field through two real servers, over a restart."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from mediator.archive.statistics import Question, ask
from mediator.journal.reader import JournalReader
from mediator.message.counting import FILE
from tests.world.fixtures import small_world
from tests.world.small import MPI_SERVER, PROJECTS, SmallWorld


@pytest.fixture(scope="module")
def own_world() -> Iterator[SmallWorld]:
    """A world whose provider is stopped and started."""
    with small_world() as built:
        yield built


def counted(world: SmallWorld) -> list[tuple[object, ...]]:
    return ask([JournalReader(world.mpi.journal)], Question(("service", "sector"))).rows


def test_values_are_counted_and_few_are_kept_back(own_world: SmallWorld) -> None:
    """What a schema marks is counted in answers, whether or not the agreement releases it; a value
    that came up fewer than five times is recorded only when it came up often enough, even if the
    server was stopped meanwhile. No entry that tells of it names a caller."""
    world = own_world
    for code, times in (("ROADS", 6), ("HEALTH", 2), ("P-1", 3), ("MISSING", 1)):
        for _ in range(times):
            assert world.call(f"/projects/{code}").status in {200, 404}
    world.mpi.process.stop()
    assert counted(world) == [(str(PROJECTS), "roads", 6)]
    assert b"health" in (world.mpi.journal.parent / FILE).read_bytes()
    world.world.start(MPI_SERVER)
    for _ in range(3):
        assert world.call("/projects/HEALTH").status == 200
    world.mpi.process.stop()
    assert counted(world) == [(str(PROJECTS), "health", 5), (str(PROJECTS), "roads", 6)]
    reader = JournalReader(world.mpi.journal)
    entries = [reader.entry(index) for index in range(reader.checkpoint.size)]
    told = [entry for entry in entries if b'"event":"statistics"' in entry]
    assert len(told) == 2
    assert not any(b'"client"' in entry or b'"id"' in entry for entry in told)
