"""Bounds of called services, of connections and of rates, and what a restart leaves of them.

A held call waits at the backend until it is released, so that no test depends on speed.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime

import pytest

from exchange.identifiers import ServiceId
from exchange.problems import Code
from tests.world import peer, small
from tests.world.fixtures import world_of
from tests.world.small import (
    BUDGET,
    CLOSED,
    LENIENT,
    PROJECTS,
    PROVINCE,
    Answer,
    SmallWorld,
)

GENEROUS_S = 30.0
WAITS = {"first_byte_s": 300, "exchange_s": 300}


@pytest.fixture(scope="module")
def world() -> Iterator[SmallWorld]:
    """Two connections for each service, and bounds of calls to two of them."""
    slow = {"timeout_s": 300}
    province = small.agreement("province", PROVINCE, quota={"per_second": 1})
    province["grants"] = [one for one in province["grants"] if one["service"] == str(PROJECTS)]
    with world_of(
        [small.agreement("budget"), province],
        limits={"connections": 2, "wait_s": 0.3, **WAITS},
        services={
            PROJECTS: slow,
            LENIENT: slow | {"per_second": 1},
            CLOSED: slow | {"enabled": True},
        },
        calls=[
            {"service": str(LENIENT), "concurrent": 1},
            {"service": str(CLOSED), "first_byte_s": 0.3},
        ],
    ) as built:
        yield built


@contextmanager
def held(world: SmallWorld, service: ServiceId, count: int) -> Iterator[None]:
    """While this lasts, so many calls wait at the backend; they end well."""
    world.backend.released.clear()
    begun = len(world.backend.seen)
    with ThreadPoolExecutor(count) as pool:
        calls = [pool.submit(world.call, "/projects/HELD", service=service) for _ in range(count)]
        try:
            deadline = time.monotonic() + GENEROUS_S
            while len(world.backend.seen) < begun + count:
                assert time.monotonic() < deadline, [c.result() for c in calls if c.done()]
                time.sleep(0.01)
            yield
        finally:
            world.backend.released.set()
        assert [call.result().status for call in calls] == [200] * count


def recorded(world: SmallWorld, code: str, since: datetime) -> tuple[int, int]:
    """How many entries with this problem the servers of MOF and of MPI have."""
    mof, mpi = (len(world.hits(one, problem=code, since=since)) for one in (world.mof, world.mpi))
    return mof, mpi


def test_calls_to_one_service_have_places_of_their_own(world: SmallWorld) -> None:
    """One more is a 503 of the caller's server, which sends nothing; other services go on."""
    time.sleep(1.1)  # the service takes one call a second, and a test before may have made one
    with held(world, LENIENT, 1):
        since = datetime.now(UTC)
        over = world.call(service=LENIENT)
        assert (over.status, over.code) == (503, Code.OVERLOADED), over.body
        assert over.json["facts"]["limit"] == "calls.concurrent"
        assert over.headers["retry-after"] == "1"
        assert recorded(world, over.code, since) == (1, 0)
        assert world.call().status == 200


def test_calls_to_one_service_have_a_wait_of_their_own(world: SmallWorld) -> None:
    """Shorter than for others: the caller hears which bound was over; the backend still works."""
    world.backend.released.clear()
    try:
        since = datetime.now(UTC)
        late = world.call("/projects/HELD", service=CLOSED)
    finally:
        world.backend.released.set()
    assert (late.status, late.code) == (504, Code.PEER_TIMEOUT), late.body
    facts = late.json["facts"]
    assert (facts["limit"], facts["seconds"]) == ("first_byte_s", 0.3)
    assert recorded(world, late.code, since) == (1, 0)


def test_who_waits_for_a_connection_is_turned_away_soon(world: SmallWorld) -> None:
    """At either server: a queue that stands is a 503, long before the whole time is over."""
    with held(world, PROJECTS, 2):
        since = datetime.now(UTC)
        answers = [world.call(), peer.send(world, peer.message(world))]
        for answer in answers:
            assert (answer.status, answer.code) == (503, Code.OVERLOADED), answer.body
            assert answer.headers["retry-after"] == "1"
            assert answer.json["facts"]["limit"] == "wait_s"
            assert answer.json["facts"]["phase"] == "wait"
        assert recorded(world, Code.OVERLOADED.value, since) == (1, 1)
    assert world.call().status == 200


@pytest.mark.parametrize(
    ("client", "service", "code", "status"),
    [(PROVINCE, PROJECTS, Code.QUOTA_EXCEEDED, 429), (BUDGET, LENIENT, Code.OVERLOADED, 503)],
    ids=["agreement", "service"],
)
def test_calls_a_second_are_bounded(
    world: SmallWorld,
    client: small.ApplicationId,
    service: ServiceId,
    code: Code,
    status: int,
) -> None:
    """Who is over is told to come again in a second, and is served then."""

    def call() -> Answer:
        return world.call(client=str(client), service=service)

    deadline = time.monotonic() + GENEROUS_S
    since = datetime.now(UTC)
    while (over := call()).status == 200:
        assert time.monotonic() < deadline
    assert (over.status, over.code) == (status, code), over.body
    assert over.headers["retry-after"] == "1"
    assert (over.json["facts"]["limit"], over.json["facts"]["per_second"]) == ("per_second", 1)
    assert recorded(world, code.value, since) == (1, 1)
    time.sleep(1)  # Retry-After is kept to
    assert call().status == 200


def test_a_day_is_counted_across_a_restart_and_a_kill() -> None:
    """Quota and the service's day go on where they were, also when the kill follows a call."""
    agreements = [
        small.agreement("province", PROVINCE, quota={"per_day": 3}),
        small.agreement("budget"),
    ]
    services = {CLOSED: {"enabled": True, "per_day": 3}}
    with world_of(agreements, services=services) as world:

        def used() -> list[int]:
            calls = [world.call(client=str(PROVINCE)), world.call(service=CLOSED)]
            return [answer.status for answer in calls]

        server = world.mpi
        assert used() == [200, 200]
        server.process.stop()
        world.world.start(server.plan.id)
        assert used() == [200, 200]
        server.process.kill()
        world.world.start(server.plan.id)
        assert used() == [200, 200]
        assert used() == [429, 503]
        over = world.call(client=str(PROVINCE))
        assert over.json["facts"]["limit"] == "per_day"
        assert 1 <= int(over.headers["retry-after"]) <= 86_400
