"""Mistakes at the command line end in a problem with a next step, never in a traceback."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import click
import orjson
import pytest
from click.testing import CliRunner, Result

from certs.authority import create_development_pki
from console.cli import main as command_line
from exchange.identifiers import MemberId
from exchange.problems import Code, Problem

PORT_IN_USE = Problem(Code.INVALID_SETTINGS, where="listen.peer", detail="address already in use")
NO_RIGHT = PermissionError(13, "Permission denied", "/srv/data")


def saphan(*words: object) -> Result:
    return CliRunner().invoke(command_line.main, [*map(str, words)])


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (PORT_IN_USE, "InvalidSettings at listen.peer: address already in use"),
        (ExceptionGroup("tasks", [PORT_IN_USE]), "InvalidSettings at listen.peer"),
        (ExceptionGroup("a", [ExceptionGroup("b", [NO_RIGHT])]), "at /srv/data: Permission denied"),
        (NO_RIGHT, "InvalidSettings at /srv/data: Permission denied"),
    ],
)
def test_what_stops_a_start_is_told(
    monkeypatch: pytest.MonkeyPatch, error: Exception, told: str
) -> None:
    """Also where it comes out of the group of a server's background tasks."""

    @click.command()
    def fails() -> None:
        raise error

    monkeypatch.setattr(command_line.LazyGroup, "get_command", lambda *_: fails)
    result = saphan("mediator")
    assert result.exit_code == 1
    assert told in result.stderr
    assert "Next:" in result.stderr


def test_a_fault_of_the_program_is_not_dressed_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """What nobody at the command line can mend keeps its traceback."""
    fault = ExceptionGroup("tasks", [PORT_IN_USE, ValueError("a fault")])

    @click.command()
    def fails() -> None:
        raise fault

    monkeypatch.setattr(command_line.LazyGroup, "get_command", lambda *_: fails)
    assert saphan("mediator").exception is fault


def test_a_path_without_slash_is_wrong_usage() -> None:
    """It would run together with the service's code."""
    result = saphan(
        "call", "LA/GOV/MOES/register/schools", "schools",
        "--as", "LA/GOV/LSB/laosis", "--via", "http://127.0.0.1:1",
    )  # fmt: skip
    assert result.exit_code == 2
    assert "must begin with /" in result.stderr


def test_a_server_that_does_not_run_is_named_as_the_caller_s_own() -> None:
    """Else one would look for the fault at the provider."""
    result = saphan(
        "call", "LA/GOV/MOES/register/schools", "/schools",
        "--as", "LA/GOV/LSB/laosis", "--via", "http://127.0.0.1:1",
    )  # fmt: skip
    assert result.exit_code == 1
    assert "your own security server" in result.stderr


@pytest.fixture
def parties(tmp_path: Path) -> Path:
    """A folder with an authority and the seals of two members."""
    now = datetime.now(UTC)
    pki = create_development_pki(tmp_path / "pki", "LA", at=now)
    for code in ("MOES", "LSB"):
        seal = pki.issue_seal(MemberId.parse(f"LA/GOV/{code}"), at=now)
        seal.write(tmp_path / f"{code}.pem", tmp_path / f"{code}.key.pem")
    return tmp_path


def _sealed(folder: Path, begins: datetime, ends: datetime) -> Path:
    """An agreement for that time, drafted and sealed by both with the commands."""
    file = folder / "agreement.json"
    drafted = saphan(
        "agreement", "draft", "--consumer", "LA/GOV/LSB/laosis",
        "--service", "LA/GOV/MOES/register/schools", "--endpoint", "GET /schools",
        "--purpose", "statistics", "--legal-basis", "Statistics law", "--id", "lsb", "-o", file,
    )  # fmt: skip
    assert "It releases every field" in drafted.output
    document = orjson.loads(file.read_bytes())
    document |= {"valid_from": _moment(begins), "valid_until": _moment(ends)}
    file.write_bytes(orjson.dumps(document))
    for code in ("MOES", "LSB"):
        result = saphan(
            "agreement", "seal", file, "--certificate", folder / f"{code}.pem",
            "--key", folder / f"{code}.key.pem", "-o", folder / "agreement.jws",
        )  # fmt: skip
        assert result.exit_code == 0, result.output
        file = folder / "agreement.jws"
    return file


def _moment(at: datetime) -> str:
    return at.strftime("%Y-%m-%dT%H:%M:%SZ")


def _pin(folder: Path, file: Path) -> Result:
    ca = folder / "pki/authorities.pem"
    return saphan("agreement", "pin", file, "--to", folder / "agreements", "--ca", ca)


def test_an_agreement_that_has_ended_is_not_pinned(parties: Path) -> None:
    """It would open nothing; ``show`` tells that it has ended."""
    now = datetime.now(UTC)
    file = _sealed(parties, now - timedelta(days=9), now - timedelta(days=1))
    result = _pin(parties, file)
    assert result.exit_code == 1
    assert "AgreementExpired" in result.stderr
    assert not (parties / "agreements").exists()
    assert "; ended" in saphan("agreement", "show", file).output


def test_an_agreement_of_the_future_is_pinned_with_its_beginning(parties: Path) -> None:
    """It may lie there before it opens the door, but it is not said to be in force."""
    begins = datetime.now(UTC) + timedelta(days=2)
    file = _sealed(parties, begins, begins + timedelta(days=9))
    assert f"from {_moment(begins)} until" in _pin(parties, file).output
    assert "; not yet" in saphan("agreement", "show", file).output
