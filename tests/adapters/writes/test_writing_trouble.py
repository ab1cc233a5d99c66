"""What a database may say instead of carrying out a write: each is told, and none is done twice.

The databases say it themselves. What cannot be brought about in a test (a full disk, a standby that
took over) is raised by a trigger with the number that the server has for it.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, create_engine, event, text
from sqlalchemy.exc import OperationalError

from adapters.service import Adapter
from adapters.writes.transaction import ATTEMPTS
from exchange.problems import Code, Problem
from tests.adapters.writes.library import Library, content, send
from tests.adapters.writes.test_writing_faults import Striker, effects, writing_engine

BODY = {"number": 1, "borrower": "ແກ້ວ"}
LIMITS = "max_connections: 1\n  failures_before_pause: 0"
# What is raised, by kind of database: a number, or for SQLite what brings it about.
TROUBLES = {
    "no room": {"postgresql": "53100", "mariadb": "1114", "sqlite": "PRAGMA max_page_count = 1"},
    "a full disk": {"postgresql": "53100", "mariadb": "1021"},
    "read only": {"postgresql": "25006", "mariadb": "1290", "sqlite": "PRAGMA query_only = 1"},
    "a standby": {"postgresql": "25006", "mariadb": "1836"},
    "cannot be ordered": {"postgresql": "40001", "mariadb": "1020"},
    "deadlock": {"postgresql": "40P01", "mariadb": "1213"},
    "a lock": {"postgresql": "55P03", "mariadb": "1205"},
}
OF_THE_LEDGER = ("no room", "read only", "a lock")
TOLD = {
    "no room": (Code.SOURCE_FAILED, "has no room left"),
    "a full disk": (Code.SOURCE_FAILED, "has no room left"),
    "read only": (Code.SOURCE_FAILED, "can only be read now"),
    "a standby": (Code.SOURCE_FAILED, "can only be read now"),
    "cannot be ordered": (Code.OVERLOADED, "others write the same records"),
    "deadlock": (Code.OVERLOADED, "others write the same records"),
    "a lock": (Code.OVERLOADED, "locked by another change"),
}


def trigger(library: Library, table: str, number: str, times: int) -> None:
    """Let the first ``times`` INSERTs into ``table`` fail with the server's ``number``.

    They are counted by a sequence, which no rollback takes back.
    """
    library.rows("DROP SEQUENCE IF EXISTS trouble_count")
    library.rows("CREATE SEQUENCE trouble_count")
    assert library.server is not None
    database = library.url.rpartition("/")[2].partition("?")[0]
    if library.kind == "postgresql":
        library.server.run(
            "CREATE OR REPLACE FUNCTION trouble() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
            f" IF nextval('trouble_count') <= {times} THEN"
            f" RAISE EXCEPTION 'trouble' USING ERRCODE = '{number}'; END IF; RETURN NEW; END $$",
            database,
        )
        create = f"CREATE TRIGGER trouble BEFORE INSERT ON {table} FOR EACH ROW EXECUTE PROCEDURE"
        library.server.run(f"{create} trouble()", database)
        return
    library.server.run(
        f"CREATE TRIGGER trouble BEFORE INSERT ON {table} FOR EACH ROW BEGIN"
        f" IF NEXTVAL(trouble_count) <= {times} THEN SIGNAL SQLSTATE 'HY000'"
        f" SET MYSQL_ERRNO = {number}, MESSAGE_TEXT = 'trouble'; END IF; END",
        database,
    )


@contextmanager
def troubled(library: Library, adapter: Adapter, name: str, table: str) -> Iterator[None]:
    """The database says what ``name`` is the name of, each time that ``table`` gets a row."""
    said = TROUBLES[name].get(library.kind)
    if said is None:
        pytest.skip("this database does not say so")
    if library.kind != "sqlite":
        trigger(library, table, said, 1_000)
        try:
            yield
        finally:
            on = f" ON {table}" if library.kind == "postgresql" else ""
            library.rows(f"DROP TRIGGER trouble{on}")
        return
    engine = writing_engine(adapter)

    def limit(raw: Any, record: Any) -> None:
        raw.execute(said)

    event.listen(engine, "connect", limit)
    yield
    event.remove(engine, "connect", limit)
    engine.dispose()


@pytest.mark.parametrize(
    ("name", "table"),
    [*((name, "tbl_loan") for name in TROUBLES), *((n, "saphan_writes") for n in OF_THE_LEDGER)],
)
async def test_what_a_database_cannot_do_is_told(library: Library, name: str, table: str) -> None:
    """By the ledger's row and by a statement: a clear problem, nothing written, and then once."""
    adapter = library.adapter(LIMITS)
    body = BODY | ({"borrower": "ກ" * 4_000} if library.kind == "sqlite" else {})
    with troubled(library, adapter, name, table), pytest.raises(Problem) as caught:
        await send(adapter, "POST", "/loans", body, id="t")
    code, words = TOLD[name]
    if table == "saphan_writes" and name == "a lock":
        code = Code.MESSAGE_IN_PROGRESS
    assert (caught.value.code, caught.value.retryable) == (code, True)
    assert words in caught.value.detail
    assert "nothing was written" in caught.value.detail
    assert effects(library) == (0, 0)
    again = await send(adapter, "POST", "/loans", body, id="t")
    assert (again.status, effects(library)) == (201, (1, 1))
    await adapter.close()


async def test_what_passes_is_tried_again(library: Library) -> None:
    """As often as is said, and no more; the caller does not see it."""
    if library.server is None:
        pytest.skip("SQLite has one writer")
    adapter = library.adapter(LIMITS)
    for times, ends_well in ((ATTEMPTS - 1, True), (ATTEMPTS, False)):
        library.rows("UPDATE tbl_book SET is_lent = 0")
        trigger(library, "tbl_loan", TROUBLES["deadlock"][library.kind], times)
        if ends_well:
            assert (await send(adapter, "POST", "/loans", BODY)).status == 201
        else:
            with pytest.raises(Problem):
                await send(adapter, "POST", "/loans", BODY)
        assert effects(library) == (1, 1)
        on = " ON tbl_loan" if library.kind == "postgresql" else ""
        library.rows(f"DROP TRIGGER trouble{on}")
    await adapter.close()


async def test_a_deadlock_with_the_owners_program(library: Library) -> None:
    """Whoever of the two is the victim, the message is carried out once."""
    if library.server is None:
        pytest.skip("SQLite has one writer")
    adapter = library.adapter("max_connections: 1\n  statement_timeout_s: 20")
    other: Engine = create_engine(library.url)
    waiting, held = threading.Event(), threading.Event()

    def lock() -> None:
        """Book 1, and then, when the adapter waits for it, what the adapter holds."""
        with other.connect() as connection:
            connection.execute(text("UPDATE tbl_book SET note = 'x' WHERE book_no = 1"))
            held.set()
            assert waiting.wait(30)
            with suppress(OperationalError):  # the victim may be this one
                connection.execute(text(claim))
            connection.rollback()

    claim = (
        "INSERT INTO saphan_writes (client, id, digest, status, written_at)"
        " VALUES ('LA/GOV/MOF/portal', 'd', 'x', 0, 0)"
    )
    rival = threading.Thread(target=lock)
    rival.start()
    assert await asyncio.to_thread(held.wait, 30)
    Striker(writing_engine(adapter), 2, lambda _: waiting.set())  # claimed; now the book
    answer = await send(adapter, "POST", "/loans", BODY, id="d")
    await asyncio.to_thread(rival.join)
    other.dispose()
    assert (answer.status, effects(library)) == (201, (1, 1)), content(answer)
    await adapter.close()


async def test_a_server_that_restarts(library: Library) -> None:
    """At the middle of a transaction, and between its commit and the answer."""
    if library.server is None:
        pytest.skip("SQLite is no server")
    server = library.server
    counted = library.adapter(LIMITS)
    steps = Striker(writing_engine(counted), 0, lambda _: None)
    assert (await send(counted, "POST", "/loans", BODY)).status == 201
    await counted.close()

    def restart(connection: Connection) -> None:
        server.stop()
        server.start()

    for number, at in enumerate((steps.steps // 2, steps.steps), 2):
        library.rows("UPDATE tbl_book SET is_lent = 0")
        adapter = library.adapter(LIMITS)
        striker = Striker(writing_engine(adapter), at, restart)
        first = await send(adapter, "POST", "/loans", BODY, id=f"r{number}")
        assert striker.struck
        assert (first.status, effects(library)) == (201, (number, number))
        assert await send(adapter, "POST", "/loans", BODY, id=f"r{number}") == first
        await adapter.close()


async def test_a_server_that_stays_away(library: Library) -> None:
    """Before the commit nothing was written, and that is said; later the message is carried out."""
    if library.server is None:
        pytest.skip("SQLite is no server")
    server = library.server
    adapter = library.adapter(LIMITS)
    Striker(writing_engine(adapter), 3, lambda _: server.stop())
    with pytest.raises(Problem) as caught:
        await send(adapter, "POST", "/loans", BODY, id="s")
    server.start()
    assert (caught.value.code, caught.value.retryable) == (Code.SOURCE_FAILED, True)
    assert effects(library) == (0, 0)
    assert (await send(adapter, "POST", "/loans", BODY, id="s")).status == 201
    assert effects(library) == (1, 1)
    await adapter.close()


# The step after the claim, which the moment is of; and what the owner runs then.
REWRITES = {
    "postgresql": (3, "ALTER TABLE tbl_book ALTER price TYPE numeric(12, 3)"),
    "mariadb": (2, "ALTER TABLE tbl_book MODIFY price DECIMAL(12, 3)"),
}


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [("POST", "/loans", BODY, 201), ("PATCH", "/books/1", {"note": "new"}, 200)],
)
async def test_a_table_that_is_written_anew_under_a_write(
    library: Library, method: str, path: str, body: Any, status: int
) -> None:
    """Its rows are not taken for gone: the message is carried out, once."""
    if library.server is None:
        pytest.skip("SQLite has one writer")
    at, statement = REWRITES[library.kind]
    adapter = library.adapter(LIMITS)

    def alter(connection: Connection) -> None:
        library.rows(statement)

    striker = Striker(writing_engine(adapter), at, alter)
    answer = await send(adapter, method, path, body, id="w")
    assert striker.struck
    assert answer.status == status, content(answer)
    assert library.count("saphan_writes") == 1
    assert await send(adapter, method, path, body, id="w") == answer
    await adapter.close()


@contextmanager
def standby(library: Library) -> Iterator[None]:
    """The server is started again as one that follows another, and then takes over."""
    assert library.server is not None
    server = library.server
    server.run("CHECKPOINT")
    server.stop()
    (server.folder / "data" / "standby.signal").touch()
    server.start()
    yield
    server.run("SELECT pg_promote()")


@contextmanager
def read_only(library: Library) -> Iterator[None]:
    """The administrator lets nobody write, on connections that are there, too."""
    assert library.server is not None
    library.server.run("SET GLOBAL read_only = 1")
    try:
        yield
    finally:
        library.server.run("SET GLOBAL read_only = 0")


async def test_a_server_that_can_only_be_read_for_a_while(library: Library) -> None:
    """It is read meanwhile; a write is told what is the matter, and is carried out afterwards."""
    if library.server is None:
        pytest.skip("SQLite is no server")
    if library.kind == "mariadb":  # an administrator writes all the same
        name = library.url.rpartition("/")[2].partition("?")[0]
        library.rows("CREATE OR REPLACE USER plain_writer IDENTIFIED BY 'w'")
        library.rows(f"GRANT SELECT, INSERT, UPDATE, DELETE ON {name}.* TO plain_writer")
        library = replace(library, url=library.url.replace("root@", "plain_writer:w@"))
    adapter = library.adapter(LIMITS)
    assert (await send(adapter, "POST", "/loans", BODY)).status == 201
    with {"postgresql": standby, "mariadb": read_only}[library.kind](library):
        assert (await send(adapter, "GET", "/books/2")).status == 200
        for _ in range(2):
            with pytest.raises(Problem) as caught:
                await send(adapter, "POST", "/loans", BODY | {"number": 2}, id="o")
            assert (caught.value.code, caught.value.retryable) == (Code.SOURCE_FAILED, True)
            assert "can only be read now" in caught.value.detail
        assert effects(library) == (1, 1)
    answer = await send(adapter, "POST", "/loans", BODY | {"number": 2}, id="o")
    assert (answer.status, effects(library)) == (201, (2, 2))
    await adapter.close()


async def test_a_record_that_another_changes_meanwhile(library: Library) -> None:
    """The database cannot order the two: the message is carried out again, on what is there now."""
    if library.server is None:
        pytest.skip("SQLite has one writer")
    adapter = library.adapter(LIMITS)
    at = {"postgresql": 3, "mariadb": 2}[library.kind]  # after the claim

    def change(connection: Connection) -> None:
        library.rows("UPDATE tbl_book SET note = 'theirs' WHERE book_no = 1")

    striker = Striker(writing_engine(adapter), at, change)
    answer = await send(adapter, "PATCH", "/books/1", {"price": "3.00"}, id="m")
    assert striker.struck
    assert answer.status == 200
    assert (content(answer)["note"], content(answer)["price"]) == ("theirs", "3.00")
    assert library.count("saphan_writes") == 1
    await adapter.close()
