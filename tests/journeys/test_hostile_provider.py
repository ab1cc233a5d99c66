"""What a misbehaving provider's server can do to a consumer: nothing but be found out."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from certs.authority import create_development_pki
from exchange.problems import CATALOGUE, Code
from tests.world import small
from tests.world.fixtures import small_world
from tests.world.hostile import BODY, HostileServer, hostile_server
from tests.world.small import SmallWorld
from tests.world.smuggling import ENDS, SHAPES, TOO_LONG


@pytest.fixture(scope="module")
def world() -> Iterator[SmallWorld]:
    """A world whose provider is not started."""
    with small_world(exchange_s=2.0, answer_max_bytes=65536) as built:
        built.mpi.process.stop()
        yield built


@pytest.fixture(autouse=True)
def _asked_again(world: SmallWorld) -> None:
    """The consumer's server lets a server rest that failed; each test begins when it asks again."""
    folder = world.mpi.folder
    with hostile_server(world, folder / "auth.pem", folder / "auth.key"):
        _until_asked_again(world)


def _until_asked_again(world: SmallWorld) -> None:
    deadline = time.monotonic() + 60
    while world.call("/projects/P-1").status != 200:
        assert time.monotonic() < deadline, "the provider's server is not asked again"
        time.sleep(0.1)


@pytest.fixture
def hostile(world: SmallWorld) -> Iterator[HostileServer]:
    """A server with MPI's own keys that answers what it likes."""
    folder = world.mpi.folder
    with hostile_server(world, folder / "auth.pem", folder / "auth.key") as server:
        yield server


def _recorded(world: SmallWorld, code: Code, since: datetime) -> bool:
    return bool(world.hits(world.mof, problem=code.value, since=since))


def test_an_honest_answer_passes(world: SmallWorld, hostile: HostileServer) -> None:
    """The yardstick: the hand-made answer is good when nothing is changed."""
    for path in ("P-1", "WHOLE"):
        answer = world.call(f"/projects/{path}")
        assert (answer.status, answer.body) == (200, BODY), answer.body


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("UNSIGNED", Code.MISSING_SIGNATURE),
        ("FOREIGN", Code.CERTIFICATE_MISMATCH),
        ("OLD", Code.STALE_SIGNATURE),
        ("CHANGED", Code.INVALID_SIGNATURE),
        ("OTHERBODY", Code.DIGEST_MISMATCH),
        ("ADDED", Code.MALFORMED_SIGNATURE),
        ("OTHERREQUEST", Code.INCONSISTENT_RESPONSE),
        ("OTHERCLIENT", Code.INCONSISTENT_RESPONSE),
        ("OTHERSERVICE", Code.INCONSISTENT_RESPONSE),
        ("OTHERTARGET", Code.INVALID_SIGNATURE),
        ("SLOW", Code.PEER_TIMEOUT),
        ("NONSENSE", Code.PEER_NONSENSE),
        ("HANGUP", Code.PEER_UNREACHABLE),
        ("ENDLESS", Code.RESPONSE_TOO_LARGE),
    ],
)
def test_a_bad_answer_does_not_reach_the_application(
    world: SmallWorld, hostile: HostileServer, path: str, code: Code
) -> None:
    """It becomes a problem of the consumer's server, recorded, with nothing of the answer in it."""
    assert world.call("/projects/P-1").status == 200
    since = datetime.now(UTC)
    answer = world.call(f"/projects/{path}")
    assert answer.headers.get("x-road-error") == f"Server.ClientProxy.{code}", answer.body
    assert answer.status == (502 if code is Code.MISSING_SIGNATURE else CATALOGUE[code].status)
    assert b"P-2" not in answer.body
    assert _recorded(world, code, since)


@pytest.mark.parametrize("shape", SHAPES)
def test_an_answer_that_could_be_read_in_two_ways_is_refused(
    world: SmallWorld, hostile: HostileServer, shape: str
) -> None:
    """Though all that is in it is signed: recorded where it was refused, nothing of it arrives, and
    its connection carries nothing more."""
    since = datetime.now(UTC)
    answer = world.call(f"/projects/{shape}")
    code = Code.PEER_UNREACHABLE if shape in ENDS else Code.PEER_NONSENSE
    if shape in TOO_LONG:
        code = Code.RESPONSE_TOO_LARGE
    assert answer.headers.get("x-road-error") == f"Server.ClientProxy.{code}", answer.body
    assert BODY not in answer.body
    assert _recorded(world, code, since)
    _until_asked_again(world)
    ports = {port for name, port in hostile.asked if name == shape}
    assert ports
    assert not ports & {port for name, port in hostile.asked if name != shape}


def test_what_no_signature_covers_does_not_reach_the_application(
    world: SmallWorld, hostile: HostileServer
) -> None:
    """Fields of the connection end with it, so that all that an application sees is evidence."""
    answer = world.call("/projects/HOPBYHOP")
    assert answer.status == 200, answer.body
    assert not {"proxy-authenticate", "upgrade"} & answer.headers.keys()


def test_a_refusal_may_be_spelled_in_x_roads_new_way(
    world: SmallWorld, hostile: HostileServer
) -> None:
    """Types of X-Road 7.8 are understood, recorded by our code, and told in our spelling."""
    since = datetime.now(UTC)
    answer = world.call("/projects/SNAKE")
    assert answer.status == 403
    assert answer.headers["x-road-error"] == "Server.ServerProxy.AccessDenied"
    assert answer.json["type"] == "Server.ServerProxy.AccessDenied"
    assert answer.json["message"] == "they say no"
    assert _recorded(world, Code.ACCESS_DENIED, since)
    answer = world.call("/projects/SNAKEUNSIG")
    assert answer.code == Code.UNKNOWN_MEMBER
    assert _recorded(world, Code.UNKNOWN_MEMBER, since)


@pytest.mark.parametrize("kind", ["expired", "foreign", "another"])
def test_a_server_that_is_not_who_it_should_be(
    world: SmallWorld, tmp_path: Path, kind: str
) -> None:
    """An expired, foreign or another server's certificate at the provider's address is refused."""
    now = datetime.now(UTC)
    code = Code.PEER_CERTIFICATE_UNTRUSTED
    if kind == "expired":
        code = Code.PEER_CERTIFICATE_EXPIRED
        past = now - timedelta(days=30)
        issued = world.world.pki.issue_auth(small.MPI_SERVER, ["127.0.0.1"], at=past)
    elif kind == "foreign":
        pki = create_development_pki(tmp_path / "pki", "LA", at=now)
        issued = pki.issue_auth(small.MPI_SERVER, ["127.0.0.1"], at=now)
    else:
        issued = world.world.pki.issue_auth(small.MOF_SERVER, ["127.0.0.1"], at=now)
    issued.write(tmp_path / "auth.pem", tmp_path / "auth.key")
    since = datetime.now(UTC)
    with hostile_server(world, tmp_path / "auth.pem", tmp_path / "auth.key"):
        answer = world.call()
    assert answer.headers.get("x-road-error") == f"Server.ClientProxy.{code}", answer.body
    assert _recorded(world, code, since)


def test_nobody_at_the_providers_address(world: SmallWorld) -> None:
    """A provider that is down is told as such, and may be tried again."""
    since = datetime.now(UTC)
    answer = world.call()
    assert (answer.code, answer.status) == (Code.PEER_UNREACHABLE, 503)
    assert answer.json["retryable"] is True
    assert "retry-after" in answer.headers
    assert _recorded(world, Code.PEER_UNREACHABLE, since)
