"""Contracts of other members' services, compiled when first called and kept while unchanged."""

from __future__ import annotations

import asyncio
from collections import OrderedDict

import structlog

from exchange.contracts import Contract
from exchange.identifiers import ServiceId
from exchange.problems import Problem
from exchange.trust import RegistryState

MAX_COMPILED = 500
MAX_WEIGHT = 100_000
log = structlog.get_logger("mediator.contracts")


class ContractCache:
    """At most 500 compiled contracts of some 100 MiB together; the least recently used goes first.

    A service without a document, or with one that does not compile, has no contract here: its
    provider still checks.
    """

    def __init__(self) -> None:
        self._compiled: OrderedDict[ServiceId, tuple[bytes, Contract | None]] = OrderedDict()

    async def get(self, state: RegistryState, service: ServiceId) -> Contract | None:
        """The contract of ``service`` in this state of the registry."""
        document = state.openapi.get(service)
        if document is None:
            return None
        found = self._compiled.get(service)
        if found is not None and found[0] is document:
            self._compiled.move_to_end(service)
            return found[1]
        contract = await asyncio.to_thread(_compile, document, state, service)
        self._compiled[service] = (document, contract)
        self._compiled.move_to_end(service)
        while len(self._compiled) > MAX_COMPILED or self._weight > MAX_WEIGHT:
            self._compiled.popitem(last=False)
        return contract

    @property
    def _weight(self) -> int:
        return sum(contract.weight for _, contract in self._compiled.values() if contract)


def _compile(document: bytes, state: RegistryState, service: ServiceId) -> Contract | None:
    try:
        return Contract.compile(document, state.schemas)
    except Problem as problem:
        log.warning("contract_unusable", service=str(service), why=str(problem))
        return None
