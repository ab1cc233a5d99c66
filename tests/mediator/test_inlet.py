"""The inlet for applications: who may come from where."""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field
from ipaddress import ip_network
from typing import Any, cast

import pytest

from exchange.identifiers import ApplicationId
from exchange.problems import Code, Problem
from mediator.administration.metrics import Metrics
from mediator.agreements.terms import call_bounds
from mediator.consumer.inlet import Inlet
from mediator.message.gate import Gate
from mediator.message.places import Places
from mediator.message.stages import Call
from mediator.pages.pages import Pages
from mediator.settings import ConnectionMode, LimitSettings
from mediator.xroad import Entrance, LocalApplication
from serving.bodies import Room, Spools
from serving.incoming import Request
from serving.requests import Reply

BUDGET = ApplicationId.parse("LA/GOV/MOF/budget")


class NoCertificate(ssl.SSLObject):
    """A TLS connection whose client showed no certificate."""

    def getpeercert(self, binary_form: bool = False) -> Any:
        return None


@dataclass
class Came:
    """A request as the inlet sees it, over TLS without a certificate or in plain text."""

    remote: str
    tls: bool
    method: str = "GET"
    target: str = "/r1/LA/GOV/MPI/oda-mis/projects/x"
    headers: tuple[tuple[str, str], ...] = (("x-road-client", str(BUDGET)),)
    fault: Problem | None = None
    names: tuple[bytes, ...] = ()

    @property
    def transport(self) -> Came:
        return self

    def get_extra_info(self, name: str) -> Any:
        return NoCertificate.__new__(NoCertificate) if self.tls and name == "ssl_object" else None

    @property
    def room(self) -> Room:
        return Spools().room()

    async def receive(self, max_bytes: int, timeout_s: float) -> bytes:
        return b""


@dataclass
class Beyond:
    """What stands behind the inlet: answers every call, keeps the codes of refusals."""

    refused: list[str] = field(default_factory=list)

    async def exchange(self, call: Call) -> Reply:
        return Reply(200, (), b"")

    async def refused_request(self, problem: Any, *_: object) -> None:
        self.refused.append(problem.code)


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
@pytest.mark.parametrize(
    ("remote", "welcome"),
    [("127.0.0.1", True), ("::1", True), ("10.1.2.3", True), ("192.0.2.7", False), ("", False)],
)
async def test_an_application_in_mode_http_comes_from_its_networks_only(
    remote: str, welcome: bool, tls: bool
) -> None:
    """It is trusted by its place alone, so the place counts on the TLS listener too."""
    beyond = Beyond()
    inlet = Inlet(
        consumer=cast(Any, beyond),
        entrance=Entrance(
            {BUDGET: LocalApplication(BUDGET, ConnectionMode.HTTP, frozenset())},
            (ip_network("10.0.0.0/8"),),
        ),
        recorder=cast(Any, beyond),
        gate=Gate(10),
        limits=LimitSettings(),
        metrics=Metrics(),
        places=Places(),
        bounds=call_bounds(LimitSettings(), ()),
        pages=Pages({}),
        once_only=cast(Any, None),
    )
    reply = await inlet.handle(cast(Request, Came(remote, tls)))
    assert reply.status == (200 if welcome else 403)
    code = Code.CLIENT_CERTIFICATE_REQUIRED if tls else Code.TLS_REQUIRED
    assert beyond.refused == ([] if welcome else [code])
