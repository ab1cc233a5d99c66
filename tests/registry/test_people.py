"""Two who agree are two people, whatever keys they hold."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import orjson
import pytest

from exchange.problems import Code
from registry.http.client import RegistryClient
from registry.offline.operator import draft_files, signed
from registry.requests.lifecycle import Kind
from registry.requests.orders import Order, format_order
from tests.registry.simulator import MPI
from tests.registry.test_requests import SCHEMA, SERVICE, WHY, approve, refused
from tests.registry.world import World, real_world

TWO = {"register member": "two", "publish": "two"}


@pytest.fixture
async def strict(tmp_path: Path, database: str) -> AsyncIterator[World]:
    """A registry where two must agree to a registration, and to what is published."""
    async with real_world(tmp_path, approval=TWO, database=database) as world:
        yield world


async def key_of(world: World, right: str, person: str) -> RegistryClient:
    """A key of a person, made by the first operator."""
    made = await world.call(lambda: world.operator.new_key(right, "", person=person))
    return RegistryClient(world.url, made["key"])


async def waiting(world: World) -> list[str]:
    """The keys that wait for somebody's word."""
    rows = await world.call(lambda: world.operator.get("keys")["items"])
    return [row["id"] for row in rows if row["confirmed_by"] is None]


async def new_people(world: World) -> tuple[RegistryClient, RegistryClient]:
    """Two approvers; the second one's key is confirmed by the first."""
    one, two = await key_of(world, "approver", "Bounmy"), await key_of(world, "approver", "Khamla")
    (waits,) = await waiting(world)
    await world.call(lambda: one.confirm_key(waits))
    return one, two


async def test_two_keys_of_one_person_are_one_approval(strict: World) -> None:
    """Neither does the second key approve what the first one did, nor what it handed in."""
    one, two = await new_people(strict)
    again = await key_of(strict, "operator", "Bounmy")
    (waits,) = await waiting(strict)
    own = await refused(strict, lambda: one.confirm_key(waits))
    assert (own.code, own.status) == (Code.NOT_AUTHORISED, 403)  # it is his own
    await strict.call(lambda: two.confirm_key(waits))

    row = await strict.submit(MPI)
    assert (await approve(strict, one, row["id"]))["lacking"] == 1
    twice = await refused(strict, lambda: again.approve(row["id"], None))
    assert twice.code is Code.CONFLICT

    submission = strict.signed(MPI, "Handed in by a second key")
    handed_in = await strict.call(lambda: again.submit(submission, replaces=row["id"]))
    assert handed_in["submitted_by"] == "Bounmy"
    refusal = await refused(strict, lambda: one.approve(handed_in["id"], None))
    assert (refusal.code, refusal.status) == (Code.NOT_AUTHORISED, 403)


async def test_one_operator_alone_makes_no_second_person_up(strict: World) -> None:
    """A key that may decide waits for a word of somebody else; taking others away helps nobody."""
    first = await key_of(strict, "approver", "Bounmy")  # nobody could have confirmed it
    await strict.call(lambda: first.get("acts"))
    second = await key_of(strict, "approver", "Made up")
    waits = await refused(strict, lambda: second.get("acts"))
    assert (waits.code, waits.status) == (Code.NOT_AUTHORISED, 403)
    assert "key-confirm" in waits.detail
    (identifier,) = await waiting(strict)
    maker = await refused(strict, lambda: strict.operator.confirm_key(identifier))
    assert (maker.code, maker.status) == (Code.NOT_AUTHORISED, 403)

    rows = await strict.call(lambda: strict.operator.get("keys")["items"])
    (bounmy,) = [row["id"] for row in rows if row["person"] == "Bounmy"]
    await strict.call(lambda: strict.operator.revoke_key(bounmy))
    third = await key_of(strict, "operator", "Made up too")
    assert (await refused(strict, lambda: third.get("acts"))).status == 403
    acts = await strict.call(lambda: strict.operator.pages("acts"))
    assert [act["detail"]["waits"] for act in acts if act["act"] == "add key"] == [
        False, True, True
    ]  # fmt: skip


async def test_a_confirmed_key_is_good_once(strict: World) -> None:
    """It decides from then on; there is nothing left to confirm."""
    one, two = await new_people(strict)
    row = await strict.submit(MPI)
    for client in (one, two):
        await approve(strict, client, row["id"])
    assert await strict.call(lambda: RegistryClient(strict.url).published_version(MPI)) == 1
    rows = await strict.call(lambda: strict.operator.get("keys")["items"])
    first = strict.opened.operator_api_key.split("-")[1]
    (confirmed,) = [row for row in rows if row["person"] == "Khamla"]
    assert (confirmed["made_by"], confirmed["confirmed_by"]) == (first, "Bounmy")
    again = await refused(strict, lambda: one.confirm_key(confirmed["id"]))
    assert again.code is Code.NOT_FOUND


@pytest.mark.parametrize("person", ["0123456789ab", "x" * 101, "a\u202eb"])
async def test_a_name_that_is_none(world: World, person: str) -> None:
    """Too long, not printable, or what could be taken for another key."""
    problem = await refused(world, lambda: world.operator.new_key("auditor", "", person=person))
    assert problem.code in {Code.INVALID_REQUEST, Code.INVALID_DOCUMENT}


async def test_what_two_must_agree_to_is_not_published_by_one(strict: World) -> None:
    """Signed by the targets keys, but by one operator's account: proposed instead. Renewing says
    nothing new and is no matter of two."""

    def publish(files: dict[str, bytes]) -> object:
        own = strict.operator.own()
        draft = draft_files(own, files, strict.clock.now())
        return strict.operator.publish_own(signed(own, draft, strict.targets_signers))

    problem = await refused(strict, lambda: publish({"schemas/district.1.json": SCHEMA}))
    assert (problem.code, problem.where) == (Code.CONFLICT, "approval")
    await strict.call(lambda: publish({}))


async def test_a_key_that_is_revoked_while_its_request_comes_in(world: World) -> None:
    """A body that takes longer than the key is good brings nothing about."""
    await world.register(MPI)
    key = await world.call(lambda: world.operator.add_key("approver", ""))
    revoked = asyncio.Event()

    async def slow() -> AsyncIterator[bytes]:
        body = format_order(Order(Kind.DISABLE, SERVICE, WHY))
        yield body[:10]
        await world.call(lambda: RegistryClient(world.url, key).get("acts"))  # it is good
        await world.call(lambda: world.operator.revoke_key(key.split("-")[1]))
        revoked.set()
        yield body[10:]

    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    url = f"{world.url}/api/v1/orders"
    async with (
        aiohttp.ClientSession() as session,
        session.post(url, data=slow(), headers=headers) as answer,
    ):
        told = orjson.loads(await answer.read())
    assert revoked.is_set()
    assert (answer.status, told["type"]) == (401, Code.NOT_AUTHORISED.value)
    assert await world.call(lambda: world.operator.pages("submissions", state="approved")) == [
        row
        for row in await world.call(lambda: world.operator.pages("submissions"))
        if row["kind"] == "first"
    ]
