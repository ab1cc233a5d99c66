"""An old HTTP API of a ministry, as PHP sites have them: a key in a header, pages for people when
something is wrong, and a status of 200 for everything."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

KEY: Final = "k-2026"
OFFICES: Final = {
    "A-1": {"code": "A-1", "name": "ຫ້ອງການແຂວງ", "staff": 41, "opened": "1994-03-01"},
    "A-2": {"code": "A-2", "name": "ຫ້ອງການແຂວງ 2", "staff": 641, "opened": "1996-10-15"},
}
DOCUMENT: Final[dict[str, Any]] = {
    "openapi": "3.0.3",
    "info": {"title": "Offices", "version": "1"},
    "servers": [{"url": "/"}],
    "paths": {
        "/office.php": {
            "get": {
                "summary": "One office",
                "parameters": [
                    {
                        "name": "no",
                        "in": "query",
                        "required": True,
                        "schema": {"type": "string", "pattern": "^[A-Z]-[0-9]+$"},
                        "example": "A-1",
                    }
                ],
                "responses": {
                    "200": {
                        "description": "The office",
                        "content": {
                            "application/json": {"schema": {"$ref": "#/components/schemas/Office"}}
                        },
                    }
                },
            },
            "post": {"responses": {"200": {"description": "changed"}}},
        }
    },
    "components": {
        "schemas": {
            "Office": {
                "type": "object",
                "required": ["code", "name"],
                "properties": {
                    "code": {"type": "string"},
                    "name": {"type": "string"},
                    "staff": {"type": "integer"},
                    "opened": {"type": "string", "format": "date"},
                },
            }
        },
        "securitySchemes": {"key": {"type": "apiKey", "in": "header", "name": "X-Api-Key"}},
    },
}


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """Answer as the old system does."""
        parts = urlsplit(self.path)
        if parts.path == "/openapi.json":
            self._reply("application/json", json.dumps(DOCUMENT).encode())
        elif self.headers.get("x-api-key") != KEY:
            self._reply("text/html", b"<h1>Please log in</h1>")
        else:
            office = OFFICES.get(parse_qs(parts.query).get("no", [""])[0])
            if office is None:
                self._reply("text/html", b"<h1>Not found</h1>")
            else:
                self._reply("application/json", json.dumps(office).encode())

    def _reply(self, kind: str, body: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Set-Cookie", "PHPSESSID=1")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


@contextmanager
def offices_api() -> Iterator[str]:
    """A running API; its address."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
