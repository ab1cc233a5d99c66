"""What entries say of files beside the log is held against these files."""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
from collections.abc import Container
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson
import psycopg
import psycopg.sql
import pytest
from click.testing import CliRunner
from cryptography import x509

from certs.responder import respond as answer_ocsp
from certs.revocation import Revoked
from console.cli.main import main
from exchange.evidence.revocation import Finding as Answer
from exchange.evidence.revocation import Status, check_ocsp, format_ocsp_request
from exchange.journal.entries import Entry, Kind, Side
from exchange.journal.subject_index import EVENT as SUBJECTS
from exchange.problems import Code
from mediator.background.anchoring import Anchoring
from mediator.journal import anchors, evidence, index, subject_tree
from mediator.journal.anchors import AnchorStore
from mediator.journal.evidence import EvidenceStore
from mediator.journal.log import Journal, JournalSettings
from mediator.journal.reader import JournalReader
from mediator.journal.verify import derived as module
from mediator.journal.verify import log_key, verify
from mediator.journal.verify.commitments import CONTRADICTED, PROOFS
from mediator.journal.verify.derived import verify_index
from mediator.witness.misbehaviour import Misbehaviour, Misbehaviours, Misdeed
from serving.clock import SystemClock
from serving.log.tiles import TileFolder
from tests.certs.pki import AT, issuer_of, seal
from tests.journal.test_times import OURS, token
from tests.journal.world import MPI, ORIGIN, STILL, entry, journal_in, until, write

DAY = timedelta(days=1)
CERTIFICATE = seal().certificate
ISSUER = OURS.issuer.certificate
RESPONDER = issuer_of(OURS.issue_ocsp(at=AT))


def said(at: datetime, *, revoked: bool = False) -> Answer:
    """An authority's word of a time; each time has its own bytes."""
    request = format_ocsp_request(CERTIFICATE, ISSUER)
    serial, why = CERTIFICATE.serial_number, x509.ReasonFlags.key_compromise
    revocations = [Revoked(serial, at, why)] if revoked else []
    answer = answer_ocsp(request, ISSUER, RESPONDER, revocations, at)
    return check_ocsp(answer, CERTIFICATE, ISSUER, at)


def system(event: str, at: datetime, **members: Any) -> Entry:
    return Entry(kind=Kind.SYSTEM, side=Side.SERVER, at=at, event=event)._replace(**members)


async def keep_all(
    folder: Path, times: list[datetime], revoked: Container[int] = ()
) -> list[Answer]:
    """A journal that relied on an answer of each of these times, and ends with the last; those of
    these numbers say that the certificate is revoked."""
    answers = [said(at, revoked=number in revoked) for number, at in enumerate(times)]
    async with journal_in(folder, STILL) as journal:
        with contextlib.closing(EvidenceStore.create(folder)) as store:
            for at, answer in zip(times, answers, strict=True):
                store.keep(CERTIFICATE, ISSUER, answer, at.timestamp())
                receipt = await journal.record(
                    system(
                        evidence.EVENT,
                        at,
                        certificate=answer.certificate,
                        evidence=answer.digest,
                        problem=Code.CERTIFICATE_REVOKED.value
                        if answer.status is Status.REVOKED
                        else None,
                    ),
                    MPI,
                )
                store.note(answer, receipt.index)
    return answers


def change(folder: Path, file: str, statement: str, *arguments: object) -> None:
    with contextlib.closing(sqlite3.connect(folder / file)) as connection:
        connection.execute(statement, arguments)
        connection.commit()


def found(folder: Path) -> list[tuple[Code, str, int | None]]:
    return [(one.code, one.file, one.index) for one in verify(folder).findings]


def take_away(folder: Path, answer: Answer) -> None:
    change(folder, evidence.FILE, "DELETE FROM statements WHERE digest = ?", answer.digest)


async def test_an_answer_that_was_taken_away_is_found(tmp_path: Path) -> None:
    """The entry that commits to it is named; without the file, every such entry."""
    answers = await keep_all(tmp_path, [AT, AT + DAY])
    assert found(tmp_path) == []
    take_away(tmp_path, answers[0])
    assert found(tmp_path) == [(Code.JOURNAL_CORRUPT, evidence.FILE, 0)]
    (tmp_path / evidence.FILE).unlink()
    assert found(tmp_path) == [(Code.JOURNAL_CORRUPT, evidence.FILE, at) for at in (0, 1)]
    key = log_key(tmp_path)
    published = shutil.copytree(tmp_path / "log", tmp_path / "published")
    assert verify(published, key=key).good  # of the log alone nothing else is asked


async def test_what_was_thinned_out_is_no_finding(tmp_path: Path) -> None:
    """Of an old day the last answer stays, and is demanded; of the last thirty days all do."""
    hour = timedelta(hours=1)
    old = [AT, AT + hour, AT + 2 * hour]
    young = [AT + 40 * DAY, AT + 40 * DAY + hour, AT + 41 * DAY]
    answers = await keep_all(tmp_path, [*old, *young])
    with contextlib.closing(EvidenceStore.create(tmp_path)) as store:
        now = (AT + 41 * DAY).timestamp()
        assert [store.thin_out(now), store.thin_out(now)] == [2, 0]
        assert [store.has(one.certificate, one.digest) for one in answers] == [
            *(False, False, True),
            *(True, True, True),
        ]
        kept = {one.digest for one in store.statements()}
        assert kept == {one.digest for one in (answers[2], *answers[3:])}
    assert found(tmp_path) == []
    take_away(tmp_path, answers[3])
    assert found(tmp_path) == [(Code.JOURNAL_CORRUPT, evidence.FILE, 3)]
    take_away(tmp_path, answers[2])
    assert [at for _, _, at in found(tmp_path)] == [0, 1, 2, 3]


async def test_in_a_part_of_an_archive_everything_may_be_old(tmp_path: Path) -> None:
    """What was thinned out later than the part ends is no finding; what stays is demanded, but for
    the last days, whose followers are not in the part."""
    hour = timedelta(hours=1)
    times = [AT, AT + hour, AT + 10 * DAY, AT + 12 * DAY, AT + 12 * DAY + hour]
    answers = await keep_all(tmp_path, times)
    take_away(tmp_path, answers[0])
    assert [at for _, _, at in found(tmp_path)] == [0]
    (tmp_path / "holdings.json").write_bytes(
        b'{"archive":"x","entries_from":0,"manifest":"","segments_from":0,"segments_until":5,"v":1}'
    )
    (tmp_path / "journal.lock").unlink()
    assert found(tmp_path) == []
    for answer in answers[3:]:
        take_away(tmp_path, answer)
    assert found(tmp_path) == []
    take_away(tmp_path, answers[1])
    assert [at for _, _, at in found(tmp_path)] == [0, 1]


async def test_an_archive_s_older_copy_lacks_the_newest_answers(tmp_path: Path) -> None:
    """There the file is replaced now and then; what it had at that time must be in it."""
    answers = await keep_all(tmp_path, [AT, AT + DAY, AT + 2 * DAY])
    (tmp_path / "holdings.json").write_bytes(
        b'{"archive":"","entries_from":0,"manifest":"","segments_from":0,"segments_until":3,"v":1}'
    )
    take_away(tmp_path, answers[2])
    assert found(tmp_path) == []
    take_away(tmp_path, answers[0])
    assert found(tmp_path) == [(Code.JOURNAL_CORRUPT, evidence.FILE, 0)]


# -------------------------------------------------------------------------------------- anchors


@pytest.fixture
async def anchored(tmp_path: Path) -> Path:
    """A journal of ten entries with an anchor at each size, the third with a token and the second
    with a cosignature: entry 5 commits to the anchors before it, entry 9 to those after."""
    folder = tmp_path / "journal"
    often = JournalSettings(publish_interval_s=0.01, anchor_s=0.01)
    async with journal_in(folder, often) as journal:
        anchoring = Anchoring(
            journal.anchors,
            lambda event, digest: _commit(journal, event, digest),
            SystemClock(),
        )
        for number in range(5):
            await journal.record(entry(number), MPI)
            await until(lambda: journal.anchors.latest_size == journal.size, 30)
            if number == 1:
                journal.anchors.add_cosignature(2, "— w1 AAAA\n")
            if number == 2:
                anchor = journal.anchors.at_size(3)
                assert anchor is not None
                journal.anchors.add_token(3, "tsa", token(anchor.text, AT))
        await anchoring.finish()
        for number in range(3):
            await journal.record(entry(number), MPI)
            await until(lambda: journal.anchors.latest_size == journal.size, 30)
        await anchoring.finish()
        assert anchoring.report() == {"ok": True}
    return folder


async def _commit(journal: Journal, event: str, digest: str) -> int:
    return (await journal.record(system(event, datetime.now(UTC), evidence=digest), MPI)).index


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM anchors WHERE size = 4",
        "DELETE FROM tokens WHERE size = 3",
        "DELETE FROM cosignatures WHERE size = 2",
        "UPDATE cosignatures SET line = '— w2 AAAA' || x'0a'",
        "UPDATE anchors SET at = at - 1 WHERE size = 1",
        "UPDATE batches SET statement = replace(statement, '5', '6') WHERE until = 5",
        "DELETE FROM batches WHERE until = 5",
        "DELETE FROM anchors WHERE size = 5",
    ],
)
async def test_of_anchors_nothing_is_taken_away_unseen(anchored: Path, statement: str) -> None:
    """An anchor without any evidence, a token, a cosignature, the statement itself: the entry that
    commits to them is named."""
    assert found(anchored) == []
    change(anchored, anchors.FILE, "PRAGMA foreign_keys = OFF")
    change(anchored, anchors.FILE, statement)
    assert (Code.JOURNAL_CORRUPT, anchors.FILE, 5) in found(anchored)


async def test_it_is_said_how_much_is_missing(anchored: Path) -> None:
    """What the entry commits to, and what there is."""
    change(anchored, anchors.FILE, "DELETE FROM anchors WHERE size IN (1, 4)")
    (finding,) = verify(anchored).findings
    assert "sizes 1 to 5" in finding.detail
    assert "commits to 5 anchors, 1 cosignatures and 1 time-stamps" in finding.detail
    assert "there are 3 anchors, 1 cosignatures and 1 time-stamps" in finding.detail


async def test_a_copy_s_anchors_may_be_older_than_its_log(anchored: Path) -> None:
    """One batch may have been committed to while the copy was made, and no more."""
    for table, column in (("batches", "until"), ("anchors", "size")):
        change(anchored, anchors.FILE, f"DELETE FROM {table} WHERE {column} > 5")  # noqa: S608
    assert found(anchored) == []
    for table, column in (("tokens", "size"), ("batches", "until"), ("anchors", "size")):
        change(anchored, anchors.FILE, f"DELETE FROM {table} WHERE {column} > 2")  # noqa: S608
    assert [one[2] for one in found(anchored)] == [5]


async def test_thinning_out_leaves_what_was_stated_to_stay(anchored: Path) -> None:
    """Of a batch that is old all but that may be missing, of a young one nothing."""
    later = datetime.now(UTC) + 10 * DAY
    with contextlib.closing(AnchorStore.create(anchored)) as store:
        assert store.thin_out(later.timestamp()) > 0
        assert store.sizes()[:3] == [2, 3, 5]
    assert {one[2] for one in found(anchored)} == {5, 9}  # they are of today
    async with journal_in(anchored, STILL) as journal:
        await journal.record(entry(0)._replace(at=later), MPI)
    assert found(anchored) == []
    change(anchored, anchors.FILE, "DELETE FROM cosignatures WHERE size = 2")
    ((_, _, index),) = found(anchored)
    assert index == 5


async def test_a_revoked_answer_is_not_thinned_out_by_good_ones(tmp_path: Path) -> None:
    """In the middle of an old day: what says that a certificate is revoked is missed."""
    hours = [AT + number * timedelta(hours=1) for number in range(3)]
    answers = await keep_all(tmp_path, [*hours, AT + 41 * DAY], revoked={1})
    with contextlib.closing(EvidenceStore.create(tmp_path)) as store:
        store.thin_out((AT + 41 * DAY).timestamp())
        assert store.has(answers[1].certificate, answers[1].digest)
    assert found(tmp_path) == []
    take_away(tmp_path, answers[1])
    assert found(tmp_path) == [(Code.JOURNAL_CORRUPT, evidence.FILE, 1)]


# ------------------------------------------------------------------------------------- subjects


async def commit_to_subjects(folder: Path, *, root: str | None = None, first: int = 0) -> Path:
    """Ten entries about three subjects, and what the log commits to; gives the server's file."""
    async with journal_in(folder, STILL) as journal:
        for number in range(10):
            await journal.record(entry(number), MPI, subject=f"la-province:LA-{number % 3}")
    path = subject_tree.path_of(folder, 0, 10)
    made = subject_tree.make(path, TileFolder(folder / "log"), 0, 10, 10)
    made = made._replace(first=first, root=root or made.root)
    async with journal_in(folder, STILL) as journal:
        await journal.record(system(SUBJECTS, datetime.now(UTC), subjects=made), MPI)
    return path


async def test_an_index_of_subjects_is_made_anew_from_the_entries(tmp_path: Path) -> None:
    """What the log committed to must be what its entries amount to."""
    await commit_to_subjects(tmp_path / "true")
    assert found(tmp_path / "true") == []
    await commit_to_subjects(tmp_path / "false", root="ab" * 32)
    assert found(tmp_path / "false") == [(Code.INVALID_PROOF, "log/", 10)]


async def test_a_server_s_file_of_subjects_is_compared(tmp_path: Path) -> None:
    """One that answers otherwise is named, and one that is no database; it may be missing."""
    path = await commit_to_subjects(tmp_path)
    change(tmp_path, f"subjects/{path.name}", "UPDATE leaves SET indexes = '1' WHERE number = 1")
    expected = [(Code.JOURNAL_CORRUPT, f"subjects/{path.name}", 10)]
    assert found(tmp_path) == expected
    path.write_bytes(b"no database" * 1000)
    assert found(tmp_path) == expected
    path.unlink()
    assert found(tmp_path) == []


async def test_commitments_to_subjects_follow_one_another(tmp_path: Path) -> None:
    """Between two of them no entry can hide."""
    await write(tmp_path, range(1), settings=STILL)
    async with journal_in(tmp_path, STILL) as journal:
        for number in range(9):
            await journal.record(entry(number), MPI, subject="la-province:LA-1")
    folder = TileFolder(tmp_path / "log")
    for first, end in ((0, 4), (5, 10)):
        path = subject_tree.path_of(tmp_path, first, end)
        made = subject_tree.make(path, folder, first, end, verify(tmp_path).size)
        async with journal_in(tmp_path, STILL) as journal:
            await journal.record(system(SUBJECTS, datetime.now(UTC), subjects=made), MPI)
    (finding,) = verify(tmp_path).findings
    assert (finding.code, finding.index) == (Code.INVALID_PROOF, 11)


# --------------------------------------------------------------------------------- misbehaviour


async def test_a_proof_of_misbehaviour_that_was_changed_is_found(tmp_path: Path) -> None:
    """Or taken away; a copy that leaves the folder out is as it was meant to be."""
    shown = Misbehaviour(
        Misdeed.ROLLBACK, "log", (), f"{AT:%FT%TZ}", "us", "peer", b"known", b"shown", 0
    )
    folder = tmp_path / "journal"
    path = folder / PROOFS / shown.name
    assert Misbehaviours(path.parent).keep(shown)
    async with journal_in(folder, STILL) as journal:
        await journal.record(system(CONTRADICTED, AT, evidence=shown.digest), MPI)
    assert found(folder) == []
    expected = [(Code.JOURNAL_CORRUPT, "misbehaviour/", 0)]
    path.write_bytes(path.read_bytes().replace(b"peer", b"poor"))
    assert found(folder) == expected
    path.unlink()
    assert found(folder) == expected
    path.parent.rmdir()
    assert found(folder) == expected
    (folder / "journal.lock").unlink()
    assert found(folder) == []


# -------------------------------------------------------------------------------------- derived


ROWS = {
    "taken away": "DELETE FROM entries WHERE idx = 3",
    "of another time": "UPDATE entries SET at = at + 1 WHERE idx = 3",
    "of another message": "UPDATE entries SET id = 'another' WHERE idx = 3",
    "of another shape": "UPDATE entries SET shape = shape + 1 WHERE idx = 3",
    "another outcome": "UPDATE shapes SET problem = 'AccessDenied'",
}


@pytest.mark.parametrize("what", ROWS)
async def test_a_row_of_the_search_index_that_was_changed_is_found(
    tmp_path: Path, what: str
) -> None:
    """An entry must not be hidden from searches; the entry is named."""
    await write(tmp_path, range(6), settings=STILL)
    assert derived(tmp_path) == (6, [])
    change(tmp_path, index.FILE, ROWS[what])
    assert (index.FILE, 3) in derived(tmp_path)[1]


async def test_a_search_index_that_is_no_index_is_found(tmp_path: Path) -> None:
    """It is derived: it may be missing, and may not be damaged."""
    await write(tmp_path, range(6), settings=STILL)
    (tmp_path / index.FILE).write_bytes(b"no database" * 1000)
    assert derived(tmp_path) == (0, [(index.FILE, None)])
    result = CliRunner().invoke(main, ["audit", "verify", str(tmp_path), "--processes", "1"])
    assert result.exit_code == 1
    assert index.FILE in result.output
    (tmp_path / index.FILE).unlink()
    assert derived(tmp_path) == (0, [])


async def test_every_row_is_compared_when_it_is_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A row that the sample passes over is found; the comparison goes on from an entry."""
    await write(tmp_path, range(600), settings=STILL)
    change(tmp_path, index.FILE, "UPDATE entries SET id = 'another' WHERE idx = 3")
    monkeypatch.setattr(module, "BUNDLES", 1)

    def compared(*words: str) -> tuple[int, int]:
        command = ["audit", "verify", str(tmp_path), "--json", "--processes", "1", *words]
        verdict = orjson.loads(CliRunner().invoke(main, command).stdout)["verdicts"][0]
        return verdict["indexed"], len(verdict["findings"])

    assert compared() == (600 - 512, 0)
    assert compared("--index") == (600, 1)
    assert compared("--index-from", "256") == (600 - 256, 0)


async def test_a_search_shows_no_row_that_is_not_its_entry(tmp_path: Path) -> None:
    """A hit is held against its entry, and that against the tree, before it is shown."""
    await write(tmp_path, range(6), settings=STILL)
    command = ["audit", "search", str(tmp_path), "--id"]
    (bundle,) = (tmp_path / "log/tile/entries").rglob("6")
    message = orjson.loads(JournalReader(tmp_path).entry(3))["id"]
    assert CliRunner().invoke(main, [*command, message]).exit_code == 0
    change(tmp_path, index.FILE, "UPDATE entries SET at = at + 60000 WHERE idx = 3")
    done = CliRunner().invoke(main, [*command, message])
    assert done.exit_code == 1
    assert message not in done.stdout
    assert Code.JOURNAL_CORRUPT in done.output
    (tmp_path / index.FILE).unlink()
    assert CliRunner().invoke(main, [*command, message]).exit_code == 0
    bundle.write_bytes(bundle.read_bytes().replace(message.encode(), b"X" * len(message)))
    done = CliRunner().invoke(main, [*command, "X" * len(message)])
    assert (done.exit_code, Code.JOURNAL_CORRUPT in done.output) == (1, True)


@pytest.mark.needs_postgresql
async def test_a_row_in_postgresql_that_was_changed_is_found(
    tmp_path: Path, postgresql_url: str
) -> None:
    """The same of an index that servers share."""
    url = postgresql_url.replace("+psycopg", "")
    settings = JournalSettings(publish_interval_s=1000, index_database=url)
    await write(tmp_path, range(6), settings=settings)
    assert derived(tmp_path, url) == (6, [])
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("SET search_path TO DEFAULT")
        tables = connection.execute(
            "SELECT table_schema, table_name FROM information_schema.columns"
            " WHERE column_name = 'request_id' AND table_schema NOT LIKE 'pg%'"
        ).fetchall()
        for schema, table in tables:
            connection.execute(
                psycopg.sql.SQL("UPDATE {} SET id = 'another' WHERE idx = 3").format(
                    psycopg.sql.Identifier(schema, table)
                )
            )
    assert derived(tmp_path, url) == (6, [(index.FILE, 3)])


def derived(folder: Path, database: str | None = None) -> tuple[int, list[tuple[str, int | None]]]:
    """How many rows were compared, and what is wrong."""
    size = verify(folder).size
    checked = verify_index(folder, folder / "log", ORIGIN, size, database)
    return checked.compared, [(one.file, one.index) for one in checked.findings]
