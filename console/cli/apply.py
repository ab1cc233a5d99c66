"""`saphan apply`: bring a member's registration and pinned agreements to what a file describes."""

from __future__ import annotations

import shlex
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import click

from console.cli.adding import file_with
from console.cli.agreement.files import authorities
from console.cli.agreement.pinning import judge_pin, place
from console.cli.options import JSON
from console.cli.registry.group import ASK, CLIENT, FILE
from console.cli.registry.handing_in import PROOF, hand_in
from console.cli.registry.shared import client_of, tell, warning_lines
from exchange.documents import Node
from registry.http.client import RegistryClient
from registry.offline.member import KEY_FILE, MemberFolder, describe, read_description
from registry.requests.applying import Plan, plan
from registry.requests.lifecycle import State

API_KEY_FILE = "api-key"
"""Where the API key is looked for, beside FILE, when none is given."""
DIFFERENT = 3
"""The exit code of a dry run that found something to do."""
UNDECIDED = 4
"""The exit code when nobody decided while `--wait` lasted."""
POLL_S = 1.0
NOT_TOUCHED = (
    "Not touched: the settings of your servers (listening, backends, limits, modes of "
    "applications) and their keys."
)


@click.command()
@click.argument("file", type=FILE)
@click.option(
    "--folder",
    type=click.Path(path_type=Path, file_okay=False),
    help="The member's folder with its registry key, made when there is none; else that of FILE.",
)
@click.option("--yes", is_flag=True, help="Do it without asking.")
@click.option(
    "--dry-run", is_flag=True, help="Show the difference only; exit code 3 when there is one."
)
@click.option("--note", default="", help="A word to whoever approves.")
@ASK
@PROOF
@click.option(
    "--wait",
    "wait_s",
    type=click.IntRange(1, 86_400),
    is_flag=False,
    flag_value=600,
    metavar="SECONDS",
    help="Wait until the request is decided, so long at most (600 when no number is given); exit "
    "code 4 when it is not.",
)
@CLIENT
@JSON
def apply(
    file: Path,
    folder: Path | None,
    yes: bool,
    dry_run: bool,
    note: str,
    asks: bool,
    proofs: tuple[Path, ...],
    wait_s: int | None,
    url: str,
    api_key: str,
    as_json: bool,
) -> None:
    """Bring a member to what FILE (YAML) describes: servers, services, pinned agreements.

    Without an API key the one in the file api-key beside FILE is taken.

    FILE is the description of `saphan registry submit`: names, servers and their addresses and
    certificates, applications, services with their endpoints, published agreements; what it leaves
    out is taken away. Under `pinned` it may say which agreements the server's folder holds. The
    settings of servers are not touched. The difference is shown first. What is so already is left
    alone, so applying twice does nothing.
    """
    now = datetime.now(UTC)
    beside = file.parent / API_KEY_FILE
    client = client_of(url, api_key or (f"@{beside}" if beside.is_file() else ""))
    found = plan(client, describe(file), now)
    pins = _pins(file, now)
    _show(found, pins, as_json)
    is_new = bool(found.changes) and found.waiting is None
    is_awaited = wait_s is not None and found.waiting is not None
    if dry_run or not (is_new or pins or is_awaited):
        _report(as_json, found, pins, None, is_done=not dry_run)
        sys.exit(DIFFERENT if dry_run and (found.changes or pins) else 0)
    if not yes and (is_new or pins):
        if not sys.stdin.isatty() or as_json:
            raise click.UsageError("say --yes to do it, or --dry-run to look only")
        click.confirm("Do it?", abort=True)
    row = None
    if is_new:
        home = _home(folder or file.parent, found, as_json)
        row = hand_in(
            client, home, found.described, found.version, note=note, asks=asks, proofs=proofs
        )
    for step in pins:
        step.do()
    row = _awaited(client, row, found.waiting, wait_s)
    _report(as_json, found, pins, row, is_done=True)
    if row is not None and row["state"] == State.APPROVED:
        settings = file_with("server") or file_with("server", file.parent) or "SERVER.yaml"
        click.echo(f"Next: saphan mediator serve {shlex.quote(str(settings))}", err=True)
    sys.exit(_exit_code(row, wait_s))


def _awaited(client: RegistryClient, row: Any, waiting: int | None, wait_s: int | None) -> Any:
    """The request as it stands when it is decided, or the time is over."""
    number = waiting if row is None else row["id"]
    if wait_s is None or number is None:
        return row
    end = time.monotonic() + wait_s
    while True:
        row = client.get(f"submissions/{number}")
        left = end - time.monotonic()
        if row["state"] != State.SUBMITTED or left <= 0:
            return row
        time.sleep(min(POLL_S, left))


def _exit_code(row: Any, wait_s: int | None) -> int:
    if wait_s is None or row is None or row["state"] == State.APPROVED:
        return 0
    return UNDECIDED if row["state"] == State.SUBMITTED else 1


@dataclass(frozen=True, slots=True)
class Pin:
    """One change of the folder that a server reads."""

    what: str
    agreement: str
    do: Callable[[], None]


def _pins(file: Path, now: datetime) -> list[Pin]:
    """What is to be placed and removed so that the folder holds what is described."""
    node = Node(read_description(file), file.name, "")
    pinned = node.value.get("pinned") if isinstance(node.value, dict) else None
    if pinned is None:
        return []
    fields = Node(pinned, file.name, "/pinned").members(
        frozenset({"folder", "authorities", "agreements"})
    )
    folder = file.parent / fields["folder"].text(500)
    trusted = authorities(file.parent / fields["authorities"].text(500))
    wanted: dict[Path, bytes] = {}
    for item in fields["agreements"].items(4096):
        sealed, _, target = judge_pin(file.parent / item.text(500), folder, trusted, now)
        wanted[target] = sealed
    steps = [
        Pin("unpin", path.name, path.unlink)
        for path in sorted(folder.glob("*.jws"))
        if path not in wanted
    ]
    for target, sealed in wanted.items():
        if not target.exists() or target.read_bytes() != sealed:
            steps.append(Pin("pin", target.name, partial(place, target, sealed)))
    return steps


def _home(folder: Path, found: Plan, as_json: bool) -> MemberFolder:
    """The member's folder; its registry key is made when the member has none yet."""
    if (folder / KEY_FILE).exists() or found.version:
        return MemberFolder.open(folder)
    home = MemberFolder.create(folder, found.described.member)
    if not as_json:
        click.echo(f"Made the registry key {folder / KEY_FILE}: keep it safe, and a copy of it.")
    return home


def _show(found: Plan, pins: list[Pin], as_json: bool) -> None:
    if as_json:
        return
    for change in found.changes:
        click.echo(f"  {change}")
    for step in pins:
        click.echo(f"  {step.what} {step.agreement}")


def _report(as_json: bool, found: Plan, pins: list[Pin], row: Any, *, is_done: bool) -> None:
    state = None if row is None else row["state"]
    number = found.waiting if row is None else row["id"]
    lines = [] if row is None else warning_lines(row)
    if state == State.SUBMITTED or (row is None and number is not None):
        keys = " --keys DIR/offline" if row is not None and row["needs_delegation"] else ""
        already = "asks for this already and " if found.waiting is not None else ""
        lines += [
            f"Request {number} {already}waits for approval.",
            f"Next, the operator: saphan registry approve {number}{keys} --api-key KEY",
        ]
        if row is not None and row["obstacle"]:
            lines.append(f"In its way: {row['obstacle']}")
    elif state == State.APPROVED:
        lines.append("It is published.")
    elif row is not None:
        lines.append(f"Request {number} was {state}: {row['reason']}")
    elif not found.changes and not pins:
        lines = [f"{found.described.member} is as described: nothing to do."]
    elif is_done:
        lines = ["The folder of agreements is as described."]
    value = {
        "member": str(found.described.member),
        "changes": [change.describe() for change in found.changes],
        "pins": [{"what": step.what, "agreement": step.agreement} for step in pins],
        "request": number if state in {None, State.SUBMITTED} else None,
        "state": state,
        "findings": [] if row is None else row["findings"],
        "not_touched": NOT_TOUCHED,
    }
    tell(value, as_json, *lines, NOT_TOUCHED)
