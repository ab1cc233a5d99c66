"""Long bodies through two running servers, there and back: whole, in flat memory, within bounds."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from benchmarks import transfer
from benchmarks.processes import Children, forget_peak_rss, peak_rss_bytes
from benchmarks.sides import start_saphan
from tests.world import small
from tests.world.fixtures import small_world, world_of
from tests.world.small import Answer, SmallWorld

MIB = 1 << 20
SIZE = int(os.environ.get("SAPHAN_LONG_BODY_BYTES", 300 * 1000 * 1000))
"""A longer run: ``SAPHAN_LONG_BODY_BYTES=2147483648``."""
MOST_RESIDENT = 200 * 1000 * 1000


def test_a_long_body_goes_both_ways_in_flat_memory(tmp_path: Path) -> None:
    """Neither server has more than 200 MB resident at any time, and nothing is left on the disk."""
    with Children(tmp_path) as children:
        backend = children.start("backend", [sys.executable, "-m", "benchmarks.documents"])
        side = start_saphan(children, backend.ready["url"], transfer.offer(SIZE))
        for pid in side.pids.values():
            forget_peak_rss(pid)
        for method in ("GET", "PUT"):
            transfer.move(side.url, method, SIZE)
        peaks = {name: peak_rss_bytes(pid) for name, pid in side.pids.items()}
        assert max(peaks.values()) < MOST_RESIDENT, peaks
        assert {name: spooled(pid) for name, pid in side.pids.items()} == dict.fromkeys(peaks, 0)


def spooled(pid: int) -> int:
    """The files of long bodies that a process has open."""
    found = [os.readlink(f"/proc/{pid}/fd/{name}") for name in os.listdir(f"/proc/{pid}/fd")]
    return sum("/spool/" in name for name in found)


@pytest.fixture(scope="module")
def roomy() -> Iterator[SmallWorld]:
    """A small world whose service takes and gives up to 8 MiB, of which 4 are checked."""
    limits = {"request_max_bytes": 8 * MIB, "checked_max_bytes": 4 * MIB}
    services = {small.PROJECTS: {"response_max_bytes": 8 * MIB}}
    with world_of([small.agreement("mof-mpi")], limits=limits, services=services) as world:
        yield world


def post(world: SmallWorld, size: int, **members: Any) -> tuple[bytes, Answer]:
    """Add a project with a long title; the backend gives back what it got."""
    project = {"code": "P-9", "amount": 1.5, "title_en": "x" * size, **members}
    body = orjson.dumps(project)
    headers = {"Content-Type": "application/json"}
    return body, world.call("/projects", method="POST", headers=headers, body=body)


def test_a_long_json_body_keeps_its_contract_and_is_cut(roomy: SmallWorld) -> None:
    """Checked on both sides, answered, and projected to the released fields."""
    body, answer = post(roomy, 2 * MIB)
    assert answer.status == 201, answer.body[:300]
    assert roomy.backend.seen[-1].body == body
    assert answer.json.keys() == {"code", "title_en"}
    assert len(answer.json["title_en"]) == 2 * MIB


def test_a_long_json_body_that_breaks_its_contract_goes_nowhere(roomy: SmallWorld) -> None:
    """As a short one; the problem names the place."""
    before = len(roomy.backend.seen)
    _, answer = post(roomy, 2 * MIB, amount="a lot")
    assert (answer.code, len(roomy.backend.seen)) == ("SchemaViolation", before)


def test_a_json_body_beyond_what_is_checked_is_refused(roomy: SmallWorld) -> None:
    """Before it leaves the caller's server, with the bound and what to do."""
    before = len(roomy.backend.seen)
    _, answer = post(roomy, 5 * MIB)
    assert (answer.status, answer.code) == (413, "PayloadTooLarge")
    assert answer.json["facts"]["limit_bytes"] == 4 * MIB
    assert len(roomy.backend.seen) == before


def test_a_server_without_room_says_so_and_goes_on() -> None:
    """503 with Retry-After, recorded; short bodies pass as before, and nothing is kept."""
    with small_world(request_max_bytes=8 * MIB, spool_max_bytes=MIB) as world:
        before = world.hits(world.mof, problem="ServerOverloaded")
        _, answer = post(world, 5 * MIB)
        assert (answer.status, answer.code) == (503, "ServerOverloaded"), answer.body[:300]
        assert int(answer.headers["retry-after"]) > 0
        assert len(world.hits(world.mof, problem="ServerOverloaded")) == len(before) + 1
        assert post(world, 10)[1].status == 201
        metrics = small.exchange(world.mof.url("admin"), "GET", "/metrics", {}).body.decode()
        assert "saphan_bodies_memory_bytes 0.0" in metrics
        assert "saphan_bodies_disk_bytes 0.0" in metrics
