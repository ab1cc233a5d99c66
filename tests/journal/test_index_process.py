"""The index of a busy journal is kept by a process of its own: whatever becomes of it, the index
has every entry, once."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from time import monotonic, sleep

import orjson
import pytest

from mediator.journal.index import FILE, IndexReader, IndexWriter, Query, keeper
from mediator.journal.index.keeper import IndexKeeper
from mediator.journal.keyring import DEFAULT_DAYS
from serving.log.tiles import TileFolder
from tests.journal.world import MPI, ORIGIN, QUICK, START, entry, journal_in, part, until, write

SIZE = 600


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> TileFolder:
    """A published log of so many entries."""
    directory = tmp_path_factory.mktemp("followed")
    asyncio.run(write(directory, range(SIZE)))
    return TileFolder(directory / "log")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / FILE


@pytest.fixture
def kept(path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[IndexKeeper]:
    """An index for which 100 entries at once are many."""
    monkeypatch.setattr(keeper, "MUCH", 100)
    monkeypatch.setattr(keeper, "MUCH_PER_S", 0)
    index = IndexKeeper(path)
    yield index
    index.close()


def wait(holds: Callable[[], bool]) -> None:
    until = monotonic() + 30
    while not holds():
        assert monotonic() < until
        sleep(0.01)


def followed(index: IndexKeeper, folder: TileFolder, size: int) -> Callable[[], bool]:
    def holds() -> bool:
        index.catch_up(folder, size)
        return index.size == size

    return holds


def assert_whole(path: Path, size: int) -> None:
    reader = IndexReader.open(path, ORIGIN)
    try:
        assert reader.size == size
        assert [hit.index for hit in reader.search(Query(), size + 1)] == [*range(size - 1, -1, -1)]
        assert reader.of_message("LA-7") == [7]
        assert reader.of_message(f"LA-{size - 1}") == [size - 1]
    finally:
        reader.close()


def test_little_is_added_at_once_and_much_by_a_process(
    kept: IndexKeeper, folder: TileFolder, path: Path
) -> None:
    """Few entries are in the index when the call returns; many are added by a process, which takes
    the few that follow too; closing waits for it."""
    kept.catch_up(folder, 90)
    assert (kept.process, kept.size) == (None, 90)
    kept.add(90, [b"not looked at"] * 410)
    kept.catch_up(folder, 500)
    assert kept.process is not None
    wait(followed(kept, folder, 500))
    kept.catch_up(folder, SIZE)
    kept.close()
    assert kept.process is None
    assert_whole(path, SIZE)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_a_process_that_is_killed_or_stands_still(
    kept: IndexKeeper,
    folder: TileFolder,
    path: Path,
    number: signal.Signals,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Publication goes on by itself when it is gone, and does not wait when it stands still: then
    the next start catches up."""
    monkeypatch.setattr(keeper, "CLOSE_S", 0.2)
    kept.catch_up(folder, 300)
    wait(followed(kept, folder, 300))
    assert kept.process is not None
    os.kill(kept.process, number)
    if number is signal.SIGKILL:
        wait(lambda: followed(kept, folder, 500)() and kept.process is None)
    begun = monotonic()
    kept.catch_up(folder, SIZE)
    kept.close()
    assert monotonic() - begun < 20
    again = IndexWriter(path)
    again.catch_up(folder, SIZE)
    again.close()
    assert_whole(path, SIZE)


def test_a_process_that_outlives_its_server_adds_nothing_twice(
    folder: TileFolder, path: Path
) -> None:
    """Somebody else added entries meanwhile: what was meant to be added is not, the index is not
    made anew for it, and the next call goes on behind them."""
    ours = IndexWriter(path)
    entries = [data for _, data in folder.entries(0, SIZE, SIZE)]
    ours.add(0, entries[:100])
    others = IndexWriter(path)
    others.catch_up(folder, 400)
    others.close()
    with pytest.raises(OSError, match="another process"):
        ours.add(100, entries[100:200])
    ours.catch_up(folder, SIZE)
    ours.close()
    assert_whole(path, SIZE)


def test_the_process_ends_with_its_server(folder: TileFolder, path: Path) -> None:
    """When nobody can tell it anything any more, it ends by itself."""
    order = {"folder": str(folder.directory), "index": str(path)}
    process = subprocess.Popen(
        [sys.executable, "-m", "mediator.journal.index"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    said, _ = process.communicate(orjson.dumps(order) + b"\n%d\n" % SIZE, timeout=30)
    assert (process.returncode, said.split()[-1]) == (0, b"%d" % SIZE)
    assert_whole(path, SIZE)


async def test_a_busy_journal_is_indexed_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Recording goes on while a process keeps the index; after the close it has everything."""
    monkeypatch.setattr(keeper, "MUCH", 10)
    monkeypatch.setattr(keeper, "MUCH_PER_S", 0)
    async with journal_in(tmp_path, QUICK) as journal:
        await asyncio.to_thread(journal._keyring.make, MPI, START, DEFAULT_DAYS)  # all in order
        for start in range(0, SIZE, 200):
            await asyncio.gather(
                *[
                    journal.record(entry(number), MPI, part(number))
                    for number in range(start, start + 200)
                ]
            )
            await until(lambda: journal.published_size == journal.size)
        assert journal.healthy is None
    assert_whole(tmp_path / FILE, SIZE)
