"""A key that can forget: from one seed a key for each of 2⁴⁸ leaves, and no way back to a
leaf that was punctured (Goldreich, Goldwasser, Micali 1986; puncturing after Boneh and Waters
2013, Green and Miers 2015).

The seeds are the nodes of a binary tree. Both children of a node are the halves of one hash,
``SHA-512("saphan node v1 " || node)``, left first; the node at depth 48 on the way that a leaf's
number spells, highest bit first, is the leaf's key. Who has a node derives all below it, and
nothing else.

A :class:`Cover` is the set of nodes that is kept. Puncturing a leaf replaces the node above it by
the siblings on its way: at most 48, most of which later punctures share.

Invariants:
- the nodes of a cover are disjoint and in the order of their leaves; a cover has one spelling for
  what happened to it;
- nothing in a cover derives the key of a leaf that was punctured: not even whoever made it knows
  more, once earlier covers are destroyed.

Pure. Each derivation is at most 48 hashes; sequential leaves share nearly all of them
(:meth:`Cover.stretch`).
"""

from __future__ import annotations

import struct
from bisect import bisect_right
from collections.abc import Iterable
from hashlib import sha512
from typing import Final, NamedTuple

from exchange.problems import Code, Problem

DEPTH: Final = 48
LEAVES: Final = 1 << DEPTH
SEED_SIZE: Final = 32
MAX_NODES: Final = 1 << 20
_TAG: Final = b"saphan node v1 "
_NODE = struct.Struct(">BQ32s")


class Node(NamedTuple):
    """A seed, and which leaves it derives: ``2 ** (48 - depth)`` of them from ``first`` on."""

    depth: int
    first: int
    seed: bytes

    @property
    def end(self) -> int:
        """The leaf behind its last."""
        return self.first + (1 << DEPTH - self.depth)


def _children(seed: bytes) -> tuple[bytes, bytes]:
    both = sha512(_TAG + seed).digest()
    return both[:SEED_SIZE], both[SEED_SIZE:]


def _descend(node: Node, leaf: int, depth: int) -> bytes:
    """The seed of the node at ``depth`` above a leaf of ``node``."""
    seed = node.seed
    for level in range(DEPTH - node.depth - 1, DEPTH - depth - 1, -1):
        both = sha512(_TAG + seed).digest()
        seed = both[SEED_SIZE:] if leaf >> level & 1 else both[:SEED_SIZE]
    return seed


class Cover:
    """The nodes that are kept; immutable."""

    __slots__ = ("_firsts", "nodes")

    def __init__(self, nodes: Iterable[Node]) -> None:
        self.nodes = tuple(nodes)
        self._firsts = [node.first for node in self.nodes]

    @classmethod
    def whole(cls, seed: bytes) -> Cover:
        """All leaves, from 32 random bytes."""
        return cls((Node(0, 0, seed),))

    def _above(self, leaf: int) -> Node | None:
        at = bisect_right(self._firsts, leaf) - 1
        if at < 0 or leaf >= self.nodes[at].end:
            return None
        return self.nodes[at]

    def derive(self, leaf: int) -> bytes | None:
        """The key of a leaf; None when it was punctured, or is no leaf."""
        node = self._above(leaf) if leaf < LEAVES else None
        return None if node is None else _descend(node, leaf, DEPTH)

    def stretch(self, first: int, height: int) -> list[bytes | None]:
        """The keys of ``2 ** height`` leaves from ``first`` on, a multiple of their number.

        About one hash and a half each, where nothing among them was punctured.
        """
        node = self._above(first)
        depth = DEPTH - height
        if node is None or node.depth > depth:
            return [self.derive(leaf) for leaf in range(first, first + (1 << height))]
        row = [_descend(node, first, depth)]
        for _ in range(height):
            both = [sha512(_TAG + seed).digest() for seed in row]
            row = [half for pair in both for half in (pair[:SEED_SIZE], pair[SEED_SIZE:])]
        return list(row)

    def puncture(self, leaves: Iterable[int]) -> Cover:
        """The cover without these leaves; those that are gone already do not matter."""
        wanted = sorted(set(leaves))
        kept: list[Node] = []
        at = 0
        for node in self.nodes:
            while at < len(wanted) and wanted[at] < node.first:
                at += 1
            begin = at
            while at < len(wanted) and wanted[at] < node.end:
                at += 1
            _spare(node, wanted[begin:at], kept)
        return Cover(kept)

    def since(self, first: int) -> Cover:
        """The cover of the leaves from one on."""
        kept: list[Node] = []
        for node in self.nodes:
            while node.first < first < node.end:  # split: the right half is wholly behind it
                left, right = _children(node.seed)
                depth, middle = node.depth + 1, node.first + (1 << DEPTH - node.depth - 1)
                lower, upper = Node(depth, node.first, left), Node(depth, middle, right)
                node = upper if first >= middle else lower
                if node is lower:
                    kept.append(upper)
            if node.first >= first:
                kept.append(node)
        return Cover(sorted(kept, key=lambda node: node.first))

    def __bytes__(self) -> bytes:
        return b"".join(_NODE.pack(*node) for node in self.nodes)

    @classmethod
    def parse(cls, data: bytes, where: str = "cover") -> Cover:
        """Read what ``bytes`` wrote.

        Raises:
            Problem: ``InvalidDocument`` when it is not whole, a node is not of the tree, or nodes
                overlap or are out of order.
        """
        if len(data) % _NODE.size or len(data) > MAX_NODES * _NODE.size:
            raise Problem(Code.INVALID_DOCUMENT, where=where, detail="not a list of nodes")
        nodes, end = [], 0
        for fields in _NODE.iter_unpack(data):
            node = Node(*fields)
            if node.depth > DEPTH or node.first & (1 << DEPTH - node.depth) - 1:
                raise Problem(Code.INVALID_DOCUMENT, where=where, detail="a node of no tree")
            if node.first < end or node.end > LEAVES:
                raise Problem(Code.INVALID_DOCUMENT, where=where, detail="nodes out of order")
            end = node.end
            nodes.append(node)
        return cls(nodes)


def _spare(node: Node, wanted: list[int], kept: list[Node]) -> None:
    """Append what is left of a node without the wanted leaves, in order."""
    if not wanted:
        kept.append(node)
        return
    if node.depth == DEPTH:
        return
    left, right = _children(node.seed)
    depth, middle = node.depth + 1, node.first + (1 << DEPTH - node.depth - 1)
    split = bisect_right(wanted, middle - 1)
    _spare(Node(depth, node.first, left), wanted[:split], kept)
    _spare(Node(depth, middle, right), wanted[split:], kept)
