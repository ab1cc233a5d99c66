"""Outcomes: what a claimed message came to, as it is given again.

The same fields are kept whether the answer was just sealed or is read back from the journal.
"""

from __future__ import annotations

from typing import Any

from exchange.journal.sealed_parts import SealedPart
from exchange.messages.heads import Headers
from exchange.problems import Code, Problem
from mediator.message.stages import SealedReply
from mediator.once.vault import Answer
from serving.bodies import Spooled

_OF_ONE_REQUEST = frozenset(
    {
        "content-digest",
        "signature",
        "signature-input",
        "x-road-client",
        "x-road-id",
        "x-road-request-id",
        "x-road-service",
    }
)


def of_reply(sealed: SealedReply, problem: Problem | None, agreement: str) -> Answer:
    """The outcome in an answer that was sealed for one request."""
    return Answer(
        sealed.head.status,
        _headers(sealed.head.headers),
        None if isinstance(sealed.body, Spooled) else sealed.body,
        agreement,
        problem.code.value if problem else "",
        problem.where if problem else "",
    )


def of_entry(entry: dict[str, Any], part: SealedPart | None) -> Answer:
    """The outcome in an entry of the journal; without its body when the journal has not kept it."""
    agreement, problem = entry.get("agreement", ""), entry.get("problem", "")
    where = entry.get("where", "")
    if part is None:
        return Answer(entry.get("status", 0), (), None, agreement, problem, where)
    whole = len(part.body) == entry.get("size", 0)
    return Answer(
        part.head.status or 0,
        _headers(part.head.headers),
        part.body if whole else None,
        agreement,
        problem,
        where,
    )


def problem_of(answer: Answer) -> Problem | None:
    """The recorded failure, as the journal names it again."""
    if not answer.problem:
        return None
    try:
        return Problem(Code(answer.problem), where=answer.where)
    except ValueError:  # of another version
        return Problem(Code.INTERNAL_ERROR, where=answer.where)


def _headers(headers: Headers) -> Headers:
    return tuple([item for item in headers if item[0] not in _OF_ONE_REQUEST])
