"""`saphan bench once`: one evidence request over three sources, against the slowest of them.

Three ministries on one server, each with a register that takes a time of its own to answer. In each
round the three are called one by one, as an application calls a service, and then all of them by
one evidence request, in the same run on the same connection. The promise: not more than 1.5 times
the slowest source, and 5 ms. Registers that take no time are measured too: there the processors of
the machine are what is shared.
"""

from __future__ import annotations

import asyncio
import http.client
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any, Final
from urllib.parse import urlsplit

import click
import orjson

from benchmarks.sides import AGREEMENT_TAKEN_S
from console.cli.options import JSON
from console.reference_world.plans import ApplicationPlan, MemberPlan, ServerPlan, ServicePlan
from console.reference_world.world import World
from exchange.documents import format_document
from exchange.identifiers import ApplicationId, MemberId, ServerId, ServiceId
from exchange.problems import Code, Problem, Text
from exchange.registrations import ELEMENTS_TARGET

FACTOR: Final = 1.5
ALLOWANCE_MS: Final = 5.0
DELAYS_MS: Final = ((20, 40, 60), (0, 0, 0))
_PORTAL: Final = ApplicationId.parse("LA/GOV/DGC/e-services")
_SERVICES: Final = tuple(
    ServiceId.parse(f"LA/GOV/{code}/register/records") for code in ("MOHA", "MOES", "MPS")
)
_PURPOSE: Final = "enrolment"
_SUBJECT: Final = "la-nid:7715500042"
_TEXT: Final = {"en": "for measuring", "lo": "ສຳລັບວັດແທກ"}
_HEADERS: Final = {"X-Road-Client": str(_PORTAL), "Exchange-Purpose": _PURPOSE}


@dataclass(frozen=True, slots=True)
class Result:
    """Medians in milliseconds; ``kept`` is the share of rounds within the promise."""

    delays_ms: tuple[int, ...]
    rounds: int
    sources_ms: tuple[float, ...]
    slowest_ms: float
    evidence_ms: float
    ratio: float
    allowed_ms: float
    kept: float


class _Registers:
    """Registers that answer after a while, in a thread of their own."""

    def __init__(self) -> None:
        self.delays_ms: tuple[int, ...] = (0, 0, 0)
        self.port = 0
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), daemon=True)
        self._thread.start()
        self._ready.wait(10)

    async def _serve(self) -> None:
        server = await asyncio.start_server(self._converse, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        await asyncio.Event().wait()

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        body = orjson.dumps({"value": "ໂພນໄຊ"})
        head = (
            "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\n\r\n"
        ).encode()
        try:
            while line := await reader.readuntil(b"\r\n\r\n"):
                which = int(line.split(b"/", 2)[1])
                await asyncio.sleep(self.delays_ms[which] / 1000)
                writer.write(head + body)
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()


def _member(folder: Path, number: int, port: int) -> MemberPlan:
    service = _SERVICES[number]
    schema = {"type": "object", "properties": {"value": {"type": "string"}}}
    nid = {"name": "nid", "in": "path", "required": True, "schema": {"type": "string"}}
    answer = {"description": "found", "content": {"application/json": {"schema": schema}}}
    operation = {"parameters": [nid], "responses": {"200": answer}}
    document = {
        "openapi": "3.1.0",
        "info": {"title": "Records", "version": "1.0.0"},
        "paths": {f"/{number}/{{nid}}": {"get": operation}},
    }
    path = folder / f"records-{number}.json"
    path.write_bytes(orjson.dumps(document))
    settings = {"url": f"http://127.0.0.1:{port}", "openapi": str(path)}
    text = Text(**_TEXT)
    application = ApplicationPlan(service.application, text)
    return MemberPlan(
        service.member, text, (application,), (ServicePlan(service, text, path, settings),)
    )


def _element(number: int) -> dict[str, Any]:
    return {
        "id": f"measured.value-{number}",
        "version": 1,
        "name": _TEXT,
        "definition": _TEXT,
        "schema": {"type": "string"},
        "subject": "la-nid",
        "source": {
            "service": str(_SERVICES[number]),
            "path": f"/{number}/{{subject}}",
            "pointer": "/value",
        },
        "legal_basis": _TEXT,
        "validity": "P1D",
    }


def _agreement(number: int) -> dict[str, Any]:
    service = _SERVICES[number]
    endpoints = [{"method": "GET", "path": f"/{number}/{{nid}}"}]
    return {
        "id": f"benchmark-{number}",
        "version": 1,
        "title": _TEXT,
        "provider": str(service.member),
        "consumer": str(_PORTAL),
        "grants": [{"service": str(service), "endpoints": endpoints, "fields": ["*"]}],
        "purposes": [{"code": _PURPOSE, "title": _TEXT, "legal_basis": _TEXT}],
        "valid_from": "2020-01-01T00:00:00Z",
        "valid_until": "2099-01-01T00:00:00Z",
    }


@contextmanager
def _world(registers: _Registers) -> Iterator[str]:
    """Two servers; gives the address for applications."""
    with tempfile.TemporaryDirectory(prefix="saphan-bench-") as name:
        folder = Path(name)
        world = World(folder / "world")
        try:
            world.open_instance(Text("Lao PDR", "ສປປ ລາວ"))
            members = tuple(_member(folder, number, registers.port) for number in range(3))
            world.add_server(ServerPlan(ServerId.parse(f"{members[0].id}/ss1"), members))
            portal = ApplicationPlan(_PORTAL, Text(**_TEXT), "http")
            owner = MemberPlan(MemberId.parse("LA/GOV/DGC"), Text(**_TEXT), (portal,))
            world.add_server(ServerPlan(ServerId.parse(f"{owner.id}/ss1"), (owner,)))
            elements = [_element(number) for number in range(3)]
            world.publish({ELEMENTS_TARGET: format_document({"elements": elements})})
            for number in range(3):
                world.agree(_agreement(number))
            world.start()
            time.sleep(AGREEMENT_TAKEN_S)
            yield world.server_of(owner.id).url("http")
        finally:
            world.close()


class _Caller:
    """An application with one connection."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=30)

    def source(self, number: int) -> None:
        """Call one source as a service."""
        path = f"/r1/{_SERVICES[number]}/{number}/{_SUBJECT.partition(':')[2]}"
        self._exchange("GET", path, None)

    def evidence(self) -> None:
        """Ask all three."""
        body = {
            "subject": _SUBJECT,
            "elements": [f"measured.value-{number}" for number in range(3)],
            "purpose": _PURPOSE,
            "request": {"kind": "statutory", "legal_basis": "for measuring"},
        }
        answer = self._exchange("POST", "/once-only/evidence", orjson.dumps(body))
        if len(answer["values"]) != 3:
            raise Problem(Code.INTERNAL_ERROR, where="evidence", detail=f"{answer['missing']}")

    def _exchange(self, method: str, path: str, body: bytes | None) -> Any:
        headers: Mapping[str, str] = _HEADERS
        if body is not None:
            headers = {**_HEADERS, "Content-Type": "application/json"}
        self._connection.request(method, path, body, dict(headers))
        answer = self._connection.getresponse()
        data = answer.read()
        if answer.status != 200:
            raise Problem(Code.INTERNAL_ERROR, where=path, detail=f"{answer.status}: {data!r}")
        return orjson.loads(data)


def _ms(act: Callable[[], object]) -> float:
    begun = time.perf_counter()
    act()
    return (time.perf_counter() - begun) * 1000


def measure(caller: _Caller, delays_ms: Sequence[int], rounds: int) -> Result:
    """Rounds of three calls and one evidence request; the first ones, which open lines, are not
    counted."""
    singles: list[tuple[float, ...]] = []
    together: list[float] = []
    for turn in range(rounds + 3):
        each = tuple(_ms(partial(caller.source, number)) for number in range(3))
        whole = _ms(caller.evidence)
        if turn >= 3:
            singles.append(each)
            together.append(whole)
    slowest = median(max(each) for each in singles)
    allowed = FACTOR * slowest + ALLOWANCE_MS
    kept = [
        whole <= FACTOR * max(each) + ALLOWANCE_MS
        for each, whole in zip(singles, together, strict=True)
    ]
    return Result(
        tuple(delays_ms),
        rounds,
        tuple(round(median(each[number] for each in singles), 2) for number in range(3)),
        round(slowest, 2),
        round(median(together), 2),
        round(median(together) / slowest, 3),
        round(allowed, 2),
        sum(kept) / len(kept),
    )


@click.command()
@click.option(
    "--rounds", type=click.IntRange(1, 10_000), default=100, show_default=True, help="Rounds."
)
@JSON
def once(rounds: int, as_json: bool) -> None:
    """One evidence request over three sources, against the slowest of them."""
    registers = _Registers()
    results = []
    with _world(registers) as url:
        caller = _Caller(url)
        for delays_ms in DELAYS_MS:
            registers.delays_ms = delays_ms
            results.append(measure(caller, delays_ms, rounds))
    if as_json:
        click.echo(orjson.dumps({"results": [asdict(one) for one in results]}).decode())
        return
    for one in results:
        waits = ", ".join(f"{delay}" for delay in one.delays_ms)
        click.echo(f"registers that take {waits} ms; {one.rounds} rounds, medians")
        click.echo(f"  the slowest source     {one.slowest_ms:8.1f} ms")
        click.echo(f"  evidence of all three  {one.evidence_ms:8.1f} ms   {one.ratio:.2f} times")
        click.echo(
            f"  allowed                {one.allowed_ms:8.1f} ms   "
            f"{FACTOR:g} times and {ALLOWANCE_MS:g} ms; kept in {one.kept:.0%} of the rounds"
        )
