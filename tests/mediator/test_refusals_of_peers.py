"""What another server says in a refusal, and how far it is believed."""

from __future__ import annotations

import json
from typing import Any, cast

import pytest

from exchange.identifiers import ServerId
from exchange.messages.envelope import RequestHead, ResponseHead
from exchange.problems import Code
from exchange.registrations import ServerRecord
from mediator.consumer.refusals import not_done, unsigned
from mediator.message.stages import Answered, RecordedCall, SealedCall

SS1 = ServerRecord(ServerId.parse("LA/GOV/MPI/ss1"), "https://h", (), None)
NONE: Any = None


def answered(
    code: str, body: bytes | dict[str, Any], method: str = "GET", status: int = 503
) -> Answered:
    sealed = SealedCall(NONE, SS1, RequestHead(method, "https://h/", ()), NONE, "")
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    head = ResponseHead(status, (("x-road-error", code),) if code else ())
    return Answered(RecordedCall(sealed, cast(Any, None)), head, data)


def said(**facts: Any) -> dict[str, Any]:
    return {"message": "tonight", "facts": facts}


@pytest.mark.parametrize("code", ["MaintenanceMode", "ShuttingDown", "ServerOverloaded"])
@pytest.mark.parametrize(
    ("method", "facts", "believed"),
    [
        ("GET", {}, True),
        ("POST", {}, False),
        ("POST", {"acted": False}, True),
        ("POST", {"acted": True}, False),
        ("POST", {"acted": 0}, False),
        ("POST", {"acted": "false"}, False),
    ],
)
def test_an_unsafe_call_goes_on_only_when_the_server_says_that_it_did_not_act(
    code: str, method: str, facts: dict[str, Any], believed: bool
) -> None:
    """The same codes can arise when the backend has answered already."""
    problem = not_done(answered(f"Server.ServerProxy.{code}", said(**facts), method))
    assert (problem is not None) is believed
    if problem is not None:
        assert (problem.code, problem.detail, problem.where) == (code, "tonight", str(SS1.id))


@pytest.mark.parametrize(
    "other",
    [
        answered("", said(acted=False)),
        answered("Server.ClientProxy.MaintenanceMode", said(acted=False)),
        answered("Server.ServerProxy.AccessDenied", said(acted=False)),
        answered("Server.ServerProxy.Nothing", said(acted=False)),
        answered("Server.ServerProxy.MaintenanceMode", said(acted=False), status=200),
    ],
)
def test_any_other_answer_is_the_answer(other: Answered) -> None:
    """Only a provider's server that says one of these things leads to the next one."""
    assert not_done(other) is None


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"7", b'{"facts": 1}', b'{"facts": []}'])
def test_a_refusal_without_a_sentence_is_one(body: bytes) -> None:
    """What cannot be read is left out."""
    problem = not_done(answered("Server.ServerProxy.ShuttingDown", body))
    assert problem is not None
    assert (problem.detail, problem.facts) == ("", {})
    assert unsigned(answered("Server.ServerProxy.Nothing", body)).code is Code.PEER_NONSENSE


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ({"retry_after_s": 7, "until": "x"}, {"retry_after_s": 7, "until": "x"}),
        ({"retry_after_s": 10**9, "other": 1}, {}),
        ({"retry_after_s": -1, "until": "x" * 99}, {}),
        ({"retry_after_s": True, "until": 5}, {}),
        ({"retry_after_s": "7\r\nx: y"}, {}),
    ],
)
def test_facts_of_another_server_are_bounded(given: dict[str, Any], kept: dict[str, Any]) -> None:
    """They end in header fields for the application: nothing odd gets there."""
    problem = not_done(answered("Server.ServerProxy.ShuttingDown", said(**given)))
    assert problem is not None
    assert problem.facts == kept
