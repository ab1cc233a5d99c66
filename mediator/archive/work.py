"""One run of the archive: tables brought up to date, what is new archived, a removal proposed.

The parts do not hinder each other: what one could not do is told beside what the others did.
"""

from __future__ import annotations

import dataclasses

from exchange.problems import Code, Problem
from mediator.archive.archiver import Archiver, Outcome, archiving
from mediator.archive.orders import Order, Result
from mediator.archive.pruning import propose
from mediator.archive.removal import remove
from mediator.archive.stores import open_store
from mediator.archive.tables import FOLDER, catch_up
from mediator.journal.reader import JournalReader


def work(order: Order) -> Result:
    """Do one run. What goes wrong is in the result."""
    result, problems = Result(), list[Problem]()
    try:
        with archiving(order.directory):
            journal = JournalReader(order.directory)
            if not journal.checkpoint.size:
                return result
            for part in (_tables, _archive):
                try:
                    result = part(order, journal, result)
                except Problem as problem:
                    problems.append(problem)
                except OSError as error:
                    problems.append(_failed(order, error))
    except Problem as problem:
        problems.append(problem)
    except OSError as error:
        problems.append(_failed(order, error))
    return dataclasses.replace(result, problems=tuple(problems))


def _tables(order: Order, journal: JournalReader, result: Result) -> Result:
    if not order.settings.statistics:
        return result
    tables = catch_up(journal, order.directory / FOLDER)
    return dataclasses.replace(result, counted=tables.entries)


def _archive(order: Order, journal: JournalReader, result: Result) -> Result:
    settings = order.settings
    if not settings.archives:
        return result
    store = open_store(settings)
    outcome: Outcome = Archiver(
        journal,
        store,
        parallel=settings.parallel,
        evidence_every_s=settings.evidence_every_s,
    ).run()
    last = outcome.manifest
    if journal.holdings.entry is not None:  # what a crash left of an earlier removal
        remove(order.directory, journal.holdings)
    proposed = propose(journal, store, last, settings, order.now)
    return dataclasses.replace(
        result, entries=last.entries, sealed=last.segments, proposed=proposed
    )


def _failed(order: Order, error: OSError) -> Problem:
    return Problem(
        Code.ARCHIVE_FAILED, where=str(order.directory), detail=error.strerror or str(error)
    )
