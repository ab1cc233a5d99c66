"""Pages: what a server answers its applications by itself, beside their calls.

They are asked rarely and cost more than a message: so they have a bound of their own, outside the
gate, and a full house of them stops no exchange.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Final

from exchange.problems import Code, Problem
from mediator.xroad import Connection
from serving.requests import Reply, Request

AT_ONCE: Final = 4

Page = Callable[[Request, Connection], Awaitable[Reply]]


class Pages:
    """Pages by their path."""

    def __init__(self, pages: Mapping[str, Page], at_once: int = AT_ONCE) -> None:
        self._pages = pages
        self._free = at_once

    def has(self, target: str) -> bool:
        """Whether a request target is one of these pages."""
        return target.partition("?")[0] in self._pages

    async def answer(self, request: Request, connection: Connection) -> Reply:
        """The page that a request asks for.

        Raises:
            Problem: ``InvalidRequest`` (405) for another method than GET and HEAD,
                ``ServerOverloaded`` when enough pages are made already, or what the page says.
        """
        if request.method not in ("GET", "HEAD"):
            raise Problem(
                Code.INVALID_REQUEST, where="method", detail="only GET is taken here", status=405
            )
        if not self._free:
            raise Problem(
                Code.OVERLOADED,
                where="pages",
                detail="enough of these are being answered",
                facts={"retry_after_s": 1},
            )
        self._free -= 1
        try:
            return await self._pages[request.target.partition("?")[0]](request, connection)
        finally:
            self._free += 1
