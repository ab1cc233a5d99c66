"""Rows of a source as the body of an answer.

Invariants:
- a value that its field cannot express stops the whole answer, with the place of the value, the
  type it has and the rule it breaks, but not the value;
- a page ends at its size, at the row cap or before the byte cap, whichever comes first, and its
  cursor is that of the last row it really holds; a list without pages that is larger than a cap is
  refused, never cut.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection

from adapters.answers.columns import (
    NULL,
    ColumnConverter,
    Types,
    Values,
    column_converter,
    types_of,
)
from adapters.answers.joins import complete
from adapters.answers.layout import inner_profile
from adapters.answers.masking import Profile, masker
from adapters.answers.members import one_of, several_of
from adapters.answers.requests import Plan
from adapters.answers.row_keys import UnusableKey
from adapters.answers.running import Look, fetch, page_rows
from adapters.answers.structs import ABSENT, records_maker
from adapters.fields import Converter, Field, Kind, Mismatch, Null
from adapters.fields.written import NotJson, write_json
from adapters.mapping.masks import Show, Shown
from adapters.mapping.model import Endpoint, Limits, Nested, Operation, Record
from adapters.sources.sessions import keep_until_told
from exchange.problems import Code, Problem


class NoRecord(Exception):
    """The key names no record."""


@dataclass(frozen=True, slots=True)
class Column:
    """One value of a row on its way into a record.

    ``keeps`` says that only a null of the source is a null of the record.
    """

    path: tuple[str, ...]
    convert: Converter
    convert_all: ColumnConverter
    keep_null: bool
    keeps: bool = False


class RecordWriter:
    """Turns rows into records; made once per endpoint."""

    def __init__(self, record: Record, masked: Profile = (), key: bytes = b"") -> None:
        """Args: masked: what the caller does not see whole; key: what values are hashed with."""
        shown = dict(masked)
        self._columns = [_column(field, shown.get(field.name), key) for field in record.fields]
        self._exact = frozenset(
            index
            for index, field in enumerate(record.fields)
            if field.kind is Kind.DECIMAL and field.plain and field.scale
            if field.name not in shown
        )
        for nested in record.nested:
            inner = inner_profile(masked, nested.name)
            writer = RecordWriter(nested.query.record, inner, key)
            self._columns.append(_nested_column(nested, writer))

    def exact(self, plan: Plan) -> Collection[int]:
        """Places in a row whose numbers are answered as the source writes them, and not else used.

        A masked, computed or nested member, and a cursor, want the number itself.
        """
        if not self._exact or plan.layout.cells is not None:
            return ()
        places = {place for place, index in enumerate(plan.layout.indexes) if index in self._exact}
        return places.difference(plan.key)

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
                where = f"{place}/{'/'.join(column.path)}{mismatch.place}"
                raise misfit(mismatch, where) from mismatch
            if converted is None and not column.keep_null:
                continue
            _put(record, column.path, converted)
        return record

    def build_all(
        self, rows: Sequence[Sequence[Any]], indexes: Sequence[int]
    ) -> list[dict[str, Any]]:
        """What :meth:`build` makes of each row, column by column.

        Raises:
            Mismatch: when a value does not fit its field; :meth:`build` tells which.
        """
        columns, converted, gaps = self._convert(rows, indexes)
        whole = zip(*converted, strict=True)
        if gaps or any(len(column.path) > 1 for column in columns):
            return [_record(columns, row) for row in whole]
        names = [column.path[0] for column in columns]
        return [dict(zip(names, row, strict=True)) for row in whole]

    def write_all(self, rows: Sequence[Sequence[Any]], indexes: Sequence[int]) -> bytes:
        """What :meth:`build` makes of each row, as a JSON array.

        Raises:
            Mismatch: when a value does not fit its field; :meth:`build` tells which.
            NotJson: when a text cannot be written.
        """
        columns, converted, gaps = self._convert(rows, indexes)
        paths = tuple(column.path for column in columns)
        if gaps and any(len(path) > 1 for path in paths):  # an object may have no member at all
            return write_json([_record(columns, row) for row in zip(*converted, strict=True)])
        for index in gaps:
            converted[index] = [ABSENT if one is None else one for one in converted[index]]
        return write_json(records_maker(paths)(converted))

    def _convert(
        self, rows: Sequence[Sequence[Any]], indexes: Sequence[int]
    ) -> tuple[Sequence[Column], list[Values], Sequence[int]]:
        """The columns of ``rows``, converted, and the places of those whose nulls are left out."""
        columns = [self._columns[index] for index in indexes]
        converted: list[Values] = []
        gaps: list[int] = []
        for column, values in zip(columns, zip(*rows, strict=True), strict=False):
            types = types_of(values)
            made = column.convert_all(values, types)
            if not column.keep_null and (NULL in types or not column.keeps) and None in made:
                gaps.append(len(converted))
            converted.append(made)
        return columns, converted, gaps


def _column(field: Field, shown: Shown | None, key: bytes) -> Column:
    plain = Column(
        field.path,
        field.converter(),
        column_converter(field),
        field.null is Null.NULL,
        field.plain and field.kind is not Kind.ENUMERATION,
    )
    if shown is None:
        return plain
    mask = masker(field, shown, key)
    if mask is None:
        return Column(
            field.path,
            lambda value: None,
            lambda values, types: [None] * len(values),
            shown.show is Show.NULL,
        )

    def convert(value: Any) -> Any:
        converted = plain.convert(value)
        return None if converted is None else mask(converted)

    def convert_all(values: Values, types: Types) -> Values:
        return [convert(value) for value in values]

    return Column(field.path, convert, convert_all, plain.keep_null)


def _nested_column(nested: Nested, writer: RecordWriter) -> Column:
    """The column of a member whose cells are rows of another query."""
    converter = several_of if nested.many else one_of
    convert = converter(writer, nested.null is Null.REFUSE)

    def convert_all(cells: Values, types: Types) -> Values:
        return [convert(cell) for cell in cells]

    return Column((nested.name,), convert, convert_all, nested.null is Null.NULL)


def _record(columns: Sequence[Column], row: Sequence[Any]) -> dict[str, Any]:
    record: dict[str, Any] = {}
    for column, value in zip(columns, row, strict=True):
        if value is not None or column.keep_null:
            _put(record, column.path, value)
    return record


def _put(record: dict[str, Any], path: tuple[str, ...], value: Any) -> None:
    for step in path[:-1]:
        record = record.setdefault(step, {})
    record[path[-1]] = value


def misfit(mismatch: Mismatch, where: str) -> Problem:
    """A value of the source that its field cannot express."""
    return Problem(
        Code.RESPONSE_SCHEMA_VIOLATION,
        where=where,
        detail=f"a value of the type {mismatch.type} in the source breaks: {mismatch.rule}",
        facts={"type": mismatch.type, "rule": mismatch.rule},
    )


def answer(
    plan: Plan, writer: RecordWriter, limits: Limits, look: Look | None = None
) -> Callable[[Connection], bytes]:
    """What to do with a connection to get the body of the answer to ``plan``.

    The function raises :class:`NoRecord`, or a Problem: ``ResponseSchemaViolation``,
    ``ResponseTooLarge``, ``SourceFailed`` for a key that does not tell rows apart.
    """
    indexes = plan.layout.indexes

    def one(connection: Connection) -> bytes:
        rows = fetch(connection, plan, 2, look)
        if not rows:
            raise NoRecord
        if len(rows) > 1:
            raise _bad_key(plan.endpoint, "more than one record has this key")
        rows = complete(connection, rows, plan.layout, limits, look)
        body = _dump(writer.build(rows[0], indexes, ""), "")
        if len(body) > limits.max_bytes:
            raise _too_large(f"the record is larger than {limits.max_bytes} bytes")
        return body

    def several(connection: Connection) -> bytes:
        return _list(connection, plan, writer, indexes, limits, look)

    return one if plan.endpoint.operation is Operation.ONE else several


def _list(
    connection: Connection,
    plan: Plan,
    writer: RecordWriter,
    indexes: Sequence[int],
    limits: Limits,
    look: Look | None,
) -> bytes:
    order = plan.endpoint.order
    most = min(plan.page_size, limits.max_rows) if order else limits.max_rows
    rows, coarse = page_rows(connection, plan, most + 1, writer.exact(plan), look)
    if len(rows) > most and not order:
        raise _too_large(f"there are more than {most} records; ask for less with a filter")
    cells = complete(connection, rows[:most], plan.layout, limits, look)
    whole = _whole(cells, writer, indexes, limits)
    keep_until_told(connection, rows, cells)
    if whole is None:
        whole, number = _one_by_one(cells, plan, writer, indexes, limits)
    else:
        number = min(len(rows), most)
    following: str | None = None
    if number < len(rows):
        if coarse:
            raise _bad_key(plan.endpoint, f"the order is by {coarse} in the SQL of the query")
        following = _cursor(plan, plan.key_of(rows[number - 1]))
    return b"".join((b'{"items":', whole, b',"next":', write_json(following), b"}"))


def _whole(
    rows: Sequence[Sequence[Any]], writer: RecordWriter, indexes: Sequence[int], limits: Limits
) -> bytes | None:
    """All records as a JSON array; None when one does not fit or together they are too long."""
    if not rows:
        return b"[]"
    try:
        items = writer.write_all(rows, indexes)
    except (Mismatch, NotJson):
        return None  # the way one by one tells the place
    return items if len(items) - 1 <= limits.max_bytes else None


def _one_by_one(
    rows: Sequence[Sequence[Any]],
    plan: Plan,
    writer: RecordWriter,
    indexes: Sequence[int],
    limits: Limits,
) -> tuple[bytes, int]:
    """As many records as fit, as a JSON array, and their number."""
    items: list[bytes] = []
    size = 0
    for row in rows:
        item = _dump(writer.build(row, indexes, f"/items/{len(items)}"), f"/items/{len(items)}")
        size += len(item) + 1
        if size > limits.max_bytes:
            if not plan.endpoint.order or not items:
                raise _too_large(f"the answer is larger than {limits.max_bytes} bytes")
            break
        items.append(item)
    return b"[" + b",".join(items) + b"]", len(items)


def _cursor(plan: Plan, key: Sequence[Any]) -> str:
    try:
        return plan.cursors.format(plan.binding, key, plan.nullable)
    except UnusableKey as error:
        raise _bad_key(plan.endpoint, str(error)) from error


def _dump(record: dict[str, Any], place: str) -> bytes:
    try:
        return write_json(record)
    except NotJson as error:  # lone surrogates inside a list, for one
        raise Problem(
            Code.RESPONSE_SCHEMA_VIOLATION,
            where=place or "/",
            detail="the record cannot be written as JSON",
        ) from error


def _bad_key(endpoint: Endpoint, detail: str) -> Problem:
    return Problem(Code.SOURCE_FAILED, where=f"GET {endpoint.path}", detail=detail, retryable=False)


def _too_large(detail: str) -> Problem:
    return Problem(Code.RESPONSE_TOO_LARGE, where="body", detail=detail)
