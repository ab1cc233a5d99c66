"""A world of sources: a portal's server, and one server with three ministries that hold facts.

The civil register knows people, the school office their certificates, the police where they live.
What each source answers is scripted in this process.
"""

from __future__ import annotations

import asyncio
import json
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from console.reference_world.plans import ApplicationPlan, MemberPlan, ServerPlan, ServicePlan
from console.reference_world.world import World
from exchange.documents import format_document
from exchange.identifiers import ApplicationId, MemberId, ServerId, ServiceId
from exchange.problems import Text
from exchange.registrations import ELEMENTS_TARGET
from tests.world.conversing import Conversing
from tests.world.small import Answer, exchange

DGC, MOHA = MemberId.parse("LA/GOV/DGC"), MemberId.parse("LA/GOV/MOHA")
MOES, MPS = MemberId.parse("LA/GOV/MOES"), MemberId.parse("LA/GOV/MPS")
PORTAL, OFFICE = ApplicationId.parse(f"{DGC}/e-services"), ApplicationId.parse(f"{DGC}/office")
PERSONS = ServiceId.parse(f"{MOHA}/civil-register/persons")
CERTIFICATES = ServiceId.parse(f"{MOES}/schools/certificates")
ADDRESSES = ServiceId.parse(f"{MPS}/residence/addresses")
PORTAL_SERVER, SOURCES_SERVER = ServerId.parse(f"{DGC}/ss1"), ServerId.parse(f"{MOHA}/ss1")
PURPOSE = "enrolment"
NID = "la-nid:ZQ7715500042"

PERSON = {"name": "ສົມສີ", "birth_date": "2008-04-13", "income": 12}
CERTIFICATE = {"number": "C-1", "level": "upper"}
ADDRESS = {"village": "ໂພນສະອາດ", "district": "0103"}


def _answer(schema: dict[str, Any], *parameters: dict[str, Any]) -> dict[str, Any]:
    content = {"application/json": {"schema": schema}}
    responses = {
        "200": {"description": "found", "content": content},
        "404": {"description": "no such record"},
    }
    return {"parameters": list(parameters), "responses": responses}


def _object(**members: str) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {name: {"type": kind} for name, kind in members.items()},
        "additionalProperties": False,
    }


def _nid(place: str) -> dict[str, Any]:
    pattern = "^[A-Z0-9]{3,20}$"
    schema = {"type": "string", "pattern": pattern}
    return {"name": "nid", "in": place, "required": True, "schema": schema}


_FIELDS = {
    "name": "fields",
    "in": "query",
    "x-saphan-selects-fields": True,
    "schema": {"type": "string"},
}
_PATHS: Mapping[ServiceId, dict[str, Any]] = {
    PERSONS: {
        "/persons/{nid}": {
            "get": _answer(
                _object(name="string", birth_date="string", income="integer"), _nid("path"), _FIELDS
            )
        },
        "/persons/{nid}/adult": {"get": _answer(_object(adult="boolean"), _nid("path"))},
    },
    CERTIFICATES: {
        "/certificates": {
            "get": _answer(
                {
                    "type": "object",
                    "properties": {
                        "items": {
                            "type": "array",
                            "items": _object(number="string", level="string"),
                        }
                    },
                },
                _nid("query"),
            )
        }
    },
    ADDRESSES: {
        "/addresses/{nid}": {
            "get": _answer(_object(village="string", district="string"), _nid("path"))
        }
    },
}


def element(identifier: str, service: ServiceId, path: str, pointer: str, **more: Any) -> Any:
    english = identifier.partition(".")[2].replace("-", " ")
    text = {"en": english, "lo": "ຂໍ້ມູນ"}
    return {
        "id": identifier,
        "version": 1,
        "name": text,
        "definition": text,
        "schema": {"type": "string", "minLength": 1},
        "subject": "la-nid",
        "source": {"service": str(service), "path": path, "pointer": pointer},
        "legal_basis": {"en": "Law on family registration", "lo": "ກົດໝາຍວ່າດ້ວຍການລົງທະບຽນຄອບຄົວ"},
        "validity": "P30D",
        **more,
    }


ELEMENTS = [
    element("person.name", PERSONS, "/persons/{subject}", "/name"),
    element(
        "person.birth-date",
        PERSONS,
        "/persons/{subject}",
        "/birth_date",
        schema={"type": "string", "format": "date"},
    ),
    element("person.income", PERSONS, "/persons/{subject}", "/income", schema={"type": "integer"}),
    element(
        "person.is-adult",
        PERSONS,
        "/persons/{subject}/adult",
        "/adult",
        schema={"type": "boolean"},
        predicate_of="person.birth-date",
        validity="P1D",
    ),
    element("school.certificate", CERTIFICATES, "/certificates?nid={subject}", "/items/*/number"),
    element("person.village", ADDRESSES, "/addresses/{subject}", "/village"),
]


@dataclass(slots=True)
class Sources(Conversing):
    """The registers behind the services; ``script`` says how one behaves, by the first segment.

    ``two``, ``none`` and ``wrong`` are answers; ``broken`` is a failure; a number of seconds is how
    long it takes; ``held`` waits until ``released``.
    """

    script: dict[str, str | float] = field(default_factory=dict)
    seen: list[str] = field(default_factory=list)
    fields: list[dict[str, str]] = field(default_factory=list)
    released: threading.Event = field(default_factory=threading.Event)

    async def converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer requests as the script says."""
        while True:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            line, *fields = head.rstrip("\r\n").split("\r\n")
            target = line.split(" ")[1]
            self.seen.append(target)
            pairs = (one.partition(":") for one in fields)
            self.fields.append({name.strip().lower(): value.strip() for name, _, value in pairs})
            register = target.split("/")[1].partition("?")[0]
            behaviour = self.script.get(register, "")
            if behaviour == "held":
                while not self.released.is_set():  # noqa: ASYNC110  # set by another thread
                    await asyncio.sleep(0.01)
            if isinstance(behaviour, float):
                await asyncio.sleep(behaviour)
            status, document = _answered(register, target, behaviour)
            body = json.dumps(document).encode()
            writer.write(
                f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\n"
                f"Content-Length: {len(body)}\r\n\r\n".encode()
                + body
            )
            await writer.drain()


def _answered(register: str, target: str, behaviour: object) -> tuple[str, Any]:
    if behaviour == "broken":
        return "500 Internal Server Error", {}
    if register == "certificates":
        count = {"two": 2, "none": 0}.get(str(behaviour), 1)
        return "200 OK", {"items": [CERTIFICATE] * count}
    if behaviour == "none":
        return "404 Not Found", {}
    if register == "addresses":
        return "200 OK", ADDRESS
    if target.endswith("/adult"):
        return "200 OK", {"adult": True}
    wanted = target.partition("fields=")[2].split(",") if "fields=" in target else list(PERSON)
    person = PERSON | ({"birth_date": "unknown"} if behaviour == "wrong" else {})
    return "200 OK", {name: person[name] for name in wanted}


@dataclass(slots=True)
class SourceWorld:
    """The running world with what tests do to it."""

    world: World
    sources: Sources

    @property
    def url(self) -> str:
        return self.world.servers[PORTAL_SERVER].url("http")

    def call(
        self,
        method: str,
        path: str,
        body: Any = None,
        client: str | None = str(PORTAL),
        server: ServerId = PORTAL_SERVER,
    ) -> Answer:
        """A request below /once-only, as an application makes it."""
        url = self.world.servers[server].url("http")
        headers = {"Content-Type": "application/json"}
        if client is not None:
            headers["X-Road-Client"] = client
        data = None if body is None else json.dumps(body).encode()
        return exchange(url, method, f"/once-only{path}", headers, data)

    def ask(self, *elements: str, **changes: Any) -> Answer:
        """An evidence request."""
        return self.call("POST", "/evidence", request(*elements, **changes))


def request(*elements: str, **changes: Any) -> dict[str, Any]:
    """The body of an evidence request; ``changes`` replace members."""
    return {
        "subject": NID,
        "elements": list(elements),
        "purpose": PURPOSE,
        "request": {
            "kind": "explicit",
            "at": "2026-01-02T03:04:05Z",
            "reference": "e-services/2026/17",
        },
        **changes,
    }


def application(identifier: ApplicationId) -> ApplicationPlan:
    return ApplicationPlan(identifier, Text(identifier.application_code, "ລະບົບ"), "http")


def _member(folder: Path, service: ServiceId, port: int) -> MemberPlan:
    document = {
        "openapi": "3.1.0",
        "info": {"title": service.service_code, "version": "1.0.0"},
        "paths": _PATHS[service],
    }
    path = folder / f"{service.service_code}.json"
    path.write_text(json.dumps(document))
    settings = {"url": f"http://127.0.0.1:{port}", "openapi": str(path), "timeout_s": 20.0}
    title = Text(service.service_code, "ທະບຽນ")
    return MemberPlan(
        service.member,
        title,
        (application(service.application),),
        (ServicePlan(service, title, path, settings),),
    )


def agreement(service: ServiceId, fields: list[str], **changes: Any) -> dict[str, Any]:
    """An agreement that opens all of a service to the portal."""
    return {
        "id": f"dgc-{service.member.member_code.lower()}",
        "version": 1,
        "title": {"en": service.service_code, "lo": "ຂໍ້ຕົກລົງ"},
        "provider": str(service.member),
        "consumer": str(PORTAL),
        "grants": [
            {
                "service": str(service),
                "endpoints": [{"method": "GET", "path": path} for path in _PATHS[service]],
                "fields": fields,
            }
        ],
        "purposes": [
            {
                "code": PURPOSE,
                "title": {"en": "Enrolment", "lo": "ການລົງທະບຽນ"},
                "legal_basis": {"en": "Law on education", "lo": "ກົດໝາຍວ່າດ້ວຍການສຶກສາ"},
            }
        ],
        "valid_from": "2020-01-01T00:00:00Z",
        "valid_until": "2099-01-01T00:00:00Z",
        **changes,
    }


COPIES = ("dgc-moha", "dgc-moes")
"""Of which agreements the portal's server has copies."""


def on_request(document: dict[str, Any]) -> dict[str, Any]:
    """An agreement that opens on a person's own request alone."""
    for grant in document["grants"]:
        grant["request_basis"] = ["explicit"]
    return document


CALLS = [{"service": str(ADDRESSES), "concurrent": 1}]
AGREEMENTS = (
    agreement(PERSONS, ["/name", "/birth_date", "/adult"]),
    on_request(agreement(CERTIFICATES, ["/items/*/number"])),
    agreement(ADDRESSES, ["/village"]),
    agreement(ADDRESSES, ["/village"], id="moha-mps", consumer=str(PERSONS.application)),
)


@contextmanager
def source_world() -> Iterator[SourceWorld]:
    """Build, start and end a world of sources."""
    sources = Sources()
    sources.start()
    with tempfile.TemporaryDirectory(prefix="saphan-") as name:
        folder = Path(name)
        world = World(folder / "world")
        bounds = {"journal": {"publish_interval_s": 0.05, "anchor_s": 0.5}}
        try:
            world.open_instance(Text("Lao PDR", "ສປປ ລາວ"))
            portal = MemberPlan(DGC, Text("DGC", "ສູນ"), (application(PORTAL), application(OFFICE)))
            members = tuple(
                _member(folder, service, sources.port)
                for service in (PERSONS, CERTIFICATES, ADDRESSES)
            )
            world.add_server(ServerPlan(SOURCES_SERVER, members, bounds))
            world.add_server(ServerPlan(PORTAL_SERVER, (portal,), {**bounds, "calls": CALLS}))
            for document in AGREEMENTS:
                sealed = world.agree(document).read_bytes()
                if document["id"] in COPIES:
                    world.pin(DGC, document["id"], sealed)
            world.publish({ELEMENTS_TARGET: format_document({"elements": ELEMENTS})})
            world.start()
            yield SourceWorld(world, sources)
        finally:
            sources.released.set()
            world.close()
            sources.stop()
