"""Two servers with an authority that answers: stamps, revocation, an outage, and what is proven."""

from __future__ import annotations

import contextlib
import json
import subprocess
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
from console.reference_world.standing import RunningServer
from console.reference_world.world import World
from exchange.certificates.reading import fingerprint_of
from exchange.problems import Text
from mediator.journal.evidence import EvidenceReader
from mediator.journal.export import SCRIPT
from tests.world import small
from tests.world.backend import Backend

QUICK: dict[str, Any] = {
    "journal": {"publish_interval_s": 0.05, "anchor_s": 0.3},
    "stamping": {"interval_s": 0.5, "timeout_s": 10.0, "alarm_s": 0.0},
    "revocation": {"refresh_s": 3.0, "timeout_s": 10.0, "alarm_s": 0.0},
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
            world.agree(small.agreement("pdi-mpi", small.PROVINCE))
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
        time.sleep(0.1)


def kept_of(server: RunningServer) -> int:
    """How many statements about certificates a server has kept."""
    with contextlib.closing(EvidenceReader.open(server.journal)) as reader:
        return len(list(reader.statements()))


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
        until(lambda: kept_of(server) >= 3)  # noqa: B023
        code, document = audit(
            "verify", server.journal, "--ca", world.world.authorities, "--processes", "1"
        )
        (verdict,) = document["verdicts"]
        assert code == 0, verdict["findings"]
        assert (verdict["stamped"] >= size, verdict["statements"] >= 3) == (True, True)


def test_evidence_holds_stamps_and_what_was_said_of_certificates(
    built: Built, tmp_path: Path
) -> None:
    """An export has OCSP answers about both signers and tokens; verify.sh finds them good."""
    world = built.small
    answer = world.call()
    assert answer.status == 200
    for server in (world.mof, world.mpi):
        size = built.check(server, "journal")["entries"]
        until(lambda: built.check(server, "stamping")["stamped"] >= size)  # noqa: B023
    evidence, script = tmp_path / "evidence", tmp_path / "verify.sh"
    arguments = ("--id", answer.headers["x-road-id"], "--also", world.mpi.journal, "-o", evidence)
    result = CliRunner().invoke(
        main, ["audit", "export", str(world.mof.journal), *map(str, arguments)]
    )
    assert result.exit_code == 0, result.output
    for member, server in ((small.MOF, world.mof), (small.MPI, world.mpi)):
        print_ = fingerprint_of(server.seals[member].certificate)
        assert list(evidence.glob(f"revocation/{print_}.*.ocsp"))
    assert list(evidence.glob("logs/0/tokens/*.tst"))
    assert list(evidence.glob("logs/1/tokens/*.tst"))
    script.write_text(SCRIPT, encoding="utf-8")
    run = subprocess.run(
        ["sh", script, "-c", world.world.authorities, evidence],
        capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert run.returncode == 0, run.stdout
    assert "the certificate was not revoked" in run.stdout
    assert "whether certificate" not in run.stdout


def test_an_auditors_container_is_stamped(built: Built, tmp_path: Path) -> None:
    """With --tsa the signature over an export has a time-stamp, which verify.sh finds good; an
    authority that cannot be asked is told, and nothing is written."""
    world = built.small
    answer = world.call()
    stamper = world.world.stamper
    assert stamper is not None
    seal, key, script = (tmp_path / name for name in ("seal.pem", "seal.key", "verify.sh"))
    world.mof.seals[small.MOF].write(seal, key)
    until(lambda: bool(world.hits(world.mof, id=answer.headers["x-road-id"])))

    def export(stamper_url: str, output: Path) -> Any:
        words = ["--id", answer.headers["x-road-id"], "--seal-key", key, "-o", output]
        words += ["--seal-certificate", seal, "--tsa", stamper_url]
        journal = str(world.mof.journal)
        return CliRunner().invoke(main, ["audit", "export", journal, *map(str, words)])

    stamped = tmp_path / "stamped.asice"
    result = export(stamper.url, stamped)
    assert result.exit_code == 0, result.output
    script.write_text(SCRIPT, encoding="utf-8")
    run = subprocess.run(
        ["sh", script, "-c", world.world.authorities, stamped],
        capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert run.returncode == 0, run.stdout
    assert "the container existed at" in run.stdout
    result = export("http://127.0.0.1:1/tsa", tmp_path / "not.asice")
    assert result.exit_code == 1
    assert "InvalidTimestamp" in result.output
    assert not (tmp_path / "not.asice").exists()


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


def test_a_revoked_seal_is_refused_and_recorded(built: Built) -> None:
    """Once the authority revokes the province's seal, nobody takes what is sealed with it.

    Its own server tells its operator; the other members of that server go on.
    """
    world, province = built.small, str(small.PROVINCE)
    assert world.call(client=province).status == 200
    seal = world.mof.seals[small.PDI].certificate
    revoke(world.world.pki, seal, "keyCompromise", datetime.now(UTC))
    until(lambda: world.call(client=province).code == "CertificateRevoked")
    refusal, *_ = world.hits(world.mpi, problem="CertificateRevoked", kind="refusal")
    assert refusal.client == province
    until(lambda: f"seal {small.PDI}" in built.check(world.mpi, "revocation")["revoked"])
    until(lambda: not built.check(world.mof, "revocation")["ok"])
    assert built.check(world.mpi, "revocation")["ok"]
    assert world.call().status == 200
