"""What becomes of requests when an account, its database or the server's limits change under them.

The table is as that of :mod:`tests.adapters.test_faults_of_sources`: the problem while it lasts,
another source that goes on, and the same adapter's answer when it is mended.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool
from structlog.testing import capture_logs

from adapters.service import Adapter
from exchange.problems import Code, Problem
from tests.adapters.legacy import MAPPING, Legacy, execute, fill, get, items
from tests.adapters.test_faults_of_sources import (
    LIMITS,
    SECRET,
    Fault,
    _cut,
    _owner,
    _server,
    _user,
    healthy,
    judge,
    readers,
    statements,
)

__all__ = ["healthy", "readers"]  # fixtures


@contextmanager
def rule(legacy: Legacy, line: str) -> Iterator[None]:
    """A line of PostgreSQL's own rules of who may come, before all others."""
    file = Path(_server(legacy).folder) / "data" / "pg_hba.conf"
    before = file.read_bytes()
    file.write_bytes(line.encode() + b"\n" + before)
    _server(legacy).run("SELECT pg_reload_conf()")
    try:
        yield
    finally:
        file.write_bytes(before)
        _server(legacy).run("SELECT pg_reload_conf()")


@contextmanager
def another_password(legacy: Legacy) -> Iterator[None]:
    user = _user(legacy)
    if legacy.kind == "mariadb":
        change = f"ALTER USER {user} IDENTIFIED BY "
        with ExitStack() as stack:
            execute(_owner(legacy), f"{change}'other'")
            stack.callback(execute, _owner(legacy), f"{change}'{SECRET}'")
            _cut(legacy)
            yield
        return
    change = f"ALTER ROLE {user} PASSWORD "
    with rule(legacy, f"host all {user} 127.0.0.1/32 scram-sha-256"), ExitStack() as stack:
        execute(_owner(legacy), f"{change}'other'")
        stack.callback(execute, _owner(legacy), f"{change}'{SECRET}'")
        _cut(legacy)
        yield


@contextmanager
def only_encrypted(legacy: Legacy) -> Iterator[None]:
    user = _user(legacy)
    if legacy.kind == "mariadb":
        execute(_owner(legacy), f"ALTER USER {user} REQUIRE X509")
        _cut(legacy)
        yield
        execute(_owner(legacy), f"ALTER USER {user} REQUIRE NONE")
        return
    with rule(legacy, f"hostnossl all {user} all reject"):
        _cut(legacy)
        yield


@contextmanager
def another_name(legacy: Legacy) -> Iterator[None]:
    """The database has another name; that of MariaDB is gone, for it cannot be given one."""
    name, server = _owner(legacy).rsplit("/", 1)[1].partition("?")[0], _server(legacy)
    if legacy.kind == "mariadb":
        server.run(f"DROP DATABASE {name}")
        yield
        server.new_database(name)
        fill(_owner(legacy))
        return
    _cut(legacy)
    server.run(f"ALTER DATABASE {name} RENAME TO {name}_old")
    yield
    server.run(f"ALTER DATABASE {name}_old RENAME TO {name}")


@contextmanager
def dropped(legacy: Legacy) -> Iterator[None]:
    """The account is gone, and then made again."""
    user, name = _user(legacy), _owner(legacy).rsplit("/", 1)[1].partition("?")[0]
    if legacy.kind == "mariadb":
        _cut(legacy)
        execute(_owner(legacy), f"DROP USER {user}")
        yield
        execute(_owner(legacy), f"CREATE USER {user} IDENTIFIED BY '{SECRET}'")
        execute(_owner(legacy), f"GRANT SELECT ON {name}.* TO {user}")
        return
    _cut(legacy)
    execute(_owner(legacy), f"DROP OWNED BY {user}")
    execute(_owner(legacy), f"DROP ROLE {user}")
    yield
    execute(_owner(legacy), f"CREATE ROLE {user} LOGIN PASSWORD '{SECRET}' CONNECTION LIMIT 3")
    execute(_owner(legacy), f"GRANT SELECT ON tbl_item TO {user}")


@contextmanager
def crowded(legacy: Legacy) -> Iterator[None]:
    """Other programs have all connections of the server but those of its administrator."""
    user = f"{_user(legacy)}_crowd"
    admin = _server(legacy)
    password = "PASSWORD" if legacy.kind == "postgresql" else "IDENTIFIED BY"
    login = "ROLE {} LOGIN" if legacy.kind == "postgresql" else "USER {}"
    if legacy.kind == "mariadb":
        admin.run("SET GLOBAL max_connections = 10")
    admin.run(f"CREATE {login.format(user)} {password} 'x'")
    database = "postgres" if legacy.kind == "postgresql" else "information_schema"
    head = _owner(legacy).partition("://")[0]
    url = f"{head}://{user}:x@127.0.0.1:{admin.port}/{database}"
    _cut(legacy)
    crowd = create_engine(url, poolclass=NullPool)
    with ExitStack() as stack:
        for _ in range(100):
            try:
                stack.enter_context(crowd.connect())
            except DBAPIError:
                break
        yield
    if legacy.kind == "mariadb":
        admin.run("SET GLOBAL max_connections = 60")
        left = "SELECT count(*) FROM information_schema.processlist WHERE user = :user"
    else:
        left = "SELECT count(*) FROM pg_stat_activity WHERE usename = :user"
    with create_engine(_owner(legacy), isolation_level="AUTOCOMMIT").connect() as connection:
        while connection.execute(text(left), {"user": user}).scalar():
            pass
    admin.run(f"DROP {login.format(user).removesuffix(' LOGIN')}")


BOTH = [
    Fault("changes the password", another_password, Code.SOURCE_FAILED),
    Fault("lets in only who encrypts", only_encrypted, Code.SOURCE_FAILED),
    Fault("is found no more by its name", another_name, Code.SOURCE_FAILED),
    Fault("drops the account", dropped, Code.SOURCE_FAILED),
    Fault("is full of others", crowded, Code.SOURCE_FAILED, retryable=True),
]
EACH = [
    pytest.param(
        kind, fault, marks=getattr(pytest.mark, f"needs_{kind}"), id=f"{kind} {fault.name}"
    )
    for kind in ("postgresql", "mariadb")
    for fault in BOTH
]


@pytest.mark.parametrize(("kind", "fault"), EACH)
async def test_a_database_that(
    kind: str, fault: Fault, readers: Callable[[str], Legacy], healthy: Adapter
) -> None:
    """See the table."""
    legacy = readers(kind)
    adapter = legacy.adapter(limits=LIMITS)
    assert len(await items(adapter, "/items")) == 10
    with ExitStack() as stack:
        await asyncio.to_thread(stack.enter_context, fault.make(legacy))
        await judge(adapter, healthy, "/items", fault)
        await asyncio.to_thread(stack.close)
    assert len(await items(adapter, "/items")) == 10
    await adapter.close()


@pytest.mark.parametrize(
    "kind",
    [
        pytest.param(kind, marks=getattr(pytest.mark, f"needs_{kind}"))
        for kind in ("postgresql", "mariadb")
    ],
)
async def test_a_password_that_was_changed_is_not_tried_for_ever(
    kind: str, readers: Callable[[str], Legacy]
) -> None:
    """Who has a connection keeps it; of many requests without one few reach the server, and few
    lines are logged, none with the password."""
    legacy = readers(kind)
    limits = LIMITS.replace("_before_pause: 0", "_before_pause: 3")
    adapter = legacy.adapter(limits=limits.replace("_connections: 3", "_connections: 1"))
    with another_password(legacy), capture_logs() as logs:
        for _ in range(200):
            with pytest.raises(Problem) as caught:
                await get(adapter, "/items")
            assert caught.value.code is Code.SOURCE_FAILED
        assert 0 < caught.value.facts["retry_after_s"] <= 30
    assert len(logs) <= 5
    assert SECRET not in str(logs)
    async with asyncio.timeout(20):
        while True:
            try:
                assert len(await items(adapter, "/items")) == 10
                break
            except Problem:
                await asyncio.sleep(0.1)
    await adapter.close()


@pytest.mark.needs_postgresql
async def test_a_sort_that_fills_what_an_account_may_use_of_the_disk(
    readers: Callable[[str], Legacy], healthy: Adapter
) -> None:
    """It is told, and what needs less room is answered meanwhile."""
    legacy = readers("postgresql")
    sorts = "SELECT * FROM tbl_item ORDER BY note, item_code OFFSET 0"
    adapter = legacy.adapter(
        MAPPING.replace("sql: SELECT * FROM tbl_item", f"sql: {sorts}"), LIMITS
    )
    fault = Fault("has no room to sort", no_room, Code.SOURCE_FAILED, retryable=True)
    assert len(await items(adapter, "/items")) == 10
    with fault.make(legacy):
        _cut(legacy)  # the next connections have the limit
        await judge(adapter, healthy, "/items", fault)
        assert len(await items(adapter, "/totals")) == 4
    assert len(await items(adapter, "/items")) == 10
    await adapter.close()


no_room = statements(
    "ALTER ROLE {user} SET temp_file_limit = '64kB';ALTER ROLE {user} SET work_mem = '64kB';"
    "INSERT INTO tbl_item (id, item_code, note) SELECT 1000 + g, 'x' || g, repeat('y', 200)"
    " FROM generate_series(1, 5000) g",
    "ALTER ROLE {user} RESET ALL;DELETE FROM tbl_item WHERE id > 1000",
)
