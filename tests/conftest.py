"""What all tests share: real database servers, the small world, the order of files, and how
hypothesis runs."""

from __future__ import annotations

import gc
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog
from hypothesis import HealthCheck, settings

from tests.starting import forking

pytest_plugins = ["tests.services", "tests.world.fixtures", "tests.world.audits"]

# No test is timed: a busy machine must not fail what is right.
settings.register_profile(
    "saphan", deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("saphan")

# Their tests start servers: a file takes up to a minute.
_LONG = ("faults", "journeys", "instance", "docs", "apis", "archive", "benchmarks", "registry")
_HERE = Path(__file__).parent
_MEMORY = Path("/dev/shm")
_ROOM_BYTES = 4 << 30  # three workers take about half of it: each has its databases


def _write_to_memory() -> None:
    """Files of tests are in memory where the machine has room: nothing of them outlives the tests,
    and a disk makes sure of each entry of each log. Whoever names ``TMPDIR`` has them there."""
    if "TMPDIR" in os.environ or not os.access(_MEMORY, os.W_OK):
        return
    there = os.statvfs(_MEMORY)
    runs = not there.f_flag & os.ST_NOEXEC  # containers may forbid programs there: tests write some
    if runs and there.f_bavail * there.f_frsize >= _ROOM_BYTES:
        os.environ["TMPDIR"] = tempfile.tempdir = str(_MEMORY)


_write_to_memory()


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[None]:
    """Nothing that is collected is garbage: it is not looked at again and again meanwhile."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Folders with long files come first, in random order as before: whoever runs files side by
    side (``--no-loadscope-reorder``) has short ones left when one worker is done before others."""
    items.sort(key=lambda item: item.path.relative_to(_HERE).parts[0] not in _LONG)


def pytest_collection_finish() -> None:
    """What was loaded and collected stays to the end: the collector need not look at it again."""
    gc.collect()
    gc.freeze()


def pytest_unconfigure() -> None:
    """But not beyond: libraries in C say at the interpreter's end what was never let go."""
    gc.unfreeze()


@pytest.fixture(scope="session", autouse=True)
def _as_users_have_it() -> Iterator[None]:
    """Processes that tests start find none of the packages which only other tests need, and which
    libraries load at each start where they are there. They are forked where that is the same."""
    path = [str(_HERE / "without"), os.environ.get("PYTHONPATH", "")]
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, path))
    with forking():
        yield


@pytest.fixture(autouse=True)
def _plain_logs() -> Iterator[None]:
    """A command that a test runs in its own process sets up logging; the next test has it anew.

    What servers in this process log meanwhile is not printed among the words of a command, though
    it runs with another standard output.
    """
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    yield
    structlog.reset_defaults()
