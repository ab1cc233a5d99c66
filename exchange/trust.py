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
from typing import TypeVar

import orjson
from cryptography import x509

from exchange.certificates import (
    fingerprint_of,
    is_development,
    judge_auth,
    judge_seal,
    refuse_development,
)
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
    openapi: Mapping[ServiceId, bytes]
    schemas: Mapping[str, bytes]
    elements: Dictionary
    version: int
    expires: datetime
    complaints: tuple[Problem, ...]
    review_at: datetime | None
    standing: Standing
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
        openapi: Mapping[ServiceId, bytes],
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
        admitted = tuple(members)
        off = standing.of
        records = [member.record for member in admitted if not off(member.record.member)]
        servers = {
            server.id: server
            for record in records
            for server in record.servers
            if not off(server.id)
        }
        applications = {
            item.id: item for record in records for item in record.applications if not off(item.id)
        }
        auths = {print_: server for member in admitted for print_, server in member.auths.items()}
        moments = [member.review_at for member in admitted if member.review_at is not None]
        return cls(
            instance=instance,
            members=MappingProxyType({record.member: record for record in records}),
            openapi=MappingProxyType(dict(openapi)),
            schemas=MappingProxyType(dict(schemas)),
            elements=elements,
            version=version,
            expires=expires,
            complaints=(
                *complaints,
                *(problem for member in admitted for problem in member.complaints),
            ),
            review_at=min((*moments, *reviews), default=None),
            _applications=applications,
            standing=standing,
            _services={
                item.id: item for record in records for item in record.services if not off(item.id)
            },
            _servers=servers,
            _hosts={
                application.id: tuple(
                    servers[server] for server in application.servers if server in servers
                )
                for application in applications.values()
            },
            _seals={keyid: seal for member in admitted for keyid, seal in member.seals.items()},
            _auths={print_: server for print_, server in auths.items() if not off(server)},
            _disabled_auths={print_: server for print_, server in auths.items() if off(server)},
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
