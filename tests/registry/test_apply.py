"""`saphan apply`: shows the difference, brings a member to it, and does nothing the second time."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from certs.authority import create_development_pki
from console.cli.apply import DIFFERENT, UNDECIDED, apply
from console.cli.registry import registry
from exchange.identifiers import ServerId
from exchange.problems import Code, Problem
from exchange.registrations import INSTANCE_TARGET, format_instance, parse_instance
from registry.offline.member import KEY_FILE
from registry.offline.operator import sign_files
from tests.registry.simulator import MPI, openapi_document
from tests.registry.world import World, real_world

DESCRIPTION = """
member: LA/GOV/MPI
name: {en: Planning, lo: ແຜນການ}
seal_certificates: [seal.pem]
servers:
  - id: LA/GOV/MPI/ss1
    address: "https://127.0.0.1:5501"
    auth_certificates: [auth.pem]
applications:
  - {id: LA/GOV/MPI/oda-mis, name: {en: ODA, lo: ODA}, servers: [LA/GOV/MPI/ss1]}
services:
  - {id: LA/GOV/MPI/oda-mis/projects, title: {en: Projects, lo: ໂຄງການ}, openapi: api.json}
"""


class Home:
    """A member's folder with its description, at a registry of the hour."""

    def __init__(self, world: World, folder: Path) -> None:
        self.world = world
        self.folder = folder
        self.file = folder / "member.yaml"

    async def apply(self, *words: str) -> Result:
        """Run the command with the operator's key."""

        def run() -> Result:
            environment = {
                "SAPHAN_REGISTRY": self.world.url,
                "SAPHAN_API_KEY": self.world.opened.operator_api_key,
            }
            return CliRunner().invoke(apply, [str(self.file), *words], env=environment)

        return await self.world.call(run)

    def asked(self) -> list[Any]:
        """The requests that wait."""
        return self.world.operator.pages("submissions", state="submitted")

    async def applied(self, *words: str) -> Any:
        """Run it with --yes --json, and return what it printed."""
        result = await self.apply("--yes", "--json", *words)
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        assert result.exit_code == 0, result.output
        # The registry of the test logs into the same output.
        (document,) = [line for line in result.stdout.splitlines() if line.startswith("{")]
        return json.loads(document)


@pytest.fixture
async def home(tmp_path: Path) -> AsyncIterator[Home]:
    at = datetime.now(UTC)
    pki = create_development_pki(tmp_path / "ca", "LA", at=at)
    folder = tmp_path / "mpi"
    folder.mkdir()
    pki.issue_seal(MPI, at=at).write(folder / "seal.pem", folder / "seal.key.pem")
    server = ServerId.parse("LA/GOV/MPI/ss1")
    pki.issue_auth(server, ["127.0.0.1"], at=at).write(folder / "auth.pem", folder / "auth.key.pem")
    (folder / "api.json").write_bytes(openapi_document())
    (folder / "member.yaml").write_text(DESCRIPTION, encoding="utf-8")
    async with real_world(tmp_path) as world:
        world.clock.time = at
        await world.call(lambda: world.running.registrar.renew(at))
        own = await world.call(lambda: world.operator.own())
        known = parse_instance(own.files[INSTANCE_TARGET])
        record = replace(known, authorities=tuple(pki.authorities))
        files = {"instance.json": format_instance(record)}
        await world.call(
            lambda: world.operator.publish_own(
                sign_files(world.operator.own(), files, world.targets_signers, at)
            )
        )
        yield Home(world, folder)


async def test_a_description_is_brought_about_once(home: Home) -> None:
    """Looked at, handed in, waiting, in force: each time only what is left to do."""
    looked = await home.apply("--dry-run")
    assert looked.exit_code == DIFFERENT
    assert "register service LA/GOV/MPI/oda-mis/projects" in looked.output
    assert not (home.folder / KEY_FILE).exists()
    done = await home.applied()
    assert (done["state"], done["request"]) == ("submitted", 1)
    assert (home.folder / KEY_FILE).exists()
    again = await home.applied()
    assert (again["state"], again["request"]) == (None, 1)
    await home.world.approve(1)
    nothing = await home.applied()
    assert (nothing["changes"], nothing["request"]) == ([], None)
    assert (await home.apply("--dry-run")).exit_code == 0
    requests = await home.world.call(lambda: home.world.operator.pages("submissions"))
    assert len(requests) == 1


async def test_only_what_differs_is_changed(home: Home) -> None:
    """Another contract is one change of one service."""
    await home.applied()
    await home.world.approve(1)
    (home.folder / "api.json").write_bytes(openapi_document("/other"))
    done = await home.applied()
    assert [change["kind"] for change in done["changes"]] == ["change service"]
    assert done["request"] == 2


async def test_nothing_is_done_unasked(home: Home) -> None:
    """Without a terminal to ask at, --yes or --dry-run must say it."""
    result = await home.apply()
    assert result.exit_code == 2
    assert await home.world.call(lambda: home.world.operator.pages("submissions")) == []


async def test_the_folder_of_agreements_is_kept_as_described(home: Home) -> None:
    """What is not described is removed; what opens nothing is refused before anything is done."""
    agreements = home.folder / "agreements"
    agreements.mkdir()
    (agreements / "old.jws").write_bytes(b"old")
    pinned = "pinned: {folder: agreements, authorities: ../ca/authorities.pem, agreements: [%s]}\n"
    home.file.write_text(DESCRIPTION + pinned % "", encoding="utf-8")
    looked = await home.apply("--dry-run")
    assert (looked.exit_code, (agreements / "old.jws").exists()) == (DIFFERENT, True)
    assert "unpin old.jws" in looked.output
    (home.folder / "bad.jws").write_bytes(b"no agreement")
    home.file.write_text(DESCRIPTION + pinned % "bad.jws", encoding="utf-8")
    with pytest.raises(Problem) as caught:
        await home.applied()
    assert caught.value.code is Code.AGREEMENT_INVALID
    assert (agreements / "old.jws").exists()
    assert await home.world.call(lambda: home.world.operator.pages("submissions")) == []
    home.file.write_text(DESCRIPTION + pinned % "", encoding="utf-8")
    done = await home.applied()
    assert done["pins"] == [{"what": "unpin", "agreement": "old.jws"}]
    assert not (agreements / "old.jws").exists()


async def test_a_description_that_is_wrong_changes_nothing(home: Home) -> None:
    """The place is told; nothing was handed in and no key was made."""
    home.file.write_text(DESCRIPTION.replace("openapi: api.json", "openapi: gone.json"), "utf-8")
    with pytest.raises(Problem) as caught:
        await home.applied()
    assert (caught.value.code, caught.value.where) == (
        Code.NOT_FOUND, "member.yaml#/services/0/openapi"
    )  # fmt: skip
    assert not (home.folder / KEY_FILE).exists()


async def test_all_that_is_described_is_compared(home: Home) -> None:
    """Names, addresses, endpoints, services and published agreements; what is left out goes."""
    await home.applied()
    await home.world.approve(1)
    (home.folder / "api.json").write_bytes(openapi_document("/other"))
    (home.folder / "paper.json").write_bytes(b"{}")
    more = "  - {id: LA/GOV/MPI/oda-mis/more, title: {en: More, lo: ເພີ່ມ}, openapi: api.json}\n"
    text = DESCRIPTION.replace("en: Planning", "en: Plans").replace(":5501", ":5502")
    text = text.replace("name: {en: ODA,", "name: {en: ODA-MIS,").replace("en: Projects", "en: P")
    home.file.write_text(f"{text}{more}agreements: [paper.json]\n", encoding="utf-8")
    looked = await home.apply("--dry-run")
    for change in (
        "change member LA/GOV/MPI: name Planning",
        "change server LA/GOV/MPI/ss1: address https://127.0.0.1:5501 → https://127.0.0.1:5502",
        "change application LA/GOV/MPI/oda-mis: name ODA",
        "change service LA/GOV/MPI/oda-mis/projects: title Projects",
        "another OpenAPI document",
        "register service LA/GOV/MPI/oda-mis/more",
        "add file LA/GOV/MPI/paper.json",
    ):
        assert change in looked.output
    assert "Not touched: the settings of your servers" in looked.output


async def test_it_waits_for_the_decision(home: Home) -> None:
    """Until it is published or declined; so long at most as is said."""
    late = await home.apply("--yes", "--wait", "1")
    assert late.exit_code == UNDECIDED
    assert "Request 1 waits for approval." in late.output
    waiting = asyncio.create_task(home.apply("--yes", "--wait", "60"))
    await home.world.approve(1)
    done = await waiting
    assert (done.exit_code, "It is published." in done.output) == (0, True)
    home.file.write_text(DESCRIPTION.replace("en: Planning", "en: Plans"), encoding="utf-8")
    waiting = asyncio.create_task(home.apply("--yes", "--wait", "60"))
    asked: list[Any] = []
    while not asked:
        asked = await home.world.call(home.asked)
    await home.world.call(lambda: home.world.operator.decline(asked[0]["id"], "no such name"))
    declined = await waiting
    assert declined.exit_code == 1
    assert "Request 2 was declined: no such name" in declined.output


async def test_a_key_on_another_machine_is_proven_there(home: Home) -> None:
    """What was signed waits; a proof over it is taken in, another is not."""
    elsewhere = home.folder / "elsewhere"
    elsewhere.mkdir()
    (home.folder / "auth.key.pem").rename(elsewhere / "auth.key.pem")
    (elsewhere / "auth.pem").write_bytes((home.folder / "auth.pem").read_bytes())
    with pytest.raises(Problem) as caught:
        await home.applied()
    facts = caught.value.facts
    assert (caught.value.where, facts["member"]) == ("--proof", "LA/GOV/MPI")
    assert await home.world.call(home.asked) == []
    proof = home.folder / "auth.proof"

    def prove(role: object) -> Result:
        words = ["--member", "LA/GOV/MPI", "--role", str(role), "-o", str(proof)]
        return CliRunner().invoke(registry, ["prove", str(elsewhere / "auth.pem"), *words])

    assert prove("00" * 32).exit_code == 0
    with pytest.raises(Problem) as caught:
        await home.applied("--proof", str(proof))
    assert (caught.value.code, caught.value.where) == (Code.INVALID_SIGNATURE, str(proof))
    assert prove(facts["role"]).exit_code == 0
    done = await home.applied("--proof", str(proof))
    assert (done["state"], done["request"]) == ("submitted", 1)
    await home.world.approve(1)
    assert (await home.applied())["changes"] == []


async def test_a_proof_is_for_what_was_signed_then(home: Home) -> None:
    """Not for nothing, and not for another description."""
    (home.folder / "auth.key.pem").rename(home.folder / "auth.key.away")
    (home.folder / "auth.proof").write_bytes(b"proof")
    for change in ("", "en: Plans"):
        if change:
            with pytest.raises(Problem):
                await home.applied()
            home.file.write_text(DESCRIPTION.replace("en: Planning", change), encoding="utf-8")
        with pytest.raises(Problem) as caught:
            await home.applied("--proof", str(home.folder / "auth.proof"))
        assert caught.value.code is Code.CONFLICT
