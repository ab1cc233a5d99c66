"""Long bodies through two running servers, there and back: whole, in flat memory, within bounds."""

from __future__ import annotations

import os
import socket
import ssl
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import orjson
import pytest

from benchmarks import transfer
from benchmarks.processes import Children, forget_peak_rss, peak_rss_bytes
from benchmarks.sides import start_saphan
from exchange.identifiers import ApplicationId
from exchange.messages.digest import content_digest
from tests.starting import plainly
from tests.world import peer, small
from tests.world.fixtures import small_world, world_of
from tests.world.small import Answer, SmallWorld

MIB = 1 << 20
SIZE = int(os.environ.get("SAPHAN_LONG_BODY_BYTES", 300 * 1000 * 1000))
"""A longer run: ``SAPHAN_LONG_BODY_BYTES=2147483648``."""
FEW = 1_500_000
MOST_RESIDENT = 200 * 1000 * 1000


def test_a_long_body_goes_both_ways_in_flat_memory(tmp_path: Path) -> None:
    """Neither server has more than 200 MB resident at any time, and nothing is left on the disk."""
    with plainly(), Children(tmp_path) as children:
        backend = children.start("backend", [sys.executable, "-m", "benchmarks.documents"])
        side = start_saphan(children, backend.ready["url"], transfer.offer(SIZE))
        for pid in side.pids.values():
            forget_peak_rss(pid)
        for method in ("GET", "PUT"):
            transfer.move(side.url, method, SIZE)
        peaks = {name: peak_rss_bytes(pid) for name, pid in side.pids.items()}
        assert max(peaks.values()) < MOST_RESIDENT, peaks
        deadline = time.monotonic() + 60  # a file is let go just after its last byte was sent
        while left := {name: kept for name, pid in side.pids.items() if (kept := spooled(pid))}:
            assert time.monotonic() < deadline, left
            time.sleep(0.02)


def spooled(pid: int) -> int:
    """The files of long bodies that a process has open."""
    found = 0
    for name in os.listdir(f"/proc/{pid}/fd"):
        with suppress(FileNotFoundError):  # it was closed since
            found += "/spool/" in os.readlink(f"/proc/{pid}/fd/{name}")
    return found


@pytest.fixture(scope="module")
def roomy() -> Iterator[SmallWorld]:
    """A small world whose service takes and gives up to 8 MiB, of which 4 are checked.

    A service takes less; so do an agreement, which opens another, and a bound of calls.
    """
    limits = {"request_max_bytes": 8 * MIB, "checked_max_bytes": 4 * MIB}
    services = {
        small.PROJECTS: {"response_max_bytes": 8 * MIB, "timeout_s": 60},
        small.LENIENT: {"request_max_bytes": 2 * MIB},
        small.CLOSED: {"enabled": True, "validation": "report", "response_max_bytes": 8 * MIB},
    }
    whole = small.agreement("mof-mpi")
    for grant in whole["grants"]:
        if grant["service"] == str(small.CLOSED):
            grant["fields"] = ["*"]
    few = small.agreement(
        "few",
        small.PROVINCE,
        limits={"request_max_bytes": FEW, "answer_max_bytes": FEW},
    )
    few["grants"] = [one for one in few["grants"] if one["service"] == str(small.PROJECTS)]
    calls = [{"service": str(small.DOWN), "request_max_bytes": FEW}]
    agreements = [whole, few]
    with world_of(agreements, limits=limits, services=services, calls=calls) as world:
        yield world


def project(size: int, **members: Any) -> bytes:
    return orjson.dumps({"code": "P-9", "amount": 1.5, "title_en": "x" * size, **members})


def post(
    world: SmallWorld, size: int, client: ApplicationId = small.BUDGET, **members: Any
) -> tuple[bytes, Answer]:
    """Add a project with a long title; the backend gives back what it got."""
    body = project(size, **members)
    headers = {"Content-Type": "application/json"}
    answer = world.call("/projects", method="POST", headers=headers, body=body, client=str(client))
    return body, answer


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


TOLD = "content-length"
NOT_TOLD = "transfer-encoding"


@contextmanager
def begun(world: SmallWorld, sent: peer.Message, framing: str = TOLD) -> Iterator[ssl.SSLSocket]:
    """A connection to MPI's server on which the head of a message was sent."""
    port = world.mpi.ports["peer"]
    length = len(sent.body) if framing == TOLD else "chunked"
    fields = (("host", f"127.0.0.1:{port}"), *sent.headers, (framing, length))
    head = f"{sent.method} {sent.target} HTTP/1.1\r\n"
    head += "".join(f"{name}: {value}\r\n" for name, value in fields)
    plain = socket.create_connection(("127.0.0.1", port), 10)
    with peer.context(world).wrap_socket(plain) as connection:
        connection.sendall(f"{head}\r\n".encode("latin-1"))
        yield connection


def long_message(world: SmallWorld, **more: Any) -> peer.Message:
    path, body = more.pop("path", "/projects"), project(2 * MIB)
    return peer.message(world, path=path, method="POST", body=body, **more)


def test_a_long_body_is_taken_of_a_proven_message_only(roomy: SmallWorld) -> None:
    """The refusal comes before a byte of the body was sent."""
    sent = long_message(roomy)
    forged = sent.changed("content-digest", content_digest(b"another"))
    with begun(roomy, forged) as connection:
        said = connection.recv(65536)
    assert b"x-road-error: Server.ServerProxy.InvalidSignature" in said, said[:500]


def test_a_long_message_that_was_cut_may_come_again_but_once(roomy: SmallWorld) -> None:
    """What did not come was not accepted; what was accepted is not accepted again."""
    sent = long_message(roomy, message_id="cut-1")
    with begun(roomy, sent) as connection:
        connection.sendall(sent.body[:MIB])
    while not roomy.hits(roomy.mpi, id="cut-1", problem="InvalidRequest"):
        pass  # each look waits for the journal
    first, second = peer.send(roomy, sent), peer.send(roomy, sent)
    assert (first.status, second.code) == (201, "ReplayedMessage"), first.body[:300]


def test_a_body_that_is_not_the_signed_one_is_refused(roomy: SmallWorld) -> None:
    """Its digest was made while it came."""
    sent = long_message(roomy)
    before = len(roomy.backend.seen)
    answer = peer.send(roomy, replace(sent, body=sent.body.replace(b"x", b"y", 1)))
    assert (answer.code, len(roomy.backend.seen)) == ("DigestMismatch", before)


def of_province(world: SmallWorld) -> peer.Message:
    """A longer body than the agreement of the province takes."""
    return long_message(world, client=str(small.PROVINCE), seal=world.mof.seals[small.PDI])


def of_lenient(world: SmallWorld) -> peer.Message:
    """A longer body than this service takes."""
    return long_message(world, service=small.LENIENT)


def refused(world: SmallWorld, said: bytes, sent: peer.Message) -> str:
    """The code that MPI's journal has of a refused message; the answer is signed, and says it."""
    assert b"\r\nsignature-input: " in said, said[:500]
    ((_, message_id),) = [item for item in sent.headers if item[0] == "x-road-id"]
    request, refusal = world.hits(world.mpi, id=message_id)
    assert (request.kind, refusal.kind) == ("request", "refusal")
    assert request.problem is None
    assert refusal.problem is not None
    assert f".{refusal.problem}\r\n".encode() in said
    return refusal.problem


@pytest.mark.parametrize("make", [of_province, of_lenient], ids=["agreement", "service"])
def test_a_body_that_is_too_long_is_refused_before_it_comes(
    roomy: SmallWorld, make: Callable[[SmallWorld], peer.Message]
) -> None:
    """A proven message is recorded and gets a signed refusal, though no byte of its body came."""
    sent = make(roomy)
    with begun(roomy, sent) as connection:
        said = connection.recv(65536)
    assert said.startswith(b"HTTP/1.1 413 ")
    assert refused(roomy, said, sent) == "PayloadTooLarge"
    assert peer.send(roomy, sent).code == "ReplayedMessage"  # it was accepted, and refused


def test_a_body_of_untold_length_is_refused_where_it_is_too_long(roomy: SmallWorld) -> None:
    """While it comes: its end never does."""
    sent = of_province(roomy)
    piece = sent.body[: FEW + 1]
    with begun(roomy, sent, NOT_TOLD) as connection:
        connection.sendall(b"%x\r\n%b\r\n" % (len(piece), piece))
        said = connection.recv(65536)
    assert refused(roomy, said, sent) == "PayloadTooLarge"


def test_a_body_of_what_is_not_allowed_is_not_taken(roomy: SmallWorld) -> None:
    """The agreement opens nothing there: the refusal is signed, and before the body."""
    sent = long_message(
        roomy, client=str(small.PROVINCE), seal=roomy.mof.seals[small.PDI], service=small.LENIENT
    )
    with begun(roomy, sent) as connection:
        said = connection.recv(65536)
    assert refused(roomy, said, sent) == "AccessDenied"


def test_a_caller_hears_what_the_provider_takes(roomy: SmallWorld) -> None:
    """Its own server takes the body; the refusal of the other names the bound, and both keep it."""
    before = len(roomy.backend.seen)
    since = datetime.now(UTC)
    _, answer = post(roomy, 2 * MIB, small.PROVINCE)
    assert (answer.status, answer.code) == (413, "PayloadTooLarge"), answer.body[:300]
    assert answer.json["facts"]["limit_bytes"] == FEW
    for server in (roomy.mof, roomy.mpi):
        assert len(roomy.hits(server, problem="PayloadTooLarge", since=since)) == 1
    assert len(roomy.backend.seen) == before
    assert post(roomy, FEW - 100, small.PROVINCE)[1].status == 201


def test_a_called_service_may_have_a_bound_of_its_own(roomy: SmallWorld) -> None:
    """The caller's server refuses it when the length is announced, before the body is sent."""
    since = datetime.now(UTC)
    head = (
        f"POST /r1/{small.DOWN}/projects HTTP/1.1\r\nHost: x\r\nX-Road-Client: {small.BUDGET}\r\n"
        f"Exchange-Purpose: {small.PURPOSE}\r\nContent-Length: {FEW + 1}\r\n\r\n"
    )
    with closing(socket.create_connection(("127.0.0.1", roomy.mof.ports["http"]), 10)) as caller:
        caller.sendall(head.encode())
        said = caller.recv(65536)
    assert said.startswith(b"HTTP/1.1 413 ")
    (hit,) = roomy.hits(roomy.mof, problem="PayloadTooLarge", since=since)
    assert hit.kind == "refusal"
    assert not roomy.hits(roomy.mpi, problem="PayloadTooLarge", since=since)


def test_an_answer_is_cut_off_at_the_bound_of_its_agreement(roomy: SmallWorld) -> None:
    """A backend whose answer has no end is left when the agreement's bound is over, not later."""
    since = datetime.now(UTC)
    answer = roomy.call("/projects/ENDLESS", client=str(small.PROVINCE))
    assert (answer.status, answer.code) == (502, "ResponseTooLarge"), answer.body[:300]
    assert answer.json["facts"]["limit_bytes"] == FEW
    for server in (roomy.mof, roomy.mpi):
        assert len(roomy.hits(server, problem="ResponseTooLarge", since=since)) == 1


def test_one_application_leaves_room_for_the_others() -> None:
    """It announces long bodies and sends none of them: it has its share of the disk, its 503
    says whose that is, and another application's long body passes meanwhile."""
    limits = {"request_max_bytes": 8 * MIB, "spool_max_bytes": 16 * MIB, "read_s": 60}
    agreements = [small.agreement("mof-mpi"), small.agreement("web-mpi", small.WEB)]
    services = {small.PROJECTS: {"response_max_bytes": 8 * MIB}}
    with (
        world_of(agreements, limits=limits, services=services) as world,
        ExitStack() as stack,
    ):
        address = urlsplit(world.mof.url("http"))
        for _ in range(2):
            line = socket.create_connection((address.hostname, address.port), 20)
            stack.enter_context(closing(line))
            line.sendall(
                f"POST /r1/{small.PROJECTS}/projects HTTP/1.1\r\nHost: a\r\n"
                f"X-Road-Client: {small.BUDGET}\r\nExpect: 100-continue\r\n"
                f"Content-Length: {4 * MIB - 1}\r\n\r\n".encode()
            )
            assert line.recv(100).startswith(b"HTTP/1.1 100 ")  # there is room, and it is taken
        _, full = post(world, 2 * MIB)
        assert (full.status, full.code) == (503, "ServerOverloaded")
        assert f"bodies of application {small.BUDGET}" in full.body.decode()
        context = ssl.create_default_context(cafile=str(world.world.authorities))
        other = world.call(
            "/projects",
            method="POST",
            client=str(small.WEB),
            headers={"Content-Type": "application/json"},
            body=orjson.dumps({"code": "P-9", "amount": 1.5, "title_en": "x" * 2 * MIB}),
            url=world.mof.url("https"),
            context=context,
        )
        assert other.status == 201, other.body[:300]


def test_json_too_long_to_be_checked_passes_where_a_service_only_reports(
    roomy: SmallWorld,
) -> None:
    """Both ways, counted like a contract that is broken; what it is stays as it was sent."""
    body = project(5 * MIB)
    sent = peer.message(roomy, path="/projects", method="POST", body=body, service=small.CLOSED)
    answer = peer.send(roomy, sent)
    assert answer.status == 201, answer.body[:300]
    assert answer.body == body == roomy.backend.seen[-1].body
    metrics = small.exchange(roomy.mpi.url("admin"), "GET", "/metrics", {}).body.decode()
    for code in ("PayloadTooLarge", "ResponseTooLarge"):
        assert f'saphan_contract_reports_total{{code="{code}"}} 1.0' in metrics
