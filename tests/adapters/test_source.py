"""A source lends a bounded number of places and closes with its last user."""

from __future__ import annotations

import asyncio
import threading
import time
import weakref
from pathlib import Path

import pytest
from sqlalchemy import Connection

from adapters.mapping.model import Limits, SourceKind, SourceSettings
from adapters.sources.sessions import keep_until_told
from adapters.sources.source import Source
from exchange.problems import Code, Problem


def source(tmp_path: Path, **limits: float) -> Source:
    (tmp_path / "x.db").touch()
    settings = SourceSettings(
        SourceKind.SQL, Limits(**limits), "sqlite:///x.db", where="m.yaml:5 /source"
    )  # type: ignore[arg-type]
    return Source(settings, {}, tmp_path).lease()


async def test_no_more_run_at_once_than_there_are_places(tmp_path: Path) -> None:
    """The bound holds whatever the load; all are answered."""
    running, most, lock = 0, 0, threading.Lock()
    full = threading.Event()

    def work(connection: Connection) -> int:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
            if running == 3:
                full.set()
        full.wait(30)
        time.sleep(0.002)  # so that one more would be seen
        with lock:
            running -= 1
        return 1

    lent = source(tmp_path, max_connections=3)
    answers = await asyncio.gather(*(lent.run(work, timeout_s=60) for _ in range(20)))
    assert (sum(answers), most) == (20, 3)
    await lent.close()


async def test_too_many_waiting_are_refused_at_once(tmp_path: Path) -> None:
    """Overload is an honest 503, not a queue without end."""
    gate = threading.Event()
    lent = source(tmp_path, max_connections=1, max_waiting=1)
    busy = [
        asyncio.create_task(lent.run(lambda connection: gate.wait(5), timeout_s=5))
        for _ in range(2)
    ]
    await asyncio.sleep(0.01)
    with pytest.raises(Problem) as caught:
        await lent.run(lambda connection: None, timeout_s=5)
    assert caught.value.code is Code.OVERLOADED
    gate.set()
    await asyncio.gather(*busy)
    await lent.close()


async def test_waiting_ends_at_the_deadline_and_gives_the_place_back(tmp_path: Path) -> None:
    """Who waited in vain gets a problem; the place is lent again after the work has ended."""
    gate = threading.Event()
    lent = source(tmp_path, max_connections=1)
    for _ in range(2):  # one whose work outlives it, one that never got a place
        with pytest.raises(Problem) as caught:
            await lent.run(lambda connection: gate.wait(5), timeout_s=0.05)
        assert caught.value.code is Code.BACKEND_TIMEOUT
    gate.set()
    assert await lent.run(lambda connection: 7, timeout_s=5) == 7
    await lent.close()


async def test_who_gives_up_does_not_take_the_place_along(tmp_path: Path) -> None:
    """A cancelled request leaves the thread its place until the work has ended."""
    gate = threading.Event()
    lent = source(tmp_path, max_connections=1)
    task = asyncio.create_task(lent.run(lambda connection: gate.wait(5), timeout_s=5))
    await asyncio.sleep(0.02)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    gate.set()
    assert await lent.run(lambda connection: 7, timeout_s=5) == 7
    await lent.close()


async def test_no_statement_is_begun_after_the_deadline(tmp_path: Path) -> None:
    """Of an answer of many statements the source is asked no more when nobody waits for it."""
    gate = threading.Event()
    asked: list[object] = []

    def work(connection: Connection) -> None:
        gate.wait(5)
        asked.append(connection.exec_driver_sql("SELECT 7").scalar())

    lent = source(tmp_path, max_connections=1)
    with pytest.raises(Problem):
        await lent.run(work, timeout_s=0.05)
    gate.set()
    assert await lent.run(lambda connection: 7, timeout_s=5) == 7
    assert asked == []
    await lent.run(work, timeout_s=5)
    assert asked == [7]
    await lent.close()


class _Rows:
    """Stands where thousands of rows would."""


@pytest.mark.parametrize("fails", [False, True])
async def test_what_an_answer_was_made_of_is_let_go_after_it_was_told(
    tmp_path: Path, fails: bool
) -> None:
    """It is kept for as long as somebody waits, and no longer than the connection is lent."""
    made: list[weakref.ref[_Rows]] = []

    def work(connection: Connection) -> bool:
        rows = _Rows()
        made.append(weakref.ref(rows))
        keep_until_told(connection, rows)
        del rows
        if fails:
            connection.exec_driver_sql("SELECT nothing")
        return made[0]() is not None

    lent = source(tmp_path, max_connections=1)
    if fails:
        with pytest.raises(Problem):
            await lent.run(work, timeout_s=5)
    else:
        assert await lent.run(work, timeout_s=5)
    assert await lent.run(lambda connection: made[0]() is None, timeout_s=5)
    await lent.close()


async def test_a_deadline_is_of_one_request_only(tmp_path: Path) -> None:
    """A connection that is taken beside a request's own has no deadline of an earlier one."""
    gate = threading.Event()
    lent = source(tmp_path, max_connections=2)
    late = [lent.run(lambda connection: gate.wait(5), timeout_s=0.1) for _ in range(2)]
    await asyncio.gather(*late, return_exceptions=True)
    gate.set()

    def work(connection: Connection) -> object:
        with connection.engine.connect() as second:
            return second.exec_driver_sql("SELECT 7").scalar()

    assert await lent.run(work, timeout_s=5) == 7
    await lent.close()


async def test_the_last_lease_closes(tmp_path: Path) -> None:
    """A source shared by two services lives until both have closed it."""
    lent = source(tmp_path)
    lent.lease()
    await lent.close()
    assert await lent.run(lambda connection: 1, timeout_s=5) == 1
    await lent.close()
    with pytest.raises(Problem):
        await lent.run(lambda connection: 1, timeout_s=5)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "nonsense",
        "db2://x/y",
        "sqlite://",
        "sqlite:///:memory:",
        "sqlite:///file:x?mode=rwc",
    ],
)
def test_an_address_that_cannot_be_one_is_refused(tmp_path: Path, url: str) -> None:
    """Other databases and databases in memory are no sources; the place is named."""
    settings = SourceSettings(SourceKind.SQL, Limits(), url, where="m.yaml:5 /source")
    with pytest.raises(Problem) as caught:
        Source(settings, {}, tmp_path)
    assert caught.value.code is Code.INVALID_MAPPING
    assert caught.value.where == "m.yaml:5 /source"


def test_a_password_is_never_repeated(tmp_path: Path) -> None:
    """A malformed address is refused without being shown."""
    for url in ("postgresql//u:geheim@h/d", "db2://u:geheim@h/d", "postgresql://u:geheim@h:x/d"):
        settings = SourceSettings(SourceKind.SQL, Limits(), url)
        with pytest.raises(Problem) as caught:
            Source(settings, {}, tmp_path)
        assert "geheim" not in str(caught.value)


def test_a_missing_variable_is_named(tmp_path: Path) -> None:
    """``${NAME}`` without a value is a fault of the mapping's operator, told by name."""
    settings = SourceSettings(SourceKind.SQL, Limits(), "sqlite:///${WHERE}/x.db")
    with pytest.raises(Problem) as caught:
        Source(settings, {"WHERE": ""}, tmp_path)
    assert "WHERE" in caught.value.detail
