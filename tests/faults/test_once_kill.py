"""Power cuts while unsafe requests are carried out: whatever is repeated runs once.

Applications repeat a POST with its X-Road-Id until they know what came of it, while one of the
servers is killed at random moments. The backend counts.
"""

from __future__ import annotations

import http.client
import itertools
import json
import random
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import pytest

from exchange.problems import Code
from tests.faults.test_kill import settle, start
from tests.world.backend import GOOD
from tests.world.fixtures import small_world
from tests.world.small import MPI_SERVER, Answer, SmallWorld

SEED = 20261122
KILLS = 8
APPLICATIONS = 8
PATIENCE_S = 60.0
REPEAT_S = 0.1
"""Until an application asks again: a server that starts meanwhile has a processor."""
# After these, nothing can be learnt by asking again.
FINAL = {Code.OUTCOME_UNKNOWN, Code.BACKEND_TIMEOUT, Code.BACKEND_NONSENSE}


@pytest.fixture(scope="module")
def own_world() -> Iterator[SmallWorld]:
    """A world that this module's tests may break."""
    with small_world() as built:
        yield built


def post(world: SmallWorld, name: str) -> Answer | None:
    """Add the project of this name under the id of this name; None when there was no answer."""
    headers = {"X-Road-Id": name, "Content-Type": "application/json"}
    body = json.dumps(GOOD | {"title_en": name}).encode()
    try:
        return world.call("/projects", method="POST", headers=headers, body=body)
    except (OSError, http.client.HTTPException):
        return None


def carried_out(world: SmallWorld) -> Counter[str]:
    """How often the backend was asked to add each project."""
    return Counter(json.loads(seen.body)["title_en"] for seen in world.backend.seen if seen.body)


@dataclass(slots=True)
class Insistent:
    """Applications that repeat each request until they know what came of it."""

    world: SmallWorld
    prefix: str
    known: dict[str, Answer] = field(default_factory=dict)
    unknown: list[str] = field(default_factory=list)
    repeats: int = 0
    _over: threading.Event = field(default_factory=threading.Event)

    def run(self, number: int) -> None:
        for serial in itertools.count():
            if self._over.is_set():
                return
            name = f"{self.prefix}-{number}-{serial}"
            answer = self.insist(name)
            if answer is None:
                self.unknown.append(name)
            else:
                self.known[name] = answer

    def insist(self, name: str) -> Answer | None:
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            answer = post(self.world, name)
            if answer is not None and (answer.status == 201 or answer.code in FINAL):
                return answer
            self.repeats += 1
            time.sleep(REPEAT_S)
        return None

    def await_more(self, more: int) -> None:
        wanted, deadline = len(self.known) + more, time.monotonic() + PATIENCE_S
        while len(self.known) < wanted:
            assert time.monotonic() < deadline, "the applications are not served"
            time.sleep(0.01)

    @contextmanager
    def running(self) -> Iterator[None]:
        threads = [
            threading.Thread(target=self.run, args=(number,)) for number in range(APPLICATIONS)
        ]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self._over.set()
            for thread in threads:
                thread.join(PATIENCE_S + 30)


@pytest.mark.parametrize("side", ["provider", "consumer"])
def test_what_is_repeated_until_it_is_known_runs_once(own_world: SmallWorld, side: str) -> None:
    """No request reached the backend twice; who got an answer got that of the one time."""
    world = own_world
    start(world)
    victim = world.mpi if side == "provider" else world.mof
    rng = random.Random(f"{SEED} {side}")
    world.backend.post_s = 0.05  # where most requests are when the kill comes
    applications = Insistent(world, f"{side}-{rng.randrange(1000)}")
    with applications.running():
        for number in range(KILLS):
            victim.process.wait_ready()
            applications.await_more(APPLICATIONS)
            time.sleep(rng.uniform(0, 0.3))
            victim.process.kill()
            victim.process.start()
            if number % 3 == 2:  # during the start that follows, when claims are recovered
                time.sleep(rng.uniform(0.2, 1.5))
                victim.process.kill()
                victim.process.start()
        victim.process.wait_ready()
        applications.await_more(APPLICATIONS)
    counts = carried_out(world)
    came_to = Counter(answer.code or str(answer.status) for answer in applications.known.values())
    print(f"{side} killed: {came_to}, {applications.repeats} repeats")
    assert not applications.unknown
    assert came_to["201"] > KILLS
    assert max(counts.values()) == 1
    for name, answer in applications.known.items():
        if answer.status == 201:
            assert counts[name] == 1
            assert json.loads(answer.body)["title_en"] == name
    consumer, provider = settle(world)
    for journal in (consumer, provider):
        entries = journal.by_id()
        for name in (name for name, answer in applications.known.items() if answer.status == 201):
            assert entries[name][-1]["kind"] == "response"
    for name, entries_of_it in provider.by_id().items():
        assert (
            sum("nonce" in entry and entry["kind"] != "request" for entry in entries_of_it) <= 1
        ), name


def test_killed_while_the_backend_works_it_is_unknown_and_not_tried_again(
    own_world: SmallWorld,
) -> None:
    """The backend was asked, and nobody knows what it did: the repeat says so, again and again.

    A kill that comes after the backend's time is over finds a recorded time-out instead; the
    moment is tried for until it is met.
    """
    world = own_world
    start(world)
    world.backend.post_s = 30.0
    for number in range(10):
        name = f"cut-{number}"
        asking = threading.Thread(target=post, args=(world, name))
        asking.start()
        deadline = time.monotonic() + 20
        while not carried_out(world)[name]:
            assert time.monotonic() < deadline, "the backend was not asked"
            time.sleep(0.002)
        world.mpi.process.kill()
        world.world.start(MPI_SERVER)
        asking.join(30)
        first, second = Insistent(world, name).insist(name), post(world, name)
        assert first is not None
        assert second is not None
        assert first.code == second.code
        assert first.code in {Code.OUTCOME_UNKNOWN, Code.BACKEND_TIMEOUT}
        assert carried_out(world)[name] == 1
        if first.code == Code.OUTCOME_UNKNOWN:
            break
    else:
        pytest.fail("no kill came while the backend worked")


def test_an_outcome_that_only_the_journal_holds_is_found_after_the_kill(
    own_world: SmallWorld,
) -> None:
    """Without the book's endings, each answered claim is recovered from the journal."""
    world = own_world
    start(world)
    world.backend.post_s = 0.0
    names = [f"journal-{number}" for number in range(5)]
    firsts = [post(world, name) for name in names]
    world.mpi.process.kill()
    forget_endings(world)
    world.world.start(MPI_SERVER)
    for name, first in zip(names, firsts, strict=True):
        again = post(world, name)
        assert first is not None
        assert again is not None
        assert (again.status, again.body) == (first.status, first.body) == (201, first.body)
        assert carried_out(world)[name] == 1


def forget_endings(world: SmallWorld) -> None:
    """Set the book back to a moment at which all its claims were running."""
    path = world.mpi.folder / "data" / "once.sqlite"
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE claims SET state = 0, ended_at = 0, size = 0, answer = NULL")
