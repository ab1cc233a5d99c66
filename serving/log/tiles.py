"""Tiles on disk: the growing edge of the tree, and the folder that anybody may read.

Invariants:
- :class:`Edge` is the right edge of the tree at one size: the hashes of each level's partial tile
  and the entries of the partial bundle. It gives the root, and takes entries without reading;
- a tile, once it is in its place, is whole and never changes (written elsewhere, synced, renamed);
- a partial tile goes away only when the full one is there.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator
from functools import lru_cache
from hashlib import sha256
from pathlib import Path

from exchange.log import merkle
from exchange.log.merkle import HASH_SIZE
from exchange.log.tiles import (
    ENTRIES,
    FULL_TILE_SIZE,
    WIDTH,
    Tile,
    format_bundle,
    parse_bundle,
    subtree_reader,
    tile_at,
)
from exchange.problems import Code, Problem
from serving.log.files import Files


class Edge:
    """The right edge of a tree; :meth:`append` returns the tiles and bundles that became full."""

    def __init__(self, size: int, levels: list[bytes], entries: list[bytes]) -> None:
        self.size = size
        self._levels = levels
        self._entries = entries

    @classmethod
    def empty(cls) -> Edge:
        return cls(0, [], [])

    def copy(self) -> Edge:
        return Edge(self.size, list(self._levels), list(self._entries))

    def append(self, entries: list[bytes]) -> Iterator[tuple[Tile, bytes]]:
        """Add entries; yields what became full. Must be consumed whole."""
        at = 0
        while at < len(entries):
            taken = entries[at : at + WIDTH - len(self._entries)]
            at += len(taken)
            self.size += len(taken)
            self._entries += taken
            hashes = b"".join([sha256(b"\x00" + entry).digest() for entry in taken])
            if len(self._entries) == WIDTH:
                yield Tile(ENTRIES, self.size // WIDTH - 1), format_bundle(self._entries)
                self._entries = []
            yield from self._grow(0, hashes)

    def _grow(self, level: int, hashes: bytes) -> Iterator[tuple[Tile, bytes]]:
        """Add hashes, at most what fills the tile."""
        if level == len(self._levels):
            self._levels.append(b"")
        tile = self._levels[level] + hashes
        if len(tile) < FULL_TILE_SIZE:
            self._levels[level] = tile
            return
        self._levels[level] = b""
        yield Tile(level, (self.size >> 8 * (level + 1)) - 1), tile
        yield from self._grow(level + 1, merkle.root_of_hashes(tile))

    def partial(self) -> Iterator[tuple[Tile, bytes]]:
        """The partial tiles and the partial bundle at this size."""
        if self._entries:
            width = len(self._entries)
            yield Tile(ENTRIES, self.size // WIDTH, width), format_bundle(self._entries)
        for level, hashes in enumerate(self._levels):
            if hashes:
                index = self.size >> 8 * (level + 1)
                yield Tile(level, index, len(hashes) // HASH_SIZE), hashes

    def root(self) -> bytes:
        """The root at this size, folded from the lowest level up."""
        below = b""
        for hashes in self._levels:
            if hashes or below:
                below = merkle.root_of_hashes(hashes + below)
        return below or merkle.EMPTY_ROOT


class TileFolder:
    """The published folder ``log/``, read and written."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.read_tile = lru_cache(maxsize=1024)(self._read_tile)

    def _read_tile(self, tile: Tile) -> bytes:
        data = self.read(tile)
        if tile.level != ENTRIES and len(data) != tile.width * HASH_SIZE:
            raise _corrupt(tile, f"{len(data)} bytes instead of {tile.width * HASH_SIZE}")
        return data

    def read(self, tile: Tile) -> bytes:
        """The content of a tile or bundle; of a partial one, also out of the full one.

        Raises:
            Problem: ``JournalCorrupt`` when neither is there.
        """
        try:
            return (self.directory / str(tile)).read_bytes()
        except OSError as error:
            if tile.full:
                raise _corrupt(tile, f"cannot be read: {error.strerror}") from error
        try:
            whole = (self.directory / str(Tile(tile.level, tile.index))).read_bytes()
        except OSError as error:
            raise _corrupt(tile, f"cannot be read: {error.strerror}") from error
        if tile.level != ENTRIES:
            return whole[: tile.width * HASH_SIZE]
        return format_bundle(parse_bundle(whole, WIDTH, str(tile))[: tile.width])

    def expect(self, tile: Tile) -> None:
        """Have the disk read a tile or bundle that is wanted soon; does not wait for it."""
        with contextlib.suppress(OSError):
            descriptor = os.open(self.directory / str(tile), os.O_RDONLY | os.O_CLOEXEC)
            try:
                os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_WILLNEED)
            finally:
                os.close(descriptor)

    def subtrees(self, size: int) -> merkle.SubtreeReader:
        """Complete subtrees of the tree of ``size`` entries, for proofs."""
        return subtree_reader(size, self.read_tile)

    def entries(self, start: int, end: int, size: int) -> Iterator[tuple[int, bytes]]:
        """Entries ``[start, end)`` of the log of ``size`` entries, with their indexes."""
        for bundle in range(start // WIDTH, -(-end // WIDTH)):
            tile = tile_at(ENTRIES, bundle, size)
            found = parse_bundle(self.read(tile), tile.width, str(tile))
            for at in range(max(start - tile.first, 0), min(end - tile.first, tile.width)):
                yield tile.first + at, found[at]

    def edge(self, size: int) -> Edge:
        """The right edge at ``size``, read from partial tiles.

        Raises:
            Problem: ``JournalCorrupt`` when a tile is missing or of a wrong length.
        """
        levels: list[bytes] = []
        hashes = size
        while hashes:
            width = hashes % WIDTH
            tile = Tile(len(levels), hashes // WIDTH, width) if width else None
            levels.append(b"" if tile is None else self._read_tile(tile))
            hashes //= WIDTH
        width = size % WIDTH
        entries: list[bytes] = []
        if width:
            bundle = Tile(ENTRIES, size // WIDTH, width)
            entries = parse_bundle(self.read(bundle), width, str(bundle))
        return Edge(size, levels, entries)

    def partials(self, tile: Tile) -> list[Tile]:
        """The partial tiles or bundles that are there of a tile's index, of whatever size."""
        whole = self.directory / str(Tile(tile.level, tile.index))
        try:
            names = sorted(os.listdir(whole.with_name(f"{whole.name}.p")))
        except OSError:
            return []
        found: list[Tile] = []
        for name in names:
            with contextlib.suppress(Problem):  # another file: no proof rests on it
                found.append(Tile.parse(f"{Tile(tile.level, tile.index)}.p/{name}"))
        return found

    def write(self, files: Files, staging: Path, tiles: Iterable[tuple[Tile, bytes]]) -> None:
        """Put tiles in their places, durably.

        Raises:
            OSError: some may be in place then, others not; writing them again is harmless.
        """
        folders: set[Path] = set()
        for number, (tile, data) in enumerate(tiles):
            target = self.directory / str(tile)
            if target.parent not in folders:
                if not target.parent.exists():
                    folders |= _missing(target.parent, self.directory)
                    files.make_directory(target.parent)
                folders.add(target.parent)
            draft = staging / str(number)
            files.write_file(draft, data)
            files.rename(draft, target)
        for folder in sorted(folders):
            files.sync_directory(folder)

    def write_edge(self, files: Files, staging: Path, edge: Edge) -> None:
        """Put the partial tiles of an edge in place, and right what is left of other sizes.

        Raises:
            OSError: as :meth:`write`.
        """
        tiles: list[tuple[Tile, bytes]] = []
        for tile, data in edge.partial():
            tiles.append((tile, data))
            for other in self.partials(tile):
                if other.width > tile.width:  # of a size that no checkpoint names
                    files.remove(self.directory / str(other))
                elif other.width < tile.width and tile.level != ENTRIES:
                    tiles.append((other, data[: other.width * HASH_SIZE]))
                elif other.width < tile.width:
                    entries = parse_bundle(data, tile.width)[: other.width]
                    tiles.append((other, format_bundle(entries)))
        self.write(files, staging, tiles)

    def drop_partials(self, files: Files, old_size: int, size: int) -> None:
        """Remove the partial tiles of ``old_size`` whose full ones are there at ``size``."""
        for tile in [*tiles_of_edge(old_size)]:
            hashes = size if tile.level == ENTRIES else size >> 8 * tile.level
            if hashes >= tile.first + WIDTH:
                full = self.directory / str(Tile(tile.level, tile.index))
                folder = full.with_name(f"{full.name}.p")
                if folder.is_dir():
                    for path in folder.iterdir():
                        files.remove(path)
                    folder.rmdir()


def tiles_of_edge(size: int) -> Iterator[Tile]:
    """The partial tiles and the partial bundle of a tree of ``size`` entries."""
    if size % WIDTH:
        yield Tile(ENTRIES, size // WIDTH, size % WIDTH)
    level = 0
    while size:
        if size % WIDTH:
            yield Tile(level, size // WIDTH, size % WIDTH)
        size //= WIDTH
        level += 1


def _missing(folder: Path, top: Path) -> set[Path]:
    """The folders whose list of names changes when ``folder`` is made."""
    changed: set[Path] = set()
    while folder != top and not folder.exists():
        folder = folder.parent
        changed.add(folder)
    return changed


def _corrupt(tile: Tile, detail: str) -> Problem:
    return Problem(
        Code.JOURNAL_CORRUPT, where=f"log/{tile}", detail=detail, facts={"file": f"log/{tile}"}
    )
