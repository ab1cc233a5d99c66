"""The writing half of an adapter: requests of the methods that change something.

Nothing is repeated into the source by a caller who repeats a message: see
:mod:`adapters.writes.transaction`. A request whose time is over while the source is still at it is
answered with ``WriteUnconfirmed``; its transaction ends by itself, one way or the other.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from urllib.parse import quote

from sqlalchemy import Connection

import schemas
from adapters.answers.layout import profile
from adapters.answers.requests import bad
from adapters.answers.routes import best
from adapters.answers.rows import RecordWriter
from adapters.mapping.model import Endpoint, Operation, Service, SourceSettings, Write, Writing
from adapters.mapping.model import Mapping as Map
from adapters.sources.guard import Refused
from adapters.sources.source import Source
from adapters.writes.guard import Judged, judge
from adapters.writes.ledger import Kept, Ledger
from adapters.writes.requests import Who, ask
from adapters.writes.transaction import Prepared, Transaction, unconfirmed
from exchange.contracts.contract import Contract
from exchange.problems import Code, Problem
from serving.backends import BackendRequest, BackendResponse, Headers


class Writer:
    """What the writing endpoints of one service answer.

    Args:
        mapping: whose statements are judged by the grammar of ``source``.
        source: made for writing; shared by the services of one mapping.
        spend: counts one question against the hour's budget of the source.
        changed: told in the event loop when a transaction that may have changed something has
            ended, before its caller is answered.

    Raises:
        Problem: ``InvalidMapping`` with the place of a statement that does more than is allowed,
            or of a schema that is not there.
    """

    def __init__(
        self,
        mapping: Map,
        service: Service,
        source: Source,
        *,
        spend: Callable[[], None],
        changed: Callable[[], None],
    ) -> None:
        writing = _writing(mapping.source)
        self._service = service
        self._source = source.lease()
        self._spend = spend
        self._changed = changed
        self._most = mapping.source.limits.max_request_bytes
        self._contract = _contract(mapping, service)
        ledger = Ledger(writing.ledger)
        self._prepared = {
            (write.method, write.path): Prepared(
                write,
                judge_all(write, writing, source.dialect),
                RecordWriter(write.read.record),
                ledger,
                mapping.source.limits,
                _locator(service, write),
            )
            for write in service.writes
        }

    def methods(self, path: str) -> tuple[str, ...]:
        """The methods that write at ``path``."""
        return tuple(
            method
            for method in dict.fromkeys(write.method for write in self._service.writes)
            if best(self._of(method), path) is not None
        )

    async def answer(
        self, request: BackendRequest, who: Who, timeout_s: float
    ) -> BackendResponse[bytes] | None:
        """Answer a request; None when nothing is written by its method at its path.

        Raises:
            Fault: what the caller has to know.
            Problem: as :class:`adapters.writes.transaction.Transaction` and
                :meth:`adapters.sources.source.Source.run`.
        """
        found = best(self._of(request.method), request.path)
        if found is None:
            return None
        write, variables = found
        body = self._body(request)
        self._check(request, body)
        asked = ask(write, variables, request, body, who)
        prepared = self._prepared[write.method, write.path]
        record = write.read.record
        masked = profile(record, who.caller)
        if masked:
            seen = RecordWriter(record, masked, self._source.mask_key)
            prepared = replace(prepared, writer=seen)
        self._spend()
        work = Transaction(prepared, asked, int(time.time()), time.monotonic() + timeout_s)
        try:
            kept = await self._source.run(self._told(work), timeout_s=timeout_s)
        except Problem as problem:
            if problem.code is Code.BACKEND_TIMEOUT and "source" not in problem.facts:
                # Its own time is over, not the statement's: the transaction may go on.
                raise unconfirmed() from problem
            raise
        return _response(kept)

    def _told(self, work: Transaction) -> Callable[[Connection], Kept]:
        """``work``, whose end is told when it has ended, whether or not anybody waits for it."""
        loop = asyncio.get_running_loop()

        def run(connection: Connection) -> Kept:
            try:
                return work(connection)
            finally:
                with suppress(RuntimeError):  # the loop has ended: nothing is kept any more
                    loop.call_soon_threadsafe(self._changed)

        return run

    async def close(self) -> None:
        """Give back the source."""
        await self._source.close()

    def _of(self, method: str) -> list[Write]:
        return [write for write in self._service.writes if write.method == method]

    def _body(self, request: BackendRequest) -> bytes:
        if len(request.body) > self._most or not isinstance(request.body, bytes):
            detail = f"is longer than {self._most} bytes"
            raise bad("body", detail, Code.PAYLOAD_TOO_LARGE, 413)
        return request.body

    def _check(self, request: BackendRequest, body: bytes) -> None:
        """Judge the request by the published contract; the mediator may have done so before."""
        try:
            match = self._contract.find(request.method, request.path)
            match.operation.check_request(match, request.query, request.headers, body)
        except Problem as problem:
            status = 422 if problem.code is Code.SCHEMA_VIOLATION else problem.status
            if problem.status == 415:
                status = 415
            raise bad(problem.where, problem.detail, problem.code, status) from problem


def judge_all(write: Write, writing: Writing, dialect: str) -> tuple[Judged, ...]:
    """Judge the statements of an endpoint.

    Raises:
        Problem: ``InvalidMapping`` with the place of one that does more than is allowed.
    """
    found = []
    for statement in write.statements:
        try:
            judged = judge(statement, writing.tables, dialect)
        except Refused as error:
            detail = str(error)
            raise Problem(Code.INVALID_MAPPING, where=statement.where, detail=detail) from error
        found.append(judged)
    return tuple(found)


def _writing(settings: SourceSettings) -> Writing:
    if settings.writing is None:
        detail = "nothing may be written: 'source' does not say 'writes: allowed'"
        raise Problem(Code.INVALID_MAPPING, where=settings.where, detail=detail)
    return settings.writing


def _contract(mapping: Map, service: Service) -> Contract:
    from adapters import openapi

    shared = schemas.load_all()
    return Contract.compile(openapi.document(mapping, service.code, shared), shared)


def _locator(service: Service, write: Write) -> Callable[[Mapping[str, str]], str]:
    """From the key's values to the path at which the record is read; empty without one."""
    found = next((one for one in service.endpoints if _reads(one, write)), None)
    if found is None:
        return lambda texts: ""
    template = found.path

    def locate(texts: Mapping[str, str]) -> str:
        return re.sub(r"\{([a-z0-9_]+)\}", lambda match: quote(texts[match[1]], safe=""), template)

    return locate


def _reads(endpoint: Endpoint, write: Write) -> bool:
    return (
        endpoint.operation is Operation.ONE
        and endpoint.query is write.read.query
        and bool(endpoint.variables)
        and set(endpoint.variables) <= set(write.key)
    )


def _response(kept: Kept) -> BackendResponse[bytes]:
    headers: Headers = ()
    if kept.body:
        headers = (("content-type", "application/json"), ("etag", kept.etag))
    if kept.location:
        headers = (*headers, ("location", kept.location))
    return BackendResponse(kept.status, headers, kept.body)
