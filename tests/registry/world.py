"""A real registry on loopback, and the people around it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

from securesystemslib.signer import CryptoSigner

from exchange.identifiers import MemberId
from exchange.registrations import MemberRecord
from registry import service
from registry.http.client import RegistryClient
from registry.offline.member import Described, MemberFolder
from registry.offline.operator import sign_delegation
from registry.publication.ceremony import Opened, open_registry
from registry.publication.signers import read_signers
from registry.requests.submissions import Submission
from registry.service import RunningRegistry
from registry.settings import RegistrySettings
from tests.registry.simulator import (
    NOW,
    SCHEMA,
    instance_record,
    keys_of,
    member_files,
    member_record,
)

T = TypeVar("T")


@dataclass(slots=True)
class SetClock:
    """A clock that a test sets."""

    time: datetime = NOW

    def now(self) -> datetime:
        return self.time

    def unix(self) -> float:
        return self.time.timestamp()

    def monotonic(self) -> float:
        return self.time.timestamp()

    def advance(self, **parts: float) -> None:
        self.time += timedelta(**parts)


def described(record: MemberRecord) -> Described:
    """A record with its files, as a description on disk would give it."""
    files = {path.rpartition("/")[2]: data for path, data in member_files(record).items()}
    return Described(record.member, files, keys_of(record))


@dataclass(slots=True)
class World:
    """One registry in ``directory``, its offline keys, and its members' folders."""

    directory: Path
    opened: Opened
    clock: SetClock
    settings: RegistrySettings
    running: RunningRegistry
    folders: dict[MemberId, MemberFolder] = field(default_factory=dict)

    @property
    def url(self) -> str:
        return self.running.url

    @property
    def anchor(self) -> bytes:
        return self.opened.anchor.read_bytes()

    @property
    def operator(self) -> RegistryClient:
        return RegistryClient(self.url, self.opened.operator_api_key)

    @property
    def targets_signers(self) -> list[CryptoSigner]:
        return read_signers(self.opened.targets_keys)

    @property
    def root_signers(self) -> list[CryptoSigner]:
        return read_signers(self.opened.root_keys)

    def folder(self, member: MemberId) -> MemberFolder:
        """The member's folder, made when it is first asked for."""
        if member not in self.folders:
            path = self.directory.parent / str(member).replace("/", "~")
            self.folders[member] = MemberFolder.create(path, member)
        return self.folders[member]

    async def call(self, work: Callable[[], T]) -> T:
        """Run a blocking client while the registry answers."""
        return await asyncio.to_thread(work)

    def signed(self, member: MemberId, name: str = "Ministry") -> Submission:
        """A submission of the member, signed with its key."""
        folder = self.folder(member)
        record = member_record(member, name=name)
        return folder.sign(described(record), 0, self.clock.now())

    async def submit(self, member: MemberId, name: str = "Ministry") -> dict[str, Any]:
        """Submit as the operator on behalf of the member."""
        submission = self.signed(member, name)
        return dict(await self.call(lambda: self.operator.submit(submission)))

    async def approve(self, number: int, *, vouch: bool = False) -> dict[str, Any]:
        """Approve with the offline keys where they are needed."""

        def work() -> dict[str, Any]:
            client = self.operator
            signed = None
            if client.get(f"submissions/{number}")["needs_delegation"]:
                signed = sign_delegation(
                    client.own(),
                    client.submission(number),
                    self.targets_signers,
                    self.root_signers if vouch else [],
                    self.clock.now(),
                )
            return dict(client.approve(number, signed))

        return await self.call(work)

    async def register(self, member: MemberId, name: str = "Ministry") -> None:
        """Submit and approve."""
        row = await self.submit(member, name)
        await self.approve(row["id"])

    async def restart(self) -> None:
        """Stop the registry and start it again at the same address."""
        port = int(self.url.rpartition(":")[2])
        await self.running.stop()
        self.running = await service.start(self.directory, port=port, clock=self.clock)


@asynccontextmanager
async def real_world(folder: Path, **settings: Any) -> AsyncIterator[World]:
    """A registry that listens on a free port of loopback until the end of the block."""
    clock = SetClock()
    chosen = RegistrySettings(**settings)
    directory = folder / "registry"
    opened = await asyncio.to_thread(
        open_registry,
        directory,
        instance_record(),
        clock.now(),
        schemas={"schemas/province.1.json": SCHEMA},
        settings=chosen,
    )
    running = await service.start(directory, clock=clock)
    world = World(directory, opened, clock, chosen, running)
    try:
        yield world
    finally:
        await world.running.stop()
