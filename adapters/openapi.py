"""The OpenAPI 3.1 document of a service, generated from its mapping.

Invariants: the document says exactly what :mod:`adapters.requests` accepts and
:mod:`adapters.rows` answers; it is the same bytes for the same mapping; shared schemas are named by
their absolute ``$id`` and never copied.

An answer to ``fields=`` holds less than the record's schema requires, so it is a media type of its
own, :data:`SELECTION_TYPE`, whose schema has the same members and requires none.
"""

from __future__ import annotations

from collections.abc import Mapping as Map
from typing import Any

import orjson

from adapters.fields import Field, Null, Schema, plain_schema
from adapters.mapping import Endpoint, Filter, Mapping, Operation, Parameter, Record, Texts
from adapters.requests import MAX_VALUE_LENGTH
from adapters.service import PROBLEM_TYPE, SELECTION_TYPE, choose
from exchange.problems import Code, Problem

OPENAPI_VERSION = "3.1.1"
PAGE_SCHEMA = "https://schemas.saphan.la/page/1"
_PROBLEM_SCHEMA: Schema = {
    "title": "Problem details (RFC 9457)",
    "type": "object",
    "required": ["type", "title", "status", "detail", "where"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "where": {"type": "string"},
    },
}


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
    records = {endpoint.record.name: endpoint.record for endpoint in chosen.endpoints}
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
        "paths": {
            endpoint.path: {"get": _operation(endpoint, PAGE_SCHEMA in shared)}
            for endpoint in chosen.endpoints
        },
        "components": {"schemas": {**components, "problem": _PROBLEM_SCHEMA}},
    }
    return orjson.dumps(tree, option=orjson.OPT_INDENT_2)


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
                "content": {
                    "application/json": {"schema": _answer(endpoint, endpoint.record.name, paged)},
                    SELECTION_TYPE: {
                        "schema": _answer(endpoint, _selection(endpoint.record), paged)
                    },
                },
            },
            **{
                status: {
                    "description": text,
                    "content": {PROBLEM_TYPE: {"schema": _component("problem")}},
                }
                for status, text in (
                    ("400", "A parameter is unknown, missing or malformed"),
                    ("404", "There is no such record"),
                )
            },
        },
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
        members = whole["properties"]
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


def _own_schema(record: Record) -> Schema:
    root: Schema = {"title": record.title["en"], "x-title-lo": record.title["lo"]} | _object()
    for field in record.fields:
        _insert(root, field)
    return root


def _object() -> Schema:
    return {"type": "object", "properties": {}, "additionalProperties": False}


def _insert(root: Schema, field: Field) -> None:
    *outer, last = field.path
    inner = root
    for step in outer:
        inner = inner["properties"].setdefault(step, _object())
    inner["properties"][last] = field.schema()
    if field.null is not Null.OMIT and not outer:
        inner.setdefault("required", []).append(last)


def _shared_members(record: Record, shared: Map[str, bytes]) -> dict[str, Schema]:
    schema = shared.get(record.schema or "")
    if schema is None:
        raise Problem(
            Code.INVALID_MAPPING,
            where=f"/records/{record.name}/schema",
            detail=f"there is no shared schema {record.schema}; known: {', '.join(sorted(shared))}",
        )
    properties = orjson.loads(schema).get("properties", {})
    own = _own_schema(record)["properties"]
    return {
        name: {"$ref": f"{record.schema}#/properties/{name}"} if name in properties else own[name]
        for name in record.members
    }


# Parameters.


def _parameters(endpoint: Endpoint) -> list[dict[str, Any]]:
    found = []
    declared = endpoint.query.parameters
    for name in endpoint.variables:
        found.append(
            _bound(declared[name], in_path=True)
            if name in declared
            else _narrowing(endpoint.keys[name], in_path=True)
        )
    found += [_narrowing(one) for one in endpoint.filters.values()]
    found += [_bound(one) for name, one in declared.items() if name not in endpoint.variables]
    found.append(_fields(endpoint.record))
    if endpoint.order:
        found += _paging(endpoint.page_size)
    return found


def _parameter(
    name: str, schema: Schema, title: Texts | None, *, in_path: bool, required: bool
) -> dict[str, Any]:
    parameter: dict[str, Any] = {
        "name": name,
        "in": "path" if in_path else "query",
        "required": required or in_path,
        "schema": schema,
    }
    if title is not None:
        parameter |= {"description": title["en"], "x-description-lo": title["lo"]}
    return parameter


def _narrowing(one: Filter, *, in_path: bool = False) -> dict[str, Any]:
    schema = plain_schema(one.field.kind)
    if schema["type"] == "string":
        schema["maxLength"] = MAX_VALUE_LENGTH
    known = one.field.schema().get("enum")
    if known:
        schema["enum"] = [word for word in known if word is not None]
    parameter = _parameter(one.name, schema, one.title, in_path=in_path, required=False)
    return parameter | ({"example": one.example} if one.example is not None else {})


def _bound(one: Parameter, *, in_path: bool = False) -> dict[str, Any]:
    schema = plain_schema(one.kind)
    for key, value in (
        ("pattern", one.pattern),
        ("minimum", one.minimum),
        ("maximum", one.maximum),
        ("enum", list(one.values) or (sorted(one.table) if one.table else None)),
        ("default", one.default if isinstance(one.default, str | int | bool) else None),
    ):
        if value is not None:
            schema[key] = value
    parameter = _parameter(one.name, schema, one.title, in_path=in_path, required=one.required)
    return parameter | ({"example": _example(one)} if one.example is not None else {})


def _example(one: Parameter) -> Any:
    return int(one.example) if one.kind.value == "integer" and one.example else one.example


def _fields(record: Record) -> dict[str, Any]:
    names = "|".join(record.members)
    return {
        "name": "fields",
        "in": "query",
        "required": False,
        "description": "Only these members of each record, separated by commas",
        "x-description-lo": "ສະເພາະຂໍ້ມູນເຫຼົ່ານີ້ຂອງແຕ່ລະລາຍການ, ຂັ້ນດ້ວຍຈຸດ",
        "x-saphan-selects-fields": True,
        "schema": {"type": "string", "pattern": f"^({names})(,({names}))*$"},
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
            "schema": {"type": "string", "maxLength": 2000},
        },
    ]
