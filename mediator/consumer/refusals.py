"""What another server says in a refusal, signed or not.

A server that closes, is full or is maintained answers before it can open a message, or instead of
acting upon it: nothing was done, and another server of the provider may have the message. That
counts for an unsafe method only when the refusal says so itself (:data:`exchange.problems.ACTED`):
a server may also find itself full, or closing, when the backend has answered already.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

import orjson

from exchange.messages.error_types import camel, known_code
from exchange.messages.heads import SAFE_METHODS
from exchange.problems import ACTED, Code, Fact, Problem, Side
from mediator.message.stages import Answered

NOT_DONE: Final = frozenset(
    {Code.MAINTENANCE_MODE, Code.ONCE_UNAVAILABLE, Code.OVERLOADED, Code.SHUTTING_DOWN}
)
_MAX_DETAIL: Final = 500
MAX_RETRY_AFTER_S: Final = 86_400
# The facts that count here, and what they may be.
_KEPT: Final[Mapping[str, Callable[[object], bool]]] = {
    "retry_after_s": lambda value: type(value) is int and 0 < value <= MAX_RETRY_AFTER_S,
    "until": lambda value: isinstance(value, str) and len(value) <= 40,
    ACTED: lambda value: isinstance(value, bool),
}


def field(answered: Answered, wanted: str) -> str:
    """The first value of a header field of the answer; empty without one."""
    for name, value in answered.head.headers:
        if name == wanted:
            return value
    return ""


def not_done(answered: Answered) -> Problem | None:
    """What the server says, if that is that it did nothing with the message."""
    if answered.head.status != 503:
        return None
    reported = field(answered, "x-road-error")
    code = _code(reported)
    if code not in NOT_DONE:
        return None
    message, facts = _body(answered)
    sealed = answered.recorded.sealed
    if sealed.head.method not in SAFE_METHODS and facts.get(ACTED) is not False:
        return None
    return Problem(code, where=str(sealed.server.id), detail=message, facts=facts)


def unsigned(answered: Answered) -> Problem:
    """An error that the other server could not sign: it hosts no such member, for example."""
    reported = field(answered, "x-road-error")
    if not reported:
        return Problem(
            Code.MISSING_SIGNATURE,
            where="answer",
            detail="the other server's answer carries no signature",
            status=502,
        )
    message, _ = _body(answered)
    return Problem(
        _code(reported) or Code.PEER_NONSENSE,
        where="the other server, unsigned",
        detail=f"the other server says {reported}: {message[:300]}",
        facts={"reported": reported, "signed": False, **_come_again(answered)},
    )


def _come_again(answered: Answered) -> dict[str, int]:
    """When the other server says that it has room again (RFC 9110 section 10.2.3), in seconds."""
    text = field(answered, "retry-after")
    if not (text.isascii() and text.isdecimal()) or len(text) > 6:
        return {}
    return {"retry_after_s": min(int(text), MAX_RETRY_AFTER_S)}


def _code(reported: str) -> Code | None:
    """The code of a refusal of a provider's server, in either spelling of its type."""
    side = camel(reported).rpartition(".")[0]
    return known_code(reported) if side == Side.PROVIDER else None


def _body(answered: Answered) -> tuple[str, dict[str, Fact]]:
    """The sentence and the facts of an error; what is not as it should be is left out."""
    body = answered.body
    try:
        members = orjson.loads(body) if isinstance(body, bytes) else None
    except orjson.JSONDecodeError:
        return "", {}
    if not isinstance(members, dict):
        return "", {}
    given = members.get("facts")
    facts = given if isinstance(given, dict) else {}
    message = str(members.get("message", ""))[:_MAX_DETAIL]
    return message, {name: facts[name] for name, fits in _KEPT.items() if fits(facts.get(name))}
