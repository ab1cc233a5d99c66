"""Recording: durable before acknowledged, in order, grouped; opening and closing."""

from __future__ import annotations

import asyncio
import stat
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from exchange.identifiers import MemberId
from exchange.journal.entries import Kind, parse_entry
from exchange.problems import Code, Problem
from mediator.journal import segments
from mediator.journal.index import FILE as INDEX_FILE
from mediator.journal.index import IndexReader
from mediator.journal.keyring import BLOCK, DEFAULT_DAYS
from mediator.journal.log import JournalSettings
from mediator.journal.reader import JournalReader
from serving.log.files import RealFiles
from tests.journal.world import (
    MPI,
    QUICK,
    START,
    STILL,
    assert_good,
    entry,
    journal_in,
    part,
    until,
    write,
)


class GatedFiles(RealFiles):
    """A disk whose syncs wait until they are let through."""

    def __init__(self) -> None:
        self.gate = threading.Semaphore(0)
        self.syncs = 0

    def write_durably(self, descriptor: int, data: bytes, offset: int) -> None:
        self.gate.acquire()
        self.syncs += 1
        super().write_durably(descriptor, data, offset)


async def test_a_record_is_on_disk_when_it_is_acknowledged(tmp_path: Path) -> None:
    """What record() returned for can be read from the segment, before anything is published."""
    async with journal_in(tmp_path, STILL) as journal:
        for number in range(3):
            receipt = await journal.record(entry(number), MPI, part(number))
            assert receipt.index == number
            record = segments.find_record(tmp_path / "segments", number)
            assert record is not None
            assert record.entry == receipt.entry
            found = parse_entry(receipt.entry)
            assert found.id == f"LA-{number}"
            assert found.sealed is not None
            assert found.sealed.key == "LA/GOV/MPI 2026-11 d3650"
            assert part(number).body not in record.sealed
        assert (journal.size, journal.published_size) == (3, 0)


async def test_indexes_are_in_the_order_of_the_calls(tmp_path: Path) -> None:
    """A thousand records at once get the indexes 0 to 999 in their order."""
    async with journal_in(tmp_path) as journal:
        await asyncio.to_thread(journal._keyring.make, MPI, START, DEFAULT_DAYS)
        receipts = await asyncio.gather(
            *(journal.record(entry(number), MPI, part(number)) for number in range(1000))
        )
    order = [int((parse_entry(receipt.entry).id or "")[3:]) for receipt in receipts]
    indexes = [receipt.index for receipt in receipts]
    assert indexes == list(range(1000))
    assert order == indexes
    assert_good(tmp_path, 1000)


async def test_what_arrives_during_a_commit_is_the_next_group(tmp_path: Path) -> None:
    """One sync for the first record, and one for all fifty that came while it ran."""
    files = GatedFiles()
    async with journal_in(tmp_path, STILL, files=files) as journal:
        first = asyncio.create_task(journal.record(entry(0), MPI))
        await asyncio.sleep(0.05)
        more = [asyncio.create_task(journal.record(entry(n), MPI)) for n in range(1, 51)]
        await asyncio.sleep(0.05)
        assert not first.done()
        files.gate.release()
        await first
        files.gate.release()
        await asyncio.gather(*more)
        assert files.syncs == 2
        files.gate.release(100)


async def test_a_busy_server_waits_for_company(tmp_path: Path) -> None:
    """With eight exchanges running, four records make a group; a lone exchange waits for none."""
    running = 8
    files = GatedFiles()
    files.gate.release(100)
    settings = JournalSettings(publish_interval_s=1000, gather_s=1000)
    async with journal_in(tmp_path, settings, files=files, siblings=lambda: running) as journal:
        records = []
        for number in range(4):
            records.append(asyncio.create_task(journal.record(entry(number), MPI)))
            await asyncio.sleep(0.001)
        await asyncio.gather(*records)
        assert files.syncs == 1
        running = 1
        await journal.record(entry(4), MPI)
        assert files.syncs == 2


async def test_a_group_has_its_limits(tmp_path: Path) -> None:
    """More than fits one group becomes several, in order."""
    files = GatedFiles()
    files.gate.release(100)
    settings = JournalSettings(publish_interval_s=1000, group_max_records=10)
    async with journal_in(tmp_path, settings, files=files) as journal:
        receipts = await asyncio.gather(*(journal.record(entry(n), MPI) for n in range(35)))
        assert [receipt.index for receipt in receipts] == list(range(35))
        assert files.syncs == 4


async def test_a_cancelled_caller_does_not_undo_its_record(tmp_path: Path) -> None:
    """A client that hangs up leaves its record, and its neighbours' acknowledgements, alone."""
    files = GatedFiles()
    async with journal_in(tmp_path, STILL, files=files) as journal:
        tasks = [asyncio.create_task(journal.record(entry(n), MPI)) for n in range(3)]
        await asyncio.sleep(0.05)
        tasks[1].cancel()
        await asyncio.sleep(0)
        files.gate.release(100)
        assert [receipt.index for receipt in await asyncio.gather(tasks[0], tasks[2])] == [0, 2]
        assert tasks[1].cancelled()
    assert parse_entry(JournalReader(tmp_path).entry(1)).id == "LA-1"


async def test_too_much_waiting_is_an_honest_overload(tmp_path: Path) -> None:
    """When the disk does not keep up, more records are refused with ServerOverloaded."""
    files = GatedFiles()
    settings = JournalSettings(publish_interval_s=1000, waiting_max_records=5)
    async with journal_in(tmp_path, settings, files=files) as journal:
        tasks = [asyncio.create_task(journal.record(entry(0), MPI))]
        await asyncio.sleep(0.05)
        tasks += [asyncio.create_task(journal.record(entry(n), MPI)) for n in range(1, 6)]
        await asyncio.sleep(0)
        with pytest.raises(Problem) as caught:
            await journal.record(entry(6), MPI)
        assert caught.value.code is Code.OVERLOADED
        files.gate.release(100)
        await asyncio.gather(*tasks)


async def test_closing_publishes_everything(tmp_path: Path) -> None:
    """After close, the checkpoint covers every record, and the index knows them."""
    async with journal_in(tmp_path, STILL) as journal:
        pending = [asyncio.create_task(journal.record(entry(n), MPI, part(n))) for n in range(600)]
        await asyncio.sleep(0.001)
        await asyncio.gather(*pending)
        assert journal.published_size == 0
    assert journal.published_size == journal.size == 600
    assert_good(tmp_path, 600)
    assert JournalReader(tmp_path).index().size == 600


async def test_a_closed_journal_records_nothing(tmp_path: Path) -> None:
    """Closing twice is harmless; recording afterwards is refused with ShuttingDown."""
    async with journal_in(tmp_path) as journal:
        await journal.close()
        with pytest.raises(Problem) as caught:
            await journal.record(entry(0), MPI)
        assert caught.value.code is Code.SHUTTING_DOWN


async def test_closing_drains_what_waits(tmp_path: Path) -> None:
    """Records that were handed in before close are durable and acknowledged."""
    async with journal_in(tmp_path, STILL) as journal:
        tasks = [asyncio.create_task(journal.record(entry(n), MPI)) for n in range(100)]
        await asyncio.sleep(0)
        await journal.close()
        assert sorted(receipt.index for receipt in await asyncio.gather(*tasks)) == list(range(100))
    assert_good(tmp_path, 100)


async def test_two_processes_cannot_open_one_journal(tmp_path: Path) -> None:
    """The second to open is refused; after the first closed it may."""
    async with journal_in(tmp_path):
        with pytest.raises(Problem) as caught:
            async with journal_in(tmp_path):
                pass
        assert caught.value.code is Code.CONFLICT
    async with journal_in(tmp_path) as journal:
        assert journal.healthy is None


async def test_a_journal_keeps_its_origin_and_key(tmp_path: Path) -> None:
    """Opening with another origin or another signing key is refused."""
    await write(tmp_path, range(1))
    for changes in ({"origin": "other.test/log"}, {"key": Ed25519PrivateKey.generate()}):
        with pytest.raises(Problem) as caught:
            async with journal_in(tmp_path, **changes):  # type: ignore[arg-type]
                pass
        assert caught.value.code is Code.JOURNAL_FORKED


async def test_reopening_goes_on(tmp_path: Path) -> None:
    """Each start continues the log; sizes around tile borders included."""
    total = 0
    for step in (1, 254, 1, 1, 255, 300):
        await write(tmp_path, range(total, total + step))
        total += step
        assert_good(tmp_path, total)


async def test_segments_are_changed_by_size(tmp_path: Path) -> None:
    """A full segment is followed by another, named by its first record."""
    settings = JournalSettings(publish_interval_s=0.02, segment_max_bytes=4096)
    await write(tmp_path, range(60), settings=settings)
    firsts = segments.segments_in(tmp_path / "segments")
    assert len(firsts) > 5
    assert firsts[0] == 0
    await write(tmp_path, range(60, 80), settings=settings)
    assert_good(tmp_path, 80)
    for number in (0, 33, 79):
        record = segments.find_record(tmp_path / "segments", number)
        assert record is not None
        assert parse_entry(record.entry).id == f"LA-{number}"


async def test_recent_gives_the_entries_since(tmp_path: Path) -> None:
    """recent() gives what replay memory and quotas need, published or not, over segments."""
    settings = JournalSettings(publish_interval_s=1000, segment_max_bytes=4096)
    async with journal_in(tmp_path, settings) as journal:
        for number in range(50):
            await journal.record(entry(number), MPI)
        since = START + timedelta(milliseconds=20)
        assert [found["id"] for found in journal.recent(since)] == [
            f"LA-{n}" for n in range(20, 50)
        ]
        assert len(list(journal.recent(START - timedelta(days=1)))) == 50
        assert list(journal.recent(START + timedelta(days=1))) == []


async def test_keys_are_files_of_their_owner(tmp_path: Path) -> None:
    """One key file a member, month and class, readable by the owner alone."""
    other = MemberId.parse("LA/COM/50%3F1")
    async with journal_in(tmp_path) as journal:
        await journal.record(entry(0), MPI, part(0))
        december = datetime(2026, 12, 1, tzinfo=UTC)
        await journal.record(entry(1, at=december), MPI, part(1, at=december))
        await journal.record(entry(2), other, part(2))
    found = sorted((tmp_path / "keys").rglob("*.key"))
    assert [str(path.relative_to(tmp_path / "keys")) for path in found] == [
        "LA/COM/50?1/2026-11.d3650.key", "LA/GOV/MPI/2026-11.d3650.key",
        "LA/GOV/MPI/2026-12.d3650.key",
    ]  # fmt: skip
    for path in found:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert assert_good(tmp_path, 3).opened == 3


async def test_a_restart_uses_the_same_month_s_key(tmp_path: Path) -> None:
    """What was sealed before a restart opens after it; each start uses leaves of its own."""
    await write(tmp_path, range(1))
    await write(tmp_path, range(1, 2))
    reader, leaves = JournalReader(tmp_path), set[int]()
    for number in range(2):
        found = parse_entry(reader.entry(number))
        assert found.sealed is not None
        assert found.sealed.leaf % BLOCK == 0
        leaves.add(found.sealed.leaf)
        assert reader.open(found, reader.ciphertext(number)).part == part(number)
    assert len(leaves) == 2


async def test_a_crash_while_making_a_key_leaves_no_copy(tmp_path: Path) -> None:
    """A draft of a key file, left by a crash, is gone after the next use: erasing erases."""
    await write(tmp_path, range(1))
    draft = tmp_path / "keys/LA/GOV/MPI/.2026-11.d3650.key.draft"
    draft.write_bytes(bytes(32))
    await write(tmp_path, range(1, 2))
    assert not draft.exists()


async def test_what_cannot_be_written_is_refused_alone(tmp_path: Path) -> None:
    """An entry over the limit, or a head that is no JSON, harms no other record."""
    async with journal_in(tmp_path) as journal:
        with pytest.raises(Problem) as caught:
            await journal.record(entry(0, where="x" * 70_000), MPI)
        assert caught.value.code is Code.INVALID_DOCUMENT
        assert (await journal.record(entry(1), MPI)).index == 0


async def test_a_large_body_is_one_record(tmp_path: Path) -> None:
    """A body larger than a group and a reading window goes through whole."""
    big = part(0)._replace(base=b"", signature=b"", body=bytes(9 << 20))
    async with journal_in(tmp_path) as journal:
        await journal.record(entry(0, kind=Kind.FAILURE), MPI, big)
        await journal.record(entry(1), MPI)
    assert_good(tmp_path, 2)
    reader = JournalReader(tmp_path)
    assert reader.open(parse_entry(reader.entry(0)), reader.ciphertext(0)).part == big


async def test_the_index_can_be_left_out(tmp_path: Path) -> None:
    """Without the setting no index file is made; a search makes one in memory."""
    await write(tmp_path, range(5), settings=JournalSettings(index=False))
    assert not (tmp_path / INDEX_FILE).exists()
    assert JournalReader(tmp_path).index().size == 5


async def test_what_is_all_published_is_all_indexed(tmp_path: Path) -> None:
    """As soon as every durable record is published, a search in the index file finds it."""
    async with journal_in(tmp_path, QUICK) as journal:
        for start in range(0, 900, 300):
            await asyncio.gather(
                *(journal.record(entry(n), MPI) for n in range(start, start + 300))
            )
            await until(lambda: journal.published_size == journal.size)
            reader = IndexReader.open(tmp_path / INDEX_FILE, "o")
            assert reader.size == start + 300
            reader.close()


async def test_publication_keeps_up_by_itself(tmp_path: Path) -> None:
    """About every interval, what is durable is published, without anybody asking."""
    async with journal_in(tmp_path, QUICK) as journal:
        await journal.record(entry(0), MPI)
        await until(lambda: journal.published_size == 1)
        assert journal.healthy is None
