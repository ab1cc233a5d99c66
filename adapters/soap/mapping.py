"""The mapping of a SOAP service: which operations are shown, and how (docs/mapping.md).

Invariants: every operation, member and fault that is named is in the WSDL; each parameter has one
simple member; what a message cannot do without has a parameter, a fixed value or the body.
"""

from __future__ import annotations

from collections.abc import Mapping as Map
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from adapters.mapping.callers import ByCaller
from adapters.mapping.head import Head, Texts
from adapters.mapping.model import Limits, Operation
from adapters.mapping.visibility import Extent
from adapters.soap import wsdl
from adapters.soap.lexical import Habits
from adapters.soap.rules import NO_MASKS, Masks, Path, Visible
from adapters.soap.shapes import Member, Simple, Types
from exchange.identifiers import ServiceId
from exchange.problems import Code

EVERYTHING: Visible = ByCaller((), Extent.ALL)


class FaultKind(StrEnum):
    """What a fault of the service means to the caller."""

    NOT_FOUND = "not_found"
    INVALID = "invalid"
    BUSY = "busy"

    @property
    def code(self) -> Code:
        return _CODES[self]


_CODES = {
    FaultKind.NOT_FOUND: Code.NOT_FOUND,
    FaultKind.INVALID: Code.INVALID_REQUEST,
    FaultKind.BUSY: Code.OVERLOADED,
}


class Method(StrEnum):
    """How an endpoint is asked: what changes something is asked by POST."""

    GET = "GET"
    POST = "POST"


class Decimals(StrEnum):
    """How decimals are shown: a JSON number with all digits, or a text."""

    NUMBER = "number"
    TEXT = "text"


class AuthForm(StrEnum):
    """How the adapter tells who it is: in HTTP (RFC 7617, RFC 6750) or by WS-Security."""

    BASIC = "basic"
    WSSE = "wsse"
    TOKEN = "token"  # noqa: S105 (a key of the mapping)


@dataclass(frozen=True, slots=True)
class Auth:
    """Who the adapter is to the service; ``secret`` is a ``${NAME}`` of the environment."""

    form: AuthForm
    secret: str
    user: str = ""
    where: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Where the service is. ``address`` is empty for the one of the WSDL.

    ``header`` are values of the envelope's header; they and ``mask_key`` may hold ``${NAME}``.
    """

    wsdl: str
    address: str = ""
    port: str | None = None
    ca: str | None = None
    auth: Auth | None = None
    header: tuple[tuple[Path, str], ...] = ()
    habits: Habits = field(default_factory=Habits)
    mask_key: str = ""
    limits: Limits = field(default_factory=Limits)
    where: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """A parameter of a request and the member of the message that it becomes."""

    name: str
    path: Path
    simple: Simple
    listed: bool
    required: bool
    default: Any = None
    example: str | None = None
    title: Texts | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """``METHOD path``: an operation of the WSDL.

    ``body`` is where in the message the JSON body of the request goes, None when there is none;
    ``fixed`` are members that no caller gives, by who asks; ``visible`` which records he sees;
    ``answer`` is where in the output the record (or the list of them) is, and ``record`` the member
    there.
    """

    path: str
    method: Method
    operation: Operation
    call: wsdl.Operation
    title: Texts
    parameters: Map[str, Parameter]
    fixed: tuple[tuple[Path, ByCaller[Any]], ...]
    needed: tuple[Path, ...]
    body: Path | None
    body_member: Member | None
    answer: Path
    record: Member
    faults: Map[str, FaultKind]
    visible: Visible = EVERYTHING
    cache_s: float = 0.0
    operation_id: str = ""
    where: str = ""

    @property
    def segments(self) -> tuple[str, ...]:
        return tuple(self.path.split("/")[1:])

    @property
    def variables(self) -> tuple[str, ...]:
        return tuple(part[1:-1] for part in self.segments if part.startswith("{"))


@dataclass(frozen=True, slots=True)
class Service:
    """What one service of the application answers."""

    id: ServiceId
    title: Texts
    endpoints: tuple[Endpoint, ...]


@dataclass(frozen=True, slots=True)
class Mapping:
    """A SOAP service and the services over it."""

    head: Head
    source: Source
    types: Types
    address: str
    services: Map[str, Service]
    masks: Masks = NO_MASKS

    @property
    def by_caller(self) -> bool:
        """Whether answers depend on who asks."""
        every = [one for service in self.services.values() for one in service.endpoints]
        fixed = [value for one in every for _, value in one.fixed]
        rules = [*(one.visible for one in every), *fixed, *self.masks.masks.values()]
        return any(one.rules for one in rules)

    @property
    def calls(self) -> tuple[wsdl.Operation, ...]:
        """The operations that are shown."""
        every = [one.call for service in self.services.values() for one in service.endpoints]
        return tuple({call.name: call for call in every}.values())
