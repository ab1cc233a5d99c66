"""The auditor's way of docs/auditors.md, from a question to a proof, run as it stands there."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner

from console.cli.main import main
from tests.docs.generate import ROOT
from tests.world.audits import mandates_of, published
from tests.world.small import SmallWorld

PAGE = ROOT / "docs/auditors.md"
BLOCK = re.compile(r"^```sh auditor\n(.*?)^```$", re.MULTILINE | re.DOTALL)
PERSON = re.compile(r"echo (\S+) > person\.txt")
MESSAGE = re.compile(r"--id (\S+)")


def months() -> dict[str, str]:
    """What stands for the month of the page: the one in which the test runs, and the one before it
    while that has just ended: the exchange may be of its last minutes."""
    now = datetime.now(UTC)
    first = (now - timedelta(hours=1)).replace(day=1)
    following = (now.replace(day=1) + timedelta(days=31)).replace(day=1)
    return {"2026-10-01": f"{first:%F}", "2026-11-01": f"{following:%F}"}


def commands(block: str) -> Iterator[str]:
    """The commands of a block, those over several lines in one."""
    yield from block.replace("\\\n", " ").strip().splitlines()


def run(command: str) -> str:
    """Run one command in this folder; what it says. `saphan` runs in this process."""
    if command.startswith("saphan "):
        result = CliRunner().invoke(main, shlex.split(command)[1:])
        assert result.exit_code == 0, f"{command}\n{result.output}"
        return result.stdout
    done = subprocess.run(["sh", "-ec", command], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture
def localised(
    audited_world: SmallWorld, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> list[str]:
    """The blocks of the page, with the addresses of a world in which the exchange was made."""
    page = PAGE.read_text("utf-8")
    person, message = PERSON.search(page), MESSAGE.search(page[page.index("```sh auditor") :])
    assert person is not None
    assert message is not None
    headers = {
        "Exchange-Subject": person[1],
        "X-Road-Id": message[1],
        "Exchange-Agreement": "mof-mpi",
    }
    answer = audited_world.call(headers=headers)
    assert answer.status == 200, answer.body
    published(audited_world)
    (tmp_path / "mandates").mkdir()
    for path in mandates_of(audited_world, "walk-mpi", "walk-mof"):
        shutil.copy(path, tmp_path / "mandates")
    shutil.copy(audited_world.world.anchor, tmp_path / "root.json")
    monkeypatch.chdir(tmp_path)
    places = months() | {
        "http://127.0.0.1:8083": audited_world.mof.url("http"),
        "https://registry.example": audited_world.world.registry_url,
    }
    known = re.compile("|".join(map(re.escape, places)))
    return [known.sub(lambda found: places[found[0]], block) for block in BLOCK.findall(page)]


def test_the_auditors_commands_lead_from_a_question_to_a_proof(localised: list[str]) -> None:
    """Who asked is found at both sides, one exchange is proven with a shell, unzip and openssl
    alone, completeness is judged, anchors are kept, and the ledger of uses tells of it: as the
    page says."""
    asking, proving, completing, keeping, using = localised
    _, who = [run(command) for command in commands(asking)]
    proof = [run(command) for command in commands(proving)]
    Path("mandates/walk-mof.jws").unlink()  # a server of several members does not prove it
    (complete,) = [run(command) for command in commands(completing)]
    (anchors,) = [run(command) for command in commands(keeping) if command.startswith("saphan")]
    (usage,) = [run(command) for command in commands(using)]
    message = MESSAGE.search("".join(localised))
    assert message is not None
    assert who.count(message[1]) == 4  # request and response, at both servers
    assert "LA/GOV/MOF/budget → LA/GOV/MPI/" in who
    assert "evidence: evidence/MPI-ss1-" in proof[0]
    assert "GOOD: no fault" in proof[-1]
    assert "CAdES: the container is signed by" in proof[-1]
    assert "its log has committed to no entries yet" in complete
    assert anchors.startswith("LA/GOV/MPI/ss1: ")
    assert Path("anchors/LA~GOV~MPI~ss1.checkpoint").exists()
    assert re.search(r"LA/GOV/MOF/budget \(.*answered  LA/GOV/MPI/ss1 \d+\n", usage)
