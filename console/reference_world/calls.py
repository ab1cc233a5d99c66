"""Calls as the applications of the world make them, and the entries that they leave behind."""

from __future__ import annotations

import http.client
import json
import ssl
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from console.reference_world.processes import health
from console.reference_world.standing import RunningServer
from console.reference_world.world import World
from exchange.identifiers import ApplicationId, ServiceId
from exchange.problems import Code, Problem
from mediator.journal.reader import JournalReader

CALL_TIMEOUT_S = 30.0
PUBLISHED_TIMEOUT_S = 15.0
_POLL_S = 0.05


@dataclass(frozen=True, slots=True)
class Answer:
    """What an application got."""

    status: int
    headers: dict[str, str]
    body: bytes
    took_ms: float

    @property
    def document(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)

    @property
    def code(self) -> str:
        """The code of the problem; empty for an answer that is none."""
        return self.headers.get("x-road-error", "").rpartition(".")[2]

    @property
    def message_id(self) -> str:
        """X-Road-Id: it names the exchange in all journals."""
        return self.headers.get("x-road-id", "")


@dataclass(frozen=True, slots=True)
class Left:
    """An entry that an exchange left in the journal of a server."""

    server: str
    index: int
    side: str
    kind: str
    at: str
    status: int | None
    problem: str | None
    where: str | None


def call(
    world: World,
    client: ApplicationId,
    service: ServiceId,
    path: str,
    *,
    purpose: str,
    message_id: str | None = None,
) -> Answer:
    """GET ``path`` of ``service`` through the client's own server, in the client's mode."""
    application = world.applications[client]
    server = world.server_of(client.member)
    headers = {"X-Road-Client": str(client), "Exchange-Purpose": purpose}
    if message_id:
        headers["X-Road-Id"] = message_id
    if application["mode"] == "http":
        return send(server.url("http"), f"/r1/{service}{path}", headers)
    context = ssl.create_default_context(cafile=str(world.authorities))
    context.load_cert_chain(application["certificate"], application["key"])
    return send(server.url("https"), f"/r1/{service}{path}", headers, context)


def ask_evidence(world: World, client: ApplicationId, request: Any) -> Answer:
    """One evidence request of an application in mode http at its own server."""
    headers = {"X-Road-Client": str(client), "Content-Type": "application/json"}
    url = world.server_of(client.member).url("http")
    return send(url, "/once-only/evidence", headers, body=json.dumps(request).encode())


def send(
    url: str,
    target: str,
    headers: dict[str, str],
    context: ssl.SSLContext | None = None,
    body: bytes | None = None,
) -> Answer:
    """One GET, or a POST of ``body``, on a connection of its own.

    Raises:
        Problem: ``InternalError`` when there is no answer.
    """
    host, port = urlsplit(url).hostname or "", urlsplit(url).port
    connection = (
        http.client.HTTPConnection(host, port, timeout=CALL_TIMEOUT_S)
        if context is None
        else http.client.HTTPSConnection(host, port, timeout=CALL_TIMEOUT_S, context=context)
    )
    started = time.perf_counter()
    try:
        connection.request("GET" if body is None else "POST", target, body, headers)
        response = connection.getresponse()
        answer = response.read()
    except (OSError, http.client.HTTPException) as error:
        raise Problem(
            Code.INTERNAL_ERROR, where=f"{url}{target}", detail=f"no answer: {error}"
        ) from error
    finally:
        connection.close()
    took_ms = (time.perf_counter() - started) * 1000
    fields = {name.lower(): value for name, value in response.getheaders()}
    return Answer(response.status, fields, answer, round(took_ms, 1))


def entries_of(servers: Sequence[RunningServer], message_id: str) -> tuple[Left, ...]:
    """The entries of an exchange in the journals of ``servers``, in the order of time."""
    found = []
    for server in servers:
        wait_published(server)
        for index, entry in JournalReader(server.journal).of_message(message_id):
            found.append(
                Left(
                    server=str(server.plan.id),
                    index=index,
                    side=entry.side.value,
                    kind=entry.kind.value,
                    at=entry.at.isoformat(timespec="milliseconds"),
                    status=entry.status,
                    problem=entry.problem,
                    where=entry.where,
                )
            )
    return tuple(sorted(found, key=lambda left: left.at))


def wait_published(server: RunningServer) -> None:
    """Wait until the journal has published all that it holds.

    Raises:
        Problem: ``InternalError`` when that takes too long.
    """
    deadline = time.monotonic() + PUBLISHED_TIMEOUT_S
    while time.monotonic() < deadline:
        checks: Any = health(f"{server.url('admin')}/healthz")["checks"]
        if checks["journal"]["published"] == checks["journal"]["entries"]:
            return
        time.sleep(_POLL_S)
    raise Problem(
        Code.INTERNAL_ERROR, where=str(server.plan.id), detail="its journal does not publish"
    )


def require(condition: bool, where: str, detail: str) -> None:
    """Go on only if the story is as it must be.

    Raises:
        Problem: ``InternalError`` at ``where`` when it is not.
    """
    if not condition:
        raise Problem(Code.INTERNAL_ERROR, where=where, detail=detail)
