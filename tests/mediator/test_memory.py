"""What a server remembers across a restart, out of a real journal."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import orjson
import pytest

from exchange.identifiers import ApplicationId
from exchange.journal.entries import Kind, Side, format_time
from exchange.problems import Code, Problem
from mediator.agreements.quota import NOT_COUNTED, Rate, quota_key
from mediator.memory import QUOTAS_FILE, note_quotas, remember
from mediator.provider.replay import KEEP_S
from tests.journal.world import CLIENT, MPI, START, entry, journal_in

OTHER = ApplicationId.parse("LA/GOV/MOIC/trade")
NOW = START + timedelta(minutes=10)


@dataclass(frozen=True)
class Standing:
    """A clock that stands."""

    at: datetime

    def now(self) -> datetime:
        return self.at

    def unix(self) -> float:
        return self.at.timestamp()

    def monotonic(self) -> float:
        return 0.0


async def test_calls_of_today_are_counted_by_their_parties(tmp_path: Path) -> None:
    """Those that an agreement let pass, at the provider's side; after a note, only what follows.

    What a limit refused did not happen; the service counts what all its callers did.
    """
    answered = {"kind": Kind.RESPONSE, "agreement": "a/1"}
    async with journal_in(tmp_path / "journal") as journal:
        await journal.record(entry(1, **answered), MPI)
        await journal.record(entry(2, **answered, client=OTHER), MPI)
        await journal.record(entry(3, **answered, side=Side.CONSUMER), MPI)
        await journal.record(entry(4, kind=Kind.REFUSAL), MPI)
        await journal.record(entry(5, at=NOW, kind=Kind.REFUSAL, agreement="a/2"), MPI)
        for number, code in enumerate(NOT_COUNTED, 6):
            refused = answered | {"kind": Kind.REFUSAL, "problem": code.value}
            await journal.record(entry(number, at=NOW, **refused), MPI)
        _, quotas = remember(journal, tmp_path, Standing(NOW))
        mine, other = quota_key(MPI, CLIENT, "a"), quota_key(MPI, OTHER, "a")
        service = str(entry(1).service)
        assert quotas.snapshot(NOW.timestamp()) == {mine: 2, other: 1, service: 3}
        note = {"at": format_time(NOW - timedelta(seconds=1)), "used": {mine: 7}}
        (tmp_path / QUOTAS_FILE).write_bytes(orjson.dumps(note))
        _, quotas = remember(journal, tmp_path, Standing(NOW))
        assert quotas.snapshot(NOW.timestamp()) == {mine: 8, service: 1}


@pytest.mark.parametrize("days", [-1, 1])
async def test_a_clock_that_was_wrong_costs_nobody_a_day(tmp_path: Path, days: int) -> None:
    """What was recorded or noted under another day's date is not of today."""
    other = NOW + timedelta(days=days)
    answered = {"kind": Kind.RESPONSE, "agreement": "a/1"}
    async with journal_in(tmp_path / "journal") as journal:
        await journal.record(entry(1, at=other, **answered), MPI)
        await journal.record(entry(2, at=NOW, **answered), MPI)
        mine, service = quota_key(MPI, CLIENT, "a"), str(entry(1).service)
        note = {"at": format_time(other), "used": {mine: 7}}
        (tmp_path / QUOTAS_FILE).write_bytes(orjson.dumps(note))
        _, quotas = remember(journal, tmp_path, Standing(NOW))
    assert quotas.snapshot(NOW.timestamp()) == {mine: 1, service: 1}


@pytest.mark.parametrize("nonsense", [b"", b"[]", b'{"at": "x", "used": {}}', b'{"used": 1}'])
async def test_a_damaged_note_is_passed_over(tmp_path: Path, nonsense: bytes) -> None:
    """The journal holds the calls."""
    async with journal_in(tmp_path / "journal") as journal:
        await journal.record(entry(1, kind=Kind.RESPONSE, agreement="a/1"), MPI)
        (tmp_path / QUOTAS_FILE).write_bytes(nonsense)
        _, quotas = remember(journal, tmp_path, Standing(NOW))
    used = quotas.snapshot(NOW.timestamp())
    assert used == {quota_key(MPI, CLIENT, "a"): 1, str(entry(1).service): 1}


@pytest.mark.parametrize("back_s", [0, 40])
async def test_no_signature_is_taken_again_after_a_restart(tmp_path: Path, back_s: int) -> None:
    """Neither one that the journal brings back, nor, when the clock is then set back, an older."""
    async with journal_in(tmp_path / "journal") as journal:
        for age in (1, KEEP_S - 1, KEEP_S + 10):
            at = NOW - timedelta(seconds=age)
            await journal.record(entry(age, at=at, nonce=f"n{age}", certificate="c"), MPI)
        replays, _ = remember(journal, tmp_path, Standing(NOW))
    moment = NOW.timestamp()
    for age, code in (
        (1, Code.REPLAYED_MESSAGE),
        (KEEP_S - 1, Code.STALE_SIGNATURE),
        (KEEP_S + 10, Code.STALE_SIGNATURE),
    ):
        with pytest.raises(Problem) as caught:
            replays.remember("c", f"n{age}", moment - age + 60, moment - back_s)
        assert caught.value.code is code
    replays.remember("c", "new", moment - back_s + 60, moment - back_s)


async def test_what_a_stopped_server_counted_is_what_it_counts_on_from(tmp_path: Path) -> None:
    """Also a call whose answer it had no room for: the backend was asked. The entry of that call
    alone does not say so."""
    agreed = Rate(quota_key(MPI, CLIENT, "a"), "agreement a/1", None, 5)
    async with journal_in(tmp_path / "journal") as journal:
        _, quotas = remember(journal, tmp_path, Standing(NOW))
        noting = asyncio.ensure_future(note_quotas(quotas, tmp_path, Standing(NOW)))
        await asyncio.sleep(0)
        quotas.spend((agreed,), NOW.timestamp(), 0.0)
        quotas.settle((agreed,), NOW.timestamp())
        refused = {"kind": Kind.REFUSAL, "agreement": "a/1", "problem": Code.OVERLOADED.value}
        await journal.record(entry(1, at=NOW - timedelta(seconds=1), **refused), MPI)
        noting.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await noting
        _, again = remember(journal, tmp_path, Standing(NOW))
    assert again.snapshot(NOW.timestamp()) == {agreed.key: 1}
