"""Restoring a range of an archive: a month, or some entries, to be read like a journal.

The folder has all hashes of the tree up to where it is cut, the bundles of the range's entries, and
the segments with their sealed parts. It is cut at the smallest signed checkpoint (an anchor, or a
manifest's) that covers the range, so that what is here is proven like any journal.
``holdings.json`` says what is not here.
"""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from exchange.journal.entries import parse_entry
from exchange.log.checkpoint import parse_text
from exchange.log.merkle import HASH_SIZE
from exchange.log.tiles import ENTRIES, WIDTH, Tile, parse_bundle, tile_at
from exchange.problems import Code, Problem
from mediator.archive.archiver import Progress
from mediator.archive.manifests import Manifest, name_of, read_manifest
from mediator.archive.restore import bring, bring_evidence, each, show
from mediator.archive.stores import Store, Stored, checked, failed
from mediator.journal.anchors import FILE as ANCHORS
from mediator.journal.anchors import AnchorReader
from mediator.journal.holdings import Holdings
from serving.log.tiles import tiles_of_edge

MARGIN: Final = timedelta(minutes=15)
"""Entries are in the order of time but for so much."""
_TILES: Final = "log/"
_SEGMENTS: Final = "segments/"


@dataclass(frozen=True, slots=True)
class Excerpt:
    """Entries ``[first, end)`` were asked for; the folder is a log of ``size`` entries."""

    first: int
    end: int
    size: int
    sealed: tuple[int, int]
    """Of these entries the sealed parts are here."""


@dataclass(slots=True)
class _Runs:
    """What the manifests say, without their objects."""

    ends: list[int] = field(default_factory=list)
    """Up to which entry each manifest's bundles go."""
    notes: dict[int, bytes] = field(default_factory=dict)
    """Checkpoints, by their sizes."""
    segments: int = 0
    last: Manifest | None = None


def restore_period(
    store: Store,
    directory: Path,
    since: datetime,
    until: datetime,
    *,
    progress: Progress = lambda what, done, total: None,
) -> Excerpt:
    """Restore the entries of a time, with a margin for clocks, into a folder.

    Raises:
        Problem, OSError: as :func:`restore_range`.
    """
    runs = _runs(store, progress)
    first = max(_at(store, runs, since - MARGIN) - WIDTH, 0)
    return _restore(store, directory, runs, first, _at(store, runs, until + MARGIN), progress)


def restore_range(
    store: Store,
    directory: Path,
    first: int,
    end: int,
    *,
    progress: Progress = lambda what, done, total: None,
) -> Excerpt:
    """Restore the entries ``[first, end)`` into a folder; what is there already is not fetched.

    Raises:
        Problem: ``ArchiveFailed``; ``NotFound`` when there is no archive, or it has no such
            entries; ``Conflict`` when something else is in the folder.
        OSError: the folder cannot be written.
    """
    return _restore(store, directory, _runs(store, progress), first, end, progress)


def parts(
    store: Store,
    folder: Path,
    entries: int,
    *,
    progress: Progress = lambda what, done, total: None,
) -> Iterator[Excerpt]:
    """Restore an archive part after part into one scratch folder, which holds one at a time.

    The hashes of the tree stay from part to part: a 25th of the archive's entries, or less.

    Raises:
        Problem, OSError: as :func:`restore_range`.
    """
    runs = _runs(store, progress)
    for first in range(0, max(max(runs.notes, default=0), 1), entries):
        for name in (f"{_TILES}tile/entries", _SEGMENTS):
            shutil.rmtree(folder / name, ignore_errors=True)
        (folder / "journal.json").unlink(missing_ok=True)
        yield _restore(store, folder, runs, first, first + entries, progress)


def _runs(store: Store, progress: Progress) -> _Runs:
    runs = _Runs()
    for manifest in each(store, lambda stored: None, 0, "reading manifests", progress):
        runs.ends.append(manifest.entries)
        runs.segments, runs.last = manifest.segments, manifest
        if manifest.checkpoint:
            note = manifest.checkpoint.encode()
            text = manifest.checkpoint.rpartition("\n\n")[0] + "\n"
            runs.notes[parse_text(text, name_of(manifest.number)).size] = note
    return runs


def _restore(
    store: Store, directory: Path, runs: _Runs, first: int, end: int, progress: Progress
) -> Excerpt:
    size = max(runs.notes, default=0)
    end = min(end, size)
    if not 0 <= first < end:
        raise Problem(
            Code.NOT_FOUND,
            where=store.url,
            detail=f"the archive has entries 0 to {size - 1}, and none of what was asked for",
            facts={"entries": size},
        )
    _check_folder(directory, first)
    bring_evidence(store, directory)
    cut, note = _cut(directory, runs, end)
    segments: list[int] = []

    def take(stored: Stored) -> None:
        if stored.name.startswith(_SEGMENTS):
            segments.append(_first_in(store, stored))
        elif _is_wanted(Tile.parse(stored.name.removeprefix(_TILES)), first, cut):
            bring(store, directory, stored)

    for _ in each(store, take, 0, "restoring the tree", progress):
        pass
    sealed = _sealed(segments, runs.segments, first, cut)
    (directory / "segments").mkdir(exist_ok=True)
    wanted = {start for start in segments if sealed[0] <= start < sealed[1]}

    def take_sealed(stored: Stored) -> None:
        if stored.name.startswith(_SEGMENTS) and _first_in(store, stored) in wanted:
            bring(store, directory, stored)

    for _ in each(store, take_sealed, 0, "restoring sealed parts", progress):
        pass
    _fill_edge(store, directory, cut)
    _forget_later(store, directory, cut)
    manifest = runs.last.digest if runs.last is not None else ""
    start = first // WIDTH * WIDTH
    holdings = Holdings(sealed[0], start, store.url, manifest, segments_until=sealed[1])
    show(store, directory, holdings, note)
    return Excerpt(first, end, cut, sealed)


def _check_folder(directory: Path, first: int) -> None:
    """Only an excerpt that was begun, or nothing, may be in the folder.

    Raises:
        Problem: ``Conflict``.
    """
    here = Holdings.read(directory) if (directory / "journal.json").exists() else None
    if here is not None and (not here.is_excerpt or here.entries_from != first // WIDTH * WIDTH):
        raise Problem(
            Code.CONFLICT,
            where=str(directory),
            detail="holds a journal already, or another part of one; name another folder",
        )


def _cut(directory: Path, runs: _Runs, end: int) -> tuple[int, bytes]:
    """The smallest checkpoint that covers the range, of those whose whole tree is archived."""
    notes = dict(runs.notes)
    bundles = runs.ends[-1]
    with contextlib.closing(AnchorReader.open(directory)) as anchors:
        for anchor in anchors.between(end - 1, bundles):
            notes[anchor.size] = anchor.note
            break
    size = min(size for size in notes if size >= end)
    return size, notes[size]


def _is_wanted(tile: Tile, first: int, cut: int) -> bool:
    """Whether a tile is of the tree up to the cut; of the bundles, those of the range."""
    if tile.level == ENTRIES:
        return tile.first < cut and tile.first + tile.width > first
    return tile.index << 8 * (tile.level + 1) < cut


def _sealed(segments: list[int], end: int, first: int, cut: int) -> tuple[int, int]:
    """Of which entries the segments with the range's sealed parts are."""
    starts = sorted(set(segments))
    chosen = [
        (start, stop)
        for start, stop in zip(starts, [*starts[1:], end], strict=True)
        if start < cut and stop > first
    ]
    return (chosen[0][0], min(chosen[-1][1], cut)) if chosen else (cut, cut)


def _first_in(store: Store, stored: Stored) -> int:
    """The first entry of a segment, by its name."""
    stem = Path(stored.name).stem
    if not (stem.isascii() and stem.isdigit() and len(stem) <= 20):
        raise failed(store.url, stored.name, "is no name of a segment")
    return int(stem)


def _fill_edge(store: Store, directory: Path, size: int) -> None:
    """The partial tiles at the cut, out of those of later sizes, which begin with them."""
    for tile in tiles_of_edge(size):
        path = directory / _TILES / str(tile)
        if path.exists() or path.parent.with_suffix("").exists():  # the full one
            continue
        wider = (int(one.name) for one in path.parent.glob("*") if one.name.isdigit())
        width = min((one for one in wider if one > tile.width), default=None)
        if width is None:
            raise failed(store.url, f"{_TILES}{tile}", "is missing, and so is each that begins so")
        whole = path.with_name(str(width))
        path.write_bytes(whole.read_bytes()[: tile.width * HASH_SIZE])


def _forget_later(store: Store, directory: Path, size: int) -> None:
    """Anchors behind the cut are not of the log that is here."""
    path = directory / ANCHORS
    if not path.exists():
        return
    try:
        with contextlib.closing(sqlite3.connect(path)) as connection, connection:
            for table, column in (
                ("batches", "until"), ("cosignatures", "size"), ("tokens", "size"),
                ("anchors", "size"),
            ):  # fmt: skip
                connection.execute(f"DELETE FROM {table} WHERE {column} > ?", (size,))  # noqa: S608
    except sqlite3.Error as error:
        raise failed(store.url, ANCHORS, f"is damaged: {error}") from error


def _at(store: Store, runs: _Runs, moment: datetime) -> int:
    """The first entry of the first bundle that begins at this time or later, or the end."""
    low, high = 0, runs.ends[-1] // WIDTH
    while low < high:
        middle = (low + high) // 2
        if _first_of(store, runs, middle) < moment:
            low = middle + 1
        else:
            high = middle
    return low * WIDTH if low < runs.ends[-1] // WIDTH else max(runs.notes, default=0)


def _first_of(store: Store, runs: _Runs, number: int) -> datetime:
    """When the first entry of a bundle was recorded."""
    batch = next(at for at, end in enumerate(runs.ends) if end > number * WIDTH)
    name = f"{_TILES}{tile_at(ENTRIES, number, (number + 1) * WIDTH)}"
    manifest = read_manifest(store, batch)
    for stored in _objects(manifest):
        if stored.name == name:
            data = b"".join(checked(store, stored))
            return parse_entry(parse_bundle(data, WIDTH, name)[0]).at
    raise failed(store.url, name_of(batch), f"does not name {name}")


def _objects(manifest: Manifest | None) -> Iterator[Stored]:
    return iter(manifest.objects if manifest is not None else ())
