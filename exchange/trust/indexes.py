"""Indexes: everything that a state looks up of its members, each by one dictionary access.

Invariants:
- an :class:`Indexes` never changes; when members say something else, those alone are indexed again;
- identifiers and certificates name their member, so no two members have an entry in common;
- what the registry disabled is in no index, but for seals, which prove what was before.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Protocol, TypeVar, cast

from exchange.identifiers import ApplicationId, MemberId, ServerId, ServiceId
from exchange.registrations import ApplicationRecord, MemberRecord, ServerRecord, ServiceRecord
from exchange.registry.standing import Standing
from exchange.trust.admission import AdmittedMember, SealKey

K = TypeVar("K")
V = TypeVar("V")


class Document(Protocol):
    """An OpenAPI document of a service: it may lie anywhere, so reading it may take a while."""

    @property
    def sha256(self) -> str:
        """What it is known by, in lower-case hexadecimal."""

    def read(self) -> bytes:
        """Its bytes. Raises: Problem when they are gone or damaged."""


@dataclass(frozen=True, slots=True)
class Indexes:
    """What a state knows of its members.

    ``hosts`` are the known servers that speak for an application, in its order of preference;
    ``seals`` are by key id, ``auths`` and ``disabled_auths`` by fingerprint.
    """

    admitted: Mapping[MemberId, AdmittedMember] = field(compare=False)
    members: Mapping[MemberId, MemberRecord]
    openapi: Mapping[ServiceId, Document]
    applications: Mapping[ApplicationId, ApplicationRecord]
    services: Mapping[ServiceId, ServiceRecord]
    servers: Mapping[ServerId, ServerRecord]
    hosts: Mapping[ApplicationId, tuple[ServerRecord, ...]]
    seals: Mapping[str, SealKey]
    auths: Mapping[str, ServerId]
    disabled_auths: Mapping[str, ServerId]

    def after(
        self,
        members: Mapping[MemberId, AdmittedMember | None],
        openapi: Mapping[ServiceId, Document],
        standing: Standing,
    ) -> Indexes:
        """The indexes in which these members say something else, or are gone; the others stay.

        Args:
            openapi: the documents of their services.
        """
        admitted, drafts = _copy(self.admitted), _Drafts.of(self)
        for member, new in members.items():
            if (old := admitted.pop(member, None)) is not None:
                drafts.take_out(old)
            if new is not None:
                admitted[member] = new
                drafts.put_in(new, standing)
        drafts.find_hosts(one for one in members.values() if one is not None)
        drafts.openapi.update(openapi)
        return Indexes(
            admitted=admitted,
            members=MappingProxyType(drafts.members),
            openapi=MappingProxyType(drafts.openapi),
            applications=drafts.applications,
            services=drafts.services,
            servers=drafts.servers,
            hosts=drafts.hosts,
            seals=drafts.seals,
            auths=drafts.auths,
            disabled_auths=drafts.disabled_auths,
        )


NOTHING = Indexes({}, {}, {}, {}, {}, {}, {}, {}, {}, {})
"""The indexes of no member at all."""


@dataclass(slots=True)
class _Drafts:
    """Indexes while they are made of others."""

    members: dict[MemberId, MemberRecord]
    openapi: dict[ServiceId, Document]
    applications: dict[ApplicationId, ApplicationRecord]
    services: dict[ServiceId, ServiceRecord]
    servers: dict[ServerId, ServerRecord]
    seals: dict[str, SealKey]
    auths: dict[str, ServerId]
    disabled_auths: dict[str, ServerId]
    hosts: dict[ApplicationId, tuple[ServerRecord, ...]]
    gone: dict[ServerId, ServerRecord] = field(default_factory=dict)
    moved: bool = False

    @classmethod
    def of(cls, indexes: Indexes) -> _Drafts:
        return cls(
            _copy(indexes.members),
            _copy(indexes.openapi),
            _copy(indexes.applications),
            _copy(indexes.services),
            _copy(indexes.servers),
            _copy(indexes.seals),
            _copy(indexes.auths),
            _copy(indexes.disabled_auths),
            _copy(indexes.hosts),
        )

    def take_out(self, member: AdmittedMember) -> None:
        record = member.record
        self.members.pop(record.member, None)
        for application in record.applications:
            self.applications.pop(application.id, None)
            self.hosts.pop(application.id, None)
        for service in record.services:
            self.services.pop(service.id, None)
            self.openapi.pop(service.id, None)
        for server in record.servers:
            if self.servers.pop(server.id, None) is not None:
                self.gone[server.id] = server
        for keyid in member.seals:
            self.seals.pop(keyid, None)
        for print_ in member.auths:
            self.auths.pop(print_, None)
            self.disabled_auths.pop(print_, None)

    def put_in(self, member: AdmittedMember, standing: Standing) -> None:
        record, off = member.record, standing.of
        self.seals.update(member.seals)
        for print_, server in member.auths.items():
            (self.disabled_auths if off(server) else self.auths)[print_] = server
        if off(record.member):
            return
        self.members[record.member] = record
        self.applications.update((one.id, one) for one in record.applications if not off(one.id))
        self.services.update((one.id, one) for one in record.services if not off(one.id))
        for one in record.servers:
            if not off(one.id):
                self.servers[one.id] = one
                self.moved |= self.gone.pop(one.id, None) != one

    def find_hosts(self, members: Iterable[AdmittedMember]) -> None:
        """Say who speaks for the applications of these members; if a server came, went or changed,
        of all, since a server of any member may speak for an application."""
        servers = self.servers
        if self.moved or self.gone:
            concerned = iter(self.applications.values())
        else:
            own = (one for member in members for one in member.record.applications)
            concerned = (one for one in own if one.id in self.applications)
        for application in concerned:
            found = (servers[one] for one in application.servers if one in servers)
            self.hosts[application.id] = tuple(found)


def _copy(index: Mapping[K, V]) -> dict[K, V]:
    """A dictionary's own copy, also out of a view of one: it computes no hash again."""
    return cast("dict[K, V]", index).copy()
