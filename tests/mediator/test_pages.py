"""Pages: what a server answers by itself has a bound of its own."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import cast

import pytest

from exchange.problems import Code, Problem
from mediator.pages.pages import Pages
from mediator.xroad import Connection
from mediator.xroad.asic import Wanted
from serving.requests import Reply, Request

PLAIN = Connection(tls=False, certificate=None)


@dataclass(frozen=True)
class Asked:
    """What a page sees of a request."""

    target: str = "/slow?x=1"
    method: str = "GET"


ASKED = cast(Request, Asked())


async def test_one_page_too_many_is_an_honest_503() -> None:
    """Those that run go on; the next is told to come again; a place that is left is free."""
    go, inside = asyncio.Event(), asyncio.Semaphore(0)

    async def slow(request: Request, connection: Connection) -> Reply:
        inside.release()
        await go.wait()
        return Reply(200, (), b"")

    pages = Pages({"/slow": slow}, at_once=2)
    assert pages.has("/slow?x=1")
    assert not pages.has("/slower")
    running = [asyncio.ensure_future(pages.answer(ASKED, PLAIN)) for _ in range(2)]
    await inside.acquire()
    await inside.acquire()
    with pytest.raises(Problem) as caught:
        await pages.answer(ASKED, PLAIN)
    assert (caught.value.code, caught.value.status) == (Code.OVERLOADED, 503)
    go.set()
    assert [reply.status for reply in await asyncio.gather(*running)] == [200, 200]
    assert (await pages.answer(ASKED, PLAIN)).status == 200


async def test_a_page_that_fails_leaves_its_place() -> None:
    """Whatever a page raises, the next one has room."""

    async def broken(request: Request, connection: Connection) -> Reply:
        raise Problem(Code.NOT_FOUND)

    pages = Pages({"/slow": broken}, at_once=1)
    for _ in range(3):
        with pytest.raises(Problem) as caught:
            await pages.answer(ASKED, PLAIN)
        assert caught.value.code is Code.NOT_FOUND


async def test_pages_are_read_only() -> None:
    """GET and HEAD; 405 for anything else."""
    with pytest.raises(Problem) as caught:
        await Pages({"/slow": cast(object, None)}).answer(  # type: ignore[dict-item]
            cast(Request, Asked(method="DELETE")), PLAIN
        )
    assert caught.value.status == 405


@pytest.mark.parametrize(
    ("message_id", "name"),
    [("a-1", "a-1"), ("../../x", ".._.._x"), ('a"b\r\nc', "a_b__c")],
)
def test_the_name_of_an_evidence_file_is_harmless(message_id: str, name: str) -> None:
    """A message id is what its sender made it; it breaks out of no folder and no header."""
    query = "xRoadInstance=LA&memberClass=GOV&memberCode=MOF&subsystemCode=b&queryId=x"
    wanted = Wanted.parse(query)
    named = Wanted(message_id, wanted.client, wanted.kinds, wanted.suffix)
    assert named.name == name
