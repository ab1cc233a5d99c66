"""API keys of the registry."""

from __future__ import annotations

import click

from console.cli.options import JSON
from console.cli.registry.group import CLIENT, registry
from console.cli.registry.shared import client_of, table, tell
from exchange.identifiers import MemberId
from registry.actors.roles import Right


@registry.command("key-add")
@click.argument("right", type=click.Choice([str(item) for item in Right]))
@click.option("--member", "member_text", help="Whose key it is, for the rights of members.")
@click.option(
    "--of",
    "scope",
    multiple=True,
    metavar="IDENTIFIER",
    help="An application or service of a service owner; may be given again.",
)
@click.option("--label", default="", help="A note on what it is for.")
@click.option(
    "--person",
    default="",
    metavar="NAME",
    help="Whose key it is: two keys of one person are one approval. An issuer's: oidc:SUBJECT.",
)
@CLIENT
@JSON
def key_add(
    right: str,
    member_text: str | None,
    scope: tuple[str, ...],
    label: str,
    person: str,
    url: str,
    api_key: str,
    as_json: bool,
) -> None:
    """Make an API key of a RIGHT; it is shown this once."""
    member = MemberId.parse(member_text, "--member") if member_text else None
    made = client_of(url, api_key).new_key(right, label, member, scope, person)
    tell(made, as_json, made["key"])
    if made["waits"] and not as_json:
        click.echo(
            "It waits: where two must agree, another operator or approver confirms it first "
            f"(saphan registry key-confirm {made['key'].split('-')[1]}).",
            err=True,
        )


@registry.command("key-confirm")
@click.argument("identifier")
@CLIENT
@JSON
def key_confirm(identifier: str, url: str, api_key: str, as_json: bool) -> None:
    """Confirm the API key with this IDENTIFIER, which another operator made for its person."""
    result = client_of(url, api_key).confirm_key(identifier)
    tell(result, as_json, f"{identifier} is confirmed.")


@registry.command("key-revoke")
@click.argument("identifier")
@CLIENT
@JSON
def key_revoke(identifier: str, url: str, api_key: str, as_json: bool) -> None:
    """Revoke the API key with this IDENTIFIER (the part after saphan-)."""
    result = client_of(url, api_key).revoke_key(identifier)
    tell(result, as_json, f"{identifier} is revoked.")


@registry.command("keys")
@CLIENT
@JSON
def list_keys(url: str, api_key: str, as_json: bool) -> None:
    """List API keys (never their secrets)."""
    page = client_of(url, api_key).get("keys")
    table(
        page["items"],
        as_json,
        ("id", "right", "member", "person", "label", "made_by", "confirmed_by", "revoked_at"),
    )
