"""A full disk: nothing is exchanged unrecorded, the server says so, and recovers by itself."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from console.reference_world.processes import health
from console.reference_world.standing import RunningServer
from tests.faults import journals
from tests.faults.load import load
from tests.world import small
from tests.world.fixtures import small_world
from tests.world.small import SmallWorld

# Room for all that these tests write: the applications go on calling while one disk is full, each
# refusal is a record on the other, and until a bundle is full each publication leaves a partial
# one. A disk of 8 MB was full of that now and then, for good.
SIZE = 48 * 1024 * 1024
SIDES = ["provider", "consumer"]
# What may be said honestly while one of the two disks is full.
HONEST = {"LoggingFailed"}


@contextlib.contextmanager
def small_disk(folder: Path) -> Iterator[None]:
    """A file system of its own, of a few megabytes, at ``folder``; it takes what was there.

    Skips where this process may not mount one, unless SAPHAN_REQUIRE_SERVICES=1.
    """
    command = ["mount", "-t", "tmpfs", "-o", f"size={SIZE},mode=0755", "tmpfs", str(folder)]
    folder.mkdir(parents=True, exist_ok=True)
    try:
        done = subprocess.run(command, capture_output=True, text=True)
        reason = done.stderr.strip() if done.returncode else ""
    except OSError as error:
        reason = str(error)
    if reason:
        if os.environ.get("SAPHAN_REQUIRE_SERVICES") == "1":
            pytest.fail(f"SAPHAN_REQUIRE_SERVICES=1 but no file system can be mounted: {reason}")
        pytest.skip(f"no file system can be mounted here: {reason}")
    try:
        yield
    finally:
        subprocess.run(["umount", str(folder)], check=True)


@pytest.fixture(scope="module")
def own_world() -> Iterator[SmallWorld]:
    """A world whose servers have their journals on small disks."""
    with small_world(low_disk_bytes=65536) as world, contextlib.ExitStack() as disks:
        servers = (world.mof, world.mpi)
        for server in servers:
            server.process.stop()
            before = server.journal.rename(server.journal.with_name("before"))
            disks.enter_context(small_disk(server.journal))
            shutil.copytree(before, server.journal, dirs_exist_ok=True)
        try:
            world.world.start()
            yield world
        finally:
            for server in servers:
                server.process.stop()


@contextlib.contextmanager
def full(server: RunningServer) -> Iterator[None]:
    """No byte is left on the disk of the server's journal while the block runs."""
    filler = server.journal / "filler"
    try:
        with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
            while file.write(bytes(4096)):
                pass
        yield
    finally:
        filler.unlink()


def said(server: RunningServer) -> dict[str, Any]:
    """What the server says of its journal."""
    report: Any = health(f"{server.url('admin')}/healthz")
    return {"status": report["status"], **report["checks"]["journal"]}


def fail_once(world: SmallWorld) -> small.Answer:
    """Call until the call is refused: what is written ahead holds some hundred records."""
    for _ in range(1000):
        answer = world.call()
        if answer.status != 200:
            return answer
    raise AssertionError("the disk is not full")


def await_recovery(world: SmallWorld, server: RunningServer) -> float:
    """Wait until a call succeeds and the server says that it is well; how long it took."""
    start = time.monotonic()
    while time.monotonic() < start + 60:
        if world.call().status == 200 and said(server)["status"] == "ok":
            return time.monotonic() - start
        time.sleep(0.05)
    holders = {str(holder.plan.id): said(holder) for holder in (world.mof, world.mpi)}
    raise AssertionError(f"did not recover: {holders}")


@pytest.mark.parametrize("side", SIDES)
def test_a_full_disk_stops_exchanges_before_they_take_effect(
    own_world: SmallWorld, side: str
) -> None:
    """LoggingFailed, 503; the backend is not reached; health names the reason; then it heals."""
    world = own_world
    server = world.mpi if side == "provider" else world.mof
    assert world.call().status == 200
    with full(server):
        first = fail_once(world)
        assert (first.status, first.code) == (503, "LoggingFailed")
        reached = len(world.backend.seen)
        for number in range(10):
            answer = world.call(headers={"X-Road-Id": f"full-{side}-{number}"})
            assert (answer.status, answer.code) == (503, "LoggingFailed")
            assert answer.headers["retry-after"]
        assert len(world.backend.seen) == reached
        report = said(server)
        assert (report["status"], report["ok"]) == ("failing", False)
        assert "LoggingFailed" in report["problem"]
        assert "No space left on device" in report["problem"]
    print(f"{side}: healed {await_recovery(world, server):.2f} s after there was space again")
    ids = {f"full-{side}-{number}" for number in range(10)}
    for holder in (world.mof, world.mpi):
        kinds = {hit.kind for message in ids for hit in world.hits(holder, id=message)}
        if holder is server or side == "consumer":
            assert kinds == set()  # nothing could be written there, or nothing was sent to it
        else:
            assert kinds == {"request", "failure"}


@pytest.mark.parametrize("side", SIDES)
def test_a_disk_that_fills_up_under_load_loses_nothing(own_world: SmallWorld, side: str) -> None:
    """What was answered is in both journals, and both verify: no half of anything became visible.

    The disk fills up and is freed twice while applications call.
    """
    world = own_world
    server = world.mpi if side == "provider" else world.mof
    with (
        journals.watch(world.mof.journal, world.mpi.journal) as watching,
        load(world.mof.url("http"), connections=8, pause_s=0.02) as applications,
    ):
        for _ in range(2):
            applications.await_answers(40)
            with full(server):
                applications.await_refusals("LoggingFailed", 20)
            await_recovery(world, server)
        applications.await_answers(40)
        applications.stop()
        for each in (world.mof, world.mpi):
            each.process.stop()
        consumer, provider = (journals.read(each.journal) for each in (world.mof, world.mpi))
    world.world.start()
    assert {outcome.code for outcome in applications.outcomes} == HONEST | {""}
    assert not {outcome.error for outcome in applications.outcomes} - {""}
    answered = [outcome.id for outcome in applications.answered]
    assert len(answered) > 50
    journals.assert_in_both(consumer, provider, answered)
    for published in (consumer, provider):
        assert journals.check_consistent(published, watching.seen[published.journal])
