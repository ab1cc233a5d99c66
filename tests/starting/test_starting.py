"""A process that is forked from the template is as one that is started plainly."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from certs.authority import create_development_pki
from certs.services import make_keys
from tests.starting import plainly

SAPHAN = (sys.executable, "-m", "console.cli.main")


def is_forked(pid: int) -> bool:
    """Whether its command line is still that of the template."""
    return b"tests.starting.template" in Path(f"/proc/{pid}/cmdline").read_bytes()


@pytest.mark.parametrize(
    "arguments", [("schema", "lint", "here.json", "--json"), ("audit", "search", "--help"), ()]
)
def test_a_command_says_the_same_either_way(arguments: tuple[str, ...], tmp_path: Path) -> None:
    """Exit code, output and error; in the folder and the environment that it was given."""
    (tmp_path / "here.json").write_text("{")
    given: dict[str, Any] = {
        "cwd": tmp_path, "env": {**os.environ, "COLUMNS": "50"}, "capture_output": True
    }  # fmt: skip
    forked = subprocess.run([*SAPHAN, *arguments], **given)
    with plainly():
        plain = subprocess.run([*SAPHAN, *arguments], **given)
    assert forked.stdout + forked.stderr
    assert (forked.returncode, forked.stdout, forked.stderr) == (
        plain.returncode,
        plain.stdout,
        plain.stderr,
    )


def test_a_process_is_ours(tmp_path: Path) -> None:
    """It is a child of this process, leads a session when it shall, and ends by a signal."""
    now = datetime.now(UTC)
    make_keys(create_development_pki(tmp_path / "ca", "LA", at=now), now)
    command = [*SAPHAN, "certs", "serve", "--pki", str(tmp_path / "ca"), "--listen", "127.0.0.1:0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, start_new_session=True) as process:
        assert process.stdout is not None
        assert b"http://" in process.stdout.readline()
        assert is_forked(process.pid)
        fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
        assert [int(fields[1]), int(fields[3])] == [os.getpid(), process.pid]
        process.send_signal(signal.SIGKILL)
        assert process.wait(30) == -signal.SIGKILL


@pytest.mark.parametrize(
    "more",
    [
        {"env": {**os.environ, "PYTHONHASHSEED": "7"}},
        {"preexec_fn": os.getpid},
        {"executable": sys.executable},
        {"umask": 0o077},
    ],
    ids=["of the interpreter", "code before", "another program", "mask"],
)
def test_what_a_fork_cannot_give_is_a_plain_start(more: dict[str, Any]) -> None:
    """Nothing that is asked for is left out in silence."""
    with subprocess.Popen([*SAPHAN, "--version"], stdout=subprocess.PIPE, **more) as process:
        assert not is_forked(process.pid)
