"""The inlet for other security servers: a message over the link, and its signed answer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import structlog

from exchange.certificates.reading import fingerprint
from exchange.identifiers import ServerId
from exchange.messages.envelope import NOT_COVERED, RequestHead
from exchange.problems import Code, Problem, Side
from exchange.trust.state import RegistryState
from mediator.administration.metrics import Metrics
from mediator.agreements.terms import share_of
from mediator.background.revocation import Statuses
from mediator.message.gate import Gate
from mediator.message.places import Bound, Held
from mediator.message.records import Recorder
from mediator.message.stages import Received, RecordedReply
from mediator.provider.path import Provider
from mediator.settings import LimitSettings
from mediator.witness.service import PREFIX, Witness
from mediator.xroad import Connection, id_named
from serving import replies
from serving.backends import Headers
from serving.bodies import IN_MEMORY_BYTES, Body
from serving.incoming import Request
from serving.requests import Reply

log = structlog.get_logger("mediator.provider.inlet")

# Fields of the connection: no signature covers them, so they go no further.
_UNSIGNED = NOT_COVERED - {"signature", "signature-input"}


@dataclass(frozen=True, slots=True)
class PeerInlet:
    """Serves the listener of the link."""

    provider: Provider
    state: Callable[[], RegistryState]
    statuses: Statuses
    recorder: Recorder
    gate: Gate
    limits: LimitSettings
    metrics: Metrics
    witness: Witness

    async def handle(self, request: Request) -> Reply:
        """Answer one message of another server, or what it wants of a witness."""
        if request.target.startswith(PREFIX):
            return await self._witness(request)
        started = self.metrics.start()
        fields = request.headers
        try:
            with self.gate:
                recorded = await self._exchange(request)
                sealed = recorded.sealed
                self.metrics.answered("provider", sealed.head.status, sealed.head.headers, started)
                return Reply(sealed.head.status, sealed.head.headers, sealed.body)
        except Problem as problem:
            self.metrics.refused("provider", problem, started)
            log.info("message_refused", trace=_trace(fields), code=problem.code, why=str(problem))
            return _unsigned(problem, fields)

    async def _witness(self, request: Request) -> Reply:
        """No message: it is not recorded, and takes no place of one."""
        try:
            peer = self._peer(request)
        except Problem as problem:
            return _unsigned(problem, request.headers)
        return await self.witness.handle(request, peer)

    async def _exchange(self, request: Request) -> RecordedReply:
        try:
            with self.provider.places.holder() as held:
                received = await self._receive(request, held)
                return await self.provider.exchange(received)
        except Problem:
            raise
        except Exception as error:
            # A fault of ours that no step has recorded is a refusal too.
            log.exception("message_failed", trace=_trace(request.headers))
            fault = replies.internal()
            await self.recorder.refused_link(fault, request.method, request.target, request.headers)
            raise fault from error

    async def _receive(self, request: Request, held: Held) -> Received:
        target, fields = request.target, request.headers
        try:
            if request.fault is not None:
                raise request.fault
            peer = self._peer(request)
            held.take(Bound(f"server {peer}", share_of(self.limits), "limits.share"))
            request.room.belongs_to(f"server {peer}")
            limits = self.limits
            length, coming = request.length, None
            body: Body = b""
            if length is None or length > IN_MEMORY_BYTES:
                coming = partial(request.receive, timeout_s=limits.read_s)
            else:
                body = await request.receive(limits.request_max_bytes, limits.read_s)
            head = RequestHead(
                request.method,
                self.provider.address + target,
                tuple([item for item in fields if item[0] not in _UNSIGNED]),
            )
        except Problem as problem:
            await self.recorder.refused_link(problem, request.method, target, fields)
            raise
        return Received(peer, head, target, body, request.room, coming)

    def _peer(self, request: Request) -> ServerId:
        """Whose connection this is; judged anew after every change of the registry.

        Raises:
            Problem: ``PeerCertificateUntrusted``, ``CertificateRevoked``,
                ``CertificateStatusUnknown``.
        """
        state = self.state()
        judged = request.connection.judged
        if judged is not None and judged[0] is state:
            known: ServerId = judged[1]
            self.statuses.check(judged[2], "TLS certificate")
            return known
        certificate = Connection.of(request.transport).certificate
        if certificate is None:
            raise Problem(
                Code.PEER_CERTIFICATE_UNTRUSTED, where="TLS", detail="no certificate shown"
            )
        print_ = fingerprint(certificate)
        peer = state.auth_server(print_)
        self.statuses.check(print_, "TLS certificate")
        request.connection.judged = (state, peer, print_)
        return peer


def _trace(fields: Headers) -> str:
    return id_named(fields, "x-road-request-id")


def _unsigned(problem: Problem, fields: Headers) -> Reply:
    """An answer to a message that could not be opened: there is nothing to bind a signature to."""
    status, headers, body = replies.reply(problem, Side.PROVIDER, _trace(fields))
    return Reply(status, headers, body)
