"""The HTTP face of ask-once on the application listeners: ``/once-only/…``.

It is its OpenAPI document (``apis/once-only.yaml``): what that does not declare is not answered.
Who asks is authenticated as for every call. A refusal of a whole request is recorded; what each
source answered is recorded as its exchange, and a decision of a person as an entry of its own.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from importlib.resources import files
from typing import Any, Final

import structlog

from exchange.documents import format_document
from exchange.identifiers import ApplicationId, ServiceId
from exchange.once_only.elements import (
    MAX_ELEMENTS,
    Dictionary,
    Element,
    compile_schemas,
    identifier_of,
)
from exchange.once_only.evidence_requests import Basis, Explicit, Statutory, format_basis
from exchange.problems import Code, Problem, Side, Text
from exchange.schema_sets.compiled import CompiledSchema
from exchange.trust.state import RegistryState
from mediator import xroad
from mediator.agreements.pinned import PinnedAgreements
from mediator.message.counting import Counting
from mediator.message.records import Recorder
from mediator.once_only import telling
from mediator.once_only.allowance import allowance
from mediator.once_only.answers import Schemas
from mediator.once_only.asking import Asking
from mediator.once_only.asks import MAX_ASKS, asks_of
from mediator.once_only.previews import KEPT_S, Preview, Previews
from mediator.once_only.values import Wanted
from serving import replies
from serving.api import Api, ApiRequest, json_reply
from serving.clock import Clock
from serving.randomness import random_uuid
from serving.requests import Reply, Request

BASE: Final = "/once-only"
DEFAULT_WAIT_S: Final = 10.0
DEFAULT_LIMIT: Final = 100
MAX_AHEAD: Final = timedelta(seconds=60)
AT_ONCE: Final = 256
COUNTED: Final = "once-only:element"
"""The field under which elements are counted that were given: no schema can mark one so."""
log = structlog.get_logger("mediator.once_only")


@dataclass(slots=True)
class OnceOnly:
    """Answers the requests below :data:`BASE`; built once by mediator/listening.py."""

    entrance: xroad.Entrance
    asking: Asking
    state: Callable[[], RegistryState]
    agreements: PinnedAgreements
    recorder: Recorder
    counting: Counting
    previews: Previews
    clock: Clock
    form: replies.Form = replies.PLAIN
    _api: Api = field(init=False)
    _inside: int = 0
    _deciding: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Of this server: so that one decision is recorded once, also when it comes twice at once."""
    _compiled: dict[str, tuple[Element, Mapping[str, bytes], CompiledSchema]] = field(
        default_factory=dict
    )

    def __post_init__(self) -> None:
        self._api = Api(
            files("mediator").joinpath("apis/once-only.yaml").read_bytes(),
            {
                "sources": self._sources,
                "evidence": self._evidence,
                "preview": self._preview,
                "decide": self._decide,
            },
            base=BASE,
            local=False,
        )

    async def handle(self, request: Request) -> Reply:
        """Answer one request; its refusal is recorded."""
        trace = xroad.new_request_id()
        try:
            return await self._answer(request)
        except Problem as problem:
            log.info("once_only_refused", trace=trace, code=problem.code, why=str(problem))
            return await self._refused(request, problem, trace)
        except Exception as error:
            log.exception("once_only_failed", trace=trace, exc_info=error)
            return await self._refused(request, replies.internal(), trace)

    async def _answer(self, request: Request) -> Reply:
        if request.fault is not None:
            raise request.fault
        connection = self.entrance.enter(request.transport, request.remote)
        if request.target == f"{BASE}/openapi.json":
            return await self._api.answer(request)
        client = xroad.client_calling(request.headers)
        self.entrance.admit(client, connection, request.remote)
        if self._inside >= AT_ONCE:
            raise Problem(
                Code.OVERLOADED,
                where="once-only",
                detail=f"{AT_ONCE} of these are being answered",
                facts={"retry_after_s": 1},
            )
        request.room.belongs_to(f"application {client}")
        self._inside += 1
        try:
            return await self._api.answer(request)
        finally:
            self._inside -= 1

    async def _refused(self, request: Request, problem: Problem, trace: str) -> Reply:
        try:
            await self.recorder.refused_request(
                problem,
                request.method,
                request.target,
                request.headers,
                xroad.client_named(request.headers),
                trace,
            )
        except Problem as unrecorded:
            problem = unrecorded
        accept = replies.accept_of(request.headers)
        status, headers, body = replies.reply(problem, Side.CONSUMER, trace, accept, self.form)
        return Reply(status, (*headers, ("x-road-request-id", trace)), body)

    # --- sources -----------------------------------------------------------------------------

    async def _sources(self, request: ApiRequest) -> Reply:
        state, client = self.state(), xroad.client_calling(request.headers)
        wanted = request.query.get("element")
        if wanted is None:
            elements = sorted(state.elements.elements, key=lambda one: one.id)
        else:
            names = sorted(set(wanted.split(",")))
            elements = [state.elements.find(name, "query.element") for name in names]
        after, limit = (
            request.query.get("after", ""),
            int(request.query.get("limit", DEFAULT_LIMIT)),
        )
        rest = [one for one in elements if one.id > after]
        items = [await self._told(one, state, client) for one in rest[:limit]]
        following = items[-1]["id"] if len(rest) > limit else None
        return json_reply(200, {"items": items, "next": following})

    async def _told(
        self, element: Element, state: RegistryState, client: ApplicationId
    ) -> dict[str, Any]:
        member = state.members.get(element.source.service.member)
        name: Text | None = None if member is None else member.name
        service = element.source.service
        contract = await self.asking.consumer.contracts.get(state, service)
        known = allowance(element, client, contract, self.agreements, self.clock.now())
        return telling.source(element, name, known)

    # --- evidence ----------------------------------------------------------------------------

    async def _evidence(self, request: ApiRequest) -> Reply:
        state = self.state()
        wanted = self._wanted(request, state.elements)
        preview = request.json.get("preview", False)
        if preview:
            await self.previews.check_room(wanted.client)
        schemas = await self._schemas(state, wanted.elements)
        answered = await self.asking(wanted, schemas, request.room)
        if preview and answered.given:
            await self.previews.put(wanted.id, wanted.client, telling.shown(answered))
            return json_reply(200, telling.evidence(answered, "preview", int(KEPT_S)))
        told = telling.evidence(answered, "given")
        self._count(told, wanted.purpose)
        return json_reply(200, told)

    def _wanted(self, request: ApiRequest, dictionary: Dictionary) -> Wanted:
        body = request.json
        scheme, identifier = identifier_of(body["subject"], "body#/subject")
        if identifier in (".", ".."):
            raise Problem(Code.INVALID_REQUEST, where="body#/subject", detail="names nobody")
        elements = tuple(
            dictionary.find(name, f"body#/elements/{number}")
            for number, name in enumerate(body["elements"])
        )
        for number, element in enumerate(elements):
            if element.subject != scheme:
                raise Problem(
                    Code.INVALID_REQUEST,
                    where=f"body#/elements/{number}",
                    detail=f"{element.id} is asked about {element.subject}, not about {scheme}",
                )
        own = xroad.own_fields(request.headers)
        wanted = Wanted(
            id=random_uuid(),
            client=xroad.client_calling(request.headers),
            subject=body["subject"],
            identifier=identifier,
            elements=elements,
            purpose=body["purpose"],
            basis=format_basis(self._basis(body["request"]), "body#/request"),
            wait_s=float(body.get("wait_s", DEFAULT_WAIT_S)),
            trace=own.get("traceparent", ""),
        )
        if len(asks_of(wanted)) > MAX_ASKS:
            raise Problem(
                Code.INVALID_REQUEST,
                where="body#/elements",
                detail=f"at most {MAX_ASKS} places of sources are asked at the same time",
            )
        return wanted

    def _basis(self, said: dict[str, Any]) -> Basis:
        if said["kind"] == "statutory":
            return Statutory(said["legal_basis"])
        at = datetime.fromisoformat(said["at"].upper())
        if at > self.clock.now() + MAX_AHEAD:
            raise Problem(
                Code.INVALID_REQUEST,
                where="body#/request/at",
                detail="nobody has asked in the future",
            )
        return Explicit(at, said["reference"])

    async def _schemas(self, state: RegistryState, elements: tuple[Element, ...]) -> Schemas:
        """What judges the values of these; compiled when an element or a schema is new, so that
        one which does not compile is the trouble of who asks for it."""
        known = self._compiled
        found = {
            one.id: compiled[2]
            for one in elements
            if (compiled := known.get(one.id)) is not None
            and compiled[0] == one
            and compiled[1] == state.schemas
        }
        missing = tuple(one for one in elements if one.id not in found)
        if missing:
            made = await asyncio.to_thread(compile_schemas, Dictionary(missing), state.schemas)
            if len(known) > MAX_ELEMENTS:
                known.clear()
            known |= {one.id: (one, state.schemas, made[one.id]) for one in missing}
            found |= made
        return found

    # --- previews ----------------------------------------------------------------------------

    async def _preview(self, request: ApiRequest) -> Reply:
        client = xroad.client_calling(request.headers)
        preview = await self.previews.find(request.path["id"], client)
        if preview.declined is not None and preview.recorded:
            return json_reply(200, telling.decided(preview.document, preview.declined))
        left_s = max(1, int(preview.until - self.clock.unix()))
        return json_reply(200, preview.document["told"] | {"decide_within_s": left_s})

    async def _decide(self, request: ApiRequest) -> Reply:
        identifier, client = request.path["id"], xroad.client_calling(request.headers)
        preview = await self.previews.find(identifier, client)
        shown = {one["element"] for one in preview.document["told"]["values"]}
        decisions: dict[str, str] = request.json["decisions"]
        if decisions.keys() != shown:
            odd = sorted(decisions.keys() ^ shown)
            raise Problem(
                Code.INVALID_REQUEST,
                where="body#/decisions",
                detail=f"each value that was shown is accepted or declined; see {odd[0][:163]}",
            )
        out = frozenset(name for name, said in decisions.items() if said == "decline")
        async with self._deciding:
            preview = await self.previews.decide(identifier, client, out)
            if preview.declined != out:
                raise Problem(
                    Code.CONFLICT, where="body#/decisions", detail="it was decided otherwise before"
                )
            told = telling.decided(preview.document, out)
            if not preview.recorded:
                await self._record(client, preview, out)
                self._count(told, preview.document["purpose"])
        return json_reply(200, told)

    async def _record(self, client: ApplicationId, preview: Preview, out: frozenset[str]) -> None:
        document = preview.document
        shown = [one["element"] for one in document["told"]["values"]]
        decision = {
            "accepted": sorted(name for name in shown if name not in out),
            "declined": sorted(out),
            "request": document["request"],
            "subject": document["subject"],
        }
        await self.recorder.decision(
            client,
            document["told"]["id"],
            document["purpose"],
            document["subject"],
            format_document(decision),
        )
        await self.previews.recorded(preview)

    def _count(self, told: dict[str, Any], purpose: str) -> None:
        """Count what was given, about nobody: the meter's measure of reuse."""
        for one in told["values"]:
            self.counting.count(ServiceId.parse(one["source"]), purpose, COUNTED, one["element"])
