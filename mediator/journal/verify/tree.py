"""Bundles and tiles, from the leaves up to the root that was signed.

The leaves are checked in units of many tiles, which may run in several processes; what they give
the levels above is one hash for 256 entries. A run may begin behind what an earlier one verified:
of that it needs only the right edge, the hashes in the partial tiles of the size of then.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

from exchange.log import merkle
from exchange.log.checkpoint import Checkpoint
from exchange.log.merkle import HASH_SIZE
from exchange.log.tiles import ENTRIES, FULL_TILE_SIZE, WIDTH, Tile, parse_bundle, tile_at
from exchange.problems import Code, Problem
from mediator.journal import segments
from mediator.journal.publication import CHECKPOINT
from mediator.journal.verify.commitments import Commitment, commitments_in
from mediator.journal.verify.entries import read_entry
from mediator.journal.verify.findings import Finding, Findings, Progress, TooManyError
from mediator.journal.verify.reached import Edge
from mediator.journal.verify.workers import Workers
from serving.log.tiles import TileFolder

UNIT_TILES = WIDTH
"""Tiles of leaves in a unit of work: 65,536 entries."""
_AHEAD = 2  # so many bundles are read from the disk before they are looked at


@dataclass(frozen=True, slots=True)
class Log:
    """A published log, as the units of work need it."""

    folder: Path
    segments: Path
    """Asked when tile and bundle contradict each other; need not be there."""
    size: int
    entries_from: int = 0
    """Bundles of entries before this one may have been removed."""
    forms: bool = False
    """Its entries are those of a server's journal, and must have their form."""
    records: range = range(0)
    """Entries whose records are read, too: their form is judged there."""


@dataclass(slots=True)
class _Row:
    """What some tiles give the level above: roots of the full ones; and the partial tile."""

    full: bytes = b""
    edge: bytes = b""
    suspects: set[int] = field(default_factory=set)
    """Numbers of tiles that were found wrong: what is above them is not judged by them."""
    commitments: list[Commitment] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)


def check_tree(
    log: Log,
    head: Checkpoint,
    start: Edge,
    known: bytes,
    findings: Findings,
    workers: Workers,
    progress: Progress,
    read: Callable[[list[Commitment], bytes], None],
) -> Edge:
    """Check all that is behind ``start``; return the edge of the tree at ``head``.

    Args:
        known: roots of the first full tiles of leaves behind ``start``, which were read before.
        read: is given what the entries of some tiles say of other files, and the roots of all full
            tiles of leaves behind ``start`` so far.
    """
    size = log.size
    row = _check_all_leaves(log, start.size // WIDTH, known, findings, workers, progress, read)
    levels = [row.edge]
    tiles = _Tiles(log, findings)
    level = 0
    while size >> 8 * (level + 1):
        level += 1
        row = tiles.check_level(
            level, start.size >> 8 * (level + 1), start.at(level) + row.full, row.suspects
        )
        levels.append(row.edge)
    edge = Edge(size, levels)
    if edge.root() != head.root and not findings.found:
        findings.add(
            Code.JOURNAL_FORKED,
            f"log/{CHECKPOINT}",
            None,
            f"the {size} entries do not give its root",
        )
    progress("tree", size, size)
    return edge


def _check_all_leaves(
    log: Log,
    start: int,
    known: bytes,
    findings: Findings,
    workers: Workers,
    progress: Progress,
    read: Callable[[list[Commitment], bytes], None],
) -> _Row:
    """Check the leaves from tile ``start`` on, but for those with ``known`` roots."""
    first, end = start + len(known) // HASH_SIZE, -(-log.size // WIDTH)
    units = [(log, at, min(at + UNIT_TILES, end)) for at in range(first, end, UNIT_TILES)]
    whole, full = _Row(), bytearray(known)
    progress("tree", first * WIDTH, log.size)
    for (_, _, done), row in zip(units, workers.run(_check_leaves, units), strict=True):
        findings.extend(row.findings)
        whole.suspects |= row.suspects
        whole.edge = row.edge
        full += row.full
        read(row.commitments, bytes(full))
        progress("tree", min(done * WIDTH, log.size), log.size)
    whole.full = bytes(full)
    return whole


def _check_leaves(unit: tuple[Log, int, int]) -> _Row:
    """Check some tiles of leaves and their bundles: a unit of work."""
    log, first, end = unit
    findings = Findings()
    row = _Row(findings=findings.found)
    with contextlib.suppress(TooManyError):
        _Tiles(log, findings).check_leaves(first, end, row)
    return row


def _hashes(entries: list[bytes] | None) -> bytes | None:
    if entries is None:
        return None
    return b"".join([sha256(b"\x00" + entry).digest() for entry in entries])


class _Tiles:
    """Checks tiles one after the other; keeps nothing but their roots."""

    def __init__(self, log: Log, findings: Findings) -> None:
        self._log = log
        self._folder = TileFolder(log.folder)
        self._findings = findings

    def check_leaves(self, first: int, end: int, row: _Row) -> None:
        above: list[bytes] = []
        for index in range(first, end):
            tile, bundle = (tile_at(level, index, self._log.size) for level in (0, ENTRIES))
            self._folder.expect(Tile(ENTRIES, index + _AHEAD))
            stored = self._read(tile)
            removed = self._was_removed(bundle)
            entries = None if removed else self._entries(bundle, row.commitments)
            computed = stored if removed else _hashes(entries)
            good = stored if stored is not None else computed
            if stored is None or computed is None:
                row.suspects.add(index)
            elif stored != computed:
                row.suspects.add(index)
                good = self._judge_leaves(tile, bundle, stored, computed)
            elif entries is not None:
                self._check_forms(bundle, entries)
            hashes = good or bytes(tile.width * HASH_SIZE)
            if good is not None:
                self._check_earlier(tile, hashes)
                self._check_earlier(bundle, hashes)
            if tile.full:
                above.append(merkle.root_of_hashes(hashes))
            else:
                row.edge = hashes
        row.full = b"".join(above)

    def _read(self, tile: Tile) -> bytes | None:
        try:
            return self._folder.read_tile(tile)
        except Problem as problem:
            self._findings.of(problem, f"log/{tile}")
            return None

    def _was_removed(self, bundle: Tile) -> bool:
        if bundle.first >= self._log.entries_from:
            return False
        return not (self._log.folder / str(bundle)).exists()

    def _leaf(self, index: int) -> bytes | None:
        tile = tile_at(0, index // WIDTH, self._log.size)
        try:
            at = index % WIDTH * HASH_SIZE
            return self._folder.read_tile(tile)[at : at + HASH_SIZE]
        except Problem:
            return None

    def _check_forms(self, bundle: Tile, entries: list[bytes]) -> None:
        """Check that what the tree holds are entries as servers write them."""
        records, last = self._log.records, bundle.first + bundle.width - 1
        if not self._log.forms or (bundle.first in records and last in records):
            return
        for index, entry in enumerate(entries, bundle.first):
            if index in records:
                continue
            try:
                read_entry(entry)
            except Problem as problem:
                self._findings.of(problem, f"log/{bundle}", index)

    def _entries(
        self, bundle: Tile, commitments: list[Commitment] | None = None
    ) -> list[bytes] | None:
        try:
            data = self._folder.read(bundle)
            entries = parse_bundle(data, bundle.width, f"log/{bundle}")
        except Problem as problem:
            whole = problem.facts.get("whole")
            index = self._first_bad(bundle) if isinstance(whole, int) else None
            self._findings.of(problem, f"log/{bundle}", index)
            return None
        if commitments is not None:
            commitments += commitments_in(data, bundle.first, entries)
        return entries

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
                record = segments.find_record(self._log.segments, index)
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
            parent = tile_at(1, tile.index // WIDTH, self._log.size)
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

    def check_level(self, level: int, first: int, computed: bytes, suspects: set[int]) -> _Row:
        """Check the tiles of a level from number ``first`` on.

        Args:
            level: 1 or more.
            first: the number of the first tile.
            computed: what its hashes and those of all behind it must be.
            suspects: numbers of the tiles below that were found wrong themselves.
        """
        above: list[bytes] = []
        row = _Row()
        for at in range(0, len(computed), FULL_TILE_SIZE):
            tile = tile_at(level, first + at // FULL_TILE_SIZE, self._log.size)
            expected = computed[at : at + FULL_TILE_SIZE]
            stored = self._read(tile)
            if stored is not None and stored != expected:
                self._judge_level(tile, stored, expected, suspects)
            self._check_earlier(tile, expected)
            if tile.full:
                above.append(merkle.root_of_hashes(expected))
            else:
                row.edge = expected
        row.full = b"".join(above)
        return row

    def _judge_level(self, tile: Tile, stored: bytes, expected: bytes, suspects: set[int]) -> None:
        for at in range(tile.width):
            place = slice(at * HASH_SIZE, (at + 1) * HASH_SIZE)
            below = tile.first + at
            if stored[place] != expected[place] and below not in suspects:
                first = below << 8 * tile.level
                self._findings.add(
                    Code.JOURNAL_CORRUPT,
                    f"log/{tile}",
                    first,
                    f"the hash over the {1 << 8 * tile.level} entries from {first} is wrong",
                )

    def _check_earlier(self, tile: Tile, hashes: bytes) -> None:
        """Check what is left of this tile or bundle of other sizes against the right hashes.

        A wider one is of a size that no checkpoint names (a crash): what both hold is compared.
        """
        for earlier in self._folder.partials(tile):
            if earlier == tile:
                continue
            found = (
                self._read(earlier) if tile.level != ENTRIES else _hashes(self._entries(earlier))
            )
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
