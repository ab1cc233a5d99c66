"""Reading an archive back: checking all of it, and restoring a journal's folder from it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path

from exchange.problems import Code, Problem
from mediator.archive.archiver import EVIDENCE, Progress
from mediator.archive.manifests import (
    Manifest,
    check_chain,
    last_manifest,
    name_of,
    read_manifest,
)
from mediator.archive.stores import Store, Stored, checked, describe, failed
from mediator.journal.holdings import FILE as HOLDINGS_FILE
from mediator.journal.holdings import Holdings
from mediator.journal.publication import CHECKPOINT
from mediator.journal.recovery import DESCRIPTION
from serving.durable_files import replacing

Take = Callable[[Stored], None]


def check_archive(
    store: Store, *, start: int = 0, progress: Progress = lambda what, done, total: None
) -> Manifest:
    """Read back all that the manifests from ``start`` on name; returns the last.

    Raises:
        Problem: ``ArchiveFailed``; ``NotFound`` when there is no archive.
    """

    def read(stored: Stored) -> None:
        for _ in checked(store, stored):
            pass

    return deque(each(store, read, start, "checking", progress), maxlen=1).pop()


def restore(
    store: Store,
    directory: Path,
    *,
    progress: Progress = lambda what, done, total: None,
) -> Manifest:
    """Write what an archive holds into a folder, as a journal to be read; returns the manifest.

    What is there already and right is not fetched again, so that a restoration that was
    interrupted goes on. The folder is for reading: it has no keys, and no server may go on with it.

    Raises:
        Problem: ``ArchiveFailed``; ``NotFound`` when there is no archive, or its first run has not
            ended.
        OSError: the folder cannot be written.
    """

    last, checkpoint = None, ""
    for last in each(store, lambda one: bring(store, directory, one), 0, "restoring", progress):
        checkpoint = last.checkpoint or checkpoint
    assert last is not None  # noqa: S101  # or there is no archive
    if not checkpoint:
        raise Problem(
            Code.NOT_FOUND,
            where=store.url,
            detail="the archive has no checkpoint yet: its first run has not ended",
        )
    bring_evidence(store, directory)
    show(store, directory, Holdings(segments_until=last.segments), checkpoint.encode())
    return last


def bring(store: Store, directory: Path, stored: Stored) -> None:
    """Write an object of the archive into a folder, unless it is there already.

    Raises:
        Problem: ``ArchiveFailed``; ``NotFound``. OSError: the folder cannot be written.
    """
    target = directory / stored.name
    if target.exists() and describe(stored.name, target) == stored:
        return
    _write(target, checked(store, stored))


def bring_evidence(store: Store, directory: Path) -> None:
    """Write what lies beside the log, as far as the archive has it.

    Raises:
        Problem: ``ArchiveFailed``. OSError: the folder cannot be written.
    """
    for name in EVIDENCE:
        try:
            _write(directory / name, store.read(name))
        except Problem as problem:
            if problem.code is not Code.NOT_FOUND:
                raise


def show(store: Store, directory: Path, holdings: Holdings, checkpoint: bytes) -> None:
    """Make a journal of what was brought, at the end.

    Raises:
        Problem: ``ArchiveFailed``; ``NotFound``. OSError: the folder cannot be written.
    """
    _write(directory / DESCRIPTION, store.read(DESCRIPTION))
    _write(directory / HOLDINGS_FILE, iter([bytes(holdings)]))
    _write(directory / "log" / CHECKPOINT, iter([checkpoint]))


def each(store: Store, take: Take, start: int, what: str, progress: Progress) -> Iterator[Manifest]:
    """The manifests in order, each after all that it names was taken."""
    last = last_manifest(store)
    if last is None or last.number < start:
        raise Problem(Code.NOT_FOUND, where=store.url, detail="there is no archive here")
    previous = read_manifest(store, start - 1) if start else None
    for number in range(start, last.number + 1):
        manifest = read_manifest(store, number)
        if manifest is None:
            raise failed(store.url, name_of(number), "is missing")
        check_chain(store, previous, manifest)
        for stored in manifest.objects:
            progress(what, 0 if previous is None else previous.entries, last.entries)
            try:
                take(stored)
            except Problem as problem:
                if problem.code is Code.NOT_FOUND:
                    raise failed(store.url, stored.name, "is missing") from problem
                raise
        yield manifest
        previous = manifest
    progress(what, last.entries, last.entries)


def _write(target: Path, chunks: Iterator[bytes]) -> None:
    """Write a file whole and durably, or not at all."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with replacing(target) as file:
        for chunk in chunks:
            file.write(chunk)
