"""What this server offers: each service of a hosted member with its backend and its contract."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path

from exchange.contracts import Contract
from exchange.identifiers import MemberId, ServiceId
from exchange.problems import Code, Problem
from exchange.trust import RegistryState
from mediator.auditing.service import Auditing, contracts, service_ids
from mediator.outlet import HttpBackend
from mediator.own_keys import read_file
from mediator.settings import LimitSettings, ServerSettings, ServiceSettings, Validation
from mediator.terms import ServiceTerms, service_terms
from serving.backends import Backend

AdapterFactory = Callable[[Path, ServiceId], tuple[Backend, bytes]]
"""From a mapping file and one of its services to a running adapter and its OpenAPI document
(console composes it)."""


@dataclass(frozen=True, slots=True)
class OfferedService:
    """A service of a hosted member: its backend, its contract and how strictly it is kept."""

    id: ServiceId
    backend: Backend | Auditing
    contract: Contract
    document: bytes
    validation: Validation
    terms: ServiceTerms
    exactly_once: bool
    enabled: bool
    notice: str
    narrows: bool = False
    """Whether its backend answers with the records of ``Exchange-Rows`` alone."""


def offer(
    service: ServiceSettings,
    settings: ServerSettings,
    state: RegistryState,
    make_adapter: AdapterFactory,
) -> OfferedService:
    """One service with its backend and compiled contract; reads files, so for a thread.

    Raises:
        Problem: ``InvalidSettings``, or what the adapter or the contract says of itself.
    """
    where = f"service {service.id}"
    if (service.url is None) == (service.adapter is None):
        raise Problem(
            Code.INVALID_SETTINGS, where=where, detail="give either url or adapter, and not both"
        )
    if service.id.member not in {member.id for member in settings.members}:
        raise Problem(
            Code.INVALID_SETTINGS, where=where, detail=f"{service.id.member} is not hosted here"
        )
    backend, document = _backend(service, settings.limits, make_adapter, where)
    return OfferedService(
        id=service.id,
        backend=backend,
        contract=Contract.compile(document, state.schemas),
        document=document,
        validation=service.validation,
        terms=service_terms(service, settings.limits),
        exactly_once=service.exactly_once,
        enabled=service.enabled,
        notice=service.notice,
        narrows=service.adapter is not None or service.narrows_rows,
    )


def audited(
    members: Collection[MemberId], auditing: Auditing, settings: ServerSettings
) -> list[OfferedService]:
    """The services that every member has for those who audit it; reads files, so for a thread."""
    compiled = contracts()
    return [
        OfferedService(
            id=service,
            backend=auditing,
            contract=compiled[code][0],
            document=compiled[code][1],
            validation=Validation.ENFORCE,
            terms=service_terms(ServiceSettings(service), settings.limits),
            exactly_once=False,
            enabled=True,
            notice="",
        )
        for service, code in service_ids(members)
    ]


def _backend(
    service: ServiceSettings, limits: LimitSettings, make_adapter: AdapterFactory, where: str
) -> tuple[Backend, bytes]:
    """The backend, and the document that it promises to keep."""
    if service.adapter is not None:
        backend, document = make_adapter(service.adapter, service.id)
        if service.openapi is not None:
            document = read_file(service.openapi, f"{where} openapi")
        return backend, document
    if service.openapi is None:
        raise Problem(Code.INVALID_SETTINGS, where=where, detail="an HTTP backend needs openapi")
    document = read_file(service.openapi, f"{where} openapi")
    http = HttpBackend(
        service.url or "",
        connections=limits.connections,
        head_max_bytes=limits.head_max_bytes,
        response_max_bytes=service.response_max_bytes,
        wait_s=limits.wait_s,
        connect_s=service.connect_s,
        stall_s=limits.stall_s,
        floor_bytes_per_s=limits.floor_bytes_per_s,
        ca=service.ca,
    )
    return http, document
