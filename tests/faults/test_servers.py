"""Several servers of one member: what a call does when one of them does not do.

Two real servers of MPI behind lines that break when they are told to, and a real one of MOF.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import pytest

from exchange.identifiers import ServerId
from exchange.journal.entries import Entry, Kind
from exchange.problems import Code
from mediator.journal.reader import JournalReader
from tests.faults.line import Act, Fault, Way
from tests.world import small
from tests.world.servers import SS1, SS2, SS3, Servers, two_servers
from tests.world.small import Answer, wait_published

BOTH = (SS1, SS2)
PROJECT = json.dumps({"code": "P-9", "amount": 1}).encode()
REFUSED = Fault(Act.CUT, Way.CONNECT, times=None)
HANGS = Fault(Act.HOLE, Way.CONNECT, times=None)
SWALLOWS = Fault(Act.HOLE, Way.UP, times=1)
RESETS = Fault(Act.RESET, Way.DOWN, times=1)


@pytest.fixture(scope="module")
def built() -> Iterator[Servers]:
    with two_servers() as servers:
        yield servers


@pytest.fixture
def servers(built: Servers) -> Servers:
    """Both servers answer, and MOF's server knows it."""
    built.heal()
    for server in BOTH:
        settle(built, server)
    return built


def settle(servers: Servers, server: ServerId) -> None:
    """Call until the server answers: its breaker is closed and a connection is kept."""
    deadline = time.monotonic() + 20
    while get(servers, server).status != 200 or servers.peers()[str(server)[-3:]]["failures"]:
        assert time.monotonic() < deadline, f"{server} does not heal"
        time.sleep(0.05)


def get(servers: Servers, server: ServerId | None = None) -> Answer:
    headers = {} if server is None else {"X-Road-Security-Server": str(server)}
    return servers.world.call(headers=headers)


def post(servers: Servers, message_id: str, server: ServerId | None = None) -> Answer:
    headers = {"X-Road-Id": message_id, "Content-Type": "application/json"}
    if server is not None:
        headers["X-Road-Security-Server"] = str(server)
    return servers.world.call("/projects", method="POST", headers=headers, body=PROJECT)


def now() -> datetime:
    """A moment that separates the entries of before from those that come, kept to the ms."""
    time.sleep(0.002)
    moment = datetime.now(UTC)
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)


def entries(servers: Servers, since: datetime) -> list[tuple[str, str, str | None]]:
    """What MOF's server recorded: kind, server, problem."""
    hits = servers.world.hits(servers.world.mof, since=since)
    return [(hit.kind, (hit.peer or "").rpartition("/")[2], hit.problem) for hit in hits]


def of_message(servers: Servers, message_id: str) -> list[Entry]:
    """A message's entries in the journal of MOF's server, oldest first."""
    wait_published(servers.world.mof)
    reader = JournalReader(servers.world.mof.journal)
    return [entry for _, entry in reader.of_message(message_id)]


def test_both_servers_get_their_share(servers: Servers) -> None:
    """Of forty calls each server gets some."""
    since = now()
    assert all(get(servers).status == 200 for _ in range(40))
    asked = [peer for kind, peer, _ in entries(servers, since) if kind == Kind.REQUEST]
    assert len(asked) == 40
    assert 5 <= asked.count("ss1") <= 35


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("fault", [REFUSED, HANGS], ids=["refused", "hangs"])
def test_a_server_that_takes_no_connection_is_passed_over(
    servers: Servers, fault: Fault, method: str
) -> None:
    """Whatever the method; both attempts are recorded; after some the server rests."""
    servers.restart(SS1)  # no connection is kept
    servers.lines[SS1].arm(fault)
    since, asked_before, number = now(), len(servers.world.backend.seen), 0
    while number < 8 or not servers.lines[SS1].struck:
        number += 1
        answer = get(servers) if method == "GET" else post(servers, f"over-{time.time_ns()}")
        assert answer.status in (200, 201), answer.body
    assert len(servers.world.backend.seen) == asked_before + number
    recorded = entries(servers, since)
    failed = [peer for kind, peer, _ in recorded if kind == Kind.FAILURE]
    assert set(failed) == {"ss1"}
    assert {peer for kind, peer, _ in recorded if kind == Kind.RESPONSE} == {"ss2"}
    assert len([1 for kind, *_ in recorded if kind == Kind.REQUEST]) == number + len(failed)


def test_a_server_with_the_certificate_of_another_is_passed_over(servers: Servers) -> None:
    """Nothing is sent to it, and the record says why."""
    servers.restart(SS1)
    servers.lines[SS1].upstream = servers.world.mof.ports["peer"]
    since = now()
    while not (failed := [item for item in entries(servers, since) if item[0] == Kind.FAILURE]):
        assert get(servers).status == 200
    assert set(failed) == {(Kind.FAILURE, "ss1", Code.PEER_CERTIFICATE_UNTRUSTED)}


def test_a_safe_call_that_is_swallowed_goes_to_the_other_server(servers: Servers) -> None:
    """The first server accepts and says nothing: after the time for the first byte, the next."""
    servers.lines[SS1].arm(SWALLOWS)
    since = now()
    while not servers.lines[SS1].struck:
        assert get(servers).status == 200
    recorded = entries(servers, since)
    assert (Kind.FAILURE, "ss1", Code.PEER_TIMEOUT) in recorded
    assert recorded[-1] == (Kind.RESPONSE, "ss2", None)


def test_a_safe_call_whose_answer_is_lost_goes_to_the_other_server(servers: Servers) -> None:
    """The message id stays; each attempt is sealed anew and has its own entries."""
    servers.lines[SS1].arm(RESETS)
    since = now()
    while not servers.lines[SS1].struck:
        assert get(servers).status == 200
    hits = servers.world.hits(servers.world.mof, since=since, problem=Code.PEER_UNREACHABLE)
    (message_id,) = [hit.id for hit in hits]
    assert message_id is not None
    asked, failed, again, answered = of_message(servers, message_id)
    assert (asked.kind, failed.kind, asked.peer, failed.peer) == ("request", "failure", SS1, SS1)
    assert (again.kind, answered.kind, again.peer, answered.peer) == (
        "request",
        "response",
        SS2,
        SS2,
    )
    assert asked.nonce != again.nonce


def test_an_unsafe_call_whose_answer_is_lost_stays_with_its_server(servers: Servers) -> None:
    """It is repeated there with the same id, and the backend gets it once."""
    servers.lines[SS1].arm(RESETS)
    message_id = ""
    while not servers.lines[SS1].struck:
        before, message_id = len(servers.world.backend.seen), f"lost-{time.time_ns()}"
        assert post(servers, message_id).status == 201
        assert len(servers.world.backend.seen) == before + 1
    recorded = of_message(servers, message_id)
    assert [entry.kind for entry in recorded] == ["request", "failure", "request", "response"]
    assert {entry.peer for entry in recorded} == {SS1}


def test_an_unsafe_call_is_not_sent_elsewhere_when_its_server_is_gone(servers: Servers) -> None:
    """The application hears that nobody knows, although another server would answer."""
    servers.lines[SS1].arm(Fault(Act.RESET, Way.DOWN, times=None))
    status, message_id, before = 201, "", 0
    while status == 201:
        before, message_id = len(servers.world.backend.seen), f"gone-{time.time_ns()}"
        answer = post(servers, message_id)
        status = answer.status
    assert (answer.code, answer.status) == (Code.PEER_UNREACHABLE, 503)
    assert len(servers.world.backend.seen) == before + 1
    assert {entry.peer for entry in of_message(servers, message_id)} == {SS1}


def test_maintenance_leads_to_the_other_server_and_then_to_the_notice(servers: Servers) -> None:
    """Signed and recorded at the provider; it survives a restart; the end is an order."""
    servers.maintain(SS1, "ປິດຊົ່ວຄາວ")
    assert all(get(servers).status == 200 for _ in range(10))
    assert all(post(servers, f"kept-{time.time_ns()}").status == 201 for _ in range(10))
    servers.restart(SS1)
    assert servers.admin(SS1, "/maintenance")["notice"] == "ປິດຊົ່ວຄາວ"
    health = servers.admin(SS1, "/healthz")
    assert (health["status"], health["checks"]["maintenance"]["on"]) == ("ok", True)
    servers.maintain(SS2, "ປິດຊົ່ວຄາວ")
    for answer in (get(servers), get(servers)):
        assert (answer.code, answer.status) == (Code.MAINTENANCE_MODE, 503)
        assert answer.json["message"] == "ປິດຊົ່ວຄາວ"
        assert int(answer.headers["retry-after"]) >= 1
    refused = servers.world.hits(servers.of(SS1), problem=Code.MAINTENANCE_MODE)
    assert refused
    assert all(hit.kind == Kind.REFUSAL for hit in refused)
    servers.heal()
    settle(servers, SS1)


def test_calls_of_own_applications_go_on_in_maintenance(servers: Servers) -> None:
    """What is maintained is what this server offers to others."""
    servers.maintain(small.MOF_SERVER, "stocktaking")
    try:
        assert get(servers).status == 200
        assert post(servers, f"own-{time.time_ns()}").status == 201
    finally:
        servers.maintain(small.MOF_SERVER, None)


def test_the_target_header_allows_no_other_server(servers: Servers) -> None:
    """The named server refuses: the application hears that, and the other one nothing."""
    servers.maintain(SS1, "tonight")
    since = now()
    for _ in range(3):
        answer = get(servers, SS1)
        assert answer.code == Code.MAINTENANCE_MODE
        assert "tonight" in answer.json["message"]
        assert post(servers, f"target-{time.time_ns()}", SS1).code == Code.MAINTENANCE_MODE
    assert {peer for _, peer, _ in entries(servers, since)} <= {"ss1", ""}


def test_a_breaker_opens_and_heals(servers: Servers) -> None:
    """The administration sees the server rest, and that it is well again."""
    servers.restart(SS1)
    servers.lines[SS1].arm(REFUSED)
    deadline = time.monotonic() + 20
    while servers.peers()["ss1"]["state"] == "closed":
        assert get(servers).status == 200
        assert time.monotonic() < deadline
    row = servers.peers()["ss1"]
    assert row["failures"] >= 3
    assert row["last_problem"]["code"] == Code.PEER_UNREACHABLE
    servers.lines[SS1].heal()
    while servers.peers()["ss1"]["state"] != "closed":
        assert get(servers).status == 200
        assert time.monotonic() < deadline
    assert servers.peers()["ss1"]["failures"] == 0


def test_when_all_are_down_one_problem_names_each_server(servers: Servers) -> None:
    """In bounded time; and as soon as the servers are back, calls are answered again."""
    servers.register((SS1, SS2, SS3))
    try:
        for server in BOTH:
            servers.of(server).process.stop()
        started = time.monotonic()
        answer = get(servers)
        assert time.monotonic() - started < 15
        assert (answer.code, answer.status) == (Code.PEER_UNREACHABLE, 503)
        assert "retry-after" in answer.headers
        for server in (SS1, SS2, SS3):
            assert str(server) in answer.json["message"]
        assert len(answer.json["facts"]["servers"]) == 3
        servers.world.world.start(*BOTH)
        settle(servers, SS1)
        settle(servers, SS2)
        assert get(servers).status == 200
    finally:
        servers.world.world.start(*BOTH)
        servers.register(BOTH)


def test_an_unsafe_call_leaves_a_server_whose_connections_to_the_backend_are_all_busy() -> None:
    """Nothing was sent to the backend there, so the other server may carry the request out."""
    slow, held = {"timeout_s": 60}, "/projects/HELD"
    usual = {"Exchange-Agreement": "mof-mpi"}
    calls = ((SS1, small.PROJECTS), (SS2, small.LENIENT), (SS2, small.LENIENT))
    with (
        two_servers(
            limits={"first_byte_s": 60, "exchange_s": 60},
            connections=1,
            services={small.PROJECTS: slow, small.LENIENT: slow},
            agreements=[small.agreement("impatient", limits={"exchange_s": 1})],
        ) as servers,
        ThreadPoolExecutor(len(calls)) as pool,
    ):
        waiting = []
        try:
            for server, service in calls:  # the first server has fewer messages: it is asked
                headers = usual | {"X-Road-Security-Server": str(server)}
                call = pool.submit(servers.world.call, held, service=service, headers=headers)
                waiting.append(call)
            deadline = time.monotonic() + 20
            while [row["running"] for row in servers.peers().values()] not in ([1, 2], [2, 1]):
                assert time.monotonic() < deadline, servers.peers()
                time.sleep(0.05)
            message_id = f"busy-{time.time_ns()}"
            headers = {"X-Road-Id": message_id, "Exchange-Agreement": "impatient"}
            headers["Content-Type"] = "application/json"
            answer = servers.world.call("/projects", method="POST", headers=headers, body=PROJECT)
        finally:
            servers.world.backend.released.set()
        assert answer.status == 201, answer.body
        assert [call.result().status for call in waiting] == [200] * len(calls)
        posts = [seen for seen in servers.world.backend.seen if seen.line.startswith("POST")]
        assert len(posts) == 1
        asked, refused, again, answered = of_message(servers, message_id)
        assert (asked.peer, refused.peer, again.peer, answered.peer) == (SS1, SS1, SS2, SS2)
        (hit,) = servers.world.hits(servers.of(SS1), id=message_id, problem=Code.OVERLOADED)
        assert hit.kind == Kind.REFUSAL


@pytest.mark.needs_postgresql
def test_an_unsafe_call_goes_to_a_server_that_shares_the_book(postgresql_url: str) -> None:
    """Its answer was lost with the first server; the second one gives it, and does not act."""
    with two_servers(book=postgresql_url.replace("+psycopg", "")) as servers:
        for server in BOTH:
            settle(servers, server)
        servers.lines[SS1].arm(Fault(Act.RESET, Way.DOWN, times=None))
        message_id = ""
        while not servers.lines[SS1].struck:
            before, message_id = len(servers.world.backend.seen), f"shared-{time.time_ns()}"
            answer = post(servers, message_id)
            assert (answer.status, answer.json["code"]) == (201, "P-9")
            assert len(servers.world.backend.seen) == before + 1
        asked, failed, again, answered = of_message(servers, message_id)
        assert (asked.peer, failed.peer, again.peer, answered.peer) == (SS1, SS1, SS2, SS2)
        (repeated,) = [
            hit
            for hit in servers.world.hits(servers.of(SS2), id=message_id)
            if hit.kind == Kind.RESPONSE
        ]
        assert repeated.status == 201
