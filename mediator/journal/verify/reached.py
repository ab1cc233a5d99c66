"""How far a verification came: what a later one builds on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from exchange.log import merkle
from mediator.journal.segments import Position
from mediator.journal.verify.signatures import Signed


@dataclass(frozen=True, slots=True)
class Edge:
    """The right edge of a tree: the hashes in its partial tiles, from the leaves up."""

    size: int = 0
    levels: Sequence[bytes] = ()

    def root(self) -> bytes:
        """The root that the edge gives."""
        root = b""
        for hashes in self.levels:
            if hashes or root:
                root = merkle.root_of_hashes(hashes + root)
        return root or merkle.EMPTY_ROOT

    def at(self, level: int) -> bytes:
        return self.levels[level] if level < len(self.levels) else b""


@dataclass(frozen=True, slots=True)
class Begun:
    """What a run had read, and found good, when it was interrupted."""

    note: bytes
    """The signed checkpoint that it verified."""
    leaves: bytes
    """The roots of the full tiles of leaves behind the edge."""
    records: Position
    signed: Signed | None = None
    """As of :class:`Verified`, up to ``records``."""


@dataclass(frozen=True, slots=True)
class Verified:
    """How far one log was verified."""

    note: bytes
    """The signed checkpoint; empty: no run has come to its end yet."""
    edge: Edge
    records: Position = field(default_factory=lambda: Position(0, 0, 0))
    """Behind the last published record whose sealed part was checked."""
    begun: Begun | None = None
    """Of a later run that did not come to its end."""
    signed: Signed | None = None
    """What came of the signatures of all records up to ``records``; None: they, or some of them,
    were not looked at."""


Keep: TypeAlias = Callable[[Verified], None]
"""Is told now and then how far a run has come without a finding."""
