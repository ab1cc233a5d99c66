"""Marks: how far a table was read by a column that grows, whatever its type is. Pure.

A mark is a number, a date, a time, or a time written as ISO 8601 text (SQLite has no other). Marks
of the future (a wrong clock, ``9999-12-31`` for "never") would lead the position past all that is
still to come: the position never passes the present, which is the latest that it is anywhere on
Earth unless the mapping names the zone.
"""

from __future__ import annotations

import math
from base64 import b64decode, urlsafe_b64encode
from datetime import UTC, date, datetime, timedelta, timezone, tzinfo
from decimal import Decimal
from typing import Any

from adapters.answers.row_keys import BadKey, UnusableKey, pack, unpack
from exchange.problems import Code, Problem

_LATEST = timezone(timedelta(hours=14))
_HEAD = "mark"


def is_number(mark: Any) -> bool:
    """Whether a mark is a number; a truth value is none."""
    return isinstance(mark, int | float | Decimal) and not isinstance(mark, bool)


def present(like: Any, now: datetime, zone: tzinfo | None) -> Any:
    """The mark of a change at ``now`` in the type of ``like``; a number has none."""
    if is_number(like):
        return None
    local = now.astimezone(zone or _LATEST)
    match like:
        case datetime():
            return now if like.tzinfo is not None else local.replace(tzinfo=None)
        case date():
            return local.date()
        case _:
            return _like(str(like), local.replace(tzinfo=None, microsecond=0))


def is_mark(value: Any) -> bool:
    """Whether a position can stand at ``value``."""
    if isinstance(value, str):
        try:
            datetime.fromisoformat(value)
        except ValueError:
            return False
        return True
    return isinstance(value, date) or (is_number(value) and math.isfinite(value))


def earlier(mark: Any, overlap: float) -> Any:
    """``mark`` less ``overlap``: seconds of a time, a difference of a number."""
    try:
        return _less(mark, overlap)
    except OverflowError:  # before the year 1
        return mark


def _less(mark: Any, overlap: float) -> Any:
    match mark:
        case str():
            return _like(mark, datetime.fromisoformat(mark) - timedelta(seconds=overlap))
        case datetime():
            return mark - timedelta(seconds=overlap)
        case date():
            return mark - timedelta(days=math.ceil(overlap / 86_400))
        case Decimal():
            return mark - Decimal(overlap)
        case int():
            return mark - math.ceil(overlap)
        case _:
            return mark - overlap


def _like(text: str, moment: datetime) -> str:
    """``moment`` written as ``text`` is: a date alone, or with its sign before the time."""
    if len(text) == 10:
        return moment.date().isoformat()
    return moment.isoformat(sep="T" if text[10:11] == "T" else " ")


def format_mark(mark: Any) -> str:
    """A mark as the state keeps it.

    Raises:
        Problem: ``InvalidMapping`` when it is of a type that has no exact text.
    """
    try:
        data = pack((_HEAD, mark))
    except UnusableKey as error:
        raise Problem(Code.INVALID_MAPPING, where="watermark", detail=str(error)) from error
    return urlsafe_b64encode(data).rstrip(b"=").decode("ascii")


def parse_mark(text: str) -> Any:
    """What :func:`format_mark` formatted.

    Raises:
        Problem: ``ChangeStateUnusable`` when it is not that.
    """
    try:
        head, mark = unpack(b64decode(text + "=" * (-len(text) % 4), b"-_", validate=True))
        if head != _HEAD or format_mark(mark) != text:
            raise BadKey("another spelling")
    except ValueError as error:
        detail = "the position in it is malformed"
        raise Problem(Code.CHANGE_STATE_UNUSABLE, where="--state", detail=detail) from error
    return mark


def read_since(text: str, like: Any) -> Any:
    """The mark that a person wrote, in the type of ``like``.

    Raises:
        ValueError: when it is not a number or time as ``like`` is.
    """
    if is_number(like):
        return int(text) if isinstance(like, int) else type(like)(text)
    moment = datetime.fromisoformat(text)
    match like:
        case datetime():
            return moment.replace(tzinfo=moment.tzinfo or (UTC if like.tzinfo else None))
        case date():
            return moment.date()
        case _:
            return _like(str(like), moment)
