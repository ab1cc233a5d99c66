"""A server starts while the host of a WSDL hangs: its other services answer, and this one comes."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event, Thread
from time import sleep

import orjson
import pytest

import schemas
from adapters import kinds as known
from adapters.text.codec import register
from console.reference_world.plans import ApplicationPlan, MemberPlan, ServerPlan, ServicePlan
from console.reference_world.trade_portal import FOLDER
from console.reference_world.world import World
from exchange.identifiers import ApplicationId, ServiceId
from exchange.problems import Text
from tests.world.kinds import APPLICATION, KINDS, Made
from tests.world.small import BUDGET, MOF, MOF_SERVER, MPI, MPI_SERVER, Answer, exchange

TEXT = Text("Offices", "ຫ້ອງການ")


@dataclass(slots=True)
class HangingHost:
    """Gives the documents of the trade portal, but not before it is released."""

    released: Event = field(default_factory=Event)
    listening: socket.socket = field(default_factory=lambda: socket.create_server(("127.0.0.1", 0)))

    def start(self) -> str:
        """Its address."""
        Thread(target=self._serve, daemon=True).start()
        return f"http://127.0.0.1:{self.listening.getsockname()[1]}"

    def _serve(self) -> None:
        with suppress(OSError):  # closed
            while True:
                connection, _ = self.listening.accept()
                Thread(target=self._answer, args=(connection,), daemon=True).start()

    def _answer(self, connection: socket.socket) -> None:
        with connection, suppress(OSError):
            path = connection.recv(4_096).split()[1].decode()
            self.released.wait(120)
            body = (FOLDER / path.lstrip("/")).read_bytes()
            head = f"HTTP/1.1 200 OK\r\ncontent-length: {len(body)}\r\nconnection: close\r\n\r\n"
            connection.sendall(head.encode() + body)


@pytest.fixture
def host() -> Iterator[HangingHost]:
    running = HangingHost()
    yield running
    running.released.set()
    running.listening.close()


def _service(folder: Path, code: str, made: Made, url: str) -> ServicePlan:
    """The service with its contract as published; its WSDL is then to be fetched from ``url``."""
    path = folder / "mapping.yaml"
    path.write_text(made.mapping, "utf-8")
    contract = folder / "openapi.json"
    contract.write_bytes(known.read(path).document(code, schemas.load_all()))
    changed = re.sub('wsdl: "[^"]*"', f'wsdl: "{url}/trade.wsdl"', made.mapping)
    path.write_text(changed, "utf-8")
    identifier = ServiceId.parse(f"{APPLICATION}/{code}")
    return ServicePlan(identifier, TEXT, contract, {"adapter": str(path), "openapi": str(contract)})


def _agreement(made: dict[str, Made]) -> dict[str, object]:
    text = {"en": "Offices", "lo": "ຫ້ອງການ"}
    return {
        "id": "mof-mpi", "version": 1, "title": text, "provider": str(MPI), "consumer": str(BUDGET),
        "grants": [
            {
                "service": f"{APPLICATION}/{code}",
                "endpoints": [{"method": "GET", "path": path} for path in one.endpoints],
                "fields": ["*"],
            }
            for code, one in made.items()
        ],
        "purposes": [{"code": "statistics", "title": text, "legal_basis": text}],
        "valid_from": "2020-01-01T00:00:00Z", "valid_until": "2099-01-01T00:00:00Z",
    }  # fmt: skip


def test_a_service_whose_wsdl_does_not_come_keeps_nobody_waiting(
    tmp_path: Path, host: HangingHost, request: pytest.FixtureRequest
) -> None:
    """Its callers are told, health shows it, and it answers when the host does: no restart."""
    register()
    url, made = host.start(), {}
    for code in ("soap", "files-csv"):
        (tmp_path / code).mkdir()
        made[code] = KINDS[code](tmp_path / code, code, request)
    planned = tuple(_service(tmp_path / code, code, one, url) for code, one in made.items())
    registers = ApplicationPlan(ApplicationId.parse(APPLICATION), TEXT, "http")
    world = World(tmp_path / "world")
    try:
        world.open_instance(Text("Lao PDR", "ສປປ ລາວ"))
        budget = ApplicationPlan(BUDGET, TEXT, "http")
        world.add_server(ServerPlan(MOF_SERVER, (MemberPlan(MOF, TEXT, (budget,)),)))
        world.add_server(ServerPlan(MPI_SERVER, (MemberPlan(MPI, TEXT, (registers,), planned),)))
        world.agree(_agreement(made))
        world.start()
        assert not host.released.is_set()

        def call(code: str, identifier: str) -> Answer:
            headers = {"X-Road-Client": str(BUDGET), "Exchange-Purpose": "statistics"}
            target = f"/r1/{APPLICATION}/{code}{made[code].good}"
            address = world.servers[MOF_SERVER].url("http")
            return exchange(address, "GET", target, headers | {"X-Road-Id": identifier})

        def described(code: str) -> Answer:
            target = f"/r1/{APPLICATION}/getOpenAPI?serviceCode={code}"
            address = world.servers[MOF_SERVER].url("http")
            return exchange(address, "GET", target, {"X-Road-Client": str(BUDGET)})

        refused = call("soap", "before")
        assert (refused.status, b"SourceFailed" in refused.body) == (502, True)
        assert url.encode() not in refused.body
        assert call("files-csv", "beside").status == 200
        undescribed = described("soap")
        assert (undescribed.status, b"SourceFailed" in undescribed.body) == (502, True)
        admin = world.servers[MPI_SERVER].url("admin")
        checks = orjson.loads(exchange(admin, "GET", "/healthz", {}).body)["checks"]
        assert checks["services"]["absent"].keys() == {f"{APPLICATION}/soap"}
        host.released.set()
        for attempt in range(600):
            answer = call("soap", f"after-{attempt}")
            if answer.status == 200:
                break
            sleep(0.1)
        assert orjson.loads(answer.body) == made["soap"].answer
        assert orjson.loads(described("soap").body)["paths"]
    finally:
        world.close()
