"""Running the statements of a mapping: values are bound as the database's driver wants them."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from functools import lru_cache
from time import monotonic
from typing import Any, Final, TypeAlias, TypeVar

from sqlalchemy import Connection, CursorResult, TextClause, text
from sqlalchemy import exc as sqlalchemy_exc

from adapters.answers.comparisons import NOT_TOLD, Types, writer
from adapters.answers.dialects import dialect_of
from adapters.answers.requests import Plan
from adapters.answers.statements import LIMIT, Condition, Statement
from adapters.answers.types import NUMERIC, TOLD, held_of, types_of, unordered
from adapters.fields import Kind
from adapters.mapping.model import Query
from adapters.sources import driver
from adapters.sources.binding import bound
from adapters.sources.failures import mixes_collations

# PostgreSQL cannot tell the type of ":x IS NULL" by itself.
_CASTS = {
    Kind.STRING: "text",
    Kind.INTEGER: "bigint",
    Kind.DECIMAL: "numeric",
    Kind.DATE: "date",
    Kind.BOOLEAN: "boolean",
}
T = TypeVar("T")
TYPES_S: Final = 30.0
"""How long is known what a column holds that is compared and not read: an owner may change it."""
_PLACEHOLDER = re.compile(r"(?<![:\w\\]):([a-z]\w*)(?![:\w])", re.ASCII)

Look: TypeAlias = Callable[[Connection, str, Mapping[str, Any]], None]
"""What looks at a statement and its values before it runs, and may refuse it."""


def fetch(
    connection: Connection, plan: Plan, limit: int, look: Look | None = None
) -> Sequence[Sequence[Any]]:
    """Run the statement of ``plan`` for at most ``limit`` rows; they are the driver's own."""
    return _all(_begin(connection, plan, limit, look))


def drivers_rows(result: CursorResult[Any]) -> Sequence[Sequence[Any]]:
    """All rows of ``result`` as the driver gives them.

    A statement of text has no types that SQLAlchemy could convert by, so that its rows would be
    the same values in dearer tuples.
    """
    try:
        rows: Sequence[Sequence[Any]] = result.cursor.fetchall()
    finally:  # also when a value cannot be read: SQLite's lock is held until the end of a statement
        result.close()
    return rows


def page_rows(
    connection: Connection,
    plan: Plan,
    limit: int,
    exact: Collection[int],
    look: Look | None = None,
) -> tuple[Sequence[Sequence[Any]], str]:
    """The driver's rows of a list, and why no page can begin after one, if none can.

    Numbers in columns at ``exact`` may be texts, as PostgreSQL sends ``numeric`` and as they are
    answered: a :class:`~decimal.Decimal` between the two would be made in vain.
    """
    texts = bool(exact) and connection.dialect.name == "postgresql"
    cursor = _begin(connection, plan, limit, look, numbers_as_text=texts)
    columns = cursor.description  # made anew whenever the driver is asked
    dialect = connection.dialect.name
    reason = unordered(dialect, cursor, plan.key, columns) if plan.endpoint.order else ""
    others: list[int] = []
    if texts:
        others = [n for n, one in enumerate(columns) if one[1] == NUMERIC and n not in exact]
    rows = _all(cursor)
    return _with_numbers(rows, others) if others else rows, reason


def _begin(
    connection: Connection,
    plan: Plan,
    limit: int,
    look: Look | None,
    *,
    numbers_as_text: bool = False,
) -> Any:
    """The driver's cursor, on which the statement of ``plan`` was begun."""

    def begin(asked: TextClause, values: Mapping[str, Any]) -> Any:
        return driver.begin(connection, asked, values, numbers_as_text=numbers_as_text)

    query, values = plan.endpoint.query, {**plan.values, LIMIT: limit}
    cursor = _run(connection, query, plan.asked, values, look, begin)
    if not _changed(connection, query, cursor):
        return cursor
    cursor.close()  # the condition was written for a column of another type
    return _run(connection, query, plan.asked, values, look, begin)


def _changed(connection: Connection, query: Query, cursor: Any) -> bool:
    """Whether a column that is read is of another type than is known of it; that is forgotten."""
    known: dict[str, tuple[float, Types]] = connection.info.get("types", {})
    found = known.get(query.select.sql)
    if found is None:
        return False
    told = held_of(connection.dialect.name, cursor.description)
    if all(found[1].get(name) is held for name, held in told.items()):
        return False
    del known[query.select.sql]
    return True


def _all(cursor: Any) -> Sequence[Sequence[Any]]:
    try:
        rows: Sequence[Sequence[Any]] = cursor.fetchall()
    finally:
        cursor.close()
    return rows


def _with_numbers(rows: Sequence[Sequence[Any]], places: Sequence[int]) -> Sequence[Sequence[Any]]:
    """The rows with numbers for texts at ``places``, as the driver would have given them."""
    made = [list(row) for row in rows]
    for row in made:
        for place in places:
            if row[place] is not None:
                row[place] = Decimal(row[place])
    return made


def execute(
    connection: Connection,
    plan: Plan,
    limit: int,
    look: Look | None = None,
) -> CursorResult[Any]:
    """Run the statement of ``plan``; the caller reads the rows."""
    values = {**plan.values, LIMIT: limit}
    return run(connection, plan.endpoint.query, plan.asked, values, look)


def run(
    connection: Connection,
    query: Query,
    statement: Statement,
    values: Mapping[str, Any],
    look: Look | None = None,
) -> CursorResult[Any]:
    """Run a ``statement`` over ``query`` with ``values``; it may name fewer than there are."""
    return _run(connection, query, statement, values, look, connection.execute)


def _run(
    connection: Connection,
    query: Query,
    statement: Statement,
    values: Mapping[str, Any],
    look: Look | None,
    execute: Callable[[TextClause, Mapping[str, Any]], T],
) -> T:
    def begin(prepared: TextClause, given: Mapping[str, Any]) -> T:
        if look is not None:
            look(connection, str(prepared.text), given)
        return execute(prepared, given)

    prepared, given = bind(connection, query, statement, values)
    try:
        return begin(prepared, given)
    except sqlalchemy_exc.OperationalError as error:
        if not mixes_collations(error.orig):
            raise
        other, given = bind(connection, query, statement, values, alone=True)
        if other.text == prepared.text:
            raise
        return begin(other, given)


def bind(
    connection: Connection,
    query: Query,
    statement: Statement,
    values: Mapping[str, Any],
    *,
    alone: bool = False,
) -> tuple[TextClause, dict[str, Any]]:
    """A ``statement`` over ``query`` and its ``values`` as the database takes them.

    Signs of texts are compared ``alone`` where MariaDB refuses the plain comparison beside them.

    Raises:
        Problem: ``SourceFailed`` where a column does not compare with a value of its field.
    """
    name, types = connection.dialect.name, NOT_TOLD
    if name in TOLD and any(isinstance(one, Condition) for one in statement.conditions):
        types = _types(connection, query, values)
    return prepare(query, statement, values, name, types, alone=alone)


def _types(connection: Connection, query: Query, values: Mapping[str, Any]) -> Types:
    """What the columns of ``query`` hold: asked once in a while over each connection."""
    known: dict[str, tuple[float, Types]] = connection.info.setdefault("types", {})
    made, found = known.get(query.select.sql, (0.0, NOT_TOLD))
    if found is NOT_TOLD or monotonic() - made > TYPES_S:
        given = {name: values.get(name) for name in query.parameters} | {LIMIT: 0}
        nothing = Statement(query.select, ["*"], ())
        with connection.execute(*prepare(query, nothing, given, connection.dialect.name)) as result:
            found = types_of(result)
            known[query.select.sql] = (monotonic(), found)
    return found


def prepare(
    query: Query,
    statement: Statement,
    values: Mapping[str, Any],
    dialect: str,
    types: Types = NOT_TOLD,
    *,
    alone: bool = False,
) -> tuple[TextClause, dict[str, Any]]:
    """The ``statement`` and its ``values`` as the database of ``dialect`` (SQLAlchemy's name) takes
    them for columns of ``types``."""
    form, given, sql = dialect_of(dialect), dict(values), statement.select.text
    if alone:
        form = replace(form, alone=True)
    if dialect == "postgresql" and query.parameters:
        casts = tuple((name, _CASTS[one.kind]) for name, one in query.parameters.items())
        sql = _with_casts(sql, casts)
    said = statement.write(form, writer(form, types, given), sql)
    return _prepared(said), {name: bound(dialect, value) for name, value in given.items()}


_prepared = lru_cache(512)(text)  # a mapping has few statements


@lru_cache(512)
def _with_casts(sql: str, casts: tuple[tuple[str, str], ...]) -> str:
    """The mapping's query with a cast around the parameters that are named."""
    types = dict(casts)

    def cast(match: re.Match[str]) -> str:
        kind = types.get(match[1])
        return match[0] if kind is None else f"CAST({match[0]} AS {kind})"

    return _PLACEHOLDER.sub(cast, sql)
