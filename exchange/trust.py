"""Trust: what a server believes of its instance at one moment; look-ups of the message path.

A :class:`RegistryState` is built from verified registrations (:mod:`exchange.registrations`) and
never changes; a newer one replaces it. Who may say what is decided before: TUF roles, and the
continuity of members' keys (:mod:`exchange.continuity`).

Invariants:
- a seal certificate is in the state only if, at the time ``at``, it chains to an authority of the
  instance, may seal, and names the member whose document lists it; an auth certificate likewise
  names the server that lists it; development certificates are not in a production instance's;
- what does not qualify is left out and told in ``complaints``; it does not spoil the rest;
- every look-up is one dictionary access.

Certificates are judged when a member is admitted. A certificate may end later: ``review_at`` is
the first moment at which a judgement could come out differently, and the state must be built anew
then. Not checked here: revocation, and agreements, which alone open doors (design.md section 1).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from types import MappingProxyType
from typing import Protocol, TypeVar, cast

import orjson
from cryptography import x509

from exchange.certificates.judging import judge_auth, judge_seal
from exchange.certificates.reading import fingerprint_of, is_development, refuse_development
from exchange.code_lists import parse_code_list
from exchange.continuity import (
    KeySet,
    Pin,
    Statement,
    check_continuity,
    judge_delegations,
    read_delegations,
    role_name,
)
from exchange.documents import parse_document
from exchange.elements import NO_ELEMENTS, Dictionary
from exchange.identifiers import ApplicationId, MemberId, ServerId, ServiceId
from exchange.keys import VerifyingKey, verifying_key
from exchange.moves import Thing, agreed_moves, moved_problem, successor
from exchange.problems import Code, Problem
from exchange.registrations import (
    MAX_SCHEMA_BYTES,
    ApplicationRecord,
    Environment,
    InstanceRecord,
    MemberRecord,
    ServerRecord,
    ServiceRecord,
    ServiceType,
    TimestampAuthority,
    format_instance,
    format_member,
    is_code_list_target,
    is_schema_target,
    parse_instance,
    parse_member,
)
from exchange.standing import NOTHING_AWAY, Standing
from schemas import code_list_schema

__all__ = [
    "AdmittedMember",
    "ApplicationRecord",
    "Environment",
    "InstanceRecord",
    "KeySet",
    "MemberRecord",
    "Pin",
    "RegistryState",
    "ServerRecord",
    "ServiceRecord",
    "ServiceType",
    "Statement",
    "TimestampAuthority",
    "admit_member",
    "check_continuity",
    "format_instance",
    "format_member",
    "judge_delegations",
    "parse_instance",
    "parse_member",
    "read_delegations",
    "role_name",
    "schema_id",
    "shared_schemas",
    "trusted_authorities",
]

SealKey = tuple[MemberId, VerifyingKey, x509.Certificate]
Key = TypeVar("Key", MemberId, ServerId, ApplicationId, ServiceId)
Value = TypeVar("Value")
Owner = TypeVar("Owner", MemberId, ServerId)
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
class AdmittedMember:
    """A member's record with those of its certificates that qualified at one time."""

    record: MemberRecord
    seals: Mapping[str, SealKey]
    auths: Mapping[str, ServerId]
    complaints: tuple[Problem, ...]
    review_at: datetime | None


def trusted_authorities(instance: InstanceRecord) -> tuple[x509.Certificate, ...]:
    """The authorities whose certificates count: in production, none of development."""
    if instance.environment is Environment.DEVELOPMENT:
        return instance.authorities
    return tuple(authority for authority in instance.authorities if not is_development(authority))


def admit_member(record: MemberRecord, instance: InstanceRecord, at: datetime) -> AdmittedMember:
    """Judge a member's certificates at the time ``at``; what fails is told, not raised."""
    judging = _Judging(instance, trusted_authorities(instance), at)
    seals: dict[str, SealKey] = {}
    auths: dict[str, ServerId] = {}
    for certificate in record.seal_certificates:
        if judging.passes(certificate, judge_seal, record.member):
            key = verifying_key(certificate)
            seals[key.keyid] = (record.member, key, certificate)
    for server in record.servers:
        for certificate in server.auth_certificates:
            if judging.passes(certificate, judge_auth, server.id):
                auths[fingerprint_of(certificate)] = server.id
    return AdmittedMember(
        record,
        MappingProxyType(seals),
        MappingProxyType(auths),
        tuple(judging.complaints),
        judging.review_at,
    )


@dataclass(slots=True)
class _Judging:
    """One pass over a member's certificates."""

    instance: InstanceRecord
    authorities: tuple[x509.Certificate, ...]
    at: datetime
    complaints: list[Problem] = field(default_factory=list)
    review_at: datetime | None = None

    def passes(
        self,
        certificate: x509.Certificate,
        judge: Callable[[x509.Certificate, tuple[x509.Certificate, ...], datetime], Owner],
        owner: Owner,
    ) -> bool:
        self._watch(certificate)
        try:
            refuse_development((certificate,), self.instance.environment)
            named = judge(certificate, self.authorities, self.at)
        except Problem as problem:
            problem.facts["owner"] = str(owner)
            self.complaints.append(problem)
            return False
        if named != owner:
            self.complaints.append(
                Problem(
                    Code.CERTIFICATE_MISMATCH,
                    where=fingerprint_of(certificate),
                    detail=f"the certificate names {named} but is listed for {owner}",
                    facts={"owner": str(owner)},
                )
            )
            return False
        return True

    def _watch(self, certificate: x509.Certificate) -> None:
        for moment in (certificate.not_valid_before_utc, certificate.not_valid_after_utc):
            if moment > self.at and (self.review_at is None or moment < self.review_at):
                self.review_at = moment


@dataclass(frozen=True, slots=True)
class RegistryState:
    """Everything a server knows of its instance, from one registry snapshot.

    ``version`` is the version of the TUF snapshot, ``expires`` the end of the timestamp role;
    ``openapi`` holds the documents of services, ``schemas`` the shared schemas by their ``$id``,
    ``elements`` the dictionary of data elements.
    """

    instance: InstanceRecord
    members: Mapping[MemberId, MemberRecord]
    openapi: Mapping[ServiceId, Document]
    schemas: Mapping[str, bytes]
    elements: Dictionary
    version: int
    expires: datetime
    complaints: tuple[Problem, ...]
    review_at: datetime | None
    standing: Standing
    moves: Mapping[Thing, Thing]
    _admitted: Mapping[MemberId, AdmittedMember] = field(repr=False, compare=False)
    _applications: Mapping[ApplicationId, ApplicationRecord] = field(repr=False)
    _services: Mapping[ServiceId, ServiceRecord] = field(repr=False)
    _servers: Mapping[ServerId, ServerRecord] = field(repr=False)
    _hosts: Mapping[ApplicationId, tuple[ServerRecord, ...]] = field(repr=False)
    _seals: Mapping[str, SealKey] = field(repr=False)
    _auths: Mapping[str, ServerId] = field(repr=False)
    _disabled_auths: Mapping[str, ServerId] = field(repr=False)

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
            members={},
            openapi={},
            schemas={},
            elements=elements,
            version=0,
            expires=expires,
            complaints=(),
            review_at=None,
            standing=standing,
            moves={},
            _admitted={},
            _applications={},
            _services={},
            _servers={},
            _hosts={},
            _seals={},
            _auths={},
            _disabled_auths={},
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
        admitted, drafts = _copy(self._admitted), _Indexes.of(self)
        for member, new in members.items():
            if (old := admitted.pop(member, None)) is not None:
                drafts.take_out(old)
            if new is not None:
                admitted[member] = new
                drafts.put_in(new, self.standing)
        drafts.find_hosts(one for one in members.values() if one is not None)
        drafts.openapi.update(openapi)
        moments = (one.review_at for one in admitted.values() if one.review_at is not None)
        return RegistryState(
            instance=self.instance,
            members=MappingProxyType(drafts.members),
            openapi=MappingProxyType(drafts.openapi),
            schemas=MappingProxyType(dict(schemas)),
            elements=elements,
            version=version,
            expires=expires,
            complaints=(
                *complaints,
                *(problem for one in admitted.values() for problem in one.complaints),
            ),
            review_at=min((*moments, *reviews), default=None),
            standing=self.standing,
            moves=agreed_moves(drafts.members.values()),
            _admitted=admitted,
            _applications=drafts.applications,
            _services=drafts.services,
            _servers=drafts.servers,
            _hosts=drafts.hosts,
            _seals=drafts.seals,
            _auths=drafts.auths,
            _disabled_auths=drafts.disabled_auths,
        )

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
        return self._find(self._applications, application, Code.UNKNOWN_APPLICATION)

    def service(self, service: ServiceId) -> ServiceRecord:
        """Raises: Problem ``UnknownService``, or why the registry took it away."""
        return self._find(self._services, service, Code.UNKNOWN_SERVICE)

    def server(self, server: ServerId) -> ServerRecord:
        """Raises: Problem ``InvalidSecurityServer`` when the registry has no such server, or why it
        took it away."""
        return self._find(self._servers, server, Code.UNKNOWN_SERVER)

    def servers_of(self, application: ApplicationId) -> tuple[ServerRecord, ...]:
        """The known servers that speak for an application, in its order of preference; may be none.

        Raises:
            Problem: ``UnknownApplication``, or why the registry took it away.
        """
        return self._find(self._hosts, application, Code.UNKNOWN_APPLICATION)

    def servers_for(self, member: MemberId) -> tuple[ServerRecord, ...]:
        """All known servers that hold journals of a member: its own, and those that speak for its
        applications.

        Raises:
            Problem: ``UnknownMember``.
        """
        record = self.member(member)
        speaking = [
            server for item in record.applications for server in self._hosts.get(item.id, ())
        ]
        own = [server for server in record.servers if server.id in self._servers]
        return tuple({server.id: server for server in (*own, *speaking)}.values())

    def seal_key(self, keyid: str) -> SealKey:
        """The member that seals with the key ``keyid``, the key and its certificate.

        Raises:
            Problem: ``IncorrectCertificate`` when no member has registered it.
        """
        seal = self._seals.get(keyid)
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
        server = self._auths.get(fingerprint)
        if server is None:
            if (disabled := self._disabled_auths.get(fingerprint)) is not None:
                self.standing.check(disabled)
            raise _unknown(Code.PEER_CERTIFICATE_UNTRUSTED, fingerprint)
        return server

    @property
    def certificates(self) -> Mapping[str, tuple[str, x509.Certificate]]:
        """All certificates that qualified, by fingerprint, each with what it is: made anew."""
        found = {
            keyid: (f"seal {member}", certificate)
            for keyid, (member, _, certificate) in self._seals.items()
        }
        for server in self._servers.values():
            for certificate in server.auth_certificates:
                print_ = fingerprint_of(certificate)
                if print_ in self._auths:
                    found[print_] = (f"auth {server.id}", certificate)
        return found

    @property
    def auth_fingerprints(self) -> Mapping[str, ServerId]:
        """All registered TLS certificates of servers."""
        return MappingProxyType(dict(self._auths))


@dataclass(slots=True)
class _Indexes:
    """The indexes of a state while it is made of another; identifiers and certificates name their
    member, so no two members have an entry in common."""

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
    def of(cls, state: RegistryState) -> _Indexes:
        return cls(
            _copy(state.members),
            _copy(state.openapi),
            _copy(state._applications),
            _copy(state._services),
            _copy(state._servers),
            _copy(state._seals),
            _copy(state._auths),
            _copy(state._disabled_auths),
            _copy(state._hosts),
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


def schema_id(data: bytes, path: str) -> str:
    """The ``$id`` of a shared schema.

    Raises:
        Problem: ``InvalidDocument`` when the file is not JSON or has no ``$id`` of its own.
    """
    node = parse_document(data, MAX_SCHEMA_BYTES, path)
    if not isinstance(node.value, dict) or not isinstance(node.value.get("$id"), str):
        raise node.refuse("a shared schema needs an $id")
    return str(node.value["$id"])


def shared_schemas(files: Mapping[str, bytes]) -> dict[str, bytes]:
    """The shared schemas among the registry's own files, and those of its code lists, by ``$id``.

    Raises:
        Problem: ``InvalidDocument`` for a file that is none.
    """
    found = {
        schema_id(data, path): data
        for path, data in sorted(files.items())
        if is_schema_target(path)
    }
    for path, data in sorted(files.items()):
        if is_code_list_target(path):
            parse_code_list(data, path)
            identifier, schema = code_list_schema(orjson.loads(data))
            found[identifier] = schema
    return found


def _unknown(code: Code, key: object) -> Problem:
    return Problem(
        code, where=str(key), detail=f"the registry has no {key}", facts={"id": str(key)}
    )
