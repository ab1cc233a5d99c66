"""The adapters of a mapping as an HTTP service of its own.

Each service answers below its code: ``/projects/…`` is the service ``projects``, which is what the
mediator is given as that service's address. ``/{service}/openapi.json`` is its document and
``/healthz`` tells whether the source answers. There is no authentication here: the service
belongs on loopback or a network that only the mediator reaches.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from collections.abc import Mapping as Map

import structlog
from aiohttp import web

from adapters import openapi
from adapters.service import Adapter, problem_response
from adapters.source import Source
from exchange.problems import Code, Problem
from serving.backends import BackendRequest, BackendResponse

MAX_BODY_BYTES = 1 << 16
_HEALTH_S = 5.0
_log = structlog.get_logger("saphan.adapters")


def application(
    adapters: Map[str, Adapter], source: Source, shared: Map[str, bytes], *, timeout_s: float = 30.0
) -> web.Application:
    """The application over ``adapters``; it closes them when it stops."""
    documents = {
        code: openapi.document(adapter.mapping, code, shared) for code, adapter in adapters.items()
    }

    async def answer(request: web.Request) -> web.Response:
        code = request.match_info["service"]
        adapter = adapters.get(code)
        if adapter is None:
            return _reply(problem_response(_unknown(code, adapters)))
        target, _, query = request.raw_path.partition("?")
        path = target[len(code) + 1 :] or "/"
        if path == "/openapi.json" and request.method in ("GET", "HEAD"):
            return web.Response(body=documents[code], content_type="application/json")
        asked = BackendRequest(
            request.method,
            path,
            query,
            tuple((name.lower(), value) for name, value in request.headers.items()),
            await request.read(),
        )
        try:
            return _reply(await adapter.exchange(asked, timeout_s=timeout_s))
        except Problem as problem:
            _log.warning("not_answered", service=code, code=str(problem.code), where=problem.where)
            return _reply(problem_response(problem))

    async def health(request: web.Request) -> web.Response:
        try:
            await source.run(lambda connection: None, timeout_s=_HEALTH_S)
        except Problem as problem:
            body = {"source": "failed", "problem": str(problem.code), "detail": problem.detail}
            return web.json_response(body, status=503)
        return web.json_response({"source": "ok"})

    async def close(app: web.Application) -> None:
        for adapter in adapters.values():
            await adapter.close()

    app = web.Application(client_max_size=MAX_BODY_BYTES)
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


def _unknown(code: str, adapters: Map[str, Adapter]) -> Problem:
    detail = f"there is no service {code[:80]!r}; this adapter has: {', '.join(adapters)}"
    return Problem(Code.NOT_FOUND, where="path", detail=detail)


def _reply(response: BackendResponse[bytes]) -> web.Response:
    return web.Response(status=response.status, headers=list(response.headers), body=response.body)
