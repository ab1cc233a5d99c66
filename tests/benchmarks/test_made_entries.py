"""The generator of large journals writes real ones, the same each time."""

from __future__ import annotations

import asyncio
from pathlib import Path

from benchmarks.entries import BEGIN, SPAN_MS, write
from exchange.journal.entries import Entry, Kind, Side, parse_entry
from mediator.journal.reader import JournalReader
from mediator.journal.verify import verify


def _entries(directory: Path) -> list[Entry]:
    reader = JournalReader(directory)
    return [parse_entry(reader.entry(index)) for index in range(reader.checkpoint.size)]


def test_a_run_that_stopped_goes_on_and_makes_the_same_entries(tmp_path: Path) -> None:
    """Entry n depends on n alone: two runs after each other write what one would have written."""
    asyncio.run(write(tmp_path / "once", 600))
    asyncio.run(write(tmp_path / "twice", 250))  # of a shorter span: only the times differ
    asyncio.run(write(tmp_path / "twice", 600))
    once, twice = _entries(tmp_path / "once"), _entries(tmp_path / "twice")
    assert len(once) == len(twice) == 600
    assert [entry.id for entry in once] == [entry.id for entry in twice]
    assert [entry._replace(sealed=None, subject=None) for entry in once[250:]] == [
        entry._replace(sealed=None, subject=None) for entry in twice[250:]
    ]  # the keys that seal and that tag are not the same


def test_the_journal_verifies_and_spans_the_months(tmp_path: Path) -> None:
    """All of it, sealed parts too; entries are spread over 24 months and of more than one kind."""
    asyncio.run(write(tmp_path, 600))
    verdict = verify(tmp_path)
    assert verdict.good, verdict.findings
    assert verdict.size == 600
    assert verdict.opened == 300
    found = _entries(tmp_path)
    assert len({(entry.at.year, entry.at.month) for entry in found}) == 24
    assert (found[-1].at - BEGIN).total_seconds() * 1000 < SPAN_MS + 10_000
    assert {entry.kind for entry in found} >= {Kind.REQUEST, Kind.RESPONSE, Kind.REFUSAL}


def test_the_two_sides_pair(tmp_path: Path) -> None:
    """The consumer's journal has the same exchanges: ids, parties and nonces of the requests."""
    asyncio.run(write(tmp_path / "provider", 100))
    asyncio.run(write(tmp_path / "consumer", 100, Side.CONSUMER))
    ours, theirs = _entries(tmp_path / "provider"), _entries(tmp_path / "consumer")
    for a, b in zip(ours, theirs, strict=True):
        assert (a.id, a.client, a.service, a.nonce) == (b.id, b.client, b.service, b.nonce)
        assert (a.side, b.side) == (Side.PROVIDER, Side.CONSUMER)
