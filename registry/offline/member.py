"""What a member does on its own machine: keep its registry key, describe itself, sign its role.

The folder of a member::

    member              the member's identifier
    registry-key.pem    the key that signs what the member says of itself: keep it safe, and a copy
    statement.json      after `saphan registry member-rotate`: the old key's word for the new one
    version             the version of the role signed last

The description is YAML; files are named relative to it::

    member: LA/GOV/MPI
    name: {en: Ministry of Planning and Investment, lo: ກະຊວງແຜນການ ແລະ ການລົງທຶນ}
    seal_certificates: [seal.pem]
    servers:
      - {id: LA/GOV/MPI/ss1, address: "https://127.0.0.1:5501", auth_certificates: [auth.pem]}
    applications:
      - {id: LA/GOV/MPI/oda-mis, name: {en: ODA-MIS, lo: ODA-MIS}, servers: [LA/GOV/MPI/ss1]}
    services:
      - {id: LA/GOV/MPI/oda-mis/projects, title: {en: …, lo: …}, openapi: projects.json}
    agreements: [agreement.mof-mpi-2026.json]
    pinned: {folder: agreements, authorities: authorities.pem, agreements: [agreement.jws]}
    consents: [consent.mof.json]        # of consumers, to a breaking change
    taken: {LA/GOV/MPI/oda-mis: LA/GOV/MOF/oda-mis}    # came from another member, who says `moved`
    moved: {LA/GOV/MPI/old: LA/GOV/MOF/old}            # went to another member, who says `taken`

``pinned`` is for ``saphan apply``, which keeps the folder of the member's server as described; the
registry is not told. A server that keeps its exactly-once book together with other servers of the
member says so with ``shares: NAME``, the same name at each of them. Of a certificate file the first
certificate is taken; a new one is proven with its key, which lies beside it (``seal.key.pem`` or
``seal.key`` beside ``seal.pem``). OpenAPI files may be JSON or YAML.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import yaml
from cryptography import x509

from exchange.certificates.reading import parse_certificates
from exchange.documents import Node, format_document, invalid, parse_document
from exchange.identifiers import MemberId, ServiceId
from exchange.problems import Code, Problem
from exchange.registrations import (
    MAX_OPENAPI_BYTES,
    MEMBER_FILE,
    format_member,
    is_consent_file,
    member_target,
    openapi_file,
    parse_member,
    pem,
)
from exchange.registry.continuity import Statement, format_statement, parse_statement
from exchange.registry.key_sets import KeySet
from registry.publication.publish import member_role, sign
from registry.publication.signers import key_set, new_signer, read_signer, write_signer
from registry.requests.possession import Keys, PrivateKey, key_beside, prove_all
from registry.requests.submissions import Submission
from serving.yaml_files import read_yaml

ROLE_VALIDITY = timedelta(days=365)
MAX_DESCRIPTION_BYTES = 1 << 20
KEY_FILE = "registry-key.pem"


@dataclass(frozen=True, slots=True)
class Described:
    """A member's files by their names, as they will be published."""

    member: MemberId
    files: Mapping[str, bytes]
    keys: Keys = field(default_factory=dict)
    """The private keys that lie beside certificates, to prove that they are the member's."""


@dataclass(frozen=True, slots=True)
class MemberFolder:
    """A member's folder on its own machine."""

    directory: Path
    member: MemberId

    @classmethod
    def create(cls, directory: Path, member: MemberId) -> MemberFolder:
        """Make the folder and the member's registry key.

        Raises:
            Problem: ``Conflict`` when a key is there already.
        """
        write_signer(directory / KEY_FILE, new_signer())
        (directory / "member").write_text(f"{member}\n")
        return cls(directory, member)

    @classmethod
    def open(cls, directory: Path) -> MemberFolder:
        """Open the folder.

        Raises:
            Problem: ``NotFound`` when it is not a member's folder.
        """
        try:
            text = (directory / "member").read_text()
        except (OSError, UnicodeDecodeError) as error:
            raise Problem(
                Code.NOT_FOUND,
                where=str(directory),
                detail="not a member's folder: name the one with its registry key (saphan apply: "
                "--folder); saphan registry member-init makes one",
            ) from error
        return cls(directory, MemberId.parse(text.removesuffix("\n")))

    @property
    def keys(self) -> KeySet:
        """The public key, as the registry gets to know it."""
        return key_set([read_signer(self.directory / KEY_FILE)], 1)

    @property
    def version(self) -> int:
        """The version of the role that was signed last."""
        path = self.directory / "version"
        try:
            return int(path.read_text())
        except FileNotFoundError:
            return 0
        except (OSError, ValueError) as error:
            raise invalid(
                str(path),
                "",
                "does not hold the version that was signed last; remove it to take the registry's",
            ) from error

    @property
    def statement(self) -> Statement | None:
        """The old key's word for the present one, after a change of keys."""
        try:
            data = (self.directory / "statement.json").read_bytes()
        except FileNotFoundError:
            return None
        return parse_statement(parse_document(data, 1 << 20, "statement.json"), self.member)

    def rotate(self, number: int) -> Statement:
        """Make a new key and let the old one vouch for it.

        Args:
            number: of this change; one more than the changes that the registry has published.
        """
        old = read_signer(self.directory / KEY_FILE)
        new = new_signer()
        statement = Statement(self.member, number, key_set([old], 1), key_set([new], 1), ()).sign(
            [old]
        )
        # In this order a crash leaves neither a key without statement nor a folder without key.
        (self.directory / "statement.json").write_bytes(
            format_document(format_statement(statement))
        )
        write_signer(self.directory / f"registry-key.{number}.old.pem", old)
        (self.directory / "registry-key.new.pem").unlink(missing_ok=True)
        write_signer(self.directory / "registry-key.new.pem", new)
        (self.directory / "registry-key.new.pem").rename(self.directory / KEY_FILE)
        return statement

    def sign(
        self, described: Described, published_version: int, at: datetime, note: str = ""
    ) -> Submission:
        """Sign the member's role over its files.

        Args:
            published_version: the version that the registry shows; the new one is higher, and
                higher than any signed here before.
        """
        if described.member != self.member:
            raise invalid("member", "", f"the description is of {described.member}")
        signer = read_signer(self.directory / KEY_FILE)
        version = max(self.version, published_version) + 1
        role = member_role(
            {member_target(self.member, name): data for name, data in described.files.items()},
            version=version,
            expires=at + ROLE_VALIDITY,
        )
        (self.directory / "version").write_text(str(version))
        signed = sign(role, [signer])
        proofs = prove_all(self.member, signed, described.keys)
        return Submission(
            self.member, self.keys, signed, described.files, self.statement, note, proofs
        )


def describe(path: Path) -> Described:
    """Read a description and all files that it names.

    Raises:
        Problem: ``NotFound`` for a missing file, ``InvalidDocument`` with the place for anything
            that the registry would refuse in ``member.json``.
    """
    return describe_value(read_description(path), path.name, path.parent)


def read_description(path: Path) -> object:
    """The YAML of a description.

    Raises:
        Problem: ``NotFound``, or ``InvalidDocument`` when it is too long or not YAML.
    """
    data = _read(path, path.name)
    if len(data) > MAX_DESCRIPTION_BYTES:
        raise invalid(path.name, "", "longer than 1 MiB")
    try:
        return read_yaml(data)
    except yaml.YAMLError as error:
        raise invalid(path.name, "", f"not YAML: {error}") from error


def describe_value(value: object, where: str, folder: Path) -> Described:
    """As :func:`describe`, from a decoded description."""
    fields = Node(value, where, "").members(
        frozenset({"member", "name"}),
        frozenset(
            {
                "seal_certificates",
                "servers",
                "applications",
                "services",
                "agreements",
                "consents",
                "moved",
                "pinned",
                "taken",
            }
        ),
    )
    member = MemberId.parse(fields["member"].text(2048), f"{where}#/member")
    keys: dict[x509.Certificate, PrivateKey] = {}
    document: dict[str, Any] = {
        "member": str(member),
        "name": fields["name"].value,
        "seal_certificates": _pems(fields.get("seal_certificates"), folder, keys),
        "servers": [],
        "applications": [],
        "services": [],
    }
    for name in ("moved", "taken"):
        if (given := fields.get(name)) is not None:
            document[name] = given.value
    files: dict[str, bytes] = {}
    for node in _items(fields.get("servers")):
        server = _object(node)
        server["auth_certificates"] = _pems(_member(node, "auth_certificates"), folder, keys)
        document["servers"].append(server)
    for node in _items(fields.get("applications")):
        document["applications"].append(_object(node))
    for node in _items(fields.get("services")):
        document["services"].append(_service(node, folder, files))
    for node in _items(fields.get("agreements")):
        source = folder / node.text(500)
        files[source.name] = _read(source, f"{where}#{node.pointer}")
    for node in _items(fields.get("consents")):
        source = folder / node.text(500)
        if not is_consent_file(source.name):
            raise node.refuse("a consent's file is called consent.NAME.json")
        files[source.name] = _read(source, f"{where}#{node.pointer}")
    # Through the registry's own parser: what it would refuse is refused here already.
    record = parse_member(format_document(document), member)
    described = {server.id for server in record.servers}
    for application in record.applications:
        for server_id in application.servers:
            if server_id.member == member and server_id not in described:
                raise invalid(
                    where, "/servers", f"{server_id} of {application.id} is not described"
                )
    return Described(member, {**files, MEMBER_FILE: format_member(record)}, keys)


def _service(node: Node, folder: Path, files: dict[str, bytes]) -> dict[str, Any]:
    service = _object(node)
    service.setdefault("type", "OPENAPI" if "openapi" in service else "REST")
    source = _member(node, "openapi")
    if source is not None:
        identifier = ServiceId.parse(str(service.get("id", "")), f"{node.noun}#{node.pointer}/id")
        name = openapi_file(identifier)
        files[name] = _openapi(folder / source.text(500), f"{node.noun}#{source.pointer}")
        service["openapi"] = name
    return service


def _openapi(path: Path, where: str) -> bytes:
    data = _read(path, where)
    if path.suffix.lower() not in {".yaml", ".yml"}:
        return data
    if len(data) > MAX_OPENAPI_BYTES:
        raise invalid(where, "", f"{path.name} is longer than 2 MiB")
    try:
        return format_document(read_yaml(data))
    except (yaml.YAMLError, TypeError) as error:
        raise invalid(where, "", f"{path.name} is not YAML that JSON can hold: {error}") from error


def _pems(node: Node | None, folder: Path, keys: dict[x509.Certificate, PrivateKey]) -> list[str]:
    pems = []
    for item in _items(node):
        where = f"{item.noun}#{item.pointer}"
        path = folder / item.text(500)
        certificate = parse_certificates(_read(path, where), where)[0]
        pems.append(pem(certificate))
        if (key := key_beside(path)) is not None:
            keys[certificate] = key
    return pems


def _items(node: Node | None) -> list[Node]:
    return [] if node is None else list(node.items(4096))


def _object(node: Node) -> dict[str, Any]:
    if not isinstance(node.value, dict):
        raise node.refuse("must be a mapping")
    return dict(node.value)


def _member(node: Node, key: str) -> Node | None:
    value = _object(node).get(key)
    return None if value is None else Node(value, node.noun, f"{node.pointer}/{key}")


def _read(path: Path, where: str) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise Problem(
            Code.NOT_FOUND, where=where, detail=f"{path} cannot be read: {error.strerror}"
        ) from error
