"""Verification of keys: each that is gone is accounted for by an entry, or it is a finding."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from copy import copy
from pathlib import Path

import orjson
import pytest
from click.testing import CliRunner

from console.cli.main import main
from exchange.journal.entries import ERASURE, Erased, Kind, Side, parse_entry
from exchange.problems import Code, Problem
from mediator.journal.erasures import FILE as ERASURES
from mediator.journal.erasures import Erasures
from mediator.journal.keyring import KeyName, KeyRing
from mediator.journal.log import JournalSettings
from mediator.journal.passphrase import PassphraseKeys, opened
from mediator.journal.reader import JournalReader
from mediator.journal.recovery import LOCK
from mediator.journal.verify import verify
from tests.journal.world import MPI, START, STILL, entry, journal_in, part, write

SIZE = 20
NAME = f"{MPI} 2026-11 d3650"
PATH = "keys/LA/GOV/MPI/2026-11.d3650.key"
PLACE = f"keys/ ({NAME})"
SMALL_SEGMENTS = JournalSettings(publish_interval_s=1000, segment_max_bytes=4_000)


async def erase(directory: Path, leaves: Iterable[int], *, publish: bool = True) -> None:
    """Record that these leaves were erased, as an erasure does before the keys forget."""
    settings = STILL if publish else JournalSettings(publish_interval_s=1000)
    async with journal_in(directory, settings, held=not publish) as journal:
        said = Erased(NAME, "ground", tuple(leaves))
        system = entry(99)._replace(
            kind=Kind.SYSTEM, side=Side.SERVER, event=ERASURE, erased=said, size=None
        )
        await journal.record(system, MPI)


def leaf(directory: Path, index: int) -> int:
    """Which leaf of the month's key a record has."""
    sealed = parse_entry(JournalReader(directory).entry(index)).sealed
    assert sealed is not None
    return sealed.leaf


def forget(directory: Path, *leaves: int) -> None:
    assert KeyRing(directory / "keys").puncture(KeyName.of(MPI, START, 3650), leaves)


async def test_a_key_that_is_gone_without_an_entry_is_found_once(tmp_path: Path) -> None:
    """KeyLost with the key and the first record; whoever left keys out on purpose says so."""
    await write(tmp_path, range(SIZE), settings=STILL)
    (tmp_path / PATH).unlink()
    verdict = verify(tmp_path)
    (finding,) = verdict.findings
    assert (finding.code, finding.file, finding.index) == (Code.KEY_LOST, PLACE, 0)
    assert (verdict.sealed, verdict.lost, verdict.without_key) == (SIZE, SIZE, 0)
    left_out = verify(tmp_path, some_keys=True)
    assert left_out.good
    assert (left_out.lost, left_out.without_key) == (0, SIZE)


async def test_a_server_s_own_journal_has_its_keys(tmp_path: Path) -> None:
    """All keys destroyed at once are found there; a copy without any is as it was meant to be."""
    await write(tmp_path, range(SIZE), settings=STILL)
    shutil.rmtree(tmp_path / "keys")
    assert [one.code for one in verify(tmp_path).findings] == [Code.KEY_LOST]
    (tmp_path / LOCK).unlink()
    assert verify(tmp_path).good


async def test_a_record_that_a_key_forgot_needs_an_entry(tmp_path: Path) -> None:
    """Of two forgotten records, the one that no erasure names is found."""
    await write(tmp_path, range(SIZE), settings=SMALL_SEGMENTS)
    fifth, ninth = leaf(tmp_path, 5), leaf(tmp_path, 9)
    await erase(tmp_path, [fifth])
    forget(tmp_path, fifth, ninth)
    verdict = verify(tmp_path)
    (finding,) = verdict.findings
    assert (finding.code, finding.file, finding.index) == (Code.KEY_LOST, PLACE, 9)
    assert (verdict.erased, verdict.lost, verdict.opened) == (1, 1, SIZE - 2)


async def test_an_erasure_accounts_for_what_was_before_it_alone(tmp_path: Path) -> None:
    """A record that is younger than the entry cannot have been erased by it."""
    await write(tmp_path, range(2), settings=STILL)
    await erase(tmp_path, [leaf(tmp_path, 1) + 1])
    async with journal_in(tmp_path, STILL, keyring=KeyRing(tmp_path / "keys")) as journal:
        await journal.record(entry(3), MPI, part(3))
    forget(tmp_path, leaf(tmp_path, 3))
    assert [(one.code, one.index) for one in verify(tmp_path).findings] == [(Code.KEY_LOST, 3)]


async def test_an_erasure_that_is_not_published_yet_accounts_for_it(tmp_path: Path) -> None:
    """The entry is durable before the key forgets; verification may come between."""
    await write(tmp_path, range(SIZE), settings=STILL)
    fifth = leaf(tmp_path, 5)
    await erase(tmp_path, [fifth], publish=False)
    forget(tmp_path, fifth)
    verdict = verify(tmp_path)
    assert verdict.good, verdict.findings
    assert (verdict.erased, verdict.unpublished) == (1, 1)


async def test_a_later_run_knows_the_erasures_that_an_earlier_one_read(tmp_path: Path) -> None:
    """Of a run of the tree alone, the sealed parts are read later."""
    await write(tmp_path, range(SIZE), settings=STILL)
    fifth = leaf(tmp_path, 5)
    await erase(tmp_path, [fifth])
    forget(tmp_path, fifth)
    since = verify(tmp_path, tree_only=True).reached
    verdict = verify(tmp_path, since=since)
    assert verdict.good, verdict.findings
    assert verdict.erased == 1


async def test_the_list_of_erasures_repeats_the_log(tmp_path: Path) -> None:
    """erasures.json is derived: one that lies, lacks or is no list is found, with the place."""
    await write(tmp_path, range(SIZE), settings=STILL)
    fifth = leaf(tmp_path, 5)
    await erase(tmp_path, [fifth])
    forget(tmp_path, fifth)
    (tmp_path / "staging").mkdir(exist_ok=True)
    listed = Erasures()
    listed.look_through(tmp_path, SIZE + 1)
    listed.write(tmp_path)
    assert verify(tmp_path).good
    path = tmp_path / ERASURES
    whole = path.read_bytes()
    for change, index in (
        (whole.replace(rb":\"ground\"", rb":\"nobody\""), SIZE),
        (orjson.dumps(orjson.loads(whole) | {"entries": []}), SIZE),
        (whole[:-3], None),
    ):
        path.write_bytes(change)
        (finding,) = verify(tmp_path).findings
        assert (finding.code, finding.file, finding.index) == (
            Code.JOURNAL_CORRUPT,
            ERASURES,
            index,
        )


def _damaged(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)


async def test_key_files_under_a_passphrase_are_opened(tmp_path: Path) -> None:
    """With it everything is read, and may be by other processes; another one is refused."""
    keys = tmp_path / "journal/keys"
    ring = KeyRing(keys, PassphraseKeys.open(keys, b"right"))
    await write(tmp_path / "journal", range(SIZE), settings=STILL, keyring=ring)
    assert verify(tmp_path / "journal").without_key == SIZE
    passphrase = tmp_path / "passphrase"
    passphrase.write_bytes(b"right\n")
    store = copy(opened(keys, passphrase))  # as another process gets it
    verdict = verify(tmp_path / "journal", encryption=store)
    assert (verdict.good, verdict.opened) == (True, SIZE)
    command = ["audit", "verify", str(tmp_path / "journal"), "--json", "--processes", "1"]
    done = CliRunner().invoke(main, [*command, "--passphrase-file", str(passphrase)])
    assert orjson.loads(done.stdout)["verdicts"][0]["opened"] == SIZE
    passphrase.write_bytes(b"wrong\n")
    with pytest.raises(Problem) as caught:
        opened(keys, passphrase)
    assert caught.value.code is Code.INVALID_SETTINGS


async def test_every_key_file_is_read(tmp_path: Path) -> None:
    """Those of subjects' tags and of the key store, though no sealed part needs them."""
    keys = tmp_path / "keys"
    ring = KeyRing(keys)
    ring.make_index_key(MPI, START)
    PassphraseKeys.open(keys, b"passphrase")
    await write(tmp_path, range(2), settings=STILL, keyring=ring)
    assert verify(tmp_path).good
    for name, place in (
        ("LA/GOV/MPI/2026-11.index", f"keys/ ({MPI} 2026-11 index)"),
        ("store.key", "keys/store.key"),
    ):
        path = keys / name
        whole = path.read_bytes()
        _damaged(path)
        (finding,) = verify(tmp_path).findings
        assert (finding.code, finding.file) == (Code.SEALED_PART_UNREADABLE, place)
        path.write_bytes(whole)
