"""One run of the archive: tables brought up to date, what is new archived, a removal proposed.

The parts do not hinder each other: what one could not do is told beside what the others did.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Self

import orjson

from exchange.problems import Code, Problem
from mediator.archive.archiver import Archiver, Outcome, archiving
from mediator.archive.pruning import propose
from mediator.archive.settings import ArchiveSettings
from mediator.archive.stores import open_store
from mediator.archive.tables import FOLDER, catch_up
from mediator.journal.holdings import Holdings
from mediator.journal.reader import JournalReader


@dataclass(frozen=True, slots=True)
class Order:
    """What a run is told: which journal, how, and what time it is."""

    directory: Path
    settings: ArchiveSettings
    now: datetime

    def __bytes__(self) -> bytes:
        return orjson.dumps(
            {
                "directory": str(self.directory),
                "settings": dataclasses.asdict(self.settings),
                "now": self.now.isoformat(),
            },
            default=str,
        )

    @classmethod
    def parse(cls, data: bytes) -> Self:
        document = orjson.loads(data)
        settings: dict[str, Any] = document["settings"]
        if settings["folder"] is not None:
            settings["folder"] = Path(settings["folder"])
        return cls(
            Path(document["directory"]),
            ArchiveSettings(**settings),
            datetime.fromisoformat(document["now"]),
        )


@dataclass(frozen=True, slots=True)
class Result:
    """What a run did; ``proposed`` are the holdings after a removal that may be made now."""

    entries: int = 0
    """So many entries are archived."""
    sealed: int = 0
    """Of so many entries the sealed parts are archived."""
    counted: int = 0
    """So many entries are in the tables."""
    proposed: Holdings | None = None
    problems: tuple[Problem, ...] = ()

    def __bytes__(self) -> bytes:
        return orjson.dumps(
            {
                "entries": self.entries,
                "sealed": self.sealed,
                "counted": self.counted,
                "proposed": None if self.proposed is None else bytes(self.proposed).decode(),
                "problems": [
                    {"code": each.code, "where": each.where, "detail": each.detail}
                    for each in self.problems
                ],
            }
        )

    @classmethod
    def parse(cls, data: bytes) -> Self:
        document = orjson.loads(data)
        proposed = document["proposed"]
        return cls(
            document["entries"],
            document["sealed"],
            document["counted"],
            None if proposed is None else Holdings.parse(proposed.encode()),
            tuple(
                Problem(Code(each["code"]), where=each["where"], detail=each["detail"])
                for each in document["problems"]
            ),
        )


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
    proposed = propose(journal, store, last, settings, order.now)
    return dataclasses.replace(
        result, entries=last.entries, sealed=last.segments, proposed=proposed
    )


def _failed(order: Order, error: OSError) -> Problem:
    return Problem(
        Code.ARCHIVE_FAILED, where=str(order.directory), detail=error.strerror or str(error)
    )
