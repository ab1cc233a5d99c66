"""Operations: one method of one path, and the check of its requests and responses.

Invariants:
- nothing that the document does not declare passes a request: media types, bodies and, where the
  operation says ``x-saphan-strict-query``, query parameters;
- a successful response is declared by status and media type and keeps its schema. An error of
  the backend is checked where the document declares it and passes where it does not.
- JSON in a content coding cannot be read and is refused;
- a part of an answer (206) is no document: it passes where no success can be JSON
  (:attr:`Operation.may_succeed_with_json`), and is judged like any other answer elsewhere.

Not checked: response headers, cookies, bodies that are not JSON beyond their media type.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from exchange import i_json
from exchange.contracts.marks import Mark
from exchange.contracts.parameters import Parameter, check_headers, check_path, check_query
from exchange.contracts.violations import violation
from exchange.problems import Code, Problem
from exchange.schema_sets.compiled import CompiledSchema

Headers: TypeAlias = tuple[tuple[str, str], ...]
"""Header fields in order: lower-case names, stripped values, repeated names allowed."""


@dataclass(frozen=True, slots=True)
class Content:
    """What the document says of one media type."""

    json: bool
    schema: CompiledSchema | None
    marks: tuple[Mark, ...] = ()


@dataclass(frozen=True, slots=True)
class Body:
    """A request or response body: its media types and their contents.

    ``spellings`` holds the usual spellings of the Content-Type field, ``types`` the media types
    themselves and the ranges ``application/*`` and ``*/*``.
    """

    required: bool
    spellings: Mapping[str, Content]
    types: Mapping[str, Content]

    @classmethod
    def of(cls, types: Mapping[str, Content], *, required: bool = False) -> Body:
        spellings = {
            kind + tail: content
            for kind, content in types.items()
            if "*" not in kind
            for tail in ("", "; charset=utf-8", ";charset=utf-8", "; charset=UTF-8")
        }
        return cls(required, spellings, types)

    @property
    def may_be_json(self) -> bool:
        """Whether a body of these types may be JSON; a range of types may."""
        return any(content.json or "*" in kind for kind, content in self.types.items())

    def content(self, field: str) -> Content | None:
        """The content that a Content-Type field means; None when it is not declared."""
        found = self.spellings.get(field)
        if found is not None:
            return found
        kind, _, parameters = field.partition(";")
        kind = kind.strip().lower()
        found = (
            self.types.get(kind)
            or self.types.get(kind.partition("/")[0] + "/*")
            or self.types.get("*/*")
        )
        if found is None:
            return None
        json = found.json or is_json(kind)
        if json and _charset(parameters) not in ("", "utf-8"):
            return None  # RFC 8259 section 8.1: JSON between systems is UTF-8
        return found if found.json == json else Content(json, found.schema)


def is_json(kind: str) -> bool:
    """Whether a media type is JSON or has the +json suffix (RFC 6839 section 3.1)."""
    return kind == "application/json" or kind.endswith("+json")


def _charset(parameters: str) -> str:
    for parameter in parameters.split(";"):
        name, _, value = parameter.partition("=")
        if name.strip().lower() == "charset":
            return value.strip().strip('"').lower()
    return ""


@dataclass(frozen=True, slots=True, eq=False)
class Operation:
    """One endpoint. ``selects`` names the query parameter that picks fields of the answer."""

    method: str
    template: str
    operation_id: str
    summary: str
    selects: str | None
    strict_query: bool
    in_path: Mapping[str, Parameter]
    in_query: Mapping[str, Parameter]
    in_header: Mapping[str, Parameter]
    request: Body | None
    responses: Mapping[int, Body]
    response_ranges: Mapping[int, Body]
    default_response: Body | None
    counts: bool = False
    """Whether anything in an answer is to be counted; see :meth:`marks`."""
    notices: Headers = ()
    """The fields of an answer that tell of its end; see :mod:`exchange.contracts.deprecation`."""

    def check_request(self, match: Match, query: str, headers: Headers, body: bytes | None) -> None:
        """Judge a request of this operation.

        Args:
            match: what :meth:`exchange.contracts.contract.Contract.find` said of its path.
            query: still percent-encoded, without ``?``.
            headers: lower-case names.
            body: whole; None for one that is there but not at hand, which is enough unless
                :meth:`reads_request`.

        Raises:
            Problem: ``SCHEMA_VIOLATION`` (status 415 for a media type that is not declared) or
                ``INVALID_JSON``.
        """
        if self.in_path:
            check_path(match.path_parameters, self.in_path)
        if query or self.in_query:
            check_query(query, self.in_query, self.strict_query)
        if self.in_header:
            check_headers(headers, self.in_header)
        if body or body is None:
            self._check_body(headers, body)
        elif self.request is not None and self.request.required:
            raise Problem(Code.SCHEMA_VIOLATION, where="body", detail="required but empty")

    def reads_request(self, headers: Headers) -> bool:
        """Whether the check of a request with these fields needs the bytes of its body."""
        return self.request is not None and _is_json(self.request, headers)

    def _check_body(self, headers: Headers, body: bytes | None) -> None:
        code = Code.SCHEMA_VIOLATION
        if self.request is None:
            raise Problem(code, where="body", detail="this operation takes no body")
        content = _content(self.request, headers, code, status=415)
        if content.json:
            value = i_json.parse(_at_hand(body))
            if content.schema is not None and not content.schema.is_valid(value):
                raise violation(code, "body", content.schema, value)

    @property
    def may_answer_json(self) -> bool:
        """Whether some answer that is declared may be JSON, which is then read."""
        return any(body.may_be_json for _, body in self._answers())

    @property
    def may_succeed_with_json(self) -> bool:
        """Whether a success that is declared may be JSON."""
        return any(body.may_be_json for kind, body in self._answers() if kind in (0, 2))

    def _answers(self) -> Iterator[tuple[int, Body]]:
        """Every declared answer with the first digit of its status; 0 for the default one."""
        yield from ((status // 100, body) for status, body in self.responses.items())
        yield from self.response_ranges.items()
        if self.default_response is not None:
            yield 0, self.default_response

    def reads_response(self, status: int, headers: Headers) -> bool:
        """Whether the check of such an answer needs the bytes of its body."""
        response = self.responses.get(status) or self._undeclared(status)
        return response is not None and _is_json(response, headers)

    def marks(self, status: int, headers: Headers) -> tuple[Mark, ...]:
        """What is counted in such an answer."""
        response = self.responses.get(status) or self._undeclared(status)
        kinds = [value for name, value in headers if name == "content-type"]
        content = response.content(kinds[0]) if response and len(kinds) == 1 else None
        return content.marks if content is not None else ()

    def _undeclared(self, status: int) -> Body | None:
        return self.response_ranges.get(status // 100, self.default_response)

    def check_response(self, status: int, headers: Headers, body: bytes | None) -> Any | None:
        """Judge the backend's answer; ``body`` as for :meth:`check_request`.

        Returns:
            The value of a JSON body, so that nobody need parse it again; None for any other.

        Raises:
            Problem: ``RESPONSE_SCHEMA_VIOLATION``, or ``BACKEND_NONSENSE`` for a body that says
                it is JSON and is not.
        """
        response = self.responses.get(status)
        in_parts = status == _PARTIAL and not self.may_succeed_with_json
        if in_parts:
            response = response or self.responses.get(200)
        if response is None:
            response = self._undeclared(status)
        code = Code.RESPONSE_SCHEMA_VIOLATION
        if response is None:
            if status >= 400 or status == 304:
                return None
            raise Problem(
                code,
                where="status",
                detail=f"status {status} is not declared",
                facts={"status": status},
            )
        if in_parts:
            return None
        if body == b"" and (self.method == "HEAD" or status in _BODILESS or not response.types):
            return None
        if not response.types or status in _BODILESS:
            if status >= 400:
                return None
            raise Problem(code, where="body", detail=f"status {status} is declared without a body")
        if status >= 400 and not _declared(response, headers):
            return None
        content = _content(response, headers, code)
        if not content.json:
            return None
        value = i_json.parse(_at_hand(body), "body", Code.BACKEND_NONSENSE)
        if content.schema is not None and not content.schema.is_valid(value):
            raise violation(code, "body", content.schema, value)
        return value


_PARTIAL: Final = 206
_BODILESS: Final = frozenset({204, 205, 304})


@dataclass(frozen=True, slots=True)
class Match:
    """The operation that a request means, and the decoded variables of its path."""

    operation: Operation
    path_parameters: Mapping[str, str]


def _declared(body: Body, headers: Headers) -> bool:
    kinds = [value for name, value in headers if name == "content-type"]
    return len(kinds) == 1 and body.content(kinds[0]) is not None


def _is_json(body: Body, headers: Headers) -> bool:
    kinds = [value for name, value in headers if name == "content-type"]
    content = body.content(kinds[0]) if len(kinds) == 1 else None
    return content is not None and content.json


def _at_hand(body: bytes | None) -> bytes:
    if body is None:
        raise ValueError("the body of this message must be read")
    return body


def _content(body: Body, headers: Headers, code: Code, status: int | None = None) -> Content:
    """The declared content of a body, by its header fields."""
    kind: str | None = None
    coding = ""
    for name, value in headers:
        if name == "content-type":
            if kind is not None:
                raise Problem(
                    code, where="header.content-type", detail="given twice", status=status
                )
            kind = value
        elif name == "content-encoding":
            coding = value
    # RFC 9110 section 8.3: without the field the content may be taken for octets.
    content = body.content(kind if kind is not None else "application/octet-stream")
    if content is None:
        detail = "missing" if kind is None else "this media type is not declared"
        raise Problem(
            code,
            where="header.content-type",
            detail=f"{detail}; declared: {', '.join(sorted(body.types))}",
            status=status,
        )
    if content.json and coding.lower() not in ("", "identity"):
        raise Problem(
            code,
            where="header.content-encoding",
            detail="JSON in a content coding cannot be checked; send it as it is",
            status=status,
        )
    return content
