"""`saphan apply`: bring a member's registration and pinned agreements to what a file describes."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from console.cli.agreement.files import authorities, write
from console.cli.agreement.pinning import judge_pin
from console.cli.options import JSON
from console.cli.registry.group import CLIENT, FILE
from console.cli.registry.shared import client_of, tell
from exchange.documents import Node
from registry.applying import Plan, plan
from registry.lifecycle import State
from registry.member import KEY_FILE, MemberFolder, describe, read_description

API_KEY_FILE = "api-key"
"""Where the API key is looked for, beside FILE, when none is given."""
DIFFERENT = 3
"""The exit code of a dry run that found something to do."""


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
@CLIENT
@JSON
def apply(
    file: Path,
    folder: Path | None,
    yes: bool,
    dry_run: bool,
    note: str,
    url: str,
    api_key: str,
    as_json: bool,
) -> None:
    """Bring a member to what FILE (YAML) describes: servers, services, pinned agreements.

    Without an API key the one in the file api-key beside FILE is taken.

    FILE is the description of `saphan registry submit`; under `pinned` it may say which agreements
    the server's folder holds. The difference is shown first. What is so already is left alone, so
    applying twice does nothing.
    """
    now = datetime.now(UTC)
    beside = file.parent / API_KEY_FILE
    client = client_of(url, api_key or (f"@{beside}" if beside.is_file() else ""))
    found = plan(client, describe(file), now)
    pins = _pins(file, now)
    _show(found, pins, as_json)
    is_new = bool(found.changes) and found.waiting is None
    if dry_run or not (is_new or pins):
        _report(as_json, found, pins, None, is_done=not dry_run)
        sys.exit(DIFFERENT if dry_run and (found.changes or pins) else 0)
    if not yes:
        if not sys.stdin.isatty() or as_json:
            raise click.UsageError("say --yes to do it, or --dry-run to look only")
        click.confirm("Do it?", abort=True)
    for step in pins:
        step.do()
    row = None
    if is_new:
        home = _home(folder or file.parent, found, as_json)
        row = client.submit(home.sign(found.described, found.version, now, note))
    _report(as_json, found, pins, row, is_done=True)


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
            steps.append(Pin("pin", target.name, _placing(target, sealed)))
    return steps


def _placing(target: Path, sealed: bytes) -> Callable[[], None]:
    def place() -> None:
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = target.with_name(f".{target.name}.tmp")
        write(temporary, sealed)
        os.replace(temporary, target)

    return place


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
    waiting = found.waiting if row is None or row["state"] != State.SUBMITTED else row["id"]
    lines = []
    if not found.changes and not pins:
        lines = [f"{found.described.member} is as described: nothing to do."]
    elif found.waiting is not None:
        lines = [f"Request {waiting} asks for this already and waits for approval."]
    elif row is not None and row["state"] == State.SUBMITTED:
        keys = " --keys DIR/offline" if row["needs_delegation"] else ""
        lines = [
            f"Request {waiting} waits for approval.",
            f"Next, the operator: saphan registry approve {waiting}{keys} --api-key KEY",
        ]
    elif row is not None:
        lines = ["It is published."]
    elif is_done:
        lines = ["The folder of agreements is as described."]
    value = {
        "member": str(found.described.member),
        "changes": [change.describe() for change in found.changes],
        "pins": [{"what": step.what, "agreement": step.agreement} for step in pins],
        "request": waiting,
        "state": None if row is None else row["state"],
    }
    if as_json or lines:
        tell(value, as_json, *lines)
