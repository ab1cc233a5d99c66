"""The small world: MPI offers a service over a scripted backend, MOF and MOIC want it."""

from __future__ import annotations

import http.client
import json
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from console.reference_world.plans import ApplicationPlan, MemberPlan, ServerPlan, ServicePlan
from console.reference_world.processes import free_ports, health
from console.reference_world.standing import RunningServer
from console.reference_world.world import World
from exchange.identifiers import ApplicationId, MemberId, ServerId, ServiceId
from exchange.problems import Text
from mediator.journal.index import Hit, IndexReader, Query, search
from mediator.own_keys import origin_of
from tests.world.backend import Backend

MOF, MPI = MemberId.parse("LA/GOV/MOF"), MemberId.parse("LA/GOV/MPI")
PDI = MemberId.parse("LA/GOV/PDI-VT")
MOF_SERVER, MPI_SERVER = ServerId.parse("LA/GOV/MOF/ss1"), ServerId.parse("LA/GOV/MPI/ss1")
BUDGET = ApplicationId.parse("LA/GOV/MOF/budget")
VAULT = ApplicationId.parse("LA/GOV/MOF/vault")
WEB = ApplicationId.parse("LA/GOV/MOF/web")
PROVINCE = ApplicationId.parse("LA/GOV/PDI-VT/planning")
ODA_MIS = ApplicationId.parse("LA/GOV/MPI/oda-mis")
PROJECTS = ServiceId.parse("LA/GOV/MPI/oda-mis/projects")
LENIENT = ServiceId.parse("LA/GOV/MPI/oda-mis/lenient")
CLOSED = ServiceId.parse("LA/GOV/MPI/oda-mis/closed")
DOWN = ServiceId.parse("LA/GOV/MPI/oda-mis/down")
PURPOSE = "national-budget"
MOES = MemberId.parse("LA/GOV/MOES")
SUCCESSOR = ServiceId.parse("LA/GOV/MOES/oda-mis/projects")

_PROJECT = {
    "type": "object",
    "required": ["code", "amount"],
    "properties": {
        "code": {"type": "string"},
        "title_en": {"type": "string"},
        "title_lo": {"type": "string"},
        "amount": {"type": "number"},
        "sector": {"enum": ["health", "roads"], "x-saphan-statistics": "sector"},
    },
    "additionalProperties": False,
}
_JSON = {"application/json": {"schema": {"$ref": "#/components/schemas/project"}}}
_OK = {"description": "a project", "content": _JSON}
_CODE = {
    "name": "code",
    "in": "path",
    "required": True,
    "schema": {"type": "string", "maxLength": 12},
}
_FIELDS = {
    "name": "fields",
    "in": "query",
    "schema": {"type": "string"},
    "x-saphan-selects-fields": True,
}
_YEAR = {
    "name": "fiscal_year",
    "in": "query",
    "schema": {"type": "integer", "minimum": 2000, "maximum": 2100},
}
OPENAPI = {
    "openapi": "3.1.0",
    "info": {"title": "Projects", "version": "1.0.0"},
    "components": {"schemas": {"project": _PROJECT}},
    "paths": {
        "/projects/{code}": {
            "parameters": [_CODE],
            "get": {
                "operationId": "project",
                "parameters": [_FIELDS, _YEAR],
                "responses": {
                    "200": _OK,
                    "302": {"description": "elsewhere"},
                    "404": {"description": "none"},
                },
            },
            "delete": {
                "operationId": "delete",
                "responses": {"204": {"description": "gone"}},
            },
        },
        "/projects": {
            "post": {
                "operationId": "add",
                "x-saphan-deprecated": {
                    "since": "2026-01-01",
                    "until": "2027-06-30",
                    "reason": {"en": "Projects are closed instead", "lo": "ໃຊ້ການປິດໂຄງການແທນ"},
                },
                "requestBody": {"required": True, "content": _JSON},
                "responses": {"201": _OK},
            }
        },
    },
}


def _application(identifier: ApplicationId, mode: str = "http") -> ApplicationPlan:
    return ApplicationPlan(identifier, Text(identifier.application_code, "ລະບົບ"), mode)


def plans(
    folder: Path, backend_port: int, dead_port: int, limits: Mapping[str, Any] | None = None
) -> tuple[ServerPlan, ServerPlan]:
    """Two servers: MOF's hosts a province too; MPI's offers the same backend in four ways, and is
    impatient with it in one of them: the machine may be slow, and only that one is to be late."""
    openapi = folder / "projects.json"
    openapi.write_text(json.dumps(OPENAPI))
    url = f"http://127.0.0.1:{backend_port}"
    common = {"url": url, "openapi": str(openapi), "timeout_s": 30.0, "response_max_bytes": 1 << 20}
    title = Text("Projects", "ໂຄງການ")
    services = (
        ServicePlan(PROJECTS, title, openapi, common),
        ServicePlan(LENIENT, title, openapi, common | {"validation": "report", "timeout_s": 1.0}),
        ServicePlan(
            CLOSED, title, openapi, common | {"enabled": False, "notice": "closed for stocktaking"}
        ),
        ServicePlan(DOWN, title, openapi, common | {"url": f"http://127.0.0.1:{dead_port}"}),
    )
    bounds = {
        "limits": {"request_max_bytes": 65536, "read_s": 2.0, **(limits or {})},
        "journal": {"publish_interval_s": 0.05, "anchor_s": 0.5},
    }
    return (
        ServerPlan(
            MOF_SERVER,
            (
                MemberPlan(
                    MOF,
                    Text("Ministry of Finance", "ກະຊວງການເງິນ"),
                    (
                        _application(BUDGET),
                        _application(VAULT, "mtls"),
                        _application(WEB, "https"),
                    ),
                ),
                MemberPlan(
                    PDI,
                    Text("Planning office, Vientiane", "ພະແນກແຜນການ"),
                    (_application(PROVINCE),),
                ),
            ),
            bounds,
            listen={"govstack_harness": f"127.0.0.1:{free_ports(1)[0]}"},
        ),
        ServerPlan(
            MPI_SERVER,
            (
                MemberPlan(
                    MPI,
                    Text("Ministry of Planning", "ກະຊວງແຜນການ"),
                    (_application(ODA_MIS),),
                    services,
                ),
            ),
            bounds,
            listen={"witness": f"127.0.0.1:{free_ports(1)[0]}"},
        ),
    )


def taking_over(plan: ServerPlan) -> MemberPlan:
    """A member that offers the service of a server under its own name."""
    service = next(one for one in plan.members[0].services if one.id == PROJECTS)
    return MemberPlan(
        MOES,
        Text("Ministry of Education and Sports", "ກະຊວງສຶກສາທິການ ແລະ ກິລາ"),
        (_application(SUCCESSOR.application),),
        (replace(service, id=SUCCESSOR),),
    )


def changed(plan: ServerPlan, services: Mapping[ServiceId, Mapping[str, Any]]) -> ServerPlan:
    """The plan with other settings of some services."""
    members = tuple(
        replace(
            member,
            services=tuple(
                replace(one, settings={**one.settings, **services.get(one.id, {})})
                for one in member.services
            ),
        )
        for member in plan.members
    )
    return replace(plan, members=members)


def agreement(name: str, consumer: ApplicationId = BUDGET, **changes: Any) -> dict[str, Any]:
    """An agreement over the projects; ``changes`` replace members."""
    endpoints = [
        {"method": "GET", "path": "/projects/{code}"},
        {"method": "POST", "path": "/projects"},
    ]
    fields = ["/code", "/title_en", "/title_lo"]
    return {
        "id": name,
        "version": 1,
        "title": {"en": name, "lo": "ຂໍ້ຕົກລົງ"},
        "provider": str(MPI),
        "consumer": str(consumer),
        "grants": [
            {"service": str(service), "endpoints": endpoints, "fields": fields}
            for service in (PROJECTS, LENIENT, CLOSED, DOWN)
        ],
        "purposes": [
            {
                "code": PURPOSE,
                "title": {"en": "National budget", "lo": "ງົບປະມານແຫ່ງຊາດ"},
                "legal_basis": {"en": "ODA decree", "lo": "ດຳລັດ"},
            }
        ],
        "valid_from": "2020-01-01T00:00:00Z",
        "valid_until": "2099-01-01T00:00:00Z",
        **changes,
    }


@dataclass(frozen=True, slots=True)
class Answer:
    """What an application got."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def code(self) -> str:
        """The code of the problem, empty for an answer."""
        return self.headers.get("x-road-error", "").rpartition(".")[2]


@dataclass(slots=True)
class SmallWorld:
    """The running world with what tests do to it."""

    world: World
    backend: Backend

    @property
    def mof(self) -> RunningServer:
        return self.world.servers[MOF_SERVER]

    @property
    def mpi(self) -> RunningServer:
        return self.world.servers[MPI_SERVER]

    def call(
        self,
        path: str = "/projects/P-1",
        *,
        service: ServiceId = PROJECTS,
        client: str | None = str(BUDGET),
        purpose: str | None = PURPOSE,
        method: str = "GET",
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
        target: str | None = None,
        url: str | None = None,
        context: ssl.SSLContext | None = None,
        server: RunningServer | None = None,
    ) -> Answer:
        """Make a call as an application does, with the standard library's client."""
        fields = dict(headers or {})
        if client is not None:
            fields["X-Road-Client"] = client
        if purpose is not None:
            fields["Exchange-Purpose"] = purpose
        base = url or (server or self.mof).url("http")
        return exchange(base, method, target or f"/r1/{service}{path}", fields, body, context)

    def hits(self, server: RunningServer, **conditions: Any) -> list[Hit]:
        """The journal's entries that meet the conditions, oldest first, once all are published."""
        wait_published(server)
        origin = origin_of(server.plan.id)
        reader = IndexReader.open(server.journal / "index.sqlite", origin)
        try:
            return search([reader], Query(**conditions), 1000).hits[::-1]
        finally:
            reader.close()


def exchange(
    url: str,
    method: str,
    target: str,
    headers: Mapping[str, str],
    body: bytes | None = None,
    context: ssl.SSLContext | None = None,
) -> Answer:
    """One HTTP exchange on a connection of its own."""
    parts = urlsplit(url)
    connection: http.client.HTTPConnection
    if parts.scheme == "https":
        connection = http.client.HTTPSConnection(
            parts.hostname or "", parts.port, timeout=60, context=context
        )
    else:
        connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=60)
    try:
        connection.request(method, target, body, dict(headers))
        response = connection.getresponse()
        fields = {name.lower(): value for name, value in response.getheaders()}
        return Answer(response.status, fields, response.read())
    finally:
        connection.close()


def wait_published(server: RunningServer, timeout_s: float = 60.0) -> None:
    """Wait until the journal has published all that it holds."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        checks: Any = health(f"{server.url('admin')}/healthz")["checks"]
        if checks["journal"]["published"] == checks["journal"]["entries"]:
            return
        time.sleep(0.05)
    raise TimeoutError("the journal did not publish")
