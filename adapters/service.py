"""An adapter: one service of a mapping, as a backend.

``Adapter`` implements :class:`serving.backends.Backend`, so it can run inside the mediator's
process; :mod:`adapters.http` serves the same thing over HTTP. Faults of the caller are answered
(RFC 9457 problem details); failures of the source are raised as problems.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from collections.abc import Mapping as Map
from datetime import date, datetime
from pathlib import Path
from time import monotonic
from typing import TypeAlias

import structlog
from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from adapters.answers.cache import AnswerCache, key_of
from adapters.answers.callers import VARY, caller_of, check_subject
from adapters.answers.counts import TOTAL_HEADER, total
from adapters.answers.cursors import SECRET_OF_THIS_PROCESS, Cursors
from adapters.answers.faults import rows_of
from adapters.answers.masking import Profile
from adapters.answers.predicates import answer_predicate
from adapters.answers.replies import entity_tag, problem_response, unchanged
from adapters.answers.requests import Fault, Plan, bad, find, plan
from adapters.answers.routes import best
from adapters.answers.rows import NoRecord, RecordWriter, answer
from adapters.answers.searching import answer_search
from adapters.answers.unreadable import answer_unreadable, place_of
from adapters.mapping.callers import NOBODY
from adapters.mapping.file import load_mapping
from adapters.mapping.head import choose_service
from adapters.mapping.model import Mapping, Service
from adapters.sources.guard import Refused, check_reads_only
from adapters.sources.sessions import hold_still
from adapters.sources.source import Source
from adapters.writes.requests import Who
from adapters.writes.service import Writer
from exchange.identifiers import ServiceId
from exchange.problems import Code, Problem
from serving.backends import BackendRequest, BackendResponse, Headers

JSON_TYPE = "application/json"
SELECTION_TYPE = "application/vnd.saphan.selection+json"
METHODS = ("GET", "HEAD")
AGE_HEADER = "x-saphan-data-age-s"
_MOST_WRITERS = 512
_log = structlog.get_logger("saphan.adapters")
_Age: TypeAlias = tuple[float, str] | None


class Adapter:
    """The backend of one service of ``mapping``.

    Args:
        mapping: what the service shows.
        service: the service; it may be left out when the mapping has only one.
        source: where the records are, shared by the services of one mapping.
        secret: what cursors are sealed with, the same in all processes over the mapping.

    Raises:
        Problem: ``InvalidMapping`` when ``service`` is none of the mapping's.
    """

    def __init__(
        self,
        mapping: Mapping,
        source: Source,
        service: ServiceId | str | None = None,
        secret: bytes = SECRET_OF_THIS_PROCESS,
    ) -> None:
        self.mapping = mapping
        self.service: Service = choose(mapping, service)
        self._cursors = Cursors(secret, str(self.service.id))
        self._limits = mapping.source.limits
        check_queries(mapping, source.dialect)
        self._source = source.lease()
        self._cache = AnswerCache()
        self._writers: dict[tuple[str, Profile], RecordWriter] = {
            (endpoint.path, ()): RecordWriter(endpoint.record)
            for endpoint in self.service.endpoints
        }
        self._changes: Writer | None = None
        if self.service.writes and source.writing is not None:
            self._changes = Writer(
                mapping,
                self.service,
                source.writing,
                spend=source.spend,
                changed=source.note_change,
            )
        self._closed = False

    @property
    def remembers(self) -> bool:
        """Whether a message that changes something is carried out once, however often it comes."""
        return self._changes is not None

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
            if self._changes is not None:
                await self._changes.close()
            await self._source.close()

    async def _answer(self, request: BackendRequest, timeout_s: float) -> BackendResponse[bytes]:
        if request.method not in METHODS:
            return await self._change(request, timeout_s)
        endpoint, variables = find(self.service, request.path)
        if request.body:
            raise bad("body", "a request that reads carries no body")
        if endpoint.record.marks:
            check_subject(endpoint, variables, request.headers)
        caller = caller_of(request.headers) if endpoint.by_caller else NOBODY
        asked = plan(
            endpoint,
            variables,
            request.query,
            rows_of(request.headers),
            caller,
            self._today(),
            self._cursors,
        )
        body, freshness = await self._body(asked, timeout_s)
        tag = entity_tag(body)
        headers = (("etag", tag), *freshness)
        if endpoint.by_caller:
            headers = (*headers, ("vary", VARY))
        if unchanged(request.headers, tag):
            return BackendResponse(304, headers, b"")
        kind = JSON_TYPE if asked.members is None else SELECTION_TYPE
        return BackendResponse(200, (("content-type", kind), *headers), body)

    async def _change(self, request: BackendRequest, timeout_s: float) -> BackendResponse[bytes]:
        methods: tuple[str, ...] = ()
        if self._changes is not None:
            response = await self._changes.answer(request, self._who(request), timeout_s)
            if response is not None:
                return response
            methods = self._changes.methods(request.path)
        if not methods:
            find(self.service, request.path)
            methods = METHODS
        elif best(self.service.endpoints, request.path) is not None:
            methods = (*METHODS, *methods)
        refusal = bad("method", f"only {' and '.join(methods)} are answered", status=405)
        return problem_response(refusal, (("allow", ", ".join(methods)),))

    def _who(self, request: BackendRequest) -> Who:
        return Who(rows_of(request.headers), caller_of(request.headers), self._today())

    async def _body(self, asked: Plan, timeout_s: float) -> tuple[bytes, Headers]:
        """The body of the answer, and what is told of it: the number of all records if it was
        asked, the age of the files that it was read from and, where answers are kept, how old it
        is (RFC 9111, 5.1)."""
        valid_s = asked.endpoint.cache_s
        if not valid_s:
            body, number, written = await self._ask(asked, timeout_s)
            return body, (*_total(number), *_written(written))
        key = key_of(asked, self._source.reading())
        kept = self._cache.get(key, monotonic(), valid_s)
        if kept is None:
            (body, number, written), age_s = await self._ask(asked, timeout_s), 0
            self._cache.put(key, body, monotonic(), number)  # of the reading that was asked
        else:
            body, number, age_s = kept.body, kept.total, int(monotonic() - kept.made)
            written = self._source.data_age()  # of the present reading, which the key is of
        freshness = (("cache-control", f"private, max-age={int(valid_s)}"), ("age", str(age_s)))
        return body, (*freshness, *_total(number), *_written(written))

    async def _ask(self, asked: Plan, timeout_s: float) -> tuple[bytes, str | None, _Age]:
        look, read = self._source.check_width, self._reading(asked)

        def work(connection: Connection) -> tuple[bytes, str | None, _Age]:
            if asked.takes_several:
                hold_still(connection)
            try:
                body, number = read(connection), total(connection, asked, look)
            except DBAPIError as error:
                place = place_of(connection, asked, error)
                if place is None:
                    raise
                _log.info("unreadable_value", where=place, source=connection.dialect.name)
                body, number = answer_unreadable(asked, place, error), None
            return body, number, self._source.data_age(connection)

        self._source.spend()
        try:
            return await self._source.run(work, timeout_s=timeout_s, alone=not asked.takes_several)
        except NoRecord:
            detail = "there is no record of this key"
            raise bad("path", detail, Code.NOT_FOUND, 404) from None
        except Problem as problem:
            if problem.code is Code.QUERY_TOO_WIDE:
                raise bad("query", problem.detail, problem.code, problem.status) from problem
            raise

    def _reading(self, asked: Plan) -> Callable[[Connection], bytes]:
        look, predicate = self._source.check_width, asked.endpoint.predicate
        if predicate is not None:
            return answer_predicate(asked, predicate, look)
        writer, search = self._writer(asked), asked.endpoint.search
        if search is not None:
            return answer_search(asked, search, writer, self._limits, look)
        return answer(asked, writer, self._limits, look)

    def _writer(self, asked: Plan) -> RecordWriter:
        """The writer for what the caller sees; the rules of a mapping make few of them."""
        key = (asked.endpoint.path, asked.masked)
        writer = self._writers.get(key)
        if writer is None:
            if len(self._writers) >= _MOST_WRITERS:
                self._writers = {one: made for one, made in self._writers.items() if not one[1]}
            writer = RecordWriter(asked.endpoint.record, asked.masked, self._source.mask_key)
            self._writers[key] = writer
        return writer

    def _today(self) -> date | None:
        zone = self.mapping.source.zone
        return None if zone is None else datetime.now(zone).date()


def _total(number: str | None) -> Headers:
    return () if number is None else ((TOTAL_HEADER, number),)


def _written(age: _Age) -> Headers:
    if age is None:
        return ()
    return (("last-modified", age[1]), (AGE_HEADER, str(int(age[0]))))


def check_queries(mapping: Mapping, dialect: str) -> None:
    """Judge every query of ``mapping`` by the grammar of the source's dialect.

    Raises:
        Problem: ``InvalidMapping`` with the place of a query that does more than read.
    """
    for query in mapping.queries.values():
        try:
            check_reads_only(query.select.sql, dialect)
        except Refused as error:
            raise Problem(Code.INVALID_MAPPING, where=query.where, detail=str(error)) from error


def choose(mapping: Mapping, service: ServiceId | str | None) -> Service:
    """The service of this code or identifier, or the only one.

    Raises:
        Problem: ``InvalidMapping`` when there is no such service, or none was named among several.
    """
    return choose_service(mapping.services, service, mapping.file)


def load(
    path: Path,
    environ: Map[str, str] | None = None,
    service: ServiceId | str | None = None,
) -> Adapter:
    """The adapter of one service of the mapping file at ``path``, with a source of its own.

    Its cursors end with the process.

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


def open_source(mapping: Mapping, path: Path, environ: Map[str, str] | None = None) -> Source:
    """The source of a mapping read from ``path``; nothing is connected yet."""
    return Source(mapping.source, os.environ if environ is None else environ, path.parent)
