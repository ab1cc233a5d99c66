"""What this server offers: each service of a hosted member with its backend and its contract."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn, Protocol

from exchange.contracts.contract import Contract
from exchange.identifiers import MemberId, ServiceId
from exchange.problems import Code, Problem
from exchange.registrations import MAX_OPENAPI_BYTES
from exchange.trust.state import RegistryState
from mediator.agreements.terms import ServiceTerms, service_terms
from mediator.auditing.service import Auditing, contracts, service_ids
from mediator.settings import LimitSettings, ServerSettings, ServiceSettings, Validation
from serving.backends import Backend
from serving.http_backends import HttpBackend
from serving.small_files import read_file

_NO_DOCUMENT = b'{"openapi": "3.1.0", "info": {"title": "none", "version": "0"}, "paths": {}}'


class AdapterFactory(Protocol):
    """Makes adapters (console composes it)."""

    def __call__(
        self, mapping: Path, service: ServiceId, /, *, waits: bool
    ) -> tuple[Backend, bytes]:
        """From a mapping file and one of its services to a running adapter and its document.

        Args:
            waits: whether what the mapping names elsewhere may be waited for.

        Raises:
            Problem: ``InvalidMapping``; ``SourceFailed`` when something that the mapping names
                elsewhere is needed and is not at hand.
        """
        ...


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
    remembers: bool = False
    """Whether its backend carries a message out once however often it comes: what the book would
    do is then the backend's, which knows more."""
    narrows: bool = False
    """Whether its backend answers with the records of ``Exchange-Rows`` alone."""
    absent: Problem | None = None
    """Why it cannot be asked yet (:mod:`mediator.provider.awaiting`)."""

    def check(self) -> None:
        """Whether it may be asked at all.

        Raises:
            Problem: ``ServiceDisabled``, or why it is absent.
        """
        if not self.enabled:
            raise Problem(Code.SERVICE_DISABLED, where="service", detail=self.notice)
        self._check_there()

    def described(self) -> bytes:
        """Its OpenAPI document.

        Raises:
            Problem: why it is absent: nothing else is told instead of its document.
        """
        self._check_there()
        return self.document

    def _check_there(self) -> None:
        if self.absent is not None:
            detail = "the service cannot be asked yet: its source's description is not at hand"
            raise Problem(self.absent.code, where="service", detail=detail)


def offer(
    service: ServiceSettings,
    settings: ServerSettings,
    state: RegistryState,
    make_adapter: AdapterFactory,
    *,
    waits: bool = False,
) -> OfferedService:
    """One service with its backend and compiled contract; reads files, so for a thread.

    Unless ``waits``, one whose adapter needs what is not at hand is absent.

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
    absent = None
    backend: Backend
    try:
        backend, document = _backend(service, settings.limits, make_adapter, where, waits)
    except Problem as problem:
        if problem.code is not Code.SOURCE_FAILED or waits:
            raise
        absent, backend, document = problem, _Absent(problem), _NO_DOCUMENT
    return OfferedService(
        id=service.id,
        backend=backend,
        contract=Contract.compile(document, state.schemas),
        document=document,
        validation=service.validation,
        terms=service_terms(service, settings.limits),
        exactly_once=service.exactly_once,
        remembers=service.remembers_ids or getattr(backend, "remembers", False),
        enabled=service.enabled,
        notice=service.notice,
        narrows=service.adapter is not None or service.narrows_rows,
        absent=absent,
    )


class _Absent:
    """The backend of a service that is absent; nothing is closed with it."""

    def __init__(self, problem: Problem) -> None:
        self._problem = problem

    async def exchange(self, request: Any, **waits: float) -> NoReturn:
        """Raises why there is none."""
        raise Problem(self._problem.code, where="service", detail=self._problem.detail)

    async def close(self) -> None:
        """Nothing is open."""


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
    service: ServiceSettings,
    limits: LimitSettings,
    make_adapter: AdapterFactory,
    where: str,
    waits: bool,
) -> tuple[Backend, bytes]:
    """The backend, and the document that it promises to keep."""
    if service.adapter is not None:
        backend, document = make_adapter(service.adapter, service.id, waits=waits)
        if service.openapi is not None:
            document = read_file(service.openapi, MAX_OPENAPI_BYTES, where=f"{where} openapi")
        return backend, document
    if service.openapi is None:
        raise Problem(Code.INVALID_SETTINGS, where=where, detail="an HTTP backend needs openapi")
    document = read_file(service.openapi, MAX_OPENAPI_BYTES, where=f"{where} openapi")
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
