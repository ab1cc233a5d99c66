"""`saphan agreement group`: one text for many consumers."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Final

import click
import orjson

from console.cli.agreement.files import FILE, write
from console.cli.options import JSON
from console.cli.printing import print_json
from exchange.agreements import Agreement, format_agreement, parse_agreement
from exchange.identifiers import ApplicationId
from exchange.problems import Code, Problem
from serving.small_files import read_file

MAX_CONSUMERS: Final = 1000


@click.command()
@FILE
@click.option(
    "--consumers",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    required=True,
    help="Applications, one a line; lines that begin with # are comments.",
)
@click.option(
    "-o", "--output", type=click.Path(file_okay=False, path_type=Path), required=True,
    help="Folder to write to.",
)  # fmt: skip
@JSON
def group(file: Path, consumers: Path, output: Path, as_json: bool) -> None:
    """Write the agreement of FILE once for each consumer of a list, to be sealed.

    Each consumer has an agreement of its own: it seals for itself, has its own quota, and can be
    revoked by itself. All say the same, and name their group: `seal`, `pin`, `renew`, `revoke`,
    `show` (a folder) and `try --group` take it as one thing.
    """
    pattern = parse_agreement(read_file(file))
    output.mkdir(parents=True, exist_ok=True)
    made = {}
    for agreement in _each(pattern, _applications(consumers)):
        target = output / f"{agreement.id}.json"
        document = orjson.loads(format_agreement(agreement))
        write(target, orjson.dumps(document, option=orjson.OPT_INDENT_2) + b"\n")
        made[agreement.id] = str(agreement.consumer)
    if as_json:
        print_json({"folder": str(output), "agreements": made})
        return
    click.echo(
        f"{output}: {len(made)} agreements.\n"
        f"Next: the provider seals all of them: saphan agreement seal {output} "
        "--certificate … --key … -o sealed"
    )


def _each(pattern: Agreement, consumers: list[ApplicationId]) -> list[Agreement]:
    made: dict[str, Agreement] = {}
    for consumer in consumers:
        codes = f"{pattern.id}-{consumer.member_code}-{consumer.application_code}".lower()
        name = re.sub("[^a-z0-9]+", "-", codes)[:63].strip("-")
        if name in made:
            raise Problem(
                Code.CONFLICT,
                where=str(consumer),
                detail=f"the agreement would be called {name}, as that of {made[name].consumer}; "
                "give the pattern a shorter id, or write this one apart",
            )
        made[name] = replace(pattern, id=name, consumer=consumer, group=pattern.group or pattern.id)
    return list(made.values())


def _applications(path: Path) -> list[ApplicationId]:
    lines = read_file(path).decode("utf-8", "replace").splitlines()
    found = [
        ApplicationId.parse(text, f"{path}:{number}")
        for number, line in enumerate(lines, start=1)
        if (text := line.strip()) and not text.startswith("#")
    ]
    if not 0 < len(found) <= MAX_CONSUMERS:
        raise Problem(
            Code.INVALID_USAGE,
            where=str(path),
            detail=f"names {len(found)} applications, must be 1 to {MAX_CONSUMERS}",
        )
    return list(dict.fromkeys(found))
