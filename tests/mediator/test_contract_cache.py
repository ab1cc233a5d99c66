"""The contracts of other members' services that a server keeps."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest

from exchange.identifiers import ServiceId
from mediator import contracts
from mediator.contracts import ContractCache


def service(number: int) -> ServiceId:
    return ServiceId("LA", "GOV", "MPI", "oda-mis", f"s{number}")


def state(services: int, properties: int) -> Any:
    """As much of a registry's state as the cache looks at."""
    schema = {"properties": {f"p{i}": {} for i in range(properties)}}
    content = {"application/json": {"schema": schema}}
    paths = {"/x": {"get": {"responses": {"200": {"content": content}}}}}
    document = json.dumps({"openapi": "3.1.0", "paths": paths})
    documents = {service(i): f"{document}{' ' * i}".encode() for i in range(services)}
    return SimpleNamespace(openapi=documents, schemas={})


async def test_heavy_contracts_make_room_for_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is kept is bounded by its weight; the least recently used goes first."""
    monkeypatch.setattr(contracts, "MAX_WEIGHT", 350)
    known, cache = state(4, 99), ContractCache()
    first = await cache.get(known, service(0))
    for number in (1, 2):
        await cache.get(known, service(number))
    assert await cache.get(known, service(0)) is first
    await cache.get(known, service(3))
    assert await cache.get(known, service(0)) is first
    assert len(cache._compiled) == 3
