"""Several writers whose transactions commit in another order than they began, on real servers.

A number or a time that is taken when a row is written says nothing of when it is committed: who
reads "all above the last" passes by what was taken early and committed late.
"""

from __future__ import annotations

import asyncio
import itertools
import random
import threading
from collections import defaultdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from adapters.changes.events import Event
from adapters.changes.opening import state_of
from adapters.changes.state import State
from adapters.changes.views import EVERYBODY
from adapters.mapping.changes import Changes
from tests.adapters.replica import LOG, WATERMARK, Table, Telling, mapping, put

_numbers = itertools.count()
KEYS = range(12)


def watched(server: Any, folder: Path, method: str) -> tuple[Table, Telling]:
    table = Table(server.new_database(f"concurrent_{next(_numbers)}"))
    table.create()
    telling = Telling(mapping(method, 5), {"CHANGES_URL": table.url}, folder / "x.state")
    if method == LOG:
        table.script(telling.owner_sql())
    return table, telling


class Versions:
    """Looks that no key is told of an older version after a newer one."""

    def __init__(self) -> None:
        self.last: dict[str, float] = defaultdict(lambda: -1.0)

    def see(self, telling: Telling, events: list[Event]) -> None:
        for key in {event.subject for event in events}:
            record = telling.replica.records.get(key)
            if record is not None:
                assert record["price"] > self.last[key]
                self.last[key] = record["price"]


@pytest.mark.needs_postgresql
@pytest.mark.parametrize("method", [LOG, WATERMARK], ids=["log", "watermark"])
async def test_transactions_that_commit_in_any_order_are_all_told(
    postgresql_server: Any, tmp_path: Path, method: str
) -> None:
    """Up to five at once, some rolled back, a look at any moment: the replica is the table.

    The same history is read by position in the log, too, as one would with a sequence: that
    reader misses entries, which is what makes this a test.
    """
    table, telling = watched(postgresql_server, tmp_path, method)
    chance = random.Random(6)
    versions, mark = Versions(), itertools.count(1, 10)
    running: list[tuple[Any, list[int]]] = []
    counts = dict.fromkeys(KEYS, 0)
    seen: set[int] = set()
    for _ in range(160):
        act = chance.random()
        if act < 0.45 and len(running) < 5:
            free = [key for key in KEYS if not any(key in held for _, held in running)]
            held = chance.sample(free, min(2, len(free)))
            connection = table.engine.connect()
            for key in held:
                counts[key] += 1
                put(connection, key, "ກ", counts[key], next(mark))
            running.append((connection, held))
        elif act < 0.8 and running:
            connection, _ = running.pop(chance.randrange(len(running)))
            (connection.rollback if chance.random() < 0.2 else connection.commit)()
            connection.close()
        elif act >= 0.8:
            versions.see(telling, await telling.round())
            seen |= _above(table, max(seen, default=0)) if method == LOG else set()
    for connection, _ in running:
        connection.commit()
        connection.close()
    await telling.round()
    assert telling.replica.records == table.rows()
    if method == LOG:
        seen |= _above(table, max(seen))
        assert seen < _above(table, 0)
    await telling.close()
    table.engine.dispose()


def _above(table: Table, last: int) -> set[int]:
    with table.engine.connect() as connection:
        rows = connection.execute(text("SELECT id FROM saphan_changes WHERE id > :n"), {"n": last})
        return {row[0] for row in rows}


@pytest.mark.parametrize(
    "kind",
    [
        pytest.param("postgresql", marks=pytest.mark.needs_postgresql),
        pytest.param("mariadb", marks=pytest.mark.needs_mariadb),
    ],
)
async def test_writers_at_full_speed_lose_nothing(
    request: pytest.FixtureRequest, tmp_path: Path, kind: str
) -> None:
    """Four writers of the same keys beside a reader: no key goes back, and in the end all is told.

    What was overwritten before it was read need not be told: a look tells what is there then.
    """
    table, telling = watched(request.getfixturevalue(f"{kind}_server"), tmp_path, LOG)
    for key in KEYS:
        table.put(key, None, 0, None)
    versions = Versions()
    enough = threading.Event()

    def write(number: int) -> None:
        chance = random.Random(number)
        statement = text("UPDATE tbl_book SET price = price + 1 WHERE book_no = :n")
        with table.engine.connect() as connection:
            for count in range(4_000):
                if count >= 40 and enough.is_set():
                    break
                for key in sorted(chance.sample(KEYS, 3)):
                    connection.execute(statement, {"n": key})
                (connection.rollback if chance.random() < 0.1 else connection.commit)()

    writers = [threading.Thread(target=write, args=(number,)) for number in range(4)]
    for writer in writers:
        writer.start()
    rounds = 0
    while any(writer.is_alive() for writer in writers):
        versions.see(telling, await telling.round())
        rounds += 1
        if rounds == 1:  # the second one may follow the writers for as long as they write
            asyncio.get_running_loop().call_later(2.0, enough.set)
    for writer in writers:
        await asyncio.to_thread(writer.join)
    versions.see(telling, await telling.round())
    assert rounds > 1
    assert telling.replica.records == table.rows()
    await telling.close()
    table.engine.dispose()


@pytest.mark.needs_postgresql
async def test_a_mark_that_commits_much_later_is_told(
    postgresql_server: Any, tmp_path: Path
) -> None:
    """However far behind: no transaction that was running is passed by before it has ended."""
    table, telling = watched(postgresql_server, tmp_path, WATERMARK)
    with table.engine.connect() as early, table.engine.connect() as late:
        put(early, 1, None, 1, 10)
        table.put(2, None, 2, 1_000)
        assert _told(await telling.round()) == [("created", "2")]  # the first walk
        put(late, 3, None, 3, 1_010)
        for number in (4, 5):
            table.put(number, None, number, number * 1_000)
            assert _told(await telling.round()) == [("created", str(number))]
        early.commit()
        assert _told(await telling.round()) == [("created", "1")]
        table.put(6, None, 6, 6_000)
        assert _told(await telling.round()) == [("created", "6")]
        late.commit()
        assert _told(await telling.round()) == [("created", "3")]
    await telling.close()
    table.engine.dispose()


@pytest.mark.needs_postgresql
async def test_a_session_that_was_forgotten_holds_no_position_for_ever(
    postgresql_server: Any, tmp_path: Path
) -> None:
    """After a day its rows are left to comparisons, instead of reading all others each time."""
    table, telling = watched(postgresql_server, tmp_path, WATERMARK)
    now = datetime(2024, 1, 2, tzinfo=UTC)
    telling.clock = lambda: now
    with table.engine.connect() as forgotten:
        put(forgotten, 1, None, 1, 10)
        table.put(2, None, 2, 1_000)
        for _ in range(3):
            await telling.round()
        assert _position(telling) is None
        now += timedelta(days=1)
        await telling.round()
        assert _position(telling) is not None
        forgotten.rollback()
    await telling.close()
    table.engine.dispose()


def _position(telling: Telling) -> str | None:
    with State(telling.state, state_of(telling.mapping, _books(telling), EVERYBODY)) as state:
        return state.read("position")


def _books(telling: Telling) -> Changes:
    return telling.mapping.changes["books"]


@pytest.mark.needs_mariadb
async def test_a_log_of_mariadb_goes_back_by_its_overlap(
    mariadb_server: Any, tmp_path: Path
) -> None:
    """What commits late is told if it took no longer; nothing is told twice. Triggers name each
    row that was written, also with the key that it had before."""
    table, telling = watched(mariadb_server, tmp_path, LOG)
    await telling.round()
    with table.engine.connect() as late:
        late.execute(text("INSERT INTO tbl_book VALUES (1, NULL, 1, NULL)"))
        for number in (2, 3):
            table.run("INSERT INTO tbl_book VALUES (:n, NULL, 1, NULL)", n=number)
            assert _told(await telling.round()) == [("created", str(number))]
        late.commit()
    assert _told(await telling.round()) == [("created", "1")]
    table.run("UPDATE tbl_book SET book_no = 7 WHERE book_no = 2")
    assert sorted(_told(await telling.round())) == [("created", "7"), ("removed", "2")]
    table.run("DELETE FROM tbl_book WHERE book_no = 3")
    assert _told(await telling.round()) == [("removed", "3")]
    assert _told(await telling.round()) == []
    await telling.close()
    table.engine.dispose()


def _told(events: list[Event]) -> list[tuple[str, str]]:
    return [(str(event.told), event.subject) for event in events]
