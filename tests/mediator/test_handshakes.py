"""What is refused before it is a request: all counted, some recorded, every one accounted for."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from exchange.identifiers import ServerId
from exchange.problems import Code, Problem
from mediator.administration.metrics import Metrics
from mediator.background.tasks import Background, background_tasks
from mediator.journal.log import Journal, JournalSettings
from mediator.message.handshakes import MANY, REFUSALS_PER_S, Handshakes
from mediator.message.records import Recorder
from serving.clock import SystemClock
from tests.journal.world import journal_in, until

SERVER = ServerId.parse("LA/GOV/MPI/ss1")
FULL = Problem(Code.OVERLOADED, where="server")


def entries(journal: Journal) -> list[dict[str, Any]]:
    return list(journal.recent(SystemClock().now() - timedelta(minutes=1)))


def told(journal: Journal, code: Code) -> int:
    """Of how many refusals the journal tells, one by one or as a number."""
    found = [entry for entry in entries(journal) if entry.get("problem") == code]
    return sum(entry.get("refusals", 1) for entry in found)


def watch(journal: Journal, background: Background, metrics: Metrics) -> Handshakes:
    return Handshakes(Recorder(journal, SERVER, SystemClock(), metrics, 1024), metrics, background)


@asynccontextmanager
async def watched(folder: Path) -> AsyncIterator[tuple[Handshakes, Journal, Metrics]]:
    metrics = Metrics()
    async with journal_in(folder) as journal, background_tasks() as background:
        yield watch(journal, background, metrics), journal, metrics


async def test_noise_at_one_listener_hides_nothing_at_another(tmp_path: Path) -> None:
    """Of a flood of bad handshakes few are recorded; a request at a full gate still is."""
    async with watched(tmp_path) as (watcher, journal, metrics):
        failed = watcher.observer("peer", Code.PEER_CERTIFICATE_UNTRUSTED)
        error = ssl.SSLError(1, "bad")
        error.reason = "HTTP_REQUEST"  # as the ssl module sets it
        for _ in range(1000):
            failed(error)
        watcher.malformed("gate")(FULL)
        await watcher.close()
        found = entries(journal)
        assert told(journal, Code.OVERLOADED) == 1
    assert 1 < len(found) <= 2 * REFUSALS_PER_S + 2  # a second may end meanwhile
    assert b'saphan_tls_failures_total{listener="peer"} 1000.0' in metrics.text()


async def test_every_refusal_of_a_flood_is_told_of(tmp_path: Path) -> None:
    """A few one by one, the others as a number when the second is over, nobody twice."""
    async with watched(tmp_path) as (watcher, journal, metrics):
        refused = watcher.malformed("gate")
        for _ in range(500):
            refused(FULL)
        await until(lambda: told(journal, Code.OVERLOADED) == 500)
        number = next(entry for entry in entries(journal) if entry.get("refusals"))
        assert number["event"] == MANY
        assert number["where"] == "gate listener"
        await watcher.close()
        assert told(journal, Code.OVERLOADED) == 500
    assert (
        b'saphan_turned_away_total{code="ServerOverloaded",listener="gate"} 500.0' in metrics.text()
    )


async def test_a_stop_tells_of_what_is_not_told_yet(tmp_path: Path) -> None:
    """The last second of a server that stops is accounted for."""
    async with watched(tmp_path) as (watcher, journal, _):
        for listener in ("http", "peer"):
            for _ in range(50):
                watcher.malformed(listener)(FULL)
        await watcher.close()
        assert told(journal, Code.OVERLOADED) == 100


@pytest.mark.parametrize("bound", [{"waiting_max_records": 1}, {"waiting_max_bytes": 4096}])
async def test_a_full_journal_refuses_and_tells_of_it_when_it_can(
    tmp_path: Path, bound: dict[str, int]
) -> None:
    """What could not be recorded gets a 503 with Retry-After, and is recorded as a number later."""
    metrics = Metrics()
    async with (
        journal_in(tmp_path, settings=JournalSettings(**bound)) as journal,
        background_tasks() as background,
    ):
        watcher = watch(journal, background, metrics)
        metrics.on_unrecorded = watcher.unrecorded
        recorder = Recorder(journal, SERVER, SystemClock(), metrics, 1024)
        ended = await asyncio.gather(
            *(recorder.event("y" * 200) for _ in range(200)), return_exceptions=True
        )
        refused = [problem for problem in ended if isinstance(problem, Problem)]
        assert refused
        for problem in refused:
            assert (problem.code, problem.status) == (Code.OVERLOADED, 503)
            assert problem.facts["retry_after_s"] == 1
            metrics.refused("provider", problem, metrics.start())
        await until(lambda: told(journal, Code.OVERLOADED) == len(refused))
        await watcher.close()


async def test_what_a_sick_journal_cannot_be_told_is_told_when_it_is_well(tmp_path: Path) -> None:
    """The number is kept over as many trials as it takes, and is not told twice."""
    async with watched(tmp_path) as (watcher, journal, _):
        sick = Problem(Code.LOGGING_FAILED, where="disk", facts={"recorded": False})
        journal._intake.problem = sick
        for _ in range(7):
            watcher.unrecorded(sick)
        await watcher._tell()
        assert told(journal, Code.LOGGING_FAILED) == 0
        journal._intake.problem = None
        await until(lambda: told(journal, Code.LOGGING_FAILED) == 7)
        await watcher.close()
        assert told(journal, Code.LOGGING_FAILED) == 7
