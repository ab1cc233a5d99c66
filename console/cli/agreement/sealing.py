"""`saphan agreement seal`: a party puts its seal on an agreement."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import click
import orjson
import yaml

from console.cli.agreement.files import FILE, certificates, moment, private_key, read, tell, write
from console.cli.options import JSON
from exchange.agreements import read_agreement, seal_agreement
from exchange.certificates import member_of
from exchange.keys import signing_key
from exchange.problems import Code, Problem
from serving.yaml_files import read_yaml


@click.command()
@FILE
@click.option(
    "--certificate",
    type=click.Path(exists=True, path_type=Path),
    required=True,
    help="Seal certificate of the party (PEM).",
)
@click.option(
    "--key",
    type=click.Path(exists=True, path_type=Path),
    required=True,
    help="Its private key (PEM).",
)
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), required=True, help="Where to write."
)
@JSON
def seal(file: Path, certificate: Path, key: Path, output: Path, as_json: bool) -> None:
    """Seal FILE (JSON or YAML, or already sealed by the other party) with a member's seal key."""
    document = read(file)
    if file.suffix in (".yaml", ".yml"):
        try:
            document = orjson.dumps(read_yaml(document), default=_yaml_value)
        except (yaml.YAMLError, TypeError) as error:
            raise Problem(
                Code.AGREEMENT_INVALID, where=str(file), detail=f"is not YAML: {error}"
            ) from error
    leaf = certificates(certificate, "--certificate")[0]
    sealed = seal_agreement(document, signing_key(private_key(key), leaf), leaf)
    write(output, sealed)
    found, seals = read_agreement(sealed)
    missing = len({found.provider, found.consumer.member}) - len(seals)
    if as_json:
        parties = [str(member_of(certificate)) for certificate in seals]
        tell({"file": str(output), "agreement": found.id, "sealed_by": parties})
        return
    click.echo(f"{output}: agreement {found.id}, sealed by {len(seals)}.")
    if missing:
        click.echo("Next: the other party seals this file too: saphan agreement seal …")
    else:
        click.echo(
            "Next: the provider pins it: saphan agreement pin "
            f"{output} --to FOLDER (setting `agreements` of its server)"
        )


def _yaml_value(value: object) -> str:
    if isinstance(value, datetime):
        return moment(value if value.tzinfo else value.replace(tzinfo=UTC))
    raise TypeError(f"{type(value).__name__} has no place in an agreement")
