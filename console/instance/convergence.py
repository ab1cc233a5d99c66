"""What there is becomes what is asked for: the same few steps, again and again.

Order of a round, each step a look at what is there and the making of what is missing:

1. rights that are gone lose their pins, members that are gone their servers: taking away waits
   for nothing else;
2. the centre: authority and registry;
3. each member: certificates, settings, what the registry says of it;
4. agreements, sealed by both and pinned at the provider's server;
5. servers are started, or started again where their files changed, and awaited: well, knowing the
   newest state of the registry, obeying exactly the agreements that are pinned.

What fails for one member is told and does not hold up the others; the round after goes on from
what is there. A round begins when something is asked for, when a server has ended, each hour (for
certificates and agreements that end), and after a failure with growing pauses.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, TypeVar

import structlog

from certs.authority import DevelopmentAuthority
from certs.services import Listening
from console.instance.agreements import Right, endpoints_of, pin, unpin
from console.instance.central import LOOPBACK, Centre, withdrawn
from console.instance.configuration import Configuration, Member
from console.instance.desired import FOLDER, Desired, DesiredFile
from console.instance.hosted import Hosted, Surroundings
from console.instance.rights import ServiceKey
from console.instance.watching import await_server, published_version
from console.reference_world.processes import stop_all
from exchange.contracts.contract import Contract
from exchange.identifiers import ApplicationId, MemberId, ServiceId
from exchange.problems import Code, Problem
from registry import service as registry_service
from registry.http.client import RegistryClient
from registry.offline.member import describe_value
from schemas import load_all

T = TypeVar("T")
LOOK_S: Final = 5.0
ROUTINE_S: Final = 3600.0
RETRY_S: Final = (2.0, 5.0, 15.0, 60.0)

log = structlog.get_logger("console.instance")


@dataclass(frozen=True, slots=True)
class Failure:
    """A step that failed, for whom."""

    step: str
    subject: str
    problem: Problem


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a round ended."""

    generation: int
    at: datetime
    failures: tuple[Failure, ...]


class _Stopped(Exception):
    """The instance is to stop; the round ends between two steps."""


class Convergence:
    """Owns the processes of the instance in ``directory``."""

    def __init__(self, directory: Path, host: str = LOOPBACK) -> None:
        self.directory = directory
        self.centre = Centre(directory)
        self.file = DesiredFile(directory)
        self.desired: Desired | None = self.file.read()
        self.outcome: Outcome | None = None
        self.hosted: dict[MemberId, Hosted] = {}
        self.registry_url = ""
        self._host = host
        self._registry: registry_service.RunningRegistry | None = None
        self._authority: Listening | None = None
        self._asked = asyncio.Event()
        self._ended = asyncio.Condition()
        self._stopping = threading.Event()
        self._contracts: dict[str, tuple[tuple[str, str], ...]] = {}

    # --- asking -------------------------------------------------------------------------------

    async def ask(self, desired: Desired, new: dict[str, bytes]) -> None:
        """Have something else be; it is durable when this returns, and being made."""
        await asyncio.to_thread(self.file.write, desired, new)
        self.desired = desired
        self._asked.set()

    async def settled(self, generation: int, timeout_s: float) -> Outcome | None:
        """The outcome of the round that made ``generation``; None when that takes longer."""

        def is_over() -> bool:
            return self.outcome is not None and self.outcome.generation >= generation

        try:
            async with asyncio.timeout(timeout_s), self._ended:
                await self._ended.wait_for(is_over)
        except TimeoutError:
            return None
        return self.outcome

    # --- running ------------------------------------------------------------------------------

    async def run(self) -> None:
        """Make rounds until :meth:`stop`."""
        failed = 0
        while not self._stopping.is_set():
            self._asked.clear()
            desired = self.desired
            if desired is not None:
                outcome = await self._round(desired)
                failed = failed + 1 if outcome.failures else 0
                async with self._ended:
                    self.outcome = outcome
                    self._ended.notify_all()
            await self._pause(failed)

    async def _pause(self, failed: int) -> None:
        """Wait until there is something to do."""
        length = RETRY_S[min(failed, len(RETRY_S)) - 1] if failed else ROUTINE_S
        until = time.monotonic() + length
        while time.monotonic() < until and not self._stopping.is_set():
            try:
                async with asyncio.timeout(min(LOOK_S, max(0.01, until - time.monotonic()))):
                    await self._asked.wait()
                return
            except TimeoutError:
                if not failed and self._has_ended():
                    log.warning("server_ended")
                    return

    def _has_ended(self) -> bool:
        """Whether a server that is to run does not."""
        desired = self.desired
        return desired is not None and any(
            not hosted.running for hosted, _ in self._members(desired.configuration)
        )

    def stop(self) -> None:
        """Let the round under way end at its next step, and :meth:`run` with it."""
        self._stopping.set()
        self._asked.set()

    async def close(self) -> None:
        """End every process, after :meth:`run` has ended; idempotent."""
        self.stop()
        await asyncio.to_thread(self._stop_servers)
        if self._registry is not None:
            await self._registry.stop()
            self._registry = None
        if self._authority is not None:
            await self._authority.stop()
            self._authority = None

    async def take_away(self) -> None:
        """Remove the pins that nothing stands for any more, not waiting for the next round."""
        desired = self.desired
        if desired is not None:
            with suppress(OSError):  # the round tells
                await asyncio.to_thread(self._unpin, desired.configuration)

    def _stop_servers(self) -> None:
        members = list(self.hosted.values())
        stop_all(one.process for one in members if one.process is not None)
        for one in members:
            one.stop()

    # --- a round ------------------------------------------------------------------------------

    async def _round(self, desired: Desired) -> Outcome:
        failures: list[Failure] = []
        started = time.monotonic()
        try:
            await asyncio.to_thread(self._take_away, desired.configuration, failures)
            if await self._open_centre(desired.configuration, failures):
                with self._step("round", "", failures):
                    await asyncio.to_thread(self._make, desired, failures)
        except _Stopped:
            failures.append(Failure("stop", "", Problem(Code.SHUTTING_DOWN)))
        outcome = Outcome(desired.generation, datetime.now(UTC), tuple(failures))
        log.info(
            "converged" if not failures else "not_converged",
            generation=desired.generation,
            took_s=round(time.monotonic() - started, 2),
            failures=[f"{one.step} {one.subject}: {one.problem}" for one in failures],
        )
        return outcome

    def _take_away(self, wanted: Configuration, failures: list[Failure]) -> None:
        """Step 1."""
        members = {self._id(wanted, member): member for member in wanted.members}
        for identifier in self._folders(wanted.instance):
            hosted = self._hosted(identifier)
            with self._step("unpin", identifier, failures):
                self._unpin_at(hosted, wanted, members.get(identifier))
            if identifier not in members:
                with self._step("stop", identifier, failures):
                    hosted.end()
                    self.hosted.pop(identifier, None)

    def _unpin(self, wanted: Configuration) -> None:
        members = {self._id(wanted, member): member for member in wanted.members}
        for identifier in self._folders(wanted.instance):
            self._unpin_at(self._hosted(identifier), wanted, members.get(identifier))

    def _unpin_at(self, hosted: Hosted, wanted: Configuration, member: Member | None) -> None:
        unpin(hosted.agreements, () if member is None else _rights(wanted, member, {}))

    async def _open_centre(self, wanted: Configuration, failures: list[Failure]) -> bool:
        """Step 2; the registry runs in this process, where it ran before if it can."""
        count = len(failures)
        with self._step("registry", "", failures):
            await asyncio.to_thread(self.centre.open, wanted.instance, wanted.domain)
            if self._registry is None:
                self._registry = await self._start_registry()
                self.registry_url = self._registry.url
            if self._authority is None:
                self._authority = await self.centre.serve_authority()
        return len(failures) == count

    async def _start_registry(self) -> registry_service.RunningRegistry:
        path = self.directory / "registry.port"
        try:
            port = int(path.read_text())
            running = await registry_service.start(self.centre.registry, host=LOOPBACK, port=port)
        except (OSError, ValueError, Problem):
            running = await registry_service.start(self.centre.registry, host=LOOPBACK)
        path.write_text(running.url.rpartition(":")[2])
        return running

    def _make(self, desired: Desired, failures: list[Failure]) -> None:
        """Steps 3 to 5."""
        wanted = desired.configuration
        client = self.centre.client(self.registry_url)
        authority = self.centre.authority()
        paths = {
            _service_id(wanted, key): self.directory / FOLDER / f"{digest}.json"
            for key, digest in desired.specifications.items()
        }
        for hosted, member in self._members(wanted):
            with self._step("member", hosted.id, failures):
                self._prepare(hosted, member, wanted, authority, paths, client)
        self._withdraw(wanted, client, failures)
        pinned: dict[MemberId, frozenset[str]] = {}
        for hosted, member in self._members(wanted):
            with self._step("agreements", hosted.id, failures):
                pinned[hosted.id] = self._pin(hosted, member, desired, authority)
        for hosted, _ in self._members(wanted):
            with self._step("start", hosted.id, failures):
                hosted.launch()
        version = published_version(self.registry_url)
        for hosted, _ in self._members(wanted):
            with self._step("start", hosted.id, failures):
                await_server(hosted, version, pinned.get(hosted.id, frozenset()), self._check)

    def _prepare(
        self,
        hosted: Hosted,
        member: Member,
        wanted: Configuration,
        authority: DevelopmentAuthority,
        paths: dict[ServiceId, Path],
        client: RegistryClient,
    ) -> None:
        around = Surroundings(
            self.directory,
            wanted.instance,
            wanted.domain,
            self._host,
            self.registry_url,
            self.centre.anchor,
        )
        for application in member.applications:
            for service in application.services:
                path = paths.get(hosted.service(application, service.id))
                self.file.specification("" if path is None else path.stem)
        hosted.prepare()
        hosted.issue(member, around, authority)
        hosted.configure(member, around, paths)
        self.centre.register(client, hosted.home(), hosted.describe(member, paths))

    def _withdraw(
        self, wanted: Configuration, client: RegistryClient, failures: list[Failure]
    ) -> None:
        """Members that have left: the registry keeps their name, with nothing behind it."""
        kept = {self._id(wanted, member) for member in wanted.members}
        for identifier in self._folders(wanted.instance):
            if identifier in kept:
                continue
            with self._step("withdraw", identifier, failures):
                try:
                    known = client.get(f"members/{identifier}")["document"]
                except Problem as problem:
                    if problem.code is Code.UNKNOWN_MEMBER:
                        continue
                    raise
                hosted = self._hosted(identifier)
                value = withdrawn(known["name"]["en"], identifier)
                described = describe_value(value, str(identifier), hosted.folder)
                self.centre.register(client, hosted.home(), described)
                self.hosted.pop(identifier, None)

    def _pin(
        self, hosted: Hosted, member: Member, desired: Desired, authority: DevelopmentAuthority
    ) -> frozenset[str]:
        wanted = desired.configuration
        endpoints = {
            _service_id(wanted, key): self._endpoints(digest)
            for key, digest in desired.specifications.items()
            if (key.member_class, key.member_code) == member.key
        }
        rights = list(_rights(wanted, member, endpoints))
        members = {hosted.id, *(right.consumer.member for right in rights)}
        seals = {identifier: self._hosted(identifier).seal() for identifier in members}
        return pin(hosted.agreements, rights, seals, authority.authorities)

    def _endpoints(self, digest: str) -> tuple[tuple[str, str], ...]:
        if digest not in self._contracts:
            if len(self._contracts) > 1000:
                self._contracts.clear()
            contract = Contract.compile(self.file.specification(digest), load_all())
            self._contracts[digest] = endpoints_of(contract)
        return self._contracts[digest]

    # --- in detail ----------------------------------------------------------------------------

    @contextmanager
    def _step(self, name: str, subject: MemberId | str, failures: list[Failure]) -> Iterator[None]:
        """One step: what goes wrong in it is told, and the round goes on."""
        self._check()
        try:
            yield
        except Problem as problem:
            failures.append(Failure(name, str(subject), problem))
        except (OSError, ValueError, KeyError) as error:
            log.exception("step_failed", step=name, subject=str(subject))
            told = f"{type(error).__name__}: {error}"[:500]
            internal = Problem(Code.INTERNAL_ERROR, where=str(subject), detail=told)
            failures.append(Failure(name, str(subject), internal))

    def _check(self) -> None:
        if self._stopping.is_set():
            raise _Stopped

    def _id(self, wanted: Configuration, member: Member) -> MemberId:
        return MemberId(wanted.instance, *member.key)

    def _members(self, wanted: Configuration) -> Iterable[tuple[Hosted, Member]]:
        return [(self._hosted(self._id(wanted, member)), member) for member in wanted.members]

    def _hosted(self, identifier: MemberId) -> Hosted:
        folder = self.directory / "members" / identifier.member_class / identifier.member_code
        return self.hosted.setdefault(identifier, Hosted(identifier, folder))

    def _folders(self, instance: str) -> list[MemberId]:
        """Every member that ever was."""
        return [
            MemberId(instance, path.parent.name, path.name)
            for path in sorted(self.directory.glob("members/*/*"))
            if path.is_dir()
        ]


def _rights(
    wanted: Configuration,
    member: Member,
    endpoints: dict[ServiceId, tuple[tuple[str, str], ...]],
) -> Iterator[Right]:
    for application in member.applications:
        for service in application.services:
            key = ServiceKey(*member.key, application.id, service.id)
            identifier = _service_id(wanted, key)
            for consumer in service.rights:
                yield Right(
                    ApplicationId(
                        wanted.instance,
                        consumer.member_class,
                        consumer.member_code,
                        consumer.application,
                    ),
                    identifier,
                    endpoints.get(identifier, ()),
                )


def _service_id(wanted: Configuration, key: ServiceKey) -> ServiceId:
    return ServiceId(
        wanted.instance, key.member_class, key.member_code, key.application, key.service
    )
