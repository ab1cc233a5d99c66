"""A registry in memory that tests change and then look at, good or evil as they like.

In the spirit of python-tuf's ``repository_simulator``: every key is at hand, so a test can play the
registry's operator, a member, or whoever broke into either.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import quote, urlsplit

from cryptography import x509
from securesystemslib.signer import CryptoSigner
from tuf.api.exceptions import DownloadError, DownloadHTTPError
from tuf.api.metadata import DelegatedRole, Delegations, TargetFile, Targets

from certs.authority import DevelopmentAuthority, create_development_pki
from certs.issue import Issued
from exchange.identifiers import ApplicationId, MemberId, ServerId, ServiceId
from exchange.problems import Text
from exchange.registrations import (
    INSTANCE_TARGET,
    ApplicationRecord,
    Environment,
    InstanceRecord,
    MemberRecord,
    ServerRecord,
    ServiceRecord,
    ServiceType,
    format_instance,
    format_member,
    member_target,
    openapi_file,
)
from exchange.registry.delegations import delegated_role, role_name
from exchange.registry.deltas import delta_path, make_delta
from exchange.registry.key_sets import KeySet
from mediator.registry_copy.fetcher import RegistryFetcher
from registry.publication.publish import (
    RootKeys,
    member_role,
    new_root,
    next_snapshot,
    next_timestamp,
    sign,
)
from registry.publication.signers import key_set, new_signer
from registry.requests.possession import PrivateKey
from tests.registry.simulated_log import SimulatedLog

NOW = datetime(2026, 3, 2, 8, 0, tzinfo=UTC)
URL = "http://registry.test"
MPI = MemberId("LA", "GOV", "MPI")
MOF = MemberId("LA", "GOV", "MOF")
SCHEMA = b'{"$id":"https://schemas.saphan.la/province/1","title":"Province","type":"object"}'


def authority(instance: str = "LA", name: str = "one") -> DevelopmentAuthority:
    """A development authority, valid around :data:`NOW`; another ``name`` is a foreign one."""
    return _authority(instance, name)


@cache
def _authority(instance: str, name: str) -> DevelopmentAuthority:
    with TemporaryDirectory() as folder:
        return create_development_pki(Path(folder), instance, at=NOW - timedelta(days=1))


@cache
def seal_certificate(member: MemberId, name: str = "one") -> x509.Certificate:
    """A seal certificate of ``member``."""
    at = NOW - timedelta(hours=1)
    return _kept(authority(member.instance, name).issue_seal(member, at=at))


@cache
def auth_certificate(server: ServerId, name: str = "one") -> x509.Certificate:
    """A TLS certificate of ``server``."""
    at = NOW - timedelta(hours=1)
    issuer = authority(server.instance, name)
    return _kept(issuer.issue_auth(server, ["127.0.0.1"], at=at, days=90))


KEYS: dict[x509.Certificate, PrivateKey] = {}
"""The private keys of all certificates that were issued here."""


def _kept(issued: Issued) -> x509.Certificate:
    assert issued.private_key is not None
    KEYS[issued.certificate] = issued.private_key
    return issued.certificate


def keys_of(record: MemberRecord) -> dict[x509.Certificate, PrivateKey]:
    """The keys of a member's certificates."""
    auths = [one for server in record.servers for one in server.auth_certificates]
    return {one: KEYS[one] for one in (*record.seal_certificates, *auths) if one in KEYS}


def instance_record(environment: Environment = Environment.DEVELOPMENT) -> InstanceRecord:
    """The instance LA with its development authorities."""
    return InstanceRecord(
        "LA", environment, Text("Laos", "ລາວ"), tuple(authority().authorities), ()
    )


def openapi_document(path: str = "/projects") -> bytes:
    """A small OpenAPI document."""
    operation = {"responses": {"200": {"description": "done"}}}
    return json.dumps(
        {
            "openapi": "3.1.0",
            "info": {"title": "Projects", "version": "1.0.0"},
            "paths": {path: {"get": operation}},
        }
    ).encode()


def member_record(member: MemberId, *, name: str = "Ministry") -> MemberRecord:
    """A member with a server, an application and a service."""
    codes = (member.instance, member.member_class, member.member_code)
    server = ServerId(*codes, "ss1")
    application = ApplicationId(*codes, "oda-mis")
    service = ServiceId(*codes, "oda-mis", "projects")
    return MemberRecord(
        member=member,
        name=Text(name, "ກະຊວງ"),
        seal_certificates=(seal_certificate(member),),
        servers=(
            ServerRecord(server, "https://127.0.0.1:5501", (auth_certificate(server),), None),
        ),
        applications=(ApplicationRecord(application, Text("ODA-MIS", "ODA-MIS"), (server,)),),
        services=(
            ServiceRecord(
                service, ServiceType.OPENAPI, Text("Projects", "ໂຄງການ"), openapi_file(service)
            ),
        ),
    )


def member_files(record: MemberRecord) -> dict[str, bytes]:
    """The files of a member's role, by target path."""
    files = {member_target(record.member): format_member(record)}
    for service in record.services:
        if service.openapi_target is not None:
            files[service.openapi_target] = openapi_document()
    return files


@dataclass(slots=True)
class SimulatedMember:
    """A member as the simulated registry delegates to it."""

    record: MemberRecord
    signers: list[CryptoSigner] = field(default_factory=lambda: [new_signer()])
    delegated: KeySet | None = None
    version: int = 1
    expires: datetime = NOW + timedelta(days=365)
    files: dict[str, bytes] | None = None

    @property
    def keys(self) -> KeySet:
        return self.delegated or key_set(self.signers, 1)


class SimulatedRegistry:
    """All state of a registry; :meth:`publish` signs it and puts it where clients look."""

    def __init__(self, now: datetime = NOW) -> None:
        self.now = now
        self.instance = instance_record()
        self.root_signers = [new_signer() for _ in range(3)]
        self.targets_signers = [new_signer() for _ in range(3)]
        self.snapshot_signer, self.timestamp_signer = new_signer(), new_signer()
        self.members: dict[MemberId, SimulatedMember] = {}
        self.extra_roles: list[tuple[DelegatedRole, list[CryptoSigner], dict[str, bytes]]] = []
        self.own_files: dict[str, bytes] = {"schemas/province.1.json": SCHEMA}
        self.timestamp_validity = timedelta(hours=1)
        self.gives_deltas = False
        self.targets_version = 0
        self.root = new_root(
            RootKeys(
                key_set(self.root_signers, 2),
                key_set(self.targets_signers, 2),
                key_set([self.snapshot_signer], 1),
                key_set([self.timestamp_signer], 1),
            ),
            now + timedelta(days=365),
        )
        self.root_bytes = sign(self.root, self.root_signers)
        self.snapshot = None
        self.timestamp = None
        self.log: SimulatedLog | None = None
        self.files: dict[str, bytes] = {}
        self.fetcher = MemoryFetcher(self.files)

    def register(self, member: MemberId, name: str = "Ministry") -> SimulatedMember:
        """Delegate to a new member."""
        self.members[member] = SimulatedMember(member_record(member, name=name))
        return self.members[member]

    def update(self, member: MemberId, name: str) -> None:
        """The member gives itself another name."""
        simulated = self.members[member]
        simulated.record = member_record(member, name=name)
        simulated.version += 1

    def publish(self) -> None:
        """Sign and put out the present state."""
        self.targets_version += 1
        versions = {"targets": self.targets_version}
        keys, roles = {}, {}
        for role, signers, files in self.extra_roles:
            keys.update({signer.public_key.keyid: signer.public_key for signer in signers})
            roles[role.name] = role
            metadata = member_role(files, version=1, expires=self.now + timedelta(days=9))
            self._put_role(role.name, 1, sign(metadata, signers), files)
            versions[role.name] = 1
        for member, simulated in self.members.items():
            keys.update({key.keyid: key for key in simulated.keys.keys})
            roles[role_name(member)] = delegated_role(member, simulated.keys)
            files = simulated.files or member_files(simulated.record)
            role = member_role(files, version=simulated.version, expires=simulated.expires)
            self._put_role(
                role_name(member), simulated.version, sign(role, simulated.signers), files
            )
            versions[role_name(member)] = simulated.version
        instance = self.instance
        if self.log is not None:
            instance = replace(instance, log=instance.log or self.log.verifiers)
        files = {INSTANCE_TARGET: format_instance(instance), **self.own_files}
        targets = Targets(
            version=self.targets_version,
            expires=self.now + timedelta(days=365),
            targets={
                path: TargetFile.from_data(path, data, ["sha256"]) for path, data in files.items()
            },
            delegations=Delegations(keys, roles),
        )
        own = sign(targets, self.targets_signers)
        self._put_role("targets", self.targets_version, own, files)
        self.snapshot = next_snapshot(
            self.snapshot,
            versions,
            expires=self.now + timedelta(days=7),
            own=own if self.gives_deltas else None,
        )
        snapshot = sign(self.snapshot, [self.snapshot_signer])
        version = self.snapshot.version
        self._put(f"/metadata/{version}.snapshot.json", snapshot)
        if self.gives_deltas:
            self._put_delta("targets", self.targets_version)
            self._put_delta("snapshot", version)
        if self.log is not None:
            self.files.update(
                self.log.add_state(snapshot, version, self.targets_version, self.root.version)
            )
        self.stamp()

    def stamp(self) -> None:
        """Sign a new timestamp over the present snapshot."""
        self.timestamp = next_timestamp(
            self.timestamp,
            self.snapshot.version,
            expires=self.now + self.timestamp_validity,
            snapshot=self.files[f"/metadata/{self.snapshot.version}.snapshot.json"]
            if self.gives_deltas
            else None,
        )
        self._put("/metadata/timestamp.json", sign(self.timestamp, [self.timestamp_signer]))

    def _put_role(self, name: str, version: int, metadata: bytes, files: dict[str, bytes]) -> None:
        self._put(f"/metadata/{version}.{quote(name, '')}.json", metadata)
        for path, data in files.items():
            folder, _, file = path.rpartition("/")
            digest = hashlib.sha256(data).hexdigest()
            self._put(f"/targets/{folder}/{digest}.{file}".replace("//", "/"), data)

    def _put_delta(self, role: str, version: int) -> None:
        old = self.files.get(f"/metadata/{version - 1}.{role}.json")
        delta = make_delta(old, self.files[f"/metadata/{version}.{role}.json"]) if old else None
        if delta is not None:
            self._put(f"/{delta_path(role, version)}", delta)

    def _put(self, path: str, data: bytes) -> None:
        self.files[path] = data


class MemoryFetcher(RegistryFetcher):
    """The network of a simulated registry; counts, and can be cut."""

    def __init__(self, files: dict[str, bytes]) -> None:
        super().__init__()
        self.files = files
        self.asked: list[str] = []
        self.is_cut = False
        self.lost: str | None = None

    def _stream(self, url: str) -> Iterator[bytes]:
        path = urlsplit(url).path
        self.asked.append(path)
        if self.is_cut or (self.lost is not None and url.startswith(self.lost)):
            raise DownloadError("the line is cut")
        if path not in self.files:
            raise DownloadHTTPError(f"no {path}", 404)
        return iter((self.files[path],))
