"""The state of an instance at one moment, and its look-ups.

Invariants:
- what is in it was admitted (:mod:`exchange.trust.admission`); what was left out is told in
  ``complaints``;
- a state never changes; every look-up is one dictionary access;
- ``review_at`` is the first moment at which a judgement could come out differently: the state must
  be built anew then.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from types import MappingProxyType
from typing import TypeVar

from cryptography import x509

from exchange.certificates.reading import fingerprint_of
from exchange.identifiers import ApplicationId, MemberId, ServerId, ServiceId
from exchange.once_only.elements import NO_ELEMENTS, Dictionary
from exchange.problems import Code, Problem
from exchange.registrations import (
    ApplicationRecord,
    InstanceRecord,
    MemberRecord,
    ServerRecord,
    ServiceRecord,
)
from exchange.registry.moves import Thing, agreed_moves, moved_problem, successor
from exchange.registry.standing import NOTHING_AWAY, Standing
from exchange.trust.admission import AdmittedMember, SealKey
from exchange.trust.indexes import NOTHING, Document, Indexes

Key = TypeVar("Key", MemberId, ServerId, ApplicationId, ServiceId)
Value = TypeVar("Value")


@dataclass(frozen=True, slots=True)
class RegistryState:
    """Everything a server knows of its instance, from one registry snapshot.

    ``version`` is the version of the TUF snapshot, ``expires`` the end of the timestamp role;
    ``schemas`` holds the shared schemas by their ``$id``, ``elements`` the dictionary of data
    elements.
    """

    instance: InstanceRecord
    schemas: Mapping[str, bytes]
    elements: Dictionary
    version: int
    expires: datetime
    complaints: tuple[Problem, ...]
    review_at: datetime | None
    standing: Standing
    moves: Mapping[Thing, Thing]
    indexes: Indexes = field(repr=False)

    @classmethod
    def build(
        cls,
        instance: InstanceRecord,
        members: Iterable[AdmittedMember],
        *,
        openapi: Mapping[ServiceId, Document],
        schemas: Mapping[str, bytes],
        elements: Dictionary = NO_ELEMENTS,
        version: int,
        expires: datetime,
        complaints: Iterable[Problem] = (),
        reviews: Iterable[datetime] = (),
        standing: Standing = NOTHING_AWAY,
    ) -> RegistryState:
        """Index the admitted members; ``reviews`` are further moments to judge again at.

        What ``standing`` disables is in no index, but for seals, which prove what was before.
        """
        nothing = cls(
            instance=instance,
            schemas={},
            elements=elements,
            version=0,
            expires=expires,
            complaints=(),
            review_at=None,
            standing=standing,
            moves={},
            indexes=NOTHING,
        )
        return nothing.after(
            {member.record.member: member for member in members},
            openapi=openapi,
            schemas=schemas,
            elements=elements,
            version=version,
            expires=expires,
            complaints=complaints,
            reviews=reviews,
        )

    def after(
        self,
        members: Mapping[MemberId, AdmittedMember | None],
        *,
        openapi: Mapping[ServiceId, Document],
        schemas: Mapping[str, bytes],
        elements: Dictionary,
        version: int,
        expires: datetime,
        complaints: Iterable[Problem] = (),
        reviews: Iterable[datetime] = (),
    ) -> RegistryState:
        """The state in which these members say something else, or are gone; the others stay.

        What is indexed again is these members alone.

        Args:
            openapi: the documents of their services.
        """
        indexes = self.indexes.after(members, openapi, self.standing)
        admitted = indexes.admitted.values()
        moments = (one.review_at for one in admitted if one.review_at is not None)
        return RegistryState(
            instance=self.instance,
            schemas=MappingProxyType(dict(schemas)),
            elements=elements,
            version=version,
            expires=expires,
            complaints=(*complaints, *(problem for one in admitted for problem in one.complaints)),
            review_at=min((*moments, *reviews), default=None),
            standing=self.standing,
            moves=agreed_moves(indexes.members.values()),
            indexes=indexes,
        )

    @property
    def members(self) -> Mapping[MemberId, MemberRecord]:
        """The members that are not disabled."""
        return self.indexes.members

    @property
    def openapi(self) -> Mapping[ServiceId, Document]:
        """The documents of services."""
        return self.indexes.openapi

    def prolonged(self, expires: datetime) -> RegistryState:
        """The same state, vouched for until ``expires``."""
        return replace(self, expires=expires)

    def member(self, member: MemberId) -> MemberRecord:
        """Raises: Problem ``UnknownMember``, or why the registry took it away."""
        return self._find(self.members, member, Code.UNKNOWN_MEMBER)

    def provider_of(self, service: ServiceId) -> MemberRecord:
        """Raises: Problem ``UnknownMember``, or why the registry took the service away, with its
        successor where it has one."""
        record = self.members.get(service.member)
        if record is None:
            self.standing.check(service)
            merger = self.standing.merger_of(service)
            raise (
                _unknown(Code.UNKNOWN_MEMBER, service.member)
                if merger is None
                else (merger.problem(service))
            )
        return record

    def application(self, application: ApplicationId) -> ApplicationRecord:
        """Raises: Problem ``UnknownApplication``, or why the registry took it away."""
        return self._find(self.indexes.applications, application, Code.UNKNOWN_APPLICATION)

    def service(self, service: ServiceId) -> ServiceRecord:
        """Raises: Problem ``UnknownService``, or why the registry took it away."""
        return self._find(self.indexes.services, service, Code.UNKNOWN_SERVICE)

    def server(self, server: ServerId) -> ServerRecord:
        """Raises: Problem ``InvalidSecurityServer`` when the registry has no such server, or why it
        took it away."""
        return self._find(self.indexes.servers, server, Code.UNKNOWN_SERVER)

    def servers_of(self, application: ApplicationId) -> tuple[ServerRecord, ...]:
        """The known servers that speak for an application, in its order of preference; may be none.

        Raises:
            Problem: ``UnknownApplication``, or why the registry took it away.
        """
        return self._find(self.indexes.hosts, application, Code.UNKNOWN_APPLICATION)

    def servers_for(self, member: MemberId) -> tuple[ServerRecord, ...]:
        """All known servers that hold journals of a member: its own, and those that speak for its
        applications.

        Raises:
            Problem: ``UnknownMember``.
        """
        record = self.member(member)
        speaking = [
            server for item in record.applications for server in self.indexes.hosts.get(item.id, ())
        ]
        own = [server for server in record.servers if server.id in self.indexes.servers]
        return tuple({server.id: server for server in (*own, *speaking)}.values())

    def seal_key(self, keyid: str) -> SealKey:
        """The member that seals with the key ``keyid``, the key and its certificate.

        Raises:
            Problem: ``IncorrectCertificate`` when no member has registered it.
        """
        seal = self.indexes.seals.get(keyid)
        if seal is None:
            raise _unknown(Code.CERTIFICATE_MISMATCH, keyid)
        return seal

    def _find(self, index: Mapping[Key, Value], key: Key, code: Code) -> Value:
        """The value; without one, why: taken away, gone into another member, or never there."""
        try:
            return index[key]
        except KeyError:
            self.standing.check(key)
            new = successor(self.moves, key)
            if new is not None and isinstance(key, ApplicationId | ServiceId):
                raise moved_problem(key, new) from None
            merger = self.standing.merger_of(key)
            raise _unknown(code, key) if merger is None else merger.problem(key) from None

    def auth_server(self, fingerprint: str) -> ServerId:
        """The server that shows the TLS certificate with this fingerprint.

        Raises:
            Problem: ``PeerCertificateUntrusted`` when no server has registered it, or why the
                registry took the server away.
        """
        server = self.indexes.auths.get(fingerprint)
        if server is None:
            if (disabled := self.indexes.disabled_auths.get(fingerprint)) is not None:
                self.standing.check(disabled)
            raise _unknown(Code.PEER_CERTIFICATE_UNTRUSTED, fingerprint)
        return server

    @property
    def certificates(self) -> Mapping[str, tuple[str, x509.Certificate]]:
        """All certificates that qualified, by fingerprint, each with what it is: made anew."""
        found = {
            keyid: (f"seal {member}", certificate)
            for keyid, (member, _, certificate) in self.indexes.seals.items()
        }
        for server in self.indexes.servers.values():
            for certificate in server.auth_certificates:
                print_ = fingerprint_of(certificate)
                if print_ in self.indexes.auths:
                    found[print_] = (f"auth {server.id}", certificate)
        return found


def _unknown(code: Code, key: object) -> Problem:
    return Problem(
        code, where=str(key), detail=f"the registry has no {key}", facts={"id": str(key)}
    )
