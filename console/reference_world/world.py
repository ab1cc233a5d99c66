"""A world in one folder: an instance with its authorities, registry, servers and agreements.

The demonstration, the end-to-end tests and the benchmarks start from it; every server and the
registry is a process of its own, started by the command that an operator types::

    DIR/pki/                     the development authorities, tsa/ and ocsp/ for their services
    DIR/registry/                the registry, its offline keys included (a ceremony of one machine)
    DIR/members/{code}/          each member's registry key and description
    DIR/servers/{member}-{code}/ server.yaml, certificates, agreements/, data/ with the journal
    DIR/applications/            client certificates
    DIR/world.json               where everything listens; :meth:`World.reopen` starts from it
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import orjson
import yaml

import schemas
from certs.authority import DevelopmentAuthority, create_development_pki
from certs.services import make_keys
from console.reference_world.authority_services import AuthorityServices
from console.reference_world.plans import MemberPlan, ServerPlan
from console.reference_world.processes import Process, free_ports, stop_all
from console.reference_world.standing import (
    RunningServer,
    check_certificate,
    check_free,
    description_of,
    port_of,
    settings_of,
)
from exchange.agreements import seal_agreement
from exchange.identifiers import ApplicationId, MemberId, ServerId
from exchange.keys import signing_key
from exchange.problems import Code, Problem, Text
from exchange.registrations import Environment, InstanceRecord, TimestampAuthority
from registry.http.client import RegistryClient
from registry.offline.member import MemberFolder, describe
from registry.offline.operator import sign_delegation, sign_files
from registry.publication.ceremony import Opened, Quorum, open_registry
from registry.publication.signers import read_signers

T = TypeVar("T")
LISTENERS = ("peer", "http", "https", "admin")


class World:
    """Builds and runs a world; :meth:`close` ends every process it started."""

    def __init__(self, directory: Path, instance: str = "LA") -> None:
        self.directory = directory
        self.instance = instance
        self.servers: dict[ServerId, RunningServer] = {}
        self.applications: dict[ApplicationId, dict[str, Any]] = {}
        self._pki: DevelopmentAuthority | None = None
        self._opened: Opened | None = None
        self._registry: Process | None = None
        self._registry_port = 0
        self.stamper: AuthorityServices | None = None
        self.beside = ExitStack()
        """What runs in this process for the world, such as a legacy service; closed with it."""

    # --- the instance ------------------------------------------------------------------------

    @property
    def pki(self) -> DevelopmentAuthority:
        """The development authorities."""
        return _made(self._pki)

    @property
    def authorities(self) -> Path:
        return self.directory / "pki" / "authorities.pem"

    @property
    def registry_url(self) -> str:
        return f"http://127.0.0.1:{self._registry_port}"

    @property
    def registry(self) -> Process:
        """The registry's process."""
        return _made(self._registry)

    @property
    def anchor(self) -> Path:
        """The TUF root that every server is given."""
        return self.directory / "registry" / "root.json"

    def open_instance(
        self,
        name: Text,
        *,
        time_stamps: bool = False,
        authorities_since: datetime | None = None,
    ) -> None:
        """Make the authorities and the registry, with all shared schemas, and start it.

        ``time_stamps`` adds the authority's services (time-stamps, OCSP, CRL) in this process;
        ``authorities_since`` makes the certification authorities older than now.
        """
        now = datetime.now(UTC)
        self.directory.mkdir(parents=True, exist_ok=True)
        port, services_port = free_ports(2)
        self._pki = create_development_pki(
            self.directory / "pki",
            self.instance,
            at=authorities_since or now,
            services_url=f"http://127.0.0.1:{services_port}" if time_stamps else None,
        )
        record = InstanceRecord(
            self.instance,
            Environment.DEVELOPMENT,
            name,
            tuple(self._pki.authorities),
            self._open_services(now, services_port) if time_stamps else (),
        )
        folder = self.directory / "registry"
        self._opened = open_registry(
            folder, record, now, root=Quorum(3, 2), targets=Quorum(3, 2), schemas=schemas.targets()
        )
        self._start_registry(port)

    def reopen(self, plans: Sequence[ServerPlan]) -> None:
        """Start a world that is in the folder already, each process where it listened before.

        The servers are started, too; :meth:`wait_ready` waits for them.

        Raises:
            Problem: ``Conflict`` when the world runs, one of its ports is taken, its folder was
                moved or its certificates have ended; ``InvalidDocument`` when it is damaged.
        """
        found = self._read_again(plans)
        for server in self.servers.values():
            check_certificate(server)
        stamper_port = port_of(found.get("timestamps"))
        ports = [port_of(found["registry"]["url"]), stamper_port]
        ports += [port for server in self.servers.values() for port in server.ports.values()]
        check_free([port for port in ports if port])
        if stamper_port:
            self._start_services(stamper_port)
        self._start_registry(ports[0])
        self.launch()

    def _read_again(self, plans: Sequence[ServerPlan]) -> Mapping[str, Any]:
        """Take up `world.json` and the settings of the servers."""
        path = self.directory / "world.json"
        try:
            found: dict[str, Any] = json.loads(path.read_text("utf-8"))
            if found["ca"] != str(self.authorities):
                raise Problem(
                    Code.CONFLICT,
                    where=str(self.directory),
                    detail=f"the world was built elsewhere, as {Path(found['ca']).parents[1]}; "
                    "move it back, or name a new folder",
                )
            self._pki = DevelopmentAuthority.open(self.directory / "pki")
            self.applications = {
                ApplicationId.parse(item["id"]): item for item in found["applications"]
            }
            for plan in plans:
                settings = yaml.safe_load((self._folder(plan) / "server.yaml").read_text("utf-8"))
                ports = {name: port_of(f"//{at}") for name, at in settings["listen"].items()}
                self._place(plan, ports)
        except (KeyError, TypeError, ValueError, AttributeError, yaml.YAMLError) as error:
            raise Problem(
                Code.INVALID_DOCUMENT,
                where=str(path),
                detail="is not that of a whole world; name a new folder",
            ) from error
        return found

    def _start_registry(self, port: int) -> None:
        self._registry_port = port
        self._registry = Process(
            [
                "registry", "serve", str(self.directory / "registry"),
                "--listen", f"127.0.0.1:{port}",
            ],
            f"{self.registry_url}/healthz",
            self.directory / "registry.log",
        )  # fmt: skip
        self._registry.start()
        self._registry.wait_ready()

    # --- servers -----------------------------------------------------------------------------

    def add_server(self, plan: ServerPlan) -> RunningServer:
        """Make keys and settings of a server, register its members, and approve them."""
        folder = self._folder(plan)
        (folder / "agreements").mkdir(parents=True)
        server = self._place(plan, dict(zip(LISTENERS, free_ports(len(LISTENERS)), strict=True)))
        now = datetime.now(UTC)
        auth = self.pki.issue_auth(plan.id, ["127.0.0.1", "localhost"], at=now)
        auth.write(folder / "auth.pem", folder / "auth.key")
        for member in plan.members:
            self._issue(server, member, now)
        registry = {"url": self.registry_url, "root": str(self.anchor), "poll_s": 1.0}
        (folder / "server.yaml").write_text(
            yaml.safe_dump(
                settings_of(server, registry, self.applications.values()),
                allow_unicode=True,
                sort_keys=False,
            ),
            "utf-8",
        )
        for member in plan.members:
            self._register(server, member)
        return server

    def _folder(self, plan: ServerPlan) -> Path:
        return self.directory / "servers" / f"{plan.id.member_code}-{plan.id.server_code}"

    def _place(self, plan: ServerPlan, ports: Mapping[str, int]) -> RunningServer:
        """The server of a plan, not started."""
        folder = self._folder(plan)
        process = Process(
            ["mediator", "serve", str(folder / "server.yaml")],
            f"http://127.0.0.1:{ports['admin']}/healthz",
            folder / "server.log",
        )
        server = self.servers[plan.id] = RunningServer(plan, folder, ports, process)
        return server

    def start(self, *servers: ServerId) -> None:
        """Start servers (all when none is named) and wait until they are well."""
        self.launch(*servers)
        self.wait_ready(*servers)

    def launch(self, *servers: ServerId) -> None:
        """Start servers (all when none is named), not waiting for them."""
        for server in servers or self.servers:
            self.servers[server].process.start()

    def wait_ready(self, *servers: ServerId) -> None:
        """Wait until servers (all when none is named) are well."""
        for server in servers or self.servers:
            self.servers[server].process.wait_ready()

    def close(self) -> None:
        """End every process; idempotent."""
        stop_all(server.process for server in self.servers.values())
        if self._registry is not None:
            self._registry.stop()
        if self.stamper is not None:
            self.stamper.stop()
        self.beside.close()

    # --- agreements --------------------------------------------------------------------------

    def server_of(self, member: MemberId) -> RunningServer:
        """The server that hosts ``member``."""
        for server in self.servers.values():
            if any(plan.id == member for plan in server.plan.members):
                return server
        raise KeyError(str(member))

    def seal(self, document: Mapping[str, Any] | bytes, members: Sequence[MemberId]) -> bytes:
        """Seal an agreement with the seal keys of ``members``, in turn."""
        sealed = document if isinstance(document, bytes) else orjson.dumps(dict(document))
        for member in members:
            issued = self.server_of(member).seals[member]
            if issued.private_key is None:
                raise RuntimeError(f"the seal key of {member} is not here")
            key = signing_key(issued.private_key, issued.certificate)
            sealed = seal_agreement(sealed, key, issued.certificate)
        return sealed

    def agree(self, document: Mapping[str, Any]) -> Path:
        """Have both parties seal an agreement, and pin it at the provider."""
        provider = MemberId.parse(document["provider"])
        consumer = ApplicationId.parse(document["consumer"]).member
        parties = [provider] if provider == consumer else [provider, consumer]
        return self.pin(provider, str(document["id"]), self.seal(document, parties))

    def pin(self, provider: MemberId, name: str, sealed: bytes) -> Path:
        """Place a sealed agreement where the provider's server obeys it."""
        path = self.server_of(provider).agreements / f"{name}.jws"
        temporary = path.with_suffix(".tmp")
        temporary.write_bytes(sealed)
        temporary.replace(path)
        return path

    def publish(self, files: Mapping[str, bytes]) -> None:
        """Publish files of the registry's own role: data elements, schemas."""
        opened = _made(self._opened)
        operator = RegistryClient(self.registry_url, opened.operator_api_key)
        signers = read_signers(opened.targets_keys[:2])
        operator.publish_own(sign_files(operator.own(), files, signers, datetime.now(UTC)))

    # --- what stands where -------------------------------------------------------------------

    def describe(self) -> dict[str, Any]:
        """The world as `world.json` holds it."""
        return {
            "instance": self.instance,
            "ca": str(self.authorities),
            "registry": {"url": self.registry_url, "root": str(self.anchor)},
            "timestamps": self.stamper.url if self.stamper is not None else None,
            "servers": [
                {
                    "id": str(server.plan.id),
                    "members": [str(member.id) for member in server.plan.members],
                    "application_url": server.url("http"),
                    "application_tls_url": server.url("https"),
                    "peer_url": server.url("peer"),
                    "admin_url": server.url("admin"),
                    "journal": str(server.journal),
                    "pid": server.process.pid if server.process.running else None,
                }
                for server in self.servers.values()
            ],
            "applications": list(self.applications.values()),
            "services": [
                {"id": str(service.id), "type": "OPENAPI", "example": service.example}
                for server in self.servers.values()
                for member in server.plan.members
                for service in member.services
            ],
        }

    def write(self) -> Path:
        """Write `world.json`."""
        path = self.directory / "world.json"
        temporary = path.with_suffix(".tmp")
        temporary.write_text(json.dumps(self.describe(), ensure_ascii=False, indent=1), "utf-8")
        temporary.replace(path)
        return path

    # --- the steps behind --------------------------------------------------------------------

    def _open_services(self, now: datetime, port: int) -> tuple[TimestampAuthority, ...]:
        make_keys(self.pki, now)
        services = self._start_services(port)
        return (TimestampAuthority(services.url, services.certificate),)

    def _start_services(self, port: int) -> AuthorityServices:
        self.stamper = AuthorityServices(self.pki)
        self.stamper.start(port)
        return self.stamper

    def _issue(self, server: RunningServer, member: MemberPlan, now: datetime) -> None:
        code = member.id.member_code
        seal = self.pki.issue_seal(member.id, at=now)
        seal.write(server.folder / f"seal-{code}.pem", server.folder / f"seal-{code}.key")
        server.seals[member.id] = seal
        folder = self.directory / "applications"
        folder.mkdir(exist_ok=True)
        for application in member.applications:
            certificate = folder / f"{code}-{application.id.application_code}.pem"
            key = certificate.with_suffix(".key")
            self.pki.issue_client(application.id, at=now).write(certificate, key)
            self.applications[application.id] = {
                "id": str(application.id),
                "server": str(server.plan.id),
                "mode": application.mode,
                "certificate": str(certificate),
                "key": str(key),
            }

    def _register(self, server: RunningServer, member: MemberPlan) -> None:
        """What the member signs on its machine, hands in, and the registry's operator approves."""
        now = datetime.now(UTC)
        code = member.id.member_code
        home = self.directory / "members" / code
        home.mkdir(parents=True, exist_ok=True)
        description = home / "member.yaml"
        description.write_text(
            yaml.safe_dump(description_of(server, member), allow_unicode=True, sort_keys=False),
            "utf-8",
        )
        applicant = RegistryClient(self.registry_url, self.member_key(member.id))
        submission = MemberFolder.create(home / "registry", member.id).sign(
            describe(description), applicant.published_version(member.id), now
        )
        number = int(applicant.submit(submission)["id"])
        self.approve(number)

    def member_key(self, member: MemberId) -> str:
        """An API key of the registry for ``member``."""
        operator = RegistryClient(self.registry_url, _made(self._opened).operator_api_key)
        return operator.add_key("member-administrator", f"{member} administrator", member)

    def approve(self, number: int) -> None:
        """Approve a request, as the registry's operator does."""
        opened = _made(self._opened)
        operator = RegistryClient(self.registry_url, opened.operator_api_key)
        signed = None
        if operator.get(f"submissions/{number}")["needs_delegation"]:
            signers = read_signers(opened.targets_keys[:2])
            submission, now = operator.submission(number), datetime.now(UTC)
            signed = sign_delegation(operator.own(), submission, signers, (), now)
        operator.approve(number, signed)


def _made(value: T | None) -> T:
    if value is None:
        raise RuntimeError("open_instance comes first")
    return value
