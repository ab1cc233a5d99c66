"""Questions to the tables of exchanges: how many, how they ended, how long they took, how large.

Two kinds of question. *Exchanges*: grouped by any of :data:`DIMENSIONS`. *Counts* by a statistics
field, such as ``sex`` or ``province``, which servers counted in answers and recorded without who:
grouped by organisation, service, purpose and period.

Invariants:
- text of the person who asks reaches DuckDB as parameters only; names come from tables here;
- a count below :data:`FEW` is not told; when it alone is hidden within a group, the smallest other
  count of the group is hidden too, so that it cannot be had by subtraction. What a server writes
  is protected already (:mod:`mediator.message.counting`): this protects what is left by any filter;
- latency is of exchanges that were answered, from the request's entry to the answer's.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import duckdb

from exchange.problems import Code, Problem
from mediator.archive.tables import (
    FOLDER,
    Progress,
    Tables,
    connection,
    counted,
    kept,
    rows,
    stage,
)
from mediator.journal.reader import JournalReader

FEW: Final = 5
MAX_ROWS: Final = 100_000
PERIODS: Final = ("hour", "day", "month", "year")
DIMENSIONS: Final = (
    "organisation",
    "partner",
    "client",
    "service",
    "endpoint",
    "purpose",
    "agreement",
    "outcome",
    "problem",
    "status",
    "side",
    *PERIODS,
)
_FIELD_DIMENSIONS: Final = ("organisation", "service", "purpose", "day", "month", "year")
_SHAPES: Final = {"hour": "%Y-%m-%dT%HZ", "day": "%Y-%m-%d", "month": "%Y-%m", "year": "%Y"}
_MEASURES: Final = """count(*) AS exchanges,
  count(*) FILTER (outcome = 'answered') AS answered,
  count(*) FILTER (outcome = 'refused') AS refused,
  count(*) FILTER (outcome = 'failed') AS failed,
  count(*) FILTER (outcome = 'open') AS open,
  quantile_disc(latency_ms, [0.5, 0.95, 0.99]) FILTER (outcome = 'answered') AS latency,
  sum(request_bytes)::UBIGINT AS request_bytes, sum(answer_bytes)::UBIGINT AS answer_bytes"""


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked; what is not given does not narrow."""

    by: tuple[str, ...] = ("organisation", "side")
    """Dimensions, or one statistics field among them."""
    since: datetime | None = None
    until: datetime | None = None
    side: str | None = None
    organisation: str | None = None
    service: str | None = None
    client: str | None = None
    purpose: str | None = None
    limit: int = 1000

    @property
    def field(self) -> str | None:
        """The statistics field by which is counted.

        Raises:
            Problem: ``InvalidUsage`` when several are named, or what does not go with one.
        """
        fields = [name for name in self.by if name not in DIMENSIONS]
        if not fields:
            return None
        wrong = [name for name in self.by if name not in (*_FIELD_DIMENSIONS, fields[0])]
        if wrong:
            raise Problem(
                Code.INVALID_USAGE,
                where="--by",
                detail=f"{wrong[0]!r} does not go with the statistics field {fields[0]!r}: what is "
                f"counted by a field is told by {', '.join(_FIELD_DIMENSIONS)} only, and by one "
                f"field; of exchanges: {', '.join(DIMENSIONS)}",
            )
        for name, value in (("--side", self.side), ("--client", self.client)):
            if value is not None:
                raise Problem(
                    Code.INVALID_USAGE,
                    where=name,
                    detail="counts by a statistics field are about nobody, and know no caller",
                )
        return fields[0]


@dataclass(frozen=True, slots=True)
class Answer:
    """Rows, each a value for every column; None: unknown, or too few to be told."""

    columns: tuple[str, ...]
    rows: list[tuple[Any, ...]]
    hidden: int = 0
    """So many counts are too few to be told."""
    more: bool = False
    """There are more rows than were asked for."""


def ask(
    journals: Sequence[JournalReader],
    question: Question,
    progress: Progress = lambda what, done, total: None,
) -> Answer:
    """Answer a question over journals, each read up to what it has published.

    Tables that a server keeps beside its journal are used; what they lack is added in a folder that
    goes away, never there.

    Raises:
        Problem: ``InvalidUsage``; ``JournalCorrupt``; ``ArchivedElsewhere`` when entries are wanted
            that were removed from here and are in no tables.
        OSError: the disk failed.
    """
    field = question.field
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="saphan-statistics-")))
        database = stack.enter_context(connection(folder))
        exchanges, counts = [], []
        for number, journal in enumerate(journals):
            name, kept_in = f"journal_{number}", journal.directory / FOLDER
            tables = Tables.read(kept_in, journal.origin)
            if tables.entries > journal.checkpoint.size:
                tables = Tables(journal.origin)
            stage(
                database, name, journal, kept_in, tables, journal.checkpoint.size, progress, folder
            )
            exchanges += [kept(name, kept_in, tables), f"SELECT * FROM {name}"]
            counts += [counted(kept_in, tables), f"SELECT * FROM {name}_counted"]
            if tables.entries == journal.checkpoint.size:
                exchanges[-2:] = [rows(kept_in, tables)]
        if field is None:
            return _exchanges(database, " UNION ALL ".join(exchanges), question)
        return _counts(database, " UNION ALL ".join(counts), question, field)


def _exchanges(database: duckdb.DuckDBPyConnection, source: str, question: Question) -> Answer:
    names = [
        f"date_trunc('{name}', begun)" if name in PERIODS else f'"{name}"' for name in question.by
    ]
    where, values = _conditions(question, "begun", "begun")
    grouped = ", ".join(str(number + 1) for number in range(len(names)))
    order = "exchanges DESC"
    if names:
        order = grouped if set(PERIODS) & set(question.by) else f"{order}, {grouped}"
    found = database.execute(
        f"SELECT {', '.join([*names, _MEASURES])} FROM ({source}) WHERE {where} "
        f"{f'GROUP BY {grouped}' if names else ''} "
        f"ORDER BY {order} LIMIT {question.limit + 1}",
        values,
    ).fetchall()
    columns = (
        *question.by, "exchanges", "answered", "refused", "failed", "open", "p50_ms", "p95_ms",
        "p99_ms", "request_bytes", "answer_bytes",
    )  # fmt: skip
    width = len(names)
    shown = [
        (
            *_shown(question.by, row[:width]),
            *row[width : width + 5],
            *(row[width + 5] or (None, None, None)),
            *(value or 0 for value in row[width + 6 :]),
        )
        for row in found[: question.limit]
    ]
    return Answer(columns, shown, more=len(found) > question.limit)


def _counts(
    database: duckdb.DuckDBPyConnection, source: str, question: Question, field: str
) -> Answer:
    by = [name for name in question.by if name != field]
    names = [
        f"date_trunc('{name}', last_day::TIMESTAMP)" if name in PERIODS else f'"{name}"'
        for name in by
    ]
    where, values = _conditions(question, "last_day", "first_day")
    grouped = ", ".join(str(number + 1) for number in range(len(names) + 1))
    # What a crash made a server write twice has one part number.
    found = database.execute(
        f"SELECT {', '.join([*names, 'value'])}, sum(counted)::UBIGINT AS counted FROM "
        "(SELECT DISTINCT ON (organisation, service, purpose, field, part, value) * "
        f"FROM ({source}) ORDER BY n) WHERE field = ? AND {where} GROUP BY {grouped} "
        f"ORDER BY {grouped} LIMIT {question.limit + 1}",
        [field, *values],
    ).fetchall()
    width = len(names)
    shown = [(*_shown(by, row[:width]), *row[width:]) for row in found[: question.limit]]
    rows_, hidden = protect(shown)
    return Answer((*by, field, "count"), rows_, hidden, len(found) > question.limit)


def protect(found: list[tuple[Any, ...]]) -> tuple[list[tuple[Any, ...]], int]:
    """Hide counts that are too few, and a second one where a single one is hidden.

    The last column is the count, the one before it the value; the others are the group.
    """
    groups: dict[tuple[Any, ...], list[tuple[Any, ...]]] = {}
    for row in found:
        groups.setdefault(row[:-2], []).append(row)
    hide: set[tuple[Any, ...]] = set()
    for members in groups.values():
        few = [row for row in members if row[-1] < FEW]
        if len(few) == 1 and len(members) > 1:
            few.append(min((row for row in members if row[-1] >= FEW), key=lambda row: row[-1]))
        hide.update(few)
    return [(*row[:-1], None) if row in hide else row for row in found], len(hide)


def _conditions(question: Question, begun: str, since_column: str) -> tuple[str, list[Any]]:
    wanted: list[tuple[str, Any]] = [
        (f"{since_column} >= ?", question.since and question.since.replace(tzinfo=None)),
        (f"{begun} < ?", question.until and question.until.replace(tzinfo=None)),
        ("side = ?", question.side),
        ("organisation = ?", question.organisation),
        ("service = ?", question.service),
        ("client = ?", question.client),
        ("purpose = ?", question.purpose),
    ]
    found = [(text, value) for text, value in wanted if value is not None]
    return " AND ".join(text for text, _ in found) or "true", [value for _, value in found]


def _shown(by: Sequence[str], values: Sequence[Any]) -> list[Any]:
    return [
        value.strftime(_SHAPES[name]) if isinstance(value, date) else value
        for name, value in zip(by, values, strict=True)
    ]
