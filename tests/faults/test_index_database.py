"""The search index in PostgreSQL: kills, cuts, a full disk and hands in its rows.

The database is derived and others can write in it. Whatever happens to it, no record is lost or
waits, and afterwards searches give what a plain scan of the log gives.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import psycopg
import pytest

from mediator.journal.index import IndexReader, IndexWriter, Query
from mediator.journal.index.postgresql import PostgreSqlPlace
from serving.log.tiles import TileFolder
from tests.faults import journals
from tests.faults.line import Act, Fault, Line, Way
from tests.faults.test_disk_full import small_disk
from tests.journal.world import (
    MPI,
    ORIGIN,
    QUICK,
    entry,
    journal_in,
    part,
    until,
)
from tests.services.server import DatabaseServer

pytestmark = pytest.mark.needs_postgresql
SEED = 20261122
KILLS = 3
SIZE = 300


def database(server: DatabaseServer, name: str) -> str:
    return server.new_database(f"faults_{name}").replace("+psycopg", "")


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A journal of so many entries."""
    directory = tmp_path_factory.mktemp("recorded") / "journal"

    async def fill() -> None:
        async with journal_in(directory, replace(QUICK, index=False)) as journal:
            await asyncio.gather(
                *[journal.record(varied(number), MPI, part(number)) for number in range(SIZE)]
            )

    asyncio.run(fill())
    return directory


def varied(number: int) -> Any:
    return entry(
        number, trace=f"t-{number % 7}", status=200 + number % 3, purpose=f"p-{number % 2}"
    )


def assert_plain(directory: Path, url: str) -> int:
    """Searches of the database alone give what reading the whole log gives; how many entries."""
    head = journals.open_head(directory, (directory / "log/checkpoint").read_bytes())
    log = TileFolder(directory / "log").entries(0, head.size, head.size)
    entries = [orjson.loads(data) for _, data in log]
    reader = IndexReader.open_database(url, ORIGIN, head.size)
    asked = [
        Query(),
        Query(id=entries[-1]["id"]),
        Query(id=entries[0]["id"]),
        Query(trace="t-3"),
        Query(trace="t-5", purpose="p-1"),
        Query(status=201),
        Query(request_id="request-150"),
    ]
    try:
        assert reader.size == head.size
        for query in asked:
            wanted = {
                name: getattr(query, name)
                for name in query.__slots__
                if getattr(query, name) is not None
            }
            plain = [
                index
                for index, document in enumerate(entries)
                if all(document.get(name) == value for name, value in wanted.items())
            ]
            hits = reader.search(query, head.size + 1)
            assert sorted(hit.index for hit in hits) == plain, wanted
            assert all(hit.id == entries[hit.index]["id"] for hit in hits)
    finally:
        reader.close()
    return head.size


class Recording:
    """A journal's process under load, and what it acknowledged."""

    def __init__(self, directory: Path, url: str) -> None:
        self.acknowledged: list[str] = []
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.faults.recording", str(directory), url],
            stdout=subprocess.PIPE,
            text=True,
        )

    def read(self, count: int) -> None:
        assert self._process.stdout is not None
        for _ in range(count):
            line = self._process.stdout.readline()
            assert line, "it ended by itself"
            self.acknowledged.append(line.strip())

    def kill(self) -> None:
        """Kill it, and read what it had said until then."""
        self._process.kill()
        assert self._process.stdout is not None
        rest = self._process.stdout.read()
        self._process.stdout.close()
        self._process.wait(10)
        self.acknowledged += rest.splitlines()


def test_journal_and_database_killed_under_load(
    postgresql_server: DatabaseServer, tmp_path: Path
) -> None:
    """A journal's process is killed at random moments while it feeds PostgreSQL, which is stopped
    at once and started again meanwhile: all that was acknowledged is in the journal, which
    verifies, and the index has every entry again."""
    url = database(postgresql_server, "killed")
    rng = random.Random(SEED)
    acknowledged: list[str] = []
    try:
        for number in range(KILLS):
            recording = Recording(tmp_path, url)
            recording.read(rng.randrange(50, 300))
            if number != 0:
                postgresql_server.stop(signal.SIGQUIT)  # without a checkpoint: it must recover
                recording.read(rng.randrange(20, 100))  # nothing waits for it
                starting = threading.Thread(target=postgresql_server.start)
                starting.start()
                recording.read(rng.randrange(20, 300))
                if number == 1:
                    starting.join(60)
                    recording.read(rng.randrange(20, 100))
                recording.kill()
                starting.join(60)
            else:
                recording.kill()
            acknowledged += recording.acknowledged
    finally:
        postgresql_server.start()

    async def settle() -> None:
        async with journal_in(tmp_path, replace(QUICK, index_database=url)) as journal:
            whole = {"ok": True, "entries": journal.size}
            await until(lambda: journal.index_report() == whole, 20)

    asyncio.run(settle())
    published = journals.read(tmp_path)
    assert len(acknowledged) > 100 * KILLS // 2
    assert set(acknowledged) <= published.by_id().keys()
    assert assert_plain(tmp_path, url) == len(published.entries)


@pytest.mark.parametrize(("way", "kept"), [(Way.UP, False), (Way.DOWN, True)])
def test_a_connection_cut_in_commit(
    postgresql_server: DatabaseServer, recorded: Path, way: Way, kept: bool
) -> None:
    """The last byte of COMMIT, or of its answer, does not arrive: whether the rows were kept or
    not, nothing is there twice and nothing is missing."""
    log = [data for _, data in TileFolder(recorded / "log").entries(0, SIZE, SIZE)]
    line = Line()
    line.start(postgresql_server.port)

    def prepared(name: str) -> tuple[IndexWriter, str]:
        url = database(postgresql_server, f"{name}_{way.name}".lower())
        through = url.replace(f":{postgresql_server.port}/", f":{line.port}/")
        writer = IndexWriter(PostgreSqlPlace(through, ORIGIN))
        writer.add(0, log[:200])
        writer.close()
        writer.open()
        return writer, url

    try:
        writer, _ = prepared("measured")
        line.arm(Fault(Act.CUT, way, 10**9))
        writer.add(200, log[200:])
        passed = line.passed(way)
        writer.close()
        writer, url = prepared("cut")
        line.arm(Fault(Act.CUT, way, passed - 1))
        with pytest.raises(OSError, match="postgresql"):
            writer.add(200, log[200:])
        assert line.struck == 1
        writer.open()
        assert writer.size == (300 if kept else 200)
        writer.catch_up(TileFolder(recorded / "log"), SIZE)
        writer.close()
    finally:
        line.stop()
    assert assert_plain(recorded, url) == SIZE


def test_the_databases_disk_is_full(postgresql_server: DatabaseServer, tmp_path: Path) -> None:
    """While PostgreSQL can write nothing, entries are recorded and published, and health says what
    it said; when there is room again the index has everything."""
    disk = postgresql_server.folder / "small"
    with small_disk(disk):
        space = disk / "space"
        space.mkdir()
        owner = postgresql_server.folder.stat()
        os.chown(space, owner.st_uid, owner.st_gid)
        postgresql_server.run(f"CREATE TABLESPACE small LOCATION '{space}'")
        try:
            postgresql_server.run("CREATE DATABASE faults_full TABLESPACE small")
            url = postgresql_server.url("faults_full").replace("+psycopg", "")
            asyncio.run(fill_and_free(tmp_path, disk / "filler", url))
            assert assert_plain(tmp_path, url) == SIZE
        finally:
            postgresql_server.run("DROP DATABASE IF EXISTS faults_full WITH (FORCE)")
            postgresql_server.run("DROP TABLESPACE small")


async def fill_and_free(directory: Path, filler: Path, url: str) -> None:
    async with journal_in(directory, replace(QUICK, index_database=url)) as journal:
        await journal.record(varied(0), MPI, part(0))
        await until(lambda: journal.index_report() == {"ok": True, "entries": 1}, 20)
        with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
            while file.write(bytes(4096)):
                pass
        await asyncio.gather(
            *[journal.record(varied(number), MPI, part(number)) for number in range(1, SIZE)]
        )
        await until(lambda: journal.published_size == SIZE)
        await until(lambda: not journal.index_report()["ok"], 20)
        assert "No space left" in journal.index_report()["problem"]
        assert journal.healthy is None
        await asyncio.to_thread(filler.unlink)
        await until(lambda: journal.index_report() == {"ok": True, "entries": SIZE}, 20)


HANDS = {
    "the newest deleted": "DELETE FROM entries WHERE idx >= 250",
    "some deleted": "DELETE FROM entries WHERE idx BETWEEN 100 AND 120",
    "the oldest deleted": "DELETE FROM entries WHERE idx < 10",
    "all deleted": "DELETE FROM entries",
    "one added": "INSERT INTO entries SELECT 300, at, shape, 'false' FROM entries WHERE idx = 7",
    "one added far behind": "INSERT INTO entries SELECT 9999, at, shape FROM entries WHERE idx = 7",
    "the last changed": "UPDATE entries SET id = 'false' WHERE idx = 299",
    "shapes deleted": "DELETE FROM shapes WHERE status = 201",
    "parts deleted": "DELETE FROM parts",
    "a table dropped": "DROP TABLE keys",
    "a column dropped": "ALTER TABLE entries DROP COLUMN trace",
    "another version": "UPDATE saphan_index.logs SET version = 99",
}


@pytest.fixture(scope="module")
def shared(postgresql_server: DatabaseServer) -> str:
    """One database, in which each test begins the index anew."""
    return database(postgresql_server, "hands")


@pytest.mark.parametrize("how", HANDS)
def test_hands_in_the_rows(shared: str, recorded: Path, how: str) -> None:
    """Rows or tables changed by hand: the server's next connection finds out and makes the index
    anew, whole."""
    folder = TileFolder(recorded / "log")
    writer = IndexWriter(PostgreSqlPlace(shared, ORIGIN))
    writer.open()
    writer.renew()
    writer.catch_up(folder, SIZE)
    writer.close()
    assert assert_plain(recorded, shared) == SIZE
    with psycopg.connect(shared) as connection:
        for (number,) in connection.execute("SELECT number FROM saphan_index.logs").fetchall():
            connection.execute(f"SET search_path = saphan_index_{number}")
        connection.execute(HANDS[how])
    writer = IndexWriter(PostgreSqlPlace(shared, ORIGIN))
    writer.catch_up(folder, SIZE)
    writer.close()
    assert assert_plain(recorded, shared) == SIZE
