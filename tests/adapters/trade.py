"""The trade portal behind its mapping, for tests."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import orjson

from adapters import kinds
from adapters.mapping.reader import parse
from console.reference_world.trade_portal import FOLDER
from serving.backends import BackendRequest, BackendResponse, Headers

MAPPING = FOLDER.parent / "mappings" / "trade-portal.yaml"
PROCEDURES = "trade-procedures"
ENQUIRIES = "trade-enquiries"
ENQUIRY = {"subject": "ກາເຟ", "question": "How?", "email": "a@example.la"}


class Asker:
    """Asks the services of one mapping."""

    def __init__(self, opened: kinds.Opened) -> None:
        self.opened = opened

    async def get(
        self,
        target: str,
        headers: Headers = (),
        *,
        service: str = PROCEDURES,
        timeout_s: float = 20.0,
        method: str = "GET",
    ) -> BackendResponse[Any]:
        path, _, query = target.partition("?")
        request = BackendRequest(method, path, query, headers, b"")
        return await self.opened.backends[service].exchange(request, timeout_s=timeout_s)

    async def post(
        self, body: Any, headers: Headers = (), *, service: str = ENQUIRIES, timeout_s: float = 20.0
    ) -> BackendResponse[Any]:
        data = body if isinstance(body, bytes) else orjson.dumps(body)
        request = BackendRequest("POST", "/enquiries", "", headers, data)
        return await self.opened.backends[service].exchange(request, timeout_s=timeout_s)


def wrapped(more: str = "", text: str | None = None) -> kinds.Wrapping:
    """The mapping with ``more`` lines in its source."""
    text = text or MAPPING.read_text("utf-8")
    source = text.replace("  statement_timeout_s: 10\n", more or "  statement_timeout_s: 10\n")
    return kinds.read_node(parse(source.encode(), MAPPING.name, MAPPING.parent))


@asynccontextmanager
async def asking(address: str, more: str = "", text: str | None = None) -> AsyncIterator[Asker]:
    """The mapping's services over whatever answers at ``address``."""
    opened = wrapped(more, text).open({"TRADE_PORTAL_URL": address}, Path())
    try:
        yield Asker(opened)
    finally:
        await opened.close()
