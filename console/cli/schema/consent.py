"""`saphan schema consent`: a consumer says that it is ready for a breaking change."""

from __future__ import annotations

from pathlib import Path

import click

from console.cli.agreement.files import certificates, private_key, write
from console.cli.options import JSON
from console.cli.printing import print_json
from console.cli.schema.group import FILE, is_openapi, read, schema
from exchange.certificates.names import member_of
from exchange.identifiers import ServiceId
from exchange.keys import signing_key
from exchange.registry.consents import seal_consent


@schema.command()
@click.argument("old", type=FILE)
@click.argument("new", type=FILE)
@click.option(
    "--service", help="The service whose OpenAPI document changes; for a schema its $id is read."
)
@click.option("--certificate", type=FILE, required=True, help="Seal certificate (PEM).")
@click.option("--key", type=FILE, required=True, help="Its private key (PEM).")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    required=True,
    help="Where to write; consent.NAME.json for a service.",
)
@JSON
def consent(
    old: Path,
    new: Path,
    service: str | None,
    certificate: Path,
    key: Path,
    output: Path,
    as_json: bool,
) -> None:
    """Consent to the step from OLD, as the registry publishes it, to NEW, with a member's seal."""
    (before, value), (after, _) = read(old), read(new)
    if is_openapi(value) is (service is None):
        raise click.UsageError("--service names the service of an OpenAPI document, and only that")
    of = str(ServiceId.parse(service)) if service else str(value.get("$id", ""))
    leaf = certificates(certificate, "--certificate")[0]
    write(output, seal_consent(of, before, after, signing_key(private_key(key), leaf), leaf))
    if as_json:
        print_json({"file": str(output), "of": of, "consumer": str(member_of(leaf))})
        return
    click.echo(f"{output}: {member_of(leaf)} consents to this change of {of}.")
    if service:
        click.echo("Next: the provider names it under `consents` in its description, and submits.")
    else:
        click.echo("Next: the registry's operator publishes it with the schema (schema-publish).")
