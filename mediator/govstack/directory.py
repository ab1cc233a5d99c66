"""GovStack's directory services on the application listeners (GovStack IM 1.1.1, section 8.2).

``/listClients`` and, under ``/r1/{instanceId}/{memberClass}/{memberCode}/{applicationCode}``,
``listMethods``, ``allowedMethods`` and ``getOpenAPI``, with the paths, header, statuses and shapes
of the Directory Services API 1.0. They are GovStack's under the base path ``/govstack``; on the
root, where X-Road has the same names, the header ``X-GovStack-Client`` (or the parameter
``instanceId`` of listClients) asks for GovStack's form. Anything else is the inlet's.

Invariants:
- a metaservice is one exchange whatever its form: signed, answered by the provider's server and
  recorded on both sides; only then its answer is shaped;
- 200, 400 and 500 are the only statuses (as declared): what is the caller's to mend is 400;
- listClients is answered from the registry's state and reveals what every member publishes: it is
  no exchange and leaves no record, but a refusal of it does.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from typing import Any, Final
from urllib.parse import parse_qsl

import orjson

from exchange.identifiers import check_code
from exchange.problems import Code, Problem, Side
from exchange.trust.state import RegistryState
from mediator import xroad
from mediator.consumer.inlet import Inlet
from mediator.govstack import forms
from mediator.xroad.clients import clients_of, language_of
from serving import replies
from serving.bodies import Spooled
from serving.requests import Reply, Request
from serving.yaml_files import read_own

CLIENT_HEADER: Final = "x-govstack-client"
MAX_LISTING_BYTES: Final = 8 * 1024 * 1024
"""The longest answer of a provider that is shaped anew; an OpenAPI document has 2 MiB at most."""
_DOCUMENT: Final = "/govstack/openapi.json"
# The specification's text says /r1/listClients and getOpenApi where its OpenAPI file says
# /listClients and getOpenAPI; both are understood where nothing else can be meant.
_CLIENTS: Final = re.compile(r"(/govstack)?(/r1)?/listClients(?:\?(.*))?")
_METHODS: Final = re.compile(
    r"(/govstack)?(/r1(?:/[^/?]+){4}/)(listMethods|allowedMethods|getOpenAPI|getOpenApi)(\?.*)?"
)
_JSON: Final = ("content-type", "application/json")
_OF_THE_BODY: Final = frozenset({"content-type", "content-length", "content-encoding", "etag"})


@dataclass(slots=True)
class Directory:
    """Stands before the inlet: takes what asks for GovStack's form, and passes on the rest.

    ``inlet`` serves what is passed on; ``plain`` makes exchanges with honest statuses.
    """

    inlet: Inlet
    plain: Inlet
    state: Callable[[], RegistryState]
    _clients: dict[str, tuple[RegistryState, bytes]] = field(default_factory=dict)
    """The listing of the last state by language: it is asked for more often than it changes."""

    async def handle(self, request: Request) -> Reply:
        """Answer one request of an application."""
        target = request.target
        if target == _DOCUMENT and request.method in ("GET", "HEAD"):
            return _ok(_document())
        # Any other message passes with this one look.
        if "/list" not in target and "/allowedM" not in target and "/getOpenA" not in target:
            return await self.inlet.handle(request)
        if request.method == "GET" and request.fault is None:
            if found := _CLIENTS.fullmatch(target):
                asked = _parameters(found[3] or "")
                if found[1] or found[2] or "instanceId" in asked or _has_client(request):
                    return await self._guarded(request, self._list_clients(request, asked))
            elif (found := _METHODS.fullmatch(target)) and (found[1] or _has_client(request)):
                path, service, query = found[2], found[3], found[4] or ""
                if service != "getOpenApi" or found[1]:
                    return await self._metaservice(
                        request, path, service.replace("Api", "API"), query
                    )
        return await self.inlet.handle(request)

    # --- listClients -----------------------------------------------------------------------------

    async def _list_clients(self, request: Request, asked: dict[str, str]) -> Reply:
        self.inlet.entrance.enter(request.transport, request.remote)
        state = self.state()
        instance = asked.get("instanceId", state.instance.instance)
        check_code(instance, "query.instanceId")
        if instance != state.instance.instance:
            return _ok(orjson.dumps(forms.published_clients(())))
        language = language_of(request.headers)
        known, body = self._clients.get(language, (None, b""))
        if known is not state:
            body = await asyncio.to_thread(
                lambda: orjson.dumps(forms.published_clients(clients_of(state), language))
            )
            self._clients[language] = (state, body)
        return _ok(body)

    # --- metaservices ----------------------------------------------------------------------------

    async def _metaservice(self, request: Request, path: str, service: str, query: str) -> Reply:
        if not _has_client(request):
            return await self._refused(request, _no_client())
        request.target = f"{path}{service}{query}"
        reply = await self.plain.handle(request)
        if reply.status != 200 or _is_refusal(reply):
            return _declared(reply)
        try:
            return await _shaped(request, reply, service, _parameters(query[1:]))
        except Problem as problem:
            return await self._refused(request, problem)

    async def _guarded(self, request: Request, answer: Awaitable[Reply]) -> Reply:
        """An answer of this server alone."""
        try:
            return await answer
        except Problem as problem:
            return await self._refused(request, problem)

    async def _refused(self, request: Request, problem: Problem) -> Reply:
        """Record a refusal, and say it."""
        request_id = xroad.new_request_id()
        await self.inlet.recorder.refused_request(
            problem,
            request.method,
            request.target,
            request.headers,
            xroad.client_named(request.headers),
            request_id,
        )
        accept = replies.accept_of(request.headers)
        return _declared(Reply(*replies.reply(problem, Side.CONSUMER, request_id, accept)))


@cache
def _document() -> bytes:
    """The OpenAPI document of these services, with what is said of this server's own answers."""
    return orjson.dumps(read_own(files("mediator").joinpath("apis/directory.yaml").read_bytes()))


def _is_refusal(reply: Reply) -> bool:
    """Whether an answer is a refusal of a security server, whatever its status says."""
    return any(name == "x-road-error" for name, _ in reply.headers)


async def _shaped(request: Request, reply: Reply, service: str, asked: dict[str, str]) -> Reply:
    """A provider's answer in GovStack's form.

    Raises:
        Problem: ``PeerProtocolError`` when it is too long or is no such answer.
    """
    body = reply.body
    if isinstance(body, Spooled):
        if body.size > MAX_LISTING_BYTES:
            raise Problem(
                Code.PEER_NONSENSE, where="answer", detail=f"{body.size} bytes are no listing"
            )
        request.room.hold(body.size)
        body = await body.load()
    headers = tuple(field for field in reply.headers if field[0] not in _OF_THE_BODY)
    if service == "getOpenAPI":
        kind = next((value for name, value in reply.headers if name == "content-type"), "")
        if "yaml" in kind:
            return Reply(200, (*headers, ("content-type", "text/yaml")), body)
        return Reply(200, (*headers, _JSON), orjson.dumps(_text(body)))
    try:
        document: Any = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise Problem(Code.PEER_NONSENSE, where="answer", detail="is not JSON") from error
    wanted = asked.get("serviceId")
    services = [
        one
        for one in forms.services_read(document)
        if wanted is None or forms.is_named(one, wanted)
    ]
    return Reply(200, (*headers, _JSON), orjson.dumps(forms.published_services(services)))


def _text(body: bytes) -> str:
    try:
        return body.decode("utf-8")
    except UnicodeDecodeError as error:
        raise Problem(Code.PEER_NONSENSE, where="answer", detail="is not UTF-8") from error


def _declared(reply: Reply) -> Reply:
    """A refusal with one of the two statuses that the OpenAPI file declares for it."""
    return reply._replace(status=400 if reply.status < 500 else 500)


def _no_client() -> Problem:
    return Problem(
        Code.INVALID_CLIENT_IDENTIFIER,
        where="X-GovStack-Client",
        detail="the header X-GovStack-Client is missing",
    )


def _has_client(request: Request) -> bool:
    return any(name == CLIENT_HEADER for name, _ in request.headers)


def _parameters(query: str) -> dict[str, str]:
    return dict(parse_qsl(query, keep_blank_values=True))


def _ok(body: bytes) -> Reply:
    return Reply(200, (_JSON,), body)
