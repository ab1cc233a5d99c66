"""What the instance is and how it is: its status, and the rights that its servers obey."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from threading import Lock
from typing import Any, Final

from console.instance.configuration import Consumer
from console.instance.convergence import Convergence
from console.instance.hosted import Hosted
from console.instance.rights import Pair, ServiceKey
from console.instance.watching import is_well
from exchange.identifiers import MemberId
from exchange.problems import Code, Problem
from mediator.agreements.pinned import PinnedAgreements
from serving.clock import SystemClock

FIT_FOR: Final = (
    "Sandboxes and pilots: the keys of the authority, of the registry and of all members are in "
    "one place. Not for production, where each ministry holds its own keys on its own server."
)


@dataclass(slots=True)
class Status:
    """Looks at a running instance; blocking, for a thread."""

    convergence: Convergence
    _pinned: dict[MemberId, PinnedAgreements] = field(default_factory=dict)
    _lock: Lock = field(default_factory=Lock)

    def report(self) -> tuple[bool, dict[str, Any]]:
        """Whether everything that was asked for is made and well, and the particulars."""
        convergence = self.convergence
        desired, outcome = convergence.desired, convergence.outcome
        if desired is None:
            return False, {"state": "unconfigured", "fitFor": FIT_FOR}
        configuration = desired.configuration
        members = [MemberId(configuration.instance, *one.key) for one in configuration.members]
        hosted = [convergence.hosted.get(identifier) for identifier in members]
        with ThreadPoolExecutor(max_workers=8) as pool:
            servers = list(pool.map(_describe, members, hosted))
        is_made = outcome is not None and outcome.generation == desired.generation
        failures = outcome.failures if outcome is not None else ()
        state = "converging"
        if failures:
            state = "failing"
        elif is_made:
            state = "ready" if all(one["well"] for one in servers) else "failing"
        return state == "ready", {
            "state": state,
            "instance": configuration.instance,
            "domain": configuration.domain,
            "environment": "development",
            "fitFor": FIT_FOR,
            "change": desired.generation,
            "changeMade": outcome.generation if outcome is not None else 0,
            "checkedAt": outcome.at.isoformat() if outcome is not None else None,
            "registry": convergence.registry_url or None,
            "servers": servers,
            "failures": [
                {
                    "step": one.step,
                    "member": one.subject,
                    "type": one.problem.code.value,
                    "detail": str(one.problem)[:1000],
                    "remedy": {
                        "en": one.problem.entry.remedy.en,
                        "lo": one.problem.entry.remedy.lo,
                    },
                }
                for one in failures
            ],
        }

    def granted(self) -> list[Pair]:
        """The pairs that agreements grant now which the servers obey: read, and judged, as the
        servers themselves do."""
        desired = self.convergence.desired
        if desired is None or not self.convergence.centre.exists:
            return []
        with self._lock:
            found: set[Pair] = set()
            instance = desired.configuration.instance
            for member in desired.configuration.members:
                found |= self._granted(MemberId(instance, *member.key))
            return sorted(found)

    def _granted(self, member: MemberId) -> set[Pair]:
        hosted = self.convergence.hosted.get(member)
        if hosted is None:
            return set()
        clock = SystemClock()
        pinned = self._pinned.get(member)
        if pinned is None:
            pinned = self._pinned[member] = PinnedAgreements(hosted.agreements, [member], clock)
        if pinned.changed():
            try:
                authorities = self.convergence.centre.authority().authorities
            except Problem as problem:
                raise Problem(Code.NOT_CONVERGED, detail=str(problem)) from problem
            pinned.load(authorities)
        now = clock.now()
        return {
            Pair(
                ServiceKey(
                    grant.service.member_class,
                    grant.service.member_code,
                    grant.service.application_code,
                    grant.service.service_code,
                ),
                Consumer(
                    agreement.consumer.member_class,
                    agreement.consumer.member_code,
                    agreement.consumer.application_code,
                ),
            )
            for agreement in pinned.own.agreements
            if agreement.valid_from <= now < agreement.valid_until
            for grant in agreement.grants
        }


def _describe(member: MemberId, hosted: Hosted | None) -> dict[str, Any]:
    return {
        "member": str(member),
        "server": None if hosted is None else str(hosted.server_id),
        "running": hosted is not None and hosted.running,
        "well": hosted is not None and is_well(hosted),
        "addresses": {} if hosted is None else dict(hosted.addresses),
    }
