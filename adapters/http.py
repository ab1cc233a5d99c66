"""The adapters of a mapping as an HTTP service of its own.

Each service answers below its code: ``/projects/…`` is the service ``projects``, which is what the
mediator is given as that service's address. ``/{service}/openapi.json`` is its document and
``/healthz`` tells whether the source answers. There is no authentication here: the service
belongs on loopback or a network that only the mediator reaches.

Invariants: what is kept of bodies, of requests and of answers, is counted in the room of its
request, and all rooms together keep to the bounds of their spools; a caller who stops sending or
reading is waited for no longer than a request may take, or ``stall_s`` of the spools.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from collections.abc import Mapping as Map

import structlog
from aiohttp import web

from adapters.answers.faults import Fault, bad
from adapters.answers.replies import problem_response
from adapters.kinds import Opened
from exchange.problems import Code, Problem
from serving.backends import BackendRequest, BackendResponse
from serving.bodies import IN_MEMORY_BYTES, PIECE_BYTES, Body, Room, Spool, Spools

MAX_BODY_BYTES = 1 << 30
_UNSPOOLED_BYTES = 16 << 20
_HEALTH_S = 5.0
_RETRY_AFTER_S = 1
_log = structlog.get_logger("saphan.adapters")


def application(
    opened: Opened,
    documents: Map[str, bytes],
    *,
    timeout_s: float = 30.0,
    spools: Spools | None = None,
) -> web.Application:
    """The application over the services of a source; it closes the source when it stops.

    Args:
        documents: the OpenAPI document of each service by its code.
        spools: bound what is kept of bodies, and keep long ones; without them there are none.
    """
    spools = spools or Spools()
    backends = opened.backends

    async def answer(request: web.Request) -> web.StreamResponse:
        code = request.match_info["service"]
        target, _, query = request.raw_path.partition("?")
        # Only a code in plain letters at the beginning is cut off below.
        backend = backends.get(code) if target.startswith(f"/{code}") else None
        if backend is None:
            return _reply(problem_response(await _missing(code, opened)))
        path = target[len(code) + 1 :] or "/"
        if path == "/openapi.json" and request.method in ("GET", "HEAD"):
            return web.Response(body=documents[code], content_type="application/json")
        room = spools.room()
        try:
            body = await _receive(request, room, timeout_s)
            headers = tuple((name.lower(), value) for name, value in request.headers.items())
            asked = BackendRequest(request.method, path, query, headers, body, room)
            answer = await backend.exchange(asked, timeout_s=timeout_s)
            return await _send(request, answer, spools.stall_s)
        except Fault as fault:
            return _reply(problem_response(fault))
        except Problem as problem:
            _log.warning("not_answered", service=code, code=str(problem.code), where=problem.where)
            return _reply(problem_response(problem, _come_again(problem)))
        finally:
            room.end()

    async def health(request: web.Request) -> web.Response:
        try:
            await opened.health(_HEALTH_S)
        except Problem as problem:
            body = {"source": "failed", "problem": str(problem.code), "detail": problem.detail}
            return web.json_response(body, status=503)
        return web.json_response({"source": "ok"})

    async def close(app: web.Application) -> None:
        await opened.close()

    app = web.Application()
    app.router.add_get("/healthz", health)
    app.router.add_route("*", "/{service}{tail:(/.*)?}", answer)
    app.on_cleanup.append(close)
    return app


async def serve(
    app: web.Application,
    host: str,
    port: int,
    stop: asyncio.Event,
    listening: Callable[[str], None] = lambda address: None,
) -> None:
    """Serve ``app`` until ``stop`` is set, then finish what has begun.

    ``listening`` is called with the address once it is there.

    Raises:
        OSError: when the address cannot be used.
    """
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=10.0)
    await runner.setup()
    try:
        site = web.TCPSite(runner, host, port)
        await site.start()
        bound = runner.addresses[0]
        host = f"[{bound[0]}]" if ":" in bound[0] else bound[0]
        address = f"http://{host}:{bound[1]}"
        _log.info("serving", address=address)
        listening(address)
        await stop.wait()
    finally:
        # aiohttp's order: no new connections, wait for running requests, then on_cleanup.
        await runner.cleanup()


async def _missing(code: str, opened: Opened) -> Problem:
    """Why there is no such service: none is there yet, or not this one."""
    backends = opened.backends
    if not backends:
        try:
            await opened.health(_HEALTH_S)
        except Problem as problem:
            return problem
    detail = f"there is no service {code[:80]!r}; this adapter has: {', '.join(backends)}"
    return Problem(Code.NOT_FOUND, where="path", detail=detail)


def _come_again(problem: Problem) -> tuple[tuple[str, str], ...]:
    if problem.status not in (429, 503):
        return ()
    return (("retry-after", str(problem.facts.get("retry_after_s", _RETRY_AFTER_S))),)


async def _receive(request: web.Request, room: Room, timeout_s: float) -> Body:
    """The body, whatever its announced length: a long one goes to the room's disk as it comes.

    Raises:
        Fault: 413 when it is too long, 408 when it has not come in time.
        Problem: ``ServerOverloaded`` when there is no room for it now.
    """
    if not request.can_read_body:
        return b""
    most = MAX_BODY_BYTES if room.spools.directory is not None else _UNSPOOLED_BYTES
    if (request.content_length or 0) > most:
        raise _too_long(most)
    try:
        async with asyncio.timeout(timeout_s):
            return await _taken(request, room, most)
    except TimeoutError as error:
        raise bad("body", f"did not come within {timeout_s:g} s", status=408) from error
    except (web.RequestPayloadError, ConnectionError) as error:
        raise bad("body", "did not come whole") from error


async def _taken(request: web.Request, room: Room, most: int) -> Body:
    in_memory = IN_MEMORY_BYTES if room.spools.directory is not None else most
    pieces: list[bytes] = []
    size = waiting = 0
    spool: Spool | None = None
    async for piece in request.content.iter_any():
        size += len(piece)
        if size > most:
            raise _too_long(most)
        room.hold(len(piece))
        pieces.append(piece)
        waiting += len(piece)
        if size > in_memory and waiting >= PIECE_BYTES:
            spool = spool or room.spool(request.content_length or 0)
            await spool.write(pieces)
            room.release(waiting)
            pieces, waiting = [], 0
    if spool is None and size <= in_memory:
        return b"".join(pieces)
    spool = spool or room.spool(size)
    if pieces:
        await spool.write(pieces)
        room.release(waiting)
    return spool.done()


def _too_long(most: int) -> Fault:
    return bad("body", f"is longer than {most} bytes", Code.PAYLOAD_TOO_LARGE, 413)


async def _send(
    request: web.Request, answer: BackendResponse[Body], stall_s: float
) -> web.StreamResponse:
    """Reply while the room is there; a long body is sent piece by piece.

    Raises:
        Problem: ``ServerOverloaded`` when the disk does not give a piece back.
    """
    if isinstance(answer.body, bytes):
        short = _reply(BackendResponse(answer.status, answer.headers, answer.body))
        try:
            async with asyncio.timeout(stall_s):
                await short.prepare(request)
                await short.write_eof()
        except TimeoutError:
            _hang_up(request, f"it was not taken within {stall_s:g} s")
        return short
    reply = web.StreamResponse(status=answer.status, headers=list(answer.headers))
    reply.content_length = answer.body.size
    first = True
    try:
        async for piece in answer.body.pieces():
            async with asyncio.timeout(stall_s):
                if first:  # whose failure can still be told
                    await reply.prepare(request)
                    first = False
                await reply.write(piece)
        await reply.write_eof()
    except (TimeoutError, Problem) as error:
        if first:
            raise
        # Part of it has gone: hanging up is all that tells the caller that it is not whole.
        _hang_up(request, str(error) or f"nothing was taken for {stall_s:g} s")
    return reply


def _hang_up(request: web.Request, why: str) -> None:
    _log.warning("answer_cut_short", why=why)
    if request.transport is not None:
        request.transport.abort()


def _reply(response: BackendResponse[bytes]) -> web.Response:
    return web.Response(status=response.status, headers=list(response.headers), body=response.body)
