"""Real database servers for tests, each started once a session on a free loopback port.

A pytest plugin: ``pytest_plugins = ["tests.services"]``. It gives ``postgresql_server`` and
``mariadb_server`` (:class:`tests.services.server.DatabaseServer`, a whole session), ``pgbouncer``
(a pooler in front of the first), and ``postgresql_url`` and ``mariadb_url`` (an empty database of
its own for each test). Where a server's programs are missing the tests are skipped with that
reason; with ``SAPHAN_REQUIRE_SERVICES=1`` they fail instead.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.services.mariadb import MariaDb
from tests.services.pgbouncer import PgBouncer
from tests.services.postgresql import PostgreSql
from tests.services.server import DatabaseServer, Missing

_numbers = itertools.count(1)


def _serve(
    kind: type[DatabaseServer], folder: Path, before: DatabaseServer | None = None
) -> Iterator[DatabaseServer]:
    try:
        server = kind.create(folder)
    except Missing as error:
        if os.environ.get("SAPHAN_REQUIRE_SERVICES") == "1":
            pytest.fail(f"SAPHAN_REQUIRE_SERVICES=1 but {error}")
        pytest.skip(str(error))
    try:
        if before is not None and isinstance(server, PgBouncer):
            server.put_before(before)
        server.start()
        yield server
    finally:
        server.destroy()  # by its own process id


@pytest.fixture(scope="session")
def postgresql_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DatabaseServer]:
    """A PostgreSQL server."""
    yield from _serve(PostgreSql, tmp_path_factory.mktemp("postgresql"))


@pytest.fixture(scope="session")
def mariadb_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DatabaseServer]:
    """A MariaDB server."""
    yield from _serve(MariaDb, tmp_path_factory.mktemp("mariadb"))


@pytest.fixture(scope="session")
def pgbouncer(
    tmp_path_factory: pytest.TempPathFactory, postgresql_server: DatabaseServer
) -> Iterator[DatabaseServer]:
    """A pooler of transactions in front of the PostgreSQL server."""
    yield from _serve(PgBouncer, tmp_path_factory.mktemp("pgbouncer"), postgresql_server)


@pytest.fixture
def postgresql_url(postgresql_server: DatabaseServer) -> str:
    """The address of an empty PostgreSQL database."""
    return postgresql_server.new_database(f"test_{next(_numbers)}")


@pytest.fixture
def mariadb_url(mariadb_server: DatabaseServer) -> str:
    """The address of an empty MariaDB database."""
    return mariadb_server.new_database(f"test_{next(_numbers)}")
