"""Servers ask each other, over a socket, which registry they see."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

from structlog.testing import capture_logs

from exchange.identifiers import ServerId
from exchange.log.notes import COSIGNATURE_ED25519, VerifierKey, parse_note
from exchange.log.policy import Party, Policy
from mediator.background.gossip import ROUNDS_BEHIND, Gossip
from mediator.own_keys import witness_of
from mediator.registry_copy.view import RegistryView
from mediator.witness.known import Asked
from mediator.witness.line import WitnessLine, to_url, trusting
from mediator.witness.misbehaviour import Misbehaviour, Misdeed, judge
from registry.publication.ceremony import PUBLIC, log_keys, verifiers
from registry.publication.witnesses import Witnesses
from tests.registry.simulator import MOF, MPI, member_record
from tests.registry.world import World, described
from tests.thief.test_thief import Thief, member, served
from tests.witness.world import witness_in

OWN = ServerId.parse("LA/GOV/MOF/ss1")


async def register_with_witness(world: World, public: bytes) -> None:
    """MPI's server says that it cosigns, so others know where to ask."""
    record = member_record(MPI)
    (server,) = record.servers
    key = VerifierKey(witness_of(server.id), COSIGNATURE_ED25519, public)
    changed = replace(record, servers=(replace(server, witness=str(key)),))
    submission = world.folder(MPI).sign(described(changed), 0, world.clock.now())
    row = await world.call(lambda: world.operator.submit(submission))
    await world.approve(row["id"])


async def test_a_fork_is_found_by_asking_a_peer(world: World, tmp_path: Path) -> None:
    """The peer saw the honest log, this server the thief's: one question convicts the registry. A
    peer that knows more than is shown here is an alarm after a few rounds."""
    keys = verifiers("LA", await asyncio.to_thread(log_keys, world.directory))
    found: list[Misbehaviour] = []

    async def report(one: Misbehaviour) -> None:
        found.append(one)

    async with witness_in(tmp_path / "witness", logs=tuple(map(str, keys))) as peer:
        key, url = peer.witness.key, f"{peer.listener.url}/witness"

        def line(asked: Asked) -> WitnessLine:
            return to_url(replace(asked, url=url, server=None), 5.0, trusting(None))

        def gossip_of(view: RegistryView) -> Gossip:
            return Gossip(view, OWN, line, peers=3, pause_s=60, timeout_s=5)

        async def shown_to_the_peer() -> None:
            head = (world.directory / PUBLIC / "log" / "checkpoint").read_bytes()
            policy = Policy((), {"peer": Party(key, url)}, {}, "peer")
            assert await asyncio.to_thread(Witnesses(policy).ask, parse_note(head), lambda old: ())

        await register_with_witness(world, key.public)
        async with member(world, tmp_path / "member") as view:
            assert MPI in view.state.members
        thief = await asyncio.to_thread(Thief, world, tmp_path / "stolen")
        await world.register(MOF)
        await shown_to_the_peer()
        async with member(world, tmp_path / "member") as view:
            gossip = gossip_of(view)
            with capture_logs() as logs:
                for _ in range(ROUNDS_BEHIND):
                    await gossip.compare()
            # The registry of the world beside it logs what it does meanwhile.
            told = [one["event"] for one in logs if one["log_level"] == "warning"]
            assert told == ["registry_shows_others_more"]
        for _ in range(4):
            await asyncio.to_thread(thief.publish)
        thief.store.close()
        with served(thief.directory / PUBLIC) as forged:
            async with member(world, tmp_path / "member", forged) as view:
                await view.report_to(report)
                await view.refresh()
                await gossip_of(view).compare()
    assert [one.misdeed for one in found] == [Misdeed.FORK]
    assert judge(found[0], keys)
