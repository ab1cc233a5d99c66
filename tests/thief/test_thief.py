"""Who has broken into the registry, and what it avails: each test plays the thief.

The thief has everything that lies beside the running registry: the online keys (snapshot,
timestamp, log, standing), the database, every operator's account. In the last tests the offline
targets keys, too. What the thief publishes is served by a web server that knows nothing (Python's
``http.server``), and followed by servers as they follow any registry.
"""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
import threading
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, closing, contextmanager
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Protocol, TypeVar

import pytest
from securesystemslib.signer import CryptoSigner
from sqlalchemy import delete
from tuf.api.metadata import Metadata, Root, Snapshot, Targets, Timestamp
from tuf.ngclient import Updater, UpdaterConfig

from exchange.problems import Code, Problem
from exchange.registrations import INSTANCE_TARGET, format_instance, member_target, parse_instance
from exchange.registry.delegations import role_name
from mediator.registry_copy.view import RegistryView
from mediator.witness.misbehaviour import Misbehaviour, Misdeed, judge
from registry.directory.contents import Directory
from registry.publication.ceremony import PUBLIC, log_keys, online_keys, open_log, verifiers
from registry.publication.following import Shown
from registry.publication.publish import (
    OWN_ROLE,
    member_role,
    next_snapshot,
    next_targets,
    next_timestamp,
    sign,
)
from registry.publication.signers import key_set, new_signer
from registry.publication.tree import Tree
from registry.registrar import Registrar
from registry.settings import RegistrySettings
from registry.store import Publication, Store
from registry.store.log import CHECKPOINTS
from serving.clock import Clock
from tests.registry.simulator import MOF, MPI, member_files, member_record
from tests.registry.world import World

Kind = TypeVar("Kind", Root, Snapshot, Targets, Timestamp)
OWN_KEY = new_signer()


class Robbed(Protocol):
    """Whom the thief robs: a registry's folder, its settings, and the time."""

    @property
    def directory(self) -> Path: ...

    @property
    def settings(self) -> RegistrySettings: ...

    @property
    def clock(self) -> Clock: ...


class Thief:
    """A copy of the registry's whole folder, with all that lies beside the running registry."""

    def __init__(self, world: Robbed, directory: Path) -> None:
        self.world = world
        self.directory = directory
        shutil.copytree(world.directory, directory, ignore=shutil.ignore_patterns("registry.db*"))
        with (
            closing(sqlite3.connect(world.directory / "registry.db")) as live,
            closing(sqlite3.connect(directory / "registry.db")) as copy,
        ):
            live.backup(copy)
        self.store = Store(directory / "registry.db")

    def signed(self, kind: type[Kind], name: str) -> Kind:
        data = self.store.root() if name == "root" else (self.store.role(name) or (0, b""))[1]
        found = Metadata[Any].from_bytes(data).signed
        assert isinstance(found, kind)
        return found

    def publish(
        self,
        roles: Mapping[str, tuple[int, bytes]] | None = None,
        files: Mapping[str, Mapping[str, bytes]] | None = None,
        timestamp_key: CryptoSigner | None = None,
    ) -> None:
        """Put roles into the stolen database, sign what the online keys sign, and put it out."""
        keys, now = online_keys(self.directory), self.world.clock.now()
        terms = self.world.settings.terms()
        snapshot = next_snapshot(
            self.signed(Snapshot, "snapshot"),
            {name: version for name, (version, _) in (roles or {}).items()},
            expires=now + terms.snapshot_validity,
        )
        timestamp = next_timestamp(
            self.signed(Timestamp, "timestamp"),
            snapshot.version,
            expires=now + terms.timestamp_validity,
        )
        online = {
            "snapshot": (snapshot.version, sign(snapshot, [keys.snapshot])),
            "timestamp": (timestamp.version, sign(timestamp, [timestamp_key or keys.timestamp])),
        }
        with self.store.transaction():
            self.store.publish(Publication({**(roles or {}), **online}, files or {}), now)
        Shown(self.store, self.tree(), Directory()).follow()

    def tree(self) -> Tree:
        settings = self.world.settings
        return Tree(self.directory / PUBLIC, open_log(self.store, self.directory, settings))

    def renew(self) -> None:
        """Have the stolen registry sign again what it signs by itself."""
        terms, keys = self.world.settings.terms(), online_keys(self.directory)
        Registrar(self.store, self.tree(), keys, terms).renew(self.world.clock.now())

    def forge_member(self, signer: CryptoSigner) -> None:
        """Publish a role of MPI with the thief's name in it."""
        files = member_files(member_record(MPI, name="Thief"))
        expires = self.world.clock.now() + self.world.settings.terms().snapshot_validity
        role = member_role(files, version=9, expires=expires)
        self.publish({role_name(MPI): (9, sign(role, [signer]))}, {role_name(MPI): files})

    def redelegate(self, signers: list[CryptoSigner]) -> None:
        """Publish targets that hand MPI's role to the thief's key."""
        now = self.world.clock.now()
        targets = next_targets(
            self.signed(Targets, OWN_ROLE),
            "LA",
            expires=now + self.world.settings.terms().snapshot_validity,
            members={MPI: key_set([OWN_KEY], 1)},
        )
        self.publish({OWN_ROLE: (targets.version, sign(targets, signers))})


@pytest.fixture
async def thief(world: World, tmp_path: Path) -> AsyncIterator[Thief]:
    """The thief comes when MPI is registered."""
    await world.register(MPI)
    thief = await asyncio.to_thread(Thief, world, tmp_path / "stolen")
    yield thief
    thief.store.close()


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        """Nothing."""


@contextmanager
def served(directory: Path, port: int = 0) -> Iterator[str]:
    """A folder behind a web server that knows nothing of registries."""
    handler = partial(_Quiet, directory=str(directory))
    server = ThreadingHTTPServer(("127.0.0.1", port), handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@asynccontextmanager
async def member(
    world: World, folder: Path, url: str = "", **more: Any
) -> AsyncIterator[RegistryView]:
    """A server that follows the registry, or what is shown to it instead."""
    settings: dict[str, Any] = {"grace_s": 3600, "clock": world.clock, "seen_by": "LA/GOV/MPI/ss1"}
    view = await RegistryView.open(url or world.url, world.anchor, folder, **{**settings, **more})
    try:
        yield view
    finally:
        await view.close()


@pytest.fixture
async def folder(thief: Thief, world: World, tmp_path: Path) -> Path:
    """The copy of a server that followed the honest registry until now."""
    async with member(world, tmp_path / "member") as view:
        assert view.state.member(MPI).name.en == "Ministry"
    return tmp_path / "member"


async def refusal(view: RegistryView) -> Code:
    """Why what is shown is refused; what the server acts on stays what it was."""
    before = view.state
    with pytest.raises(Problem) as caught:
        await view.refresh()
    assert view.state.members == before.members
    assert view.state.version == before.version
    return caught.value.code


# ---------------------------------------------------------------- all online keys, all accounts


async def test_no_word_of_a_member_can_be_forged(world: World, thief: Thief, folder: Path) -> None:
    """Servers, certificates and services of a member stay those that its own key signed: nobody
    takes the thief's seal for that of a consumer with an agreement, so no provider answers."""
    await asyncio.to_thread(thief.forge_member, OWN_KEY)
    with served(thief.directory / PUBLIC) as url:
        async with member(world, folder, url) as view:
            honest = view.state
            await view.refresh()
            assert view.state.version > honest.version
            assert view.state.member(MPI) == honest.member(MPI)
            assert view.state.indexes.seals == honest.indexes.seals
            assert view.state.indexes.auths == honest.indexes.auths
            assert [p.code for p in view.state.complaints] == [Code.UNTRUSTED_METADATA]


async def test_no_key_of_a_member_can_be_replaced(world: World, thief: Thief, folder: Path) -> None:
    """Delegations are signed by the offline targets keys: what the thief signs counts nothing."""
    online = online_keys(thief.directory)
    keys: Any = [OWN_KEY, online.snapshot, online.timestamp, online.standing]
    await asyncio.to_thread(thief.redelegate, keys)
    with served(thief.directory / PUBLIC) as url:
        async with member(world, folder, url) as view:
            assert await refusal(view) is Code.UNTRUSTED_METADATA


async def test_the_operators_account_approves_nothing_by_itself(world: World, thief: Thief) -> None:
    """With every API key: a member's role needs the member's key, a delegation the targets keys."""
    forged = replace(world.signed(MPI, "Thief"), keys=key_set([OWN_KEY], 1), proofs={})
    with pytest.raises(Problem):
        await world.call(lambda: world.operator.submit(forged))
    row = await world.submit(MOF)
    with pytest.raises(Problem) as caught:
        await world.call(lambda: world.operator.approve(row["id"], None))
    assert caught.value.code is Code.CONFLICT
    assert thief.signed(Root, "root").roles["targets"].threshold == 2


async def test_two_members_who_are_shown_two_states_find_out(
    world: World, thief: Thief, folder: Path, tmp_path: Path
) -> None:
    """The thief shows one member the honest registry and another one a copy of it that went its
    own way, each with a log that is signed well. Comparing one head convicts the registry, and the
    proof needs nothing but the log's key."""
    found: list[Misbehaviour] = []

    async def report(one: Misbehaviour) -> None:
        found.append(one)

    other_folder = tmp_path / "other"
    shutil.copytree(folder, other_folder)
    await asyncio.to_thread(thief.publish)
    await world.register(MOF)
    with served(thief.directory / PUBLIC) as url:
        async with member(world, folder) as one, member(world, other_folder, url) as other:
            await one.refresh()
            await other.refresh()
            assert one.state.members != other.state.members
            await one.report_to(report)
            await other.report_to(report)
            assert other.head_note is not None
            assert one.head_note is not None
            outcomes = []
            for view, note in ((one, other.head_note), (other, one.head_note)):
                try:
                    outcomes.append(await view.compare(note))
                except Problem as problem:
                    outcomes.append(problem.code)
    assert Code.LOG_CONTRADICTED in outcomes
    keys = verifiers("LA", log_keys(world.directory))
    assert [one.misdeed for one in found] == [Misdeed.FORK]
    assert judge(found[0], keys)


async def test_a_member_who_was_shown_the_truth_is_shown_nothing_else_later(
    world: World, thief: Thief, folder: Path
) -> None:
    """A registry set back to an old copy, or one that went another way since, is refused."""
    world.clock.advance(days=4)
    await world.call(lambda: world.running.registrar.renew(world.clock.now()))
    async with member(world, folder, grace_s=9 * 86400) as view:
        await view.refresh()
    with served(thief.directory / PUBLIC) as url:
        async with member(world, folder, url, grace_s=9 * 86400) as view:
            assert await refusal(view) is Code.ROLLBACK_DETECTED
            world.clock.advance(seconds=1)
            await asyncio.to_thread(thief.renew)
            await asyncio.to_thread(thief.publish)
            assert await refusal(view) is Code.LOG_CONTRADICTED


async def test_a_state_outside_the_log_is_refused(world: World, thief: Thief, folder: Path) -> None:
    """Signed well but kept out of the log, a state is no state."""
    await asyncio.to_thread(thief.publish)
    for path in (thief.directory / PUBLIC / "log" / "state").iterdir():
        path.unlink()
    with served(thief.directory / PUBLIC) as url:
        async with member(world, folder, url) as view:
            assert await refusal(view) is Code.UNTRUSTED_METADATA


async def test_silence_is_an_alarm_and_ends_with_the_grace_time(
    world: World, thief: Thief, folder: Path
) -> None:
    """Frozen at an old state, a server goes on for its grace time, restarts included, and stops."""
    assert thief.world is world
    await world.running.stop()
    async with member(world, folder, "http://127.0.0.1:9", grace_s=7200) as view:
        world.clock.advance(seconds=3600 + 7100)
        with pytest.raises(Problem):
            await view.refresh()
        assert view.state.member(MPI).name.en == "Ministry"
    async with member(world, folder, "http://127.0.0.1:9", grace_s=7200) as view:
        assert view.state.member(MPI).name.en == "Ministry"
        world.clock.advance(seconds=200)
        with pytest.raises(Problem) as caught:
            _ = view.state
        assert caught.value.code is Code.REGISTRY_STATE_EXPIRED


# ---------------------------------------------------------------------- with the targets keys


async def test_with_the_targets_keys_a_redelegation_is_refused(
    world: World, thief: Thief, folder: Path
) -> None:
    """Continuity: a member's new keys need a signature of its old ones or of the offline root."""
    await asyncio.to_thread(thief.redelegate, world.targets_signers)
    await asyncio.to_thread(thief.forge_member, OWN_KEY)
    with served(thief.directory / PUBLIC) as url:
        async with member(world, folder, url) as view:
            honest = view.state.member(MPI)
            await view.refresh()
            assert view.state.member(MPI) == honest
            assert [p.code for p in view.state.complaints] == [Code.CONTINUITY_BROKEN]


async def test_with_the_targets_keys_the_log_cannot_be_changed_for_another(
    world: World, thief: Thief, folder: Path
) -> None:
    """A new log key in the instance's record must itself be proven under the old one, which the
    thief has; but then the old log tells of it, and a log that begins anew is refused."""
    own = thief.store.files(OWN_ROLE)
    other = new_signer()
    thief.store._run(delete(CHECKPOINTS))  # a thief's own program would not ask itself
    (thief.directory / PUBLIC / "log" / "checkpoint").unlink()
    (thief.directory / "online" / "log.pem").write_bytes(other.private_bytes)
    instance = parse_instance(own[INSTANCE_TARGET])
    changed = replace(instance, log=verifiers("LA", log_keys(thief.directory)))
    files = {INSTANCE_TARGET: format_instance(changed)}
    targets = next_targets(
        thief.signed(Targets, OWN_ROLE),
        "LA",
        expires=world.clock.now() + world.settings.terms().snapshot_validity,
        files=files,
    )
    signed = sign(targets, world.targets_signers)
    roles = {OWN_ROLE: (targets.version, signed)}
    await asyncio.to_thread(thief.publish, roles, {OWN_ROLE: {**own, **files}})
    with served(thief.directory / PUBLIC) as url:
        async with member(world, folder, url) as view:
            assert await refusal(view) is Code.INVALID_NOTE


# ------------------------------------------------------------------------------- TUF's own rules


async def test_a_wrong_threshold_or_a_foreign_key_is_refused(
    world: World, thief: Thief, folder: Path
) -> None:
    """One of two targets keys is not enough; a timestamp by another online key is none."""
    await asyncio.to_thread(thief.redelegate, world.targets_signers[:1])
    with served(thief.directory / PUBLIC) as url:
        async with member(world, folder, url) as view:
            assert await refusal(view) is Code.UNTRUSTED_METADATA
            snapshot: Any = online_keys(thief.directory).snapshot
            await asyncio.to_thread(thief.publish, None, None, snapshot)
            assert await refusal(view) is Code.UNTRUSTED_METADATA


async def test_mixed_and_endless_files_are_refused(
    world: World, thief: Thief, folder: Path
) -> None:
    """A role of another version under the right name, and one that does not end."""
    await asyncio.to_thread(thief.publish)
    metadata = thief.directory / PUBLIC / "metadata"
    newest = metadata / "3.snapshot.json"
    good = newest.read_bytes()
    with served(thief.directory / PUBLIC) as url:
        async with member(world, folder, url) as view:
            newest.write_bytes((metadata / "2.snapshot.json").read_bytes())
            assert await refusal(view) is Code.ROLLBACK_DETECTED
            newest.write_bytes(good + b" " * (64 << 20))
            assert await refusal(view) is Code.REGISTRY_UNREACHABLE
            newest.write_bytes(good)
            await view.refresh()
            assert view.state.version == 3


async def test_expired_roles_are_refused(world: World, thief: Thief, folder: Path) -> None:
    """Nothing that has run out is taken over, however well it is signed."""
    await asyncio.to_thread(thief.publish)
    world.clock.advance(seconds=3601)
    with served(thief.directory / PUBLIC) as url:
        async with member(world, folder, url, grace_s=86400) as view:
            assert await refusal(view) is Code.REGISTRY_STATE_EXPIRED


async def test_a_foreign_tuf_client_reads_what_is_published(
    world: World, thief: Thief, tmp_path: Path
) -> None:
    """python-tuf's own client with its own network, unmodified, from a plain web server."""
    assert thief.world is world
    metadata, targets = tmp_path / "metadata", tmp_path / "targets"
    metadata.mkdir()
    targets.mkdir()

    def read(url: str) -> bytes:
        config = UpdaterConfig(max_delegations=100)
        updater = Updater(
            str(metadata),
            f"{url}/metadata/",
            str(targets),
            f"{url}/targets/",
            config=config,
            bootstrap=world.anchor,
        )
        updater._trusted_set.reference_time = world.clock.now()  # the world's clock, not today
        updater.refresh()
        info = updater.get_targetinfo(member_target(MPI))
        assert info is not None
        return Path(updater.download_target(info)).read_bytes()

    with served(world.directory / PUBLIC) as url:
        data = await asyncio.to_thread(read, url)
    assert data == member_files(member_record(MPI))[member_target(MPI)]
