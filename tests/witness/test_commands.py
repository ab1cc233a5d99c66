"""`saphan witness` and `saphan mediator keys`: what an auditor and an operator type."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from console.cli.main import main
from exchange.log.notes import COSIGNATURE_ED25519, VerifierKey
from mediator.witness.misbehaviour import Misbehaviour, Misbehaviours, Misdeed
from tests.journal.world import ORIGIN, VERIFIER, write


def saphan(*arguments: str) -> Result:
    return CliRunner().invoke(main, [*arguments])


def settings_in(folder: Path, **changes: object) -> Path:
    values = {"name": "w.example/1", "directory": "data", "logs": [str(VERIFIER)], **changes}
    path = folder / "witness.yaml"
    path.write_text(json.dumps(values))
    return path


def test_the_key_is_made_once(tmp_path: Path) -> None:
    """Printed alone on standard output, the same each time, of a cosigner's type."""
    path = settings_in(tmp_path)
    first = saphan("witness", "key", str(path))
    assert first.exit_code == 0
    key = VerifierKey.parse(first.stdout.strip())
    assert (key.name, key.kind) == ("w.example/1", COSIGNATURE_ED25519)
    assert json.loads(saphan("witness", "key", str(path), "--json").stdout) == {
        "vkey": str(key),
        "logs": [ORIGIN],
    }
    assert (tmp_path / "data" / "witness.key").stat().st_mode & 0o77 == 0


def test_logs_come_from_a_policy_too(tmp_path: Path) -> None:
    """An auditor keeps one policy: its log lines are witnessed."""
    (tmp_path / "policy").write_text(f"log {VERIFIER}\nquorum none\n")
    path = settings_in(tmp_path, logs=[], policy="policy")
    assert json.loads(saphan("witness", "key", str(path), "--json").stdout)["logs"] == [ORIGIN]


@pytest.mark.parametrize(
    "changes", [{"logs": []}, {"logs": ["x"]}, {"name": "a b"}, {"name": "a+b"}, {"listn": 1}]
)
def test_settings_of_a_witness_that_cannot_be_are_refused(
    tmp_path: Path, changes: dict[str, object]
) -> None:
    """Before anything listens, with a problem."""
    assert saphan("witness", "serve", str(settings_in(tmp_path, **changes))).exit_code == 1


async def test_kept_proofs_are_judged_by_the_key_of_the_registry(tmp_path: Path) -> None:
    """Exit code 1 when something is kept, 0 when nothing is; a wrong key shows nothing."""
    assert saphan("audit", "misbehaviour", str(tmp_path)).exit_code == 0
    for name, numbers in (("one", range(4)), ("other", range(10, 14))):
        await write(tmp_path / name, numbers)
    notes = [(tmp_path / n / "log" / "checkpoint").read_bytes() for n in ("one", "other")]
    found = Misbehaviour(
        Misdeed.FORK, ORIGIN, (str(VERIFIER),), "2026-11-22T00:00:00.000Z", "w", None, *notes, 0
    )
    kept = Misbehaviours(tmp_path / "misbehaviour")
    assert kept.keep(found)
    assert not kept.keep(found)
    assert kept.all() == [found]
    printed = saphan("audit", "misbehaviour", str(tmp_path), "--vkey", str(VERIFIER))
    assert printed.exit_code == 1
    assert "PROVEN" in printed.stdout
    assert "NOT PROVEN" not in printed.stdout
    other = VerifierKey(ORIGIN, VERIFIER.kind, bytes(32))
    doubted = saphan("audit", "misbehaviour", str(tmp_path), "--vkey", str(other), "--json")
    (row,) = json.loads(doubted.stdout)["misbehaviour"]
    assert not row["proven"]
    assert "refused" in row
    (file,) = kept.folder.glob("*.json")
    file.write_bytes(file.read_bytes().replace(b'"fork"', b'"fork" '))
    assert saphan("audit", "misbehaviour", str(file)).exit_code == 1


async def test_what_proves_itself_finds_room(tmp_path: Path) -> None:
    """A log that shows ever less, which rests on our word, crowds out no proof of its fork."""
    for name, numbers in (("one", range(4)), ("other", range(10, 14))):
        await write(tmp_path / name, numbers)
    one, other = ((tmp_path / n / "log" / "checkpoint").read_bytes() for n in ("one", "other"))
    kept = Misbehaviours(tmp_path / "misbehaviour")
    for number in range(40):
        less = one + str(number).encode()
        kept.keep(Misbehaviour(Misdeed.ROLLBACK, ORIGIN, (), "t", "w", None, one, less, 0))
    fork = Misbehaviour(Misdeed.FORK, ORIGIN, (str(VERIFIER),), "t", "w", None, one, other, 0)
    assert kept.keep(fork)
    assert kept.count == 17


async def test_a_log_s_proofs_are_few(tmp_path: Path) -> None:
    """Who shows ever new forks does not fill the disk."""
    await write(tmp_path / "one", range(4))
    note = (tmp_path / "one" / "log" / "checkpoint").read_bytes()
    kept = Misbehaviours(tmp_path / "misbehaviour")
    for number in range(40):
        kept.keep(
            Misbehaviour(
                Misdeed.FORK, ORIGIN, (), "t", "w", None, note, note + str(number).encode(), 0
            )
        )
    assert kept.count == 16
