"""An HTTP API that is its OpenAPI document: what the document does not declare is not answered.

A request is found and judged by the document itself, with the engine that judges the payloads of
services (:mod:`exchange.contracts.contract`), before its handler sees it. The document is served
beside the API, so that what people read is what is enforced.

Invariants:
- every operation of the document has a handler and every handler an operation, or the API is not
  built;
- a request to a local API names this machine by its address or as localhost: a page in a browser
  that was led here by a name of its own (DNS rebinding) gets nothing;
- query parameters that are not declared are refused (``x-saphan-strict-query``), so that a
  misspelt condition does not widen an answer;
- an answer is JSON unless its handler says otherwise; every refusal is a problem.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import orjson
import structlog

from exchange.contracts.contract import Contract
from exchange.problems import Code, Problem, Side
from serving import replies
from serving.backends import Headers
from serving.bodies import Room
from serving.requests import Reply, Request
from serving.yaml_files import read_own

MAX_BODY_BYTES = 64 * 1024
READ_S = 10.0
log = structlog.get_logger("serving.api")


@dataclass(frozen=True, slots=True)
class ApiRequest:
    """A request that keeps the document: decoded variables of its path, decoded query, body."""

    method: str
    path: Mapping[str, str]
    query: Mapping[str, str]
    headers: Headers
    body: bytes
    room: Room

    @property
    def json(self) -> Any:
        """The body as JSON; its schema was judged before."""
        return orjson.loads(self.body)


Operation = Callable[[ApiRequest], Awaitable[Reply]]


class Api:
    """One API below one base path; a handler for :func:`serving.listener.listen`."""

    def __init__(
        self,
        document: bytes,
        operations: Mapping[str, Operation],
        *,
        base: str = "",
        local: bool = True,
    ) -> None:
        """Compile the document.

        Args:
            document: OpenAPI 3.x in YAML; its paths begin below ``base``.
            operations: a handler for each ``operationId``.
            base: such as ``/audit``; without a slash at its end.
            local: whether it is for this machine alone; one for others has a name in the network.

        Raises:
            Problem: ``InvalidDocument`` when the document cannot be compiled.
            ValueError: when operations and handlers are not the same.
        """
        described = read_own(document)
        self.base = base
        self._local = local
        self._document = orjson.dumps(described)
        self._contract = Contract.compile(self._document, {})
        declared = {operation.operation_id for operation in self._contract.operations}
        if declared != operations.keys():
            raise ValueError(f"not in document and handlers: {declared ^ operations.keys()}")
        self._operations = operations

    async def handle(self, request: Request) -> Reply:
        """Answer one request."""
        try:
            return await self.answer(request)
        except Problem as problem:
            return problem_reply(problem)
        except Exception:
            log.exception("api_failed", target=request.target[:200])
            return problem_reply(replies.internal())

    async def answer(self, request: Request) -> Reply:
        """Answer one request.

        Raises:
            Problem: what is wrong with it, or what its handler says.
        """
        if self._local:
            _check_host(request.headers)
        path, _, query = request.target.partition("?")
        path = path.removeprefix(self.base)
        if path == "/openapi.json" and request.method in ("GET", "HEAD"):
            return json_reply(200, self._document)
        match = self._find(request.method, path)
        body = await request.read(MAX_BODY_BYTES, READ_S)
        match.operation.check_request(match, query, request.headers, body)
        return await self._operations[match.operation.operation_id](
            ApiRequest(
                request.method,
                match.path_parameters,
                dict(parse_qsl(query, keep_blank_values=True)),
                request.headers,
                body,
                request.room,
            )
        )

    def _find(self, method: str, path: str) -> Any:
        try:
            return self._contract.find(method, path)
        except Problem as problem:
            methods = allowed(problem)
            if not methods:
                raise Problem(
                    Code.NOT_FOUND,
                    where="path",
                    detail=f"see {self.base}/openapi.json for what there is",
                ) from problem
            raise Problem(
                Code.INVALID_REQUEST,
                where="method",
                detail=f"takes {', '.join(methods)}",
                facts={"methods": methods},
                status=405,
            ) from problem


def _check_host(headers: Headers) -> None:
    """Raises: Problem ``InvalidRequest`` (421) when the Host field is a name that anybody may give
    to this machine; browsers always send one, and no page can choose it."""
    named = next((value for name, value in headers if name == "host"), "")
    try:
        host = urlsplit(f"//{named}").hostname or ""
        if host not in ("", "localhost"):
            ip_address(host)
    except ValueError as error:
        raise Problem(
            Code.INVALID_REQUEST,
            where="Host",
            detail="name this machine by its address or as localhost",
            status=421,
        ) from error


def json_reply(status: int, document: Any) -> Reply:
    """A JSON answer; ``document`` may be its bytes already."""
    data = document if isinstance(document, bytes) else orjson.dumps(document)
    return Reply(status, (("content-type", "application/json"),), data)


def text_reply(text: bytes) -> Reply:
    """Plain text as the log's standards want it (C2SP)."""
    return Reply(200, (("content-type", "text/plain; charset=utf-8"),), text)


def problem_reply(problem: Problem) -> Reply:
    """A problem of the API; 405 lists what is allowed (RFC 9110 section 15.5.6)."""
    status, headers, body = replies.reply(problem, Side.CONSUMER, "")
    if status == 405:
        headers = (*headers, ("allow", ", ".join(allowed(problem))))
    return Reply(status, headers, body)


def allowed(problem: Problem) -> list[str]:
    """The methods that a path takes, as a problem about another method tells them."""
    methods = problem.facts.get("methods")
    return methods if isinstance(methods, list) else []
