"""X-Road's REST message protocol: what names a service, a client, a connection."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exchange.certificates.reading import fingerprint
from exchange.identifiers import ApplicationId, ServiceId
from exchange.problems import Code, Problem
from mediator import xroad
from mediator.message.stages import Call
from mediator.settings import ConnectionMode

SERVICE = ServiceId.parse("LA/GOV/MPI/oda-mis/projects")
BUDGET = ApplicationId.parse("LA/GOV/MOF/budget")

LAO = "/%E0%BA%A5%E0%BA%B2%E0%BA%A7"


def _code_of(*arguments: object, call: object = xroad.service_of) -> Code:
    with pytest.raises(Problem) as caught:
        call(*arguments)  # type: ignore[operator]
    return caught.value.code


@pytest.mark.parametrize(
    ("target", "path", "query"),
    [
        ("/r1/LA/GOV/MPI/oda-mis/projects", "", ""),
        ("/r1/LA/GOV/MPI/oda-mis/projects/", "/", ""),
        ("/r1/LA/GOV/MPI/oda-mis/projects/a/b", "/a/b", ""),
        ("/r1/LA/GOV/MPI/oda-mis/projects/a%2Fb?x=1&y=/?", "/a%2Fb", "x=1&y=/?"),
        ("/r1/LA/GOV/MPI/oda-mis/projects?", "", ""),
        (
            "/r1/LA/GOV/MPI/oda-mis/projects/%E0%BA%A5%E0%BA%B2%E0%BA%A7",
            "/%E0%BA%A5%E0%BA%B2%E0%BA%A7",
            "",
        ),
    ],
)
def test_a_target_names_service_path_and_query(target: str, path: str, query: str) -> None:
    """The part after the service code is the path, still percent-encoded."""
    assert xroad.service_of(target, 8190) == (SERVICE, path, query)


@pytest.mark.parametrize(
    ("target", "code", "status"),
    [
        ("/r2/LA/GOV/MPI/oda-mis/projects", Code.INVALID_REQUEST, 404),
        ("/", Code.INVALID_REQUEST, 404),
        ("/r1/LA/GOV/MPI/oda-mis", Code.INVALID_REQUEST, 400),
        ("/r1/LA/GOV//oda-mis/projects", Code.INVALID_REQUEST, 400),
        ("/r1/LA/GOV/MPI/oda-mis/projects/../x", Code.INVALID_REQUEST, 400),
        ("/r1/LA/GOV/MPI/oda-mis/projects/%2e%2E/x", Code.INVALID_REQUEST, 400),
        ("/r1/LA/GOV/MPI/oda-mis/projects/%zz", Code.INVALID_REQUEST, 400),
        ("/r1/LA/GOV/MPI/oda-mis/projects?a b", Code.INVALID_REQUEST, 400),
        ("/r1/LA/GOV/MPI/oda%2Fmis/projects", Code.INVALID_IDENTIFIER, 400),
        ("/r1/LA/GOV/MPI/oda%20mis/projects", Code.INVALID_IDENTIFIER, 400),
        ("/r1/LA/GOV/MPI/oda-mis/" + "p" * 9000, Code.INVALID_REQUEST, 414),
        ("http://x/r1/LA/GOV/MPI/oda-mis/projects", Code.INVALID_REQUEST, 404),
    ],
)
def test_another_target_is_refused(target: str, code: Code, status: int) -> None:
    """A malformed path is refused with its own status, before anything is looked up."""
    with pytest.raises(Problem) as caught:
        xroad.service_of(target, 8190)
    assert (caught.value.code, caught.value.status) == (code, status)


@given(st.text(max_size=300))
def test_any_target_parses_or_is_a_problem(target: str) -> None:
    """No input makes the parser raise anything but a Problem."""
    try:
        service, path, query = xroad.service_of(target, 8190)
    except Problem:
        return
    rebuilt = f"/r1/{service}{path}" + (f"?{query}" if query else "")
    assert rebuilt == target.removesuffix("?") or rebuilt == target


def test_the_client_comes_from_either_header() -> None:
    """X-Road and GovStack name the same header differently."""
    assert xroad.client_of((("x-road-client", str(BUDGET)),)) == BUDGET
    assert xroad.client_of((("x-govstack-client", str(BUDGET)),)) == BUDGET
    both = (("x-road-client", str(BUDGET)), ("x-govstack-client", str(BUDGET)))
    assert xroad.client_of(both) == BUDGET


@pytest.mark.parametrize(
    "headers",
    [
        (),
        (("x-road-client", ""),),
        (("x-road-client", "LA/GOV/MOF"),),
        (("x-road-client", "LA/GOV/MOF/budget/extra"),),
        (("x-road-client", "LA/GOV/MOF/budget"), ("x-road-client", "LA/GOV/MOF/other")),
        (("x-road-client", "LA/GOV/MOF/budget"), ("x-govstack-client", "LA/GOV/MOF/other")),
    ],
)
def test_a_missing_or_two_valued_client_is_refused(headers: xroad.Headers) -> None:
    """Who calls must be said exactly once."""
    assert _code_of(headers, call=xroad.client_of) is Code.INVALID_CLIENT_IDENTIFIER


CERTIFICATE = b"a DER certificate"
PLAIN = xroad.Connection(tls=False, certificate=None)
ANONYMOUS = xroad.Connection(tls=True, certificate=None)
KNOWN = xroad.Connection(tls=True, certificate=CERTIFICATE)
FOREIGN = xroad.Connection(tls=True, certificate=b"another")
ACCEPTED = None


@pytest.mark.parametrize(
    ("mode", "connection", "code"),
    [
        (ConnectionMode.HTTP, PLAIN, ACCEPTED),
        (ConnectionMode.HTTP, ANONYMOUS, ACCEPTED),
        (ConnectionMode.HTTPS, PLAIN, Code.TLS_REQUIRED),
        (ConnectionMode.HTTPS, ANONYMOUS, ACCEPTED),
        (ConnectionMode.MTLS, PLAIN, Code.TLS_REQUIRED),
        (ConnectionMode.MTLS, ANONYMOUS, Code.CLIENT_CERTIFICATE_REQUIRED),
        (ConnectionMode.MTLS, FOREIGN, Code.CLIENT_CERTIFICATE_REJECTED),
        (ConnectionMode.MTLS, KNOWN, ACCEPTED),
    ],
)
def test_the_connection_must_be_good_enough_for_the_mode(
    mode: ConnectionMode, connection: xroad.Connection, code: Code | None
) -> None:
    """Each mode demands what it says, and no more."""
    local = xroad.LocalApplication(BUDGET, mode, frozenset({fingerprint(CERTIFICATE)}))
    arguments = (BUDGET, connection, {BUDGET: local})
    if code is None:
        assert xroad.authenticate(*arguments) is local
    else:
        assert _code_of(*arguments, call=xroad.authenticate) is code


def test_an_application_of_another_server_is_unknown_here() -> None:
    """Only configured applications may call through a server."""
    assert _code_of(BUDGET, PLAIN, {}, call=xroad.authenticate) is Code.UNKNOWN_APPLICATION


def test_fields_of_the_connection_and_of_the_server_are_not_forwarded() -> None:
    """Hop-by-hop fields, those named by Connection, and what this server sets itself stay here."""
    headers = (
        ("host", "x"),
        ("connection", "keep-alive, X-Private"),
        ("x-private", "1"),
        ("keep-alive", "timeout=5"),
        ("te", "trailers"),
        ("trailer", "x-sum"),
        ("upgrade", "h2c"),
        ("proxy-connection", "keep-alive"),
        ("proxy-authorization", "Basic AAAA"),
        ("proxy-authentication-info", "x"),
        ("via", "1.1 proxy.inside.example"),
        ("forwarded", "for=10.0.0.1"),
        ("signature", "sig=:AAAA:"),
        ("x-road-request-id", "forged"),
        ("exchange-repeat", "?1"),
        ("x-road-client", str(BUDGET)),
        ("authorization", "Bearer abc"),
        ("cookie", "a=1"),
        ("cookie", "b=2"),
    )
    assert xroad.forwarded(headers) == (
        ("authorization", "Bearer abc"),
        ("cookie", "a=1"),
        ("cookie", "b=2"),
    )


def test_a_connection_field_cannot_hide_what_is_recorded() -> None:
    """Purpose and agreement go on although Connection lists them: both journals tell the same."""
    fields = (("exchange-purpose", "p"), ("exchange-agreement", "a"), ("exchange-subject", "s:1"))
    listed = "Exchange-Purpose, exchange-agreement, exchange-subject"
    headers = (("connection", listed), *fields)
    assert xroad.forwarded(headers) == fields


def test_a_call_gets_a_message_id_when_it_brings_none() -> None:
    """X-Road-Id is generated as {instance}-{uuid} (X-Road's ClientProxy)."""
    target = f"/r1/{SERVICE}/x"
    named = xroad.service_of(target, 8190)
    call = xroad.call_of("GET", target, named, (("exchange-purpose", "p"),), b"", BUDGET, "r")
    assert call.message_id.startswith("LA-")
    assert (call.path, call.purpose, call.request_id) == ("/x", "p", "r")


@pytest.mark.parametrize(
    ("method", "headers", "code"),
    [
        ("BREW", (), Code.INVALID_REQUEST),
        ("GET", (("x-road-id", "a"), ("x-road-id", "b")), Code.INVALID_HEADER),
        ("GET", (("x-road-id", "a b"),), Code.INVALID_HEADER),
        ("GET", (("x-road-id", "i" * 256),), Code.INVALID_HEADER),
        ("GET", (("exchange-purpose", "\xff"),), Code.INVALID_HEADER),
        ("GET", (("exchange-purpose", "Somchai, born 1990"),), Code.INVALID_HEADER),
        ("GET", (("exchange-agreement", "for Somchai"),), Code.INVALID_HEADER),
        ("GET", (("exchange-subject", "Somchai"),), Code.INVALID_HEADER),
        ("GET", (("exchange-subject", "a:1"), ("exchange-subject", "a:2")), Code.INVALID_HEADER),
        ("GET", (("exchange_subject", "a:1"),), Code.INVALID_HEADER),
        ("GET", (("x-road-represented-party", "COM/GOV/1"),), Code.INVALID_HEADER),
        ("GET", (("x-road-represented-party", "COM/%zz"),), Code.INVALID_HEADER),
        ("GET", (("x-road-represented-party", "COM/"),), Code.INVALID_HEADER),
        (
            "GET",
            (("x-road-represented-party", "COM/1"), ("x-road-represented-party", "COM/2")),
            Code.INVALID_HEADER,
        ),
        ("GET", (("x-road-security-server", "LA/GOV/MPI/ss1/x"),), Code.INVALID_IDENTIFIER),
        ("GET", (("x_road_client", str(BUDGET)),), Code.INVALID_HEADER),
        ("GET", (("x-road_represented-party", "COM/1"),), Code.INVALID_HEADER),
        ("GET", (("content_length", "0"),), Code.INVALID_HEADER),
        ("GET", (("transfer_encoding", "chunked"),), Code.INVALID_HEADER),
        ("GET", (("x.road.client", str(BUDGET)),), Code.INVALID_HEADER),
        ("GET", (("exchange!purpose", "other"),), Code.INVALID_HEADER),
        ("GET", (("x-http-method-override", "DELETE"),), Code.INVALID_HEADER),
        ("GET", (("x_http_method_override", "DELETE"),), Code.INVALID_HEADER),
        ("GET", (("x-original-url", "/admin"),), Code.INVALID_HEADER),
        ("GET", (("x-road-security-server", "LA/GOV/MPI"),), Code.INVALID_IDENTIFIER),
    ],
)
def test_a_malformed_call_is_refused(method: str, headers: xroad.Headers, code: Code) -> None:
    """Unknown methods and malformed context headers are named."""
    arguments = (method, f"/r1/{SERVICE}", (SERVICE, "", ""), headers, b"", BUDGET, "r")
    assert _code_of(*arguments, call=xroad.call_of) is code


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        (
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        ),
        (
            "01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-03-about Somchai",
            "01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-03",
        ),
        ("about Somchai", ""),
        ("", ""),
        ("ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", ""),
        ("00-00000000000000000000000000000000-00f067aa0ba902b7-01", ""),
        ("00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01", ""),
        ("00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01", ""),
        ("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more", ""),
        ("01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01more", ""),
        ("x" * 2000, ""),
        ("\xe4", ""),
    ],
)
def test_a_trace_is_recorded_only_if_it_is_one(given: str, kept: str) -> None:
    """What is not W3C Trace Context is ignored, so that no text gets into the entries that way."""
    assert xroad.own_fields((("traceparent", given),)).get("traceparent", "") == kept


TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


@pytest.mark.parametrize(
    ("headers", "goes_on"),
    [
        ((("traceparent", TRACE), ("tracestate", "a=1"), ("tracestate", "b=2")), True),
        ((("traceparent", "nonsense"), ("tracestate", "a=1")), False),
        ((("tracestate", "a=1"),), False),
        ((("traceparent", TRACE), ("traceparent", TRACE.replace("4b", "5b"))), False),
    ],
)
def test_a_trace_goes_on_as_it_came_or_not_at_all(headers: xroad.Headers, goes_on: bool) -> None:
    """W3C Trace Context sections 3.4 and 4.3: passed through unchanged; no state without a
    trace; none is made here."""
    named = (SERVICE, "", "")
    call = xroad.call_of("GET", f"/r1/{SERVICE}", named, headers, b"", BUDGET, "r")
    assert call.headers == (headers if goes_on else ())
    assert call.trace == (TRACE if goes_on else "")


@pytest.mark.parametrize("value", ["websocket", "WebSocket", "h2c, websocket", "websocket/13"])
def test_websocket_is_refused(value: str) -> None:
    """Its client would wait for a protocol that nobody signs."""
    with pytest.raises(Problem) as caught:
        xroad.own_fields((("connection", "upgrade"), ("upgrade", value)))
    assert (caught.value.code, caught.value.status) == (Code.INVALID_HEADER, 501)
    assert caught.value.where == "upgrade"


def test_another_upgrade_is_ignored() -> None:
    """RFC 9110 section 7.8: the request is answered in HTTP/1.1; the offer goes no further."""
    headers = (
        ("connection", "Upgrade, HTTP2-Settings"),
        ("upgrade", "h2c"),
        ("http2-settings", "AAMAAABk"),
    )
    assert xroad.own_fields(headers) == {}
    assert xroad.forwarded(headers) == ()


def _call(headers: xroad.Headers, target: str = f"/r1/{SERVICE}/x") -> Call:
    named = xroad.service_of(target, 8190)
    return xroad.call_of("GET", target, named, headers, b"", BUDGET, "ours")


@pytest.mark.parametrize("party", ["1234567", "COM/1234567", "COM/a%2Fb"])
def test_a_represented_party_is_passed_on(party: str) -> None:
    """X-Road-Represented-Party: [class/]code, percent-encoded (PR-REST 1.0.4 section 4.3)."""
    field = ("x-road-represented-party", party)
    assert _call((field,)).headers == (field,)


def test_user_issue_and_wanted_server_are_passed_on_as_they_are() -> None:
    """X-Road-UserId, X-Road-Issue and X-Road-Security-Server reach the provider."""
    fields = (
        ("x-road-userid", "LA 12345 ສົມໃຈ".encode().decode("latin-1")),
        ("x-road-issue", "case 7"),
        ("x-road-issue", "case 8"),
        ("x-road-security-server", "LA/GOV/MPI/ss1"),
    )
    call = _call(fields)
    assert call.headers == fields
    assert str(call.wanted_server) == "LA/GOV/MPI/ss1"


@pytest.mark.parametrize("value", ["two words", "7", "\xff"])
def test_the_applications_request_id_is_dropped(value: str) -> None:
    """X-Road-Request-Id is the server's to give, whatever an application writes there."""
    call = _call((("x-road-request-id", value), ("x-road-request-id", "b"), ("a", "b")))
    assert (call.request_id, call.headers) == ("ours", (("a", "b"),))


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        (
            "/r1/LA/GOV/M%50I/a%2Db/%70rojects/x%2Fy?z=%41",
            "/r1/LA/GOV/MPI/a-b/projects/x%2Fy?z=%41",
        ),
        ("/r1/LA/GOV/MPI/a%2bb/p%3d1", "/r1/LA/GOV/MPI/a+b/p=1"),
        ("/r1/LA/GOV/MPI/what%3f/%28p%29", "/r1/LA/GOV/MPI/what%3F/(p)"),
        ("/r1/LA/GOV/MPI/a/p%27", "/r1/LA/GOV/MPI/a/p'"),
        ("/r1/LA/GOV/MPI/a/p/%70", "/r1/LA/GOV/MPI/a/p/%70"),
        ("/r1/LA/GOV/MPI/a/p", "/r1/LA/GOV/MPI/a/p"),
    ],
)
def test_identifiers_may_be_encoded_more_than_they_must(written: str, meant: str) -> None:
    """Each part is decoded by itself and gets its one spelling; path and query stay."""
    assert xroad.canonical_target(written) == meant
    assert str(xroad.service_of(meant, 8190)[0]) == "/".join(meant.split("/")[2:7])


@pytest.mark.parametrize(
    "part",
    ["a%2Fb", "a%20b", "a%00", "%2e%2e", "a%3Bb", "%E0%BA%AA", "%ff", "a%2", "a%25b", "a%5Cb"],
)
def test_an_encoded_part_must_be_a_code(part: str) -> None:
    """A separator, a control character, a dot segment or broken UTF-8 is no code once decoded."""
    arguments = (f"/r1/LA/GOV/MPI/{part}/p",)
    assert _code_of(*arguments, call=xroad.canonical_target) is Code.INVALID_IDENTIFIER
    headers = (("x-road-client", f"LA/GOV/MPI/{part}"),)
    assert _code_of(headers, call=xroad.client_calling) is Code.INVALID_CLIENT_IDENTIFIER


def test_two_spellings_of_one_client_are_one_client() -> None:
    """The same application, encoded in two ways, is no contradiction."""
    headers = (("x-road-client", str(BUDGET)), ("x-govstack-client", "LA/GOV/MOF/%62udget"))
    assert xroad.client_calling(headers) == BUDGET


def test_brackets_in_a_query_are_taken() -> None:
    """What X-Road takes and browsers do not encode: filter[name]=x."""
    assert xroad.service_of(f"/r1/{SERVICE}?f[a]=1", 8190)[2] == "f[a]=1"


def test_other_fields_with_underscores_are_the_applications_own() -> None:
    """Only what imitates our fields is refused."""
    assert xroad.own_fields((("session_id", "1"), ("x-own", "2"), ("x.dotted", "3"))) == {}


_FIELD = st.tuples(
    st.sampled_from(
        [
            "accept",
            "exchange-purpose",
            "exchange-agreement",
            "exchange-repeat",
            "x-road-id",
            "traceparent",
            "upgrade",
            "x_road_client",
            "x.road.id",
            "x-method-override",
            "x_other",
            "x-road-request-id",
            "a",
        ]
    ),
    st.sampled_from(["", "a", "b c", "national-budget", "\xe4", "\x7f", "x" * 600, "x" * 1100])
    | st.just("00-" + "0" * 32 + "-" + "1" * 16 + "-01"),
)


@given(st.lists(_FIELD, max_size=8).map(tuple))
def test_remembered_names_change_no_judgement(headers: xroad.Headers) -> None:
    """A head whose names were seen before is judged as one that is read field by field."""
    longer = (*headers, *((f"z{number}", "") for number in range(60)))
    found: list[object] = []
    for each in (headers, longer):
        try:
            found.append(xroad.own_fields(each))
        except Problem as problem:
            found.append((problem.code, problem.where))
    assert found[0] == found[1]


_TARGET_TEXT = st.text(
    alphabet=st.sampled_from("/r1LAGOVMPIodamisx%2F5cC3d-.?=&'(;\\ \x00ສé"), max_size=60
)


@given(_TARGET_TEXT.map(lambda text: f"/r1/LA/GOV/MPI/{text}") | st.text(max_size=60))
def test_a_target_is_brought_into_its_spelling_once(target: str) -> None:
    """Whatever is written: a problem, or a target that stays as it is and names what it did."""
    try:
        once = xroad.canonical_target(target)
    except Problem:
        return
    assert xroad.canonical_target(once) == once
    assert once.partition("?")[2] == target.partition("?")[2]
    try:
        service, path, _ = xroad.service_of(once, 8190)
    except Problem:
        return
    assert once.startswith(f"/r1/{service}{path}")
    assert target.endswith(once.removeprefix(f"/r1/{service}"))
