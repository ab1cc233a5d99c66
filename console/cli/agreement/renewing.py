"""`saphan agreement renew`: the next version of an agreement, or of a group of them."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import click
import orjson

from console.cli.agreement.files import write
from console.cli.agreement.groups import AGREEMENT, GROUP, chosen
from console.cli.agreement.options import OUTPUT, validity
from console.cli.options import JSON
from console.cli.printing import print_json
from exchange.agreements import Agreement, format_agreement
from exchange.documents import format_moment


@click.command()
@AGREEMENT
@GROUP
@validity("Validity of the new version.")
@click.option("--now", "at_once", is_flag=True, help="Begins now; else where the old one ends.")
@OUTPUT
@JSON
def renew(
    file: Path, group: str | None, days: int, at_once: bool, output: Path, as_json: bool
) -> None:
    """Write the next version of the agreement of FILE to OUTPUT, to be read, edited and sealed.

    It says the same for another period. From its beginning on it stands in the place of the
    versions before it, which stay pinned until then. Of a group (FILE is a folder) OUTPUT is the
    folder to write to.
    """
    old = [one.agreement for one in chosen(file, group)]
    now = datetime.now(UTC).replace(microsecond=0)
    made = [_next(one, now if at_once else max(now, one.valid_until), days) for one in old]
    if file.is_dir():
        output.mkdir(parents=True, exist_ok=True)
    rows = []
    for new in made:
        target = output / f"{new.id}.json" if file.is_dir() else output
        text = orjson.loads(format_agreement(new))
        write(target, orjson.dumps(text, option=orjson.OPT_INDENT_2) + b"\n")
        rows.append(
            {"file": str(target), "agreement": new.id, "version": new.version, "sealed_by": []}
        )
    if as_json:
        print_json({"renewed": rows} if file.is_dir() else rows[0])
        return
    for row, new in zip(rows, made, strict=True):
        period = f"{format_moment(new.valid_from)} to {format_moment(new.valid_until)}"
        click.echo(f"{row['file']}: {new.reference}, {period}.")
    click.echo(
        f"Next: both parties seal it: saphan agreement seal {output} --certificate … --key … -o …"
    )


def _next(old: Agreement, begins: datetime, days: int) -> Agreement:
    return replace(
        old,
        version=old.version + 1,
        valid_from=begins,
        valid_until=begins + timedelta(days=days),
    )
