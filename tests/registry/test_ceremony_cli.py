"""`saphan registry ceremony`: dry runs, a file carried between people, a printed protocol."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from console.cli.main import main
from exchange.problems import Code, Problem
from exchange.registrations import INSTANCE_TARGET, format_instance, parse_instance
from registry.ceremony import LOG_KEY, PUBLIC
from registry.operator import sign_files
from tests.registry.world import World


async def test_a_ceremony_from_the_first_key_to_the_published_root(
    world: World, tmp_path: Path
) -> None:
    """Every step runs dry first and writes nothing then; the protocol is a text to be signed."""

    def run(*arguments: object) -> str:
        result = CliRunner().invoke(main, ["registry", "ceremony", *map(str, arguments)])
        assert result.exit_code == 0, result.output
        return result.output

    def work() -> None:
        root = world.directory / PUBLIC / "metadata" / "1.root.json"
        key, draft, paper = tmp_path / "new.pem", tmp_path / "2.root.json", tmp_path / "protocol"
        run("key", key, "--dry-run")
        assert not key.exists()
        run("key", key)
        assert key.stat().st_mode & 0o777 == 0o600
        going = json.loads(root.read_bytes())["signed"]["roles"]["root"]["keyids"][0]
        change = ["--add", f"root={key}.pub", "--remove", f"root={going[:12]}"]
        told = run("draft", draft, "--root", root, *change, "--dry-run")
        assert not draft.exists()
        assert "Nothing was written" in told
        run("draft", draft, "--root", root, *change, "--days", 365, "--protocol", paper)
        offline = world.directory / "offline"
        before = draft.read_bytes()
        run("sign", draft, "--root", root, "--key", key, "--dry-run")
        assert draft.read_bytes() == before
        for signer in (key, offline / "root-1.pem", offline / "root-2.pem", offline / "root-3.pem"):
            told = run("sign", draft, "--root", root, "--key", signer, "--protocol", paper)
        assert "ceremony publish" in told
        registry = ["--registry", world.url, "--api-key", world.opened.operator_api_key]
        assert "dry run" in run("publish", draft, *registry, "--dry-run")
        assert not (root.parent / "2.root.json").exists()
        run("publish", draft, *registry, "--protocol", paper)
        assert (root.parent / "2.root.json").exists()
        text = paper.read_text()
        assert text.count("Names and signatures:") == 6
        assert f"{going[:16]}  GOES" in text

    await asyncio.to_thread(work)


async def test_what_is_said_of_the_instance_stays_unless_it_is_changed(
    world: World, tmp_path: Path
) -> None:
    """instance-update changes what it is told to; the log's keys and the rest stay, and nothing can
    be published that gives the log up."""

    def instance() -> bytes:
        return world.operator.own().files[INSTANCE_TARGET]

    def work() -> None:
        before = parse_instance(instance())
        key = tmp_path / "log-2.pem"
        runner = CliRunner()
        made = runner.invoke(main, ["registry", "ceremony", "key", str(key)])
        assert made.exit_code == 0
        arguments = ["registry", "instance-update", "--keys", str(world.directory / "offline")]
        arguments += ["--registry", world.url, "--api-key", world.opened.operator_api_key]
        arguments += ["--log", f"{world.directory / LOG_KEY}.pub", "--log", f"{key}.pub"]
        result = runner.invoke(main, arguments)
        assert result.exit_code == 0, result.output
        after = parse_instance(instance())
        assert after.log[0] == before.log[0]
        assert len(after.log) == 2
        assert replace(after, log=before.log) == before
        given_up = {INSTANCE_TARGET: format_instance(replace(after, log=()))}
        signed = sign_files(
            world.operator.own(), given_up, world.targets_signers, world.clock.now()
        )
        with pytest.raises(Problem) as caught:
            world.operator.publish_own(signed)
        assert caught.value.code is Code.INVALID_DOCUMENT

    await asyncio.to_thread(work)
