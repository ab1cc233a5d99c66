"""HTTP end to end: from an application over two servers to a backend and back, as raw bytes."""

from __future__ import annotations

import gzip
import re
import socket
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from exchange.problems import Code
from tests.world import peer
from tests.world.http import (
    EXTRACTS,
    RECORD,
    RECORDS,
    HttpWorld,
    http_world,
    ok,
    parse,
    request,
)
from tests.world.smuggling import ENDS, SHAPES, TOO_LONG


@pytest.fixture(scope="module")
def world() -> Iterator[HttpWorld]:
    with http_world(head_max_bytes=8192, head_max_fields=40, url_max_bytes=2048) as built:
        yield built


def _since() -> datetime:
    return datetime.now(UTC) - timedelta(milliseconds=2)


def _recorded(world: HttpWorld, code: Code, since: datetime, *, provider: bool = False) -> None:
    deadline = time.monotonic() + 10
    while not world.hits(provider=provider, problem=code.value, since=since):
        assert time.monotonic() < deadline, f"no record of {code}"
        time.sleep(0.1)


def _fields(raw: bytes) -> list[tuple[str, str]]:
    lines = raw.partition(b"\r\n\r\n")[0].decode("latin-1").split("\r\n")[1:]
    return [(name.lower(), value) for name, _, value in (line.partition(": ") for line in lines)]


def _values(raw: bytes, name: str) -> list[str]:
    return [value for each, value in _fields(raw) if each == name]


# --- fields -----------------------------------------------------------------------------------


def test_repeated_fields_survive_in_order(world: HttpWorld) -> None:
    """Both ways: nothing is joined, dropped or sorted (RFC 9110 section 5.3)."""
    answer = ok(
        b"x",
        "Set-Cookie: a=1; Path=/",
        "Link: </1>; rel=next",
        "Set-Cookie: b=2",
        'Warning: 299 - "first"',
        "X-Own: 1",
        'Warning: 299 - "second"',
        "X-Own: 2",
        "Link: </2>; rel=prev",
    )
    reply = world.ask(
        "repeats", "X-Many: 1", "Cookie: c=1", "X-Many: 2", "Accept: a/b", answer=answer
    )
    assert reply.status == 200, reply.body
    assert reply.all("set-cookie") == ["a=1; Path=/", "b=2"]
    assert reply.all("link") == ["</1>; rel=next", "</2>; rel=prev"]
    assert reply.all("warning") == ['299 - "first"', '299 - "second"']
    assert reply.all("x-own") == ["1", "2"]
    asked = world.asked("repeats")
    assert _values(asked, "x-many") == ["1", "2"]
    assert _values(asked, "cookie") == ["c=1"]


def test_a_date_stands_once(world: HttpWorld) -> None:
    """The backend's is replaced by that of the server that answers (RFC 9110 section 6.6.1)."""
    answer = ok(b"x", "Date: Sun, 06 Nov 1994 08:49:37 GMT", "Age: 3")
    reply = world.ask("dated", "Date: Sun, 06 Nov 1994 08:49:37 GMT", answer=answer)
    assert len(reply.all("date")) == 1
    assert "1994" not in reply.all("date")[0]
    assert reply.all("age") == ["3"]
    assert not _values(world.asked("dated"), "date")


def test_fields_of_one_hop_end_there(world: HttpWorld) -> None:
    """RFC 9110 section 7.6.1: the known ones and those that Connection lists, both ways."""
    answer = ok(
        b"x",
        "Connection: keep-alive, X-Secret",
        "X-Secret: 1",
        "Keep-Alive: timeout=5",
        "Proxy-Authenticate: Basic",
        "Proxy-Authentication-Info: a",
        "Trailer: X-Sum",
        "Upgrade: h2c",
        "Via: 1.1 inside.example",
        "Server: nginx",
        "X-Kept: 1",
    )
    reply = world.ask(
        "hops",
        "Connection: close, X-Private",
        "X-Private: 1",
        "TE: trailers",
        "Trailer: X-Sum",
        "Keep-Alive: 5",
        "Proxy-Connection: keep-alive",
        "Proxy-Authorization: Basic AAAA",
        "Via: 1.1 outside.example",
        "X-Forwarded-For: 10.0.0.1",
        "X-Kept: 1",
        answer=answer,
    )
    assert reply.status == 200, reply.body
    gone = {
        "x-secret", "keep-alive", "proxy-authenticate", "proxy-authentication-info", "trailer",
        "upgrade", "via", "server", "te", "x-private", "proxy-connection", "proxy-authorization",
        "x-forwarded-for",
    }  # fmt: skip
    assert not gone & {name for name, _ in reply.fields}
    assert reply.all("x-kept") == ["1"]
    asked = world.asked("hops")
    assert not (gone | {"connection"}) & {name for name, _ in _fields(asked)}
    assert _values(asked, "x-kept") == ["1"]


TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


@pytest.mark.parametrize(
    ("lines", "goes_on"),
    [
        ([f"traceparent: {TRACE}", "tracestate: a=1", "tracestate: b=2"], True),
        (["traceparent: nonsense", "tracestate: a=1"], False),
        ([], False),
    ],
)
def test_a_trace_is_carried_and_recorded(world: HttpWorld, lines: list[str], goes_on: bool) -> None:
    """W3C Trace Context 3.4 and 4.3: passed through and in both journals, or ignored; none made."""
    identifier = f"trace-{goes_on}-{len(lines)}"
    reply = world.ask("traced", f"X-Road-Id: {identifier}", *lines, answer=ok(b"x"))
    assert reply.status == 200
    asked = world.asked("traced")
    assert _values(asked, "traceparent") == ([TRACE] if goes_on else [])
    assert _values(asked, "tracestate") == (["a=1", "b=2"] if goes_on else [])
    for provider in (False, True):
        hits = world.hits(provider=provider, id=identifier)
        assert len(hits) == 2
        assert {hit.trace for hit in hits} == {TRACE if goes_on else None}


# --- methods, statuses, bodies ----------------------------------------------------------------


@pytest.mark.parametrize("method", ["GET", "DELETE", "POST", "PUT", "PATCH"])
@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_travels_whatever_the_method(world: HttpWorld, method: str, chunked: bool) -> None:
    """The backend gets it with a length (RFC 9110 section 9.3.1 leaves its meaning to it)."""
    lines = ["Content-Type: text/plain"]
    body = b"hello"
    if chunked:
        lines.append("Transfer-Encoding: chunked")
        body = b"2;ext=1\r\nhe\r\n3\r\nllo\r\n0\r\nX-Trailer: t\r\n\r\n"
    name = f"body-{method}-{chunked}"
    reply = world.ask(name, *lines, method=method, body=body, answer=ok(b"x"))
    assert reply.status == 200, reply.body
    asked = world.asked(name)
    assert asked.startswith(f"{method} /base/x/{name} HTTP/1.1\r\n".encode())
    assert asked.endswith(b"\r\n\r\nhello")
    assert _values(asked, "content-length") == ["5"]
    assert not _values(asked, "transfer-encoding")
    assert not _values(asked, "x-trailer")


@pytest.mark.parametrize("framing", ["chunks", "end"])
def test_an_answer_of_any_framing_arrives(world: HttpWorld, framing: str) -> None:
    """Chunked with trailers, which are dropped, or ended by the connection's end."""

    def until_end(connection: socket.socket, _: bytes) -> bool:
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\nabc")
        return False

    chunks = (
        b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n"
        b"Trailer: X-Sum\r\n\r\n1\r\na\r\n2;x=y\r\nbc\r\n0\r\nX-Sum: 1\r\n\r\n"
    )
    answer = until_end if framing == "end" else chunks
    reply = world.ask(f"framed-{framing}", answer=answer)
    assert (reply.status, reply.body) == (200, b"abc")
    assert reply.all("content-length") == ["3"]
    assert not reply.all("x-sum")


def test_head_is_answered_without_a_body(world: HttpWorld) -> None:
    """And the connection goes on (RFC 9110 section 9.3.2)."""
    world.origin.scripts["headed"] = (
        b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 9\r\nX-A: 1\r\n\r\n"
    )
    head = request("headed", "Connection: keep-alive", method="HEAD")
    world.origin.scripts["after"] = ok(b"after")
    got = world.send(head + request("after"))
    first, _, rest = got.partition(b"\r\n\r\n")
    assert first.startswith(b"HTTP/1.1 200 ")
    assert _values(first, "x-a") == ["1"]
    assert parse(rest).body == b"after"


@pytest.mark.parametrize(
    ("status", "lines"),
    [("204 No Content", ()), ("304 Not Modified", ('ETag: "a"', "Cache-Control: max-age=9"))],
)
def test_an_answer_without_content_has_none(
    world: HttpWorld, status: str, lines: tuple[str, ...]
) -> None:
    """RFC 9110 sections 15.3.5 and 15.4.5: no body, no length, and the fields as they are."""
    answer = "\r\n".join([f"HTTP/1.1 {status}", *lines, "", ""]).encode()
    number = int(status[:3])
    reply = world.ask(f"status-{number}", 'If-None-Match: "a"', answer=answer)
    assert (reply.status, reply.body) == (number, b"")
    assert not reply.all("content-length")
    assert reply.all("etag") == (['"a"'] if number == 304 else [])
    assert _values(world.asked(f"status-{number}"), "if-none-match") == ['"a"']


def test_interim_answers_stay_between_backend_and_server(world: HttpWorld) -> None:
    """100, 102 and 103 are passed over: they cannot be signed (RFC 9110 section 15.2)."""
    interim = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 102 Processing\r\n\r\n"
    reply = world.ask("interim", answer=interim + ok(b"x"))
    assert (reply.status, reply.body, reply.all("link")) == (200, b"x", [])


def test_a_client_that_expects_to_continue_is_told_to(world: HttpWorld) -> None:
    """RFC 9110 section 10.1.1: when its body is wanted, and not before."""
    world.origin.scripts["expect"] = ok(b"x")
    lines = ["Expect: 100-continue", "Content-Type: text/plain"]
    whole = request("expect", *lines, method="PUT", body=b"hello")
    with world.connect() as connection:
        connection.sendall(whole[:-5])
        assert connection.recv(65536) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(b"hello")
        got = b"".join(iter(lambda: connection.recv(65536), b""))
    assert parse(got).status == 200
    assert not _values(world.asked("expect"), "expect")
    refused = whole[:-5].replace(b"/files/", b"/nothing/x/../")
    assert b"100 Continue" not in world.send(refused)


def test_a_coded_answer_stays_coded(world: HttpWorld) -> None:
    """Where nothing of it is read, byte for byte with its Content-Encoding."""
    packed = gzip.compress(b"hello" * 100)
    answer = ok(packed, "Content-Encoding: gzip", "Vary: Accept-Encoding")
    reply = world.ask("packed", "Accept-Encoding: gzip, br", answer=answer)
    assert (reply.body, reply.all("content-encoding")) == (packed, ["gzip"])
    assert _values(world.asked("packed"), "accept-encoding") == ["gzip, br"]
    plain = ok(RECORD, kind="application/json")
    reply = world.ask("record", "Accept-Encoding: gzip", service=RECORDS, answer=plain)
    assert reply.body == RECORD
    assert not _values(world.asked("record"), "accept-encoding")


def test_cookies_and_redirects_are_the_applications(world: HttpWorld) -> None:
    """None is remembered, none is followed."""
    elsewhere = "Location: http://127.0.0.1:1/elsewhere"
    reply = world.ask(
        "moved", answer=ok(b"", elsewhere, "Set-Cookie: a=1", status="307 Temporary Redirect")
    )
    assert reply.status == 502, "307 is not declared"
    reply = world.ask("cookie", answer=ok(b"x", "Set-Cookie: a=1"))
    assert reply.all("set-cookie") == ["a=1"]
    world.ask("cookie")
    assert not _values(world.asked("cookie"), "cookie")


def test_connections_are_used_again(world: HttpWorld) -> None:
    """Of the application, and to the backend."""
    world.origin.scripts["again"] = ok(b"x")
    with world.connect() as connection:
        opened = None
        for _ in range(5):
            connection.sendall(request("again", "Connection: keep-alive"))
            got = b""
            while not got.endswith(b"\r\n\r\nx"):
                got += connection.recv(65536)
            opened = opened or world.origin.connections
        assert world.origin.connections == opened


# --- parts and conditions ---------------------------------------------------------------------

PART = ok(b"he", "Content-Range: bytes 0-1/5", 'ETag: "a"', status="206 Partial Content")
MULTIPART = ok(
    b"--b\r\nContent-Range: bytes 0-0/5\r\n\r\nh\r\n--b--\r\n",
    status="206 Partial Content",
    kind="multipart/byteranges; boundary=b",
)


@pytest.mark.parametrize(
    ("answer", "lines"),
    [
        (PART, ["Range: bytes=0-1", 'If-Range: "a"']),
        (MULTIPART, ["Range: bytes=0-0,2-2"]),
        (
            ok(b"", "Content-Range: bytes */5", status="416 Range Not Satisfiable"),
            ["Range: bytes=9-"],
        ),
        (ok(b"", status="412 Precondition Failed"), ['If-Match: "b"']),
    ],
)
def test_parts_and_conditions_of_files_pass(
    world: HttpWorld, answer: bytes, lines: list[str]
) -> None:
    """RFC 9110 sections 13 and 14, as they are, where no contract reads the content."""
    reply = world.ask("part", *lines, answer=answer)
    expected = parse(answer)
    assert (reply.status, reply.body) == (expected.status, expected.body)
    for name in ("content-range", "etag", "content-type"):
        assert reply.all(name) == expected.all(name)
    asked = world.asked("part")
    for line in lines:
        name, _, value = line.partition(": ")
        assert _values(asked, name.lower()) == [value]


@pytest.mark.parametrize("service", [RECORDS, EXTRACTS])
def test_a_part_of_a_checked_record_is_not_asked_for(world: HttpWorld, service: object) -> None:
    """The answer is the whole, which RFC 9110 section 14.2 allows and a contract needs."""
    assert service in (RECORDS, EXTRACTS)
    answer = ok(RECORD, "Accept-Ranges: bytes", 'ETag: "a"', kind="application/json")
    reply = world.ask(
        "whole",
        "Range: bytes=0-1",
        'If-Range: "a"',
        'If-None-Match: "a"',
        service=service,  # type: ignore[arg-type]
        answer=answer,
    )
    restricted = service is EXTRACTS
    assert (reply.status, reply.body) == (200, b'{"code":"P-1"}' if restricted else RECORD)
    asked = world.asked("whole")
    assert not _values(asked, "range")
    assert not _values(asked, "if-range")
    assert _values(asked, "if-none-match") == ([] if restricted else ['"a"'])
    assert reply.all("etag") == ([] if restricted else ['"a"'])


def test_a_part_that_was_not_asked_for_is_refused(world: HttpWorld) -> None:
    """It could carry what no check has seen."""
    since = _since()
    for service in (RECORDS, EXTRACTS):
        answer = ok(RECORD[:9], status="206 Partial Content", kind="application/json")
        reply = world.ask("unasked", "Range: bytes=0-8", service=service, answer=answer)
        assert (reply.status, reply.code) == (502, Code.BACKEND_NONSENSE), reply.body
    _recorded(world, Code.BACKEND_NONSENSE, since, provider=True)


def test_a_tag_of_a_record_that_is_not_released_opens_nothing(world: HttpWorld) -> None:
    """If-Match would confirm a guess of the whole record."""
    since, seen = _since(), len(world.origin.seen)
    reply = world.ask(
        "guess",
        'If-Match: "a"',
        "Content-Type: application/json",
        service=EXTRACTS,
        method="PUT",
        body=RECORD,
    )
    assert (reply.status, reply.code) == (403, Code.FIELD_NOT_RELEASED)
    assert len(world.origin.seen) == seen
    _recorded(world, Code.FIELD_NOT_RELEASED, since, provider=True)


# --- what is not taken ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("target", "status", "code"),
    [
        ("/r1/LA/GOV/MPI/oda%2Fmis/files/x/a", 400, Code.INVALID_IDENTIFIER),
        ("/r1/LA/GOV/MPI/oda%5Cmis/files/x/a", 400, Code.INVALID_IDENTIFIER),
        ("/r1/LA/GOV/MPI/oda%252Fmis/files/x/a", 400, Code.INVALID_IDENTIFIER),
        ("/r1/LA/GOV/MPI/oda%00mis/files/x/a", 400, Code.INVALID_IDENTIFIER),
        ("/r1/LA/GOV/MPI/oda\\mis/files/x/a", 400, Code.INVALID_REQUEST),
        ("/r1/LA/GOV/MPI/%2e%2e/files/x/a", 400, Code.INVALID_IDENTIFIER),
        ("/r1/LA/GOV/MPI/./files/x/a", 400, Code.INVALID_REQUEST),
        ("/r1/LA/GOV/MPI/%252e%252e/files/x/a", 400, Code.INVALID_IDENTIFIER),
        ("/r1/LA/GOV//oda-mis/files/x/a", 400, Code.INVALID_REQUEST),
        ("//r1/LA/GOV/MPI/oda-mis/files/x/a", 404, Code.INVALID_REQUEST),
        ("/r1/LA/GOV/MPI/oda-mis/files/x/..%2fa", 404, Code.UNKNOWN_ENDPOINT),
        ("/r1/LA/GOV/MPI/oda-mis/files/x/%252e%252e", 404, Code.UNKNOWN_ENDPOINT),
        ("/r1/LA/GOV/MPI/oda-mis/files/x/..;/a", 404, Code.UNKNOWN_ENDPOINT),
        ("/r1/LA/GOV/MPI/oda-mis/files/x//a", 404, Code.UNKNOWN_ENDPOINT),
        ("/r1/LA/GOV/MPI/oda-mis/files/x/a%0d%0ab", 404, Code.UNKNOWN_ENDPOINT),
        ("/r1/LA/GOV/MPI/oda-mis/files/x/a#b", 400, Code.INVALID_REQUEST),
        ("http://elsewhere/r1/LA/GOV/MPI/oda-mis/files/x/a", 400, Code.INVALID_REQUEST),
        ("/r1/" + "a" * 3000, 414, Code.INVALID_REQUEST),
    ],
)
def test_a_target_that_could_be_read_in_two_ways_is_refused(
    world: HttpWorld, target: str, status: int, code: Code
) -> None:
    """Encoded dots, slashes and backslashes, encoded twice, empty segments; and it is recorded."""
    since, seen = _since(), len(world.origin.seen)
    plain = request("a")
    path = plain.split(b" ", 2)[1]
    reply = parse(world.send(plain.replace(path, target.encode(), 1)))
    assert (reply.status, reply.code) == (status, code), reply.body
    _recorded(world, code, since)
    assert len(world.origin.seen) == seen


def test_an_absolute_target_of_this_host_is_taken(world: HttpWorld) -> None:
    """RFC 9112 section 3.2.2; the backend gets the origin form."""
    world.origin.scripts["absolute"] = ok(b"x")
    plain = request("absolute")
    reply = parse(world.send(plain.replace(b" /r1/", b" http://localhost/r1/", 1)))
    assert reply.status == 200, reply.body
    assert world.asked("absolute").startswith(b"GET /base/x/absolute HTTP/1.1\r\n")


@pytest.mark.parametrize(
    ("lines", "status", "code"),
    [
        (["Upgrade: websocket", "Connection: Upgrade, close"], 501, Code.INVALID_HEADER),
        (["X-A: " + "a" * 9000], 431, Code.INVALID_HEADER),
        ([f"X-{number}: 1" for number in range(60)], 431, Code.INVALID_HEADER),
        (["Content-Length: 70000"], 413, Code.PAYLOAD_TOO_LARGE),
        (["Content-Length: 3", "Transfer-Encoding: chunked"], 400, Code.INVALID_REQUEST),
        (["Transfer-Encoding: chunked, identity"], 400, Code.INVALID_REQUEST),
        (["Transfer-Encoding: xchunked"], 501, Code.INVALID_REQUEST),
        (["X-A: b\r\n folded"], 400, Code.INVALID_REQUEST),
        (["X-A: b\nX-Road-Client: LA/GOV/MOF/other"], 400, Code.INVALID_REQUEST),
        (["X-A: b\0"], 400, Code.INVALID_REQUEST),
    ],
)
def test_what_is_beyond_bounds_or_ambiguous_is_refused_and_recorded(
    world: HttpWorld, lines: list[str], status: int, code: Code
) -> None:
    """One reply, nothing behind it, nothing at the backend, an entry in the journal."""
    since, seen = _since(), len(world.origin.seen)
    hidden = request("hidden")
    got = world.send(request("refused", *lines, method="POST") + hidden)
    assert len(re.findall(rb"HTTP/1\.1 \d{3} ", got)) == 1
    reply = parse(got)
    assert (reply.status, reply.code) == (status, code), reply.body
    _recorded(world, code, since)
    assert len(world.origin.seen) == seen


def test_h2c_is_not_taken_up(world: HttpWorld) -> None:
    """As curl --http2 asks: the answer is of HTTP/1.1 (RFC 9110 section 7.8)."""
    reply = world.ask(
        "h2c",
        "Connection: Upgrade, HTTP2-Settings",
        "Upgrade: h2c",
        "HTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA",
        answer=ok(b"x"),
    )
    assert (reply.status, reply.body) == (200, b"x")
    assert not {"upgrade", "http2-settings"} & {name for name, _ in _fields(world.asked("h2c"))}


def test_http_1_0_is_answered(world: HttpWorld) -> None:
    """And its connection ends; transfer codings it has none (RFC 9112 section 6.1)."""
    world.origin.scripts["old"] = ok(b"x")
    plain = request("old").replace(b"HTTP/1.1", b"HTTP/1.0", 1)
    assert parse(world.send(plain)).body == b"x"
    coded = request("old", "Transfer-Encoding: chunked", method="POST", body=b"0\r\n\r\n")
    reply = parse(world.send(coded.replace(b"HTTP/1.1", b"HTTP/1.0", 1)))
    assert (reply.status, reply.code) == (400, Code.INVALID_REQUEST)


def test_the_preface_of_http_2_is_answered(world: HttpWorld) -> None:
    """In HTTP/1.1, with what is spoken here (RFC 9110 section 15.6.6)."""
    since = _since()
    reply = parse(world.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"))
    assert (reply.status, reply.code) == (505, Code.INVALID_REQUEST)
    assert b"HTTP/1.1" in reply.body
    _recorded(world, Code.INVALID_REQUEST, since)


def _over_the_link(world: HttpWorld, data: bytes) -> bytes:
    plain = socket.create_connection(("127.0.0.1", world.small.mpi.ports["peer"]), 20)
    with peer.context(world.small).wrap_socket(plain) as connection:
        connection.sendall(data)
        return b"".join(iter(lambda: connection.recv(65536), b""))


@pytest.mark.parametrize(
    ("lines", "status"),
    [
        (["Content-Length: 3", "Transfer-Encoding: chunked"], 400),
        (["Content-Length: 1", "Content-Length: 2"], 400),
        (["Transfer-Encoding: chunked, identity"], 400),
        (["Transfer-Encoding: xchunked"], 501),
        (["X-A: b\r\n folded"], 400),
        (["X-A: b\rX-B: c"], 400),
        (["X-A: " + "a" * 90_000], 431),
        ([f"X-{number}: 1" for number in range(110)], 431),
    ],
)
def test_the_link_refuses_and_records_the_same(
    world: HttpWorld, lines: list[str], status: int
) -> None:
    """Although its client has shown a registered certificate."""
    since, seen = _since(), len(world.origin.seen)
    got = _over_the_link(world, request("refused", *lines, method="POST") + request("hidden"))
    assert len(re.findall(rb"HTTP/1\.1 \d{3} ", got)) == 1
    reply = parse(got)
    assert reply.status == status, reply.body
    assert "".join(reply.all("x-road-error")).startswith("Server.ServerProxy.")
    _recorded(world, Code(reply.code), since, provider=True)
    assert len(world.origin.seen) == seen


def test_websocket_over_the_link_is_no_more_than_a_request(world: HttpWorld) -> None:
    """Its fields are of the connection, which no signature covers; unsigned it is refused."""
    lines = ["Upgrade: websocket", "Connection: Upgrade"]
    reply = parse(_over_the_link(world, request("ws", *lines)))
    assert (reply.status, reply.code) == (403, Code.MISSING_SIGNATURE), reply.body


# --- slow and broken ends ---------------------------------------------------------------------


def _drip(connection: socket.socket, _: bytes) -> bool:
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 99\r\n\r\n")
    for _ in range(60):
        time.sleep(0.5)
        connection.sendall(b"x")
    return False


def _silent(connection: socket.socket, _: bytes) -> bool:
    return bool(connection.recv(1))


def _half(connection: socket.socket, _: bytes) -> bool:
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 9\r\n\r\nx")
    return False


def _half_closed(connection: socket.socket, _: bytes) -> bool:
    connection.shutdown(socket.SHUT_WR)
    return bool(connection.recv(1))


SMUGGLED = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n"


@pytest.mark.parametrize(
    ("name", "answer", "code"),
    [
        ("drip", _drip, Code.BACKEND_TIMEOUT),
        ("silent", _silent, Code.BACKEND_TIMEOUT),
        ("half", _half, Code.BACKEND_NONSENSE),
        ("half-closed", _half_closed, Code.BACKEND_NONSENSE),
        (
            "both",
            SMUGGLED + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            Code.BACKEND_NONSENSE,
        ),
        (
            "two",
            SMUGGLED + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nab",
            Code.BACKEND_NONSENSE,
        ),
        ("fold", SMUGGLED + b"A: b\r\n c\r\nContent-Length: 1\r\n\r\na", Code.BACKEND_NONSENSE),
        (
            "old-chunks",
            SMUGGLED.replace(b"1.1", b"1.0") + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            Code.BACKEND_NONSENSE,
        ),
        ("behind", ok(b"a") + ok(b"b"), Code.BACKEND_NONSENSE),
        ("long-head", ok(b"a", "A: " + "b" * 9000), Code.RESPONSE_TOO_LARGE),
    ],
)
def test_a_backend_that_is_slow_or_ambiguous_is_told_in_time(
    world: HttpWorld, name: str, answer: bytes, code: Code
) -> None:
    """A signed and recorded refusal within the service's time, and the next exchange is clean."""
    since, begun = _since(), time.monotonic()
    reply = world.ask(name, answer=answer)
    assert reply.code == code, reply.body
    assert time.monotonic() - begun < 15
    _recorded(world, code, since, provider=True)
    assert world.ask("clean", answer=ok(b"clean")).body == b"clean"


@pytest.mark.parametrize("shape", SHAPES)
def test_an_answer_of_a_backend_that_could_be_read_in_two_ways_is_refused(
    world: HttpWorld, shape: str
) -> None:
    """Recorded by the provider's server; its connection carries nothing more."""
    answer = SHAPES[shape](b"Content-Type: text/plain\r\n", b"smuggled")

    def script(connection: socket.socket, _: bytes) -> bool:
        connection.sendall(answer)
        return shape not in ENDS

    since, first = _since(), len(world.origin.ports)
    reply = world.ask(shape, answer=script)
    code = Code.RESPONSE_TOO_LARGE if shape in TOO_LONG else Code.BACKEND_NONSENSE
    assert reply.all("x-road-error") == [f"Server.ServerProxy.{code}"], reply.body
    assert b"smuggled" not in reply.body
    _recorded(world, code, since, provider=True)
    assert world.ask("clean", answer=ok(b"clean")).body == b"clean"
    bad, *others = world.origin.ports[first:]
    assert others
    assert bad not in others


@pytest.mark.parametrize("part", ["head", "body"])
def test_a_client_that_sends_too_slowly_is_let_go(world: HttpWorld, part: str) -> None:
    """A head has limits.head_s, a body limits.read_s, however often a byte comes."""
    whole = request("slow", "Content-Type: text/plain", method="PUT", body=b"y" * 50_000)
    since, begun = _since(), time.monotonic()
    at = whole.index(b"\r\n\r\n") + 4 if part == "body" else 0
    got = b""
    with world.connect() as connection:
        connection.sendall(whole[:at])
        connection.settimeout(0.2)
        while time.monotonic() - begun < 18:
            try:
                connection.sendall(whole[at : at + 1])
                at += 1
                data = connection.recv(65536)
            except TimeoutError:
                continue
            except OSError:
                break
            if not data:
                break
            got += data
    assert time.monotonic() - begun < 15
    assert parse(got).status == 408
    _recorded(world, Code.INVALID_REQUEST, since)
    assert not [item for item in world.origin.seen if b"/x/slow " in item]


def test_a_client_that_ends_half_way_is_recorded(world: HttpWorld) -> None:
    """What it sent is a refusal; the backend gets nothing of it."""
    since = _since()
    whole = request("ended", "Content-Type: text/plain", method="PUT", body=b"hello")
    with world.connect() as connection:
        connection.sendall(whole[:-2])
        connection.shutdown(socket.SHUT_WR)
        got = b"".join(iter(lambda: connection.recv(65536), b""))
    assert parse(got).status == 400
    _recorded(world, Code.INVALID_REQUEST, since)
    assert not [item for item in world.origin.seen if b"/x/ended " in item]


def test_every_refusal_names_its_trace(world: HttpWorld) -> None:
    """Which finds the record."""
    reply = world.ask("a", "Upgrade: websocket")
    (trace,) = reply.all("x-road-request-id")
    assert re.fullmatch(r"[0-9a-f-]{36}", trace)
    (hit,) = world.hits(request_id=trace)
    assert (hit.kind, hit.problem) == ("refusal", Code.INVALID_HEADER)
