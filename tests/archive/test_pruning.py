"""Removing here what was archived: proofs stay valid, and everybody says where the rest is."""

from __future__ import annotations

import asyncio
import dataclasses
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner

from console.cli.audit.index import rebuild
from exchange.journal.entries import Entry, Kind, Side
from exchange.log.proof import check_proof
from exchange.problems import Code, Problem
from mediator.archive.archiver import STATE
from mediator.archive.job import Keeping
from mediator.archive.pruning import propose
from mediator.archive.removal import remove, told_by
from mediator.archive.restore import restore
from mediator.archive.settings import ArchiveSettings
from mediator.archive.stores import FolderStore
from mediator.journal.holdings import FILE as HOLDINGS_FILE
from mediator.journal.holdings import PRUNED, Holdings
from mediator.journal.index import FILE as INDEX_FILE
from mediator.journal.index import IndexReader, Query, search
from mediator.journal.log import Journal
from mediator.journal.reader import JournalReader
from mediator.journal.segments import segments_in
from mediator.journal.verify import verify
from serving.clock import SystemClock
from tests.archive.world import SMALL, archive, fill, flip
from tests.journal.world import MPI, START, FailingFiles, assert_good, entry, journal_in, until

SIZE = 700
LATER = datetime(2027, 6, 1, tzinfo=UTC)


@pytest.fixture
async def journal(tmp_path: Path) -> Path:
    await fill(tmp_path / "journal", 0, SIZE)
    return tmp_path / "journal"


@pytest.fixture
def settings(tmp_path: Path) -> ArchiveSettings:
    return ArchiveSettings(
        folder=tmp_path / "archive", prune_segments_days=8, prune_entries_days=62
    )


def proposed(journal: Path, settings: ArchiveSettings, now: datetime = LATER) -> Holdings | None:
    """Archive, and say what may go."""
    assert settings.folder is not None
    store = FolderStore(settings.folder)
    outcome = archive(journal, store)
    return propose(JournalReader(journal), store, outcome.manifest, settings, now)


async def tell(directory: Path, holdings: Holdings) -> Holdings:
    """Record, and publish, the entry that tells of a removal."""
    async with journal_in(directory, SMALL) as journal:
        receipt = await journal.record(
            Entry(Kind.SYSTEM, Side.SERVER, START, event=PRUNED, evidence=holdings.digest), MPI
        )
    return told_by(holdings, receipt.index)


async def prune(directory: Path, settings: ArchiveSettings) -> Holdings:
    holdings = proposed(directory, settings)
    assert holdings is not None
    told = await tell(directory, holdings)
    remove(directory, told)
    return told


async def test_a_pruned_journal_verifies_and_goes_on(
    journal: Path, settings: ArchiveSettings
) -> None:
    """After a removal the journal verifies, opens, takes entries, is archived and pruned again."""
    holdings = await prune(journal, settings)
    assert (holdings.entries_from, holdings.archive) == (512, (settings.folder or Path()).as_uri())
    assert segments_in(journal / "segments")[0] == holdings.segments_from > 0
    assert not (journal / "log/tile/entries/000").exists()
    assert_good(journal, SIZE + 1)
    await fill(journal, SIZE + 1, SIZE + 400)
    assert_good(journal, SIZE + 400)
    again = await prune(journal, settings)
    assert again.segments_from > holdings.segments_from
    assert again.entries_from == 1024
    assert_good(journal)
    assert proposed(journal, settings) is None


async def test_proofs_of_newer_entries_stay_valid(
    journal: Path, settings: ArchiveSettings, tmp_path: Path
) -> None:
    """Every entry that is left is shown and proven; an older one is proven from the archive."""
    whole = JournalReader(journal)
    old = {index: whole.entry(index) for index in (0, 255, 511)}
    await prune(journal, settings)
    reader = JournalReader(journal)
    for index in (512, 600, SIZE - 1, SIZE):
        check_proof(reader.prove(index), reader.entry(index), reader.key)
    restore(FolderStore(settings.folder or Path()), tmp_path / "restored")
    restored = JournalReader(tmp_path / "restored")
    for index, data in old.items():
        assert restored.entry(index) == data
        check_proof(reader.prove(index), data, reader.key)  # the hashes are still here


async def test_readers_say_where_the_rest_is(journal: Path, settings: ArchiveSettings) -> None:
    """What was removed is not called damage: entry and sealed part are in the archive that is
    named, and search finds what is left, with an index made anew."""
    holdings = await prune(journal, settings)
    reader = JournalReader(journal)
    for read in (reader.entry, reader.ciphertext):
        with pytest.raises(Problem) as raised:
            read(3)
        assert raised.value.code is Code.ARCHIVED
        assert raised.value.facts["archive"] == holdings.archive
    page = search([reader.index()], Query(kind="request"), 1000)
    assert {hit.index for hit in page.hits} == set(range(512, SIZE))


@pytest.mark.needs_postgresql
async def test_a_missing_index_begins_behind_what_was_removed(
    journal: Path, settings: ArchiveSettings, postgresql_url: str
) -> None:
    """Made anew by a server or by the command, it has what is left, and both say where it begins;
    a next start goes on."""
    url = postgresql_url.replace("+psycopg", "")
    holdings = await prune(journal, settings)
    (journal / INDEX_FILE).unlink(missing_ok=True)
    result = await asyncio.to_thread(CliRunner().invoke, rebuild, [str(journal)])
    assert result.exit_code == 0
    assert "Entries 0 to 511 were removed here and are not in it; they are in the archive " in (
        result.output
    )
    assert holdings.archive in result.output
    for size in (SIZE + 2, SIZE + 3):
        async with journal_in(
            journal, dataclasses.replace(SMALL, index=True, index_database=url)
        ) as opened:
            await opened.record(entry(size - 1), MPI)
            whole = {"ok": True, "entries": size, "first": 512}
            await until(lambda whole=whole, opened=opened: opened.index_report() == whole, 20)
    readers = (
        IndexReader.open_database(url, JournalReader(journal).origin),
        JournalReader(journal).index(),
    )
    for reader in readers:
        hits = search([reader], Query(kind="request"), 1000).hits
        assert {hit.index for hit in hits} == {*range(512, SIZE), SIZE + 1, SIZE + 2}
        reader.close()


async def test_what_is_absent_without_a_word_is_missing(
    journal: Path, settings: ArchiveSettings
) -> None:
    """Whoever removes more than the log tells of, or writes holdings.json himself, is found out."""
    holdings = await prune(journal, settings)
    bundle = journal / "log/tile/entries/002.p"
    saved = journal / "saved"
    shutil.move(bundle, saved)
    assert not verify(journal).good
    shutil.move(saved, bundle)
    assert_good(journal)
    more = dataclasses.replace(holdings, segments_from=holdings.segments_from + 1)
    (journal / HOLDINGS_FILE).write_bytes(bytes(more))
    findings = verify(journal).findings
    assert {finding.file for finding in findings} >= {HOLDINGS_FILE}
    (journal / HOLDINGS_FILE).unlink()
    assert not verify(journal).good
    with pytest.raises(Problem) as raised:
        await fill(journal, SIZE + 1, SIZE + 2)
    assert raised.value.code is Code.JOURNAL_FORKED


@pytest.mark.parametrize("persisted", [False, True])
async def test_every_step_of_a_removal_may_fail(
    journal: Path, settings: ArchiveSettings, tmp_path: Path, persisted: bool
) -> None:
    """Whatever operation fails, or fails though it took effect: the journal verifies and opens, and
    the next removal ends it."""
    holdings = proposed(journal, settings)
    assert holdings is not None
    told = await tell(journal, holdings)
    counting = FailingFiles()
    shutil.copytree(journal, tmp_path / "whole")
    remove(tmp_path / "whole", told, counting)
    for at in range(1, counting.count + 1):
        copy = tmp_path / f"copy-{at}"
        shutil.copytree(journal, copy)
        with pytest.raises(OSError, match="made to fail"):
            remove(copy, told, FailingFiles(at=at, persisted=persisted))
        assert_good(copy, SIZE + 1)
        async with journal_in(copy, SMALL):
            pass
        remove(copy, told)
        assert_good(copy, SIZE + 1)
        assert segments_in(copy / "segments") == segments_in(tmp_path / "whole" / "segments")
        shutil.rmtree(copy)


async def test_only_what_is_old_and_archived_goes(journal: Path, settings: ArchiveSettings) -> None:
    """Young entries stay, and so does what the settings do not name."""
    assert proposed(journal, settings, START + timedelta(days=8)) is None
    only = dataclasses.replace(settings, prune_entries_days=None)
    found = proposed(journal, only, START + timedelta(days=20))
    assert found is not None
    assert (found.entries_from, found.segments_from > 0) == (0, True)
    none = dataclasses.replace(settings, prune_entries_days=None, prune_segments_days=None)
    assert proposed(journal, none) is None


@pytest.mark.parametrize("name", ["log/tile/entries/000", "segments/00000000000000000000.seg"])
async def test_nothing_goes_that_is_not_in_the_archive(
    journal: Path, settings: ArchiveSettings, name: str
) -> None:
    """What the archive lost or damaged after it was put there, or what differs, is not removed."""
    assert settings.folder is not None
    archive(journal, FolderStore(settings.folder))
    flip(settings.folder / name)
    with pytest.raises(Problem) as raised:
        proposed(journal, settings)
    assert raised.value.code is Code.ARCHIVE_FAILED
    (settings.folder / name).unlink()
    with pytest.raises(Problem):
        proposed(journal, settings)
    shutil.copy(journal / name, settings.folder / name)
    flip(journal / name)
    with pytest.raises(Problem) as raised:
        proposed(journal, settings)
    assert raised.value.code is Code.JOURNAL_CORRUPT


async def test_an_empty_archive_does_not_replace_the_one_that_has_the_rest(
    journal: Path, settings: ArchiveSettings, tmp_path: Path
) -> None:
    """A pruned journal is not begun anew in another archive, which would lack the removed part."""
    await prune(journal, settings)
    (journal / STATE).unlink()
    with pytest.raises(Problem) as raised:
        archive(journal, FolderStore(tmp_path / "another"))
    assert raised.value.code is Code.CONFLICT
    shutil.copytree(settings.folder or Path(), tmp_path / "another")
    archive(journal, FolderStore(tmp_path / "another"))


class _Later(SystemClock):
    def now(self) -> datetime:
        return LATER


def keeping(journal: Journal, settings: ArchiveSettings) -> Keeping:
    """The job of a server, with a clock that is months ahead."""

    async def tell(event: str, evidence: str) -> int:
        told = Entry(Kind.SYSTEM, Side.SERVER, START, event=event, evidence=evidence)
        return (await journal.record(told, MPI)).index

    return Keeping(journal, tell, settings, _Later())


async def test_a_server_does_it_by_itself(journal: Path, settings: ArchiveSettings) -> None:
    """The job of a running server archives, makes tables and prunes, in a process of its own, while
    the journal takes entries; health tells what it did."""
    settings = dataclasses.replace(settings, statistics=True)
    async with journal_in(journal, SMALL) as opened:
        job = keeping(opened, settings)
        result = await job.work()
        assert result.problems == ()
        assert (result.entries, result.counted) == (512, SIZE)
        await opened.record(entry(SIZE + 1), MPI)
        report = job.report()
        assert report["ok"]
        assert report["archived_entries"] == 512
        await until(lambda: opened.published_size == SIZE + 2)
        assert_good(journal)
    assert Holdings.read(journal).entries_from == 512
    await fill(journal, SIZE + 2, SIZE + 10)


async def test_health_tells_of_an_archive_that_fails(journal: Path, tmp_path: Path) -> None:
    """A run that fails ends in health's report with its cause, and nothing else ends."""
    (tmp_path / "file").write_bytes(b"")
    async with journal_in(journal, SMALL) as opened:
        job = keeping(opened, ArchiveSettings(folder=tmp_path / "file" / "below"))
        result = await job.work()
        assert [problem.code for problem in result.problems] == [Code.ARCHIVE_FAILED]
        assert not job.report()["ok"]
        assert str(tmp_path / "file") in job.report()["problem"]
