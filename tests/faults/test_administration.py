"""`saphan mediator maintenance` and `peers` against running servers."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from click.testing import CliRunner, Result

from console.cli.mediator import mediator
from console.reference_world.processes import free_ports
from exchange.identifiers import ServerId
from exchange.problems import Code, Problem
from tests.world import small
from tests.world.servers import SS1, SS2, Servers, two_servers


@pytest.fixture(scope="module")
def servers() -> Iterator[Servers]:
    with two_servers() as built:
        yield built


def run(*words: str) -> Result:
    return CliRunner().invoke(mediator, list(words))


def say(servers: Servers, server: ServerId, *words: str) -> str:
    """What a command that names the server by its settings prints."""
    result = run(*words, str(servers.of(server).folder / "server.yaml"))
    assert result.exit_code == 0, result.output
    return result.output


def told(servers: Servers, server: ServerId, *words: str) -> Any:
    return json.loads(say(servers, server, *words, "--json"))


def test_maintenance_begins_is_shown_and_ends(servers: Servers) -> None:
    """From the order on callers get the notice; from the end on they are served again."""
    assert told(servers, SS1, "maintenance", "show") == {"on": False}
    notice, until = "ປິດຊົ່ວຄາວ until 18:00", "2099-11-21T11:00:00Z"
    order = ("maintenance", "begin", "--notice", notice, "--until", until)
    said = say(servers, SS1, *order)
    assert notice in said
    assert until in said
    assert "maintenance end" in said
    shown = told(servers, SS1, "maintenance", "show")
    assert (shown["on"], shown["notice"], shown["until"]) == (True, notice, until)
    headers = {"X-Road-Security-Server": str(SS1)}
    refused = servers.world.call(headers=headers)
    assert (refused.code, refused.json["message"]) == (Code.MAINTENANCE_MODE, notice)
    assert "Not in maintenance" in say(servers, SS1, "maintenance", "end")
    assert told(servers, SS1, "maintenance", "end") == {"on": False}  # it may be said twice
    while servers.world.call(headers=headers).status != 200:
        assert servers.peers()["ss1"]["state"] != "closed"  # it rests yet


def test_what_a_notice_cannot_be_is_said(servers: Servers) -> None:
    """The server's own problem, with its place."""
    settings = str(servers.of(SS2).folder / "server.yaml")
    result = run("maintenance", "begin", settings, "--notice", "two\nlines")
    assert isinstance(result.exception, Problem)
    assert result.exception.code is Code.INVALID_DOCUMENT
    assert "notice" in result.exception.where
    assert told(servers, SS2, "maintenance", "show") == {"on": False}


def test_peers_are_listed_with_their_last_problem(servers: Servers) -> None:
    """The same rows as the administration's; for eyes each with what went wrong last."""
    assert servers.world.call(headers={"X-Road-Security-Server": str(SS2)}).status == 200
    servers.maintain(SS2, "tonight")
    assert servers.world.call(headers={"X-Road-Security-Server": str(SS2)}).status == 503
    admin = servers.of(small.MOF_SERVER).url("admin")
    rows = json.loads(run("peers", "--admin", admin, "--json").stdout)["peers"]
    assert {row["server"] for row in rows} >= {str(SS2)}
    text = say(servers, small.MOF_SERVER, "peers")
    assert f"{SS2}: " in text
    assert "MaintenanceMode: tonight" in text
    servers.maintain(SS2, None)


def test_a_server_that_calls_nobody_says_so(servers: Servers) -> None:
    """An empty list is an answer, not silence."""
    assert "no other server" in say(servers, SS1, "peers")


@pytest.mark.parametrize(
    ("words", "code", "where"),
    [
        ((), Code.INVALID_USAGE, "SETTINGS, --admin"),
        (("--admin", "https://127.0.0.1:1"), Code.INVALID_USAGE, "--admin"),
        (("--admin", "http://127.0.0.1"), Code.INVALID_USAGE, "--admin"),
        (("--admin", "http://127.0.0.1:99999"), Code.INVALID_USAGE, "--admin"),
        (("--admin", "nonsense"), Code.INVALID_USAGE, "--admin"),
    ],
)
def test_a_server_must_be_named(words: tuple[str, ...], code: Code, where: str) -> None:
    """Once, and as an address that can be asked."""
    problem = run("peers", *words).exception
    assert isinstance(problem, Problem)
    assert (problem.code, problem.where) == (code, where)


def test_a_server_that_does_not_run_is_told() -> None:
    """With the address that was tried."""
    (port,) = free_ports(1)
    problem = run("maintenance", "show", "--admin", f"http://127.0.0.1:{port}").exception
    assert isinstance(problem, Problem)
    assert (problem.code, problem.where) == (
        Code.OWN_SERVER_UNREACHABLE,
        f"http://127.0.0.1:{port}",
    )
