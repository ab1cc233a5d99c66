"""Whose fault it is that the database refuses a statement: a text that no value of a column can be.

A text of a filter is compared as the type of its column: a database refuses ``x`` for a uuid, as it
does the label that an enum has not, or the 13th month. When a statement fails, it is run again for
no row at all (``LIMIT 0``). What still fails then, and does not without the value of one place, is
that place's fault. Nothing was read, so no row of the source and no part of the mapping's SQL that
depends on one can be what failed; and where the statement fails without any of these values, it is
the mapping's or the source's own fault and stays that. So is what passes by itself, such as a lock
that is given up meanwhile: with the value it must fail as it did.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from sqlalchemy import Connection
from sqlalchemy import exc as sqlalchemy_exc

from adapters.answers.faults import bad
from adapters.answers.layout import Layout
from adapters.answers.predicates import answer_unknown
from adapters.answers.requests import Plan, other_list
from adapters.answers.rows import NoRecord
from adapters.answers.running import run
from adapters.answers.statements import LIMIT, Statement
from adapters.mapping.model import Query
from adapters.sources.failures import is_timeout, state_of
from adapters.sources.sessions import limit_to_end
from exchange.problems import Code

CURSOR_PLACE = "query.cursor"
# Of PostgreSQL: a comparison that its types do not have, whatever the value.
_NO_SUCH_COMPARISON = "42"


def place_of(connection: Connection, plan: Plan, error: sqlalchemy_exc.DBAPIError) -> str | None:
    """The place whose value the database cannot read, after ``error``; None when there is none.

    What was open in ``connection`` is rolled back.
    """
    if error.connection_invalidated or error.orig is None:
        return None
    if is_timeout(error.orig, state_of(error.orig)):
        return None
    try:
        for query, statement, values, places in _asked(plan):
            found = _unreadable(connection, query, statement, values, places)
            if found is not None:
                return found
        return None
    finally:
        connection.rollback()


def answer_unreadable(plan: Plan, place: str, error: Exception) -> bytes:
    """The body of the answer, where it is that of a key that no record has.

    Raises:
        NoRecord: for such a key, but where a predicate answers false.
        Fault: 400 at any other place of the request; 503 at a condition of the agreement.
    """
    detail = "the source cannot read this as a value of the column that it is compared with"
    if place.startswith("header."):
        raise bad(place, detail, Code.SERVICE_DISABLED, 503) from error
    if place == CURSOR_PLACE:
        raise other_list() from error
    if not place.startswith("path."):
        raise bad(place, detail) from error
    if plan.endpoint.predicate is None:
        raise NoRecord from error
    return answer_unknown(plan, plan.endpoint.predicate)


_Asked = tuple[Query, Statement, Mapping[str, Any], Mapping[str, str]]


def _asked(plan: Plan) -> Iterator[_Asked]:
    """The statements of a plan that bind texts of others."""
    if plan.places:
        yield plan.endpoint.query, plan.asked, plan.values, plan.places
    yield from _nested(plan.layout)


def _nested(layout: Layout) -> Iterator[_Asked]:
    for join in layout.joins:
        if join.places:
            query = join.nested.query
            given = {name: one.default for name, one in query.parameters.items()}
            statement = Statement(query.select, join.layout.columns, join.conditions)
            yield query, statement, {**given, **join.values}, join.places
        yield from _nested(join.layout)


def _unreadable(
    connection: Connection,
    query: Query,
    statement: Statement,
    values: Mapping[str, Any],
    places: Mapping[str, str],
) -> str | None:
    """The place without whose value the statement can be prepared."""
    left = dict(values)
    failed = _refusal(connection, query, statement, left)
    for place in dict.fromkeys(places.values()):
        if failed is None:
            return None
        names = [name for name, one in places.items() if one == place]
        given = dict(left)
        left |= dict.fromkeys(names)
        before, failed = failed, _refusal(connection, query, statement, left)
        if failed is None:
            if _refusal(connection, query, statement, given) != before:
                return None
            texts = all(isinstance(values[name], str) for name in names)
            own = before.startswith(_NO_SUCH_COMPARISON) and connection.dialect.name == "postgresql"
            return None if own and not texts and place != CURSOR_PLACE else place
    return None


def _refusal(
    connection: Connection, query: Query, statement: Statement, values: Mapping[str, Any]
) -> str | None:
    """What the database says of the statement, run for no row; None when it takes it.

    It has as much time as is left of the request's.

    Raises:
        sqlalchemy.exc.DBAPIError: when the connection is gone.
    """
    connection.rollback()
    try:
        limit_to_end(connection)
        run(connection, query, statement, {**values, LIMIT: 0}).close()
    except sqlalchemy_exc.DBAPIError as error:
        if error.connection_invalidated or error.orig is None:
            raise
        return state_of(error.orig) or type(error.orig).__name__
    return None
