"""What a mapping file lets others write: tables, statements, endpoints.

Invariants of what is read here: nothing is writable unless ``source.writes`` says ``allowed``;
every ``:name`` of a statement is given by somebody (the path, the body, a declared parameter, a
statement before it, or the message itself); the record that is left can be found by its key.

What the statements do is judged by their grammar when the source's dialect is known
(:mod:`adapters.writes.guard`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from collections.abc import Mapping as Map
from dataclasses import replace

from adapters.answers.statements import NAME, BadForm, scan
from adapters.fields import Field, Kind
from adapters.mapping.endpoints import PATH, check_filter, operation_id
from adapters.mapping.head import read_texts
from adapters.mapping.model import (
    Change,
    Endpoint,
    Filter,
    Operation,
    Parameter,
    Query,
    Statement,
    WritableTable,
    Write,
    Writing,
)
from adapters.mapping.parameters import read_parameter
from adapters.mapping.reader import Node
from adapters.mapping.records import SCHEMA_ID, named
from adapters.mapping.visibility import read_visible
from adapters.writes.values import why_not_written

VERBS = ("INSERT", "UPDATE", "DELETE")
OF_MESSAGE = ("saphan_client", "saphan_id")
"""Names that every statement may bind: who writes, and the id of its message."""

METHODS: dict[str, tuple[Change, ...]] = {
    "POST": (Change.CREATE, Change.UPDATE),
    "PUT": (Change.UPDATE, Change.CREATE),
    "PATCH": (Change.UPDATE,),
    "DELETE": (Change.DELETE,),
}
MAX_STATEMENTS = 20
_TABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,62}(\.[A-Za-z_][A-Za-z0-9_]{0,62})?", re.ASCII)
_REFUSED = frozenset(
    {"INTO", "SELECT", "WITH", "MERGE", "REPLACE", "EXEC", "EXECUTE", "CALL", "UNION", "TRUNCATE"}
)

WRITING_KEYS = (
    "writes",
    "write_url",
    "write_url_env",
    "writable",
    "max_write_connections",
    "ledger",
)


def read_writing(found: Map[str, Node], variable: re.Pattern[str]) -> Writing | None:
    """The keys of ``source`` that are about writing; None where nothing may be written."""
    given = [found[key] for key in WRITING_KEYS if key in found and key != "writes"]
    if "writes" not in found:
        for node in given:
            node.refuse("has no meaning unless 'writes: allowed' stands beside it")
        return None
    if found["writes"].text() != "allowed":
        found["writes"].refuse("must be 'allowed'; without the key nothing is written")
    addresses = [key for key in ("write_url", "write_url_env") if key in found]
    if len(addresses) != 1:
        found["writes"].refuse("exactly one of the keys write_url and write_url_env is needed")
    if "writable" not in found:
        found["writes"].refuse("the key 'writable' is missing: the tables that may be written")
    url = (
        found["write_url"].text()
        if "write_url" in found
        else "${" + found["write_url_env"].text(variable) + "}"
    )
    tables = {name: _table(name, node) for name, node in found["writable"].entries().items()}
    if not tables:
        found["writable"].refuse("at least one table is needed")
    connections = found.get("max_write_connections")
    ledger = found["ledger"].text(_TABLE) if "ledger" in found else "saphan_writes"
    if ledger.lower() in map(str.lower, tables):
        found["writable"].refuse("the ledger is written by every request, and by no statement")
    return Writing(url, tables, connections.integer(1, 20) if connections else 2, ledger)


def _table(name: str, node: Node) -> WritableTable:
    if not _TABLE.fullmatch(name):
        node.refuse(f"{name!r} is not a table's name, such as tbl_book")
    if node.is_sequence:
        return WritableTable(_columns(node))
    found = node.members(("key",), ("delete",))
    delete = found["delete"].boolean() if "delete" in found else False
    return WritableTable(_columns(found["key"]), delete)


def _columns(node: Node) -> tuple[str, ...]:
    return tuple(item.text(NAME) for item in node.items())


def read_statements(
    node: Node | None, writing: Writing | None, tables: Map[str, Map[str, str]]
) -> dict[str, Statement]:
    """The statements that write, by name; refused where the source may only be read."""
    if node is None:
        return {}
    if writing is None:
        node.refuse("nothing may be written: 'source' does not say 'writes: allowed'")
    return {name: _statement(name, child, tables) for name, child in named(node).items()}


def _statement(name: str, node: Node, tables: Map[str, Map[str, str]]) -> Statement:
    if node.is_scalar:
        found = {"sql": node}
    else:
        found = node.members(("sql",), ("parameters", "returns", "rows"))
    sql = found["sql"]
    text = sql.text(longest=20_000)
    try:
        scanned = scan(text)
    except BadForm as error:
        sql.refuse(str(error))
    verb = scanned.words[0] if scanned.words else ""
    if verb not in VERBS:
        sql.refuse(f"a statement begins with {', '.join(VERBS)}")
    # INTO belongs to INSERT alone, once; what else writes has no place in one plain statement.
    rest = scanned.words[2:] if scanned.words[:2] == ("INSERT", "INTO") else scanned.words[1:]
    for word in rest:
        if word in _REFUSED or word in VERBS:
            sql.refuse(f"the word {word} is not allowed inside a statement")
    declared = found["parameters"].entries() if "parameters" in found else {}
    for key, child in declared.items():
        if key not in scanned.parameters:
            child.refuse("is declared, but the statement does not use it")
    return Statement(
        name=name,
        verb=verb,
        sql=text,
        text=scanned.text,
        names=scanned.parameters,
        parameters={key: read_parameter(key, child, tables) for key, child in declared.items()},
        returns=tuple(item.text(longest=200) for item in found["returns"].items())
        if "returns" in found
        else (),
        rows=_rows(found.get("rows")),
        where=node.where,
    )


def _rows(node: Node | None) -> int | None:
    if node is None:
        return 1
    return None if node.text() == "any" else node.integer(0, 10_000)


def is_write(key: str) -> bool:
    """Whether a key of ``endpoints`` is a method and a path."""
    return " " in key


def read_write(
    key: str,
    node: Node,
    queries: Map[str, Query],
    statements: Map[str, Statement],
    *,
    zoned: bool,
) -> Write:
    """Read the endpoint ``METHOD /path``."""
    method, _, path = key.partition(" ")
    if method not in METHODS or not PATH.fullmatch(path):
        node.refuse(f"{key!r} is not such as 'POST /books' or 'PATCH /books/{{number}}'")
    found = node.members(
        ("operation", "statements", "query", "title"),
        ("key", "body", "if_match", "operation_id", "visible"),
    )
    change = found["operation"].choice(Change)
    if change not in METHODS[method]:
        known = ", ".join(METHODS[method])
        found["operation"].refuse(f"{method} is for: {known}")
    query = queries[found["query"].reference(queries, "query")]
    run = tuple(
        statements[item.reference(statements, "statement")] for item in found["statements"].items()
    )
    if not 1 <= len(run) <= MAX_STATEMENTS:
        found["statements"].refuse(f"1 to {MAX_STATEMENTS} statements are needed")
    variables = tuple(re.findall(r"\{([a-z0-9_]+)\}", path))
    if len(set(variables)) != len(variables):
        node.refuse("a name is used twice in the path")
    names = tuple(item.text(longest=200) for item in found["key"].items()) if "key" in found else ()
    names = names or variables
    if not names:
        node.refuse("the key 'key' is missing: the fields that the record is found by")
    read = _read_back(path, names, query, node)
    if "visible" in found:
        visible = read_visible(found["visible"], query.record.known, zoned=zoned)
        read = replace(read, visible=visible)
    parameters = _parameters(run, node)
    fields = _fields(run, query, variables, parameters, change, node)
    for name in variables:
        if name not in fields and name not in parameters and name not in read.keys:
            node.refuse(f"nothing uses {{{name}}} of the path")
    write = Write(
        method=method,
        change=change,
        statements=run,
        read=read,
        key=names,
        variables=variables,
        fields=fields,
        parameters=parameters,
        title=read_texts(found["title"]),
        body=found["body"].text(SCHEMA_ID) if "body" in found else None,
        match_needed=_match(found.get("if_match")),
        operation_id=found["operation_id"].text(NAME)
        if "operation_id" in found
        else operation_id(method.lower(), path),
        where=node.where,
    )
    if change is Change.DELETE and (write.members or "body" in found or _in_body(write)):
        node.refuse("a record is deleted by its path alone: no body is read")
    if change is Change.CREATE and write.match_needed:
        found["if_match"].refuse("what is not there yet has no entity tag")
    _check_key_is_given(write, node)
    return write


def _match(node: Node | None) -> bool:
    if node is None:
        return False
    if node.text() not in ("required", "optional"):
        node.refuse("is required or optional")
    return node.text() == "required"


def _read_back(path: str, names: Iterable[str], query: Query, node: Node) -> Endpoint:
    """The endpoint, of no request, that reads the record by its key."""
    keys: dict[str, Filter] = {}
    for name in names:
        if name in query.parameters:
            continue
        field = query.record.field(name)
        if field is None:
            node.refuse(f"{name!r} is neither a parameter of the query nor a field of the record")
        check_filter(field, Filter(name=name, field=field).comparison, node)
        keys[name] = Filter(name=name, field=field)
    for parameter in query.parameters.values():
        if parameter.required and parameter.name not in names:
            node.refuse(f"the query needs :{parameter.name}, which is no part of the key")
    return Endpoint(
        path=path,
        operation=Operation.ONE,
        query=query,
        title={"en": "", "lo": ""},
        keys=keys,
        filters={},
        where=node.where,
    )


def _parameters(run: Iterable[Statement], node: Node) -> dict[str, Parameter]:
    found: dict[str, Parameter] = {}
    for statement in run:
        for name, parameter in statement.parameters.items():
            if found.setdefault(name, parameter) != parameter:
                node.refuse(f"the statements declare {name!r} in two ways")
    return found


def _fields(
    run: Iterable[Statement],
    query: Query,
    variables: tuple[str, ...],
    parameters: Map[str, Parameter],
    change: Change,
    node: Node,
) -> dict[str, Field]:
    """The fields that the statements bind or give, by the names that they have there."""
    known = {field.name.replace(".", "_"): field for field in query.record.fields}
    found: dict[str, Field] = {}
    given: set[str] = set()
    for statement in run:
        for name in sorted(statement.names - parameters.keys() - {*OF_MESSAGE}):
            field = known.get(name)
            if field is None:
                node.refuse(
                    f"{statement.name} uses :{name}, which is no field of {query.record.name} "
                    f"and no declared parameter ({statement.where})"
                )
            reason = why_not_written(field)
            if reason is not None:
                node.refuse(f"{field.name} cannot be written: {reason}")
            if field.name in {one for later in run for one in later.returns} - given:
                node.refuse(f"{statement.name} uses :{name} before a statement returns it")
            found[name] = field
        for one in statement.returns:
            if statement.verb != "INSERT":
                node.refuse(f"{statement.name}: only an INSERT returns what it made")
            if query.record.field(one) is None:
                node.refuse(f"{statement.name} returns {one!r}, which is no field of the record")
            given.add(one)
    return found


def _in_body(write: Write) -> bool:
    return any(name not in write.variables for name in write.parameters)


def _check_key_is_given(write: Write, node: Node) -> None:
    """What the record is read back by is known when the statements have run."""
    members = {field.name for field in write.members.values()}
    for name in write.key:
        known = (*write.variables, *write.returned, *members)
        if name not in known:
            node.refuse(f"the key {name!r} is given by neither path, body nor a statement")
        field = write.read.query.record.field(name)
        if field is not None and field.kind is Kind.ENUMERATION and name not in write.variables:
            node.refuse(f"{name!r} is a code, which may stand for several records")
