"""The kind ``http`` as :mod:`adapters.kinds` knows it: an API passed through, by rules."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from collections.abc import Mapping as Map
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import urlencode

from adapters.findings import Finding
from adapters.kinds import Checking
from adapters.mapping.head import Head
from adapters.mapping.model import Parameter
from adapters.mapping.reader import Node
from adapters.passing import drift, openapi
from adapters.passing.backend import OpenApi
from adapters.passing.documents import read_document
from adapters.passing.file import read_mapping
from adapters.passing.model import ApiMapping, ApiService, Operation
from adapters.passing.rights import unkept
from adapters.sources.variables import resolve
from exchange.contracts.contract import Contract
from exchange.problems import Problem
from serving.backends import Backend, BackendRequest

_CHECK_S = 60.0


@dataclass(frozen=True, slots=True)
class Api:
    """A mapping of the kind ``http``; implements :class:`adapters.kinds.Wrapping`."""

    mapping: ApiMapping

    @property
    def head(self) -> Head:
        return self.mapping.head

    @property
    def services(self) -> Map[str, ApiService]:
        return self.mapping.services

    def document(self, code: str, shared: Map[str, bytes]) -> bytes:
        """See :meth:`adapters.kinds.Wrapping.document`."""
        return openapi.document(self.mapping, code)

    def open(self, environ: Map[str, str], folder: Path) -> OpenApi:
        """See :meth:`adapters.kinds.Wrapping.open`."""
        return OpenApi(self.mapping, environ, folder)

    async def check(self, environ: Map[str, str], folder: Path, how: Checking) -> list[Finding]:
        """Compile the documents, compare the mapping with the API's own document where it names
        one, then ask each GET whose parameters have examples.

        The answer is judged by the contract that the mediator will use. Nothing but GET is asked.
        """
        findings, contracts = [], {}
        for code in self.services:
            try:
                document = self.document(code, how.shared)
                contracts[code] = Contract.compile(document, how.shared)
            except Problem as problem:
                findings.append(Finding(f"{code} {problem.where}", problem.detail))
        findings += [one for service in self.services.values() for one in unkept(service)]
        findings += await asyncio.to_thread(self._drift, environ, folder, how)
        opened = OpenApi(_unrestricted(self.mapping), environ, folder)
        try:
            await opened.health(_CHECK_S)
            for code, contract in contracts.items():
                for operation in self.services[code].operations:
                    if operation.method == "GET":
                        how.progress(1)
                        findings += [
                            Finding(f"{code} GET {operation.path}", words, warning=unwise)
                            async for words, unwise in _probe(
                                opened.backends[code], contract, operation, how.given
                            )
                        ]
        finally:
            await opened.close()
        return findings

    def _drift(self, environ: Map[str, str], folder: Path, how: Checking) -> list[Finding]:
        """What the API's own document says otherwise, where the mapping names it."""
        source = self.mapping.source
        if source.openapi is None:
            return []
        place = resolve(source.openapi, environ, source.where)
        try:
            document = read_document(place if "://" in place else str(folder / place))
        except Problem as problem:
            words = f"the API's document {problem.detail}"
            return [Finding(source.where, words, warning=True)]
        url = resolve(source.url, environ, source.where)
        return list(drift.compare(self.mapping, url, document, how.shared))


def _unrestricted(mapping: ApiMapping) -> ApiMapping:
    """The mapping as somebody sees it who may ask everything: who checks is no caller."""
    services = {
        code: replace(
            service,
            endpoints={
                path: {name: replace(one, visible=None) for name, one in methods.items()}
                for path, methods in service.endpoints.items()
            },
        )
        for code, service in mapping.services.items()
    }
    return replace(mapping, services=services)


async def _probe(
    backend: Backend, contract: Contract, operation: Operation, given: Map[str, str]
) -> AsyncIterator[tuple[str, bool]]:
    values = dict(_samples(operation, given))
    missing = [
        name for name, one in operation.parameters.items() if one.required and name not in values
    ]
    if missing:
        yield f"was not asked: give {', '.join(missing)} an example or --with", True
        return
    path = operation.path
    for name in operation.variables:
        path = path.replace(f"{{{name}}}", values.pop(name))
    request = BackendRequest("GET", path, urlencode(values), (), b"")
    try:
        answer = await backend.exchange(request, timeout_s=_CHECK_S)
        if answer.status != 200:
            yield f"the example is answered with {answer.status}", True
        elif isinstance(answer.body, bytes):
            match = contract.find("GET", path)
            match.operation.check_response(200, answer.headers, answer.body)
    except Problem as problem:
        yield f"{problem.where}: {problem.detail}", False


def _samples(operation: Operation, given: Map[str, str]) -> Iterator[tuple[str, str]]:
    for name, one in operation.parameters.items():
        value = given.get(name) or _sample(one)
        if value is not None:
            yield name, value


def _sample(parameter: Parameter) -> str | None:
    if parameter.example is not None or not parameter.required:
        return parameter.example
    words = [*(parameter.table or ()), *parameter.values]
    return words[0] if words else None


def read(root: Node) -> Api:
    """Read a mapping of the kind ``http``.

    Raises:
        Problem: ``InvalidMapping`` with the file, line and path of keys of the first fault.
    """
    return Api(read_mapping(root))
