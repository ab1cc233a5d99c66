"""What the registry takes away, as callers meet it: real servers, a real registry."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from exchange.problems import Text
from exchange.registry.standing import Identifier
from registry.http.client import RegistryClient
from registry.offline.operator import draft_request, signed
from registry.publication.signers import read_signers
from registry.requests.lifecycle import Kind
from registry.requests.orders import Order
from tests.world import small
from tests.world.fixtures import world_of
from tests.world.small import Answer, SmallWorld

WHY = Text("It leaks", "ມັນຮົ່ວໄຫຼ")
DEADLINE_S = 60


@pytest.fixture(scope="module")
def world() -> Iterator[SmallWorld]:
    with world_of([small.agreement("mof-mpi")]) as built:
        yield built


def registry_of(world: SmallWorld) -> RegistryClient:
    """The operator at the world's registry."""
    key = (world.world.directory / "registry/offline/operator-api-key").read_text().strip()
    return RegistryClient(world.world.registry_url, key)


def carry_out(world: SmallWorld, order: Order) -> None:
    """Order and approve, with the targets keys where they are needed."""
    client = registry_of(world)
    row = client.order(order)
    if row["state"] == "approved":
        return
    approval = None
    if row["needs_delegation"]:
        keys = sorted((world.world.directory / "registry/offline").glob("targets-*.pem"))
        own, at = client.own(), datetime.fromisoformat(row["submitted_at"])
        body = client.body(row["id"])
        draft = draft_request(own, Kind(row["kind"]), body, at, [], datetime.now(UTC))
        approval = signed(own, draft, read_signers(keys))
    assert client.approve(row["id"], approval, seen=row["seen"])["state"] == "approved"


def facts_of(answer: Answer) -> Any:
    """The facts of a problem."""
    return answer.json["facts"]


def call_until(world: SmallWorld, code: str) -> Answer:
    """The answer once the caller's own server has polled: of this code, or good when there is none.

    The provider's server may have polled before; then the answer only reports what it says.
    """
    deadline = time.monotonic() + DEADLINE_S
    while time.monotonic() < deadline:
        answer = world.call("/projects/P-1")
        found = answer.code if answer.status != 200 else ""
        if found == code and not (code and "reported" in facts_of(answer)):
            return answer
        time.sleep(0.1)  # between two looks
    raise AssertionError(f"no answer of the code {code!r}: {answer.status} {answer.body!r}")


def test_calls_read_what_was_taken_away_and_why(world: SmallWorld) -> None:
    """A service, the caller's own application, the provider; all is well when enabled again."""
    things: tuple[Identifier, ...] = (small.PROJECTS, small.BUDGET, small.MPI)
    for thing in things:
        call_until(world, "")
        carry_out(world, Order(Kind.DISABLE, thing, WHY))
        answer = call_until(world, "DisabledByRegistry")
        assert answer.status == 503
        assert facts_of(answer)["id"] == str(thing)
        assert facts_of(answer)["reason_lo"] == WHY.lo
        carry_out(world, Order(Kind.ENABLE, thing, WHY))
    call_until(world, "")
