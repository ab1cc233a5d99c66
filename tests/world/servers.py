"""The small world with two servers of MPI, each behind a line that a test can break.

A third server of MPI is registered at a port where nobody listens.
"""

from __future__ import annotations

import json
import secrets
import shutil
import tempfile
import time
import urllib.request
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml

from console.reference_world.processes import Process, free_ports
from console.reference_world.standing import RunningServer
from console.reference_world.world import LISTENERS, World
from exchange.identifiers import ServerId, ServiceId
from exchange.problems import Text
from registry.http.client import RegistryClient
from registry.offline.member import MemberFolder, describe
from tests.faults.line import Line
from tests.world import small
from tests.world.backend import Backend
from tests.world.small import SmallWorld

SS1, SS2, SS3 = small.MPI_SERVER, ServerId.parse("LA/GOV/MPI/ss2"), ServerId.parse("LA/GOV/MPI/ss3")
LIMITS = {"connect_s": 1.0, "first_byte_s": 1.5, "exchange_s": 15.0}
PEERS = {"breaker_failures": 3, "breaker_s": 0.2, "breaker_max_s": 0.4, "backoff_s": 0.02}


@dataclass(slots=True)
class Servers:
    """The running world, the lines to MPI's servers, and what tests do to them."""

    world: SmallWorld
    lines: dict[ServerId, Line]

    def heal(self) -> None:
        """Every line is good again and every server takes messages."""
        for server, line in self.lines.items():
            line.heal()
            line.upstream = self.of(server).ports["peer"]
            self.maintain(server, None)

    def of(self, server: ServerId) -> RunningServer:
        return self.world.world.servers[server]

    def admin(self, server: ServerId, path: str, method: str = "GET", body: Any = None) -> Any:
        """An administrative call and the document that it answers."""
        request = urllib.request.Request(  # noqa: S310 - an address of the test
            self.of(server).url("admin") + path,
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={} if body is None else {"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310
            return json.load(answer)

    def maintain(self, server: ServerId, notice: str | None) -> Any:
        """Begin maintenance, or end it."""
        if notice is None:
            return self.admin(server, "/maintenance", "DELETE")
        return self.admin(server, "/maintenance", "PUT", {"notice": notice})

    def peers(self) -> dict[str, Any]:
        """What MOF's server thinks of the others."""
        rows = self.admin(small.MOF_SERVER, "/peers")["peers"]
        return {row["server"].rpartition("/")[2]: row for row in rows}

    def restart(self, server: ServerId) -> None:
        """Stop a server in order and start it again."""
        self.of(server).process.stop()
        self.world.world.start(server)

    def register(self, servers: tuple[ServerId, ...]) -> None:
        """Have MPI name these servers, and wait until MOF's server has heard of it."""
        before = self._version()
        register(self.world.world, self.lines, servers)
        deadline = time.monotonic() + 20
        while self._version() == before:
            assert time.monotonic() < deadline, "MOF's server does not follow the registry"
            time.sleep(0.05)

    def _version(self) -> int:
        return int(self.admin(small.MOF_SERVER, "/healthz")["checks"]["registry"]["version"])


def register(
    world: World,
    lines: Mapping[ServerId, Line],
    servers: Iterable[ServerId],
    shares: str | None = None,
) -> None:
    """What MPI says of its servers; one without a line stands where nobody listens."""
    (dead,) = free_ports(1)
    rows = []
    for server in servers:
        port, auth = dead, []
        if server in lines:
            port, auth = lines[server].port, [str(world.servers[server].folder / "auth.pem")]
        rows.append(
            {
                "id": str(server),
                "address": f"https://127.0.0.1:{port}",
                "auth_certificates": auth,
                **({"shares": shares} if shares else {}),
            }
        )
    home = world.directory / "members" / "MPI"
    description = yaml.safe_load((home / "member.yaml").read_text("utf-8"))
    description["servers"] = rows
    for application in description["applications"]:
        application["servers"] = [row["id"] for row in rows]
    path = home / "again.yaml"
    path.write_text(yaml.safe_dump(description, allow_unicode=True), "utf-8")
    key = (world.directory / "registry/offline/operator-api-key").read_text().strip()
    operator = RegistryClient(world.registry_url, key)
    applicant = RegistryClient(
        world.registry_url, operator.add_key("member-administrator", "again", small.MPI)
    )
    submission = MemberFolder.open(home / "registry").sign(
        describe(path), applicant.published_version(small.MPI), datetime.now(UTC)
    )
    operator.approve(int(applicant.submit(submission)["id"]), None)


@contextmanager
def two_servers(
    book: str | None = None,
    *,
    limits: Mapping[str, Any] | None = None,
    connections: int = 64,
    services: Mapping[ServiceId, Mapping[str, Any]] | None = None,
    agreements: Iterable[Mapping[str, Any]] = (),
) -> Iterator[Servers]:
    """Build, start and end the world; ``book`` is the database of a shared exactly-once book.

    ``limits`` and ``services`` change settings, ``connections`` is how many MPI's servers have to
    each backend; ``agreements`` are made besides the usual one.
    """
    backend = Backend()
    backend.start()
    lines = {SS1: Line(), SS2: Line()}
    with tempfile.TemporaryDirectory(prefix="saphan-") as name:
        folder = Path(name)
        world = World(folder / "world")
        try:
            world.open_instance(Text("Lao PDR", "ສປປ ລາວ"))
            mof, mpi = small.plans(
                folder, backend.port, *free_ports(1), limits={**LIMITS, **(limits or {})}
            )
            mpi = small.changed(mpi, services or {})
            world.add_server(replace(mof, settings={**mof.settings, "peers": PEERS}))
            address = f"https://127.0.0.1:{lines[SS1].port}"
            settings: dict[str, Any] = {**mpi.settings, "address": address}
            settings["limits"] = settings["limits"] | {"connections": connections}
            if book is not None:
                (folder / "once.key").write_bytes(secrets.token_bytes(32))
                (folder / "once.key").chmod(0o600)
                settings["once"] = {"database": book, "key": str(folder / "once.key")}
            first = world.add_server(replace(mpi, settings=settings))
            for agreement in (small.agreement("mof-mpi"), *agreements):
                world.agree(agreement)
            world.servers[SS2] = _twin(world, first, f"https://127.0.0.1:{lines[SS2].port}")
            register(world, lines, (SS1, SS2), "mpi" if book else None)
            world.start()
            for server, line in lines.items():
                line.start(world.servers[server].ports["peer"])
            yield Servers(SmallWorld(world, backend), lines)
        finally:
            world.close()
            for line in lines.values():
                line.stop()
            backend.stop()


def _twin(world: World, first: RunningServer, address: str) -> RunningServer:
    """A second server of the same member: its own certificate, log and ports, the same seal,
    services and agreements."""
    folder = first.folder.with_name("MPI-ss2")
    folder.mkdir()
    for path in first.folder.glob("seal-*"):
        shutil.copy(path, folder)
    (folder / "agreements").symlink_to(first.agreements)
    issued = world.pki.issue_auth(SS2, ["127.0.0.1", "localhost"], at=datetime.now(UTC))
    issued.write(folder / "auth.pem", folder / "auth.key")
    ports = dict(zip(LISTENERS, free_ports(len(LISTENERS)), strict=True))
    settings = yaml.safe_load((first.folder / "server.yaml").read_text("utf-8"))
    settings |= {
        "server": str(SS2),
        "address": address,
        "listen": {name: f"127.0.0.1:{port}" for name, port in ports.items()},
    }
    (folder / "server.yaml").write_text(yaml.safe_dump(settings, allow_unicode=True), "utf-8")
    health = f"http://127.0.0.1:{ports['admin']}/healthz"
    process = Process(
        ["mediator", "serve", str(folder / "server.yaml")], health, folder / "server.log"
    )
    return RunningServer(first.plan, folder, ports, process)
