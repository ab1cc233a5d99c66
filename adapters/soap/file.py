"""Reading the mapping of a SOAP service; the WSDL is read with it, and both must agree."""

from __future__ import annotations

import os
import re
import ssl
from base64 import b64encode
from collections.abc import Iterator
from collections.abc import Mapping as Map
from dataclasses import replace
from functools import partial
from pathlib import Path as FilePath
from typing import Any

from adapters.answers.statements import NAME
from adapters.mapping.callers import ByCaller, read_by_caller
from adapters.mapping.endpoints import PATH, operation_id
from adapters.mapping.head import read_head, read_texts, service_nodes
from adapters.mapping.model import Operation
from adapters.mapping.parameters import check_parameter_name
from adapters.mapping.reader import Node
from adapters.mapping.records import read_zone
from adapters.mapping.source import LIMITS, read_key, read_limits
from adapters.soap import wsdl
from adapters.soap.documents import Documents, NotRead, is_url, keep, kept, origin
from adapters.soap.lexical import Habits, Unfit, of_parameter, write_text
from adapters.soap.mapping import (
    EVERYTHING,
    Auth,
    AuthForm,
    Decimals,
    Endpoint,
    FaultKind,
    Mapping,
    Method,
    Parameter,
    Service,
    Source,
)
from adapters.soap.message_paths import Message
from adapters.soap.rules import Path, read_masks, read_visible
from adapters.soap.shapes import Member, Simple
from adapters.sources.variables import VARIABLE, resolve
from exchange.identifiers import ServiceId
from exchange.problems import Code, Problem

_LIMITS = [key for key in LIMITS if key not in ("large_table_rows", "reading_wait_s")]
_TOKEN = re.compile(r"[A-Za-z0-9._~+/-]+=*", re.ASCII)


def read_mapping(root: Node) -> Mapping:
    """Read a mapping file of the kind ``soap``, and the WSDL that it names.

    Raises:
        Problem: ``InvalidMapping`` with the place of the first fault, or for a WSDL that cannot be
            read; ``SourceFailed`` for one of a URL that was not kept and cannot be had (now).
    """
    head, top = read_head(root, (), ("masks",))
    source = _source(top["source"])
    contract = _contract(source, top["source"])
    services = {
        service.service_code: _service(service, node, contract)
        for service, node in service_nodes(head.application, top["services"]).items()
    }
    used = {one.call.address for service in services.values() for one in service.endpoints}
    address = source.address or next(iter(sorted(used)))
    if not VARIABLE.search(address) and not is_url(address):
        top["source"].refuse("the WSDL gives no http address of the service; add the key address")
    answered = [one.record for service in services.values() for one in service.endpoints]
    keyed = bool(source.mask_key)
    masks = read_masks(top.get("masks"), contract.types, answered, keyed=keyed)
    mapping = Mapping(head, source, contract.types, address, services, masks)
    used_paths = {path for call in mapping.calls for path, _, _ in call_headers(call, mapping)}
    for path, _ in source.header:
        if path not in used_paths:
            named = ".".join(path)
            top["source"].refuse(
                f"no operation here declares {named}, of soap_header, as one value"
            )
    return mapping


def call_headers(call: wsdl.Operation, mapping: Mapping) -> Iterator[tuple[Path, Simple, str]]:
    """The values of ``soap_header`` that are of this operation, with their types."""
    for path, text in mapping.source.header:
        member = next((one for one in call.headers if one.name == path[0]), None)
        for name in path[1:]:
            inside = None if member is None or member.repeated else member.type
            shape = mapping.types[inside] if isinstance(inside, str) else None
            member = None if shape is None else shape.member(name)
        if member is not None and isinstance(member.type, Simple) and not member.repeated:
            yield path, member.type, text


# The source.


def _source(node: Node) -> Source:
    told = ("basic", "wsse", "token", "soap_header")
    shown = ("address", "port", "ca", "zone", "decimals", "mask_key")
    found = node.members(("kind", "wsdl"), (*told, *shown, *_LIMITS))
    address = found["address"].text() if "address" in found else ""
    if address and not VARIABLE.search(address) and not is_url(address):
        found["address"].refuse("is not an http or https address")
    place = found["wsdl"].text()
    if not is_url(place) and VARIABLE.search(place):
        found["wsdl"].refuse("a WSDL is a part of the mapping: name it without variables")
    decimals = found["decimals"].choice(Decimals) if "decimals" in found else Decimals.NUMBER
    return Source(
        wsdl=place if is_url(place) else str(node.folder / place),
        address=address,
        port=found["port"].text(longest=200) if "port" in found else None,
        ca=str(node.folder / found["ca"].text()) if "ca" in found else None,
        auth=_auth(found),
        header=tuple(
            (tuple(name.split(".")), child.text(longest=400))
            for name, child in (
                found["soap_header"].entries() if "soap_header" in found else {}
            ).items()
        ),
        habits=Habits(
            read_zone(found["zone"]) if "zone" in found else None, decimals is Decimals.TEXT
        ),
        mask_key=read_key(found["mask_key"]) if "mask_key" in found else "",
        limits=read_limits(found),
        where=node.where,
    )


def _auth(found: Map[str, Node]) -> Auth | None:
    given = [form for form in AuthForm if form in found]
    if not given:
        return None
    form, node = given[0], found[given[0]]
    if len(given) > 1:
        node.refuse(f"{' and '.join(given)} cannot be told together")
    if form is AuthForm.TOKEN:
        return Auth(form, _secret(node), where=node.where)
    pair = node.members(("user", "password"))
    return Auth(form, _secret(pair["password"]), pair["user"].text(longest=200), node.where)


def _secret(node: Node) -> str:
    text = node.text(longest=200)
    if not VARIABLE.fullmatch(text):
        node.refuse("a secret does not stand in a file: write ${NAME}, of the environment")
    return text


def authorization(auth: Auth | None, environ: Map[str, str]) -> dict[str, str]:
    """The header field that tells who asks, if one does.

    Raises:
        Problem: ``InvalidMapping`` for a missing ``${NAME}`` or one that no field can hold.
    """
    if auth is None or auth.form is AuthForm.WSSE:
        return {}
    secret = resolve(auth.secret, environ, auth.where)
    if auth.form is AuthForm.TOKEN:
        if not _TOKEN.fullmatch(secret):
            detail = f"the value of {auth.secret} is no token (RFC 6750)"
            raise Problem(Code.INVALID_MAPPING, where=auth.where, detail=detail)
        return {"authorization": f"Bearer {secret}"}
    both = f"{resolve(auth.user, environ, auth.where)}:{secret}"
    return {"authorization": f"Basic {b64encode(both.encode()).decode()}"}


def trust(source: Source) -> ssl.SSLContext:
    """What an https service must prove.

    Raises:
        Problem: ``InvalidMapping`` when the file of authorities cannot be read.
    """
    try:
        return ssl.create_default_context(cafile=source.ca)
    except (OSError, ssl.SSLError) as error:
        detail = f"the authorities in {source.ca} cannot be read: {error}"
        raise Problem(Code.INVALID_MAPPING, where=source.where, detail=detail) from error


# The WSDL.


def kept_path(node: Node) -> FilePath:
    """Where the WSDL of a URL is kept: beside the mapping, under its name."""
    return node.folder / f"{FilePath(node.file).stem}.kept-wsdl.json"


def fetching(source: Source, folder: FilePath | None = None) -> Documents:
    """What reads the WSDL, from its host or its file; ``folder`` is that of the mapping."""
    if not is_url(source.wsdl):
        return Documents(source.wsdl, folder=folder)
    headers = authorization(source.auth, os.environ)
    context = trust(source) if source.wsdl.startswith("https:") else None
    return Documents(source.wsdl, headers, context)


def _contract(source: Source, node: Node) -> wsdl.Contract:
    """What the WSDL promises. One of a URL is fetched once: what was kept is what is published."""
    if not is_url(source.wsdl):
        return _read_contract(fetching(source, node.folder), source, node.where)
    path = kept_path(node)
    try:
        known = kept(source.wsdl, path)
    except NotRead as error:
        raise Problem(Code.SOURCE_FAILED, where=str(path), detail=str(error)) from error
    if known is not None:
        return _read_contract(Documents(source.wsdl, given=known), source, str(path))
    if not node.waits:
        detail = "the WSDL was not fetched yet"
        raise Problem(Code.SOURCE_FAILED, where=node.where, detail=detail)
    documents = fetching(source)
    contract = _read_contract(documents, source, node.where)
    keep(documents, path)
    return contract


def _read_contract(documents: Documents, source: Source, where: str) -> wsdl.Contract:
    try:
        return wsdl.read_contract(documents, source.port)
    except wsdl.BadWsdl as error:
        code, detail = Code.INVALID_MAPPING, str(error)
        if error.away:
            code = Code.SOURCE_FAILED
            detail += "; try again, or save it beside the mapping and name the file"
        raise Problem(code, where=where, detail=detail) from error


def fetched(source: Source, other: str = "") -> wsdl.Contract:
    """What the WSDL promises today, or ``other``, a URL or a file.

    Raises:
        BadWsdl: when it cannot be fetched or read.
    """
    if other:
        same = is_url(other) and is_url(source.wsdl) and origin(other) == origin(source.wsdl)
        # Who the adapter is, only the host that the owner named is told.
        source = replace(source, wsdl=other, auth=source.auth if same else None)
    return wsdl.read_contract(fetching(source), source.port)


# Services.


def _service(service: ServiceId, node: Node, contract: wsdl.Contract) -> Service:
    found = node.members(("title", "endpoints"))
    endpoints = tuple(
        _endpoint(path, child, contract) for path, child in found["endpoints"].entries().items()
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


def _endpoint(path: str, node: Node, contract: wsdl.Contract) -> Endpoint:
    if not PATH.fullmatch(path):
        node.refuse(f"{path!r} is not a path such as /procedures/{{code}}")
    optional = ("method", "parameters", "fixed", "body", "answer", "faults", "cache_s", "visible")
    found = node.members(("operation", "call", "title"), (*optional, "operation_id"))
    operation = found["operation"].choice(Operation)
    method = found["method"].choice(Method) if "method" in found else Method.GET
    for key in ("body", "cache_s"):
        if key in found and (method is Method.POST) != (key == "body"):
            found[key].refuse(f"has no meaning for {method}")
    if "visible" in found and method is Method.POST:
        found["visible"].refuse(
            "is judged by the answer, when what it forbids has been done: bind a member of the "
            "message to the caller (fixed), or grant it by the agreement"
        )
    call = contract.operations[found["call"].reference(contract.operations, "operation")]
    if call.unusable is not None or call.output is None:
        found["call"].refuse(f"cannot be asked: {call.unusable or 'it has no output'}")
    message = Message(call.input, contract.types)
    parameters = _parameters(found.get("parameters"), message)
    fixed = _fixed(found.get("fixed"), message)
    body = _path(found["body"]) if "body" in found else None
    body_member = None if body is None else message.member(body, found["body"])
    covered = [one.path for one in parameters.values()] + [place for place, _ in fixed]
    covered += [] if body is None else [body]
    _check_overlaps(covered, node)
    message.check_covered(covered, node)
    answer = _path(found["answer"]) if "answer" in found else ()
    record = _record(Message(call.output, contract.types), answer, operation, node)
    endpoint = Endpoint(
        path=path,
        method=method,
        operation=operation,
        call=call,
        title=read_texts(found["title"]),
        parameters=parameters,
        fixed=fixed,
        needed=message.needed(covered),
        body=body,
        body_member=body_member,
        answer=answer,
        record=record,
        visible=read_visible(found["visible"], record, contract.types)
        if "visible" in found
        else EVERYTHING,
        faults=_faults(found.get("faults")),
        cache_s=found["cache_s"].number(0, 86_400) if "cache_s" in found else 0.0,
        operation_id=found["operation_id"].text(NAME)
        if "operation_id" in found
        else operation_id(_verb(method, operation), path),
        where=node.where,
    )
    for name in endpoint.variables:
        if name not in parameters or endpoint.variables.count(name) > 1:
            node.refuse(f"{{{name}}} is no parameter of this endpoint, or is there twice")
    return endpoint


def _verb(method: Method, operation: Operation) -> str:
    if method is Method.POST:
        return "post"
    return "list" if operation is Operation.LIST else "get"


def _path(node: Node) -> Path:
    text = node.text(longest=500)
    return () if text == "." else tuple(text.split("."))


def _parameters(node: Node | None, message: Message) -> dict[str, Parameter]:
    entries = {} if node is None else node.entries()
    return {name: _parameter(name, child, message) for name, child in entries.items()}


def _parameter(name: str, node: Node, message: Message) -> Parameter:
    check_parameter_name(name, node)
    optional = ("required", "default", "example", "title")
    found = {"member": node} if node.is_scalar else node.members(("member",), optional)
    path = _path(found["member"])
    member = message.member(path, found["member"])
    if not isinstance(member.type, Simple):
        found["member"].refuse("is no single value; a body can be such a member")
    required = message.is_required(path) and "default" not in found
    if "required" in found:
        if required and not found["required"].boolean():
            found["required"].refuse("the WSDL needs it; give it a default")
        required = found["required"].boolean()
    for key in ("default", "example"):
        if key in found:
            _value(member.type, found[key])
    return Parameter(
        name=name,
        path=path,
        simple=member.type,
        listed=member.repeated,
        required=required,
        default=_value(member.type, found["default"]) if "default" in found else None,
        example=found["example"].text(longest=200) if "example" in found else None,
        title=read_texts(found["title"]) if "title" in found else None,
    )


def _fixed(node: Node | None, message: Message) -> tuple[tuple[Path, ByCaller[Any]], ...]:
    """Members that are always the same, or the same for a caller."""
    values = []
    for text, child in (node.entries() if node is not None else {}).items():
        path = tuple(text.split("."))
        member = message.member(path, child)
        if not isinstance(member.type, Simple):
            child.refuse("is no single value")
        read = partial(_fixed_value, member)
        rules = () if child.is_scalar else read_by_caller(child, "value", read)
        values.append((path, ByCaller(*rules) if rules else ByCaller((), read(child))))
    return tuple(values)


def _fixed_value(member: Member, node: Node) -> Any:
    assert isinstance(member.type, Simple)  # noqa: S101 (it was judged before)
    value = _value(member.type, node)
    return [value] if member.repeated else value


def _value(simple: Simple, node: Node) -> Any:
    try:
        value = of_parameter(simple, node.text(longest=400))
        write_text(simple, value)
    except Unfit as unfit:
        node.refuse(unfit.rule)
    return value


def _check_overlaps(paths: list[Path], node: Node) -> None:
    for index, path in enumerate(paths):
        for other in paths[index + 1 :]:
            short, long = sorted((path, other), key=len)
            if long[: len(short)] == short:
                node.refuse(f"the member {'.'.join(short) or '.'} is given twice")


def _record(output: Message, path: Path, operation: Operation, node: Node) -> Member:
    member = output.member(path, node)
    if (operation is Operation.LIST) != member.repeated:
        what = "a list" if member.repeated else "one value"
        node.refuse(f"the answer at {'.'.join(path) or '.'} is {what}, not what {operation} says")
    if not isinstance(member.type, str):
        node.refuse(f"the answer at {'.'.join(path)} is no object; name the one around it")
    return member


def _faults(node: Node | None) -> dict[str, FaultKind]:
    return {
        name: child.choice(FaultKind)
        for name, child in (node.entries() if node is not None else {}).items()
    }
