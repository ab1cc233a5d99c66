"""Row conditions: which records of a service an agreement opens.

A grant may name fields of the service's records and the values that they may have. The provider's
server tells them to the backend in a header field of its own, ``Exchange-Rows``, beside each
request under the grant; the backend (an adapter, or one that the service's owner vouches for)
answers with records that meet all conditions, as if there were no others.

Invariants:
- a condition has at least one value, no value comes twice, and no field has two conditions;
- ``read_rows(rows_header(rows)) == rows``; the header is JSON in ASCII, of
  :data:`MAX_HEADER_CHARS` at most, so that any HTTP server takes it;
- what is not understood is refused, never left out.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from exchange.documents import Node, parse_document

ROWS_HEADER: Final = "exchange-rows"
MAX_CONDITIONS: Final = 8
MAX_VALUES: Final = 256
MAX_VALUE: Final = 200
MAX_HEADER_CHARS: Final = 6_000
_FIELD: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,99}", re.ASCII)


@dataclass(frozen=True, slots=True)
class RowCondition:
    """Records count whose field has one of the values, as texts."""

    field: str
    values: tuple[str, ...]


def parse_rows(node: Node | None) -> tuple[RowCondition, ...]:
    """The conditions ``{"province": ["LA-VT"]}`` of a grant, in the order of their fields.

    Raises:
        Problem: ``InvalidDocument`` with the place.
    """
    if node is None:
        return ()
    rows = tuple(sorted((_condition(*item) for item in node.entries(MAX_CONDITIONS)), key=_field))
    if not rows:
        raise node.refuse("names no field; leave it out for all records")
    if len(rows_header(rows)) > MAX_HEADER_CHARS:
        raise node.refuse(f"is longer than {MAX_HEADER_CHARS} characters of JSON in ASCII")
    return rows


def format_rows(rows: tuple[RowCondition, ...]) -> dict[str, list[str]]:
    """The conditions as documents write them."""
    return {condition.field: list(condition.values) for condition in rows}


def rows_header(rows: tuple[RowCondition, ...]) -> str:
    """The value of ``Exchange-Rows``."""
    return json.dumps(format_rows(rows), separators=(",", ":"), sort_keys=True)


def read_rows(headers: Mapping[str, str] | tuple[tuple[str, str], ...]) -> tuple[RowCondition, ...]:
    """The conditions that a request's header fields tell; none when there is no such field.

    Raises:
        Problem: ``InvalidDocument`` for a field that comes twice or is not understood.
    """
    items = headers.items() if isinstance(headers, Mapping) else headers
    texts = [value for name, value in items if name == ROWS_HEADER]
    if not texts:
        return ()
    node = parse_document(texts[0].encode("utf-8"), MAX_HEADER_CHARS, f"header.{ROWS_HEADER}")
    if len(texts) > 1:
        raise node.refuse("comes twice")
    return parse_rows(node)


def _condition(field: str, node: Node) -> RowCondition:
    if not _FIELD.fullmatch(field):
        raise node.refuse("must be of the name of a field: letters, digits, '_', '.', '-'")
    values = tuple(item.text(MAX_VALUE) for item in node.items(MAX_VALUES, 1))
    if len(set(values)) != len(values):
        raise node.refuse("holds a value twice")
    return RowCondition(field, values)


def _field(condition: RowCondition) -> str:
    return condition.field
