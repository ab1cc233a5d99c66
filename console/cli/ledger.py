"""`saphan adapter ledger`: the table that remembers which messages have written."""

from __future__ import annotations

import asyncio
import os
import shlex
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from exchange.problems import Code, Problem

if TYPE_CHECKING:
    from adapters.mapping.model import Mapping, Writing

_DAY_S = 86_400
THIN_TIMEOUT_S = 600.0


@click.command()
@click.argument("mapping", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--thin",
    "days",
    type=click.IntRange(1, 36_500),
    metavar="DAYS",
    help="Forget the messages that wrote more than DAYS days ago, by the account that writes.",
)
def ledger(mapping: Path, days: int | None) -> None:
    """Print the statements that make the ledger of MAPPING in its source.

    The owner of the source runs them, once. For as long as a message stands in the ledger, a repeat
    of it changes nothing and is given the first answer.
    """
    from serving import logs

    logs.configure(logs.LogLevel.ERROR)
    loaded, writing = _read(mapping)
    if days is not None:
        number = asyncio.run(_thin(loaded, writing, mapping.parent, days))
        click.echo(f"{number:,} message(s) forgotten.")
        return
    click.echo(_statements(loaded, writing), nl=False)
    name = shlex.quote(str(mapping))
    click.echo(f"Next: its owner runs this, then: saphan adapter check {name}", err=True)


def _read(path: Path) -> tuple[Mapping, Writing]:
    from adapters import kinds
    from adapters.records import Records

    wrapping = kinds.read(path)
    writing = wrapping.mapping.source.writing if isinstance(wrapping, Records) else None
    if not isinstance(wrapping, Records) or writing is None:
        detail = "nothing may be written: 'source' does not say 'writes: allowed'"
        raise Problem(Code.INVALID_USAGE, where=str(path), detail=detail)
    return wrapping.mapping, writing


def _statements(mapping: Mapping, writing: Writing) -> str:
    from adapters.writes.ledger import ddl
    from adapters.writes.sessions import parse_address

    url = parse_address(writing, os.environ, mapping.source.where)
    return ddl(writing.ledger, url.get_backend_name())


async def _thin(mapping: Mapping, writing: Writing, folder: Path, days: int) -> int:
    from sqlalchemy import Connection

    from adapters.sources.source import Source
    from adapters.writes.ledger import Ledger

    source = Source(mapping.source, os.environ, folder, writes=True).lease()
    before = int(time.time()) - days * _DAY_S

    def forget(connection: Connection) -> int:
        number = Ledger(writing.ledger).thin(connection, before)
        connection.commit()
        return number

    try:
        return await source.run(forget, timeout_s=THIN_TIMEOUT_S)
    finally:
        await source.close()
