"""Reconciliation of two journals: what is read is proven, what is found is shown with its proof."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson
import pytest
from click.testing import CliRunner

from benchmarks.entries import BEGIN, CONSUMER_SERVER, ORIGINS, PROVIDER_SERVER
from benchmarks.entries import entry as entry_of
from console.cli.main import main
from exchange.identifiers import ServerId
from exchange.journal.entries import Entry, Side, parse_entry
from exchange.log.notes import VerifierKey
from exchange.log.proof import check_proof, parse_proof
from exchange.problems import Code, Problem
from mediator.journal import reconcile as module
from mediator.journal.keyring import KeyRing
from mediator.journal.log import Journal
from mediator.journal.pairing import Fault
from mediator.journal.reader import JournalReader
from mediator.journal.reconcile import Asked, Report, reconcile
from mediator.journal.whole_log import server_of, whole_log
from tests.journal.world import KEY, STILL

COUNT = 600
Change = Callable[[int, Entry], Entry | None]


async def _write(directory: Path, side: Side, change: Change, forged: int | None = None) -> None:
    """One side's journal; of entry ``forged`` another signature is kept than was made."""
    journal = await Journal.open(
        directory,
        origin=ORIGINS[side],
        signing_key=KEY,
        keyring=KeyRing(directory / "keys"),
        settings=STILL,
    )
    for start in range(0, COUNT, 50):
        records = []
        for number in range(start, start + 50):
            told, member, part = entry_of(number, COUNT, side)
            if number == forged and part is not None:
                part = part._replace(signature=bytes(64))
            if (kept := change(number, told)) is not None:
                records.append(journal.record(kept, member, part))
        await asyncio.gather(*records)
    await journal.close()


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The journals of the two sides, as they should be."""
    folder = tmp_path_factory.mktemp("reconcile")
    for side in (Side.CONSUMER, Side.PROVIDER):
        asyncio.run(_write(folder / side, side, lambda _, told: told))
    return folder


def changed(original: Path, folder: Path, side: Side, change: Change) -> tuple[Path, Path]:
    """Both journals, that of one side with entries changed or left out before they were signed."""
    asyncio.run(_write(folder / side, side, change))
    other = Side.PROVIDER if side is Side.CONSUMER else Side.CONSUMER
    paths = {side: folder / side, other: original / other}
    return paths[Side.CONSUMER], paths[Side.PROVIDER]


def held(a: Path, b: Path, **asked: Any) -> Report:
    period = Asked(**asked)
    sides = [[whole_log(JournalReader(one), period)] for one in (a, b)]
    return reconcile(*sides, period)


@pytest.mark.parametrize("content", [False, True])
def test_two_sides_that_tell_alike_agree(original: Path, content: bool) -> None:
    """Every exchange pairs, whichever side is named first, also by what was signed."""
    for a, b in (("consumer", "provider"), ("provider", "consumer")):
        report = held(original / a, original / b, content=content)
        assert report.good
        assert (report.exchanges, report.agreeing, report.listed) == (300, 300, [])
        assert report.clock.pairs == 300
        assert report.clock.median() == 0


def test_what_one_side_left_out_is_found_with_its_proof(original: Path, tmp_path: Path) -> None:
    """The other side's entries are shown, each with a proof that anybody can check."""
    a, b = changed(
        original, tmp_path, Side.CONSUMER, lambda n, told: None if n in {10, 11} else told
    )
    done = CliRunner().invoke(main, ["audit", "reconcile", str(a), str(b), "--json"])
    assert done.exit_code == 1
    document = orjson.loads(done.stdout)
    assert (document["good"], document["lacks"], document["agreeing"]) == (False, 2, 299)
    found = document["findings"]
    assert [(one["side"], one["message"]) for one in found] == [("A", "request"), ("A", "answer")]
    key = VerifierKey.parse(document["sides"]["B"][0]["vkey"])
    for one in found:
        (shown,) = one["entries"]
        entry = parse_entry(shown["entry"].encode())
        assert (entry.id, entry.side) == (one["id"], Side.PROVIDER)
        checkpoint = check_proof(parse_proof(shown["proof"].encode()), shown["entry"].encode(), key)
        assert checkpoint.root.hex() == document["sides"]["B"][0]["root"]


def test_the_provider_that_left_out_an_answer_is_found(original: Path, tmp_path: Path) -> None:
    """Turned round: B lacks it, whichever is named first."""
    a, b = changed(original, tmp_path, Side.PROVIDER, lambda n, told: None if n == 21 else told)
    (found,) = held(a, b).listed
    assert (found.lacking, found.mismatch.message) == (1, "answer")
    (turned,) = held(b, a).listed
    assert turned.lacking == 0


@pytest.mark.parametrize(
    ("member", "value"),
    [("status", [200]), ("size", {"of": 1}), ("purpose", ["any"]), ("problem", [1])],
)
def test_an_entry_with_other_kinds_of_values_is_told(
    original: Path, tmp_path: Path, member: str, value: object
) -> None:
    """Whoever puts something else into its log does not end the comparison, and lacks the entry."""
    a, b = changed(
        original,
        tmp_path,
        Side.PROVIDER,
        lambda n, told: told._replace(**{member: value}) if n == 31 else told,
    )
    report = held(a, b)
    assert (report.unreadable, report.lacks, report.good) == (1, 1, False)


def test_what_differs_is_named(original: Path, tmp_path: Path) -> None:
    """A status that one side recorded otherwise, with what each says."""
    a, b = changed(
        original,
        tmp_path,
        Side.PROVIDER,
        lambda n, told: told._replace(status=200, size=1) if n == 31 else told,
    )
    report = held(a, b)
    assert (report.differs, report.lacks, report.good) == (1, 0, False)
    (found,) = report.listed
    assert "size" in found.mismatch.members
    told = CliRunner().invoke(main, ["audit", "reconcile", str(a), str(b)])
    assert told.exit_code == 1
    assert "answer differs in" in told.stdout
    assert f"{found.exchange.id}" in told.stdout


def test_another_content_is_found_where_keys_are_here(original: Path, tmp_path: Path) -> None:
    """Entries alike, signatures not: only who opens the sealed parts can tell."""
    a, b = tmp_path / "consumer", original / "provider"
    asyncio.run(_write(a, Side.CONSUMER, lambda _, told: told, forged=5))
    assert held(a, b).good
    (found,) = held(a, b, content=True).listed
    assert (found.mismatch.fault, found.mismatch.members) == (Fault.DIFFERS, ("signed",))
    shutil.rmtree(a / "keys")
    assert held(a, b, content=True).good


def test_a_period_is_that_of_exchanges(original: Path) -> None:
    """An exchange counts when it begins in the period, as either side tells; the rest is not read
    beyond a bundle."""
    month = datetime(2025, 6, 1, tzinfo=UTC)
    report = held(
        original / "consumer", original / "provider", since=month, until=month + timedelta(days=30)
    )
    journal = JournalReader(original / "consumer")
    begins = [parse_entry(journal.entry(n)).at for n in range(0, COUNT, 2)]
    expected = [at for at in begins if month <= at < month + timedelta(days=30)]
    assert report.exchanges == report.agreeing == len(expected) > 5
    for read in (side[0] for side in report.sides):
        assert 0 < read.end - read.start < COUNT
    both = [str(original / "consumer"), str(original / "provider")]
    done = CliRunner().invoke(main, ["audit", "reconcile", *both, "--period", "2025-06", "--json"])
    assert orjson.loads(done.stdout)["exchanges"] == len(expected)


def test_clocks_that_drift_are_told_by_day(original: Path, tmp_path: Path) -> None:
    """From a day on one clock is five seconds ahead: these days are named, and nothing lacks."""
    turn = BEGIN + timedelta(days=600)

    def ahead(_: int, told: Entry) -> Entry:
        return told if told.at < turn else told._replace(at=told.at + timedelta(seconds=5))

    a, b = changed(original, tmp_path, Side.PROVIDER, ahead)
    report = held(a, b)
    assert (report.lacks, report.differs, report.good) == (0, 0, False)
    assert set(report.drifting.values()) == {5000}
    assert min(report.drifting) >= turn.date().isoformat()
    assert held(a, b, clock_limit_ms=6000).good
    assert held(b, a).clock.largest() == -5000


def test_an_entry_that_was_changed_stops_it(original: Path, tmp_path: Path) -> None:
    """Nothing is said of entries that are not in the signed tree: the file is named."""
    copy = tmp_path / "copy"
    shutil.copytree(original / "provider", copy)
    path = copy / "log/tile/entries/001"
    path.write_bytes(path.read_bytes().replace(b'"status":200', b'"status":204', 1))
    with pytest.raises(Problem) as caught:
        held(original / "consumer", copy)
    assert caught.value.code in {Code.JOURNAL_CORRUPT, Code.INVALID_PROOF}


def test_a_copy_without_keys_and_segments_suffices(original: Path, tmp_path: Path) -> None:
    """The published log and its description are enough."""
    copy = tmp_path / "copy"
    copy.mkdir()
    shutil.copytree(original / "provider/log", copy / "log")
    shutil.copy(original / "provider/journal.json", copy)
    assert held(original / "consumer", copy, content=True).good


def test_memory_does_not_grow_with_what_is_compared(
    original: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In many parts it comes to the same; and the list of findings has an end."""
    monkeypatch.setattr(module, "_PART_ENTRIES", 7)
    assert held(original / "consumer", original / "provider").agreeing == 300


def test_the_list_of_findings_has_an_end(
    original: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The earliest are listed, all are counted."""
    monkeypatch.setattr(module, "MAX_LISTED", 10)
    a, b = changed(original, tmp_path, Side.CONSUMER, lambda n, told: None if n % 2 else told)
    report = held(a, b)
    assert report.lacks == 300
    assert 10 <= len(report.listed) <= 20
    times = [found.mismatch.at for found in report.listed]
    assert times == sorted(times)
    assert times[0] < (BEGIN + timedelta(days=7)).timestamp() * 1000


def test_others_exchanges_are_left_alone(original: Path, tmp_path: Path) -> None:
    """What one of them exchanged with somebody else is not compared."""
    somebody = ServerId.parse("LA/GOV/MOF/ss9")
    a, b = changed(
        original,
        tmp_path,
        Side.CONSUMER,
        lambda n, told: told._replace(peer=somebody) if n >= 300 else told,
    )
    report = held(a, b)
    assert report.agreeing == 150
    assert all(found.mismatch.consumer is None for found in report.listed)


def test_a_log_is_that_of_the_server_in_its_name(original: Path) -> None:
    """The origin names the server; who is the other side's peer is known by that."""
    assert server_of(JournalReader(original / "consumer")) == CONSUMER_SERVER
    assert server_of(JournalReader(original / "provider")) == PROVIDER_SERVER


@pytest.mark.parametrize("period", ["2026-13", "2026", "2026-02/2026-01", "yesterday", "2026-1-1"])
def test_a_period_that_is_none_is_refused(original: Path, period: str) -> None:
    """Wrong usage is told as such."""
    both = [str(original / side) for side in ("consumer", "provider")]
    done = CliRunner().invoke(main, ["audit", "reconcile", *both, "--period", period])
    assert done.exit_code == 2
