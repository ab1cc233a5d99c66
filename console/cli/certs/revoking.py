"""`saphan certs revoke` and `crl`: what is revoked, and the list of it."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import click

from certs.authority import DevelopmentAuthority
from certs.files import PUBLIC_MODE, read_file, write_file
from certs.revocation import REASONS, make_crl, revoke, revoked_by
from console.cli.certs.options import FILE, PKI
from console.cli.options import JSON
from console.cli.printing import print_json
from exchange.certificates.reading import parse_certificates


@click.command("revoke")
@click.argument("certificate", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@PKI
@click.option("--reason", type=click.Choice(REASONS), required=True, help="RFC 5280 section 5.3.1.")
@JSON
def revoke_certificate(certificate: Path, pki: Path, reason: str, as_json: bool) -> None:
    """Revoke CERTIFICATE for good: the responder and the list say so from now on."""
    found = parse_certificates(read_file(certificate), str(certificate))[0]
    row = revoke(DevelopmentAuthority.open(pki), found, reason, datetime.now(UTC))
    if as_json:
        print_json({"serial": f"{row.serial:x}", "at": row.at.isoformat(), "reason": reason})
        return
    click.echo(f"{certificate}: revoked at {row.at:%F %T} UTC, reason {reason}.")
    click.echo(
        "Next: take it out of the registration. Servers that ask the responder refuse it when they "
        "ask anew, within revocation.refresh_s."
    )


@click.command()
@PKI
@click.option("-o", "--output", type=FILE, required=True, help="File for the list, in DER.")
def crl(pki: Path, output: Path) -> None:
    """Write the list of what was revoked (CRL), good for a day."""
    der = make_crl(DevelopmentAuthority.open(pki), revoked_by(pki), datetime.now(UTC))
    write_file(output, der, mode=PUBLIC_MODE)
    click.echo(f"{output}: good for a day. Next: publish it where the certificates say.")
