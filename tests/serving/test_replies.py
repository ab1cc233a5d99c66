"""Problems as HTTP replies, in X-Road's shape."""

from __future__ import annotations

from xml.etree import ElementTree

import orjson
import pytest

from exchange.messages.error_types import ErrorTypes
from exchange.problems import CATALOGUE, Code, Problem, Side
from serving import replies
from serving.replies import Form, Profile

DENIED = Problem(Code.ACCESS_DENIED, where="X-Road-Client", detail="no <agreement> & none")


def test_json_has_type_message_and_trace() -> None:
    """PR-REST 1.0.4 section 4.6: type, message, detail; X-Road-Error marks it as ours."""
    status, headers, body = replies.reply(DENIED, Side.PROVIDER, "trace-1")
    document = orjson.loads(body)
    assert status == 403
    assert document["type"] == "Server.ServerProxy.AccessDenied"
    assert document["message"] == "no <agreement> & none"
    assert document["detail"] == "trace-1"
    assert set(document["remedy"]) == {"en", "lo"}
    assert dict(headers)["x-road-error"] == "Server.ServerProxy.AccessDenied"


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        ("", "application/json"),
        ("*/*", "application/json"),
        ("application/json, text/xml", "text/xml;charset=utf-8"),
        ("text/html, */*;q=0.8", "application/json"),
        ("text/xml", "text/xml;charset=utf-8"),
        ("text/html, application/xml;q=0.1", "application/xml;charset=utf-8"),
        ("text/*", "text/xml;charset=utf-8"),
    ],
)
def test_the_form_follows_accept(accept: str, kind: str) -> None:
    """The first XML type that Accept names wins; q is ignored, as X-Road does."""
    _, headers, body = replies.reply(DENIED, Side.CONSUMER, "t", accept)
    assert dict(headers)["content-type"] == kind
    if "xml" in kind:
        root = ElementTree.fromstring(body)  # noqa: S314 - our own output
        assert root.findtext("type") == "Server.ClientProxy.AccessDenied"
        assert root.findtext("message") == "no <agreement> & none"


def test_a_passing_refusal_says_when_to_come_again() -> None:
    """429 and 503 carry Retry-After, from the facts when they know better."""
    quota = Problem(Code.QUOTA_EXCEEDED, facts={"retry_after_s": 77})
    assert dict(replies.reply(quota, Side.PROVIDER, "t")[1])["retry-after"] == "77"
    stopping = Problem(Code.SHUTTING_DOWN)
    assert dict(replies.reply(stopping, Side.CONSUMER, "t")[1])["retry-after"] == "5"
    assert "retry-after" not in dict(replies.reply(DENIED, Side.PROVIDER, "t")[1])


X_ROAD = Form(Profile.X_ROAD)
SNAKE = Form(error_types=ErrorTypes.SNAKE)


@pytest.mark.parametrize(
    ("problem", "side", "status", "error_type"),
    [
        (Problem(Code.ACCESS_DENIED), Side.PROVIDER, 500, "Server.ServerProxy.AccessDenied"),
        (
            Problem(Code.INVALID_IDENTIFIER),
            Side.CONSUMER,
            500,
            "Server.ClientProxy.InternalError",
        ),
        (
            Problem(Code.CLIENT_CERTIFICATE_REQUIRED),
            Side.CONSUMER,
            500,
            "Server.ClientProxy.SslAuthenticationFailed",
        ),
        (Problem(Code.UNKNOWN_SERVICE), Side.CONSUMER, 500, "Server.ServerProxy.UnknownService"),
        (Problem(Code.UNKNOWN_ENDPOINT), Side.CONSUMER, 500, "Server.ServerProxy.AccessDenied"),
        (Problem(Code.QUOTA_EXCEEDED), Side.PROVIDER, 500, "Server.ServerProxy.QuotaExceeded"),
        (Problem(Code.NOT_FOUND), Side.CLIENT, 400, "Client.NotFound"),
    ],
)
def test_the_profile_x_road_has_its_statuses_and_names(
    problem: Problem, side: Side, status: int, error_type: str
) -> None:
    """500 when the type begins with Server., else 400; three members, X-Road's names."""
    found, headers, body = replies.reply(problem, side, "t", "", X_ROAD)
    assert found == status
    assert dict(headers)["x-road-error"] == error_type
    document = orjson.loads(body)
    assert list(document) == ["type", "message", "detail"]
    assert document["type"] == error_type
    assert document["message"] == CATALOGUE[problem.code].cause.en


@pytest.mark.parametrize(
    ("code", "where", "message"),
    [
        (Code.SCHEMA_VIOLATION, "query.page_size", "query.page_size: must be of type integer"),
        (Code.INVALID_HEADER, "upgrade", "upgrade: must be of type integer"),
        (Code.RESPONSE_SCHEMA_VIOLATION, "", "must be of type integer"),
        (Code.UNKNOWN_SERVICE, "query.serviceCode", "must be of type integer"),
    ],
)
def test_the_profile_x_road_names_the_place_where_nothing_else_does(
    code: Code, where: str, message: str
) -> None:
    """It has no member ``where``; messages that clients of X-Road compare stay as they are."""
    problem = Problem(code, where=where, detail="must be of type integer")
    _, _, body = replies.reply(problem, Side.PROVIDER, "t", "", X_ROAD)
    assert orjson.loads(body)["message"] == message
    plain = replies.reply(problem, Side.PROVIDER, "t")
    _, _, restated = replies.restate(plain[0], plain[1], plain[2], "t", "", X_ROAD)
    assert orjson.loads(restated)["message"] == message


def test_the_profile_x_road_in_xml_has_three_elements() -> None:
    """<error><type/><message/><detail/></error>, as X-Road writes it."""
    _, _, body = replies.reply(DENIED, Side.PROVIDER, "t", "application/xml", X_ROAD)
    root = ElementTree.fromstring(body)  # noqa: S314 - our own output
    assert [element.tag for element in root] == ["type", "message", "detail"]


def test_error_types_may_be_those_of_7_8() -> None:
    """error_types: snake changes the type in header and body, and nothing else."""
    status, headers, body = replies.reply(DENIED, Side.PROVIDER, "t", "", SNAKE)
    assert status == 403
    assert dict(headers)["x-road-error"] == "server.serverproxy.access_denied"
    assert orjson.loads(body)["type"] == "server.serverproxy.access_denied"
    assert "remedy" in orjson.loads(body)


@pytest.mark.parametrize(
    "sent", ["Server.ServerProxy.AccessDenied", "server.serverproxy.access_denied"]
)
@pytest.mark.parametrize("form", [replies.PLAIN, SNAKE, X_ROAD])
def test_the_other_servers_refusal_is_restated(sent: str, form: Form) -> None:
    """Both spellings are taken from a peer; the application gets its own server's form."""
    _, headers, body = replies.reply(DENIED, Side.PROVIDER, "theirs")
    headers = (("x-road-id", "m"), ("x-road-error", sent), *headers[1:])
    status, found, text = replies.restate(403, headers, body, "ours", "", form)
    snake = form.error_types is ErrorTypes.SNAKE
    expected = "server.serverproxy.access_denied" if snake else "Server.ServerProxy.AccessDenied"
    assert [value for name, value in found if name == "x-road-error"] == [expected]
    assert [value for name, value in found if name == "content-type"] == ["application/json"]
    assert dict(found)["x-road-id"] == "m"
    document = orjson.loads(text)
    assert (document["type"], document["detail"]) == (expected, "ours")
    assert document["message"] == DENIED.detail
    assert status == (500 if form.profile is Profile.X_ROAD else 403)


def test_a_restated_refusal_says_when_to_come_again_once() -> None:
    """The provider's Retry-After goes through as it was said."""
    quota = Problem(Code.QUOTA_EXCEEDED, facts={"retry_after_s": 77})
    status, headers, body = replies.reply(quota, Side.PROVIDER, "t")
    _, found, _ = replies.restate(status, headers, body, "t", "", replies.PLAIN)
    assert [value for name, value in found if name == "retry-after"] == ["77"]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<h1>no</h1>",
        b"[1]",
        b'{"message": 5, "remedy": {"en\\" x=\\"1": "y"}, "facts": 3}',
        b'{"message": "a\\u0001b"}',
    ],
)
@pytest.mark.parametrize("error_type", ["Server.ServerProxy.AccessDenied", "two words<", ""])
def test_whatever_a_peer_says_becomes_well_formed(body: bytes, error_type: str) -> None:
    """A refusal of another make is an error of three members at least, in JSON and in XML."""
    headers = (("x-road-error", error_type),)
    for accept in ("", "text/xml"):
        _, found, text = replies.restate(500, headers, body, "t", accept, replies.PLAIN)
        if accept:
            root = ElementTree.fromstring(text)  # noqa: S314 - our own output
            assert [element.tag for element in root][:3] == ["type", "message", "detail"]
        else:
            assert {"type", "message", "detail"} <= set(orjson.loads(text))
        assert dict(found)["x-road-error"].startswith("Server.ServerProxy.")
