"""Tiles and entry bundles of a log (c2sp.org/tlog-tiles@v0.1.0).

Invariants:
- a full tile is 256 hashes; hash ``i`` of tile ``(level, index)`` is the root of the *complete*
  subtree of leaves ``[(index * 256 + i) * 256**level, (index * 256 + i + 1) * 256**level)``;
- a partial tile has 1 to 255 hashes and is never hashed into the level above; there are no empty
  tiles;
- ``Tile.parse(str(tile)) == tile``: a path has one spelling.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Self

from exchange.log.merkle import HASH_SIZE, SubtreeReader, root_of_hashes
from exchange.problems import Code, Problem

WIDTH = 256
FULL_TILE_SIZE = WIDTH * HASH_SIZE
MAX_ENTRY_SIZE = 65_535
ENTRIES = -1  # the "level" of entry bundles
MAX_LEVEL = 63

_PATH = re.compile(
    r"tile/(entries|[0-9]|[1-5][0-9]|6[0-3])/((?:x[0-9]{3}/){0,6}[0-9]{3})"
    r"(?:\.p/([1-9][0-9]{0,2}))?",
    re.ASCII,
)


@dataclass(frozen=True, slots=True, order=True)
class Tile:
    """The name of a tile (``level`` 0 to 63) or an entry bundle (``level`` :data:`ENTRIES`)."""

    level: int
    index: int
    width: int = WIDTH

    def __post_init__(self) -> None:
        if not (
            ENTRIES <= self.level <= MAX_LEVEL
            and 0 <= self.index < 2**56
            and 1 <= self.width <= WIDTH
        ):
            raise Problem(
                Code.INVALID_DOCUMENT,
                where="tile",
                detail=f"there is no tile {self.level}, {self.index}, {self.width}",
            )

    @property
    def full(self) -> bool:
        return self.width == WIDTH

    @property
    def first(self) -> int:
        """The first hash's number within the level (for a bundle: the first entry's index)."""
        return self.index * WIDTH

    def __str__(self) -> str:
        level = "entries" if self.level == ENTRIES else str(self.level)
        groups = [f"{self.index % 1000:03}"]
        rest = self.index // 1000
        while rest:
            groups.append(f"x{rest % 1000:03}")
            rest //= 1000
        partial = "" if self.full else f".p/{self.width}"
        return f"tile/{level}/{'/'.join(reversed(groups))}{partial}"

    @classmethod
    def parse(cls, path: str) -> Self:
        """Parse the path of a tile or bundle.

        Raises:
            Problem: ``InvalidDocument`` for anything that does not print back the same.
        """
        match = _PATH.fullmatch(path) if len(path) <= 100 else None
        if match:
            index = int(match[2].replace("/x", "").replace("x", "").replace("/", ""))
            width = int(match[3]) if match[3] else WIDTH
            if width <= WIDTH and index < 2**56:
                tile = cls(ENTRIES if match[1] == "entries" else int(match[1]), index, width)
                if str(tile) == path:
                    return tile
        raise Problem(Code.INVALID_DOCUMENT, where="tile", detail=f"{path[:100]!r} is no tile path")


def tiles_of(size: int) -> Iterator[Tile]:
    """All tiles of a tree of ``size`` leaves, level by level; bundles are not included."""
    level, hashes = 0, size
    while hashes:
        for index in range(hashes // WIDTH):
            yield Tile(level, index)
        if hashes % WIDTH:
            yield Tile(level, hashes // WIDTH, hashes % WIDTH)
        hashes //= WIDTH
        level += 1


def bundles_of(size: int) -> Iterator[Tile]:
    """All entry bundles of a log of ``size`` entries."""
    for index in range(size // WIDTH):
        yield Tile(ENTRIES, index)
    if size % WIDTH:
        yield Tile(ENTRIES, size // WIDTH, size % WIDTH)


def tile_at(level: int, index: int, size: int) -> Tile:
    """Tile ``index`` of ``level``, as wide as it is in a tree of ``size`` leaves.

    Raises:
        Problem: ``NotFound`` when the tree has no such tile.
    """
    hashes = size if level == ENTRIES else size >> (8 * level)
    width = min(WIDTH, hashes - index * WIDTH)
    if width < 1:
        raise Problem(
            Code.NOT_FOUND, where=f"tile {level}/{index}", detail=f"not in a tree of {size}"
        )
    return Tile(level, index, width)


def subtree_reader(size: int, read_tile: Callable[[Tile], bytes]) -> SubtreeReader:
    """Read complete subtrees of a tree of ``size`` leaves from its tiles.

    ``read_tile`` returns a tile's content, ``width * 32`` bytes; it may keep what it read.
    """

    def read(level: int, index: int) -> bytes:
        tile_level, above = divmod(level, 8)
        first = index << above  # the first of the 2**above hashes of the tile that make it up
        tile = tile_at(tile_level, first // WIDTH, size)
        at = first % WIDTH * HASH_SIZE
        return root_of_hashes(read_tile(tile)[at : at + (HASH_SIZE << above)])

    return read


def format_bundle(entries: Sequence[bytes]) -> bytes:
    """Join entries, each behind its length (big-endian uint16).

    Raises:
        Problem: ``InvalidDocument`` when an entry is longer than 65,535 bytes.
    """
    lengths = [*map(len, entries)]
    if max(lengths, default=0) > MAX_ENTRY_SIZE:
        raise Problem(
            Code.INVALID_DOCUMENT, where="entry", detail=f"an entry of {max(lengths)} bytes"
        )
    parts = [b""] * (2 * len(lengths))
    parts[::2] = [length.to_bytes(2, "big") for length in lengths]
    parts[1::2] = entries
    return b"".join(parts)


def parse_bundle(data: bytes, width: int, where: str = "bundle") -> list[bytes]:
    """Split a bundle into exactly ``width`` entries.

    Raises:
        Problem: ``JournalCorrupt`` at ``where``; ``facts.whole`` is the number of entries that
            could be read before the break.
    """
    entries: list[bytes] = []
    at, end = 0, len(data)
    while at + 2 <= end and len(entries) < width:
        length = data[at] << 8 | data[at + 1]
        at += 2
        if at + length > end:
            break
        entries.append(data[at : at + length])
        at += length
    if at != end or len(entries) != width:
        raise Problem(
            Code.JOURNAL_CORRUPT,
            where=where,
            detail=f"the bundle does not hold exactly {width} entries",
            facts={"whole": len(entries)},
        )
    return entries
