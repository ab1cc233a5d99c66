"""Behind a pooler that gives each transaction another session (PgBouncer, ``pool_mode =
transaction``): what is promised of a session holds in each transaction, and what this adapter sets
reaches nobody else's."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import AsyncIterator

import psycopg
import pytest
from sqlalchemy import create_engine, make_url
from sqlalchemy.pool import NullPool
from structlog.testing import capture_logs

from adapters.changes.listening import Listener
from adapters.service import Adapter
from exchange.problems import Code, Problem
from tests.adapters import legacy as reading
from tests.adapters.legacy import Legacy, get, items
from tests.adapters.writes import library as writing
from tests.adapters.writes.library import BOOK, Library, send
from tests.services.server import DatabaseServer

pytestmark = pytest.mark.needs_postgresql
_numbers = itertools.count()
LIMITS = "statement_timeout_s: 0.5\n  failures_before_pause: 0"
SETTINGS = (
    "default_transaction_read_only",
    "default_transaction_isolation",
    "statement_timeout",
    "idle_in_transaction_session_timeout",
)


@pytest.fixture
def database(postgresql_server: DatabaseServer, pgbouncer: DatabaseServer) -> str:
    """An empty database of the server."""
    name = f"pooled_{next(_numbers)}"
    postgresql_server.new_database(name)
    return name


@pytest.fixture
async def adapter(
    database: str, pgbouncer: DatabaseServer, postgresql_server: DatabaseServer
) -> AsyncIterator[Adapter]:
    """The legacy database, read through the pooler."""
    reading.fill(postgresql_server.url(database))
    adapter = Legacy("postgresql", pgbouncer.url(database), pgbouncer).adapter(limits=LIMITS)
    assert len(await items(adapter, "/items")) == 10
    yield adapter
    await adapter.close()


@pytest.fixture
async def writer(
    database: str, pgbouncer: DatabaseServer, postgresql_server: DatabaseServer
) -> AsyncIterator[Adapter]:
    """The library, read and written through the pooler, whose books say how they were written."""
    direct = postgresql_server.url(database)
    writing.fill(direct)
    for setting in ("transaction_isolation", *SETTINGS[2:]):
        writing.rows(
            direct, f"ALTER TABLE tbl_book ADD {setting} text DEFAULT current_setting('{setting}')"
        )
    adapter = Library("postgresql", pgbouncer.url(database), pgbouncer).adapter(LIMITS)
    assert (await get(adapter, "/books")).status == 200
    yield adapter
    await adapter.close()


def renew(server: DatabaseServer, database: str) -> None:
    """The pooler has to take another session than the one that it had."""
    server.run(
        "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"  # noqa: S608
        f" WHERE datname = '{database}' AND pid <> pg_backend_pid()"
    )


def set_in(url: str) -> dict[str, str]:
    """The settings that whoever comes next by the pooler finds."""
    with create_engine(url, poolclass=NullPool).connect() as connection:
        return {name: str(connection.exec_driver_sql(f"SHOW {name}").scalar()) for name in SETTINGS}


async def test_a_slow_statement_is_cut_in_a_session_that_nobody_prepared(
    adapter: Adapter, postgresql_server: DatabaseServer, database: str
) -> None:
    """The time limit is the transaction's; the database cuts it, not the one who waits."""
    renew(postgresql_server, database)
    begun = time.monotonic()
    with pytest.raises(Problem) as caught:
        await get(adapter, "/slow")
    assert caught.value.code is Code.BACKEND_TIMEOUT
    assert caught.value.facts["state"] == "57014"
    assert time.monotonic() - begun < 8
    assert len(await items(adapter, "/items")) == 10


async def test_what_is_set_reaches_nobody_else(
    adapter: Adapter, pgbouncer: DatabaseServer, postgresql_server: DatabaseServer, database: str
) -> None:
    """The owner's own program, which shares the pooler's session, writes as ever."""
    assert set_in(pgbouncer.url(database)) == set_in(postgresql_server.url(database))
    reading.execute(pgbouncer.url(database), "UPDATE tbl_item SET note = 'x' WHERE id = 1")


async def test_a_writer_leaves_nothing_either(
    writer: Adapter, pgbouncer: DatabaseServer, postgresql_server: DatabaseServer, database: str
) -> None:
    """Nothing of a transaction that wrote is left in the session that it was in."""
    assert (await send(writer, "POST", "/books", BOOK)).status == 201
    assert set_in(pgbouncer.url(database)) == set_in(postgresql_server.url(database))


async def test_a_change_is_written_as_if_alone_in_whichever_session(
    writer: Adapter, postgresql_server: DatabaseServer, database: str
) -> None:
    """SERIALIZABLE and the time limits are the transaction's, not the session's."""
    assert (await send(writer, "POST", "/books", BOOK)).status == 201
    renew(postgresql_server, database)
    assert (await send(writer, "POST", "/books", BOOK | {"number": 8, "isbn": "8"})).status == 201
    how = writing.rows(
        postgresql_server.url(database),
        "SELECT DISTINCT transaction_isolation, statement_timeout,"
        " idle_in_transaction_session_timeout FROM tbl_book WHERE book_no > 6",
    )
    assert how == [("serializable", "500ms", "1s")]


async def test_a_session_without_a_pooler_cannot_write_even_outside_of_a_transaction(
    postgresql_server: DatabaseServer, database: str
) -> None:
    """Where the session is the adapter's own, it is read-only by itself too."""
    url = postgresql_server.url(database)
    reading.fill(url)
    adapter = Legacy("postgresql", url, postgresql_server).adapter()
    try:
        with pytest.raises(Problem) as caught:
            await adapter._source.run(
                lambda connection: connection.connection.cursor().execute(
                    "COMMIT; UPDATE tbl_item SET note = 'x'"
                ),
                timeout_s=5,
            )
        assert caught.value.facts["state"] == "25006"
    finally:
        await adapter.close()


async def test_a_pooler_that_is_restarted(adapter: Adapter, pgbouncer: DatabaseServer) -> None:
    """Requests fail while it is away; nothing has to be restarted when it is back."""
    pgbouncer.stop()
    try:
        with pytest.raises(Problem) as caught:
            await get(adapter, "/items")
        assert (caught.value.code, caught.value.retryable) == (Code.SOURCE_FAILED, True)
    finally:
        pgbouncer.start()
    assert len(await items(adapter, "/items")) == 10


async def test_the_pooler_has_no_session_left(
    adapter: Adapter, pgbouncer: DatabaseServer, database: str
) -> None:
    """Who waits in the pooler's queue is told in time, and the place comes back."""
    address = make_url(pgbouncer.url(database)).set(drivername="postgresql")
    with psycopg.connect(address.render_as_string(hide_password=False)) as other:
        other.execute("SELECT 1")  # in a transaction, which takes the only session
        begun = time.monotonic()
        with pytest.raises(Problem) as caught:
            await get(adapter, "/items", timeout_s=0.5)
        assert caught.value.code is Code.BACKEND_TIMEOUT
        assert time.monotonic() - begun < 8
    assert len(await items(adapter, "/items")) == 10


async def test_who_listens_is_told_that_a_pooler_is_between(
    pgbouncer: DatabaseServer, postgresql_server: DatabaseServer, database: str
) -> None:
    """Notifications do not come through such a pooler: the operator is told, and the time to look
    anyway counts."""
    for server, said in ((pgbouncer, ["pooler_between"]), (postgresql_server, [])):
        listener = Listener(make_url(server.url(database)), ["changed"], 5)
        with capture_logs() as logs:
            await listener.wait(1)
            await asyncio.wait_for(listener.wait(0.05), 60)
        await listener.close()
        assert [one["event"] for one in logs] == said
        assert all(one["log_level"] == "warning" for one in logs)
