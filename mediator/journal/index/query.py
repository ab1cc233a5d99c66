"""What may be asked of the search index, and what it answers: conditions, hits and pages."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import orjson

from exchange.problems import Code, Problem
from mediator.journal.index.tables import MOST, to_milliseconds

_OF_SHAPES = (
    "client", "service", "endpoint", "kind", "problem", "agreement", "purpose", "status", "event",
)  # fmt: skip
_OUTCOMES = {
    "ok": "kind IN ('request', 'response') AND problem IS NULL AND coalesce(status, 200) < 400",
    "refused": "kind = 'refusal'",
    "failed": "(kind = 'failure' OR (kind = 'response' AND status >= 400))",
}
OUTCOMES = tuple(_OUTCOMES)


@dataclass(frozen=True, slots=True)
class Hit:
    """One entry that was found, as the index knows it; ``subject`` is the tag."""

    origin: str
    index: int
    at: datetime
    status: int | None
    id: str | None
    request_id: str | None
    trace: str | None
    kind: str
    side: str
    client: str | None
    service: str | None
    peer: str | None
    method: str | None
    endpoint: str | None
    problem: str | None
    agreement: str | None
    purpose: str | None
    event: str | None = None
    subject: str | None = None

    @property
    def order(self) -> tuple[int, str, int]:
        """The place in the order of all journals: time, origin, index."""
        return to_milliseconds(self.at), self.origin, self.index


@dataclass(frozen=True, slots=True)
class Cursor:
    """Where a page ended; the next begins with what is older."""

    at: int
    origin: str
    index: int

    def __str__(self) -> str:
        data = orjson.dumps([self.at, self.origin, self.index])
        return base64.urlsafe_b64encode(data).decode().rstrip("=")

    @classmethod
    def parse(cls, text: str) -> Cursor:
        """Parse a cursor.

        Raises:
            Problem: ``InvalidRequest`` when no page ended there.
        """
        try:
            at, origin, index = orjson.loads(
                base64.urlsafe_b64decode(text[:4096] + "=" * (-len(text) % 4))
            )
            cursor = cls(at, origin, index)
            if (type(at), type(origin), type(index)) != (int, str, int) or str(cursor) != text:
                raise ValueError("spelling")
            if not -MOST <= at <= MOST or not 0 <= index <= MOST:
                raise ValueError("beyond what an index can hold")
        except (ValueError, TypeError, binascii.Error) as error:
            raise Problem(
                Code.INVALID_REQUEST, where="cursor", detail="not a cursor of a search"
            ) from error
        return cursor


@dataclass(frozen=True, slots=True)
class MonthTag:
    """A subject's tag in the entries of one month, such as ``2026-11``."""

    month: str
    tag: str

    @property
    def bounds(self) -> tuple[int, int]:
        """The month's first millisecond, and that of the next."""
        year, month = int(self.month[:4]), int(self.month[5:])
        first = datetime(year, month, 1, tzinfo=UTC)
        if (year, month) == (9999, 12):
            return to_milliseconds(first), MOST
        after = datetime(year + month // 12, month % 12 + 1, 1, tzinfo=UTC)
        return to_milliseconds(first), to_milliseconds(after)


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """What to look for; every member that is given must hold.

    ``subject`` holds the tags of one subject (:func:`exchange.journal.subjects.tag`), one for each
    month and member that are looked through; without any nothing is found.
    """

    since: datetime | None = None
    until: datetime | None = None
    client: str | None = None
    service: str | None = None
    member: str | None = None
    endpoint: str | None = None
    kind: str | None = None
    outcome: str | None = None
    status: int | None = None
    problem: str | None = None
    id: str | None = None
    request_id: str | None = None
    trace: str | None = None
    agreement: str | None = None
    purpose: str | None = None
    event: str | None = None
    subject: tuple[MonthTag, ...] | None = None


def shape_conditions(query: Query) -> tuple[list[str], list[Any]]:
    """The conditions on the table ``shapes``."""
    conditions: list[str] = []
    values: list[Any] = []
    for name in _OF_SHAPES:
        value = getattr(query, name)
        if value is not None:
            conditions.append(f"{name} = ?")
            values.append(value)
    if query.outcome is not None:
        conditions.append(_OUTCOMES[query.outcome])
    if query.member is not None:
        of_member = f"{query.member}/"
        size = len(of_member)
        conditions.append(f"(substr(client, 1, {size}) = ? OR substr(service, 1, {size}) = ?)")
        values += [of_member, of_member]
    return conditions, values


def time_conditions(query: Query, origin: str, cursor: Cursor | None, published: int) -> list[str]:
    """The conditions on times and indexes, all of them numbers, of the entries ``e``."""
    conditions = [f"+e.idx < {published}"]  # the plus: this condition chooses no index
    if query.since is not None:
        conditions.append(f"e.at >= {to_milliseconds(query.since)}")
    if query.until is not None:
        conditions.append(f"e.at < {to_milliseconds(query.until)}")
    if cursor is not None:
        if origin < cursor.origin:
            conditions.append(f"e.at <= {cursor.at}")
        elif origin > cursor.origin:
            conditions.append(f"e.at < {cursor.at}")
        else:
            conditions.append(f"(e.at, e.idx) < ({cursor.at}, {cursor.index})")
    return conditions


@dataclass(frozen=True, slots=True)
class Page:
    """Hits of several journals, newest first, and where to go on."""

    hits: Sequence[Hit]
    next: Cursor | None
