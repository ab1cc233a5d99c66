"""Answers: what came back from a source, judged for each element that was asked for.

Invariants: a value is given only if there was exactly one record, it has the value, and the value
keeps the schema of its element and is short; whatever else came is a reason.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

import orjson

from exchange.messages.error_types import code_named
from exchange.once_only.elements import Element, records_at
from exchange.once_only.evidence_requests import Reason, reason_of
from exchange.problems import Code, Problem
from exchange.schema_sets.compiled import CompiledSchema
from mediator.message.stages import Call, OpenedAnswer
from mediator.once_only.asks import Ask
from mediator.once_only.values import Exchanged, Given, Missing, Outcome

MAX_ANSWER_BYTES: Final = 1 << 20
MAX_VALUE_BYTES: Final = 64 << 10
RETRY_AFTER_S: Final = 30
_NO_RECORD: Final = frozenset({404, 410})
Schemas = Mapping[str, CompiledSchema]


def outcomes_of(ask: Ask, opened: OpenedAnswer, schemas: Schemas) -> list[Outcome]:
    """What a source's proven answer says of each element."""
    answered = opened.answered
    exchange = exchanged(answered.recorded.sealed.routed.call)
    head, body = answered.head, answered.body
    if refusal := refused(opened):
        return _none(ask, refusal, exchange)
    if head.status in _NO_RECORD:
        return [Missing(one, Reason.NOT_FOUND, exchange=exchange) for one in ask.elements]
    if head.status != 200:
        detail = f"the source answered with status {head.status}"
        return _none(ask, Problem(Code.BACKEND_NONSENSE, detail=detail), exchange)
    if not isinstance(body, bytes) or len(body) > MAX_ANSWER_BYTES:
        detail = f"an answer of more than {MAX_ANSWER_BYTES} bytes is not searched for values"
        return _none(ask, Problem(Code.RESPONSE_TOO_LARGE, detail=detail), exchange)
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError:
        return _none(ask, Problem(Code.BACKEND_NONSENSE, detail="is not JSON"), exchange)
    at = datetime.fromtimestamp(opened.opened.created, UTC)
    return [_outcome(one, document, schemas[one.id], at, exchange) for one in ask.elements]


def none_of(ask: Ask, problem: Problem, call: Call | None = None) -> list[Outcome]:
    """What a problem before any proven answer says of each element."""
    return _none(ask, problem, None if call is None else exchanged(call))


def refused(opened: OpenedAnswer) -> Problem | None:
    """The signed refusal of the provider's server, if the answer is one."""
    head, body = opened.answered.head, opened.answered.body
    named = next((value for name, value in head.headers if name == "x-road-error"), None)
    if named is None:
        return None
    try:
        code = Code(code_named(named))
    except ValueError:
        code = Code.PEER_NONSENSE
    told = _members(body)
    facts, message = told.get("facts"), told.get("message")
    return Problem(
        code,
        detail=message[:500] if isinstance(message, str) else "",
        facts=facts if isinstance(facts, dict) else {},
    )


def exchanged(call: Call) -> Exchanged:
    """What names the exchange of a call."""
    return Exchanged(call.message_id, call.request_id)


def _members(body: object) -> dict[str, Any]:
    try:
        found = orjson.loads(body) if isinstance(body, bytes) else None
    except orjson.JSONDecodeError:
        found = None
    return found if isinstance(found, dict) else {}


def _none(ask: Ask, problem: Problem, exchange: Exchanged | None) -> list[Outcome]:
    reason = reason_of(problem.code)
    again = None
    if reason is Reason.UNAVAILABLE:
        told = problem.facts.get("retry_after_s")
        again = told if type(told) is int and 0 < told <= 86_400 else RETRY_AFTER_S
    return [
        Missing(one, reason, problem.detail, problem.code.value, again, exchange)
        for one in ask.elements
    ]


def _outcome(
    element: Element, document: Any, schema: CompiledSchema, at: datetime, exchange: Exchanged
) -> Outcome:
    records = list(records_at(document, element.source.tokens))
    if len(records) > 1:
        detail = f"{len(records)} records"
        return Missing(element, Reason.AMBIGUOUS, detail, exchange=exchange)
    if not records or records[0] is None:
        return Missing(element, Reason.NOT_FOUND, exchange=exchange)
    value = records[0]
    size = len(orjson.dumps(value))
    if size > MAX_VALUE_BYTES:
        detail, code = f"a value of {size} bytes is too long", Code.RESPONSE_TOO_LARGE
    elif not schema.is_valid(value):
        detail, code = f"the source's value is no {element.id}", Code.RESPONSE_SCHEMA_VIOLATION
    else:
        return Given(element, value, at, exchange, size)
    return Missing(element, Reason.UNAVAILABLE, detail, code.value, RETRY_AFTER_S, exchange)
