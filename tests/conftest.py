"""What all tests share: real database servers, the small world, and how hypothesis runs."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import structlog
from hypothesis import settings

pytest_plugins = ["tests.services", "tests.world.fixtures", "tests.world.audits"]

# No test is timed: a busy machine must not fail what is right.
settings.register_profile("saphan", deadline=None, print_blob=True)
settings.load_profile("saphan")


@pytest.fixture(autouse=True)
def _plain_logs() -> Iterator[None]:
    """A command that a test runs in its own process sets up logging; the next test has it anew."""
    yield
    structlog.reset_defaults()
