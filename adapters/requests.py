"""A request as an adapter understands it: endpoint, bound values, fields, page.

Everything that a caller can get wrong is found here, before a place at the source is taken, and is
a :class:`Fault` with its own status and place. Nothing here touches the source.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, unquote

from adapters.cursors import BadCursor, bind, parse_cursor
from adapters.fields import Mismatch, parse_plain
from adapters.mapping import Endpoint, Filter, Parameter, Service
from adapters.statements import CURSOR, Condition, wrap
from exchange.agreements import ROWS_HEADER, RowCondition
from exchange.problems import Code, Problem

MAX_QUERY_LENGTH = 8_000
MAX_VALUE_LENGTH = 400
_PAGE_SIZE = re.compile(r"[1-9][0-9]{0,5}", re.ASCII)
_BAD_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")


class Fault(Problem):
    """A fault of the caller; the adapter answers it instead of failing."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What to ask the source: an endpoint, its SQL and the values to bind.

    The statement reads first the columns of ``members``, then those of the order. ``continues``
    tells that a cursor was given.
    """

    endpoint: Endpoint
    statement: str
    values: Mapping[str, Any]
    members: frozenset[str] | None
    page_size: int
    binding: str
    continues: bool = False


@dataclass(slots=True)
class _Draft:
    """What is gathered while a request is read."""

    conditions: list[Condition] = field(default_factory=list)
    values: dict[str, Any] = field(default_factory=dict)

    def add(self, narrowing: Filter, text: str, where: str) -> None:
        try:
            found = narrowing.field.to_source(text)
        except Mismatch as mismatch:
            raise bad(where, mismatch.rule) from mismatch
        name = f"saphan_f{len(self.conditions)}"
        operator = narrowing.comparison.operator
        self.conditions.append(Condition(narrowing.field.column, operator, name, len(found)))
        for index, value in enumerate(found):
            self.values[f"{name}_{index}"] = value

    def narrow(self, endpoint: Endpoint, condition: RowCondition) -> None:
        """Let only records through whose field has one of the values."""
        found = endpoint.record.field(condition.field)
        where = f"header.{ROWS_HEADER}.{condition.field}"
        if found is None or found.separator is not None:
            detail = f"the record {endpoint.record.name} has no single field {condition.field!r}"
            raise bad(where, detail, Code.SERVICE_DISABLED, 503)
        words: list[Any] = []
        for value in condition.values:
            try:
                words += found.to_source(value)
            except Mismatch as mismatch:
                raise bad(where, mismatch.rule, Code.SERVICE_DISABLED, 503) from mismatch
        name = f"saphan_r{len(self.conditions)}"
        self.conditions.append(Condition(found.column, "=", name, len(words)))
        for index, word in enumerate(words):
            self.values[f"{name}_{index}"] = word


def bad(where: str, detail: str, code: Code = Code.INVALID_REQUEST, status: int = 400) -> Fault:
    """A fault of the caller at ``where``."""
    return Fault(code, where=where, detail=detail, status=status)


def find(service: Service, path: str) -> tuple[Endpoint, dict[str, str]]:
    """The endpoint of ``path`` (still percent-encoded) and the values of its variables.

    A literal segment wins over a variable.

    Raises:
        Fault: 404 when no endpoint has this path; 400 for a malformed escape.
    """
    parts = [_decode(part, "path") for part in (path or "/").split("/")[1:]]
    best: tuple[tuple[bool, ...], Endpoint, dict[str, str]] | None = None
    for endpoint in service.endpoints:
        variables = _match(endpoint.segments, parts)
        if variables is None:
            continue
        rank = tuple(segment.startswith("{") for segment in endpoint.segments)
        if best is None or rank < best[0]:
            best = (rank, endpoint, variables)
    if best is None:
        known = ", ".join(endpoint.path for endpoint in service.endpoints)
        detail = f"there is no such path in this service; known: {known}"
        raise bad("path", detail, Code.UNKNOWN_ENDPOINT, 404)
    return best[1], best[2]


def plan(
    endpoint: Endpoint,
    variables: Mapping[str, str],
    query: str,
    rows: Sequence[RowCondition] = (),
) -> Plan:
    """Read the parameters of a request for ``endpoint``.

    Args:
        rows: conditions that every record of the answer meets.

    Raises:
        Fault: 400 with the place for an unknown, repeated, missing or malformed parameter, and
            for a cursor that is not of this query; 503 for a condition on rows that this mapping
            cannot apply, so that no record leaves unjudged.
    """
    given = parse_query(query)
    _check_known(endpoint, given)
    draft = _Draft()
    for name, key in endpoint.keys.items():
        draft.add(key, _checked(variables[name], f"path.{name}"), f"path.{name}")
    for name, narrowing in endpoint.filters.items():
        if name in given:
            draft.add(narrowing, given[name], f"query.{name}")
    for condition in rows:
        draft.narrow(endpoint, condition)
    for name, parameter in endpoint.query.parameters.items():
        place = f"path.{name}" if name in variables else f"query.{name}"
        text = variables[name] if name in variables else given.get(name)
        draft.values[name] = _parameter(parameter, text, place)
    narrowing_texts = {
        name: text
        for name, text in given.items()
        if name in endpoint.filters or name in endpoint.query.parameters
    }
    binding = bind(endpoint.path, narrowing_texts | dict(variables))
    after = given.get("cursor")
    if after is not None:
        for index, value in enumerate(_cursor(after, binding, endpoint)):
            draft.values[f"{CURSOR}_{index}"] = value
    members = _members(endpoint, given.get("fields"))
    page_size = _page_size(endpoint, given.get("page_size"))
    columns = [column for column, _ in selected_columns(endpoint, members)]
    columns += [key.column for key in endpoint.order]
    statement = wrap(
        endpoint.query.select, columns, draft.conditions, endpoint.order, after=after is not None
    )
    return Plan(endpoint, statement, draft.values, members, page_size, binding, after is not None)


def selected_columns(endpoint: Endpoint, members: frozenset[str] | None) -> list[tuple[str, int]]:
    """The columns to read and, of each, the index of its field in the record."""
    return [
        (field.column, index)
        for index, field in enumerate(endpoint.record.fields)
        if members is None or field.path[0] in members
    ]


def parse_query(query: str) -> dict[str, str]:
    """The parameters of a query string.

    Raises:
        Fault: 400 when it is too long, malformed, not UTF-8 or repeats a name.
    """
    if not query:
        return {}
    if len(query) > MAX_QUERY_LENGTH:
        raise bad("query", f"is longer than {MAX_QUERY_LENGTH} characters")
    if _BAD_ESCAPE.search(query):
        raise bad("query", "has a malformed percent escape")
    try:
        pairs = parse_qsl(
            query, keep_blank_values=True, strict_parsing=True, errors="strict", max_num_fields=100
        )
    except ValueError as error:
        raise bad("query", "is not a list of name=value in UTF-8") from error
    found: dict[str, str] = {}
    for name, value in pairs:
        if name in found:
            raise bad(f"query.{name[:80]}", "appears twice")
        found[name] = value if name == "cursor" else _checked(value, f"query.{name[:80]}")
    return found


def _match(segments: tuple[str, ...], parts: list[str]) -> dict[str, str] | None:
    if len(segments) != len(parts):
        return None
    variables = {}
    for segment, part in zip(segments, parts, strict=True):
        if segment.startswith("{"):
            if not part:
                return None
            variables[segment[1:-1]] = part
        elif segment != part:
            return None
    return variables


def _decode(text: str, where: str) -> str:
    try:
        if _BAD_ESCAPE.search(text):
            raise ValueError
        return unquote(text, errors="strict")
    except ValueError as error:
        raise bad(where, "has a malformed percent escape") from error


def _checked(value: str, where: str) -> str:
    if len(value) > MAX_VALUE_LENGTH:
        raise bad(where, f"is longer than {MAX_VALUE_LENGTH} characters")
    if "\x00" in value:
        raise bad(where, "holds a NUL")
    return value


def _check_known(endpoint: Endpoint, given: Mapping[str, str]) -> None:
    known = {"fields", *endpoint.filters, *endpoint.query.parameters}
    known -= set(endpoint.variables)
    if endpoint.order:
        known |= {"cursor", "page_size"}
    for name in given:
        if name not in known:
            detail = f"unknown parameter; known here: {', '.join(sorted(known))}"
            raise bad(f"query.{name[:80]}", detail)


def _parameter(parameter: Parameter, text: str | None, where: str) -> Any:
    if text is None:
        if parameter.required:
            raise bad(where, "is needed here")
        return parameter.default
    try:
        value = parse_plain(parameter.kind, text)
    except Mismatch as mismatch:
        raise bad(where, mismatch.rule) from mismatch
    if parameter.table is not None:
        if text not in parameter.table:
            raise bad(where, f"must be one of: {', '.join(sorted(parameter.table))}")
        return parameter.table[text]
    if parameter.minimum is not None and value < parameter.minimum:
        raise bad(where, f"must be at least {parameter.minimum}")
    if parameter.maximum is not None and value > parameter.maximum:
        raise bad(where, f"must be at most {parameter.maximum}")
    if parameter.pattern is not None and not re.search(parameter.pattern, text):
        raise bad(where, f"must have the form {parameter.pattern}")
    if parameter.values and text not in parameter.values:
        raise bad(where, f"must be one of: {', '.join(parameter.values)}")
    return value


def _cursor(text: str, binding: str, endpoint: Endpoint) -> tuple[Any, ...]:
    try:
        return parse_cursor(text, binding, len(endpoint.order))
    except BadCursor as error:
        raise bad("query.cursor", f"the cursor is {error}; begin again without it") from error


def _members(endpoint: Endpoint, text: str | None) -> frozenset[str] | None:
    if text is None:
        return None
    known = endpoint.record.members
    names = text.split(",")
    for name in names:
        if name not in known:
            detail = f"there is no field {name[:80]!r}; known: {', '.join(known)}"
            raise bad("query.fields", detail)
    if len(set(names)) != len(names):
        raise bad("query.fields", "names a field twice")
    return frozenset(names)


def _page_size(endpoint: Endpoint, text: str | None) -> int:
    if text is None:
        return endpoint.page_size
    if not _PAGE_SIZE.fullmatch(text) or int(text) > endpoint.page_size:
        raise bad("query.page_size", f"must be a number from 1 to {endpoint.page_size}")
    return int(text)
