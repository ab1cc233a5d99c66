"""The registry that is broken into."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.registry.world import World, real_world


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    """A real registry on loopback."""
    async with real_world(tmp_path) as world:
        yield world
