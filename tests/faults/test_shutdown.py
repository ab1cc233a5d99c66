"""Stopping and starting: what was accepted is answered, what comes later is refused honestly."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from console.reference_world.processes import free_ports
from console.reference_world.standing import RunningServer
from console.reference_world.world import LISTENERS
from tests.faults import journals
from tests.faults.load import load
from tests.world import small
from tests.world.fixtures import small_world
from tests.world.small import Answer, SmallWorld

STOP_S = 60.0
WITHIN_S = 60.0
START_S = 30.0  # the promise is 2 s on a quiet machine; the figure is printed
SLOW_CALLS = 12


@pytest.fixture(scope="module")
def own_world() -> Iterator[SmallWorld]:
    """A world whose servers these tests stop and start."""
    with small_world() as built:
        yield built


@pytest.fixture(autouse=True)
def running(own_world: SmallWorld) -> None:
    """Both servers run at the beginning of each test."""
    for identifier, server in own_world.world.servers.items():
        if not server.process.running:
            own_world.world.start(identifier)


def ask_to_stop(server: RunningServer) -> subprocess.Popen[bytes]:
    """SIGTERM; the process, whose exit code is awaited."""
    process = server.process._process
    assert process is not None
    os.kill(process.pid, signal.SIGTERM)
    return process


def call_slowly(world: SmallWorld, prefix: str) -> tuple[list[threading.Thread], dict[str, Answer]]:
    """Calls whose backend takes a second, all begun when this returns."""
    answers: dict[str, Answer] = {}

    def call(message: str) -> None:
        answers[message] = world.call(
            "/projects/SLOW", headers={"X-Road-Id": message}, service=small.LENIENT
        )

    before = len(world.backend.seen)
    threads = [
        threading.Thread(target=call, args=(f"{prefix}-{number}",)) for number in range(SLOW_CALLS)
    ]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + WITHIN_S
    while len(world.backend.seen) < before + SLOW_CALLS:
        assert time.monotonic() < deadline, "the backend was not asked"
        time.sleep(0.01)
    return threads, answers


@pytest.mark.parametrize("side", ["provider", "consumer"])
def test_exchanges_under_way_are_answered(own_world: SmallWorld, side: str) -> None:
    """SIGTERM while the backend thinks: every application gets the signed answer; exit code 0.

    Meanwhile a new call gets ShuttingDown (or finds nobody), and health says that it stops.
    """
    world = own_world
    server = world.mpi if side == "provider" else world.mof
    threads, answers = call_slowly(world, f"slow-{side}")
    said = server.process.log.stat().st_size
    process = ask_to_stop(server)
    deadline = time.monotonic() + WITHIN_S
    while b'"stopping"' not in server.process.log.read_bytes()[said:]:
        assert time.monotonic() < deadline, "it was not heard"
        time.sleep(0.01)
    try:
        late: Answer | None = world.call()
    except OSError:
        late = None
    for thread in threads:
        thread.join(WITHIN_S)
    assert process.wait(STOP_S) == 0
    assert len(answers) == SLOW_CALLS
    assert {(answer.status, answer.code) for answer in answers.values()} == {
        (504, "BackendTimeout")
    }
    if late is not None:
        assert (late.status, late.code) in {(503, "ShuttingDown"), (503, "PeerUnreachable")}


@pytest.mark.parametrize("side", ["provider", "consumer"])
def test_a_stop_under_load_drains(own_world: SmallWorld, side: str) -> None:
    """Every call that a server recorded was answered by it; exit code 0; journal published.

    Applications see answers, ShuttingDown, the other server gone, or, when their own server
    stops, a connection that was closed without one byte of an answer: then nothing was recorded.
    """
    world = own_world
    server = world.mpi if side == "provider" else world.mof
    with load(world.mof.url("http")) as applications:
        applications.await_answers(100)
        process = ask_to_stop(server)
        code = process.wait(STOP_S)
        time.sleep(0.1)
    assert code == 0
    outcomes = {outcome.id: outcome for outcome in applications.outcomes}
    allowed = {"", "ShuttingDown"} | ({"PeerUnreachable"} if side == "provider" else set())
    assert {outcome.code for outcome in outcomes.values()} <= allowed
    broken = {outcome.error for outcome in outcomes.values()} - {""}
    assert broken <= ({"refused", "closed"} if side == "consumer" else set())

    for each in (world.mof, world.mpi):
        each.process.stop()
    consumer, provider = (journals.read(each.journal) for each in (world.mof, world.mpi))
    answered = [outcome.id for outcome in applications.answered]
    journals.assert_in_both(consumer, provider, answered)
    began = {entry["id"] for entry in consumer.entries if entry["kind"] == "request"}
    for message in began & outcomes.keys():
        assert outcomes[message].status, f"{message} was accepted and not answered"
    events = [entry.get("event") for entry in (consumer, provider)[side == "provider"].entries]
    assert events[-1] == "stopped"


def test_a_server_starts_quickly(own_world: SmallWorld) -> None:
    """From the start of the process until it says that it is well."""
    server = own_world.mpi
    server.process.stop()
    start = time.monotonic()
    server.process.start()
    server.process.wait_ready()
    took = time.monotonic() - start
    print(f"started in {took:.2f} s")
    assert took < START_S


def refusal(settings: Path) -> str:
    """What a server says that refuses to start; no traceback."""
    done = subprocess.run(
        [sys.executable, "-m", "console.cli.main", "mediator", "serve", str(settings)],
        capture_output=True,
        timeout=WITHIN_S,
        text=True,
    )
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr
    return done.stderr


def test_a_second_process_on_the_same_journal_is_refused(own_world: SmallWorld) -> None:
    """It says which journal is in use and exits with 1; the first one is not disturbed."""
    server = own_world.mpi
    settings = yaml.safe_load((server.folder / "server.yaml").read_text("utf-8"))
    ports = free_ports(len(LISTENERS))
    settings["listen"] = {
        name: f"127.0.0.1:{port}" for name, port in zip(LISTENERS, ports, strict=True)
    }
    second = server.folder / "second.yaml"
    second.write_text(yaml.safe_dump(settings, allow_unicode=True), "utf-8")
    told = refusal(second)
    assert "another process has this journal open" in told
    assert str(server.journal) in told
    assert own_world.call().status == 200


def test_a_copied_log_key_does_not_help_a_second_journal(own_world: SmallWorld) -> None:
    """A server that lost its journal but kept the folder's other files begins no second log.

    Its key would sign another history under the same name; only a journal without any sign of a
    first one (``journal.json`` and the store of the last signed checkpoint) may begin.
    """
    server = own_world.mpi
    server.process.stop()
    kept = server.journal.with_name("kept")
    server.journal.rename(kept)
    try:
        server.journal.mkdir()
        for name in ("journal.json", "last-checkpoint.sqlite"):
            shutil.copyfile(kept / name, server.journal / name)
        assert "JournalForked" in refusal(server.folder / "server.yaml")
    finally:
        shutil.rmtree(server.journal)
        kept.rename(server.journal)


def test_a_damaged_log_key_is_told(own_world: SmallWorld) -> None:
    """A key file without a key is named; none is made in its place."""
    server = own_world.mpi
    server.process.stop()
    path = server.folder / "data" / "journal.key"
    kept = path.read_bytes()
    path.write_bytes(b"")
    try:
        told = refusal(server.folder / "server.yaml")
        assert "InvalidSettings" in told
        assert str(path) in told
        assert path.read_bytes() == b""
    finally:
        path.write_bytes(kept)
