"""The administration listener: health that tells the truth, and metrics. Loopback by default."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import orjson
from cryptography import x509

from exchange.problems import Code, Problem, Side
from mediator.gate import Gate
from mediator.journal.log import Journal
from mediator.metrics import Metrics
from mediator.pinned import PinnedAgreements
from mediator.view import RegistryView
from serving import replies
from serving.clock import Clock
from serving.requests import Reply, Request

CERTIFICATE_WARNING = 0.25
AGREEMENT_WARNING_DAYS = 30


@dataclass(frozen=True, slots=True)
class Admin:
    """Serves ``/healthz``, ``/metrics`` and ``/agreements``."""

    journal: Journal
    low_disk_bytes: int
    view: RegistryView
    gate: Gate
    agreements: PinnedAgreements
    certificates: Sequence[tuple[str, x509.Certificate]]
    metrics: Metrics
    clock: Clock

    async def handle(self, request: Request) -> Reply:
        """Answer one request."""
        path = request.target.partition("?")[0]
        if request.method not in ("GET", "HEAD"):
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
            case _:
                return self._problem(
                    Problem(
                        Code.NOT_FOUND,
                        where="path",
                        detail="there is /healthz, /metrics, /agreements",
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
            "server": {"ok": not self.gate.closed, "exchanges_running": self.gate.inside},
        }
        healthy = all(check["ok"] for check in checks.values())
        return healthy, {"status": "ok" if healthy else "failing", "checks": checks}

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

    def _measure(self) -> None:
        self.metrics.inside.set(self.gate.inside)
        self.metrics.journal_entries.set(self.journal.size)
        self.metrics.registry_age.set(self.view.age_s)

    def _problem(self, problem: Problem) -> Reply:
        status, headers, body = replies.reply(problem, Side.CONSUMER, "")
        return Reply(status, headers, body)


def _json(status: int, document: dict[str, Any]) -> Reply:
    return Reply(status, (("content-type", "application/json"),), orjson.dumps(document))
