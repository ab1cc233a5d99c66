"""The endpoints of a mapping file that read: a path, a query, filters, an order."""

from __future__ import annotations

import re
from collections.abc import Mapping as Map
from dataclasses import replace

from adapters.answers.orders import Key, Nulls
from adapters.answers.statements import NAME
from adapters.fields import Field, Kind, Mismatch
from adapters.mapping.callers import several
from adapters.mapping.head import read_texts
from adapters.mapping.model import Comparison, Count, Endpoint, Filter, Operation, Query
from adapters.mapping.parameters import check_parameter_name
from adapters.mapping.predicates import KEYS as PREDICATE
from adapters.mapping.predicates import read_predicate
from adapters.mapping.reader import Node
from adapters.mapping.searching import KEYS as SEARCH
from adapters.mapping.searching import MOST_HITS, read_search
from adapters.mapping.terms import why_not
from adapters.mapping.visibility import read_visible

MAX_PAGE_SIZE = 5_000
_VERBS = {Operation.LIST: "list", Operation.PREDICATE: "ask", Operation.SEARCH: "search"}
_ONLY_OF_LISTS = {
    Operation.LIST: (),
    Operation.ONE: ("order", "page_size", "filters", "sorts", "count"),
    Operation.PREDICATE: ("order", "page_size", "sorts", "count"),
    Operation.SEARCH: ("sorts", "count"),
}

_FILTER = ("field", "compare", "values", "example", "title")
_ORDER = re.compile(r"([A-Za-z_][A-Za-z0-9_]{0,62})( asc| desc)?", re.ASCII)
_SORT = re.compile(_ORDER.pattern + "".join(["(", *(f" {one}|" for one in Nulls), ")"]), re.ASCII)
PATH = re.compile(r"(/([A-Za-z0-9._~-]+|\{[a-z][a-z0-9_]*\}))+", re.ASCII)


def read_endpoint(path: str, node: Node, queries: Map[str, Query], *, zoned: bool) -> Endpoint:
    """One endpoint that reads.

    Args:
        zoned: whether the mapping says in which zone a day is today.
    """
    if not PATH.fullmatch(path):
        node.refuse(f"{path!r} is not a path such as /projects/{{code}}")
    found = node.members(
        ("operation", "query", "title"),
        (
            *("order", "page_size", "filters", "sorts", "count", "cache_s", "operation_id"),
            *("visible", *PREDICATE, *SEARCH),
        ),
    )
    operation = found["operation"].choice(Operation)
    query = queries[found["query"].reference(queries, "query")]
    for key in _ONLY_OF_LISTS[operation]:
        if key in found:
            found[key].refuse(f"has no meaning for the operation {operation}")
    for only, words in ((Operation.PREDICATE, PREDICATE), (Operation.SEARCH, SEARCH)):
        for key in words if operation is not only else ():
            if key in found:
                found[key].refuse(f"only an endpoint of the operation {only} has this")
    filters = _filters(found.get("filters"), query, listed=operation is Operation.PREDICATE)
    order = read_order(found.get("order"))
    sorts = _sorts(found.get("sorts"), order)
    endpoint = Endpoint(
        path=path,
        operation=operation,
        query=query,
        title=read_texts(found["title"]),
        keys=path_keys(path, node, query),
        filters=filters,
        order=order,
        sorts=sorts,
        count=found["count"].choice(Count) if "count" in found else Count.NONE,
        page_size=_page_size(found.get("page_size"), operation),
        cache_s=found["cache_s"].number(0, 86_400) if "cache_s" in found else 0.0,
        operation_id=found["operation_id"].text(NAME)
        if "operation_id" in found
        else operation_id(_VERBS.get(operation, "get"), path),
        where=node.where,
        visible=read_visible(found["visible"], query.record.known, zoned=zoned)
        if "visible" in found
        else None,
        predicate=read_predicate(node, found, query.record.known, tuple(filters), zoned=zoned)
        if operation is Operation.PREDICATE
        else None,
        search=read_search(node, found, query.record.fields, (*filters, *query.parameters))
        if operation is Operation.SEARCH
        else None,
    )
    if operation is Operation.PREDICATE:
        _check_listed(endpoint, node)
    for name, keys in (("order", order), *(("sorts", one) for one in sorts.values())):
        for column in (key.column for key in keys):
            if column.lower() in endpoint.record.telling(endpoint.record.masks):
                found[name].refuse(f"{column} is masked for some, and an order tells of it")
    if "page_size" in found and not endpoint.order:
        found["page_size"].refuse("pages need an order: a list of columns that tells rows apart")
    for name in endpoint.variables:
        if endpoint.variables.count(name) > 1 or name in endpoint.filters:
            node.refuse(f"the name {name!r} is used twice")
    return endpoint


def _page_size(node: Node | None, operation: Operation) -> int:
    if operation is Operation.SEARCH:
        return node.integer(1, MOST_HITS) if node is not None else 20
    return node.integer(1, MAX_PAGE_SIZE) if node is not None else 100


def _check_listed(endpoint: Endpoint, node: Node) -> None:
    """What a caller gives a predicate beside its key is listed in the mapping."""
    for name, one in endpoint.query.parameters.items():
        listed = one.values or one.table or one.kind is Kind.BOOLEAN
        if name not in endpoint.variables and not listed:
            node.refuse(
                f"a predicate's parameter {name!r} needs 'values' or 'table', or a default"
                " in the SQL: whoever may choose freely finds what is not shown"
            )


def operation_id(verb: str, path: str) -> str:
    """The name in the document of what is done at ``path``."""
    return f"{verb}_" + re.sub(r"[^A-Za-z0-9]+", "_", path).strip("_")


def path_keys(path: str, node: Node, query: Query) -> dict[str, Filter]:
    """The fields by which variables of a path find a record, without parameters of the query."""
    keys = {}
    for name in re.findall(r"\{([a-z0-9_]+)\}", path):
        if name in query.parameters:
            continue
        field = query.record.field(name)
        if field is None:
            node.refuse(f"{{{name}}} is neither a parameter of the query nor a field of the record")
        check_filter(field, Comparison.EQUALS, node)
        keys[name] = Filter(name=name, field=field)
    return keys


def _filters(node: Node | None, query: Query, *, listed: bool) -> dict[str, Filter]:
    if node is None:
        return {}
    fields = {field.name: field for field in query.record.known}
    found: dict[str, tuple[Node, Node | None]] = (
        {name: (child, child) for name, child in node.entries().items()}
        if not node.is_sequence
        else {item.text(): (item, None) for item in node.items()}
    )
    filters = {}
    for name, (place, options) in found.items():
        check_parameter_name(name, place)
        if name in query.parameters:
            place.refuse("is a parameter of the query already")
        filters[name] = _filter(name, place, options, fields)
        if listed and not filters[name].values and filters[name].field.kind is not Kind.BOOLEAN:
            place.refuse("a predicate's filter needs the key 'values': those that may be asked for")
    return filters


def _filter(name: str, place: Node, options: Node | None, fields: Map[str, Field]) -> Filter:
    found = {} if options is None else options.members((), _FILTER)
    if "field" in found:
        field = fields[found["field"].reference(fields, "field")]
    elif name in fields:
        field = fields[name]
    else:
        place.refuse(f"there is no field {name!r}; name one with the key 'field'")
    comparison = found["compare"].choice(Comparison) if "compare" in found else Comparison.EQUALS
    check_filter(field, comparison, place)
    return Filter(
        name=name,
        field=field,
        comparison=comparison,
        example=found["example"].text(longest=200) if "example" in found else None,
        title=read_texts(found["title"]) if "title" in found else field.title,
        values=_values(found["values"], field) if "values" in found else (),
    )


def _values(node: Node, field: Field) -> tuple[str, ...]:
    """The texts that a filter may be given, each tried."""
    texts = several(node, lambda one: one.text(longest=200))
    for text in texts:
        try:
            field.to_source(text)
        except Mismatch as mismatch:
            node.refuse(mismatch.rule)
    return texts


def check_filter(field: Field, comparison: Comparison, place: Node) -> None:
    """Refuse a filter that the values of the field cannot have."""
    reason = why_not(field, comparison)
    if reason is not None:
        place.refuse(reason)


def read_order(node: Node | None) -> tuple[Key, ...]:
    """The keys of an order, first the weightiest; none when nothing is said."""
    return () if node is None else tuple(_keys(node, _ORDER))


def _sorts(node: Node | None, order: tuple[Key, ...]) -> dict[str, tuple[Key, ...]]:
    """Named orders; each goes on with the keys of ``order``, so that it tells rows apart."""
    if node is None:
        return {}
    if not order:
        node.refuse("sorts need an order: a list of columns that tells rows apart")
    sorts = {}
    for name, child in node.entries().items():
        check_parameter_name(name, child)
        keys = _keys(child, _SORT)
        named = {key.column for key in keys}
        unique = {key.column for key in order}
        keys = [replace(key, nulls=Nulls.NEVER) if key.column in unique else key for key in keys]
        sorts[name] = (*keys, *(key for key in order if key.column not in named))
    return sorts


def _keys(node: Node, form: re.Pattern[str]) -> list[Key]:
    keys: list[Key] = []
    for item in node.items():
        text = item.text(form)
        match = form.fullmatch(text)
        if match is None or match[1] in (key.column for key in keys):
            item.refuse("appears twice")
        nulls = Nulls.NEVER
        if form is _SORT:
            nulls = Nulls(match[3].strip()) if match[3] else Nulls.LAST
        keys.append(Key(match[1], match[2] == " desc", nulls))
    if not keys:
        node.refuse("at least one column is needed")
    return keys
