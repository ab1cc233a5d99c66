"""The opaque cursor of a list: the key of the last row of a page.

Invariants: ``parse(format(x)) == x``; a cursor has one spelling; it fits only the endpoint and
the filters of the page that gave it (a digest of them is inside), so that a cursor carried to
another query is refused instead of giving rows that nobody asked for. It is not secret and not
signed: whoever forges one reaches no row that a filter would not have given.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import math
from collections.abc import Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal, InvalidOperation
from typing import Any

import orjson

MAX_CURSOR_LENGTH = 2000


class BadCursor(ValueError):
    """The text is not a cursor of this query."""


class UnusableKey(ValueError):
    """A row's key cannot be carried in a cursor: it is null or of an unknown type."""


def bind(template: str, filters: Mapping[str, str]) -> str:
    """What ties a cursor to its query."""
    text = orjson.dumps([template, sorted(filters.items())])
    return hashlib.sha256(text).hexdigest()[:16]


def format_cursor(binding: str, key: Sequence[Any]) -> str:
    """The cursor of the page that ends with ``key``.

    Raises:
        UnusableKey: when a part of the key is null or of a type that has no exact text.
    """
    data = orjson.dumps([binding, *(_pack(part) for part in key)])
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")


def parse_cursor(text: str, binding: str, count: int) -> tuple[Any, ...]:
    """The key inside a cursor of ``count`` parts.

    Raises:
        BadCursor: when it is malformed, of another query or of another number of parts.
    """
    if not text or len(text) > MAX_CURSOR_LENGTH or not text.isascii():
        raise BadCursor("malformed")
    try:
        data = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        parts = orjson.loads(data)
        key = tuple(_unpack(part) for part in parts[1:])
    except (binascii.Error, ValueError, InvalidOperation, TypeError, KeyError) as error:
        raise BadCursor("malformed") from error
    if parts[0] != binding:
        raise BadCursor("of another query")
    if len(key) != count or format_cursor(binding, key) != text:
        raise BadCursor("malformed")
    return key


def _pack(value: Any) -> Any:
    match value:
        case bool():
            raise UnusableKey(f"a key cannot be of the type {type(value).__name__}")
        case str() | int() if not isinstance(value, int) or -(1 << 63) <= value < 1 << 63:
            return value
        case float() if math.isfinite(value):
            return {"f": repr(value)}
        case Decimal():
            return {"n": str(value)}
        case datetime():
            return {"t": value.isoformat()}
        case date():
            return {"d": value.isoformat()}
        case _:
            raise UnusableKey(f"a key cannot be of the type {type(value).__name__}")


def _unpack(part: Any) -> Any:
    if isinstance(part, str | int) and not isinstance(part, bool):
        if isinstance(part, str) and "\x00" in part:
            raise BadCursor("malformed")
        return part
    if not isinstance(part, dict) or len(part) != 1:
        raise BadCursor("malformed")
    match next(iter(part.items())):
        case ("f", str(text)):
            return float(text)
        case ("n", str(text)):
            return Decimal(text)
        case ("t", str(text)):
            return datetime.fromisoformat(text)
        case ("d", str(text)):
            return date.fromisoformat(text)
        case _:
            raise BadCursor("malformed")
