"""Reading a mapping file into a :class:`adapters.mapping.Mapping`.

Every key that is not in the tables here is refused with its file, line and path; so is a name that
is used but not defined, and a parameter that is in a query but not declared (or the reverse).
"""

from __future__ import annotations

import re
from collections.abc import Mapping as Map
from pathlib import Path
from typing import Any

from adapters.fields import Field, Kind, Mismatch, parse_plain
from adapters.mapping import (
    FORMAT_VERSION,
    Comparison,
    Endpoint,
    Filter,
    Mapping,
    Operation,
    Parameter,
    Query,
    Record,
    Service,
)
from adapters.mapping_records import named, read_enumerations, read_record, read_table, read_texts
from adapters.mapping_source import read_source
from adapters.reader import Node, parse, read
from adapters.statements import NAME, Key, NotSelect, check_select
from exchange.identifiers import ApplicationId, ServiceId
from exchange.problems import Problem

RESERVED_PARAMETERS = frozenset({"fields", "cursor", "page_size"})
MAX_PAGE_SIZE = 5_000

_PARAMETER_NAME = re.compile(r"[a-z][a-z0-9_]{0,40}", re.ASCII)
_ORDER = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,62}( (asc|desc))?", re.ASCII)
_PATH = re.compile(r"(/([A-Za-z0-9._~-]+|\{[a-z][a-z0-9_]*\}))+", re.ASCII)
_VERSION = re.compile(r"[0-9]+\.[0-9]+\.[0-9]+", re.ASCII)


def load_mapping(path: Path) -> Mapping:
    """Read the mapping file at ``path``.

    Raises:
        Problem: ``InvalidMapping`` with the file, line and path of keys of the first fault.
    """
    return _mapping(read(path))


def parse_mapping(data: bytes, file: str = "mapping.yaml") -> Mapping:
    """Parse the bytes of a mapping file.

    Raises:
        Problem: ``InvalidMapping`` with the file, line and path of keys of the first fault.
    """
    return _mapping(parse(data, file))


def _mapping(root: Node) -> Mapping:
    top = root.members(
        ("saphan_mapping", "application", "title", "source", "records", "queries", "services"),
        ("version", "enumerations"),
    )
    top["saphan_mapping"].integer(FORMAT_VERSION, FORMAT_VERSION)
    application = _application(top["application"])
    tables = read_enumerations(top.get("enumerations"))
    records = {
        name: read_record(name, node, tables) for name, node in named(top["records"]).items()
    }
    queries = {
        name: _query(name, node, records, tables) for name, node in named(top["queries"]).items()
    }
    services = {
        code: _service(application, code, node, queries)
        for code, node in top["services"].entries().items()
    }
    if not services:
        top["services"].refuse("at least one service is needed")
    return Mapping(
        file=root.file,
        application=application,
        title=read_texts(top["title"]),
        version=top["version"].text(_VERSION) if "version" in top else "1.0.0",
        source=read_source(top["source"]),
        records=records,
        queries=queries,
        services=services,
    )


def _application(node: Node) -> ApplicationId:
    try:
        return ApplicationId.parse(node.text())
    except Problem as problem:
        node.refuse(problem.detail)


# Queries.


def _query(
    name: str, node: Node, records: Map[str, Record], tables: Map[str, Map[str, str]]
) -> Query:
    found = node.members(("sql", "record"), ("parameters",))
    try:
        select = check_select(found["sql"].text(longest=20_000))
    except NotSelect as error:
        found["sql"].refuse(str(error))
    declared = found["parameters"].entries() if "parameters" in found else {}
    for parameter in sorted(select.parameters - declared.keys()):
        found["sql"].refuse(f"the query uses :{parameter}, which parameters does not declare")
    for parameter, child in declared.items():
        if parameter not in select.parameters:
            child.refuse("is declared, but the query does not use it")
    parameters = {key: _parameter(key, child, tables) for key, child in declared.items()}
    record = records[found["record"].reference(records, "record")]
    return Query(name, select, record, parameters, node.where)


def _parameter(name: str, node: Node, tables: Map[str, Map[str, str]]) -> Parameter:
    _check_parameter_name(name, node)
    found = node.members(
        ("type",),
        (
            "required",
            "default",
            "pattern",
            "minimum",
            "maximum",
            "values",
            "table",
            "example",
            "title",
        ),
    )
    kind = found["type"].choice(Kind)
    if kind is Kind.ENUMERATION:
        found["type"].refuse("give a string parameter the key 'values' or 'table' instead")
    if kind is Kind.DATETIME:
        found["type"].refuse("a time is compared by a filter of a field, which knows its zone")
    table = _inverse(found["table"], tables) if "table" in found else None
    parameter = Parameter(
        name=name,
        kind=kind,
        required=found["required"].boolean() if "required" in found else "default" not in found,
        default=_value(kind, found["default"]) if "default" in found else None,
        pattern=_pattern(found.get("pattern")),
        minimum=found["minimum"].integer(-(10**15), 10**15) if "minimum" in found else None,
        maximum=found["maximum"].integer(-(10**15), 10**15) if "maximum" in found else None,
        values=tuple(item.text(longest=200) for item in found["values"].items())
        if "values" in found
        else (),
        table=table,
        example=found["example"].text(longest=200) if "example" in found else None,
        title=read_texts(found["title"]) if "title" in found else None,
    )
    if parameter.required and "default" in found:
        found["default"].refuse("a required parameter has no default")
    for key in ("minimum", "maximum"):
        if key in found and kind is not Kind.INTEGER:
            found[key].refuse("only an integer has bounds")
    for key in ("pattern", "values", "table"):
        if key in found and kind is not Kind.STRING:
            found[key].refuse("only a string has a pattern, values or a table")
    return parameter


def _check_parameter_name(name: str, node: Node) -> None:
    if not _PARAMETER_NAME.fullmatch(name) or name.startswith("saphan_"):
        node.refuse(f"{name!r} is not a name of a parameter: small letters, digits and '_'")
    if name in RESERVED_PARAMETERS:
        node.refuse(f"{name!r} is a parameter of every list and cannot be declared")


def _value(kind: Kind, node: Node) -> Any:
    try:
        return parse_plain(kind, node.text(longest=200))
    except Mismatch as mismatch:
        node.refuse(mismatch.rule)


def _inverse(node: Node, tables: Map[str, Map[str, str]]) -> dict[str, str]:
    """The one word of the source for each meaning."""
    words: dict[str, str] = {}
    for word, meaning in read_table(node, tables).items():
        if meaning in words:
            node.refuse(f"{meaning!r} has several words; a parameter binds one")
        words[meaning] = word
    return words


def _pattern(node: Node | None) -> str | None:
    if node is None:
        return None
    text = node.text(longest=200)
    try:
        re.compile(text)
    except re.error as error:
        node.refuse(f"is not a regular expression: {error}")
    return text


# Services.


def _service(
    application: ApplicationId, code: str, node: Node, queries: Map[str, Query]
) -> Service:
    try:
        service = ServiceId.parse(f"{application}/{code}")
    except Problem as problem:
        node.refuse(problem.detail)
    found = node.members(("title", "endpoints"))
    endpoints = tuple(
        _endpoint(path, child, queries) for path, child in found["endpoints"].entries().items()
    )
    shapes: set[tuple[str, ...]] = set()
    for endpoint in endpoints:
        shape = tuple("{}" if part.startswith("{") else part for part in endpoint.segments)
        if shape in shapes:
            found["endpoints"].refuse(f"two endpoints answer the paths of {endpoint.path}")
        shapes.add(shape)
    if not endpoints:
        found["endpoints"].refuse("at least one endpoint is needed")
    return Service(service, read_texts(found["title"]), endpoints)


def _endpoint(path: str, node: Node, queries: Map[str, Query]) -> Endpoint:
    if not _PATH.fullmatch(path):
        node.refuse(f"{path!r} is not a path such as /projects/{{code}}")
    found = node.members(
        ("operation", "query", "title"), ("order", "page_size", "filters", "operation_id")
    )
    operation = found["operation"].choice(Operation)
    query = queries[found["query"].reference(queries, "query")]
    if operation is Operation.ONE:
        for key in ("order", "page_size", "filters"):
            if key in found:
                found[key].refuse("has no meaning where one record is answered")
    endpoint = Endpoint(
        path=path,
        operation=operation,
        query=query,
        title=read_texts(found["title"]),
        keys=_path_keys(path, node, query),
        filters=_filters(found.get("filters"), query),
        order=_order(found.get("order")),
        page_size=found["page_size"].integer(1, MAX_PAGE_SIZE) if "page_size" in found else 100,
        operation_id=found["operation_id"].text(NAME)
        if "operation_id" in found
        else _operation_id(operation, path),
        where=node.where,
    )
    if "page_size" in found and not endpoint.order:
        found["page_size"].refuse("pages need an order: a list of columns that tells rows apart")
    for name in endpoint.variables:
        if endpoint.variables.count(name) > 1 or name in endpoint.filters:
            node.refuse(f"the name {name!r} is used twice")
    return endpoint


def _operation_id(operation: Operation, path: str) -> str:
    words = re.sub(r"[^A-Za-z0-9]+", "_", path).strip("_")
    return f"{'list' if operation is Operation.LIST else 'get'}_{words}"


def _path_keys(path: str, node: Node, query: Query) -> dict[str, Filter]:
    keys = {}
    for name in re.findall(r"\{([a-z0-9_]+)\}", path):
        if name in query.parameters:
            continue
        field = query.record.field(name)
        if field is None:
            node.refuse(f"{{{name}}} is neither a parameter of the query nor a field of the record")
        _check_filter(field, Comparison.EQUALS, node)
        keys[name] = Filter(name=name, field=field)
    return keys


def _filters(node: Node | None, query: Query) -> dict[str, Filter]:
    if node is None:
        return {}
    fields = {field.name: field for field in query.record.fields}
    found: dict[str, tuple[Node, Node | None]] = (
        {name: (child, child) for name, child in node.entries().items()}
        if not node.is_sequence
        else {item.text(): (item, None) for item in node.items()}
    )
    filters = {}
    for name, (place, options) in found.items():
        _check_parameter_name(name, place)
        if name in query.parameters:
            place.refuse("is a parameter of the query already")
        filters[name] = _filter(name, place, options, fields)
    return filters


def _filter(name: str, place: Node, options: Node | None, fields: Map[str, Field]) -> Filter:
    found = {} if options is None else options.members((), ("field", "compare", "example", "title"))
    if "field" in found:
        field = fields[found["field"].reference(fields, "field")]
    elif name in fields:
        field = fields[name]
    else:
        place.refuse(f"there is no field {name!r}; name one with the key 'field'")
    comparison = found["compare"].choice(Comparison) if "compare" in found else Comparison.EQUALS
    _check_filter(field, comparison, place)
    return Filter(
        name=name,
        field=field,
        comparison=comparison,
        example=found["example"].text(longest=200) if "example" in found else None,
        title=read_texts(found["title"]) if "title" in found else field.title,
    )


def _check_filter(field: Field, comparison: Comparison, place: Node) -> None:
    if field.separator is not None:
        place.refuse(f"{field.name} is a list, which cannot be filtered")
    if comparison is Comparison.EQUALS:
        return
    ordered = (Kind.INTEGER, Kind.DECIMAL, Kind.DATE, Kind.DATETIME)
    if field.kind not in ordered or field.format is not None:
        form = f" ({field.format})" if field.format is not None else ""
        place.refuse(
            f"{field.name} is stored in a way that has no order{form}: filter a column of the query"
            " that has one"
        )


def _order(node: Node | None) -> tuple[Key, ...]:
    if node is None:
        return ()
    keys: list[Key] = []
    for item in node.items():
        column, _, direction = item.text(_ORDER).partition(" ")
        if column in (key.column for key in keys):
            item.refuse("appears twice")
        keys.append(Key(column, direction == "desc"))
    if not keys:
        node.refuse("at least one column is needed")
    return tuple(keys)
