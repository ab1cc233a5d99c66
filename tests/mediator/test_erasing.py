"""mediator/retention/erasing.py: erasing on order and by the end of retention, and what a crash
leaves."""

from __future__ import annotations

import contextlib
import errno
import shutil
import sqlite3
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson
import pytest

from exchange.identifiers import MemberId
from exchange.journal.entries import Entry, parse_entry
from exchange.problems import Code, Problem
from mediator.journal.erasures import FILE
from mediator.journal.keyring import DEFAULT_DAYS, KeyRing
from mediator.journal.log import Journal
from mediator.journal.reader import JournalReader
from mediator.journal.verify import verify
from mediator.once.book import OnceBook
from mediator.once.settings import OnceSettings
from mediator.once.sqlite import FILE as BOOK
from mediator.once.sqlite import SqliteEngine
from mediator.once.vault import Answer, Vault
from mediator.once.writer import Claim
from mediator.retention.answers import FILE as ANSWERS
from mediator.retention.answers import WaitingAnswers
from mediator.retention.erasing import Eraser, Order
from serving.clock import SystemClock
from tests.journal.world import CLIENT, MPI, START, FailingFiles, entry, journal_in, part, until

MOF = MemberId.parse("LA/GOV/MOF")
VAULT = Vault(b"k" * 32)
WHY = {"ground": "Law on Electronic Data Protection, article 17", "by": "the registrar"}


@dataclass(slots=True)
class Clock(SystemClock):
    """A clock that stands where it is put."""

    at: datetime = START

    def now(self) -> datetime:
        return self.at


@dataclass(slots=True)
class Place:
    """A journal with six records of three messages, each about its own subject."""

    directory: Path
    journal: Journal
    eraser: Eraser
    clock: Clock
    disk: FailingFiles

    async def erase(self, **named: Any) -> dict[str, Any]:
        await self.published()
        return await self.eraser.erase(Order.parse(WHY | named))

    async def published(self) -> None:
        await until(lambda: self.journal.published_size == self.journal.size)

    def readable(self, count: int = 6) -> list[bool]:
        """Which of the first records can be opened by whoever has all files."""
        reader, found = JournalReader(self.directory), []
        for index in range(count):
            at = parse_entry(reader.entry(index))
            try:
                found.append(reader.open(at, reader.ciphertext(index)).part.body != b"")
            except Problem as problem:
                assert problem.code is Code.SEALED_PART_ERASED  # noqa: PT017
                found.append(False)
        return found

    def entry(self, index: int) -> Entry:
        return parse_entry(JournalReader(self.directory).entry(index))


@contextlib.asynccontextmanager
async def place(directory: Path, clock: Clock | None = None) -> AsyncIterator[Place]:
    clock, disk = clock or Clock(), FailingFiles()
    keyring = KeyRing(directory / "keys", files=disk)
    async with journal_in(directory, keyring=keyring) as journal:
        if journal.size == 0:
            for number in range(6):
                found = entry(number, id=f"LA-{number // 2}")
                message = part(number, id=found.id)
                await journal.record(found, MPI, message, f"la-nid:{number // 2}")
        yield Place(directory, journal, Eraser(journal, keyring, MPI, clock), clock, disk)


@pytest.mark.parametrize(
    ("named", "gone"),
    [
        ({"record": 3}, {3}),
        ({"message": "LA-1"}, {2, 3}),
        ({"subject": "la-nid:2"}, {4, 5}),
        ({"member": "LA/GOV/MPI", "month": "2026-11"}, {0, 1, 2, 3, 4, 5}),
    ],
)
async def test_what_is_named_is_erased_and_nothing_else(
    tmp_path: Path, named: dict[str, Any], gone: set[int]
) -> None:
    """The entry that says so comes with the ground in clear; the log verifies as before."""
    async with place(tmp_path) as here:
        report = await here.erase(**named, reference="case 7")
        assert here.readable() == [index not in gone for index in range(6)]
        assert report["records"] == (len(gone) if len(gone) < 6 else 0)
        await here.published()
        (index,) = report["entries"]
        said = here.entry(index)
        assert said.erased is not None
        assert (said.event, said.erased.ground) == ("erasure", WHY["ground"])
        reader = JournalReader(tmp_path)
        assert b"case 7" not in reader.entry(index)
        sealed = reader.open(said, reader.ciphertext(index)).part.body
        assert orjson.loads(sealed) == {"by": "the registrar", "reference": "case 7"}
        for erased in gone:
            told = reader.erasure(here.entry(erased), erased)
            assert told is not None
            assert (told.index, told.erased.ground) == (index, WHY["ground"])
        await here.journal.record(entry(9), MPI, part(9))  # the month goes on
    verdict = verify(tmp_path)
    assert verdict.good
    assert (verdict.erased, verdict.opened) == (len(gone), 8 - len(gone))


async def test_what_was_erased_is_not_erased_again(tmp_path: Path) -> None:
    """The same order says so, and makes no entry."""
    async with place(tmp_path) as here:
        await here.erase(message="LA-1")
        again = await here.erase(message="LA-1")
        assert (again["records"], again["already"], again["entries"]) == (0, 2, [])


@pytest.mark.parametrize(
    ("order", "code"),
    [
        ({"ground": " ", "by": "me", "record": 1}, Code.INVALID_REQUEST),
        ({"ground": "law", "by": "", "record": 1}, Code.INVALID_REQUEST),
        ({"ground": "law\n", "by": "me", "record": 1}, Code.INVALID_REQUEST),
        ({"ground": "x" * 501, "by": "me", "record": 1}, Code.INVALID_REQUEST),
        (WHY, Code.INVALID_REQUEST),
        (WHY | {"record": 1, "message": "LA-1"}, Code.INVALID_REQUEST),
        (WHY | {"month": "2026-11"}, Code.INVALID_REQUEST),
        (WHY | {"member": "LA/GOV/MPI", "record": 1}, Code.INVALID_REQUEST),
        (WHY | {"unknown": 1}, Code.INVALID_REQUEST),
        (WHY | {"record": 99}, Code.NOT_FOUND),
        (WHY | {"message": "none"}, Code.NOT_FOUND),
        (WHY | {"subject": "la-nid:99"}, Code.NOT_FOUND),
        (WHY | {"subject": "no subject"}, Code.INVALID_HEADER),
        (WHY | {"member": "LA/GOV/MPI", "month": "2026-10"}, Code.NOT_FOUND),
        (WHY | {"member": "LA/GOV", "month": "2026-10"}, Code.INVALID_IDENTIFIER),
    ],
)
async def test_an_order_that_cannot_be_carried_out(
    tmp_path: Path, order: dict[str, Any], code: Code
) -> None:
    """Without ground, with no or two things named, or naming nothing that is here: nothing is."""
    async with place(tmp_path) as here:
        await here.published()
        with pytest.raises(Problem) as refused:
            await here.eraser.erase(Order.parse(order))
        assert refused.value.code is code
        assert here.journal.size == 6


@pytest.mark.parametrize("operation", ["open", "write", "sync", "rename", "sync_directory"])
async def test_a_disk_that_fails_after_the_entry_is_made_good(
    tmp_path: Path, operation: str
) -> None:
    """The entry stands, the order is told that it failed, and the next round carries it out."""
    async with place(tmp_path) as here:
        here.disk.operation, here.disk.code = operation, errno.ENOSPC
        with pytest.raises(Problem) as refused:
            await here.erase(message="LA-1")
        assert refused.value.code is Code.LOGGING_FAILED
        await here.published()
        await here.eraser.tend()
        # the new file was in its place before its folder could be synced: nothing is left to do
        assert here.eraser.report()["ok"] is (operation == "sync_directory")
        here.disk.operation = None
        await here.eraser.tend()
        assert here.eraser.report() == {"ok": True}
        assert here.readable() == [True, True, False, False, True, True]


@pytest.mark.parametrize("ledger", [True, False])
async def test_a_crash_between_entry_and_keys_is_finished_at_the_next_start(
    tmp_path: Path, ledger: bool
) -> None:
    """Also when the file that keeps erasures at hand is gone: the log has them."""
    async with place(tmp_path) as here:
        await here.published()
        await here.eraser.tend()
        shutil.copytree(tmp_path / "keys", tmp_path / "before")
        await here.erase(message="LA-1")
    shutil.rmtree(tmp_path / "keys")  # as if the process had ended before the keys forgot
    (tmp_path / "before").rename(tmp_path / "keys")
    if not ledger:
        (tmp_path / FILE).unlink()
    async with place(tmp_path) as here:
        assert here.readable() == [True] * 6
        await here.published()
        await here.eraser.tend()
        assert here.readable() == [True, True, False, False, True, True]


async def test_an_old_key_file_that_comes_back_forgets_again_and_is_told(tmp_path: Path) -> None:
    """A copy of the keys from before an erasure is punctured at the next start, and recorded."""
    async with place(tmp_path) as here:
        await here.published()
        shutil.copytree(tmp_path / "keys", tmp_path / "copy")
        await here.erase(message="LA-1")
        await here.published()
        await here.eraser.tend()
    shutil.rmtree(tmp_path / "keys")
    (tmp_path / "copy").rename(tmp_path / "keys")
    async with place(tmp_path) as here:
        size = here.journal.size
        await here.eraser.tend()
        await here.published()
        assert here.readable() == [True, True, False, False, True, True]
        told = here.entry(size)
        assert (told.event, told.where) == (
            "erased key was back", f"LA/GOV/MPI 2026-11 d{DEFAULT_DAYS}",
        )  # fmt: skip
        await here.eraser.tend()
        assert here.journal.size == size + 1


async def test_an_old_copy_of_the_journal_opens_nothing_with_the_present_keys(
    tmp_path: Path,
) -> None:
    """What was erased is erased in every copy of segments and log; an old log does not say why."""
    async with place(tmp_path / "live") as here:
        await here.published()
        shutil.copytree(tmp_path / "live", tmp_path / "copy", ignore=lambda *_: {"keys"})
        await here.erase(member="LA/GOV/MPI", month="2026-11")
    shutil.copytree(tmp_path / "live" / "keys", tmp_path / "copy" / "keys")
    verdict = verify(tmp_path / "copy")
    assert (verdict.opened, verdict.lost) == (0, 6)
    assert {finding.code for finding in verdict.findings} == {Code.KEY_LOST}


async def test_the_end_of_retention_erases_by_itself(tmp_path: Path) -> None:
    """Each class on its day, the keys of subjects with the longest; each once, with an entry."""
    clock = Clock()
    async with place(tmp_path, clock) as here:
        await here.journal.record(entry(6), MPI, part(6), days=30)
        await here.published()
        clock.at = datetime(2026, 12, 30, tzinfo=UTC)
        await here.eraser.tend()
        assert here.readable(7) == [True] * 7
        clock.at = datetime(2026, 12, 31, tzinfo=UTC)
        await here.eraser.tend()
        await here.published()
        assert here.readable(7) == [True] * 6 + [False]
        said = here.entry(7)
        assert said.erased is not None
        assert said.erased.key == "LA/GOV/MPI 2026-11 d30"
        await here.eraser.tend()
        assert here.journal.size == 8
        assert [name.month for name, _ in here.eraser._keyring.index_keys()] == ["2026-11"]
        clock.at += timedelta(days=DEFAULT_DAYS)
        await here.eraser.tend()
        await here.published()
        assert here.readable(7) == [False] * 7
        keys = [found.erased.key for index in (8, 9) if (found := here.entry(index)).erased]
        assert keys == [f"LA/GOV/MPI 2026-11 d{DEFAULT_DAYS}", "LA/GOV/MPI 2026-11 index"]
        assert [*here.eraser._keyring.index_keys()] == []
        size = here.journal.size
        await here.eraser.tend()
        assert here.journal.size == size


@contextlib.asynccontextmanager
async def book_in(directory: Path, run: str) -> AsyncIterator[OnceBook]:
    """A run of the exactly-once book, which waits for its database for a moment only."""
    engine = SqliteEngine(directory / BOOK, run)
    settings = OnceSettings(claim_s=0.2)
    book = OnceBook(engine, VAULT, settings, SystemClock(), lambda left: {})
    try:
        yield book
    finally:
        await book.close()


def answers(path: Path) -> int:
    with contextlib.closing(sqlite3.connect(path)) as connection:
        ((number,),) = connection.execute(
            "SELECT COUNT(*) FROM claims WHERE answer IS NOT NULL"
        ).fetchall()
    return int(number)


@pytest.mark.parametrize("told", [True, False])
async def test_answers_that_could_not_be_erased_are_after_a_restart(
    tmp_path: Path, told: bool
) -> None:
    """The database of the exactly-once book is down when the order is carried out, and the server
    is stopped before it is back. Without an entry of the erasure nothing is erased."""
    log, path = tmp_path / "journal", tmp_path / BOOK
    async with place(log) as here, book_in(tmp_path, "one") as book:
        claim = await book.claim(VAULT.key(CLIENT, MPI, "LA-1"), b"print", "nonce", 30.0)
        assert isinstance(claim, Claim)
        book.done(claim, Answer(200, (), b"about somebody", None))
        await until(lambda: not book.waiting)
        assert answers(path) == 1
        await here.published()
        if told:
            with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as other:
                other.execute("BEGIN IMMEDIATE")
                here.eraser._once = book
                report = await here.erase(message="LA-1")
                assert report["answers"] == "waiting for the exactly-once book's database"
                await book.close()  # it could not be written: this run forgets it
        else:
            WaitingAnswers(log).add(here.journal.size, None)
    assert answers(path) == 1
    async with place(log) as here, book_in(tmp_path, "two") as book:
        here.eraser._once = book
        await here.eraser.tend()
        assert here.eraser.report() == {"ok": True}
    assert answers(path) == (0 if told else 1)
    assert not (log / ANSWERS).exists()


async def test_a_list_of_answers_that_is_damaged_is_said(tmp_path: Path) -> None:
    """Nobody knows what was to be erased: that must not be passed over."""
    async with place(tmp_path) as here:
        await here.published()
        (tmp_path / ANSWERS).write_bytes(b"[{")
        await here.eraser.tend()
        assert ANSWERS in here.eraser.report()["problem"]
