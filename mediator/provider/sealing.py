"""Sealing at the provider's side: every answer is signed by the member that offers the service,
bound to its request, refusals and repeated outcomes too (ADR 0014).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from exchange.identifiers import MemberId
from exchange.keys import SigningKey
from exchange.messages.digest import format_content_digest
from exchange.messages.envelope import ResponseHead, seal_response
from exchange.problems import Code, Problem, Side
from mediator.message.stages import RecordedOpening, Released, SealedReply
from mediator.once.vault import Answer
from serving import replies
from serving.backends import Headers
from serving.bodies import Body, sha256_of
from serving.clock import Clock

_BODILESS: Final = (204, 304)


@dataclass(frozen=True, slots=True)
class Sealer:
    """Signs with the keys of the hosted members."""

    keys: Mapping[MemberId, SigningKey]
    clock: Clock

    def hosts(self, member: MemberId) -> bool:
        """Whether answers of this member are signed here."""
        return member in self.keys

    def released(self, recorded: RecordedOpening, released: Released) -> SealedReply:
        """Sign a backend's answer.

        Raises:
            Problem: ``BackendProtocolError`` when the backend's header fields cannot be signed:
                too many, too long or malformed.
        """
        try:
            return self.reply(recorded, released.delivered.status, released.headers, released.body)
        except Problem as problem:
            raise Problem(
                Code.BACKEND_NONSENSE, where="backend answer, header fields", detail=problem.detail
            ) from problem

    def outcome(self, recorded: RecordedOpening, answer: Answer) -> SealedReply:
        """Sign a recorded outcome anew, bound to this request."""
        return self.reply(recorded, answer.status, answer.headers, answer.body or b"")

    def problem(self, recorded: RecordedOpening, problem: Problem) -> SealedReply:
        """Sign a refusal, so that it is evidence too."""
        call = recorded.call
        status, headers, body = replies.reply(problem, Side.PROVIDER, call.request_id)
        if call.received.head.method == "HEAD":
            body = b""
        return self.reply(recorded, status, headers, body)

    def reply(
        self, recorded: RecordedOpening, status: int, headers: Headers, body: Body
    ) -> SealedReply:
        """Sign an answer.

        Raises:
            Problem: what :func:`exchange.messages.envelope.seal_response` says of its header
            fields.
        """
        call = recorded.call
        member = call.service.member
        bodiless = status in _BODILESS or call.received.head.method == "HEAD"
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
        now = self.clock.now()
        signed = seal_response(
            call.received.head,
            ResponseHead(status, complete),
            self.keys[member],
            created=int(now.timestamp()),
        )
        return SealedReply(
            member,
            ResponseHead(status, (*complete, *signed.headers_to_add)),
            b"" if bodiless else body,
            signed,
            now,
        )
