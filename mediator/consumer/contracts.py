"""Contracts of other members' services, compiled when first called and kept while unchanged."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from typing import NamedTuple
from weakref import WeakValueDictionary

import structlog

from exchange.contracts.contract import Contract
from exchange.identifiers import ServiceId
from exchange.problems import Problem
from exchange.trust.indexes import Document
from exchange.trust.state import RegistryState

MAX_COMPILED = 500
MAX_WEIGHT = 100_000
log = structlog.get_logger("mediator.consumer.contracts")


class _Kept(NamedTuple):
    """A compiled contract and what it was compiled of: the document's digest, and schemas; one that
    was missing is None."""

    document: str
    schemas: Mapping[str, bytes | None]
    contract: Contract | None

    def is_of(self, document: Document, shared: Mapping[str, bytes]) -> bool:
        return self.document == document.sha256 and all(
            shared.get(name) == content for name, content in self.schemas.items()
        )


class ContractCache:
    """At most 500 compiled contracts of some 100 MiB together; the least recently used goes first.

    A service without a document, or with one that does not compile, has no contract here: its
    provider still checks. Compiling takes up to seconds of a processor: many first calls of one
    service wait for one of them.
    """

    def __init__(self) -> None:
        self._kept: OrderedDict[ServiceId, _Kept] = OrderedDict()
        self._compiling: WeakValueDictionary[ServiceId, asyncio.Lock] = WeakValueDictionary()

    async def get(self, state: RegistryState, service: ServiceId) -> Contract | None:
        """The contract of ``service`` in this state of the registry."""
        document = state.openapi.get(service)
        if document is None:
            return None
        found = self._find(document, state, service)
        if found is None:
            # The lock lives as long as somebody has it or waits for it.
            lock = self._compiling.setdefault(service, asyncio.Lock())
            async with lock:
                found = self._find(document, state, service)
                if found is None:
                    found = await asyncio.to_thread(_compile, document, state.schemas, service)
                    self._keep(service, found)
        return found.contract

    def _find(self, document: Document, state: RegistryState, service: ServiceId) -> _Kept | None:
        found = self._kept.get(service)
        if found is None or not found.is_of(document, state.schemas):
            return None
        self._kept.move_to_end(service)
        return found

    def _keep(self, service: ServiceId, compiled: _Kept) -> None:
        self._kept[service] = compiled
        self._kept.move_to_end(service)
        while len(self._kept) > MAX_COMPILED or self._weight > MAX_WEIGHT:
            self._kept.popitem(last=False)

    @property
    def _weight(self) -> int:
        return sum(kept.contract.weight for kept in self._kept.values() if kept.contract)


class _Noting(Mapping[str, bytes]):
    """Shared schemas that note which of them a contract asked for."""

    def __init__(self, shared: Mapping[str, bytes]) -> None:
        self._shared = shared
        self.asked: dict[str, bytes | None] = {}

    def __getitem__(self, name: str) -> bytes:
        self.asked[name] = found = self._shared.get(name)
        if found is None:
            raise KeyError(name)
        return found

    def __iter__(self) -> Iterator[str]:
        return iter(self._shared)

    def __len__(self) -> int:
        return len(self._shared)


def _compile(document: Document, shared: Mapping[str, bytes], service: ServiceId) -> _Kept:
    schemas = _Noting(shared)
    try:
        contract = Contract.compile(document.read(), schemas)
    except Problem as problem:
        log.warning("contract_unusable", service=str(service), why=str(problem))
        contract = None
    return _Kept(document.sha256, schemas.asked, contract)
