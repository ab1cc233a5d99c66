"""The provider's side, top to bottom: *open* → *record* → *allow* → *check* → *claim* → *deliver*,
then *check* → *minimise* → *seal* → *record* the answer.

Each step takes the value of the step before (mediator/message/stages.py): the backend is never
asked before the message is opened, recorded and allowed, and no answer leaves before it is
recorded. A message of an unsafe method is claimed before the backend is asked, and what came of it
ends the claim: its repeats get the recorded outcome (:mod:`mediator.once`).

The rules of a step stand in a module of their own: what is checked
(:mod:`mediator.provider.checks`), what reaches the backend (:mod:`mediator.provider.delivery`),
what leaves (:mod:`mediator.provider.release`), what is signed (:mod:`mediator.provider.sealing`).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

import structlog

from exchange.identifiers import ServiceId
from exchange.messages.digest import check_content_digest
from exchange.messages.envelope import open_request
from exchange.messages.heads import SAFE_METHODS
from exchange.once_only.evidence_requests import HEADER as BASIS
from exchange.problems import Code, Problem
from exchange.trust.state import RegistryState
from mediator import xroad
from mediator.agreements.pinned import PinnedAgreements
from mediator.agreements.quota import QuotaBook, did_not_happen
from mediator.agreements.terms import KnownTerms, Terms
from mediator.auditing.service import Auditing
from mediator.background.revocation import Statuses
from mediator.message.counting import Counting
from mediator.message.places import Held, Places
from mediator.message.records import Recorder
from mediator.message.signers import signer_of
from mediator.message.stages import (
    Allowed,
    Checked,
    Delivered,
    Found,
    Judged,
    OpenedCall,
    Received,
    RecordedOpening,
    RecordedReply,
    SealedReply,
)
from mediator.message.turns import Turns
from mediator.once.book import OnceBook
from mediator.once.claims import not_booked, not_kept
from mediator.once.outcomes import of_reply, problem_of
from mediator.once.vault import Answer
from mediator.once.writer import Claim
from mediator.pages import metaservices
from mediator.provider import delivery
from mediator.provider.checks import Checks
from mediator.provider.maintenance import Maintenance
from mediator.provider.offers import OfferedService
from mediator.provider.release import Releases, check_selection
from mediator.provider.replay import ReplayMemory
from mediator.provider.sealing import Sealer
from mediator.provider.trying import Trying
from serving import replies
from serving.backends import NotDelivered
from serving.bodies import IN_MEMORY_BYTES, Body, Spooled, sha256_of
from serving.clock import Clock

log = structlog.get_logger("mediator.provider.path")

CLAIM_MARGIN_S: Final = 10.0
"""Between the end of the backend's time and that of a claim: reading, checking, recording."""


@dataclass(slots=True)
class Course:
    """How far a message came: what its last record says beside the answer."""

    checked: Checked | None = None
    claim: Claim | None = None
    repeated: bool = False
    stopped: Problem | None = None

    @property
    def agreement(self) -> str:
        """The reference of the agreement that allowed it; empty without one."""
        return self.checked.allowed.agreement.reference if self.checked else ""

    @property
    def endpoint(self) -> str:
        """The template of the endpoint that was asked; empty when none was found."""
        return self.checked.allowed.match.operation.template if self.checked else ""


@dataclass(frozen=True, slots=True)
class Provider:
    """What the steps need; built once by mediator/server.py."""

    address: str
    state: Callable[[], RegistryState]
    statuses: Statuses
    sealer: Sealer
    services: Mapping[ServiceId, OfferedService]
    agreements: PinnedAgreements
    maintenance: Maintenance
    quotas: QuotaBook
    replays: ReplayMemory
    once: OnceBook
    recorder: Recorder
    checks: Checks
    releases: Releases
    counting: Counting
    clock: Clock
    turns: Turns
    max_url_bytes: int
    places: Places
    terms: KnownTerms = field(default_factory=KnownTerms)
    shown: metaservices.Shown = field(default_factory=metaservices.Shown)

    async def exchange(self, received: Received) -> RecordedReply:
        """Answer a message of another server; refusals are signed and recorded answers too.

        Raises:
            Problem: where no signed answer can be given: the message could not be opened (then
                its refusal is recorded), or the journal cannot be written.
        """
        await self.turns.next()
        call = await self.opened(received)
        recorded = await self.recorder.opening(call)
        course = Course()
        try:
            sealed = await self.answer(recorded, course)
        except Problem as problem:
            course.stopped, sealed = problem, self.sealer.problem(recorded, problem)
        except Exception:
            # A fault of ours, or of an adapter: the caller gets a signed answer all the same.
            log.exception("message_failed", trace=call.request_id)
            course.stopped = replies.internal()
            sealed = self.sealer.problem(recorded, course.stopped)
        except BaseException:
            if course.claim is not None:
                self.once.lose(course.claim)
            raise
        return await self.record(recorded, sealed, course)

    async def answer(self, recorded: RecordedOpening, course: Course) -> SealedReply:
        """Act upon a recorded message; ``course`` says how far that came.

        Raises:
            Problem: what stops it, at any step.
        """
        if recorded.call.refusal is not None:
            raise recorded.call.refusal
        self.maintenance.check()
        if metaservices.is_asked(recorded.call.service, recorded.call.received.head.method):
            return await self.tell(recorded)
        course.checked = checked = await self.check(self.allow(recorded))
        terms, now = checked.allowed.terms, self.clock.unix()
        with self.places.holder() as held:
            self.admit(terms, held, now)
            try:
                found = await self.claim(checked)
                if isinstance(found, Answer):
                    course.stopped, course.repeated = problem_of(found), True
                    return await self.repeat(checked, found)
                course.claim = found
                delivered = await self.deliver(checked)
                judged = await self.judge(delivered)
                released = await self.releases.cut(judged)
                self.counting.note(judged)
                return self.sealer.released(recorded, released)
            except Problem as problem:
                if did_not_happen(problem):
                    self.quotas.give_back(terms.rates, now)
                raise
            finally:
                self.quotas.settle(terms.rates, now)

    def trying(self) -> Trying:
        """Dry runs over the same values."""
        return Trying(
            self.state,
            self.services,
            self.agreements,
            self.releases,
            self.quotas,
            self.terms,
            self.clock,
        )

    # --- open ------------------------------------------------------------------------------------

    async def opened(self, received: Received) -> OpenedCall:
        """Open a message, its long body included; a refusal is recorded.

        Raises:
            Problem: what does not hold.
        """
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
        return call

    def open(self, received: Received) -> OpenedCall:
        """Prove a message: signature, certificate, sender, freshness, digest, first time seen.

        Raises:
            Problem: what does not hold.
        """
        head = received.head
        state = self.state()
        service, path, query = xroad.service_of(received.target, self.max_url_bytes)
        client = xroad.client_of(head.headers)
        if not self.sealer.hosts(service.member):
            raise Problem(
                Code.UNKNOWN_MEMBER,
                where="path",
                detail=f"{service.member} is not hosted by this security server",
            )
        now = self.clock.now()
        find_key = signer_of(state, client.member, now, self.statuses)
        opened = open_request(head, find_key, now=int(now.timestamp()))
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
            repeats=xroad.REPEAT in own,
            subject=xroad.subject_of(own),
            basis=own.get(BASIS, ""),
            at=now,
        )

    async def take_in(
        self, call: OpenedCall, coming: Callable[[int], Awaitable[Body]]
    ) -> OpenedCall:
        """Take the long body of a message whose head is proven, and fresh when it came.

        What is refused whatever the body says is refused before that is taken, and a body that is
        longer than service and agreement take as soon as that is known. The message is recorded
        then without its body, and the refusal signed, like any other.

        Raises:
            Problem: the body does not come, or is another one; it may come again.
        """
        received, opened = call.received, call.opened
        try:
            most = self._longest(call)
        except Problem as problem:
            return call._replace(refusal=problem)
        try:
            body = await coming(most)
            stated = xroad.first(received.head.headers, "content-digest")
            check_content_digest(stated, sha256_of(body))
        except Problem as problem:
            if problem.code is Code.PAYLOAD_TOO_LARGE:
                return call._replace(refusal=problem)
            self.replays.forget(opened.keyid, opened.nonce)
            raise
        # A long one may take longer than a message is fresh: then the entry says when it was there.
        at = None if isinstance(body, Spooled) else call.at
        return call._replace(received=received._replace(body=body, coming=None), at=at)

    def _longest(self, call: OpenedCall) -> int:
        self.maintenance.check()
        if metaservices.is_asked(call.service, call.received.head.method):
            return IN_MEMORY_BYTES
        return self.find(call).terms.request_max_bytes

    async def tell(self, recorded: RecordedOpening) -> SealedReply:
        """Answer a metaservice: what this server offers of an application, and to whom.

        Raises:
            Problem: ``UnknownApplication`` when no server of this address speaks for the
                application, or what :func:`mediator.pages.metaservices.answer` says.
        """
        call, state, now = recorded.call, self.state(), self.clock.now()
        state.application(call.service.application)
        answer = await metaservices.answer(
            call.service,
            call.query,
            xroad.first(call.received.head.headers, "accept"),
            self.services.values(),
            lambda service: metaservices.registered_type(state, service),
            lambda service, method, path: bool(
                self.agreements.own.opening(call.client, service, method, path, now)
            ),
            self.shown,
        )
        return self.sealer.reply(recorded, 200, answer.headers, answer.body)

    # --- allow, check, claim ---------------------------------------------------------------------

    def allow(self, recorded: RecordedOpening) -> Allowed:
        """Find the endpoint and the agreement that opens it, for a message that is recorded.

        Raises:
            Problem: as :meth:`find`.
        """
        return Allowed(recorded, *self.find(recorded.call))

    def find(self, call: OpenedCall) -> Found:
        """Find the endpoint and the agreement that opens it; the head alone says which.

        Raises:
            Problem: ``UnknownService``, ``ServiceDisabled`` (also when the agreement opens some
                records and the backend would not know which), ``DisabledByRegistry``,
                ``UnknownEndpoint``, or what the agreements say.
        """
        self.state().standing.check(call.service)
        offered = self.services.get(call.service)
        if offered is None:
            raise Problem(
                Code.UNKNOWN_SERVICE, where="path", detail=f"{call.service} is not offered here"
            )
        offered.check()
        method = call.received.head.method
        match = offered.contract.find(method, call.path)
        agreement, grant = self.agreements.own.allow(
            call.client,
            call.service,
            method,
            match.operation.template,
            call.purpose or None,
            call.agreement,
            self.clock.now(),
            has_subject=bool(call.subject),
            basis=call.basis,
        )
        if grant.rows and not offered.narrows:
            raise delivery.not_narrowed(agreement)
        return Found(agreement, grant, match, self.terms.of(agreement, offered.terms))

    async def check(self, allowed: Allowed) -> Checked:
        """Check the request: its length, what it asks to be released, its contract.

        Raises:
            Problem: ``PayloadTooLarge``, ``FieldNotReleased`` (of a field, or an entity tag of
                the whole), what the contract says, or ``OutcomeUnknown`` when the request may
                have been carried out before, and no book says whether.
        """
        call = allowed.recorded.call
        received, most = call.received, allowed.terms.request_max_bytes
        if len(received.body) > most:
            raise _too_large(Code.PAYLOAD_TOO_LARGE, "body", most)
        projection = self.releases.of(allowed)
        if not projection.everything:
            delivery.check_tags(received.head.method, received.head.headers)
        check_selection(allowed, projection)
        offered = self.services[call.service]
        await self.checks.request(allowed, offered)
        unsafe = received.head.method not in SAFE_METHODS
        if call.repeats and unsafe and not (offered.exactly_once or offered.remembers):
            raise not_booked()
        return Checked(allowed)

    def admit(self, terms: Terms, held: Held, now: float) -> None:
        """Take the places of an exchange, and one call of its rates.

        Raises:
            Problem: ``QuotaExceeded`` where the caller has its share, ``ServerOverloaded`` where
                the service has all that it takes; nothing is used up then.
        """
        for bound in terms.places:
            held.take(bound)
        self.quotas.spend(terms.rates, now, self.clock.monotonic())

    async def claim(self, checked: Checked) -> Claim | Answer | None:
        """Claim a message whose method is unsafe, or find what came of it before.

        None where there is nothing to claim: for safe methods, for services without a book, and for
        backends that remember messages themselves.

        The last step that may refuse: what stops a claimed message later is remembered as its
        outcome, unless it is :class:`serving.backends.NotDelivered`.

        Raises:
            Problem: what :meth:`mediator.once.book.OnceBook.claim` says; ``AnswerNotKept`` when
                the recorded answer was cut down to the fields of another agreement.
        """
        allowed = checked.allowed
        call = allowed.recorded.call
        head, offered = call.received.head, self.services[call.service]
        if head.method in SAFE_METHODS or not offered.exactly_once or offered.remembers:
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

    async def repeat(self, checked: Checked, answer: Answer) -> SealedReply:
        """Sign a recorded outcome anew, bound to this request.

        An answer is cut once more: the parties may have put another text of the agreement, which
        releases less, in the place of the one under which it was recorded.
        """
        recorded = checked.allowed.recorded
        if answer.problem:
            return self.sealer.outcome(recorded, answer)
        delivered = Delivered(checked, answer.status, answer.headers, answer.body or b"")
        released = await self.releases.cut(Judged(delivered, None))
        return self.sealer.released(recorded, released)

    # --- deliver, check --------------------------------------------------------------------------

    async def deliver(self, checked: Checked) -> Delivered:
        """Ask the backend.

        Raises:
            Problem: what the backend did wrong.
        """
        allowed = checked.allowed
        call, terms = allowed.recorded.call, allowed.terms
        offered = self.services[call.service]
        request = delivery.backend_request(
            allowed, offered, not self.releases.of(allowed).everything
        )
        if isinstance(offered.backend, Auditing):
            answer = await offered.backend.answer(allowed)
        else:
            answer = await offered.backend.exchange(
                request,
                timeout_s=terms.exchange_s,
                first_byte_s=terms.first_byte_s,
                connect_s=terms.connect_s,
            )
        await self.turns.next()
        delivery.check_part(answer.status, request.headers)
        body, room = answer.body, request.room
        if len(body) > terms.answer_max_bytes:
            raise _too_large(Code.RESPONSE_TOO_LARGE, "backend answer", terms.answer_max_bytes)
        if len(body) > IN_MEMORY_BYTES and isinstance(body, bytes) and room is not None:
            body = await room.take(body)  # an adapter makes its answers in memory
        return Delivered(checked, answer.status, answer.headers, body)

    async def judge(self, delivered: Delivered) -> Judged:
        """Check the backend's answer against the contract.

        Raises:
            Problem: what the contract says.
        """
        offered = self.services[delivered.checked.allowed.recorded.call.service]
        return Judged(delivered, await self.checks.answer(delivered, offered))

    # --- record ----------------------------------------------------------------------------------

    async def record(
        self, recorded: RecordedOpening, sealed: SealedReply, course: Course
    ) -> RecordedReply:
        """Record the answer before it is sent, and end the claim: what came of it is known now.

        Raises:
            Problem: the journal cannot be written.
        """
        claim, stopped = course.claim, course.stopped
        if claim is not None and isinstance(stopped, NotDelivered):
            await self.once.release(claim)
            claim = None
        try:
            return await self.recorder.reply(
                recorded,
                sealed,
                stopped,
                course.agreement,
                course.endpoint,
                claimed=claim is not None,
                repeated=course.repeated,
            )
        finally:
            if claim is not None:
                # It was carried out, whether this server can record that or not.
                self.once.done(claim, of_reply(sealed, stopped, course.agreement))


def _too_large(code: Code, where: str, most: int) -> Problem:
    detail = f"more than the {most} bytes that service and agreement take"
    return Problem(code, where=where, detail=detail, facts={"limit_bytes": most})
