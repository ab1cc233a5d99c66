"""What bad input gets: its own code, an honest status, a place and a remedy, a record, no effect.

Every case asserts four things: the code, the status, that the backend was not reached as if the
input were good, and that a journal tells of it.
"""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Mapping
from contextlib import ExitStack, closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from certs.authority import create_development_pki
from console.reference_world.standing import RunningServer
from exchange.identifiers import ServiceId
from exchange.problems import CATALOGUE, Code
from tests.world import peer, small
from tests.world.fixtures import small_world
from tests.world.small import Answer, SmallWorld


def _since() -> datetime:
    return datetime.now(UTC) - timedelta(milliseconds=2)


def _check(answer: Answer, code: Code, status: int | None = None) -> None:
    """The answer is this problem, with its texts in both languages."""
    assert answer.code == code, answer.body
    assert answer.status == (status or CATALOGUE[code].status)
    document = answer.json
    assert document["remedy"] == {
        "en": CATALOGUE[code].remedy.en,
        "lo": CATALOGUE[code].remedy.lo,
    }
    assert document["message"]


def _recorded(world: SmallWorld, server: RunningServer, code: Code, since: datetime) -> None:
    deadline = time.monotonic() + 10
    while not world.hits(server, problem=code.value, since=since):
        assert time.monotonic() < deadline, f"no record of {code} at {server.plan.id}"
        time.sleep(0.1)


# --- the request as the application sent it ----------------------------------------------------


@pytest.mark.parametrize(
    ("change", "code", "status"),
    [
        ({"target": "/r1/LA/GOV/MPI/oda-mis"}, Code.INVALID_REQUEST, 400),
        ({"target": "/r1/LA/GOV/MPI/oda-mis/projects/%zz"}, Code.INVALID_REQUEST, 400),
        ({"target": "/r1/LA/GOV/MPI/oda-mis/projects/a/../b"}, Code.INVALID_REQUEST, 400),
        ({"target": "/r2/LA/GOV/MPI/oda-mis/projects"}, Code.INVALID_REQUEST, 404),
        ({"target": "/r1/LA/GOV/MPI/oda%2Fmis/projects"}, Code.INVALID_IDENTIFIER, 400),
        ({"service": ServiceId.parse("LA/GOV/NOBODY/a/b")}, Code.UNKNOWN_MEMBER, 404),
        ({"service": ServiceId.parse("LA/GOV/MPI/nothing/b")}, Code.UNKNOWN_APPLICATION, 404),
        ({"service": ServiceId.parse("LA/GOV/MPI/oda-mis/none")}, Code.UNKNOWN_SERVICE, 404),
        ({"path": "/nowhere"}, Code.UNKNOWN_ENDPOINT, 404),
        ({"client": None}, Code.INVALID_CLIENT_IDENTIFIER, 400),
        ({"client": "LA/GOV/MOF"}, Code.INVALID_CLIENT_IDENTIFIER, 400),
        (
            {"headers": {"X-GovStack-Client": "LA/GOV/MOF/web"}},
            Code.INVALID_CLIENT_IDENTIFIER,
            400,
        ),
        ({"client": "LA/GOV/MOF/unheard-of"}, Code.UNKNOWN_APPLICATION, 404),
        ({"client": str(small.VAULT)}, Code.TLS_REQUIRED, 403),
        ({"client": str(small.WEB)}, Code.TLS_REQUIRED, 403),
        ({"headers": {"X-Road-Id": "two words"}}, Code.INVALID_HEADER, 400),
        ({"headers": {"X-Long": "y" * 9000}}, Code.INVALID_HEADER, 400),
        ({"headers": {f"X-N-{n}": "1" for n in range(90)}}, Code.INVALID_HEADER, 431),
        ({"headers": {"X-Road-Security-Server": "LA/GOV/MPI/ss9"}}, Code.UNKNOWN_SERVER, 404),
        ({"path": "/projects/P-1?fiscal_year=soon"}, Code.SCHEMA_VIOLATION, 422),
        (
            {
                "method": "POST",
                "path": "/projects",
                "body": b'{"code": "P-9", "amount": "much"}',
                "headers": {"Content-Type": "application/json"},
            },
            Code.SCHEMA_VIOLATION,
            422,
        ),
        (
            {
                "method": "POST",
                "path": "/projects",
                "body": b'{"code": "P-9",',
                "headers": {"Content-Type": "application/json"},
            },
            Code.INVALID_JSON,
            400,
        ),
        (
            {
                "method": "POST",
                "path": "/projects",
                "body": b'{"code": "' + b"x" * 70_000 + b'", "amount": 1}',
                "headers": {"Content-Type": "application/json"},
            },
            Code.PAYLOAD_TOO_LARGE,
            413,
        ),
    ],
)
def test_a_bad_request_is_stopped_at_the_side_that_made_it(
    shared_world: SmallWorld, change: Mapping[str, Any], code: Code, status: int
) -> None:
    """The consumer's server refuses and records it; nothing reaches the provider's backend."""
    since, seen = _since(), len(shared_world.backend.seen)
    _check(shared_world.call(**change), code, status)
    _recorded(shared_world, shared_world.mof, code, since)
    assert len(shared_world.backend.seen) == seen


@pytest.mark.parametrize("name", ["x-road-id", "x-road-request-id"])
def test_a_refusal_puts_no_sentence_into_an_entry(shared_world: SmallWorld, name: str) -> None:
    """Entries are in clear: what is not written as an id stands in the sealed part alone."""
    since, sentence = _since(), "Somchai, born 1990"
    expected = 400 if name == "x-road-id" else 200  # the other is replaced, whatever it says
    assert shared_world.call(headers={name: sentence}).status == expected
    sent = peer.message(shared_world).changed("signature", None).changed(name, sentence)
    answer = peer.send(shared_world, sent)
    assert answer.code == Code.MISSING_SIGNATURE
    assert sentence.encode() not in answer.body
    for server in (shared_world.mof, shared_world.mpi):
        hits = shared_world.hits(server, since=since)
        assert hits
        assert sentence not in {text for hit in hits for text in (hit.id, hit.request_id)}


def test_a_schema_violation_names_the_place(shared_world: SmallWorld) -> None:
    """The JSON pointer of the wrong value is told, the value itself is not."""
    answer = shared_world.call(
        "/projects",
        method="POST",
        body=b'{"code": "P-9", "amount": "secret words"}',
        headers={"Content-Type": "application/json"},
    )
    assert answer.json["where"] == "body#/amount"
    assert b"secret words" not in answer.body


@pytest.mark.parametrize(
    "sent",
    [
        b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"GET /a b HTTP/1.1\r\nHost: x\r\n\r\n",
        b"\x16\x03\x01 this is TLS or so\r\n\r\n",
        b"GET /r1/LA HTTP/1.1\r\nHost: x\r\nX-Long: " + b"y" * 20_000 + b"\r\n\r\n",
    ],
)
def test_what_is_not_http_gets_a_400_and_a_record(shared_world: SmallWorld, sent: bytes) -> None:
    """Bytes that the parser refuses are answered in our shape and recorded."""
    since = _since()
    with socket.create_connection(("127.0.0.1", shared_world.mof.ports["http"]), 10) as connection:
        connection.sendall(sent)
        answer = connection.recv(65536)
    assert answer.startswith((b"HTTP/1.1 400", b"HTTP/1.0 400"))
    assert b"x-road-error: Server.ClientProxy.InvalidRequest" in answer
    _recorded(shared_world, shared_world.mof, Code.INVALID_REQUEST, since)


def test_a_body_that_does_not_come_is_given_up(shared_world: SmallWorld) -> None:
    """A slow client holds a connection for `read_s` seconds, not longer."""
    head = (
        f"POST /r1/{small.PROJECTS}/projects HTTP/1.1\r\nHost: x\r\nX-Road-Client: {small.BUDGET}"
        "\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{"
    )
    started = time.monotonic()
    with socket.create_connection(("127.0.0.1", shared_world.mof.ports["http"]), 15) as connection:
        connection.sendall(head.encode())
        answer = connection.recv(65536)
    assert answer.startswith(b"HTTP/1.1 408")
    assert time.monotonic() - started < 10


def test_more_connections_than_allowed_are_turned_away_and_recorded() -> None:
    """On every listener, before a request and before TLS; who is in stays in and is served."""
    since = _since()
    with small_world(listener_connections=5) as world, ExitStack() as stack:
        for server, name in ((world.mof, "http"), (world.mpi, "peer")):
            address = ("127.0.0.1", server.ports[name])
            crowd = [
                stack.enter_context(closing(socket.create_connection(address, 10)))
                for _ in range(12)
            ]
            answers = [one.recv(65536) for one in crowd[5:]]
            if name == "http":
                assert {answer[:13] for answer in answers} == {b"HTTP/1.1 503 "}
            else:
                assert set(answers) == {b""}
            _recorded(world, server, Code.OVERLOADED, since)
            metrics = small.exchange(server.url("admin"), "GET", "/metrics", {}).body.decode()
            label = f'saphan_turned_away_total{{code="ServerOverloaded",listener="{name}"}} '
            (counted,) = [line for line in metrics.splitlines() if line.startswith(label)]
            # Other servers, which ask for cosignatures, may have come to a full listener, too.
            assert float(counted.removeprefix(label)) >= 7
            for one in crowd:
                one.close()
        deadline = time.monotonic() + 10
        while world.call().status != 200:
            assert time.monotonic() < deadline
            time.sleep(0.05)


# --- the connection mode -----------------------------------------------------------------------


def _application_tls(world: SmallWorld, name: str | None) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(world.world.authorities))
    if name is not None:
        folder = world.world.directory / "applications"
        context.load_cert_chain(folder / f"{name}.pem", folder / f"{name}.key")
    return context


@pytest.mark.parametrize(
    ("client", "certificate", "code"),
    [
        (small.VAULT, "MOF-vault", None),
        (small.VAULT, None, Code.CLIENT_CERTIFICATE_REQUIRED),
        (small.VAULT, "MOF-web", Code.CLIENT_CERTIFICATE_REJECTED),
        (small.WEB, None, None),
    ],
)
def test_the_mode_decides_which_connection_is_good_enough(
    shared_world: SmallWorld, client: object, certificate: str | None, code: Code | None
) -> None:
    """mtls wants the pinned certificate, https any TLS connection."""
    since = _since()
    answer = shared_world.call(
        client=str(client),
        url=shared_world.mof.url("https"),
        context=_application_tls(shared_world, certificate),
    )
    if code is None:
        assert answer.status == 200, answer.body
    else:
        _check(answer, code)
        _recorded(shared_world, shared_world.mof, code, since)


def test_a_foreign_client_certificate_ends_in_the_handshake(
    shared_world: SmallWorld, tmp_path: Path
) -> None:
    """A certificate of an unknown authority gets no HTTP answer; the attempt is recorded."""
    since = _since()
    foreign = create_development_pki(tmp_path / "pki", "LA", at=datetime.now(UTC))
    issued = foreign.issue_client(small.VAULT, at=datetime.now(UTC))
    issued.write(tmp_path / "c.pem", tmp_path / "c.key")
    context = ssl.create_default_context(cafile=str(shared_world.world.authorities))
    context.load_cert_chain(tmp_path / "c.pem", tmp_path / "c.key")
    with pytest.raises((ssl.SSLError, ConnectionError)):
        shared_world.call(
            client=str(small.VAULT), url=shared_world.mof.url("https"), context=context
        )
    _recorded(shared_world, shared_world.mof, Code.CLIENT_CERTIFICATE_REJECTED, since)


# --- the message between the servers -----------------------------------------------------------


def test_a_hand_made_message_is_good(shared_world: SmallWorld) -> None:
    """The yardstick of the cases below: unchanged, it is answered."""
    answer = peer.send(shared_world, peer.message(shared_world))
    assert answer.status == 200, answer.body
    assert "signature" in answer.headers


@pytest.mark.parametrize(
    ("name", "value", "code"),
    [
        ("signature", None, Code.MISSING_SIGNATURE),
        ("signature", "saphan=:AAAA:", Code.INVALID_SIGNATURE),
        ("signature-input", "saphan=rubbish", Code.MALFORMED_SIGNATURE),
        ("exchange-purpose", "another", Code.INVALID_SIGNATURE),
        ("x-uncovered", "1", Code.MALFORMED_SIGNATURE),
        ("x-road-client", str(small.VAULT), Code.INVALID_SIGNATURE),
        ("x-road-client", str(small.ODA_MIS), Code.CERTIFICATE_MISMATCH),
    ],
)
def test_a_changed_message_is_refused(
    shared_world: SmallWorld, name: str, value: str | None, code: Code
) -> None:
    """Any change between sealing and opening is found, recorded, and kept from the backend."""
    since, seen = _since(), len(shared_world.backend.seen)
    answer = peer.send(shared_world, peer.message(shared_world).changed(name, value))
    _check(answer, code)
    _recorded(shared_world, shared_world.mpi, code, since)
    assert len(shared_world.backend.seen) == seen


def test_what_no_signature_covers_does_not_reach_the_backend(shared_world: SmallWorld) -> None:
    """Date and Server of the link are not signed: a peer cannot slip them to the backend."""
    sent = peer.message(shared_world, message_id="slipped-1")
    sent = sent.changed("date", "Mon, 01 Jan 2001 00:00:00 GMT").changed("server", "x")
    assert peer.send(shared_world, sent).status == 200
    (seen,) = (s for s in shared_world.backend.seen if s.headers.get("x-road-id") == "slipped-1")
    assert not {"date", "server"} & seen.headers.keys()


def test_a_peer_cannot_say_where_a_request_comes_from(shared_world: SmallWorld) -> None:
    """A backend that lets certain addresses in is not fooled by what a peer signs."""
    forged = (
        ("x-forwarded-for", "127.0.0.1"),
        ("forwarded", "for=127.0.0.1"),
        ("x-real-ip", "::1"),
    )
    more = (("exchange-purpose", small.PURPOSE), *forged)
    sent = peer.message(shared_world, message_id="forwarded-1", more=more)
    assert peer.send(shared_world, sent).status == 200
    (seen,) = (s for s in shared_world.backend.seen if s.headers.get("x-road-id") == "forwarded-1")
    assert not {name for name, _ in forged} & seen.headers.keys()


@pytest.mark.parametrize("name", ["x_road_client", "x.road.client", "x-http-method-override"])
def test_a_peer_cannot_mislead_the_backend(shared_world: SmallWorld, name: str) -> None:
    """A signed field that a backend could read as another caller or method is refused."""
    since, seen = _since(), len(shared_world.backend.seen)
    more = (("exchange-purpose", small.PURPOSE), (name, "DELETE"))
    _check(peer.send(shared_world, peer.message(shared_world, more=more)), Code.INVALID_HEADER)
    _recorded(shared_world, shared_world.mpi, Code.INVALID_HEADER, since)
    assert len(shared_world.backend.seen) == seen


@pytest.mark.parametrize(
    ("line", "status"),
    [
        ("M-SEARCH {}", 400),  # a method that cannot be signed
        ("GET {}#part", 400),  # nor can this target
        ("PURGE {}", 400),
        ("OPTIONS *", 400),
        ("GET http://elsewhere{}", 400),
        ("CONNECT elsewhere:443", 501),
    ],
)
def test_a_strange_request_line_on_the_link_is_recorded(
    shared_world: SmallWorld, line: str, status: int
) -> None:
    """Refused before its signature is looked at, and recorded with its method."""
    since, seen = _since(), len(shared_world.backend.seen)
    target = f"/r1/{small.PROJECTS}/projects/P-1"
    request = f"{line.format(target)} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    plain = socket.create_connection(("127.0.0.1", shared_world.mpi.ports["peer"]), 10)
    with peer.context(shared_world).wrap_socket(plain) as connection:
        connection.sendall(request.encode())
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    assert answer.startswith(f"HTTP/1.1 {status} ".encode())
    hits = shared_world.hits(shared_world.mpi, since=since)
    method = line.partition(" ")[0]
    assert ("refusal", method) in {(hit.kind, hit.method) for hit in hits}
    assert len(shared_world.backend.seen) == seen


def test_a_replayed_message_is_refused(shared_world: SmallWorld) -> None:
    """The second copy of the same signed bytes does not reach the backend."""
    since = _since()
    sent = peer.message(shared_world)
    assert peer.send(shared_world, sent).status == 200
    seen = len(shared_world.backend.seen)
    _check(peer.send(shared_world, sent), Code.REPLAYED_MESSAGE)
    _recorded(shared_world, shared_world.mpi, Code.REPLAYED_MESSAGE, since)
    assert len(shared_world.backend.seen) == seen


@pytest.mark.parametrize(
    ("age_s", "lifetime_s"), [(120, 60), (-30, 60), (0, 600)], ids=["old", "future", "long-lived"]
)
def test_a_stale_signature_is_refused(
    shared_world: SmallWorld, age_s: int, lifetime_s: int
) -> None:
    """Too old, from the future, or living too long: set the clocks."""
    since = _since()
    sent = peer.message(shared_world, age_s=age_s, lifetime_s=lifetime_s)
    _check(peer.send(shared_world, sent), Code.STALE_SIGNATURE)
    _recorded(shared_world, shared_world.mpi, Code.STALE_SIGNATURE, since)


def test_a_changed_body_is_refused(shared_world: SmallWorld) -> None:
    """The digest is signed, the body must match it."""
    since, seen = _since(), len(shared_world.backend.seen)
    sent = peer.message(
        shared_world, method="POST", path="/projects", body=b'{"code": "P-7", "amount": 1}'
    )
    forged = peer.Message(sent.method, sent.target, sent.headers, b'{"code": "P-7", "amount": 9}')
    _check(peer.send(shared_world, forged), Code.DIGEST_MISMATCH)
    _recorded(shared_world, shared_world.mpi, Code.DIGEST_MISMATCH, since)
    assert len(shared_world.backend.seen) == seen


def test_a_seal_of_another_member_is_refused(shared_world: SmallWorld) -> None:
    """PDI-VT is hosted by the same server, yet may not sign in MOF's name."""
    since = _since()
    sent = peer.message(shared_world, seal=shared_world.mof.seals[small.PDI])
    _check(peer.send(shared_world, sent), Code.CERTIFICATE_MISMATCH)
    _recorded(shared_world, shared_world.mpi, Code.CERTIFICATE_MISMATCH, since)


def test_an_unregistered_seal_certificate_is_refused(shared_world: SmallWorld) -> None:
    """A certificate of the right authority that the member did not register is nobody's."""
    seal = shared_world.world.pki.issue_seal(small.MOF, at=datetime.now(UTC))
    answer = peer.send(shared_world, peer.message(shared_world, seal=seal))
    _check(answer, Code.CERTIFICATE_MISMATCH)


def test_a_message_through_a_server_that_does_not_host_the_sender(
    shared_world: SmallWorld,
) -> None:
    """A good signature over another organisation's TLS connection is refused."""
    since = _since()
    folder = shared_world.mpi.folder
    tls = peer.context(shared_world, folder / "auth.pem", folder / "auth.key")
    answer = peer.send(shared_world, peer.message(shared_world), tls)
    _check(answer, Code.CERTIFICATE_MISMATCH)
    _recorded(shared_world, shared_world.mpi, Code.CERTIFICATE_MISMATCH, since)


@pytest.mark.parametrize(
    ("days_ago", "code"),
    [(30, Code.PEER_CERTIFICATE_EXPIRED), (None, Code.PEER_CERTIFICATE_UNTRUSTED)],
    ids=["expired", "foreign"],
)
def test_a_bad_tls_certificate_ends_in_the_handshake(
    shared_world: SmallWorld, tmp_path: Path, days_ago: int | None, code: Code
) -> None:
    """Expired and foreign server certificates never get as far as HTTP; both are recorded."""
    since, now = _since(), datetime.now(UTC)
    if days_ago is None:
        pki = create_development_pki(tmp_path / "pki", "LA", at=now)
        issued = pki.issue_auth(small.MOF_SERVER, ["127.0.0.1"], at=now)
    else:
        past = now - timedelta(days=days_ago)
        issued = shared_world.world.pki.issue_auth(small.MOF_SERVER, ["127.0.0.1"], at=past)
    issued.write(tmp_path / "auth.pem", tmp_path / "auth.key")
    tls = peer.context(shared_world, tmp_path / "auth.pem", tmp_path / "auth.key")
    with pytest.raises((ssl.SSLError, ConnectionError)):
        peer.send(shared_world, peer.message(shared_world), tls)
    _recorded(shared_world, shared_world.mpi, code, since)


def test_an_unregistered_tls_certificate_is_refused(
    shared_world: SmallWorld, tmp_path: Path
) -> None:
    """A certificate of the right authority that is not in the registry gets a refusal."""
    since = _since()
    issued = shared_world.world.pki.issue_auth(
        small.MOF_SERVER, ["127.0.0.1"], at=datetime.now(UTC)
    )
    issued.write(tmp_path / "auth.pem", tmp_path / "auth.key")
    tls = peer.context(shared_world, tmp_path / "auth.pem", tmp_path / "auth.key")
    answer = peer.send(shared_world, peer.message(shared_world), tls)
    _check(answer, Code.PEER_CERTIFICATE_UNTRUSTED)
    _recorded(shared_world, shared_world.mpi, Code.PEER_CERTIFICATE_UNTRUSTED, since)


def test_plain_text_on_the_link_is_not_answered(shared_world: SmallWorld) -> None:
    """The link speaks TLS 1.3 only."""
    since = _since()
    with socket.create_connection(("127.0.0.1", shared_world.mpi.ports["peer"]), 10) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert not connection.recv(4096).startswith(b"HTTP")
    _recorded(shared_world, shared_world.mpi, Code.PEER_CERTIFICATE_UNTRUSTED, since)


# --- agreements ----------------------------------------------------------------------------------


def _counted(shared_world: SmallWorld, code: Code) -> float:
    """How many refusals of a code the provider's server has counted."""
    text = small.exchange(shared_world.mpi.url("admin"), "GET", "/metrics", {}).body.decode()
    line = f'saphan_problems_total{{code="{code}",side="provider"}} '
    return sum(float(found.removeprefix(line)) for found in text.splitlines() if line in found)


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"client": str(small.PROVINCE)}, Code.ACCESS_DENIED),
        ({"method": "DELETE"}, Code.ACCESS_DENIED),
        ({"headers": {"Exchange-Agreement": "another"}}, Code.ACCESS_DENIED),
        ({"purpose": None}, Code.PURPOSE_NOT_ALLOWED),
        ({"purpose": "curiosity"}, Code.PURPOSE_NOT_ALLOWED),
        ({"path": "/projects/P-1?fields=code,amount"}, Code.FIELD_NOT_RELEASED),
        ({"path": "/projects/P-1?f%69elds=amount"}, Code.FIELD_NOT_RELEASED),
        ({"path": f"/projects/P-1?{'z=1&' * 150}fields=amount"}, Code.FIELD_NOT_RELEASED),
        ({"service": small.CLOSED}, Code.SERVICE_DISABLED),
    ],
)
def test_only_the_agreement_opens_the_door(
    shared_world: SmallWorld, change: Mapping[str, Any], code: Code
) -> None:
    """The provider refuses, signs the refusal and counts it, and both sides record it."""
    since, seen = _since(), len(shared_world.backend.seen)
    counted = _counted(shared_world, code)
    answer = shared_world.call(**change)
    _check(answer, code)
    assert answer.headers["x-road-error"].startswith("Server.ServerProxy.")
    _recorded(shared_world, shared_world.mpi, code, since)
    _recorded(shared_world, shared_world.mof, code, since)
    assert _counted(shared_world, code) == counted + 1
    assert len(shared_world.backend.seen) == seen


@pytest.mark.parametrize(
    ("name", "change", "code"),
    [
        ("past", {"valid_until": "2021-01-01T00:00:00Z"}, Code.AGREEMENT_EXPIRED),
        ("future", {"valid_from": "2098-01-01T00:00:00Z"}, Code.AGREEMENT_NOT_YET_VALID),
    ],
)
def test_an_agreement_holds_in_its_time_only(
    shared_world: SmallWorld, name: str, change: Mapping[str, str], code: Code
) -> None:
    """Before and after its time the door is shut, by itself."""
    path = shared_world.world.agree(small.agreement(name, small.PROVINCE, **change))
    try:
        _wait_for_agreements(shared_world, name, present=True)
        _check(shared_world.call(client=str(small.PROVINCE)), code)
    finally:
        path.unlink()
        _wait_for_agreements(shared_world, name, present=False)


def test_a_quota_ends(shared_world: SmallWorld) -> None:
    """The third of two calls a day is refused, with the time to come again."""
    path = shared_world.world.agree(
        small.agreement("two-a-day", small.PROVINCE, quota={"per_day": 2})
    )
    try:
        _wait_for_agreements(shared_world, "two-a-day", present=True)
        answers = [shared_world.call(client=str(small.PROVINCE)) for _ in range(3)]
        assert [answer.status for answer in answers[:2]] == [200, 200]
        _check(answers[2], Code.QUOTA_EXCEEDED)
        assert 0 < int(answers[2].headers["retry-after"]) <= 86_400
    finally:
        path.unlink()
        _wait_for_agreements(shared_world, "two-a-day", present=False)


def test_an_agreement_of_one_seal_opens_nothing(shared_world: SmallWorld) -> None:
    """The provider alone cannot make an agreement, nor can the consumer."""
    for member in (small.MPI, small.PDI):
        sealed = shared_world.world.seal(small.agreement("half", small.PROVINCE), [member])
        path = shared_world.world.pin(small.MPI, "half", sealed)
        try:
            _wait_for_agreements(shared_world, "half.jws", present=True, among="rejected")
            _check(shared_world.call(client=str(small.PROVINCE)), Code.ACCESS_DENIED)
        finally:
            path.unlink()
            _wait_for_agreements(shared_world, "half.jws", present=False, among="rejected")


def _wait_for_agreements(
    world: SmallWorld, name: str, *, present: bool, among: str = "agreements"
) -> None:
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        found = small.exchange(world.mpi.url("admin"), "GET", "/agreements", {}).json[among]
        names = set(found) if among == "rejected" else {item["id"] for item in found}
        if (name in names) is present:
            return
        time.sleep(0.05)
    raise TimeoutError(name)


# --- the backend ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"service": small.DOWN}, Code.BACKEND_UNREACHABLE),
        ({"path": "/projects/SLOW", "service": small.LENIENT}, Code.BACKEND_TIMEOUT),
        ({"path": "/projects/NONSENSE"}, Code.BACKEND_NONSENSE),
        ({"path": "/projects/HANGUP"}, Code.BACKEND_NONSENSE),
        ({"path": "/projects/NOTJSON"}, Code.BACKEND_NONSENSE),
        ({"path": "/projects/HTML"}, Code.RESPONSE_SCHEMA_VIOLATION),
        ({"path": "/projects/BROKEN"}, Code.RESPONSE_SCHEMA_VIOLATION),
        ({"path": "/projects/BIG"}, Code.RESPONSE_TOO_LARGE),
        ({"path": "/projects/CHATTY"}, Code.BACKEND_NONSENSE),
        ({"path": "/projects/LONGWINDED"}, Code.BACKEND_NONSENSE),
    ],
)
def test_a_bad_answer_is_stopped_at_the_provider(
    shared_world: SmallWorld, change: Mapping[str, Any], code: Code
) -> None:
    """What the backend does wrong is named, recorded on both sides, and does not cross."""
    since = _since()
    answer = shared_world.call(**change)
    _check(answer, code)
    assert b"a lot" not in answer.body
    _recorded(shared_world, shared_world.mpi, code, since)
    _recorded(shared_world, shared_world.mof, code, since)


def test_a_backend_cannot_speak_for_the_exchange(shared_world: SmallWorld) -> None:
    """X-Road fields, signatures and digests of the backend are not taken for the server's own."""
    answer = shared_world.call("/projects/FORGER", headers={"X-Road-Id": "forger-1"})
    assert answer.status == 200, answer.body
    assert answer.headers["x-road-id"] == "forger-1"
    assert not answer.code


def test_an_error_of_the_backend_is_no_way_around_the_agreement(shared_world: SmallWorld) -> None:
    """Of an error's body only the members of RFC 9457 pass where fields are restricted."""
    answer = shared_world.call("/projects/CONFLICT")
    assert answer.status == 409
    assert answer.json == {"title": "It exists", "detail": "see code P-1"}


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_no_digest_of_the_whole_record_is_released(shared_world: SmallWorld, method: str) -> None:
    """From it the fields that are not released could be guessed: HEAD is no way around."""
    answer = shared_world.call("/projects/DIGESTED", method=method)
    assert answer.status == 200, answer.body
    assert answer.headers["x-kept"] == "1"
    assert not {"etag", "repr-digest", "digest", "content-md5"} & answer.headers.keys()


def test_a_service_may_only_report(shared_world: SmallWorld) -> None:
    """Under `report` a broken record crosses, cut to the released fields, and is counted."""
    answer = shared_world.call("/projects/BROKEN", service=small.LENIENT)
    assert answer.status == 200
    assert "amount" not in answer.json
    metrics = small.exchange(shared_world.mpi.url("admin"), "GET", "/metrics", {}).body
    assert b'saphan_contract_reports_total{code="ResponseSchemaViolation"}' in metrics


@pytest.mark.parametrize(("path", "status"), [("MISSING", 404), ("REDIRECT", 302)])
def test_the_backends_own_status_passes(shared_world: SmallWorld, path: str, status: int) -> None:
    """An answer of the provider is not an error of the exchange: no X-Road-Error."""
    answer = shared_world.call(f"/projects/{path}")
    assert answer.status == status
    assert not answer.code


def test_the_backend_sees_who_asks_and_not_the_link(shared_world: SmallWorld) -> None:
    """X-Road headers and the application's own arrive; signatures and digests do not."""
    shared_world.call(headers={"X-Road-Id": "seen-1", "Authorization": "Bearer abc", "X-Own": "1"})
    (seen,) = (s for s in shared_world.backend.seen if s.headers.get("x-road-id") == "seen-1")
    assert seen.line == "GET /projects/P-1 HTTP/1.1"
    assert seen.headers["x-road-client"] == str(small.BUDGET)
    assert seen.headers["authorization"] == "Bearer abc"
    assert seen.headers["x-own"] == "1"
    assert not {"signature", "signature-input", "content-digest"} & set(seen.headers)
