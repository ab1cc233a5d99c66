"""A world for X-Road's clients: one provider, two consumers of different habits.

MOF's server has the default profile; MOIC's has ``profile: x-road`` and ``error_types: snake``.
The service ``echo`` takes every method and any body; ``closed`` is switched off.
"""

from __future__ import annotations

import http.client
import json
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from console.reference_world.plans import ApplicationPlan, MemberPlan, ServerPlan, ServicePlan
from console.reference_world.standing import RunningServer
from console.reference_world.world import World
from exchange.identifiers import ApplicationId, MemberId, ServerId, ServiceId
from exchange.problems import Text
from mediator.journal.index import Hit, IndexReader, Query, search
from mediator.own_keys import origin_of
from tests.world.echo import Echo
from tests.world.small import wait_published

METHODS = ("DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "TRACE")
MOF, MOIC, MPI = (MemberId.parse(f"LA/GOV/{code}") for code in ("MOF", "MOIC", "MPI"))
BUDGET = ApplicationId.parse("LA/GOV/MOF/budget")
VAULT = ApplicationId.parse("LA/GOV/MOF/vault")
TRADE = ApplicationId.parse("LA/GOV/MOIC/trade")
ECHO = ServiceId.parse("LA/GOV/MPI/oda-mis/echo")
CLOSED = ServiceId.parse("LA/GOV/MPI/oda-mis/closed")

_ANY = {"*/*": {}}
_OPERATION = {
    "requestBody": {"content": _ANY},
    "responses": {
        "200": {"description": "whatever", "content": _ANY},
        "302": {"description": "elsewhere"},
    },
}
_CODE = {"name": "code", "in": "path", "required": True, "schema": {"type": "string"}}
OPENAPI: dict[str, Any] = {
    "openapi": "3.1.0",
    "info": {"title": "Echo", "version": "1.0.0"},
    "servers": [{"url": "http://10.9.8.7:8080/internal/v1"}],
    "paths": {
        "/echo/{code}": {
            "parameters": [_CODE],
            **{method.lower(): _OPERATION for method in METHODS},
        },
        "/": {"get": {"responses": {"200": {"description": "x", "content": _ANY}}}},
        "/read-only": {"get": {"responses": {"200": {"description": "x", "content": _ANY}}}},
        "/secret": {"get": {"responses": {"200": {"description": "x", "content": _ANY}}}},
    },
}


@dataclass(frozen=True, slots=True)
class Got:
    """An answer with its fields in order."""

    status: int
    fields: tuple[tuple[str, str], ...]
    body: bytes

    def values(self, name: str) -> list[str]:
        """All values of a field."""
        return [value for key, value in self.fields if key.lower() == name.lower()]

    def value(self, name: str) -> str:
        """The one value of a field; empty when it is not there."""
        found = self.values(name)
        assert len(found) <= 1, f"{name} stands {len(found)} times"
        return found[0] if found else ""

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(slots=True)
class XRoadWorld:
    """The running world."""

    world: World
    backend: Echo

    def server(self, member: MemberId) -> RunningServer:
        return self.world.servers[ServerId.parse(f"{member}/ss1")]

    def hits(self, member: MemberId, **conditions: Any) -> list[Hit]:
        """The journal's entries that meet the conditions, oldest first, once all are published."""
        server = self.server(member)
        wait_published(server)
        reader = IndexReader.open(server.journal / "index.sqlite", origin_of(server.plan.id))
        try:
            return search([reader], Query(**conditions), 1000).hits[::-1]
        finally:
            reader.close()

    def call(
        self,
        method: str = "GET",
        path: str = "/echo/x",
        *,
        fields: tuple[tuple[str, str], ...] = (),
        body: bytes | None = None,
        service: ServiceId = ECHO,
        client: str = str(BUDGET),
    ) -> Got:
        """Call as an application of MOF, or of MOIC when the client is one of its."""
        at = MOIC if client.startswith(str(MOIC)) else MOF
        named = (("X-Road-Client", client), *fields)
        return self.get(f"/r1/{service}{path}", at=at, method=method, fields=named, body=body)

    def get(
        self,
        target: str,
        *,
        at: MemberId = MOF,
        method: str = "GET",
        fields: tuple[tuple[str, str], ...] = (),
        body: bytes | None = None,
    ) -> Got:
        """One request on a connection of its own, with exactly these fields."""
        address = urlsplit(self.server(at).url("http"))
        connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=20)
        try:
            connection.putrequest(method, target, skip_accept_encoding=True)
            for name, value in fields:
                connection.putheader(name, value)
            if body is not None:
                connection.putheader("Content-Length", str(len(body)))
            connection.endheaders(body)
            response = connection.getresponse()
            return Got(response.status, tuple(response.getheaders()), response.read())
        finally:
            connection.close()


def _server(member: MemberId, plan: MemberPlan, more: Mapping[str, Any]) -> ServerPlan:
    settings = {"journal": {"publish_interval_s": 0.05}, **more}
    return ServerPlan(ServerId.parse(f"{member}/ss1"), (plan,), settings)


def _application(identifier: ApplicationId, mode: str = "http") -> ApplicationPlan:
    return ApplicationPlan(identifier, Text(identifier.application_code, "ລະບົບ"), mode)


def _agreement(name: str, consumer: ApplicationId) -> dict[str, Any]:
    endpoints = [{"method": method, "path": "/echo/{code}"} for method in METHODS]
    return {
        "id": name,
        "version": 1,
        "title": {"en": name, "lo": "ຂໍ້ຕົກລົງ"},
        "provider": str(MPI),
        "consumer": str(consumer),
        "grants": [
            {
                "service": str(service),
                "endpoints": [
                    *endpoints,
                    {"method": "GET", "path": "/"},
                    {"method": "GET", "path": "/read-only"},
                ],
                "fields": ["*"],
            }
            for service in (ECHO, CLOSED)
        ],
        "purposes": [],
        "valid_from": "2020-01-01T00:00:00Z",
        "valid_until": "2099-01-01T00:00:00Z",
    }


@contextmanager
def x_road_world() -> Iterator[XRoadWorld]:
    """Build, start and end the world in a folder of its own."""
    backend = Echo()
    backend.start()
    with tempfile.TemporaryDirectory(prefix="saphan-") as name:
        folder = Path(name)
        world = World(folder / "world")
        openapi = folder / "echo.json"
        openapi.write_text(json.dumps(OPENAPI))
        common = {"url": f"http://127.0.0.1:{backend.port}", "openapi": str(openapi)}
        title = Text("Echo", "ສຽງສະທ້ອນ")
        services = (
            ServicePlan(ECHO, title, openapi, common),
            ServicePlan(
                CLOSED, title, openapi, common | {"enabled": False, "notice": "stocktaking"}
            ),
        )
        finance, trade = Text("Ministry of Finance", "ກະຊວງການເງິນ"), Text("Trade", "ການຄ້າ")
        planning = Text("Ministry of Planning", "ກະຊວງແຜນການ")
        oda = ApplicationId.parse("LA/GOV/MPI/oda-mis")
        try:
            world.open_instance(Text("Lao PDR", "ສປປ ລາວ"))
            mof = MemberPlan(MOF, finance, (_application(BUDGET), _application(VAULT, "mtls")))
            world.add_server(_server(MOF, mof, {}))
            moic = MemberPlan(MOIC, trade, (_application(TRADE),))
            world.add_server(_server(MOIC, moic, {"profile": "x-road", "error_types": "snake"}))
            mpi = MemberPlan(MPI, planning, (_application(oda),), services)
            world.add_server(_server(MPI, mpi, {}))
            world.agree(_agreement("mof-mpi", BUDGET))
            world.agree(_agreement("moic-mpi", TRADE))
            world.start()
            yield XRoadWorld(world, backend)
        finally:
            world.close()
            backend.stop()
