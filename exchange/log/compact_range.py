"""The compact range of a log: as many hashes as the binary size has ones, and it can grow.

Who keeps the range of a tree that was checked and is handed the entries since can compute the new
root alone: when it is the signed one, the log has grown from what was checked by exactly these
entries, and no consistency proof (RFC 9162 section 2.1.4) is needed.

Invariants:
- the hashes are those of the complete subtrees that make up the tree, the largest first;
- ``CompactRange.read(size, subtrees).root() == merkle.root(size, subtrees)``.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from exchange.log.merkle import EMPTY_ROOT, HASH_SIZE, MAX_SIZE, SubtreeReader, node_hash
from exchange.problems import Code, Problem


@dataclass(frozen=True, slots=True)
class CompactRange:
    """The complete subtrees of the first ``size`` leaves.

    Raises:
        Problem: ``InvalidProof`` when there are more or fewer hashes than the size has ones.
    """

    size: int = 0
    hashes: tuple[bytes, ...] = ()

    def __post_init__(self) -> None:
        if not 0 <= self.size <= MAX_SIZE or len(self.hashes) != self.size.bit_count():
            raise Problem(
                Code.INVALID_PROOF,
                where=f"size {self.size}",
                detail=f"{len(self.hashes)} hashes are no range of so many entries",
            )
        if any(len(subtree) != HASH_SIZE for subtree in self.hashes):
            raise Problem(Code.INVALID_PROOF, where="range", detail="a hash is not 32 bytes")

    @classmethod
    def read(cls, size: int, subtrees: SubtreeReader) -> CompactRange:
        """The range of a tree whose complete subtrees can be read."""
        hashes: list[bytes] = []
        start = 0
        for level in reversed(range(size.bit_length())):
            if size >> level & 1:
                hashes.append(subtrees(level, start >> level))
                start += 1 << level
        return cls(size, tuple(hashes))

    def grown(self, leaves: Iterable[bytes]) -> CompactRange:
        """The range with the hashes of further leaves."""
        size, hashes = self.size, list(self.hashes)
        for leaf in leaves:
            whole = leaf
            for level in range(size.bit_length()):
                if not size >> level & 1:
                    break
                whole = node_hash(hashes.pop(), whole)
            hashes.append(whole)
            size += 1
        return CompactRange(size, tuple(hashes))

    def root(self) -> bytes:
        """The root of the tree."""
        if not self.hashes:
            return EMPTY_ROOT
        result = self.hashes[-1]
        for left in reversed(self.hashes[:-1]):
            result = node_hash(left, result)
        return result
