"""`saphan registry ceremony`: dry runs, a file carried between people, a printed protocol."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner
from tuf.api.metadata import Targets

from certs.authority import create_development_pki
from console.cli.main import main
from exchange.problems import Code, Problem
from exchange.registrations import INSTANCE_TARGET, format_instance, parse_instance
from mediator.registry_copy.view import RegistryView
from registry import service
from registry.offline.operator import draft_files, sign_files
from registry.publication.ceremony import LOG_KEY, PUBLIC
from registry.publication.drafts import format_draft
from registry.publication.publish import TARGETS_VALIDITY, read
from tests.registry.simulator import MPI, NOW
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


def saphan(*arguments: object, exit_code: int = 0) -> str:
    """Run `saphan registry …`."""
    result = CliRunner().invoke(main, ["registry", *map(str, arguments)])
    assert result.exit_code == exit_code, result.output
    return result.output


async def test_first_keys_come_from_machines_of_their_own(tmp_path: Path) -> None:
    """Each keeper hands over a public half; the drafts go round; no private half is where the
    registry is, which opens when enough have signed, and is followed."""

    def work() -> Path:
        create_development_pki(tmp_path / "pki", "LA", at=NOW)
        keys = {}
        for role in ("root", "targets"):
            for keeper in ("alice", "bounmy", "chanh"):
                keys[role, keeper] = tmp_path / keeper / f"{role}.pem"
                saphan("ceremony", "key", keys[role, keeper])
        reg, paper = tmp_path / "reg", tmp_path / "protocol"
        init: list[object] = ["init", reg, "--instance", "LA", "--environment", "development"]
        init += ["--authority", tmp_path / "pki" / "authorities.pem"]
        for (role, _), key in keys.items():
            init += [f"--{role}-key", f"{key}.pub"]
        assert "Nothing was written" in saphan(*init, "--dry-run")
        assert not reg.exists()
        told = saphan(*init, "--protocol", paper)
        assert "root: 2 of 3 keys must sign" in told
        assert "file schemas/" in told
        assert not list(reg.glob("offline/*"))
        root, targets = reg / "draft/1.root.json", reg / "draft/1.targets.draft"
        for keeper in ("alice", "bounmy"):
            saphan("open", reg, exit_code=1)
            saphan("ceremony", "sign", root, "--key", keys["root", keeper], "--protocol", paper)
            saphan("ceremony", "sign", targets, "--root", root, "--key", keys["targets", keeper])
        assert not (reg / "root.json").exists()
        saphan("open", reg)
        saphan("open", reg, exit_code=1)
        assert {path.name for path in reg.glob("offline/*")} == {"operator-api-key"}
        assert paper.read_text().count("Names and signatures:") == 3
        return reg

    reg = await asyncio.to_thread(work)
    running = await service.start(reg)
    try:
        anchor = (reg / "root.json").read_bytes()
        view = await RegistryView.open(running.url, anchor, tmp_path / "member")
        assert "LA" in str(view.state.instance.instance)
        await view.close()
    finally:
        await running.stop()


async def test_all_keys_on_one_machine_are_called_what_they_are(tmp_path: Path) -> None:
    """The simple form says that it is for demonstrations, also dry."""

    def work() -> None:
        create_development_pki(tmp_path / "pki", "LA", at=NOW)
        init = ["init", tmp_path / "reg", "--instance", "LA", "--environment", "development"]
        init += ["--authority", tmp_path / "pki" / "authorities.pem", "--no-schemas"]
        assert "on this one machine" in saphan(*init, "--dry-run")
        assert not (tmp_path / "reg").exists()
        assert "good for a demonstration" in saphan(*init)
        saphan(*init, exit_code=1)

    await asyncio.to_thread(work)


async def test_keepers_of_targets_keys_sign_in_turn(world: World, tmp_path: Path) -> None:
    """A schema, a first registration and a renewal: each is a draft that goes from one to the
    other, shows what it changes, and is published when enough have signed."""
    schema = tmp_path / "district.1.json"
    document = {"$id": "https://schemas.saphan.la/district/1", "title": "District"}
    schema.write_text(json.dumps({**document, "type": "object"}))
    row = await world.submit(MPI)

    def work() -> None:
        api = ["--registry", world.url, "--api-key", world.opened.operator_api_key]
        root = world.directory / PUBLIC / "metadata" / "1.root.json"
        first, second, _ = world.opened.targets_keys

        def carried(draft: Path, shows: str) -> None:
            saphan("ceremony", "publish", draft, *api, exit_code=1)
            told = saphan("ceremony", "sign", draft, "--root", root, "--key", first)
            assert shows in told
            assert "signed by 1 of 2" in told
            stranger = world.opened.root_keys[0]
            saphan("ceremony", "sign", draft, "--root", root, "--key", stranger, exit_code=1)
            before = draft.read_bytes()
            saphan("ceremony", "sign", draft, "--root", root, "--key", second, "--dry-run")
            assert draft.read_bytes() == before
            told = saphan("ceremony", "sign", draft, "--root", root, "--key", second)
            assert "ceremony publish" in told
            assert "dry run" in saphan("ceremony", "publish", draft, *api, "--dry-run")
            saphan("ceremony", "publish", draft, *api)

        draft = tmp_path / "schema.draft"
        saphan("schema-publish", schema, "--draft", draft, *api)
        carried(draft, "file schemas/district.1.json  NEW")
        saphan("ceremony", "publish", draft, *api, exit_code=1)  # it is published already

        draft = tmp_path / "member.draft"
        saphan("approve", row["id"], "--draft", draft, *api)
        carried(draft, "member LA/GOV/MPI  NEW: 1 of 1 must sign")
        assert world.operator.get(f"submissions/{row['id']}")["state"] == "approved"

        draft, files = tmp_path / "renewal.draft", world.operator.own().files
        before = read(Targets, world.operator.own().targets, "targets")
        saphan("ceremony", "targets", "--draft", draft, *api)
        carried(draft, "Targets 3 -> 4 of the registry of LA")
        after = read(Targets, world.operator.own().targets, "targets")
        assert (after.version, after.targets) == (before.version + 1, before.targets)
        assert after.expires > world.clock.now() + TARGETS_VALIDITY  # drafted by today's clock
        assert world.operator.own().files == files
        saphan("ceremony", "targets", "--keys", world.directory / "offline", *api)

    await asyncio.to_thread(work)


async def test_a_draft_with_another_file_than_it_names_is_refused(
    world: World, tmp_path: Path
) -> None:
    """What is carried beside the metadata is held against it before anybody signs."""

    def work() -> None:
        draft, schema = tmp_path / "draft", b"{}"
        made = draft_files(world.operator.own(), {"schemas/a.1.json": schema}, NOW)
        draft.write_bytes(format_draft(replace(made, files={"schemas/a.1.json": b"[]"})))
        root = world.directory / PUBLIC / "metadata" / "1.root.json"
        key = world.opened.targets_keys[0]
        out = saphan("ceremony", "sign", draft, "--root", root, "--key", key, exit_code=1)
        assert Code.DIGEST_MISMATCH in out

    await asyncio.to_thread(work)
