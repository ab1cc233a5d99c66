"""`saphan audit stats`: figures of exchanges, and counts by statistics fields."""

from __future__ import annotations

import csv
import sys
from datetime import datetime
from pathlib import Path
from typing import Any

import click

from console.cli.audit.journals import open_journals
from console.cli.audit.options import DIRECTORIES, Moment
from console.cli.printing import Progress, plain, print_json
from exchange.identifiers import ApplicationId, MemberId, ServiceId
from exchange.journal.entries import Side
from mediator.archive.statistics import DIMENSIONS, FEW, MAX_ROWS, Answer, Question, ask


@click.command()
@DIRECTORIES
@click.option(
    "--by",
    default="organisation,side",
    show_default=True,
    help=f"What to group by, with commas: {', '.join(DIMENSIONS)}; or a statistics field, such as "
    "sex or province.",
)
@click.option("--from", "since", type=Moment(), help="Not before this time (UTC).")
@click.option("--until", type=Moment(), help="Before this time (UTC).")
@click.option(
    "--side",
    type=click.Choice([Side.CONSUMER.value, Side.PROVIDER.value]),
    help="Only what a server recorded for the caller, or for the called.",
)
@click.option("--organisation", help="The organisation that recorded it: LA/GOV/MPI.")
@click.option("--service", help="Service: LA/GOV/MPI/oda-mis/projects.")
@click.option("--client", help="Calling application: LA/GOV/MOF/budget.")
@click.option("--purpose", help="Purpose code: national-budget.")
@click.option(
    "--limit", type=click.IntRange(1, MAX_ROWS), default=1000, show_default=True, help="Rows."
)
@click.option(
    "--format",
    "form",
    type=click.Choice(["table", "csv", "json"]),
    default="table",
    show_default=True,
    help="How to print.",
)
def stats(
    directories: tuple[Path, ...],
    by: str,
    since: datetime | None,
    until: datetime | None,
    side: str | None,
    organisation: str | None,
    service: str | None,
    client: str | None,
    purpose: str | None,
    limit: int,
    form: str,
) -> None:
    """Count exchanges in the journals or archives of DIR..., how they ended, how long they took.

    Each exchange is counted on each side that recorded it; each attempt is one. Latency is of those
    that were answered. Where a schema marks a field for statistics, --by FIELD tells what servers
    counted in answers, never about whom; counts below 5 are not told.

    Tables that a server keeps (setting archive.statistics) make it quick; without them, entries are
    read anew each time.
    """
    question = Question(
        by=tuple(dict.fromkeys(name.strip() for name in by.split(",") if name.strip())),
        since=since,
        until=until,
        side=side,
        organisation=str(MemberId.parse(organisation, "--organisation")) if organisation else None,
        service=str(ServiceId.parse(service, "--service")) if service else None,
        client=str(ApplicationId.parse(client, "--client")) if client else None,
        purpose=purpose,
        limit=limit,
    )
    progress = Progress()
    answer = ask(open_journals(directories), question, progress)
    progress.end()
    if form == "json":
        found = [dict(zip(answer.columns, row, strict=True)) for row in answer.rows]
        print_json({"rows": found, "hidden": answer.hidden, "more": answer.more})
    elif form == "csv":
        writer = csv.writer(sys.stdout)
        writer.writerow(answer.columns)
        writer.writerows(answer.rows)
    else:
        _print_table(answer)


def _print_table(answer: Answer) -> None:
    if not answer.rows:
        click.echo("Nothing was found. Try fewer conditions, a longer time, or --by service.")
        return
    lines = [answer.columns, *([_cell(value) for value in row] for row in answer.rows)]
    numbers = [
        all(isinstance(row[at], int | None) for row in answer.rows)
        for at in range(len(answer.columns))
    ]
    widths = [max(len(line[at]) for line in lines) for at in range(len(answer.columns))]
    for line in lines:
        cells = (
            cell.rjust(width) if number else cell.ljust(width)
            for cell, width, number in zip(line, widths, numbers, strict=True)
        )
        click.echo("  ".join(cells).rstrip())
    if answer.hidden:
        click.echo(f"{answer.hidden} counts are below {FEW}, or would tell one that is: –")
    if answer.more:
        click.echo("There are more rows: --limit, or narrow the question.")


def _cell(value: Any) -> str:
    if value is None:
        return "–"
    return f"{value:,}" if isinstance(value, int) else plain(str(value))
