"""The backend of the round trip: answers every request with the same 1,024 bytes of JSON.

As lean as can be (llhttp, one write), so that what is measured is what lies in front of it. The
answer satisfies :data:`SCHEMA`, which :func:`openapi` publishes for the server under test.

Run with ``python -m benchmarks.backend``; says ``{"event": "ready", "url": …}`` and ends with its
parent.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final

import orjson
from httptools import HttpParserError, HttpRequestParser

from benchmarks.processes import serve_child

PATH: Final = "/disbursements"
SIZE: Final = 1024

_TEXT: Final[dict[str, Any]] = {"type": "string", "maxLength": 200}
SCHEMA: Final[dict[str, Any]] = {
    "type": "object",
    "required": ["items", "next"],
    "additionalProperties": False,
    "properties": {
        "items": {
            "type": "array",
            "maxItems": 100,
            "items": {
                "type": "object",
                "required": ["id", "project", "title", "province", "value_date", "amount_usd"],
                "additionalProperties": False,
                "properties": {
                    "id": {"type": "integer", "minimum": 1},
                    "project": {"type": "string", "pattern": "^LA-[0-9]{6}$"},
                    "title": {
                        "type": "object",
                        "required": ["en", "lo"],
                        "properties": {"en": _TEXT, "lo": _TEXT},
                        "additionalProperties": False,
                    },
                    "province": {"type": "string", "pattern": "^LA-[A-Z]{2}$"},
                    "value_date": {"type": "string", "format": "date"},
                    "amount_usd": {"type": "number", "minimum": 0},
                },
            },
        },
        "next": {"type": ["string", "null"], "maxLength": 500},
    },
}


def items(count: int) -> list[dict[str, Any]]:
    """So many records."""
    return [
        {
            "id": number,
            "project": f"LA-{number:06}",
            "title": {"en": "Rural road to the district hospital", "lo": "ທາງຊົນນະບົດ"},
            "province": "LA-VT",
            "value_date": f"2026-03-{number % 28 + 1:02}",
            "amount_usd": 125_000.5 + number,
        }
        for number in range(1, count + 1)
    ]


def _page() -> bytes:
    some = items(4)
    short = len(orjson.dumps({"items": some, "next": ""}))
    return orjson.dumps({"items": some, "next": "c" * (SIZE - short)})


BODY: Final = _page()


def openapi() -> bytes:
    """The OpenAPI 3.1 document of the service that answers :data:`BODY` at :data:`PATH`."""
    return orjson.dumps(
        {
            "openapi": "3.1.0",
            "info": {"title": "Disbursements for measuring", "version": "1.0.0"},
            "paths": {
                PATH: {
                    "get": {
                        "operationId": "disbursements",
                        "parameters": [
                            {
                                "name": "fiscal_year",
                                "in": "query",
                                "schema": {"type": "integer", "minimum": 2000, "maximum": 2100},
                            }
                        ],
                        "responses": {
                            "200": {
                                "description": "A page",
                                "content": {"application/json": {"schema": SCHEMA}},
                            }
                        },
                    }
                }
            },
        }
    )


_ANSWER: Final = (
    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(BODY)
    + BODY
)


class _Connection(asyncio.Protocol):
    """Answers each whole request; keeps the connection until the client ends it."""

    def __init__(self) -> None:
        self._parser: Any = HttpRequestParser(self)
        self._transport: Any = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except HttpParserError:
            self._transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self._parser = None

    def on_message_complete(self) -> None:
        self._transport.write(_ANSWER)


if __name__ == "__main__":
    serve_child(_Connection)
