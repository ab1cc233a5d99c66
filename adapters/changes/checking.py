"""Checking the ``changes`` of a mapping: do their questions run, and is each found by an index?"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

from sqlalchemy import Connection, text

from adapters.changes import noted
from adapters.changes.owner import triggers
from adapters.changes.reading import Reader
from adapters.changes.views import whole
from adapters.findings import Finding
from adapters.mapping.changes import Changes
from adapters.mapping.model import Limits
from adapters.sources.plans import wide_scans
from adapters.sources.source import Source
from exchange.problems import Problem

_TRIGGER = """
SELECT count(*) FROM pg_catalog.pg_trigger
WHERE tgrelid = to_regclass(:table) AND tgname = :name AND tgenabled <> 'D'
"""


async def findings(
    changes: Changes, source: Source, *, each: bool, timeout_s: float
) -> list[Finding]:
    """What is wrong or unwise; with ``each``, all rows are looked at for their keys and marks."""
    if changes.log is not None and source.dialect not in ("postgresql", "mariadb"):
        rule = "only PostgreSQL and MariaDB have a log: use comparison or watermark"
        return [Finding(changes.where, rule)]
    found: list[Finding] = []
    looks = [_walk, *([_marks] if changes.watermark else []), *([_log] if changes.log else [])]
    looks += [_keys] if each else []
    for look in looks:
        try:
            work = partial(_all, look, changes, source.large_table_rows)
            found += await source.run(work, timeout_s=timeout_s)
        except Problem as problem:
            found.append(Finding(changes.where, problem.detail))
            break
    return found


_Look = Callable[[Connection, Changes, Reader], Iterator[Finding]]


def _all(look: _Look, changes: Changes, large_rows: int, connection: Connection) -> list[Finding]:
    wide: list[Finding] = []

    def plan(connection: Connection, statement: str, values: Mapping[str, Any]) -> None:
        wide.extend(
            Finding(
                changes.where,
                f"{_NAMES[look]} reads the whole of {scan.table}, about {scan.rows:,} rows, for"
                " each page: an index would find them",
                warning=True,
            )
            for scan in wide_scans(connection, statement, values, large_rows)
        )

    reader = Reader(changes, plan, Limits(), whole(changes.query.record))
    return [*look(connection, changes, reader), *wide]


def _walk(connection: Connection, changes: Changes, reader: Reader) -> Iterator[Finding]:
    reader.by_key(connection, reader.by_key(connection, None).last)
    yield from ()


def _marks(connection: Connection, changes: Changes, reader: Reader) -> Iterator[Finding]:
    reader.by_mark(connection, reader.last_mark(connection), None)
    reader.without_mark(connection, None)
    yield from ()


def _log(connection: Connection, changes: Changes, reader: Reader) -> Iterator[Finding]:
    if connection.dialect.name != "postgresql":  # which shows its triggers to who may write them
        noted.entries(connection, changes.name, (noted.present(connection, changes), b""), 1)
        return
    reader.entries(connection, reader.snapshot(connection), 1)
    for table, name in triggers(changes):
        values = {"table": table, "name": name}
        if not connection.execute(text(_TRIGGER), values).scalar():
            rule = f"{table} has no working trigger {name}: the owner installs it (--owner-sql)"
            yield Finding(changes.where, rule)


def _keys(connection: Connection, changes: Changes, reader: Reader) -> Iterator[Finding]:
    key = ", ".join(changes.key)
    twice = reader.twice(connection)
    if twice:
        yield Finding(changes.where, f"{twice:,} key(s) ({key}) do not tell one row from another")
    keyless = reader.keyless(connection)
    if keyless:
        rule = f"{keyless:,} row(s) have no key ({key} is null): their changes cannot be told"
        yield Finding(changes.where, rule)
    if changes.watermark is not None:
        unmarked = reader.unmarked(connection)
        if unmarked:
            rule = f"{unmarked:,} row(s) have no mark: they are read each time"
            yield Finding(changes.where, rule, warning=True)


_NAMES: dict[_Look, str] = {
    _walk: "the walk by key",
    _marks: "the look by mark",
    _log: "the log",
    _keys: "the look at keys",
}
