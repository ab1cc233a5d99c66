"""The services of a mapping of the kind ``http``, over one backend that they share.

Invariants: the origin is that of the mapping, for every request; a backend that cannot be reached
several times in a row is left alone for a while; connections, waiting requests, bytes and times
are bounded by the mapping; an answer that is kept is given only to a request that would have asked
the same in the same words.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping as Map
from hashlib import sha256
from pathlib import Path
from time import monotonic
from typing import Final
from urllib.parse import urlsplit

import orjson

from adapters.answers.cache import AnswerCache
from adapters.answers.callers import VARY
from adapters.answers.faults import Fault, nameless
from adapters.answers.replies import entity_tag, problem_response, unchanged
from adapters.passing.answers import failed, passed
from adapters.passing.codings import decoded
from adapters.passing.model import ApiMapping, ApiService, ApiSource
from adapters.passing.requests import Asked, NotAllowed, Router
from adapters.sources.breaker import Breaker, Budget
from adapters.sources.variables import resolve
from exchange.problems import Code, Problem
from serving.backends import BackendRequest, BackendResponse, Headers, NotDelivered
from serving.bodies import Body
from serving.http_backends import HttpBackend

_HEAD_BYTES: Final = 64 << 10
_STALL_S: Final = 30.0
_FLOOR_BYTES_PER_S: Final = 1_024
_UNREACHED: Final = frozenset({Code.BACKEND_UNREACHABLE, Code.BACKEND_TIMEOUT})
_DOWN: Final = frozenset({502, 503, 504})
_SAFE: Final = frozenset({"GET", "HEAD"})


class ApiBackend:
    """The one backend of a mapping.

    Raises:
        Problem: ``InvalidMapping`` for an address that cannot be one, a certificate file that
            cannot be read, or a missing ``${NAME}``.
    """

    def __init__(self, source: ApiSource, environ: Map[str, str], folder: Path) -> None:
        limits = source.limits
        ca = None if source.ca is None else folder / resolve(source.ca, environ, source.where)
        self._environ, self._where = environ, source.where
        self._most_s, self.max_bytes = limits.answer_timeout_s, limits.max_bytes
        self._given = {name: self.field_value(text) for name, text in source.headers.items()}
        if source.basic is not None:
            pair = ":".join(map(self.value, source.basic))
            self._given["authorization"] = f"Basic {base64.b64encode(pair.encode()).decode()}"
        try:
            self._http = HttpBackend(
                _address(self.value(source.url), source.where),
                connections=limits.max_connections,
                head_max_bytes=_HEAD_BYTES,
                response_max_bytes=limits.max_bytes,
                wait_s=limits.answer_timeout_s,
                connect_s=limits.connect_timeout_s,
                stall_s=_STALL_S,
                floor_bytes_per_s=_FLOOR_BYTES_PER_S,
                ca=ca,
                max_waiting=limits.max_waiting,
            )
        except Problem as problem:
            # Whatever is wrong with the address, it may hold what the environment gave.
            detail = "the url is not an http or https address, or the file of 'ca' cannot be read"
            raise Problem(Code.INVALID_MAPPING, where=source.where, detail=detail) from problem
        self._health = source.health
        self._breaker = Breaker(limits.failures_before_pause, limits.longest_pause_s)
        self._budget = Budget(limits.max_requests_per_hour)

    def value(self, text: str) -> str:
        """A value of the mapping with what the environment has for its ``${NAME}``."""
        found = resolve(text, self._environ, self._where)
        if not found.isprintable():
            detail = "a value from the environment holds a control character"
            raise Problem(Code.INVALID_MAPPING, where=self._where, detail=detail)
        return found

    def field_value(self, text: str) -> str:
        """As :meth:`value`, for a header field."""
        found = self.value(text)
        if not found.isascii():
            detail = "a header field from the environment holds more than ASCII"
            raise Problem(Code.INVALID_MAPPING, where=self._where, detail=detail)
        return found

    async def ask(
        self, request: BackendRequest, *, timeout_s: float, first_byte_s: float, connect_s: float
    ) -> BackendResponse[Body]:
        """Send a request that the rules have made, with what the source gives each.

        Raises:
            Problem: see :class:`serving.backends.Backend`.
        """
        self._spare()
        own = tuple(item for item in request.headers if item[0] not in self._given)
        asked = BackendRequest(
            request.method,
            request.path,
            request.query,
            (*own, *self._given.items()),
            request.body,
            request.room,
            request.once,
            request.answer_max_bytes,
        )
        try:
            answer = await self._http.exchange(
                asked,
                timeout_s=min(timeout_s, self._most_s),
                first_byte_s=first_byte_s,
                connect_s=connect_s,
            )
        except Problem as problem:
            if problem.code in _UNREACHED:
                self._breaker.failed(monotonic())
            raise nameless(problem) from problem
        if answer.status in _DOWN:
            self._breaker.failed(monotonic())
        else:
            self._breaker.succeeded()
        return answer

    async def health(self, timeout_s: float) -> None:
        """See :meth:`adapters.kinds.Opened.health`: any answer but a failure will do."""
        path, _, query = self._health.partition("?")
        asked = BackendRequest("GET", path, query, (("accept", "*/*"),), b"")
        answer = await self.ask(
            asked, timeout_s=timeout_s, first_byte_s=math.inf, connect_s=math.inf
        )
        if answer.status >= 500:
            raise failed(f"the backend answered {answer.status}", answer.status)

    async def close(self) -> None:
        """Close the connections; idempotent."""
        await self._http.close()

    def _spare(self) -> None:
        now = monotonic()
        pause_s = self._breaker.wait_s(now)
        if pause_s:
            detail = "the source failed several times in a row and is left alone for a while"
            facts = {"retry_after_s": math.ceil(pause_s)}
            raise NotDelivered(Code.SOURCE_FAILED, where="source", detail=detail, facts=facts)
        left = self._budget.wait_s(now)
        if left:
            detail = "this source was asked as often as an hour allows"
            facts = {"retry_after_s": math.ceil(left)}
            raise NotDelivered(Code.OVERLOADED, where="source", detail=detail, facts=facts)


def _address(url: str, where: str) -> str:
    """The address, when it is one of http or https with nothing but an origin and a path.

    Raises:
        Problem: ``InvalidMapping``.
    """
    try:
        parts = urlsplit(url)
        sound = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        sound = False
    if not sound or parts.username is not None or "?" in url or "#" in url or not url.isascii():
        detail = "is not an http or https address without a user, a query and a fragment"
        raise Problem(Code.INVALID_MAPPING, where=where, detail=f"url {detail}")
    return url


class Passing:
    """One service; implements :class:`serving.backends.Backend`."""

    def __init__(self, service: ApiService, backend: ApiBackend) -> None:
        self._router = Router(service)
        self._backend = backend
        self._most_bytes = backend.max_bytes
        self._cache = AnswerCache()
        self._sets = {
            (one.method, one.path): tuple(
                (name, backend.field_value(text)) for name, text in one.sets.items()
            )
            for one in service.operations
        }

    async def exchange(
        self,
        request: BackendRequest,
        *,
        timeout_s: float,
        first_byte_s: float = math.inf,
        connect_s: float = math.inf,
    ) -> BackendResponse[Body]:
        """Pass a request on, and its answer back, by the rules of the mapping.

        Raises:
            Problem: see :class:`serving.backends.Backend`; ``SourceFailed`` for an answer that
                the mapping does not let through.
        """
        try:
            asked = self._router.ask(request)
            kept = self._kept(asked)
            if kept is None:
                sent = _sent(
                    asked, request, self._sets[asked.operation.method, asked.operation.path]
                )
                answer = await self._backend.ask(
                    sent, timeout_s=timeout_s, first_byte_s=first_byte_s, connect_s=connect_s
                )
                if answer.status in asked.operation.answers or answer.status == 206:
                    most = min(self._most_bytes, request.answer_max_bytes or self._most_bytes)
                    answer = await decoded(answer, request.room, most, timeout_s)
                kept = self._keep(asked, passed(asked, answer))
            if asked.operation.visible is not None:
                kept = BackendResponse(kept.status, (*kept.headers, ("vary", VARY)), kept.body)
        except NotAllowed as fault:
            kept = problem_response(fault, (("allow", fault.allow),))
        except Fault as fault:
            kept = problem_response(fault)
        return _for(request, kept)

    async def close(self) -> None:
        """Close the connections, which the services of a mapping share; idempotent."""
        await self._backend.close()

    def _kept(self, asked: Asked) -> BackendResponse[Body] | None:
        if not asked.operation.cache_s:
            return None
        kept = self._cache.get(_key(asked), monotonic(), asked.operation.cache_s)
        if kept is None:
            return None
        head, _, body = kept.body.partition(b"\n")
        headers = tuple((name, value) for name, value in orjson.loads(head))
        age = (("age", str(int(monotonic() - kept.made))),)
        return BackendResponse(200, (*headers, *age), body)

    def _keep(self, asked: Asked, answer: BackendResponse[Body]) -> BackendResponse[Body]:
        """Give the answer of a cached operation its validity, and keep it when it is short."""
        valid_s = asked.operation.cache_s
        if not valid_s or answer.status != 200 or not isinstance(answer.body, bytes):
            return answer
        told = [("cache-control", f"private, max-age={int(valid_s)}")]
        if not any(name == "etag" for name, _ in answer.headers):
            told.append(("etag", entity_tag(answer.body)))
        headers: Headers = (*answer.headers, *told)
        # JSON has no line feed in it: the first one ends the head.
        self._cache.put(_key(asked), orjson.dumps(headers) + b"\n" + answer.body, monotonic())
        return BackendResponse(200, headers, answer.body)


def _sent(asked: Asked, request: BackendRequest, sets: Headers) -> BackendRequest:
    """The request for the backend; what is kept is asked for whole."""
    head_only = request.method == "HEAD" and not asked.operation.cache_s
    return BackendRequest(
        "HEAD" if head_only else asked.operation.method,
        asked.path,
        asked.query,
        (*asked.headers, *sets),
        asked.body,
        request.room,
        request.once or asked.operation.method not in _SAFE,
        request.answer_max_bytes,
    )


def _for(request: BackendRequest, answer: BackendResponse[Body]) -> BackendResponse[Body]:
    tags = [value for name, value in answer.headers if name == "etag"]
    reads = request.method in _SAFE and answer.status == 200
    if reads and tags and unchanged(request.headers, tags[0].removeprefix("W/")):
        kept = tuple(item for item in answer.headers if item[0] != "content-type")
        return BackendResponse(304, kept, b"")
    if request.method == "HEAD":
        return BackendResponse(answer.status, answer.headers, b"")
    return answer


def _key(asked: Asked) -> bytes:
    """What tells this request from every other: its target and each field that is passed."""
    return sha256(
        repr((asked.operation.path, asked.path, asked.query, sorted(asked.headers))).encode()
    ).digest()


class OpenApi:
    """The services of a mapping in use; implements :class:`adapters.kinds.Opened`."""

    def __init__(self, mapping: ApiMapping, environ: Map[str, str], folder: Path) -> None:
        self._backend = ApiBackend(mapping.source, environ, folder)
        self.backends = {
            code: Passing(service, self._backend) for code, service in mapping.services.items()
        }

    async def health(self, timeout_s: float) -> None:
        """See :meth:`adapters.kinds.Opened.health`."""
        await self._backend.health(timeout_s)

    async def close(self) -> None:
        """Close the connections; idempotent."""
        await self._backend.close()
