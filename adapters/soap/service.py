"""One service of a SOAP mapping, as a backend."""

from __future__ import annotations

import hashlib
import math
from functools import partial
from time import monotonic

from adapters.answers.cache import AnswerCache
from adapters.answers.callers import VARY, caller_of
from adapters.answers.faults import Fault, bad, rows_of
from adapters.answers.masking import Profile
from adapters.answers.replies import entity_tag, problem_response, unchanged
from adapters.answers.routes import find
from adapters.mapping.callers import NOBODY
from adapters.mapping.model import Operation
from adapters.service import JSON_TYPE, SELECTION_TYPE
from adapters.soap.answers import NO_RECORDS, NoRecord, answer
from adapters.soap.mapping import Mapping, Method, Service
from adapters.soap.requests import Asked, plan
from adapters.soap.rules import Hidings, hidings
from adapters.soap.source import Source
from exchange.problems import Code
from serving.backends import BackendRequest, BackendResponse, Headers

_MOST_PROFILES = 512


class SoapService:
    """Implements :class:`serving.backends.Backend`; the source is closed by who opened it."""

    def __init__(self, mapping: Mapping, service: Service, source: Source) -> None:
        self._types = mapping.types
        self._masks = mapping.masks
        self._by_caller = mapping.by_caller
        self._hidings: dict[Profile, Hidings] = {}
        self._habits = mapping.source.habits
        self._service = service
        self._source = source
        self._cache = AnswerCache()

    async def exchange(
        self,
        request: BackendRequest,
        *,
        timeout_s: float,
        first_byte_s: float = math.inf,
        connect_s: float = math.inf,
    ) -> BackendResponse[bytes]:
        """Answer one request; connecting has a bound of its own (the mapping's).

        Raises:
            Problem: as :meth:`adapters.soap.source.Source.ask`; ``ResponseSchemaViolation`` for an
                answer that is not what the WSDL says.
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
        """Nothing of its own is open."""

    async def _answer(self, request: BackendRequest, timeout_s: float) -> BackendResponse[bytes]:
        endpoint, variables = find(self._service, request.path)
        methods = ("POST",) if endpoint.method is Method.POST else ("GET", "HEAD")
        if request.method not in methods:
            refusal = bad("method", f"only {' and '.join(methods)} are answered", status=405)
            return problem_response(refusal, (("allow", ", ".join(methods)),))
        heading = self._source.headings[endpoint.call.name]
        rows = rows_of(request.headers)
        asked = plan(
            endpoint,
            self._types,
            variables,
            request.query,
            request.body,
            rows,
            heading,
            caller_of(request.headers) if self._by_caller else NOBODY,
            self._masks,
        )
        once = request.once or endpoint.method is Method.POST
        body, freshness = await self._body(asked, timeout_s, once)
        if endpoint.method is Method.POST:
            return BackendResponse(200, (("content-type", JSON_TYPE),), body)
        tag = entity_tag(body)
        headers = (("etag", tag), *freshness, *((("vary", VARY),) if self._by_caller else ()))
        if unchanged(request.headers, tag):
            return BackendResponse(304, headers, b"")
        kind = JSON_TYPE if asked.members is None else SELECTION_TYPE
        return BackendResponse(200, (("content-type", kind), *headers), body)

    async def _body(self, asked: Asked, timeout_s: float, once: bool) -> tuple[bytes, Headers]:
        """The body of the answer and, where answers are kept, how old it is (RFC 9111, 5.1)."""
        valid_s = asked.endpoint.cache_s
        if not valid_s:
            return await self._ask(asked, timeout_s, once), ()
        key = _key(asked)
        kept = self._cache.get(key, monotonic(), valid_s)
        if kept is None:
            body, age_s = await self._ask(asked, timeout_s, once), 0
            self._cache.put(key, body, monotonic())
        else:
            body, age_s = kept.body, int(monotonic() - kept.made)
        return body, (("cache-control", f"private, max-age={int(valid_s)}"), ("age", str(age_s)))

    async def _ask(self, asked: Asked, timeout_s: float, once: bool) -> bytes:
        source = self._source
        read = partial(
            answer,
            asked=asked,
            types=self._types,
            habits=self._habits,
            limits=source.limits,
            hidden=self._hidden(asked.profile),
        )
        call = asked.endpoint.call
        try:
            if asked.rows is None:  # the service need not be asked
                if asked.endpoint.operation is Operation.LIST:
                    return NO_RECORDS
                raise NoRecord
            return await source.ask(call, asked.envelope, read, timeout_s=timeout_s, once=once)
        except NoRecord:
            detail = "there is no record of this key"
            raise bad("path", detail, Code.NOT_FOUND, 404) from None

    def _hidden(self, profile: Profile) -> Hidings:
        """What a caller does not see whole; the rules of a mapping make few such profiles."""
        found = self._hidings.get(profile)
        if found is None:
            if len(self._hidings) >= _MOST_PROFILES:
                self._hidings.clear()
            found = self._hidings[profile] = hidings(self._masks, profile, self._source.mask_key)
        return found


def _key(asked: Asked) -> bytes:
    """What tells this answer from every other of the service."""
    members = None if asked.members is None else sorted(asked.members)
    # To see no record is another thing than to see all, which has no conditions.
    rows = None if asked.rows is None else [(path, sorted(words)) for path, words in asked.rows]
    told = repr((asked.endpoint.path, members, rows, asked.profile)).encode(
        errors="backslashreplace"
    )
    return hashlib.sha256(told + b"\0" + asked.envelope).digest()
