"""A record is written through two servers, once, whatever is repeated or killed in between."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import schemas
from adapters import kinds
from console.reference_world.plans import ApplicationPlan, MemberPlan, ServerPlan, ServicePlan
from console.reference_world.world import World
from exchange.identifiers import ApplicationId, MemberId, ServerId, ServiceId
from exchange.problems import Text
from tests.adapters.writes.library import BOOK, MAPPING, fill, rows
from tests.world.small import Answer, exchange

LIBRARY = ApplicationId.parse("LA/GOV/MOES/library")
PORTAL = ApplicationId.parse("LA/GOV/MOF/portal")
OWNER, READER = LIBRARY.member, PORTAL.member
OWNERS, READERS = ServerId.parse("LA/GOV/MOES/ss1"), ServerId.parse("LA/GOV/MOF/ss1")
URL = "sqlite:///{folder}/library.db"


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    """A library that lets a portal write, and the portal."""
    with tempfile.TemporaryDirectory(prefix="saphan-") as name:
        folder = Path(name)
        url = URL.format(folder=folder)
        fill(url)
        mapping = folder / "library.yaml"
        text = MAPPING.replace("LIMITS", "max_connections: 2")
        text = text.replace("write_url_env: LIBRARY_WRITER_URL", f"write_url: {url}")
        mapping.write_text(text.replace("${LIBRARY_URL}", url), "utf-8")
        openapi = folder / "openapi.json"
        openapi.write_bytes(kinds.read(mapping).document("books", schemas.load_all()))
        service = ServicePlan(
            ServiceId.parse(f"{LIBRARY}/books"),
            Text("Books", "ປຶ້ມ"),
            openapi,
            {"adapter": str(mapping)},
        )
        world = World(folder / "world")
        try:
            world.open_instance(Text("Lao PDR", "ສປປ ລາວ"))
            world.add_server(ServerPlan(READERS, (_member(READER, PORTAL, ()),)))
            world.add_server(ServerPlan(OWNERS, (_member(OWNER, LIBRARY, (service,)),)))
            world.agree(_agreement())
            world.start()
            yield world
        finally:
            world.close()


def _member(
    member: MemberId, application: ApplicationId, services: tuple[ServicePlan, ...]
) -> MemberPlan:
    plan = ApplicationPlan(application, Text(application.application_code, "ລະບົບ"), "http")
    return MemberPlan(member, Text(member.member_code, "ອົງການ"), (plan,), services)


def _agreement() -> dict[str, object]:
    text = {"en": "Books", "lo": "ປຶ້ມ"}
    opened = (("GET", "/books/{number}"), ("POST", "/books"), ("PATCH", "/books/{number}"))
    return {
        "id": "mof-moes",
        "version": 1,
        "title": text,
        "provider": str(OWNER),
        "consumer": str(PORTAL),
        "grants": [
            {
                "service": f"{LIBRARY}/books",
                "endpoints": [{"method": method, "path": path} for method, path in opened],
                "fields": ["*"],
            }
        ],
        "purposes": [{"code": "statistics", "title": text, "legal_basis": text}],
        "valid_from": "2020-01-01T00:00:00Z",
        "valid_until": "2099-01-01T00:00:00Z",
    }


def call(
    world: World, method: str, path: str, identifier: str, body: Any = None, **more: str
) -> Answer:
    headers = {
        "X-Road-Client": str(PORTAL),
        "X-Road-Id": identifier,
        "Exchange-Purpose": "statistics",
        "Content-Type": "application/json",
    } | {name.replace("_", "-"): value for name, value in more.items()}
    data = None if body is None else json.dumps(body).encode()
    url = world.servers[READERS].url("http")
    return exchange(url, method, f"/r1/{LIBRARY}/books{path}", headers, data)


def ledger(world: World) -> list[tuple[Any, ...]]:
    url = URL.format(folder=world.directory.parent)
    return rows(url, "SELECT client, id, status FROM saphan_writes ORDER BY id")


def test_a_message_is_written_once(world: World) -> None:
    """The ledger has the client and the id that were signed; a repeat gets the first answer, also
    from a server that was killed since."""
    first = call(world, "POST", "/books", "w1", BOOK)
    assert (first.status, first.json) == (201, BOOK), first.body
    changed = call(world, "PATCH", "/books/7", "w2", {"note": "ໃໝ່"})
    assert (changed.status, changed.json["note"]) == (200, "ໃໝ່")
    again = call(world, "POST", "/books", "w1", BOOK)
    assert (again.status, again.body) == (201, first.body)
    server = world.servers[OWNERS]
    server.process.kill()
    world.start(OWNERS)
    after = call(world, "POST", "/books", "w1", BOOK)
    assert (after.status, after.body) == (201, first.body)
    assert [str(PORTAL)] == list({client for client, _, _ in ledger(world)})
    assert [entry[1:] for entry in ledger(world)] == [("w1", 201), ("w2", 200)]


def test_a_refusal_crosses(world: World) -> None:
    """409 with the place; and what the agreement does not open is not written."""
    before = ledger(world)
    answer = call(world, "POST", "/books", "w3", BOOK | {"number": 8, "isbn": "1"})
    assert (answer.status, answer.json["where"]) == (409, "body#/isbn")
    answer = call(world, "PATCH", "/books/2", "w5", {"note": "x"}, if_match='"yesterday"')
    assert (answer.status, answer.json["where"]) == (412, "header.if-match")
    answer = call(world, "DELETE", "/books/2", "w4")
    assert answer.status == 403
    assert ledger(world) == before
