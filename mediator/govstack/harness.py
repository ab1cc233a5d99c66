"""The test harness's face: GovStack's published suite, answered with what the registry says.

The suite (GovStack IM, test/openAPI) differs from the specification it tests: paths without
``/r1``, one older schema for all lists, other names of the client's header, getOpenAPI's answer
and errors as JSON strings. This face, on a port of its own, keeps the suite's forms; the facts in
them are those of the registries that this server reads, so the suite's ``test-data.json`` has to
be registered like anything else. Nothing is answered from the suite itself.

What the suite's rules are:
- a code that breaks the grammar is an error (400) for getOpenAPI: codes are X-Road's, and those of
  instance and class begin with a letter; in the lists it is a name that nobody has;
- an instance, a provider or a service that is not there has an empty list, and no document (400).

What is listed is public to every application (see listClients, listMethods). Only allowedMethods
depends on who asks: it is a signed and recorded exchange with the provider for a client that may
call through this server in plain text, and empty for anybody else.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import parse_qsl, unquote

import orjson
import structlog

from exchange.identifiers import ApplicationId, ServiceId
from exchange.problems import CATALOGUE, Code, Problem
from exchange.registrations import ServiceRecord
from exchange.trust.indexes import Document
from exchange.trust.state import RegistryState
from mediator import xroad
from mediator.govstack import forms
from mediator.pages.metaservices import METHODS_OF_PATHS, Listed, Shown
from mediator.xroad.clients import clients_of
from serving import replies
from serving.requests import Reply, Request

CLIENT_HEADERS: Final = ("x-govstack-client", "information-mediator-client")
# The suite's "1nval1d": codes of instance and class begin with a letter.
_NAME: Final = re.compile(r"[A-Za-z].*", re.ASCII)
_HEADERS: Final = (("content-type", "application/json; charset=utf-8"),)

Allowed = Callable[[ApplicationId, ApplicationId], Awaitable[list[Listed]]]
"""What a client may call of a provider, asked of the provider."""

log = structlog.get_logger("mediator.govstack")


@dataclass(frozen=True, slots=True)
class Harness:
    """Serves the harness's listener.

    ``states`` are the registries' states in force, this server's own first.
    """

    states: Callable[[], Iterable[RegistryState]]
    entrance: xroad.Entrance
    allowed: Allowed
    shown: Shown = field(default_factory=Shown)

    async def handle(self, request: Request) -> Reply:
        """Answer one request of the suite."""
        try:
            connection = self.entrance.enter(request.transport, request.remote)
            return _reply(200, await self._answer(request, connection))
        except Problem as problem:
            return _reply(problem.status, _sentence(problem))
        except Exception:
            log.exception("harness_failed", target=request.target[:200])
            return _reply(500, _sentence(replies.internal()))

    async def _answer(self, request: Request, connection: xroad.Connection) -> Any:
        path, _, query = request.target.partition("?")
        parts = [unquote(part) for part in path.split("/")[1:]]
        asked = dict(parse_qsl(query, keep_blank_values=True))
        if request.method != "GET":
            raise Problem(Code.INVALID_REQUEST, where="method", status=405)
        match parts:
            case ["listClients"]:
                return self._clients(asked.get("instanceId"))
            case [*codes, "listMethods"] if len(codes) == 4:
                states = tuple(self.states())
                return await asyncio.to_thread(_listed, states, codes, asked.get("serviceId"))
            case [*codes, "allowedMethods"] if len(codes) == 4:
                return await self._allowed(request, connection, codes, asked.get("serviceId"))
            case [*codes, "getOpenAPI"] if len(codes) == 4:
                found = self._document(codes, asked.get("serviceCode"))
                document = await asyncio.to_thread(found.read)
                return (await self.shown.get(document, in_yaml=False)).decode("utf-8")
        raise Problem(
            Code.NOT_FOUND,
            where="path",
            detail="there is /listClients, and listMethods, allowedMethods, getOpenAPI under "
            "/{GovStackInstance}/{memberClass}/{memberCode}/{applicationCode}/",
        )

    def _clients(self, instance: str | None) -> dict[str, Any]:
        """The members and applications of one instance, of this server's own when none is named."""
        states = list(self.states())
        chosen = [
            state for state in states if instance is None or state.instance.instance == instance
        ][:1]
        return forms.harness_clients(client for state in chosen for client in clients_of(state))

    async def _allowed(
        self, request: Request, connection: xroad.Connection, codes: list[str], wanted: str | None
    ) -> dict[str, Any]:
        provider, client = _application(codes), self._client(request, connection)
        if provider is None or client is None:
            return forms.harness_services(())
        try:
            found = await self.allowed(client, provider)
        except Problem as problem:
            if problem.code not in (Code.UNKNOWN_MEMBER, Code.UNKNOWN_APPLICATION):
                raise
            found = []
        return forms.harness_services(
            one for one in found if wanted is None or forms.is_named(one, wanted)
        )

    def _client(self, request: Request, connection: xroad.Connection) -> ApplicationId | None:
        """The application that asks, if it may call through this server from where it stands."""
        named = [value for name, value in request.headers if name in CLIENT_HEADERS]
        try:
            client = ApplicationId.parse(named[0] if named else "")
            return self.entrance.admit(client, connection, request.remote).id
        except Problem:
            return None

    def _document(self, codes: list[str], code: str | None) -> Document:
        """The OpenAPI document of a service.

        Raises:
            Problem: ``InvalidIdentifier`` for a code that breaks the grammar, ``InvalidRequest``
                without a service code, ``UnknownService`` (400 here) when there is no document.
        """
        if not code:
            raise Problem(
                Code.INVALID_REQUEST, where="query.serviceCode", detail="serviceCode is missing"
            )
        for text, where in zip(codes[:2], ("GovStackInstance", "memberClass"), strict=True):
            if not _NAME.fullmatch(text):
                raise Problem(
                    Code.INVALID_IDENTIFIER,
                    where=where,
                    detail=f"{text[:80]!r} does not begin with a letter",
                )
        instance, member_class, member_code, application = codes
        service = ServiceId(instance, member_class, member_code, application, code)
        for state in self.states():
            document = state.openapi.get(service)
            if document is not None:
                return document
        raise Problem(
            Code.UNKNOWN_SERVICE,
            where="path",
            detail=f"the registry has no OpenAPI document of {service}",
            status=400,
        )


def _listed(
    states: Iterable[RegistryState], codes: list[str], wanted: str | None
) -> dict[str, Any]:
    """The services of one application; reads documents, so for a thread."""
    application = _application(codes)
    services = [
        Listed(record.id, record.type, _endpoints(state.openapi.get(record.id)))
        for state in states
        for record in _offered(state, application)
    ]
    return forms.harness_services(
        one for one in services if wanted is None or forms.is_named(one, wanted)
    )


def _application(codes: list[str]) -> ApplicationId | None:
    try:
        return ApplicationId(*codes)
    except Problem:
        return None


def _offered(state: RegistryState, application: ApplicationId | None) -> list[ServiceRecord]:
    if application is None or application.member not in state.members:
        return []
    services = state.members[application.member].services
    return [record for record in services if record.id.application == application]


def _endpoints(document: Document | None) -> tuple[tuple[str, str], ...]:
    """What a document that the registry has taken declares."""
    if document is None:
        return ()
    paths: dict[str, dict[str, Any]] = orjson.loads(document.read()).get("paths", {})
    return tuple(
        (method.upper(), path)
        for path, item in paths.items()
        for method in item
        if method in METHODS_OF_PATHS
    )


def _sentence(problem: Problem) -> str:
    """A problem as the suite takes one: a string, with its code first."""
    text = problem.detail or CATALOGUE[problem.code].cause.en
    return f"{problem.code}: {text}" + (f" (at {problem.where})" if problem.where else "")


def _reply(status: int, document: object) -> Reply:
    return Reply(status, _HEADERS, orjson.dumps(document))
