"""The removal itself, once it stands in the log: see :mod:`mediator.archive.pruning`.

It needs none of what an archive needs: a server carries it out.
"""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

from exchange.log.tiles import WIDTH, Tile
from exchange.problems import Problem
from mediator.journal import segments
from mediator.journal.holdings import FILE as HOLDINGS_FILE
from mediator.journal.holdings import Holdings
from serving.log.files import Files, RealFiles


def remove(directory: Path, holdings: Holdings, files: Files | None = None) -> int:
    """Write ``holdings.json``, then remove what it says is not here; returns how many files went.

    ``holdings`` names the entry that tells of it, and that entry is published. Calling it again
    ends what a crash left.

    Raises:
        OSError: the disk failed; what is still there is removed by the next call.
    """
    files = files or RealFiles()
    path = directory / HOLDINGS_FILE
    if not path.exists() or path.read_bytes() != bytes(holdings):
        draft = path.with_suffix(".draft")
        files.write_file(draft, bytes(holdings))
        files.rename(draft, path)
        files.sync_directory(directory)
    removed = 0
    records = directory / "segments"
    for first in segments.segments_in(records):
        if first < holdings.segments_from:
            files.remove(segments.path_of(records, first))
            removed += 1
    for bundle in _old_bundles(directory / "log", holdings.entries_from):
        files.remove(bundle)
        removed += 1
    return removed


def told_by(holdings: Holdings, entry: int) -> Holdings:
    """The holdings with the entry that tells of them."""
    return dataclasses.replace(holdings, entry=entry)


def _old_bundles(log: Path, until: int) -> list[Path]:
    """The bundles, whole and partial, of entries before a size."""
    found: list[tuple[Tile, Path]] = []
    for folder, _, names in os.walk(log / "tile" / "entries"):
        for name in names:
            path = Path(folder) / name
            try:
                tile = Tile.parse(path.relative_to(log).as_posix())
            except Problem:
                continue  # another file: no proof rests on it
            if tile.first + WIDTH <= until:
                found.append((tile, path))
    return [path for _, path in sorted(found)]
