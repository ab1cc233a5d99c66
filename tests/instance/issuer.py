"""An OpenID Connect issuer: a real HTTP server with real keys, which can change and go away."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from joserfc import jwt
from joserfc.jwk import ECKey

AUDIENCE = "https://saphan.example"
KEY = ECKey.generate_key("P-256", {"kid": "one"}, private=True)


@dataclass(slots=True)
class Issuer:
    """An OpenID Connect issuer on loopback: its keys can change and it can go away."""

    keys: list[Any] = field(default_factory=lambda: [KEY])
    asked: list[str] = field(default_factory=list)
    is_down: bool = False
    name: str = ""
    url: str = ""

    def document(self, path: str) -> Any:
        self.asked.append(path)
        if self.is_down:
            return None
        if path == "/.well-known/openid-configuration":
            return {"issuer": self.name or self.url, "jwks_uri": f"{self.url}/keys"}
        return {"keys": [key.as_dict(private=False) for key in self.keys]}

    def token(self, key: Any = KEY, alg: str = "ES256", typ: str = "JWT", **claims: Any) -> str:
        header = {"alg": alg, "typ": typ, "kid": key.kid}
        now = int(time.time())
        whole = {
            "iss": self.url,
            "aud": AUDIENCE,
            "sub": "s",
            "exp": now + 60,
            "scope": "read:conf",
        }
        kept = {name: value for name, value in (whole | claims).items() if value is not None}
        return str(jwt.encode(header, kept, key, algorithms=[alg]))


@contextmanager
def running_issuer() -> Iterator[Issuer]:
    """Run one."""
    found = Issuer()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            value = found.document(self.path)
            body = b"" if value is None else json.dumps(value).encode()
            self.send_response(503 if value is None else 200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    found.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield found
    server.shutdown()
    thread.join()
    server.server_close()
