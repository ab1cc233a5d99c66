"""`saphan schema check`: whether a new version breaks those who keep to the old one."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import click

from console.cli.options import JSON
from console.cli.printing import print_json
from console.cli.schema.group import (
    FILE,
    WITH,
    is_openapi,
    read,
    schema,
    shared_schemas,
    under,
)
from exchange.compatibility import Break, Way, compare_openapi, compare_schemas
from exchange.problems import Code, Problem

_UNNAMED = "urn:saphan:schema"


@schema.command()
@click.argument("old", type=FILE)
@click.argument("new", type=FILE)
@click.option(
    "--way",
    type=click.Choice([str(one) for one in Way]),
    help="backward: the new version takes what the old one allowed; forward: the other way round; "
    "full: both. Default: backward for services (what they are sent and what they answer), full "
    "for schemas, as the registry asks.",
)
@click.option(
    "--strict-readers",
    is_flag=True,
    help="Readers of the old version refuse properties and codes that they do not know.",
)
@WITH
@JSON
def check(
    old: Path,
    new: Path,
    way: str | None,
    strict_readers: bool,
    beside: tuple[Path, ...],
    as_json: bool,
) -> None:
    """Compare two versions of a schema or of an OpenAPI document (JSON or YAML).

    Exit code 0 when nothing breaks, 1 when something does; what cannot be told counts as breaking.
    """
    breaks = _breaks(old, new, way, shared_schemas(beside), tolerant=not strict_readers)
    if as_json:
        print_json({"compatible": not breaks, "breaks": [one.as_json() for one in breaks]})
    else:
        for one in breaks:
            click.echo(f"{one.where}  [{one.rule}]\n  {one.why.en}\n  {one.why.lo}")
        click.echo(f"{len(breaks)} breaking places." if breaks else "Compatible · ເຂົ້າກັນໄດ້")
    if breaks:
        sys.exit(1)


def _breaks(
    old: Path, new: Path, way: str | None, shared: dict[str, bytes], *, tolerant: bool
) -> tuple[Break, ...]:
    (before, before_value), (after, after_value) = read(old), read(new)
    if is_openapi(before_value) is not is_openapi(after_value):
        raise Problem(
            Code.INVALID_DOCUMENT,
            where=str(new),
            detail="one file is an OpenAPI document, the other a schema",
        )
    if is_openapi(before_value):
        return compare_openapi(before, after, shared, shared, Way(way or Way.BACKWARD))
    identifier = str(before_value.get("$id", _UNNAMED))
    found = compare_schemas(
        identifier,
        shared | {identifier: under(identifier, before_value)},
        shared | {identifier: under(identifier, after_value)},
        Way(way or Way.FULL),
        tolerant=tolerant,
    )
    return tuple(replace(one, where=one.where.removeprefix(_UNNAMED)) for one in found)
