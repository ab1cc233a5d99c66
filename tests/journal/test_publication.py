"""Publication under a table of faults, and recovery from every state that it can leave.

As in sunlight's ``ctlog_test.go``: each operation on the outer world is made to fail, once before
it took effect and once although it did; after each, the process goes on or dies; and then the whole
tree must verify and extend every checkpoint that was ever published or signed.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import tempfile
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from exchange.journal.entries import format_entry
from exchange.log.merkle import root_of_hashes
from exchange.log.tiles import Tile, bundles_of, tiles_of
from exchange.problems import Code, Problem
from mediator.journal import recovery, segments
from mediator.journal.intake import Committed
from mediator.journal.publication import Publisher
from mediator.journal.segments import Position
from mediator.journal.signed import FILE as SIGNED_FILE
from mediator.journal.signed import LastSigned, SqliteSignedStore
from serving.log.tiles import Edge
from tests.exchange.test_tiles import build
from tests.journal.world import (
    KEY,
    ORIGIN,
    FailingFiles,
    assert_extends,
    assert_good,
    entry,
    head_of,
    journal_in,
    until,
    write,
)

BATCHES = (3, 600)  # over the borders of tiles: the first round of these ends within a group


@dataclass
class FailingStore:
    """The compare-and-swap store, failing at a chosen swap."""

    store: SqliteSignedStore
    files: FailingFiles

    def read(self) -> LastSigned | None:
        return self.store.read()

    def swap(self, old: bytes | None, new: bytes) -> None:
        files = self.files
        files.count += 1
        fails = files.count == files.at
        if not fails or files.persisted:
            self.store.swap(old, new)
        if fails:
            raise OSError(5, "the swap was made to fail")

    def close(self) -> None:
        self.store.close()


def append(directory: Path, end: Position, count: int) -> Position:
    """What the intake does, without its thread: one durable group."""
    records = [
        segments.format_record(format_entry(entry(end.index + n)), b"") for n in range(count)
    ]
    data = b"".join((segments.format_mark(end.index, count), *records))
    path = segments.path_of(directory / "segments", 0)
    with path.open("ab") as file:
        if end.offset == 0:
            data = segments.HEADER + data
        file.write(data)
    return Position(end.index + count, 0, end.offset + len(data))


class Process:
    """One life of a publisher, from recovery to its death."""

    def __init__(
        self, directory: Path, files: FailingFiles, committed: deque[Committed] | None = None
    ) -> None:
        for name in ("log", "segments", "staging"):
            (directory / name).mkdir(parents=True, exist_ok=True)
        self.store = FailingStore(SqliteSignedStore(directory / SIGNED_FILE), files)
        try:
            found = recovery.recover(directory, ORIGIN, KEY, self.store, files)
        except BaseException:
            self.store.close()
            raise
        self.durable = found.durable
        self.publisher = Publisher(
            directory, files, self.store, ORIGIN, KEY, found.edge, found.published,
            found.signed, None, committed,
        )  # fmt: skip

    def publish(self) -> None:
        self.publisher.publish(self.durable)
        self.publisher.publish(self.durable, whole=True)

    def die(self) -> None:
        self.store.close()


def published(directory: Path) -> set[bytes]:
    """Every checkpoint that anybody could have seen by now."""
    notes = set()
    path = directory / "log" / "checkpoint"
    if path.exists():
        notes.add(path.read_bytes())
    last = SqliteSignedStore(directory / SIGNED_FILE)
    stored = last.read()
    last.close()
    return notes | ({stored.current} if stored else set())


def play(directory: Path, files: FailingFiles, goes_on: bool) -> None:
    """Write and publish in batches; at a fault go on or start anew; check after every step."""
    seen: set[bytes] = set()
    process: Process | None = None
    for size in BATCHES:
        while process is None:
            try:
                process = Process(directory, files)
            except OSError:
                seen |= published(directory)
        process.durable = append(directory, process.durable, size)
        done = False
        while not done:
            try:
                process.publish()
                done = True
            except OSError:
                seen |= published(directory)
                if not goes_on:
                    process.die()
                    process = Process(directory, files)
        seen |= published(directory)
        assert_good(directory, process.durable.index)
        assert_extends(directory, seen)
    assert process is not None
    process.die()


@pytest.fixture
def memory(tmp_path: Path) -> Iterator[Path]:
    """A folder in memory where there is one: the faults are made, so the disk need not be real."""
    shared = Path("/dev/shm")
    with tempfile.TemporaryDirectory(
        dir=shared if os.access(shared, os.W_OK) else tmp_path
    ) as name:
        yield Path(name)


def operations(directory: Path) -> int:
    files = FailingFiles()
    play(directory, files, goes_on=True)
    return files.count


@pytest.mark.parametrize("goes_on", [True, False], ids=["retries", "dies"])
@pytest.mark.parametrize("persisted", [False, True], ids=["failed", "persisted"])
def test_every_operation_may_fail(memory: Path, persisted: bool, goes_on: bool) -> None:
    """Whatever fails and however, the tree verifies and extends every checkpoint ever seen."""
    total = operations(memory / "none")
    assert total > 30
    for at in range(1, total + 1):
        play(memory / str(at), FailingFiles(at=at, persisted=persisted), goes_on)


def test_under_load_a_round_ends_with_a_full_bundle(memory: Path) -> None:
    """More than a bundle is published without partial tiles; the next start goes on from there."""
    process = Process(memory, FailingFiles())
    process.durable = append(memory, process.durable, 700)
    process.publisher.publish(process.durable)
    assert process.publisher.size == 512
    assert not list((memory / "log").rglob("entries/*.p/*"))
    process.die()
    assert assert_good(memory, 512).unpublished == 188
    process = Process(memory, FailingFiles())
    assert process.publisher.size == 512
    process.durable = append(memory, process.durable, 100)
    process.publisher.publish(process.durable)
    assert process.publisher.size == 768
    process.publisher.publish(process.durable)
    process.die()
    assert_good(memory, 800)


def test_lost_tiles_of_a_round_that_ended_within_a_group(memory: Path) -> None:
    """Deriving the tree anew takes exactly the records that were published."""
    process = Process(memory, FailingFiles())
    process.durable = append(memory, process.durable, 700)
    process.publisher.publish(process.durable)
    process.die()
    shutil.rmtree(memory / "log" / "tile")
    Process(memory, FailingFiles()).die()
    assert_good(memory, 512)


@pytest.mark.parametrize("missing", [0, 1, 2])
def test_what_is_not_in_memory_is_read_back(memory: Path, missing: int) -> None:
    """Publication from memory, from the segments, and from both gives one tree."""
    committed: deque[Committed] = deque()
    process = Process(memory, FailingFiles(), committed)
    for group in range(5):
        first = process.durable.index
        process.durable = append(memory, process.durable, 60)
        entries = [format_entry(entry(number)) for number in range(first, first + 60)]
        if group != missing:
            committed.append(Committed(first, entries, process.durable))
    process.publish()
    process.die()
    assert_good(memory, 300)


@pytest.mark.parametrize("steps", [(1,), (256,), (255, 1), (1, 65_535), (70_000,), (3, 300, 513)])
def test_the_edge_gives_the_tiles_of_the_definition(steps: tuple[int, ...]) -> None:
    """However the entries arrive, the tiles and the root are those of the whole tree."""
    size = sum(steps)
    expected, leaves = build(size)
    entries = [number.to_bytes(3, "big") for number in range(size)]
    edge, found, at = Edge.empty(), dict[Tile, bytes](), 0
    for step in steps:
        edge = edge.copy()
        found.update(edge.append(entries[at : at + step]))
        at += step
    found.update(edge.partial())
    assert {tile: data for tile, data in found.items() if tile.level >= 0} == expected
    assert set(found) == {*tiles_of(size), *bundles_of(size)}
    assert edge.root() == root_of_hashes(b"".join(leaves))


async def test_the_published_files_are_exactly_those_of_the_size(tmp_path: Path) -> None:
    """In log/ are the checkpoint and the tiles of its size; older partial tiles of a tile that is
    not full yet may stay, those of a full one are gone."""
    await write(tmp_path, range(700))
    await write(tmp_path, range(700, 900))
    log = tmp_path / "log"
    names = {str(path.relative_to(log)) for path in log.rglob("*") if path.is_file()} - {
        "checkpoint"
    }
    needed = {str(tile) for tile in [*tiles_of(900), *bundles_of(900)]}
    assert needed <= names
    for name in names - needed:
        tile = Tile.parse(name)
        assert not tile.full
        assert str(Tile(tile.level, tile.index)) not in names


async def test_each_checkpoint_extends_those_before(tmp_path: Path) -> None:
    """While records come in, every checkpoint that shows up extends every earlier one."""
    seen: set[bytes] = set()
    async with journal_in(tmp_path) as journal:
        number = 0
        while number < 400 or len(seen) < 3:  # of a quick disk a checkpoint has more
            await journal.record(entry(number), entry(number).client.member)  # type: ignore[union-attr]
            number += 1
            path = tmp_path / "log" / "checkpoint"
            if path.exists():
                seen.add(path.read_bytes())
    assert_extends(tmp_path, seen)


async def test_a_second_signer_is_noticed(tmp_path: Path) -> None:
    """When the store holds another checkpoint than this process signed, it signs no more."""
    await write(tmp_path, range(2))
    async with journal_in(tmp_path) as journal:
        with sqlite3.connect(tmp_path / SIGNED_FILE) as other:
            other.execute("UPDATE signed SET current = x'00'")
        other.close()
        before = head_of(tmp_path)
        await journal.record(entry(2), entry(2).client.member)  # type: ignore[union-attr]
        await until(lambda: journal.healthy is not None)
        assert journal.healthy is not None
        assert journal.healthy.code is Code.JOURNAL_FORKED
        assert head_of(tmp_path) == before


def test_the_store_swaps_only_what_it_holds(tmp_path: Path) -> None:
    """Compare and swap: another old value is refused, the one before the last is kept."""
    store = SqliteSignedStore(tmp_path / SIGNED_FILE)
    assert store.read() is None
    with pytest.raises(Problem):
        store.swap(b"a", b"b")
    store.swap(None, b"a")
    with pytest.raises(Problem) as caught:
        store.swap(None, b"b")
    assert caught.value.code is Code.JOURNAL_FORKED
    store.swap(b"a", b"b")
    store.close()
    again = SqliteSignedStore(tmp_path / SIGNED_FILE)
    assert again.read() == LastSigned(b"b", b"a")
    again.close()
