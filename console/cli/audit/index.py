"""`saphan audit index`: the search index, made anew from the journal."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from console.cli.audit.journals import open_journals
from console.cli.audit.options import AS_JSON, DIRECTORIES, INDEX_DATABASE
from console.cli.printing import Progress, print_json
from exchange.problems import Code, Problem
from mediator.journal.index import FILE, IndexWriter
from mediator.journal.index.store import StoreError
from mediator.journal.reader import JournalReader
from mediator.journal.recovery import LOCK
from serving.locks import take_lock
from serving.log.tiles import TileFolder


@click.group()
def index() -> None:
    """The search index: derived from the journal, and made anew from it."""


@index.command()
@DIRECTORIES
@INDEX_DATABASE
@AS_JSON
def rebuild(directories: tuple[Path, ...], database: str | None, as_json: bool) -> None:
    """Make the search indexes of the journals of DIR... anew, from the published entries.

    A server does so by itself where its index is missing, damaged, behind or of another log; this
    is for copies and archives, and for a server that is stopped.
    """
    done = []
    for journal in open_journals(directories):
        begun = time.monotonic()
        size = journal.checkpoint.size
        with _locked(journal.directory):
            _rebuild(journal, database)
        took = time.monotonic() - begun
        first = min(journal.holdings.entries_from, size)
        done.append(
            {
                "journal": str(journal.directory),
                "entries": size - first,
                "first": first,
                "seconds": round(took, 1),
            }
        )
        if not as_json:
            click.echo(f"{journal.directory}: {size - first:,} entries in {took:,.1f} s")
        if first and not as_json:
            click.echo(
                f"  Entries 0 to {first - 1:,} were removed here and are not in it; they are in "
                f"the archive {journal.holdings.archive}"
            )
    if as_json:
        print_json({"rebuilt": done})
    else:
        click.echo("Next: saphan audit search DIR")


def _rebuild(journal: JournalReader, database: str | None) -> None:
    if database is None:
        writer = IndexWriter(journal.directory / FILE)
    else:
        from mediator.journal.index.postgresql import PostgreSqlPlace

        writer = IndexWriter(PostgreSqlPlace(database, journal.origin))
    progress = Progress()
    try:
        writer.renew()
        writer.catch_up(TileFolder(journal.directory / "log"), journal.checkpoint.size, progress)
    except (StoreError, OSError) as error:
        raise Problem(
            Code.SOURCE_FAILED, where=writer.place.name, detail=f"cannot be written: {error}"
        ) from error
    finally:
        writer.close()
        progress.end()


@contextmanager
def _locked(directory: Path) -> Iterator[None]:
    """Keep a server from writing the index meanwhile.

    Raises:
        Problem: ``Conflict`` when one has the journal open.
    """
    try:
        held = "a server has this journal open and keeps its index itself; stop it first"
        descriptor = take_lock(directory / LOCK, held, create=False)
    except FileNotFoundError:
        yield  # a copy
        return
    try:
        yield
    finally:
        os.close(descriptor)
