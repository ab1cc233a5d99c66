"""Faults of callers, and the text of their requests: strict, bounded, each fault with its place."""

from __future__ import annotations

import re
from urllib.parse import parse_qsl, unquote

from exchange.agreements import RowCondition, read_rows
from exchange.problems import Code, Problem
from serving.backends import Headers

MAX_QUERY_LENGTH = 8_000
MAX_VALUE_LENGTH = 400
_BAD_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")


class Fault(Problem):
    """A fault of the caller; the adapter answers it instead of failing."""


def bad(where: str, detail: str, code: Code = Code.INVALID_REQUEST, status: int = 400) -> Fault:
    """A fault of the caller at ``where``."""
    return Fault(code, where=where, detail=detail, status=status)


def parse_query(query: str) -> dict[str, str]:
    """The parameters of a query string.

    Raises:
        Fault: 400 when it is too long, malformed, not UTF-8 or repeats a name.
    """
    found: dict[str, str] = {}
    for name, value in parse_pairs(query):
        if name in found:
            raise bad(f"query.{name[:80]}", "appears twice")
        found[name] = value if name == "cursor" else checked(value, f"query.{name[:80]}")
    return found


def parse_pairs(query: str) -> list[tuple[str, str]]:
    """The names and values of a query string, each as often as it comes, in order.

    Raises:
        Fault: 400 when it is too long, malformed or not UTF-8.
    """
    if not query:
        return []
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
    return pairs


def decode(text: str, where: str) -> str:
    """Percent-encoded text as it is meant; a malformed escape is a fault."""
    try:
        if _BAD_ESCAPE.search(text):
            raise ValueError
        return unquote(text, errors="strict")
    except ValueError as error:
        raise bad(where, "has a malformed percent escape") from error


def checked(value: str, where: str) -> str:
    """A value that is not too long and holds no NUL."""
    if len(value) > MAX_VALUE_LENGTH:
        raise bad(where, f"is longer than {MAX_VALUE_LENGTH} characters")
    if "\x00" in value:
        raise bad(where, "holds a NUL")
    return value


def rows_of(headers: Headers) -> tuple[RowCondition, ...]:
    """The conditions on rows that the mediator writes beside a request.

    Raises:
        Fault: 400 when they cannot be read.
    """
    try:
        return read_rows(headers)
    except Problem as problem:
        raise bad(problem.where, problem.detail) from problem


def nameless(problem: Problem) -> Problem:
    """``problem`` without where the source stands: that is nobody's to know outside.

    The words of the system for a connection that fails name the address.
    """
    unreached = problem.code is Code.BACKEND_UNREACHABLE
    detail = "the source cannot be reached" if unreached else problem.detail
    return type(problem)(problem.code, where="source", detail=detail, facts=problem.facts)
