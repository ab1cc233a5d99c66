"""`saphan bench search`: how long a search takes, and what the index costs an append.

Searched is the index of a journal of :mod:`benchmarks.entries`: one of ``--count`` entries that is
made for it, or one that was made before (``--dir``). Each question is asked many times, about other
messages, people and moments. Times are on the clock, from question to page, of one that asks; the
index was opened before. The baseline of appends is the same journal without an index, in turns.
"""

from __future__ import annotations

import asyncio
import random
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from datetime import timedelta
from pathlib import Path
from statistics import median
from typing import Any

import click
import uvloop

from benchmarks import entries
from console.cli.printing import print_json
from exchange.journal.entries import Side
from mediator.journal import index
from mediator.journal.index import Cursor, IndexReader, Query
from mediator.journal.log import Journal
from mediator.journal.reader import JournalReader

TIMES = 200
ROUNDS = 7
BATCH = 4096
SETTLE_S = 0.3
"""In which the index takes what is published: no part of it falls on the other journal's turn."""
LIMIT = 50


@dataclass(frozen=True, slots=True)
class Took:
    """Of one kind of question, in milliseconds."""

    question: str
    p50_ms: float
    p95_ms: float
    hits: float
    """On average."""


@dataclass(frozen=True, slots=True)
class Costs:
    """Processor time of an append in microseconds, with and without the index."""

    without_us: float
    with_us: float
    ratio: float


@dataclass(frozen=True, slots=True)
class Results:
    """What one run measured, of a journal of ``entries`` entries."""

    entries: int
    took: list[Took]
    appends: Costs


Tags = Callable[[str], tuple[index.MonthTag, ...]]


def questions(size: int, tags: Tags, source: random.Random) -> Iterator[tuple[str, list[Query]]]:
    """Kinds of questions, and questions of each."""
    exchanges = size // 2

    def moment() -> Any:
        return entries.begun_at(source.randrange(exchanges), exchanges)

    def made(make: Callable[[], Query]) -> list[Query]:
        return [make() for _ in range(TIMES)]

    def person() -> str:
        return entries.subject(source.randrange(exchanges))

    yield "message id", made(lambda: Query(id=entries.message_id(source.randrange(exchanges))))
    yield "subject, 24 months", made(lambda: Query(subject=tags(person())))
    yield (
        "client, service, refused",
        made(
            lambda: Query(
                client="LA/GOV/MPS/passports",
                service="LA/GOV/MOHA/civil-registry/births",
                outcome="refused",
                until=moment(),
            )
        ),
    )
    yield (
        "agreement, purpose, within a day",
        made(
            lambda: replace(
                Query(agreement="mof-moha-2024", purpose="taxpayer-registration"),
                until=(until := moment()),
                since=until - timedelta(days=1),
            )
        ),
    )
    yield "member, status 504", made(lambda: Query(member="LA/GOV/MOF", status=504, until=moment()))
    yield (
        "endpoint, answered well",
        made(lambda: Query(endpoint="/births", outcome="ok", until=moment())),
    )
    yield (
        "subject, purpose, failed",
        made(lambda: Query(subject=tags(person()), purpose="census", outcome="failed")),
    )
    yield "what nothing has", made(lambda: Query(client="LA/GOV/MOF/none", problem="AccessDenied"))
    yield (
        "no condition, within a year",
        made(
            lambda: replace(Query(), until=(until := moment()), since=until - timedelta(days=365))
        ),
    )


def measure(reader: IndexReader, tags: Tags) -> list[Took]:
    """Ask every question; the first of a kind is not counted."""
    source = random.Random(2)
    found = []
    for name, queries in questions(reader.size, tags, source):
        took, hits = [], 0
        for query in queries:
            begun = time.perf_counter()
            page = index.search([reader], query, LIMIT)
            took.append(time.perf_counter() - begun)
            hits += len(page.hits)
        found.append(_took(name, took[1:], hits / len(queries)))
    found.append(_pages(reader))
    return found


def _pages(reader: IndexReader) -> Took:
    """Page by page through the answers of a ministry's calls."""
    took, hits, cursor = [], 0, None
    for _ in range(TIMES):
        begun = time.perf_counter()
        page = index.search([reader], Query(member="LA/GOV/MOH", outcome="ok"), LIMIT, cursor)
        took.append(time.perf_counter() - begun)
        hits += len(page.hits)
        cursor = Cursor(*page.hits[-1].order) if page.hits else None
    return _took("next pages of a member's", took[1:], hits / TIMES)


def _took(name: str, took: list[float], hits: float) -> Took:
    took = sorted(took)
    p50, p95 = (took[len(took) * share // 100] * 1e3 for share in (50, 95))
    return Took(name, p50, p95, hits)


async def measure_appends(directory: Path, database: str | None) -> Costs:
    """Append batches to two journals in turns, one with and one without an index."""
    settings = (
        replace(entries.SETTINGS, index=False),
        replace(entries.SETTINGS, index=True, index_database=database),
    )
    journals = [
        await entries.open_journal(directory / str(number), settings=each)
        for number, each in enumerate(settings)
    ]
    costs: tuple[list[float], list[float]] = ([], [])
    try:
        for turn in range(ROUNDS + 1):
            for which in (0, 1) if turn % 2 else (1, 0):
                cost = await _append(journals[which], turn * BATCH)
                if turn:  # the first makes keys and tables
                    costs[which].append(cost)
    finally:
        for journal in journals:
            await journal.close()
    ratios = [indexed / plain for plain, indexed in zip(*costs, strict=True)]
    return Costs(median(costs[0]), median(costs[1]), median(ratios))


async def _append(journal: Journal, first: int) -> float:
    """Processor microseconds of one append of a batch, published and indexed."""
    made = [
        (*entries.entry(number, 1_000_000, Side.PROVIDER), entries.subject(number // 2))
        for number in range(first, first + BATCH)
    ]
    begun = time.process_time()
    await entries.append(journal, made)
    await asyncio.sleep(SETTLE_S)
    return (time.process_time() - begun) / BATCH * 1e6


def run(directory: Path, database: str | None) -> Results:
    """All measurements on a journal."""
    journal = JournalReader(directory)
    reader = journal.index(database=database)
    try:
        took = measure(reader, journal.tags)
        size = reader.size
    finally:
        reader.close()
    with (
        tempfile.TemporaryDirectory(prefix="saphan-bench-") as folder,
        asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner,
    ):
        costs = runner.run(measure_appends(Path(folder), database))
    return Results(size, took, costs)


@click.command()
@click.option(
    "--dir",
    "directory",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="A journal of benchmarks.entries; without one, one is made.",
)
@click.option("--count", default=100_000, show_default=True, help="Entries of one that is made.")
@click.option("--database", metavar="URL", help="Keep and search the index in PostgreSQL.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def search(directory: Path | None, count: int, database: str | None, as_json: bool) -> None:
    """How long searches take, and what the search index costs an append."""
    if directory is None:
        with tempfile.TemporaryDirectory(prefix="saphan-bench-") as folder:
            path = Path(folder) / "journal"
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                runner.run(entries.write(path, count))
            results = run(path, database)
    else:
        results = run(directory, database)
    if as_json:
        print_json(asdict(results))
        return
    click.echo(f"{results.entries:,} entries, pages of {LIMIT}")
    for took in results.took:
        click.echo(
            f"  {took.question:32} p50 {took.p50_ms:7.2f} ms   p95 {took.p95_ms:7.2f} ms   "
            f"{took.hits:5.1f} hits"
        )
    costs = results.appends
    click.echo(
        f"append: {costs.without_us:.0f} µs without, {costs.with_us:.0f} µs with the index: "
        f"{costs.ratio:.2f} times"
    )
