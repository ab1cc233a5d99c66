"""Recovery: torn tails are cut, damage and forks are refused, tiles are derived anew."""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from exchange.journal.entries import parse_entry
from exchange.problems import Code, Problem
from mediator.journal import segments
from mediator.journal.log import JournalSettings
from mediator.journal.reader import JournalReader
from mediator.journal.signed import FILE as SIGNED_FILE
from mediator.journal.verify import verify
from tests.journal.world import (
    MPI,
    STILL,
    assert_extends,
    assert_good,
    entry,
    journal_in,
    part,
    write,
)

ROOT = Path(__file__).parents[2]
SEGMENT = "segments/00000000000000000000.seg"


async def refusal(directory: Path) -> Problem:
    """The problem with which the journal refuses to open; nothing of it may have changed."""
    before = contents(directory)
    with pytest.raises(Problem) as caught:
        async with journal_in(directory):
            pass
    assert contents(directory) == before
    return caught.value


def contents(directory: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(directory)): path.read_bytes()
        for path in sorted(directory.rglob("*"))
        if path.is_file() and path.suffix not in {".sqlite", ".lock"} and "-" not in path.name
    }


async def test_a_torn_tail_is_cut_at_every_byte(tmp_path: Path) -> None:
    """Whatever part of the last group a crash left, the journal opens with the groups before it."""
    original = tmp_path / "original"
    await write(original, range(3))
    published = (original / SEGMENT).stat().st_size
    end = segments.find_end(original / "segments", 0)[0]
    async with journal_in(original, STILL) as journal:
        await journal.record(entry(3), MPI, part(3))
        last = segments.find_end(original / "segments", 0)[0]
        whole = (original / SEGMENT).read_bytes()[: last.offset]
        copy = tmp_path / "copy"
        shutil.copytree(original, copy)
    assert end.offset == published
    for size in [*range(published, len(whole), 41), len(whole) - 1]:
        (copy / SEGMENT).write_bytes(whole[:size])
        async with journal_in(copy, STILL) as journal:
            assert journal.size == 3
        assert (copy / SEGMENT).stat().st_size == published
    (copy / SEGMENT).write_bytes(whole)
    async with journal_in(copy) as journal:
        assert journal.size == 4
    assert_good(copy, 4)


async def test_a_crash_leaves_a_segment_that_was_written_ahead(tmp_path: Path) -> None:
    """Zeros that no group used are cut off at the next start, and the journal goes on there."""
    async with journal_in(tmp_path / "original", STILL) as journal:
        for number in range(3):
            await journal.record(entry(number), MPI, part(number))
        shutil.copytree(tmp_path / "original", tmp_path / "copy")
    copy = tmp_path / "copy"
    end = segments.find_end(copy / "segments", 0)[0]
    assert (copy / SEGMENT).stat().st_size == 1 << 20
    assert not any((copy / SEGMENT).read_bytes()[end.offset :])
    async with journal_in(copy) as journal:
        assert journal.size == 3
        assert (copy / SEGMENT).stat().st_size == end.offset
        await journal.record(entry(3), MPI, part(3))
    assert_good(copy, 4)


async def test_zeros_behind_the_tail_are_cut(tmp_path: Path) -> None:
    """Some file systems leave zeros where a write was cut short: they are no records."""
    await write(tmp_path, range(2))
    with (tmp_path / SEGMENT).open("ab") as file:
        file.write(bytes(10_000))
    await write(tmp_path, range(2, 4))
    assert_good(tmp_path, 4)


async def test_an_empty_new_segment_is_used(tmp_path: Path) -> None:
    """A crash right after a new segment was made leaves an empty file, which is gone on with."""
    await write(tmp_path, range(3))
    segments.path_of(tmp_path / "segments", 3).touch()
    await write(tmp_path, range(3, 5))
    assert segments.segments_in(tmp_path / "segments") == [0, 3]
    assert_good(tmp_path, 5)


async def test_damage_before_later_groups_is_no_torn_tail(tmp_path: Path) -> None:
    """A broken record with whole groups behind it was durable once: nothing is cut."""
    async with journal_in(tmp_path, STILL) as journal:
        await journal.record(entry(0), MPI)
        copy = tmp_path.parent / "copy"
        for number in range(1, 4):
            await journal.record(entry(number), MPI)
        shutil.copytree(tmp_path, copy)
    record = segments.find_record(copy / "segments", 1)
    assert record is not None
    flip(copy / SEGMENT, record.offset + 20)
    problem = await refusal(copy)
    assert problem.code is Code.JOURNAL_CORRUPT
    assert problem.facts["index"] == 1


def flip(path: Path, at: int, bits: int = 1) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= bits
    path.write_bytes(data)


async def test_segments_that_end_before_the_published_size_are_refused(tmp_path: Path) -> None:
    """A journal that lost published records must not sign again."""
    await write(tmp_path, range(10))
    data = (tmp_path / SEGMENT).read_bytes()
    for size in (len(data) - 1, len(data) // 2, 20, 0):
        (tmp_path / SEGMENT).write_bytes(data[:size])
        assert (await refusal(tmp_path)).code is Code.JOURNAL_FORKED
    (tmp_path / SEGMENT).unlink()
    assert (await refusal(tmp_path)).code is Code.JOURNAL_FORKED


async def test_an_older_published_checkpoint_is_refused(tmp_path: Path) -> None:
    """log/ set back to an old copy, or emptied, contradicts the store: refused."""
    checkpoint = tmp_path / "log" / "checkpoint"
    await write(tmp_path, range(3))
    old = checkpoint.read_bytes()
    for number in range(3, 6):
        await write(tmp_path, [number])
    now = checkpoint.read_bytes()
    checkpoint.write_bytes(old)
    assert (await refusal(tmp_path)).code is Code.JOURNAL_FORKED
    checkpoint.unlink()
    assert (await refusal(tmp_path)).code is Code.JOURNAL_FORKED
    checkpoint.write_bytes(now)
    await write(tmp_path, [6])
    assert_good(tmp_path, 7)


async def test_a_journal_set_back_whole_but_for_the_store_is_refused(tmp_path: Path) -> None:
    """Restoring an old copy of log/ and segments/ without the store does not fork the log."""
    live, backup = tmp_path / "live", tmp_path / "backup"
    await write(live, range(3))
    shutil.copytree(live, backup)
    await write(live, range(3, 6))
    await write(live, range(6, 8))
    for name in ("log", "segments"):
        shutil.rmtree(live / name)
        shutil.copytree(backup / name, live / name)
    assert (await refusal(live)).code is Code.JOURNAL_FORKED


async def test_a_lost_store_is_refused(tmp_path: Path) -> None:
    """Without the store of the last signed checkpoint nothing is signed."""
    await write(tmp_path, range(3))
    (tmp_path / SIGNED_FILE).unlink()
    assert (await refusal(tmp_path)).code is Code.JOURNAL_FORKED


async def test_a_crash_between_signing_and_publishing_is_made_up_for(tmp_path: Path) -> None:
    """log/checkpoint one behind the store is what a crash leaves: the next start publishes it."""
    checkpoint = tmp_path / "log" / "checkpoint"
    async with journal_in(tmp_path) as journal:
        await journal.record(entry(0), MPI)
    before = checkpoint.read_bytes()
    async with journal_in(tmp_path, STILL) as journal:
        await journal.record(entry(1), MPI)
    now = checkpoint.read_bytes()
    checkpoint.write_bytes(before)
    async with journal_in(tmp_path, STILL):
        pass
    assert checkpoint.read_bytes() == now
    assert_good(tmp_path, 2)


async def test_other_records_of_the_same_number_are_refused(tmp_path: Path) -> None:
    """Segments of another history do not give the signed root."""
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    await write(ours, range(5))
    await write(theirs, range(5, 10))
    shutil.copy(theirs / SEGMENT, ours / SEGMENT)
    assert (await refusal(ours)).code is Code.JOURNAL_FORKED


async def test_lost_and_damaged_tiles_are_derived_anew(tmp_path: Path) -> None:
    """The segments hold everything: tiles that are missing or wrong at the edge are made again."""
    settings = JournalSettings(publish_interval_s=0.02, segment_max_bytes=65_536)
    await write(tmp_path, range(600), settings=settings)
    shutil.rmtree(tmp_path / "log" / "tile")
    await write(tmp_path, range(600, 610), settings=settings)
    assert_good(tmp_path, 610)
    for path in (tmp_path / "log" / "tile").rglob("*.p/*"):
        flip(path, 3)
    await write(tmp_path, range(610, 620), settings=settings)
    assert_good(tmp_path, 620)


async def test_a_damaged_store_is_said(tmp_path: Path) -> None:
    """A store that is no database any more is refused, not made anew."""
    await write(tmp_path, range(2))
    (tmp_path / SIGNED_FILE).write_bytes(b"x" * 5000)
    with pytest.raises(Problem) as caught:
        async with journal_in(tmp_path):
            pass
    assert caught.value.code is Code.JOURNAL_CORRUPT


CHILD = """
import asyncio, sys
from pathlib import Path
from mediator.journal.log import JournalSettings
from tests.journal.world import MPI, entry, part, journal_in
from tests.services.saying import own_channel

async def main(directory, first):
    say = own_channel()
    settings = JournalSettings(publish_interval_s=0.01, segment_max_bytes=400_000)
    async with journal_in(directory, settings) as journal:
        numbers = iter(range(first, first + 10**9))
        async def producer():
            for number in numbers:
                receipt = await journal.record(entry(number), MPI, part(number))
                say(f"{receipt.index} {number}")
        await asyncio.gather(*(producer() for _ in range(32)))

asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2])))
"""


def test_kill_9_loses_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    """Killed at random moments, the journal has every acknowledged record at its index after the
    next start, and its tree extends every checkpoint ever seen."""
    directory = tmp_path / "journal"
    script = tmp_path / "child.py"
    script.write_text(CHILD)
    source = random.Random(9)
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    acknowledged: dict[int, int] = {}
    notes: set[bytes] = set()
    checkpoint = directory / "log" / "checkpoint"
    for round_ in range(6):
        command = [sys.executable, str(script), str(directory), str(round_ * 10**6)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment) as child:
            assert child.stdout is not None
            first = child.stdout.readline()  # it is up
            end = time.monotonic() + source.uniform(0.0, 0.3)
            while time.monotonic() < end:
                if checkpoint.exists():
                    notes.add(checkpoint.read_bytes())
                time.sleep(0.003)
            child.send_signal(signal.SIGKILL)
            lines = (first + child.stdout.read()).decode().splitlines()
        for line in lines:
            index, number = map(int, line.split())
            assert index not in acknowledged
            acknowledged[index] = number
    asyncio.run(write(directory, [7 * 10**6]))
    verdict = assert_good(directory)
    assert verdict.opened == verdict.size > len(acknowledged) > 50
    assert_extends(directory, notes)
    reader = JournalReader(directory)
    for index, number in acknowledged.items():
        assert parse_entry(reader.entry(index)).id == f"LA-{number}"
    assert verify(directory, known=max(notes, key=len)).good
