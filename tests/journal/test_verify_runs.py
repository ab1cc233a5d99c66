"""Verification in runs: by several processes, from where the last run ended, of what is left."""

from __future__ import annotations

import contextlib
import random
import shutil
from dataclasses import replace
from pathlib import Path

import orjson
import pytest
from click.testing import CliRunner

from console.cli.main import main
from exchange.journal.entries import Kind, Side
from exchange.problems import Code, Problem
from mediator.journal import segments
from mediator.journal.holdings import FILE, PRUNED, Holdings
from mediator.journal.keyring import KeyRing
from mediator.journal.log import JournalSettings
from mediator.journal.verify import Verified, tree, verify
from mediator.journal.verify.state import Kept, read_state, write_state
from tests.journal.world import KEY, MPI, STILL, VERIFIER, entry, journal_in, write

VKEY = str(VERIFIER)
SMALL_SEGMENTS = JournalSettings(publish_interval_s=1000, segment_max_bytes=100_000)


def reached(directory: Path) -> Verified:
    found = verify(directory).reached
    assert found is not None
    return found


def files(directory: Path, pattern: str) -> list[Path]:
    return [path for path in sorted(directory.glob(pattern)) if path.is_file()]


@pytest.mark.parametrize("size", [1, 255, 256, 257, 300, 512, 600])
async def test_a_run_goes_on_where_the_last_one_ended(tmp_path: Path, size: int) -> None:
    """Whatever the size of then, the second run comes to where a whole one comes."""
    await write(tmp_path, range(size), settings=STILL)
    since = reached(tmp_path)
    await write(tmp_path, range(size, 600), settings=STILL)
    verdict = verify(tmp_path, since=since)
    assert verdict.good, verdict.findings
    assert (verdict.since, verdict.size, verdict.sealed) == (size, 600, 600 - size)
    assert verdict.reached == reached(tmp_path)


async def test_only_what_is_new_is_read(tmp_path: Path) -> None:
    """Old bundles and segments may be elsewhere by now; what is new is checked as ever."""
    await write(tmp_path, range(300), settings=SMALL_SEGMENTS)
    since = reached(tmp_path)
    await write(tmp_path, range(300, 600), settings=SMALL_SEGMENTS)
    (tmp_path / "log/tile/entries/000").unlink()
    segments.path_of(tmp_path / "segments", 0).unlink()
    assert verify(tmp_path, since=since).good
    assert not verify(tmp_path).good
    path = tmp_path / "log/tile/entries/001"
    path.write_bytes(path.read_bytes().replace(b"LA-299", b"LA-999").replace(b"LA-301", b"LA-x01"))
    found = verify(tmp_path, since=since).findings
    assert [(one.file, one.index) for one in found] == [
        ("log/tile/entries/001", 299),  # of a bundle that was not full then
        ("log/tile/entries/001", 301),
    ]


async def test_the_sealed_parts_follow_when_only_the_tree_was_verified(tmp_path: Path) -> None:
    """A run of the tree alone claims nothing about sealed parts: the next run reads them all."""
    await write(tmp_path, range(20), settings=STILL)
    since = verify(tmp_path, tree_only=True).reached
    assert since is not None
    verdict = verify(tmp_path, since=since)
    assert (verdict.since, verdict.sealed) == (20, 20)


async def test_a_fork_of_what_was_verified_is_told_and_all_is_read(tmp_path: Path) -> None:
    """Another history under the same key contradicts the last verified checkpoint."""
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    await write(ours, range(20), settings=STILL)
    await write(theirs, [*range(19), 77, *range(20, 30)], settings=STILL)
    verdict = verify(theirs, since=reached(ours))
    assert [one.code for one in verdict.findings] == [Code.JOURNAL_FORKED]
    assert (verdict.since, verdict.sealed, verdict.reached) == (0, 30, None)


async def test_a_log_that_was_set_back_is_told(tmp_path: Path) -> None:
    """A log that is shorter than it was verified to be is refused."""
    await write(tmp_path / "a", range(20), settings=STILL)
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    await write(tmp_path / "a", range(20, 30), settings=STILL)
    (finding,) = verify(tmp_path / "b", since=reached(tmp_path / "a")).findings
    assert finding.code is Code.JOURNAL_FORKED


async def test_a_state_reads_back_as_it_was_written(tmp_path: Path) -> None:
    """Several logs, each by its verifier key; no draft stays behind."""
    await write(tmp_path / "a", range(300), settings=STILL)
    verdict = verify(tmp_path / "a")
    assert verdict.reached is not None
    file = tmp_path / "state.json"
    assert read_state(file) == {}
    write_state(file, {verdict.vkey: verdict.reached})
    assert read_state(file) == {verdict.vkey: verdict.reached}
    assert files(tmp_path, "*state*") == [file]


@pytest.mark.parametrize(
    "change",
    [
        lambda log: log["edge"].__setitem__(1, "00" * 32),
        lambda log: log["edge"].__setitem__(0, "zz"),
        lambda log: log["records"].__setitem__(0, 301),
        lambda log: log.__setitem__("note", log["note"].replace("300", "400")),
        lambda log: log.pop("note"),
    ],
)
async def test_a_state_that_contradicts_itself_is_refused(tmp_path: Path, change: object) -> None:
    """The edge must give the root that was signed, and the place be within the checkpoint."""
    await write(tmp_path / "a", range(300), settings=STILL)
    verdict = verify(tmp_path / "a")
    assert verdict.reached is not None
    file = tmp_path / "state.json"
    write_state(file, {verdict.vkey: verdict.reached})
    document = orjson.loads(file.read_bytes())
    assert callable(change)
    change(document["logs"][verdict.vkey])
    file.write_bytes(orjson.dumps(document))
    with pytest.raises(Problem) as caught:
        read_state(file)
    assert caught.value.code in {Code.INVALID_DOCUMENT, Code.INVALID_NOTE}


async def test_several_processes_find_what_one_finds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The verdict depends neither on the number of processes nor on which is first."""
    await write(tmp_path, range(600), settings=SMALL_SEGMENTS)
    monkeypatch.setattr(tree, "UNIT_TILES", 1)
    assert verify(tmp_path, processes=2) == verify(tmp_path)
    source = random.Random(4)
    for pattern in ("log/tile/0/**/*", "log/tile/entries/**/*", "segments/*.seg"):
        paths = files(tmp_path, pattern)
        assert len(paths) > 1
        for path in paths:
            data = bytearray(path.read_bytes())
            data[source.randrange(len(data))] ^= 8
            path.write_bytes(data)
    one = verify(tmp_path)
    assert len({finding.file for finding in one.findings}) > 6
    assert verify(tmp_path, processes=2) == one


class Turned:
    """A key store of another kind: what is in the files is no key to whoever has the files."""

    method = 77

    def encrypt(self, name: str, data: bytes) -> bytes:
        return data[::-1]

    def decrypt(self, name: str, data: bytes) -> bytes:
        return data[::-1]


async def test_keys_that_are_encrypted_count_as_keys_that_are_elsewhere(tmp_path: Path) -> None:
    """Whoever verifies need not be able to read: an encrypted key is no finding."""
    await write(tmp_path, range(20), settings=STILL)
    assert verify(tmp_path).opened == 20
    assert KeyRing(tmp_path / "keys", Turned()).encrypt_plain() == 1
    verdict = verify(tmp_path)
    assert verdict.good, verdict.findings
    assert (verdict.sealed, verdict.opened, verdict.without_key) == (20, 0, 20)


async def _pruned(directory: Path) -> Holdings:
    """A journal whose first 256 entries went to an archive, as it should be done."""
    await write(directory, range(300), settings=SMALL_SEGMENTS)
    firsts = segments.segments_in(directory / "segments")
    holdings = Holdings(
        segments_from=max(first for first in firsts if first <= 256),
        entries_from=256,
        archive="/archive",
        manifest="ab" * 32,
    )
    async with journal_in(directory, STILL) as journal:
        receipt = await journal.record(
            entry(300)._replace(
                kind=Kind.SYSTEM, side=Side.SERVER, event=PRUNED, evidence=holdings.digest
            ),
            MPI,
        )
    holdings = replace(holdings, entry=receipt.index)
    (directory / FILE).write_bytes(bytes(holdings))
    (directory / "log/tile/entries/000").unlink()
    for first in firsts:
        if first < holdings.segments_from:
            segments.path_of(directory / "segments", first).unlink()
    return holdings


async def test_what_was_removed_as_the_log_says_is_no_damage(tmp_path: Path) -> None:
    """Its hashes are verified nevertheless; the verdict says how many entries are elsewhere."""
    await _pruned(tmp_path)
    verdict = verify(tmp_path)
    assert verdict.good, verdict.findings
    assert (verdict.size, verdict.elsewhere) == (301, 256)
    path = tmp_path / "log/tile/0/000"
    path.write_bytes(bytes(32) + path.read_bytes()[32:])
    assert "log/tile/1/000.p/1" in {one.file for one in verify(tmp_path).findings}


async def test_what_the_log_does_not_tell_of_is_damage(tmp_path: Path) -> None:
    """Nobody hides a removal by writing the file: the log must have the entry that tells of it."""
    holdings = await _pruned(tmp_path)
    (tmp_path / FILE).write_bytes(bytes(replace(holdings, archive="/elsewhere")))
    assert {one.file for one in verify(tmp_path).findings} == {FILE}
    (tmp_path / FILE).write_bytes(bytes(replace(holdings, entry=None)))
    assert {one.file for one in verify(tmp_path).findings} == {FILE}
    (tmp_path / FILE).write_bytes(b"{}")
    assert FILE in {one.file for one in verify(tmp_path).findings}
    (tmp_path / FILE).unlink()
    found = {one.file for one in verify(tmp_path).findings}
    assert "log/tile/entries/000" in found
    assert any(file.startswith("segments/") for file in found)


async def test_more_missing_than_was_said_is_damage(tmp_path: Path) -> None:
    """What is absent without standing in the file is found as ever."""
    holdings = await _pruned(tmp_path)
    segments.path_of(tmp_path / "segments", holdings.segments_from).unlink()
    found = {(one.file.split("/")[0], one.index) for one in verify(tmp_path).findings}
    assert ("segments", holdings.segments_from) in found


class Interrupted(BaseException):
    """Somebody ended the run."""


def interrupted(directory: Path, after: int, since: Verified | None = None) -> Verified | None:
    """How far a run came that was ended when it had told of its progress so many times; None: it
    came to its end."""
    told: list[Verified] = []

    def keep(verified: Verified) -> None:
        told.append(verified)
        if len(told) == after:
            raise Interrupted

    with contextlib.suppress(Interrupted):
        assert verify(directory, since=since, keep=keep).good
        return None
    return told[-1]


async def test_a_run_that_was_interrupted_is_gone_on_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Wherever it was ended: the next one reads only the rest, and comes to the same."""
    await write(tmp_path, range(260), settings=SMALL_SEGMENTS)
    first = reached(tmp_path)
    await write(tmp_path, range(260, 800), settings=SMALL_SEGMENTS)
    monkeypatch.setattr(tree, "UNIT_TILES", 1)
    whole = reached(tmp_path)
    for since in (None, first):
        told: list[Verified] = []
        assert verify(tmp_path, since=since, keep=told.append).good
        read = []
        for left in (told[1], told[len(told) // 2], told[-2]):
            state = tmp_path / "state.json"
            write_state(state, {VKEY: left})
            assert read_state(state) == {VKEY: left}
            verdict = verify(tmp_path, since=left)
            assert verdict.good, verdict.findings
            assert verdict.reached == whole
            read.append((verdict.since, verdict.sealed))
        assert read == sorted(read, key=lambda one: (one[0], -one[1]))
        assert read[0][0] == 512 if since is None else 768
        assert read[-1][0] == 768
        assert read[-1][1] < 300 < read[0][1]  # sealed parts follow when the tree is read


async def test_what_was_damaged_since_the_interruption_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the interrupted run read is read again when the rest does not lead to the root."""
    await write(tmp_path, range(600), settings=STILL)
    monkeypatch.setattr(tree, "UNIT_TILES", 1)
    left = interrupted(tmp_path, 1)
    assert left is not None
    assert left.begun is not None
    path = tmp_path / "log/tile/0/000"
    whole = path.read_bytes()
    path.write_bytes(bytes(32) + whole[32:])
    other = replace(left, begun=replace(left.begun, leaves=bytes(32)))
    found = verify(tmp_path, since=other).findings
    assert (found[0].file, found[0].index) == ("log/tile/0/000", 0)
    path.write_bytes(whole)
    assert verify(tmp_path, since=other).good


async def test_a_log_that_was_forked_since_the_interruption_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The interrupted run knows the checkpoint that it was about to verify."""
    monkeypatch.setattr(tree, "UNIT_TILES", 1)
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    await write(ours, range(300), settings=STILL)
    await write(theirs, [*range(299), 777, *range(300, 310)], settings=STILL)
    (finding,) = verify(theirs, since=interrupted(ours, 1)).findings
    assert finding.code is Code.JOURNAL_FORKED


async def test_a_state_is_written_while_a_run_goes_on(tmp_path: Path) -> None:
    """Now and then, and at the end; a run without progress leaves the file alone."""
    await write(tmp_path / "a", range(3), settings=STILL)
    verified = reached(tmp_path / "a")
    file = tmp_path / "state.json"
    seldom, often = Kept(file, 1e9), Kept(file, 0)
    seldom.note(VKEY, verified)
    assert not file.exists()
    seldom.write()
    assert read_state(file) == {VKEY: verified}
    file.unlink()
    seldom.write()
    assert not file.exists()
    often.note(VKEY, verified)
    assert read_state(file) == {VKEY: verified}
    assert Kept(file).since(VKEY) == verified


async def test_the_command_keeps_a_state(tmp_path: Path) -> None:
    """--state: the second run says what it did not read again; a fork exits with 1."""
    journal, state = tmp_path / "journal", tmp_path / "state.json"

    def run(directory: Path) -> tuple[int, dict[str, object]]:
        done = CliRunner().invoke(
            main, ["audit", "verify", str(directory), "--state", str(state), "--json"]
        )
        return done.exit_code, orjson.loads(done.stdout)["verdicts"][0]

    await write(journal, range(20), settings=STILL)
    code, verdict = run(journal)
    assert (code, verdict["verified_before"], verdict["sealed"]) == (0, 0, 20)
    await write(journal, range(20, 25), settings=STILL)
    code, verdict = run(journal)
    assert (code, verdict["verified_before"], verdict["sealed"]) == (0, 20, 5)
    told = CliRunner().invoke(main, ["audit", "verify", str(journal), "--state", str(state)])
    assert "the first 25 were verified by an earlier run" in told.stdout
    await write(tmp_path / "fork", range(40, 70), settings=STILL, key=KEY)
    code, verdict = run(tmp_path / "fork")
    assert (code, verdict["good"]) == (1, False)
    assert run(journal)[0] == 0  # the fork did not take the place of what was verified
