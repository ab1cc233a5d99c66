"""mediator/retention/thinning.py: old evidence is thinned out; and stores whose disk is full or
held."""

from __future__ import annotations

import contextlib
import itertools
import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from mediator.background.anchoring import Anchoring
from mediator.journal import anchors, evidence
from mediator.journal.anchors import AnchorStore
from mediator.journal.evidence import EvidenceStore
from mediator.retention.thinning import Thinning
from serving.clock import SystemClock
from tests.certs.pki import AT
from tests.journal.test_verify_commitments import CERTIFICATE, DAY, ISSUER, said

HOUR_S, DAY_S = 3600.0, 86_400.0
BEGIN = AT.timestamp()


@dataclass(slots=True)
class Clock(SystemClock):
    """A clock that stands where it is put."""

    at: float = field(default=BEGIN)

    def unix(self) -> float:
        return self.at


@pytest.fixture
def stores(tmp_path: Path) -> Iterator[tuple[AnchorStore, EvidenceStore]]:
    with (
        contextlib.closing(AnchorStore.create(tmp_path)) as one,
        contextlib.closing(EvidenceStore.create(tmp_path)) as two,
    ):
        yield one, two


def note(size: int) -> bytes:
    """As long as a checkpoint is."""
    return f"log\n{size}\n{'r' * 44}\n\n— log {'s' * 96}\n".encode()


async def test_the_files_stay_of_a_bounded_size(
    tmp_path: Path, stores: tuple[AnchorStore, EvidenceStore]
) -> None:
    """With an anchor every ten minutes, stamped, for ten days, thinned out each day: one an hour
    and those of the last week are left, and the file is far from what it would be."""
    store, _ = stores
    clock = Clock()
    thinning = Thinning({anchors.FILE: store}, clock)
    entries = itertools.count()

    async def record(event: str, evidence: str) -> int:
        """Takes entries in the place of the journal."""
        return next(entries)

    anchoring = Anchoring(store, record, clock)
    store._rows("PRAGMA synchronous = OFF")  # no power is lost here
    store.latest_size = 1 << 40  # rows come past the store, for speed
    size, sizes = 0, list[int]()
    for day in range(10):
        rows = []
        for number in range(144):
            size += 1
            rows.append((size, BEGIN + day * DAY_S + number * 600.0, note(size)))
        with sqlite3.connect(tmp_path / anchors.FILE) as connection:
            connection.executemany("INSERT INTO anchors VALUES (?, ?, ?)", rows)
            connection.executemany(
                "INSERT INTO tokens VALUES (?, 'tsa', zeroblob(3000))",
                [(row[0],) for row in rows],
            )
        connection.close()
        clock.at = BEGIN + (day + 1) * DAY_S
        await anchoring.work()
        assert anchoring.report() == {"ok": True}
        await thinning.work()
        assert thinning.report() == {"ok": True}
        sizes.append((tmp_path / anchors.FILE).stat().st_size)
    left = store.sizes()
    assert len(left) <= 7 * 144 + 3 * 25
    assert left[-7 * 144 :] == list(range(size - 7 * 144 + 1, size + 1))
    assert sizes[-1] - sizes[-3] < (sizes[6] - sizes[0]) / 6 * 2 / 4  # it was 144 a day before
    first = store.covering(0, stamped=True)
    assert first is not None
    assert first.size <= 6  # of the first hour the last stays: a proof for every entry is there


async def test_answers_about_certificates_are_thinned_out_too(
    stores: tuple[AnchorStore, EvidenceStore],
) -> None:
    """Of an old day the last stays, and what an exchange of that day needs is found as before; what
    no entry commits to stays, and so does what is not old by the time of the entries."""
    _, store = stores
    answers = [said(AT + number * DAY / 4) for number in range(8)]
    for number, answer in enumerate(answers):
        store.keep(CERTIFICATE, ISSUER, answer, (AT + number * DAY / 4).timestamp())
        if number != 5:
            store.note(answer, number)
    clock = Clock(BEGIN + 400 * DAY_S)
    thinning = Thinning({evidence.FILE: store}, clock)
    await thinning.work()
    assert sum(1 for _ in store.statements()) == 8  # nothing came since: it is not old
    last = said(AT + 60 * DAY)
    store.keep(CERTIFICATE, ISSUER, last, (AT + 60 * DAY).timestamp())
    store.note(last, 8)
    await thinning.work()
    kept = [one.digest for one in store.statements()]
    assert last.digest in kept
    assert answers[5].digest in kept
    assert answers[-1].digest in kept
    assert len(kept) < 9
    found = store.statement(answers[0].certificate, BEGIN + DAY_S / 2)
    assert found is not None
    assert found.fetched_at - BEGIN < DAY_S


# ------------------------------------------------------------------ full disks, files that are held

WRITES: dict[str, Callable[[AnchorStore, EvidenceStore], object]] = {
    "add": lambda a, e: a.add(2, note(2), BEGIN),
    "add_cosignature": lambda a, e: a.add_cosignature(1, "— w AAAA\n"),
    "add_token": lambda a, e: a.add_token(1, "tsa", bytes(3000)),
    "close_batch": lambda a, e: a.close_batch(4e9),
    "prune": lambda a, e: a.thin_out(4e9),
    "thin_out": lambda a, e: e.thin_out(4e9),
    "keep": lambda a, e: e.keep(CERTIFICATE, ISSUER, said(AT + DAY), BEGIN + DAY_S),
}


def content(folder: Path) -> list[object]:
    """Everything that both files hold."""
    found: list[object] = []
    for name in (anchors.FILE, evidence.FILE):
        with contextlib.closing(sqlite3.connect(folder / name)) as connection:
            tables = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
            for (table,) in tables.fetchall():
                found.append(connection.execute(f"SELECT * FROM {table}").fetchall())  # noqa: S608
    return found


def fill(one: AnchorStore, two: EvidenceStore) -> None:
    """One of each kind, and an anchor and an answer that can be thinned out."""
    one.add(1, note(1), BEGIN)
    one.add_cosignature(1, "— v AAAA\n")
    answer = said(AT)
    two.keep(CERTIFICATE, ISSUER, answer, BEGIN)
    two.note(answer, 1)


GROWING: dict[str, Callable[[AnchorStore, EvidenceStore, int], None]] = {
    "add": lambda a, e, n: a.add(n + 2, note(n + 2), BEGIN),
    "add_cosignature": lambda a, e, n: a.add_cosignature(1, f"— w {n:096}\n"),
    "add_token": lambda a, e, n: a.add_token(1, f"tsa {n}", bytes(3000)),
    "keep": lambda a, e, n: e.keep(CERTIFICATE, ISSUER, said(AT + n * DAY), BEGIN + n * DAY_S),
}


@pytest.mark.parametrize("write", GROWING)
def test_a_full_disk_leaves_the_stores_as_they_were(
    tmp_path: Path, stores: tuple[AnchorStore, EvidenceStore], write: str
) -> None:
    """The write that does not fit says so (OSError) and leaves nothing; later it is made again."""
    one, two = stores
    fill(one, two)
    for store in stores:  # at this size SQLite says SQLITE_FULL, as on a full disk
        ((pages,),) = store._rows("PRAGMA page_count")
        store._rows(f"PRAGMA max_page_count = {pages}")
    before, written = content(tmp_path), 0
    with pytest.raises(OSError, match="full"):  # noqa: PT012
        while written < 500:
            GROWING[write](one, two, written + 1)
            before, written = content(tmp_path), written + 1
    assert content(tmp_path) == before
    for store in stores:
        store._rows("PRAGMA max_page_count = 1000000")
        assert store._rows("PRAGMA integrity_check") == [("ok",)]
    GROWING[write](one, two, written + 1)
    assert content(tmp_path) != before


@pytest.mark.parametrize("write", WRITES)
def test_a_store_that_somebody_holds_is_left_as_it_was(
    tmp_path: Path, stores: tuple[AnchorStore, EvidenceStore], write: str
) -> None:
    """SQLITE_BUSY: the write gives up (OSError), nothing of it is there, and it works later."""
    one, two = stores
    fill(one, two)
    before = content(tmp_path)
    with contextlib.ExitStack() as stack:
        for store, name in ((one, anchors.FILE), (two, evidence.FILE)):
            store._rows("PRAGMA busy_timeout = 1")
            other = sqlite3.connect(tmp_path / name, isolation_level=None)
            stack.callback(other.close)
            other.execute("BEGIN IMMEDIATE")
        with pytest.raises(OSError, match="locked"):
            WRITES[write](one, two)
    assert content(tmp_path) == before
    WRITES[write](one, two)


async def test_what_cannot_be_thinned_out_is_said(
    tmp_path: Path, stores: tuple[AnchorStore, EvidenceStore]
) -> None:
    """In the server's health, until it is done."""
    one, two = stores
    fill(one, two)
    thinning = Thinning({anchors.FILE: one, evidence.FILE: two}, Clock())
    one._rows("PRAGMA busy_timeout = 1")
    with contextlib.closing(
        sqlite3.connect(tmp_path / anchors.FILE, isolation_level=None)
    ) as other:
        other.execute("BEGIN IMMEDIATE")
        await thinning.work()
        assert anchors.FILE in thinning.report()["problem"]
    await thinning.work()
    assert thinning.report() == {"ok": True}
