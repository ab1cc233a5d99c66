"""Verification of anchors: what was changed in their file is found, and the policy is demanded."""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from exchange.log.checkpoint import Checkpoint, sign_checkpoint
from exchange.log.cosignature import cosign
from exchange.log.notes import COSIGNATURE_ED25519, VerifierKey, parse_note
from exchange.log.policy import any_of
from exchange.problems import Code, Problem
from mediator.journal.anchors import FILE, AnchorStore
from mediator.journal.log import JournalSettings
from mediator.journal.verify import MAX_FINDINGS
from mediator.journal.verify.anchors import COMPARED, Anchored, verify_anchors
from tests.journal.world import KEY, MPI, ORIGIN, VERIFIER, entry, journal_in, until

WITNESS = Ed25519PrivateKey.from_private_bytes(b"w" * 32)
COSIGNER = VerifierKey.of("w.example", WITNESS.public_key(), COSIGNATURE_ED25519)
POLICY = any_of({"w": COSIGNER}, 1)
OFTEN = JournalSettings(publish_interval_s=0.01, anchor_s=0.01)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A journal of five entries with an anchor at each size; that of size three is cosigned."""
    folder = tmp_path_factory.mktemp("anchored")
    asyncio.run(_build(folder))
    return folder


async def _build(folder: Path) -> None:
    async with journal_in(folder, OFTEN) as opened:
        for number in range(5):
            await opened.record(entry(number), MPI)
            size = number + 1
            await until(lambda: opened.anchors.latest_size == size, 30)  # noqa: B023
        anchor = opened.anchors.at_size(3)
        assert anchor is not None
        line = cosign(parse_note(anchor.note).text, "w.example", WITNESS, 1700000000)
        opened.anchors.add_cosignature(3, str(line))


@pytest.fixture
def journal(built: Path, tmp_path: Path) -> Path:
    """A copy that a test may change."""
    return shutil.copytree(built, tmp_path / "journal")


def judged(journal: Path, *, policy: bool = True, size: int = 5) -> Anchored:
    return verify_anchors(journal, journal / "log", VERIFIER, size, POLICY if policy else None)


def change(journal: Path, statement: str, *arguments: object) -> None:
    with sqlite3.connect(journal / FILE) as connection:
        connection.execute(statement, arguments)


def test_a_quorum_covers_what_is_before_its_anchor(journal: Path) -> None:
    """All anchors fit the tree; the newest with a quorum says how many entries are covered."""
    found = judged(journal)
    assert (found.anchors, found.compared, found.witnessed) == (5, 5, 3)
    assert (found.cosigners, found.findings) == (("w",), ())
    assert judged(journal, policy=False).witnessed == 0


def test_a_cosignature_that_was_changed_is_found(journal: Path) -> None:
    """InvalidNote with the anchor; when it was taken away: NotWitnessed."""
    other = cosign("another text\n", "w.example", WITNESS, 1700000000)
    change(journal, "UPDATE cosignatures SET line = ?", str(other))
    (finding,) = judged(journal).findings
    assert finding.code is Code.INVALID_NOTE
    change(journal, "DELETE FROM cosignatures")
    (finding,) = judged(journal).findings
    assert (finding.code, finding.file) == (Code.NOT_WITNESSED, FILE)
    assert judged(journal, policy=False).findings == ()


@pytest.mark.parametrize(
    "note",
    [
        sign_checkpoint(Checkpoint(ORIGIN, 4, b"x" * 32), KEY),
        sign_checkpoint(Checkpoint(ORIGIN, 9, b"x" * 32), KEY),
        sign_checkpoint(Checkpoint(ORIGIN, 4, b"x" * 32), WITNESS),
        sign_checkpoint(Checkpoint("another", 4, b"x" * 32), KEY),
        b"no note",
    ],
)
def test_an_anchor_that_is_not_of_this_tree_is_found(journal: Path, note: bytes) -> None:
    """Another root at its size, another size, another key, another log, or none at all."""
    change(journal, "UPDATE anchors SET note = ? WHERE size = 4", note)
    (finding,) = judged(journal, policy=False).findings
    assert (finding.code, finding.file) == (Code.JOURNAL_FORKED, FILE)
    assert "size 4" in finding.detail


def test_an_anchor_beyond_the_log_is_found_unless_the_log_grew(journal: Path) -> None:
    """A log that was cut behind an anchor; one that is being written is no finding."""
    assert judged(journal, policy=False, size=4).findings == ()
    change(
        journal,
        "INSERT INTO anchors VALUES (9, 1.0, ?)",
        sign_checkpoint(Checkpoint(ORIGIN, 9, b"x" * 32), KEY),
    )
    (finding,) = judged(journal, policy=False).findings
    assert "size 9" in finding.detail


def test_a_damaged_file_is_said(journal: Path) -> None:
    """JournalCorrupt, with the file."""
    (journal / FILE).write_bytes(b"no database" * 400)
    with pytest.raises(Problem) as caught:
        judged(journal)
    assert (caught.value.code, caught.value.where) == (Code.JOURNAL_CORRUPT, FILE)


def test_of_very_many_anchors_a_part_is_compared(tmp_path: Path) -> None:
    """Evenly spread; those with a time-stamp are all compared."""
    store = AnchorStore.create(tmp_path)
    rows = [(size, 1.0, b"no note") for size in range(1, 5001)]
    store.close()
    with sqlite3.connect(tmp_path / FILE) as connection:
        connection.executemany("INSERT INTO anchors VALUES (?, ?, ?)", rows)
        stamped = [(size, "tsa", b"") for size in (1, 2, 3, 4)]
        connection.executemany("INSERT INTO tokens VALUES (?, ?, ?)", stamped)
    found = verify_anchors(tmp_path, tmp_path / "log", VERIFIER, 5000, None)
    assert found.anchors == 5000
    assert found.compared == COMPARED + 4
    assert len(found.findings) == MAX_FINDINGS
