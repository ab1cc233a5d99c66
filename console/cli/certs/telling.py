"""What is said of a certificate: a card of lines, and which file goes where."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import click

from certs.description import Description, State, describe
from certs.issue import Issued
from certs.profiles import Profile
from console.cli.printing import print_json


def next_steps(
    kind: Profile, owner: str | None, cert_path: Path, key_path: Path | None
) -> list[str]:
    """Which file goes where; without ``key_path`` the key is the requester's own."""
    pair = f"{cert_path} and {key_path}" if key_path else f"{cert_path}, with the requester's key,"
    match kind:
        case Profile.AUTH:
            return [
                f"register {cert_path} as an auth certificate of {owner}, and have it approved",
                f"then set {pair} as the TLS certificate and key of the server {owner}",
            ]
        case Profile.SEAL:
            return [
                f"register {cert_path} as a seal certificate of {owner}, and have it approved",
                f"then set {pair} as the seal of {owner} on its server",
            ]
        case Profile.CLIENT:
            return [
                f"pin {cert_path} for {owner} in the settings of its server (mode mtls)",
                f"give {pair} to the application",
            ]
        case _:
            return [
                f"give {pair} to the {kind} service",
                f"list {cert_path} in the registry's instance record",
            ]


def tell_issued(
    issued: Issued, cert_path: Path, key_path: Path | None, steps: list[str], as_json: bool
) -> None:
    """Print a new certificate and the next steps."""
    description = describe(issued.certificate, datetime.now(UTC))
    if as_json:
        print_json(
            {
                "certificate_file": str(cert_path),
                "key_file": str(key_path) if key_path else None,
                **description.facts(),
                "next": steps,
            }
        )
        return
    click.echo(card(cert_path, description))
    for number, step in enumerate(steps):
        click.echo(f"{'Next: ' if number == 0 else '      '}{number + 1}. {step}")


def card(file: Path, description: Description) -> str:
    """One certificate, one block of lines."""
    left = {
        State.VALID: f"{description.days_left} day(s) left",
        State.EXPIRED: f"EXPIRED {-description.days_left} day(s) ago",
        State.NOT_YET_VALID: "NOT YET VALID",
    }[description.state]
    lines = [
        f"{file}{'  [DEV]' if description.development else ''}",
        f"  profile      {description.profile or '-'}: {description.title}",
        f"  owner        {description.owner or '-'}",
        f"  subject      {description.subject}",
        f"  issuer       {description.issuer}",
    ]
    if description.addresses:
        lines.append(f"  addresses    {', '.join(description.addresses)}")
    lines += [
        f"  key          {description.key_kind}",
        f"  valid        {description.not_before:%F %H:%M} to {description.not_after:%F %H:%M} UTC"
        f", {left}",
        f"  fingerprint  {description.fingerprint}",
    ]
    return "\n".join(lines)
