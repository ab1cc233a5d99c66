"""A disk that fails: nobody is told "recorded" for nothing, and work goes on when it can."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import ClassVar

import pytest

from exchange.journal.entries import parse_entry
from exchange.problems import Code, Problem
from mediator.journal import segments
from mediator.journal.log import Journal, JournalSettings
from mediator.journal.reader import JournalReader
from serving.log.files import RealFiles
from tests.journal.world import (
    MPI,
    STILL,
    FailingFiles,
    assert_good,
    entry,
    journal_in,
    part,
    until,
)

ROOT = Path(__file__).parents[2]


async def healed(journal: Journal) -> None:
    await until(lambda: journal.healthy is None)


@pytest.mark.parametrize("persisted", [False, True])
@pytest.mark.parametrize("operation", ["write", "sync", "open"])
async def test_a_group_fails_whole(tmp_path: Path, operation: str, persisted: bool) -> None:
    """When write or sync fails, the whole group is refused, nothing of it stays, and the journal
    accepts again after a probe; acknowledged records are there, refused ones are not."""
    files = FailingFiles(persisted=persisted, code=errno.ENOSPC)
    async with journal_in(tmp_path, STILL, files=files) as journal:
        if operation != "open":
            await journal.record(entry(0), MPI, part(0))
        files.operation = operation
        results = await asyncio.gather(
            *(journal.record(entry(n), MPI, part(n)) for n in range(1, 20)), return_exceptions=True
        )
        for result in results:
            assert isinstance(result, Problem)
            assert result.code is Code.LOGGING_FAILED
            assert result.facts["errno"] == "ENOSPC"
        assert journal.healthy is not None
        with pytest.raises(Problem) as caught:
            await journal.record(entry(20), MPI, part(20))
        assert caught.value.code is Code.LOGGING_FAILED
        files.operation = None
        await healed(journal)
        await journal.record(entry(21), MPI, part(21))
    kept = [0, 21] if operation != "open" else [21]
    assert_good(tmp_path, len(kept))
    reader = JournalReader(tmp_path)
    assert [parse_entry(reader.entry(n)).id for n in range(len(kept))] == [f"LA-{n}" for n in kept]


@pytest.mark.parametrize("persisted", [False, True])
async def test_a_failed_cut_is_made_up_for(tmp_path: Path, persisted: bool) -> None:
    """When even cutting back fails, the remains of the group are gone before the next one."""
    files = FailingFiles(persisted=persisted)
    async with journal_in(tmp_path, STILL, files=files) as journal:
        await journal.record(entry(0), MPI)
        cut = FailingFiles.truncate
        files.operation = "sync"
        files.truncate = lambda *_: (_ for _ in ()).throw(OSError(5, "no"))  # type: ignore[method-assign]
        with pytest.raises(Problem):
            await journal.record(entry(1), MPI, part(1))
        await asyncio.sleep(0.1)
        assert journal.healthy is not None
        files.operation = None
        files.truncate = cut.__get__(files)  # type: ignore[method-assign]
        await healed(journal)
        await journal.record(entry(2), MPI)
    assert_good(tmp_path, 2)


async def test_probes_are_rare(tmp_path: Path) -> None:
    """A sick disk is tried at most once in each interval, however many want to record."""
    files = FailingFiles(operation="sync")
    settings = STILL.__class__(publish_interval_s=1000, probe_interval_s=0.1)
    async with journal_in(tmp_path, settings, files=files) as journal:
        with pytest.raises(Problem):
            await journal.record(entry(0), MPI)
        time = asyncio.get_running_loop().time
        before, begun = files.log.count("sync"), time()
        while time() < begun + 0.35:
            with pytest.raises(Problem):
                await journal.record(entry(0), MPI)
            await asyncio.sleep(0.001)
        probes = files.log.count("sync") - before
        assert probes <= (time() - begun) / 0.1 + 1  # more than 0.35 s where the machine was slow
        files.operation = None
        await healed(journal)


async def test_a_failing_publication_is_said_and_made_up_for(tmp_path: Path) -> None:
    """When tiles cannot be written, records go on, healthy says so, and all is published later."""
    files = FailingFiles(operation="rename", code=errno.ENOSPC)
    settings = STILL.__class__(publish_interval_s=0.02)
    files.operation = None
    async with journal_in(tmp_path, settings, files=files) as journal:
        files.operation = "rename"
        await journal.record(entry(0), MPI)
        await until(lambda: journal.healthy is not None)
        await journal.record(entry(1), MPI)
        assert journal.published_size == 0
        files.operation = None
        await healed(journal)
        await until(lambda: journal.published_size == 2)  # a round of the first alone may be on
    assert_good(tmp_path, 2)


class AlmostFull(RealFiles):
    """A disk that takes small writes only."""

    def write_durably(self, descriptor: int, data: bytes, offset: int) -> None:
        if len(data) > 100_000:
            super().write_durably(descriptor, data[:50_000], offset)
            raise OSError(errno.ENOSPC, "No space left on device")
        super().write_durably(descriptor, data, offset)


async def test_a_record_that_still_fits_is_taken(tmp_path: Path) -> None:
    """A disk without room to write ahead refuses no record that it has room for."""
    async with journal_in(tmp_path, STILL, files=AlmostFull()) as journal:
        for number in range(20):
            await journal.record(entry(number), MPI, part(number))
        assert journal.healthy is None
    assert_good(tmp_path, 20)


async def test_a_segment_ends_with_its_last_group(tmp_path: Path) -> None:
    """Nothing that was written ahead stays when the next segment begins or the journal closes."""
    settings = JournalSettings(publish_interval_s=1000, segment_max_bytes=8192)
    folder = tmp_path / "segments"
    async with journal_in(tmp_path, settings) as journal:
        for number in range(30):
            await journal.record(entry(number), MPI, part(number))
        *ended, current = segments.segments_in(folder)
        assert len(ended) >= 2
        assert segments.path_of(folder, current).stat().st_size >= 8192
        for first in ended:
            assert segments.find_end(folder, first)[1] is None
    assert segments.find_end(folder, current)[1] is None
    assert_good(tmp_path, 30)


class OldKernel(RealFiles):
    """A kernel or file system that knows no durable write in one call."""

    calls: ClassVar[list[str]] = []

    def write(self, descriptor: int, data: bytes, offset: int) -> None:
        self.calls.append("write")
        super().write(descriptor, data, offset)

    def sync(self, descriptor: int) -> None:
        self.calls.append("sync")
        super().sync(descriptor)


def test_a_durable_write_where_the_kernel_has_none(tmp_path: Path) -> None:
    """It falls back to write and sync, and does not try again; the flag of a foreign bit is what
    a kernel refuses that does not know it."""
    files = OldKernel()
    OldKernel._dsync = 1 << 30
    descriptor = files.open(tmp_path / "file")
    try:
        files.write_durably(descriptor, b"abc", 0)
        assert OldKernel._dsync == 0
        files.write_durably(descriptor, b"def", 3)
    finally:
        os.close(descriptor)
    assert files.calls == ["write", "sync"] * 2
    assert (tmp_path / "file").read_bytes() == b"abcdef"


CHILD = """
import asyncio, json, sys
from pathlib import Path
from exchange.problems import Problem
from mediator.journal.log import JournalSettings
from mediator.journal.reader import JournalReader
from tests.journal.world import MPI, entry, part, journal_in, until
from mediator.journal.verify import verify

async def main(directory, ballast):
    settings = JournalSettings(publish_interval_s=0.05, probe_interval_s=0.05)
    refused, kept, number = [], [], 0
    async with journal_in(directory, settings) as journal:
        async def one(number):
            try:
                await journal.record(entry(number), MPI, part(number))
                kept.append(number)
            except Problem as problem:
                refused.append((problem.code.value, problem.facts.get("errno")))
        while not refused:
            await asyncio.gather(*(one(number + n) for n in range(50)))
            number += 50
        sick = journal.healthy is not None
        await one(10**6)
        at_once = refused[-1]
        FREE
        await until(lambda: journal.healthy is None)
        before = len(kept)
        await one(10**6 + 1)
        again = len(kept) - before
    verdict = verify(directory)
    reader = JournalReader(directory)
    ids = [json.loads(reader.entry(n))["id"] for n in range(reader.checkpoint.size)]
    print(json.dumps({"first": refused[0], "at_once": at_once, "sick": sick, "again": again,
        "findings": [str(f) for f in verdict.findings], "size": verdict.size,
        "kept": [f"LA-{n}" for n in sorted(kept)] == sorted(ids, key=lambda i: int(i[3:]))}))

asyncio.run(main(Path(sys.argv[1]), Path(sys.argv[2])))
"""


def outcome(command: list[str]) -> dict[str, object]:
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    found: dict[str, object] = json.loads(done.stdout.splitlines()[-1])
    return found


def expected(result: dict[str, object], code: str) -> None:
    assert result["first"] == ["LoggingFailed", code]
    assert result["at_once"] == ["LoggingFailed", code]
    assert result["sick"] is True
    assert result["again"] == 1
    assert result["findings"] == []
    assert result["kept"] is True


def test_a_disk_that_is_really_full(tmp_path: Path) -> None:
    """On a full file system records are refused; when room is made, they go on by themselves."""
    mount = tmp_path / "small"
    mount.mkdir()
    free = "ballast.unlink()"
    script = tmp_path / "child.py"
    script.write_text(CHILD.replace("FREE", free))
    shell = (
        f"mount -t tmpfs -o size=4m tmpfs {mount} && "
        f"dd if=/dev/zero of={mount}/ballast bs=1M count=2 status=none && "
        f"PYTHONPATH={ROOT} exec {sys.executable} {script} {mount}/journal {mount}/ballast"
    )
    command = ["unshare", "--mount", "sh", "-c", shell]
    probe = ["unshare", "--mount", "mount", "-t", "tmpfs", "tmpfs", str(mount)]
    try:
        allowed = subprocess.run(probe, capture_output=True, timeout=10).returncode == 0
    except FileNotFoundError:
        allowed = False
    if not allowed:
        pytest.skip("no mount namespace for this user; the limit on file sizes is tested instead")
    expected(outcome(command), "ENOSPC")


def test_a_file_that_must_not_grow(tmp_path: Path) -> None:
    """A limit on the size of files makes real writes fall short: the group is refused whole."""
    limit = "import resource, signal\nsignal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
    limit += "hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]\n"
    limit += "resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, hard))\n"
    free = "resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))"
    script = tmp_path / "child.py"
    script.write_text(limit + CHILD.replace("FREE", free))
    command = ["env", f"PYTHONPATH={ROOT}", sys.executable, str(script)]
    expected(outcome([*command, str(tmp_path / "journal"), "-"]), "EFBIG")
