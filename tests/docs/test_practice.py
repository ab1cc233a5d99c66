"""Two pages are run as they stand: from nothing to a recorded call, and to its evidence."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import pytest

from console.reference_world.processes import free_ports
from tests.docs.generate import ROOT
from tests.docs.recipes import plain_words, printing_to, write_command

PAGES = (ROOT / "docs/service-owners.md", ROOT / "docs/auditors.md")
PORTS = ("8801", "5601", "4601", "5602", "4602", "8082")
DEADLINE_S = 60
REGISTRATIONS = 2


def _steps() -> Iterator[tuple[str, str]]:
    """The marked blocks of the pages, in order, as (mark, text)."""
    mark: str | None = None
    lines: list[str] = []
    text = "\n".join(page.read_text(encoding="utf-8") for page in PAGES)
    for line in text.splitlines():
        if not line.startswith("```"):
            lines.append(line)
        elif mark is None:
            mark, lines = line[3:], []
        else:
            yield mark, "\n".join(lines) + "\n"
            mark = None


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
        self._ports = dict(zip(PORTS, map(str, free_ports(len(PORTS))), strict=True))
        commands = folder / ".bin"
        write_command(commands)
        self._environment = {
            **os.environ,
            "PATH": f"{commands}:{os.environ['PATH']}",
            "SAPHAN_REGISTRY": self._localise("http://127.0.0.1:8801"),
        }
        self._servers: list[subprocess.Popen[bytes]] = []

    def run(self, text: str) -> subprocess.CompletedProcess[str]:
        """Run a block: commands of ours as tests start them, one by one, others by a shell."""
        text = self._localise(text)
        commands = [plain_words(line) for line in text.replace("\\\n", "").splitlines()]
        if not all(words for words, _ in commands):
            return self._run(["bash", "-euo", "pipefail", "-c", text])
        stdout = stderr = ""
        for words, target in commands:
            with printing_to(self._folder, target) as output:
                done = self._run(words, output)
            stdout += done.stdout or ""
            stderr += done.stderr
            if done.returncode:
                break
        return subprocess.CompletedProcess(text, done.returncode, stdout, stderr)

    def _run(
        self, words: list[str], output: IO[str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            words, cwd=self._folder, env=self._environment, text=True, check=False,
            stdout=output or subprocess.PIPE, stderr=subprocess.PIPE, timeout=DEADLINE_S,
        )  # fmt: skip

    def serve(self, text: str, port: str) -> None:
        words, _ = plain_words(self._localise(text).replace("\\\n", ""))
        with (self._folder / f"{port}.log").open("wb") as log:
            process = subprocess.Popen(
                words, cwd=self._folder, env=self._environment, stdout=log, stderr=log
            )
        self._servers.append(process)
        _wait_for(self._ports[port], process)

    def write(self, name: str, text: str) -> None:
        (self._folder / name).write_text(self._localise(text), encoding="utf-8")

    def wait_until_known(self) -> None:
        """Until both servers have polled the last registration, and the agreement is read."""
        deadline = time.monotonic() + DEADLINE_S
        while time.monotonic() < deadline:
            versions = {self._ask(port, "healthz")["checks"]["registry"]["version"]
                        for port in ("4601", "4602")}  # fmt: skip
            if versions == {REGISTRATIONS + 1} and self._ask("4601", "agreements")["agreements"]:
                return
            time.sleep(0.1)  # between two looks
        raise AssertionError("the servers did not take up the registrations")

    def wait_until_published(self) -> None:
        """Until both journals have published what they hold, as a reader's pause lets them."""
        deadline = time.monotonic() + DEADLINE_S
        while time.monotonic() < deadline:
            journals = [
                self._ask(port, "healthz")["checks"]["journal"] for port in ("4601", "4602")
            ]
            if all(journal["published"] == journal["entries"] for journal in journals):
                return
            time.sleep(0.1)  # between two looks
        raise AssertionError("the journals did not publish")

    def _ask(self, port: str, path: str) -> Any:
        connection = http.client.HTTPConnection("127.0.0.1", int(self._ports[port]), timeout=5)
        try:
            connection.request("GET", f"/{path}")
            return json.loads(connection.getresponse().read())
        finally:
            connection.close()

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


def test_the_page_of_owners_tells_how_many_commands_there_are() -> None:
    """The table at its beginning is counted from the blocks of each step."""
    text = PAGES[0].read_text(encoding="utf-8")
    rows = re.findall(r"^\| (\d+) \|.*\| (\d+) \|$", text, re.M)
    told = {int(step): int(count) for step, count in rows}
    counted = {}
    for section in re.split(r"^## ", text, flags=re.M)[1:]:
        step = section.partition(".")[0]
        blocks = re.findall(r"^```sh[^\n]*\n(.*?)^```", section, flags=re.S | re.M)
        if number := sum(len(re.findall("^saphan ", block, flags=re.M)) for block in blocks):
            counted[int(step)] = number
    assert told == counted


def test_the_pages_lead_from_nothing_to_evidence(
    terminal: Terminal,
) -> None:
    """Every command of the pages does what they say."""
    answers, verified = [], 0
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
            if "saphan call" in text:
                terminal.wait_until_known()
            if "saphan audit" in text:
                terminal.wait_until_published()
            done = terminal.run(text)
            assert done.returncode == 0, f"{text}\n{done.stdout}\n{done.stderr}"
            if "saphan call" in text:
                answers.append(json.loads(done.stdout))
            if "audit search" in text and "--subject" in text:  # of both servers, then of one
                assert done.stdout.count("practice-1") == 6
                assert "Nothing was left out." in done.stdout
            elif "audit search" in text:  # four entries, found by two of the searches
                assert done.stdout.count("practice-1") == 8
            verified += done.stdout.count("(RFC 9421)")
    assert answers == [{"items": [{"province": "LA-LP", "pupils": 212}], "next": None}]
    assert verified == 4
