"""A service whose adapter needs what is not at hand: the others start, and it comes by itself."""

from __future__ import annotations

import asyncio
from pathlib import Path
from threading import Event

import pytest

from exchange.identifiers import MemberId, ServerId, ServiceId
from exchange.problems import Code, Problem
from mediator.provider import awaiting
from mediator.provider.awaiting import Awaiting, report
from mediator.provider.offers import OfferedService, offer
from mediator.settings import (
    KeyPair,
    ListenSettings,
    MemberSettings,
    RegistrySettings,
    ServerSettings,
    ServiceSettings,
)
from serving.backends import Backend, BackendRequest
from tests.mediator.test_verification import state_of

PAIR = KeyPair(Path("a.pem"), Path("a.key"))
SERVICE = ServiceId.parse("LA/GOV/MPI/portal/permits")
DOCUMENT = b"""{"openapi": "3.1.0", "info": {"title": "a", "version": "1"}, "paths":
  {"/a": {"get": {"responses": {"200": {"description": "a"}}}}}}"""


class Answering:
    """A backend that tells whether it was closed."""

    closed = False

    async def exchange(self, request: BackendRequest, **waits: float) -> None:
        raise NotImplementedError

    async def close(self) -> None:
        self.closed = True


class Factory:
    """Makes an adapter as soon as ``there`` is set; who does not wait is told at once."""

    def __init__(self, code: Code = Code.SOURCE_FAILED) -> None:
        self.there = Event()
        self.backend = Answering()
        self.code = code
        self.asked = 0

    def __call__(
        self, mapping: Path, service: ServiceId, /, *, waits: bool
    ) -> tuple[Backend, bytes]:
        self.asked += 1
        if not self.there.is_set():
            raise Problem(self.code, where=str(mapping), detail="of http://10.1.2.3/?wsdl")
        return self.backend, DOCUMENT  # type: ignore[return-value]


def _settings() -> ServerSettings:
    return ServerSettings(
        server=ServerId.parse("LA/GOV/MPI/ss1"),
        directory=Path(),
        address="https://127.0.0.1",
        registry=RegistrySettings("http://127.0.0.1", Path()),
        auth=PAIR,
        listen=ListenSettings(peer="127.0.0.1:0"),
        members=(MemberSettings(MemberId.parse("LA/GOV/MPI"), PAIR),),
    )


def _offer(factory: Factory, *, waits: bool = False) -> OfferedService:
    service = ServiceSettings(id=SERVICE, adapter=Path("permits.yaml"))
    return offer(service, _settings(), state_of(), factory, waits=waits)


async def test_a_service_that_is_not_at_hand_is_told_and_comes_by_itself(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Callers are told why, without where its source stands; then it is as from the start."""
    monkeypatch.setattr(awaiting, "RETRY_S", 0.01)
    factory = Factory()
    services = {SERVICE: _offer(factory)}
    with pytest.raises(Problem) as caught:
        services[SERVICE].check()
    assert caught.value.code is Code.SOURCE_FAILED
    assert "10.1.2.3" not in str(caught.value)
    assert report(services)["absent"].keys() == {str(SERVICE)}
    found = Awaiting(services, lambda service: _offer(factory, waits=True))
    running = asyncio.create_task(found.run())
    while factory.asked < 3:  # noqa: ASYNC110 (the thread that asks has no event of this loop)
        await asyncio.sleep(0.01)
    assert not running.done()
    factory.there.set()
    async with asyncio.timeout(60):
        await running
    services[SERVICE].check()
    assert services[SERVICE].contract.find("GET", "/a")
    assert report(services) == {"ok": True, "absent": {}}
    await found.close()
    assert factory.backend.closed


async def test_a_server_stops_while_a_service_is_waited_for() -> None:
    """The thread that waits for its host is left behind."""
    factory = Factory()
    services = {SERVICE: _offer(factory)}
    hanging = Event()

    def hang(service: ServiceId) -> OfferedService:
        assert hanging.wait(60)
        return _offer(factory, waits=True)

    running = asyncio.create_task(Awaiting(services, hang).run())
    await asyncio.sleep(0)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    hanging.set()


def test_a_fault_of_the_mapping_still_stops_the_start() -> None:
    """Only what is elsewhere is waited for."""
    with pytest.raises(Problem) as caught:
        _offer(Factory(Code.INVALID_MAPPING))
    assert caught.value.code is Code.INVALID_MAPPING
