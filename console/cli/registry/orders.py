"""Orders of the operator: disable, enable, delete, merge; proposals for the registry's own role."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from console.cli.options import JSON
from console.cli.registry.group import ASK, CLIENT, FILE, registry
from console.cli.registry.shared import client_of, own_target, tell
from exchange.identifiers import MemberId, ServiceId
from exchange.problems import Text
from exchange.registry.standing import KINDS
from registry.requests.lifecycle import Kind, State
from serving.small_files import read_file

KIND = click.option(
    "--kind",
    type=click.Choice(list(KINDS)),
    help="What IDENTIFIER is; needed for applications and servers, whose identifiers look alike.",
)
REASON_EN = click.option("--reason", required=True, help="The reason, in English.")
REASON_LO = click.option("--reason-lo", help="The reason in Lao; else the English one.")


@registry.command()
@click.argument("identifier")
@KIND
@REASON_EN
@REASON_LO
@CLIENT
@JSON
def disable(
    identifier: str,
    kind: str | None,
    reason: str,
    reason_lo: str | None,
    url: str,
    api_key: str,
    as_json: bool,
) -> None:
    """Switch off a member, server, application or service: calls get the reason.

    It takes effect when servers poll; nothing else changes, and `enable` takes it back.
    """
    _order(Kind.DISABLE, identifier, kind, (reason, reason_lo), url, api_key, as_json)


@registry.command()
@click.argument("identifier")
@KIND
@REASON_EN
@REASON_LO
@CLIENT
@JSON
def enable(
    identifier: str,
    kind: str | None,
    reason: str,
    reason_lo: str | None,
    url: str,
    api_key: str,
    as_json: bool,
) -> None:
    """Switch on again what was disabled."""
    _order(Kind.ENABLE, identifier, kind, (reason, reason_lo), url, api_key, as_json)


@registry.command("member-delete")
@click.argument("member")
@REASON_EN
@REASON_LO
@CLIENT
@JSON
def member_delete(
    member: str, reason: str, reason_lo: str | None, url: str, api_key: str, as_json: bool
) -> None:
    """Ask to end the registration of MEMBER; its past stays readable."""
    _order(Kind.DELETE, member, "member", (reason, reason_lo), url, api_key, as_json)


@registry.command("member-merge")
@click.argument("member")
@click.argument("successor")
@click.option(
    "--service",
    "services",
    multiple=True,
    metavar="OLD=NEW",
    help="Which service becomes which; NEW is registered by the successor. May be given again.",
)
@REASON_EN
@REASON_LO
@CLIENT
@JSON
def member_merge(
    member: str,
    successor: str,
    services: tuple[str, ...],
    reason: str,
    reason_lo: str | None,
    url: str,
    api_key: str,
    as_json: bool,
) -> None:
    """Ask to merge MEMBER into SUCCESSOR: calls to the old ids name the successor.

    Agreements do not pass over: the successor is another legal person and seals its own.
    """
    from registry.requests.orders import Order

    pairs = {}
    for pair in services:
        old, separator, new = pair.partition("=")
        if not separator:
            raise click.UsageError(f"--service {pair!r} is not OLD=NEW")
        pairs[ServiceId.parse(old, "--service")] = ServiceId.parse(new, "--service")
    order = Order(
        Kind.MERGE,
        MemberId.parse(member),
        Text(reason, reason_lo or reason),
        MemberId.parse(successor),
        pairs,
    )
    _tell(client_of(url, api_key).order(order), as_json)


@registry.command()
@click.argument("files", type=FILE, nargs=-1)
@click.option(
    "--withdraw",
    "gone",
    multiple=True,
    metavar="NAME",
    help="Take out a schema, code list or consent, such as province.1.json; may be given again.",
)
@click.option("--note", default="", help="A word to whoever approves.")
@ASK
@CLIENT
@JSON
def propose(
    files: tuple[Path, ...],
    gone: tuple[str, ...],
    note: str,
    asks: bool,
    url: str,
    api_key: str,
    as_json: bool,
) -> None:
    """Propose FILES for the registry's own role, such as the shared schema NAME.MAJOR.json.

    What a service or another schema refers to is not withdrawn.
    """
    from registry.requests.orders import MAX_PROPOSAL_BYTES, Proposal

    if not files and not gone:
        raise click.UsageError("name files, or give --withdraw")
    client = client_of(url, api_key)
    proposals = [
        Proposal(own_target(file.name), read_file(file, MAX_PROPOSAL_BYTES), note) for file in files
    ]
    proposals += [Proposal(own_target(name), None, note) for name in gone]
    for proposal in proposals:
        _tell(client.propose(proposal, asks=asks), as_json)


@registry.command()
@CLIENT
@JSON
def disabled(url: str, api_key: str, as_json: bool) -> None:
    """List what is switched off, with the reasons."""
    items = client_of(url, api_key).get("disabled")["items"]
    if as_json:
        tell(items, True)
        return
    for item in items:
        reason = item["reason"]
        click.echo(f"{item['kind']} {item['id']} since {item['since'][:16]}: {reason['en']}"
                   f" · {reason['lo']}")  # fmt: skip
    if not items:
        click.echo("Nothing is switched off.")


def _order(
    kind: Kind,
    identifier: str,
    what: str | None,
    reason: tuple[str, str | None],
    url: str,
    api_key: str,
    as_json: bool,
) -> None:
    from registry.requests.orders import Order

    if what is None:
        what = {2: "member", 4: "service"}.get(identifier.count("/"))
        if what is None:
            raise click.UsageError(f"say what {identifier} is: --kind application or --kind server")
    thing = KINDS[what].parse(identifier)
    order = Order(kind, thing, Text(reason[0], reason[1] or reason[0]))
    _tell(client_of(url, api_key).order(order), as_json)


def _tell(row: dict[str, Any], as_json: bool) -> None:
    if row["state"] == State.APPROVED:
        after = "It is published."
    else:
        keys = " --keys DIR/offline" if row["needs_delegation"] else ""
        after = f"Next, {row['lacking']} must: saphan registry approve {row['id']}{keys}"
    tell(row, as_json, f"Request {row['id']}: {row['kind']} of {row['subject']}.", after)
