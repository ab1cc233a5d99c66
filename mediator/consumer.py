"""The consumer's side, top to bottom: *find* the provider → *seal* → *record* → *send* → *open*.

Each step takes the value of the step before (mediator/stages.py), so nothing is sent that is not
recorded and nothing is answered that is not opened and recorded.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import orjson
import structlog

from exchange.digest import check_content_digest, format_content_digest
from exchange.envelope import RequestHead, open_response, seal_request
from exchange.identifiers import MemberId
from exchange.keys import SigningKey
from exchange.problems import Code, Problem, Side
from exchange.trust import RegistryState, ServerRecord
from mediator import metaservices
from mediator.contracts import ContractCache
from mediator.link import Link, NotConnected
from mediator.records import Recorder
from mediator.signers import signer_of
from mediator.stages import (
    Answered,
    Call,
    OpenedAnswer,
    RecordedCall,
    Routed,
    SealedCall,
)
from mediator.turns import Turns
from serving import replies
from serving.bodies import in_memory, sha256_of
from serving.clock import Clock
from serving.randomness import random_token
from serving.requests import Reply

SIGNATURE_LIFETIME_S = 60
log = structlog.get_logger("mediator.consumer")

# Fields of the link that mean nothing to the application.
_NOT_ANSWERED = frozenset({"content-digest", "signature", "signature-input", "x-road-request-hash"})


@dataclass(frozen=True, slots=True)
class Consumer:
    """What the steps need; built once by mediator/server.py."""

    state: Callable[[], RegistryState]
    contracts: ContractCache
    seal_keys: Mapping[MemberId, SigningKey]
    recorder: Recorder
    link: Link
    clock: Clock
    turns: Turns

    async def exchange(self, call: Call) -> Reply:
        """Make the call and return what the application gets.

        Raises:
            Problem: whatever stopped it; it is recorded already, except ``LoggingFailed``.
        """
        await self.turns.next()
        try:
            routed = await self.find(call)
        except Problem as problem:
            await self.recorder.refused_call(call, problem)
            raise
        except Exception as error:
            raise await self._refused(call, error) from error
        recorded, answered = await self.carry(routed)
        await self.turns.next()
        try:
            opened = self.open(answered)
        except Problem as problem:
            await self.recorder.failed_call(recorded, problem, answered)
            raise
        except Exception as error:
            raise await self._failed(recorded, error, answered) from error
        await self.recorder.answer(opened)
        return reply_of(opened)

    async def find(self, call: Call) -> Routed:
        """The provider's servers, in the order they are tried, and the endpoint.

        Raises:
            Problem: ``OutdatedGlobalConf``, ``UnknownMember``, ``UnknownApplication``,
                ``UnknownService``, ``InvalidSecurityServer``, ``UnknownEndpoint``, or what the
                contract says of the request.
        """
        state = self.state()
        state.member(call.service.member)
        state.application(call.service.application)
        asks_server = metaservices.is_asked(call.service, call.method)
        if not asks_server:
            state.service(call.service)
        servers = list(state.servers_of(call.service.application))
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
        if len(servers) > 1:
            random.shuffle(servers)
        endpoint = ""
        contract = None if asks_server else await self.contracts.get(state, call.service)
        if contract is not None:
            match = contract.find(call.method, call.path)
            endpoint = match.operation.template
            match.operation.check_request(match, call.query, call.headers, in_memory(call.body))
        return Routed(call, tuple(servers), endpoint)

    async def carry(self, routed: Routed) -> tuple[RecordedCall, Answered]:
        """Seal, record and send, to the next server where a connection could not be made."""
        last = Problem(Code.PEER_UNREACHABLE, where=str(routed.call.service))
        for server in routed.servers:
            try:
                sealed = self.seal(routed, server)
            except Problem as problem:
                await self.recorder.refused_call(routed.call, problem)
                raise
            except Exception as error:
                raise await self._refused(routed.call, error) from error
            recorded = await self.recorder.call(sealed)
            try:
                return recorded, await self.link.send(recorded)
            except NotConnected as failure:
                last = failure.problem
                await self.recorder.failed_call(recorded, last, None)
            except Problem as problem:
                await self.recorder.failed_call(recorded, problem, None)
                raise
            except Exception as error:
                raise await self._failed(recorded, error, None) from error
        raise last

    async def _refused(self, call: Call, error: Exception) -> Problem:
        """Record that a fault of our own stopped a call before it was recorded."""
        log.error("call_failed", trace=call.request_id, exc_info=error)
        problem = replies.internal()
        await self.recorder.refused_call(call, problem)
        return problem

    async def _failed(
        self, recorded: RecordedCall, error: Exception, answered: Answered | None
    ) -> Problem:
        """Record that a fault of our own ended a recorded call."""
        trace = recorded.sealed.routed.call.request_id
        log.error("call_failed", trace=trace, exc_info=error)
        problem = replies.internal()
        await self.recorder.failed_call(recorded, problem, answered)
        return problem

    def seal(self, routed: Routed, server: ServerRecord) -> SealedCall:
        """Sign the call for one server (RFC 9421)."""
        call = routed.call
        headers = (
            *call.headers,
            ("x-road-client", str(call.client)),
            ("x-road-id", call.message_id),
            ("x-road-request-id", call.request_id),
            ("content-digest", format_content_digest(sha256_of(call.body))),
        )
        head = RequestHead(call.method, server.address + call.target, headers)
        created = int(self.clock.unix())
        nonce = random_token()
        signed = seal_request(
            head,
            self.seal_keys[call.client.member],
            created=created,
            expires=created + SIGNATURE_LIFETIME_S,
            nonce=nonce,
        )
        sent = head.with_headers(signed.headers_to_add)
        return SealedCall(routed, server, sent, signed, nonce)

    def open(self, answered: Answered) -> OpenedAnswer:
        """Check signature, signer, binding to the request, and digest of an answer.

        Raises:
            Problem: what does not hold. An unsigned error of the other server is passed on as
                ``PeerProtocolError`` with what it said in its facts.
        """
        sealed = answered.recorded.sealed
        provider = sealed.routed.call.service.member
        find_key = signer_of(self.state(), provider, self.clock.now())
        try:
            opened = open_response(sealed.head, answered.head, find_key, now=int(self.clock.unix()))
        except Problem as problem:
            if problem.code is Code.MISSING_SIGNATURE:
                raise _unsigned(answered) from problem
            raise
        check_content_digest(_field(answered, "content-digest"), sha256_of(answered.body))
        return OpenedAnswer(answered, opened)


def reply_of(opened: OpenedAnswer) -> Reply:
    """The answer as the application gets it."""
    answered = opened.answered
    return Reply(
        answered.head.status,
        tuple([field for field in answered.head.headers if field[0] not in _NOT_ANSWERED]),
        answered.body,
    )


def _field(answered: Answered, wanted: str) -> str:
    for name, value in answered.head.headers:
        if name == wanted:
            return value
    return ""


def _unsigned(answered: Answered) -> Problem:
    """An error that the other server could not sign: it hosts no such member, for example."""
    reported = _field(answered, "x-road-error")
    message = ""
    if reported:
        try:
            members = orjson.loads(in_memory(answered.body))
            message = str(members.get("message", ""))[:300] if isinstance(members, dict) else ""
        except orjson.JSONDecodeError:
            message = ""
    if not reported:
        return Problem(
            Code.MISSING_SIGNATURE,
            where="answer",
            detail="the other server's answer carries no signature",
            status=502,
        )
    code = reported.rpartition(".")[2]
    detail = f"the other server says {reported}: {message}"
    known = code in Code.__members__.values() and reported.startswith(Side.PROVIDER)
    return Problem(
        Code(code) if known else Code.PEER_NONSENSE,
        where="the other server, unsigned",
        detail=detail,
        facts={"reported": reported, "signed": False},
    )
