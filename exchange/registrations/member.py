"""``member.json``: what a member says of itself."""

from __future__ import annotations

from collections.abc import Collection
from typing import TypeVar
from urllib.parse import urlsplit

from exchange.documents import Node, format_document, parse_document
from exchange.identifiers import ApplicationId, MemberId, ServerId, ServiceId
from exchange.registrations.reading import (
    MAX_CERTIFICATES,
    check_distinct,
    pems,
    read_certificates,
    read_choice,
    read_code,
)
from exchange.registrations.targets import (
    FILE_NAME,
    MEMBER_FILE,
    member_target,
)
from exchange.registrations.values import (
    AUDITING,
    RESERVED_SERVICE_CODES,
    ApplicationRecord,
    MemberRecord,
    Pair,
    ServerRecord,
    ServiceRecord,
    ServiceType,
)

MAX_MEMBER_BYTES = 512 << 10
MAX_SERVERS = 64
MAX_APPLICATIONS = 512
MAX_SERVICES = 2048
MAX_MOVES = 2048
Identifier = TypeVar("Identifier", ApplicationId, ServerId, ServiceId)


def parse_member(data: bytes, expected: MemberId) -> MemberRecord:
    """Parse the ``member.json`` that was found under the path of ``expected``.

    Raises:
        Problem: ``InvalidDocument`` with the JSON pointer of the first thing wrong, also when the
            document speaks of another member.
    """
    document = parse_document(data, MAX_MEMBER_BYTES, member_target(expected)).members(
        frozenset({"member", "name", "seal_certificates", "servers", "applications", "services"}),
        frozenset({"moved", "taken"}),
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
    check_distinct(document["servers"], [str(server.id) for server in servers])
    check_distinct(document["applications"], [str(application.id) for application in applications])
    check_distinct(document["services"], [str(service.id) for service in services])
    registered: set[ApplicationId | ServiceId] = {*known, *(service.id for service in services)}
    moved, taken = document.get("moved"), document.get("taken")
    return MemberRecord(
        member=expected,
        name=document["name"].bilingual(),
        seal_certificates=read_certificates(
            document["seal_certificates"], least=0, most=MAX_CERTIFICATES
        ),
        servers=servers,
        applications=applications,
        services=services,
        moved=() if moved is None else _pairs(moved, expected, registered, is_taken=False),
        taken=() if taken is None else _pairs(taken, expected, registered, is_taken=True),
    )


def format_member(record: MemberRecord) -> bytes:
    """The canonical bytes of ``member.json``."""
    moves = {
        name: {str(one): str(other) for one, other in pairs}
        for name, pairs in (("moved", record.moved), ("taken", record.taken))
        if pairs
    }
    return format_document(
        {
            **moves,
            "member": str(record.member),
            "name": record.name.as_dict(),
            "seal_certificates": pems(record.seal_certificates),
            "servers": [_format_server(server) for server in record.servers],
            "applications": [
                {
                    "id": str(application.id),
                    "name": application.name.as_dict(),
                    "servers": [str(server) for server in application.servers],
                }
                for application in record.applications
            ],
            "services": [_format_service(service) for service in record.services],
        }
    )


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
        auth_certificates=read_certificates(
            fields["auth_certificates"], least=0, most=MAX_CERTIFICATES
        ),
        journal=None if journal is None else journal.text(400),
        shares=None if shares is None else read_code(shares),
        witness=None if witness is None else witness.text(400),
    )


def _format_server(server: ServerRecord) -> dict[str, object]:
    members: dict[str, object] = {
        "id": str(server.id),
        "address": server.address,
        "auth_certificates": pems(server.auth_certificates),
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
    servers = tuple(item.identifier(ServerId) for item in fields["servers"].items(MAX_SERVERS))
    for server, item in zip(servers, fields["servers"].items(MAX_SERVERS), strict=True):
        if server.instance != member.instance:
            raise item.refuse("a server of another instance cannot host this application")
    check_distinct(fields["servers"], [str(server) for server in servers])
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
    kind = read_choice(ServiceType, fields["type"])
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
        "title": service.title.as_dict(),
    }
    if service.openapi is not None:
        members["openapi"] = service.openapi
    return members


def _pairs(
    node: Node,
    member: MemberId,
    registered: Collection[ApplicationId | ServiceId],
    *,
    is_taken: bool,
) -> tuple[Pair, ...]:
    """What went to another member, or came from one: the own identifier and the other's."""
    pairs = []
    for name, item in sorted(node.entries(MAX_MOVES)):
        named = Node(name, item.noun, item.pointer)
        own: ApplicationId | ServiceId
        other: ApplicationId | ServiceId
        if name.count("/") == 4:
            own, other = _own(ServiceId, named, member), item.identifier(ServiceId)
        else:
            own, other = _own(ApplicationId, named, member), item.identifier(ApplicationId)
        if other.member == member or other.instance != member.instance:
            raise item.refuse("must be of another member of this instance")
        if (own in registered) is not is_taken:
            word = "lacks" if is_taken else "still has"
            raise item.refuse(f"the document {word} {own}")
        pairs.append((own, other))
    return tuple(pairs)


def _file_name(node: Node) -> str:
    name = node.text(205)
    if not FILE_NAME.fullmatch(name) or name == MEMBER_FILE or name.startswith("."):
        raise node.refuse("must be a plain file name that ends in .json")
    return name


def _own(kind: type[Identifier], node: Node, member: MemberId) -> Identifier:
    identifier = node.identifier(kind)
    if identifier.member != member:
        raise node.refuse(f"belongs to {identifier.member}, not to {member}")
    return identifier
