"""What a server proves of a subject: what its log committed to is in its answers."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

from exchange.journal.auditing import Page
from exchange.journal.completeness import format_completeness
from exchange.problems import Code, Problem
from mediator.auditing.hits import hit_of
from mediator.auditing.scope import Scope
from mediator.journal.completeness import commitments, complete
from mediator.journal.reader import JournalReader

MAX_REST: Final = 1_000_000
"""Of entries since the last commitment, each of which is looked at."""


def check_may_be_shown(scope: Scope) -> None:
    """Refuse a mandate to which the numbers of entries would tell what it does not show.

    Raises:
        Problem: ``OutsideMandate``.
    """
    mandate = scope.mandate
    mandate.check_subject()
    restricted = mandate.organisations or mandate.services or not mandate.hidden
    if restricted or not mandate.whole:
        raise _outside("it takes a mandate over all entries, whole, and what is hidden")
    if set(scope.hosted) != {scope.provider}:
        raise _outside("this server's journal is of several members")


def completeness_of(
    reader: JournalReader,
    subject: str,
    since: datetime | None,
    until: datetime | None,
    database: str | None,
) -> bytes:
    """The log's commitments with what their indexes say of a subject; reads files.

    Raises:
        Problem: ``QueryTooWide``; ``JournalCorrupt`` or ``InvalidProof`` when the journal does not
            hold what it committed to.
    """
    known = commitments(reader, database)
    size = reader.checkpoint.size
    if size - (known[-1].subjects.end if known else 0) > MAX_REST:
        raise Problem(
            Code.QUERY_TOO_WIDE,
            where="path",
            detail=f"more than {MAX_REST} entries since the last commitment to subjects",
        )
    tags = reader.tags(subject, since, until)
    found = complete(reader, tags, _month(since, ""), _month(until, "9999-99"), database=database)
    hits = tuple(hit_of(reader, part.committed.index) for part in found.parts)
    page = Page(reader.origin, reader.checkpoint_note, hits, None)
    return format_completeness(page, [part.answers for part in found.parts], found.blind)


def _month(at: datetime | None, default: str) -> str:
    return default if at is None else f"{at.astimezone(UTC):%Y-%m}"


def _outside(detail: str) -> Problem:
    return Problem(Code.OUTSIDE_MANDATE, where="path", detail=detail)
