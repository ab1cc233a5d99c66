"""Problems as HTTP replies, in X-Road's shape."""

from __future__ import annotations

from xml.etree import ElementTree

import orjson
import pytest

from exchange.problems import Code, Problem, Side
from serving import replies

DENIED = Problem(Code.ACCESS_DENIED, where="X-Road-Client", detail="no <agreement> & none")


def test_json_has_type_message_and_trace() -> None:
    """PR-REST 1.0.4 section 5: type, message, detail; and X-Road-Error marks the error as ours."""
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
        ("application/json, text/xml", "application/json"),
        ("text/xml", "text/xml;charset=utf-8"),
        ("text/html, application/xml;q=0.1", "application/xml;charset=utf-8"),
        ("text/*", "text/xml;charset=utf-8"),
    ],
)
def test_the_form_follows_accept(accept: str, kind: str) -> None:
    """The first type of Accept that we speak wins; q is ignored, as X-Road does."""
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
