"""The inlet for applications: an HTTP request becomes a call, and its reply an answer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import structlog

from exchange.identifiers import ApplicationId
from exchange.problems import Code, Problem, Side
from mediator import xroad
from mediator.administration.metrics import Metrics
from mediator.agreements.terms import CallBounds
from mediator.consumer.path import Consumer
from mediator.message.gate import Gate
from mediator.message.places import Bound, Held, Places
from mediator.message.records import Recorder
from mediator.message.stages import Call
from mediator.once_only.service import BASE, OnceOnly
from mediator.pages.pages import Pages
from mediator.settings import LimitSettings
from serving import replies
from serving.bodies import Spooled
from serving.incoming import Request
from serving.requests import Reply

ONCE_ONLY: Final = f"{BASE}/"
log = structlog.get_logger("mediator.consumer.inlet")


@dataclass(frozen=True, slots=True)
class Inlet:
    """Serves the application listeners; knows the connection modes."""

    consumer: Consumer
    entrance: xroad.Entrance
    recorder: Recorder
    gate: Gate
    limits: LimitSettings
    metrics: Metrics
    places: Places
    bounds: CallBounds
    pages: Pages
    once_only: OnceOnly
    form: replies.Form = replies.PLAIN

    async def handle(self, request: Request) -> Reply:
        """Answer one request of an application."""
        if request.target[:4] != "/r1/":
            if self.pages.has(request.target):
                return await self._page(request)
            if request.target.startswith(ONCE_ONLY):
                return await self.once_only.handle(request)
        started = self.metrics.start()
        request_id = xroad.new_request_id()
        try:
            with self.gate:
                reply = await self._exchange(request, request_id)
                self.metrics.done("consumer", reply.status, started)
                return reply
        except Problem as problem:
            self.metrics.refused("consumer", problem, started)
            log.info("call_refused", trace=request_id, code=problem.code, why=str(problem))
            return self._problem_reply(problem, request, request_id)

    async def _exchange(self, request: Request, request_id: str) -> Reply:
        try:
            with self.places.holder() as held:
                call = await self._call(request, request_id, held)
                reply = await self.consumer.exchange(call)
                return await self._answer(request, call, reply)
        except Problem:
            raise
        except Exception as error:
            # A fault of ours that no step has recorded is a refusal too.
            log.exception("call_failed", trace=request_id)
            fault = replies.internal()
            await self.recorder.refused_request(
                fault,
                request.method,
                request.target,
                request.headers,
                xroad.client_named(request.headers),
                request_id,
            )
            raise fault from error

    async def _page(self, request: Request) -> Reply:
        """What the server answers by itself: not an exchange, so neither gated nor recorded."""
        request_id = xroad.new_request_id()
        try:
            if request.fault is not None:
                raise request.fault
            connection = self.entrance.enter(request.transport, request.remote)
            return await self.pages.answer(request, connection)
        except Problem as problem:
            log.info("page_refused", trace=request_id, code=problem.code, why=str(problem))
            return self._problem_reply(problem, request, request_id)
        except Exception:
            log.exception("page_failed", trace=request_id)
            return self._problem_reply(replies.internal(), request, request_id)

    async def _call(self, request: Request, request_id: str, held: Held) -> Call:
        client: ApplicationId | None = None
        target, fields = request.target, request.headers
        try:
            if request.fault is not None:
                raise request.fault
            connection = self.entrance.enter(request.transport, request.remote)
            target = xroad.canonical_target(target)
            named = xroad.service_of(target, self.limits.url_max_bytes)
            client = xroad.client_calling(fields)
            self.entrance.admit(client, connection, request.remote)
            if len(fields) > self.limits.head_max_fields:
                raise Problem(
                    Code.INVALID_HEADER,
                    where="header block",
                    detail=f"{len(fields)} fields, at most {self.limits.head_max_fields} are taken",
                    status=431,
                )
            held.take(Bound(f"application {client}", self.bounds.share, "limits.share"))
            held.take(self.bounds.calls_to(named[0]))
            request.room.belongs_to(f"application {client}")
            body = await request.receive(self.bounds.body_to(named[0]), self.limits.read_s)
            return xroad.call_of(
                request.method, target, named, fields, body, client, request_id, request.room
            )
        except Problem as problem:
            await self.recorder.refused_request(
                problem, request.method, target, fields, client, request_id
            )
            raise

    async def _answer(self, request: Request, call: Call, reply: Reply) -> Reply:
        """The answer as the application gets it: with the hash of its request; a refusal of the
        other server in the form of this one."""
        status, headers, body = reply
        if xroad.first(headers, "x-road-error"):
            told = b"" if isinstance(body, Spooled) else body
            accept = replies.accept_of(request.headers)
            return Reply(
                *replies.restate(status, headers, told, call.request_id, accept, self.form)
            )
        generated = "" if xroad.first(request.headers, "x-road-id") else call.message_id
        head = xroad.head_of(
            request.method,
            request.target,
            request.headers,
            request.names,
            call.request_id,
            generated,
        )
        value = await xroad.request_hash(head, call.body)
        return Reply(status, (*headers, ("x-road-request-hash", value)), body)

    def _problem_reply(self, problem: Problem, request: Request, request_id: str) -> Reply:
        accept = replies.accept_of(request.headers)
        status, headers, body = replies.reply(problem, Side.CONSUMER, request_id, accept, self.form)
        return Reply(status, (*headers, ("x-road-request-id", request_id)), body)
