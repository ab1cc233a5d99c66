"""Registries of any size, made through the registry's own code: real keys, certificates, seals.

Each member has a server, ten services with an OpenAPI document each, and thirty agreements that it
offers, sealed by both parties and published beside its document. Only what people do one by one is
left out: members are not submitted and approved each by itself but published in batches.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import orjson
from cryptography import x509
from tuf.api.metadata import Targets

from certs.authority import DevelopmentAuthority, create_development_pki
from certs.issue import Issued
from exchange.agreements import format_agreement, parse_agreement
from exchange.agreements.seal import SEAL_TYPE
from exchange.identifiers import ApplicationId, MemberId, ServerId, ServiceId
from exchange.jws import format_jws
from exchange.jws import sign as sign_jws
from exchange.keys import signing_key
from exchange.problems import Text
from exchange.registrations import (
    ApplicationRecord,
    Environment,
    InstanceRecord,
    MemberRecord,
    ServerRecord,
    ServiceRecord,
    ServiceType,
    format_member,
    member_target,
    openapi_file,
)
from exchange.registry.delegations import role_name
from registry.offline.member import KEY_FILE, ROLE_VALIDITY, Described, MemberFolder
from registry.publication.ceremony import (
    PUBLIC,
    Opened,
    Quorum,
    online_keys,
    open_log,
    open_registry,
)
from registry.publication.publish import (
    OWN_ROLE,
    TARGETS_VALIDITY,
    member_role,
    next_targets,
    read,
    sign,
)
from registry.publication.signers import key_set, new_signer, read_signer, read_signers
from registry.publication.tree import Tree
from registry.registrar import Registrar
from registry.requests.submissions import Submission
from registry.settings import read_settings
from registry.store import Store

SERVICES = 10
AGREEMENTS = 30
_BATCH = 100


@dataclass(frozen=True, slots=True)
class Generated:
    """A registry of ``members``; the first of them has its folder, so that it can sign anew."""

    directory: Path
    members: int
    opened: Opened
    authority: DevelopmentAuthority
    folder: MemberFolder
    described: Described


def generate(directory: Path, members: int) -> Generated:
    """Make a registry in ``directory``."""
    at = datetime.now(UTC)
    authority = create_development_pki(directory / "ca", "LA", at=at - timedelta(hours=1))
    instance = InstanceRecord(
        "LA", Environment.DEVELOPMENT, Text("Laos", "ລາວ"), tuple(authority.authorities), ()
    )
    path = directory / "registry"
    opened = open_registry(path, instance, at, root=Quorum(1, 1), targets=Quorum(1, 1))
    ids = [member_id(number) for number in range(members)]
    seals = [authority.issue_seal(member, at=at) for member in ids]
    folder = MemberFolder.create(directory / "member", ids[0])
    store = Store(read_settings(path).place(path))
    settings = read_settings(path)
    tree = Tree(path / PUBLIC, open_log(store, path, settings))
    registrar = Registrar(store, tree, online_keys(path), settings.terms())
    registrar.start(at)
    described: Described | None = None
    for start in range(0, members, _BATCH):
        roles, files, keys = {}, {}, {}
        for number in range(start, min(start + _BATCH, members)):
            member = ids[number]
            signer = read_signer(folder.directory / KEY_FILE) if number == 0 else new_signer()
            contents = _contents(number, ids, seals, authority, at)
            role = member_role(contents, version=1, expires=at + ROLE_VALIDITY)
            roles[role_name(member)] = (1, sign(role, [signer]))
            files[role_name(member)] = contents
            keys[member] = key_set([signer], 1)
            if number == 0:
                (folder.directory / "version").write_text("1")
                names = {path.rpartition("/")[2]: data for path, data in contents.items()}
                described = Described(member, names, {})
        current = read(Targets, registrar.targets_bytes(), OWN_ROLE)
        own = next_targets(current, "LA", expires=at + TARGETS_VALIDITY, members=keys)
        roles[OWN_ROLE] = (own.version, sign(own, read_signers(opened.targets_keys)))
        with registrar.acting():
            registrar.publish_roles(roles, files, at)
    store.close()
    assert described is not None
    return Generated(path, members, opened, authority, folder, described)


def changed(generated: Generated, name: str) -> Described:
    """What the first member says of itself after a change of its name."""
    described = generated.described
    member = orjson.loads(described.files["member.json"])
    member["name"] = {"en": name, "lo": name}
    return replace(described, files={**described.files, "member.json": orjson.dumps(member)})


def newcomer(generated: Generated, path: Path) -> Submission:
    """A first registration of one more member."""
    at, number = datetime.now(UTC), generated.members
    member = member_id(number)
    seal = generated.authority.issue_seal(member, at=at)
    auth = generated.authority.issue_auth(_server(member), ["127.0.0.1"], at=at)
    record = _record(number, member, seal, auth)
    names = {name: _openapi(name) for name in map(str, (one.openapi for one in record.services))}
    keys = {}
    for issued in (seal, auth):
        assert issued.private_key is not None  # made here
        keys[issued.certificate] = issued.private_key
    described = Described(member, {"member.json": format_member(record), **names}, keys)
    return MemberFolder.create(path, member).sign(described, 0, at)


@dataclass(frozen=True, slots=True)
class Provider:
    """Who pinned agreements, and whom it trusts."""

    member: MemberId
    authorities: tuple[x509.Certificate, ...]


def pinned(folder: Path, count: int) -> tuple[Provider, list[ApplicationId]]:
    """Pin ``count`` agreements of one provider in ``folder``, each service to many consumers."""
    at = datetime.now(UTC)
    authority = create_development_pki(folder / "ca", "LA", at=at - timedelta(hours=1))
    provider = member_id(0)
    own = authority.issue_seal(provider, at=at)
    services = services_of(provider)
    consumers = [member_id(number + 1) for number in range(max(1, count // len(services)))]
    seals = {consumer: authority.issue_seal(consumer, at=at) for consumer in consumers}
    for number in range(count):
        consumer = consumers[number % len(consumers)]
        service = services[number // len(consumers) % len(services)]
        document = agreement(number, provider, application_of(consumer), service)
        path = folder / f"agreement-{number}.jws"
        path.write_bytes(sealed(document, own, seals[consumer]))
    known = Provider(provider, tuple(authority.authorities))
    return known, [application_of(consumer) for consumer in consumers]


def member_id(number: int) -> MemberId:
    """The identifier of a generated member."""
    return MemberId("LA", "GOV", f"M{number:04}")


def services_of(member: MemberId) -> list[ServiceId]:
    """The services of a generated member."""
    codes = (member.instance, member.member_class, member.member_code)
    return [ServiceId(*codes, "records", f"service-{number}") for number in range(SERVICES)]


def application_of(member: MemberId) -> ApplicationId:
    """The application of a generated member."""
    return ApplicationId(member.instance, member.member_class, member.member_code, "records")


def agreement(
    number: int, provider: MemberId, consumer: ApplicationId, service: ServiceId
) -> Mapping[str, object]:
    """An agreement as the parties write it."""
    text = {"en": f"Agreement {number}", "lo": "ຂໍ້ຕົກລົງ"}
    return {
        "id": f"agreement-{number}",
        "version": 1,
        "title": text,
        "provider": str(provider),
        "consumer": str(consumer),
        "grants": [
            {
                "service": str(service),
                "endpoints": [{"method": "GET", "path": "/records/{id}"}],
                "fields": ["/id", "/name"],
            }
        ],
        "purposes": [{"code": "registration", "title": text, "legal_basis": text}],
        "valid_from": "2020-01-01T00:00:00Z",
        "valid_until": "2099-01-01T00:00:00Z",
    }


def sealed(document: Mapping[str, object], *parties: Issued) -> bytes:
    """The agreement with the seals of both parties."""
    payload, seals = format_agreement(parse_agreement(orjson.dumps(document))), []
    for issued in parties:
        assert issued.private_key is not None
        key = signing_key(issued.private_key, issued.certificate)
        seals.append(sign_jws(payload, key, issued.certificate, SEAL_TYPE))
    return format_jws(payload, seals)


def _contents(
    number: int,
    ids: list[MemberId],
    seals: list[Issued],
    authority: DevelopmentAuthority,
    at: datetime,
) -> dict[str, bytes]:
    member = ids[number]
    auth = authority.issue_auth(_server(member), ["127.0.0.1"], at=at)
    record, services = _record(number, member, seals[number], auth), services_of(member)
    files = {member_target(member): format_member(record)}
    for one in record.services:
        files[str(one.openapi_target)] = _openapi(str(one.id))
    others = min(AGREEMENTS, len(ids) - 1)
    for step in range(1, others + 1):
        other = (number + step) % len(ids)
        document = agreement(step, member, application_of(ids[other]), services[step % SERVICES])
        path = member_target(member, f"agreement-{step}.jws")
        files[path] = sealed(document, seals[number], seals[other])
    return files


def _server(member: MemberId) -> ServerId:
    return ServerId(member.instance, member.member_class, member.member_code, "ss1")


def _record(number: int, member: MemberId, seal: Issued, auth: Issued) -> MemberRecord:
    server = _server(member)
    return MemberRecord(
        member=member,
        name=Text(f"Ministry {number}", f"ກະຊວງ {number}"),
        seal_certificates=(seal.certificate,),
        servers=(ServerRecord(server, "https://127.0.0.1:5500", (auth.certificate,), None),),
        applications=(
            ApplicationRecord(application_of(member), Text("Records", "ບັນທຶກ"), (server,)),
        ),
        services=tuple(
            ServiceRecord(one, ServiceType.OPENAPI, Text("Records", "ບັນທຶກ"), openapi_file(one))
            for one in services_of(member)
        ),
    )


def _openapi(title: str) -> bytes:
    """A document of the usual size of a small service."""
    fields = {
        f"field_{number}": {"type": "string", "maxLength": 200, "description": f"Field {number}"}
        for number in range(12)
    }
    record = {"type": "object", "properties": {"id": {"type": "string"}, **fields}}
    answer = {"description": "found", "content": {"application/json": {"schema": record}}}
    parameter = {"name": "id", "in": "path", "required": True, "schema": {"type": "string"}}
    get = {"parameters": [parameter], "responses": {"200": answer}}
    return orjson.dumps(
        {
            "openapi": "3.1.0",
            "info": {"title": title, "version": "1.0.0"},
            "paths": {"/records/{id}": {"get": get}},
        }
    )
