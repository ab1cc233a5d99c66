"""Requests and replies of the instance's API: media types, bodies within bounds, problems."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable
from typing import Any, Final

import orjson
import structlog
import yaml
from aiohttp import web

from console.instance.drafts import MAX_DOCUMENT_BYTES
from console.instance.reading import Mistaken
from exchange.documents import parse_document
from exchange.problems import Code, Problem, Side
from serving import replies
from serving.tokens import Refused
from serving.yaml_files import read_yaml

JSON: Final = "application/json"
YAML: Final = ("text/yaml", "application/yaml", "application/x-yaml")
READ_S: Final = 30.0
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

log = structlog.get_logger("console.instance.api")


async def read_body(request: web.Request) -> bytes:
    """The body, within bounds of size (aiohttp's) and time.

    Raises:
        Problem: ``InvalidRequest`` when it does not come.
    """
    try:
        async with asyncio.timeout(READ_S):
            return await request.read()
    except TimeoutError as error:
        raise Problem(
            Code.INVALID_REQUEST, where="body", detail="it did not come in time", status=408
        ) from error


def decode(request: web.Request, data: bytes, noun: str) -> object:
    """A JSON or YAML body as its Content-Type says; without one it is JSON.

    Raises:
        Problem: ``InvalidDocument`` (400), or ``InvalidRequest`` (415) for another media type.
    """
    kind = request.headers.get("Content-Type", JSON)
    media, _, parameters = kind.partition(";")
    media = media.strip().lower()
    charset = parameters.strip().lower().replace('"', "")
    if charset not in ("", "charset=utf-8") or media not in (JSON, *YAML):
        raise Problem(
            Code.INVALID_REQUEST,
            where="Content-Type",
            detail=f"{kind[:80]!r} is not taken; send {JSON} or {YAML[0]} in UTF-8",
            status=415,
        )
    if media == JSON:
        try:
            return parse_document(data, MAX_DOCUMENT_BYTES, noun).value
        except Problem as problem:
            raise Problem(
                problem.code, where=problem.where, detail=problem.detail, status=400
            ) from problem
    try:
        return read_yaml(data, texts=True)
    except yaml.YAMLError as error:
        told = " ".join(str(error).split())[:200]
        raise Problem(
            Code.INVALID_DOCUMENT, where=f"{noun}#", detail=f"not YAML: {told}", status=400
        ) from error


def chosen(request: web.Request) -> str:
    """The media type of the answer that Accept prefers (RFC 9110 section 12.5.1).

    Raises:
        Problem: ``InvalidHeader`` (406) when neither JSON nor YAML is taken.
    """
    accept = request.headers.get("Accept", "*/*")
    best, found = 0.0, ""
    for part in accept[:1000].split(","):
        media, *parameters = (piece.strip().lower() for piece in part.split(";"))
        quality = _quality(parameters)
        offered = {"*/*": JSON, "application/*": JSON, "text/*": YAML[0]}.get(media, media)
        if offered in (JSON, *YAML) and quality > best:
            best, found = quality, offered
    if not found:
        raise Problem(
            Code.INVALID_HEADER,
            where="Accept",
            detail=f"there is {JSON} and {YAML[0]}",
            status=406,
        )
    return found


def _quality(parameters: list[str]) -> float:
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip() == "q":
            try:
                return min(1.0, max(0.0, float(value)))
            except ValueError:
                return 0.0
    return 1.0


def document(request: web.Request, value: object, **headers: str) -> web.Response:
    """A document in the form that is preferred."""
    media = chosen(request)
    if media == JSON:
        return json(value, 200, **headers)
    text = yaml.safe_dump(value, allow_unicode=True, sort_keys=False)
    return web.Response(
        body=text.encode(),
        headers={"Content-Type": f"{media}; charset=utf-8", "Vary": "Accept", **headers},
    )


def json(value: object, status: int = 200, **headers: str) -> web.Response:
    """A JSON answer."""
    return web.Response(
        body=orjson.dumps(value), status=status, headers={"Content-Type": JSON, **headers}
    )


def problem_members(problem: Problem, trace: str) -> dict[str, Any]:
    """A problem as JSON; of a document with mistakes, all of them."""
    members = replies.describe(problem, Side.CLIENT, trace) | {"type": problem.code.value}
    if isinstance(problem, Mistaken):
        members["facts"] = {}
        members["mistakes"] = [
            {"pointer": one.pointer, "detail": one.detail} for one in problem.mistakes
        ]
    return members


def not_http(problem: Problem) -> web.Response:
    """The answer to what is no request at all."""
    members = problem_members(problem, secrets.token_hex(8))
    return json(members, problem.status, **{"Cache-Control": "no-store"})


@web.middleware
async def problems(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Problems as answers; what nobody foresaw as one, its particulars in the log only."""
    trace = secrets.token_hex(8)
    headers: dict[str, str] = {}
    try:
        answer = await handler(request)
        answer.headers.setdefault("Cache-Control", "no-store")
        answer.headers["X-Content-Type-Options"] = "nosniff"
        return answer
    except Problem as found:
        problem = found
        if isinstance(found, Refused):
            headers["WWW-Authenticate"] = found.challenge
        if problem.status == 503:
            headers["Retry-After"] = str(replies.RETRY_AFTER_S)
    except web.HTTPRequestEntityTooLarge:
        problem = Problem(Code.PAYLOAD_TOO_LARGE, where="body", detail="1 MiB at most")
    except web.HTTPMethodNotAllowed as error:
        headers["Allow"] = error.headers.get("Allow", "")
        problem = Problem(
            Code.INVALID_REQUEST, where="method", detail=f"{headers['Allow']}", status=405
        )
    except web.HTTPNotFound:
        problem = Problem(Code.NOT_FOUND, where="path", detail="see /openapi.json", status=404)
    except web.HTTPException as error:
        problem = Problem(
            Code.INVALID_REQUEST, where="request", detail=error.reason, status=error.status
        )
    except (ConnectionError, asyncio.CancelledError):
        raise
    except Exception:
        log.exception("unforeseen", trace=trace, path=request.path)
        problem = replies.internal()
    log.info("refused", trace=trace, method=request.method, path=request.path, why=str(problem))
    answer = json(problem_members(problem, trace), problem.status, **headers)
    answer.headers["Cache-Control"] = "no-store"
    return answer
