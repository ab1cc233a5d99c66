"""Reading a mapping of the kind ``http``; a key that is not asked for here is refused."""

from __future__ import annotations

import re
from collections.abc import Iterable
from collections.abc import Mapping as Map
from typing import Any, Final
from urllib.parse import unquote

from adapters.answers.statements import NAME
from adapters.mapping.head import read_head, read_texts, service_nodes
from adapters.mapping.reader import Node
from adapters.passing.model import (
    AnswerRule,
    ApiMapping,
    ApiService,
    ApiSource,
    BodyRule,
    Content,
    Extent,
    Limits,
    Operation,
    Place,
    Sent,
    Template,
)
from adapters.passing.parameters import NAME as PARAMETER_NAME
from adapters.passing.parameters import read_parameters, read_visible
from exchange.contracts.paths import PathTable
from exchange.identifiers import ServiceId

METHODS: Final = ("get", "post", "put", "patch", "delete")
WITHOUT_BODY: Final = frozenset({"GET", "DELETE"})
ALWAYS_PASSED: Final = frozenset({"accept", "accept-language"})
ALWAYS_RELEASED: Final = frozenset({"etag", "last-modified", "content-language", "content-type"})
_BODILESS: Final = frozenset({204, 205})

# What belongs to a connection, to the framing or to the mediator is nobody's to pass or to set.
_OF_NOBODY: Final = frozenset(
    {
        "connection",
        "content-digest",
        "content-encoding",
        "content-length",
        "content-range",
        "exchange-rows",
        "expect",
        "host",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "range",
        "if-range",
        "accept-encoding",
        "signature",
        "signature-input",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "via",
    }
)
_NOT_PASSED: Final = _OF_NOBODY | {"authorization", "cookie", "content-type", "if-none-match"}
_NOT_SET: Final = _OF_NOBODY | {"content-type", "if-none-match"}
_NOT_RELEASED: Final = _OF_NOBODY | {"location", "server", "set-cookie", "www-authenticate"}

_FIELD = re.compile(r"[a-z0-9][a-z0-9-]{0,62}", re.ASCII)
_FIELD_VALUE = re.compile(r"[\x21-\x7e]([\x20-\x7e]{0,1998}[\x21-\x7e])?", re.ASCII)
_MEDIA_TYPE = re.compile(r"[a-z0-9][a-z0-9.+-]{0,60}/[a-z0-9][a-z0-9.+-]{0,80}", re.ASCII)
_PATH = re.compile(r"(/([A-Za-z0-9._~-]+|\{[A-Za-z][A-Za-z0-9_]*\}))+", re.ASCII)
_TARGET = re.compile(
    r"(?P<path>/([A-Za-z0-9._~!$&'()*+,=:@/-]|%[0-9A-Fa-f]{2}|\{[A-Za-z][A-Za-z0-9_]*\})*)"
    r"(\?(?P<query>([A-Za-z0-9._~!$&'()*+,=:@/-]|%[0-9A-Fa-f]{2}|\{[A-Za-z][A-Za-z0-9_]*\})+))?",
    re.ASCII,
)
_VARIABLE = re.compile(r"\{([A-Za-z][A-Za-z0-9_]*)\}", re.ASCII)
_STATUS = re.compile(r"[2-5][0-9]{2}", re.ASCII)
_SCHEMA_ID = re.compile(r"https?://[^\s#]+", re.ASCII)
_WHOLE_LIMITS = {
    "max_connections": (1, 1_000),
    "max_waiting": (0, 10_000),
    "max_requests_per_hour": (0, 10**9),
    "failures_before_pause": (0, 1_000),
    "max_bytes": (1_000, 1 << 40),
}
_SECONDS = {
    "connect_timeout_s": (0.05, 600),
    "answer_timeout_s": (0.05, 3_600),
    "longest_pause_s": (1, 600),
}


def read_mapping(root: Node) -> ApiMapping:
    """Read a mapping of the kind ``http``.

    Raises:
        Problem: ``InvalidMapping`` with the file, line and path of keys of the first fault.
    """
    head, top = read_head(root, (), ("schemas",))
    schemas = top["schemas"].entries() if "schemas" in top else {}
    for name, node in schemas.items():
        if not PARAMETER_NAME.fullmatch(name):
            node.refuse(f"{name!r} is not a name of a schema")
    services = {
        service.service_code: _service(service, node, schemas)
        for service, node in service_nodes(head.application, top["services"]).items()
    }
    own = {name: node.json() for name, node in schemas.items()}
    source = _source(top["source"])
    for service in services.values():
        for operation in service.operations:
            for name in _fields(operation.sent):
                if name in source.headers or (name == "authorization" and source.basic):
                    detail = f"{operation.method} {operation.path} sends a parameter as {name}"
                    top["source"].refuse(f"{detail}, which the source gives every request")
    return ApiMapping(head, source, own, services)


def _source(node: Node) -> ApiSource:
    found = node.members(
        ("kind", "url"), ("headers", "basic", "ca", "openapi", "health", *_WHOLE_LIMITS, *_SECONDS)
    )
    basic = None
    if "basic" in found:
        pair = found["basic"].members(("user", "password"))
        basic = (pair["user"].text(longest=200), pair["password"].text(longest=500))
    headers = _set_fields(found.get("headers"))
    if basic is not None and "authorization" in headers:
        found["basic"].refuse("is the field authorization, which headers gives already")
    given: dict[str, Any] = {
        key: found[key].integer(*bounds) for key, bounds in _WHOLE_LIMITS.items() if key in found
    }
    given |= {key: found[key].number(*bounds) for key, bounds in _SECONDS.items() if key in found}
    health = Template(("/",), ())
    if "health" in found:
        health = _template(found["health"], found["health"].text(_TARGET))
        if health.names:
            found["health"].refuse("is asked without values")
    return ApiSource(
        url=found["url"].text(longest=500),
        headers=headers,
        basic=basic,
        ca=found["ca"].text(longest=500) if "ca" in found else None,
        openapi=found["openapi"].text(longest=1_000) if "openapi" in found else None,
        health=health.path[0] + (f"?{health.query[0]}" if health.query else ""),
        limits=Limits(**given),
        where=node.where,
    )


def _service(service: ServiceId, node: Node, schemas: Map[str, Node]) -> ApiService:
    found = node.members(("title", "endpoints"))
    table: PathTable[None] = PathTable()
    endpoints: dict[str, Map[str, Operation]] = {}
    for path, child in found["endpoints"].entries().items():
        if not _PATH.fullmatch(path):
            child.refuse(f"{path!r} is not a path such as /permits/{{number}}")
        try:
            table.add(path, None)
        except ValueError as error:
            child.refuse(str(error))
        methods = child.members((), METHODS)
        if not methods:
            child.refuse(f"at least one method is needed: {', '.join(METHODS)}")
        endpoints[path] = {
            name.upper(): _operation(name.upper(), path, one, schemas)
            for name, one in methods.items()
        }
    if not endpoints:
        found["endpoints"].refuse("at least one endpoint is needed")
    return ApiService(service, read_texts(found["title"]), endpoints)


def _operation(method: str, path: str, node: Node, schemas: Map[str, Node]) -> Operation:
    found = node.members(
        ("title", "answers"),
        (
            "backend",
            "parameters",
            "pass_headers",
            "set_headers",
            "body",
            "release_headers",
            "cache_s",
            "operation_id",
            "visible",
            "ranges",
        ),
    )
    parameters, sent = read_parameters(found.get("parameters"))
    target = found["backend"].text(_TARGET) if "backend" in found else path
    template = _template(found.get("backend", node), target)
    passes = _names(found.get("pass_headers"), _NOT_PASSED)
    sets = _set_fields(found.get("set_headers"))
    for key in ("body", "cache_s", "ranges"):
        if key in found and (method in WITHOUT_BODY if key == "body" else method != "GET"):
            found[key].refuse(f"has no meaning for {method}")
    operation = Operation(
        method=method,
        path=path,
        title=read_texts(found["title"]),
        template=template,
        parameters=parameters,
        sent=sent,
        passes=(ALWAYS_PASSED | passes) - sets.keys() - set(_fields(sent)),
        sets=sets,
        body=_body(found["body"], schemas) if "body" in found else None,
        answers=_answers(found["answers"], schemas),
        visible=read_visible(found["visible"], parameters) if "visible" in found else None,
        ranges=found["ranges"].boolean() if "ranges" in found else False,
        released=ALWAYS_RELEASED | _names(found.get("release_headers"), _NOT_RELEASED),
        cache_s=found["cache_s"].number(0, 86_400) if "cache_s" in found else 0.0,
        operation_id=found["operation_id"].text(NAME)
        if "operation_id" in found
        else re.sub(r"[^A-Za-z0-9]+", "_", f"{method.lower()}{path}").strip("_"),
        where=node.where,
    )
    if operation.ranges:
        _check_ranges(operation, found["ranges"])
    _check_names(operation, found.get("backend", node), node)
    return operation


def _check_ranges(operation: Operation, node: Node) -> None:
    rule = operation.answers.get(200)
    if rule is None or rule.status != 200:
        node.refuse("a part is one of an answer with the status 200")
    if rule.content.schema is not None or any("json" in kind for kind in rule.content.media_types):
        node.refuse("a part of a record cannot be judged: ranges are for files")
    if operation.cache_s:
        node.refuse("an answer that is kept is given whole")


def _check_names(operation: Operation, backend: Node, node: Node) -> None:
    parameters = operation.parameters
    for name in sorted(operation.variables - parameters.keys()):
        node.refuse(f"parameters does not declare {{{name}}}")
    for name in sorted(operation.template.names - parameters.keys()):
        backend.refuse(f"parameters does not declare {{{name}}}")
    for name in sorted(operation.template.names):
        if not parameters[name].required and parameters[name].default is None:
            backend.refuse(f"{{{name}}} needs a value: make it required or give it a default")
        if operation.sent[name].listed is not None:
            backend.refuse(f"{{{name}}} is a list, which stands by itself in a query or a field")
    for name, one in operation.sent.items():
        if name in operation.variables and one.listed is not None:
            node.refuse(f"{{{name}}} is a list, which no path holds")
    _check_query(operation, backend)
    _check_rights(operation, backend)
    fields = _fields(operation.sent)
    for name in fields:
        if not _FIELD.fullmatch(name) or name in _NOT_SET or name in operation.sets:
            node.refuse(f"{name!r} is not a header field in small letters that is free to be sent")
    if len(set(fields)) < len(fields):
        node.refuse("two parameters are sent in one header field")


def _check_query(operation: Operation, backend: Node) -> None:
    """One name comes from one place: of two, nobody knows which the backend would take."""
    literals = "{}".join(operation.template.query[::2])
    names = [unquote(part.partition("=")[0]) for part in literals.split("&") if part]
    names += [
        one.name
        for name, one in operation.sent.items()
        if one.place is Place.QUERY and name not in operation.template.names
    ]
    for name in names:
        if names.count(name) > 1:
            backend.refuse(f"{name!r} would come twice in the query")


def _check_rights(operation: Operation, backend: Node) -> None:
    kept = [name for name, one in operation.sent.items() if one.rows]
    rules = operation.visible.all if operation.visible is not None else []
    kept += [bound.parameter for rows in rules if not isinstance(rows, Extent) for bound in rows]
    if kept and operation.body is not None:
        backend.refuse(f"a body could ask for anything: {kept[0]!r} holds no right beside one")


def _fields(sent: Map[str, Sent]) -> list[str]:
    return [one.name for one in sent.values() if one.place is Place.HEADER]


def _template(node: Node, target: str) -> Template:
    match = _TARGET.fullmatch(target)
    if match is None:
        node.refuse(f"{target!r} is not a path such as /permit.php?id={{number}}")
    path, query = match["path"], match["query"] or ""
    if "}{" in target:
        node.refuse("two values stand side by side, so that nobody could tell them apart")
    segments = [segment for segment in path.split("/") if segment in (".", "..")]
    if segments or "//" in path or "%" in path:
        node.refuse("a path holds no dot segments, empty segments or escapes")
    # Such as ("/permit/", "number", "/view"): texts and, between them, names.
    return Template(tuple(_VARIABLE.split(path)), tuple(_VARIABLE.split(query)) if query else ())


def _names(node: Node | None, refused: frozenset[str]) -> frozenset[str]:
    names = set()
    for item in [] if node is None else node.items():
        name = item.text(_FIELD)
        if name in refused:
            item.refuse(f"the field {name} is not the mapping's to let through")
        names.add(name)
    return frozenset(names)


def _set_fields(node: Node | None) -> dict[str, str]:
    fields: dict[str, str] = {}
    for name, child in ({} if node is None else node.entries()).items():
        if not _FIELD.fullmatch(name) or name in _NOT_SET:
            child.refuse(f"{name!r} is not a header field in small letters that a mapping may set")
        fields[name] = child.text(_FIELD_VALUE)
    return fields


def _body(node: Node, schemas: Map[str, Node]) -> BodyRule:
    found = node.members(("media_types",), ("schema", "max_bytes", "required"))
    return BodyRule(
        _content(found, schemas),
        found["max_bytes"].integer(1, 1 << 40) if "max_bytes" in found else 1 << 20,
        found["required"].boolean() if "required" in found else True,
    )


def _answers(node: Node, schemas: Map[str, Node]) -> dict[int, AnswerRule]:
    answers: dict[int, AnswerRule] = {}
    for word, child in node.entries().items():
        if not _STATUS.fullmatch(word) or word.startswith("3"):
            child.refuse(f"{word!r} is not a status that can be passed on: redirects are not")
        found = child.members((), ("media_types", "schema", "as"))
        status = found["as"].integer(200, 599) if "as" in found else int(word)
        if "media_types" not in found and status not in _BODILESS:
            child.refuse("the key 'media_types' is missing")
        answers[int(word)] = AnswerRule(status, _content(found, schemas))
    if not any(200 <= status < 300 for status in answers):
        node.refuse("an answer with a status of 200 to 299 is needed")
    return answers


def _content(found: Map[str, Node], schemas: Map[str, Node]) -> Content:
    media: Iterable[Node] = found["media_types"].items() if "media_types" in found else ()
    types = tuple(item.text(_MEDIA_TYPE) for item in media)
    if "schema" not in found:
        return Content(types)
    name = found["schema"].text(longest=500)
    if _SCHEMA_ID.fullmatch(name):
        return Content(types, {"$ref": name})
    return Content(
        types, {"$ref": f"#/components/schemas/{found['schema'].reference(schemas, 'schema')}"}
    )
