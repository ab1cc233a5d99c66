"""`saphan agreement seal`: a party puts its seal on an agreement."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
import orjson
import yaml

from console.cli.agreement.files import FILES, certificates, private_key, write
from console.cli.agreement.groups import every_file
from console.cli.agreement.options import OUTPUT
from console.cli.options import JSON
from console.cli.printing import print_json
from exchange.agreements import read_agreement, seal_agreement
from exchange.certificates.names import member_of
from exchange.documents import format_moment
from exchange.keys import signing_key
from exchange.problems import Code, Problem
from serving.small_files import read_file
from serving.yaml_files import read_yaml


@click.command()
@FILES
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
@OUTPUT
@JSON
def seal(
    files: tuple[Path, ...], certificate: Path, key: Path, output: Path, as_json: bool
) -> None:
    """Seal FILE (JSON or YAML, or already sealed by the other party) with a member's seal key.

    Of several files, or of a folder of them, OUTPUT is the folder to write to; nothing is written
    unless all can be sealed.
    """
    many = len(files) > 1 or files[0].is_dir()
    files = every_file(files)
    leaf = certificates(certificate, "--certificate")[0]
    signer = signing_key(private_key(key), leaf)
    sealed = {file: seal_agreement(_document(file), signer, leaf) for file in files}
    if many or output.is_dir():
        output.mkdir(parents=True, exist_ok=True)
        targets = {file: output / f"{file.stem}.jws" for file in files}
    else:
        targets = dict.fromkeys(files, output)
    reports = [_written(sealed[file], targets[file]) for file in files]
    if as_json:
        print_json(reports[0] if len(reports) == 1 else {"sealed": reports})
        return
    for report in reports:
        parties = report["sealed_by"]
        click.echo(f"{report['file']}: agreement {report['agreement']}, sealed by {len(parties)}.")
    if any(report["missing"] for report in reports):
        click.echo("Next: the other party seals this file too: saphan agreement seal …")
    else:
        click.echo(
            "Next: the provider pins it: saphan agreement pin "
            f"{reports[0]['file']} --to FOLDER (setting `agreements` of its server)"
        )


def _written(sealed: bytes, target: Path) -> dict[str, Any]:
    write(target, sealed)
    found, seals = read_agreement(sealed)
    parties = [str(member_of(each)) for each in seals]
    needed = dict.fromkeys((str(found.provider), str(found.consumer.member)))
    return {
        "file": str(target),
        "agreement": found.id,
        "sealed_by": parties,
        "missing": [party for party in needed if party not in parties],
    }


def _document(file: Path) -> bytes:
    document = read_file(file)
    if file.suffix not in (".yaml", ".yml"):
        return document
    try:
        return orjson.dumps(read_yaml(document), default=_yaml_value)
    except (yaml.YAMLError, TypeError) as error:
        raise Problem(
            Code.AGREEMENT_INVALID, where=str(file), detail=f"is not YAML: {error}"
        ) from error


def _yaml_value(value: object) -> str:
    if isinstance(value, datetime):
        return format_moment(value if value.tzinfo else value.replace(tzinfo=UTC))
    raise TypeError(f"{type(value).__name__} has no place in an agreement")
