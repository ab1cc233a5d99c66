"""What all tests share: real database servers, the small world, the order of files, and how
hypothesis runs."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog
from hypothesis import settings

pytest_plugins = ["tests.services", "tests.world.fixtures", "tests.world.audits"]

# No test is timed: a busy machine must not fail what is right.
settings.register_profile("saphan", deadline=None, print_blob=True)
settings.load_profile("saphan")

# Their tests start servers: a file takes up to a minute.
_LONG = ("faults", "journeys", "instance", "docs", "apis", "archive", "benchmarks", "registry")
_HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Folders with long files come first, in random order as before: whoever runs files side by
    side (``--no-loadscope-reorder``) has short ones left when one worker is done before others."""
    items.sort(key=lambda item: item.path.relative_to(_HERE).parts[0] not in _LONG)


def pytest_collection_finish() -> None:
    """What was loaded and collected stays to the end: the collector need not look at it again."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session", autouse=True)
def _as_users_have_it() -> None:
    """Processes that tests start find none of the packages which only other tests need, and which
    libraries load at each start where they are there."""
    path = [str(_HERE / "without"), os.environ.get("PYTHONPATH", "")]
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, path))


@pytest.fixture(autouse=True)
def _plain_logs() -> Iterator[None]:
    """A command that a test runs in its own process sets up logging; the next test has it anew."""
    yield
    structlog.reset_defaults()
