"""What the backend is asked: a request of a caller, by the rules of its operation. Pure.

Invariants, whatever a request holds:

- the target is the mapping's template with each value percent-encoded in its place: a value is
  never a separator, never a dot segment, never a part of the origin;
- no control character, in no encoding, reaches the backend in a path, a query or a field;
- only header fields that the mapping names reach it, and those that the mapping sets replace those
  of the caller.
"""

from __future__ import annotations

import re
from collections.abc import Mapping as Map
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final, TypeAlias
from urllib.parse import quote

from adapters.answers.faults import Fault, bad, checked, parse_pairs
from adapters.mapping.model import Parameter
from adapters.mapping.parameters import parameter_value
from adapters.passing.model import ApiService, BodyRule, Listed, Operation, Place, Sent
from adapters.passing.rights import Rights, asked_with, rights_of
from exchange.contracts.paths import PathTable
from exchange.problems import Code, Problem
from serving.backends import BackendRequest, Headers
from serving.bodies import Body

_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f]")
# RFC 9110, 5.5: what is not ASCII is bytes, each as the character of its number.
_FIELD_VALUE: Final = re.compile(r"[\t\x20-\x7e\x80-\xff]*")
_SEPARATOR: Final = re.compile(r"[/\\]")
_ENCODED: Final = re.compile(r"%(2[ef]|5c|0[0ad])", re.IGNORECASE)
_RANGE: Final = re.compile(r"bytes=([0-9]{1,15}-[0-9]{0,15}|-[0-9]{1,15})", re.ASCII)
_DOTS: Final = frozenset({".", ".."})
_SIGNS: Final = {Listed.COMMA: ",", Listed.PIPE: "|", Listed.SPACE: " "}

Values: TypeAlias = dict[str, tuple[str, ...]]
"""The texts of parameters, as the backend has them."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A request as the backend gets it, but for what the source adds."""

    operation: Operation
    path: str
    query: str
    headers: Headers
    body: Body


class Router:
    """The operations of one service by path and method."""

    def __init__(self, service: ApiService) -> None:
        self._table: PathTable[Map[str, Operation]] = PathTable()
        for path, methods in service.endpoints.items():
            self._table.add(path, methods)

    def ask(self, request: BackendRequest) -> Asked:
        """The request for the backend.

        Raises:
            Fault: 400, 403, 404, 405, 413 or 415 with the place; 503 for a condition on rows
                that no parameter keeps, so that no record leaves unjudged.
        """
        try:
            methods, variables = self._table.find(request.path)
        except Problem as problem:
            raise Fault(
                problem.code, where=problem.where, detail=problem.detail, status=problem.status
            ) from problem
        operation = methods.get("GET" if request.method == "HEAD" else request.method)
        if operation is None:
            raise NotAllowed(methods)
        rights = rights_of(operation, request.headers)
        values = _values(operation, variables, request.query, rights)
        path, query = target_of(operation, values)
        headers, body = _headers(operation, request, values), _body(operation, request)
        return Asked(operation, path, query, headers, body)


class NotAllowed(Fault):
    """The path has other methods: ``allow`` names them."""

    def __init__(self, methods: Map[str, Operation]) -> None:
        names = [*methods, *(["HEAD"] if "GET" in methods else [])]
        self.allow = ", ".join(names)
        detail = f"only {self.allow} are answered here"
        super().__init__(Code.INVALID_REQUEST, where="method", detail=detail, status=405)


def _values(operation: Operation, variables: Map[str, str], query: str, rights: Rights) -> Values:
    """The values of each parameter that has some, as texts."""
    given = _given(operation, query) | {name: [text] for name, text in variables.items()}
    values: Values = {}
    for name, parameter in operation.parameters.items():
        place = f"path.{name}" if name in operation.variables else f"query.{name}"
        several = operation.sent[name].listed is not None
        texts = asked_with(given.get(name), rights.get(name), place, several=several)
        if texts is None:
            value = parameter_value(parameter, None, place)
            texts = [] if value is None else [_text(value)]
        else:
            texts = [_judged(parameter, text, place) for text in texts]
        if texts:
            values[name] = tuple(texts)
            if name in operation.template.path[1::2]:
                _check_segment(texts[0], place)
    return values


def _given(operation: Operation, query: str) -> dict[str, list[str]]:
    """What the query holds, by name."""
    asked = operation.parameters.keys() - operation.variables
    given: dict[str, list[str]] = {}
    for name, text in parse_pairs(query):
        if name not in asked:
            known = ", ".join(sorted(asked)) or "none"
            raise bad(f"query.{name[:80]}", f"unknown parameter; known here: {known}")
        given.setdefault(name, []).append(text)
        if len(given[name]) > operation.sent[name].most:
            most = operation.sent[name].most
            said = "appears twice" if most == 1 else f"has more than {most} values"
            raise bad(f"query.{name}", said)
    return given


def _judged(parameter: Parameter, text: str, place: str) -> str:
    """The backend's text for what the caller wrote."""
    if _CONTROL.search(checked(text, place)):
        raise bad(place, "holds a control character")
    value = parameter_value(parameter, text, place)
    # Kinds are parsed strictly: a text that was accepted is the value's only spelling.
    return _text(value) if parameter.table else text


def _text(value: Any) -> str:
    """A default, or the backend's word for a value, as text."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return format(value, "f") if isinstance(value, Decimal) else str(value)


def _check_segment(value: str, place: str) -> None:
    """Refuse what servers read in different ways in a path, even when it is encoded."""
    if not value or value in _DOTS or _SEPARATOR.search(value) or _ENCODED.search(value):
        raise bad(place, "cannot be a part of a path")


def target_of(operation: Operation, values: Values) -> tuple[str, str]:
    """The path and the query at the backend."""
    template = operation.template
    path = _filled(template.path, values)
    if not _DOTS.isdisjoint(path.split("/")):
        raise bad("path", "cannot be a path of the backend")  # "." beside a text of the template
    pairs = [_filled(template.query, values)] if template.query else []
    for name, texts in values.items():
        sent = operation.sent[name]
        if name not in template.names and sent.place is Place.QUERY:
            pairs += [f"{quote(sent.name, safe='')}={text}" for text in _joined(name, sent, texts)]
    return path, "&".join(pairs)


def _filled(parts: tuple[str, ...], values: Values) -> str:
    return "".join(
        quote(values[part][0], safe="") if index % 2 else part for index, part in enumerate(parts)
    )


def _joined(name: str, sent: Sent, texts: tuple[str, ...]) -> list[str]:
    """The values in the form of a query: one text, or one for each."""
    if sent.listed is None or sent.listed is Listed.REPEATED:
        return [quote(text, safe="") for text in texts]
    # Many servers decode before they divide: what is encoded would still divide a value.
    sign = _SIGNS[sent.listed]
    if any(sign in text for text in texts):
        raise bad(f"query.{name}", f"a value of this list cannot hold {sign!r}")
    return [("," if sign == "," else quote(sign)).join(quote(text, safe="") for text in texts)]


def _headers(operation: Operation, request: BackendRequest, values: Values) -> Headers:
    passed = []
    conditional = request.method in ("GET", "HEAD") and not operation.cache_s
    names = operation.passes
    if operation.body is not None:
        names |= {"content-type"}
    if conditional:
        names |= {"if-none-match"}
    if operation.ranges and _one_range(request.headers):
        names |= {"range", "if-range"}
    for name, value in request.headers:
        if name in names:
            if not _FIELD_VALUE.fullmatch(value):
                raise bad(f"header.{name}", "holds what a header field cannot carry")
            passed.append((name, value))
    for name, texts in values.items():
        sent = operation.sent[name]
        if name not in operation.template.names and sent.place is Place.HEADER:
            passed.append((sent.name, _field(name, sent, texts)))
    # Answers are judged by their media type, and cut by nobody: they come as they are.
    return (*passed, ("accept-encoding", "identity"))


def _one_range(headers: Headers) -> bool:
    """Whether one part is asked for; what else is asked may be passed over (RFC 9110, 14.2)."""
    asked = [value for name, value in headers if name == "range"]
    return len(asked) == 1 and _RANGE.fullmatch(asked[0]) is not None


def _field(name: str, sent: Sent, texts: tuple[str, ...]) -> str:
    """The values as a header field (RFC 9110, 5.5: in ASCII, which everybody reads alike)."""
    for text in texts:
        if not text.isascii() or text != text.strip() or (sent.listed and "," in text):
            raise bad(f"query.{name}", "cannot be sent in a header field")
    return ",".join(texts)


def _body(operation: Operation, request: BackendRequest) -> Body:
    rule = operation.body
    if rule is None:
        if len(request.body):
            raise bad("body", "this operation takes no body")
        return request.body
    if not len(request.body):
        if rule.required:
            raise bad("body", "a body is needed here")
        return request.body
    if len(request.body) > rule.max_bytes:
        detail = f"is longer than {rule.max_bytes} bytes"
        raise bad("body", detail, Code.PAYLOAD_TOO_LARGE, 413)
    _check_media_type(rule, request.headers)
    return request.body


def _check_media_type(rule: BodyRule, headers: Headers) -> None:
    given = [value for name, value in headers if name == "content-type"]
    if len(given) != 1 or media_type(given[0]) not in rule.content.media_types:
        detail = f"must be one of: {', '.join(rule.content.media_types)}"
        raise bad("header.content-type", detail, status=415)


def media_type(value: str) -> str:
    """The media type of a Content-Type field, without parameters (RFC 9110, 8.3.1)."""
    return value.partition(";")[0].strip().lower()
