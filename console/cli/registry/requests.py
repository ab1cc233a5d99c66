"""Requests: list them, approve or decline; and what was done."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import click

from console.cli.options import JSON
from console.cli.registry.group import CLIENT, DRAFT, PATH, registry
from console.cli.registry.shared import (
    client_of,
    now,
    signers,
    table,
    tell,
    tell_published,
    warning_lines,
    write_draft,
)
from exchange.problems import Code, Problem
from registry.requests.lifecycle import Kind, State


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
    """List requests: of members, of the operator, for the registry's own files."""
    items = client_of(url, api_key).pages("submissions", state=state, member=member)
    table(items, as_json, ("id", "kind", "subject", "state", "submitted_at", "reason"))


@registry.command()
@click.argument("number", type=int)
@click.option(
    "--keys",
    type=PATH,
    multiple=True,
    metavar="PATH",
    help="Targets keys: files, or a folder with targets-*.pem. Needed for what changes the "
    "registry's own role: a first registration, new keys, a proposal, a deletion, a merger.",
)
@click.option(
    "--root-keys",
    type=PATH,
    multiple=True,
    metavar="PATH",
    help="Root keys, to vouch for a member that lost its old key.",
)
@DRAFT
@CLIENT
@JSON
def approve(
    number: int,
    keys: tuple[Path, ...],
    root_keys: tuple[Path, ...],
    draft: Path | None,
    url: str,
    api_key: str,
    as_json: bool,
) -> None:
    """Approve request NUMBER; it is published when enough people have.

    With --draft you approve when the draft, signed by enough keyholders, is published.
    """
    from registry.offline.operator import draft_request
    from registry.offline.operator import signed as signed_by

    client = client_of(url, api_key)
    row = client.get(f"submissions/{number}")
    if not as_json:
        tell_changes(row)
    if row["obstacle"]:
        raise Problem(Code.CONFLICT, where=f"submissions/{number}", detail=row["obstacle"])
    signed = None
    if row["needs_delegation"] and row["lacking"] <= 1:
        own = client.own()
        unsigned = draft_request(
            own,
            Kind(row["kind"]),
            client.body(number),
            datetime.fromisoformat(row["submitted_at"]),
            signers(root_keys, "root"),
            now(),
        )
        if draft is not None:
            unsigned = replace(unsigned, request=(number, row["seen"]))
            tell_published(write_draft(own, unsigned, keys, draft), as_json)
            return
        signed = signed_by(own, unsigned, signers(keys, "targets"))
    elif draft is not None:
        raise click.UsageError("the targets keys sign nothing here: approve without --draft")
    result = client.approve(number, signed, seen=row["seen"])
    if result["state"] == State.SUBMITTED:
        after = f"Your approval counts; {result['lacking']} more must approve request {number}."
    else:
        after = f"Approved and published: request {number}, {row['kind']} of {row['subject']}."
    tell(result, as_json, after)


@registry.command()
@click.argument("number", type=int)
@click.option("--reason", required=True, help="What the member reads.")
@CLIENT
@JSON
def decline(number: int, reason: str, url: str, api_key: str, as_json: bool) -> None:
    """Decline request NUMBER."""
    result = client_of(url, api_key).decline(number, reason)
    tell(result, as_json, f"Declined: request {number}, {result['kind']} of {result['subject']}.")


@registry.command()
@CLIENT
@JSON
def acts(url: str, api_key: str, as_json: bool) -> None:
    """List what was done in the registry, and with which API key."""
    items = client_of(url, api_key).pages("acts")
    table(items, as_json, ("number", "at", "actor", "act", "subject"))


@registry.command("request")
@click.argument("number", type=int)
@CLIENT
@JSON
def show_request(number: int, url: str, api_key: str, as_json: bool) -> None:
    """Show request NUMBER: what it changes, who approved it, what it still needs."""
    row = client_of(url, api_key).get(f"submissions/{number}")
    if as_json:
        tell(row, True)
        return
    tell_changes(row)
    lacking = f", {row['lacking']} more must approve" if row["state"] == State.SUBMITTED else ""
    by = f", approved by {', '.join(row['approvals'])}" if row["approvals"] else ""
    click.echo(f"{row['state']}{lacking}{by}{': ' + row['reason'] if row['reason'] else ''}")
    for line in filter(None, (row["note"], row["obstacle"])):
        click.echo(f"  {line}")


@registry.command()
@click.argument("number", type=int)
@click.option("--reason", required=True, help="Why; it is recorded.")
@CLIENT
@JSON
def withdraw(number: int, reason: str, url: str, api_key: str, as_json: bool) -> None:
    """Take back request NUMBER of your own or of your member."""
    result = client_of(url, api_key).withdraw(number, reason)
    tell(result, as_json, f"Withdrawn: request {number}, {result['kind']} of {result['subject']}.")


@registry.command()
@click.option("--member", help="Only those of this member.")
@CLIENT
@JSON
def notices(member: str | None, url: str, api_key: str, as_json: bool) -> None:
    """List what members were told of their requests."""
    items = client_of(url, api_key).pages("notices", member=member)
    if as_json:
        tell(items, True)
        return
    for item in items:
        click.echo(f"{item['at'][:16]}  {item['text']['en']}\n{'':18}{item['text']['lo']}")
    if not items:
        click.echo("Nothing here.")


def tell_changes(row: dict[str, Any]) -> None:
    """What a request changes, a line each."""
    click.echo(f"Request {row['id']} by {row['submitted_by']}: {row['kind']} of {row['subject']}")
    for change in row["changes"]:
        detail = f": {change['detail']}" if change["detail"] else ""
        click.echo(f"  {change['kind']} {change['subject']}{detail}")
    for line in warning_lines(row):
        click.echo(line)
