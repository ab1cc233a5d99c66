"""The way in: the text of a parameter to a value, strictly: only what prints back the same."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from adapters.fields.words import Kind, Mismatch

INTEGER = re.compile(r"-?(0|[1-9][0-9]{0,18})", re.ASCII)
DECIMAL = re.compile(r"-?[0-9]{1,60}(\.[0-9]{1,30})?", re.ASCII)
INT64 = range(-(1 << 63), 1 << 63)
ISO_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Near:
    """A decimal of ``scale`` decimals that stands for the floats which are answered as it, too."""

    number: Decimal
    scale: int


def parse_plain(kind: Kind, text: str) -> Any:
    """Parse the text of a parameter of ``kind``, strictly.

    Raises:
        Mismatch: when the text does not print back the same.
    """
    match kind:
        case Kind.INTEGER if INTEGER.fullmatch(text) and text != "-0" and int(text) in INT64:
            return int(text)
        case Kind.DECIMAL if DECIMAL.fullmatch(text):
            return Decimal(text)
        case Kind.BOOLEAN if text in ("true", "false"):
            return text == "true"
        case Kind.DATE:
            return parse_date(text)
        case Kind.DATETIME:
            return parse_datetime(text)
        case Kind.STRING | Kind.ENUMERATION:
            return text
    raise Mismatch(f"must be a value of the type {kind}", text)


def parse_date(text: str) -> date:
    """An RFC 3339 full-date.

    Raises:
        Mismatch: for anything else.
    """
    try:
        if not ISO_DATE.fullmatch(text):
            raise ValueError
        return date.fromisoformat(text)
    except ValueError as error:
        raise Mismatch("must be a date written as 2026-01-31", text) from error


def parse_datetime(text: str) -> datetime:
    """An RFC 3339 date-time, which always names its zone.

    Raises:
        Mismatch: for anything else.
    """
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise Mismatch("must be a time written as 2026-01-31T08:00:00+07:00", text) from error
    if moment.tzinfo is None or "T" not in text:
        raise Mismatch("must be a time that names its zone", text)
    return moment
