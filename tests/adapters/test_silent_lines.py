"""The line to a database swallows what is sent, and nobody is told: a proxy between the two.

Every wait has an end: a caller has an answer by its deadline, a place comes back with the time of
a statement, a connection that is not answered with the time to connect; another source goes on, and
when the line is good again the same adapter answers. What the driver waits beyond the database's
own limit (``ANSWER_S``) is cut here, for tests are to be quick.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterator
from dataclasses import replace
from time import monotonic
from typing import Any

import pytest
from sqlalchemy import Connection, event
from sqlalchemy.engine import make_url

from adapters.service import Adapter
from adapters.sources import engines
from exchange.problems import Code, Problem
from tests.adapters.legacy import Legacy, fill, get, items
from tests.adapters.writes import library
from tests.adapters.writes.library import Library, send
from tests.adapters.writes.test_writing_faults import effects, writing_engine
from tests.faults.line import Act, Fault, Line, Way

SERVERS = [
    pytest.param(kind, marks=getattr(pytest.mark, f"needs_{kind}"))
    for kind in ("postgresql", "mariadb")
]
LIMITS = """max_connections: 1
  statement_timeout_s: 1
  connect_timeout_s: 1
  failures_before_pause: 0"""
BODY = {"number": 1, "borrower": "ແກ້ວ"}
_numbers = itertools.count()


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Drivers give up half a second after the server should have."""
    monkeypatch.setattr(engines, "ANSWER_S", 0.5)


@pytest.fixture
def line() -> Iterator[Line]:
    line = Line()
    yield line
    line.stop()


@pytest.fixture(params=SERVERS)
def through(request: pytest.FixtureRequest, line: Line) -> Legacy:
    """A filled database that is reached through the line."""
    server = request.getfixturevalue(f"{request.param}_server")
    owner = server.new_database(f"silent_{next(_numbers)}")
    fill(owner)
    line.start(server.port)
    url = make_url(owner).set(port=line.port).render_as_string(hide_password=False)
    return Legacy(request.param, url, server)


async def told(adapter: Adapter, timeout_s: float) -> tuple[Problem, float]:
    """The problem of a request, and the seconds until it came."""
    began = monotonic()
    with pytest.raises(Problem) as caught:
        await get(adapter, "/items", timeout_s=timeout_s)
    return caught.value, monotonic() - began


async def test_who_accepts_and_never_speaks(through: Legacy, line: Line) -> None:
    """Is given the time to connect and no more, is left alone after some failures, and is found
    again."""
    limits = LIMITS.replace("statement_timeout_s: 1", "statement_timeout_s: 30")
    adapter = through.adapter(limits=limits.replace("_pause: 0", "_pause: 2"))
    line.arm(Fault(Act.HOLE, Way.CONNECT, times=None))
    for _ in range(2):
        problem, waited_s = await told(adapter, 40)
        assert (problem.code, problem.retryable) == (Code.SOURCE_FAILED, True)
        assert waited_s < 15
    problem, waited_s = await told(adapter, 40)
    assert problem.facts["retry_after_s"]
    assert waited_s < 0.5
    line.heal()
    assert len(await answered(adapter)) == 10
    await adapter.close()


async def test_who_falls_silent_in_the_middle_of_a_greeting(through: Legacy, line: Line) -> None:
    """The same, when the first words came."""
    limits = LIMITS.replace("statement_timeout_s: 1", "statement_timeout_s: 30")
    adapter = through.adapter(limits=limits)
    line.arm(Fault(Act.HOLE, Way.UP, after=20, times=1))
    problem, waited_s = await told(adapter, 40)
    assert (problem.code, problem.retryable) == (Code.SOURCE_FAILED, True)
    assert waited_s < 15
    assert len(await items(adapter, "/items")) == 10
    await adapter.close()


SILENCES = {
    "before a transaction begins": Fault(Act.HOLE, Way.UP),
    "in the middle of a result": Fault(Act.HOLE, Way.DOWN, after=2_000),
}


@pytest.mark.parametrize("when", SILENCES)
async def test_a_line_that_goes_silent(through: Legacy, line: Line, when: str) -> None:
    """The caller has its answer at its deadline; the place is free again soon after, and the next
    request is answered over a new connection."""
    adapter = through.adapter(limits=LIMITS)
    assert len(await items(adapter, "/items")) == 10
    line.arm(SILENCES[when])
    problem, waited_s = await told(adapter, 0.3)
    assert problem.code is Code.BACKEND_TIMEOUT
    assert waited_s < 1
    began = monotonic()
    assert len(await items(adapter, "/items")) == 10
    assert monotonic() - began < 8
    line.arm(replace(SILENCES[when], times=None))
    problem, waited_s = await told(adapter, 20)  # who waits longer is told by the driver
    assert (problem.code, problem.retryable) == (Code.SOURCE_FAILED, True)
    assert waited_s < 12
    line.heal()
    assert len(await items(adapter, "/items")) == 10
    await adapter.close()


async def answered(adapter: Adapter) -> list[dict[str, Any]]:
    """The items, as soon as the source is asked again."""
    async with asyncio.timeout(20):
        while True:
            try:
                return await items(adapter, "/items")
            except Problem as problem:
                assert problem.code is Code.SOURCE_FAILED  # noqa: PT017
                await asyncio.sleep(0.05)


COMMITS = {"lost": Way.UP, "unanswered": Way.DOWN}


@pytest.mark.parametrize("kind", SERVERS)
@pytest.mark.parametrize("what", COMMITS)
@pytest.mark.parametrize("times", [1, None], ids=["once", "for a while"])
async def test_a_commit_that_is_swallowed(
    kind: str, what: str, times: int | None, line: Line, request: pytest.FixtureRequest
) -> None:
    """It is done once, or nobody can say; whoever repeats the message finds it done once. What the
    silent session holds is let go by the database, though nobody ends it."""
    server = request.getfixturevalue(f"{kind}_server")
    owner = server.new_database(f"silent_{next(_numbers)}")
    library.fill(owner)
    line.start(server.port)
    url = make_url(owner).set(port=line.port).render_as_string(hide_password=False)
    adapter = Library(kind, url, server).adapter(LIMITS)
    direct = Library(kind, owner, server)

    def strike(connection: Connection) -> None:
        line.arm(Fault(Act.HOLE, COMMITS[what], times=times))

    event.listen(writing_engine(adapter), "commit", strike, once=True)
    try:
        answer = await send(adapter, "POST", "/loans", BODY, id="c")
    except Problem as problem:
        assert problem.code is Code.WRITE_UNCONFIRMED  # noqa: PT017
        if times is None:
            line.heal()
        answer = await repeated(adapter)
    assert answer.status == 201
    assert effects(direct) == (1, 1)
    await adapter.close()


async def repeated(adapter: Adapter) -> Any:
    """The answer to the message when it is sent again, until it has one."""
    async with asyncio.timeout(30):
        while True:
            try:
                return await send(adapter, "POST", "/loans", BODY, id="c")
            except Problem as problem:
                assert problem.retryable  # noqa: PT017
                await asyncio.sleep(0.1)
