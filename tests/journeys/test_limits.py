"""Limits end to end: who is over which gets what, when to come again, and where it is recorded.

A held call waits at the backend until it is released, so that no test depends on speed.
"""

from __future__ import annotations

import socket
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from datetime import UTC, datetime
from typing import Any

import pytest

from console.reference_world.processes import health
from exchange.identifiers import ApplicationId, ServiceId
from exchange.problems import CATALOGUE, Code
from tests.faults import journals
from tests.world import small
from tests.world.fixtures import world_of
from tests.world.small import BUDGET, CLOSED, DOWN, LENIENT, PROJECTS, PROVINCE, Answer, SmallWorld

GENEROUS_S = 30.0


def granted(name: str, consumer: ApplicationId, *services: ServiceId, **more: Any) -> Any:
    """An agreement over some of the services."""
    document = small.agreement(name, consumer, **more)
    names = set(map(str, services))
    document["grants"] = [grant for grant in document["grants"] if grant["service"] in names]
    return document


@pytest.fixture(scope="module")
def world() -> Iterator[SmallWorld]:
    limits = {"concurrent": 2, "answer_max_bytes": 100_000, "request_max_bytes": 500}
    agreements = (
        granted("budget", BUDGET, PROJECTS, LENIENT, limits=limits),
        granted("budget-more", BUDGET, CLOSED, DOWN),
        granted("province", PROVINCE, PROJECTS, LENIENT, CLOSED),
        granted("province-few", PROVINCE, DOWN, quota={"per_day": 2}, limits={"first_byte_s": 1}),
    )
    slow = {"timeout_s": 300}
    services = {
        PROJECTS: slow | {"concurrent": 3},
        LENIENT: slow,
        CLOSED: slow | {"enabled": True, "per_day": 2},
        DOWN: slow,
    }
    with world_of(
        agreements, services=services, limits={"first_byte_s": 300, "exchange_s": 300}
    ) as built:
        yield built


@contextmanager
def held(world: SmallWorld, *callers: tuple[ApplicationId, ServiceId]) -> Iterator[None]:
    """While this lasts, a call of each of these waits at the backend; they end well."""
    world.backend.released.clear()
    begun = len(world.backend.seen)
    with ThreadPoolExecutor(len(callers)) as pool:
        try:
            calls: list[Future[Answer]] = [
                pool.submit(world.call, "/projects/HELD", client=str(client), service=service)
                for client, service in callers
            ]
            deadline = time.monotonic() + GENEROUS_S
            while len(world.backend.seen) < begun + len(callers):
                assert time.monotonic() < deadline, [c.result() for c in calls if c.done()]
                time.sleep(0.01)
            yield
        finally:
            world.backend.released.set()
        assert [call.result().status for call in calls] == [200] * len(callers)


def check(
    world: SmallWorld, since: datetime, answer: Answer, code: Code, limit: str, *, both: bool = True
) -> None:
    """The answer tells code, limit and when to come again; the journals tell of it too."""
    assert answer.code == code, answer.body
    assert answer.status == CATALOGUE[code].status
    assert answer.json["facts"]["limit"] == limit
    if answer.status in (429, 503):
        wait_s = int(answer.headers["retry-after"])
        assert wait_s == answer.json["facts"]["retry_after_s"]
        assert 1 <= wait_s <= (86_400 if limit == "per_day" else 1)
    for server in (world.mof, world.mpi) if both else (world.mof,):
        hits = world.hits(server, problem=code.value, since=since)
        assert len(hits) == 1, (server.plan.id, hits)
    if not both:
        assert not world.hits(world.mpi, problem=code.value, since=since)


def test_an_agreement_runs_so_many_at_once_and_others_go_on(world: SmallWorld) -> None:
    """One more is a 429 of the provider; another application, the same service, is served."""
    with held(world, (BUDGET, PROJECTS), (BUDGET, LENIENT)):
        since = datetime.now(UTC)
        over = world.call()
        check(world, since, over, Code.QUOTA_EXCEEDED, "agreement limits.concurrent")
        assert world.call(client=str(PROVINCE)).status == 200
    assert world.call().status == 200


def test_a_slow_backend_fills_its_own_compartment(world: SmallWorld) -> None:
    """One more to it is a 503; calls to another service, by anybody, are served meanwhile."""
    with held(world, *[(PROVINCE, PROJECTS)] * 3):
        since = datetime.now(UTC)
        over = world.call(client=str(PROVINCE))
        check(world, since, over, Code.OVERLOADED, "services.concurrent")
        for client in (BUDGET, PROVINCE):
            assert world.call(client=str(client), service=LENIENT).status == 200
    assert world.call(client=str(PROVINCE)).status == 200


def test_a_service_takes_so_many_a_day_of_all_together(world: SmallWorld) -> None:
    """Whoever comes after that is told to come tomorrow (UTC)."""
    for client in (BUDGET, PROVINCE):
        assert world.call(client=str(client), service=CLOSED).status == 200
    since = datetime.now(UTC)
    check(world, since, world.call(service=CLOSED), Code.OVERLOADED, "per_day")


def test_a_quota_is_used_by_what_happened_alone(world: SmallWorld) -> None:
    """A backend that is down uses it, a refusal by a limit does not; then it is used up."""
    for _ in range(2):
        answer = world.call(client=str(PROVINCE), service=DOWN)
        assert answer.code == Code.BACKEND_UNREACHABLE
    since = datetime.now(UTC)
    over = world.call(client=str(PROVINCE), service=DOWN)
    check(world, since, over, Code.QUOTA_EXCEEDED, "per_day")


def test_sizes_of_an_agreement_are_held(world: SmallWorld) -> None:
    """Stricter than the service's: a larger request and a larger answer are refused, signed."""
    since = datetime.now(UTC)
    body = b'{"code": "P-9", "amount": 1, "title_en": "' + b"x" * 600 + b'"}'
    kind = {"Content-Type": "application/json"}
    sent = world.call("/projects", method="POST", body=body, headers=kind)
    assert (sent.code, sent.status) == (Code.PAYLOAD_TOO_LARGE, 413)
    assert sent.json["facts"]["limit_bytes"] == 500
    assert len(world.hits(world.mpi, problem=sent.code, since=since)) == 1
    assert len(world.hits(world.mof, problem=sent.code, since=since)) == 1
    asked = world.call("/projects/WIDE", service=LENIENT)
    assert (asked.code, asked.status) == (Code.RESPONSE_TOO_LARGE, 502)
    assert len(world.hits(world.mof, problem=asked.code, since=since)) == 1
    larger = world.call("/projects/WIDE", client=str(PROVINCE), service=LENIENT)
    assert larger.status == 200


def test_waits_of_an_agreement_are_held() -> None:
    """The backend has until the agreement's bound for each phase, and the answer names it.

    The second one listens for TLS and never says a word, so that no connection comes about.
    """
    limits = {"first_byte_s": 1, "connect_s": 1}
    agreements = [granted("budget", BUDGET, PROJECTS, DOWN, limits=limits)]
    with socket.create_server(("127.0.0.1", 0)) as mute:
        services = {
            PROJECTS: {"timeout_s": 300},
            DOWN: {
                "timeout_s": 300,
                "connect_s": 200,
                "url": f"https://127.0.0.1:{mute.getsockname()[1]}",
            },
        }
        with world_of(agreements, services=services) as slow:
            since = datetime.now(UTC)
            answer = slow.call("/projects/SLOW")
            check(slow, since, answer, Code.BACKEND_TIMEOUT, "first_byte_s")
            assert answer.json["facts"]["seconds"] == 1
            answer = slow.call(service=DOWN)
            check(slow, since, answer, Code.BACKEND_UNREACHABLE, "connect_s")
            assert answer.json["facts"]["seconds"] == 1


def test_a_full_server_says_so_and_stays_visible() -> None:
    """At a gate that is full of two applications' calls, neither with all places: each call more
    gets a 503, what stands beside them answers (health, metrics, audit, evidence and lists too),
    and every refusal is in the journal."""
    waits = dict.fromkeys(("first_byte_s", "exchange_s", "read_s", "stall_s"), 300)
    limits = {"concurrent": 6, "share": 0.5, "refusals_per_s": 2} | waits
    agreements = [granted("budget", BUDGET, PROJECTS), granted("province", PROVINCE, PROJECTS)]
    with world_of(
        agreements,
        services={PROJECTS: {"timeout_s": 300}},
        limits=limits,
    ) as full:
        with held(full, *[(BUDGET, PROJECTS)] * 3):
            since = datetime.now(UTC)
            check(full, since, full.call(), Code.QUOTA_EXCEEDED, "limits.share", both=False)
        refused = saturate(full)
        for server in (full.mof, full.mpi):
            full.world.servers[server.plan.id].process.stop()
        entries = journals.read(full.mof.journal).entries
    told = sum(
        entry.get("refusals", 1)
        for entry in entries
        if entry.get("problem") == Code.OVERLOADED and entry["side"] == "server"
    )
    assert told == refused > 100


@contextmanager
def half_sent(world: SmallWorld, calls: int) -> Iterator[None]:
    """While this lasts, so many requests of the province wait inside for the rest of their body."""
    head = (
        f"POST /r1/{PROJECTS}/projects HTTP/1.1\r\nHost: x\r\nX-Road-Client: {PROVINCE}\r\n"
        f"Exchange-Purpose: {small.PURPOSE}\r\nContent-Length: 10\r\n\r\n"
    )
    with ExitStack() as stack:
        for _ in range(calls):
            address = ("127.0.0.1", world.mof.ports["http"])
            one = stack.enter_context(closing(socket.create_connection(address, GENEROUS_S)))
            one.sendall(head.encode() + b"{")
        yield


def running(world: SmallWorld) -> int:
    """How many exchanges MOF's server has."""
    checks: Any = health(f"{world.mof.url('admin')}/healthz")["checks"]
    return int(checks["server"]["exchanges_running"])


PAGES = ("/healthz", "/metrics", "/agreements", "/audit/checkpoint", "/audit/entries?id=evidence")
EVIDENCE = (
    "/asic?queryId=evidence&xRoadInstance=LA&memberClass=GOV&memberCode=MOF&subsystemCode=budget"
)


def look(full: SmallWorld) -> None:
    """Ask MOF's server for all that stands beside the exchanges: each answers, by itself."""
    admin, http = full.mof.url("admin"), full.mof.url("http")
    client = {"X-Road-Client": str(BUDGET)}
    asked = [(admin, page) for page in PAGES]
    asked += [(http, page) for page in (EVIDENCE, "/verificationconf", "/listClients")]
    for url, page in asked:
        began = time.monotonic()
        answer = small.exchange(url, "GET", page, client if url == http else {})
        assert answer.status == 200, (page, answer.body[:300])
        assert answer.body, page
        assert time.monotonic() - began < GENEROUS_S, page


def saturate(full: SmallWorld) -> int:
    """Fill MOF's gate and call on; how many calls were refused there."""
    answers: list[Answer] = []
    admin = full.mof.url("admin")
    assert full.call(headers={"X-Road-Id": "evidence"}).status == 200

    def insist() -> None:
        for _ in range(25):
            answers.append(full.call(client=str(BUDGET)))

    # Three of one application and three that wait to send their body fill the gate of six.
    with held(full, *[(BUDGET, PROJECTS)] * 3), half_sent(full, 3):
        deadline = time.monotonic() + GENEROUS_S
        while running(full) < 6:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        with ThreadPoolExecutor(8) as crowd:
            crowds = [crowd.submit(insist) for _ in range(8)]
            looks = 0
            while not all(one.done() for one in crowds) or looks < 3:
                look(full)
                looks += 1
    counts = Counter((answer.status, answer.code) for answer in answers)
    assert counts == {(503, Code.OVERLOADED): 200}
    assert all(int(answer.headers["retry-after"]) == 1 for answer in answers)
    metrics = small.exchange(admin, "GET", "/metrics", {}).body.decode()
    line = 'saphan_turned_away_total{code="ServerOverloaded",listener="gate"}'
    return next(
        int(float(text.rpartition(" ")[2]))
        for text in metrics.splitlines()
        if text.startswith(line)
    )
