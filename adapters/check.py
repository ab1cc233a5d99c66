"""Checking a mapping: against the shared schemas, against its source, and row by row.

Three questions, each answered with all that is wrong and not only the first:

- :func:`against_schemas` (no source needed): does each record have the members that its shared
  schema requires, and no other?
- :func:`against_source`: does every query run, with every filter; are its columns there?
- :func:`rows`: does every row of every query become a record that the published contract lets
  pass, and does the key of each list tell its rows apart?

The judge of a record is the very contract that the mediator will use. A finding names the place,
the type of the value and the rule, never the value; the key of the row is named, because the
operator must find it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any
from urllib.parse import urlencode

import orjson
from sqlalchemy import Connection

from adapters import openapi
from adapters.fields import Field, Kind
from adapters.mapping import Endpoint, Operation, Parameter, Record, Service
from adapters.mapping import Mapping as Map
from adapters.requests import Fault, Plan, plan, selected_columns
from adapters.rows import RecordWriter, execute, fetch
from adapters.source import Source
from exchange.contracts import Contract
from exchange.problems import Problem

CHECK_TIMEOUT_S = 600.0
MAX_FINDINGS = 1_000
_NO_LIMIT = 2**31 - 1
_SAMPLES = {
    Kind.STRING: "x",
    Kind.INTEGER: "1",
    Kind.DECIMAL: "1",
    Kind.DATE: "2024-01-31",
    Kind.DATETIME: "2024-01-31T08:00:00+07:00",
    Kind.BOOLEAN: "true",
}


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong.

    ``where`` is a service and endpoint, or a place in the mapping; ``row`` counts from 1 in the
    source's order, ``key`` names it; ``place`` is a JSON pointer into the record.
    """

    where: str
    rule: str
    row: int | None = None
    key: str = ""
    place: str = ""
    type: str = ""

    def as_dict(self) -> dict[str, Any]:
        """The members that say something."""
        return {name: value for name, value in asdict(self).items() if value not in (None, "")}


# Against the shared schemas.


def against_schemas(mapping: Map, shared: Mapping[str, bytes]) -> list[Finding]:
    """What is wrong between the records of ``mapping`` and the schemas they name."""
    return [
        finding
        for record in mapping.records.values()
        if record.schema is not None
        for finding in _record_against_schema(mapping, record, record.schema, shared)
    ]


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
    limits = replace(mapping.source.limits, statement_timeout_s=CHECK_TIMEOUT_S)
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
    findings = []
    for service in mapping.services.values():
        for endpoint in service.endpoints:
            for query in _probes(endpoint, given):
                findings += await _probe(service, endpoint, query, source)
    return findings


def _probes(endpoint: Endpoint, given: Mapping[str, str]) -> Iterator[dict[str, str]]:
    base = {
        name: value
        for name, parameter in endpoint.query.parameters.items()
        if (value := _sample(parameter, given)) is not None
    }
    yield base
    for name, narrowing in endpoint.filters.items():
        yield base | {name: given.get(name) or narrowing.example or _sample_of(narrowing.field)}


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


def _where(service: Service, endpoint: Endpoint) -> str:
    return f"{service.code} GET {endpoint.path}"


async def _probe(
    service: Service, endpoint: Endpoint, query: Mapping[str, str], source: Source
) -> list[Finding]:
    where = _where(service, endpoint)
    try:
        asked = _plan(endpoint, query)
        await source.run(lambda connection: fetch(connection, asked, 1), timeout_s=CHECK_TIMEOUT_S)
    except Fault as fault:
        return [Finding(where, f"{fault.where}: {fault.detail}; give it an example or --with")]
    except Problem as problem:
        return [Finding(where, f"{_words(problem)} (with {urlencode(query) or 'no parameters'})")]
    return []


def _plan(endpoint: Endpoint, query: Mapping[str, str]) -> Plan:
    """The plan of a request with ``query``, whose path variables have sample values."""
    variables = {
        name: query.get(name) or _sample_of(endpoint.keys[name].field)
        if name in endpoint.keys
        else query.get(name, "x")
        for name in endpoint.variables
    }
    rest = {name: value for name, value in query.items() if name not in variables}
    return plan(endpoint, variables, urlencode(rest))


def _words(problem: Problem) -> str:
    """The driver's own words: the operator who checks may read them."""
    cause: BaseException | None = problem.__cause__
    origin = getattr(cause, "orig", None) or cause
    text = " ".join(str(origin).split())[:300] if origin is not None else ""
    return f"{problem.detail}: {text}" if text else problem.detail


# Row by row.


@dataclass(slots=True)
class _Sweep:
    """The judge of the rows of one endpoint, and what it has found."""

    service: Service
    endpoint: Endpoint
    contract: Contract
    progress: Callable[[int], None]

    def run(self, connection: Connection, asked: Plan) -> list[Finding]:
        findings: list[Finding] = []
        writer = RecordWriter(self.endpoint.record)
        indexes = [index for _, index in selected_columns(self.endpoint, None)]
        judge = self._judge()
        keys: set[tuple[Any, ...]] = set()
        number = 0
        streamed = connection.execution_options(stream_results=True, yield_per=500)
        for number, row in enumerate(execute(streamed, asked, _NO_LIMIT), 1):
            key = tuple(row[len(indexes) :])
            found = [
                *self._key(key, keys, asked),
                *self._row(writer, indexes, row, judge),
            ]
            label = self._label(row, key)
            findings += [replace(finding, row=number, key=label) for finding in found]
            if number % 500 == 0:
                self.progress(500)
            if len(findings) >= MAX_FINDINGS:
                break
        self.progress(number % 500)
        return findings[:MAX_FINDINGS]

    def _judge(self) -> Callable[[bytes], tuple[str, str] | None]:
        operation = next(
            one for one in self.contract.operations if one.template == self.endpoint.path
        )
        several = self.endpoint.operation is Operation.LIST
        prefix = "body#/items/0" if several else "body#"

        def judge(record: bytes) -> tuple[str, str] | None:
            body = b'{"items":[' + record + b'],"next":null}' if several else record
            try:
                operation.check_response(200, (("content-type", "application/json"),), body)
            except Problem as problem:
                more = int(str(problem.facts.get("violations", 1))) - 1
                rule = f"{problem.detail} (and {more} more)" if more else problem.detail
                return problem.where.removeprefix(prefix), rule
            return None

        return judge

    def _row(
        self,
        writer: RecordWriter,
        indexes: Sequence[int],
        row: Sequence[Any],
        judge: Callable[[bytes], tuple[str, str] | None],
    ) -> Iterator[Finding]:
        where = _where(self.service, self.endpoint)
        try:
            record = orjson.dumps(writer.build(row, indexes, ""))
        except Problem as problem:
            kind = str(problem.facts.get("type", ""))
            yield Finding(where, str(problem.facts["rule"]), place=problem.where, type=kind)
            return
        broken = judge(record)
        if broken is not None:
            place, rule = broken
            yield Finding(where, rule, place=place, type=_type_at(orjson.loads(record), place))

    def _key(
        self, key: tuple[Any, ...], keys: set[tuple[Any, ...]], asked: Plan
    ) -> Iterator[Finding]:
        where = _where(self.service, self.endpoint)
        for part, column in zip(key, asked.endpoint.order, strict=True):
            if part is None:
                yield Finding(where, f"the order column {column.column} is null: pages skip it")
        if key and key in keys:
            columns = ", ".join(str(column) for column in asked.endpoint.order)
            yield Finding(where, f"the order ({columns}) does not tell this row from another")
        keys.add(key)

    def _label(self, row: Sequence[Any], key: tuple[Any, ...]) -> str:
        if key:
            parts = zip((column.column for column in self.endpoint.order), key, strict=True)
        else:
            names = [field.column for field in self.endpoint.record.fields]
            wanted = [key.field.column for key in self.endpoint.keys.values()]
            parts = ((name, row[names.index(name)]) for name in wanted)  # type: ignore[assignment]
        return ", ".join(f"{name}={value}" for name, value in parts)


def _type_at(value: Any, pointer: str) -> str:
    names = {dict: "object", list: "array", str: "string", bool: "boolean", type(None): "null"}
    for step in pointer.split("/")[1:]:
        step = step.replace("~1", "/").replace("~0", "~")
        try:
            value = value[int(step)] if isinstance(value, list) else value[step]
        except (KeyError, IndexError, TypeError, ValueError):
            return "missing"
    return names.get(type(value), "number")


async def rows(
    mapping: Map,
    source: Source,
    shared: Mapping[str, bytes],
    given: Mapping[str, str],
    progress: Callable[[int], None] = lambda count: None,
) -> list[Finding]:
    """Read every row of every endpoint and judge the record that it becomes.

    A key in a path that is a filter is left out, so that all records are read, also those that
    no list shows. ``progress`` is called in a thread of the source with a number of rows read.

    Raises:
        Problem: ``InvalidMapping`` when a shared schema is missing; what the source raises.
    """
    findings: list[Finding] = []
    for service in mapping.services.values():
        contract = Contract.compile(openapi.document(mapping, service.code, shared), shared)
        for endpoint in service.endpoints:
            sweep = _Sweep(service, endpoint, contract, progress)
            base = next(_probes(endpoint, given))
            try:
                asked = _plan(replace(endpoint, keys={}), base)
            except Fault:
                continue  # against_source has said that a parameter lacks an example
            findings += await source.run(partial(sweep.run, asked=asked), timeout_s=CHECK_TIMEOUT_S)
    return findings
