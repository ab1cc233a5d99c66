"""The same legacy database in SQLite, PostgreSQL and MariaDB."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from adapters.service import Adapter
from tests.adapters.legacy import KINDS, Legacy, fill

MARKS = {
    "sqlite": (),
    "postgresql": (pytest.mark.needs_postgresql,),
    "mariadb": (pytest.mark.needs_mariadb,),
}
EACH_KIND = [pytest.param(kind, marks=MARKS[kind]) for kind in KINDS]


def _legacy(kind: str, name: str, folder: Path, request: pytest.FixtureRequest) -> Legacy:
    if kind == "sqlite":
        legacy = Legacy(kind, f"sqlite:///{folder}/{name}.db", None)
    else:
        server = request.getfixturevalue(f"{kind}_server")
        legacy = Legacy(kind, server.new_database(name), server)
    fill(legacy.url)
    return legacy


_numbers = iter(range(1, 1_000))


@pytest.fixture(scope="session", params=EACH_KIND)
def legacy(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Legacy:
    """A filled database that tests only read."""
    # A random order may come back to a kind: pytest keeps a fixture for one parameter at a time.
    name = f"shared_legacy_{next(_numbers)}"
    return _legacy(request.param, name, tmp_path_factory.mktemp("legacy"), request)


@pytest.fixture(params=EACH_KIND)
def own_legacy(request: pytest.FixtureRequest, tmp_path: Path) -> Legacy:
    """A filled database that the test may change."""
    return _legacy(request.param, f"own_legacy_{next(_numbers)}", tmp_path, request)


@pytest.fixture
async def adapter(legacy: Legacy) -> AsyncIterator[Adapter]:
    """The usual adapter over the shared database."""
    adapter = legacy.adapter()
    yield adapter
    await adapter.close()
