"""Registrations: what the registry publishes of an instance and what a member says of itself.

The documents are target files of the TUF repository (design.md section 5):

- ``instance.json``, signed by the registry's targets keys: :class:`InstanceRecord`;
- ``{member}/member.json``, signed by the member's own key: :class:`MemberRecord`.

Invariants:
- ``parse_member(format_member(record), record.member) == record``, likewise for instances;
- everything in a member's document belongs to that member: servers, applications, services;
- an application names servers, a service an application and, if it is of type ``OPENAPI``, a
  target file next to the document that holds its OpenAPI description.

Not checked here: certificates (:mod:`exchange.trust` judges them at a time), signatures (TUF),
and that a server of another member agrees to host an application.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeVar
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from exchange.certificates import parse_certificates
from exchange.documents import Node, format_document, parse_document
from exchange.identifiers import ApplicationId, MemberId, ServerId, ServiceId, check_code
from exchange.notes import ED25519, MAX_NAME_LENGTH, VerifierKey
from exchange.policy import Policy, parse_policy
from exchange.problems import Problem, Text
from exchange.registry_log import origin

MAX_INSTANCE_BYTES = 512 << 10
MAX_MEMBER_BYTES = 512 << 10
MAX_OPENAPI_BYTES = 2 << 20
MAX_SCHEMA_BYTES = 512 << 10
MAX_CERTIFICATE_CHARS = 16_384
MAX_SERVERS = 64
MAX_APPLICATIONS = 512
MAX_SERVICES = 2048
MAX_CERTIFICATES = 16
MAX_LOG_KEYS = 4

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

INSTANCE_TARGET = "instance.json"
ELEMENTS_TARGET = "elements.json"
MERGERS_TARGET = "mergers.json"
STANDING_TARGET = "standing.json"
MEMBER_FILE = "member.json"
_FILE_NAME = re.compile(r"[A-Za-z0-9'()+,\-.=%]{1,200}\.json", re.ASCII)
_CODE_LIST_TARGET = re.compile(r"code-lists/[a-z0-9-]{1,80}\.json", re.ASCII)
_CONSENT_FILE = re.compile(r"consent\.[A-Za-z0-9.-]{1,120}\.json", re.ASCII)
_CONSENT_TARGET = re.compile(r"consents/[A-Za-z0-9-][A-Za-z0-9.-]{0,118}\.json", re.ASCII)
_SCHEMA_TARGET = re.compile(r"schemas/[a-z0-9-]{1,80}\.[0-9]{1,4}\.json", re.ASCII)

Identifier = TypeVar("Identifier", ApplicationId, ServerId, ServiceId)


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

    ``log`` are the verifier keys of the registry's own log (:mod:`exchange.registry_log`; several
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
    """All that a member says of itself."""

    member: MemberId
    name: Text
    seal_certificates: tuple[x509.Certificate, ...]
    servers: tuple[ServerRecord, ...]
    applications: tuple[ApplicationRecord, ...]
    services: tuple[ServiceRecord, ...]


def member_target(member: MemberId, file_name: str = MEMBER_FILE) -> str:
    """The target path of one of a member's files."""
    return f"{member}/{file_name}"


def openapi_file(service: ServiceId) -> str:
    """The customary name of a service's OpenAPI file."""
    application, code = str(service).split("/")[3:]
    return f"openapi.{application}.{code}.json"


def is_own_target(path: str) -> bool:
    """Whether the registry's own role may hold this target, besides statements of keys."""
    return path in {INSTANCE_TARGET, ELEMENTS_TARGET, MERGERS_TARGET} or (
        is_schema_target(path) or is_code_list_target(path) or is_consent_target(path)
    )


def is_code_list_target(path: str) -> bool:
    """Whether ``path`` is that of a code list: ``code-lists/{name}.json``."""
    return _CODE_LIST_TARGET.fullmatch(path) is not None


def is_consent_file(name: str) -> bool:
    """Whether a member's file is a consent to a change of one of its services."""
    return _CONSENT_FILE.fullmatch(name) is not None


def is_consent_target(path: str) -> bool:
    """Whether ``path`` is that of a consent to a change of a shared schema."""
    return _CONSENT_TARGET.fullmatch(path) is not None


def is_schema_target(path: str) -> bool:
    """Whether ``path`` is that of a shared schema: ``schemas/{name}.{major}.json``."""
    return _SCHEMA_TARGET.fullmatch(path) is not None


def parse_instance(data: bytes) -> InstanceRecord:
    """Parse ``instance.json``.

    Raises:
        Problem: ``InvalidDocument`` with the JSON pointer of the first thing wrong.
    """
    document = parse_document(data, MAX_INSTANCE_BYTES, INSTANCE_TARGET).members(
        frozenset({"instance", "environment", "name", "authorities", "timestamp_authorities"}),
        frozenset({"log", "witnesses"}),
    )
    instance = _code(document["instance"])
    log, witnesses = document.get("log"), document.get("witnesses")
    return InstanceRecord(
        instance=instance,
        environment=_choice(Environment, document["environment"]),
        name=document["name"].bilingual(),
        authorities=_certificates(document["authorities"], least=1, most=64),
        timestamp_authorities=tuple(
            _timestamp_authority(node) for node in document["timestamp_authorities"].items(16)
        ),
        log=() if log is None else _log_keys(log, instance),
        witnesses=None if witnesses is None else _policy(witnesses),
    )


def format_instance(record: InstanceRecord) -> bytes:
    """The canonical bytes of ``instance.json``."""
    members: dict[str, object] = {
        "instance": record.instance,
        "environment": record.environment.value,
        "name": _texts(record.name),
        "authorities": _pems(record.authorities),
        "timestamp_authorities": [
            {"url": authority.url, "certificate": pem(authority.certificate)}
            for authority in record.timestamp_authorities
        ],
    }
    if record.log:
        members["log"] = [str(key) for key in record.log]
    if record.witnesses is not None:
        members["witnesses"] = str(record.witnesses)
    return format_document(members)


def parse_member(data: bytes, expected: MemberId) -> MemberRecord:
    """Parse the ``member.json`` that was found under the path of ``expected``.

    Raises:
        Problem: ``InvalidDocument`` with the JSON pointer of the first thing wrong, also when the
            document speaks of another member.
    """
    document = parse_document(data, MAX_MEMBER_BYTES, member_target(expected)).members(
        frozenset({"member", "name", "seal_certificates", "servers", "applications", "services"})
    )
    if document["member"].text(2048) != str(expected):
        raise document["member"].refuse(f"must be {expected}, whose path the document is under")
    servers = tuple(_server(node, expected) for node in document["servers"].items(MAX_SERVERS))
    applications = tuple(
        _application(node, expected) for node in document["applications"].items(MAX_APPLICATIONS)
    )
    known = {application.id for application in applications}
    services = tuple(
        _service(node, expected, known) for node in document["services"].items(MAX_SERVICES)
    )
    _distinct(document["servers"], [str(server.id) for server in servers])
    _distinct(document["applications"], [str(application.id) for application in applications])
    _distinct(document["services"], [str(service.id) for service in services])
    return MemberRecord(
        member=expected,
        name=document["name"].bilingual(),
        seal_certificates=_certificates(
            document["seal_certificates"], least=0, most=MAX_CERTIFICATES
        ),
        servers=servers,
        applications=applications,
        services=services,
    )


def format_member(record: MemberRecord) -> bytes:
    """The canonical bytes of ``member.json``."""
    return format_document(
        {
            "member": str(record.member),
            "name": _texts(record.name),
            "seal_certificates": _pems(record.seal_certificates),
            "servers": [_format_server(server) for server in record.servers],
            "applications": [
                {
                    "id": str(application.id),
                    "name": _texts(application.name),
                    "servers": [str(server) for server in application.servers],
                }
                for application in record.applications
            ],
            "services": [_format_service(service) for service in record.services],
        }
    )


def pem(certificate: x509.Certificate) -> str:
    """The one PEM form of a certificate that documents may hold."""
    return certificate.public_bytes(Encoding.PEM).decode()


def parse_address(node: Node) -> str:
    """An ``https://host:port`` address without path, query, user or fragment."""
    text = node.text(300)
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError as error:
        raise node.refuse(f"not an address: {error}") from error
    host = parts.hostname or ""
    canonical = f"https://{f'[{host}]' if ':' in host else host}" + (f":{port}" if port else "")
    if not host or not text.isascii() or text != canonical:
        raise node.refuse("must be https://host or https://host:port, lower case, nothing after it")
    return text


def _server(node: Node, member: MemberId) -> ServerRecord:
    fields = node.members(
        frozenset({"id", "address", "auth_certificates"}),
        frozenset({"journal", "shares", "witness"}),
    )
    journal, shares = fields.get("journal"), fields.get("shares")
    witness = fields.get("witness")
    return ServerRecord(
        id=_own(ServerId, fields["id"], member),
        address=parse_address(fields["address"]),
        auth_certificates=_certificates(
            fields["auth_certificates"], least=0, most=MAX_CERTIFICATES
        ),
        journal=None if journal is None else journal.text(400),
        shares=None if shares is None else _code(shares),
        witness=None if witness is None else witness.text(400),
    )


def _format_server(server: ServerRecord) -> dict[str, object]:
    members: dict[str, object] = {
        "id": str(server.id),
        "address": server.address,
        "auth_certificates": _pems(server.auth_certificates),
    }
    if server.journal is not None:
        members["journal"] = server.journal
    if server.shares is not None:
        members["shares"] = server.shares
    if server.witness is not None:
        members["witness"] = server.witness
    return members


def _application(node: Node, member: MemberId) -> ApplicationRecord:
    fields = node.members(frozenset({"id", "name", "servers"}))
    servers = tuple(_identifier(ServerId, item) for item in fields["servers"].items(MAX_SERVERS))
    for server, item in zip(servers, fields["servers"].items(MAX_SERVERS), strict=True):
        if server.instance != member.instance:
            raise item.refuse("a server of another instance cannot host this application")
    _distinct(fields["servers"], [str(server) for server in servers])
    application = _own(ApplicationId, fields["id"], member)
    if application.application_code == AUDITING:
        raise fields["id"].refuse(f"{AUDITING} is reserved: every member has it, none registers it")
    return ApplicationRecord(
        id=application,
        name=fields["name"].bilingual(),
        servers=servers,
    )


def _service(node: Node, member: MemberId, applications: set[ApplicationId]) -> ServiceRecord:
    fields = node.members(frozenset({"id", "type", "title"}), frozenset({"openapi"}))
    service = _own(ServiceId, fields["id"], member)
    if service.service_code in RESERVED_SERVICE_CODES:
        raise fields["id"].refuse(f"{service.service_code} is a reserved service code of X-Road")
    if service.application not in applications:
        raise fields["id"].refuse(f"the document has no application {service.application}")
    kind = _choice(ServiceType, fields["type"])
    openapi = fields.get("openapi")
    if (openapi is None) is (kind is ServiceType.OPENAPI):
        raise node.refuse("a service has an openapi file exactly when its type is OPENAPI")
    return ServiceRecord(
        id=service,
        type=kind,
        title=fields["title"].bilingual(),
        openapi=None if openapi is None else _file_name(openapi),
    )


def _format_service(service: ServiceRecord) -> dict[str, object]:
    members: dict[str, object] = {
        "id": str(service.id),
        "type": service.type.value,
        "title": _texts(service.title),
    }
    if service.openapi is not None:
        members["openapi"] = service.openapi
    return members


def _file_name(node: Node) -> str:
    name = node.text(205)
    if not _FILE_NAME.fullmatch(name) or name == MEMBER_FILE or name.startswith("."):
        raise node.refuse("must be a plain file name that ends in .json")
    return name


def _log_keys(node: Node, instance: str) -> tuple[VerifierKey, ...]:
    keys = tuple(_log_key(item, instance) for item in node.items(MAX_LOG_KEYS, 1))
    _distinct(node, [str(key) for key in keys])
    return keys


def _log_key(node: Node, instance: str) -> VerifierKey:
    try:
        key = VerifierKey.parse(node.text(MAX_NAME_LENGTH + 100))
    except Problem as problem:
        raise node.refuse(problem.detail) from problem
    if key.kind != ED25519 or key.name != origin(instance):
        raise node.refuse(f"must be a key of the log {origin(instance)}")
    return key


def _policy(node: Node) -> Policy:
    try:
        policy = parse_policy(node.text(64 << 10).encode())
    except Problem as problem:
        raise node.refuse(f"{problem.where}: {problem.detail}") from problem
    if policy.logs:
        raise node.refuse("names logs; the registry's log stands in log")
    return policy


def _timestamp_authority(node: Node) -> TimestampAuthority:
    fields = node.members(frozenset({"url", "certificate"}))
    url = fields["url"].text(300)
    if not url.isascii() or not url.startswith(("http://", "https://")):
        raise fields["url"].refuse("must be an http or https address")
    return TimestampAuthority(url, _certificate(fields["certificate"]))


def _certificates(node: Node, *, least: int, most: int) -> tuple[x509.Certificate, ...]:
    certificates = tuple(_certificate(item) for item in node.items(most, least))
    if len(set(certificates)) != len(certificates):
        raise node.refuse("holds a certificate twice")
    return certificates


def _certificate(node: Node) -> x509.Certificate:
    text = node.text(MAX_CERTIFICATE_CHARS)
    try:
        certificates = parse_certificates(text.encode())
    except Problem as problem:
        raise node.refuse(problem.detail) from problem
    if len(certificates) != 1 or pem(certificates[0]) != text:
        raise node.refuse("must be exactly one certificate in the customary PEM form")
    return certificates[0]


def _own(kind: type[Identifier], node: Node, member: MemberId) -> Identifier:
    identifier = _identifier(kind, node)
    if identifier.member != member:
        raise node.refuse(f"belongs to {identifier.member}, not to {member}")
    return identifier


def _identifier(kind: type[Identifier], node: Node) -> Identifier:
    text = node.text(2048)
    try:
        return kind.parse(text)
    except Problem as problem:
        raise node.refuse(problem.detail) from problem


def _code(node: Node) -> str:
    text = node.text(255)
    try:
        return check_code(text, node.pointer)
    except Problem as problem:
        raise node.refuse(problem.detail) from problem


Choice = TypeVar("Choice", Environment, ServiceType)


def _choice(kind: type[Choice], node: Node) -> Choice:
    text = node.text(40)
    try:
        return kind(text)
    except ValueError as error:
        choices = ", ".join(item.value for item in kind)
        raise node.refuse(f"must be one of {choices}") from error


def _distinct(node: Node, names: list[str]) -> None:
    if len(set(names)) != len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise node.refuse(f"names {twice} twice")


def _texts(text: Text) -> Mapping[str, str]:
    return {"en": text.en, "lo": text.lo}


def _pems(certificates: tuple[x509.Certificate, ...]) -> list[str]:
    return [pem(certificate) for certificate in certificates]
