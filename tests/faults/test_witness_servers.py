"""Two real servers that witness each other: one is away, one is set back, one is made to fork."""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from console.cli.main import main
from console.reference_world.standing import RunningServer
from exchange.journal.entries import parse_entry
from mediator.journal.anchors import Anchor, AnchorReader
from mediator.journal.reader import JournalReader
from mediator.own_keys import log_keys, origin_of
from tests.world import small
from tests.world.fixtures import world_of
from tests.world.small import SmallWorld

QUICK = {"alarm_s": 0.5, "retry_max_s": 0.3, "timeout_s": 5.0}


@pytest.fixture(scope="module")
def world() -> Iterator[SmallWorld]:
    with world_of((small.agreement("mof-mpi"),), witnesses=QUICK) as built:
        yield built


def change(server: RunningServer, witnesses: dict[str, Any]) -> None:
    path = server.folder / "server.yaml"
    settings = yaml.safe_load(path.read_text("utf-8"))
    settings["witnesses"] = witnesses
    path.write_text(yaml.safe_dump(settings, allow_unicode=True), "utf-8")


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


def test_a_second_history_is_not_signed_and_when_it_is_it_is_not_cosigned(
    world: SmallWorld,
) -> None:
    """The data folder of yesterday is put back whole: only the witness remembers today.

    The server hears it, signs nothing, says what to do, and traffic goes on. When it is made to
    sign all the same, it gets no cosignature, and the proof is kept: the witness's journal commits
    to it, its administration and `saphan audit` show it. With the right folder all is as it was.
    """
    mof, keep = world.mof, world.world.directory / "keep"
    backup, right = keep / "backup", keep / "right"
    all_cosigned(mof)
    mof.process.stop()
    shutil.copytree(data(mof), backup)
    world.world.start(mof.plan.id)
    assert world.call().status == 200
    known = all_cosigned(mof).size
    mof.process.stop()
    shutil.move(data(mof), right)
    try:
        shutil.copytree(backup, data(mof))
        _signs_nothing(world, known)
        shutil.rmtree(data(mof))
        shutil.copytree(backup, data(mof))
        _is_found_out(world, known)
    finally:
        mof.process.stop()
        shutil.rmtree(data(mof), ignore_errors=True)
        shutil.move(right, data(mof))
        shutil.rmtree(keep)
        change(mof, QUICK)
        world.world.start(mof.plan.id)
    all_cosigned(mof)
    assert healthy(mof)["journal"]["ok"]


def _forked(server: RunningServer) -> str:
    """What health says of the journal of a server that must not sign."""
    told = wait(lambda: (found := healthy(server).get("journal")) and "problem" in found and found)
    assert "JournalForked" in told["problem"]
    return str(told["problem"])


def _signs_nothing(world: SmallWorld, known: int) -> None:
    mof = world.mof
    shown = (mof.journal / "log" / "checkpoint").read_bytes()
    world.world.launch(mof.plan.id)
    assert f"size {known}" in _forked(mof)
    assert world.call().status == 200
    mof.process.stop()
    assert (mof.journal / "log" / "checkpoint").read_bytes() == shown
    code, printed = audit("misbehaviour", str(mof.journal))
    assert code == 1
    (found,) = printed["misbehaviour"]
    assert (found["misdeed"], found["known_size"]) == ("rollback", known)


def test_a_stop_right_after_a_start_publishes(world: SmallWorld) -> None:
    """It waits until the witnesses were heard, for a bounded time, and leaves nothing behind."""
    world.mof.process.stop()
    world.world.start(world.mof.plan.id)
    world.mof.process.stop()
    reader = JournalReader(world.mof.journal)
    last = parse_entry(reader.entry(reader.checkpoint.size - 1))
    world.world.start(world.mof.plan.id)
    assert last.event == "stopped"


def _is_found_out(world: SmallWorld, known: int) -> None:
    mof, mpi = world.mof, world.mpi
    change(mof, {"peers": 0})  # it asks nobody: nothing tells it
    world.world.start(mof.plan.id)
    while healthy(mof)["journal"]["published"] <= known:
        assert world.call().status == 200
        time.sleep(0.02)
    mof.process.stop()
    change(mof, {**QUICK, "hold_s": 0})
    world.world.launch(mof.plan.id)
    kept = wait(lambda: (told := admin(mpi, "/misbehaviour")[1]["misbehaviour"]) and told)
    found = next(one for one in kept if one["known_size"] == known)
    assert found["origin"] == origin_of(mof.plan.id)
    assert found["submitter"] == str(mof.plan.id)
    assert found["proven"] is (known & (known - 1) != 0)
    assert found["misdeed"] == ("fork" if found["proven"] else "inconsistent")
    _forked(mof)
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
    done = CliRunner().invoke(main, ["audit", *arguments, "--json"])
    return done.exit_code, json.loads(done.stdout or "null")
