"""The backend of workload and transfer: records and documents of the size that the path names.

``GET /records/{count}`` answers a page of JSON records that keeps its schema, some 190 bytes each;
``GET /documents/{size}`` so many bytes; ``PUT /documents/{size}`` takes as many and says 204.

Run with ``python -m benchmarks.documents``; says ``{"event": "ready", "url": …}`` and ends with its
parent.
"""

from __future__ import annotations

import asyncio
from functools import lru_cache
from typing import Any, Final

import orjson
from httptools import HttpParserError, HttpRequestParser

from benchmarks.backend import SCHEMA, items
from benchmarks.processes import serve_child

PIECE: Final = bytes(range(256)) * 1024
MAX_RECORDS: Final = 2000
ENDPOINTS: Final = (
    ("GET", "/records/{count}"),
    ("GET", "/documents/{size}"),
    ("PUT", "/documents/{size}"),
)


@lru_cache(maxsize=16)
def page(count: int) -> bytes:
    """A page of so many records."""
    return orjson.dumps({"items": items(count), "next": None})


def openapi() -> bytes:
    """The OpenAPI 3.1 document of the service: records are checked, documents are opaque."""
    item = SCHEMA["properties"]["items"] | {"maxItems": MAX_RECORDS}
    schema = SCHEMA | {"properties": SCHEMA["properties"] | {"items": item}}
    octets: dict[str, Any] = {"application/octet-stream": {}}

    def number(name: str) -> dict[str, Any]:
        return {"name": name, "in": "path", "required": True, "schema": {"type": "integer"}}

    def answer(content: dict[str, Any]) -> dict[str, Any]:
        return {"responses": {"200": {"description": "what was asked for", "content": content}}}

    return orjson.dumps(
        {
            "openapi": "3.1.0",
            "info": {"title": "Records and documents for measuring", "version": "1.0.0"},
            "paths": {
                "/records/{count}": {
                    "parameters": [number("count")],
                    "get": {"operationId": "records"}
                    | answer({"application/json": {"schema": schema}}),
                },
                "/documents/{size}": {
                    "parameters": [number("size")],
                    "get": {"operationId": "document"} | answer(octets),
                    "put": {
                        "operationId": "keep",
                        "requestBody": {"content": octets},
                        "responses": {"204": {"description": "taken"}},
                    },
                },
            },
        }
    )


class _Connection(asyncio.Protocol):
    """Answers each whole request; keeps the connection until the client ends it."""

    def __init__(self) -> None:
        self._parser: Any = HttpRequestParser(self)
        self._transport: Any = None
        self._url = b""
        self._left = 0
        self._full = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except HttpParserError:
            self._transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self._parser, self._left = None, 0

    def pause_writing(self) -> None:
        self._full = True

    def resume_writing(self) -> None:
        self._full = False
        self._write_on()

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_message_complete(self) -> None:
        url, self._url = self._url, b""
        number = int(url.partition(b"?")[0].rpartition(b"/")[2])
        if self._parser.get_method() == b"PUT":
            self._transport.write(b"HTTP/1.1 204 No Content\r\n\r\n")
        elif b"/records/" in url:
            body = page(min(number, MAX_RECORDS))
            self._head(b"application/json", len(body))
            self._transport.write(body)
        else:
            self._head(b"application/octet-stream", number)
            self._left = number
            self._write_on()

    def _head(self, kind: bytes, size: int) -> None:
        self._transport.write(
            b"HTTP/1.1 200 OK\r\nContent-Type: %b\r\nContent-Length: %d\r\n\r\n" % (kind, size)
        )

    def _write_on(self) -> None:
        """Write what the socket takes; the rest when it takes more."""
        while self._left and not self._full:
            piece = PIECE[: self._left]
            self._left -= len(piece)
            self._transport.write(piece)


if __name__ == "__main__":
    serve_child(_Connection)
