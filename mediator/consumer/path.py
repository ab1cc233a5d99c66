"""The consumer's side, top to bottom: *find* the provider's servers, then at one of them after the
other *seal* → *record* → *send* → *open* → *record*, until one has answered.

Each step takes the value of the step before (mediator/message/stages.py), so nothing is sent that
is not recorded and nothing is answered that is not opened and recorded.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

import structlog

from exchange.identifiers import MemberId
from exchange.keys import SigningKey
from exchange.messages.digest import check_content_digest, format_content_digest
from exchange.messages.envelope import RequestHead, open_response, seal_request
from exchange.problems import Code, Problem
from exchange.registrations import AUDITING, ServerRecord
from exchange.trust.state import RegistryState
from mediator.background.revocation import Statuses
from mediator.consumer.attempts import Attempts, Fate, Missed, Trying
from mediator.consumer.contracts import ContractCache
from mediator.consumer.link import Link
from mediator.consumer.refusals import field, not_done, unsigned
from mediator.message import long_bodies
from mediator.message.records import Recorder
from mediator.message.signers import signer_of
from mediator.message.stages import (
    NO_NOTICES,
    Answered,
    Call,
    Notices,
    OpenedAnswer,
    RecordedCall,
    Routed,
    SealedCall,
)
from mediator.message.turns import Turns
from mediator.pages import metaservices
from mediator.xroad import REPEAT
from serving import replies
from serving.bodies import Spooled, sha256_of
from serving.clock import Clock
from serving.randomness import random_token
from serving.requests import Reply

SIGNATURE_LIFETIME_S = 60
log = structlog.get_logger("mediator.consumer.path")

# Fields of the link that mean nothing to the application.
_NOT_ANSWERED = frozenset({"content-digest", "signature", "signature-input", "x-road-request-hash"})


@dataclass(frozen=True, slots=True)
class Consumer:
    """What the steps need; built once by mediator/server.py."""

    state: Callable[[], RegistryState]
    statuses: Statuses
    contracts: ContractCache
    seal_keys: Mapping[MemberId, SigningKey]
    recorder: Recorder
    link: Link
    trying: Trying
    clock: Clock
    turns: Turns
    checked_max_bytes: int = long_bodies.CHECKED_MAX_BYTES

    async def exchange(self, call: Call) -> Reply:
        """Make the call and return what the application gets.

        Raises:
            Problem: whatever stopped it; it is recorded already, except ``LoggingFailed``.
        """
        routed = await self._routed(call)
        return reply_of(await self.ask(routed), routed.notices)

    async def opened(self, call: Call, within_s: float | None = None) -> OpenedAnswer:
        """Make the call and return its proven answer; ``within_s`` is the caller's own bound.

        Raises:
            Problem: as :meth:`exchange`.
        """
        return await self.ask(await self._routed(call), within_s)

    async def _routed(self, call: Call) -> Routed:
        await self.turns.next()
        try:
            return await self.find(call)
        except Exception as error:
            raise await self._refused(call, error) from None

    async def find(self, call: Call) -> Routed:
        """The provider's servers and the endpoint.

        Raises:
            Problem: ``OutdatedGlobalConf``, ``DisabledByRegistry``, ``MemberMerged``,
                ``UnknownMember``, ``UnknownApplication``,
                ``UnknownService``, ``InvalidSecurityServer``, ``UnknownEndpoint``, or what the
                contract says of the request.
        """
        state = self.state()
        state.standing.check(call.client)
        state.provider_of(call.service)
        audits = call.service.application_code == AUDITING
        asks_server = audits or metaservices.is_asked(call.service, call.method)
        if not audits:
            state.application(call.service.application)
        if not asks_server:
            state.service(call.service)
        servers = list(
            state.servers_for(call.service.member)
            if audits
            else state.servers_of(call.service.application)
        )
        if call.wanted_server is not None:
            servers = [server for server in servers if server.id == call.wanted_server]
            if not servers:
                raise Problem(
                    Code.UNKNOWN_SERVER,
                    where="X-Road-Security-Server",
                    detail=f"{call.wanted_server} does not host {call.service.application}",
                )
        if not servers:
            raise Problem(
                Code.UNKNOWN_SERVER,
                where="path",
                detail=f"no security server hosts {call.service.application}",
            )
        endpoint, notices = "", NO_NOTICES
        contract = None if asks_server else await self.contracts.get(state, call.service)
        if contract is not None:
            match = contract.find(call.method, call.path)
            endpoint = match.operation.template
            notices = match.operation.notices
            check = partial(match.operation.check_request, match, call.query, call.headers)
            if isinstance(call.body, Spooled):
                reads = match.operation.reads_request(call.headers)
                await long_bodies.judge(
                    call.body, reads, check, self.checked_max_bytes, Code.PAYLOAD_TOO_LARGE
                )
            else:
                check(call.body)
        return Routed(call, tuple(servers), endpoint, notices)

    async def ask(self, routed: Routed, within_s: float | None = None) -> OpenedAnswer:
        """Attempt the call at one server of the provider after the other, until one answers.

        Raises:
            Problem: as :meth:`attempt`, or what all servers said, when none of them answered.
        """
        exchange_s = self.link.exchange_s(routed.call.service)
        if within_s is not None:
            exchange_s = min(exchange_s, within_s)
        attempts = Attempts(routed, self.trying, exchange_s)
        while True:
            try:
                visit = await attempts.next()
            except Problem as problem:
                if attempts.refusal is not None:
                    return attempts.refusal
                if not attempts.begun:
                    await self.recorder.refused_call(routed.call, problem)
                raise
            try:
                opened = await self.attempt(
                    routed, visit.server, attempts.left_s, repeats=attempts.repeats
                )
            except Missed as missed:
                attempts.missed(visit, missed)
            except BaseException:
                attempts.left(visit)
                raise
            else:
                attempts.answered(visit)
                return opened

    async def attempt(
        self, routed: Routed, server: ServerRecord, timeout_s: float, *, repeats: bool
    ) -> OpenedAnswer:
        """Seal → record → send → open → record, once. What fails is recorded too.

        Raises:
            Missed: the server did not do it; another attempt may be made.
            Problem: no other attempt would help.
        """
        try:
            sealed = self.seal(routed, server, repeats=repeats)
        except Exception as error:
            raise await self._refused(routed.call, error) from None
        recorded = await self.recorder.call(sealed)
        answered = None
        try:
            answered = await self.link.send(recorded, timeout_s)
            await self.turns.next()
            opened = self.open(answered)
        except Missed as missed:
            await self.recorder.failed_call(recorded, missed.problem, answered)
            raise
        except Exception as error:
            raise await self._failed(recorded, error, answered) from None
        await self.recorder.answer(opened)
        if (refusal := not_done(answered)) is not None:
            raise Missed(refusal, Fate.REFUSED, refusal=opened)
        return opened

    async def _refused(self, call: Call, error: Exception) -> Problem:
        """Record what stopped a call before it was recorded."""
        problem = _problem_of(error, call)
        await self.recorder.refused_call(call, problem)
        return problem

    async def _failed(
        self, recorded: RecordedCall, error: Exception, answered: Answered | None
    ) -> Problem:
        """Record what ended a recorded call."""
        problem = _problem_of(error, recorded.sealed.routed.call)
        await self.recorder.failed_call(recorded, problem, answered)
        return problem

    def seal(self, routed: Routed, server: ServerRecord, *, repeats: bool) -> SealedCall:
        """Sign the call for one server (RFC 9421).

        A repeat of what may have been acted upon says so: a server that keeps no book of it must
        not act again.
        """
        call = routed.call
        headers = (
            *call.headers,
            ("x-road-client", str(call.client)),
            ("x-road-id", call.message_id),
            ("x-road-request-id", call.request_id),
            ("content-digest", format_content_digest(sha256_of(call.body))),
        )
        if repeats:
            headers = (*headers, (REPEAT, "?1"))
        head = RequestHead(call.method, server.address + call.target, headers)
        now = self.clock.now()
        created = int(now.timestamp())
        nonce = random_token()
        signed = seal_request(
            head,
            self.seal_keys[call.client.member],
            created=created,
            expires=created + SIGNATURE_LIFETIME_S,
            nonce=nonce,
        )
        sent = head.with_headers(signed.headers_to_add)
        return SealedCall(routed, server, sent, signed, nonce, now)

    def open(self, answered: Answered) -> OpenedAnswer:
        """Check signature, signer, binding to the request, and digest of an answer.

        Raises:
            Missed: the other server says, unsigned, that it did nothing with the message.
            Problem: what does not hold. Another unsigned error is passed on as
                ``PeerProtocolError`` with what it said in its facts.
        """
        sealed = answered.recorded.sealed
        provider = sealed.routed.call.service.member
        at = self.clock.now()
        find_key = signer_of(self.state(), provider, at, self.statuses)
        now = at.timestamp()
        if isinstance(answered.body, Spooled):
            now -= answered.body.took_s  # its head is judged by when it came
        try:
            opened = open_response(sealed.head, answered.head, find_key, now=int(now))
        except Problem as problem:
            if problem.code is Code.MISSING_SIGNATURE:
                if (refusal := not_done(answered)) is not None:
                    raise Missed(refusal, Fate.REFUSED) from problem
                raise unsigned(answered) from problem
            raise
        check_content_digest(field(answered, "content-digest"), sha256_of(answered.body))
        _check_names(answered, sealed.routed.call)
        return OpenedAnswer(answered, opened, at)


def reply_of(opened: OpenedAnswer, notices: Notices = NO_NOTICES) -> Reply:
    """The answer as the application gets it; ``notices`` only where it has none of its own."""
    answered = opened.answered
    fields = [field for field in answered.head.headers if field[0] not in _NOT_ANSWERED]
    if notices:
        told = {name for name, _ in fields}
        fields += [notice for notice in notices if notice[0] not in told]
    return Reply(answered.head.status, tuple(fields), answered.body)


def _check_names(answered: Answered, call: Call) -> None:
    """Check that an answer names its own request, where it names one: its record must not say
    other than what was signed.

    Raises:
        Problem: ``InconsistentResponse``.
    """
    names = {
        "x-road-client": str(call.client),
        "x-road-service": str(call.service),
        "x-road-request-id": call.request_id,
    }
    for name, value in answered.head.headers:
        if names.get(name, value) != value:
            raise Problem(
                Code.INCONSISTENT_RESPONSE,
                where=name,
                detail="the answer names another one than its request",
            )


def _problem_of(error: Exception, call: Call) -> Problem:
    """What the caller hears of an error: of a fault of ours nothing but that it was one."""
    if isinstance(error, Problem):
        return error
    log.error("call_failed", trace=call.request_id, exc_info=error)
    return replies.internal()
