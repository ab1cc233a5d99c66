"""What becomes of a request while its source is at fault, and after: one table for each kind.

For each fault of the tables, with real servers and files: requests that meet it get the problem of
the table, with a place and a next step and without a word of the address; another source in the
same process goes on answering meanwhile; and when the fault is mended the next request is
answered, by the same adapter.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import signal
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias

import orjson
import pytest
from sqlalchemy import create_engine
from sqlalchemy.pool import NullPool

from adapters.answers.replies import problem_response
from adapters.service import Adapter
from exchange.problems import Code, Problem
from tests.adapters.legacy import Legacy, execute, fill, get, items
from tests.adapters.test_files import HEADER, ROWS, adapter_of
from tests.services.server import DatabaseServer

LIMITS = """max_connections: 3
  statement_timeout_s: 1
  connect_timeout_s: 1
  failures_before_pause: 0"""
SECRET = "geheim-77"
_numbers = itertools.count()

Mend: TypeAlias = AbstractContextManager[None]


@dataclass(frozen=True)
class Fault:
    """A fault that begins on entering and is mended on leaving, and what it is to callers."""

    name: str
    make: Callable[[Legacy], Mend]
    codes: Code | tuple[Code, ...]
    where: str = "source"
    retryable: bool | None = None


# Faults of database servers.


def _children(process: int) -> Iterator[int]:
    for child in Path(f"/proc/{process}/task/{process}/children").read_text().split():
        yield int(child)
        yield from _children(int(child))


@contextmanager
def dead(legacy: Legacy) -> Iterator[None]:
    server = _server(legacy)
    if server.NAME == "postgresql":
        server.run("CHECKPOINT")  # the tests' server answers a commit before it is on the disk
    server.stop(signal.SIGQUIT if server.NAME == "postgresql" else signal.SIGKILL)
    try:
        yield
    finally:
        server.start()


@contextmanager
def hanging(legacy: Legacy) -> Iterator[None]:
    """Every process of the server is stopped: it accepts connections and says nothing."""
    process = _server(legacy)._process
    assert process is not None
    stopped = [process.pid, *_children(process.pid)]
    for one in stopped:
        os.kill(one, signal.SIGSTOP)
    try:
        yield
    finally:
        for one in reversed(stopped):
            os.kill(one, signal.SIGCONT)


def statements(begin: str, end: str) -> Callable[[Legacy], Mend]:
    @contextmanager
    def make(legacy: Legacy) -> Iterator[None]:
        user = "" if legacy.server is None else _user(legacy)
        for statement in begin.replace("{user}", user).split(";"):
            execute(_owner(legacy), statement)
        try:
            yield
        finally:
            for statement in end.replace("{user}", user).split(";"):
                execute(_owner(legacy), statement)

    return make


@contextmanager
def locked(legacy: Legacy) -> Iterator[None]:
    """The owner changes the table in a transaction that does not end."""
    engine = create_engine(_owner(legacy), poolclass=NullPool)
    with engine.connect() as connection:
        if legacy.kind == "postgresql":
            connection.exec_driver_sql("LOCK TABLE tbl_item IN ACCESS EXCLUSIVE MODE")
        else:
            connection.exec_driver_sql("LOCK TABLES tbl_item WRITE")
        yield
        if legacy.kind == "mariadb":
            connection.exec_driver_sql("UNLOCK TABLES")


@contextmanager
def full(legacy: Legacy) -> Iterator[None]:
    """Others have all the connections that the account may have; those of the adapter are cut."""
    with ExitStack() as others:
        _cut(legacy)
        engine = create_engine(legacy.url, poolclass=NullPool)
        for _ in range(3):
            others.enter_context(engine.connect())
        yield
        _cut(legacy)  # a server counts a connection that was closed until its process has ended


@contextmanager
def locked_out(legacy: Legacy) -> Iterator[None]:
    """The account may not log in any more."""
    user = _user(legacy)
    off, on = ("NOLOGIN", "LOGIN") if legacy.kind == "postgresql" else ("ACCOUNT LOCK",) * 2
    verb = "ALTER ROLE" if legacy.kind == "postgresql" else "ALTER USER"
    if legacy.kind == "mariadb":
        on = "ACCOUNT UNLOCK"
    execute(_owner(legacy), f"{verb} {user} {off}")
    _cut(legacy)
    try:
        yield
    finally:
        execute(_owner(legacy), f"{verb} {user} {on}")


def _cut(legacy: Legacy) -> None:
    """End the account's connections, and wait until the server counts none of them."""
    user = _user(legacy)
    engine = create_engine(_owner(legacy), poolclass=NullPool)
    with engine.connect() as connection:
        if legacy.kind == "postgresql":
            connection.exec_driver_sql(
                "SELECT pg_terminate_backend(pid, 60000) FROM pg_stat_activity WHERE usename = %s",
                (user,),
            )
            return
        connection.exec_driver_sql(f"KILL HARD USER {user}")
        left = "SELECT count(*) FROM information_schema.processlist WHERE user = %s"
        while connection.exec_driver_sql(left, (user,)).scalar():
            time.sleep(0.01)


def _server(legacy: Legacy) -> DatabaseServer:
    assert legacy.server is not None
    return legacy.server


def _user(legacy: Legacy) -> str:
    return legacy.url.split("//")[1].split(":")[0]


def _owner(legacy: Legacy) -> str:
    """The address of who may do everything."""
    if legacy.server is None:
        return legacy.url
    return legacy.server.url(legacy.url.rsplit("/", 1)[1].partition("?")[0])


BOTH = [
    Fault("dies", dead, Code.SOURCE_FAILED, retryable=True),
    # Who has a connection waits for an answer, who has none for a connection.
    Fault("hangs", hanging, (Code.BACKEND_TIMEOUT, Code.SOURCE_FAILED), retryable=True),
    Fault("holds a lock", locked, Code.BACKEND_TIMEOUT, retryable=True),
    Fault("has no connection left", full, Code.SOURCE_FAILED, retryable=True),
    Fault("locks the account", locked_out, Code.SOURCE_FAILED),
    Fault(
        "loses the table",
        statements(
            "ALTER TABLE tbl_item RENAME TO tbl_other", "ALTER TABLE tbl_other RENAME TO tbl_item"
        ),
        Code.SOURCE_FAILED,
        retryable=False,
    ),
    Fault(
        "loses a column",
        statements(
            "ALTER TABLE tbl_item RENAME COLUMN rate TO rates",
            "ALTER TABLE tbl_item RENAME COLUMN rates TO rate",
        ),
        Code.SOURCE_FAILED,
    ),
]
SERVERS = {
    "postgresql": [
        *BOTH,
        Fault(
            "keeps numbers as text",
            statements(
                "ALTER TABLE tbl_item ALTER amount TYPE text USING 'k'",
                "ALTER TABLE tbl_item ALTER amount TYPE numeric(18, 2) USING 1",
            ),
            Code.RESPONSE_SCHEMA_VIOLATION,
            "/items/0/amount",
        ),
        Fault(
            "holds a day that the driver cannot read",
            statements(
                "UPDATE tbl_item SET signed_on = 'infinity' WHERE id = 1",
                "UPDATE tbl_item SET signed_on = NULL WHERE id = 1",
            ),
            Code.RESPONSE_SCHEMA_VIOLATION,
            retryable=False,
        ),
        Fault(
            "withdraws a right",
            statements(
                "REVOKE SELECT ON tbl_item FROM {user}", "GRANT SELECT ON tbl_item TO {user}"
            ),
            Code.SOURCE_FAILED,
            retryable=False,
        ),
    ],
    "mariadb": [
        *BOTH,
        Fault(
            "keeps numbers as text",
            statements(
                "ALTER TABLE tbl_item MODIFY amount TEXT;UPDATE tbl_item SET amount = 'k'",
                "UPDATE tbl_item SET amount = 1;ALTER TABLE tbl_item MODIFY amount DECIMAL(18, 2)",
            ),
            Code.RESPONSE_SCHEMA_VIOLATION,
            "/items/0/amount",
        ),
        Fault(
            "holds the day 0000-00-00",
            statements(
                "SET STATEMENT sql_mode = '' FOR UPDATE tbl_item SET signed_on = 0 WHERE id = 1",
                "UPDATE tbl_item SET signed_on = NULL WHERE id = 1",
            ),
            Code.RESPONSE_SCHEMA_VIOLATION,
            "/items/0/signed_on",
        ),
    ],
}
EACH_SERVER = [
    pytest.param(
        kind, fault, marks=getattr(pytest.mark, f"needs_{kind}"), id=f"{kind} {fault.name}"
    )
    for kind, faults in SERVERS.items()
    for fault in faults
]


@pytest.fixture(scope="module")
def readers(request: pytest.FixtureRequest) -> Callable[[str], Legacy]:
    """A filled database of each kind, seen by an account that may only read it."""
    known: dict[str, Legacy] = {}

    def reader(kind: str) -> Legacy:
        if kind not in known:
            server = request.getfixturevalue(f"{kind}_server")
            number = next(_numbers)  # modules that share the fixture share the server, too
            name, user = f"faulty_{number}", f"faulty_reader_{number}"
            owner = server.new_database(name)
            fill(owner)
            if kind == "postgresql":
                execute(owner, f"CREATE ROLE {user} LOGIN PASSWORD '{SECRET}' CONNECTION LIMIT 3")
                execute(owner, f"GRANT SELECT ON tbl_item TO {user}")
            else:
                execute(
                    owner,
                    f"CREATE USER {user} IDENTIFIED BY '{SECRET}' WITH MAX_USER_CONNECTIONS 3",
                )
                execute(owner, f"GRANT SELECT ON {name}.* TO {user}")
            before = "saphan@" if kind == "postgresql" else "root@"
            known[kind] = Legacy(kind, owner.replace(before, f"{user}:{SECRET}@"), server)
        _cut(known[kind])  # those of the test before may be counted still
        return known[kind]

    return reader


@pytest.fixture
async def healthy(tmp_path: Path) -> Any:
    """Another source in the same process."""
    folder = tmp_path / "healthy"
    folder.mkdir()
    fill(f"sqlite:///{folder}/legacy.db")
    adapter = Legacy("sqlite", f"sqlite:///{folder}/legacy.db", None).adapter()
    yield adapter
    await adapter.close()


async def judge(adapter: Adapter, healthy: Adapter, target: str, fault: Fault) -> None:
    """While the fault lasts: what three callers are told, and that the other source answers."""
    calls = [asyncio.create_task(get(adapter, target, timeout_s=3.0)) for _ in range(3)]
    for _ in range(3):
        assert len(await items(healthy, "/items")) == 10
    for answer in await asyncio.gather(*calls, return_exceptions=True):
        assert isinstance(answer, Problem), answer
        codes = fault.codes if isinstance(fault.codes, tuple) else (fault.codes,)
        assert answer.code in codes, answer
        assert answer.where == fault.where
        if fault.retryable is not None:
            assert answer.retryable is fault.retryable
        body = orjson.loads(problem_response(answer).body)
        assert body["status"] in (502, 504)
        assert body["detail"]
        assert answer.entry.remedy.en
        assert SECRET not in str(body)
        assert "127.0.0.1" not in str(body)


@pytest.mark.parametrize(("kind", "fault"), EACH_SERVER)
async def test_a_database_server_that(
    kind: str, fault: Fault, readers: Callable[[str], Legacy], healthy: Adapter
) -> None:
    """See the table: the problem, the other source, the answer after."""
    legacy = readers(kind)
    adapter = legacy.adapter(limits=LIMITS)
    assert len(await items(adapter, "/items")) == 10
    with ExitStack() as stack:
        mend = fault.make(legacy)
        await asyncio.to_thread(stack.enter_context, mend)
        await judge(adapter, healthy, "/items", fault)
        await asyncio.to_thread(stack.close)
    assert len(await items(adapter, "/items")) == 10
    await adapter.close()


@pytest.mark.parametrize(
    "kind", [pytest.param(kind, marks=getattr(pytest.mark, f"needs_{kind}")) for kind in SERVERS]
)
async def test_a_server_that_dies_in_the_middle_of_a_statement(
    kind: str, readers: Callable[[str], Legacy], healthy: Adapter
) -> None:
    """The request that waits for it is told; the next after the restart is answered."""
    legacy = readers(kind)
    adapter = legacy.adapter(
        limits=LIMITS.replace("statement_timeout_s: 1", "statement_timeout_s: 20")
    )
    assert len(await items(adapter, "/items")) == 10
    call = asyncio.create_task(get(adapter, "/slow", timeout_s=20))
    await asyncio.to_thread(_until_busy, legacy)
    with dead(legacy):
        with pytest.raises(Problem) as caught:
            await call
        assert (caught.value.code, caught.value.retryable) == (Code.SOURCE_FAILED, True)
        assert len(await items(healthy, "/items")) == 10
    assert len(await items(adapter, "/items")) == 10
    await adapter.close()


@pytest.mark.needs_postgresql
async def test_a_server_that_goes_on_hanging_keeps_no_place(
    readers: Callable[[str], Legacy],
) -> None:
    """The place comes back while the server still hangs, though its system answers for it: the
    driver gives up some seconds after the server's own limit."""
    legacy = readers("postgresql")
    adapter = legacy.adapter(limits=LIMITS.replace("_connections: 3", "_connections: 1"))
    assert len(await items(adapter, "/items")) == 10
    with ExitStack() as stack:
        await asyncio.to_thread(stack.enter_context, hanging(legacy))
        with pytest.raises(Problem) as caught:
            await get(adapter, "/items", timeout_s=0.2)
        assert caught.value.code is Code.BACKEND_TIMEOUT
        with pytest.raises(Problem) as caught:  # by a new connection, which has its own limit
            await get(adapter, "/items", timeout_s=20)
        assert caught.value.code is Code.SOURCE_FAILED
        assert caught.value.retryable
    assert len(await items(adapter, "/items")) == 10
    await adapter.close()


def _until_busy(legacy: Legacy) -> None:
    """Until the server runs the slow statement."""
    asks = (
        "SELECT count(*) FROM pg_stat_activity WHERE state = 'active'"
        " AND query LIKE '%%RECURSIVE%%' AND pid <> pg_backend_pid()"
        if legacy.kind == "postgresql"
        else "SELECT count(*) FROM information_schema.processlist WHERE info LIKE '%%RECURSIVE%%'"
        " AND id <> connection_id()"
    )
    with create_engine(_owner(legacy), poolclass=NullPool).connect() as connection:
        while not connection.exec_driver_sql(asks).scalar():
            connection.rollback()


# Faults of a SQLite file.


def file_of(legacy: Legacy) -> Path:
    return Path(legacy.url.removeprefix("sqlite:///"))


@contextmanager
def moved(legacy: Legacy) -> Iterator[None]:
    path = file_of(legacy)
    path.rename(path.with_suffix(".away"))
    yield
    path.with_suffix(".away").rename(path)


def replaced(content: bytes) -> Callable[[Legacy], Mend]:
    @contextmanager
    def make(legacy: Legacy) -> Iterator[None]:
        with moved(legacy):
            file_of(legacy).write_bytes(content)
            yield

    return make


@contextmanager
def written(legacy: Legacy) -> Iterator[None]:
    """Another program writes, and does not end."""
    with sqlite3.connect(file_of(legacy), isolation_level=None) as writer:
        writer.execute("BEGIN EXCLUSIVE")
        yield
        writer.execute("ROLLBACK")
    writer.close()


SQLITE = [
    Fault("is away", moved, Code.SOURCE_FAILED, retryable=True),
    Fault("is another file", replaced(b"no database " * 1000), Code.SOURCE_FAILED),
    Fault("is empty", replaced(b""), Code.SOURCE_FAILED),
    Fault("is being written", written, (Code.SOURCE_FAILED, Code.BACKEND_TIMEOUT), retryable=True),
    Fault(
        "holds a word for a number",
        statements(
            "UPDATE tbl_item SET amount = 'k' WHERE id = 1",
            "UPDATE tbl_item SET amount = 1 WHERE id = 1",
        ),
        Code.RESPONSE_SCHEMA_VIOLATION,
        "/items/0/amount",
    ),
    Fault(
        "holds text that is none",
        statements(
            "UPDATE tbl_item SET note = CAST(x'ff' AS TEXT) WHERE id = 1",
            "UPDATE tbl_item SET note = NULL WHERE id = 1",
        ),
        Code.RESPONSE_SCHEMA_VIOLATION,
        retryable=False,
    ),
    Fault(
        "loses a column",
        statements(
            "ALTER TABLE tbl_item RENAME COLUMN rate TO rates",
            "ALTER TABLE tbl_item RENAME COLUMN rates TO rate",
        ),
        Code.SOURCE_FAILED,
    ),
]


@pytest.mark.parametrize("fault", SQLITE, ids=[fault.name for fault in SQLITE])
async def test_a_database_file_that(fault: Fault, tmp_path: Path, healthy: Adapter) -> None:
    """See the table: the problem, the other source, the answer after."""
    legacy = Legacy("sqlite", f"sqlite:///{tmp_path}/legacy.db", None)
    fill(legacy.url)
    adapter = legacy.adapter(limits=LIMITS)
    assert len(await items(adapter, "/items")) == 10
    with fault.make(legacy):
        await judge(adapter, healthy, "/items", fault)
    assert len(await items(adapter, "/items")) == 10
    await adapter.close()


# Faults of files: before the first reading they are told, after it the last one answers.


def rewritten(text: str) -> Callable[[Path], None]:
    return lambda path: path.write_text(text, encoding="utf-8") and None


def directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


def pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def clear(path: Path) -> None:
    path.rmdir() if path.is_dir() else path.unlink(missing_ok=True)


FILES: list[tuple[str, Callable[[Path], None], str]] = [
    ("is away", Path.unlink, "lines.csv"),
    ("is empty", rewritten(""), "lines.csv row 1"),
    ("is half saved", rewritten(HEADER + "1;A;;1\n"), "lines.csv row 2 column 5"),
    ("has another header", rewritten(HEADER.replace("No.", "N") + ROWS), "lines.csv row 1"),
    ("holds a word for a number", rewritten(HEADER + "1;A;;k;\n"), "lines.csv row 2 column 4"),
    ("is a folder", directory, "lines.csv"),
    ("is a pipe that nobody fills", pipe, "lines.csv"),
]


@pytest.mark.parametrize(
    ("break_it", "where"), [pytest.param(*row[1:], id=row[0]) for row in FILES]
)
async def test_a_file_that(
    break_it: Callable[[Path], None], where: str, tmp_path: Path, healthy: Adapter
) -> None:
    """See the table: told with its place to who comes first, and unnoticed by who came before."""
    path = tmp_path / "lines.csv"
    path.write_text(HEADER + ROWS, encoding="utf-8")
    before = adapter_of(path)
    good = (await get(before, "/lines")).body
    break_it(path)
    after = adapter_of(path)
    fault = Fault("", lambda legacy: ExitStack(), Code.SOURCE_FAILED, where)
    with pytest.raises(Problem) as caught:
        await get(after, "/lines", timeout_s=5)
    assert caught.value.where.startswith(where)
    await judge(after, healthy, "/lines", replace(fault, where=caught.value.where))
    assert (await get(before, "/lines")).body == good
    clear(path)
    path.write_text(HEADER + ROWS, encoding="utf-8")
    assert (await get(after, "/lines")).body == good
    assert (await get(before, "/lines")).body == good
    await after.close()
    await before.close()
