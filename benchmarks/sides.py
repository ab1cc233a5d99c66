"""The two sides of a benchmark: Saphan's two servers, and two bare proxies in their place.

Each side is running processes and an address: what is sent there crosses two hops to the same
backend and comes back.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeAlias

from benchmarks.processes import Children
from console.reference_world.plans import ApplicationPlan, MemberPlan, ServerPlan, ServicePlan
from console.reference_world.world import World
from exchange.identifiers import ApplicationId, MemberId, ServerId, ServiceId
from exchange.problems import Text

_MOF: Final = MemberId.parse("LA/GOV/MOF")
_MPI: Final = MemberId.parse("LA/GOV/MPI")
_BUDGET: Final = ApplicationId.parse("LA/GOV/MOF/budget")
_SERVICE: Final = ServiceId.parse("LA/GOV/MPI/oda-mis/disbursements")
ADDRESS: Final = f"/r1/{_SERVICE}"
"""What paths of the backend begin with when they are sent to a side."""
REQUEST_HEADERS: Final = (
    ("X-Road-Client", str(_BUDGET)),
    ("Exchange-Purpose", "national-budget"),
    ("Accept", "application/json"),
)
# A server looks at its folder of agreements once a second.
AGREEMENT_TAKEN_S: Final = 1.5


@dataclass(frozen=True, slots=True)
class Offer:
    """What the backend offers: its OpenAPI document, endpoints, and settings that it needs."""

    openapi: bytes
    endpoints: tuple[tuple[str, str], ...]
    service: Mapping[str, Any] = field(default_factory=dict)
    limits: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Side:
    """One way from application to backend, running: where to send, and its processes."""

    name: str
    url: str
    pids: Mapping[str, int]


Starter: TypeAlias = Callable[[Children, str], Side | None]
"""Starts a side in front of the backend at this URL; None when there is nothing to start."""


def start_baseline(
    children: Children, backend_url: str, name: str = "baseline", *, streaming: bool = False
) -> Side:
    """Two bare reverse proxies in a row; ``streaming`` ones never hold a whole body."""
    command = [sys.executable, "-m", "benchmarks.baseline", *(["--stream"] if streaming else [])]
    provider = children.start(f"{name}-provider", [*command, backend_url])
    consumer = children.start(f"{name}-consumer", [*command, provider.ready["url"]])
    return Side(name, consumer.ready["url"], {"consumer": consumer.pid, "provider": provider.pid})


def start_saphan(children: Children, backend_url: str, offer: Offer) -> Side:
    """Two `saphan mediator serve` processes, consumer's and provider's, over mutual TLS.

    The registry is stopped once both have their copy of it: it has no part in an exchange.
    """
    world = World(children.directory / "world")
    try:
        world.open_instance(Text("Lao PDR", "ສປປ ລາວ"))
        pids = {}
        for name, plan in _plans(children.directory, backend_url, offer).items():
            server = world.add_server(plan)
            command = [sys.executable, "-m", "console.cli.main", "mediator", "serve"]
            settings = str(server.folder / "server.yaml")
            pids[name] = children.start(f"saphan-{name}", [*command, settings]).pid
        world.agree(_agreement(offer))
        time.sleep(AGREEMENT_TAKEN_S)
    finally:
        world.close()
    return Side("saphan", world.server_of(_MOF).url("http"), pids)


def _agreement(offer: Offer) -> dict[str, Any]:
    endpoints = [{"method": method, "path": path} for method, path in offer.endpoints]
    return {
        "id": "benchmark",
        "version": 1,
        "title": {"en": "Disbursements for measuring", "lo": "ການເບີກຈ່າຍ"},
        "provider": str(_MPI),
        "consumer": str(_BUDGET),
        "grants": [{"service": str(_SERVICE), "endpoints": endpoints, "fields": ["*"]}],
        "purposes": [
            {
                "code": "national-budget",
                "title": {"en": "National budget", "lo": "ງົບປະມານແຫ່ງຊາດ"},
                "legal_basis": {"en": "a decree", "lo": "ດຳລັດ"},
            }
        ],
        "valid_from": "2020-01-01T00:00:00Z",
        "valid_until": "2099-01-01T00:00:00Z",
    }


def _plans(folder: Path, backend_url: str, offer: Offer) -> dict[str, ServerPlan]:
    """The provider's server, which must be registered first, and the consumer's."""
    document = folder / "openapi.json"
    document.write_bytes(offer.openapi)
    title = Text("Disbursements", "ການເບີກຈ່າຍ")
    settings = {"url": backend_url, "openapi": str(document), **offer.service}
    service = ServicePlan(_SERVICE, title, document, settings)
    oda_mis = ApplicationPlan(_SERVICE.application, title)
    budget = ApplicationPlan(_BUDGET, Text("Budget", "ງົບປະມານ"), "http")
    provider = MemberPlan(_MPI, Text("MPI", "ກຜທ"), (oda_mis,), (service,))
    consumer = MemberPlan(_MOF, Text("MOF", "ກງ"), (budget,))
    limits = {"limits": dict(offer.limits)} if offer.limits else {}
    return {
        "provider": ServerPlan(ServerId.parse(f"{_MPI}/ss1"), (provider,), limits),
        "consumer": ServerPlan(ServerId.parse(f"{_MOF}/ss1"), (consumer,), limits),
    }
