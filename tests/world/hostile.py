"""A provider's server that misbehaves: it stands at MPI's address with MPI's own keys.

What an honest server would never answer is answered from here, chosen by the code in the path.
"""

from __future__ import annotations

import http.server
import json
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from exchange.keys import SigningKey, signing_key
from exchange.messages.digest import content_digest
from exchange.messages.envelope import Headers, RequestHead, ResponseHead, seal_response
from tests.world import small
from tests.world.small import SmallWorld
from tests.world.smuggling import ENDS, SHAPES, whole

REFUSAL = json.dumps({"type": "any", "message": "they say no", "detail": "theirs"}).encode()
BODY = json.dumps({"code": "P-1"}).encode()


class HostileServer(http.server.ThreadingHTTPServer):
    """Answers with MPI's seal key, or with that of another member."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, world: SmallWorld, context: ssl.SSLContext) -> None:
        super().__init__(("127.0.0.1", world.mpi.ports["peer"]), _Handler)
        self.socket = context.wrap_socket(self.socket, server_side=True)
        self.address = world.mpi.url("peer")
        self.key = _key(world.mpi.seals[small.MPI])
        self.foreign_key = _key(world.mof.seals[small.MOF])
        self.earlier: RequestHead | None = None
        self.asked: list[tuple[str, int]] = []
        """What each request was for, and the port of the connection that it came on."""
        self.page = b""
        """What an auditor is told who searches the journal."""
        self.proof = b""
        self.anchor = b""
        """What an auditor is told who wants it proven that nothing was left out."""

    def handle_error(self, request: object, client_address: object) -> None:
        """Failed handshakes are what some tests are about."""


def _key(issued: object) -> SigningKey:
    private, certificate = issued.private_key, issued.certificate  # type: ignore[attr-defined]
    return signing_key(private, certificate)


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: HostileServer

    def do_GET(self) -> None:
        code = self.path.partition("?")[0].rpartition("/")[2]
        headers = tuple(
            (name.lower(), value)
            for name, value in self.headers.items()
            if name.lower() not in ("host", "connection")
        )
        request = RequestHead("GET", self.server.address + self.path, headers)
        self.server.asked.append((code, self.client_address[1]))
        if code in SHAPES or code == "WHOLE":
            self.shaped(request, code)
        else:
            _ANSWERS[code](self, request)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""

    def sealed(
        self,
        request: RequestHead,
        key: SigningKey | None = None,
        *,
        age_s: int = 0,
        body: bytes = BODY,
        digest_of: bytes = BODY,
        added: Headers = (),
    ) -> Headers:
        """Headers of an honest answer, but for what the arguments change."""
        headers: Headers = (
            ("content-type", "application/json"),
            ("x-road-id", dict(request.headers)["x-road-id"]),
            ("content-digest", content_digest(digest_of)),
            *added,
        )
        created = int(time.time()) - age_s
        signed = seal_response(
            request, ResponseHead(200, headers), key or self.server.key, created=created
        )
        return (*headers, *signed.headers_to_add)

    def answer(self, headers: Headers, body: bytes = BODY, status: int = 200) -> None:
        """Send exactly these headers, and keep no connection."""
        self.close_connection = True
        self.send_response_only(status)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("content-length", str(len(body)))
        self.send_header("connection", "close")
        self.end_headers()
        self.wfile.write(body)

    def shaped(self, request: RequestHead, shape: str) -> None:
        """An honest answer in a form that it must not have; in a good one when that is WHOLE."""
        fields = "".join(f"{name}: {value}\r\n" for name, value in self.sealed(request))
        self.wfile.write(SHAPES.get(shape, whole)(fields.encode("latin-1"), BODY))
        self.close_connection = shape in ENDS

    def honest(self, request: RequestHead) -> None:
        """What all others deviate from."""
        self.server.earlier = request
        self.answer(self.sealed(request))

    def told(self, request: RequestHead) -> None:
        """A page of entries, signed, whatever is in it."""
        page = self.server.page
        self.answer(self.sealed(request, digest_of=page), page)

    def proven(self, request: RequestHead) -> None:
        """A proof of completeness, signed."""
        proof = self.server.proof
        self.answer(self.sealed(request, digest_of=proof), proof)

    def anchored(self, request: RequestHead) -> None:
        """An anchor, signed by the organisation."""
        anchor = self.server.anchor
        self.answer(self.sealed(request, digest_of=anchor), anchor)

    def unsigned(self, request: RequestHead) -> None:
        """No signature at all."""
        self.answer(self.sealed(request)[:3])

    def foreign(self, request: RequestHead) -> None:
        """Signed by another member."""
        self.answer(self.sealed(request, self.server.foreign_key))

    def old(self, request: RequestHead) -> None:
        """Signed ten minutes ago."""
        self.answer(self.sealed(request, age_s=600))

    def changed(self, request: RequestHead) -> None:
        """Another status than was signed."""
        self.answer(self.sealed(request), status=203)

    def other_body(self, request: RequestHead) -> None:
        """Another body than the digest is of."""
        self.answer(self.sealed(request), json.dumps({"code": "P-2"}).encode())

    def added(self, request: RequestHead) -> None:
        """A header that nobody signed."""
        self.answer((*self.sealed(request), ("x-added", "1")))

    def hop_by_hop(self, request: RequestHead) -> None:
        """Fields that no signature covers."""
        self.answer((*self.sealed(request), ("proxy-authenticate", "Basic"), ("upgrade", "h2c")))

    def other_request(self, request: RequestHead) -> None:
        """The answer to a call of before."""
        self.answer(self.sealed(self.server.earlier or request))

    def other_client(self, request: RequestHead) -> None:
        """Signed as an answer to another client."""
        self.answer(self.sealed(request, added=(("x-road-client", "LA/GOV/MOF/other"),)))

    def other_service(self, request: RequestHead) -> None:
        """Signed as the answer of another service."""
        self.answer(self.sealed(request, added=(("x-road-service", "LA/GOV/MPI/other/one"),)))

    def other_target(self, request: RequestHead) -> None:
        """Bound to another target with the same message id."""
        self.answer(self.sealed(replace(request, target_uri=request.target_uri + "?x=1")))

    def slow(self, request: RequestHead) -> None:
        """No answer in time."""
        time.sleep(4)
        self.close_connection = True

    def nonsense(self, request: RequestHead) -> None:
        """Not HTTP."""
        self.wfile.write(b"220 smtp.example ESMTP\r\n")
        self.close_connection = True

    def hangup(self, request: RequestHead) -> None:
        """The connection ends."""
        self.close_connection = True

    def endless(self, request: RequestHead) -> None:
        """More than is accepted."""
        self.answer(self.sealed(request), b"x" * 200_000)

    def _refuse(self, request: RequestHead, code: str) -> tuple[Headers, Headers]:
        """The fields of a refusal of X-Road 7.8's making, and of its signature."""
        headers: Headers = (
            ("content-type", "application/json"),
            ("x-road-error", f"server.serverproxy.{code}"),
            ("x-road-id", dict(request.headers)["x-road-id"]),
            ("content-digest", content_digest(REFUSAL)),
        )
        signed = seal_response(
            request, ResponseHead(403, headers), self.server.key, created=int(time.time())
        )
        return headers, signed.headers_to_add

    def snake(self, request: RequestHead) -> None:
        """A signed refusal whose type is spelled in X-Road 7.8's way."""
        headers, signature = self._refuse(request, "access_denied")
        self.answer((*headers, *signature), REFUSAL, 403)

    def unsigned_snake(self, request: RequestHead) -> None:
        """The same without a signature."""
        headers, _ = self._refuse(request, "unknown_member")
        self.answer(headers, REFUSAL, 403)


_ANSWERS: dict[str, Callable[[_Handler, RequestHead], None]] = {
    "P-1": _Handler.honest,
    "entries": _Handler.told,
    "completeness": _Handler.proven,
    "anchor": _Handler.anchored,
    "UNSIGNED": _Handler.unsigned,
    "FOREIGN": _Handler.foreign,
    "OLD": _Handler.old,
    "CHANGED": _Handler.changed,
    "OTHERBODY": _Handler.other_body,
    "ADDED": _Handler.added,
    "HOPBYHOP": _Handler.hop_by_hop,
    "OTHERREQUEST": _Handler.other_request,
    "OTHERCLIENT": _Handler.other_client,
    "OTHERSERVICE": _Handler.other_service,
    "OTHERTARGET": _Handler.other_target,
    "SLOW": _Handler.slow,
    "NONSENSE": _Handler.nonsense,
    "HANGUP": _Handler.hangup,
    "ENDLESS": _Handler.endless,
    "SNAKE": _Handler.snake,
    "SNAKEUNSIG": _Handler.unsigned_snake,
}


@contextmanager
def hostile_server(world: SmallWorld, certificate: Path, key: Path) -> Iterator[HostileServer]:
    """Stand at MPI's address with this TLS certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.load_cert_chain(certificate, key)
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(world.world.authorities)
    server = HostileServer(world, context)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join(10)
