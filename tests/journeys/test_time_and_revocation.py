"""Two servers with an authority that answers: stamps, revocation, an outage, and what is proven."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from certs.revocation import revoke
from console.cli.main import main
from console.reference_world.authority_services import AuthorityServices
from console.reference_world.processes import free_ports, health
from console.reference_world.world import RunningServer, World
from exchange.problems import Text
from tests.world import small
from tests.world.backend import Backend

QUICK: dict[str, Any] = {
    "journal": {"publish_interval_s": 0.05, "anchor_s": 0.1},
    "stamping": {"interval_s": 0.1, "timeout_s": 5.0, "alarm_s": 0.0},
    "revocation": {"refresh_s": 1.0, "timeout_s": 5.0, "alarm_s": 0.0},
}


@dataclass(slots=True)
class Built:
    small: small.SmallWorld
    port: int

    def check(self, server: RunningServer, name: str) -> dict[str, Any]:
        """One check of a server's health."""
        checks: Any = health(f"{server.url('admin')}/healthz")["checks"]
        found: dict[str, Any] = checks[name]
        return found

    def stop_authority(self) -> None:
        stamper = self.small.world.stamper
        assert stamper is not None
        stamper.stop()

    def start_authority(self) -> None:
        self.small.world.stamper = AuthorityServices(self.small.world.pki)
        self.small.world.stamper.start(self.port)


@pytest.fixture(scope="module")
def built() -> Iterator[Built]:
    backend = Backend()
    backend.start()
    with tempfile.TemporaryDirectory(prefix="saphan-") as name:
        folder = Path(name)
        world = World(folder / "world")
        try:
            world.open_instance(Text("Lao PDR", "ສປປ ລາວ"), time_stamps=True)
            for plan in small.plans(folder, backend.port, *free_ports(1)):
                world.add_server(replace(plan, settings={**plan.settings, **QUICK}))
            world.agree(small.agreement("mof-mpi"))
            world.start()
            assert world.stamper is not None
            port = int(world.stamper.url.rpartition(":")[2].partition("/")[0])
            yield Built(small.SmallWorld(world, backend), port)
        finally:
            backend.released.set()
            world.close()
            backend.stop()


def until(met: Callable[[], bool], within_s: float = 60.0) -> None:
    """Wait for what servers do by themselves."""
    deadline = time.monotonic() + within_s
    while not met():
        assert time.monotonic() < deadline, "it did not come about"
        time.sleep(0.05)


def audit(*arguments: str | Path) -> tuple[int, Any]:
    result = CliRunner().invoke(main, ["audit", *map(str, arguments), "--json"])
    return result.exit_code, json.loads(result.stdout)


def test_an_exchange_is_stamped_and_its_certificates_are_evidence(built: Built) -> None:
    """Soon after an exchange both journals have stamps over it, and what the authority said."""
    world = built.small
    assert world.call().status == 200
    for server in (world.mof, world.mpi):
        size = built.check(server, "journal")["entries"]
        until(lambda: built.check(server, "stamping")["stamped"] >= size)  # noqa: B023
        assert built.check(server, "stamping")["ok"]
        until(lambda: built.check(server, "revocation")["answered"] == 5)  # noqa: B023
        assert built.check(server, "revocation")["ok"]
        code, document = audit("verify", server.journal, "--ca", world.world.authorities)
        (verdict,) = document["verdicts"]
        assert code == 0, verdict["findings"]
        assert verdict["stamped"] >= size
        until(lambda: audit("verify", server.journal)[1]["verdicts"][0]["statements"] >= 2)  # noqa: B023


def test_an_outage_of_the_authority_stops_no_traffic(built: Built) -> None:
    """Calls go on, health tells; when it answers again, one stamp covers what was missed."""
    world = built.small
    built.stop_authority()
    for _ in range(3):
        assert world.call().status == 200
    for name in ("stamping", "revocation"):
        until(lambda: not built.check(world.mpi, name)["ok"])  # noqa: B023
    report: Any = health(f"{world.mpi.url('admin')}/healthz")
    assert report["status"] == "degraded"
    assert world.call().status == 200
    missed = built.check(world.mpi, "journal")["entries"]
    built.start_authority()
    until(lambda: built.check(world.mpi, "stamping")["stamped"] >= missed)
    for name in ("stamping", "revocation"):
        until(lambda: built.check(world.mpi, name)["ok"])  # noqa: B023
    code, document = audit("verify", world.mpi.journal, "--ca", world.world.authorities)
    assert (code, document["verdicts"][0]["stamped"] >= missed) == (0, True)


def test_a_revoked_seal_is_refused_and_recorded(built: Built) -> None:
    """Once the authority revokes MOF's seal, MPI's server refuses what is sealed with it."""
    world = built.small
    assert world.call().status == 200
    seal = world.mof.seals[small.MOF].certificate
    revoke(world.world.pki, seal, "keyCompromise", datetime.now(UTC))
    until(lambda: world.call().code == "CertificateRevoked")
    refusal, *_ = world.hits(world.mpi, problem="CertificateRevoked", kind="refusal")
    assert str(small.BUDGET) == refusal.client
    until(lambda: f"seal {small.MOF}" in built.check(world.mpi, "revocation")["revoked"])
    own = built.check(world.mof, "revocation")
    until(lambda: not built.check(world.mof, "revocation")["ok"])
    assert own["mode"] == "enforce"
