"""Checking what a mapping shows to whom: what can be judged without the source."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

import orjson

from adapters.answers.masking import examples, may_be_absent
from adapters.findings import Finding
from adapters.mapping.model import Endpoint, Query, Record
from adapters.mapping.model import Mapping as Map
from exchange.contracts.contract import Contract
from exchange.problems import Problem

_TRIED = "/tried"


def of_rights(mapping: Map, shared: Mapping[str, bytes]) -> list[Finding]:
    """Masks that a shared schema does not let pass; queries that could tell of masked values."""
    findings: list[Finding] = []
    for record in mapping.records.values():
        if record.masks and record.schema is not None and record.schema in shared:
            findings += _against_schema(mapping, record, shared)
    for query in mapping.queries.values():
        names = ", ".join(f":{name}" for name in query.parameters)
        if query.record.masks and names:
            masked = ", ".join(query.record.masks)
            told = f"{names}: see that it is not compared with what is masked ({masked})"
            findings.append(Finding(query.where, told, warning=True))
    return findings


def unrestricted(endpoint: Endpoint) -> Endpoint:
    """The endpoint as if everybody saw everything: rights hide nothing from who checks a source."""
    return replace(endpoint, visible=None, query=_whole(endpoint.query))


def _whole(query: Query) -> Query:
    record = query.record
    nested = tuple(replace(one, query=_whole(one.query)) for one in record.nested)
    return replace(query, record=replace(record, visible=None, masks={}, nested=nested))


def _against_schema(mapping: Map, record: Record, shared: Mapping[str, bytes]) -> Iterator[Finding]:
    where = f"{mapping.file} /records/{record.name}"
    schema = orjson.loads(shared[record.schema or ""])
    for name, mask in record.masks.items():
        if may_be_absent(mask) and name in schema.get("required", ()):
            yield Finding(
                where, "is masked as 'absent', but the schema requires it", place=f"/{name}"
            )
        if "." in name or name not in schema.get("properties", {}):
            continue
        for shown, value in examples(mask):
            rule = _broken(f"{record.schema}#/properties/{name}", value, shared)
            if rule is not None:
                yield Finding(where, f"is masked as {shown!s}, but {rule}", place=f"/{name}")


def _broken(reference: str, value: object, shared: Mapping[str, bytes]) -> str | None:
    """The rule of a schema that a value breaks, judged as an answer is."""
    document = {
        "openapi": "3.1.1",
        "info": {"title": "mask", "version": "1.0.0"},
        "paths": {
            _TRIED: {
                "get": {
                    "responses": {
                        "200": {
                            "description": "mask",
                            "content": {"application/json": {"schema": {"$ref": reference}}},
                        }
                    }
                }
            }
        },
    }
    operation = Contract.compile(orjson.dumps(document), shared).find("GET", _TRIED).operation
    try:
        operation.check_response(200, (("content-type", "application/json"),), orjson.dumps(value))
    except Problem as problem:
        return problem.detail
    return None
