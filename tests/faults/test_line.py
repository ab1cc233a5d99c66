"""A bad line between two servers: cut, reset, silent, slow or dribbling, at every place.

After each fault, whatever it was: no acknowledged exchange is lost, no unsafe request reached the
backend twice, and the application got an answer or a clear problem within its time-out. After all
of them, and after each kill, both journals verify and agree.
"""

from __future__ import annotations

import json
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path

import pytest

from console.reference_world.processes import free_ports
from console.reference_world.world import World
from exchange.identifiers import ServiceId
from exchange.journal.entries import Kind
from exchange.problems import Code, Text
from mediator.journal.reader import JournalReader
from mediator.journal.reconcile import Asked, reconcile
from mediator.journal.verify import verify
from mediator.journal.whole_log import whole_log
from tests.faults.line import Act, Fault, Line, Way
from tests.world import small
from tests.world.backend import Backend
from tests.world.small import Answer, SmallWorld, wait_published

EXCHANGE_S = 5.0
PATIENCE_S = 30.0
"""The application's own time-out: more than its server may take, retries included."""
LONG = 30_000
_numbers = count(1)

# Where on the way of an exchange over a warm connection the fault falls.
PLACES = {
    "before the request": (Way.UP, 0),
    "during the request": (Way.UP, LONG // 2),
    "after the request": (Way.DOWN, 0),
    "during the answer": (Way.DOWN, LONG // 2),
}
# What may be said honestly of a line that has failed.
OF_THE_LINE = {"PeerUnreachable", "PeerTimeout", "PeerProtocolError"}


@dataclass(slots=True)
class LinedWorld:
    """The small world, with a line before the provider's server."""

    small: SmallWorld
    line: Line
    acknowledged: list[str] = field(default_factory=list)

    def warm(self) -> None:
        """Have the pool keep a connection through the line."""
        assert self.small.call().status == 200

    def ask(self, message: str) -> Answer:
        """Read a record."""
        return self._noted(message, self.small.call(headers={"X-Road-Id": message}))

    def add(self, message: str, service: ServiceId = small.PROJECTS) -> Answer:
        """Add a record whose code is the number of the message, long both ways."""
        body = {"code": message, "title_en": "x" * LONG, "amount": 1}
        answer = self.small.call(
            "/projects",
            service=service,
            method="POST",
            headers={"X-Road-Id": message, "Content-Type": "application/json"},
            body=json.dumps(body).encode(),
        )
        return self._noted(message, answer)

    def _noted(self, message: str, answer: Answer) -> Answer:
        if answer.status in (200, 201):
            self.acknowledged.append(message)
        return answer

    def executions(self, message: str) -> int:
        """How often the backend was asked to add this record."""
        return sum(
            seen.line.startswith("POST") and json.loads(seen.body)["code"] == message
            for seen in self.small.backend.seen
        )

    def check_acknowledged(self) -> None:
        """Both journals hold what was acknowledged: request and answer."""
        for server in (self.small.mof, self.small.mpi):
            for message in self.acknowledged:
                kinds = {hit.kind for hit in self.small.hits(server, id=message)}
                assert {"request", "response"} <= kinds, (server.plan.id, message, kinds)
        self.acknowledged.clear()

    def check_journals(self) -> None:
        """The same, and they verify and agree with each other, from the first entry on. What one
        lacks was lost on the line, and the consumer's journal says so."""
        self.check_acknowledged()
        for server in (self.small.mof, self.small.mpi):
            wait_published(server)
            verdict = verify(server.journal)
            assert verdict.good, verdict.findings
        asked = Asked(content=True)
        mof, mpi = (
            whole_log(JournalReader(server.journal), asked)
            for server in (self.small.mof, self.small.mpi)
        )
        report = reconcile([mof], [mpi], asked)
        assert (report.lacks, report.differs) == (0, 0), report.listed


@pytest.fixture(scope="module")
def lined() -> Iterator[LinedWorld]:
    """Two servers and the line between them."""
    backend, line = Backend(), Line()
    backend.start()
    limits = {"exchange_s": EXCHANGE_S, "first_byte_s": 2.0, "connect_s": 2.0}
    with tempfile.TemporaryDirectory(prefix="saphan-") as name:
        world = World(Path(name) / "world")
        try:
            world.open_instance(
                Text("Lao PDR", "ສປປ ລາວ"), authorities_since=datetime.now(UTC) - timedelta(days=1)
            )
            consumer, provider = small.plans(
                Path(name), backend.port, *free_ports(1), limits=limits
            )
            world.add_server(consumer)
            provider = small.changed(provider, {small.LENIENT: {"exactly_once": False}})
            behind = replace(provider, address=f"https://127.0.0.1:{line.port}")
            line.start(world.add_server(behind).ports["peer"])
            world.agree(small.agreement("mof-mpi"))
            deletes = {"method": "DELETE", "path": "/projects/{code}"}
            grant = {"service": str(small.LENIENT), "endpoints": [deletes], "fields": ["*"]}
            world.agree(small.agreement("deleting", grants=[grant]))
            world.start()
            built = LinedWorld(SmallWorld(world, backend), line)
            yield built
            built.check_journals()  # whatever befell the line in all tests
        finally:
            world.close()
            line.stop()
            backend.stop()


@pytest.fixture(autouse=True)
def healed(lined: LinedWorld) -> Iterator[None]:
    """Each test begins and ends with a good line."""
    lined.warm()
    yield
    lined.line.heal()


def new_message() -> str:
    return f"line-{next(_numbers)}"


def in_time(started: float) -> bool:
    return time.monotonic() - started < PATIENCE_S


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("act", Act)
def test_an_unsafe_request_is_executed_once(lined: LinedWorld, act: Act, place: str) -> None:
    """One fault: the request is executed once at most, and once for certain when it is repeated.

    The application repeats with the same X-Road-Id until it has an answer, as it should.
    """
    message, started = new_message(), time.monotonic()
    lined.line.arm(Fault(act, *PLACES[place]))
    answer = lined.add(message)
    assert lined.line.struck == 1
    assert in_time(started)
    assert answer.status == 201 or answer.code in OF_THE_LINE, answer.body
    assert lined.executions(message) <= 1
    lined.line.heal()
    again = lined.add(message)
    assert (again.status, again.json["code"]) == (201, message)
    if answer.status == 201:
        assert again.body == answer.body
    assert lined.executions(message) == 1
    lined.check_acknowledged()


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("act", Act)
def test_without_a_book_an_unsafe_request_is_executed_once_too(
    lined: LinedWorld, act: Act, place: str
) -> None:
    """One fault, one call, a service with ``exactly_once: false``: only the application repeats."""
    lined.small.call(service=small.LENIENT)  # a connection is kept
    message, started = new_message(), time.monotonic()
    lined.line.arm(Fault(act, *PLACES[place]))
    answer = lined.add(message, small.LENIENT)
    assert lined.line.struck == 1
    assert in_time(started)
    executed = lined.executions(message)
    assert executed <= 1
    if answer.status == 201:
        assert executed == 1
    else:
        assert answer.code in OF_THE_LINE | {Code.OUTCOME_UNKNOWN}, answer.body
    lined.line.heal()
    assert lined.add(message, small.LENIENT).status == 201
    assert lined.executions(message) == executed + 1
    lined.check_acknowledged()


def test_a_lost_answer_of_a_service_without_a_book_is_told(lined: LinedWorld) -> None:
    """Its repeat says that it is one, and the provider's server refuses it, signed and recorded."""
    lined.small.call(service=small.LENIENT)
    message = new_message()
    lined.line.arm(Fault(Act.RESET, Way.DOWN))
    answer = lined.add(message, small.LENIENT)
    assert (answer.status, answer.code) == (409, Code.OUTCOME_UNKNOWN)
    assert lined.executions(message) == 1
    hits = lined.small.hits(lined.small.mpi, id=message)
    assert [(hit.kind, hit.problem) for hit in hits] == [
        (Kind.REQUEST, None),
        (Kind.RESPONSE, None),
        (Kind.REQUEST, None),
        (Kind.REFUSAL, Code.OUTCOME_UNKNOWN),
    ]


def test_a_backend_that_hangs_up_gets_no_second_delete(lined: LinedWorld) -> None:
    """A kept connection that ends without an answer proves nothing, with a book or without."""
    path, headers = "/projects/HANGUP", {"Exchange-Agreement": "deleting"}
    lined.small.call(service=small.LENIENT)  # a connection to the backend is kept
    before = len(lined.small.backend.seen)
    answer = lined.small.call(path, service=small.LENIENT, method="DELETE", headers=headers)
    assert answer.status == 502, answer.body
    assert [seen.line for seen in lined.small.backend.seen[before:]] == [
        "DELETE /projects/HANGUP HTTP/1.1"
    ]


def test_an_application_cannot_say_that_a_request_is_a_repeat(lined: LinedWorld) -> None:
    """That field is of the servers alone: it does not go on, to nobody."""
    before = len(lined.small.backend.seen)
    headers = {"Exchange-Repeat": "?1", "Content-Type": "application/json"}
    body = json.dumps({"code": "P-9", "amount": 1}).encode()
    answer = lined.small.call(
        "/projects", service=small.LENIENT, method="POST", headers=headers, body=body
    )
    assert answer.status == 201
    (seen,) = lined.small.backend.seen[before:]
    assert "exchange-repeat" not in seen.headers


@pytest.mark.parametrize("act", [act for act in Act if act is not Act.HOLE])
@pytest.mark.parametrize("way", [Way.UP, Way.DOWN])
def test_a_safe_request_goes_through(lined: LinedWorld, act: Act, way: Way) -> None:
    """One fault of the line is nothing that the application of a safe request gets to see."""
    started = time.monotonic()
    lined.line.arm(Fault(act, way))
    assert lined.ask(new_message()).status == 200
    assert in_time(started)
    assert lined.line.struck == 1
    lined.check_acknowledged()


@pytest.mark.parametrize("way", [Way.UP, Way.DOWN])
def test_silence_is_told_in_time(lined: LinedWorld, way: Way) -> None:
    """A line that swallows looks like a slow server, which is not asked again for the same: the
    application is told so, and may ask again itself."""
    started = time.monotonic()
    lined.line.arm(Fault(Act.HOLE, way))
    answer = lined.ask(new_message())
    assert (answer.status, answer.code) == (504, "PeerTimeout")
    assert in_time(started)
    assert lined.ask(new_message()).status == 200
    lined.check_acknowledged()


@pytest.mark.parametrize("act", [Act.CUT, Act.RESET, Act.HOLE, Act.DELAY])
def test_a_new_connection_may_fail(lined: LinedWorld, act: Act) -> None:
    """A fault while a connection is made costs the application nothing but time."""
    lined.line.arm(Fault(Act.RESET, Way.UP))  # no warm connection is left
    lined.ask(new_message())
    message, started = new_message(), time.monotonic()
    lined.line.arm(Fault(act, Way.CONNECT))
    answer = lined.add(message)
    assert in_time(started)
    assert answer.status == 201 or answer.code in OF_THE_LINE, answer.body
    lined.line.heal()
    assert lined.add(message).status == 201
    assert lined.executions(message) == 1
    lined.check_acknowledged()


@pytest.mark.parametrize("act", [Act.CUT, Act.RESET, Act.HOLE])
@pytest.mark.parametrize("place", PLACES)
def test_a_line_that_stays_bad_is_told_in_time(lined: LinedWorld, act: Act, place: str) -> None:
    """While every connection is struck, the application gets a clear problem within its time-out;
    once the line is good again, the repeated request is executed once in all."""
    message, started = new_message(), time.monotonic()
    lined.line.arm(Fault(act, *PLACES[place], times=None))
    answer = lined.add(message)
    assert in_time(started)
    assert answer.code in OF_THE_LINE, answer.body
    assert answer.json["remedy"]["lo"]
    lined.line.heal()
    assert lined.add(message).status == 201
    assert lined.executions(message) == 1
    lined.check_acknowledged()


def test_duplicates_are_executed_once(lined: LinedWorld) -> None:
    """The same request delivered many times, at once and later, is executed once; each delivery
    gets the same answer."""
    message = new_message()
    answers: list[Answer] = []
    threads = [
        threading.Thread(target=lambda: answers.append(lined.add(message))) for _ in range(6)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE_S)
    answers.append(lined.add(message))
    assert {answer.status for answer in answers} == {201}
    assert len({answer.body for answer in answers}) == 1
    assert lined.executions(message) == 1
    lined.check_acknowledged()


@pytest.mark.parametrize("side", ["provider", "consumer"])
def test_exactly_once_outlives_a_kill(lined: LinedWorld, side: str) -> None:
    """The answer is lost on the line, then a server is killed: the repeated request gets the
    recorded answer."""
    message = new_message()
    victim = lined.small.mpi if side == "provider" else lined.small.mof
    lined.line.arm(Fault(Act.HOLE, Way.DOWN, times=None))
    caller = threading.Thread(target=lambda: _ignoring_loss(lined, message))
    caller.start()
    deadline = time.monotonic() + PATIENCE_S
    while not lined.executions(message):
        assert time.monotonic() < deadline, "the backend was not asked"
        time.sleep(0.01)
    victim.process.kill()
    caller.join(2 * PATIENCE_S)
    lined.line.heal()
    victim.process.start()
    victim.process.wait_ready()
    again = lined.add(message)
    assert lined.executions(message) == 1
    # Killed between the backend's answer and its record, nobody knows how it ended.
    assert again.status == 201 or again.code == "OutcomeUnknown", again.body
    lined.check_journals()


def _ignoring_loss(lined: LinedWorld, message: str) -> None:
    with suppress(OSError):  # its own server was killed (http.client's RemoteDisconnected is one)
        lined.add(message)
