"""A member that went into another, as callers meet it: real servers, a real registry."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from exchange.identifiers import ServiceId
from exchange.problems import Text
from registry.requests.lifecycle import Kind
from registry.requests.orders import Order
from tests.journeys.test_taken_away import DEADLINE_S, call_until, carry_out, facts_of
from tests.world import small
from tests.world.fixtures import world_of
from tests.world.small import SmallWorld


@pytest.fixture
def world() -> Iterator[SmallWorld]:
    """A world of its own: what is merged stays merged."""
    with world_of([small.agreement("mof-mpi")], further=True) as built:
        yield built


def test_a_merged_provider_is_followed(world: SmallWorld) -> None:
    """A call to the old name is answered with 410 and the new service; with an agreement of the
    successor that is called; what was exchanged before stays readable at both."""
    call_until(world, "")
    services = {small.PROJECTS: small.SUCCESSOR}
    decree = Text("Decree 5", "ດຳລັດ 5")
    carry_out(world, Order(Kind.MERGE, small.MPI, decree, small.MOES, services))
    call_until(world, "MemberMerged")
    # The first may have been under way when the registry's word came: its answer was refused.
    answer = call_until(world, "MemberMerged")
    facts = facts_of(answer)
    assert (answer.status, facts["id"], facts["successor"]) == (
        410,
        str(small.PROJECTS),
        str(small.MOES),
    )
    successor = ServiceId.parse(facts["successor_service"])
    assert world.call(service=successor).code == "AccessDenied"
    paper = small.agreement("mof-moes", provider=str(small.MOES))
    grant = paper["grants"][0] | {"service": str(successor)}
    world.world.agree(paper | {"grants": [grant]})
    deadline = time.monotonic() + DEADLINE_S
    while (answer := world.call(service=successor)).status != 200:
        assert time.monotonic() < deadline, answer.body
        time.sleep(0.1)  # between two looks
    assert answer.json["code"] == "P-1"
    for server in (world.mof, world.mpi):
        assert world.hits(server, service=str(small.PROJECTS))
    assert world.hits(world.mof, service=str(successor))
