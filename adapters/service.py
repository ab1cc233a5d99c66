"""An adapter: one service of a mapping, as a backend.

``Adapter`` implements :class:`serving.backends.Backend`, so it can run inside the mediator's
process; :mod:`adapters.http` serves the same thing over HTTP. Faults of the caller are answered
(RFC 9457 problem details); failures of the source are raised as problems.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping as Map
from pathlib import Path
from typing import Any

import orjson

import schemas
from adapters.mapping import Mapping, Service
from adapters.mapping_file import load_mapping
from adapters.requests import Fault, bad, find, plan
from adapters.rows import NoRecord, RecordWriter, answer
from adapters.source import Source
from exchange.agreements import RowCondition, read_rows
from exchange.identifiers import ServiceId
from exchange.problems import Code, Problem
from serving.backends import BackendRequest, BackendResponse, Headers

JSON_TYPE = "application/json"
SELECTION_TYPE = "application/vnd.saphan.selection+json"
PROBLEM_TYPE = "application/problem+json"
METHODS = ("GET", "HEAD")
AGE_HEADER = "x-saphan-data-age-s"


class Adapter:
    """The backend of one service of ``mapping``.

    Args:
        mapping: what the service shows.
        service: the service; it may be left out when the mapping has only one.
        source: where the records are, shared by the services of one mapping.

    Raises:
        Problem: ``InvalidMapping`` when ``service`` is none of the mapping's.
    """

    def __init__(
        self, mapping: Mapping, source: Source, service: ServiceId | str | None = None
    ) -> None:
        self.mapping = mapping
        self.service: Service = choose(mapping, service)
        self._limits = mapping.source.limits
        self._source = source.lease()
        self._writers = {
            endpoint.path: RecordWriter(endpoint.record) for endpoint in self.service.endpoints
        }
        self._closed = False

    async def exchange(
        self,
        request: BackendRequest,
        *,
        timeout_s: float,
        first_byte_s: float = math.inf,
        connect_s: float = math.inf,
    ) -> BackendResponse[bytes]:
        """Answer one request; connecting to the source has a bound of its own (the mapping's).

        Raises:
            Problem: ``SourceFailed``, ``BackendTimeout``, ``ServerOverloaded``,
                ``ResponseTooLarge``, or ``ResponseSchemaViolation`` for a value in the source that
                does not fit the mapping.
        """
        try:
            # The answer comes whole: where it begins, it ends.
            response = await self._answer(request, min(timeout_s, first_byte_s))
        except Fault as fault:
            response = problem_response(fault)
        if request.method == "HEAD":
            return BackendResponse(response.status, response.headers, b"")
        return response

    async def close(self) -> None:
        """Give back the source; idempotent."""
        if not self._closed:
            self._closed = True
            await self._source.close()

    async def _answer(self, request: BackendRequest, timeout_s: float) -> BackendResponse[bytes]:
        endpoint, variables = find(self.service, request.path)
        if request.method not in METHODS:
            refusal = bad("method", f"only {' and '.join(METHODS)} are answered", status=405)
            return problem_response(refusal, (("allow", ", ".join(METHODS)),))
        if request.body:
            raise bad("body", "a request that reads carries no body")
        asked = plan(endpoint, variables, request.query, _rows(request))
        work = answer(asked, self._writers[endpoint.path], self._limits)
        try:
            body = await self._source.run(work, timeout_s=timeout_s)
        except NoRecord:
            detail = "there is no record of this key"
            raise bad("path", detail, Code.NOT_FOUND, 404) from None
        except Problem as problem:
            if asked.continues and _cannot_compare(problem):
                detail = "the cursor is not of this list; begin again without it"
                raise bad("query.cursor", detail) from problem
            raise
        kind = JSON_TYPE if asked.members is None else SELECTION_TYPE
        return BackendResponse(200, (("content-type", kind), *self._age()), body)

    def _age(self) -> Headers:
        age = self._source.data_age()
        if age is None:
            return ()
        return (("last-modified", age[1]), (AGE_HEADER, str(int(age[0]))))


def _rows(request: BackendRequest) -> tuple[RowCondition, ...]:
    try:
        return read_rows(request.headers)
    except Problem as problem:
        raise bad(problem.where, problem.detail) from problem


def _cannot_compare(problem: Problem) -> bool:
    """Whether PostgreSQL refused a value for its type: a forged cursor (SQLSTATE 22…, 42…)."""
    return problem.facts.get("source") == "postgresql" and str(problem.facts.get("state"))[:2] in (
        "22",
        "42",
    )


def choose(mapping: Mapping, service: ServiceId | str | None) -> Service:
    """The service of this code or identifier, or the only one.

    Raises:
        Problem: ``InvalidMapping`` when there is no such service, or none was named among several.
    """
    codes = ", ".join(mapping.services)
    if service is None:
        if len(mapping.services) > 1:
            detail = f"the mapping has several services; name one of: {codes}"
            raise Problem(Code.INVALID_MAPPING, where=mapping.file, detail=detail)
        return next(iter(mapping.services.values()))
    for known in mapping.services.values():
        if service in (known.code, known.id):
            return known
    detail = f"there is no service {str(service)!r} of {mapping.application}; there are: {codes}"
    raise Problem(Code.INVALID_MAPPING, where=mapping.file, detail=detail)


def load(
    path: Path,
    environ: Map[str, str] | None = None,
    service: ServiceId | str | None = None,
) -> Adapter:
    """The adapter of one service of the mapping file at ``path``, with a source of its own.

    ``environ`` is what ``${NAME}`` in the source's address is taken from: the process's
    environment unless given.

    Raises:
        Problem: ``InvalidMapping`` for a fault in the file or a missing ``${NAME}``; never
            because the source is down.
    """
    mapping = load_mapping(path)
    choose(mapping, service)
    return Adapter(mapping, open_source(mapping, path, environ), service)


def load_all(path: Path, environ: Map[str, str] | None = None) -> dict[str, Adapter]:
    """The adapters of all services of the mapping file, over one shared source.

    Raises:
        Problem: as :func:`load`.
    """
    mapping = load_mapping(path)
    source = open_source(mapping, path, environ)
    return {code: Adapter(mapping, source, code) for code in mapping.services}


def embed(
    path: Path, service: ServiceId | str | None = None, environ: Map[str, str] | None = None
) -> tuple[Adapter, bytes]:
    """An adapter for the mediator's process, and the OpenAPI document of its service.

    ``service`` may be a whole identifier, which must then be that of the mapping.

    Raises:
        Problem: as :func:`load`.
    """
    from adapters import openapi

    adapter = load(path, environ, service)
    return adapter, openapi.document(adapter.mapping, adapter.service.code, schemas.load_all())


def open_source(mapping: Mapping, path: Path, environ: Map[str, str] | None = None) -> Source:
    """The source of a mapping read from ``path``; nothing is connected yet."""
    return Source(mapping.source, os.environ if environ is None else environ, path.parent)


def problem_response(problem: Problem, headers: Headers = ()) -> BackendResponse[bytes]:
    """A problem as RFC 9457 problem details."""
    body: dict[str, Any] = {
        "type": f"urn:saphan:problem:{problem.code}",
        "title": problem.entry.cause.en,
        "status": problem.status,
        "detail": problem.detail,
        "where": problem.where,
    }
    return BackendResponse(
        problem.status, (("content-type", PROBLEM_TYPE), *headers), orjson.dumps(body)
    )
