"""The administration listener: health that tells the truth, metrics, what is thought of other
servers, maintenance. Loopback by default."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import orjson
from cryptography import x509

from exchange.problems import Code, Problem, Side
from mediator.discovery import Peer, Peers, State
from mediator.gate import Gate
from mediator.journal.log import Journal
from mediator.maintenance import MAX_BYTES, Maintenance, parse_order
from mediator.metrics import Metrics
from mediator.once.book import OnceBook
from mediator.pinned import PinnedAgreements
from mediator.records import Recorder
from mediator.view import RegistryView
from serving import replies
from serving.clock import Clock
from serving.incoming import Request
from serving.requests import Reply

CERTIFICATE_WARNING = 0.25
AGREEMENT_WARNING_DAYS = 30
READ_S = 5.0


@dataclass(frozen=True, slots=True)
class Admin:
    """Serves ``/healthz``, ``/metrics``, ``/agreements``, ``/peers`` and ``/maintenance``."""

    journal: Journal
    low_disk_bytes: int
    view: RegistryView
    gate: Gate
    agreements: PinnedAgreements
    certificates: Sequence[tuple[str, x509.Certificate]]
    metrics: Metrics
    clock: Clock
    peers: Peers
    maintenance: Maintenance
    recorder: Recorder
    once: OnceBook

    async def handle(self, request: Request) -> Reply:
        """Answer one request."""
        path = request.target.partition("?")[0]
        if path == "/maintenance" and request.method in ("PUT", "DELETE"):
            try:
                await self._maintain(request)
            except Problem as problem:
                return self._problem(problem)
        elif request.method not in ("GET", "HEAD"):
            return self._problem(Problem(Code.INVALID_REQUEST, where="method", status=405))
        match path:
            case "/healthz":
                healthy, report = self.health()
                return _json(200 if healthy else 503, report)
            case "/metrics":
                self._measure()
                return Reply(
                    200,
                    (("content-type", "text/plain; version=0.0.4; charset=utf-8"),),
                    self.metrics.text(),
                )
            case "/agreements":
                return _json(200, self._agreements())
            case "/peers":
                return _json(200, self._peers())
            case "/maintenance":
                return _json(200, self.maintenance.describe())
            case _:
                return self._problem(
                    Problem(
                        Code.NOT_FOUND,
                        where="path",
                        detail="there is /healthz, /metrics, /agreements, /peers, /maintenance",
                    )
                )

    def health(self) -> tuple[bool, dict[str, Any]]:
        """Whether exchanges can be made now, and each part's state with its reason."""
        checks = {
            "journal": self._journal(),
            "registry": self._registry(),
            "disk": self._disk(),
            "keys": self._keys(),
            "agreements": self._agreements_health(),
            "once": self._once(),
            "server": {"ok": not self.gate.closed, "exchanges_running": self.gate.inside},
            # Meant to be, so no failure: the own applications' calls go on.
            "maintenance": {"ok": True, **self.maintenance.describe()},
        }
        healthy = all(check["ok"] for name, check in checks.items() if name != "once")
        status = "failing" if not healthy else "ok" if checks["once"]["ok"] else "degraded"
        return healthy, {"status": status, "checks": checks}

    def _journal(self) -> dict[str, Any]:
        problem = self.journal.healthy
        report: dict[str, Any] = {
            "ok": problem is None,
            "entries": self.journal.size,
            "published": self.journal.published_size,
        }
        if problem is not None:
            report["problem"] = str(problem)
        return report

    def _once(self) -> dict[str, Any]:
        """The exactly-once book; without it unsafe calls are refused, and the others go on."""
        once = self.once
        report: dict[str, Any] = {
            "ok": once.problem is None,
            "database": once.engine,
            "claims": once.totals.claims,
            "answer_bytes": once.totals.answer_bytes,
            "waiting": once.waiting,
        }
        if once.problem is not None:
            report["problem"] = str(once.problem)
        return report

    def _registry(self) -> dict[str, Any]:
        try:
            state = self.view.state
        except Problem as problem:
            return {"ok": False, "problem": str(problem)}
        expired = state.expires < self.clock.now()
        return {
            "ok": True,
            "version": state.version,
            "age_s": round(self.view.age_s, 1),
            "expires": state.expires.isoformat(),
            "in_grace": expired,
            "complaints": [str(problem) for problem in state.complaints[:20]],
        }

    def _disk(self) -> dict[str, Any]:
        free = shutil.disk_usage(self.journal.directory).free
        return {"ok": free >= self.low_disk_bytes, "free_bytes": free}

    def _keys(self) -> dict[str, Any]:
        now = self.clock.now()
        rows = []
        healthy = True
        for name, certificate in self.certificates:
            until = certificate.not_valid_after_utc
            left, life = until - now, until - certificate.not_valid_before_utc
            healthy = healthy and left > timedelta()
            rows.append(
                {
                    "name": name,
                    "valid_until": until.isoformat(),
                    "renew_soon": left < life * CERTIFICATE_WARNING,
                }
            )
        return {"ok": healthy, "certificates": rows}

    def _agreements(self) -> dict[str, Any]:
        return {
            "agreements": [
                {
                    "id": agreement.id,
                    "consumer": str(agreement.consumer),
                    "provider": str(agreement.provider),
                    "valid_until": agreement.valid_until.isoformat(),
                }
                for agreement in self.agreements.agreements
            ],
            "rejected": {name: str(problem) for name, problem in self.agreements.rejected.items()},
        }

    def _agreements_health(self) -> dict[str, Any]:
        now = self.clock.now()
        soon = now + timedelta(days=AGREEMENT_WARNING_DAYS)
        return {
            "ok": True,
            "in_force": sum(
                a.valid_from <= now < a.valid_until for a in self.agreements.agreements
            ),
            "ending_soon": [
                a.id for a in self.agreements.agreements if now < a.valid_until <= soon
            ],
            "rejected": sorted(self.agreements.rejected),
        }

    async def _maintain(self, request: Request) -> None:
        """Begin maintenance, or end it; durable and recorded when this returns.

        Raises:
            Problem: ``InvalidDocument`` or what reading the request says.
        """
        if request.method == "DELETE":
            await asyncio.to_thread(self.maintenance.end)
            await self.recorder.event("maintenance ended")
            return
        body = await request.read(MAX_BYTES, READ_S)
        notice = parse_order(body, self.clock.now())
        await asyncio.to_thread(self.maintenance.begin, notice)
        await self.recorder.event("maintenance began")

    def _peers(self) -> dict[str, Any]:
        now = asyncio.get_running_loop().time()
        return {"peers": [_peer(peer, now) for peer in self.peers.known]}

    def _measure(self) -> None:
        states = [peer.state for peer in self.peers.known]
        for state in State:
            self.metrics.peers.labels(state.value).set(states.count(state))
        self.metrics.maintenance.set(self.maintenance.notice is not None)
        self.metrics.inside.set(self.gate.inside)
        self.metrics.journal_entries.set(self.journal.size)
        self.metrics.registry_age.set(self.view.age_s)
        self.metrics.once_claims.set(self.once.totals.claims)
        self.metrics.once_answer_bytes.set(self.once.totals.answer_bytes)
        self.metrics.once_waiting.set(self.once.waiting)
        self.metrics.once.set(self.once.counts)

    def _problem(self, problem: Problem) -> Reply:
        status, headers, body = replies.reply(problem, Side.CONSUMER, "")
        return Reply(status, headers, body)


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


def _json(status: int, document: dict[str, Any]) -> Reply:
    return Reply(status, (("content-type", "application/json"),), orjson.dumps(document))
