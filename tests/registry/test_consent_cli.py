"""`saphan registry consent`, against a real registry: looked at, sealed, handed in."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from console.cli.registry import registry
from exchange.problems import Code, Problem
from exchange.registrations import pem
from registry.http.client import RegistryClient
from tests.registry.simulator import KEYS, MOF, MPI, member_record, seal_certificate
from tests.registry.test_evolution import BREAKING, FILE, OLD, SERVICE, agreement
from tests.registry.world import World, described


def seal_files(folder: Path) -> list[str]:
    """MOF's seal as options of the command."""
    certificate = seal_certificate(MOF)
    key = KEYS[certificate].private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (folder / "seal.pem").write_text(pem(certificate))
    (folder / "seal.key.pem").write_bytes(key)
    return ["--certificate", str(folder / "seal.pem"), "--key", str(folder / "seal.key.pem")]


async def test_a_consumer_consents_from_its_own_machine(world: World, tmp_path: Path) -> None:
    """With its own API key it sees the request that it is asked about, and no other."""
    record = member_record(MPI)
    folder = world.folder(MPI)

    async def hand_in(document: bytes, *, asks: bool) -> int:
        what = described(record)
        files = {**what.files, FILE: document, "agreement.mof.json": agreement()}
        submission = folder.sign(replace(what, files=files), 0, world.clock.now())
        row = await world.call(lambda: world.operator.submit(submission, asks=asks))
        return int(row["id"])

    first = await hand_in(OLD, asks=False)
    await world.approve(first)
    await world.register(MOF)
    number = await hand_in(BREAKING, asks=True)
    key = await world.call(lambda: world.operator.add_key("member-administrator", "", MOF))
    consumer = RegistryClient(world.url, key)
    with pytest.raises(Problem) as caught:
        await world.call(lambda: consumer.get(f"submissions/{first}"))
    assert caught.value.code is Code.NOT_FOUND
    environment = {"SAPHAN_REGISTRY": world.url, "SAPHAN_API_KEY": key}
    words = ["consent", str(number), *seal_files(tmp_path)]

    def run(*more: str) -> Result:
        return CliRunner().invoke(registry, [*words, *more], env=environment)

    looked = await world.call(lambda: run("--dry-run"))
    assert looked.exit_code == 0, looked.output
    assert SERVICE in looked.output
    assert "ຕ້ອງມີພາຣາມິເຕີນີ້ (year)" in looked.output
    row = await world.call(lambda: world.operator.get(f"submissions/{number}"))
    assert row["breaking"][0]["missing"] == ["LA/GOV/MOF"]
    done = await world.call(lambda: run("--json"))
    (told,) = [line for line in done.stdout.splitlines() if line.startswith('{"id"')]
    assert json.loads(told)["breaking"][0]["missing"] == []
    again = await world.call(run)
    assert isinstance(again.exception, Problem)
    assert again.exception.code is Code.CONFLICT
    approved = await world.approve(number)
    assert approved["state"] == "approved"
    notices = await world.call(lambda: consumer.pages("notices"))
    assert [one["act"] for one in notices][-2:] == ["asked to consent", "breaking change"]
