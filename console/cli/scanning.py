"""`saphan adapter scan` and `drift`: from a source nobody has described to a mapping, and back."""

from __future__ import annotations

import os
import re
import shlex
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import click
import orjson

from console.cli.options import JSON
from console.cli.printing import Count, plain, print_json
from exchange.identifiers import ApplicationId
from exchange.problems import Code, Problem

if TYPE_CHECKING:
    from adapters.scan.scanned import Scanned

RECORDS = 20
_SCHEMA = "urn:saphan:scanned"
PASSWORD_VARIABLE = "SOURCE_PASSWORD"  # noqa: S105 (the name of a variable)


@click.command()
@click.argument("source")
@click.option(
    "--application",
    default="LA/GOV/EXAMPLE/scanned",
    show_default=True,
    help="The application that the services will be of.",
)
@click.option("--service", help="The code of the service; else made of the source's name.")
@click.option(
    "--table",
    "tables",
    multiple=True,
    help="Only this table, or operation ('GET /permits'); several may be given.",
)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    help="A new folder for all that is proposed, or a new file (.yaml) for the mapping alone. "
    "Without it the mapping is printed.",
)
@click.option(
    "--map",
    "maps",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    multiple=True,
    help="The file of a font map (docs/lao-text.md): text may be in its encoding, too.",
)
@click.option("--seed", default=1, show_default=True, help="Test data of another seed are others.")
@JSON
def scan(
    source: str,
    application: str,
    service: str | None,
    tables: tuple[str, ...],
    output: Path | None,
    maps: tuple[Path, ...],
    seed: int,
    as_json: bool,
) -> None:
    """Look at SOURCE, read-only, and propose a mapping of everything in it.

    SOURCE is a database address (postgresql://user:password@host/name, mariadb://…,
    sqlite:///file.db; ${NAME} is taken from the environment), a file (SQLite, csv, xlsx, xls, ods,
    dbf, mdb), a folder of documents (PDF, pictures), the OpenAPI document of an HTTP API
    (https://…, a json or yaml file), or the WSDL of a SOAP service (https://…?wsdl, a wsdl file).
    Tables, keys, indexes, comments and a few rows are read; nothing is written to the source. What
    was unsure stands as comments in the mapping: likely personal data, dates written as text, Lao
    text from before Unicode, code lists.

    \b
    saphan adapter scan sqlite:///library.db --application LA/GOV/MOES/library -o library

    A folder gets mapping.yaml; SERVICE.openapi.json, the contract of each service; and, of tables
    and SOAP services, records.schema.json, a JSON Schema with the formats, code lists and lengths
    that were seen (of a WSDL: that its types have), and test-data.json: made-up records that keep
    it, with no value of what may be personal.

    A password does not come into the mapping: give it as ${NAME}, or it is replaced by one.
    """
    from adapters import kinds
    from adapters.scan.scanned import Look

    if output is not None and output.exists():
        raise Problem(Code.INVALID_USAGE, where="-o", detail=f"{output} is there already")
    whole = output is not None and output.suffix not in (".yaml", ".yml")
    mapping = output / "mapping.yaml" if output is not None and whole else output
    progress = Count("tables", hidden=as_json)
    found = kinds.scan(
        Look(
            source,
            ApplicationId.parse(application),
            service or _code(source),
            environ=os.environ,
            folder=Path() if mapping is None else mapping.parent,
            only=tables,
            password_variable=PASSWORD_VARIABLE,
            progress=progress,
            seed=seed,
            maps=maps,
        )
    )
    progress.end()
    if mapping is not None and whole:
        _write_all(mapping, found, seed)
    elif mapping is not None:
        mapping.write_text(found.mapping, encoding="utf-8")
    if as_json:
        print_json(found.as_dict(with_mapping=output is None))
        return
    if output is None:
        click.echo(found.mapping, nl=False)
    for one in found.unsure:
        told = plain(f"unsure: {one.place}: {one.words} [{one.code}]")
        click.echo(told, err=True)
    counts = [f"{count} {noun.removesuffix('s')}(s)" for noun, count in found.counts.items()]
    click.echo(", ".join((*counts, f"{len(found.unsure)} doubt(s)")), err=True)
    if found.password_hidden:
        click.echo(f"Set {PASSWORD_VARIABLE} to the password; it is not in the mapping.", err=True)
    name = "FILE" if mapping is None else shlex.quote(str(mapping))
    click.echo(f"Next: saphan adapter check {name} --rows", err=True)


def _write_all(mapping: Path, found: Scanned, seed: int) -> None:
    """Write what was proposed into the folder of ``mapping``."""
    import schemas
    from adapters import kinds

    folder = mapping.parent
    folder.mkdir()
    mapping.write_text(found.mapping, encoding="utf-8")
    wrapping = kinds.read(mapping)
    for code in wrapping.services:
        document = wrapping.document(code, schemas.load_all())
        (folder / f"{code}.openapi.json").write_bytes(document)
    test_data = found.test_data
    if test_data is None and found.schema is not None and found.records:
        test_data = _made_up(found.schema, found.records, seed)
    for name, value in (("records.schema", found.schema), ("test-data", test_data)):
        if value is not None:
            data = orjson.dumps(value, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
            (folder / f"{name}.json").write_bytes(data)


def _made_up(
    schema: Mapping[str, Any], records: Sequence[str], seed: int
) -> dict[str, Sequence[Any]]:
    """Records that a schema allows, by their names; none of one of which none is found."""
    from console.schemas.examples import ExampleMaker

    shared = {_SCHEMA: orjson.dumps({**schema, "$id": _SCHEMA})}
    made: dict[str, Sequence[Any]] = {}
    for name in records:
        with suppress(Problem):
            made[name] = [*ExampleMaker(_SCHEMA, f"/$defs/{name}", shared).make(RECORDS, seed)]
    return made


def _code(source: str) -> str:
    """A service code out of the source's name."""
    name = urlsplit(source).path if "://" in source else source
    word = re.sub(r"[^a-z0-9]+", "-", Path(name).stem.lower()).strip("-")
    return word[:60] or "records"


@click.command()
@click.argument("mapping", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--against",
    default="",
    help="Of a SOAP service: the WSDL to compare with, a URL or a file; else that of the mapping.",
)
@JSON
def drift(mapping: Path, against: str, as_json: bool) -> None:
    """Compare MAPPING with its source as it is today.

    Told are tables and columns that the mapping reads and that are gone, those that are new, and
    sampled values that the mapping does not understand any more. Of a SOAP service the WSDL of
    today is compared with the one that was kept: operations that are gone, members that are new,
    needed or gone, types that allow less or more. To take the new one, remove the kept copy
    (NAME.kept-wsdl.json): the next start or check fetches it.

    Exit codes: 0 nothing that the mapping needs has changed; 1 something has; 2 wrong usage.
    """
    from adapters import kinds

    wrapping = kinds.read(mapping)
    if not isinstance(wrapping, kinds.Compared):
        detail = "such a source is not compared; saphan adapter check tells what it lacks"
        raise Problem(Code.INVALID_USAGE, where=str(mapping), detail=detail)
    found = wrapping.drift(os.environ, mapping.parent, against)
    if as_json:
        print_json({"mapping": str(mapping), "drift": [one.as_dict() for one in found]})
    else:
        for one in found:
            click.echo(plain(f"{'' if one.breaks else 'new: '}{one.place}: {one.words}"))
    broken = sum(one.breaks for one in found)
    name = shlex.quote(str(mapping))
    if broken:
        click.echo(f"{broken} thing(s) that the mapping needs have changed.", err=True)
        click.echo(f"Next: correct the mapping, then saphan adapter check {name} --rows", err=True)
        sys.exit(1)
    click.echo("Everything that the mapping reads is there.", err=True)
    click.echo(f"Next: saphan adapter check {name} --rows", err=True)


COMMANDS: Sequence[click.Command] = (scan, drift)
