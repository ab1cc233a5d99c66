"""Power cuts: SIGKILL of either server, under load, at many random moments.

A process that is killed keeps what it had handed to the kernel, so these tests show the order of
acts (durable before visible), not that the disk keeps its word: the journal's own fault tables do
that (tests/mediator).
"""

from __future__ import annotations

import random
import shutil
import threading
import time
from collections import Counter
from collections.abc import Iterator

import pytest

from console.reference_world.standing import RunningServer
from tests.faults import journals, peer
from tests.faults.load import CONNECTIONS, Load, Outcome, load
from tests.world.fixtures import small_world
from tests.world.small import SmallWorld

SEED = 20261121
KILLS = 6
LATEST_S = 0.8
PAUSE_S = 0.03
"""Of each application after an answer: some calls are always under way, and the servers have a
processor for their starts."""
# What may be said honestly while the other server is gone, or was a moment ago.
PROVIDER_GONE = {"PeerUnreachable", "PeerTimeout", "PeerProtocolError"}


@pytest.fixture(scope="module")
def own_world() -> Iterator[SmallWorld]:
    """A world that this module's tests may break."""
    with small_world() as built:
        yield built


def start(world: SmallWorld) -> None:
    """Have both servers run."""
    for identifier, server in world.world.servers.items():
        if not server.process.running:
            world.world.start(identifier)


def kill_often(victim: RunningServer, rng: random.Random, watching: Load) -> None:
    """Kill at random moments under load, every third time during the start that follows too."""
    for number in range(KILLS):
        victim.process.wait_ready()
        watching.await_answers(CONNECTIONS)
        time.sleep(rng.uniform(0, LATEST_S))
        victim.process.kill()
        victim.process.start()
        if number % 3 == 2:
            time.sleep(rng.uniform(0.2, 1.5))
            victim.process.kill()
            victim.process.start()
    victim.process.wait_ready()


def settle(world: SmallWorld) -> tuple[journals.Published, journals.Published]:
    """Stop both servers, so that all is published, and read both journals."""
    for server in (world.mof, world.mpi):
        server.process.stop()
    return journals.read(world.mof.journal), journals.read(world.mpi.journal)


def strange(outcomes: list[Outcome], allowed: set[str]) -> Counter[str]:
    """What applications got besides whole answers and these problems."""
    return Counter(
        f"{outcome.status} {outcome.code} {outcome.error}".strip()
        for outcome in outcomes
        if outcome.status != 200 and not ({outcome.code, outcome.error} & allowed)
    )


@pytest.mark.parametrize("side", ["provider", "consumer"])
def test_no_answered_exchange_is_lost(own_world: SmallWorld, side: str) -> None:
    """What an application got an answer for is in both journals; no checkpoint is taken back.

    Killing the provider's server gives the applications nothing but answers and problems. Killing
    their own server breaks their connections, too.
    """
    world = own_world
    start(world)
    victim = world.mpi if side == "provider" else world.mof
    rng = random.Random(f"{SEED} {side}")
    with (
        journals.watch(world.mof.journal, world.mpi.journal) as watching,
        load(world.mof.url("http"), pause_s=PAUSE_S) as applications,
    ):
        kill_often(victim, rng, applications)
        applications.await_answers(50)
        applications.stop()
        consumer, provider = settle(world)
    outcomes = applications.outcomes
    answered = [outcome.id for outcome in applications.answered]
    print(
        f"{side} killed: {len(answered)} of {len(outcomes)} answered,"
        f" {len(consumer.entries)} and {len(provider.entries)} entries,"
        f" {Counter(o.code or o.error for o in outcomes if o.status != 200)}"
    )
    own_server_gone = {"refused", "closed", "torn"} if side == "consumer" else set()
    assert not strange(outcomes, PROVIDER_GONE | own_server_gone)
    bodies = {outcome.body for outcome in applications.answered}
    assert len(bodies) == 1
    journals.assert_in_both(consumer, provider, answered)
    for published in (consumer, provider):
        assert journals.check_consistent(published, watching.seen[published.journal]) > KILLS


def test_a_first_start_may_be_cut_short(own_world: SmallWorld) -> None:
    """Killed at random moments while it makes its keys and its journal, a server starts at last."""
    world, server = own_world, own_world.mpi
    rng = random.Random(f"{SEED} first")
    server.process.stop()
    shutil.rmtree(server.folder / "data")
    for _ in range(KILLS // 2):
        server.process.start()
        time.sleep(rng.uniform(0.3, 1.5))
        server.process.kill()
    start(world)
    assert world.call().status == 200
    settle(world)


def test_a_message_accepted_before_the_kill_is_a_replay_after_it(own_world: SmallWorld) -> None:
    """The same signed bytes are never acted upon twice, wherever between the kill fell.

    A message that was answered is refused as a replay. One whose answer was lost is either
    refused, or was never accepted: in the journal no signature was accepted twice.
    """
    world, context = own_world, peer.link_context(own_world)
    start(world)
    rng = random.Random(SEED)
    sent: list[tuple[peer.Message, bool]] = []
    over = threading.Event()

    def send_without_pause(name: str) -> None:
        number = 0
        while not over.is_set():
            number += 1
            message = peer.seal(world, f"replay-{name}-{number}")
            answer = peer.send(world, message, context)
            sent.append((message, answer is not None and answer.status == 200))
            if answer is None:
                return

    threads = [threading.Thread(target=send_without_pause, args=(f"{n}",)) for n in range(6)]
    for thread in threads:
        thread.start()
    time.sleep(rng.uniform(0.4, 0.9))
    world.mpi.process.kill()
    over.set()
    for thread in threads:
        thread.join(30)
    world.mpi.process.start()
    world.mpi.process.wait_ready()
    again = {message.id: peer.send(world, message, context) for message, _ in sent}
    assert sum(answered for _, answered in sent) > 20
    for message, answered in sent:
        answer = again[message.id]
        assert answer is not None
        if answered:
            assert (answer.status, answer.code) == (409, "ReplayedMessage"), message.id
        else:
            assert answer.status == 200 or answer.code == "ReplayedMessage", message.id
    _, provider = settle(world)
    accepted = Counter(
        entry["nonce"]
        for entry in provider.entries
        if entry["kind"] == "request" and entry["side"] == "provider"
    )
    assert all(accepted[message.nonce] == 1 for message, _ in sent)
