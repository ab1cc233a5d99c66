"""What all tests share: the real database servers."""

from __future__ import annotations

pytest_plugins = ["tests.services", "tests.world.fixtures"]
