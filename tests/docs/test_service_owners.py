"""docs/service-owners.md is run as it stands: from nothing to a recorded call."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.docs.generate import ROOT

PAGE = ROOT / "docs/service-owners.md"
PORTS = ("8801", "5601", "4601", "5602", "4602", "8082")
DEADLINE_S = 30


def _steps() -> Iterator[tuple[str, str]]:
    """The marked blocks of the page, in order, as (mark, text)."""
    mark: str | None = None
    lines: list[str] = []
    for line in PAGE.read_text(encoding="utf-8").splitlines():
        if not line.startswith("```"):
            lines.append(line)
        elif mark is None:
            mark, lines = line[3:], []
        else:
            yield mark, "\n".join(lines) + "\n"
            mark = None


def _free_ports(number: int) -> list[str]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(number)]
    ports = [str(one.getsockname()[1]) for one in sockets]
    for one in sockets:
        one.close()
    return ports


def _wait_for(port: str, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while time.monotonic() < deadline:
        assert process.poll() is None, "the server ended"
        try:
            socket.create_connection(("127.0.0.1", int(port)), timeout=1).close()
        except OSError:
            time.sleep(0.05)  # between two looks, not instead of one
        else:
            return
    raise AssertionError(f"nothing listens on {port}")


class Terminal:
    """Runs blocks of the page in one folder, servers beside them."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._ports = dict(zip(PORTS, _free_ports(len(PORTS)), strict=True))
        commands = folder / ".bin"
        commands.mkdir()
        saphan = commands / "saphan"
        saphan.write_text(f'#!/bin/sh\nexec {sys.executable} -m console.cli.main "$@"\n')
        saphan.chmod(0o755)
        self._environment = {
            **os.environ,
            "PATH": f"{commands}:{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
            "SAPHAN_REGISTRY": self._localise("http://127.0.0.1:8801"),
        }
        self._servers: list[subprocess.Popen[bytes]] = []

    def run(self, text: str) -> subprocess.CompletedProcess[str]:
        command = ["bash", "-euo", "pipefail", "-c", self._localise(text)]
        return subprocess.run(
            command, cwd=self._folder, env=self._environment, capture_output=True, text=True,
            check=False, timeout=DEADLINE_S,
        )  # fmt: skip

    def serve(self, text: str, port: str) -> None:
        with (self._folder / f"{port}.log").open("wb") as log:
            process = subprocess.Popen(
                ["bash", "-c", f"exec {self._localise(text)}"],
                cwd=self._folder, env=self._environment, stdout=log, stderr=log,
            )  # fmt: skip
        self._servers.append(process)
        _wait_for(self._ports[port], process)

    def write(self, name: str, text: str) -> None:
        (self._folder / name).write_text(self._localise(text), encoding="utf-8")

    def stop(self) -> None:
        for process in reversed(self._servers):
            process.send_signal(signal.SIGTERM)
        codes = [process.wait(DEADLINE_S) for process in self._servers]
        assert set(codes) <= {0}, f"the servers ended with {codes}"

    def _localise(self, text: str) -> str:
        return re.sub(r"\b(" + "|".join(PORTS) + r")\b", lambda m: self._ports[m[0]], text)


def _port_of(text: str) -> str:
    """The port on which a server's command will listen, as the page has it."""
    if "registry serve" in text:
        return "8801"
    return "4601" if "moes" in text else "8082"


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Terminal]:
    found = Terminal(tmp_path)
    yield found
    found.stop()


def test_the_page_leads_to_a_call_that_is_answered_and_one_that_is_refused(
    terminal: Terminal,
) -> None:
    """Every command of the page does what the page says."""
    answers = []
    for mark, text in _steps():
        kind, _, name = mark.partition(" ")
        if kind == "yaml":
            terminal.write(name, text)
        elif mark == "sh server":
            terminal.serve(text, _port_of(text))
        elif mark == "sh fails":
            done = terminal.run(text)
            assert done.returncode == 1
            assert "PurposeNotAllowed" in done.stderr
        elif mark == "sh":
            done = _again_until_known(terminal, text)
            assert done.returncode == 0, f"{text}\n{done.stdout}\n{done.stderr}"
            if "saphan call" in text:
                answers.append(json.loads(done.stdout))
    assert answers == [{"items": [{"province": "LA-LP", "pupils": 212}], "next": None}]


def _again_until_known(terminal: Terminal, text: str) -> subprocess.CompletedProcess[str]:
    """Run a block; a call may come a second before the servers know partner and agreement."""
    deadline = time.monotonic() + DEADLINE_S
    while True:
        done = terminal.run(text)
        if done.returncode == 0 or "saphan call" not in text or time.monotonic() > deadline:
            return done
