"""The search index against a plain scan, in pages, over several journals; derived and rebuilt."""

from __future__ import annotations

import asyncio
import random
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from orjson import dumps, loads

from exchange.identifiers import ApplicationId, ServiceId
from exchange.journal.entries import Entry, Kind, Side, format_entry
from exchange.problems import Code, Problem
from mediator.journal import index
from mediator.journal.index import Cursor, IndexReader, IndexWriter, MonthTag, Page, Query
from mediator.journal.index.postgresql import PostgreSqlPlace, origins
from mediator.journal.index.sqlite import SqlitePlace
from mediator.journal.index.store import Place
from mediator.journal.index.tables import PART_BITS
from mediator.journal.reader import JournalReader
from serving.log.tiles import TileFolder
from tests.journal.world import (
    CLIENT,
    MPI,
    ORIGIN,
    QUICK,
    START,
    entry,
    journal_in,
    part,
    until,
    write,
)
from tests.services.server import DatabaseServer

CLIENTS = [ApplicationId.parse(f"LA/GOV/{code}/a") for code in ("MOF", "MOFA", "MOIC")]
SERVICES = [ServiceId.parse(f"LA/GOV/{code}/a/s") for code in ("MPI", "MOF")]


TAGS = [f"{number:032x}" for number in range(5)]
MONTH = f"{START:%Y-%m}"


def some_entries(seed: int, count: int) -> list[Entry]:
    source = random.Random(seed)
    return [
        entry(
            number,
            at=START + timedelta(milliseconds=source.randrange(count)),
            kind=source.choice(list(Kind)),
            side=source.choice(list(Side)),
            id=f"LA-{source.randrange(count // 2)}",
            client=source.choice([*CLIENTS, None]),
            service=source.choice([*SERVICES, None]),
            status=source.choice([None, 200, 404, 503]),
            problem=source.choice([None, "AccessDenied", "NotFound"]),
            agreement=source.choice([None, "a-1", "a-2"]),
            purpose=source.choice([None, "p-1"]),
            trace=source.choice([None, f"t-{number}"]),
            event=source.choice([None, "started"]),
            subject=source.choice([None, *TAGS]),
        )
        for number in range(count)
    ]


LOGS = {origin: some_entries(seed, 300) for seed, origin in enumerate(("b/log", "a/log"))}


def made(entries: list[Entry]) -> IndexWriter:
    writer = IndexWriter(":memory:")
    writer.add(0, [format_entry(value) for value in entries])
    return writer


@dataclass(frozen=True)
class Databases:
    """Where a test's indexes are: files of SQLite, or one database of PostgreSQL."""

    folder: Path
    url: str | None

    def place(self, origin: str) -> Place:
        if self.url is None:
            return SqlitePlace(self.folder / f"{origin.replace('/', '-')}.sqlite")
        return PostgreSqlPlace(self.url, origin)

    def open(self, origin: str) -> IndexReader:
        if self.url is None:
            return IndexReader.open(Path(self.place(origin).name), origin)
        return IndexReader.open_database(self.url, origin)


BOTH = ["sqlite", pytest.param("postgresql", marks=pytest.mark.needs_postgresql)]


def databases_of(request: pytest.FixtureRequest, folder: Path) -> Databases:
    if request.param == "sqlite":
        return Databases(folder, None)
    server = request.getfixturevalue("postgresql_server")
    url = server.new_database(f"index_{folder.name.replace('-', '_')}".lower()[:60])
    return Databases(folder, url.replace("postgresql+psycopg", "postgresql"))


@pytest.fixture(params=BOTH)
def databases(request: pytest.FixtureRequest, tmp_path: Path) -> Databases:
    """An empty place for indexes, in each of the databases."""
    return databases_of(request, tmp_path)


@pytest.fixture(scope="module", params=BOTH)
def readers(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[list[IndexReader]]:
    """Both logs, in each of the databases."""
    databases = databases_of(request, tmp_path_factory.mktemp("searched"))
    for origin, entries in LOGS.items():
        writer = IndexWriter(databases.place(origin))
        writer.add(0, [format_entry(value) for value in entries])
        writer.close()
    found = [databases.open(origin) for origin in LOGS]
    yield found
    for reader in found:
        reader.close()


def plain(query: Query) -> list[tuple[str, int]]:
    """The slow, obvious search."""
    tests: dict[str, Callable[[Entry, Any], bool]] = {
        "since": lambda e, x: e.at >= x,
        "until": lambda e, x: e.at < x,
        "client": lambda e, x: str(e.client) == x,
        "service": lambda e, x: str(e.service) == x,
        "member": lambda e, x: x in {str(p.member) for p in (e.client, e.service) if p},
        "outcome": lambda e, x: outcome(e) == x,
        "status": lambda e, x: e.status == x,
        "subject": lambda e, x: (f"{e.at:%Y-%m}", e.subject) in {(t.month, t.tag) for t in x},
    }
    found = []
    for origin, entries in LOGS.items():
        for number, value in enumerate(entries):
            names = [name for name in Query.__slots__ if getattr(query, name) is not None]
            if all(
                tests.get(name, lambda e, x, n=name: getattr(e, n) == x)(
                    value, getattr(query, name)
                )  # type: ignore[misc]
                for name in names
            ):
                found.append((value.at, origin, number))
    return [(origin, number) for _, origin, number in sorted(found, reverse=True)]


def outcome(value: Entry) -> str | None:
    if value.kind in {Kind.REQUEST, Kind.RESPONSE}:
        if value.problem is None and (value.status or 200) < 400:
            return "ok"
        return "failed" if value.kind is Kind.RESPONSE and (value.status or 0) >= 400 else None
    return {Kind.REFUSAL: "refused", Kind.FAILURE: "failed"}.get(value.kind)


QUERIES = st.builds(
    Query,
    since=st.none() | st.integers(0, 300).map(lambda n: START + timedelta(milliseconds=n)),
    until=st.none() | st.integers(0, 300).map(lambda n: START + timedelta(milliseconds=n)),
    client=st.none() | st.sampled_from([*map(str, CLIENTS), "LA/GOV/NO/b"]),
    service=st.none() | st.sampled_from(list(map(str, SERVICES))),
    member=st.none() | st.sampled_from(["LA/GOV/MOF", "LA/GOV/MPI", "LA/GOV/M"]),
    endpoint=st.none() | st.sampled_from(["/projects/{id}", "/other"]),
    kind=st.none() | st.sampled_from([kind.value for kind in Kind]),
    outcome=st.none() | st.sampled_from(index.OUTCOMES),
    status=st.none() | st.sampled_from([200, 404]),
    problem=st.none() | st.sampled_from(["AccessDenied", "Other"]),
    id=st.none() | st.integers(0, 160).map(lambda n: f"LA-{n}"),
    request_id=st.none() | st.integers(0, 310).map(lambda n: f"request-{n}"),
    trace=st.none() | st.integers(0, 310).map(lambda n: f"t-{n}"),
    agreement=st.none() | st.sampled_from(["a-1", "a-9"]),
    purpose=st.none() | st.sampled_from(["p-1"]),
    event=st.none() | st.sampled_from(["started", "stopped"]),
    subject=st.none()
    | st.lists(
        st.builds(MonthTag, st.sampled_from([MONTH, "2024-01"]), st.sampled_from(TAGS)), max_size=3
    ).map(tuple),
)


@settings(max_examples=50, deadline=None)
@given(QUERIES, st.integers(1, 40))
def test_pages_together_are_the_plain_search(
    readers: list[IndexReader], query: Query, limit: int
) -> None:
    """Page by page, the search gives what a plain scan gives: all, once, newest first."""
    found: list[tuple[str, int]] = []
    cursor: Cursor | None = None
    while True:
        page: Page = index.search(readers, query, limit, cursor)
        found += [(hit.origin, hit.index) for hit in page.hits]
        assert len(page.hits) <= limit
        if page.next is None:
            break
        cursor = Cursor.parse(str(page.next))
    assert found == plain(query)


def test_a_hit_is_the_entry(readers: list[IndexReader]) -> None:
    """What the index says of an entry is what the entry says."""
    for hit in index.search(readers, Query(), 1000).hits:
        value = LOGS[hit.origin][hit.index]
        assert hit.at == value.at
        assert (hit.kind, hit.side, hit.id, hit.trace) == (
            value.kind, value.side, value.id, value.trace,
        )  # fmt: skip
        assert hit.client == (str(value.client) if value.client else None)
        assert (hit.event, hit.subject) == (value.event, value.subject)
        assert (hit.status, hit.problem, hit.purpose) == (
            value.status,
            value.problem,
            value.purpose,
        )


def test_identifiers_are_found_in_every_part(databases: Databases) -> None:
    """A message id is found wherever in a large log it is."""
    end = 3 << PART_BITS  # of the third part
    writer = IndexWriter(databases.place("o"), end - 100)
    writer.add(end - 100, [format_entry(entry(0, id="other"))] * 99)
    wanted = [end - 1, end]
    writer.add(end - 1, [format_entry(entry(1, id="wanted"))] * 2)
    writer.close()
    reader = databases.open("o")
    assert reader.size == end + 1
    assert reader.of_message("wanted") == wanted
    assert [hit.index for hit in reader.search(Query(id="wanted"), 9)] == wanted[::-1]
    assert reader.of_message("missing") == []
    reader.close()


@pytest.mark.parametrize("text", ["", "x", "W10", "WzEsMl0", "WzEsImEiLDJd=", "é", "W" * 9999])
def test_a_cursor_that_no_page_gave_is_refused(text: str) -> None:
    """A cursor has one spelling."""
    with pytest.raises(Problem) as caught:
        Cursor.parse(text)
    assert caught.value.code is Code.INVALID_REQUEST


def test_entries_that_do_not_follow_are_not_added() -> None:
    """A gap is left for catching up from the bundles."""
    writer = IndexWriter(":memory:")
    writer.add(5, [format_entry(entry(5))])
    assert writer.size == 0


@pytest.mark.parametrize("others", [range(1000, 1200), range(1000, 1400)])
async def test_an_index_of_another_log_is_not_believed(tmp_path: Path, others: range) -> None:
    """A search makes its own; a server's next records begin it anew if it is ahead of them."""
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    await write(ours, range(300))
    await write(theirs, others)
    shutil.copy(theirs / index.FILE, ours)
    for wanted, found in (("LA-299", [299]), ("LA-1000", [])):
        reader = JournalReader(ours)
        hits = index.search([reader.index()], Query(id=wanted), 10).hits
        assert [hit.index for hit in hits] == found
        assert [number for number, _ in reader.of_message(wanted)] == found
    if len(others) > 300:
        await write(ours, range(300, 301))
        opened = IndexReader.open(ours / index.FILE, ORIGIN)
        assert (opened.size, opened.of_message("LA-1000")) == (301, [])
        opened.close()


async def test_what_the_checkpoint_does_not_have_is_not_found(tmp_path: Path) -> None:
    """In a copy that began with the checkpoint the index may be ahead: no hit without a proof."""
    await write(tmp_path, range(20))
    early = (tmp_path / "log/checkpoint").read_bytes()
    await write(tmp_path, range(20, 300))
    (tmp_path / "log/checkpoint").write_bytes(early)
    page = index.search([JournalReader(tmp_path).index()], Query(), 5)
    assert [hit.index for hit in page.hits] == [19, 18, 17, 16, 15]


async def test_a_damaged_index_is_named_or_passed_over(tmp_path: Path) -> None:
    """Bytes changed anywhere in the index: it is not believed, or the search says what to do."""
    await write(tmp_path, range(300))
    path = tmp_path / index.FILE
    data = path.read_bytes()
    source = random.Random(5)
    said: list[Problem] = []
    for _ in range(120):
        changed = bytearray(data)
        for _ in range(30):
            changed[source.randrange(len(data))] = source.randrange(256)
        path.write_bytes(changed)
        try:
            index.search([JournalReader(tmp_path).index()], Query(client=str(CLIENT)), 400)
            list(JournalReader(tmp_path).of_message("LA-5"))
        except Problem as problem:
            said.append(problem)
    assert {problem.code for problem in said} == {Code.JOURNAL_CORRUPT}
    assert all("delete it" in problem.detail for problem in said)


@pytest.mark.parametrize("how", ["missing", "garbage", "behind", "old"])
async def test_the_index_is_made_anew(tmp_path: Path, how: str) -> None:
    """A missing, damaged, older or lagging index is made good from the bundles by the next start,
    and until then a search makes its own."""
    await write(tmp_path, range(300))
    path = tmp_path / index.FILE
    if how == "missing":
        path.unlink()
    elif how == "garbage":
        path.write_bytes(b"no database" * 1000)
    else:
        with sqlite3.connect(path) as connection:
            if how == "behind":
                connection.execute("DELETE FROM entries WHERE idx >= 100")
            else:
                connection.execute("PRAGMA user_version = 99")
        connection.close()
    reader = JournalReader(tmp_path)
    assert [number for number, _ in reader.of_message("LA-299")] == [299]
    await write(tmp_path, range(300, 301))
    opened = IndexReader.open(path, reader.origin)
    assert opened.size == 301
    assert opened.of_message("LA-299") == [299]
    opened.close()


async def test_what_the_index_lacks_is_found_too(tmp_path: Path) -> None:
    """A search of an index that is behind gives what a whole one gives, page by page."""
    await write(tmp_path, range(300))
    query = Query(client="LA/GOV/MOF/budget")
    whole = index.search([JournalReader(tmp_path).index()], query, 1000)
    with sqlite3.connect(tmp_path / index.FILE) as connection:
        connection.execute("DELETE FROM entries WHERE idx >= 130")
    connection.close()
    found: list[index.Hit] = []
    cursor: Cursor | None = None
    while not found or cursor is not None:
        reader = JournalReader(tmp_path).index()
        page = index.search([reader], query, 70, cursor)
        reader.close()
        found += page.hits
        cursor = page.next
    assert found == whole.hits
    assert len(found) == 300


def test_a_search_that_takes_too_long_is_given_up() -> None:
    """It says so, and not that the index is damaged; what an index answers at once is answered."""
    reader = IndexReader(made(some_entries(5, 3000)).open(), ORIGIN)
    reader.give_up_after(0)
    with pytest.raises(Problem) as caught:
        reader.search(Query(status=418), 10)
    assert caught.value.code is Code.OVERLOADED
    assert len(reader.search(Query(), 10)) == 10
    reader.give_up_after(60)
    assert reader.search(Query(status=418), 10) == []


def test_texts_that_a_database_would_misread_come_back(databases: Databases) -> None:
    """Backslashes, tabs, quotes and what looks like no value are texts like others."""
    texts = ["\\N", "a\\tb", "a\tb", "'; DROP TABLE entries; --", "%s ? $1", "ສະພານ", "\\."]
    writer = IndexWriter(databases.place("o"))
    values = [entry(number, id=text, problem=text) for number, text in enumerate(texts)]
    writer.add(0, [format_entry(value) for value in values])
    writer.close()
    reader = databases.open("o")
    for number, text in enumerate(texts):
        for query in (Query(id=text), Query(problem=text)):
            assert [(hit.index, hit.id) for hit in reader.search(query, 9)] == [(number, text)]
    reader.close()


@pytest.mark.parametrize(
    "odd",
    [
        {"status": [200]}, {"status": 2**40}, {"status": 1.5}, {"status": "200"}, {"kind": None},
        {"client": {"of": 1}}, {"id": 7}, {"subject": ["x"]}, {"at": "yesterday"}, {"at": 5},
        [], "no JSON",
    ],
    ids=lambda odd: repr(odd),
)  # fmt: skip
def test_what_no_server_writes_hides_no_other_entry(databases: Databases, odd: object) -> None:
    """A copy of another's journal may hold anything: the rest is found, and the index is whole."""
    good = [format_entry(entry(number)) for number in range(3)]
    changed = dumps({**loads(good[1]), **odd}) if isinstance(odd, dict) else dumps(odd)
    entries = [good[0], changed if odd != "no JSON" else b"{", good[2]]
    writer = IndexWriter(databases.place("o"))
    writer.add(0, entries)
    assert writer.size == 3
    writer.close()
    reader = databases.open("o")
    assert {hit.index for hit in reader.search(Query(), 9)} == {0, 1, 2}
    for number in (0, 2):
        assert reader.of_message(f"LA-{number}") == [number]
    assert all(reader.holds(number, data) for number, data in enumerate(entries))
    reader.close()


def test_more_shapes_than_are_merged_are_found_too(
    databases: Databases, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether shapes are merged or entries looked through, the answer is the same."""
    entries = [entry(number, endpoint=f"/{number % 40}") for number in range(200)]
    writer = IndexWriter(databases.place("o"))
    writer.add(0, [format_entry(value) for value in entries])
    writer.close()
    reader = databases.open("o")
    query = Query(client=str(CLIENT), until=START + timedelta(milliseconds=150))
    merged = reader.search(query, 60)
    assert [hit.index for hit in merged] == [*range(149, 89, -1)]
    monkeypatch.setattr("mediator.journal.index.reader._SHAPES", 10)
    assert reader.search(query, 60) == merged
    reader.close()


def test_an_index_of_another_log_or_of_a_lost_time_is_made_anew(
    databases: Databases, tmp_path: Path
) -> None:
    """What is longer than the log, or ends otherwise, is not of it."""
    asyncio.run(write(tmp_path / "journal", range(20)))
    folder = TileFolder(tmp_path / "journal" / "log")
    for others in (range(500, 510), range(500, 600)):
        writer = IndexWriter(databases.place("o"))
        writer.open()
        writer.renew()
        writer.add(0, [format_entry(entry(number)) for number in others])
        writer.catch_up(folder, 20)
        writer.close()
        reader = databases.open("o")
        assert (reader.size, reader.of_message("LA-19"), reader.of_message("LA-500")) == (
            20, [19], [],
        )  # fmt: skip
        reader.close()


@pytest.mark.needs_postgresql
def test_servers_share_a_database_and_it_may_be_away(
    postgresql_server: DatabaseServer, tmp_path: Path
) -> None:
    """Two journals follow into one database; while it is away recording and publishing go on, and
    when it is back the index has everything."""
    url = postgresql_server.new_database("index_shared").replace("+psycopg", "")

    async def story() -> None:
        shared = replace(QUICK, index_database=url)
        async with (
            journal_in(tmp_path / "a", shared, origin="a") as first,
            journal_in(tmp_path / "b", shared, origin="b") as second,
        ):
            for number in range(10):
                await first.record(entry(number), MPI, part(number))
                await second.record(entry(number, id=f"b-{number}"), MPI, part(number))
            await until(lambda: first.index_report() == {"ok": True, "entries": 10}, 20)
            await asyncio.to_thread(postgresql_server.stop)
            try:
                for number in range(10, 30):
                    await first.record(entry(number), MPI, part(number))
                await until(lambda: first.published_size == 30)
                await until(lambda: not first.index_report()["ok"], 20)
                assert first.healthy is None
            finally:
                await asyncio.to_thread(postgresql_server.start)
            await until(lambda: first.index_report() == {"ok": True, "entries": 30}, 20)

    asyncio.run(story())
    assert origins(url) == ["a", "b"]
    readers = [IndexReader.open_database(url, origin) for origin in origins(url)]
    assert [hit.id for hit in index.search(readers, Query(id="b-3"), 9).hits] == ["b-3"]
    assert len(index.search(readers, Query(), 100).hits) == 40
    for reader in readers:
        reader.close()
    assert not (tmp_path / "a" / index.FILE).exists()


async def test_a_file_that_others_hold_delays_the_index_and_nothing_else(tmp_path: Path) -> None:
    """SQLite is busy: entries are published all the same, and indexed when it is free again."""
    async with journal_in(tmp_path) as journal:
        await journal.record(entry(0), MPI, part(0))
        await until(lambda: indexed(tmp_path) == 1)
        holder = sqlite3.connect(tmp_path / index.FILE, isolation_level=None)
        holder.execute("BEGIN IMMEDIATE")
        await journal.record(entry(1), MPI, part(1))
        await until(lambda: journal.published_size == 2)
        await until(lambda: journal.healthy is not None)
        assert indexed(tmp_path) == 1
        holder.execute("ROLLBACK")
        holder.close()
        await until(lambda: indexed(tmp_path) == 2)
        await until(lambda: journal.healthy is None)


def indexed(directory: Path) -> int:
    """How many entries the index has; none while it is being made."""
    try:
        reader = IndexReader.open(directory / index.FILE, ORIGIN)
    except OSError:
        return 0
    try:
        return reader.size
    except Problem:
        return 0
    finally:
        reader.close()
