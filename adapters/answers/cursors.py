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
from collections.abc import Collection, Mapping, Sequence
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from ipaddress import (
    IPv4Address,
    IPv4Interface,
    IPv4Network,
    IPv6Address,
    IPv6Interface,
    IPv6Network,
)
from typing import Any
from uuid import UUID

import orjson

MAX_CURSOR_LENGTH = 6000  # of the 8,000 characters that a query may have
# What PostgreSQL reads back from the text that Python writes of it.
_BY_TEXT = (
    *(UUID, time, IPv4Address, IPv4Interface, IPv4Network),
    *(IPv6Address, IPv6Interface, IPv6Network),
)
_MICROSECOND = timedelta(microseconds=1)
# No database gives more, and a driver may write them all out: of "1E+999999999" that is a gigabyte.
_MOST_DECIMALS = 20_000


class BadCursor(ValueError):
    """The text is not a cursor of this query."""


class UnusableKey(ValueError):
    """A row's key cannot be carried in a cursor: it is null or of an unknown type."""


def bind(template: str, filters: Mapping[str, str]) -> str:
    """What ties a cursor to its query."""
    text = orjson.dumps([template, sorted(filters.items())])
    return hashlib.sha256(text).hexdigest()[:16]


def format_cursor(binding: str, key: Sequence[Any], nullable: Collection[int] = ()) -> str:
    """The cursor of the page that ends with ``key``, of which the parts ``nullable`` may be null.

    Raises:
        UnusableKey: when another part is null, one is of a type that has no exact text, or all
            together are too long.
    """
    if any(part is None and index not in nullable for index, part in enumerate(key)):
        raise UnusableKey("a part of the key is null")
    data = orjson.dumps([binding, *(_pack(part) for part in key)])
    text = base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")
    if len(text) > MAX_CURSOR_LENGTH:
        raise UnusableKey(f"its cursor is longer than {MAX_CURSOR_LENGTH} characters")
    return text


def parse_cursor(
    text: str, binding: str, count: int, nullable: Collection[int] = ()
) -> tuple[Any, ...]:
    """The key inside a cursor of ``count`` parts, of which those numbered ``nullable`` may be null.

    Raises:
        BadCursor: when it is malformed, of another query or of another number of parts.
    """
    if not text or len(text) > MAX_CURSOR_LENGTH or not text.isascii():
        raise BadCursor("malformed")
    try:
        data = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        parts = orjson.loads(data)
        if not (isinstance(parts, list) and parts):
            raise BadCursor("malformed")
        key = tuple(_unpack(part) for part in parts[1:])
    except (binascii.Error, ValueError, ArithmeticError, TypeError, KeyError) as error:
        raise BadCursor("malformed") from error
    if parts[0] != binding:
        raise BadCursor("of another query")
    try:
        again = format_cursor(binding, key, nullable)
    except UnusableKey as error:
        raise BadCursor("malformed") from error
    if len(key) != count or again != text:
        raise BadCursor("malformed")
    return key


def _pack(value: Any) -> Any:
    match value:
        case None | bool():
            return value
        case str() if "\x00" not in value:
            return value
        case int():
            return value if -(1 << 63) <= value < 1 << 63 else {"n": str(value)}
        case float():  # PostgreSQL orders infinities and what is no number, too
            return {"f": repr(value)}
        case Decimal() if _has_text(value):
            return {"n": str(value)}
        case datetime():
            return {"t": value.isoformat()}
        case date():
            return {"d": value.isoformat()}
        case timedelta():
            return {"s": str(value // _MICROSECOND)}
        case bytes() | bytearray() | memoryview():
            return {"b": bytes(value).hex()}
        case _ if isinstance(value, _BY_TEXT):
            return str(value)
        case _:
            raise UnusableKey(f"a key cannot be of the type {type(value).__name__}")


def _has_text(number: Decimal) -> bool:
    exponent = number.as_tuple().exponent
    if isinstance(exponent, int):
        return abs(exponent) <= _MOST_DECIMALS
    return str(number) in ("NaN", "Infinity", "-Infinity")  # of PostgreSQL


def _unpack(part: Any) -> Any:
    if part is None or isinstance(part, int):
        return part
    if isinstance(part, str):
        if "\x00" in part:
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
        case ("s", str(text)):
            return int(text) * _MICROSECOND
        case ("b", str(text)):
            return bytes.fromhex(text)
        case _:
            raise BadCursor("malformed")
