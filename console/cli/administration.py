"""`saphan mediator maintenance`, `peers` and `witnesses`: the administration of a running server.

They speak to its administration listener, which is on loopback: on the server's own machine.
"""

from __future__ import annotations

import http.client
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final, TypeVar
from urllib.parse import urlsplit

import click
import orjson

from console.cli.call import plain
from exchange.messages.error_types import known_code
from exchange.problems import Code, Problem

TIMEOUT_S: Final = 30.0
MAX_ANSWER_BYTES: Final = 16 * 1024 * 1024

_Command = TypeVar("_Command", bound=Callable[..., None])


def on_a_server(command: _Command) -> _Command:
    """The argument and the options by which a running server is named."""
    parameters = (
        click.argument(
            "settings",
            required=False,
            type=click.Path(exists=True, dir_okay=False, path_type=Path),
        ),
        click.option(
            "--admin",
            metavar="URL",
            help="The administration listener, instead of the one in SETTINGS; "
            "such as http://127.0.0.1:4000.",
        ),
        click.option("--json", "as_json", is_flag=True, help="Print one JSON document."),
    )
    for parameter in reversed(parameters):
        command = parameter(command)
    return command


@click.group()
def maintenance() -> None:
    """Refuse other servers' messages for a while, with a notice.

    SETTINGS is the server's YAML file; its `listen.admin` says where the running server is asked.
    """


@maintenance.command("begin")
@on_a_server
@click.option("--notice", required=True, help="One line that callers read.")
@click.option(
    "--until",
    metavar="TIME",
    help="When the end is expected, in UTC, such as 2026-11-21T11:00:00Z; it ends nothing.",
)
def begin(
    settings: Path | None, admin: str | None, as_json: bool, notice: str, until: str | None
) -> None:
    """Begin maintenance of the server of SETTINGS, or change its notice; survives a restart."""
    order = {"notice": notice} | ({"until": until} if until is not None else {})
    _show_maintenance(ask_server(settings, admin, "PUT", "/maintenance", order), as_json)


@maintenance.command("end")
@on_a_server
def end(settings: Path | None, admin: str | None, as_json: bool) -> None:
    """End maintenance: the server of SETTINGS takes messages again."""
    _show_maintenance(ask_server(settings, admin, "DELETE", "/maintenance"), as_json)


@maintenance.command("show")
@on_a_server
def show(settings: Path | None, admin: str | None, as_json: bool) -> None:
    """Say whether the server of SETTINGS is in maintenance."""
    _show_maintenance(ask_server(settings, admin, "GET", "/maintenance"), as_json)


@click.command("peers")
@on_a_server
def peers(settings: Path | None, admin: str | None, as_json: bool) -> None:
    """List the servers that the server of SETTINGS has called, and what it thinks of each.

    A server that rests (`open`) gets no messages until its time is over; `half-open`: one message
    looks whether it is well.
    """
    answer = ask_server(settings, admin, "GET", "/peers")
    if as_json:
        click.echo(orjson.dumps(answer).decode())
        return
    for peer in answer["peers"]:
        rests = f", rests {peer['rests_s']:g} s more" if "rests_s" in peer else ""
        click.echo(
            plain(
                f"{peer['server']}: {peer['state']}{rests}; failures in a row {peer['failures']}, "
                f"under way {peer['running']}, repeats left {peer['repeats_left']}"
            )
        )
        if trouble := peer.get("last_problem"):
            click.echo(plain(f"    {trouble['at']} {trouble['code']}: {trouble['detail']}"))
    if not answer["peers"]:
        click.echo("It has called no other server since its start.")


@click.command("witnesses")
@on_a_server
def witnesses(settings: Path | None, admin: str | None, as_json: bool) -> None:
    """Say who cosigns the journal of the server of SETTINGS, and up to which entry a quorum did.

    Exit codes: 0 fine; 1 a quorum is missing for longer than witnesses.alarm_s.
    """
    answer = ask_server(settings, admin, "GET", "/witnesses")
    if as_json:
        click.echo(orjson.dumps(answer).decode())
    else:
        for line in _of_witnesses(answer):
            click.echo(plain(line))
    if not answer["ok"]:
        sys.exit(1)


def _of_witnesses(answer: dict[str, Any]) -> Iterator[str]:
    for one in answer["witnesses"]:
        size = one["cosigned_size"]
        yield f"{one['name']}: cosigned {size:,} entries since this server started"
        if "problem" in one:
            yield f"    {one['failures']} failures in a row; {one['problem']}"
    if not answer["witnesses"]:
        yield (
            "Nobody is asked to witness this journal: no server of another member publishes a "
            "witness's key, and witnesses.policy is not set."
        )
    yield f"A quorum cosigned {answer['witnessed_size']:,} entries: {'; '.join(answer['quorum'])}"
    if answer["waiting_s"]:
        yield f"Newer entries have been waiting for {answer['waiting_s']:g} s."
    if not answer["registered"]:
        yield (
            "The registry does not list this server's keys: others can neither witness its "
            "journal nor be witnessed by it. Next: saphan mediator keys SETTINGS"
        )


def _show_maintenance(answer: dict[str, Any], as_json: bool) -> None:
    if as_json:
        click.echo(orjson.dumps(answer).decode())
    elif answer["on"]:
        until = f", until {answer['until']} as announced" if "until" in answer else ""
        click.echo(plain(f"In maintenance since {answer['since']}{until}: {answer['notice']}"))
        click.echo("Next, when it is over: saphan mediator maintenance end")
    else:
        click.echo("Not in maintenance: messages of other servers are taken.")


# --- the call ------------------------------------------------------------------------------------


def _listener_of(settings: Path) -> str:
    # Other commands are about running servers, too, and seldom read settings: they start quicker.
    from mediator.settings import ServerSettings
    from serving.settings import read

    return f"http://{read(ServerSettings, settings).listen.admin}"


def _address(settings: Path | None, admin: str | None) -> tuple[str, int]:
    """Host and port of the administration listener."""
    if (settings is None) == (admin is None):
        raise Problem(
            Code.INVALID_USAGE,
            where="SETTINGS, --admin",
            detail="give either the server's settings or the address of its administration",
        )
    listener = admin if settings is None else _listener_of(settings)
    try:
        parts = urlsplit(listener or "")
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port = None, None
    if parts.scheme != "http" or not host or not port or parts.path not in ("", "/"):
        raise Problem(
            Code.INVALID_USAGE,
            where="--admin" if settings is None else "listen.admin",
            detail=f"{listener} names no port of an administration listener; the running server "
            "logs its own as it starts, for --admin http://127.0.0.1:PORT",
        )
    return host, port


def ask_server(
    settings: Path | None, admin: str | None, method: str, path: str, order: object = None
) -> Any:
    """What the administration answers."""
    host, port = _address(settings, admin)
    body = None if order is None else orjson.dumps(order)
    headers = {} if body is None else {"Content-Type": "application/json"}
    connection = http.client.HTTPConnection(host, port, timeout=TIMEOUT_S)
    try:
        connection.request(method, path, body, headers)
        response = connection.getresponse()
        status, answer = response.status, response.read(MAX_ANSWER_BYTES)
    except (OSError, http.client.HTTPException) as error:
        raise _no_server(host, port, str(error) or type(error).__name__) from error
    finally:
        connection.close()
    try:
        document = orjson.loads(answer)
    except orjson.JSONDecodeError as error:
        raise _no_server(host, port, "what answers there is no security server") from error
    if status == 200:
        return document
    said = document if isinstance(document, dict) else {}
    code = known_code(str(said.get("type", "")))
    if code is None:
        raise _no_server(host, port, f"what answers there says {status} and no more")
    raise Problem(code, where=str(said.get("where", "")), detail=str(said.get("message", "")))


def _no_server(host: str, port: int, why: str) -> Problem:
    return Problem(
        Code.OWN_SERVER_UNREACHABLE,
        where=f"http://{host}:{port}",
        detail=f"the administration of your security server: {why}",
    )
