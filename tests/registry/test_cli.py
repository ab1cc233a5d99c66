"""`saphan registry`, as operator and member use it: a real process and real files."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from click.testing import CliRunner

from certs.authority import create_development_pki
from console.cli.registry import registry
from exchange.identifiers import ServerId
from exchange.problems import Code, Problem
from registry.offline.member import MemberFolder
from tests.registry.simulator import MPI, openapi_document

DESCRIPTION = """
member: LA/GOV/MPI
name: {en: Planning, lo: ແຜນການ}
seal_certificates: [seal.pem]
servers:
  - id: LA/GOV/MPI/ss1
    address: "https://127.0.0.1:5501"
    auth_certificates: [auth.pem]
    shares: mpi-1
applications:
  - {id: LA/GOV/MPI/oda-mis, name: {en: ODA, lo: ODA}, servers: [LA/GOV/MPI/ss1]}
services:
  - {id: LA/GOV/MPI/oda-mis/projects, title: {en: Projects, lo: ໂຄງການ}, openapi: api.json}
"""


class Terminal:
    """A person's terminal in ``folder``."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environment: dict[str, str] = {}

    def run(self, *words: object) -> Any:
        """Run a command with --json and return what it printed."""
        result = CliRunner().invoke(
            registry, [*map(str, words), "--json"], env=self.environment, catch_exceptions=True
        )
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        assert result.exit_code == 0, result.output
        return json.loads(result.stdout)


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Terminal]:
    """A registry in a process of its own, and certificates of the hour."""
    at = datetime.now(UTC)
    pki = create_development_pki(tmp_path / "ca", "LA", at=at)
    pki.issue_seal(MPI, at=at).write(tmp_path / "seal.pem", tmp_path / "seal.key")
    server = ServerId.parse("LA/GOV/MPI/ss1")
    pki.issue_auth(server, ["127.0.0.1"], at=at).write(tmp_path / "auth.pem", tmp_path / "auth.key")
    (tmp_path / "api.json").write_bytes(openapi_document())
    (tmp_path / "mpi.yaml").write_text(DESCRIPTION)
    terminal = Terminal(tmp_path)
    terminal.run(
        "init", tmp_path / "registry", "--instance", "LA", "--environment", "development",
        "--authority", tmp_path / "ca/authorities.pem",
    )  # fmt: skip
    command = [sys.executable, "-m", "console.cli.main", "registry", "serve"]
    process = subprocess.Popen(
        [*command, str(tmp_path / "registry"), "--listen", "127.0.0.1:0", "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    assert process.stdout is not None
    terminal.environment = {
        "SAPHAN_REGISTRY": json.loads(process.stdout.readline())["url"],
        "SAPHAN_API_KEY": f"@{tmp_path}/registry/offline/operator-api-key",
    }
    yield terminal
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 0
    process.stdout.close()


def test_a_service_is_registered_by_commands_alone(terminal: Terminal) -> None:
    """From a key to a trusted service, then a change of keys, and what a server sees of it."""
    folder, run = terminal.folder, terminal.run
    key = run("key-add", "member-administrator", "--member", "LA/GOV/MPI")["key"]
    run("member-init", folder / "mpi", "--member", "LA/GOV/MPI")
    row = run("submit", folder / "mpi", folder / "mpi.yaml", "--api-key", key)
    assert row["state"] == "submitted"
    with pytest.raises(Problem) as caught:
        run("approve", row["id"])
    assert caught.value.code is Code.NOT_AUTHORISED
    run("approve", row["id"], "--keys", folder / "registry/offline")
    assert [item["id"] for item in run("list")] == ["LA/GOV/MPI/oda-mis/projects"]
    assert run("show", "LA/GOV/MPI/oda-mis/projects", "--openapi")["openapi"] == "3.1.0"
    (server,) = run("show", "LA/GOV/MPI")["document"]["servers"]
    assert server["shares"] == "mpi-1"
    rotated = run("member-rotate", folder / "mpi")
    assert rotated["number"] == 1
    row = run("submit", folder / "mpi", folder / "mpi.yaml")
    assert row["kind"] == "keys"
    run("approve", row["id"], "--keys", folder / "registry/offline")
    found = run("verify", "--root", folder / "registry/root.json")
    assert (found["members"], found["complaints"]) == (["LA/GOV/MPI"], [])
    acts = [item["act"] for item in run("acts")]
    assert acts == ["open", "add key", "submit", "approve", "submit", "approve"]
    (folder / "thing.1.json").write_text('{"$id":"https://schemas.saphan.la/thing/1"}')
    run("schema-publish", folder / "thing.1.json", "--keys", folder / "registry/offline")
    assert "https://schemas.saphan.la/thing/1" in {item["id"] for item in run("list", "schemas")}
    run("submit", folder / "mpi", folder / "mpi.yaml")
    assert run("decline", 3, "--reason", "not now")["state"] == "declined"
    assert [item["state"] for item in run("requests")] == ["approved", "approved", "declined"]


@pytest.mark.parametrize("command", sorted(registry.commands))
def test_every_command_has_help(command: str) -> None:
    """Each command and each of its options says what it is."""
    found = registry.commands[command]
    assert found.help
    for parameter in found.params:
        if parameter.param_type_name == "option":
            assert getattr(parameter, "help", ""), f"{command} {parameter.name}"
    assert CliRunner().invoke(registry, [command, "--help"]).exit_code == 0


@pytest.mark.parametrize(
    "words",
    [
        ["list", "--registry", "http://127.0.0.1:1"],
        ["list", "--registry", "nonsense"],
        ["list", "--registry", "http://127.0.0.1:99999"],
        ["list", "--registry", "http://[::1"],
        ["requests", "--registry", "http://127.0.0.1:1", "--api-key", "ກ"],
        ["requests", "--registry", "http://127.0.0.1:1", "--api-key", "a\nb"],
        ["member-init", "/proc/none", "--member", "LA/GOV"],
        ["submit", "/nowhere", "/etc/hostname", "--registry", "http://127.0.0.1:1"],
        ["serve", "/nowhere"],
    ],
)
def test_a_user_s_mistake_is_a_problem_and_no_traceback(words: list[str]) -> None:
    """Whatever goes wrong has a code and a remedy."""
    result = CliRunner().invoke(registry, words)
    assert isinstance(result.exception, Problem)


class _Stranger(BaseHTTPRequestHandler):
    """Answers everything with JSON that is not the registry's."""

    answer = b""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(self.answer)))
        self.end_headers()
        self.wfile.write(self.answer)

    def log_message(self, *words: object) -> None:
        """Say nothing."""


@pytest.mark.parametrize("answer", [b"[]", b"{}", b"1", b"<html>"])
@pytest.mark.parametrize(
    "words",
    [
        ["list"],
        ["show", "LA/GOV/MPI"],
        ["requests", "--api-key", "x"],
        ["keys", "--api-key", "x"],
        ["approve", "1", "--api-key", "x"],
    ],
)
def test_another_service_at_the_address_is_told(words: list[str], answer: bytes) -> None:
    """A wrong port is a common slip; what answers there is not the registry."""
    handler = type("Handler", (_Stranger,), {"answer": answer})
    with HTTPServer(("127.0.0.1", 0), handler) as server:
        Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}"
        result = CliRunner().invoke(registry, [*words, "--registry", url])
        server.shutdown()
    assert isinstance(result.exception, Problem)
    assert result.exception.code is Code.REGISTRY_UNREACHABLE


@pytest.mark.parametrize(("name", "content"), [("member", b"\xff"), ("version", b"abc")])
def test_a_damaged_file_of_a_member_s_folder_is_told(
    tmp_path: Path, name: str, content: bytes
) -> None:
    """The file is named, so that it can be put right."""
    folder = tmp_path / "mpi"
    assert (
        CliRunner()
        .invoke(registry, ["member-init", str(folder), "--member", "LA/GOV/MPI"])
        .exit_code
        == 0
    )
    (folder / name).write_bytes(content)
    with pytest.raises(Problem) as caught:
        _ = MemberFolder.open(folder).version
    assert str(folder) in caught.value.where
