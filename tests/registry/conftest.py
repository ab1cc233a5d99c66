"""The registry that the tests of this folder run against."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.registry.world import World, real_world
from tests.services.server import DatabaseServer

EACH_ENGINE = [
    pytest.param("sqlite"),
    pytest.param("postgresql", marks=pytest.mark.needs_postgresql),
]


@pytest.fixture(params=EACH_ENGINE)
def database(request: pytest.FixtureRequest) -> str:
    """The setting ``database`` of a new registry: each engine in turn."""
    if request.param == "sqlite":
        return ""
    return str(request.getfixturevalue("emptied_postgresql"))


@pytest.fixture(scope="session")
def registry_database(postgresql_server: DatabaseServer) -> str:
    """A PostgreSQL database that tests use one after the other."""
    return postgresql_server.new_database("registry_tests")


@pytest.fixture
def emptied_postgresql(postgresql_server: DatabaseServer, registry_database: str) -> str:
    """The same, without tables: quicker than a new database for each test."""
    postgresql_server.run("DROP SCHEMA public CASCADE; CREATE SCHEMA public", "registry_tests")
    return registry_database


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    """A real registry on loopback."""
    async with real_world(tmp_path) as world:
        yield world
