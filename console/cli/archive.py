"""`saphan archive`: archive a journal, look after an archive, and restore from it."""

from __future__ import annotations

import re
import sys
import tempfile
from collections.abc import Callable
from datetime import datetime
from functools import wraps
from pathlib import Path
from typing import Any

import click
import orjson

from console.cli.audit.options import Period
from console.cli.audit.verdicts import described
from console.cli.options import JSON
from console.cli.printing import Progress, plain
from exchange.log.notes import VerifierKey
from mediator.archive.archiver import Archiver, Outcome, archiving
from mediator.archive.excerpt import parts, restore_period, restore_range
from mediator.archive.manifests import Manifest
from mediator.archive.restore import check_archive
from mediator.archive.restore import restore as restore_archive
from mediator.archive.settings import S3, ArchiveSettings
from mediator.archive.stores import Store, store_at
from mediator.journal.reader import JournalReader
from mediator.journal.verify import Verdict
from mediator.journal.verify import verify as verify_journal
from mediator.journal.verify.workers import usable_processes


class Entries(click.ParamType[tuple[int, int]]):
    """Numbers of entries, the last one included; gives first and end."""

    name = "entries"

    def convert(self, value: Any, param: Any, ctx: Any) -> tuple[int, int]:
        found = re.fullmatch(r"([0-9]{1,15})-([0-9]{1,15})", value, re.ASCII)
        if found is None or int(found[1]) > int(found[2]):
            self.fail(f"{value!r} is not a range such as 1000-1999")
        return int(found[1]), int(found[2]) + 1


_STORE = click.argument("place", metavar="ARCHIVE")


def _store_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options of an S3-compatible store; the command is given the store."""

    @wraps(command)
    def wrapped(
        place: str,
        endpoint: str | None,
        region: str | None,
        access_key: str | None,
        secret_key: str | None,
        **more: Any,
    ) -> Any:
        settings = None
        if place.startswith(S3):
            settings = ArchiveSettings(
                bucket=place,
                endpoint=endpoint,
                region=region,
                access_key=access_key,
                secret_key=secret_key,
            )
        return command(store=store_at(place, settings), **more)

    for option in (
        click.option("--secret-key", envvar="SAPHAN_ARCHIVE_SECRET", help="Its secret."),
        click.option("--access-key", envvar="SAPHAN_ARCHIVE_KEY", help="Access key of the store."),
        click.option("--region", help="Region of the bucket."),
        click.option("--endpoint", help="URL of an S3-compatible store; without it, Amazon's."),
    ):
        wrapped = option(wrapped)
    return wrapped


@click.group()
def archive() -> None:
    """Archive a journal, check an archive, restore from it.

    ARCHIVE is a folder, or s3://bucket/prefix with the options of its store. An archive in a folder
    is read by saphan audit like a journal.
    """


@archive.command()
@click.argument(
    "journal", metavar="DIR", type=click.Path(exists=True, file_okay=False, path_type=Path)
)
@_STORE
@_store_options
@JSON
def run(journal: Path, store: Store, as_json: bool) -> None:
    """Archive what is new in the journal DIR into ARCHIVE, as a server does by itself.

    The server may run meanwhile. Every object is read back before it counts.
    """
    progress = Progress()
    with archiving(journal):
        outcome = Archiver(JournalReader(journal), store, progress=progress).run()
    progress.end()
    _print(store, outcome.manifest, as_json, outcome)


@archive.command()
@_STORE
@_store_options
@click.option("--from-manifest", default=0, type=click.IntRange(0), help="Begin with this one.")
@JSON
def check(store: Store, from_manifest: int, as_json: bool) -> None:
    """Read back all that ARCHIVE should hold, and compare the digests of its manifests.

    That the archived log is whole and signed is what saphan audit verify tells of a folder, or
    of what was restored.
    """
    progress = Progress()
    last = check_archive(store, start=from_manifest, progress=progress)
    progress.end()
    _print(store, last, as_json)


@archive.command()
@_STORE
@click.argument("directory", metavar="DIR", type=click.Path(file_okay=False, path_type=Path))
@_store_options
@click.option(
    "--period", type=Period(), help="Only a month (2026-11), a day, or FROM/TO (before TO; UTC)."
)
@click.option("--entries", type=Entries(), help="Only these entries: FIRST-LAST.")
@JSON
def restore(
    store: Store,
    directory: Path,
    period: tuple[datetime, datetime] | None,
    entries: tuple[int, int] | None,
    as_json: bool,
) -> None:
    """Write what ARCHIVE holds into the folder DIR, to be read with saphan audit.

    What is in DIR already and right is not fetched again. No server may go on with a restored
    journal: the log would sign a second history.
    """
    if period is not None and entries is not None:
        raise click.UsageError("Name a --period or --entries, not both.")
    if period is not None or entries is not None:
        _restore_part(store, directory, period, entries, as_json)
        return
    progress = Progress()
    last = restore_archive(store, directory, progress=progress)
    progress.end()
    _print(store, last, as_json)
    if not as_json:
        click.echo(f"Next: saphan audit verify {directory}")


@archive.command()
@_STORE
@_store_options
@click.option("--vkey", help="Verifier key of the log; else the one in the archive is believed.")
@click.option(
    "--part",
    default=1_000_000,
    show_default=True,
    type=click.IntRange(256),
    help="So many entries are brought here at a time.",
)
@click.option(
    "--scratch",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="A disk with room for a part; the system's temporary folder by default.",
)
@click.option(
    "--processes",
    type=click.IntRange(1, 64),
    help="How many processes work on it; all processors by default.",
)
@JSON
def verify(
    store: Store,
    vkey: str | None,
    part: int,
    scratch: Path | None,
    processes: int | None,
    as_json: bool,
) -> None:
    """Verify ARCHIVE part after part, wherever it is: what saphan audit verify does of a folder.

    Signatures of messages are left out: an archive has no keys that open what was signed.

    Only one part and the hashes of the tree are here at a time, in a folder that is removed. Exit
    code 1 when something is not as it was recorded.
    """
    key = None if vkey is None else VerifierKey.parse(vkey, "--vkey")
    verdicts = []
    with tempfile.TemporaryDirectory(prefix="saphan-", dir=scratch) as name, Progress() as progress:
        for one in parts(store, Path(name), part, progress=progress):
            verdict = verify_journal(
                Path(name),
                key=key,
                processes=processes or usable_processes(),
                progress=progress,
            )
            verdicts.append({"first": one.first, "end": one.end, **_verdict(verdict)})
            if not as_json:
                word = "good" if verdict.good else "NOT GOOD"
                click.echo(f"{store.url}: entries {one.first:,} to {one.end - 1:,}: {word}")
                for finding in verdict.findings:
                    click.echo(plain(f"  {finding.code}: {finding.file}: {finding.detail}"))
    good = all(one["good"] for one in verdicts)
    if as_json:
        document = {"archive": store.url, "good": good, "parts": verdicts}
        click.echo(orjson.dumps(document).decode())
    elif verdicts:
        click.echo(f"signed by {verdicts[-1]['vkey']}")
    if not good:
        sys.exit(1)


def _verdict(verdict: Verdict) -> dict[str, Any]:
    return {
        "good": verdict.good,
        "size": verdict.size,
        "root": verdict.root,
        "vkey": verdict.vkey,
        "sealed": verdict.sealed,
        "findings": [described(finding) for finding in verdict.findings],
    }


def _restore_part(
    store: Store,
    directory: Path,
    period: tuple[datetime, datetime] | None,
    entries: tuple[int, int] | None,
    as_json: bool,
) -> None:
    with Progress() as progress:
        if period is not None:
            part = restore_period(store, directory, *period, progress=progress)
        else:
            first, end = entries or (0, 0)
            part = restore_range(store, directory, first, end, progress=progress)
    if as_json:
        document = {"archive": store.url, "first": part.first, "end": part.end, "size": part.size}
        click.echo(orjson.dumps(document | {"sealed": list(part.sealed)}).decode())
        return
    click.echo(
        f"{directory}: entries {part.first:,} to {part.end - 1:,} of {store.url}, as a log of "
        f"{part.size:,} entries; sealed parts of {part.sealed[0]:,} to {part.sealed[1] - 1:,}.\n"
        f"Next: saphan audit verify {directory}"
    )


def _print(store: Store, last: Manifest, as_json: bool, outcome: Outcome | None = None) -> None:
    document: dict[str, Any] = {
        "archive": store.url,
        "origin": last.origin,
        "manifest": last.number,
        "entries": last.entries,
        "sealed_parts": last.segments,
    }
    if outcome is not None:
        document |= {"objects_put": outcome.objects, "bytes_put": outcome.bytes}
    if as_json:
        click.echo(orjson.dumps(document).decode())
        return
    click.echo(
        f"{store.url}: {last.entries:,} entries in full bundles, sealed parts of the first "
        f"{last.segments:,}; last manifest {last.number}."
    )
    if outcome is not None:
        click.echo(f"{outcome.objects:,} objects put, {outcome.bytes:,} bytes, all read back.")
