"""What this server says of its health: each part's state with its reason."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from cryptography import x509

from exchange.problems import Problem
from exchange.registry.endings import soon
from mediator.agreements.agreed import Agreed
from mediator.agreements.endings import not_renewed, within_days
from mediator.agreements.pinned import PinnedAgreements
from mediator.journal.log import Journal
from mediator.message.gate import Gate
from mediator.once.book import OnceBook
from mediator.provider.maintenance import Maintenance
from mediator.registry_copy.view import RegistryView
from serving.clock import Clock

CERTIFICATE_WARNING = 0.25


@dataclass(frozen=True, slots=True)
class Health:
    """Looks at the parts when it is asked; nothing is cached."""

    journal: Journal
    low_disk_bytes: int
    view: RegistryView
    gate: Gate
    agreements: PinnedAgreements
    certificates: Sequence[tuple[str, x509.Certificate]]
    clock: Clock
    maintenance: Maintenance
    once: OnceBook
    watched: Mapping[str, Callable[[], dict[str, Any]]]
    """Further checks, without which exchanges go on: their trouble degrades, it does not fail."""

    def report(self) -> tuple[bool, dict[str, Any]]:
        """Whether exchanges can be made now, and each part's state with its reason."""
        checks = {
            "journal": self._journal(),
            "registry": self._registry(),
            "disk": self._disk(),
            "keys": self._keys(),
            "agreements": self._agreements(),
            "once": self._once(),
            "server": {"ok": not self.gate.closed, "exchanges_running": self.gate.inside},
            # Meant to be, so no failure: the own applications' calls go on.
            "maintenance": {"ok": True, **self.maintenance.describe()},
        }
        degrading = {"once", *self.watched}
        checks |= {name: report() for name, report in self.watched.items()}
        healthy = all(check["ok"] for name, check in checks.items() if name not in degrading)
        well = all(check["ok"] for check in checks.values())
        status = "failing" if not healthy else "ok" if well else "degraded"
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
        now, ends = self.clock.now(), self.view.ends
        expired = state.expires < now
        return {
            "ok": True,
            "version": state.version,
            "age_s": round(self.view.age_s, 1),
            "expires": state.expires.isoformat(),
            "in_grace": expired,
            "ends": {name: end.at.isoformat() for name, end in ends.items()},
            "ending_soon": soon(ends, now),
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
            "ok": True,
            **self._standing(self.agreements.own),
            "held": self._standing(self.agreements.held),
            "rejected": sorted(self.agreements.rejected),
        }

    def _standing(self, agreed: Agreed) -> dict[str, Any]:
        now = self.clock.now()
        return {
            "in_force": sum(a.valid_from <= now < a.valid_until for a in agreed.in_force),
            "ending_soon": [a.id for a in not_renewed(agreed.in_force) if within_days(a, now)],
            "revoked": len(agreed.revoked),
        }
