"""Rows of a source as the body of an answer.

Invariants:
- a value that its field cannot express stops the whole answer, with the place of the value, the
  type it has and the rule it breaks, but not the value;
- a page ends at its size, at the row cap or before the byte cap, whichever comes first, and its
  cursor is that of the last row it really holds; a list without pages that is larger than a cap is
  refused, never cut.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson
from sqlalchemy import Connection, CursorResult, text

from adapters.cursors import UnusableKey, format_cursor
from adapters.fields import Converter, Kind, Mismatch, Null
from adapters.mapping import Endpoint, Limits, Operation, Parameter, Record
from adapters.requests import Plan, selected_columns
from adapters.sql import bound
from adapters.statements import LIMIT
from exchange.problems import Code, Problem

# PostgreSQL cannot tell the type of ":x IS NULL" by itself.
_CASTS = {
    Kind.STRING: "text",
    Kind.INTEGER: "bigint",
    Kind.DECIMAL: "numeric",
    Kind.DATE: "date",
    Kind.BOOLEAN: "boolean",
}
_PLACEHOLDER = re.compile(r"(?<![:\w\\]):([a-z]\w*)(?![:\w])", re.ASCII)


class NoRecord(Exception):
    """The key names no record."""


@dataclass(frozen=True, slots=True)
class Column:
    """One value of a row on its way into a record."""

    path: tuple[str, ...]
    convert: Converter
    keep_null: bool


class RecordWriter:
    """Turns rows into records; made once per endpoint."""

    def __init__(self, record: Record) -> None:
        self._columns = [
            Column(field.path, field.converter(), field.null is Null.NULL)
            for field in record.fields
        ]

    def build(self, row: Sequence[Any], indexes: Sequence[int], place: str) -> dict[str, Any]:
        """The record of ``row``, whose values are those of the fields ``indexes``.

        Raises:
            Problem: ``ResponseSchemaViolation`` with the place of the first value that does not
                fit its field.
        """
        record: dict[str, Any] = {}
        for value, index in zip(row, indexes, strict=False):
            column = self._columns[index]
            try:
                converted = column.convert(value)
            except Mismatch as mismatch:
                raise _misfit(mismatch, f"{place}/{'/'.join(column.path)}") from mismatch
            if converted is None and not column.keep_null:
                continue
            inner = record
            for step in column.path[:-1]:
                inner = inner.setdefault(step, {})
            inner[column.path[-1]] = converted
        return record


def _misfit(mismatch: Mismatch, where: str) -> Problem:
    return Problem(
        Code.RESPONSE_SCHEMA_VIOLATION,
        where=where,
        detail=f"a value of the type {mismatch.type} in the source breaks: {mismatch.rule}",
        facts={"type": mismatch.type, "rule": mismatch.rule},
    )


def fetch(connection: Connection, plan: Plan, limit: int) -> Sequence[Sequence[Any]]:
    """Run the statement of ``plan`` for at most ``limit`` rows."""
    return execute(connection, plan, limit).fetchall()


def execute(connection: Connection, plan: Plan, limit: int) -> CursorResult[Any]:
    """Run the statement of ``plan``; the caller reads the rows."""
    dialect = connection.dialect.name
    values = {name: bound(dialect, value) for name, value in plan.values.items()}
    statement = plan.statement
    if dialect == "postgresql":
        statement = _with_casts(statement, plan.endpoint.query.parameters)
    return connection.execute(text(statement), values | {LIMIT: limit})


def _with_casts(statement: str, parameters: Mapping[str, Parameter]) -> str:
    def cast(match: re.Match[str]) -> str:
        parameter = parameters.get(match[1])
        return match[0] if parameter is None else f"CAST({match[0]} AS {_CASTS[parameter.kind]})"

    return _PLACEHOLDER.sub(cast, statement)


def answer(plan: Plan, writer: RecordWriter, limits: Limits) -> Callable[[Connection], bytes]:
    """What to do with a connection to get the body of the answer to ``plan``.

    The function raises :class:`NoRecord`, or a Problem: ``ResponseSchemaViolation``,
    ``ResponseTooLarge``, ``SourceFailed`` for a key that does not tell rows apart.
    """
    indexes = [index for _, index in selected_columns(plan.endpoint, plan.members)]

    def one(connection: Connection) -> bytes:
        rows = fetch(connection, plan, 2)
        if not rows:
            raise NoRecord
        if len(rows) > 1:
            raise _bad_key(plan.endpoint, "more than one record has this key")
        body = _dump(writer.build(rows[0], indexes, ""), "")
        if len(body) > limits.max_bytes:
            raise _too_large(f"the record is larger than {limits.max_bytes} bytes")
        return body

    def several(connection: Connection) -> bytes:
        return _list(connection, plan, writer, indexes, limits)

    return one if plan.endpoint.operation is Operation.ONE else several


def _list(
    connection: Connection,
    plan: Plan,
    writer: RecordWriter,
    indexes: Sequence[int],
    limits: Limits,
) -> bytes:
    order = plan.endpoint.order
    most = min(plan.page_size, limits.max_rows) if order else limits.max_rows
    rows = fetch(connection, plan, most + 1)
    if len(rows) > most and not order:
        raise _too_large(f"there are more than {most} records; ask for less with a filter")
    items: list[bytes] = []
    size = 0
    for row in rows[:most]:
        item = _dump(writer.build(row, indexes, f"/items/{len(items)}"), f"/items/{len(items)}")
        size += len(item) + 1
        if size > limits.max_bytes:
            if not order or not items:
                raise _too_large(f"the answer is larger than {limits.max_bytes} bytes")
            break
        items.append(item)
    following: str | None = None
    if len(items) < len(rows):
        following = _cursor(plan, rows[len(items) - 1][len(indexes) :])
    return b'{"items":[' + b",".join(items) + b'],"next":' + orjson.dumps(following) + b"}"


def _cursor(plan: Plan, key: Sequence[Any]) -> str:
    try:
        return format_cursor(plan.binding, key)
    except UnusableKey as error:
        raise _bad_key(plan.endpoint, str(error)) from error


def _dump(record: dict[str, Any], place: str) -> bytes:
    try:
        return orjson.dumps(record)
    except orjson.JSONEncodeError as error:  # lone surrogates inside a list, for one
        raise Problem(
            Code.RESPONSE_SCHEMA_VIOLATION,
            where=place or "/",
            detail="the record cannot be written as JSON",
        ) from error


def _bad_key(endpoint: Endpoint, detail: str) -> Problem:
    return Problem(Code.SOURCE_FAILED, where=f"GET {endpoint.path}", detail=detail, retryable=False)


def _too_large(detail: str) -> Problem:
    return Problem(Code.RESPONSE_TOO_LARGE, where="body", detail=detail)
