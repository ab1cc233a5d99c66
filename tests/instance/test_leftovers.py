"""Servers that outlived an instance's killed process."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from console.instance.hosted import Hosted
from exchange.identifiers import MemberId


@pytest.fixture
def hosted(tmp_path: Path) -> Hosted:
    found = Hosted(MemberId.parse("LA/GOV/MPI"), tmp_path / "member")
    found.server.mkdir(parents=True)
    return found


def stranger(*words: str) -> subprocess.Popen[bytes]:
    """A process that does nothing until it is ended, with these words in its command line."""
    waiting = "import signal; print('up', flush=True); signal.pause()"
    process = subprocess.Popen([sys.executable, "-c", waiting, *words], stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"up\n"
    process.stdout.close()
    return process


def test_a_server_left_behind_is_ended(hosted: Hosted) -> None:
    """The process whose number was written, when it runs with this server's settings."""
    # Its parent reaps it, as init does with what a killed process left.
    settings = hosted.server / "server.yaml"
    parent = subprocess.Popen(
        [
            sys.executable, "-c",
            "import subprocess, sys; p = subprocess.Popen(sys.argv[1:], stdout=subprocess.PIPE); "
            "p.stdout.readline(); print(p.pid, flush=True); p.wait()",
            sys.executable, "-c", "import signal; print('up', flush=True); signal.pause()",
            str(settings),
        ],
        stdout=subprocess.PIPE,
    )  # fmt: skip
    assert parent.stdout is not None
    (hosted.server / "pid").write_bytes(parent.stdout.readline())
    hosted.end()
    assert parent.wait(30) == 0
    parent.stdout.close()
    assert not (hosted.server / "pid").exists()


def test_a_process_that_has_the_number_by_now_is_left_alone(hosted: Hosted) -> None:
    """Numbers of processes are given again; another program is not ended."""
    other = stranger("mediator", "serve", "/elsewhere/server.yaml")
    try:
        (hosted.server / "pid").write_text(f"{other.pid}\n")
        hosted.end()
        assert other.poll() is None
    finally:
        other.kill()
        other.wait(30)


@pytest.mark.parametrize("text", ["", "x", "-1", "0", "999999999"])
def test_a_damaged_number_ends_nothing(hosted: Hosted, text: str) -> None:
    """What is no number of a server that runs is passed over."""
    (hosted.server / "pid").write_text(text)
    hosted.end()
    assert not (hosted.server / "pid").exists()
