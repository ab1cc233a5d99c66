"""Exactly once: an application repeats an unsafe request with its X-Road-Id."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest
from click.testing import CliRunner

from console.cli.main import main
from console.reference_world.processes import health
from console.reference_world.standing import RunningServer
from exchange.journal.entries import Entry
from exchange.problems import Code
from mediator.journal.reader import JournalReader
from tests.world import small
from tests.world.backend import GOOD
from tests.world.fixtures import small_world
from tests.world.small import DOWN, LENIENT, MPI_SERVER, Answer, SmallWorld, wait_published


@pytest.fixture(scope="module")
def own_world() -> Iterator[SmallWorld]:
    """A world whose provider is also called with other methods, and started anew."""
    with small_world() as built:
        yield built


def post(world: SmallWorld, message_id: str, title: str = "x", **changes: Any) -> Answer:
    headers = {"X-Road-Id": message_id, "Content-Type": "application/json"}
    body = json.dumps(GOOD | {"title_en": title}).encode()
    return world.call("/projects", method="POST", headers=headers, body=body, **changes)


def carried_out(world: SmallWorld, title: str) -> int:
    return sum(
        json.loads(seen.body or b"{}").get("title_en") == title for seen in world.backend.seen
    )


def entries(server: RunningServer, message_id: str) -> list[Entry]:
    """A message's entries in a server's journal, oldest first."""
    wait_published(server)
    return [entry for _, entry in JournalReader(server.journal).of_message(message_id)]


def test_a_repeat_gets_the_recorded_answer_and_the_backend_is_asked_once(
    own_world: SmallWorld,
) -> None:
    """The answer is the same, sealed for the new request; both journals have both."""
    title = message_id = str(uuid4())
    first, second = (post(own_world, message_id, title) for _ in range(2))
    assert (first.status, second.status) == (201, 201)
    assert first.body == second.body
    assert first.headers["x-road-request-id"] != second.headers["x-road-request-id"]
    assert carried_out(own_world, title) == 1
    asked, answered, again, repeated = entries(own_world.mpi, message_id)
    assert [one.event for one in (asked, answered, again)] == [None] * 3
    assert (repeated.event, repeated.status) == ("repeated", 201)
    assert answered.nonce == asked.nonce != again.nonce
    assert repeated.nonce is None
    assert len(entries(own_world.mof, message_id)) == 4


def test_the_audit_shows_that_an_answer_was_given_again(own_world: SmallWorld) -> None:
    """`saphan audit show` prints the event of the entry."""
    message_id = str(uuid4())
    for _ in range(2):
        assert post(own_world, message_id, message_id).status == 201
    wait_published(own_world.mpi)
    journal = own_world.mpi.journal
    *_, (number, _) = JournalReader(journal).of_message(message_id)
    shown = CliRunner().invoke(main, ["audit", "show", str(journal), str(number)])
    assert shown.exit_code == 0
    assert '"event": "repeated"' in shown.output


def test_the_id_is_for_one_request(own_world: SmallWorld) -> None:
    """Another body, target or purpose under the same id is refused; the first is not undone."""
    message_id = str(uuid4())
    assert post(own_world, message_id, message_id).status == 201
    other = post(own_world, message_id, "another")
    assert (other.status, other.code) == (409, Code.MESSAGE_ID_REUSED)
    elsewhere = post(own_world, message_id, message_id, service=LENIENT)
    assert (elsewhere.status, elsewhere.code) == (409, Code.MESSAGE_ID_REUSED)
    assert post(own_world, message_id, message_id).status == 201
    assert carried_out(own_world, message_id) == 1
    assert carried_out(own_world, "another") == 0


def test_repeats_at_the_same_time_are_carried_out_once(own_world: SmallWorld) -> None:
    """All get the answer."""
    message_id = str(uuid4())
    answers: list[Answer] = []
    threads = [
        threading.Thread(target=lambda: answers.append(post(own_world, message_id, message_id)))
        for _ in range(12)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert [answer.status for answer in answers] == [201] * 12
    assert len({answer.body for answer in answers}) == 1
    assert carried_out(own_world, message_id) == 1


def test_a_safe_method_is_not_remembered(own_world: SmallWorld) -> None:
    """GET under the same id is asked anew, whatever its path."""
    message_id = {"X-Road-Id": str(uuid4())}
    before = len(own_world.backend.seen)
    for path in ("/projects/P-1", "/projects/P-2", "/projects/P-1"):
        assert own_world.call(path, headers=message_id).status == 200
    assert len(own_world.backend.seen) == before + 3


def test_a_refusal_before_delivery_is_not_remembered(own_world: SmallWorld) -> None:
    """What was refused by contract or agreement may be sent again, corrected, under its id."""
    message_id = str(uuid4())
    headers = {"X-Road-Id": message_id, "Content-Type": "application/json"}
    wrong = own_world.call("/projects", method="POST", headers=headers, body=b'{"code": 1}')
    assert wrong.code == Code.SCHEMA_VIOLATION
    denied = post(own_world, message_id, message_id, purpose="curiosity")
    assert denied.status == 403
    assert post(own_world, message_id, message_id).status == 201
    assert carried_out(own_world, message_id) == 1


def test_a_backend_that_was_not_reached_may_be_asked_again(own_world: SmallWorld) -> None:
    """A connect failure releases the claim: the repeat is carried out, or fails anew."""
    message_id = str(uuid4())
    for _ in range(2):
        answer = post(own_world, message_id, service=DOWN)
        assert (answer.status, answer.code) == (502, Code.BACKEND_UNREACHABLE)
    assert [one.event for one in entries(own_world.mpi, message_id)] == [None] * 4
    # The id is free again, even for another request.
    assert post(own_world, message_id, message_id).status == 201


def test_an_outcome_outlives_a_restart_and_a_kill(own_world: SmallWorld) -> None:
    """The repeat gets the recorded answer from the server that was started anew."""
    message_id = str(uuid4())
    first = post(own_world, message_id, message_id)
    for end in (own_world.mpi.process.stop, own_world.mpi.process.kill):
        end()
        own_world.world.start(MPI_SERVER)
        again = post(own_world, message_id, message_id)
        assert (again.status, again.body) == (first.status, first.body)
    assert carried_out(own_world, message_id) == 1


def test_no_body_lies_in_plain_text_in_the_servers_folder(own_world: SmallWorld) -> None:
    """Answers and ids are kept encrypted or hashed; the journal's are, too."""
    secret, message_id = f"secret-{uuid4()}", f"id-{uuid4()}"
    assert post(own_world, message_id, secret).status == 201
    own_world.mpi.process.stop()
    files = [path for path in own_world.mpi.folder.rglob("*") if path.is_file()]
    assert any(path.name == "once.sqlite" for path in files)
    assert not [path for path in files if secret.encode() in path.read_bytes()]
    books = [path for path in files if path.name.startswith("once.sqlite")]
    assert not [path for path in books if message_id.encode() in path.read_bytes()]
    own_world.world.start(MPI_SERVER)


def test_a_repeat_is_judged_by_the_agreement_as_it_is_now(own_world: SmallWorld) -> None:
    """A text of the agreement that releases less, under the same id and version, cuts the recorded
    answer too; without the agreement nothing is given, recorded or not."""
    message_id = str(uuid4())
    pinned = own_world.mpi.agreements / "mof-mpi.jws"
    before = pinned.read_bytes()
    assert "title_en" in post(own_world, message_id, message_id).json
    document = small.agreement("mof-mpi")
    for grant in document["grants"]:
        grant["fields"] = ["/code"]
    try:
        own_world.world.agree(document)
        deadline = time.monotonic() + 20
        while "title_en" in (cut := post(own_world, message_id, message_id)).json:
            assert time.monotonic() < deadline, "the new text is not obeyed"
            time.sleep(0.1)
        assert cut.status == 201
        assert cut.json == {"code": GOOD["code"]}
        pinned.unlink()
        while post(own_world, message_id, message_id).status != 403:
            assert time.monotonic() < deadline, "the agreement is obeyed still"
            time.sleep(0.1)
    finally:
        own_world.world.pin(MPI_SERVER.member, "mof-mpi", before)
    while post(own_world, message_id, message_id).status != 201:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert carried_out(own_world, message_id) == 1


def test_health_and_metrics_tell_of_the_book(own_world: SmallWorld) -> None:
    """What the book holds, and what it said of messages."""
    message_id = str(uuid4())
    for _ in range(2):
        assert post(own_world, message_id, message_id).status == 201
    report: Any = health(f"{own_world.mpi.url('admin')}/healthz")["checks"]["once"]
    assert report["ok"] is True
    assert report["database"] == "sqlite"
    assert report["claims"] >= 1
