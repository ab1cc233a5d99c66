"""The administration: health, metrics, agreements and their revocation, dry runs, what is thought
of other servers, maintenance, orders that hide uses.

It is its OpenAPI document (``apis/admin.yaml``), on a listener of its own, on loopback by default.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from importlib.resources import files
from typing import Any

from cryptography import x509

from exchange.agreements import Agreement, Party
from exchange.documents import format_moment
from mediator.administration.health import Health
from mediator.administration.metrics import Metrics
from mediator.agreements.agreed import Agreed
from mediator.agreements.pinned import PinnedAgreements
from mediator.auditing.ordering import Ordering
from mediator.consumer.discovery import Peer, Peers, State
from mediator.message.records import Recorder
from mediator.provider.maintenance import Maintenance, parse_order
from mediator.provider.trying import Trying
from mediator.retention.erasing import Eraser, Order
from mediator.witness.opening import Witnessing
from serving.api import Api, ApiRequest, json_reply
from serving.requests import Reply


@dataclass(frozen=True, slots=True)
class Admin:
    """Answers the operations of the document."""

    health: Health
    agreements: PinnedAgreements
    metrics: Metrics
    peers: Peers
    maintenance: Maintenance
    recorder: Recorder
    ordering: Ordering
    witnessing: Witnessing
    eraser: Eraser
    trying: Trying
    authorities: Sequence[x509.Certificate]

    def api(self) -> Api:
        """The API at the root of the listener."""
        document = files("mediator").joinpath("apis/admin.yaml").read_bytes()
        operations = {
            "health": self._health,
            "metrics": self._metrics,
            "agreements": self._agreements,
            "revokeAgreement": self._revoke,
            "tryCall": self._try,
            "peers": self._peers,
            "witnesses": self._witnesses,
            "misbehaviour": self._misbehaviour,
            "maintenance": self._maintenance,
            "beginMaintenance": self._begin,
            "endMaintenance": self._end,
            "hidings": self._hidings,
            "orderHiding": self._hide,
            "liftHiding": self._lift,
            "erase": self._erase,
        }
        return Api(document, operations)

    async def _health(self, request: ApiRequest) -> Reply:
        healthy, report = self.health.report()
        return json_reply(200 if healthy else 503, report)

    async def _metrics(self, request: ApiRequest) -> Reply:
        self._measure()
        kind = "text/plain; version=0.0.4; charset=utf-8"
        return Reply(200, (("content-type", kind),), self.metrics.text())

    async def _agreements(self, request: ApiRequest) -> Reply:
        agreements, now = self.agreements, self.health.clock.now()
        rejected = {name: str(problem) for name, problem in agreements.rejected.items()}
        found, held = (
            [_agreement(one, agreed, now) for one in agreed.agreements]
            for agreed in (agreements.own, agreements.held)
        )
        return json_reply(200, {"agreements": found, "held": held, "rejected": rejected})

    async def _revoke(self, request: ApiRequest) -> Reply:
        """Obey a revocation; durable, recorded and in force when this returns."""
        revoked = await self.agreements.revoke(
            request.body, self.authorities, self.recorder.revoked_agreement
        )
        return json_reply(
            200,
            {
                "agreement": revoked.agreement,
                "version": revoked.version,
                "consumer": str(revoked.consumer),
                "revoked_at": format_moment(revoked.revoked_at),
            },
        )

    async def _try(self, request: ApiRequest) -> Reply:
        return json_reply(200, self.trying.run(request.json))

    async def _peers(self, request: ApiRequest) -> Reply:
        now = asyncio.get_running_loop().time()
        return json_reply(200, {"peers": [_peer(peer, now) for peer in self.peers.known]})

    async def _witnesses(self, request: ApiRequest) -> Reply:
        return json_reply(200, self.witnessing.describe())

    async def _misbehaviour(self, request: ApiRequest) -> Reply:
        found = await asyncio.to_thread(self.witnessing.misbehaviour)
        return json_reply(200, {"misbehaviour": found})

    async def _maintenance(self, request: ApiRequest) -> Reply:
        return json_reply(200, self.maintenance.describe())

    async def _begin(self, request: ApiRequest) -> Reply:
        """Begin maintenance; durable and recorded when this returns."""
        notice = parse_order(request.body, self.health.clock.now())
        await asyncio.to_thread(self.maintenance.begin, notice)
        await self.recorder.event("maintenance began")
        return await self._maintenance(request)

    async def _end(self, request: ApiRequest) -> Reply:
        """End maintenance; durable and recorded when this returns."""
        await asyncio.to_thread(self.maintenance.end)
        await self.recorder.event("maintenance ended")
        return await self._maintenance(request)

    async def _hidings(self, request: ApiRequest) -> Reply:
        return json_reply(200, self.ordering.describe())

    async def _hide(self, request: ApiRequest) -> Reply:
        """Hide uses from the persons concerned; durable and recorded when this returns."""
        return json_reply(200, (await self.ordering.order(request.body)).describe())

    async def _lift(self, request: ApiRequest) -> Reply:
        """Hide them no more; durable and recorded when this returns."""
        order = await self.ordering.lift(int(request.path["number"]))
        return json_reply(200, order.describe())

    async def _erase(self, request: ApiRequest) -> Reply:
        """Erase; recorded and done when this returns."""
        return json_reply(200, await self.eraser.erase(Order.parse(request.json)))

    def _measure(self) -> None:
        states = [peer.state for peer in self.peers.known]
        for state in State:
            self.metrics.peers.labels(state.value).set(states.count(state))
        self.metrics.maintenance.set(self.maintenance.notice is not None)
        self.metrics.inside.set(self.health.gate.inside)
        self.metrics.journal_entries.set(self.health.journal.size)
        self.metrics.registry_age.set(self.health.view.age_s)
        now = self.health.clock.now()
        for role, end in self.health.view.ends.items():
            self.metrics.registry_roles.labels(role).set((end.at - now).total_seconds())
        self.metrics.once_claims.set(self.health.once.totals.claims)
        self.metrics.once_answer_bytes.set(self.health.once.totals.answer_bytes)
        self._measure_agreements()
        self.metrics.once_waiting.set(self.health.once.waiting)
        self.metrics.once.set(self.health.once.counts)

    def _measure_agreements(self) -> None:
        agreements, now = self.agreements, self.health.clock.now()
        for side, agreed in ((Party.PROVIDER, agreements.own), (Party.CONSUMER, agreements.held)):
            for days, count in agreements.endings.counts(agreed.in_force, now).items():
                self.metrics.agreements_ending.labels(str(days), side.value).set(count)


def _agreement(one: Agreement, agreed: Agreed, now: datetime) -> dict[str, Any]:
    return {
        "id": one.id,
        "version": one.version,
        "consumer": str(one.consumer),
        "provider": str(one.provider),
        "valid_from": one.valid_from.isoformat(),
        "valid_until": one.valid_until.isoformat(),
        "state": agreed.state_of(one, now),
        **({} if one.group is None else {"group": one.group}),
    }


def _peer(peer: Peer, now: float) -> dict[str, Any]:
    row: dict[str, Any] = {
        "server": str(peer.id),
        "state": peer.state.value,
        "failures": peer.failures,
        "running": peer.running,
        "repeats_left": int(peer.allowance),
    }
    if peer.state is State.OPEN:
        row["rests_s"] = round(max(0.0, peer.rests_until - now), 1)
    if peer.trouble is not None:
        problem, at = peer.trouble
        row["last_problem"] = {
            "code": problem.code.value,
            "detail": problem.detail,
            "at": at.isoformat(timespec="seconds"),
        }
    return row
