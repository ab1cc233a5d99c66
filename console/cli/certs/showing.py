"""`saphan certs show`: what certificates are, and when they end."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import click
from cryptography import x509

from certs.description import State, describe
from certs.files import read_file
from console.cli.certs.telling import card
from console.cli.options import JSON
from console.cli.printing import print_json
from exchange.certificates.reading import parse_certificates
from exchange.problems import Code, Problem


@click.command()
@click.argument("path", type=click.Path(exists=True, path_type=Path))
@JSON
def show(path: Path, as_json: bool) -> None:
    """Show the certificates of PATH, a PEM file or a folder with all below it."""
    now = datetime.now(UTC)
    shown = [(file, describe(certificate, now)) for file, certificate in _certificates(path)]
    if as_json:
        print_json([{"file": str(file), **description.facts()} for file, description in shown])
        return
    for file, description in shown:
        click.echo(card(file, description))
    ending = [d for _, d in shown if d.state is not State.VALID or d.days_left < 3]
    if ending:
        click.echo(
            f"Next: {len(ending)} of {len(shown)} are ended or end within 3 days: "
            "saphan certs renew FILE --pki FOLDER"
        )


def _certificates(path: Path) -> Iterator[tuple[Path, x509.Certificate]]:
    """Every certificate below ``path`` once, in the order of the file names."""
    if path.is_file():
        for certificate in parse_certificates(read_file(path), str(path)):
            yield path, certificate
        return
    seen: set[x509.Certificate] = set()
    for file in sorted(path.rglob("*.pem")):
        data = read_file(file)
        if b"BEGIN CERTIFICATE-" not in data:
            continue
        for certificate in parse_certificates(data, str(file)):
            if certificate not in seen:
                seen.add(certificate)
                yield file, certificate
    if not seen:
        raise Problem(
            Code.NOT_FOUND, where=str(path), detail="no certificate in any .pem file below"
        )
