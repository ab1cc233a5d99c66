"""Mistakes at the command line end in a problem with a next step, never in a traceback."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from urllib.parse import quote

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
    return CliRunner().invoke(command_line.main, [*map(str, words)], prog_name="saphan")


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (PORT_IN_USE, "InvalidSettings at listen.peer: address already in use"),
        (ExceptionGroup("tasks", [PORT_IN_USE]), "InvalidSettings at listen.peer"),
        (ExceptionGroup("a", [ExceptionGroup("b", [NO_RIGHT])]), "at /srv/data: Permission denied"),
        (NO_RIGHT, "InvalidUsage at /srv/data: Permission denied"),
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


@pytest.mark.parametrize(
    ("words", "where"),
    [
        (["audit", "search", "/nowhere"], "DIR..."),
        (["audit", "search"], "saphan audit search"),
        (["audit", "show", "/", "one"], "INDEX"),
        (["adapter", "check", "/nowhere.yaml"], "MAPPING"),
        (["nothing"], "saphan"),
        (["--nothing"], "saphan"),
    ],
)
def test_wrong_usage_is_a_problem_too(words: list[str], where: str) -> None:
    """It has code, place, how the command is called, a next step in both languages, exit code 2."""
    result = saphan(*words)
    assert result.exit_code == 2
    assert result.stderr.startswith(f"InvalidUsage at {where}: ")
    assert "Usage: saphan" in result.stderr
    assert "  Next: " in result.stderr
    assert "  ຂັ້ນຕອນຕໍ່ໄປ: " in result.stderr


def test_wrong_usage_is_told_as_json_when_json_was_asked_for() -> None:
    """A program that reads --json never has to read prose."""
    done = subprocess.run(
        [sys.executable, "-m", "console.cli.main", "audit", "search", "/nowhere", "--json"],
        capture_output=True,
        check=False,
    )
    assert done.returncode == 2
    told = orjson.loads(done.stderr)
    assert (told["type"], told["where"]) == ("InvalidUsage", "DIR...")


def test_what_is_logged_on_the_way_is_no_answer() -> None:
    """Standard output is what was asked for, whatever a command uses has to say beside it."""
    logging = (
        "import click, structlog; from console.cli import main as line;"
        "said = lambda: (structlog.get_logger().warning('aside'), click.echo('{}'));"
        "line.LazyGroup.get_command = lambda *_: click.Command('audit', callback=said);"
        "line.main(['audit'])"
    )
    done = subprocess.run([sys.executable, "-c", logging], capture_output=True, check=True)
    assert done.stdout == b"{}\n"
    assert orjson.loads(done.stderr)["event"] == "aside"


def test_an_interruption_is_exit_code_130(monkeypatch: pytest.MonkeyPatch) -> None:
    """As `saphan --help` says; whoever pressed Ctrl-C is not told of a problem."""

    @click.command()
    def interrupted() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(command_line.LazyGroup, "get_command", lambda *_: interrupted)
    result = saphan("mediator")
    assert result.exit_code == 130
    assert "Traceback" not in result.stderr


def test_a_reader_that_had_enough_is_no_problem() -> None:
    """`saphan … | head` ends without a word of its own."""
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [sys.executable, "-m", "console.cli.main", "audit", "search", "--help"],
        stdout=writer,
        stderr=subprocess.PIPE,
        check=False,
    )
    os.close(writer)
    assert done.stderr == b""


@pytest.mark.parametrize("via", ["http://127.0.0.1:port", "http://127.0.0.1:99999", "127.0.0.1:1"])
def test_an_address_that_is_none_is_told(via: str) -> None:
    """A port of letters or beyond 65535 is the caller's mistake, not a fault of the program."""
    result = saphan(
        "call", "LA/GOV/MOES/register/schools", "--as", "LA/GOV/LSB/laosis", "--via", via
    )  # fmt: skip
    assert result.exit_code == 1
    assert "InvalidUsage at --via" in result.stderr


@pytest.mark.parametrize(
    "words", [["--purpose", "ງົບ"], ["--header", "x-note: ລາວ"], ["--timeout", "0"]]
)
def test_what_no_header_can_carry_is_wrong_usage(words: list[str]) -> None:
    """Named with its place, before anything is sent."""
    result = saphan(
        "call", "LA/GOV/MOES/register/schools", "--as", "LA/GOV/LSB/laosis",
        "--via", "http://127.0.0.1:1", *words,
    )  # fmt: skip
    assert result.exit_code == 2
    assert result.stderr.startswith("InvalidUsage at ")


def test_a_certificate_is_not_left_out_in_silence() -> None:
    """Over plain HTTP nobody would see it."""
    result = saphan(
        "call", "LA/GOV/MOES/register/schools", "--as", "LA/GOV/LSB/laosis",
        "--via", "http://127.0.0.1:1", "--cert", "a.pem",
    )  # fmt: skip
    assert result.exit_code == 1
    assert "are for https" in result.stderr


class Service(BaseHTTPRequestHandler):
    """Answers every call with its target, or with a problem below /refused."""

    def do_GET(self) -> None:
        refused = self.path.endswith("/refused")
        remedy = {"en": "Ask for less.", "lo": "ຂໍໜ້ອຍລົງ."}
        said = {"type": "T", "message": "too much", "where": "query", "remedy": remedy}
        body = orjson.dumps(said if refused else self.path)
        self.send_response(403 if refused else 200)
        if refused:
            self.send_header("X-Road-Error", "Server.ServerProxy.FieldNotReleased")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Nothing."""


@pytest.fixture
def service() -> Iterator[str]:
    """The address of a server that answers to everything."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Service) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_letters_of_a_path_are_encoded(service: str) -> None:
    """Lao and blanks are typed as they are; what is encoded already stays."""
    result = saphan(
        "call", "LA/GOV/MOES/register/schools", "/a?name=ບ້ານ ນາ&b=%20",
        "--as", "LA/GOV/LSB/laosis", "--via", service,
    )  # fmt: skip
    assert result.exit_code == 0, result.stderr
    target = orjson.loads(result.stdout)
    assert target == (
        f"/r1/LA/GOV/MOES/register/schools/a?name={quote('ບ້ານ')}%20{quote('ນາ')}&b=%20"
    )


def test_a_refusal_is_explained_beside_its_body(service: str) -> None:
    """Who sends the body to a file still reads code, place, reason and next step."""
    result = saphan(
        "call", "LA/GOV/MOES/register/schools", "/refused",
        "--as", "LA/GOV/LSB/laosis", "--via", service,
    )  # fmt: skip
    assert result.exit_code == 1
    assert orjson.loads(result.stdout)["type"] == "T"
    assert result.stderr.splitlines() == [
        "HTTP 403 Server.ServerProxy.FieldNotReleased at query: too much",
        "  Next: Ask for less.",
        "  ຂັ້ນຕອນຕໍ່ໄປ: ຂໍໜ້ອຍລົງ.",
    ]


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
    assert "OwnServerUnreachable" in result.stderr
    assert "below listen name this address" in " ".join(result.stderr.split())


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


def test_each_step_of_an_agreement_is_told_as_json(parties: Path) -> None:
    """A script learns the file, the agreement and who has sealed it."""
    draft = saphan(
        "agreement", "draft", "--consumer", "LA/GOV/LSB/laosis",
        "--service", "LA/GOV/MOES/register/schools", "--endpoint", "GET /schools",
        "--purpose", "statistics", "--legal-basis", "Statistics law", "--id", "lsb",
        "-o", parties / "agreement.json", "--json",
    )  # fmt: skip
    assert orjson.loads(draft.stdout) == {
        "file": str(parties / "agreement.json"), "agreement": "lsb", "sealed_by": [],
    }  # fmt: skip
    file, sealed_by = parties / "agreement.json", list[str]()
    for code in ("MOES", "LSB"):
        result = saphan(
            "agreement", "seal", file, "--certificate", parties / f"{code}.pem",
            "--key", parties / f"{code}.key.pem", "-o", parties / "agreement.jws", "--json",
        )  # fmt: skip
        file, sealed_by = parties / "agreement.jws", [*sealed_by, f"LA/GOV/{code}"]
        assert orjson.loads(result.stdout)["sealed_by"] == sealed_by
    ca = parties / "pki/authorities.pem"
    pinned = saphan("agreement", "pin", file, "--to", parties / "pinned", "--ca", ca, "--json")
    told = orjson.loads(pinned.stdout)
    assert (told["agreement"], told["consumer"]) == ("lsb", "LA/GOV/LSB/laosis")
    assert Path(told["file"]).is_file()
