"""Checking what a mapping lets others write, without writing.

The database is asked how it would run each statement, as the account that writes: it looks up every
table and column and, where it has rights, those too. Then it is asked which tables the account may
write besides: one that may write more than the mapping lists is a warning.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from sqlalchemy import Connection, text
from sqlalchemy import exc as sqlalchemy_exc

from adapters.findings import Finding
from adapters.mapping.model import Mapping, SourceSettings, Statement, Writing
from adapters.sources.guard import Refused
from adapters.sources.sessions import aside
from adapters.sources.source import Source
from adapters.writes.guard import judge
from adapters.writes.ledger import Ledger
from adapters.writes.rights import tables_beyond
from exchange.problems import Problem

TIMEOUT_S = 60.0


async def check_writes(mapping: Mapping, source: Source) -> list[Finding]:
    """What is wrong with the statements, the ledger and the account that writes.

    Raises:
        Problem: ``SourceFailed`` when the source cannot be reached for writing.
    """
    writing = mapping.source.writing
    writer = source.writing
    if writing is None or writer is None:
        return []
    statements = {
        one.name: one
        for service in mapping.services.values()
        for write in service.writes
        for one in write.statements
    }
    findings = list(_judged(statements.values(), writing, writer.dialect))
    if mapping.source.url == writing.url:
        detail = "the account that writes reads, too: give reading one that can only SELECT"
        findings.append(Finding(mapping.source.where, detail, warning=True))
    wrong = {one.where for one in findings}
    runnable = [one for one in statements.values() if one.where not in wrong]
    writer.lease()
    try:
        return findings + await writer.run(
            lambda connection: _look(connection, mapping.source, writing, runnable),
            timeout_s=TIMEOUT_S,
        )
    except Problem as problem:
        where = mapping.source.where
        raise Problem(problem.code, where=where, detail=f"writing: {problem.detail}") from problem
    finally:
        await writer.close()


def _judged(statements: Iterable[Statement], writing: Writing, dialect: str) -> Iterator[Finding]:
    for statement in statements:
        try:
            judge(statement, writing.tables, dialect)
        except Refused as error:
            yield Finding(statement.where, str(error))


def _look(
    connection: Connection, settings: SourceSettings, writing: Writing, statements: list[Statement]
) -> list[Finding]:
    found = []
    failed = _fails(connection, lambda: Ledger(writing.ledger).look(connection))
    if failed:
        detail = (
            f"the ledger {writing.ledger} cannot be read ({failed}): saphan adapter ledger prints"
            " the statements that make it"
        )
        found.append(Finding(settings.where, detail))
    for statement in statements:
        failed = _explained(connection, statement)
        if failed:
            found.append(Finding(statement.where, f"would not run: {failed}"))
    with aside(connection):
        for table in tables_beyond(
            connection, {one.lower() for one in (*writing.tables, writing.ledger)}
        ):
            detail = f"the account that writes may write {table}, which is not listed"
            found.append(Finding(settings.where, detail, warning=True))
    connection.rollback()
    return found


def _explained(connection: Connection, statement: Statement) -> str:
    explain = text(f"EXPLAIN {statement.text}")
    values = dict.fromkeys(statement.names)
    return _fails(connection, lambda: connection.execute(explain, values).close())


def _fails(connection: Connection, look: Callable[[], None]) -> str:
    """What the database says against ``look``; empty when nothing."""
    try:
        look()
    except sqlalchemy_exc.DBAPIError as error:
        if error.connection_invalidated:
            raise
        connection.rollback()
        return " ".join(str(error.orig).split())[:300]
    connection.rollback()
    return ""
