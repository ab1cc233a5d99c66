"""A service process: what it may open."""

from __future__ import annotations

import subprocess
import sys

import pytest

PROGRAM = """
import resource, sys
from serving.runtime import allow_files
resource.setrlimit(resource.RLIMIT_NOFILE, (100, 300))
allow_files(int(sys.argv[1]))
print("now", resource.getrlimit(resource.RLIMIT_NOFILE)[0])
"""


@pytest.mark.parametrize(
    ("wanted", "now", "told"), [(50, 100, False), (200, 200, False), (1000, 300, True)]
)
def test_the_soft_limit_of_files_is_raised_as_far_as_allowed(
    wanted: int, now: int, told: bool
) -> None:
    """Never lowered; a hard limit that is too low is told with its remedy."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(wanted)],
        capture_output=True,
        timeout=20,
        text=True,
        check=True,
    )
    assert f"now {now}\n" in done.stdout
    assert ("limits.listener_connections" in done.stdout) is told
