"""Yes or no: the answer of a predicate.

``{"result": true, "as_of": "2026-11-22"}``, and ``reason`` where the mapping has a code for what
does not hold. The first question to the source is the whole one; only where its answer is no, and
the mapping wants to know why, the conditions are asked one more at a time.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import orjson
from sqlalchemy import Connection

from adapters.answers.requests import Plan
from adapters.answers.rows import NoRecord
from adapters.answers.running import Look, fetch
from adapters.answers.statements import Statement
from adapters.fields import Schema
from adapters.mapping.predicates import UNKNOWN, Predicate, Unknown


def answer_predicate(
    plan: Plan, predicate: Predicate, look: Look | None = None
) -> Callable[[Connection], bytes]:
    """What to do with a connection to get the body of the answer.

    The function raises :class:`adapters.answers.rows.NoRecord` for a key of no record, where the
    mapping answers that as such.
    """

    def there_is(connection: Connection, asked: Statement) -> bool:
        return bool(fetch(connection, replace(plan, asked=asked), 1, look))

    def failing(connection: Connection) -> str:
        """The name of the first condition that no record meets with those before it."""
        for name, asked in plan.steps if predicate.reasons else plan.steps[:1]:
            if asked == plan.asked or not there_is(connection, asked):
                return name
        return ""

    def ask(connection: Connection) -> bytes:
        if there_is(connection, plan.asked):
            return orjson.dumps({"result": True, "as_of": str(plan.day)})
        return _no(plan, predicate, failing(connection) if predicate.asks_why else "")

    return ask


def answer_unknown(plan: Plan, predicate: Predicate) -> bytes:
    """The answer for a key that no record can have.

    Raises:
        NoRecord: where the mapping answers that as such.
    """
    return _no(plan, predicate, UNKNOWN)


def _no(plan: Plan, predicate: Predicate, failed: str) -> bytes:
    if failed == UNKNOWN and predicate.unknown is Unknown.NOT_FOUND:
        raise NoRecord
    said = {"result": False, "as_of": str(plan.day)}
    if failed in predicate.reasons:
        said["reason"] = predicate.reasons[failed]
    return orjson.dumps(said)


def predicate_schema(predicate: Predicate) -> Schema:
    """The schema of the answer; ``/result`` is what an element of the dictionary points to."""
    members: dict[str, Schema] = {
        "result": {"type": "boolean"} | predicate.marks.schema,
        "as_of": {"type": "string", "format": "date"},
    }
    if predicate.reasons:
        codes = sorted(set(predicate.reasons.values()))
        members["reason"] = {"type": "string", "enum": codes}
    return {
        "type": "object",
        "required": ["result", "as_of"],
        "properties": members,
        "additionalProperties": False,
    }
