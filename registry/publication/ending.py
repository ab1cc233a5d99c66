"""What the operator is told of roles that end: the next step, and numbers for Prometheus."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Gauge, generate_latest

from exchange.registry.delegations import STANDING_ROLE
from exchange.registry.endings import DAYS, End, soon

METRICS_HEADERS = {"Content-Type": CONTENT_TYPE_LATEST}
_STEPS = {
    "root": "saphan registry ceremony draft, without changes",
    "targets": "saphan registry ceremony targets",
}
_ONLINE = frozenset({"snapshot", "timestamp", STANDING_ROLE})


def next_step(role: str) -> str:
    """What to do about a role that ends."""
    if role in _ONLINE:
        return "the registry did not sign it again by itself: look for registry_renewal_failed"
    return _STEPS.get(role, "the member signs its role again: saphan registry submit")


def exposition(own: Mapping[str, End], members: Mapping[str, End], now: datetime) -> bytes:
    """How long each role of the registry is valid yet, and how many members' roles end soon."""
    numbers = CollectorRegistry()
    left = Gauge(
        "saphan_registry_role_left_seconds",
        "Seconds until a role of the registry ends.",
        ("role",),
        registry=numbers,
    )
    for role, end in own.items():
        left.labels(role).set((end.at - now).total_seconds())
    ending = Gauge(
        "saphan_registry_members_ending",
        "Members whose role ends within so many days; 0: has ended.",
        ("days",),
        registry=numbers,
    )
    near = soon(members, now)
    for days in (*DAYS, 0):
        ending.labels(str(days)).set(sum(within <= days for within in near.values()))
    return generate_latest(numbers)
