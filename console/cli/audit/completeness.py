"""Showing that an answer about a subject leaves nothing out (`saphan audit search`)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import click

from console.cli.printing import Progress
from exchange.journal.entries import parse_entry
from exchange.log import merkle
from mediator.journal.completeness import Completeness, complete
from mediator.journal.index import IndexReader, MonthTag, Query
from mediator.journal.reader import JournalReader

_Span = tuple[datetime | None, datetime | None]


@dataclass(frozen=True, slots=True)
class Shown:
    """What was shown of one journal; ``left_out`` are entries that the search index lacks."""

    journal: JournalReader
    completeness: Completeness
    left_out: tuple[int, ...]

    @property
    def complete(self) -> bool:
        return not self.left_out and not self.completeness.blind

    def describe(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "journal": str(self.journal.directory),
            "complete": self.complete,
            "left_out": list(self.left_out),
            **self.completeness.describe(),
        }


def show_complete(
    journal: JournalReader,
    reader: IndexReader,
    tags: Sequence[MonthTag],
    span: _Span,
    recompute: bool,
    database: str | None,
    progress: Progress,
) -> Shown:
    """Compare what the search index has of a subject with what the log's commitments prove.

    Raises:
        Problem: ``InvalidProof`` when the log contradicts itself; ``JournalCorrupt``.
    """
    since, until = span
    months = [f"{at.astimezone(UTC):%Y-%m}" if at is not None else None for at in span]
    found = complete(
        journal,
        tags,
        months[0] or "",
        months[1] or "9999-99",
        recompute=recompute,
        database=database,
        progress=progress,
    )
    query = Query(subject=tuple(tags), since=since, until=until)
    hits = {hit.index for hit in reader.search(query, merkle.MAX_SIZE)}
    left_out = [
        index
        for index in found.indexes
        if index not in hits and _within(parse_entry(journal.entry(index)).at, span)
    ]
    return Shown(journal, found, tuple(left_out))


def _within(at: datetime, span: _Span) -> bool:
    since, until = span
    return (since is None or at >= since) and (until is None or at < until)


def tell_complete(shown: Sequence[Shown], *, err: bool = False) -> None:
    """Say it to people."""
    for each in shown:
        found, directory = each.completeness, each.journal.directory
        click.echo(
            f"{directory}: {len(found.indexes):,} entries in these months are about the subject. "
            f"Proven by {len(found.parts)} commitments of the log for entries before {found.rest:,}"
            f"; the {found.size - found.rest:,} from there on were looked at one by one.",
            err=err,
        )
        if found.blind:
            click.echo(
                f"  Not known for {', '.join(found.blind)}: the keys of these months are not here.",
                err=err,
            )
        if each.left_out:
            some = ", ".join(map(str, each.left_out[:10]))
            click.echo(
                f"  The search index left out entries {some}: saphan audit index rebuild "
                f"{directory} makes it anew.",
                err=err,
            )
        elif not found.blind:
            click.echo("  Nothing was left out.", err=err)
