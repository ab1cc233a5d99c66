"""A member: its registry key, and what it hands in."""

from __future__ import annotations

from pathlib import Path

import click

from console.cli.options import JSON
from console.cli.registry.group import ASK, CLIENT, FILE, PATH, registry
from console.cli.registry.handing_in import PROOF, hand_in
from console.cli.registry.shared import client_of, tell, warning_lines
from exchange.identifiers import MemberId
from registry.requests.lifecycle import Kind


@registry.command("member-init")
@click.argument("directory", type=PATH)
@click.option("--member", "member_text", required=True, help="Such as LA/GOV/MPI.")
@JSON
def member_init(directory: Path, member_text: str, as_json: bool) -> None:
    """Make a member's registry key in DIRECTORY, on the member's own machine."""
    from registry.offline.member import KEY_FILE, MemberFolder

    folder = MemberFolder.create(directory, MemberId.parse(member_text, "--member"))
    keyid = str(folder.keys.keys[0].keyid)
    tell(
        {"member": str(folder.member), "keyid": keyid, "key": str(directory / KEY_FILE)},
        as_json,
        f"{folder.member} signs with the key {keyid}.",
        f"Keep {directory / KEY_FILE} safe, and a copy of it elsewhere.",
        f"Next: saphan registry submit {directory} DESCRIPTION.yaml --registry URL --api-key KEY",
    )


@registry.command("member-rotate")
@click.argument("directory", type=PATH)
@CLIENT
@JSON
def member_rotate(directory: Path, url: str, api_key: str, as_json: bool) -> None:
    """Change a member's registry key; the old key vouches for the new one."""
    from registry.offline.member import MemberFolder

    folder = MemberFolder.open(directory)
    known = client_of(url, api_key).get(f"members/{folder.member}")
    statement = folder.rotate(int(known["key_changes"]) + 1)
    keyid = str(statement.after.keys[0].keyid)
    tell(
        {"member": str(folder.member), "keyid": keyid, "number": statement.number},
        as_json,
        f"{folder.member} now signs with the key {keyid}.",
        f"Next: saphan registry submit {directory} DESCRIPTION.yaml",
    )


@registry.command()
@click.argument("directory", type=PATH)
@click.argument("description", type=FILE)
@click.option(
    "--replace", "replaces", type=int, help="Replace this request, which somebody else handed in."
)
@click.option("--note", default="", help="A word to whoever approves.")
@ASK
@PROOF
@CLIENT
@JSON
def submit(
    directory: Path,
    description: Path,
    replaces: int | None,
    note: str,
    asks: bool,
    proofs: tuple[Path, ...],
    url: str,
    api_key: str,
    as_json: bool,
) -> None:
    """Describe the member of DIRECTORY by DESCRIPTION (YAML), sign it and hand it in."""
    from registry.offline.member import MemberFolder, describe

    folder = MemberFolder.open(directory)
    client = client_of(url, api_key)
    described = describe(description)
    published = client.published_version(folder.member)
    result = hand_in(
        client,
        folder,
        described,
        published,
        note=note,
        asks=asks,
        proofs=proofs,
        replaces=replaces,
    )
    if result["state"] == "submitted":
        keys = "" if result["kind"] == Kind.UPDATE else " --keys DIR/offline"
        after = f"Next, the operator: saphan registry approve {result['id']}{keys} --api-key KEY"
    else:
        after = "It is published."
    tell(
        result,
        as_json,
        f"Submission {result['id']} of {result['member']}: {result['kind']}, {result['state']}.",
        *warning_lines(result),
        after,
    )
