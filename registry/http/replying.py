"""How the registry's API reads requests and answers them: JSON, pages, problems."""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import orjson
import structlog
from aiohttp import web

from exchange.documents import Node, parse_document
from exchange.problems import Code, Problem, Side
from registry.directory.contents import MAX_PAGE
from registry.requests.submissions import MAX_SUBMISSION_BYTES
from serving import replies

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

log = structlog.get_logger(__name__)


@web.middleware
async def problems(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turn problems, and what aiohttp refuses, into the one error shape."""
    trace = secrets.token_hex(16)
    try:
        return await handler(request)
    except Problem as problem:
        return _error(request, problem, trace)
    except web.HTTPRequestEntityTooLarge as error:
        return _error(request, Problem(Code.PAYLOAD_TOO_LARGE, detail=str(error)), trace)
    except web.HTTPException as error:
        if error.status < 400:
            raise
        code = Code.NOT_FOUND if error.status == 404 else Code.INVALID_REQUEST
        refused = Problem(code, where=request.path, detail=error.reason, status=error.status)
        return _error(request, refused, trace)
    except Exception:
        log.exception("registry_failed", trace=trace, path=request.path)
        return _error(request, replies.internal(), trace)


def not_http(problem: Problem) -> web.Response:
    """The answer to what is no request at all."""
    return json_answer(_members(problem, secrets.token_hex(16)), problem.status)


def _members(problem: Problem, trace: str) -> dict[str, Any]:
    return replies.describe(problem, Side.CLIENT, trace) | {"type": problem.code.value}


def _error(request: web.Request, problem: Problem, trace: str) -> web.Response:
    log.info(
        "registry_refused",
        trace=trace,
        method=request.method,
        path=request.path,
        code=problem.code.value,
        where=problem.where,
    )
    return json_answer(_members(problem, trace), problem.status)


def file_answer(path: Path | None, cache: str) -> web.StreamResponse:
    """A published file, or 404 when it is not there."""
    if path is None or not path.is_file():
        # The next root is asked for at every poll: "not there" must never be cached.
        return web.Response(status=404, headers={"Cache-Control": "no-store"})
    response = web.FileResponse(path, headers={"Cache-Control": cache})
    response.content_type = "application/json"
    return response


def json_answer(body: object, status: int = 200) -> web.Response:
    """A document that no cache keeps."""
    return web.Response(
        body=orjson.dumps(body),
        status=status,
        content_type="application/json",
        headers={"Cache-Control": "no-store"},
    )


async def read_body(request: web.Request, noun: str) -> Node:
    """The body of a request as a document, ``{}`` when it is empty.

    Raises:
        Problem: as :func:`exchange.documents.parse_document`.
    """
    return parse_document(await request.read() or b"{}", MAX_SUBMISSION_BYTES, noun)


def search_of(request: web.Request) -> tuple[str, str, int]:
    """What a list is asked for: the search, the place to go on after, and how many.

    Raises:
        Problem: ``InvalidRequest`` for a search or a number beyond its bound.
    """
    limit = request.query.get("limit", "50")
    count = whole_number(limit, "limit")
    if not 1 <= count <= MAX_PAGE:
        raise bad_query("limit", f"must be from 1 to {MAX_PAGE}")
    query = request.query.get("q", "")
    if len(query) > 200:
        raise bad_query("q", "must be 200 characters at most")
    return query, request.query.get("after", ""), count


def number_of(request: web.Request) -> int:
    """The number in the path of a request."""
    return whole_number(request.match_info["number"], "path")


def whole_number(text: str, where: str) -> int:
    """A whole number, not negative, in its one spelling.

    Raises:
        Problem: ``InvalidRequest`` at ``where``.
    """
    # Only what prints back the same: int() takes "4_2", " 42 " and Lao digits.
    if len(text) > 15 or not text.isascii() or not text.isdigit() or str(int(text)) != text:
        raise bad_query(where, "must be a whole number")
    return int(text)


def bad_query(where: str, detail: str) -> Problem:
    """``InvalidRequest`` at a parameter of the query."""
    return Problem(Code.INVALID_REQUEST, where=f"query.{where}", detail=detail)
