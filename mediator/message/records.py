"""What is recorded at each step: from the stages of a message to entries of the journal.

Every method returns only when its entry is durable; those that let a message go on return the
stage that proves it. The entry of a signed message says the time by which that was signed, or
judged to be fresh: so it can be held against what was signed. A refusal is an entry too: what came
in, why it was stopped, and, as far as there was one, the message itself in the sealed part.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable
from dataclasses import dataclass, field
from datetime import datetime

from exchange.evidence.revocation import Finding, Status
from exchange.identifiers import ApplicationId, MemberId, ServerId, ServiceId
from exchange.journal.entries import REPEATED, STATISTICS, Entry, Kind, Side, Statistics
from exchange.journal.sealed_parts import Head, SealedPart
from exchange.journal.subjects import normal_subject
from exchange.messages.envelope import Opened, RequestHead, ResponseHead, Signed
from exchange.messages.error_types import code_named
from exchange.problems import Code, Problem
from mediator.administration.metrics import Metrics
from mediator.journal.evidence import EVENT
from mediator.journal.log import Journal, Receipt
from mediator.message.stages import (
    Answered,
    Call,
    OpenedAnswer,
    OpenedCall,
    Received,
    RecordedCall,
    RecordedOpening,
    RecordedReply,
    SealedCall,
    SealedReply,
)
from mediator.retention.classes import Retentions
from mediator.xroad import client_named, id_named, service_named, subject_named
from serving.backends import Headers
from serving.bodies import Body, Spooled
from serving.clock import Clock
from serving.randomness import random_bytes

SALT_SIZE = 16
DECISION = "evidence decided"
_MAX_TEXT = 200
# A code of another server, which need not be one of ours.
_CODE = re.compile(r"[A-Za-z]{1,64}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Recorder:
    """Writes the journal for one server; ``body_max_bytes`` bounds the bodies that are kept.

    A longer body is represented by its digest, which the signature base holds.
    """

    journal: Journal
    server: ServerId
    clock: Clock
    metrics: Metrics
    body_max_bytes: int
    retentions: Retentions = field(default_factory=Retentions)

    # --- the consumer's side -----------------------------------------------------------------

    async def call(self, sealed: SealedCall) -> RecordedCall:
        """A call, before it is sent."""
        call = sealed.routed.call
        receipt = await self._write(
            self._of_call(
                call,
                Kind.REQUEST,
                peer=sealed.server.id,
                endpoint=sealed.routed.endpoint,
                size=len(call.body),
                nonce=sealed.nonce,
                at=sealed.at,
            ),
            call.client.member,
            self._request_part(sealed.head, call.target, sealed.signed, call.body),
            call.subject,
        )
        return RecordedCall(sealed, receipt)

    async def answer(self, opened: OpenedAnswer) -> Receipt:
        """A proven answer, before the application gets it."""
        answered = opened.answered
        sealed = answered.recorded.sealed
        call = sealed.routed.call
        return await self._write(
            self._of_call(
                call,
                Kind.RESPONSE,
                peer=sealed.server.id,
                endpoint=sealed.routed.endpoint,
                size=len(answered.body),
                status=answered.head.status,
                certificate=opened.opened.keyid,
                problem=_reported(answered.head),
                at=opened.at,
            ),
            call.client.member,
            self._response_part(answered.head, opened.opened, answered.body),
            call.subject,
        )

    async def refused_request(
        self,
        problem: Problem,
        method: str,
        target: str,
        headers: Headers,
        client: ApplicationId | None,
        request_id: str,
    ) -> None:
        """A request of an application that did not become a call."""
        await self._refused(
            Side.CONSUMER, problem, method, target, headers, client, request_id=request_id
        )

    async def refused_call(self, call: Call, problem: Problem) -> None:
        """A call that was stopped before it was sealed."""
        await self._write(
            self._of_call(call, Kind.REFUSAL, problem=problem, size=len(call.body)),
            call.client.member,
            self._part(Head(call.headers, call.method, call.target), call.body),
            call.subject,
        )

    async def failed_call(
        self, recorded: RecordedCall, problem: Problem, answered: Answered | None
    ) -> None:
        """A recorded call that brought no proven answer."""
        sealed = recorded.sealed
        part = None
        if answered is not None:
            head = answered.head
            part = self._part(Head(head.headers, status=head.status), answered.body)
        await self._write(
            self._of_call(
                sealed.routed.call,
                Kind.FAILURE,
                peer=sealed.server.id,
                endpoint=sealed.routed.endpoint,
                problem=problem,
            ),
            sealed.routed.call.client.member,
            part,
            sealed.routed.call.subject,
        )

    # --- the provider's side -----------------------------------------------------------------

    async def opening(self, call: OpenedCall) -> RecordedOpening:
        """A proven message, before it is acted upon."""
        received = call.received
        size = len(received.body) if call.refusal is None else None  # it was not taken
        receipt = await self._write(
            self._of_message(call, Kind.REQUEST, size=size, nonce=call.opened.nonce, at=call.at),
            call.service.member,
            self._request_part(received.head, received.target, call.opened, received.body),
            call.subject,
        )
        return RecordedOpening(call, receipt)

    async def reply(
        self,
        recorded: RecordedOpening,
        sealed: SealedReply,
        problem: Problem | None,
        agreement: str,
        endpoint: str,
        *,
        claimed: bool = False,
        repeated: bool = False,
    ) -> RecordedReply:
        """A signed answer or refusal, before it is sent.

        Args:
            claimed: it says what came of a claimed message; the nonce in the entry says of which
                (:mod:`mediator.once.recovery`).
            repeated: it was recorded before, and is given again.
        """
        call = recorded.call
        receipt = await self._write(
            self._of_message(
                call,
                Kind.RESPONSE if problem is None else Kind.REFUSAL,
                size=len(sealed.body),
                status=sealed.head.status,
                problem=problem,
                agreement=agreement,
                endpoint=endpoint,
                nonce=call.opened.nonce if claimed else None,
                event=REPEATED if repeated else None,
                at=sealed.at,
            ),
            sealed.member,
            self._response_part(sealed.head, sealed.signed, sealed.body),
            call.subject,
        )
        return RecordedReply(sealed, receipt)

    async def refused_message(self, received: Received, problem: Problem) -> None:
        """A message of another server that could not be opened."""
        head = received.head
        await self._refused(
            Side.PROVIDER,
            problem,
            head.method,
            received.target,
            head.headers,
            client_named(head.headers),
            peer=received.peer,
            body=received.body,
        )

    async def refused_link(
        self, problem: Problem, method: str, target: str, headers: Headers
    ) -> None:
        """A message on the link that was refused before its sender was known."""
        await self._refused(Side.PROVIDER, problem, method, target, headers, client_named(headers))

    # --- neither side ------------------------------------------------------------------------

    async def event(
        self,
        event: str,
        problem: Problem | None = None,
        *,
        client: ApplicationId | None = None,
        message_id: str = "",
        refusals: int | None = None,
        evidence: str | None = None,
    ) -> int:
        """Something about the server itself: started, stopped, a handshake that failed.

        Returns the index of its entry.

        Args:
            client, message_id: whom and which exchange it is about, if any.
            refusals: of how many refusals alike the entry tells.
            evidence: the hex SHA-256 of a document that is kept beside the log.
        """
        receipt = await self._write(
            Entry(
                kind=Kind.SYSTEM if problem is None else Kind.REFUSAL,
                side=Side.SERVER,
                at=self.clock.now(),
                id=message_id or None,
                client=client,
                event=event,
                problem=problem.code.value if problem else None,
                where=problem.where[:_MAX_TEXT] if problem else None,
                refusals=refusals,
                evidence=evidence,
            ),
            self.server.member,
            None,
        )
        return receipt.index

    async def revoked_agreement(self, digest: str) -> int:
        """A revocation of an agreement came; its file, of this SHA-256, lies beside it."""
        return await self.event("agreement revoked", evidence=digest)

    async def order(self, event: str, text: bytes) -> int:
        """An order of the administration, whose text is sealed; returns the index of its entry."""
        receipt = await self._write(
            Entry(kind=Kind.SYSTEM, side=Side.SERVER, at=self.clock.now(), event=event),
            self.server.member,
            self._part(Head(), text),
        )
        return receipt.index

    async def decision(
        self, client: ApplicationId, identifier: str, purpose: str, subject: str, text: bytes
    ) -> int:
        """What a person said to a preview of evidence, whose text is sealed; returns its index."""
        receipt = await self._write(
            Entry(
                kind=Kind.SYSTEM,
                side=Side.SERVER,
                at=self.clock.now(),
                id=identifier,
                client=client,
                purpose=purpose,
                event=DECISION,
            ),
            client.member,
            self._part(Head(), text),
            normal_subject(subject),
        )
        return receipt.index

    async def status(self, finding: Finding) -> Receipt:
        """What an authority said of a certificate; the entry commits to what is kept of it."""
        revoked = finding.status is Status.REVOKED
        return await self.journal.record(
            Entry(
                kind=Kind.SYSTEM,
                side=Side.SERVER,
                at=self.clock.now(),
                certificate=finding.certificate,
                event=EVENT,
                evidence=finding.digest,
                problem=Code.CERTIFICATE_REVOKED.value if revoked else None,
            ),
            self.server.member,
            None,
        )

    async def counted(self, service: ServiceId, purpose: str, statistics: Statistics) -> None:
        """What was counted in answers of a service (:mod:`mediator.message.counting`)."""
        await self.journal.record(
            Entry(
                kind=Kind.SYSTEM,
                side=Side.SERVER,
                at=self.clock.now(),
                service=service,
                purpose=purpose or None,
                event=STATISTICS,
                statistics=statistics,
            ),
            self.server.member,
            None,
        )

    def reported(self, problem: Problem) -> None:
        """Count a broken contract that the service lets through."""
        self.metrics.reported(problem)

    # --- entries and sealed parts ------------------------------------------------------------

    def _write(
        self, entry: Entry, member: MemberId, part: SealedPart | None = None, subject: str = ""
    ) -> Awaitable[Receipt]:
        """Record an entry, and as much beside it as is kept."""
        kept = self.retentions.of(entry)
        return self.journal.record(entry, member, kept.of(part), subject, kept.days)

    async def _refused(
        self,
        side: Side,
        problem: Problem,
        method: str,
        target: str,
        headers: Headers,
        client: ApplicationId | None,
        *,
        request_id: str = "",
        peer: ServerId | None = None,
        body: Body = b"",
    ) -> None:
        await self._write(
            Entry(
                kind=Kind.REFUSAL,
                side=side,
                at=self.clock.now(),
                id=id_named(headers, "x-road-id") or None,
                request_id=request_id or id_named(headers, "x-road-request-id") or None,
                client=client,
                service=service_named(target),
                peer=peer,
                method=_short(method),
                status=problem.status,
                problem=problem.code.value,
                where=_short(problem.where),
            ),
            self.server.member,
            self._part(Head(headers, method, target), body),
            subject_named(headers),
        )

    def _of_call(
        self,
        call: Call,
        kind: Kind,
        *,
        peer: ServerId | None = None,
        endpoint: str = "",
        size: int | None = None,
        status: int | None = None,
        certificate: str | None = None,
        nonce: str | None = None,
        problem: Problem | str | None = None,
        at: datetime | None = None,
    ) -> Entry:
        code, where, problem_status = _problem(problem)
        return Entry(
            kind=kind,
            side=Side.CONSUMER,
            at=at or self.clock.now(),
            id=call.message_id,
            request_id=call.request_id,
            trace=call.trace or None,
            client=call.client,
            service=call.service,
            peer=peer,
            method=call.method,
            endpoint=endpoint or None,
            status=status if status is not None else problem_status,
            problem=code,
            where=where,
            size=size,
            certificate=certificate,
            agreement=call.agreement or None,
            purpose=call.purpose or None,
            nonce=nonce,
        )

    def _of_message(
        self,
        call: OpenedCall,
        kind: Kind,
        *,
        size: int | None,
        status: int | None = None,
        nonce: str | None = None,
        problem: Problem | None = None,
        agreement: str = "",
        endpoint: str = "",
        event: str | None = None,
        at: datetime | None = None,
    ) -> Entry:
        code, where, _ = _problem(problem)
        return Entry(
            kind=kind,
            side=Side.PROVIDER,
            at=at or self.clock.now(),
            id=call.message_id or None,
            request_id=call.request_id or None,
            trace=call.trace or None,
            client=call.client,
            service=call.service,
            peer=call.received.peer,
            method=call.received.head.method,
            endpoint=endpoint or None,
            status=status,
            problem=code,
            where=where,
            size=size,
            certificate=call.opened.keyid,
            agreement=agreement or None,
            purpose=call.purpose or None,
            nonce=nonce,
            event=event,
        )

    def _request_part(
        self, head: RequestHead, target: str, signed: Signed | Opened, body: Body
    ) -> SealedPart:
        return self._part(
            Head(head.headers, head.method, target), body, signed.base, signed.signature
        )

    def _response_part(self, head: ResponseHead, signed: Signed | Opened, body: Body) -> SealedPart:
        return self._part(
            Head(head.headers, status=head.status), body, signed.base, signed.signature
        )

    def _part(
        self, head: Head, body: Body, base: bytes = b"", signature: bytes = b""
    ) -> SealedPart:
        kept = b"" if isinstance(body, Spooled) or len(body) > self.body_max_bytes else body
        return SealedPart(base, signature, head, kept, random_bytes(SALT_SIZE))


def _problem(problem: Problem | str | None) -> tuple[str | None, str | None, int | None]:
    if problem is None:
        return None, None, None
    if isinstance(problem, str):
        return problem, None, None
    return problem.code.value, _short(problem.where), problem.status


def _reported(head: ResponseHead) -> str | None:
    """The code of the other side's signed refusal, if the answer is one."""
    for name, value in head.headers:
        if name == "x-road-error":
            code = code_named(value)
            return code if _CODE.fullmatch(code) else Code.PEER_NONSENSE.value
    return None


def _short(text: str) -> str | None:
    """Text from outside, as it may stand in an entry."""
    return text[:_MAX_TEXT].encode("ascii", "replace").decode("ascii") or None
