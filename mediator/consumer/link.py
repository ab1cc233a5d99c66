"""The link to other security servers: pooled TLS 1.3 connections, one pool a server and service.

A new connection is used only when the certificate at its other end is one that the registry lists
for the very server that is called; OpenSSL has checked its chain and validity before.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterable
from typing import NamedTuple
from urllib.parse import urlsplit

from exchange.certificates.reading import fingerprint
from exchange.identifiers import ServerId, ServiceId
from exchange.messages.envelope import NOT_COVERED, ResponseHead
from exchange.problems import Code, Problem
from exchange.registrations import ServerRecord
from exchange.trust.state import RegistryState
from mediator.background.revocation import Statuses
from mediator.consumer.attempts import Fate, Missed
from mediator.message.places import RETRY_AFTER_S
from mediator.message.stages import Answered, RecordedCall
from mediator.pages import metaservices
from mediator.settings import CallSettings, LimitSettings
from mediator.xroad import MAX_LINK_HEAD_BYTES
from serving.backends import Headers
from serving.client import Pool
from serving.failures import (
    ConnectFailed,
    Disconnected,
    ExchangeFailed,
    PoolClosed,
    PoolFull,
    TimedOut,
    TooLarge,
)
from serving.pool_places import PoolLimits
from serving.waits import Phase, Waits

# OpenSSL's X509_V_ERR_CERT_HAS_EXPIRED and X509_V_ERR_CERT_NOT_YET_VALID.
_OUT_OF_VALIDITY = {9, 10}
# Fields of the connection: no signature covers them, so they go no further.
_UNSIGNED = NOT_COVERED - {"signature", "signature-input"}


class _Line(NamedTuple):
    """The way to one service of one server: slow calls to another do not stand in it."""

    pool: Pool
    waits: Waits


class Link:
    """Sends recorded calls; owns the pools."""

    def __init__(
        self,
        context: ssl.SSLContext,
        state: Callable[[], RegistryState],
        statuses: Statuses,
        limits: LimitSettings,
        calls: Iterable[CallSettings] = (),
    ) -> None:
        self._context = context
        self._state = state
        self._statuses = statuses
        self._limits = limits
        self._calls = {call.service: call for call in calls}
        self._lines: dict[tuple[ServerId, str, ServiceId], _Line] = {}
        self._judged_with = (0, 0)

    async def send(self, recorded: RecordedCall, timeout_s: float) -> Answered:
        """Send a recorded call to its server and return what came back, unproven.

        The same bytes are never sent twice: the other end refuses a signature that it has seen,
        so another attempt is sealed anew (docs/adr/0016).

        Raises:
            Missed: not sent: the server cannot be reached, is not who it should be, or has more of
                our messages than it answers; unknown: ``PeerTimeout``, ``PeerUnreachable`` or
                ``PeerProtocolError`` after the message was sent.
            Problem: ``ResponseTooLarge``, ``ShuttingDown``.
        """
        sealed = recorded.sealed
        head = sealed.head
        self._retire_outdated()
        call = sealed.routed.call
        line = self._line(sealed.server, call.service)
        host = urlsplit(sealed.server.address).netloc
        try:
            answer = await line.pool.exchange(
                head.method,
                call.target,
                (("host", host), *head.headers),
                call.body,
                timeout_s=timeout_s,
                waits=line.waits,
                repeatable=False,
                room=call.room,
            )
        except Disconnected as failure:
            # The other kept connections are of the same age: another attempt makes one anew.
            line.pool.retire()
            raise _translate(failure, sealed.server) from failure
        except ExchangeFailed as failure:
            raise _translate(failure, sealed.server) from failure
        return Answered(
            recorded, ResponseHead(answer.status, _end_to_end(answer.headers)), answer.body
        )

    def exchange_s(self, service: ServiceId) -> float:
        """Seconds for a whole exchange with a service, all attempts together."""
        own = self._calls.get(service)
        return (own.exchange_s if own is not None else None) or self._limits.exchange_s

    @property
    def lines(self) -> int:
        """How many services of how many servers have a line, all together."""
        return len(self._lines)

    async def close(self) -> None:
        """Let running exchanges end and close all connections; idempotent."""
        lines, self._lines = self._lines, {}
        for line in lines.values():
            await line.pool.close()

    def _line(self, server: ServerRecord, service: ServiceId) -> _Line:
        key = (server.id, server.address, service)
        line = self._lines.get(key)
        if line is None:
            parts = urlsplit(server.address)
            limits = self._limits
            own = self._calls.get(service) or CallSettings(service)
            pool = Pool(
                parts.hostname or "",
                parts.port or 443,
                ssl=self._context,
                limits=PoolLimits(
                    max_connections=limits.connections,
                    max_waiting=limits.concurrent,
                    idle_s=limits.keepalive_s * 0.8,
                    wait_s=limits.wait_s,
                    connect_s=own.connect_s or limits.connect_s,
                    max_head_bytes=MAX_LINK_HEAD_BYTES,
                    max_body_bytes=own.answer_max_bytes or limits.answer_max_bytes,
                ),
                admit=lambda certificate: self._admit(server.id, certificate),
            )
            waits = Waits(
                own.first_byte_s or limits.first_byte_s, limits.stall_s, limits.floor_bytes_per_s
            )
            line = self._lines[key] = _Line(pool, waits)
        return line

    def _admit(self, server: ServerId, certificate: bytes | None) -> None:
        """Take a connection only if its certificate is registered for the server called."""
        try:
            print_ = fingerprint(certificate or b"")
            found = self._state().auth_server(print_)
            self._statuses.check(print_, "TLS certificate")
        except Problem as problem:
            raise Missed(problem, Fate.NOT_SENT) from problem
        if found != server:
            raise Missed(
                Problem(
                    Code.PEER_CERTIFICATE_UNTRUSTED,
                    where="TLS certificate",
                    detail=f"the certificate shown for {server} is that of {found}",
                ),
                Fate.NOT_SENT,
            )

    def _retire_outdated(self) -> None:
        """After a change of the registry, or a revocation, no connection of before is used any
        more, and what the registry does not name any more has no line: there are never more than it
        names.

        One that still carries a message stays until the change after that.
        """
        state = self._state()
        judging_with = (state.version, self._statuses.generation)
        if judging_with != self._judged_with:
            self._judged_with = judging_with
            for (server, address, service), line in list(self._lines.items()):
                line.pool.retire()
                hosts = _hosts(state, service)
                if (server, address) not in hosts and not line.pool.busy and not line.pool.waiting:
                    del self._lines[server, address, service]


def _hosts(state: RegistryState, service: ServiceId) -> list[tuple[ServerId, str]]:
    """The servers at which a service can be asked for now, and where they stand."""
    try:
        if not metaservices.is_asked(service, "GET"):
            state.service(service)
        servers = state.servers_of(service.application)
    except Problem:
        return []
    return [(server.id, server.address) for server in servers]


def _end_to_end(headers: Headers) -> Headers:
    return tuple([item for item in headers if item[0] not in _UNSIGNED])


def _translate(failure: ExchangeFailed, server: ServerRecord) -> Exception:
    where, detail = str(server.id), failure.detail
    code, counts, facts = Code.PEER_NONSENSE, True, None
    match failure:
        case PoolClosed():
            return Problem(Code.SHUTTING_DOWN, where=where, detail=detail)
        case TooLarge():
            return Problem(Code.RESPONSE_TOO_LARGE, where=where, detail=detail)
        case ConnectFailed(tls=ssl.SSLCertVerificationError() as tls):
            expired = tls.verify_code in _OUT_OF_VALIDITY
            code = Code.PEER_CERTIFICATE_EXPIRED if expired else Code.PEER_CERTIFICATE_UNTRUSTED
            detail = tls.verify_message
        case ConnectFailed():
            code = Code.PEER_UNREACHABLE
            if failure.tls is not None:
                detail = (
                    "TLS could not be agreed, perhaps our certificate is not accepted there: "
                    + detail
                )
        case TimedOut(phase=Phase.CONNECT):
            code, facts = Code.PEER_UNREACHABLE, failure.facts
        case Disconnected():
            code = Code.PEER_UNREACHABLE
        case TimedOut(phase=Phase.WAIT) | PoolFull():
            code, counts = Code.OVERLOADED, False
            facts = failure.facts | {"retry_after_s": RETRY_AFTER_S}
        case TimedOut():
            code, facts = Code.PEER_TIMEOUT, failure.facts
        case _:
            pass
    fate = Fate.UNKNOWN if failure.sent else Fate.NOT_SENT
    problem = Problem(code, where=where, detail=detail, facts=facts)
    return Missed(problem, fate, counts=counts)
