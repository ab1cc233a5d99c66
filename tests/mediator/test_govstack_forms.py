"""GovStack's form of an answer: statuses as declared, and what a provider cannot make of it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import orjson
import pytest

from exchange.problems import Code
from mediator.govstack.directory import MAX_LISTING_BYTES, Directory
from serving.bodies import Body, Room, Spools
from serving.requests import Reply, Request

TARGET = "/r1/LA/GOV/MPI/oda-mis/"
JSON = (("content-type", "application/json"), ("x-road-id", "LA-1"))


@dataclass
class Inlet:
    """The inlet behind: gives one answer, keeps what it was asked and what was refused."""

    reply: Reply
    asked: list[str] = field(default_factory=list)
    refused: list[tuple[str, str]] = field(default_factory=list)

    @property
    def recorder(self) -> Inlet:
        return self

    async def handle(self, request: Request) -> Reply:
        self.asked.append(request.target)
        return self.reply

    async def refused_request(self, problem: Any, method: str, target: str, *_: object) -> None:
        self.refused.append((problem.code, target))


@dataclass
class Came:
    """A request as the listener hands it over."""

    target: str
    room: Room
    method: str = "GET"
    headers: tuple[tuple[str, str], ...] = (("x-govstack-client", "LA/GOV/MOF/budget"),)
    fault: Any = None


@pytest.fixture
async def room(tmp_path: Path) -> AsyncIterator[Room]:
    room = Spools(tmp_path).room()
    yield room
    room.end()


async def ask(inlet: Inlet, room: Room, service: str, **changes: Any) -> Reply:
    directory = Directory(cast(Any, inlet), cast(Any, inlet), cast(Any, None))
    return await directory.handle(cast(Request, Came(TARGET + service, room, **changes)))


@pytest.mark.parametrize(
    ("honest", "declared"),
    [(400, 400), (403, 400), (404, 400), (429, 400), (500, 500), (502, 500), (503, 500)],
)
async def test_a_refusal_has_one_of_the_declared_statuses(
    room: Room, honest: int, declared: int
) -> None:
    """400 for what the caller must mend, 500 for the rest; type and Retry-After stay."""
    headers = (("x-road-error", "Server.ServerProxy.X"), ("retry-after", "5"))
    inlet = Inlet(Reply(honest, headers, b"{}"))
    assert await ask(inlet, room, "listMethods") == Reply(declared, headers, b"{}")
    assert inlet.asked == [f"{TARGET}listMethods"]


@pytest.mark.parametrize(
    "body",
    [
        b"no JSON",
        b"[]",
        b'"text"',
        b'{"service":7}',
        b'{"service":[{}]}',
        b'{"service":[7]}',
        b'{"service":[{"xroad_instance":"LA","member_class":"GOV","member_code":"_","subsystem_code"'
        b':"a","service_code":"s","service_type":"REST"}]}',
    ],
)
async def test_what_is_no_list_is_refused_and_recorded(room: Room, body: bytes) -> None:
    """The other server's fault: 500, and an entry beside those of the exchange."""
    inlet = Inlet(Reply(200, JSON, body))
    reply = await ask(inlet, room, "listMethods")
    assert reply.status == 500
    assert dict(reply.headers)["x-road-error"].endswith(f".{Code.PEER_NONSENSE}")
    assert inlet.refused == [(Code.PEER_NONSENSE, f"{TARGET}listMethods")]


async def test_fields_of_the_exchange_stay_and_those_of_the_old_body_go(room: Room) -> None:
    """The shaped body has another type and length; whose answer it is does not change."""
    headers = (*JSON, ("content-length", "14"), ("etag", '"x"'))
    reply = await ask(Inlet(Reply(200, headers, b'{"service":[]}')), room, "allowedMethods")
    assert reply == Reply(
        200, (("x-road-id", "LA-1"), ("content-type", "application/json")), b'{"member":[]}'
    )


async def _spooled(room: Room, data: bytes) -> Body:
    spool = room.spool()
    await spool.write([data])
    return spool.done()


async def test_a_long_document_is_one_string_too(room: Room) -> None:
    """A document beyond what is kept in memory comes from the spool."""
    text = '{"openapi":"3.1.0","x":"' + "ກ" * 500_000 + '"}'
    body = await _spooled(room, text.encode())
    reply = await ask(Inlet(Reply(200, JSON, body)), room, "getOpenAPI?serviceCode=x")
    assert reply.status == 200
    assert orjson.loads(cast(bytes, reply.body)) == text


async def test_what_is_too_long_for_a_document_is_not_read(room: Room) -> None:
    """Another server cannot fill this one's memory with an answer that is shaped here."""
    body = await _spooled(room, b" " * (MAX_LISTING_BYTES + 1))
    inlet = Inlet(Reply(200, JSON, body))
    assert (await ask(inlet, room, "getOpenAPI?serviceCode=x")).status == 500
    assert [code for code, _ in inlet.refused] == [Code.PEER_NONSENSE]


async def test_a_document_that_is_no_text_is_refused(room: Room) -> None:
    """A JSON string holds Unicode."""
    inlet = Inlet(Reply(200, JSON, b"\xff"))
    assert (await ask(inlet, room, "getOpenAPI?serviceCode=x")).status == 500


@pytest.mark.parametrize(
    ("target", "changes"),
    [
        ("projects/listMethods", {}),
        ("listMethods/x", {}),
        ("listMethods", {"headers": ()}),
        ("listMethods", {"headers": (("x-road-client", "LA/GOV/MOF/budget"),)}),
        ("listMethods", {"method": "POST"}),
        ("listMethods", {"fault": object()}),
        ("getOpenApi", {}),
        ("projects/x", {}),
    ],
)
async def test_anything_else_is_the_inlets(
    room: Room, target: str, changes: dict[str, Any]
) -> None:
    """Passed on as it came, and its answer too."""
    inlet = Inlet(Reply(404, JSON, b"as it is"))
    assert await ask(inlet, room, target, **changes) == inlet.reply
    assert inlet.asked == [TARGET + target]
