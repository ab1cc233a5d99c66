"""mediator/journal/keyring.py and its files: keys that forget, and what a crash leaves of them."""

from __future__ import annotations

import contextlib
import errno
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

import orjson
import pytest
from click.testing import CliRunner

from console.cli.main import main
from exchange.journal.entries import Sealed, parse_entry
from exchange.problems import Code, Problem
from mediator.journal.key_files import KeyFiles
from mediator.journal.keyring import BLOCK, IndexName, KeyName, KeyRing
from mediator.journal.passphrase import (
    FILE,
    PassphraseKeys,
    change_passphrase,
    read_passphrase,
)
from mediator.journal.reader import JournalReader
from mediator.journal.verify import verify
from tests.journal.world import MPI, START, FailingFiles, entry, journal_in, part, until, write

DAYS = 365
NAME = KeyName.of(MPI, START, DAYS)


def seal(ring: KeyRing, count: int = 1) -> list[tuple[Sealed, bytes]]:
    key = ring.current(MPI, START, DAYS) or ring.make(MPI, START, DAYS)
    return [key.seal(b"text") for _ in range(count)]


def opens(ring: KeyRing, sealed: tuple[Sealed, bytes]) -> bool:
    key = ring.find(str(NAME))
    assert key is not None
    try:
        return key.open(*sealed) == b"text"
    except Problem as problem:
        assert problem.code is Code.SEALED_PART_ERASED  # noqa: PT017
        return False


@pytest.mark.parametrize(
    "text",
    ["LA/GOV/MPI 2026-11", "LA/GOV/MPI 2026-13 d1", "LA/GOV/MPI 2026-11 d0", "LA/GOV 2026-11 d1",
     "LA/GOV/MPI 2026-11 d", "LA/GOV/MPI 2026-11 d01", "LA/GOV/.. 2026-11 d1 ", ""],
)  # fmt: skip
def test_what_names_no_key_is_refused(text: str) -> None:
    """A member, a month and days, in one spelling; the name prints back."""
    assert KeyName.parse(str(NAME)) == NAME
    with pytest.raises(Problem):
        KeyName.parse(text)


def test_a_key_ends_its_days_after_its_month() -> None:
    """The days are counted from the first day after the month of writing."""
    assert str(KeyName(MPI, "2026-11", 1).ends()) == "2026-12-02"
    assert str(KeyName(MPI, "2026-12", 30).ends()) == "2027-01-31"


def test_one_record_is_forgotten_and_no_other(tmp_path: Path) -> None:
    """Before and after a restart; what is sealed later opens, too."""
    ring = KeyRing(tmp_path)
    sealed = seal(ring, 5)
    assert ring.puncture(NAME, [sealed[2][0].leaf])
    assert not ring.puncture(NAME, [sealed[2][0].leaf])
    sealed += seal(ring, 70)
    for again in (ring, KeyRing(tmp_path)):
        assert [opens(again, one) for one in sealed] == [at != 2 for at in range(75)]


def test_a_key_is_emptied_whole_and_goes_on(tmp_path: Path) -> None:
    """All that was sealed is gone; a later record has a leaf of its own and opens."""
    ring = KeyRing(tmp_path)
    old = seal(ring, 3)
    before = ring.retire(NAME)
    between = seal(ring)  # while the erasure is being recorded
    assert ring.puncture(NAME, before=before)
    new = seal(ring)
    assert [opens(ring, one) for one in [*old, *between, *new]] == [False] * 3 + [True] * 2
    assert not opens(KeyRing(tmp_path), old[0])
    assert before == (old[0][0].leaf // BLOCK + 1) * BLOCK
    state = ring.state(NAME)
    assert state is not None
    assert not state.spent
    ring.puncture(NAME, before=ring.retire(NAME))
    state = ring.state(NAME)
    assert state is not None
    assert state.spent


def test_a_block_that_is_used_up_is_followed_by_another(tmp_path: Path) -> None:
    """The message path is told that there is none; the next one is taken durably."""
    ring = KeyRing(tmp_path)
    key = ring.make(MPI, START, DAYS)
    key.next = key.end
    assert ring.current(MPI, START, DAYS) is None
    ((sealed, _),) = seal(ring)
    assert sealed.leaf == key.end


def test_a_key_file_that_was_put_back_leads_to_no_used_leaf(tmp_path: Path) -> None:
    """Blocks go with the time: those taken since the copy was made are passed over."""
    ring = KeyRing(tmp_path)
    ring.make(MPI, START, DAYS)
    copy = ring.path_of(NAME).read_bytes()
    later = START + timedelta(minutes=5)
    used = KeyRing(tmp_path).make(MPI, later, DAYS)
    ring.path_of(NAME).write_bytes(copy)
    again = KeyRing(tmp_path).make(MPI, later + timedelta(seconds=1), DAYS)
    assert again.next >= used.end


def test_the_files_are_their_owner_s(tmp_path: Path) -> None:
    """Mode 0600, drafts included: nobody else on the machine reads a key."""
    ring = KeyRing(tmp_path)
    seal(ring)
    ring.make_index_key(MPI, START)
    ring.puncture(NAME, [1])
    paths = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(paths) == 2
    assert {stat.S_IMODE(path.stat().st_mode) for path in paths} == {0o600}


# --- faults ----------------------------------------------------------------------------------


def faults(operations: int) -> list[tuple[int, bool]]:
    return [(at, persisted) for at in range(1, operations + 1) for persisted in (False, True)]


@pytest.mark.parametrize(("at", "persisted"), faults(8))
def test_a_crash_while_a_block_is_taken(tmp_path: Path, at: int, persisted: bool) -> None:
    """At each operation, before or after it took effect: no leaf twice, nothing is lost."""
    old = seal(KeyRing(tmp_path), 3)
    disk = FailingFiles(at=at, persisted=persisted)
    try:
        taken = KeyRing(tmp_path, files=disk).make(MPI, START, DAYS)
    except OSError:
        taken = None
    assert (taken is None) == (at <= disk.count)
    new = seal(KeyRing(tmp_path), 3)
    leaves = [sealed.leaf for sealed, _ in old + new] + ([taken.next] if taken else [])
    assert len(set(leaves)) == len(leaves)
    assert all(opens(KeyRing(tmp_path), one) for one in old + new)
    assert not [*tmp_path.rglob(".*")]


@pytest.mark.parametrize(("at", "persisted"), faults(8))
def test_a_crash_while_the_first_key_is_made(tmp_path: Path, at: int, persisted: bool) -> None:
    """A key is whole or not there: the next start seals, and opens what it sealed."""
    disk = FailingFiles(at=at, persisted=persisted)
    try:
        sealed = seal(KeyRing(tmp_path, files=disk))
    except OSError:
        sealed = []
    sealed += seal(KeyRing(tmp_path))
    assert all(opens(KeyRing(tmp_path), one) for one in sealed)


@pytest.mark.parametrize(("at", "persisted"), faults(10))
@pytest.mark.parametrize("whole", [False, True])
def test_a_crash_while_a_key_forgets(tmp_path: Path, at: int, persisted: bool, whole: bool) -> None:
    """It is forgotten when it is done again, nothing else is, and no draft knows it."""
    sealed = seal(KeyRing(tmp_path), 3)
    disk = FailingFiles(at=at, persisted=persisted)
    leaves, before = ([], (sealed[2][0].leaf)) if whole else ([sealed[1][0].leaf], 0)
    gone = {0, 1} if whole else {1}
    try:
        KeyRing(tmp_path, files=disk).puncture(NAME, leaves, before)
    except OSError:
        assert at <= disk.count
        half = [opens(KeyRing(tmp_path), one) for one in sealed]
        assert half in ([True] * 3, [at not in gone for at in range(3)])
    ring = KeyRing(tmp_path)
    ring.puncture(NAME, leaves, before)
    assert [opens(ring, one) for one in sealed] == [at not in gone for at in range(3)]
    seal(ring)
    assert not [*tmp_path.rglob(".*")]


@pytest.mark.parametrize(("at", "persisted"), faults(6))
def test_a_crash_while_an_index_key_is_destroyed(tmp_path: Path, at: int, persisted: bool) -> None:
    """Done again it is gone; meanwhile it is whole, or known to be damaged."""
    KeyRing(tmp_path).make_index_key(MPI, START)
    name = IndexName(MPI, "2026-11")
    disk = FailingFiles(at=at, persisted=persisted)
    try:
        KeyRing(tmp_path, files=disk).destroy_index_key(name)
    except OSError:
        assert at <= disk.count
    KeyRing(tmp_path).destroy_index_key(name)
    assert [*KeyRing(tmp_path).index_keys()] == []


async def test_without_room_for_a_key_nothing_is_recorded(tmp_path: Path) -> None:
    """A full disk refuses what must be sealed, and only while it is full."""
    disk = FailingFiles(operation="write", code=errno.ENOSPC)
    async with journal_in(tmp_path, keyring=KeyRing(tmp_path / "keys", files=disk)) as journal:
        with pytest.raises(Problem) as caught:
            await journal.record(entry(0), MPI, part(0))
        assert caught.value.code is Code.LOGGING_FAILED
        disk.operation = None
        assert (await journal.record(entry(0), MPI, part(0))).index == 0


async def test_a_damaged_key_refuses_what_must_be_sealed(tmp_path: Path) -> None:
    """No new key takes the place of one that cannot be read: a person must look."""
    await write(tmp_path, range(1))
    (path,) = (tmp_path / "keys").rglob("*.key")
    path.write_bytes(path.read_bytes()[:-1])
    async with journal_in(tmp_path) as journal:
        with pytest.raises(Problem) as caught:
            await journal.record(entry(1), MPI, part(1))
        assert caught.value.code is Code.LOGGING_FAILED


# --- passphrase ------------------------------------------------------------------------------


def test_under_a_passphrase_no_file_tells_a_key(tmp_path: Path) -> None:
    """Keys, keys of subjects and the store's own; with the passphrase all open again."""
    ring = KeyRing(tmp_path, PassphraseKeys.open(tmp_path, b"correct horse"))
    (sealed,) = seal(ring)
    index_key = ring.make_index_key(MPI, START)
    key = ring.find(str(NAME))
    assert key is not None
    seeds = [node.seed for node in key.cover.nodes] + [index_key]
    for path in tmp_path.rglob("*"):
        if path.is_file():
            assert not any(seed in path.read_bytes() for seed in seeds), path
    again = KeyRing(tmp_path, PassphraseKeys.open(tmp_path, b"correct horse"))
    assert opens(again, sealed)
    assert [key for _, key in again.index_keys()] == [index_key]


async def test_a_server_reads_its_own_journal_under_a_passphrase(tmp_path: Path) -> None:
    """Sealed parts and subjects open for what it answers itself; not for the reader of a copy."""
    keys = tmp_path / "keys"
    keys.mkdir(parents=True)
    ring = KeyRing(keys, PassphraseKeys.open(keys, b"correct horse"))
    async with journal_in(tmp_path, keyring=ring) as journal:
        await journal.record(entry(0), MPI, part(0), "la-nid:1")
        await until(lambda: journal.published_size == 1)
        reader = journal.reader()
        recorded = parse_entry(reader.entry(0))
        assert reader.open(recorded, reader.ciphertext(0)).part == part(0)
        assert recorded.subject in {each.tag for each in reader.tags("la-nid:1")}
        copied = JournalReader(tmp_path)
        with pytest.raises(Problem) as caught:
            copied.open(recorded, copied.ciphertext(0))
        assert caught.value.code is Code.SEALED_PART_UNREADABLE
    verdict = verify(tmp_path)
    assert (verdict.good, verdict.without_key) == (True, 1)
    (tmp_path / "passphrase").write_text("correct horse\n")
    shown = ["audit", "show", str(tmp_path), "0", "--json"]
    closed = CliRunner().invoke(main, shown)
    opened = CliRunner().invoke(main, [*shown, "--passphrase-file", str(tmp_path / "passphrase")])
    assert orjson.loads(closed.stdout)["sealed"] is None
    assert orjson.loads(opened.stdout)["sealed"]["body"] == part(0).body.decode()


def test_a_guess_costs_64_mib(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A store is made with N = 2^16, which stands in its file, and is opened with that."""
    monkeypatch.undo()  # what makes it cheap for the other tests
    PassphraseKeys.open(tmp_path, b"correct horse")
    PassphraseKeys.open(tmp_path, b"correct horse")
    content = KeyFiles(tmp_path).read(tmp_path / FILE, "key store")
    assert content is not None
    assert content[0] == 16


@pytest.mark.parametrize("passphrase", [b"correct", b"", b"x" * 2000])
def test_another_passphrase_is_refused(tmp_path: Path, passphrase: bytes) -> None:
    """Before anything is written under another key."""
    PassphraseKeys.open(tmp_path, b"correct horse")
    before = (tmp_path / FILE).read_bytes()
    with pytest.raises(Problem) as caught:
        PassphraseKeys.open(tmp_path, passphrase)
    assert caught.value.code is Code.INVALID_SETTINGS
    assert (tmp_path / FILE).read_bytes() == before


def opening(folder: Path) -> list[bytes]:
    """Which of two passphrases opens the store."""
    found = []
    for passphrase in (b"old", b"new"):
        with contextlib.suppress(Problem):
            PassphraseKeys.open(folder, passphrase)
            found.append(passphrase)
    return found


def test_another_passphrase_opens_what_the_old_one_sealed(tmp_path: Path) -> None:
    """Only the new one opens the store; the key files stay as they are, and an old copy of the
    store's file stays under the old passphrase."""
    ring = KeyRing(tmp_path, PassphraseKeys.open(tmp_path, b"old"))
    sealed = seal(ring, 2)
    copy = (tmp_path / FILE).read_bytes()
    change_passphrase(tmp_path, b"old", b"new")
    assert opening(tmp_path) == [b"new"]
    sealed += seal(ring)  # a server that runs goes on
    again = KeyRing(tmp_path, PassphraseKeys.open(tmp_path, b"new"))
    assert all(opens(again, one) for one in sealed)
    (tmp_path / FILE).write_bytes(copy)
    assert opening(tmp_path) == [b"old"]


@pytest.mark.parametrize(("at", "persisted"), faults(10))
def test_a_crash_while_the_passphrase_changes(tmp_path: Path, at: int, persisted: bool) -> None:
    """One of the two opens the store, and the change is made again."""
    sealed = seal(KeyRing(tmp_path, PassphraseKeys.open(tmp_path, b"old")))
    disk = FailingFiles(at=at, persisted=persisted)
    try:
        change_passphrase(tmp_path, b"old", b"new", disk)
    except OSError:
        assert at <= disk.count
    (passphrase,) = opening(tmp_path)
    if passphrase == b"old":
        change_passphrase(tmp_path, b"old", b"new")
    ring = KeyRing(tmp_path, PassphraseKeys.open(tmp_path, b"new"))
    assert all(opens(ring, one) for one in sealed)


@pytest.mark.parametrize(
    ("old", "new"), [(b"wrong", b"new"), (b"old", b""), (b"old", b"old"), (b"old", b"x" * 2000)]
)
def test_a_passphrase_is_changed_by_who_knows_it_to_another(
    tmp_path: Path, old: bytes, new: bytes
) -> None:
    """Else nothing is written; nor where there is no store."""
    PassphraseKeys.open(tmp_path, b"old")
    before = (tmp_path / FILE).read_bytes()
    for folder in (tmp_path, tmp_path / "none"):
        with pytest.raises(Problem) as caught:
            change_passphrase(folder, old, new)
        assert caught.value.code is Code.INVALID_SETTINGS
    assert (tmp_path / FILE).read_bytes() == before
    assert not (tmp_path / "none").exists()


def test_keys_from_before_a_passphrase_are_encrypted(tmp_path: Path) -> None:
    """They open meanwhile; afterwards only with the passphrase, and not under another's name."""
    sealed = seal(KeyRing(tmp_path), 2)
    ring = KeyRing(tmp_path, PassphraseKeys.open(tmp_path, b"correct horse"))
    assert opens(ring, sealed[0])
    assert ring.encrypt_plain() == 1
    assert ring.encrypt_plain() == 0
    assert opens(ring, sealed[1])
    with pytest.raises(Problem) as caught:
        KeyRing(tmp_path).find(str(NAME))
    assert "passphrase" in caught.value.detail
    other = KeyName.of(MPI, datetime(2026, 12, 1, tzinfo=UTC), DAYS)
    ring.path_of(other).write_bytes(ring.path_of(NAME).read_bytes())
    with pytest.raises(Problem):
        ring.find(str(other))


def test_a_passphrase_is_the_first_line(tmp_path: Path) -> None:
    """However the line ends."""
    path = tmp_path / "passphrase"
    path.write_bytes(b"correct horse\r\nmore\n")
    assert read_passphrase(path) == b"correct horse"
    with pytest.raises(Problem):
        read_passphrase(tmp_path)


async def test_a_journal_under_a_passphrase_verifies_without_it(tmp_path: Path) -> None:
    """All proofs hold; what is sealed is said to need the passphrase."""
    keys = tmp_path / "keys"
    ring = KeyRing(keys, PassphraseKeys.open(keys, b"correct horse"))
    async with journal_in(tmp_path, keyring=ring) as journal:
        receipt = await journal.record(entry(0), MPI, part(0))
    reader = JournalReader(tmp_path)
    assert reader.entry(0) == receipt.entry
    with pytest.raises(Problem) as caught:
        reader.open(parse_entry(receipt.entry), reader.ciphertext(0))
    assert caught.value.code is Code.SEALED_PART_UNREADABLE


SETTINGS = """\
server: LA/GOV/MOF/ss1
directory: data
address: https://127.0.0.1:5500
registry: {url: "http://127.0.0.1:1", root: root.json}
auth: {certificate: auth.pem, key: auth.key}
listen: {peer: "127.0.0.1:0"}
members: [{id: LA/GOV/MOF, seal: {certificate: seal.pem, key: seal.key}}]
"""


def test_the_command_changes_the_passphrase_of_a_server(tmp_path: Path) -> None:
    """It says which copies open with the old one; without a passphrase there is none to change."""
    keys = tmp_path / "data" / "journal" / "keys"
    PassphraseKeys.open(keys, b"old")
    (tmp_path / "new").write_text("new\n")
    (tmp_path / "old").write_text("old\n")
    settings = tmp_path / "server.yaml"
    settings.write_text(SETTINGS)
    command = ["mediator", "passphrase", str(settings), "--new", str(tmp_path / "new")]
    refused = CliRunner().invoke(main, command)
    assert (refused.exit_code, opening(keys)) == (1, [b"old"])
    assert Code.INVALID_SETTINGS in refused.output
    settings.write_text(SETTINGS + "journal: {passphrase_file: old}\n")
    done = CliRunner().invoke(main, command)
    assert (done.exit_code, opening(keys)) == (0, [b"new"]), done.output
    assert str(keys / FILE) in done.stdout
