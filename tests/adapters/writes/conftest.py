"""A library of its own for each test, in each kind of database."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from adapters.service import Adapter
from tests.adapters.conftest import EACH_KIND
from tests.adapters.writes.library import Library, fill

_databases: dict[str, str] = {}
_numbers = itertools.count()


@pytest.fixture(params=EACH_KIND)
def library(request: pytest.FixtureRequest, tmp_path: Path) -> Library:
    """A library that the test may change; a server keeps one database for all tests."""
    kind = request.param
    if kind == "sqlite":
        url, server = f"sqlite:///{tmp_path}/library.db", None
    else:
        server = request.getfixturevalue(f"{kind}_server")
        if kind not in _databases:
            _databases[kind] = server.new_database(f"library_{next(_numbers)}")
        url = _databases[kind]
    fill(url)
    return Library(kind, url, server)


@pytest.fixture
async def adapter(library: Library) -> AsyncIterator[Adapter]:
    """The usual adapter."""
    adapter = library.adapter()
    yield adapter
    await adapter.close()
