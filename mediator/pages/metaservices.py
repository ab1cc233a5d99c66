"""Metaservices: what an application offers, asked of its own server (X-Road PR-MREST).

``listMethods``, ``allowedMethods`` and ``getOpenAPI`` are calls like any other: signed, recorded,
answered by the provider's server. They need no agreement, since they tell nothing that the
registry does not publish, but ``allowedMethods``, which tells a client what it may do itself.

The facts are values (:class:`Listed`); :func:`x_road_list` is their form in X-Road's protocol, and
other faces have forms of their own. The literal messages of getOpenAPI are those that X-Road's
clients compare.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol
from urllib.parse import parse_qsl, urlsplit

import orjson
import yaml

from exchange.contracts.contract import Contract
from exchange.identifiers import ApplicationId, ServiceId
from exchange.problems import ACTED, Code, Problem
from exchange.registrations import GET_OPENAPI, LIST_METHODS, METASERVICES, ServiceType
from exchange.trust.state import RegistryState
from serving.backends import Headers

METHODS_OF_PATHS: Final = frozenset(
    {"get", "put", "post", "delete", "options", "head", "patch", "trace"}
)
YAML_TYPES: Final = ("application/yaml", "application/x-yaml", "text/yaml")
_JSON: Final = "application/json"
MAX_SHOWN_BYTES: Final = 64 * 1024 * 1024
MAX_WAITING: Final = 16


class Offer(Protocol):
    """What is needed of a service that this server offers."""

    @property
    def id(self) -> ServiceId: ...
    @property
    def contract(self) -> Contract: ...

    def described(self) -> bytes:
        """Its OpenAPI document.

        Raises:
            Problem: why there is none yet.
        """
        ...


@dataclass(frozen=True, slots=True)
class Listed:
    """A service with its type and its endpoints: method and path template."""

    id: ServiceId
    type: ServiceType
    endpoints: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Answer:
    """What a metaservice answers."""

    headers: Headers
    body: bytes


Opens = Callable[[ServiceId, str, str], bool]
"""Whether an agreement opens a method and template of a service to the client that asks."""
TypeOf = Callable[[ServiceId], ServiceType]


def is_asked(service: ServiceId, method: str) -> bool:
    """Whether a call is answered by the provider's server itself (GET only, as in X-Road)."""
    return service.service_code in METASERVICES and method == "GET"


def registered_type(state: RegistryState, service: ServiceId) -> ServiceType:
    """The type as the registry has it; what is not registered yet is described, so OPENAPI."""
    try:
        return state.service(service).type
    except Problem:
        return ServiceType.OPENAPI


async def answer(
    asked: ServiceId,
    query: str,
    accept: str,
    offers: Iterable[Offer],
    type_of: TypeOf,
    opens: Opens,
    shown: Shown,
) -> Answer:
    """Answer a call of a metaservice.

    Args:
        asked: the service as the call names it; its code is that of a metaservice.
        query: still percent-encoded.
        offers: the services that this server offers, of any application.
        shown: the documents as they were shown before.

    Raises:
        Problem: ``InvalidRequest``, ``UnknownService`` or ``ServerOverloaded`` of getOpenAPI,
            or why a service is not described yet.
    """
    own = [offer for offer in offers if offer.id.application == asked.application]
    if asked.service_code == GET_OPENAPI:
        return await _openapi(asked.application, query, accept, own, type_of, shown)
    found = listed(own, type_of)
    if asked.service_code != LIST_METHODS:
        found = allowed(found, opens)
    return Answer((("content-type", _JSON),), orjson.dumps(x_road_list(found)))


def listed(offers: Iterable[Offer], type_of: TypeOf) -> list[Listed]:
    """Every service with all its endpoints, by code."""
    return [
        Listed(offer.id, type_of(offer.id), offer.contract.endpoints())
        for offer in sorted(offers, key=lambda offer: offer.id)
    ]


def allowed(services: Iterable[Listed], opens: Opens) -> list[Listed]:
    """The services of which anything is open to the client, with what is open."""
    cut = (
        Listed(one.id, one.type, tuple(e for e in one.endpoints if opens(one.id, *e)))
        for one in services
    )
    return [one for one in cut if one.endpoints]


def x_road_list(services: Iterable[Listed]) -> dict[str, Any]:
    """The list in X-Road's JSON (PR-MREST, RestServiceDetailsListType in snake case)."""
    return {
        "service": [
            {
                "member_class": one.id.member_class,
                "member_code": one.id.member_code,
                "object_type": "SERVICE",
                "service_code": one.id.service_code,
                "service_type": one.type.value,
                "subsystem_code": one.id.application_code,
                "xroad_instance": one.id.instance,
                "endpoint_list": [
                    {"method": method, "path": path} for method, path in one.endpoints
                ],
            }
            for one in services
        ]
    }


# --- getOpenAPI ----------------------------------------------------------------------------------


async def _openapi(
    application: ApplicationId,
    query: str,
    accept: str,
    offers: Iterable[Offer],
    type_of: TypeOf,
    shown: Shown,
) -> Answer:
    code = _service_code(query)
    offer = next((offer for offer in offers if offer.id.service_code == code), None)
    if offer is None:
        raise Problem(
            Code.UNKNOWN_SERVICE,
            where="query.serviceCode",
            detail=f"Service not found: SERVICE:{application}/{code[:255]}",
        )
    kind = type_of(offer.id)
    if kind is not ServiceType.OPENAPI:
        raise Problem(
            Code.INVALID_REQUEST,
            where="query.serviceCode",
            detail=f"Invalid service type: {kind}",
        )
    wanted = yaml_type(accept)
    body = await shown.get(offer.described(), in_yaml=bool(wanted))
    return Answer((("content-type", wanted or _JSON),), body)


def _service_code(query: str) -> str:
    # The name of the parameter is read in any case, the last one counts (X-Road).
    codes = [v for name, v in parse_qsl(query) if name.lower() == "servicecode"]
    if not codes:
        raise Problem(
            Code.INVALID_REQUEST,
            where="query.serviceCode",
            detail="Missing serviceCode in message body",
        )
    return codes[-1]


def yaml_type(accept: str) -> str:
    """The YAML type that Accept asks for before any JSON; empty when it asks for none."""
    for part in accept.split(","):
        media = part.split(";", 1)[0].strip().lower()
        if media in YAML_TYPES:
            return media
        if media in (_JSON, "application/*", "*/*"):
            return ""
    return ""


class Shown:
    """Documents as they are shown, each made once: anybody may ask for them without an agreement,
    and a long one in YAML takes seconds of the processor.

    One is made at a time, a few wait for it, and what is kept is bounded.
    """

    def __init__(self, max_bytes: int = MAX_SHOWN_BYTES, max_waiting: int = MAX_WAITING) -> None:
        self._max_bytes = max_bytes
        self._max_waiting = max_waiting
        self._made: OrderedDict[tuple[bytes, bool], bytes] = OrderedDict()
        self._size = 0
        self._waiting = 0
        self._one_at_a_time = asyncio.Lock()

    async def get(self, document: bytes, *, in_yaml: bool) -> bytes:
        """The document as :func:`published` makes it.

        Raises:
            Problem: ``ServerOverloaded`` when enough wait for documents.
        """
        found = self._made.get((document, in_yaml))
        if found is not None:
            return found
        if self._waiting >= self._max_waiting:
            raise Problem(
                Code.OVERLOADED,
                where="getOpenAPI",
                detail="enough documents are being made",
                facts={"retry_after_s": 2, ACTED: False},
            )
        self._waiting += 1
        try:
            async with self._one_at_a_time:
                found = self._made.get((document, in_yaml))
                if found is None:
                    found = await asyncio.to_thread(published, document, in_yaml=in_yaml)
                    self._keep((document, in_yaml), found)
                return found
        finally:
            self._waiting -= 1

    def _keep(self, key: tuple[bytes, bool], made: bytes) -> None:
        self._made[key] = made
        self._size += len(made)
        while self._size > self._max_bytes:
            _, oldest = self._made.popitem(last=False)
            self._size -= len(oldest)


def published(document: bytes, *, in_yaml: bool = False) -> bytes:
    """An OpenAPI document as others may see it: no address of the provider's own network.

    The URL of each server becomes its path, unless it has variables (PR-MREST section 5). Also
    those of single paths and operations, which are as internal as the others.
    """
    root = orjson.loads(document)
    for node in _with_servers(root):
        for server in node["servers"]:
            url = server.get("url") if isinstance(server, dict) else None
            if isinstance(url, str) and not ("{" in url and "}" in url):
                server["url"] = _path_of(url)
    if in_yaml:
        return yaml.safe_dump(root, allow_unicode=True, sort_keys=False).encode()
    return orjson.dumps(root)


def _with_servers(root: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    items = [item for item in _members(root.get("paths")) if isinstance(item, dict)]
    operations = [
        operation
        for item in items
        for name, operation in item.items()
        if name in METHODS_OF_PATHS and isinstance(operation, dict)
    ]
    for node in (root, *items, *operations):
        if isinstance(node, dict) and isinstance(node.get("servers"), list):
            yield node


def _members(node: object) -> Iterable[Any]:
    return node.values() if isinstance(node, dict) else ()


def _path_of(url: str) -> str:
    try:
        return urlsplit(url).path
    except ValueError:  # no address that anybody could use, and not to be shown either
        return "/"
