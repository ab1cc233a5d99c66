"""The key of a row as bytes: the values of the columns of an order, exactly.

Invariants: ``unpack(pack(x)) == x`` as databases compare values; a key has one spelling.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
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

# What PostgreSQL reads back from the text that Python writes of it.
_BY_TEXT = (
    *(UUID, time, IPv4Address, IPv4Interface, IPv4Network),
    *(IPv6Address, IPv6Interface, IPv6Network),
)
_MICROSECOND = timedelta(microseconds=1)
# No database gives more, and a driver may write them all out: of "1E+999999999" that is a gigabyte.
_MOST_DECIMALS = 20_000


class BadKey(ValueError):
    """The bytes are no key."""


class UnusableKey(ValueError):
    """A row's key cannot be written: a part is null or of an unknown type."""


def pack(key: Sequence[Any], nullable: Collection[int] = ()) -> bytes:
    """The bytes of ``key``, of which the parts numbered ``nullable`` may be null.

    Raises:
        UnusableKey: when another part is null, or one is of a type that has no exact text.
    """
    if any(part is None and index not in nullable for index, part in enumerate(key)):
        raise UnusableKey("a part of the key is null")
    return orjson.dumps([_pack(part) for part in key])


def unpack(data: bytes) -> tuple[Any, ...]:
    """What :func:`pack` packed.

    Raises:
        BadKey: for any other bytes.
    """
    try:
        parts = orjson.loads(data)
        if not isinstance(parts, list):
            raise BadKey("not a list")
        key = tuple(_unpack(part) for part in parts)
        again = pack(key, range(len(key)))
    except (ValueError, ArithmeticError, TypeError) as error:
        raise BadKey("not a key") from error
    if again != data:
        raise BadKey("another spelling")
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
            raise BadKey("not a part of a key")
        return part
    if not isinstance(part, dict) or len(part) != 1:
        raise BadKey("not a part of a key")
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
            raise BadKey("not a part of a key")
