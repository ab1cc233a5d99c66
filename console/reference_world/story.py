"""The story, steps 1 to 4: an instance is opened, ministries register and agree, one asks once.

Each step takes the world, does what people would do, checks its own outcome and returns what
happened as a value; :mod:`console.reference_world.telling` prints it. A step that is not as it
must be raises a problem. Steps 5 and 6 are :mod:`console.reference_world.refusals` and
:mod:`console.reference_world.evidence`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from console.reference_world import accords, data, ingo, laos, legacy
from console.reference_world.calls import (
    Answer,
    Left,
    ask_evidence,
    call,
    entries_of,
    require,
)
from console.reference_world.world import World
from exchange.certificates.reading import fingerprint_of
from exchange.documents import format_document
from exchange.identifiers import ServiceId
from exchange.problems import Text
from exchange.registrations import ELEMENTS_TARGET
from schemas import load_all

ROWS_SHOWN = 10

# --- 1: the instance -------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Opened:
    """Step 1: what DGC has made."""

    authorities: str
    root_of_trust: str
    signatures_needed: str
    registry: str
    shared_schemas: int
    timestamps: str
    timestamp_certificate: str


def open_instance(world: World) -> Opened:
    """DGC makes the root keys, the registry, the authorities, and starts them."""
    world.open_instance(laos.NAME, time_stamps=True)
    stamper = world.stamper
    require(stamper is not None, "time-stamp authority", "it was not started")
    assert stamper is not None  # noqa: S101  # for the type checker: required above
    return Opened(
        authorities=str(world.authorities),
        root_of_trust=str(world.anchor),
        signatures_needed="2 of 3",
        registry=world.registry_url,
        shared_schemas=len(load_all()),
        timestamps=stamper.url,
        timestamp_certificate=fingerprint_of(stamper.certificate),
    )


# --- 2: registration -------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Member:
    """A registered member and the server that hosts it."""

    id: str
    name: Text
    server: str


@dataclass(frozen=True, slots=True)
class Wrapped:
    """A service over a legacy register."""

    service: str
    title: Text
    mapping: str
    openapi: str


@dataclass(frozen=True, slots=True)
class Registered:
    """Step 2: who is in the registry, with which services."""

    members: tuple[Member, ...]
    services: tuple[Wrapped, ...]
    projects: int
    disbursements: int
    ingo_projects: int


def register(world: World, servers: Mapping[str, str] | None = None) -> Registered:
    """Ministries wrap their registers and hand in their registrations; DGC approves each.

    The servers are started; :func:`agree` waits for them.
    """
    folder = world.directory / "legacy"
    legacy.write_legacy(folder, dict(servers or {}))
    world.beside.enter_context(legacy.open_portal(folder))
    for plan in laos.plans(folder):
        world.add_server(plan)
    world.publish({ELEMENTS_TARGET: format_document({"elements": accords.elements()})})
    world.launch()
    members = tuple(
        Member(str(member.id), member.name, str(server.plan.id))
        for server in world.servers.values()
        for member in server.plan.members
    )
    services = tuple(
        Wrapped(
            str(service.id), service.title, str(service.settings["adapter"]), str(service.openapi)
        )
        for server in world.servers.values()
        for member in server.plan.members
        for service in member.services
    )
    return Registered(members, services, data.PROJECTS, data.DISBURSEMENTS, ingo.PROJECTS)


# --- 3: agreements ---------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Agreed:
    """An agreement that both parties sealed."""

    id: str
    reference: str
    provider: str
    consumer: str
    title: Text
    purpose: Text
    legal_basis: Text
    fields: tuple[str, ...]
    quota_per_day: int
    valid_until: str
    file: str


@dataclass(frozen=True, slots=True)
class Running:
    """A security server that answers."""

    id: str
    pid: int
    applications: str
    log: str


@dataclass(frozen=True, slots=True)
class Agreements:
    """Step 3: what was sealed, mandates of the auditor too, and the servers that obey it."""

    agreements: tuple[Agreed, ...]
    servers: tuple[Running, ...]
    mandates: tuple[str, ...]


def agree(world: World) -> Agreements:
    """Provider and consumer seal each agreement; the provider pins it on its own disk."""
    agreed = tuple(_agreed(world, document) for document in accords.agreements(datetime.now(UTC)))
    mandates = tuple(str(world.agree(document)) for document in accords.mandates(datetime.now(UTC)))
    world.wait_ready()
    servers = tuple(
        Running(
            str(server.plan.id),
            server.process.pid,
            server.url("http"),
            str(server.process.log),
        )
        for server in world.servers.values()
    )
    return Agreements(agreed, servers, mandates)


def _agreed(world: World, document: Mapping[str, Any]) -> Agreed:
    file = world.agree(document)
    purpose = document["purposes"][0]
    return Agreed(
        id=document["id"],
        reference=f"{document['id']}/{document['version']}",
        provider=document["provider"],
        consumer=document["consumer"],
        title=Text(**document["title"]),
        purpose=Text(**purpose["title"]),
        legal_basis=Text(**purpose["legal_basis"]),
        fields=tuple(field for grant in document["grants"] for field in grant["fields"]),
        quota_per_day=document["quota"]["per_day"],
        valid_until=document["valid_until"],
        file=str(file),
    )


# --- 4: asking once --------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Exchanged:
    """One exchange: who asked whom for what, and the entries it left on both sides."""

    client: str
    service: str
    message_id: str
    trace: str
    status: int
    took_ms: float
    records: int
    bytes: int
    entries: tuple[Left, ...]


@dataclass(frozen=True, slots=True)
class Row:
    """Actual disbursement of one province and sector, in US dollars, from both sources."""

    province: str
    sector: str
    oda_usd: Decimal
    ingo_usd: Decimal

    @property
    def total(self) -> Decimal:
        return self.oda_usd + self.ingo_usd


@dataclass(frozen=True, slots=True)
class Fact:
    """A data element that its source gave instead of the enterprise."""

    element: str
    value: str
    source: str
    at: str
    valid_until: str
    exchange: str


@dataclass(frozen=True, slots=True)
class Asked:
    """Step 4: the table that MOF wanted, and the two exchanges behind it."""

    fiscal_year: int
    purpose: str
    exchanges: tuple[Exchanged, ...]
    rows: tuple[Row, ...]
    oda_usd: Decimal
    ingo_usd: Decimal
    facts: tuple[Fact, ...]

    @property
    def top(self) -> tuple[Row, ...]:
        """The rows with the most money."""
        return tuple(sorted(self.rows, key=lambda row: row.total, reverse=True)[:ROWS_SHOWN])


def ask(world: World) -> Asked:
    """MOF asks MPI and MOFA, once each, and merges what both say; of an enterprise it asks the
    register instead of the enterprise."""
    asked = [_summary(world, service) for service in (laos.DISBURSEMENTS, laos.INGO_PROJECTS)]
    exchanges = tuple(_exchanged(world, service, answer) for service, answer in asked)
    oda, ingo = (_amounts(service, answer) for service, answer in asked)
    rows = tuple(
        Row(*key, oda.get(key, Decimal(0)), ingo.get(key, Decimal(0)))
        for key in sorted(oda.keys() | ingo.keys())
    )
    return Asked(
        laos.FISCAL_YEAR,
        laos.PURPOSE,
        exchanges,
        rows,
        sum((row.oda_usd for row in rows), Decimal(0)),
        sum((row.ingo_usd for row in rows), Decimal(0)),
        _facts(world),
    )


def _facts(world: World) -> tuple[Fact, ...]:
    """What the enterprise register says of an enterprise, asked for by an evidence request."""
    wanted = [one["id"] for one in accords.elements()]
    answer = ask_evidence(
        world,
        laos.BUDGET,
        {
            "subject": laos.ENTERPRISE,
            "elements": wanted,
            "purpose": laos.REVENUE,
            "request": {"kind": "statutory", "legal_basis": laos.LEGAL_BASIS},
        },
    )
    where = "evidence of an enterprise"
    require(answer.status == 200, where, f"status {answer.status}: {answer.body[:300]!r}")
    given = answer.document["values"]
    require([one["element"] for one in given] == wanted, where, f"{answer.document['missing']}")
    return tuple(
        Fact(
            one["element"],
            one["value"],
            one["source"],
            one["at"],
            one["valid_until"],
            one["exchange"]["id"],
        )
        for one in given
    )


def _summary(world: World, service: ServiceId) -> tuple[ServiceId, Answer]:
    path = f"/summary?fiscal_year={laos.FISCAL_YEAR}&page_size=500"
    return service, call(world, laos.BUDGET, service, path, purpose=laos.PURPOSE)


def _exchanged(world: World, service: ServiceId, answer: Answer) -> Exchanged:
    where = f"{laos.BUDGET} asks {service}"
    require(answer.status == 200, where, f"status {answer.status}: {answer.body[:300]!r}")
    servers = [world.server_of(laos.MOF), world.server_of(service.member)]
    entries = entries_of(servers, answer.message_id)
    found = sorted((left.side, left.kind) for left in entries)
    expected = [
        (side, kind) for side in ("consumer", "provider") for kind in ("request", "response")
    ]
    require(found == expected, where, f"the journals hold {found}, not four entries")
    return Exchanged(
        client=str(laos.BUDGET),
        service=str(service),
        message_id=answer.message_id,
        trace=answer.headers["x-road-request-id"],
        status=answer.status,
        took_ms=answer.took_ms,
        records=len(answer.document["items"]),
        bytes=len(answer.body),
        entries=entries,
    )


def _amounts(service: ServiceId, answer: Answer) -> dict[tuple[str, str], Decimal]:
    """Actual disbursement by province and sector, as one source says."""
    page = answer.document
    where = f"answer of {service}"
    require(page["items"] and page.get("next") is None, where, "is not one whole page")
    released = {"fiscal_year", "province", "sector_working_group", "actual_usd", "projects",
                "disbursements"}  # fmt: skip
    found: defaultdict[tuple[str, str], Decimal] = defaultdict(Decimal)
    for item in page["items"]:
        require(item.keys() <= released, where, f"has more than is released: {sorted(item)}")
        found[item["province"], item["sector_working_group"]] += Decimal(item["actual_usd"])
    return dict(found)
