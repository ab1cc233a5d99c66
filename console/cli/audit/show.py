"""`saphan audit show`: one entry, proven and opened."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import orjson

from console.cli.audit.evidence import read_authorities
from console.cli.audit.journals import one_journal
from console.cli.audit.options import AS_JSON, DIRECTORY, PASSPHRASE_FILE
from console.cli.printing import plain, print_json
from exchange.journal.entries import format_time, parse_entry
from exchange.log.proof import check_proof
from exchange.problems import Problem
from mediator.journal.erasures import Erasure
from mediator.journal.reader import Opened
from mediator.journal.verify.contents import check_told
from mediator.journal.verify.times import Proven, proven_time


@click.command()
@DIRECTORY
@click.argument("number", metavar="INDEX", type=click.IntRange(0))
@click.option(
    "--ca",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Authorities (PEM) of time-stamps that you trust: they tell when it was recorded.",
)
@AS_JSON
@PASSPHRASE_FILE
def show(
    directory: Path, number: int, ca: Path | None, as_json: bool, passphrase_file: Path | None
) -> None:
    """Show entry INDEX of the journal in DIR, prove it, and open its sealed part if it can be."""
    journal = one_journal(directory, passphrase_file)
    data = journal.entry(number)
    entry = parse_entry(data, f"entry {number}")
    checkpoint = check_proof(journal.prove(number), data, journal.key)
    opened: Opened | None = None
    unreadable: Problem | None = None
    erased: Erasure | None = None
    if entry.sealed is not None:
        try:
            opened = journal.open(entry, journal.ciphertext(number))
        except Problem as problem:
            unreadable = problem
            erased = journal.erasure(entry, number)
    doubt = None if opened is None else _doubt(opened, data)
    authorities = read_authorities(ca)
    time = proven_time(journal.directory, number, authorities) if authorities else None
    if as_json:
        print_json(
            {
                "index": number,
                "entry": orjson.loads(data),
                "proof": {
                    "good": True,
                    "origin": checkpoint.origin,
                    "size": checkpoint.size,
                    "root": checkpoint.root.hex(),
                },
                "time": None if time is None else _time(time),
                "sealed": None if opened is None else _opened(opened),
                "doubt": doubt,
                "unreadable": None if unreadable is None else str(unreadable),
                "erased": None if erased is None else _erased(erased),
            }
        )
        return
    click.echo(plain(orjson.dumps(orjson.loads(data), option=orjson.OPT_INDENT_2).decode()))
    click.echo(
        f"\nProven: entry {number} is in {checkpoint.origin}, {checkpoint.size} entries, "
        f"root {checkpoint.root.hex()[:16]}…"
    )
    click.echo(_when(time) if authorities else "Time: not judged; name authorities by --ca.")
    if opened is not None:
        _print_part(opened)
        if doubt is not None:
            click.echo(f"\nNOT AS SIGNED: {doubt}")
    elif erased is not None:
        click.echo(plain(f"\nSealed part: {erased}."))
    elif unreadable is not None:
        click.echo(f"\nSealed part: not readable. {unreadable.detail}")
    else:
        click.echo("\nThe entry has no sealed part.")
    click.echo(f"\nNext: saphan audit export {directory} {number} -o evidence")


def _doubt(opened: Opened, entry: bytes) -> str | None:
    """What the server recorded other than the message was signed, if anything."""
    try:
        check_told(opened.part, orjson.loads(entry))
    except Problem as problem:
        return problem.detail
    return None


def _erased(erasure: Erasure) -> dict[str, Any]:
    return {
        "at": format_time(erasure.at),
        "entry": erasure.index,
        "ground": erasure.erased.ground,
    }


def _time(time: Proven) -> dict[str, Any]:
    return {
        "before": time.before.isoformat(),
        "after": None if time.after is None else time.after.isoformat(),
        "anchor": time.size,
        "authority": time.authority,
    }


def _when(time: Proven | None) -> str:
    if time is None:
        return "Time: no time-stamp covers it yet."
    after = f"after {time.after:%F %T} and " if time.after is not None else ""
    return plain(
        f"Time: recorded {after}before {time.before:%F %T} UTC, by the time-stamp of "
        f"{time.authority} over the first {time.size} entries."
    )


def _opened(opened: Opened) -> dict[str, Any]:
    part = opened.part
    return {
        "head": {
            "method": part.head.method,
            "target": part.head.target,
            "status": part.head.status,
            "headers": part.head.headers,
        },
        "base": part.base.decode("utf-8", "replace"),
        "signature": part.signature.hex(),
        "body": part.body.decode("utf-8", "replace"),
        "body_bytes": len(part.body),
    }


def _print_part(opened: Opened) -> None:
    part = opened.part
    click.echo("\nSealed part, opened with the member's key; it fits the entry's commitment:")
    click.echo(plain(f"  {part.head.method or part.head.status} {part.head.target or ''}"))
    for name, value in part.head.headers:
        click.echo(plain(f"  {name}: {value}"))
    click.echo(f"  signature over {len(part.base)} bytes" if part.base else "  not signed")
    if part.body:
        text = part.body.decode("utf-8", "replace")
        click.echo(plain(f"\n{text[:4000]}"))
        if len(text) > 4000:
            click.echo(f"… {len(part.body):,} bytes in all; export shows the whole body")
