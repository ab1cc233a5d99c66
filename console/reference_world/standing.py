"""A server of a world as files: where it is, its settings, how its members are described."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from cryptography import x509

from certs.issue import Issued
from console.reference_world.plans import MemberPlan, ServerPlan
from console.reference_world.processes import Process
from exchange.identifiers import MemberId
from exchange.problems import Code, Problem
from mediator.own_keys import log_keys


@dataclass(slots=True)
class RunningServer:
    """A server of the world."""

    plan: ServerPlan
    folder: Path
    ports: Mapping[str, int]
    process: Process
    seals: dict[MemberId, Issued] = field(default_factory=dict)

    def url(self, listener: str) -> str:
        """The address of one of its listeners."""
        scheme = "http" if listener in ("http", "admin") else "https"
        return f"{scheme}://127.0.0.1:{self.ports[listener]}"

    @property
    def address(self) -> str:
        """Where other servers reach it, as the registry says."""
        return self.plan.address or self.url("peer")

    @property
    def journal(self) -> Path:
        return self.folder / "data" / "journal"

    @property
    def agreements(self) -> Path:
        return self.folder / "agreements"


def settings_of(
    server: RunningServer,
    registry: Mapping[str, Any],
    applications: Iterable[Mapping[str, Any]],
) -> dict[str, Any]:
    """What stands in `server.yaml`; ``registry`` is how the registry is asked, ``applications`` are
    those of the world."""
    plan = server.plan
    return {
        "server": str(plan.id),
        "directory": "data",
        "address": server.address,
        "registry": dict(registry),
        "auth": {"certificate": "auth.pem", "key": "auth.key"},
        "listen": {
            **{name: f"127.0.0.1:{port}" for name, port in server.ports.items()},
            **plan.listen,
        },
        "members": [
            {
                "id": str(member.id),
                "seal": {
                    "certificate": f"seal-{member.id.member_code}.pem",
                    "key": f"seal-{member.id.member_code}.key",
                },
            }
            for member in plan.members
        ],
        "applications": [
            {"id": item["id"], "mode": item["mode"], "certificates": [item["certificate"]]}
            for item in applications
            if item["server"] == str(plan.id)
        ],
        "services": [
            {"id": str(service.id), **service.settings}
            for member in plan.members
            for service in member.services
        ],
        "agreements": "agreements",
        **plan.settings,
    }


def _log_keys(server: RunningServer) -> dict[str, str]:
    """What the server's log, and its word on others' logs, will be verified with; made before its
    first start."""
    directory = server.journal.parent
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    journal, witness = log_keys(directory, server.plan.id)
    return {"journal": str(journal), "witness": str(witness)}


def description_of(server: RunningServer, member: MemberPlan) -> dict[str, Any]:
    """How ``member``, on its server, is described to the registry."""
    owner = server.plan.members[0].id == member.id
    code = member.id.member_code
    return {
        "member": str(member.id),
        "name": member.name.as_dict(),
        "seal_certificates": [str(server.folder / f"seal-{code}.pem")],
        "servers": [
            {
                "id": str(server.plan.id),
                "address": server.address,
                "auth_certificates": [str(server.folder / "auth.pem")],
                **_log_keys(server),
            }
        ]
        if owner
        else [],
        "applications": [
            {
                "id": str(application.id),
                "name": application.name.as_dict(),
                "servers": [str(server.plan.id)],
            }
            for application in member.applications
        ],
        "services": [
            {
                "id": str(service.id),
                "title": service.title.as_dict(),
                "openapi": str(service.openapi),
            }
            for service in member.services
        ],
    }


def port_of(address: str | None) -> int:
    """The port of an address; 0 when it has none."""
    return (urlsplit(address).port if address else None) or 0


def check_free(ports: Sequence[int]) -> None:
    """See to it that nobody listens on any of these ports of loopback.

    Raises:
        Problem: ``Conflict`` when somebody does.
    """
    for port in ports:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError as error:
                raise Problem(
                    Code.CONFLICT,
                    where=f"127.0.0.1:{port}",
                    detail=f"{os.strerror(error.errno or 0)}: the world runs already, or another "
                    "program has this port of it; end that, or name a new folder",
                ) from error


def check_certificate(server: RunningServer) -> None:
    """See to it that the server's certificate is still good.

    Raises:
        Problem: ``Conflict`` when it has ended.
    """
    path = server.folder / "auth.pem"
    ends = x509.load_pem_x509_certificate(path.read_bytes()).not_valid_after_utc
    if ends <= datetime.now(UTC):
        raise Problem(
            Code.CONFLICT,
            where=str(path),
            detail=f"the certificate ended on {ends:%Y-%m-%d}; servers of such a world have "
            "a week: name a new folder",
        )
