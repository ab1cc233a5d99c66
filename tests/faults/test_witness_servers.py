"""Two real servers that witness each other: one is away, one is set back, one is made to fork."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from console.reference_world.world import RunningServer
from exchange.checkpoint import open_checkpoint
from exchange.entries import parse_entry
from mediator.journal.anchors import Anchor, AnchorReader
from mediator.journal.reader import JournalReader
from mediator.own_keys import log_keys, origin_of
from tests.world import small
from tests.world.fixtures import small_world
from tests.world.small import SmallWorld

QUICK = {"alarm_s": 0.5, "retry_max_s": 0.3, "timeout_s": 5.0}


@pytest.fixture(scope="module")
def world() -> Iterator[SmallWorld]:
    with small_world() as built:
        for server in (built.mof, built.mpi):
            change(server, QUICK)
            restart(built, server)
        yield built


def change(server: RunningServer, witnesses: dict[str, Any]) -> None:
    path = server.folder / "server.yaml"
    settings = yaml.safe_load(path.read_text("utf-8"))
    settings["witnesses"] = witnesses
    path.write_text(yaml.safe_dump(settings, allow_unicode=True), "utf-8")


def restart(world: SmallWorld, server: RunningServer) -> None:
    server.process.stop()
    world.world.start(server.plan.id)


def wait(condition: Callable[[], Any], timeout_s: float = 60) -> Any:
    deadline = time.monotonic() + timeout_s
    while not (found := condition()):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return found


def admin(server: RunningServer, path: str) -> tuple[int, Any]:
    try:
        answer = small.exchange(server.url("admin"), "GET", path, {})
    except OSError:
        return 0, {}
    return answer.status, answer.json


def healthy(server: RunningServer) -> Any:
    return admin(server, "/healthz")[1].get("checks", {})


def newest(server: RunningServer) -> Anchor | None:
    reader = AnchorReader.open(server.journal)
    try:
        return reader.latest()
    finally:
        reader.close()


def all_cosigned(server: RunningServer) -> Anchor:
    """The newest anchor, which covers all that is recorded now, once it is cosigned."""
    size = healthy(server)["journal"]["entries"]
    return wait(  # type: ignore[no-any-return]
        lambda: (found := newest(server)) and found.size >= size and found.cosignatures and found
    )


def data(server: RunningServer) -> Path:
    return server.journal.parent


def test_while_a_witness_is_away_traffic_goes_on_and_health_tells(world: SmallWorld) -> None:
    """Degraded, not failing; when it is back one anchor makes good all that was missed."""
    all_cosigned(world.mof)
    world.mpi.process.kill()
    try:
        before = healthy(world.mof)["journal"]["entries"]
        for _ in range(3):
            assert world.call().status >= 500  # the provider is away: recorded all the same
        status, report = wait(
            lambda: (told := admin(world.mof, "/healthz"))[1]["status"] == "degraded" and told
        )
        assert status == 200
        checks = report["checks"]
        assert checks["journal"]["ok"]
        assert checks["journal"]["entries"] > before
        assert not checks["witnesses"]["ok"]
        assert checks["witnesses"]["failing"] == [str(world.mpi.plan.id)]
        assert checks["witnesses"]["waiting_s"] > 0
        rows = admin(world.mof, "/witnesses")[1]["witnesses"]
        assert "PeerUnreachable" in rows[0]["problem"]
    finally:
        world.world.start(world.mpi.plan.id)
    all_cosigned(world.mof)
    wait(lambda: healthy(world.mof)["witnesses"]["ok"])
    assert world.call().status == 200


def test_a_server_that_is_set_back_signs_nothing_and_says_so(world: SmallWorld) -> None:
    """The whole data folder of yesterday is put back: only its witness remembers today.

    Health fails with what to do, traffic goes on, no second history is signed; with the right
    folder everything is as it was.
    """
    mof, keep = world.mof, world.world.directory / "keep"
    backup, right = keep / "backup", keep / "right"
    mof.process.stop()
    shutil.copytree(data(mof), backup)
    world.world.start(mof.plan.id)
    assert world.call().status == 200
    anchor = all_cosigned(mof)
    mof.process.stop()
    try:
        shutil.move(data(mof), right)
        shutil.copytree(backup, data(mof))
        shown = (mof.journal / "log" / "checkpoint").read_bytes()
        world.world.launch(mof.plan.id)
        journal = wait(lambda: (told := healthy(mof).get("journal")) and "problem" in told and told)
        assert "JournalForked" in journal["problem"]
        assert f"size {anchor.size}" in journal["problem"]
        assert world.call().status == 200
        mof.process.stop()
        assert (mof.journal / "log" / "checkpoint").read_bytes() == shown
        code, printed = audit("misbehaviour", str(mof.journal))
        assert code == 1
        (found,) = printed["misbehaviour"]
        assert (found["misdeed"], found["known_size"]) == ("rollback", anchor.size)
    finally:
        mof.process.stop()
        shutil.rmtree(data(mof), ignore_errors=True)
        shutil.move(right, data(mof))
        shutil.rmtree(keep)
        world.world.start(mof.plan.id)
    all_cosigned(mof)
    assert healthy(mof)["journal"]["ok"]


def test_a_fork_is_not_cosigned_and_its_proof_stands_in_the_witness_s_journal(
    world: SmallWorld,
) -> None:
    """A server that is made to sign another history: no cosignature, and the proof is kept.

    The witness's journal commits to the file; its administration and `saphan audit` show it.
    """
    mof, mpi, keep = world.mof, world.mpi, world.world.directory / "keep"
    right = keep / "right"
    all_cosigned(mof)
    mof.process.stop()
    shutil.copytree(data(mof), right)
    try:
        world.world.start(mof.plan.id)
        assert world.call().status == 200
        known = all_cosigned(mof).size
        mof.process.stop()
        shutil.move(data(mof), keep / "later")
        shutil.copytree(right, data(mof))
        change(mof, {"peers": 0})  # it asks nobody: nothing tells it
        world.world.start(mof.plan.id)
        while healthy(mof)["journal"]["published"] <= known:
            assert world.call().status == 200
            time.sleep(0.02)
        mof.process.stop()
        assert open_checkpoint(
            (mof.journal / "log" / "checkpoint").read_bytes(), log_keys(data(mof), mof.plan.id)[0]
        )
        change(mof, {**QUICK, "hold_s": 0})
        world.world.launch(mof.plan.id)
        kept = wait(lambda: (told := admin(mpi, "/misbehaviour")[1]["misbehaviour"]) and told)
        found = next(one for one in kept if one["known_size"] == known)
        assert found["origin"] == origin_of(mof.plan.id)
        assert found["submitter"] == str(mof.plan.id)
        assert found["proven"] is (known & (known - 1) != 0)
        assert found["misdeed"] == ("fork" if found["proven"] else "inconsistent")
        journal = wait(lambda: (told := healthy(mof).get("journal")) and "problem" in told and told)
        assert "JournalForked" in journal["problem"]
        last = newest(mof)
        assert last is not None
        assert not last.cosignatures
        file = mpi.journal / "misbehaviour" / found["file"]
        digest = hashlib.sha256(file.read_bytes()).hexdigest()
        assert digest == found["digest"]
        assert wait(lambda: digest in committed(mpi))
        assert healthy(mpi)["witnesses"]["misbehaviour"] == len(kept)
        code, printed = audit("misbehaviour", str(file), "--vkey", str(log_of(mof)))
        assert code == 1
        assert printed["misbehaviour"][0]["proven"] is found["proven"]
    finally:
        mof.process.stop()
        shutil.rmtree(data(mof), ignore_errors=True)
        shutil.move(keep / "later", data(mof))
        shutil.rmtree(keep)
        change(mof, QUICK)
        world.world.start(mof.plan.id)
    all_cosigned(mof)


def test_verification_asks_for_the_quorum_of_a_policy(world: SmallWorld, tmp_path: Path) -> None:
    """`saphan audit verify --policy`: from the files alone, with the keys of the registry."""
    assert world.call().status == 200
    anchor = all_cosigned(world.mof)
    witness = log_keys(data(world.mpi), world.mpi.plan.id)[1]
    policy = tmp_path / "policy"
    policy.write_text(f"log {log_of(world.mof)}\nwitness mpi {witness}\nquorum mpi\n")
    code, printed = audit("verify", str(world.mof.journal), "--policy", str(policy))
    (verdict,) = printed["verdicts"]
    assert code == 0, verdict
    assert verdict["witnessed"] >= anchor.size
    assert verdict["cosigners"] == ["mpi"]
    # A witness that never saw this log, and a policy of another log.
    own = log_keys(data(world.mof), world.mof.plan.id)[1]
    policy.write_text(f"witness mof {own}\nquorum mof\n")
    code, printed = audit("verify", str(world.mof.journal), "--policy", str(policy))
    assert code == 1
    assert [f["code"] for f in printed["verdicts"][0]["findings"]] == ["NotWitnessed"]
    policy.write_text(f"log {log_of(world.mpi)}\nwitness mpi {witness}\nquorum mpi\n")
    code, printed = audit("verify", str(world.mof.journal), "--policy", str(policy))
    assert code == 1
    assert [f["code"] for f in printed["verdicts"][0]["findings"]] == ["InvalidNote"]


def log_of(server: RunningServer) -> Any:
    return log_keys(data(server), server.plan.id)[0]


def committed(server: RunningServer) -> list[str | None]:
    """The documents that the published entries about contradictions commit to."""
    reader = JournalReader(server.journal)
    entries = [parse_entry(reader.entry(index)) for index in range(reader.checkpoint.size)]
    return [one.evidence for one in entries if one.event == "log contradicted"]


def audit(*arguments: str) -> tuple[int, Any]:
    done = subprocess.run(
        [sys.executable, "-m", "console.cli.main", "audit", *arguments, "--json"],
        capture_output=True,
        check=False,
    )
    return done.returncode, json.loads(done.stdout or b"null")
