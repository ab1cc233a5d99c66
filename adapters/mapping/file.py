"""Reading a mapping file into a :class:`adapters.mapping.model.Mapping`.

Every key that is not in the tables here is refused with its file, line and path; so is a name that
is used but not defined, and a parameter that is in a query but not declared (or the reverse).
"""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Mapping as Map
from pathlib import Path

from adapters.answers.statements import NotSelect, check_select
from adapters.mapping.changes import read_changes
from adapters.mapping.endpoints import read_endpoint
from adapters.mapping.head import read_head, read_texts, service_nodes
from adapters.mapping.model import (
    Count,
    Endpoint,
    Mapping,
    Query,
    Record,
    Service,
    SourceKind,
    Statement,
    Write,
)
from adapters.mapping.nested import nest
from adapters.mapping.parameters import read_parameter
from adapters.mapping.reader import Node, parse, read
from adapters.mapping.records import named, read_enumerations, read_record
from adapters.mapping.source import read_source
from adapters.mapping.writes import is_write, read_statements, read_write
from exchange.identifiers import ServiceId
from exchange.problems import Code, Problem


def load_mapping(path: Path) -> Mapping:
    """Read the mapping file at ``path``.

    Raises:
        Problem: ``InvalidMapping`` with the file, line and path of keys of the first fault.
    """
    return mapping_of(read(path))


def parse_mapping(data: bytes, file: str = "mapping.yaml") -> Mapping:
    """Parse the bytes of a mapping file.

    Raises:
        Problem: ``InvalidMapping`` with the file, line and path of keys of the first fault.
    """
    return mapping_of(parse(data, file))


def mapping_of(root: Node) -> Mapping:
    """The mapping in a file that was parsed; see :func:`load_mapping`."""
    head, top = read_head(root, ("records", "queries"), ("enumerations", "changes", "statements"))
    source = read_source(top["source"])
    tables = read_enumerations(top.get("enumerations"))
    zoned, keyed = source.zone is not None, bool(source.mask_key)
    records = {
        name: read_record(name, node, tables, zoned=zoned, keyed=keyed)
        for name, node in named(top["records"]).items()
    }
    queries = {
        name: _query(name, node, records, tables) for name, node in named(top["queries"]).items()
    }
    records, queries = nest(records, queries, top["records"].entries())
    statements = read_statements(top.get("statements"), source.writing, tables)
    services = {
        service.service_code: _service(service, node, queries, statements, zoned=zoned)
        for service, node in service_nodes(head.application, top["services"]).items()
    }
    for endpoint in (one for service in services.values() for one in service.endpoints):
        _check_count(endpoint, source.kind)
    return Mapping(
        file=head.file,
        application=head.application,
        title=head.title,
        version=head.version,
        source=source,
        records=records,
        queries=queries,
        services=services,
        changes=read_changes(top.get("changes"), queries, source),
    )


def _check_count(endpoint: Endpoint, kind: SourceKind) -> None:
    if endpoint.count is not Count.ESTIMATED:
        return
    if kind is SourceKind.FILES:
        detail = "files are counted exactly, which costs little there: say exact"
    elif endpoint.by_caller:
        detail = "an estimate would tell of rows that not every caller sees: say exact"
    else:
        return
    raise Problem(Code.INVALID_MAPPING, where=endpoint.where, detail=detail)


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
    parameters = {key: read_parameter(key, child, tables) for key, child in declared.items()}
    record = records[found["record"].reference(records, "record")]
    return Query(name, select, record, parameters, node.where)


# Services.


def _service(
    service: ServiceId,
    node: Node,
    queries: Map[str, Query],
    statements: Map[str, Statement],
    *,
    zoned: bool,
) -> Service:
    found = node.members(("title", "endpoints"))
    endpoints: list[Endpoint] = []
    writes: list[Write] = []
    shapes: set[tuple[str, ...]] = set()
    for key, child in found["endpoints"].entries().items():
        if is_write(key):
            writes.append(read_write(key, child, queries, statements, zoned=zoned))
            shape = (writes[-1].method, *_shape(writes[-1].segments))
        else:
            endpoints.append(read_endpoint(key, child, queries, zoned=zoned))
            shape = ("GET", *_shape(endpoints[-1].segments))
        if shape in shapes:
            found["endpoints"].refuse(f"two endpoints answer the paths of {key}")
        shapes.add(shape)
    if not endpoints and not writes:
        found["endpoints"].refuse("at least one endpoint is needed")
    return Service(service, read_texts(found["title"]), tuple(endpoints), tuple(writes))


def _shape(segments: Iterable[str]) -> tuple[str, ...]:
    return tuple("{}" if part.startswith("{") else part for part in segments)
