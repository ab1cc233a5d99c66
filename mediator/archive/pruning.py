"""Removing here what is in the archive, by policy: old segments, and old bundles of entries.

The order, and what a crash after each step means:

1. what is to go is read back from the archive once more, and compared with what lies here
   (:func:`propose`): nothing changed yet;
2. the server records an entry (event ``pruned``) that commits to the words of ``holdings.json``,
   and it is published: an entry without consequence, and the next run begins anew;
3. ``holdings.json`` is replaced, durably: from here on nobody misses what is older;
4. the files are removed, oldest first (:mod:`mediator.archive.removal`): a later run removes what
   is left.

Tiles of hashes always stay, so that every proof of a newer entry can be made, and so does the
segment that is written.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path

import orjson

from exchange.journal.entries import format_time
from exchange.log.tiles import ENTRIES, WIDTH, Tile
from mediator.archive.manifests import Manifest, name_of, read_manifest
from mediator.archive.settings import ArchiveSettings
from mediator.archive.source import damaged
from mediator.archive.stores import Store, check, describe, failed
from mediator.archive.tables import FOLDER, Tables
from mediator.journal import segments
from mediator.journal.holdings import Holdings
from mediator.journal.reader import JournalReader


def propose(
    journal: JournalReader, store: Store, last: Manifest, settings: ArchiveSettings, now: datetime
) -> Holdings | None:
    """What would be here after a removal that the settings want, or None when nothing is to go.

    Raises:
        Problem: ``ArchiveFailed`` when the archive lacks anything of it; ``JournalCorrupt`` when
            what lies here is not what was archived.
    """
    held = journal.holdings
    sealed, entries = held.segments_from, held.entries_from
    if settings.prune_segments_days is not None:
        before = now - timedelta(days=settings.prune_segments_days)
        sealed = _segments_until(journal.directory, last.segments, before, sealed)
    if settings.prune_entries_days is not None:
        before = now - timedelta(days=settings.prune_entries_days)
        most = last.entries
        if settings.statistics:
            most = min(most, Tables.read(journal.directory / FOLDER, journal.origin).entries)
        entries = _bundles_until(journal, most - most % WIDTH, before, entries)
    if (sealed, entries) == (held.segments_from, held.entries_from):
        return None
    _read_back(journal.directory, store, last, {*_names(journal.directory, held, sealed, entries)})
    return Holdings(sealed, entries, store.url, last.digest)


def _segments_until(directory: Path, archived: int, before: datetime, start: int) -> int:
    """The end of the last segment all of whose entries are archived and older than a time."""
    records, limit = directory / "segments", format_time(before)
    for _, following in pairwise(segments.segments_in(records)):
        if following > archived:
            break
        group = next(segments.read_groups(segments.path_of(records, following), following), None)
        if not isinstance(group, segments.Group):
            break
        if orjson.loads(group.entries[0])["at"] >= limit:
            break
        start = max(start, following)
    return start


def _bundles_until(journal: JournalReader, archived: int, before: datetime, start: int) -> int:
    """The first bundle that is not archived, or whose entries are not older than a time."""
    limit, low, high = format_time(before), start // WIDTH, archived // WIDTH
    while low < high:  # entries are roughly in the order of time
        middle = (low + high) // 2
        last = journal.entry(middle * WIDTH + WIDTH - 1)
        if orjson.loads(last)["at"] < limit:
            low = middle + 1
        else:
            high = middle
    return low * WIDTH


def _names(directory: Path, held: Holdings, sealed: int, entries: int) -> Iterator[str]:
    """The objects that are to go."""
    for first in segments.segments_in(directory / "segments"):
        if held.segments_from <= first < sealed:
            yield f"segments/{segments.path_of(Path(), first).name}"
    for index in range(held.entries_from // WIDTH, entries // WIDTH):
        yield f"log/{Tile(ENTRIES, index)}"


def _read_back(directory: Path, store: Store, last: Manifest, wanted: set[str]) -> None:
    """Read the objects back from the archive, and compare them with the files here."""
    number = last.number
    while wanted and number >= 0:
        manifest = read_manifest(store, number)
        if manifest is None:
            raise failed(store.url, name_of(number), "is missing")
        for stored in manifest.objects:
            if stored.name in wanted:
                check(store, stored)
                if describe(stored.name, directory / stored.name) != stored:
                    raise damaged(stored.name, 0, "it is not what was archived")
                wanted.discard(stored.name)
        number -= 1
    if wanted:
        raise failed(store.url, min(wanted), "was never archived")
