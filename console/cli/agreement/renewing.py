"""`saphan agreement renew`: the next version of an agreement."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import click
import orjson

from console.cli.agreement.files import FILE, moment, read, tell, write
from console.cli.agreement.options import OUTPUT, validity
from console.cli.options import JSON
from exchange.agreements import format_agreement, parse_agreement, read_agreement


@click.command()
@FILE
@validity("Validity of the new version.")
@click.option("--now", "at_once", is_flag=True, help="Begins now; else where the old one ends.")
@OUTPUT
@JSON
def renew(file: Path, days: int, at_once: bool, output: Path, as_json: bool) -> None:
    """Write the next version of the agreement of FILE to OUTPUT, to be read, edited and sealed.

    It says the same for another period. From its beginning on it stands in the place of the
    versions before it, which stay pinned until then.
    """
    document = read(file)
    old = read_agreement(document)[0] if b'"signatures"' in document else parse_agreement(document)
    now = datetime.now(UTC).replace(microsecond=0)
    begins = now if at_once else max(now, old.valid_until)
    new = replace(
        old,
        version=old.version + 1,
        valid_from=begins,
        valid_until=begins + timedelta(days=days),
    )
    text = orjson.loads(format_agreement(new))
    write(output, orjson.dumps(text, option=orjson.OPT_INDENT_2) + b"\n")
    if as_json:
        tell({"file": str(output), "agreement": new.id, "version": new.version, "sealed_by": []})
        return
    click.echo(
        f"{output}: {new.reference}, {moment(begins)} to {moment(new.valid_until)}.\n"
        f"Next: both parties seal it: saphan agreement seal {output} --certificate … --key … -o …"
    )
