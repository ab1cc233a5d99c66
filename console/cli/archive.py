"""`saphan archive`: archive a journal, look after an archive, and restore from it."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

import click
import orjson

from console.cli.audit.printing import Progress
from console.cli.options import JSON
from mediator.archive.archiver import Archiver, Outcome, archiving
from mediator.archive.manifests import Manifest
from mediator.archive.restore import check_archive
from mediator.archive.restore import restore as restore_archive
from mediator.archive.settings import S3, ArchiveSettings
from mediator.archive.stores import Store, store_at
from mediator.journal.reader import JournalReader

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
@JSON
def restore(store: Store, directory: Path, as_json: bool) -> None:
    """Write what ARCHIVE holds into the folder DIR, to be read with saphan audit.

    What is in DIR already and right is not fetched again. No server may go on with a restored
    journal: the log would sign a second history.
    """
    progress = Progress()
    last = restore_archive(store, directory, progress=progress)
    progress.end()
    _print(store, last, as_json)
    if not as_json:
        click.echo(f"Next: saphan audit verify {directory}")


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
