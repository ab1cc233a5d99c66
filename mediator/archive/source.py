"""The journal as what is archived: which of its files are complete, and whether they are right.

What goes into an archive is checked first, from the entries up to the signed root: a bundle against
its tile of hashes, a tile against the one above it, a segment against the tree and its entries'
digests. So what was damaged here is found while another copy may still exist.
"""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import sha256
from itertools import pairwise
from typing import Any, Final

import orjson

from exchange.log import merkle
from exchange.log.merkle import HASH_SIZE
from exchange.log.tiles import ENTRIES, WIDTH, Tile, parse_bundle, tile_at
from exchange.problems import Code, Problem
from mediator.archive.stores import Content, Stored, describe
from mediator.journal import segments
from mediator.journal.reader import JournalReader
from mediator.journal.segments import Broken
from serving.log.tiles import TileFolder

_NOTHING: Final = sha256(b"").hexdigest()


class Source:
    """A journal as what is archived: which files are complete, and whether they are right."""

    def __init__(self, journal: JournalReader) -> None:
        self._directory = journal.directory
        self._size = journal.checkpoint.size
        self._root = journal.checkpoint.root
        self._folder = TileFolder(journal.directory / "log")
        self._read = self._folder.subtrees(self._size)
        if self._size and self._folder.edge(self._size).root() != self._root:
            raise Problem(
                Code.JOURNAL_CORRUPT,
                where="log/tile",
                detail=f"the tiles do not give the root of the {self._size} entries",
            )

    def closed_segments(self, size: int) -> list[tuple[int, int]]:
        """First entry and end of the segments behind which another begins, within ``size``."""
        firsts = segments.segments_in(self._directory / "segments")
        return [pair for pair in pairwise(firsts) if pair[1] <= size]

    def bundles(self, start: int, end: int) -> Iterator[str]:
        """Bundles and the tiles above them that became full between two sizes; both checked."""
        for index in range(start // WIDTH, end // WIDTH):
            self._check_bundle(index)
            yield f"log/{Tile(ENTRIES, index)}"
            level, number = 0, index
            while True:
                yield f"log/{Tile(level, number)}"
                if (number + 1) % WIDTH:
                    break
                level, number = level + 1, number // WIDTH

    def _check_bundle(self, index: int) -> None:
        """Check each tile on the way up against the next, and the full bundle against its tile."""
        level, number = 0, index
        while self._size >> 8 * (level + 1) > number:
            at = number % WIDTH * HASH_SIZE
            above = tile_at(level + 1, number // WIDTH, self._size)
            tile = self._folder.read_tile(Tile(level, number))
            if merkle.root_of_hashes(tile) != self._folder.read_tile(above)[at : at + HASH_SIZE]:
                raise damaged(
                    f"log/{Tile(level, number)}",
                    number << 8 * (level + 1),
                    "does not fit the tile above it",
                )
            if not above.full or (number + 1) % WIDTH:
                break
            level, number = level + 1, number // WIDTH
        bundle = Tile(ENTRIES, index)
        entries = parse_bundle(self._folder.read(bundle), WIDTH, f"log/{bundle}")
        hashes = b"".join([merkle.leaf_hash(entry) for entry in entries])
        if hashes != self._folder.read_tile(Tile(0, index)):
            raise damaged(f"log/{bundle}", index * WIDTH, "does not fit its tile of hashes")

    def check_segment(self, first: int, end: int) -> None:
        """Check every record of a segment against the tree.

        Raises:
            Problem: ``JournalCorrupt``.
        """
        path = segments.path_of(self._directory / "segments", first)
        file = f"segments/{path.name}"
        index = first
        for group in segments.read_groups(path, first):
            if isinstance(group, Broken):
                raise damaged(file, group.index, group.reason)
            for entry, sealed in zip(group.entries, group.sealed, strict=True):
                if merkle.leaf_hash(entry) != self._read(0, index):
                    raise damaged(file, index, "the entry is not the one in the tree")
                named: Any = orjson.loads(entry).get("sealed")
                if sha256(sealed).hexdigest() != (named["digest"] if named else _NOTHING):
                    raise damaged(file, index, "the sealed part is not the one of its entry")
                index += 1
        if index != end:
            raise damaged(file, index, f"the segment ends before entry {end}")

    def describe(self, name: str) -> Stored:
        return describe(name, self.content(name))

    def content(self, name: str) -> Content:
        """The file of a name; a partial tile also out of the full one that replaced it."""
        path = self._directory / name
        if path.exists() or not name.startswith("log/tile/"):
            return path
        return self._folder.read(Tile.parse(name.removeprefix("log/")))


def damaged(file: str, index: int, detail: str) -> Problem:
    """What to say of a file that is not as the tree says."""
    return Problem(
        Code.JOURNAL_CORRUPT,
        where=f"entry {index}, {file}",
        detail=f"{detail}; it is not archived",
        facts={"file": file, "index": index},
    )
