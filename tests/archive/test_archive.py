"""The archive in a folder: what goes there, what it is good for, and what a failure leaves."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import shutil
from pathlib import Path

import pytest

from exchange.problems import Code, Problem
from mediator.archive.archiver import STATE, archiving
from mediator.archive.manifests import last_manifest, name_of
from mediator.archive.restore import check_archive, restore
from mediator.archive.stores import FolderStore
from mediator.journal.holdings import Holdings
from mediator.journal.log import JournalSettings
from mediator.journal.reader import JournalReader
from mediator.journal.segments import segments_in
from tests.archive.world import (
    FailingStore,
    ForgettingStore,
    archive,
    files_below,
    fill,
    flip,
)
from tests.journal.world import MPI, FailingFiles, assert_good, entry, journal_in, until

SIZE = 700
"""Two full bundles and a partial one, in about ten segments."""


@pytest.fixture
async def journal(tmp_path: Path) -> Path:
    await fill(tmp_path / "journal", 0, SIZE)
    return tmp_path / "journal"


@pytest.fixture
def store(tmp_path: Path) -> FolderStore:
    return FolderStore(tmp_path / "archive")


async def test_an_archive_verifies_like_a_journal(journal: Path, store: FolderStore) -> None:
    """An archive verifies by itself; it says from which entry on it has no sealed parts."""
    outcome = archive(journal, store)
    verdict = assert_good(store.folder, SIZE)
    closed = max(first for first in segments_in(journal / "segments") if first <= SIZE - SIZE % 256)
    assert outcome.manifest.segments == Holdings.read(store.folder).segments_until == closed
    assert verdict.sealed == closed
    assert verdict.opened == 0
    assert not (store.folder / "keys").exists()
    assert check_archive(store) == outcome.manifest
    reader = JournalReader(store.folder)
    assert reader.entry(300) == JournalReader(journal).entry(300)
    with pytest.raises(Problem) as raised:
        reader.ciphertext(SIZE - 1)
    assert raised.value.code is Code.NOT_FOUND


async def test_a_run_archives_what_is_new(journal: Path, store: FolderStore) -> None:
    """Nothing that was archived is put again; without anything new nothing is put at all."""
    first = archive(journal, store)
    before = files_below(store.folder)
    again = archive(journal, store)
    assert (again.batches, again.objects, again.manifest) == (0, 0, first.manifest)
    assert files_below(store.folder) == before
    await fill(journal, SIZE, SIZE + 300)
    second = archive(journal, store)
    assert second.manifest.number == first.manifest.number + 1
    assert {each.name for each in second.manifest.objects}.isdisjoint(
        each.name for each in first.manifest.objects if "/tile/" in each.name
    )
    after = files_below(store.folder)
    changed = {name for name in before if before[name] != after[name]}
    assert changed == {"log/checkpoint", "holdings.json", "anchors.sqlite"}
    assert_good(store.folder, SIZE + 300)


async def test_a_restored_journal_is_the_one_that_was_archived(
    journal: Path, store: FolderStore, tmp_path: Path
) -> None:
    """A restored folder has the archived bytes and verifies; a broken-off restoration goes on."""
    archive(journal, store)
    target = tmp_path / "restored"
    restore(store, target)
    assert_good(target, SIZE)
    whole = files_below(target)
    kept = files_below(store.folder)
    assert whole == {name: kept[name] for name in kept if not name.startswith("manifests/")}
    flip(target / "log/tile/entries/001")
    (target / "log/tile/0/000").unlink()
    restore(store, target)
    assert files_below(target) == whole


async def test_a_lost_note_is_found_again(journal: Path, store: FolderStore) -> None:
    """Without archive.json the archive itself says where to go on, however many batches it has."""
    for more in range(3):
        archive(journal, store)
        await fill(journal, SIZE + more, SIZE + more + 1)
    last = archive(journal, store).manifest
    (journal / STATE).unlink()
    assert archive(journal, store).manifest == last
    assert last_manifest(store) == last
    assert last.number == 3


@pytest.mark.parametrize("how", ["before", "after", "damaged", "read"])
async def test_every_step_may_fail(journal: Path, tmp_path: Path, how: str) -> None:
    """Whatever step of a run fails, what is committed is right, and the next run ends the work."""
    count = FailingStore(tmp_path / "whole", -1, how)
    archive(journal, count)
    expected = files_below(count.folder)
    for at in range(1, count.count + 1, 5):
        folder = tmp_path / f"archive-{at}"
        (journal / STATE).unlink(missing_ok=True)
        store = FailingStore(folder, at, how)
        if how in {"before", "after"}:
            with pytest.raises(Problem) as raised:
                archive(journal, store)
            assert raised.value.code is Code.ARCHIVE_FAILED
        else:  # what was read back wrongly is put once more
            with contextlib.suppress(Problem):
                archive(journal, store)
        if last_manifest(FolderStore(folder)) is not None:
            check_archive(FolderStore(folder))
        archive(journal, FolderStore(folder))
        assert files_below(folder) == expected
        shutil.rmtree(folder)


@pytest.mark.parametrize("persisted", [False, True])
async def test_a_full_disk_of_the_archive(journal: Path, tmp_path: Path, persisted: bool) -> None:
    """A full disk ends the run at any write, rename or sync; with room again the next completes."""
    counting = FailingFiles()
    archive(journal, FolderStore(tmp_path / "whole", counting))
    expected = files_below(tmp_path / "whole")
    for at in range(1, counting.count + 1, 17):
        (journal / STATE).unlink(missing_ok=True)
        files = FailingFiles(at=at, persisted=persisted, code=errno.ENOSPC)
        with pytest.raises(Problem) as raised:
            archive(journal, FolderStore(tmp_path / "archive", files))
        assert raised.value.code is Code.ARCHIVE_FAILED
        archive(journal, FolderStore(tmp_path / "archive"))
        assert files_below(tmp_path / "archive") == expected
        shutil.rmtree(tmp_path / "archive")


@pytest.mark.parametrize("ending", ["entries/000", ".seg", name_of(0), "log/checkpoint"])
async def test_a_store_that_damages_is_found_out(
    journal: Path, tmp_path: Path, ending: str
) -> None:
    """What the store does not give back as it was put is never taken for archived."""
    store = ForgettingStore(tmp_path / "archive", ending)
    with pytest.raises(Problem) as raised:
        archive(journal, store)
    assert raised.value.code is Code.ARCHIVE_FAILED
    assert not (journal / STATE).exists() or ending == "log/checkpoint"


async def test_damage_after_archiving_is_found(journal: Path, store: FolderStore) -> None:
    """Checking an archive reads back everything, and names what is damaged or missing."""
    archive(journal, store)
    names = [each.name for each in check_archive(store).objects]
    for name in (names[0], names[-1], next(name for name in names if name.endswith(".seg"))):
        path = store.folder / name
        whole = path.read_bytes()
        flip(path)
        with pytest.raises(Problem) as raised:
            check_archive(store)
        assert raised.value.where.endswith(name)
        path.unlink()
        with pytest.raises(Problem) as raised:
            check_archive(store)
        assert (raised.value.code, raised.value.facts["object"]) == (Code.ARCHIVE_FAILED, name)
        path.write_bytes(whole)
    check_archive(store)


@pytest.mark.parametrize("file", ["log/tile/entries/001", "log/tile/0/000", "segments/"])
async def test_damage_here_is_not_archived(journal: Path, store: FolderStore, file: str) -> None:
    """A damaged file of the journal stops the run, which names it; no manifest covers it."""
    path = journal / file
    if path.is_dir():
        path = sorted(path.iterdir())[1]
    flip(path)
    with pytest.raises(Problem) as raised:
        archive(journal, store)
    assert raised.value.code is Code.JOURNAL_CORRUPT
    assert str(path.relative_to(journal)) in raised.value.where
    assert last_manifest(store) is None


async def test_an_archive_is_of_one_journal(
    journal: Path, store: FolderStore, tmp_path: Path
) -> None:
    """Another journal, or this one set back, does not go on in an archive."""
    old = tmp_path / "old"
    await fill(old, 0, 300)
    archive(journal, store)
    with pytest.raises(Problem) as raised:
        archive(old, store)
    assert raised.value.code is Code.CONFLICT


async def test_a_lost_archive_is_not_begun_anew_in_silence(
    journal: Path, store: FolderStore
) -> None:
    """When the archive lacks what was put there, the run says so."""
    archive(journal, store)
    shutil.rmtree(store.folder)
    with pytest.raises(Problem) as raised:
        archive(journal, store)
    assert raised.value.code is Code.ARCHIVE_FAILED


async def test_one_run_at_a_time(journal: Path, store: FolderStore) -> None:
    """A second run beside one that goes on is refused."""
    with archiving(journal), pytest.raises(Problem) as raised:
        archive(journal, store)
    assert raised.value.code is Code.CONFLICT


async def test_a_quiet_journal_is_archived_too(tmp_path: Path, store: FolderStore) -> None:
    """A segment that is not full is closed after its time, with the next record; a record that
    fails then leaves no trace."""
    files = FailingFiles()
    aged = JournalSettings(publish_interval_s=0.02, probe_interval_s=0.02, segment_max_s=0.01)
    async with journal_in(tmp_path / "journal", aged, files=files) as journal:
        for number in range(300):
            if number % 100 == 99:
                await asyncio.sleep(0.02)  # time itself is what it waits for
            if number == 199:
                files.operation = "write"
                with pytest.raises(Problem):
                    await journal.record(entry(number), MPI)
                files.operation = None
                await until(lambda: journal.healthy is None)
            await journal.record(entry(number), MPI)
    firsts = segments_in(tmp_path / "journal" / "segments")
    assert {99, 199, 299} <= set(firsts)
    assert_good(tmp_path / "journal", 300)
    async with journal_in(tmp_path / "journal", aged):
        pass
    archived = archive(tmp_path / "journal", store).manifest.segments
    assert archived == max(first for first in firsts if first <= 256)
