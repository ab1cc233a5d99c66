"""A world for HTTP itself: raw bytes to a server's listener, raw bytes from a scripted backend.

MPI offers three services over one backend: ``files`` (any bytes), ``records`` (JSON that is
checked, released whole) and ``extracts`` (the same records, of which one field is released).
"""

from __future__ import annotations

import json
import re
import socket
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

from console.reference_world.plans import ApplicationPlan, MemberPlan, ServerPlan, ServicePlan
from console.reference_world.world import World
from exchange.identifiers import ServiceId
from exchange.problems import Text
from mediator.journal.index import Hit
from tests.world import small

FILES = ServiceId.parse("LA/GOV/MPI/oda-mis/files")
RECORDS = ServiceId.parse("LA/GOV/MPI/oda-mis/records")
EXTRACTS = ServiceId.parse("LA/GOV/MPI/oda-mis/extracts")
RECORD = b'{"code":"P-1","amount":12.5}'
METHODS = ("GET", "PUT", "POST", "PATCH", "DELETE")

Script: TypeAlias = Callable[[socket.socket, bytes], bool]
"""Answers one request on a connection; says whether the connection goes on."""


def _document(title: str, content: dict[str, Any]) -> dict[str, Any]:
    body = {"content": content}
    operation = {
        "requestBody": body,
        "responses": {"200": {"description": "it", **body}, "204": {"description": "nothing"}},
    }
    parameter = {"name": "name", "in": "path", "required": True, "schema": {"type": "string"}}
    return {
        "openapi": "3.1.0",
        "info": {"title": title, "version": "1.0.0"},
        "paths": {
            "/x/{name}": {"parameters": [parameter], **{m.lower(): operation for m in METHODS}}
        },
    }


ANY_BYTES = {"application/octet-stream": {}, "text/plain": {}}
CHECKED = {
    "application/json": {
        "schema": {
            "type": "object",
            "required": ["code", "amount"],
            "properties": {"code": {"type": "string"}, "amount": {"type": "number"}},
        }
    }
}


@dataclass(slots=True)
class Origin:
    """A backend of raw sockets: what it answers is looked up by the path's last segment."""

    port: int = 0
    seen: list[bytes] = field(default_factory=list)
    ports: list[int] = field(default_factory=list)
    """Of the connection that each request came on."""
    connections: int = 0
    scripts: dict[str, bytes | Script] = field(default_factory=dict)
    _listening: socket.socket = field(default_factory=socket.socket)
    _open: set[socket.socket] = field(default_factory=set)

    def start(self) -> None:
        self._listening = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port = self._listening.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def stop(self) -> None:
        self._listening.close()
        for connection in list(self._open):
            connection.close()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listening.accept()
            except OSError:
                return
            self.connections += 1
            self._open.add(connection)
            threading.Thread(target=self._converse, args=(connection,), daemon=True).start()

    def _converse(self, connection: socket.socket) -> None:
        with closing(connection):
            ahead = b""
            try:
                while True:
                    request, ahead = _read(connection, ahead)
                    self.seen.append(request)
                    self.ports.append(connection.getpeername()[1])
                    name = request.split(b" ", 2)[1].partition(b"?")[0].rpartition(b"/")[2]
                    script = self.scripts[name.decode()]
                    if isinstance(script, bytes):
                        connection.sendall(script)
                    elif not script(connection, request):
                        return
            except (OSError, EOFError, ValueError):
                return
            finally:
                self._open.discard(connection)


def _read(connection: socket.socket, data: bytes) -> tuple[bytes, bytes]:
    while b"\r\n\r\n" not in data:
        data += _more(connection)
    head, _, rest = data.partition(b"\r\n\r\n")
    found = re.search(rb"(?i)\r\ncontent-length: (\d+)", head)
    length = int(found[1]) if found else 0
    while len(rest) < length:
        rest += _more(connection)
    return head + b"\r\n\r\n" + rest[:length], rest[length:]


def _more(connection: socket.socket) -> bytes:
    data = connection.recv(65536)
    if not data:
        raise EOFError
    return data


@dataclass(frozen=True, slots=True)
class Reply:
    """A reply as it came: fields in order, names in lower case."""

    status: int
    fields: tuple[tuple[str, str], ...]
    body: bytes

    def all(self, name: str) -> list[str]:
        return [value for each, value in self.fields if each == name]

    @property
    def code(self) -> str:
        return "".join(self.all("x-road-error")).rpartition(".")[2]


@dataclass(slots=True)
class HttpWorld:
    """The running world."""

    small: small.SmallWorld
    origin: Origin

    def hits(self, *, provider: bool = False, **conditions: Any) -> list[Hit]:
        server = self.small.mpi if provider else self.small.mof
        return self.small.hits(server, **conditions)

    def connect(self, timeout_s: float = 20) -> socket.socket:
        """A connection to the listener of applications."""
        return socket.create_connection(("127.0.0.1", self.small.mof.ports["http"]), timeout_s)

    def send(self, data: bytes) -> bytes:
        """Whatever these bytes bring until the server ends the connection."""
        with self.connect() as connection:
            connection.sendall(data)
            return b"".join(iter(lambda: connection.recv(65536), b""))

    def ask(
        self,
        name: str,
        *lines: str,
        service: ServiceId = FILES,
        method: str = "GET",
        body: bytes = b"",
        answer: bytes | Script | None = None,
    ) -> Reply:
        """One request for ``/x/{name}``, which the backend answers with ``answer``."""
        if answer is not None:
            self.origin.scripts[name] = answer
        return parse(self.send(request(name, *lines, service=service, method=method, body=body)))

    def asked(self, name: str) -> bytes:
        """The last request that the backend got for this name."""
        return [item for item in self.origin.seen if f"/{name} ".encode() in item][-1]


def request(
    name: str,
    *lines: str,
    service: ServiceId = FILES,
    method: str = "GET",
    body: bytes = b"",
) -> bytes:
    """The bytes of a request of the budget application."""
    head = [
        f"{method} /r1/{service}/x/{name} HTTP/1.1",
        "Host: localhost",
        f"X-Road-Client: {small.BUDGET}",
        f"Exchange-Purpose: {small.PURPOSE}",
        *lines,
    ]
    if not any(line.lower().startswith("connection:") for line in lines):
        head.append("Connection: close")
    if body and not any(line.lower().startswith("transfer-encoding:") for line in lines):
        head.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*head, "", ""]).encode("latin-1") + body


def parse(data: bytes) -> Reply:
    """The last reply in what came; interim ones are passed over."""
    while data.startswith(b"HTTP/1.1 1"):
        data = data.partition(b"\r\n\r\n")[2]
    head, _, body = data.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    fields = [line.partition(": ") for line in lines]
    return Reply(
        int(first.split(" ")[1]), tuple((name.lower(), value) for name, _, value in fields), body
    )


def ok(body: bytes, *lines: str, status: str = "200 OK", kind: str = "text/plain") -> bytes:
    """An answer of the backend."""
    head = [f"HTTP/1.1 {status}", f"Content-Type: {kind}", f"Content-Length: {len(body)}", *lines]
    return "\r\n".join([*head, "", ""]).encode("latin-1") + body


def _plans(folder: Path, port: int, limits: dict[str, Any]) -> tuple[ServerPlan, ServerPlan]:
    title = Text("HTTP", "HTTP")
    services = []
    for service, content in ((FILES, ANY_BYTES), (RECORDS, CHECKED), (EXTRACTS, CHECKED)):
        path = folder / f"{service.service_code}.json"
        path.write_text(json.dumps(_document(service.service_code, content)))
        settings = {
            "url": f"http://127.0.0.1:{port}/base",
            "openapi": str(path),
            "timeout_s": 2.0,
            "response_max_bytes": limits.get("answer_max_bytes", 1 << 20),
        }
        services.append(ServicePlan(service, title, path, settings))
    bounds = {
        "limits": {"request_max_bytes": 65536, "read_s": 1.0, "head_s": 1.0, **limits},
        "journal": {"publish_interval_s": 0.05},
    }
    budget = ApplicationPlan(small.BUDGET, Text("Budget", "ງົບປະມານ"), "http")
    oda_mis = ApplicationPlan(small.ODA_MIS, Text("ODA", "ODA"), "http")
    finance, planning = Text("Finance", "ການເງິນ"), Text("Planning", "ແຜນການ")
    return (
        ServerPlan(small.MOF_SERVER, (MemberPlan(small.MOF, finance, (budget,)),), bounds),
        ServerPlan(
            small.MPI_SERVER,
            (MemberPlan(small.MPI, planning, (oda_mis,), tuple(services)),),
            bounds,
        ),
    )


def _agreement() -> dict[str, Any]:
    endpoints = [{"method": method, "path": "/x/{name}"} for method in METHODS]
    grants = [
        {"service": str(service), "endpoints": endpoints, "fields": fields}
        for service, fields in ((FILES, ["*"]), (RECORDS, ["*"]), (EXTRACTS, ["/code"]))
    ]
    return small.agreement("http", grants=grants)


@contextmanager
def http_world(**limits: Any) -> Iterator[HttpWorld]:
    """Build, start and end the world in a folder of its own."""
    origin = Origin()
    origin.start()
    with tempfile.TemporaryDirectory(prefix="saphan-") as name:
        folder = Path(name)
        world = World(folder / "world")
        try:
            world.open_instance(Text("Lao PDR", "ສປປ ລາວ"))
            for plan in _plans(folder, origin.port, limits):
                world.add_server(plan)
            world.agree(_agreement())
            world.start()
            yield HttpWorld(small.SmallWorld(world, None), origin)  # type: ignore[arg-type]
        finally:
            world.close()
            origin.stop()
