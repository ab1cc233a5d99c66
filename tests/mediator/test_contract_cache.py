"""The contracts of other members' services that a server keeps."""

from __future__ import annotations

import asyncio
import json
import threading
from types import SimpleNamespace
from typing import Any

import pytest

from exchange.identifiers import ServiceId
from exchange.problems import Code, Problem
from mediator.consumer import contracts
from mediator.consumer.contracts import ContractCache
from tests.registry.documents import HeldDocument


def service(number: int) -> ServiceId:
    return ServiceId("LA", "GOV", "MPI", "oda-mis", f"s{number}")


def state(services: int, properties: int) -> Any:
    """As much of a registry's state as the cache looks at."""
    schema = {"properties": {f"p{i}": {} for i in range(properties)}}
    content = {"application/json": {"schema": schema}}
    paths = {"/x": {"get": {"responses": {"200": {"content": content}}}}}
    document = json.dumps({"openapi": "3.1.0", "paths": paths})
    documents = {service(i): HeldDocument(f"{document}{' ' * i}".encode()) for i in range(services)}
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
    assert len(cache._kept) == 3


SHARED = "https://example.la/schemas/word"


def word(pattern: str) -> bytes:
    dialect = "https://json-schema.org/draft/2020-12/schema"
    return json.dumps(
        {"$schema": dialect, "$id": SHARED, "type": "string", "pattern": pattern}
    ).encode()


def referring(**schemas: bytes) -> Any:
    """A state whose only service answers a shared schema."""
    content = {"application/json": {"schema": {"$ref": SHARED}}}
    paths = {"/x": {"get": {"responses": {"200": {"content": content}}}}}
    document = json.dumps({"openapi": "3.1.0", "paths": paths}).encode()
    return SimpleNamespace(openapi={service(0): HeldDocument(document)}, schemas=schemas)


def refusal(contract: Any, body: bytes) -> Code | None:
    """What the contract says of an answer with this body."""
    json_type = (("content-type", "application/json"),)
    try:
        contract.find("GET", "/x").operation.check_response(200, json_type, body)
    except Problem as problem:
        return problem.code
    return None


async def test_a_changed_shared_schema_is_a_changed_contract() -> None:
    """The document may stay as it is: what it refers to counts too, and nothing else does."""
    cache = ContractCache()
    old, new = {SHARED: word("^a$")}, {SHARED: word("^b$")}
    first = await cache.get(referring(**old), service(0))
    assert refusal(first, b'"a"') is None
    assert await cache.get(referring(**old, other=b"{}"), service(0)) is first
    second = await cache.get(referring(**new), service(0))
    assert refusal(second, b'"b"') is None
    assert refusal(second, b'"a"') is Code.RESPONSE_SCHEMA_VIOLATION


async def test_a_shared_schema_that_comes_later_makes_the_contract_usable() -> None:
    """A document that was published before what it refers to is not given up for good."""
    cache = ContractCache()
    assert await cache.get(referring(), service(0)) is None
    contract = await cache.get(referring(**{SHARED: word("^a$")}), service(0))
    assert refusal(contract, b'"a"') is None


async def test_many_first_calls_compile_a_contract_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that come while it is compiled wait for it, and get the very same one.

    One that gives up meanwhile takes nothing from the others.
    """
    compiling, at_work = threading.Semaphore(0), threading.Semaphore(0)
    begun: list[ServiceId] = []
    real = contracts._compile

    def slowly(document: bytes, shared: Any, of: ServiceId) -> Any:
        begun.append(of)
        at_work.release()
        assert compiling.acquire(timeout=30)
        return real(document, shared, of)

    monkeypatch.setattr(contracts, "_compile", slowly)
    known, cache = state(2, 9), ContractCache()
    calls = [asyncio.create_task(cache.get(known, service(0))) for _ in range(20)]
    other = asyncio.create_task(cache.get(known, service(1)))
    for _ in range(2):
        assert await asyncio.to_thread(at_work.acquire, timeout=30)
    calls[3].cancel()
    compiling.release(2)
    found = await asyncio.gather(*calls, return_exceptions=True)
    assert isinstance(found.pop(3), asyncio.CancelledError)
    assert len(set(map(id, found))) == 1
    assert found[0] is not None
    assert await other is not found[0]
    assert sorted(map(str, begun)) == [str(service(0)), str(service(1))]
