"""Two servers of one member that share the exactly-once book: either may be asked."""

from __future__ import annotations

import json
import random
import threading
import time
from collections.abc import Iterator

import pytest

from exchange.identifiers import ServerId
from exchange.problems import Code
from tests.faults import journals
from tests.faults.line import Act, Fault, Way
from tests.faults.test_once_kill import APPLICATIONS, Insistent, carried_out, post
from tests.faults.test_servers import settle
from tests.services.server import DatabaseServer
from tests.world.backend import GOOD
from tests.world.servers import SS1, SS2, Servers, two_servers
from tests.world.small import Answer

pytestmark = pytest.mark.needs_postgresql
BOTH = (SS1, SS2)
KILLS = 6


@pytest.fixture(scope="module")
def built(postgresql_server: DatabaseServer) -> Iterator[Servers]:
    url = postgresql_server.new_database(f"shared_{time.time_ns()}")
    with two_servers(url.replace("+psycopg", "")) as servers:
        yield servers


@pytest.fixture
def servers(built: Servers) -> Servers:
    """Both servers run with their book, their lines are whole, and MOF's server knows it."""
    built.world.world.start(*BOTH)
    built.heal()
    built.world.backend.post_s = 0.0
    deadline = time.monotonic() + 30
    for server in BOTH:
        settle(built, server)
        while built.admin(server, "/healthz")["status"] != "ok":
            assert time.monotonic() < deadline, "the book is not taken up again"
            time.sleep(0.05)
    return built


def post_to(servers: Servers, server: ServerId, name: str) -> Answer:
    headers = {
        "X-Road-Id": name,
        "X-Road-Security-Server": str(server),
        "Content-Type": "application/json",
    }
    body = json.dumps(GOOD | {"title_en": name}).encode()
    return servers.world.call("/projects", method="POST", headers=headers, body=body)


def test_what_one_server_did_the_other_repeats(servers: Servers) -> None:
    """The answer is that of the first, sealed by the server that was asked."""
    name = f"either-{time.time_ns()}"
    first, second = (post_to(servers, server, name) for server in BOTH)
    assert (first.status, second.status) == (201, 201)
    assert first.body == second.body
    assert carried_out(servers.world)[name] == 1


def test_both_asked_at_the_same_time_carry_it_out_once(servers: Servers) -> None:
    """Duplicates that come in at both servers all get the one answer."""
    servers.world.backend.post_s = 0.2
    name, answers = f"same-{time.time_ns()}", list[Answer]()
    threads = [
        threading.Thread(
            target=lambda server=server: answers.append(post_to(servers, server, name))
        )
        for server in BOTH * 4
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert [answer.status for answer in answers] == [201] * 8
    assert len({answer.body for answer in answers}) == 1
    assert carried_out(servers.world)[name] == 1


def test_a_lost_answer_is_got_from_the_other_server(servers: Servers) -> None:
    """The line breaks after the request, for good: the caller's server goes elsewhere by itself."""
    servers.lines[SS1].arm(Fault(Act.RESET, Way.DOWN, times=None))
    name = ""
    while not servers.lines[SS1].struck:
        name = f"lost-{time.time_ns()}"
        answer = post(servers.world, name)
        assert answer is not None
        assert answer.status == 201, answer.body
        assert carried_out(servers.world)[name] == 1


def test_kills_of_either_server_run_nothing_twice(servers: Servers) -> None:
    """Applications repeat until they know; one server after the other is killed at any moment."""
    rng = random.Random(20261122)
    servers.world.backend.post_s = 0.01
    applications = Insistent(servers.world, f"shared-{time.time_ns()}")
    with applications.running():
        for number in range(KILLS):
            victim = servers.of(BOTH[number % 2])
            victim.process.wait_ready()
            applications.await_more(APPLICATIONS)
            time.sleep(rng.uniform(0, 0.3))
            victim.process.kill()
            applications.await_more(APPLICATIONS)  # the other one goes on
            victim.process.start()
        for server in BOTH:
            servers.of(server).process.wait_ready()
        applications.await_more(APPLICATIONS)
    counts = carried_out(servers.world)
    assert not applications.unknown
    assert max(counts.values()) == 1
    for name, answer in applications.known.items():
        if answer.status == 201:
            assert counts[name] == 1
            assert json.loads(answer.body)["title_en"] == name
    for server in BOTH:
        servers.of(server).process.stop()
        journals.read(servers.of(server).journal)


def test_without_the_database_unsafe_calls_are_refused_and_safe_ones_go_on(
    servers: Servers, postgresql_server: DatabaseServer
) -> None:
    """A clear 503 that may be repeated; health says degraded; all is well when it is back."""
    name = f"down-{time.time_ns()}"
    postgresql_server.stop()
    try:
        answer = post_to(servers, SS1, name)
        assert (answer.status, answer.code) == (503, Code.ONCE_UNAVAILABLE)
        assert servers.world.call().status == 200
        health = servers.admin(SS1, "/healthz")
        assert (health["status"], health["checks"]["once"]["ok"]) == ("degraded", False)
        hits = servers.world.hits(servers.of(SS1), id=name)
        assert [hit.problem for hit in hits] == [None, Code.ONCE_UNAVAILABLE]
    finally:
        postgresql_server.start()
    answer = Insistent(servers.world, name).insist(name)
    assert answer is not None
    assert answer.status == 201
    assert carried_out(servers.world)[name] == 1
