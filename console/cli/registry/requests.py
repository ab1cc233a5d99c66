"""Requests: list them, approve or decline; and what was done."""

from __future__ import annotations

from pathlib import Path

import click

from console.cli.options import JSON
from console.cli.registry.group import CLIENT, PATH, registry
from console.cli.registry.shared import client_of, now, signers, table, tell
from registry.lifecycle import State


@registry.command()
@click.option(
    "--state",
    type=click.Choice([str(item) for item in State]),
    help="Only those in this state.",
)
@click.option("--member", help="Only those of this member.")
@CLIENT
@JSON
def requests(state: str | None, member: str | None, url: str, api_key: str, as_json: bool) -> None:
    """List submissions."""
    items = client_of(url, api_key).pages("submissions", state=state, member=member)
    table(items, as_json, ("id", "member", "kind", "state", "version", "submitted_at", "reason"))


@registry.command()
@click.argument("number", type=int)
@click.option(
    "--keys",
    type=PATH,
    multiple=True,
    metavar="PATH",
    help="Targets keys: files, or a folder with targets-*.pem. Needed for a first "
    "registration and a change of keys.",
)
@click.option(
    "--root-keys",
    type=PATH,
    multiple=True,
    metavar="PATH",
    help="Root keys, to vouch for a member that lost its old key.",
)
@CLIENT
@JSON
def approve(
    number: int,
    keys: tuple[Path, ...],
    root_keys: tuple[Path, ...],
    url: str,
    api_key: str,
    as_json: bool,
) -> None:
    """Approve submission NUMBER and publish it."""
    from registry.operator import sign_delegation

    client = client_of(url, api_key)
    row = client.get(f"submissions/{number}")
    signed = None
    if row["needs_delegation"]:
        signed = sign_delegation(
            client.own(),
            client.submission(number),
            signers(keys, "targets"),
            signers(root_keys, "root"),
            now(),
        )
    result = client.approve(number, signed)
    tell(result, as_json, f"Approved: {result['member']} version {result['version']}.")


@registry.command()
@click.argument("number", type=int)
@click.option("--reason", required=True, help="What the member reads.")
@CLIENT
@JSON
def decline(number: int, reason: str, url: str, api_key: str, as_json: bool) -> None:
    """Decline submission NUMBER."""
    result = client_of(url, api_key).decline(number, reason)
    tell(result, as_json, f"Declined: {result['member']} version {result['version']}.")


@registry.command()
@CLIENT
@JSON
def acts(url: str, api_key: str, as_json: bool) -> None:
    """List what was done in the registry, and with which API key."""
    items = client_of(url, api_key).pages("acts")
    table(items, as_json, ("number", "at", "actor", "act", "subject"))
