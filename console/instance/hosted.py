"""A member of the instance on this machine: its keys, its server, what it tells the registry.

::

    DIR/members/{class}/{code}/
        registry/                the key that signs what the member says of itself
        server/server.yaml       the settings of its security server, ss1
        server/{seal,auth}.pem   certificates with their keys
        server/agreements/       the pinned agreements
        server/data/             the journal: never removed, also when the member leaves
        server/server.log, pid
        applications/            client certificates of applications in mode mtls

Every step looks at what is there and makes what is missing, so that each can be done again.
Blocking, for a thread.
"""

from __future__ import annotations

import os
import re
import signal
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

import yaml
from cryptography import x509

from certs.authority import DevelopmentAuthority
from certs.files import PRIVATE_MODE, write_file
from certs.issue import Issued, parse_private_key
from console.instance.agreements import Seal
from console.instance.central import LOOPBACK
from console.instance.configuration import Application, Connection, Member
from console.reference_world.processes import STOP_TIMEOUT_S, Process, free_ports
from exchange.certificates.reading import parse_certificates
from exchange.identifiers import ApplicationId, MemberId, ServerId, ServiceId
from exchange.keys import signing_key
from exchange.problems import Problem
from registry.offline.member import KEY_FILE, Described, MemberFolder, describe_value

VALIDITY_DAYS: Final = 365
RENEW: Final = timedelta(days=60)
LISTENERS: Final = ("peer", "http", "https", "admin")
MAX_LOG_BYTES: Final = 16 << 20
_DNS_LABEL: Final = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a member needs to know of the instance."""

    directory: Path
    instance: str
    domain: str
    host: str
    """The address at which applications reach their servers over TLS."""
    registry_url: str
    anchor: Path


@dataclass(slots=True)
class Hosted:
    """One member; its process is kept from one convergence to the next."""

    id: MemberId
    folder: Path
    process: Process | None = None
    _started_as: str = ""
    addresses: Mapping[str, str] = field(default_factory=dict)

    @property
    def server_id(self) -> ServerId:
        return ServerId(self.id.instance, self.id.member_class, self.id.member_code, "ss1")

    @property
    def server(self) -> Path:
        return self.folder / "server"

    @property
    def agreements(self) -> Path:
        return self.server / "agreements"

    # --- keys ---------------------------------------------------------------------------------

    def issue(self, member: Member, around: Surroundings, authority: DevelopmentAuthority) -> None:
        """Certificates: new where there is none, where it ends soon, or says something else."""
        now = datetime.now(UTC)
        if not _stands(self.server / "seal", authority, now):
            issued = authority.issue_seal(self.id, at=now, days=VALIDITY_DAYS)
            _write(issued, self.server / "seal")
        names = _names(self.id, around)
        if not _stands(self.server / "auth", authority, now, names):
            issued = authority.issue_auth(self.server_id, names, at=now, days=VALIDITY_DAYS)
            _write(issued, self.server / "auth")
        for application in member.applications:
            path = self.folder / "applications" / application.id
            if application.connection is Connection.MTLS and not _stands(path, authority, now):
                identifier = self.application(application)
                _write(authority.issue_client(identifier, at=now, days=VALIDITY_DAYS), path)

    def seal(self) -> Seal:
        """The seal key."""
        certificate = parse_certificates((self.server / "seal.pem").read_bytes())[0]
        path = self.server / "seal.key"
        key = parse_private_key(path.read_bytes(), str(path))
        return Seal(signing_key(key, certificate), certificate)

    def home(self) -> MemberFolder:
        """The member's registry key, made at the first call."""
        folder = self.folder / "registry"
        if (folder / "member").exists():
            return MemberFolder.open(folder)
        # A crash may have come between the key and the file that names its member.
        (folder / KEY_FILE).unlink(missing_ok=True)
        folder.mkdir(parents=True, exist_ok=True)
        return MemberFolder.create(folder, self.id)

    # --- what is said of it -------------------------------------------------------------------

    def application(self, application: Application) -> ApplicationId:
        return ApplicationId(
            self.id.instance, self.id.member_class, self.id.member_code, application.id
        )

    def configure(
        self, member: Member, around: Surroundings, specifications: Mapping[ServiceId, Path]
    ) -> None:
        """Write the server's settings, each listener where it was."""
        ports = self._ports()
        listen = {name: f"{LOOPBACK}:{ports[name]}" for name in LISTENERS}
        listen["https"] = f"{around.host}:{ports['https']}"
        settings = {
            "server": str(self.server_id),
            "directory": "data",
            "address": f"https://{LOOPBACK}:{ports['peer']}",
            "registry": {"url": around.registry_url, "root": str(around.anchor), "poll_s": 1.0},
            "auth": {"certificate": "auth.pem", "key": "auth.key"},
            "listen": listen,
            "members": [
                {"id": str(self.id), "seal": {"certificate": "seal.pem", "key": "seal.key"}}
            ],
            "applications": [
                {
                    "id": str(self.application(application)),
                    "mode": application.connection.value,
                    "certificates": [f"../applications/{application.id}.pem"]
                    if application.connection is Connection.MTLS
                    else [],
                }
                for application in member.applications
            ],
            "services": [
                {
                    "id": str(self.service(application, service.id)),
                    "url": service.service_url,
                    "openapi": str(specifications[self.service(application, service.id)]),
                }
                for application in member.applications
                for service in application.services
            ],
            "agreements": "agreements",
        }
        text = yaml.safe_dump(settings, allow_unicode=True, sort_keys=False)
        write_file(self.server / "server.yaml", text.encode(), mode=PRIVATE_MODE)
        self.agreements.mkdir(exist_ok=True)
        self.addresses = {
            "http": f"http://{listen['http']}",
            "https": f"https://{listen['https']}",
        }

    def service(self, application: Application, service: str) -> ServiceId:
        return ServiceId(
            self.id.instance, self.id.member_class, self.id.member_code, application.id, service
        )

    def describe(self, member: Member, specifications: Mapping[ServiceId, Path]) -> Described:
        """What the registry is to say."""
        name = {"en": member.name, "lo": member.name}
        server = str(self.server_id)
        value = {
            "member": str(self.id),
            "name": name,
            "seal_certificates": [str(self.server / "seal.pem")],
            "servers": [
                {
                    "id": server,
                    "address": f"https://{LOOPBACK}:{self._ports()['peer']}",
                    "auth_certificates": [str(self.server / "auth.pem")],
                }
            ],
            "applications": [
                {
                    "id": str(self.application(application)),
                    "name": {"en": application.id, "lo": application.id},
                    "servers": [server],
                }
                for application in member.applications
            ],
            "services": [
                {
                    "id": str(self.service(application, service.id)),
                    "title": {"en": service.id, "lo": service.id},
                    "openapi": str(specifications[self.service(application, service.id)]),
                }
                for application in member.applications
                for service in application.services
            ],
        }
        return describe_value(value, str(self.id), self.folder)

    def _ports(self) -> dict[str, int]:
        """Where its listeners are: as the settings say; another place only when that is taken."""
        try:
            settings: Any = yaml.safe_load((self.server / "server.yaml").read_bytes())
            ports = {name: int(settings["listen"][name].rpartition(":")[2]) for name in LISTENERS}
        except (OSError, yaml.YAMLError, KeyError, TypeError, ValueError, AttributeError):
            ports = dict(zip(LISTENERS, free_ports(len(LISTENERS)), strict=True))
            self._remember(ports)
        return ports

    def _remember(self, ports: Mapping[str, int]) -> None:
        listen = {name: f"{LOOPBACK}:{port}" for name, port in ports.items()}
        data = yaml.safe_dump({"listen": listen}).encode()
        write_file(self.server / "server.yaml", data, mode=PRIVATE_MODE)

    def prepare(self) -> None:
        """Before its settings are written: end what a killed process left behind, and take other
        ports when one of those it had is another program's now."""
        if self.running:
            return
        self._end_leftover()
        if not all(map(_is_free, self._ports().values())):
            self._remember(dict(zip(LISTENERS, free_ports(len(LISTENERS)), strict=True)))

    # --- its process --------------------------------------------------------------------------

    @property
    def running(self) -> bool:
        return self.process is not None and self.process.running

    @property
    def health_url(self) -> str:
        return f"http://{LOOPBACK}:{self._ports()['admin']}"

    def launch(self) -> bool:
        """Start the server, or start it again when its files are others now; whether it did."""
        files = [self.server / name for name in ("server.yaml", "auth.pem", "seal.pem")]
        files += sorted((self.folder / "applications").glob("*.pem"))
        state = sha256(b"\0".join(path.read_bytes() for path in files)).hexdigest()
        if self.running and state == self._started_as:
            return False
        self.stop()
        log = self.server / "server.log"
        if log.exists() and log.stat().st_size > MAX_LOG_BYTES:
            log.replace(log.with_suffix(".log.1"))
        settings = self.server / "server.yaml"
        self.process = Process(
            ["mediator", "serve", str(settings)], f"{self.health_url}/healthz", log
        )
        self.process.start()
        (self.server / "pid").write_text(f"{self.process.pid}\n")
        self._started_as = state
        return True

    def end(self) -> None:
        """End the server, also one that outlived the process that started it; idempotent."""
        if not self.running:
            self._end_leftover()
        self.stop()

    def stop(self) -> None:
        """End the server; idempotent."""
        if self.process is not None:
            self.process.stop()
            self.process = None
        (self.server / "pid").unlink(missing_ok=True)

    def _end_leftover(self) -> None:
        """End a server that outlived the instance's own process, which was killed."""
        try:
            pid = int((self.server / "pid").read_text())
        except (OSError, ValueError):
            return
        settings = str(self.server / "server.yaml").encode()
        if not _is_ours(pid, settings):
            return
        os.kill(pid, signal.SIGTERM)
        deadline = time.monotonic() + STOP_TIMEOUT_S
        while _is_ours(pid, settings):
            if time.monotonic() > deadline:
                os.kill(pid, signal.SIGKILL)
                deadline += STOP_TIMEOUT_S
            time.sleep(0.05)


def _is_ours(pid: int, settings: bytes) -> bool:
    """Whether that process is a server with these settings (a number may be another's by now)."""
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return False
    return settings in words


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
    return True


def _names(member: MemberId, around: Surroundings) -> list[str]:
    """The names of a member's server: loopback, where it listens, and its place in the domain."""
    labels = [member.member_code.lower(), member.member_class.lower(), *around.domain.split(".")]
    names = [LOOPBACK, "localhost"]
    if around.host not in (*names, "0.0.0.0", "::"):  # noqa: S104 - compared, not listened on
        names.append(around.host)
    name = ".".join(labels).lower()
    if len(name) <= 253 and all(map(_DNS_LABEL.fullmatch, name.split("."))):
        names.append(name)
    return names


def _write(issued: Issued, path: Path) -> None:
    issued.write(path.with_name(f"{path.name}.pem"), path.with_name(f"{path.name}.key"))


def _stands(
    path: Path,
    authority: DevelopmentAuthority,
    now: datetime,
    names: list[str] | None = None,
) -> bool:
    """Whether a certificate is there with its key, of this authority, lasting, for these names."""
    key_path = path.with_name(f"{path.name}.key")
    try:
        certificate = parse_certificates(path.with_name(f"{path.name}.pem").read_bytes())[0]
        key = parse_private_key(key_path.read_bytes(), str(key_path))
    except (OSError, Problem, IndexError):
        return False
    # Near the authority's own end nothing lasts longer than it does.
    ends = min(now + RENEW, authority.issuer.certificate.not_valid_after_utc - timedelta(days=1))
    return (
        certificate.public_key() == key.public_key()
        and certificate.issuer == authority.issuer.certificate.subject
        and certificate.not_valid_after_utc > ends
        and (names is None or _alternative_names(certificate) == set(names))
    )


def _alternative_names(certificate: x509.Certificate) -> set[str]:
    found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return {
        *map(str, found.get_values_for_type(x509.IPAddress)),
        *found.get_values_for_type(x509.DNSName),
    }
