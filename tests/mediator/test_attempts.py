"""The attempts for one call: where the next one goes, and when it is enough."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import pytest

from exchange.identifiers import ApplicationId, ServerId
from exchange.problems import Code, Problem
from exchange.registrations import ServerRecord
from mediator.administration.metrics import Metrics
from mediator.consumer.attempts import Attempts, Fate, Missed, Trying
from mediator.consumer.discovery import Peers, State, Visit
from mediator.message.stages import Routed
from mediator.settings import PeerSettings
from mediator.xroad import call_of, service_of
from serving.clock import SystemClock

BUDGET = ApplicationId.parse("LA/GOV/MOF/budget")
TARGET = "/r1/LA/GOV/MPI/oda-mis/projects/x"
QUICK = PeerSettings(backoff_s=0.001, breaker_s=60, breaker_max_s=60)


def server(name: str, shares: str | None = None) -> ServerRecord:
    return ServerRecord(ServerId.parse(f"LA/GOV/MPI/{name}"), "https://h", (), None, shares)


SS1, SS2, SS3 = server("ss1"), server("ss2"), server("ss3")
PAIR1, PAIR2 = server("ss1", "pair"), server("ss2", "pair")


class Many:
    """The attempts for calls to some servers, with what is known of these in common."""

    def __init__(self, *servers: ServerRecord, settings: PeerSettings = QUICK) -> None:
        self.servers = servers
        self.metrics = Metrics()
        self.trying = Trying(Peers(settings), settings, self.metrics, SystemClock())

    def call(self, method: str = "GET", timeout_s: float = 5.0) -> Attempts:
        call = call_of(method, TARGET, service_of(TARGET, 8190), (), b"", BUDGET, "trace")
        return Attempts(Routed(call, self.servers, ""), self.trying, timeout_s)

    def state(self, one: ServerRecord) -> State:
        return self.trying.peers.of(one.id).state


def missed(fate: Fate, code: Code = Code.PEER_UNREACHABLE, detail: str = "no word") -> Missed:
    return Missed(Problem(code, detail=detail), fate)


async def fail(attempts: Attempts, with_: Missed) -> ServerRecord:
    """Make the next attempt, and let it fail so."""
    visit = await attempts.next()
    attempts.missed(visit, with_)
    return visit.server


async def end(attempts: Attempts) -> Problem:
    """What the application is told, since there is no other attempt."""
    with pytest.raises(Problem) as caught:
        await attempts.next()
    return caught.value


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE"])
@pytest.mark.parametrize("fate", [Fate.NOT_SENT, Fate.REFUSED])
async def test_what_nobody_acted_upon_goes_to_each_other_server_once(
    method: str, fate: Fate
) -> None:
    """Whatever the method; no server gets it twice, since nothing would have changed."""
    attempts = Many(SS1, SS2, SS3).call(method)
    tried = [await fail(attempts, missed(fate)) for _ in range(3)]
    assert {one.id for one in tried} == {SS1.id, SS2.id, SS3.id}
    problem = await end(attempts)
    assert problem.code is Code.PEER_UNREACHABLE
    assert len(problem.facts["servers"]) == 3  # type: ignore[arg-type]
    assert all(str(one.id) in problem.detail for one in tried)


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS"])
async def test_a_safe_call_without_an_answer_goes_to_any_server(method: str) -> None:
    """First to one that has not had it, then again to one that has; at most `attempts` in all."""
    attempts = Many(SS1, SS2).call(method)
    tried = [await fail(attempts, missed(Fate.UNKNOWN)) for _ in range(QUICK.attempts)]
    assert tried[0] != tried[1]
    assert (await end(attempts)).code is Code.PEER_UNREACHABLE


@pytest.mark.parametrize("code", [Code.PEER_TIMEOUT, Code.PEER_NONSENSE])
async def test_a_safe_call_does_not_wait_twice_for_one_slow_server(code: Code) -> None:
    """What was slow, or no HTTP, would be so again."""
    attempts = Many(SS1).call()
    await fail(attempts, missed(Fate.UNKNOWN, code))
    assert (await end(attempts)).code is code


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
async def test_an_unsafe_call_without_an_answer_stays_with_its_server(method: str) -> None:
    """Another server, which does not share its book, would act a second time."""
    attempts = Many(SS1, SS2, SS3).call(method)
    tried = [await fail(attempts, missed(Fate.UNKNOWN)) for _ in range(QUICK.attempts)]
    assert len({one.id for one in tried}) == 1
    await end(attempts)


async def test_an_unsafe_call_goes_to_a_server_that_shares_the_book() -> None:
    """That one answers a repeated message id from the book; a third one is still not asked."""
    attempts = Many(PAIR1, PAIR2, SS3).call("POST")
    visit = await attempts.next()
    if visit.server == SS3:  # chance began there
        attempts.missed(visit, missed(Fate.NOT_SENT))
        visit = await attempts.next()
    attempts.missed(visit, missed(Fate.UNKNOWN))
    assert {visit.server, await fail(attempts, missed(Fate.UNKNOWN))} == {PAIR1, PAIR2}
    assert await fail(attempts, missed(Fate.UNKNOWN)) in {PAIR1, PAIR2}


async def test_an_unknown_outcome_outweighs_what_other_servers_say_later() -> None:
    """The application must hear that its request may have been acted upon."""
    many = Many(PAIR1, PAIR2)
    attempts = many.call("POST")
    await fail(attempts, missed(Fate.UNKNOWN, Code.PEER_TIMEOUT))
    await fail(attempts, missed(Fate.REFUSED, Code.MAINTENANCE_MODE, "tonight"))
    await fail(attempts, missed(Fate.NOT_SENT))
    await fail(attempts, missed(Fate.NOT_SENT))
    problem = await end(attempts)
    assert problem.code is Code.PEER_TIMEOUT
    assert len(problem.facts["servers"]) == 4  # type: ignore[arg-type]


async def test_maintenance_everywhere_is_told_with_the_notice() -> None:
    """The notice as the provider wrote it; the next call is told so without asking anybody."""
    many = Many(SS1, SS2)
    attempts = many.call("POST")
    for _ in range(2):
        await fail(attempts, missed(Fate.REFUSED, Code.MAINTENANCE_MODE, "back at six"))
    for problem in (await end(attempts), await end(many.call())):
        assert (problem.code, problem.status) == (Code.MAINTENANCE_MODE, 503)
        assert problem.detail == "back at six"
        assert len(problem.facts["servers"]) == 2  # type: ignore[arg-type]
    assert many.state(SS1) is many.state(SS2) is State.OPEN


async def test_a_server_that_rests_is_named_although_it_was_not_asked() -> None:
    """The application hears of every server of the provider."""
    many = Many(SS1, SS2)
    attempts = many.call()
    resting = await fail(attempts, missed(Fate.REFUSED, Code.SHUTTING_DOWN, "stopping"))
    await fail(attempts, missed(Fate.NOT_SENT))
    attempts = many.call()
    other = await fail(attempts, missed(Fate.NOT_SENT, detail="refused"))
    assert other != resting
    problem = await end(attempts)
    assert problem.code is Code.PEER_UNREACHABLE
    assert str(resting.id) in problem.detail
    assert "stopping" in problem.detail


async def test_a_full_server_is_no_broken_one() -> None:
    """One service or one caller has its share: what others ask of that server is not stopped."""
    many = Many(SS1)
    for _ in range(20):
        await fail(many.call(), missed(Fate.REFUSED, Code.OVERLOADED))
    assert many.state(SS1) is State.CLOSED


async def test_repeats_end_with_the_share_of_the_server() -> None:
    """Of 100 failing calls to one server some are repeated; most of them end at once."""
    settings = PeerSettings(
        backoff_s=0, retry_share=0.1, retry_reserve=5, breaker_failures=1000, attempts=2
    )
    many = Many(SS1, settings=settings)
    begun = 0
    for _ in range(100):
        attempts = many.call()
        await fail(attempts, missed(Fate.UNKNOWN))
        with suppress(Problem):
            attempts.missed(await attempts.next(), missed(Fate.UNKNOWN))
        begun += attempts.begun
    assert 100 + 10 <= begun <= 100 + 5 + 0.1 * 120
    assert b'saphan_attempts_repeated_total{allowed="no"} ' in many.metrics.text()


@pytest.mark.parametrize("code", [Code.MAINTENANCE_MODE, Code.SHUTTING_DOWN, Code.PEER_UNREACHABLE])
async def test_going_elsewhere_is_free_when_nobody_had_the_message(code: Code) -> None:
    """A restart of one server fails no call, however many there are at that moment."""
    settings = PeerSettings(retry_share=0, retry_reserve=0)
    many = Many(SS1, SS2, settings=settings)
    fate = Fate.NOT_SENT if code is Code.PEER_UNREACHABLE else Fate.REFUSED
    running: list[tuple[Attempts, Visit]] = []
    for _ in range(200):
        attempts = many.call("POST")
        running.append((attempts, await attempts.next()))
    for attempts, visit in running:
        if visit.server == SS1:
            attempts.missed(visit, missed(fate, code))
            visit = await attempts.next()
        assert visit.server == SS2
        attempts.answered(visit)


async def test_the_time_of_the_exchange_is_that_of_all_attempts() -> None:
    """A pause for which there is no time is not made; nothing begins after the end."""
    settings = PeerSettings(backoff_s=30, backoff_max_s=30)
    attempts = Many(SS1, settings=settings).call(timeout_s=5)
    await fail(attempts, missed(Fate.UNKNOWN))
    async with asyncio.timeout(4):
        await end(attempts)
    attempts = Many(SS1, SS2).call(timeout_s=0)
    await fail(attempts, missed(Fate.NOT_SENT))
    await end(attempts)
