"""Tables of exchanges and the figures made of them, against a slow reference in plain Python."""

from __future__ import annotations

import asyncio
import csv
import io
import random
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson
import pytest
from click.testing import CliRunner

from console.cli.main import main
from exchange.identifiers import ApplicationId, ServiceId
from exchange.journal.entries import Entry, Kind, Side, Statistics
from exchange.problems import Code, Problem
from mediator.archive import tables
from mediator.archive.statistics import FEW, Question, ask, protect
from mediator.archive.tables import FOLDER, STATE, Tables, catch_up, connection, rows
from mediator.journal.reader import JournalReader
from tests.archive.world import SMALL, files_below
from tests.journal.world import MPI, journal_in

BEGIN = datetime(2026, 10, 31, 23, 0, tzinfo=UTC)
CLIENTS = [ApplicationId.parse(f"LA/GOV/{name}") for name in ("MOF/budget", "MOH/insurance")]
SERVICES = [ServiceId.parse(f"LA/GOV/MPI/oda-mis/{name}") for name in ("projects", "sectors")]
PURPOSES = ["national-budget", "planning"]


def story(seed: int, count: int) -> list[Entry]:
    """Entries of both sides over a month's end, in the order of the log: some never end."""
    chance = random.Random(seed)
    timed: list[tuple[datetime, Entry]] = []
    for number in range(count):
        at = BEGIN + timedelta(seconds=40 * number)
        side = chance.choice([Side.CONSUMER, Side.PROVIDER])
        common: dict[str, Any] = {
            "side": side,
            "id": f"LA-{number}",
            "client": chance.choice(CLIENTS),
            "service": chance.choice(SERVICES),
            "purpose": chance.choice(PURPOSES),
        }
        fate = chance.randrange(8)
        if fate:
            timed.append((at, Entry(Kind.REQUEST, at=at, size=number, **common)))
        later = at + timedelta(milliseconds=chance.randrange(200_000))
        if fate == 0:
            timed.append(
                (at, Entry(Kind.REFUSAL, at=at, status=403, problem="AccessDenied", **common))
            )
        elif fate == 1:
            continue  # killed, or still under way
        elif fate == 2:
            timed.append((later, Entry(Kind.FAILURE, at=later, problem="PeerTimeout", **common)))
        elif fate == 3:
            timed.append((later, Entry(Kind.RESPONSE, at=later, status=500, size=1, **common)))
        else:
            timed.append(
                (later, Entry(Kind.RESPONSE, at=later, status=200, size=7, endpoint="/x", **common))
            )
        if number % 50 == 0:
            timed.append((at, Entry(Kind.SYSTEM, Side.SERVER, at, event="started")))
    return [entry for _, entry in sorted(timed, key=lambda pair: pair[0])]


async def record(directory: Path, entries: Sequence[Entry]) -> JournalReader:
    async with journal_in(directory, SMALL) as journal:
        await asyncio.gather(*(journal.record(entry, MPI) for entry in entries))
    return JournalReader(directory)


Row = tuple[str, str, str, str, str, int | None]


def reference(entries: Sequence[Entry]) -> Counter[Row]:
    """What the rows must be, by the rules of the module's docstring."""
    begun: dict[tuple[str | None, Side], Entry] = {}
    found: list[Row] = []

    def row(first: Entry, outcome: str, latency_ms: int | None) -> Row:
        return (
            first.at.strftime("%Y-%m"),
            first.side,
            str(first.client),
            str(first.service),
            outcome,
            latency_ms,
        )

    for entry in entries:
        key = (entry.id, entry.side)
        if entry.kind is Kind.SYSTEM:
            continue
        if entry.kind is Kind.REQUEST:
            begun[key] = entry
            continue
        first = begun.pop(key, None)
        outcome = "answered"
        if entry.kind is Kind.REFUSAL:
            outcome = "refused"
        elif entry.kind is Kind.FAILURE or entry.problem or (entry.status or 0) >= 500:
            outcome = "failed"
        latency = None if first is None else (entry.at - first.at) // timedelta(milliseconds=1)
        found.append(row(first or entry, outcome, latency))
    found += [row(entry, "open", None) for entry in begun.values()]
    return Counter(found)


def rows_of(folder: Path, found: Tables) -> Counter[Row]:
    with connection(folder) as database:
        return Counter(
            database.sql(rows(folder, found))
            .project("strftime(begun, '%Y-%m'), side, client, service, outcome, latency_ms")
            .fetchall()
        )


async def test_rows_are_what_the_entries_tell(tmp_path: Path) -> None:
    """Requests and their ends are paired, whatever lies between; each month is a file."""
    entries = story(1, 200)
    journal = await record(tmp_path / "journal", entries)
    found = catch_up(journal, tmp_path / FOLDER)
    assert rows_of(tmp_path / FOLDER, found) == reference(entries)
    assert [name[:7] for name in found.files] == ["2026-10", "2026-11"]
    assert found.entries == len(entries)


async def test_runs_add_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Many small runs, which part requests from their ends, give the rows of one large run."""
    monkeypatch.setattr(tables, "CHUNK", 64)
    entries = story(2, 240)
    for end in (50, 51, 200, len(entries)):
        size = (
            JournalReader(tmp_path / "journal").checkpoint.size
            if (tmp_path / "journal").exists()
            else 0
        )
        journal = await record(tmp_path / "journal", entries[size:end])
        found = catch_up(journal, tmp_path / FOLDER)
        assert rows_of(tmp_path / FOLDER, found) == reference(entries[:end])
    kept = {path.name for path in (tmp_path / FOLDER).iterdir()}
    assert kept == {STATE, *found.files}


async def test_a_crash_leaves_the_tables_of_before(tmp_path: Path) -> None:
    """Until tables.json is replaced nothing counts; damaged or foreign tables are made anew."""
    entries = story(3, 120)
    folder = tmp_path / FOLDER
    catch_up(await record(tmp_path / "journal", entries[:100]), folder)
    before = files_below(folder)
    journal = await record(tmp_path / "journal", entries[100:])
    catch_up(journal, folder)
    after = files_below(folder)
    for name, data in before.items():  # as if killed just before the last step
        (folder / name).write_bytes(data)
    (folder / "draft.parquet").write_bytes(b"half")
    found = catch_up(journal, folder)
    assert rows_of(folder, found) == reference(entries)
    for damage in (b"", b"{}", before[STATE].replace(b"journal.test", b"another")):
        (folder / STATE).write_bytes(damage)
        assert rows_of(folder, catch_up(journal, folder)) == reference(entries)
    assert files_below(folder).keys() >= after.keys()


async def test_a_question_reads_what_tables_lack(tmp_path: Path) -> None:
    """Figures are of all that is published, with tables, without, or with old ones; nothing is
    written beside the journal."""
    entries = story(4, 150)
    directory = tmp_path / "journal"
    expected = Counter[tuple[str, str]]()
    for (_, side, _, _, outcome, _), number in reference(entries).items():
        expected[side, outcome] += number
    question = Question(("side", "outcome"))
    for size in (100, len(entries)):
        start = JournalReader(directory).checkpoint.size if directory.exists() else 0
        journal = await record(directory, entries[start:size])
        if size == 100:
            catch_up(journal, directory / FOLDER)
    before = files_below(directory)
    answer = ask([journal], question)
    assert {row[:2]: row[2] for row in answer.rows} == expected
    assert files_below(directory) == before
    catch_up(journal, directory / FOLDER)
    assert {row[:2]: row[2] for row in ask([journal], question).rows} == expected


async def test_figures(tmp_path: Path) -> None:
    """Numbers, sizes and percentiles of a group are those of its exchanges; conditions narrow."""
    entries = story(5, 150)
    journal = await record(tmp_path / "journal", entries)
    month = datetime(2026, 11, 1, tzinfo=UTC)
    answer = ask([journal], Question(("month", "service"), since=month, side="provider"))
    rows_ = {
        row: n
        for row, n in reference(entries).items()
        if row[0] == "2026-11" and row[1] == "provider"
    }
    for row in answer.rows:
        mine = {key: n for key, n in rows_.items() if key[3] == row[1]}
        took = sorted(
            key[5] or 0 for key, n in mine.items() for _ in range(n) if key[4] == "answered"
        )
        told = dict(zip(answer.columns, row, strict=True))
        assert told["exchanges"] == sum(mine.values())
        assert told["answered"] == len(took)
        assert told["p50_ms"] in took
        assert sum(1 for each in took if each <= told["p95_ms"]) >= 0.95 * len(took)
    assert len(answer.rows) == len({key[3] for key in rows_})
    one = ask([journal], Question(("organisation",), organisation="LA/GOV/MOF"))
    assert [row[0] for row in one.rows] == ["LA/GOV/MOF"]


def counted(day: int, part: int, purpose: str, **counts: int) -> Entry:
    return Entry(
        Kind.SYSTEM, Side.SERVER, BEGIN + timedelta(days=day), service=SERVICES[0],
        purpose=purpose, event="statistics",
        statistics=Statistics("sex", date(2026, 10, 20), date(2026, 11, day), part,
                              tuple(sorted(counts.items()))),
    )  # fmt: skip


async def test_counts_by_a_statistics_field(tmp_path: Path) -> None:
    """What servers counted adds up over days; a part that a crash made them write twice counts
    once; counts are told with tables and without."""
    directory = tmp_path / "journal"
    entries = [
        counted(1, 1, "planning", F=10, M=20), counted(2, 2, "planning", F=6),
        counted(2, 2, "planning", F=6), counted(2, 3, "health", F=8, M=9),
    ]  # fmt: skip
    journal = await record(directory, [*story(6, 20), *entries[:2]])
    catch_up(journal, directory / FOLDER)
    journal = await record(directory, entries[2:])
    for _ in range(2):
        answer = ask([journal], Question(("purpose", "sex")))
        assert answer.rows == [
            ("health", "F", 8), ("health", "M", 9), ("planning", "F", 16), ("planning", "M", 20)
        ]  # fmt: skip
        day = ask([journal], Question(("day", "sex"), until=datetime(2026, 11, 2, tzinfo=UTC)))
        assert day.rows == [("2026-11-01", "F", 10), ("2026-11-01", "M", 20)]
        catch_up(journal, directory / FOLDER)
    with pytest.raises(Problem) as raised:
        ask([journal], Question(("client", "sex")))
    assert raised.value.code is Code.INVALID_USAGE


@pytest.mark.parametrize(
    ("counts", "told"),
    [
        ([10, 20, 30], [10, 20, 30]),
        ([4, 20, 30], [None, None, 30]),
        ([4, 3, 30], [None, None, 30]),
        ([4], [None]),
        ([5, 5], [5, 5]),
    ],
)
def test_few_are_not_told(counts: list[int], told: list[int | None]) -> None:
    """A count below five is hidden, and a second one when it could be had by subtraction."""
    found, hidden = protect([("planning", str(n), count) for n, count in enumerate(counts)])
    assert [row[-1] for row in found] == told
    assert hidden == told.count(None)
    assert FEW == 5


async def test_the_command(tmp_path: Path) -> None:
    """`saphan audit stats` prints the same figures as a table, as CSV and as JSON."""
    await record(tmp_path / "journal", story(7, 60))

    def run(*arguments: str, code: int = 0) -> str:
        result = CliRunner().invoke(main, ["audit", "stats", str(tmp_path), *arguments])
        assert result.exit_code == code, result.output
        return result.stdout

    document = orjson.loads(run("--by", "service,outcome", "--format", "json"))
    table = run("--by", "service,outcome").splitlines()
    lines = list(csv.DictReader(io.StringIO(run("--by", "service,outcome", "--format", "csv"))))
    assert table[0].split() == list(document["rows"][0])
    assert len(table) - 1 == len(lines) == len(document["rows"])
    for line, row in zip(lines, document["rows"], strict=True):
        assert int(line["exchanges"]) == row["exchanges"]
    assert "Nothing was found" in run("--by", "sex")
    run("--by", "client,sex", code=1)
    assert len(orjson.loads(run("--by", "", "--format", "json"))["rows"]) == 1
