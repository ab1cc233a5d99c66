"""Checking a mapping row by row: does every row become a record that its contract lets pass?

The judge of a record is the very contract that the mediator will use.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from typing import Any

import orjson
from sqlalchemy import Connection

from adapters import openapi
from adapters.answers.joins import complete
from adapters.answers.orders import Nulls
from adapters.answers.requests import Fault, Plan
from adapters.answers.rows import RecordWriter
from adapters.answers.running import execute, run
from adapters.answers.statements import LIMIT, Condition, Statement
from adapters.check import CHECK_TIMEOUT_S, place_of, plan_of, probes
from adapters.check_asked import AskedSweep
from adapters.check_rights import unrestricted
from adapters.check_text import unfound
from adapters.fields import Field
from adapters.fields.written import write_json
from adapters.findings import Finding
from adapters.mapping.model import Endpoint, Limits, Operation, Service
from adapters.mapping.model import Mapping as Map
from adapters.sources.source import Source
from exchange.contracts.contract import Contract
from exchange.problems import Problem

MAX_FINDINGS = 1_000
_NO_LIMIT = 2**31 - 1
_AT_ONCE = 500
_UNLIMITED = Limits(max_rows=_NO_LIMIT)


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
        judge, old = self._judge(), self._filtered_texts(asked)
        keys: set[tuple[Any, ...]] = set()
        number = 0
        for row, cells in self._rows(connection, asked):
            number += 1
            key = asked.key_of(row)
            found = [
                *self._key(key, keys, asked),
                *self._row(writer, asked, cells, judge),
                *self._unfound(row, old),
            ]
            label = self._label(row, key, asked)
            findings += [replace(finding, row=number, key=label) for finding in found]
            if number % _AT_ONCE == 0:
                self.progress(_AT_ONCE)
            if len(findings) >= MAX_FINDINGS:
                break
        self.progress(number % _AT_ONCE)
        return findings[:MAX_FINDINGS]

    def _filtered_texts(self, asked: Plan) -> list[tuple[int, Field]]:
        """The decoded and trimmed fields by which callers ask, and where they stand in a row."""
        by = (*self.endpoint.keys.values(), *self.endpoint.filters.values())
        names = {one.field.name for one in by if one.field.decode is not None or one.field.trim}
        fields = [one for one in self.endpoint.record.fields if one.name in names]
        return [(asked.layout.columns.index(field.column), field) for field in fields]

    def _unfound(self, row: Sequence[Any], old: list[tuple[int, Field]]) -> Iterator[Finding]:
        """Values that are spelled as no filter expects it."""
        where = place_of(self.service, self.endpoint)
        for index, field in old:
            rule = unfound(field, row[index])
            if rule:
                yield Finding(where, rule, place=field.pointer, warning=True)

    def _rows(
        self, connection: Connection, asked: Plan
    ) -> Iterator[tuple[Sequence[Any], Sequence[Any] | Problem]]:
        """Each row with the cells of its record, or with what is wrong with its nested rows."""
        streamed = connection.execution_options(stream_results=True, yield_per=_AT_ONCE)
        rows = iter(execute(streamed, asked, _NO_LIMIT))
        # MariaDB asks nothing else over a connection that rows still come from.
        with connection.engine.connect() if asked.layout.joins else nullcontext() as second:
            while batch := list(islice(rows, _AT_ONCE)):
                try:
                    found = complete(second or connection, batch, asked.layout, _UNLIMITED)
                    yield from zip(batch, found, strict=True)
                except Problem:
                    for row in batch:
                        yield row, self._cells(second or connection, row, asked)

    def _cells(
        self, connection: Connection, row: Sequence[Any], asked: Plan
    ) -> Sequence[Any] | Problem:
        try:
            return complete(connection, [row], asked.layout, _UNLIMITED)[0]
        except Problem as problem:
            return problem

    def _judge(self) -> Callable[[bytes], tuple[str, str] | None]:
        operation = next(
            one
            for one in self.contract.operations
            if (one.method, one.template) == ("GET", self.endpoint.path)
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
        asked: Plan,
        cells: Sequence[Any] | Problem,
        judge: Callable[[bytes], tuple[str, str] | None],
    ) -> Iterator[Finding]:
        where = place_of(self.service, self.endpoint)
        if isinstance(cells, Problem):
            yield Finding(where, cells.detail)
            return
        try:
            record = write_json(writer.build(cells, asked.layout.indexes, ""))
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
        where = place_of(self.service, self.endpoint)
        for part, column in zip(key, asked.endpoint.order, strict=True):
            if part is None:
                yield Finding(where, f"the order column {column.column} is null: pages skip it")
        if key and key in keys:
            columns = ", ".join(str(column) for column in asked.endpoint.order)
            yield Finding(where, f"the order ({columns}) does not tell this row from another")
        keys.add(key)

    def _label(self, row: Sequence[Any], key: tuple[Any, ...], asked: Plan) -> str:
        if key:
            parts = zip((column.column for column in self.endpoint.order), key, strict=True)
        else:
            wanted = [key.field.column for key in self.endpoint.keys.values()]
            names = asked.layout.columns
            parts = ((name, row[names.index(name)]) for name in wanted if name in names)  # type: ignore[assignment]
        return ", ".join(f"{name}={value}" for name, value in parts)


def _nulls_in_sorts(
    service: Service, endpoint: Endpoint, asked: Plan, connection: Connection
) -> list[Finding]:
    """The columns of sorts that are said to be never null and are."""
    ordered = {key.column for key in endpoint.order}
    keys = {key.column: key for sort in endpoint.sorts.values() for key in sort}
    findings = []
    for column, key in keys.items():
        if key.nulls is not Nulls.NEVER or column in ordered:
            continue
        nothing = Condition(column, "=", "", 0, or_null=True)
        statement = Statement(endpoint.query.select, [column], [nothing])
        values = {**asked.values, LIMIT: 1}
        if run(connection, endpoint.query, statement, values).first() is not None:
            rule = f"the column {column} of a sort is said to be never null and is: pages skip it"
            findings.append(Finding(place_of(service, endpoint), rule))
    return findings


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
        for endpoint in map(unrestricted, service.endpoints):
            base = next(probes(endpoint, given))
            if endpoint.predicate is not None or endpoint.search is not None:
                with suppress(Fault):  # a parameter lacks an example: against_source has said so
                    plan_of(endpoint, base)
                    asking = AskedSweep(service, endpoint, base, progress)
                    findings += await source.run(asking.run, timeout_s=CHECK_TIMEOUT_S)
                continue
            sweep = _Sweep(service, endpoint, contract, progress)
            try:
                asked = plan_of(replace(endpoint, keys={}), base)
            except Fault:
                continue  # against_source has said that a parameter lacks an example
            findings += await source.run(partial(sweep.run, asked=asked), timeout_s=CHECK_TIMEOUT_S)
            nulls = partial(_nulls_in_sorts, service, endpoint, asked)
            findings += await source.run(nulls, timeout_s=CHECK_TIMEOUT_S)
    return findings
