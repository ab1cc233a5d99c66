"""What is registered, as values."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias

from cryptography import x509

from exchange.identifiers import ApplicationId, MemberId, ServerId, ServiceId
from exchange.log.notes import VerifierKey
from exchange.log.policy import Policy
from exchange.problems import Text

LIST_METHODS = "listMethods"
ALLOWED_METHODS = "allowedMethods"
GET_OPENAPI = "getOpenAPI"
METASERVICES = frozenset({LIST_METHODS, ALLOWED_METHODS, GET_OPENAPI})
"""Codes that a security server answers by itself for each application (X-Road PR-MREST)."""
RESERVED_SERVICE_CODES = METASERVICES | {
    "listClients",
    "getWsdl",
    "getSecurityServerMetrics",
    "getSecurityServerOperationalData",
    "getSecurityServerHealthData",
}
"""Codes that mean something of their own in X-Road: no service may have one."""
AUDITING = "auditing"
"""The code of an application that every member has and none registers: its servers answer for it,
to whoever holds a mandate (:mod:`exchange.agreements.mandate`)."""
Pair: TypeAlias = tuple[ApplicationId | ServiceId, ApplicationId | ServiceId]


class Environment(StrEnum):
    """What an instance is for; development certificates are refused in production."""

    DEVELOPMENT = "development"
    PRODUCTION = "production"


class ServiceType(StrEnum):
    """X-Road's types of REST services."""

    OPENAPI = "OPENAPI"
    REST = "REST"


@dataclass(frozen=True, slots=True)
class TimestampAuthority:
    """An RFC 3161 authority whose tokens this instance accepts."""

    url: str
    certificate: x509.Certificate


@dataclass(frozen=True, slots=True)
class InstanceRecord:
    """An instance: its name, its environment and whom it trusts to certify.

    ``log`` are the verifier keys of the registry's own log (:mod:`exchange.registry.log`; several
    while they change), ``witnesses`` whose cosignatures its checkpoints must carry.
    """

    instance: str
    environment: Environment
    name: Text
    authorities: tuple[x509.Certificate, ...]
    timestamp_authorities: tuple[TimestampAuthority, ...]
    log: tuple[VerifierKey, ...] = ()
    witnesses: Policy | None = None


@dataclass(frozen=True, slots=True)
class ServerRecord:
    """A security server: where peers reach it, what it shows them, what signs its log.

    ``journal`` is the verifier key of its log, ``witness`` that under which it cosigns others'.
    ``shares`` names the exactly-once book that it keeps together with the other servers of its
    member that name the same one; without a name its book is its own.
    """

    id: ServerId
    address: str
    auth_certificates: tuple[x509.Certificate, ...]
    journal: str | None
    shares: str | None = None
    witness: str | None = None

    def shares_book_with(self, other: ServerRecord) -> bool:
        """Whether a message that one of the two may have acted upon is safe with the other."""
        return self.id == other.id or (
            self.shares is not None
            and self.shares == other.shares
            and self.id.member == other.id.member
        )


@dataclass(frozen=True, slots=True)
class ApplicationRecord:
    """An application and the servers that speak for it, in order of preference."""

    id: ApplicationId
    name: Text
    servers: tuple[ServerId, ...]


@dataclass(frozen=True, slots=True)
class ServiceRecord:
    """A service; ``openapi`` is the name of a file beside the member's document."""

    id: ServiceId
    type: ServiceType
    title: Text
    openapi: str | None

    @property
    def openapi_target(self) -> str | None:
        """The target path of the OpenAPI document."""
        return None if self.openapi is None else f"{self.id.member}/{self.openapi}"


@dataclass(frozen=True, slots=True)
class MemberRecord:
    """All that a member says of itself.

    ``moved`` are applications and services that went to another member, with their identifiers
    there; ``taken`` those that came from another, with their identifiers there
    (:mod:`exchange.registry.moves`).
    """

    member: MemberId
    name: Text
    seal_certificates: tuple[x509.Certificate, ...]
    servers: tuple[ServerRecord, ...]
    applications: tuple[ApplicationRecord, ...]
    services: tuple[ServiceRecord, ...]
    moved: tuple[Pair, ...] = ()
    taken: tuple[Pair, ...] = ()

    @property
    def things(self) -> frozenset[ApplicationId | ServiceId]:
        """Its applications and services."""
        return frozenset(
            [*(item.id for item in self.applications), *(item.id for item in self.services)]
        )
