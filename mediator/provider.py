"""The provider's side, top to bottom: *open* → *record* → *allow* → *check* → *claim* → *deliver*,
then *check* → *minimise* → *seal* → *record* the answer.

Each step takes the value of the step before (mediator/stages.py): the backend is never asked
before the message is opened, recorded and allowed, and no answer leaves before it is recorded.
A message of an unsafe method is claimed before the backend is asked, and what came of it ends the
claim: its repeats get the recorded outcome (:mod:`mediator.once`).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any
from urllib.parse import parse_qsl

import orjson
import structlog

from exchange.agreements import Projection
from exchange.contracts import Contract, Match
from exchange.digest import check_content_digest, format_content_digest
from exchange.envelope import HOP_BY_HOP, ResponseHead, open_request, seal_response
from exchange.identifiers import MemberId, ServiceId
from exchange.keys import SigningKey
from exchange.problems import Code, Problem, Side
from exchange.registrations import ServiceType
from exchange.trust import RegistryState
from mediator import long_bodies, metaservices, xroad
from mediator.delivery import check_part, check_tags, withheld
from mediator.maintenance import Maintenance
from mediator.once.book import OnceBook
from mediator.once.claims import not_kept
from mediator.once.outcomes import SAFE_METHODS, of_reply, problem_of
from mediator.once.vault import Answer
from mediator.once.writer import Claim
from mediator.pinned import PinnedAgreements
from mediator.places import Places
from mediator.quota import NOT_COUNTED, QuotaBook
from mediator.records import Recorder
from mediator.replay import ReplayMemory
from mediator.settings import Validation
from mediator.signers import signer_of
from mediator.stages import (
    Allowed,
    Delivered,
    OpenedCall,
    Received,
    RecordedOpening,
    RecordedReply,
    Released,
    SealedReply,
)
from mediator.terms import ServiceTerms, Terms, terms_of
from mediator.turns import Turns
from serving import replies
from serving.backends import Backend, BackendRequest, Headers, NotDelivered
from serving.bodies import IN_MEMORY_BYTES, Body, Spooled, sha256_of
from serving.clock import Clock

log = structlog.get_logger("mediator.provider")

# What the backend's answer says of a body that was cut down, or of its connection to us.
# and what this server says itself: a backend cannot speak for the exchange.
_NOT_RELEASED = frozenset(
    {
        "content-digest",
        "content-length",
        "date",
        "proxy-authentication-info",
        "server",
        "signature",
        "signature-input",
        "via",
        "x-road-client",
        "x-road-error",
        "x-road-id",
        "x-road-request-hash",
        "x-road-request-id",
        "x-road-service",
    }
)
_OF_THE_WHOLE_BODY = frozenset({"etag", "content-md5", "digest", "repr-digest", "accept-ranges"})
# What an error of the backend may say under an agreement that releases some fields only.
_OF_A_PROBLEM = frozenset({"type", "title", "status", "detail"})


CLAIM_MARGIN_S = 10.0
"""Between the end of the backend's time and that of a claim: reading, checking, recording."""


@dataclass(frozen=True, slots=True)
class OfferedService:
    """A service of a hosted member: its backend, its contract and how strictly it is kept."""

    id: ServiceId
    backend: Backend
    contract: Contract
    document: bytes
    validation: Validation
    terms: ServiceTerms
    exactly_once: bool
    enabled: bool
    notice: str


@dataclass(frozen=True, slots=True)
class Provider:
    """What the steps need; built once by mediator/server.py."""

    address: str
    state: Callable[[], RegistryState]
    seal_keys: Mapping[MemberId, SigningKey]
    services: Mapping[ServiceId, OfferedService]
    agreements: PinnedAgreements
    maintenance: Maintenance
    quotas: QuotaBook
    replays: ReplayMemory
    once: OnceBook
    recorder: Recorder
    clock: Clock
    turns: Turns
    max_url_bytes: int
    places: Places
    checked_max_bytes: int = long_bodies.CHECKED_MAX_BYTES
    _projections: dict[tuple[str, ...], Projection] = field(default_factory=dict)

    async def exchange(self, received: Received) -> RecordedReply:
        """Answer a message of another server; refusals are signed and recorded answers too.

        Raises:
            Problem: where no signed answer can be given: the message could not be opened (then
                its refusal is recorded), or the journal cannot be written.
        """
        await self.turns.next()
        try:
            call = self.open(received)
            if received.coming is not None:
                call = await self.take_in(call, received.coming)
        except Problem as problem:
            await self.recorder.refused_message(received, problem)
            raise
        except Exception as error:
            # A fault of ours is a refusal too: it is recorded like any other.
            log.exception("message_not_opened", peer=str(received.peer))
            fault = replies.internal()
            await self.recorder.refused_message(received, fault)
            raise fault from error
        recorded = await self.recorder.opening(call)
        agreement = endpoint = ""
        claim: Claim | None = None
        repeated = False
        stopped: Problem | None = None
        try:
            self.maintenance.check()
            if metaservices.is_asked(call.service, received.head.method):
                sealed = await self.tell(recorded)
            else:
                allowed = await self.allow(recorded)
                agreement, endpoint = (
                    allowed.agreement.reference,
                    allowed.match.operation.template,
                )
                with self.admitted(allowed.terms):
                    found = await self.claim(allowed)
                    if isinstance(found, Answer):
                        stopped, repeated = problem_of(found), True
                        sealed = self.repeat(recorded, found)
                    else:
                        claim = found
                        delivered = await self.deliver(allowed)
                        sealed = self.seal(recorded, await self.minimise(delivered))
        except Problem as problem:
            stopped, sealed = problem, self.seal_problem(recorded, problem)
        except Exception:
            # A fault of ours, or of an adapter: the caller gets a signed answer all the same.
            log.exception("message_failed", trace=call.request_id)
            stopped = replies.internal()
            sealed = self.seal_problem(recorded, stopped)
        except BaseException:
            if claim is not None:
                self.once.lose(claim)
            raise
        if claim is None:
            return await self.recorder.reply(
                recorded, sealed, stopped, agreement, endpoint, repeated=repeated
            )
        if isinstance(stopped, NotDelivered):
            await self.once.release(claim)
            return await self.recorder.reply(recorded, sealed, stopped, agreement, endpoint)
        try:
            return await self.recorder.reply(
                recorded, sealed, stopped, agreement, endpoint, claimed=True
            )
        finally:
            # It was carried out, whether this server can record that or not.
            self.once.done(claim, of_reply(sealed, stopped, agreement))

    def open(self, received: Received) -> OpenedCall:
        """Prove a message: signature, certificate, sender, freshness, digest, first time seen.

        Raises:
            Problem: what does not hold.
        """
        head = received.head
        state = self.state()
        service, path, query = xroad.service_of(received.target, self.max_url_bytes)
        client = xroad.client_of(head.headers)
        if service.member not in self.seal_keys:
            raise Problem(
                Code.UNKNOWN_MEMBER,
                where="path",
                detail=f"{service.member} is not hosted by this security server",
            )
        find_key = signer_of(state, client.member, self.clock.now())
        opened = open_request(head, find_key, now=int(self.clock.unix()))
        if received.peer not in state.application(client).servers:
            raise Problem(
                Code.CERTIFICATE_MISMATCH,
                where="TLS certificate",
                detail=f"{received.peer} is not a security server of {client}",
            )
        own = xroad.own_fields(head.headers)
        if received.coming is None:
            check_content_digest(own.get("content-digest", ""), sha256_of(received.body))
        self.replays.remember(opened.keyid, opened.nonce, opened.expires, self.clock.unix())
        return OpenedCall(
            received=received,
            opened=opened,
            client=client,
            service=service,
            path=path,
            query=query,
            message_id=own.get("x-road-id", ""),
            request_id=own.get("x-road-request-id", ""),
            trace=own.get("traceparent", ""),
            purpose=own.get("exchange-purpose", ""),
            agreement=own.get("exchange-agreement", ""),
        )

    async def take_in(self, call: OpenedCall, coming: Callable[[], Awaitable[Body]]) -> OpenedCall:
        """Take the long body of a message whose head is proven, and fresh when it came.

        Raises:
            Problem: the body does not come, or is another one; it may come again.
        """
        received, opened = call.received, call.opened
        try:
            body = await coming()
            stated = xroad.first(received.head.headers, "content-digest")
            check_content_digest(stated, sha256_of(body))
        except Problem:
            self.replays.forget(opened.keyid, opened.nonce)
            raise
        return call._replace(received=received._replace(body=body, coming=None))

    async def tell(self, recorded: RecordedOpening) -> SealedReply:
        """Answer a metaservice: what this server offers of an application, and to whom.

        Raises:
            Problem: ``UnknownApplication`` when no server of this address speaks for the
                application, or what :func:`mediator.metaservices.answer` says.
        """
        call, state, now = recorded.call, self.state(), self.clock.now()
        state.application(call.service.application)
        answer = await metaservices.answer(
            call.service,
            call.query,
            xroad.first(call.received.head.headers, "accept"),
            self.services.values(),
            lambda service: _registered_type(state, service),
            lambda service, method, path: self.agreements.opens(
                call.client, service, method, path, now
            ),
        )
        return self._seal(recorded, 200, answer.headers, answer.body)

    async def allow(self, recorded: RecordedOpening) -> Allowed:
        """Find the endpoint and the agreement that opens it; check the request.

        Raises:
            Problem: ``UnknownService``, ``ServiceDisabled``, ``UnknownEndpoint``, what the
                agreements say, ``FieldNotReleased`` (of a field, or an entity tag of the whole),
                ``PayloadTooLarge``, or what the contract says of the request.
        """
        call = recorded.call
        offered = self.services.get(call.service)
        if offered is None:
            raise Problem(
                Code.UNKNOWN_SERVICE, where="path", detail=f"{call.service} is not offered here"
            )
        if not offered.enabled:
            raise Problem(Code.SERVICE_DISABLED, where="service", detail=offered.notice)
        method = call.received.head.method
        match = offered.contract.find(method, call.path)
        agreement, grant = self.agreements.allow(
            call.client,
            call.service,
            method,
            match.operation.template,
            call.purpose or None,
            call.agreement,
            self.clock.now(),
        )
        terms = terms_of(agreement, offered.terms)
        if len(call.received.body) > terms.request_max_bytes:
            raise _too_large(Code.PAYLOAD_TOO_LARGE, "body", terms.request_max_bytes)
        projection = self.projection(grant.fields)
        if not projection.everything:
            check_tags(method, call.received.head.headers)
        self._check_selection(match, call.query, projection, agreement.id)
        headers = call.received.head.headers
        await self._judge(
            offered,
            call,
            call.received.body,
            lambda: match.operation.reads_request(headers),
            partial(match.operation.check_request, match, call.query, headers),
            Code.PAYLOAD_TOO_LARGE,
        )
        return Allowed(recorded, agreement, grant, match, terms)

    @contextmanager
    def admitted(self, terms: Terms) -> Iterator[None]:
        """The places of an exchange, and one call of its rates.

        Raises:
            Problem: ``QuotaExceeded`` where the caller has its share, ``ServerOverloaded`` where
                the service has all that it takes; nothing is used up then.
        """
        now = self.clock.unix()
        with self.places.holder() as held:
            for bound in terms.places:
                held.take(bound)
            self.quotas.spend(terms.rates, now, self.clock.monotonic())
            try:
                yield
            except Problem as problem:
                if problem.code in NOT_COUNTED:
                    self.quotas.give_back(terms.rates, now)
                raise

    async def claim(self, allowed: Allowed) -> Claim | Answer | None:
        """Claim a message whose method is unsafe, or find what came of it before.

        The last step that may refuse: what stops a claimed message later is remembered as its
        outcome, unless it is :class:`serving.backends.NotDelivered`.

        Raises:
            Problem: what :meth:`mediator.once.book.OnceBook.claim` says; ``AnswerNotKept`` when
                the recorded answer was cut down to the fields of another agreement.
        """
        call = allowed.recorded.call
        head, offered = call.received.head, self.services[call.service]
        if head.method in SAFE_METHODS or not offered.exactly_once:
            return None
        vault = self.once.vault
        key = vault.key(call.client, call.service.member, call.message_id)
        fingerprint = vault.fingerprint(
            head.method,
            call.received.target,
            sha256_of(call.received.body).hex(),
            xroad.first(head.headers, "content-type"),
            call.purpose,
        )
        found = await self.once.claim(
            key, fingerprint, call.opened.nonce, allowed.terms.exchange_s + CLAIM_MARGIN_S
        )
        if (
            isinstance(found, Answer)
            and not found.problem
            and found.agreement != allowed.agreement.reference
        ):
            raise not_kept("it was released under another agreement")
        return found

    def repeat(self, recorded: RecordedOpening, answer: Answer) -> SealedReply:
        """Sign a recorded outcome anew, bound to this request."""
        return self._seal(recorded, answer.status, answer.headers, answer.body or b"")

    async def deliver(self, allowed: Allowed) -> Delivered:
        """Ask the backend and check its answer against the contract.

        Raises:
            Problem: what the backend did wrong.
        """
        call = allowed.recorded.call
        offered = self.services[call.service]
        terms = allowed.terms
        checked = offered.validation is not Validation.OFF
        kept_back = withheld(allowed.match.operation, checked, not self._everything(allowed))
        headers = tuple([item for item in call.received.head.headers if item[0] not in kept_back])
        answer = await offered.backend.exchange(
            BackendRequest(
                call.received.head.method,
                call.path or "/",
                call.query,
                headers,
                call.received.body,
                call.received.room,
                once=offered.exactly_once and call.received.head.method not in SAFE_METHODS,
            ),
            timeout_s=terms.exchange_s,
            first_byte_s=terms.first_byte_s,
        )
        await self.turns.next()
        check_part(answer.status, headers)
        body, room = answer.body, call.received.room
        if len(body) > terms.answer_max_bytes:
            raise _too_large(Code.RESPONSE_TOO_LARGE, "backend answer", terms.answer_max_bytes)
        if len(body) > IN_MEMORY_BYTES and isinstance(body, bytes) and room is not None:
            body = await room.take(body)  # an adapter makes its answers in memory
        document = None
        if checked and call.received.head.method != "HEAD":
            operation = allowed.match.operation
            document = await self._judge(
                offered,
                call,
                body,
                lambda: operation.reads_response(answer.status, answer.headers),
                partial(operation.check_response, answer.status, answer.headers),
                Code.RESPONSE_TOO_LARGE,
            )
        return Delivered(allowed, answer.status, answer.headers, body, document)

    async def minimise(self, delivered: Delivered) -> Released:
        """Cut the answer down to the fields that the agreement releases.

        Where fields are restricted, an error of the backend (4xx, 5xx) passes as the members of
        RFC 9457 that describe a failure, and nothing else of its body does.

        Raises:
            Problem: ``BackendProtocolError`` when the fields are restricted and the answer is
                not readable JSON, so that nothing leaves that cannot be cut; or
                ``ResponseTooLarge`` when it is too long to be cut.
        """
        headers = tuple(
            [
                item
                for item in delivered.headers
                if item[0] not in _NOT_RELEASED and item[0] not in HOP_BY_HOP
            ]
        )
        projection = self.projection(delivered.allowed.grant.fields)
        if projection.everything:
            return Released(delivered, headers, delivered.body)
        # The digest of a record tells what the record says: of the answer to HEAD, too.
        headers = tuple([item for item in headers if item[0] not in _OF_THE_WHOLE_BODY])
        if not delivered.body:
            return Released(delivered, headers, b"")
        body, document = delivered.body, delivered.document
        if delivered.status >= 400:
            return Released(delivered, _of_json(headers), _problem_details(body))
        if isinstance(body, Spooled):
            cut = await long_bodies.project(body, document, projection, self.checked_max_bytes)
            return Released(delivered, headers, cut)
        if document is None:
            document = long_bodies.parsed(body)
        return Released(delivered, headers, orjson.dumps(projection.project(document)))

    def seal(self, recorded: RecordedOpening, released: Released) -> SealedReply:
        """Sign the answer, bound to the request.

        Raises:
            Problem: ``BackendProtocolError`` when the backend's header fields cannot be signed:
                too many, too long or malformed.
        """
        try:
            return self._seal(recorded, released.delivered.status, released.headers, released.body)
        except Problem as problem:
            raise Problem(
                Code.BACKEND_NONSENSE, where="backend answer, header fields", detail=problem.detail
            ) from problem

    def seal_problem(self, recorded: RecordedOpening, problem: Problem) -> SealedReply:
        """Sign a refusal, so that it is evidence too."""
        call = recorded.call
        status, headers, body = replies.reply(problem, Side.PROVIDER, call.request_id)
        if call.received.head.method == "HEAD":
            body = b""
        return self._seal(recorded, status, headers, body)

    def projection(self, fields: tuple[str, ...]) -> Projection:
        """The compiled projection of a grant."""
        found = self._projections.get(fields)
        if found is None:
            if len(self._projections) >= 10_000:
                self._projections.clear()
            found = self._projections[fields] = Projection.compile(fields)
        return found

    def _everything(self, allowed: Allowed) -> bool:
        return self.projection(allowed.grant.fields).everything

    def _check_selection(
        self, match: Match, query: str, projection: Projection, agreement_id: str
    ) -> None:
        parameter = match.operation.selects
        if parameter is None or projection.everything or not query:
            return
        for name, value in parse_qsl(query, keep_blank_values=True):
            if name != parameter:
                continue
            for wanted in value.split(","):
                if not projection.releases(wanted.strip()):
                    raise Problem(
                        Code.FIELD_NOT_RELEASED,
                        where=f"query.{parameter}",
                        detail=f"agreement {agreement_id} does not release {wanted.strip()[:80]!r}",
                        facts={"agreement": agreement_id, "field": wanted.strip()[:80]},
                    )

    async def _judge(
        self,
        offered: OfferedService,
        call: OpenedCall,
        body: Body,
        reads: Callable[[], bool],
        check: Callable[[bytes | None], Any],
        too_long: Code,
    ) -> Any | None:
        """Run a contract check as strictly as the service asks for."""
        if offered.validation is Validation.OFF:
            return None
        try:
            if isinstance(body, Spooled):
                return await long_bodies.judge(
                    body, reads(), check, self.checked_max_bytes, too_long
                )
            return check(body)
        except Problem as problem:
            if offered.validation is Validation.ENFORCE:
                raise
            self.recorder.reported(problem)
            log.warning(
                "contract_broken",
                service=str(call.service),
                code=problem.code,
                where=problem.where,
                trace=call.request_id,
            )
            return None

    def _seal(
        self, recorded: RecordedOpening, status: int, headers: Headers, body: Body
    ) -> SealedReply:
        call = recorded.call
        member = call.service.member
        bodiless = status in (204, 304) or call.received.head.method == "HEAD"
        if not bodiless and not any(name == "content-type" for name, _ in headers):
            headers = (*headers, ("content-type", "application/octet-stream"))
        complete = (
            *headers,
            ("x-road-client", str(call.client)),
            ("x-road-service", str(call.service)),
            ("x-road-id", call.message_id),
            ("x-road-request-id", call.request_id),
            ("content-digest", format_content_digest(sha256_of(b"" if bodiless else body))),
        )
        head = ResponseHead(status, complete)
        signed = seal_response(
            call.received.head, head, self.seal_keys[member], created=int(self.clock.unix())
        )
        return SealedReply(
            member,
            ResponseHead(status, (*complete, *signed.headers_to_add)),
            b"" if bodiless else body,
            signed,
        )


def _registered_type(state: RegistryState, service: ServiceId) -> ServiceType:
    """The type as the registry has it; what is not registered yet is described, so OPENAPI."""
    try:
        return state.service(service).type
    except Problem:
        return ServiceType.OPENAPI


def _of_json(headers: Headers) -> Headers:
    """The same fields for a body that this server wrote anew."""
    kept = tuple(item for item in headers if item[0] not in ("content-type", "content-encoding"))
    return (*kept, ("content-type", "application/problem+json"))


def _too_large(code: Code, where: str, most: int) -> Problem:
    detail = f"more than the {most} bytes that service and agreement take"
    return Problem(code, where=where, detail=detail, facts={"limit_bytes": most})


def _problem_details(body: Body) -> bytes:
    """The members of RFC 9457 in an error of the backend; empty ones when it is none."""
    try:
        document = orjson.loads(body) if isinstance(body, bytes) else None
    except orjson.JSONDecodeError:
        document = None
    members = document if isinstance(document, dict) else {}
    return orjson.dumps(
        {
            name: value
            for name, value in members.items()
            if name in _OF_A_PROBLEM and isinstance(value, str | int)
        }
    )
