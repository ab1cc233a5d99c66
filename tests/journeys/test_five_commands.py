"""From a database file that nobody knows to a service that answers through two servers, by what the
commands say.

Only the first command is known. Every other one is what the one before said after "Next:"; the
operator's approval and the other ministry's agreement are other people's.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from console.reference_world.plans import ApplicationPlan, MemberPlan, ServerPlan
from console.reference_world.processes import health
from console.reference_world.world import World
from exchange.identifiers import ServiceId
from exchange.problems import Code, Problem, Text
from tests.world.small import BUDGET, MOF, MOF_SERVER, MPI, MPI_SERVER, Answer, exchange

FIRST = "saphan adapter scan sqlite:///library.db --application LA/GOV/MPI/library -o library"
SERVICE = ServiceId.parse("LA/GOV/MPI/library/library")
PURPOSE = "reading"
MOST_COMMANDS = 5
DEADLINE_S = 60.0


@dataclass(slots=True)
class Office:
    """A folder with a database, and the member's files; ``said`` is what commands ended with."""

    world: World
    folder: Path
    said: list[str]
    server: subprocess.Popen[bytes] | None = None

    def run(self, command: str) -> str:
        """Run a command; returns what it says comes next."""
        words = [sys.executable, "-m", "console.cli.main", *shlex.split(command)[1:]]
        environment = {**os.environ, "SAPHAN_REGISTRY": self.world.registry_url}
        self.said.append(command)
        done = subprocess.run(
            words, cwd=self.folder, env=environment, capture_output=True, text=True,
            timeout=DEADLINE_S,
        )  # fmt: skip
        assert done.returncode == 0, f"$ {command}\n{done.stdout}{done.stderr}"
        (following,) = re.findall(r"^Next: (.*)$", done.stderr, re.MULTILINE)
        assert done.stderr.endswith(f"Next: {following}\n")
        return str(following)

    def serve(self, command: str) -> None:
        """Start the server as the last command said."""
        self.said.append(command)
        with (self.folder / "server.log").open("wb") as log:
            self.server = subprocess.Popen(
                [sys.executable, "-m", "console.cli.main", *shlex.split(command)[1:]],
                cwd=self.folder, stdout=log, stderr=log,
            )  # fmt: skip
        url = f"{self.world.servers[MPI_SERVER].url('admin')}/healthz"
        deadline = time.monotonic() + DEADLINE_S
        while time.monotonic() < deadline:
            assert self.server.poll() is None, (self.folder / "server.log").read_text()
            try:
                health(url)
            except OSError:
                time.sleep(0.05)  # between two looks
            else:
                return
        raise AssertionError("the server did not answer")

    def approve(self) -> None:
        """What the registry's operator does when a request has come in."""
        for _ in range(int(DEADLINE_S / 0.05)):
            try:
                self.world.approve(3)  # two members have been registered
            except Problem as problem:
                if problem.code is not Code.NOT_FOUND:
                    raise
                time.sleep(0.05)  # between two looks
            else:
                return

    def ask(self, path: str) -> Answer:
        """Ask as the ministry of finance does, until its server knows the service."""
        headers = {"X-Road-Client": str(BUDGET), "Exchange-Purpose": PURPOSE}
        url = self.world.servers[MOF_SERVER].url("http")
        deadline = time.monotonic() + DEADLINE_S
        while True:
            answer = exchange(url, "GET", f"/r1/{SERVICE}{path}", headers)
            if answer.code != Code.UNKNOWN_SERVICE or time.monotonic() > deadline:
                return answer
            time.sleep(0.1)  # between two polls of the registry


@pytest.fixture
def office() -> Iterator[Office]:
    """Two members; one has a server that has never run, and a database."""
    with tempfile.TemporaryDirectory(prefix="saphan-") as name:
        world = World(Path(name) / "world")
        folder = Path(name) / "office"
        found = Office(world, folder, [])
        try:
            world.open_instance(Text("Lao PDR", "ສປປ ລາວ"))
            budget = (ApplicationPlan(BUDGET, Text("Budget", "ງົບປະມານ"), "http"),)
            finance = MemberPlan(MOF, Text("Finance", "ການເງິນ"), budget)
            world.add_server(ServerPlan(MOF_SERVER, (finance,)))
            planning = MemberPlan(MPI, Text("Planning", "ແຜນການ"))
            world.add_server(ServerPlan(MPI_SERVER, (planning,)))
            world.agree(_agreement())
            world.start(MOF_SERVER)
            _settle(world, folder)
            yield found
        finally:
            if found.server is not None:
                found.server.terminate()
                found.server.wait(DEADLINE_S)
            world.close()


def _agreement() -> dict[str, object]:
    text = {"en": "Reading", "lo": "ການອ່ານ"}
    paths = ("/tbl_book", "/tbl_book/{book_no}")
    return {
        "id": "mof-mpi", "version": 1, "title": text, "provider": str(MPI), "consumer": str(BUDGET),
        "grants": [
            {
                "service": str(SERVICE),
                "endpoints": [{"method": "GET", "path": path} for path in paths],
                "fields": ["*"],
            }
        ],
        "purposes": [{"code": PURPOSE, "title": text, "legal_basis": text}],
        "valid_from": "2020-01-01T00:00:00Z", "valid_until": "2099-01-01T00:00:00Z",
    }  # fmt: skip


def _settle(world: World, folder: Path) -> None:
    """The office's folder: the database, and below it what it has of its member and server."""
    folder.mkdir()
    home = world.directory / "members" / "MPI"
    shutil.copytree(home / "registry", folder / "mpi")
    shutil.copy(home / "member.yaml", folder / "mpi")
    key = world.member_key(MPI)
    (folder / "mpi" / "api-key").write_text(f"{key}\n")
    (folder / "ss1").symlink_to(world.servers[MPI_SERVER].folder)
    with sqlite3.connect(folder / "library.db") as database:
        database.execute(
            "CREATE TABLE tbl_book (book_no INTEGER PRIMARY KEY, title_lo TEXT NOT NULL,"
            " pages INTEGER, bought_on TEXT)"
        )
        database.execute("INSERT INTO tbl_book VALUES (7, 'ສິນໄຊ', 212, '05/02/2012')")
        database.execute("INSERT INTO tbl_book VALUES (8, 'ທ້າວຮຸ່ງ', 340, '28/11/2013')")
    database.close()


def test_the_commands_lead_to_a_service_that_answers(office: Office) -> None:
    """Five at most; what the source holds crosses, and what breaks the contract does not."""
    following = FIRST
    operator = threading.Thread(target=office.approve)
    while not following.startswith("saphan mediator serve "):
        assert len(office.said) < MOST_COMMANDS, office.said
        if following.startswith("saphan apply"):
            operator.start()
        following = office.run(following)
    operator.join()
    office.serve(following)
    assert len(office.said) <= MOST_COMMANDS, office.said
    answer = office.ask("/tbl_book/7")
    assert answer.status == 200, answer.body
    assert answer.json == {
        "book_no": 7, "title_lo": "ສິນໄຊ", "pages": 212, "bought_on": "2012-02-05"
    }  # fmt: skip
    with sqlite3.connect(office.folder / "library.db") as database:
        database.execute("UPDATE tbl_book SET pages = 'many' WHERE book_no = 8")
    database.close()
    broken = office.ask("/tbl_book/8")
    assert (broken.status, broken.code) == (502, Code.RESPONSE_SCHEMA_VIOLATION), broken.body
