"""How many records a list has in all, for a caller who asks (``count=true``).

The number stands in the header field ``x-saphan-total``, a structured field (RFC 9651), such as
``57;exact`` or ``53000;estimated``. It is that of all pages, under the filters of the request and
the conditions of the caller. An exact one takes a second statement, which the database may cut as
it cuts every other; it is of the same moment as the page.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import Connection
from sqlalchemy import exc as sqlalchemy_exc

from adapters.answers.requests import Plan
from adapters.answers.running import Look, bind, run
from adapters.mapping.model import Count
from adapters.sources.estimates import estimated_rows
from adapters.sources.failures import problem_of
from exchange.problems import Code, Problem

TOTAL_HEADER: Final = "x-saphan-total"


def total(connection: Connection, plan: Plan, look: Look | None = None) -> str | None:
    """The value of the header field for ``plan``; None where nothing was asked or is known.

    Raises:
        Problem: ``BackendTimeout`` when counting takes longer than a statement may; what ``look``
            raises.
    """
    if plan.count is None:
        return None
    if plan.endpoint.count is Count.ESTIMATED:
        statement, values = bind(connection, plan.endpoint.query, plan.count, plan.values)
        found = estimated_rows(connection, str(statement.text), values)
        return None if found is None else f"{found};estimated"
    try:
        counted = run(connection, plan.endpoint.query, plan.count, plan.values, look)
        return f"{counted.scalar_one()};exact"
    except sqlalchemy_exc.DBAPIError as error:
        problem = problem_of(error, connection.dialect.name)
        if problem.code is not Code.BACKEND_TIMEOUT:
            raise
        detail = "counting takes longer than a statement may; ask without count=true"
        raise Problem(
            problem.code, where="query.count", detail=detail, facts=problem.facts
        ) from error
