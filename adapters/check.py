"""Checking a mapping: against the shared schemas, against its source, and row by row.

Three questions, each answered with all that is wrong and not only the first:

- :func:`against_schemas` (no source needed): does each record have the members that its shared
  schema requires, and no other?
- :func:`against_source`: does every query run, with every filter; are its columns there?
- :func:`adapters.check_rows.rows`: does every row of every query become a record that the published
  contract lets pass, and does the key of each list tell its rows apart?

The judge of a record is the very contract that the mediator will use. A finding names the place,
the type of the value and the rule, never the value; the key of the row is named, because the
operator must find it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

import orjson
from sqlalchemy import Connection

from adapters.answers.counts import total
from adapters.answers.joins import complete, try_join
from adapters.answers.requests import Fault, Plan, plan
from adapters.answers.running import drivers_rows, execute
from adapters.answers.types import unordered
from adapters.check_rights import of_rights, unrestricted
from adapters.fields import Field, Kind
from adapters.findings import Finding as Finding
from adapters.mapping.model import (
    Count,
    Endpoint,
    Limits,
    Parameter,
    Record,
    Service,
    SourceKind,
)
from adapters.mapping.model import Mapping as Map
from adapters.sources.accounts import may_write
from adapters.sources.guard import Refused, check_reads_only
from adapters.sources.plans import Scan, wide_scans
from adapters.sources.source import Source
from exchange.problems import Code, Problem

CHECK_TIMEOUT_S = 600.0
NO_SUCH_VALUE = "22P02"
"""PostgreSQL's code for a text that is no value of the column's type."""
UUID = "00000000-0000-0000-0000-000000000000"
_SAMPLES = {
    Kind.STRING: "x",
    Kind.INTEGER: "1",
    Kind.DECIMAL: "1",
    Kind.DATE: "2024-01-31",
    Kind.DATETIME: "2024-01-31T08:00:00+07:00",
    Kind.BOOLEAN: "true",
}


# Against the shared schemas.


def against_schemas(mapping: Map, shared: Mapping[str, bytes]) -> list[Finding]:
    """What is wrong between the records of ``mapping`` and the schemas they name."""
    return [
        finding
        for record in mapping.records.values()
        if record.schema is not None
        for finding in _record_against_schema(mapping, record, record.schema, shared)
    ] + of_rights(mapping, shared)


def _record_against_schema(
    mapping: Map, record: Record, identifier: str, shared: Mapping[str, bytes]
) -> Iterator[Finding]:
    where = f"{mapping.file} /records/{record.name}"
    if identifier not in shared:
        known = ", ".join(sorted(shared))
        yield Finding(where, f"there is no shared schema {identifier}; known: {known}")
        return
    schema = orjson.loads(shared[identifier])
    properties = schema.get("properties", {})
    for member in schema.get("required", ()):
        if member not in record.members:
            yield Finding(where, f"the schema requires {member!r}, which no field gives")
    if schema.get("additionalProperties") is False:
        for member in record.members:
            if member not in properties:
                yield Finding(where, f"the schema has no member {member!r}")


# Against the source.


def checking_source(mapping: Map, open_source: Callable[[Map], Source]) -> Source:
    """A source for checking: the same, with time for whole tables."""
    connections = max(2, mapping.source.limits.max_connections)
    limits = replace(
        mapping.source.limits, statement_timeout_s=CHECK_TIMEOUT_S, max_connections=connections
    )
    return open_source(replace(mapping, source=replace(mapping.source, limits=limits)))


async def against_source(mapping: Map, source: Source, given: Mapping[str, str]) -> list[Finding]:
    """Run every query of every endpoint once plain and once with each filter.

    Args:
        mapping: what to check.
        source: made by :func:`checking_source`.
        given: values for parameters of queries, where the mapping has no example.

    Raises:
        Problem: ``SourceFailed`` when the source cannot be reached at all.
    """
    try:
        await source.run(lambda connection: None, timeout_s=CHECK_TIMEOUT_S)
    except Problem as problem:
        where = problem.where if problem.where != "source" else mapping.source.where
        file = f" ({source.file})" if source.file is not None else ""
        raise Problem(problem.code, where=where, detail=_words(problem) + file) from problem
    findings = list(_queries(mapping, source.dialect)) or await _account(mapping, source)
    for service in mapping.services.values():
        for endpoint in map(unrestricted, service.endpoints):
            for query in probes(endpoint, given):
                findings += await _probe(service, endpoint, query, source)
    return findings


def _queries(mapping: Map, dialect: str) -> Iterator[Finding]:
    for query in mapping.queries.values():
        try:
            check_reads_only(query.select.sql, dialect)
        except Refused as error:
            yield Finding(query.where, str(error))


async def _account(mapping: Map, source: Source) -> list[Finding]:
    if mapping.source.kind is not SourceKind.SQL:
        return []
    reasons = await source.run(may_write, timeout_s=CHECK_TIMEOUT_S)
    advice = "give the adapter one that can only SELECT"
    return [
        Finding(mapping.source.where, f"the account {reason}: {advice}", warning=True)
        for reason in reasons
    ]


def probes(endpoint: Endpoint, given: Mapping[str, str]) -> Iterator[dict[str, str]]:
    """The parameters of the requests that try an endpoint: none, then each filter, sort and count.

    Args:
        given: values by name that the person who checks has named; examples and samples stand in.
    """
    base = {
        name: value
        for name, parameter in endpoint.query.parameters.items()
        if (value := _sample(parameter, given)) is not None
    }
    if endpoint.predicate is not None:  # all of its filters are needed
        yield base | {
            name: given.get(name) or one.example or (*one.values, _sample_of(one.field))[0]
            for name, one in endpoint.filters.items()
        }
        return
    if endpoint.search is not None:
        base |= {"name": given.get("name", "ສົມພອນ")}
    yield base
    for name, narrowing in endpoint.filters.items():
        yield base | {name: given.get(name) or narrowing.example or _sample_of(narrowing.field)}
    for name in endpoint.sorts:
        yield base | {"sort": name}
    if endpoint.count is not Count.NONE:
        yield base | {"count": "true"}


def _sample(parameter: Parameter, given: Mapping[str, str]) -> str | None:
    if parameter.name in given:
        return given[parameter.name]
    if parameter.example is not None or not parameter.required:
        return parameter.example
    if parameter.table is not None:
        return next(iter(parameter.table))
    return parameter.values[0] if parameter.values else None


def _sample_of(field: Field) -> str:
    if field.table is not None:
        return next(iter(field.table.values()))
    return _SAMPLES[field.kind]


def place_of(service: Service, endpoint: Endpoint) -> str:
    """How an endpoint is named in what a check tells."""
    return f"{service.code} GET {endpoint.path}"


async def _probe(
    service: Service, endpoint: Endpoint, query: Mapping[str, str], source: Source
) -> list[Finding]:
    where = place_of(service, endpoint)
    scans: list[Scan] = []
    search = endpoint.search
    most = search.max_candidates + 1 if search is not None and search.sounds is None else 1

    def probe(connection: Connection) -> bool:
        def look(connection: Connection, statement: str, values: Mapping[str, Any]) -> None:
            scans.extend(wide_scans(connection, statement, values, source.large_table_rows))

        result = execute(connection, asked, most, look)
        no_pages = unordered(connection.dialect.name, result.cursor, asked.key)
        rows = drivers_rows(result)
        if no_pages:
            detail = f"the order is by {no_pages} in the SQL of the query"
            raise Problem(Code.INVALID_MAPPING, where=where, detail=detail)
        if len(rows) == most > 1:
            detail = f"compares the name with all records, which are more than {most - 1:,}"
            detail += ": the query needs a column of their sounds (key 'sounds')"
            raise Problem(Code.QUERY_TOO_WIDE, where=where, detail=detail)
        for join in asked.layout.joins:
            try_join(connection, join, look)
        complete(connection, rows[:1], asked.layout, Limits(), look)
        return asked.count is None or total(connection, asked, look) is not None

    try:
        asked = plan_of(endpoint, query)
        counted = await source.run(probe, timeout_s=CHECK_TIMEOUT_S)
    except Fault as fault:
        return [Finding(where, f"{fault.where}: {fault.detail}; give it an example or --with")]
    except Problem as problem:
        others = _with_uuids(endpoint, query)
        if NO_SUCH_VALUE in problem.detail and others != query:
            return await _probe(service, endpoint, others, source)
        return [Finding(where, f"{_words(problem)} (with {_asked(query)})")]
    if not counted:
        words = "the database has no estimate of its rows (ANALYZE gives it one): no total is told"
        return [Finding(where, words, warning=True)]
    return [
        Finding(
            where,
            f"reads the whole of {scan.table}, about {scan.rows:,} rows (with {_asked(query)}):"
            " an index would find them",
            warning=search is None,
        )
        for scan in scans
    ]


def _with_uuids(endpoint: Endpoint, query: Mapping[str, str]) -> dict[str, str]:
    """The same with a UUID for each text: a column of UUIDs takes no other."""
    plain = _SAMPLES[Kind.STRING]
    texts = [
        name
        for name in endpoint.variables
        if name in endpoint.keys and _sample_of(endpoint.keys[name].field) == plain
    ]
    asked = {**dict.fromkeys(texts, plain), **query}
    return {name: UUID if value == plain else value for name, value in asked.items()}


def _asked(query: Mapping[str, str]) -> str:
    return urlencode(query) or "no parameters"


def plan_of(endpoint: Endpoint, query: Mapping[str, str]) -> Plan:
    """The plan of a request with ``query``, whose path variables have sample values."""
    variables = {
        name: query.get(name) or _sample_of(endpoint.keys[name].field)
        if name in endpoint.keys
        else query.get(name, "x")
        for name in endpoint.variables
    }
    rest = {name: value for name, value in query.items() if name not in variables}
    return plan(endpoint, variables, urlencode(rest), today=datetime.now(UTC).date())


def _words(problem: Problem) -> str:
    """The driver's own words: the operator who checks may read them."""
    cause: BaseException | None = problem.__cause__
    origin = getattr(cause, "orig", None) or cause
    text = " ".join(str(origin).split())[:300] if origin is not None else ""
    return f"{problem.detail}: {text}" if text else problem.detail
