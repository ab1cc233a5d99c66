"""Anchors: which checkpoints are chosen, what is asked of them, and that they bind the log."""

from __future__ import annotations

import shutil
import signal
import sqlite3
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from exchange.log.checkpoint import Checkpoint, open_checkpoint, sign_checkpoint
from exchange.problems import Code, Problem
from mediator.journal import publication
from mediator.journal.anchor_batches import Statement, contents, state, staying
from mediator.journal.anchors import FILE, KEEP_ALL, SETTLE, AnchorReader, AnchorStore
from mediator.journal.log import JournalSettings
from tests.journal.world import KEY, MPI, ORIGIN, VERIFIER, entry, head_of, journal_in, until, write

ROOT = Path(__file__).parents[2]
OFTEN = JournalSettings(publish_interval_s=0.02, anchor_s=0.01)


@dataclass(frozen=True)
class OneBy:
    """A quorum of one witness, by the beginning of its line."""

    name: str
    demands: bool = True

    def is_met(self, checkpoint: bytes) -> bool:
        return f"\n— {self.name} ".encode() in checkpoint


def note_of(size: int) -> bytes:
    return sign_checkpoint(Checkpoint(ORIGIN, size, bytes([size]) * 32), KEY)


def store_with(directory: Path, sizes: range) -> AnchorStore:
    store = AnchorStore.create(directory)
    for size in sizes:
        store.add(size, note_of(size), 1000.0 + size)
    return store


async def test_a_log_that_grew_gets_anchors_and_the_last_checkpoint_is_one(tmp_path: Path) -> None:
    """While a log grows some checkpoints become anchors; when it stops, the last one does."""
    async with journal_in(tmp_path, OFTEN) as journal:
        for number in range(3):
            await journal.record(entry(number), MPI)
            size = journal.size
            await until(lambda: journal.anchors.latest_size == size, 30)  # noqa: B023
    anchors = list(AnchorReader.open(tmp_path).all())
    assert [anchor.size for anchor in anchors] == [1, 2, 3]
    for anchor in anchors:
        assert open_checkpoint(anchor.checkpoint, VERIFIER).size == anchor.size
        assert str(open_checkpoint(anchor.note, VERIFIER)).encode() == anchor.text
    assert open_checkpoint(anchors[-1].note, VERIFIER) == head_of(tmp_path)


async def test_anchors_are_no_more_frequent_than_the_setting_says(tmp_path: Path) -> None:
    """Between two anchors the set time passes; only a stop makes one earlier."""
    seldom = JournalSettings(publish_interval_s=0.02, anchor_s=1000)
    async with journal_in(tmp_path, seldom) as journal:
        for number in range(3):
            await journal.record(entry(number), MPI)
            size = journal.size
            await until(lambda: journal.published_size == size, 30)  # noqa: B023
        assert [anchor.size for anchor in journal.anchors.all()] == [1]
    assert [anchor.size for anchor in AnchorReader.open(tmp_path).all()] == [1, 3]


async def test_a_log_that_did_not_grow_gets_no_anchor(tmp_path: Path) -> None:
    """Opening and closing a journal adds nothing."""
    await write(tmp_path, range(2), settings=OFTEN)
    before = (tmp_path / FILE).read_bytes()
    await write(tmp_path, range(0), settings=OFTEN)
    assert (tmp_path / FILE).read_bytes() == before


async def test_somebody_who_reads_the_file_holds_up_the_anchors_alone(tmp_path: Path) -> None:
    """A backup that locks the file: checkpoints go on, nothing is told; then the anchor is kept."""
    async with journal_in(tmp_path, OFTEN) as journal:
        await journal.record(entry(0), MPI)
        await until(lambda: journal.anchors.latest_size == 1, 30)
        reader = sqlite3.connect(tmp_path / FILE, isolation_level=None)
        reader.execute("BEGIN")
        reader.execute("SELECT * FROM anchors").fetchall()
        for number in range(1, 4):
            await journal.record(entry(number), MPI)
            size = journal.size
            await until(lambda: journal.published_size == size, 30)  # noqa: B023
        assert journal.healthy is None
        assert journal.anchors.latest_size == 1
        reader.close()
        await until(lambda: journal.anchors.latest_size == 4, 30)


async def test_anchors_that_cannot_be_kept_are_told_and_healed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk: records and checkpoints go on, health tells, and room makes it good."""
    monkeypatch.setattr(publication, "ANCHOR_PATIENCE_S", 0.0)
    async with journal_in(tmp_path, OFTEN) as journal:
        limit = journal.anchors._connection
        (pages,) = limit.execute("PRAGMA page_count").fetchone()
        limit.execute(f"PRAGMA max_page_count = {pages}")
        number = 0
        while journal.healthy is None:
            await journal.record(entry(number), MPI)
            number, size = number + 1, journal.size
            await until(lambda: journal.published_size == size, 30)  # noqa: B023
        assert "full" in str(journal.healthy)
        await journal.record(entry(number), MPI)
        limit.execute("PRAGMA max_page_count = 100000")
        size = journal.size
        await until(lambda: journal.anchors.latest_size == size, 30)
        await until(lambda: journal.healthy is None, 30)


def test_who_watches_is_told_of_each_new_anchor(tmp_path: Path) -> None:
    """A watcher is called once the anchor can be read."""
    store, seen = AnchorStore.create(tmp_path), []
    store.watch(lambda: seen.append(store.latest_size))
    store.add(4, note_of(4), 1.0)
    store.add(9, note_of(9), 2.0)
    assert seen == [4, 9]


def test_the_earliest_anchor_that_has_what_is_asked_covers_an_entry(tmp_path: Path) -> None:
    """An anchor covers the entries before its size; tokens and quorum can be asked for."""
    store = store_with(tmp_path, range(10, 200, 10))
    store.add_token(50, "tsa", b"der")
    store.add_cosignature(120, "— w1 AAAA\n")
    store.add_cosignature(170, "— w1 AAAA\n")
    store.add_cosignature(170, "— w2 AAAA\n")
    store.add_token(170, "tsa", b"der")

    def size(index: int, **asked: object) -> int | None:
        found = store.covering(index, **asked)  # type: ignore[arg-type]
        return None if found is None else found.size

    assert (size(0), size(9), size(10), size(189), size(190)) == (10, 10, 20, 190, None)
    assert (size(0, stamped=True), size(50, stamped=True), size(170, stamped=True)) == (
        50,
        170,
        None,
    )
    assert (size(0, quorum=OneBy("w1")), size(120, quorum=OneBy("w1"))) == (120, 170)
    assert size(0, quorum=OneBy("w2")) == size(0, quorum=OneBy("w1"), stamped=True) == 170
    assert size(0, quorum=OneBy("w3")) is None


def test_entries_wait_for_evidence_until_a_later_anchor_has_it(tmp_path: Path) -> None:
    """The wait counts from the oldest anchor that none with the evidence covers."""
    store = store_with(tmp_path, range(10, 40, 10))
    assert store.waiting_since(stamped=True) == 1010
    store.add_token(20, "tsa", b"der")
    assert store.waiting_since(stamped=True) == 1030
    store.add_token(30, "tsa", b"der")
    assert store.waiting_since(stamped=True) is None
    assert store.waiting_since(quorum=OneBy("w1")) == 1010
    store.add_cosignature(30, "— w1 AAAA\n")
    assert store.waiting_since(quorum=OneBy("w1")) is None


def test_what_was_added_is_read_again_and_never_replaced(tmp_path: Path) -> None:
    """An anchor, an authority's token, a cosignature: the first stays, and survives reopening."""
    store = store_with(tmp_path, range(10, 20, 10))
    store.add(10, b"another note", 5.0)
    for der in (b"first", b"second"):
        store.add_token(10, "tsa", der)
    store.add_cosignature(10, "— w1 AAAA\n")
    store.add_cosignature(10, "— w1 AAAA\n")
    store.close()
    anchor = AnchorReader.open(tmp_path).at_size(10)
    assert anchor is not None
    assert (anchor.note, anchor.at) == (note_of(10), 1010.0)
    assert [token.der for token in anchor.tokens] == [b"first"]
    assert anchor.checkpoint == note_of(10) + "— w1 AAAA\n".encode()


def test_evidence_needs_its_anchor(tmp_path: Path) -> None:
    """A token or cosignature for a checkpoint that is no anchor is not taken."""
    store = store_with(tmp_path, range(10, 20, 10))
    with pytest.raises(OSError, match="FOREIGN KEY"):
        store.add_token(11, "tsa", b"der")
    with pytest.raises(OSError, match="FOREIGN KEY"):
        store.add_cosignature(11, "— w1 AAAA\n")


HOUR = 3600.0


def test_anchors_of_an_hour_are_a_batch_once_it_is_over(tmp_path: Path) -> None:
    """What is stated are all anchors of the hour with their evidence; then nothing is added."""
    store = AnchorStore.create(tmp_path)
    for size in range(1, 9):
        store.add(size, note_of(size), size * 900.0)
    assert not store.close_batch(900.0 + HOUR)
    assert store.close_batch(900.0 + HOUR + SETTLE.total_seconds())
    assert not store.close_batch(900.0 + HOUR + SETTLE.total_seconds())
    assert store.closed_size == 4
    for size in (4, 5):
        store.add_token(size, "tsa", b"der")
        store.add_cosignature(size, "— w1 AAAA\n")
    there = [(len(one.tokens), len(one.cosignatures)) for one in store.between(3, 5)]
    assert there == [(0, 0), (1, 1)]
    statement = store.pending()
    assert statement is not None
    assert (statement.after, statement.until) == (0, 4)
    assert (statement.all, statement.stay) == (
        contents(store.between(0, 4)),
        contents(store.between(3, 4)),
    )
    store.close()
    again = AnchorStore.create(tmp_path)
    assert again.pending() == statement  # until an entry commits to it
    again.settle(statement, 7)
    assert again.pending() is None
    assert [*again.statements()] == [bytes(statement)]
    assert again.close_batch(0.0, final=True)
    assert again.closed_size == 8


def test_a_clock_that_was_ahead_does_not_keep_a_batch_open(tmp_path: Path) -> None:
    """Anchors of the future were timed by a wrong clock: they are closed now."""
    store = AnchorStore.create(tmp_path)
    store.add(1, note_of(1), 1e9)
    store.add(2, note_of(2), 1000.0)
    assert store.close_batch(2000.0)
    assert store.closed_size == 2


def test_old_anchors_are_thinned_out_to_what_was_stated_to_stay(tmp_path: Path) -> None:
    """What goes is covered by what stays; newer batches, and those to which no entry commits, are
    not touched; evidence goes along."""
    store = AnchorStore.create(tmp_path)
    for size in range(1, 13):
        store.add(size, note_of(size), size * 900.0)
        store.add_token(size, "tsa", b"der")
    assert store.thin_out(1e9) == 0
    assert store.close_batch(HOUR, final=True)
    assert store.thin_out(1e9) == 0
    for number in (0, 1, 2):
        statement = store.pending()
        assert statement is not None
        store.settle(statement, number)
        assert store.close_batch(HOUR, final=True) == (number < 2)
    keep_s = KEEP_ALL.total_seconds()
    assert store.thin_out(8 * 900.0 + keep_s) == 3
    assert store.sizes() == [4, *range(5, 13)]
    assert store.thin_out(8 * 900.0 + keep_s + 1) == 3
    assert store.thin_out(1e9) == 3
    assert store.sizes() == store.stamped_sizes() == [4, 8, 12]


def test_what_stays_has_as_much_evidence_as_what_goes(tmp_path: Path) -> None:
    """A token or a cosignature goes only where a later anchor that stays has one, too."""
    store = store_with(tmp_path, range(1, 10))
    store.add_token(2, "tsa", b"der")
    store.add_token(5, "tsa", b"der")
    store.add_cosignature(7, "— w1 AAAA\n")
    assert staying(list(store.all())) == {5, 7, 9}
    store.add_token(7, "tsa", b"der")
    assert staying(list(store.all())) == {7, 9}


def test_a_statement_is_read_back(tmp_path: Path) -> None:
    """Canonical JSON, and nothing else."""
    statement, stay = state(0, 9, list(store_with(tmp_path, range(1, 10)).all()))
    assert stay == [9]
    assert Statement.parse(bytes(statement)) == statement
    with pytest.raises(Problem) as refused:
        Statement.parse(bytes(statement) + b" ")
    assert refused.value.code is Code.INVALID_DOCUMENT


def test_a_copy_without_anchors_has_none_and_a_damaged_file_is_said(tmp_path: Path) -> None:
    """No file means no anchors; a file that is no database is JournalCorrupt, not silence."""
    assert AnchorReader.open(tmp_path).latest() is None
    assert not (tmp_path / FILE).exists()
    (tmp_path / FILE).write_bytes(b"no database" * 1000)
    for opening in (AnchorReader.open, AnchorStore.create):
        with pytest.raises(Problem) as caught:
            opening(tmp_path)
        assert caught.value.code is Code.JOURNAL_CORRUPT


async def test_a_log_behind_its_anchor_is_not_opened(tmp_path: Path) -> None:
    """A journal that was set back, all but its anchors, would fork: nothing is signed."""
    await write(tmp_path / "now", range(3))
    shutil.copytree(tmp_path / "now", tmp_path / "old")
    await write(tmp_path / "now", range(3, 5))
    shutil.copy(tmp_path / "now" / FILE, tmp_path / "old" / FILE)
    with pytest.raises(Problem) as caught:
        await write(tmp_path / "old", range(3, 9))
    assert caught.value.code is Code.JOURNAL_FORKED


@pytest.mark.parametrize("more", [0, 4])
async def test_a_log_that_contradicts_its_anchor_is_not_opened(tmp_path: Path, more: int) -> None:
    """Another history of the same length, or one that grew on, would fork: nothing is signed."""
    await write(tmp_path / "one", range(3))
    await write(tmp_path / "other", range(100, 103 + more))
    shutil.copy(tmp_path / "one" / FILE, tmp_path / "other" / FILE)
    with pytest.raises(Problem) as caught:
        await write(tmp_path / "other", range(200, 201))
    assert caught.value.code is Code.JOURNAL_FORKED


def test_what_was_added_survives_a_kill(tmp_path: Path) -> None:
    """Whatever a process said it had added is there after it was killed, and nothing is torn."""
    script = (
        "import sys\nfrom pathlib import Path\n"
        "from mediator.journal.anchors import AnchorStore\n"
        "from tests.services.saying import own_channel\n"
        "say = own_channel()\n"
        "store = AnchorStore.create(Path(sys.argv[1]))\n"
        "for size in range(1, 10**6):\n"
        "    store.add(size, b'note %d\\n\\nx' % size, 1.0)\n"
        "    store.add_token(size, 'tsa', b'der' * 500)\n"
        "    say(size)\n"
    )
    for _ in range(3):
        with subprocess.Popen(
            [sys.executable, "-c", script, str(tmp_path)], cwd=ROOT, stdout=subprocess.PIPE
        ) as process:
            assert process.stdout is not None
            said = [int(process.stdout.readline()) for _ in range(20)]
            process.send_signal(signal.SIGKILL)
            said += [int(line) for line in process.stdout]
        store = AnchorStore.create(tmp_path)
        for size in said:
            anchor = store.at_size(size)
            assert anchor is not None
            assert anchor.tokens
        store.close()
