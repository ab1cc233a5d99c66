"""Ask once by refusing: a running registry with a registered element and ``once_only: refuse``."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from exchange.documents import format_document
from exchange.problems import Code, Problem
from exchange.registrations import ELEMENTS_TARGET, openapi_file
from registry.offline.operator import sign_files
from registry.requests.once_only import Policy
from tests.registry.simulator import MOF, MPI, member_record
from tests.registry.test_elements_published import OTHER, SERVICE, asking, element
from tests.registry.world import World, described, real_world

ASKING = str(member_record(MOF).services[0].id)


@pytest.fixture
async def strict(tmp_path: Path) -> AsyncIterator[World]:
    """A registry that refuses, with MPI's service as the source of an element."""
    async with real_world(tmp_path, once_only=Policy.REFUSE) as world:
        await world.register(MPI)
        await publish(world, element())
        yield world


async def publish(world: World, *elements: dict[str, Any]) -> None:
    """Publish a dictionary of these elements."""
    files = {ELEMENTS_TARGET: format_document({"elements": list(elements)})}

    def work() -> None:
        client, now = world.operator, world.clock.now()
        client.publish_own(sign_files(client.own(), files, world.targets_signers, now))

    await world.call(work)


async def submit(world: World) -> dict[str, Any]:
    """Hand in MOF's service, which asks people for the element."""
    record = member_record(MOF)
    what = described(record)
    file = openapi_file(record.services[0].id)
    what = replace(what, files={**what.files, file: asking("project.title")})
    signed = world.folder(MOF).sign(what, 0, world.clock.now())
    return dict(await world.call(lambda: world.operator.submit(signed)))


async def test_a_service_that_asks_for_what_has_a_source_is_refused(strict: World) -> None:
    """Named are the source, the element and the place in the document; nothing is taken in."""
    with pytest.raises(Problem) as caught:
        await submit(strict)
    problem = caught.value
    assert problem.code is Code.ASK_ONCE
    assert (problem.facts["source"], problem.facts["element"]) == (SERVICE, "project.title")
    assert problem.where.endswith("/schema/properties/born")
    waiting = await strict.call(lambda: strict.operator.get("submissions?state=submitted"))
    assert waiting["items"] == []


async def test_an_exception_passes_until_its_day(strict: World) -> None:
    """With a ground in both languages: taken in before that day and told as excepted, refused from
    that day on; what was published under it stays published and is told as asking."""
    until = strict.clock.now() + timedelta(days=10)
    ground = {"en": "Decree 12", "lo": "ດຳລັດ 12"}
    excepted = {"service": ASKING, "ground": ground, "until": f"{until:%Y-%m-%d}"}
    await publish(strict, element(version=2, exceptions=[excepted]))
    row = await submit(strict)
    assert row["warnings"] == []
    strict.clock.advance(days=10)
    await strict.call(lambda: strict.operator.decline(row["id"], "late"))
    with pytest.raises(Problem) as caught:
        await submit(strict)
    assert (caught.value.code, caught.value.facts["source"]) == (Code.ASK_ONCE, SERVICE)
    strict.clock.advance(days=-10)
    await strict.approve((await submit(strict))["id"])
    told = [await questions(strict)]
    strict.clock.advance(days=10)
    told.append(await questions(strict))
    assert told == [[(ASKING, None)], [(ASKING, Code.ASK_ONCE)]]


async def questions(world: World) -> list[tuple[str, str | None]]:
    """What published services ask for."""
    found = await world.call(lambda: world.operator.get("questions"))
    return [(one["service"], one["code"]) for one in found["items"]]


async def test_a_second_source_is_refused_with_the_first(strict: World) -> None:
    """Over the registry's own interface, and what was published before stays."""
    second = element(version=2, source={"service": OTHER})
    with pytest.raises(Problem) as caught:
        await publish(strict, element(), second)
    assert caught.value.code is Code.ELEMENT_HAS_SOURCE
    assert caught.value.facts["first"] == "elements.json#/elements/0"
    listed = await strict.call(lambda: strict.operator.get("elements/project.title"))
    assert listed["source"]["service"] == SERVICE
