"""Stores beside the log may be busy, and clocks may jump: records go on, and nothing is lost."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from exchange.journal.entries import parse_entry
from exchange.problems import Code, Problem
from mediator.journal.index import FILE as INDEX
from mediator.journal.index import IndexReader, Query, search
from mediator.journal.log import Journal, JournalSettings
from mediator.journal.reader import JournalReader
from mediator.journal.signed import SqliteSignedStore
from tests.journal.world import (
    MPI,
    ORIGIN,
    QUICK,
    assert_good,
    entry,
    journal_in,
    part,
    until,
)

ANCHORED = JournalSettings(publish_interval_s=0.02, anchor_s=0.02)


def anchored(journal: Journal) -> int:
    """How many entries the newest anchor covers."""
    latest = journal.anchors.latest()
    return 0 if latest is None else latest.size


@pytest.mark.parametrize("store", ["last-checkpoint.sqlite", "anchors.sqlite", INDEX])
async def test_a_store_that_others_hold_delays_no_record(tmp_path: Path, store: str) -> None:
    """While a backup or a curious person holds it, records are acknowledged; when it is let go,
    everything is published, anchored and found."""
    async with journal_in(tmp_path, ANCHORED) as journal:
        await journal.record(entry(0), MPI, part(0))
        await until(lambda: anchored(journal) == 1)
        with closing(sqlite3.connect(tmp_path / store, isolation_level=None)) as holder:
            holder.execute("BEGIN EXCLUSIVE" if store != INDEX else "BEGIN IMMEDIATE")
            for number in range(1, 20):
                await journal.record(entry(number), MPI, part(number))
            assert journal.size == 20
            holder.execute("ROLLBACK")
        await until(lambda: journal.published_size == 20, 20)
        await until(lambda: anchored(journal) == 20, 20)
        await until(lambda: journal.healthy is None, 20)
    assert_good(tmp_path, 20)
    with closing(IndexReader.open(tmp_path / INDEX, ORIGIN)) as reader:
        assert [hit.index for hit in search([reader], Query(), 100).hits] == [*range(19, -1, -1)]


async def test_a_clock_that_jumps_changes_no_order(tmp_path: Path) -> None:
    """Back over a month's end and far ahead, restarts between: entries stand in the order in which
    they were acknowledged, say what the clock said, and are opened and found by that."""
    start = datetime(2026, 11, 30, 23, 59, 59, tzinfo=UTC)
    jumps = [0, 2, -40 * 86400, 400 * 86400, -1, 1]
    moments = [start + timedelta(seconds=jump) for jump in jumps]
    for number, at in enumerate(moments):
        async with journal_in(tmp_path, QUICK) as journal:
            receipt = await journal.record(entry(number, at=at), MPI, part(number, at=at))
            assert receipt.index == number
    assert_good(tmp_path, len(moments))
    reader = JournalReader(tmp_path)
    entries = [parse_entry(reader.entry(number)) for number in range(len(moments))]
    assert [one.at for one in entries] == moments
    for number, one in enumerate(entries):
        assert reader.open(one, reader.ciphertext(number)).part == part(number, at=one.at)
    with closing(IndexReader.open(tmp_path / INDEX, ORIGIN)) as index:
        november = Query(since=datetime(2026, 11, 1, tzinfo=UTC), until=start)
        found = search([index], november, 10).hits
        assert [hit.index for hit in found] == [4]
        ordered = search([index], Query(), 10).hits
        assert [hit.at for hit in ordered] == sorted(moments, reverse=True)


class Stuck(SqliteSignedStore):
    """A store whose disk takes no checkpoint."""

    def swap(self, old: bytes | None, new: bytes) -> None:
        raise OSError("no")


async def test_a_first_publication_under_way_is_no_damage(tmp_path: Path) -> None:
    """Its tiles are there and its checkpoint is not yet: to the server's own readers the journal is
    empty; whoever has the files alone cannot tell it from a checkpoint that is missing."""
    store = Stuck(tmp_path / "last-checkpoint.sqlite")
    async with journal_in(tmp_path, store=store) as journal:
        await journal.record(entry(0), MPI, part(0))
        await until(lambda: (tmp_path / "log" / "tile").exists())
        assert journal.reader().checkpoint.size == 0
        with pytest.raises(Problem) as caught:
            JournalReader(tmp_path)
        assert caught.value.code is Code.JOURNAL_CORRUPT
