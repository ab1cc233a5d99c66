"""The search index against the entries that it was made from, by sample or row by row.

The index proves nothing, and is made anew from the log at any time. But a row that somebody changed
or took away hides an entry from searches: so rows of bundles that are chosen at random are
compared, all of them when the log is small or when it is asked for. ``saphan audit search``
compares each hit with its entry, and ``--prove-complete`` believes no index.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from exchange.log.tiles import WIDTH
from exchange.problems import Code, Problem
from mediator.journal.holdings import Holdings
from mediator.journal.index import FILE, IndexReader
from mediator.journal.verify.findings import MAX_FINDINGS, Finding, Progress
from serving.log.tiles import TileFolder

ROWS: Final = "rows of the index"
"""What the progress tells of."""
BUNDLES: Final = 32
"""So many bundles of entries are compared with their rows."""


@dataclass(frozen=True, slots=True)
class Indexed:
    """How many entries were compared with their rows, and what is wrong."""

    compared: int
    findings: tuple[Finding, ...]


def verify_index(
    journal: Path,
    log: Path,
    origin: str,
    size: int,
    database: str | None = None,
    *,
    every_from: int | None = None,
    progress: Progress = lambda what, done, total: None,
) -> Indexed:
    """Compare the index that is kept beside a journal, or in a database; without one, nothing.

    Args:
        log: the folder with tiles and entries, of which ``size`` were verified.
        database: the setting ``journal.index_database``.
        every_from: compare the row of each entry from this one on; None: of some.
        progress: is told (what, done, total) before each bundle.

    Raises:
        Problem: ``SourceFailed`` when the database does not answer.
    """
    if database is None and not (journal / FILE).exists():
        return Indexed(0, ())
    try:
        reader = (
            IndexReader.open(journal / FILE, origin, size)
            if database is None
            else IndexReader.open_database(database, origin, size)
        )
    except OSError as error:
        return Indexed(0, (_finding(None, f"cannot be used ({error}); delete it: it is derived"),))
    try:
        first, end = Holdings.read(journal).entries_from, min(size, reader.size)
        numbers = _chosen(first // WIDTH, -(-end // WIDTH))
        if every_from is not None:
            numbers = range(max(first, every_from) // WIDTH, -(-end // WIDTH))
        return _compare(reader, TileFolder(log), numbers, end, size, progress)
    finally:
        reader.close()


def _compare(
    reader: IndexReader,
    folder: TileFolder,
    numbers: Sequence[int],
    end: int,
    size: int,
    progress: Progress,
) -> Indexed:
    """Compare the rows of some bundles, before ``end``: what is published just now follows."""
    compared, findings = 0, list[Finding]()
    try:
        for number in numbers:
            progress(ROWS, number * WIDTH, end)
            start, stop = number * WIDTH, min((number + 1) * WIDTH, end)
            for index, entry in folder.entries(start, stop, size):
                compared += 1
                if not reader.holds(index, entry):
                    findings.append(_finding(index, "its row is not what the entry says"))
                    if len(findings) >= MAX_FINDINGS:
                        return Indexed(compared, tuple(findings))
    except Problem as problem:
        if problem.where.startswith("log/"):
            return Indexed(compared, tuple(findings))  # the tree's own findings name it
        if problem.code is not Code.JOURNAL_CORRUPT:
            raise
        findings.append(_finding(None, problem.detail))
    return Indexed(compared, tuple(findings))


def _chosen(first: int, end: int) -> Sequence[int]:
    """The numbers of the bundles to look at, in order: the last, others that nobody foresees."""
    if end - first <= BUNDLES:
        return range(first, end)
    others = secrets.SystemRandom().sample(range(first, end - 1), BUNDLES - 1)
    return [*sorted(others), end - 1]


def _finding(index: int | None, detail: str) -> Finding:
    return Finding(Code.JOURNAL_CORRUPT, FILE, index, detail)
