"""Tiles and entries of the registry's log, fetched; what they say is checked by whoever asked."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from tuf.api.exceptions import DownloadHTTPError

from exchange.log.merkle import HASH_SIZE, SubtreeReader
from exchange.log.tiles import (
    ENTRIES,
    FULL_TILE_SIZE,
    MAX_ENTRY_SIZE,
    WIDTH,
    Tile,
    parse_bundle,
    subtree_reader,
    tile_at,
)
from exchange.problems import Problem
from exchange.registry.log import FOLDER
from mediator.registry_copy.borders import untrusted
from mediator.registry_copy.fetcher import RegistryFetcher

MAX_ENTRY_BYTES: Final = 4096
"""Longer entries are none of the registry's (the format allows them)."""
MAX_BUNDLE_BYTES: Final = WIDTH * (2 + min(MAX_ENTRY_BYTES, MAX_ENTRY_SIZE))


class LogTiles:
    """The tiles of the log at ``url`` as it is at ``size``."""

    def __init__(self, fetcher: RegistryFetcher, url: str, size: int) -> None:
        self._fetcher = fetcher
        self._url = f"{url}/{FOLDER}"
        self._size = size
        self._tiles: dict[Tile, bytes] = {}

    def subtrees(self) -> SubtreeReader:
        """Complete subtrees of the tree."""
        return subtree_reader(self._size, self._tile)

    def entries(self, start: int, end: int) -> Iterator[tuple[int, list[bytes]]]:
        """Entries ``[start, end)``, bundle by bundle, each with the index of its first.

        Raises:
            Problem: ``UntrustedMetadata`` when a bundle is malformed.
            DownloadError: of python-tuf.
        """
        for number in range(start // WIDTH, -(-end // WIDTH)):
            tile = tile_at(ENTRIES, number, self._size)
            entries = self._bundle(tile)
            first = max(start - tile.first, 0)
            yield tile.first + first, entries[first : min(end - tile.first, tile.width)]

    def _bundle(self, tile: Tile) -> list[bytes]:
        data, width = self._fetched(tile, MAX_BUNDLE_BYTES)
        try:
            return parse_bundle(data, width, str(tile))[: tile.width]
        except Problem as problem:
            raise untrusted(f"{FOLDER}/{tile}", problem.detail) from problem

    def _tile(self, tile: Tile) -> bytes:
        if tile not in self._tiles:
            data, width = self._fetched(tile, FULL_TILE_SIZE)
            if len(data) != width * HASH_SIZE:
                raise untrusted(f"{FOLDER}/{tile}", f"has {len(data)} bytes")
            self._tiles[tile] = data[: tile.width * HASH_SIZE]
        return self._tiles[tile]

    def _fetched(self, tile: Tile, most: int) -> tuple[bytes, int]:
        """A tile, or the full one in the place of a partial one that is gone; and its width."""
        try:
            return self._fetcher.get(f"{self._url}/{tile}", most), tile.width
        except DownloadHTTPError as error:
            if error.status_code != 404 or tile.full:
                raise
        full = Tile(tile.level, tile.index)
        return self._fetcher.get(f"{self._url}/{full}", most), WIDTH
