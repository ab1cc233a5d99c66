"""The baseline: a bare reverse proxy on aiohttp, server and client, as one would write it in a day.

Two of them in a row are the two hops that a message makes between two organisations: no TLS, no
signature, no record, no check; but keep-alive on both sides, one client session, no cookies, no
access log, no decompression, no artificial slowness.

With ``--stream`` it passes bodies on piece by piece, as large ones need; without, it holds them,
which is faster for small ones.

Run with ``python -m benchmarks.baseline [--stream] UPSTREAM``; says
``{"event": "ready", "url": …}`` and ends with its parent.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Mapping
from typing import Final

from aiohttp import ClientSession, ClientTimeout, DummyCookieJar, TCPConnector, web
from multidict import CIMultiDict
from yarl import URL

from benchmarks.processes import run_child, say_ready

MAX_UPSTREAM_CONNECTIONS: Final = 256  # measured: the best of 100, 256 and no limit
PIECE_BYTES: Final = 256 * 1024
HOP_BY_HOP: Final = frozenset(
    {
        "connection",
        "content-length",
        "host",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)


def end_to_end(headers: CIMultiDict[str]) -> CIMultiDict[str]:
    """What a proxy forwards: all but the fields of one hop (RFC 9110 section 7.6.1)."""
    return CIMultiDict(
        (name, value) for name, value in headers.items() if name.lower() not in HOP_BY_HOP
    )


def with_length(headers: CIMultiDict[str], known: Mapping[str, str]) -> CIMultiDict[str]:
    """The same with the length of the body where it is known, so that it is not sent in chunks."""
    if "content-length" in known:
        headers["content-length"] = known["content-length"]
    return headers


async def _serve(upstream: str, stop: asyncio.Event, *, streaming: bool) -> None:
    session = ClientSession(
        connector=TCPConnector(limit=MAX_UPSTREAM_CONNECTIONS, keepalive_timeout=60),
        cookie_jar=DummyCookieJar(),
        auto_decompress=False,
        skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding", "Content-Type"),
        timeout=ClientTimeout(total=600),
    )

    async def forward(request: web.Request) -> web.Response:
        async with session.request(
            request.method,
            URL(upstream + request.raw_path, encoded=True),
            headers=end_to_end(CIMultiDict(request.headers)),
            data=await request.read() if request.body_exists else None,
            allow_redirects=False,
        ) as answer:
            body = await answer.read()
            headers = end_to_end(CIMultiDict(answer.headers))
            return web.Response(status=answer.status, headers=headers, body=body)

    async def stream(request: web.Request) -> web.StreamResponse:
        async with session.request(
            request.method,
            URL(upstream + request.raw_path, encoded=True),
            headers=with_length(end_to_end(CIMultiDict(request.headers)), request.headers),
            data=request.content if request.body_exists else None,
            allow_redirects=False,
        ) as answer:
            headers = with_length(end_to_end(CIMultiDict(answer.headers)), answer.headers)
            response = web.StreamResponse(status=answer.status, headers=headers)
            await response.prepare(request)
            async for piece in answer.content.iter_chunked(PIECE_BYTES):
                await response.write(piece)
            await response.write_eof()
            return response

    application = web.Application(client_max_size=0)
    application.router.add_route("*", "/{path:.*}", stream if streaming else forward)
    runner = web.AppRunner(
        application, access_log=None, auto_decompress=False, shutdown_timeout=1.0
    )
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, backlog=1024)
    await site.start()
    say_ready(runner.addresses[0][1])
    await stop.wait()
    await runner.cleanup()
    await session.close()


if __name__ == "__main__":
    run_child(lambda stop: _serve(sys.argv[-1], stop, streaming="--stream" in sys.argv[1:-1]))
