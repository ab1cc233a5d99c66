"""The OpenAPI 3.1 document of a service, generated from its mapping.

Invariants: the document says exactly what :mod:`adapters.answers.requests` accepts and
:mod:`adapters.answers.rows` answers; it is the same bytes for the same mapping; shared schemas are
named by their absolute ``$id`` and never copied.

An answer to ``fields=`` holds less than the record's schema requires, so it is a media type of its
own, :data:`SELECTION_TYPE`, whose schema has the same members and requires none.
"""

from __future__ import annotations

import re
from collections.abc import Mapping as Map
from collections.abc import Sequence
from typing import Any

import orjson

from adapters.answers.counts import TOTAL_HEADER
from adapters.answers.cursors import MAX_CURSOR_LENGTH
from adapters.answers.faults import MAX_VALUE_LENGTH
from adapters.answers.masking import masked_schema, may_be_absent
from adapters.answers.predicates import predicate_schema
from adapters.answers.replies import OPENAPI_VERSION, PROBLEM_SCHEMA, PROBLEM_TYPE
from adapters.answers.searching import search_parameters, search_schema
from adapters.fields import Field, Kind, Null, Schema, plain_schema
from adapters.mapping.marks import SUBJECT, Marks
from adapters.mapping.masks import Mask
from adapters.mapping.model import (
    Comparison,
    Count,
    Endpoint,
    Filter,
    Mapping,
    Nested,
    Operation,
    Record,
    Service,
    Write,
)
from adapters.mapping.parameters import parameter_document, parameter_object
from adapters.service import SELECTION_TYPE, choose
from adapters.writes import openapi as writing
from exchange.contracts.patterns import MAX_LENGTH as LONGEST_PATTERN
from exchange.problems import Code, Problem

PAGE_SCHEMA = "https://schemas.saphan.la/page/1"
_TOO_MANY = (("422", "More records could be meant than are compared: give more of the name"),)
_MASKED = (("403", "The caller does not see this member whole, so it cannot be searched by"),)


def document(
    mapping: Mapping, service: str | None = None, shared: Map[str, bytes] | None = None
) -> bytes:
    """The document of ``service`` (or of the only one) as JSON.

    Args:
        mapping: what the service shows.
        service: its code.
        shared: the shared schemas by ``$id``; needed when a record names one.

    Raises:
        Problem: ``InvalidMapping`` when the mapping names a shared schema that is not there.
    """
    chosen = choose(mapping, service)
    shared = shared or {}
    for write in chosen.writes:
        if write.body is not None and write.body not in shared:
            raise _no_schema(f"{write.where} body", write.body, shared)
    records: dict[str, Record] = {}
    for endpoint in (*chosen.endpoints, *(write.read for write in chosen.writes)):
        _gather(endpoint.record, records)
    components = {
        name: schema
        for record in records.values()
        for name, schema in _record_schemas(record, shared).items()
    }
    tree = {
        "openapi": OPENAPI_VERSION,
        "info": {
            "title": chosen.title["en"],
            "x-title-lo": chosen.title["lo"],
            "version": mapping.version,
            "x-saphan-service": str(chosen.id),
        },
        "paths": _paths(chosen, PAGE_SCHEMA in shared),
        "components": {"schemas": {**components, "problem": PROBLEM_SCHEMA}},
    }
    return orjson.dumps(tree, option=orjson.OPT_INDENT_2)


def _paths(service: Service, paged: bool) -> dict[str, dict[str, Any]]:
    paths: dict[str, dict[str, Any]] = {
        endpoint.path: {"get": _operation(endpoint, paged)} for endpoint in service.endpoints
    }
    for write in service.writes:
        done = writing.operation(write, [_variable(write, name) for name in write.variables])
        paths.setdefault(write.path, {})[write.method.lower()] = done
    return paths


def _gather(record: Record, records: dict[str, Record]) -> None:
    """``record`` and those nested in it, by their names."""
    records[record.name] = record
    for nested in record.nested:
        _gather(nested.query.record, records)


def _operation(endpoint: Endpoint, paged: bool) -> dict[str, Any]:
    return {
        "operationId": endpoint.operation_id,
        "summary": endpoint.title["en"],
        "x-summary-lo": endpoint.title["lo"],
        "x-saphan-strict-query": True,
        "parameters": _parameters(endpoint),
        "responses": {
            "200": {
                "description": endpoint.record.title["en"],
                "content": _contents(endpoint, paged),
                **({} if endpoint.count is Count.NONE else _total(endpoint.count)),
            },
            **{
                status: {
                    "description": text,
                    "content": {PROBLEM_TYPE: {"schema": _component("problem")}},
                }
                for status, text in (
                    ("400", "A parameter is unknown, missing or malformed"),
                    *_MASKED[: bool(endpoint.record.masks)],
                    ("404", "There is no such record"),
                    *_TOO_MANY[: endpoint.search is not None],
                )
            },
        },
    }


def _contents(endpoint: Endpoint, paged: bool) -> dict[str, Any]:
    if endpoint.predicate is not None:
        return {"application/json": {"schema": predicate_schema(endpoint.predicate)}}
    if endpoint.search is not None:
        record = _component(endpoint.record.name)
        found = search_schema(endpoint, endpoint.search, record)
        return {"application/json": {"schema": found}}
    return {
        "application/json": {"schema": _answer(endpoint, endpoint.record.name, paged)},
        SELECTION_TYPE: {"schema": _answer(endpoint, _selection(endpoint.record), paged)},
    }


def _answer(endpoint: Endpoint, component: str, paged: bool) -> Schema:
    record = _component(component)
    if endpoint.operation is Operation.ONE:
        return record
    if paged:
        items = {"type": "object", "properties": {"items": {"type": "array", "items": record}}}
        return {"allOf": [{"$ref": PAGE_SCHEMA}, items]}
    return {
        "type": "object",
        "required": ["items", "next"],
        "properties": {
            "items": {"type": "array", "items": record},
            "next": {
                "type": ["string", "null"],
                "description": "The cursor of the next page; null after the last one",
            },
        },
        "additionalProperties": False,
    }


def _component(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


# Records.


def _selection(record: Record) -> str:
    return f"{record.name}.selection"


def _record_schemas(record: Record, shared: Map[str, bytes]) -> dict[str, Schema]:
    """The schemas of a record: whole, and of a selection of its members."""
    if record.schema is None:
        whole = _own_schema(record)
        members = _own_schema(record, selected=True)["properties"]
    else:
        whole = {"$ref": record.schema}
        members = _shared_members(record, shared)
    selection = {
        "title": f"{record.title['en']}: a selection of its members",
        "type": "object",
        "properties": members,
        "additionalProperties": False,
    }
    return {record.name: whole, _selection(record): selection}


def _own_schema(record: Record, *, selected: bool = False) -> Schema:
    """The schema of a record; ``selected``: those nested in it may lack members."""
    root: Schema = {"title": record.title["en"], "x-title-lo": record.title["lo"]} | _object()
    for field in record.fields:
        marks = record.marks.get(field.name, Marks())
        _insert(root, field, record.masks.get(field.name), marks)
    for nested in record.nested:
        inner = nested.query.record
        name = _selection(inner) if selected else inner.name
        root["properties"][nested.name] = _nested(nested, _component(name))
        if nested.many or nested.null is not Null.OMIT:
            root.setdefault("required", []).append(nested.name)
    return root


def _nested(nested: Nested, record: Schema) -> Schema:
    schema = record
    if nested.many:
        schema = {"type": "array", "items": record, "maxItems": nested.most}
    elif nested.null is Null.NULL:
        schema = {"anyOf": [record, {"type": "null"}]}
    if nested.title is not None:
        schema = schema | {"title": nested.title["en"], "x-title-lo": nested.title["lo"]}
    return schema


def _object() -> Schema:
    return {"type": "object", "properties": {}, "additionalProperties": False}


def _insert(root: Schema, field: Field, mask: Mask | None, marks: Marks) -> None:
    *outer, last = field.path
    inner = root
    for step in outer:
        inner = inner["properties"].setdefault(step, _object())
    schema = field.schema() | marks.schema
    inner["properties"][last] = schema if mask is None else masked_schema(schema, mask)
    if field.null is not Null.OMIT and not outer and not may_be_absent(mask):
        inner.setdefault("required", []).append(last)


def _no_schema(where: str, identifier: str, shared: Map[str, bytes]) -> Problem:
    detail = f"there is no shared schema {identifier}; known: {', '.join(sorted(shared))}"
    return Problem(Code.INVALID_MAPPING, where=where, detail=detail)


def _shared_members(record: Record, shared: Map[str, bytes]) -> dict[str, Schema]:
    schema = shared.get(record.schema or "")
    if schema is None:
        raise _no_schema(f"/records/{record.name}/schema", record.schema or "", shared)
    properties = orjson.loads(schema).get("properties", {})
    own = _own_schema(record, selected=True)["properties"]
    # What has members that can be asked for may lack some that the shared schema requires.
    divided = {name.partition(".")[0] for name in record.selectable if "." in name}
    whole = properties.keys() - divided
    return {
        name: {"$ref": f"{record.schema}#/properties/{name}"} if name in whole else own[name]
        for name in record.members
    }


# Parameters.


def _parameters(endpoint: Endpoint) -> list[dict[str, Any]]:
    found = []
    declared = endpoint.query.parameters
    for name in endpoint.variables:
        found.append(
            parameter_document(declared[name], in_path=True)
            if name in declared
            else _narrowing(endpoint.keys[name], endpoint, in_path=True)
        )
    found += [_narrowing(one, endpoint) for one in endpoint.filters.values()]
    found += [
        parameter_document(one) for name, one in declared.items() if name not in endpoint.variables
    ]
    if endpoint.predicate is not None:
        return found
    if endpoint.search is not None:
        return [*search_parameters(endpoint.search), *found, _paging(endpoint.page_size)[0]]
    found.append(_fields(endpoint.record))
    if endpoint.order:
        found += _paging(endpoint.page_size)
    if endpoint.sorts:
        found.append(_sort(endpoint.sort_names))
    if endpoint.count is not Count.NONE:
        found.append(_COUNT)
    return found


def _variable(write: Write, name: str) -> dict[str, Any]:
    """A variable in the path of a writing endpoint."""
    declared = write.parameters.get(name) or write.read.query.parameters.get(name)
    if declared is not None:
        return parameter_document(declared, in_path=True)
    key = write.read.keys.get(name) or Filter(name=name, field=write.fields[name])
    return _narrowing(key, write.read, in_path=True)


def _narrowing(one: Filter, endpoint: Endpoint, *, in_path: bool = False) -> dict[str, Any]:
    schema = plain_schema(one.field.kind)
    if schema["type"] == "string":
        schema["maxLength"] = MAX_VALUE_LENGTH
    if one.comparison is Comparison.BEGINS_WITH:
        schema["minLength"] = 1
    known = [_said(one.field.kind, text) for text in one.values]
    known = known or one.field.schema().get("enum") or []
    if known:
        schema["enum"] = [word for word in known if word is not None]
    marks = endpoint.record.marks.get(one.field.name)
    if marks is not None and marks.subject and one.comparison is Comparison.EQUALS:
        schema[SUBJECT] = marks.subject
    parameter = parameter_object(
        one.name, schema, one.title, in_path=in_path, required=endpoint.predicate is not None
    )
    return parameter | ({"example": one.example} if one.example is not None else {})


def _said(kind: Kind, text: str) -> Any:
    """A text of a parameter as its schema has it."""
    return orjson.loads(text) if kind in (Kind.INTEGER, Kind.DECIMAL) else text


def _fields(record: Record) -> dict[str, Any]:
    names = "|".join(map(re.escape, record.selectable))
    pattern = f"^({names})(,({names}))*$"
    if len(pattern) > LONGEST_PATTERN:  # the adapter itself refuses a name that is none
        pattern = "^[A-Za-z0-9_.]+(,[A-Za-z0-9_.]+)*$"
    return {
        "name": "fields",
        "in": "query",
        "required": False,
        "description": "Only these members of each record, separated by commas; "
        "a path with dots asks for a member inside another",
        "x-description-lo": "ສະເພາະຂໍ້ມູນເຫຼົ່ານີ້ຂອງແຕ່ລະລາຍການ, ຂັ້ນດ້ວຍຈຸດ (,); "
        "ຂໍ້ມູນທີ່ຢູ່ພາຍໃນຂຽນດ້ວຍຈຸດ (.) ລະຫວ່າງຊື່",
        "x-saphan-selects-fields": True,
        "schema": {"type": "string", "pattern": pattern},
    }


def _sort(names: Sequence[str]) -> dict[str, Any]:
    return {
        "name": "sort",
        "in": "query",
        "required": False,
        "description": "Another order of the list; with `-` the other way round",
        "x-description-lo": "ລຳດັບອື່ນຂອງລາຍການ; ໃສ່ `-` ເພື່ອກັບລຳດັບ",
        "schema": {"type": "string", "enum": list(names)},
    }


_COUNT: dict[str, Any] = {
    "name": "count",
    "in": "query",
    "required": False,
    "description": f"Whether the header field {TOTAL_HEADER} tells the number of all records",
    "x-description-lo": f"ໃຫ້ບອກຈຳນວນລາຍການທັງໝົດໃນ {TOTAL_HEADER}",
    "schema": {"type": "boolean", "default": False},
}


def _total(count: Count) -> dict[str, Any]:
    return {
        "headers": {
            TOTAL_HEADER: {
                "description": f"With `count=true`: the number of all records, {count}",
                "x-description-lo": "ຈຳນວນລາຍການທັງໝົດ",
                "schema": {"type": "string", "pattern": f"^[0-9]+;{count}$"},
            }
        }
    }


def _paging(most: int) -> list[dict[str, Any]]:
    return [
        {
            "name": "page_size",
            "in": "query",
            "required": False,
            "description": "The most records of one page",
            "x-description-lo": "ຈຳນວນລາຍການສູງສຸດໃນໜຶ່ງໜ້າ",
            "schema": {"type": "integer", "minimum": 1, "maximum": most, "default": most},
        },
        {
            "name": "cursor",
            "in": "query",
            "required": False,
            "description": "Where the page begins: `next` of the page before",
            "x-description-lo": "ຈຸດເລີ່ມຂອງໜ້າ: ຄ່າ next ຂອງໜ້າກ່ອນ",
            "schema": {"type": "string", "maxLength": MAX_CURSOR_LENGTH},
        },
    ]
