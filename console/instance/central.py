"""The centre of an instance: its development authority and its registry, in one process with us.

What an operator of a production instance keeps apart (root keys, targets keys, the authority, each
member's keys) lies in one folder here. The instance says so: its environment is *development*, and
every certificate names it.
"""

from __future__ import annotations

import asyncio
import shutil
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import structlog

from certs.authority import DevelopmentAuthority, create_development_pki
from certs.services import TSA_PATH, Listening, Services, make_keys, start
from console.reference_world.processes import free_ports
from exchange.documents import parse_document
from exchange.identifiers import MemberId
from exchange.problems import Code, Problem, Text
from exchange.registrations import (
    MEMBER_FILE,
    Environment,
    InstanceRecord,
    TimestampAuthority,
)
from registry.http.client import RegistryClient
from registry.offline.member import Described, MemberFolder
from registry.offline.operator import sign_delegation
from registry.publication.ceremony import ANCHOR, OPERATOR_KEY, Quorum, open_registry
from registry.publication.signers import read_signers
from schemas import targets
from serving.clock import SystemClock

log = structlog.get_logger("console.instance")

LOOPBACK: Final = "127.0.0.1"
TARGETS: Final = Quorum(3, 2)


@dataclass(frozen=True, slots=True)
class Centre:
    """Authority and registry in ``directory``; blocking, for a thread."""

    directory: Path

    @property
    def registry(self) -> Path:
        return self.directory / "registry"

    @property
    def anchor(self) -> Path:
        return self.registry / ANCHOR

    @property
    def authorities(self) -> Path:
        return self.directory / "pki" / "authorities.pem"

    @property
    def exists(self) -> bool:
        """Whether it was opened to the end: the anchor is written last."""
        return self.anchor.exists()

    def open(self, instance: str, domain: str) -> None:
        """Make what is not there yet; a half-made registry, of which nobody knows, is made anew.

        Raises:
            Problem: ``InvalidDocument`` when members know a registry that is gone: it is not
                replaced by another one, which they would not believe.
        """
        if self.exists:
            return
        if any(self.directory.glob("members/*/*/registry/member")):
            raise Problem(
                Code.INVALID_DOCUMENT,
                where=str(self.anchor),
                detail="the registry of the members here is gone; put back your copy of the folder",
            )
        now = datetime.now(UTC)
        if (self.directory / "pki" / "authority.json").exists():
            authority = DevelopmentAuthority.open(self.directory / "pki")
        else:
            (port,) = free_ports(1)
            authority = create_development_pki(
                self.directory / "pki",
                instance,
                at=now,
                services_url=f"http://{LOOPBACK}:{port}",
            )
        stampers: tuple[TimestampAuthority, ...] = ()
        if authority.services_url is not None:
            stamper = make_keys(authority, now).certificate
            stampers = (TimestampAuthority(f"{authority.services_url}{TSA_PATH}", stamper),)
        shutil.rmtree(self.registry, ignore_errors=True)
        record = InstanceRecord(
            instance,
            Environment.DEVELOPMENT,
            Text(domain, domain),
            tuple(authority.authorities),
            stampers,
        )
        open_registry(self.registry, record, now, targets=TARGETS, schemas=targets())

    async def serve_authority(self) -> Listening | None:
        """Answer for the authority: time-stamps, OCSP, its list; where the certificates say.

        Returns None, with a warning, when another program has that port: the servers go on
        without, and tell so.
        """
        authority = await asyncio.to_thread(self.authority)
        if authority.services_url is None:
            return None
        parts = urlsplit(authority.services_url)
        try:
            services = await asyncio.to_thread(Services.open, authority, SystemClock())
            return await start(services, LOOPBACK, parts.port or 0)
        except OSError as error:
            log.warning("authority_not_served", url=authority.services_url, why=str(error))
            return None

    def authority(self) -> DevelopmentAuthority:
        """The development authority."""
        return DevelopmentAuthority.open(self.directory / "pki")

    def client(self, url: str) -> RegistryClient:
        """A client with the operator's right."""
        return RegistryClient(url, (self.registry / OPERATOR_KEY).read_text().strip())

    def register(self, client: RegistryClient, home: MemberFolder, described: Described) -> bool:
        """See to it that the registry says of a member what is described; whether it did not."""
        if _is_published(client, described):
            return False
        now = datetime.now(UTC)
        version = client.published_version(home.member)
        row = client.submit(home.sign(described, version, now))
        number = int(row["id"])
        signed = None
        if row["needs_delegation"]:
            keys = sorted((self.registry / "offline").glob("targets-*.pem"))
            signers = read_signers(keys[: TARGETS.threshold])
            submission = client.submission(number)
            signed = sign_delegation(client.own(), submission, signers, (), now)
        client.approve(number, signed)
        return True


def _is_published(client: RegistryClient, described: Described) -> bool:
    try:
        published: Any = client.get(f"members/{described.member}")["document"]
    except Problem as problem:
        if problem.code is not Code.UNKNOWN_MEMBER:
            raise
        return False
    wanted = parse_document(described.files[MEMBER_FILE], 64 << 20, MEMBER_FILE).value
    if published != wanted:
        return False
    return all(
        client.get(f"services/{service['id']}/openapi")
        == parse_document(described.files[service["openapi"]], 64 << 20, "openapi").value
        for service in wanted["services"]
    )


def withdrawn(name: str, member: MemberId) -> dict[str, Any]:
    """The description of a member that has left: its name, with nothing behind it."""
    return {"member": str(member), "name": {"en": name, "lo": name}}
