"""Bundles and tiles, from the leaves up to the root that was signed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from exchange import merkle
from exchange.checkpoint import Checkpoint
from exchange.merkle import HASH_SIZE
from exchange.problems import Code, Problem
from exchange.tiles import ENTRIES, WIDTH, Tile, parse_bundle, tile_at
from mediator.journal import segments
from mediator.journal.publication import CHECKPOINT
from mediator.journal.tiles import TileFolder
from mediator.journal.verify.findings import Findings, Progress


class Tree:
    """Checks bundles and tiles from the leaves up; keeps one row of hashes at a time."""

    def __init__(self, log: Path, head: Checkpoint, directory: Path, findings: Findings) -> None:
        self._folder = TileFolder(log)
        self._head = head
        self._segments = directory / "segments"
        self._findings = findings

    def check(self, progress: Progress) -> Callable[[int], bytes | None]:
        """Check everything; returns a function that gives the leaf hash of an entry."""
        size = self._head.size
        row, suspects = self._check_leaves(progress)
        level, edges = 0, [row.edge]
        while row.full:
            level += 1
            row, suspects = self._check_level(level, row.full, suspects)
            edges.append(row.edge)
        root = b""
        for hashes in edges:
            if hashes or root:
                root = merkle.root_of_hashes(hashes + root)
        if (root or merkle.EMPTY_ROOT) != self._head.root and not self._findings.found:
            self._findings.add(
                Code.JOURNAL_FORKED,
                f"log/{CHECKPOINT}",
                None,
                f"the {size} entries do not give its root",
            )
        progress("tree", size, size)
        return self._leaf

    def _leaf(self, index: int) -> bytes | None:
        tile = tile_at(0, index // WIDTH, self._head.size)
        try:
            at = index % WIDTH * HASH_SIZE
            return self._folder.read_tile(tile)[at : at + HASH_SIZE]
        except Problem:
            return None

    def _read(self, tile: Tile) -> bytes | None:
        try:
            return self._folder.read_tile(tile)
        except Problem as problem:
            self._findings.of(problem, f"log/{tile}")
            return None

    def _check_leaves(self, progress: Progress) -> tuple[_Row, set[int]]:
        size = self._head.size
        above: list[bytes] = []
        suspects: set[int] = set()
        edge = b""
        for index in range(-(-size // WIDTH)):
            if index % 64 == 0:
                progress("tree", index * WIDTH, size)
            tile, bundle = tile_at(0, index, size), tile_at(ENTRIES, index, size)
            stored = self._read(tile)
            computed = self._leaf_hashes(bundle)
            good = stored if stored is not None else computed
            if stored is None or computed is None:
                suspects.add(index)
            elif stored != computed:
                suspects.add(index)
                good = self._judge_leaves(tile, bundle, stored, computed)
            hashes = good or bytes(tile.width * HASH_SIZE)
            if good is not None:
                self._check_earlier(tile, hashes)
                self._check_earlier(bundle, hashes)
            if tile.full:
                above.append(merkle.root_of_hashes(hashes))
            else:
                edge = hashes
        return _Row(b"".join(above), edge), suspects

    def _leaf_hashes(self, bundle: Tile) -> bytes | None:
        try:
            entries = parse_bundle(self._folder.read(bundle), bundle.width, f"log/{bundle}")
        except Problem as problem:
            whole = problem.facts.get("whole")
            index = self._first_bad(bundle) if isinstance(whole, int) else None
            self._findings.of(problem, f"log/{bundle}", index)
            return None
        return b"".join([sha256(b"\x00" + entry).digest() for entry in entries])

    def _first_bad(self, bundle: Tile) -> int | None:
        """The first entry of a bundle that does not fit its leaf, when the bundle is broken."""
        data = self._folder.read(bundle)
        at = 0
        for index in range(bundle.first, bundle.first + bundle.width):
            length = int.from_bytes(data[at : at + 2], "big")
            entry = data[at + 2 : at + 2 + length]
            if len(entry) != length or merkle.leaf_hash(entry) != self._leaf(index):
                return index
            at += 2 + length
        return None

    def _judge_leaves(self, tile: Tile, bundle: Tile, stored: bytes, computed: bytes) -> bytes:
        """Say which of a tile and its bundle is wrong, entry by entry; returns the right hashes."""
        tile_is_wrong = self._tile_is_wrong(tile, stored, computed)
        for at in range(tile.width):
            place = slice(at * HASH_SIZE, (at + 1) * HASH_SIZE)
            if stored[place] == computed[place]:
                continue
            index = tile.first + at
            wrong = tile_is_wrong
            if wrong is None:
                record = segments.find_record(self._segments, index)
                leaf = None if record is None else merkle.leaf_hash(record.entry)
                wrong = leaf == computed[place]
            self._findings.add(
                Code.JOURNAL_CORRUPT,
                f"log/{tile if wrong else bundle}",
                index,
                "the leaf hash in the tile is not that of the entry"
                if wrong
                else "the entry is not the one that the tree holds",
            )
        return computed if tile_is_wrong else stored

    def _tile_is_wrong(self, tile: Tile, stored: bytes, computed: bytes) -> bool | None:
        """Whether the level above contradicts the tile (True) or the bundle; None: it cannot."""
        if not tile.full:
            return None
        try:
            parent = tile_at(1, tile.index // WIDTH, self._head.size)
            hashes = self._folder.read_tile(parent)
        except Problem:
            return None
        at = tile.index % WIDTH * HASH_SIZE
        expected = hashes[at : at + HASH_SIZE]
        if merkle.root_of_hashes(stored) == expected:
            return False
        if merkle.root_of_hashes(computed) == expected:
            return True
        return None

    def _check_level(
        self, level: int, computed: bytes, suspects: set[int]
    ) -> tuple[_Row, set[int]]:
        """Check the tiles of a level against the roots of the full tiles below."""
        size = self._head.size
        above: list[bytes] = []
        suspects_above: set[int] = set()
        edge = b""
        for index in range(-(-len(computed) // (WIDTH * HASH_SIZE))):
            tile = tile_at(level, index, size)
            start = tile.first * HASH_SIZE
            expected = computed[start : start + tile.width * HASH_SIZE]
            stored = self._read(tile)
            if stored is not None and stored != expected:
                for at in range(tile.width):
                    place = slice(at * HASH_SIZE, (at + 1) * HASH_SIZE)
                    below = tile.first + at
                    if stored[place] != expected[place] and below not in suspects:
                        first = below << 8 * level
                        self._findings.add(
                            Code.JOURNAL_CORRUPT,
                            f"log/{tile}",
                            first,
                            f"the hash over the {1 << 8 * level} entries from {first} is wrong",
                        )
            self._check_earlier(tile, expected)
            if tile.full:
                above.append(merkle.root_of_hashes(expected))
            else:
                edge = expected
        return _Row(b"".join(above), edge), suspects_above

    def _check_earlier(self, tile: Tile, hashes: bytes) -> None:
        """Check what is left of this tile or bundle of other sizes against the right hashes.

        A wider one is of a size that no checkpoint names (a crash): what both hold is compared.
        """
        for earlier in self._folder.partials(tile):
            if earlier == tile:
                continue
            found = self._read(earlier) if tile.level != ENTRIES else self._leaf_hashes(earlier)
            if found is None:
                continue
            for at in range(0, min(len(found), len(hashes)), HASH_SIZE):
                if found[at : at + HASH_SIZE] != hashes[at : at + HASH_SIZE]:
                    number = tile.first + at // HASH_SIZE
                    self._findings.add(
                        Code.JOURNAL_CORRUPT,
                        f"log/{earlier}",
                        number << 8 * max(tile.level, 0),
                        "is not what the tree holds",
                    )
                    break


@dataclass(frozen=True, slots=True)
class _Row:
    """What a level gives the one above: roots of its full tiles; and its partial tile."""

    full: bytes
    edge: bytes
