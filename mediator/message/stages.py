"""The stages of a message as frozen values: the order of the steps is held by their types.

A function that needs a durable record takes a ``Recorded…``; mypy refuses a call with anything
earlier. They are named tuples because one is made for every step of every message, and a tuple
is made by one call. Consumer: Call → Routed → SealedCall → RecordedCall → Answered → OpenedAnswer.
Provider: Received → OpenedCall → RecordedOpening → Allowed → Checked → Delivered → Judged →
Released → SealedReply → RecordedReply.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any, NamedTuple, TypeAlias

from exchange.agreements import Agreement, Grant
from exchange.contracts.contract import Match
from exchange.identifiers import ApplicationId, MemberId, ServerId, ServiceId
from exchange.messages.envelope import Opened, RequestHead, ResponseHead, Signed
from exchange.problems import Problem
from exchange.registrations import ServerRecord
from mediator.agreements.terms import Terms
from mediator.journal.log import Receipt
from serving.backends import Headers
from serving.bodies import Body, Room

# --- the consumer's side ---------------------------------------------------------------------


class Call(NamedTuple):
    """What an application asked its own server to do.

    ``target`` is the path and query as they came (percent-encoded, beginning ``/r1/``),
    ``path`` the part after the service code, ``headers`` the end-to-end fields in order. A long
    answer goes to ``room``, which ends with the exchange; without one it is kept in memory.
    ``subject`` is in normal form (:mod:`exchange.journal.subjects`), and empty without one.
    """

    client: ApplicationId
    service: ServiceId
    method: str
    target: str
    path: str
    query: str
    headers: Headers
    body: Body
    message_id: str
    request_id: str
    trace: str
    purpose: str
    agreement: str
    wanted_server: ServerId | None
    accept: str
    room: Room | None = None
    subject: str = ""


Notices: TypeAlias = tuple[tuple[str, str], ...]
NO_NOTICES: Notices = ()


class Routed(NamedTuple):
    """A call whose provider is known; ``endpoint`` is the template when the contract is known.

    ``notices`` are the fields that tell the caller that the operation is to go.
    """

    call: Call
    servers: tuple[ServerRecord, ...]
    endpoint: str
    notices: Notices = NO_NOTICES


class SealedCall(NamedTuple):
    """A call signed for one server; ``head`` is exactly what goes over the wire."""

    routed: Routed
    server: ServerRecord
    head: RequestHead
    signed: Signed
    nonce: str
    at: datetime | None = None
    """When it was signed, which its entry says; None: the time of recording."""


class RecordedCall(NamedTuple):
    """A sealed call that is durable in the journal: only this may be sent."""

    sealed: SealedCall
    receipt: Receipt


class Answered(NamedTuple):
    """What the other server sent back, unproven."""

    recorded: RecordedCall
    head: ResponseHead
    body: Body


class OpenedAnswer(NamedTuple):
    """An answer whose signature, binding and digest hold."""

    answered: Answered
    opened: Opened
    at: datetime | None = None
    """When it was judged, which its entry says; None: the time of recording."""


# --- the provider's side ---------------------------------------------------------------------


class Received(NamedTuple):
    """A message from another server, unproven; ``peer`` is who TLS says it is.

    ``coming`` brings a long body of at most so many bytes, which is taken only when the head is
    proven and the message allowed; ``body`` is empty until then.
    """

    peer: ServerId
    head: RequestHead
    target: str
    body: Body
    room: Room | None = None
    coming: Callable[[int], Awaitable[Body]] | None = None


class OpenedCall(NamedTuple):
    """A message whose signature, freshness, sender and digest hold.

    ``repeats``: its server says that it sent it before and does not know what became of it.
    ``refusal`` is what stops it, when that is certain before its body was taken.
    """

    received: Received
    opened: Opened
    client: ApplicationId
    service: ServiceId
    path: str
    query: str
    message_id: str
    request_id: str
    trace: str
    purpose: str
    agreement: str
    repeats: bool
    refusal: Problem | None = None
    subject: str = ""
    basis: str = ""
    at: datetime | None = None
    """When it was judged, which its entry says; None: the time of recording."""


class Found(NamedTuple):
    """What a message asks for, and the agreement that opens it."""

    agreement: Agreement
    grant: Grant
    match: Match
    terms: Terms


class RecordedOpening(NamedTuple):
    """An opened message that is durable in the journal: only this may be acted upon."""

    call: OpenedCall
    receipt: Receipt


class Allowed(NamedTuple):
    """A recorded message that an agreement allows, and on which terms."""

    recorded: RecordedOpening
    agreement: Agreement
    grant: Grant
    match: Match
    terms: Terms


class Checked(NamedTuple):
    """An allowed message whose request keeps the contract and asks for what is released."""

    allowed: Allowed


class Delivered(NamedTuple):
    """What the backend answered."""

    checked: Checked
    status: int
    headers: Headers
    body: Body


class Judged(NamedTuple):
    """An answer that keeps its contract; ``document`` is its JSON when the check parsed it."""

    delivered: Delivered
    document: Any | None


class Released(NamedTuple):
    """A judged answer, cut down to the fields of the agreement."""

    delivered: Delivered
    headers: Headers
    body: Body


class SealedReply(NamedTuple):
    """A signed answer, bound to its request."""

    member: MemberId
    head: ResponseHead
    body: Body
    signed: Signed
    at: datetime | None = None
    """When it was signed, which its entry says; None: the time of recording."""


class RecordedReply(NamedTuple):
    """A signed answer that is durable in the journal: only this may be sent."""

    sealed: SealedReply
    receipt: Receipt
