"""The values of a mapping of the kind ``http``: what passes to a backend, and what comes back.

Everything is a list of what may pass: methods and paths, parameters, header fields of the request
and of the answer, statuses, media types. What is not named does not pass. The origin is the
mapping's, and no value of a request can become a part of it.
"""

from __future__ import annotations

from collections.abc import Mapping as Map
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from adapters.mapping.callers import ByCaller
from adapters.mapping.head import Head, Texts
from adapters.mapping.model import Parameter
from exchange.identifiers import ServiceId


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Bounds of one backend; the reference is docs/mapping.md."""

    max_connections: int = 8
    max_waiting: int = 256
    max_requests_per_hour: int = 0
    failures_before_pause: int = 5
    max_bytes: int = 64 << 20
    connect_timeout_s: float = 5.0
    answer_timeout_s: float = 30.0
    longest_pause_s: float = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiSource:
    """The backend. ``url``, ``openapi`` and the values of ``headers`` and ``basic`` may hold
    ``${NAME}``; ``openapi`` is where the API's own document is."""

    url: str
    headers: Map[str, str]
    basic: tuple[str, str] | None
    ca: str | None
    openapi: str | None
    health: str
    limits: Limits
    where: str


@dataclass(frozen=True, slots=True)
class Template:
    """The target at the backend: texts and, between them, names of parameters.

    ``path`` and ``query`` alternate between a literal and a name, beginning with a literal.
    """

    path: tuple[str, ...]
    query: tuple[str, ...]

    @property
    def names(self) -> frozenset[str]:
        return frozenset((*self.path[1::2], *self.query[1::2]))


class Listed(StrEnum):
    """How several values of a parameter stand in the request to the backend."""

    REPEATED = "repeated"
    COMMA = "comma"
    PIPE = "pipe"
    SPACE = "space"


class Place(StrEnum):
    """Where a parameter stands in the request to the backend."""

    QUERY = "query"
    HEADER = "header"


@dataclass(frozen=True, slots=True)
class Sent:
    """How a parameter is sent to the backend.

    Attributes:
        name: the backend's name of it, where the target's template does not hold it.
        place: where, if the template does not hold it.
        listed: set for one that may have several values, up to ``most``.
        rows: the field of records to whose values it narrows the answer, if the owner says so:
            conditions of agreements on that field are kept by it.
    """

    name: str
    place: Place = Place.QUERY
    listed: Listed | None = None
    most: int = 1
    rows: str = ""


class Extent(StrEnum):
    """All that can be asked, or nothing."""

    ALL = "all"
    NOTHING = "nothing"


@dataclass(frozen=True, slots=True)
class Bound:
    """A parameter and the only values, as callers write them, that it may be asked with."""

    parameter: str
    values: tuple[str, ...]


class Visible(ByCaller[Extent | tuple[Bound, ...]]):
    """With what an operation may be asked, by caller."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Content:
    """What a body may be. ``schema`` is a JSON Schema or a reference to one, for the document."""

    media_types: tuple[str, ...]
    schema: Any = None


@dataclass(frozen=True, slots=True)
class BodyRule:
    """The body of a request."""

    content: Content
    max_bytes: int
    required: bool


@dataclass(frozen=True, slots=True)
class AnswerRule:
    """What becomes of a status of the backend: passed on as ``status``."""

    status: int
    content: Content


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One method of one path.

    Attributes:
        parameters: those of the path and of the query, by their public names.
        sent: how each of them reaches the backend.
        passes: names of header fields of the request that reach the backend.
        sets: header fields that the mapping gives it; a value may hold ``${NAME}``.
        answers: rules by the backend's status.
        released: names of header fields of the answer that reach the caller.
        visible: what callers may ask with; None is all for everybody.
        ranges: whether parts of the answer can be asked for.
    """

    method: str
    path: str
    title: Texts
    template: Template
    parameters: Map[str, Parameter]
    sent: Map[str, Sent]
    passes: frozenset[str]
    sets: Map[str, str]
    body: BodyRule | None
    answers: Map[int, AnswerRule]
    released: frozenset[str]
    visible: Visible | None
    ranges: bool
    cache_s: float
    operation_id: str
    where: str

    @property
    def variables(self) -> frozenset[str]:
        """The parameters that stand in the public path."""
        parts = self.path.split("/")
        return frozenset(part[1:-1] for part in parts if part.startswith("{"))


@dataclass(frozen=True, slots=True)
class ApiService:
    """A service and its operations by path and method."""

    id: ServiceId
    title: Texts
    endpoints: Map[str, Map[str, Operation]]

    @property
    def operations(self) -> tuple[Operation, ...]:
        return tuple(one for methods in self.endpoints.values() for one in methods.values())


@dataclass(frozen=True, slots=True)
class ApiMapping:
    """A mapping of the kind ``http``; ``schemas`` are named JSON Schemas of its own."""

    head: Head
    source: ApiSource
    schemas: Map[str, Any]
    services: Map[str, ApiService]
