"""The connection or the process ends at every step of a transaction, and the effect is there once.

Each fault is a real one: the database kills the session, or the process kills itself. A step is
before a statement of the transaction (after the one before it), before its commit, or after it:
committed, and nobody was told.
"""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, create_engine, event, text

from adapters.kinds import Embedder
from adapters.service import Adapter
from exchange.problems import Code, Problem
from tests.adapters.writes.library import MAPPING, Library, content, send

OTHER_SERVICE = """
  catalogue:
    title: {en: Titles, lo: ຊື່}
    endpoints:
      /titles:
        operation: list
        query: books
        title: {en: Titles, lo: ຊື່}
        order: [book_no]
        cache_s: 600
"""
Strike = Callable[[Connection], None]


class Striker:
    """Calls ``strike`` once, at step ``at``; counts the steps that there are."""

    def __init__(self, engine: Engine, at: int, strike: Strike) -> None:
        self.steps = 0
        self.struck = False
        self._at, self._strike = at, strike
        event.listen(engine, "before_cursor_execute", self._executes)
        event.listen(engine, "commit", self._step)
        commit = engine.dialect.do_commit

        def committed(raw: Any) -> None:
            """The driver's commit, and what follows it before anybody is told."""
            commit(raw)
            connection = self._connection
            self._step(connection)
            if self.struck and self._hit == self.steps:
                raw.cursor().execute("SELECT 1")  # fails: the session is gone

        engine.dialect.do_commit = committed  # type: ignore[method-assign]
        self._connection: Any = None
        self._hit = -1

    def _executes(self, connection: Connection, *rest: Any) -> None:
        self._step(connection)

    def _step(self, connection: Connection) -> None:
        self._connection = connection
        self.steps += 1
        if self.steps == self._at and not self.struck:
            self.struck, self._hit = True, self.steps
            self._strike(connection)


def writing_engine(adapter: Adapter) -> Engine:
    source = adapter._source.writing
    assert source is not None
    return source._engine


def killer(library: Library) -> Strike:
    """The database ends the session of a connection."""
    assert library.server is not None
    server = library.server

    def kill(connection: Connection) -> None:
        raw: Any = connection.connection.dbapi_connection
        if library.kind == "postgresql":
            server.run(f"SELECT pg_terminate_backend({raw.info.backend_pid}, 5000)")
        else:
            server.run(f"KILL CONNECTION {raw.thread_id()}")

    return kill


def effects(library: Library) -> tuple[int, int]:
    """How many loans there are, and how many messages the ledger has."""
    counts = "SELECT (SELECT COUNT(*) FROM tbl_loan), (SELECT COUNT(*) FROM saphan_writes)"
    loans, messages = library.rows(counts)[0]
    return loans, messages


async def test_a_session_that_is_killed(library: Library) -> None:
    """The message is carried out all the same, once, and a repeat gets the first answer."""
    if library.server is None:
        pytest.skip("SQLite has no sessions")
    kill = killer(library)
    at = 0
    while True:
        at += 1
        adapter = library.adapter("max_connections: 1\n  failures_before_pause: 0")
        striker = Striker(writing_engine(adapter), at, kill)
        library.rows("UPDATE tbl_book SET is_lent = 0")
        body = {"number": 1, "borrower": f"ແກ້ວ {at}"}
        first = await send(adapter, "POST", "/loans", body, id=f"k{at}")
        assert first.status == 201, (at, content(first))
        again = await send(adapter, "POST", "/loans", body, id=f"k{at}")
        await adapter.close()
        assert again == first, at
        assert effects(library) == (at, at), at
        if not striker.struck:
            break
    assert at > 6  # claim, two statements, the record, the answer, the commit and after


def test_a_process_that_is_killed(library: Library) -> None:
    """Whoever repeats the message, to another process, finds it done once or has it done."""
    at = 0
    while True:
        at += 1
        library.rows("UPDATE tbl_book SET is_lent = 0")
        body = {"number": 1, "borrower": f"ແກ້ວ {at}"}
        ended = _in_a_process_of_its_own(library, at, body)
        done = effects(library)
        assert done in ((at - 1, at - 1), (at, at)), at  # all of it or nothing
        adapter = library.adapter()
        answer = asyncio.run(_send_and_close(adapter, body, f"p{at}"))
        assert answer == 201, at
        assert effects(library) == (at, at), at
        if not ended:
            break
    assert at > 6


async def _send_and_close(adapter: Adapter, body: Any, id: str) -> int:
    try:
        return (await send(adapter, "POST", "/loans", body, id=id)).status
    finally:
        await adapter.close()


def _in_a_process_of_its_own(library: Library, at: int, body: Any) -> bool:
    """Send ``body`` from a process that kills itself at step ``at``; whether it did."""
    child = os.fork()
    if child == 0:
        try:
            adapter = library.adapter()
            Striker(writing_engine(adapter), at, lambda _: os.kill(os.getpid(), signal.SIGKILL))
            asyncio.run(_send_and_close(adapter, body, f"p{at}"))
        finally:
            os._exit(0)
    _, status = os.waitpid(child, 0)
    return os.WIFSIGNALED(status)


async def test_a_source_that_does_not_answer_in_time(library: Library) -> None:
    """Nobody knows: the answer says so, and a repeat with the same id ends it well."""
    adapter = library.adapter("statement_timeout_s: 30")
    reached, going_on = threading.Event(), threading.Event()

    def wait(connection: Connection) -> None:
        reached.set()
        going_on.wait(60)

    Striker(writing_engine(adapter), 3, wait)
    body = {"number": 1, "borrower": "ແກ້ວ"}
    with pytest.raises(Problem) as caught:
        await send(adapter, "POST", "/loans", body, id="t1", timeout_s=2.0)
    assert caught.value.code is Code.WRITE_UNCONFIRMED
    assert await asyncio.to_thread(reached.wait, 60)
    assert effects(library) == (0, 0)
    going_on.set()
    answer = await send(adapter, "POST", "/loans", body, id="t1")
    assert answer.status == 201
    assert effects(library) == (1, 1)
    await adapter.close()


async def test_kept_answers_go_when_the_change_is_there(library: Library) -> None:
    """Also with one for which nobody waits any more: what was asked meanwhile is not kept on."""
    kept = MAPPING.replace("order: [book_no]}", "order: [book_no], cache_s: 600}")
    adapter = library.adapter("max_connections: 1\n  statement_timeout_s: 30", kept)
    reached, going_on = threading.Event(), threading.Event()

    def wait(connection: Connection) -> None:
        reached.set()
        going_on.wait(60)

    Striker(writing_engine(adapter), 2, wait)
    with pytest.raises(Problem):
        await send(adapter, "PATCH", "/books/1", {"note": "new"}, id="c1", timeout_s=2.0)
    assert await asyncio.to_thread(reached.wait, 60)
    before = await send(adapter, "GET", "/books")
    source = adapter._source.writing
    assert source is not None
    ends = [asyncio.wrap_future(one) for one in source._running]
    going_on.set()
    await asyncio.gather(*ends)
    assert (await send(adapter, "GET", "/books")).body != before.body
    await adapter.close()


async def test_an_answer_of_before_a_change_is_not_kept(library: Library) -> None:
    """A list that was read before a change, and comes after it, is given once and not kept."""
    kept = MAPPING.replace("order: [book_no]}", "order: [book_no], cache_s: 600}")
    adapter = library.adapter("max_connections: 1", kept)
    read, going_on = threading.Event(), threading.Event()

    def wait(connection: Connection) -> None:
        read.set()
        going_on.wait(60)

    event.listen(adapter._source._engine, "rollback", wait)
    reading = asyncio.create_task(send(adapter, "GET", "/books"))
    assert await asyncio.to_thread(read.wait, 60)
    assert (await send(adapter, "PATCH", "/books/1", {"note": "new"})).status == 200
    going_on.set()
    before = await reading
    event.remove(adapter._source._engine, "rollback", wait)
    assert (await send(adapter, "GET", "/books")).body != before.body
    await adapter.close()


async def test_kept_answers_of_every_service_of_the_mapping_go(
    library: Library, tmp_path: Path
) -> None:
    """A change through one service is seen by the next reader of another, on the same source."""
    kept = MAPPING.replace("order: [book_no]}", "order: [book_no], cache_s: 600}") + OTHER_SERVICE
    file = tmp_path / "library.yaml"
    file.write_text(kept.replace("LIMITS", "max_connections: 2"), "utf-8")
    embed = Embedder({"LIBRARY_URL": library.url, "LIBRARY_WRITER_URL": library.url})
    (writing, _), (reading, _) = embed(file, "books"), embed(file, "catalogue")
    before = await send(reading, "GET", "/titles")
    assert await send(reading, "GET", "/titles") == before
    assert (await send(writing, "PATCH", "/books/1", {"note": "new"})).status == 200
    after = await send(reading, "GET", "/titles")
    assert content(after)["items"][0]["note"] == "new"
    await writing.close()
    await writing.close()
    assert await send(reading, "GET", "/titles") == after  # the source is open for it still
    await reading.close()


async def test_a_source_that_goes_with_the_commit(library: Library) -> None:
    """Whose commit nobody answered, and whose database cannot be asked again, is told that."""
    if library.server is None:
        pytest.skip("SQLite has no sessions")
    kill = killer(library)
    counted = library.adapter("max_connections: 1\n  failures_before_pause: 0")
    steps = Striker(writing_engine(counted), 0, kill)
    body = {"number": 1, "borrower": "ແກ້ວ"}
    assert (await send(counted, "POST", "/loans", body, id="g0")).status == 201
    await counted.close()
    library.rows("UPDATE tbl_book SET is_lent = 0")
    adapter = library.adapter("max_connections: 1\n  failures_before_pause: 0")
    engine = writing_engine(adapter)

    def away(*connecting: Any) -> None:
        raise engine.dialect.loaded_dbapi.OperationalError(2003, "nobody listens")

    def end(connection: Connection) -> None:
        kill(connection)
        event.listen(engine, "connect", away)

    Striker(engine, steps.steps, end)
    with pytest.raises(Problem) as caught:
        await send(adapter, "POST", "/loans", body, id="g1")
    assert caught.value.code is Code.WRITE_UNCONFIRMED
    assert effects(library) == (2, 2)
    event.remove(engine, "connect", away)
    assert (await send(adapter, "POST", "/loans", body, id="g1")).status == 201
    assert effects(library) == (2, 2)
    await adapter.close()


async def test_a_source_that_is_locked_is_told(library: Library) -> None:
    """What waits for another's lock ends by itself, has written nothing, and can be repeated."""
    adapter = library.adapter("statement_timeout_s: 2\n  failures_before_pause: 0")
    other = create_engine(library.url)
    with other.connect() as connection:
        if library.kind == "sqlite":
            connection.exec_driver_sql("BEGIN IMMEDIATE")
        connection.execute(text("UPDATE tbl_book SET note = 'x' WHERE book_no = 1"))
        with pytest.raises(Problem) as caught:
            await send(adapter, "POST", "/loans", {"number": 1, "borrower": "ກ"}, id="l1")
        assert caught.value.retryable
        connection.rollback()
    other.dispose()
    assert effects(library) == (0, 0)
    again = await send(adapter, "POST", "/loans", {"number": 1, "borrower": "ກ"}, id="l1")
    assert again.status == 201
    await adapter.close()
