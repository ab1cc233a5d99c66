"""The whole registry is stolen, and a real provider is called: two servers, each its own process.

The thief stands at the registry's address with its online keys, its database and every account,
and says whatever these can say for a consumer that has no agreement.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from tuf.api.metadata import Targets

from console.reference_world.processes import health
from console.reference_world.standing import RunningServer
from exchange.problems import Code, Problem
from exchange.registrations import format_member, member_target, parse_member
from exchange.registry.delegations import role_name
from registry.http.client import RegistryClient
from registry.offline.member import ROLE_VALIDITY
from registry.publication.ceremony import OPERATOR_KEY, PUBLIC, online_keys
from registry.publication.publish import OWN_ROLE, member_role, next_targets, sign
from registry.publication.signers import key_set
from registry.requests.submissions import Submission
from registry.settings import RegistrySettings, read_settings
from serving.clock import SystemClock
from tests.faults import peer
from tests.thief.test_thief import OWN_KEY, Thief, served
from tests.world import small
from tests.world.fixtures import world_of
from tests.world.small import SmallWorld

WITHIN_S = 60.0


@dataclass(frozen=True, slots=True)
class Registry:
    """What the thief breaks into."""

    directory: Path
    clock: SystemClock
    settings: RegistrySettings


def test_a_stolen_registry_opens_no_door(tmp_path: Path) -> None:
    """Servers take over what the thief publishes, and complain; the consumer without an agreement
    is refused by the provider, which records it, also when it seals as one who has one. Who has an
    agreement is answered as before."""
    with world_of([small.agreement("mof-mpi")]) as world:
        directory = world.world.directory / "registry"
        assert world.call().status == 200
        try_accounts(world, directory)
        world.world.registry.stop()
        robbed = Registry(directory, SystemClock(), read_settings(directory))
        thief = Thief(robbed, tmp_path / "stolen")
        forged = forge_seal(world, thief)
        port = int(world.world.registry_url.rpartition(":")[2])
        with served(thief.directory / PUBLIC, port):
            await_both(world, lambda server: version(server) >= forged)
            for server in (world.mof, world.mpi):
                (complaint,) = registry(server)["complaints"]
                assert Code.UNTRUSTED_METADATA in complaint
            check_doors(world, "forged")
            redelegate(thief)
            await_both(world, lambda server: "registry_not_followed" in log_of(server))
            assert version(world.mpi) == forged
            check_doors(world, "redelegated")
        thief.store.close()


def check_doors(world: SmallWorld, name: str) -> None:
    """The province has no agreement, MOF's budget has one."""
    reached = len(world.backend.seen)
    answer = world.call(client=str(small.PROVINCE), headers={"X-Road-Id": f"{name}-province"})
    assert (answer.status, answer.code) == (403, "AccessDenied"), answer.body
    message = peer.seal(world, f"{name}-as-budget", small.PDI)
    foreign = peer.send(world, message, peer.link_context(world))
    assert foreign is not None
    assert foreign.status in {401, 403}, foreign.body
    assert len(world.backend.seen) == reached
    for server, message_id, code in (
        (world.mof, f"{name}-province", "AccessDenied"),
        (world.mpi, f"{name}-province", "AccessDenied"),
        (world.mpi, f"{name}-as-budget", foreign.code),
    ):
        told = [(hit.kind, hit.problem) for hit in world.hits(server, id=message_id)]
        assert code in {problem for _, problem in told}, told
    assert world.call(headers={"X-Road-Id": f"{name}-budget"}).status == 200
    assert len(world.backend.seen) == reached + 1


def try_accounts(world: SmallWorld, directory: Path) -> None:
    """With the operator's account a role of MOF that the thief signed is not even taken in."""
    operator = RegistryClient(
        world.world.registry_url, (directory / OPERATOR_KEY).read_text().strip()
    )
    name = member_target(small.MOF).rpartition("/")[2]
    at = SystemClock().now()
    files = {member_target(small.MOF): b"{}"}
    role = sign(member_role(files, version=9, expires=at + ROLE_VALIDITY), [OWN_KEY])
    with pytest.raises(Problem) as caught:
        operator.submit(
            Submission(small.MOF, key_set([OWN_KEY], 1), role, {name: b"{}"}, None, "mine")
        )
    assert caught.value.code in {Code.CONTINUITY_BROKEN, Code.INVALID_DOCUMENT}


def forge_seal(world: SmallWorld, thief: Thief) -> int:
    """Publish a role of MOF that lists the province's seal as one of MOF's; the state's version."""
    files = dict(thief.store.files(role_name(small.MOF)))
    path = member_target(small.MOF)
    record = parse_member(files[path], small.MOF)
    seals = (world.mof.seals[small.PDI].certificate, *record.seal_certificates)
    files[path] = format_member(replace(record, seal_certificates=seals))
    version = (thief.store.version(role_name(small.MOF)) or 0) + 1
    at = thief.world.clock.now()
    role = member_role(files, version=version, expires=at + ROLE_VALIDITY)
    signed = sign(role, [OWN_KEY])
    thief.publish({role_name(small.MOF): (version, signed)}, {role_name(small.MOF): files})
    return thief.store.version("snapshot") or 0


def redelegate(thief: Thief) -> None:
    """Publish targets that hand MOF and MPI to the thief, signed with all that lies online."""
    online, at = online_keys(thief.directory), thief.world.clock.now()
    members = {one: key_set([OWN_KEY], 1) for one in (small.MOF, small.MPI)}
    expires = at + ROLE_VALIDITY
    targets = next_targets(thief.signed(Targets, OWN_ROLE), "LA", expires=expires, members=members)
    keys: list[Any] = [OWN_KEY, online.snapshot, online.timestamp, online.standing]
    thief.publish({OWN_ROLE: (targets.version, sign(targets, keys))})


def registry(server: RunningServer) -> dict[str, Any]:
    """What a server says of the registry."""
    report: Any = health(f"{server.url('admin')}/healthz")
    return dict(report["checks"]["registry"])


def version(server: RunningServer) -> int:
    return int(registry(server)["version"])


def log_of(server: RunningServer) -> str:
    return server.process.log.read_text("utf-8")


def await_both(world: SmallWorld, holds: Callable[[RunningServer], bool]) -> None:
    """Wait until something holds of both servers."""
    deadline = time.monotonic() + WITHIN_S
    while not all(holds(server) for server in (world.mof, world.mpi)):
        assert time.monotonic() < deadline
        time.sleep(0.1)
