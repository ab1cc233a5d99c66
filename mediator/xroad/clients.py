"""listClients: every member and application of an instance (X-Road PR-META, PR-MREST section 2).

JSON when Accept names ``application/json``, else XML, as in X-Road. A member's ``name`` and an
application's ``subsystem_name`` are in English, or in Lao for whoever asks for it first
(Accept-Language); X-Road has one name only.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import parse_qsl
from xml.etree.ElementTree import Element, SubElement, register_namespace, tostring

import orjson

from exchange.identifiers import ApplicationId, MemberId
from exchange.problems import Code, Problem, Text
from exchange.trust.state import RegistryState
from mediator.xroad.connections import Connection
from mediator.xroad.fields import first
from serving import replies
from serving.backends import Headers
from serving.requests import Reply, Request

XROAD: Final = "http://x-road.eu/xsd/xroad.xsd"
IDENTIFIERS: Final = "http://x-road.eu/xsd/identifiers"
register_namespace("xroad", XROAD)
register_namespace("id", IDENTIFIERS)


@dataclass(frozen=True, slots=True)
class ListedClient:
    """A member, or an application with the member's name and its own."""

    id: MemberId | ApplicationId
    name: Text
    application_name: Text | None


@dataclass(frozen=True, slots=True)
class ListClients:
    """The page ``/listClients``."""

    state: Callable[[], RegistryState]

    async def __call__(self, request: Request, _: Connection) -> Reply:
        """Answer ``GET /listClients[?xRoadInstance=XX]``.

        Raises:
            Problem: ``NotFound`` for an instance that this server knows nothing of;
                ``OutdatedGlobalConf``.
        """
        state = self.state()
        query = dict(parse_qsl(request.target.partition("?")[2]))
        wanted = query.get("xRoadInstance", "").strip() or state.instance.instance
        if wanted != state.instance.instance:
            raise Problem(
                Code.NOT_FOUND,
                where="query.xRoadInstance",
                detail=f"this server knows the instance {state.instance.instance} only",
            )
        language = language_of(request.headers)
        if "application/json" in _media_types(replies.accept_of(request.headers)):
            kind, make = "application/json;charset=utf-8", in_json
        else:
            kind, make = "text/xml;charset=utf-8", in_xml
        body = await asyncio.to_thread(lambda: make([*clients_of(state)], language))
        return Reply(200, (("content-type", kind),), body)


def clients_of(state: RegistryState) -> Iterator[ListedClient]:
    """Every member, each before its applications."""
    for member in sorted(state.members):
        record = state.members[member]
        yield ListedClient(member, record.name, None)
        for application in record.applications:
            yield ListedClient(application.id, record.name, application.name)


def in_json(clients: list[ListedClient], language: str) -> bytes:
    """X-Road's JSON: snake case, nothing that is null."""
    return orjson.dumps({"member": [_member(client, language) for client in clients]})


def _member(client: ListedClient, language: str) -> dict[str, Any]:
    identifier: dict[str, str] = {
        "member_class": client.id.member_class,
        "member_code": client.id.member_code,
        "object_type": "MEMBER",
        "xroad_instance": client.id.instance,
    }
    member: dict[str, Any] = {"id": identifier, "name": getattr(client.name, language)}
    if isinstance(client.id, ApplicationId):
        identifier |= {"object_type": "SUBSYSTEM", "subsystem_code": client.id.application_code}
        member["subsystem_name"] = getattr(client.application_name, language)
    return member


def in_xml(clients: list[ListedClient], language: str) -> bytes:
    """X-Road's XML: ClientListType of its schema service-metainfo.xsd."""
    root = Element(f"{{{XROAD}}}clientList")
    for client in clients:
        member = SubElement(root, f"{{{XROAD}}}member")
        application = isinstance(client.id, ApplicationId)
        kind = "SUBSYSTEM" if application else "MEMBER"
        identifier = SubElement(member, f"{{{XROAD}}}id", {f"{{{IDENTIFIERS}}}objectType": kind})
        for name, code in zip(
            ("xRoadInstance", "memberClass", "memberCode", "subsystemCode"),
            (getattr(client.id, field) for field in client.id.FIELDS),
            strict=False,
        ):
            SubElement(identifier, f"{{{IDENTIFIERS}}}{name}").text = code
        SubElement(member, f"{{{XROAD}}}name").text = getattr(client.name, language)
        if application:
            name = getattr(client.application_name, language)
            SubElement(member, f"{{{XROAD}}}subsystemName").text = name
    text: bytes = tostring(root, encoding="UTF-8", xml_declaration=True)
    return text


def language_of(headers: Headers) -> str:
    """``lo`` or ``en``: whichever Accept-Language names first."""
    for part in first(headers, "accept-language").split(","):
        language = part.split(";", 1)[0].strip().lower().partition("-")[0]
        if language in ("lo", "en"):
            return language
    return "en"


def _media_types(accept: str) -> set[str]:
    return {part.split(";", 1)[0].strip().lower() for part in accept.split(",")}
