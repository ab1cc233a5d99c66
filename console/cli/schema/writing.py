"""`saphan schema lint`, `example` and `data`: for those who write schemas."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click
import orjson

from console.cli.options import JSON
from console.cli.printing import print_json
from console.cli.schema.group import FILE, WITH, read, schema, shared_schemas, under
from console.schemas.examples import ExampleMaker
from exchange.problems import Code, Problem
from registry.requests.lint import lint as findings_of

MAX_COUNT = 100_000
_UNNAMED = "urn:saphan:schema"
SEED = click.option("--seed", default=1, show_default=True, help="The same seed, the same data.")
PART = click.option(
    "--part", default="", metavar="POINTER", help="A part of the schema, such as /$defs/amount."
)


@schema.command()
@click.argument("files", type=FILE, nargs=-1, required=True)
@JSON
def lint(files: tuple[Path, ...], as_json: bool) -> None:
    """Tell faults of schemas and OpenAPI documents: place, rule and remedy of each.

    Exit code 0 when there is none, 1 otherwise.
    """
    found = [(file, one) for file in files for one in findings_of(read(file)[1])]
    if as_json:
        print_json(
            {
                "findings": [
                    {
                        "file": str(file),
                        "pointer": one.pointer,
                        "rule": one.rule,
                        "remedy": one.remedy.as_dict(),
                    }
                    for file, one in found
                ]
            }
        )
    else:
        for file, one in found:
            click.echo(f"{file}#{one.pointer}  [{one.rule}]")
            click.echo(f"  {one.remedy.en}\n  {one.remedy.lo}")
        click.echo(f"{len(found)} findings.")
    if found:
        sys.exit(1)


@schema.command()
@click.argument("file", type=FILE)
@PART
@SEED
@WITH
def example(file: Path, part: str, seed: int, beside: tuple[Path, ...]) -> None:
    """Print one valid instance of the schema in FILE."""
    print_json(next(_maker(file, part, beside).make(1, seed)))


@schema.command()
@click.argument("file", type=FILE)
@click.option(
    "--count", type=click.IntRange(1, MAX_COUNT), default=10, show_default=True, help="How many."
)
@PART
@SEED
@WITH
def data(file: Path, count: int, part: str, seed: int, beside: tuple[Path, ...]) -> None:
    """Print valid instances of the schema in FILE, one JSON document a line."""
    for instance in _maker(file, part, beside).make(count, seed):
        click.echo(orjson.dumps(instance).decode())


def _maker(file: Path, part: str, beside: tuple[Path, ...]) -> ExampleMaker:
    _, value = read(file)
    if "openapi" in value:
        raise Problem(
            Code.INVALID_DOCUMENT,
            where=str(file),
            detail="is an OpenAPI document; name the file of a schema",
        )
    identifier = str(value.get("$id", _UNNAMED))
    shared: dict[str, Any] = shared_schemas(beside)
    return ExampleMaker(identifier, part, shared | {identifier: under(identifier, value)})
