"""aiohttp's server for the APIs of management, whose refusals are problems from the first byte on.

What aiohttp cannot parse (a request line or a field that is too long, bytes that are not HTTP) it
answers in plain text, before any middleware is asked.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from aiohttp import web

from exchange.problems import Code, Problem

Describe = Callable[[Problem], web.Response]


class Runner(web.AppRunner):
    """Runs an application; ``describe`` makes the answer to what is not HTTP."""

    def __init__(
        self, app: web.Application, describe: Describe, *, shutdown_timeout: float
    ) -> None:
        super().__init__(app, access_log=None, shutdown_timeout=shutdown_timeout)
        self._describe = describe

    @property
    def server(self) -> Any:
        """What makes a connection for whoever comes; sites listen with it."""
        manager, describe = super().server, self._describe
        if manager is None:
            return None
        return lambda: _Connection(manager, describe)


class _Connection(web.RequestHandler):
    __slots__ = ("_describe",)

    def __init__(self, manager: Any, describe: Describe) -> None:
        loop = asyncio.get_running_loop()
        super().__init__(manager, loop=loop, access_log=None)  # type: ignore[arg-type]
        self._describe = describe

    def handle_error(
        self,
        request: Any,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        plain = super().handle_error(request, status, exc, message)
        if status != 400:
            return plain
        detail = (message or "not a well-formed HTTP/1.1 message").partition("\n")[0][:200]
        answer = self._describe(
            Problem(Code.INVALID_REQUEST, where="HTTP message", detail=detail, status=status)
        )
        answer.force_close()
        return answer
