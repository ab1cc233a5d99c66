"""Faults of our own before a message is recorded: each is a recorded refusal, and says nothing.

The faults are real ones of parts that are put together wrongly: no state of the registry where one
was promised, no key for a member, an address that is none. The journal is a real one.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from exchange.identifiers import MemberId, ServerId
from exchange.messages.digest import content_digest
from exchange.messages.envelope import RequestHead
from exchange.problems import Code, Problem
from exchange.registrations import ServerRecord
from mediator.administration.metrics import Metrics
from mediator.agreements.quota import QuotaBook
from mediator.agreements.terms import call_bounds
from mediator.background.revocation import Unchecked
from mediator.consumer.attempts import Trying
from mediator.consumer.contracts import ContractCache
from mediator.consumer.discovery import Peers
from mediator.consumer.inlet import Inlet
from mediator.consumer.path import Consumer
from mediator.journal.log import Journal
from mediator.message.gate import Gate
from mediator.message.places import Places
from mediator.message.records import Recorder
from mediator.message.stages import Received, Routed
from mediator.message.turns import Turns
from mediator.pages.pages import Pages
from mediator.provider.checks import Checks
from mediator.provider.inlet import PeerInlet
from mediator.provider.maintenance import Maintenance
from mediator.provider.path import Provider
from mediator.provider.release import Releases
from mediator.provider.replay import ReplayMemory
from mediator.provider.sealing import Sealer
from mediator.settings import ConnectionMode, LimitSettings, PeerSettings
from mediator.witness.service import Witness
from mediator.xroad import Entrance, LocalApplication, call_of, service_of
from serving.clock import SystemClock
from serving.incoming import Request
from serving.requests import Reply
from tests.journal.world import journal_in
from tests.mediator.test_inlet import BUDGET, Came

SERVER = ServerId.parse("LA/GOV/MPI/ss1")
MPI = MemberId.parse("LA/GOV/MPI")
SECRET = "what only the log may say"


def broken() -> Any:
    raise RuntimeError(SECRET)


@pytest.fixture
async def recorder(tmp_path: Path) -> AsyncIterator[Recorder]:
    async with journal_in(tmp_path) as journal:
        yield Recorder(journal, SERVER, SystemClock(), Metrics(), 1024)


def consumer(recorder: Recorder) -> Consumer:
    return Consumer(
        state=broken,
        statuses=Unchecked(),
        contracts=ContractCache(),
        seal_keys={},
        recorder=recorder,
        link=cast(Any, SimpleNamespace(exchange_s=lambda service: 5.0)),
        trying=Trying(Peers(PeerSettings()), PeerSettings(), recorder.metrics, SystemClock()),
        clock=SystemClock(),
        turns=Turns(4),
    )


def provider(recorder: Recorder) -> Provider:
    return Provider(
        address="https://127.0.0.1:1",
        state=broken,
        statuses=Unchecked(),
        sealer=Sealer({MPI: cast(Any, None)}, SystemClock()),
        services={},
        agreements=cast(Any, None),
        maintenance=Maintenance(Path("none"), SystemClock(), None),
        quotas=QuotaBook(),
        replays=ReplayMemory(),
        once=cast(Any, None),
        recorder=recorder,
        checks=Checks(recorder),
        releases=Releases(),
        counting=cast(Any, None),
        clock=SystemClock(),
        turns=Turns(4),
        max_url_bytes=8190,
        places=Places(),
    )


async def at_the_inlet(recorder: Recorder, remote: str = "127.0.0.1") -> Reply:
    inlet = Inlet(
        consumer=consumer(recorder),
        entrance=Entrance({BUDGET: LocalApplication(BUDGET, ConnectionMode.HTTP, frozenset())}, ()),
        recorder=recorder,
        gate=Gate(10),
        limits=LimitSettings(),
        metrics=recorder.metrics,
        places=Places(),
        bounds=call_bounds(LimitSettings(), ()),
        pages=Pages({}),
        once_only=cast(Any, None),
    )
    return await inlet.handle(cast(Request, Came(remote, tls=False)))


async def before_a_call_exists(recorder: Recorder) -> Reply:
    return await at_the_inlet(recorder, remote="no address")


async def at_the_link(recorder: Recorder) -> Reply:
    inlet = PeerInlet(
        provider(recorder),
        broken,
        Unchecked(),
        recorder,
        Gate(10),
        LimitSettings(),
        recorder.metrics,
        cast(Witness, None),
    )
    return await inlet.handle(cast(Request, Came("127.0.0.1", tls=True)))


def recorded(journal: Journal) -> list[tuple[str, str, str]]:
    since = SystemClock().now() - timedelta(minutes=1)
    return [(one["kind"], one["side"], one["problem"]) for one in journal.recent(since)]


@pytest.mark.parametrize(
    ("meet", "side"),
    [(at_the_inlet, "consumer"), (before_a_call_exists, "consumer"), (at_the_link, "provider")],
    ids=["finding", "before a call", "link"],
)
async def test_a_fault_before_the_record_is_a_recorded_refusal(
    recorder: Recorder, meet: Callable[[Recorder], Awaitable[Reply]], side: str
) -> None:
    """The caller gets a 500 that says nothing of the fault; the journal tells of it once."""
    reply = await meet(recorder)
    assert reply.status == 500
    assert b"InternalError" in reply.body
    assert SECRET.encode() not in reply.body
    assert recorded(recorder.journal) == [("refusal", side, Code.INTERNAL_ERROR)]
    assert f'saphan_problems_total{{code="InternalError",side="{side}"}} 1.0'.encode() in (
        recorder.metrics.text()
    )


@pytest.mark.parametrize("meet", [at_the_inlet, before_a_call_exists, at_the_link])
async def test_a_fault_that_cannot_be_recorded_is_told_as_that(
    recorder: Recorder, meet: Callable[[Recorder], Awaitable[Reply]]
) -> None:
    """A journal that takes nothing more is what the caller hears of."""
    await recorder.journal.close()
    reply = await meet(recorder)
    assert reply.status == 503
    assert b"ShuttingDown" in reply.body


async def test_a_fault_while_sealing_is_a_recorded_refusal(recorder: Recorder) -> None:
    """Nothing was sent: the call is recorded as refused."""
    came = Came("127.0.0.1", tls=False)
    named = service_of(came.target, 8190)
    call = call_of(came.method, came.target, named, came.headers, b"", BUDGET, "trace-1")
    server = ServerRecord(SERVER, "https://127.0.0.1:1", (), ())
    with pytest.raises(Problem) as caught:
        await consumer(recorder).ask(Routed(call, (server,), ""))
    assert caught.value.code is Code.INTERNAL_ERROR
    assert recorded(recorder.journal) == [("refusal", "consumer", Code.INTERNAL_ERROR)]


async def test_a_fault_while_a_message_is_opened_is_a_recorded_refusal(recorder: Recorder) -> None:
    """With what came in its sealed part; the sender gets no word of the fault."""
    came = Came("127.0.0.1", tls=True)
    headers = (*came.headers, ("x-road-id", "m-1"), ("content-digest", content_digest(b"")))
    head = RequestHead("GET", "https://127.0.0.1:1" + came.target, headers)
    received = Received(ServerId.parse("LA/GOV/MOF/ss1"), head, came.target, b"")
    with pytest.raises(Problem) as caught:
        await provider(recorder).exchange(received)
    assert caught.value.code is Code.INTERNAL_ERROR
    assert SECRET not in str(caught.value)
    assert recorded(recorder.journal) == [("refusal", "provider", Code.INTERNAL_ERROR)]
    (entry,) = recorder.journal.recent(SystemClock().now() - timedelta(minutes=1))
    assert (entry["id"], entry["client"], entry["peer"]) == ("m-1", str(BUDGET), "LA/GOV/MOF/ss1")
    assert "sealed" in entry
