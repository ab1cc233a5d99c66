"""What becomes of an answer of the backend, by the rules of its operation. Pure.

Passed on is only a status that the mapping names, with a media type that it names for it, and the
header fields that it names. Of every other answer the caller learns no more than what it means::

    304                     the same, when the caller asked with If-None-Match
    400 409 412 415 422     the same status, in words of the adapter: the caller can mend it
    206 416                 the part that was asked for, or that there is none such
    404 410                 there is nothing under this path or key
    429 503                 ``ServerOverloaded``, with the time to come again if the backend says it
    any other               ``SourceFailed``: a redirect (never followed), a refusal of the
                            adapter's own credentials (401, 403), a failure (5xx), the unforeseen
"""

from __future__ import annotations

import re
from typing import Final

from adapters.answers.faults import bad
from adapters.passing.model import AnswerRule, Operation
from adapters.passing.requests import Asked, media_type
from exchange.problems import Code, Problem
from serving.backends import BackendResponse, Headers
from serving.bodies import Body

_MENDABLE: Final = frozenset({400, 409, 412, 415, 422})
_ABSENT: Final = frozenset({404, 410})
_BUSY: Final = frozenset({429, 503})
_CONTENT_RANGE = re.compile(r"bytes ([0-9]{1,15})-([0-9]{1,15})/([0-9]{1,15}|\*)", re.ASCII)
_SECONDS = re.compile(r"[0-9]{1,5}", re.ASCII)


def passed(asked: Asked, answer: BackendResponse[Body]) -> BackendResponse[Body]:
    """The answer as the caller gets it.

    Raises:
        Fault: for a status that tells the caller something, without a rule of its own.
        Problem: ``SourceFailed`` or ``ServerOverloaded``.
    """
    operation = asked.operation
    if answer.status == 304 and any(name == "if-none-match" for name, _ in asked.headers):
        kept = tuple(item for item in answer.headers if item[0] in ("etag", "last-modified"))
        return BackendResponse(304, kept, b"")
    ranged = any(name == "range" for name, _ in asked.headers)
    if ranged and answer.status == 206 and 200 in operation.answers:
        return _part(operation, answer)
    if ranged and answer.status == 416:
        raise bad("header.range", "there is no such part", status=416)
    rule = operation.answers.get(answer.status)
    if rule is None:
        raise _meaning(answer)
    headers = tuple(item for item in answer.headers if item[0] in operation.released)
    if not rule.content.media_types:
        bare = tuple(item for item in headers if item[0] != "content-type")
        return BackendResponse(rule.status, bare, b"")
    _check_content(rule, answer)
    return BackendResponse(rule.status, headers, answer.body)


def _part(operation: Operation, answer: BackendResponse[Body]) -> BackendResponse[Body]:
    """One part of what the operation answers, which was asked for (RFC 9110, 15.3.7)."""
    _check_content(operation.answers[200], answer)
    given = [value for name, value in answer.headers if name == "content-range"]
    match = _CONTENT_RANGE.fullmatch(given[0]) if len(given) == 1 else None
    length = len(answer.body)
    if match is None or (length and int(match[2]) - int(match[1]) + 1 != length):
        raise failed("the backend answered with a part that is not what it says", 206)
    names = operation.released | {"content-range"}
    return BackendResponse(
        206, tuple(item for item in answer.headers if item[0] in names), answer.body
    )


def _check_content(rule: AnswerRule, answer: BackendResponse[Body]) -> None:
    """Refuse a page for people where a record should be, whatever its status."""
    given = [value for name, value in answer.headers if name == "content-type"]
    kind = media_type(given[0]) if len(given) == 1 else ""
    if kind not in rule.content.media_types:
        said = f"the media type {kind[:80]!r}" if len(given) == 1 else "no single media type"
        detail = f"the backend answered {answer.status} with {said}, which is not let through"
        raise failed(detail, answer.status)


def _meaning(answer: BackendResponse[Body]) -> Problem:
    status = answer.status
    if status in _ABSENT:
        return bad("path", "there is nothing of this key", Code.NOT_FOUND, 404)
    if status in _MENDABLE:
        return bad("request", f"the backend refused the request ({status})", status=status)
    if status in _BUSY:
        facts = {"status": status, "retry_after_s": _retry_after(answer.headers)}
        detail = f"the backend asks to come again later ({status})"
        return Problem(Code.OVERLOADED, where="source", detail=detail, facts=facts)
    if 300 <= status < 400:
        return failed(f"the backend answered with a redirect ({status}), not followed", status)
    if status in (401, 403):
        return failed(f"the backend refused this adapter's own access ({status})", status)
    return failed(f"the backend answered {status}, which the mapping does not foresee", status)


def failed(detail: str, status: int) -> Problem:
    """An answer that nobody gets to see."""
    return Problem(Code.SOURCE_FAILED, where="source", detail=detail, facts={"status": status})


def _retry_after(headers: Headers) -> int:
    given = [value for name, value in headers if name == "retry-after"]
    return int(given[0]) if len(given) == 1 and _SECONDS.fullmatch(given[0]) else 1
