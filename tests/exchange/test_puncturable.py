"""exchange/journal/puncturable.py: keys that can be forgotten, against a naive model of the
tree."""

from __future__ import annotations

from hashlib import sha512

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exchange.journal.puncturable import DEPTH, LEAVES, Cover, Node
from exchange.problems import Code, Problem

SEED = bytes(range(32))
LEAF = st.one_of(
    st.integers(0, 20),  # neighbours, whose ways are shared
    st.integers(LEAVES - 20, LEAVES - 1),
    st.integers(0, LEAVES - 1),
)


def naive(leaf: int) -> bytes:
    """A leaf's key as the docstring says it, bit by bit."""
    seed = SEED
    for bit in f"{leaf:048b}":
        both = sha512(b"saphan node v1 " + seed).digest()
        seed = both[:32] if bit == "0" else both[32:]
    return seed


def test_the_bytes_of_a_leaf_key() -> None:
    """A key of a fixed seed, so that another implementation can be held against it."""
    key = Cover.whole(SEED).derive(0x0000_0100_0002)
    assert key == naive(0x0000_0100_0002)
    assert key is not None
    assert key.hex() == "93a39899f06539af37ce9b43ada938dffcb481036bc565c019f983fc4180d0d3"


@settings(max_examples=30, deadline=None)
@given(st.lists(st.lists(LEAF, max_size=5), max_size=3), st.lists(LEAF, max_size=3))
def test_a_cover_is_all_leaves_but_those_punctured(
    rounds: list[list[int]], asked: list[int]
) -> None:
    """After any punctures in any order: a punctured leaf gives None, any other its first key."""
    cover, gone = Cover.whole(SEED), set[int]()
    for leaves in rounds:
        cover = cover.puncture(leaves)
        gone |= set(leaves)
        near = {leaf + step for leaf in leaves for step in (-1, 1)}
        for leaf in {*asked, *gone, *near} - {-1, LEAVES}:
            assert cover.derive(leaf) == (None if leaf in gone else naive(leaf))
    assert len(cover.nodes) <= 1 + DEPTH * len(gone)
    assert Cover.parse(bytes(cover)).nodes == cover.nodes


@settings(max_examples=40, deadline=None)
@given(st.lists(LEAF, max_size=6))
def test_no_node_that_is_kept_is_above_a_punctured_leaf(leaves: list[int]) -> None:
    """What is left cannot derive it: its way meets no node of the cover; all else is covered."""
    cover = Cover.whole(SEED).puncture(leaves)
    for leaf in leaves:
        assert not any(node.first <= leaf < node.end for node in cover.nodes)
    assert sum(node.end - node.first for node in cover.nodes) == LEAVES - len(set(leaves))


@settings(max_examples=40, deadline=None)
@given(st.lists(LEAF, max_size=4), st.integers(0, 6), LEAF)
def test_a_stretch_is_its_leaves_one_by_one(leaves: list[int], height: int, leaf: int) -> None:
    """Deriving many at once gives what deriving each gives, punctured ones included."""
    cover = Cover.whole(SEED).puncture(leaves)
    first = leaf >> height << height
    assert cover.stretch(first, height) == [
        cover.derive(one) for one in range(first, first + (1 << height))
    ]


@settings(max_examples=40, deadline=None)
@given(st.lists(LEAF, max_size=4), LEAF, st.lists(LEAF, max_size=4))
def test_all_leaves_before_one_can_be_punctured(
    leaves: list[int], first: int, asked: list[int]
) -> None:
    """What is before is gone, what was punctured stays so, and the rest gives its key."""
    cover = Cover.whole(SEED).puncture(leaves).since(first)
    for leaf in {*asked, *leaves, first, max(first - 1, 0), 0, LEAVES - 1}:
        gone = leaf < first or leaf in leaves
        assert cover.derive(leaf) == (None if gone else naive(leaf))
    assert Cover.parse(bytes(cover)).nodes == cover.nodes


def test_a_number_that_is_no_leaf_has_no_key() -> None:
    """Beyond the last leaf there is nothing, and a negative number is none."""
    cover = Cover.whole(SEED)
    assert cover.derive(LEAVES) is None
    assert cover.derive(-1) is None


NODE = Node(1, LEAVES // 2, SEED)


@pytest.mark.parametrize(
    "data",
    [
        bytes(Cover([NODE]))[:-1],
        bytes(Cover([Node(49, 0, SEED)])),
        bytes(Cover([Node(1, 1, SEED)])),
        bytes(Cover([Node(1, LEAVES, SEED)])),
        bytes(Cover([NODE, NODE])),
        bytes(Cover([NODE, Node(1, 0, SEED)])),
        bytes(Cover([Node(0, 0, SEED), NODE])),
    ],
    ids=["torn", "too deep", "between", "behind", "twice", "order", "overlap"],
)
def test_what_is_no_cover_is_refused(data: bytes) -> None:
    """Torn lists, nodes of no tree, and nodes that overlap or are out of order."""
    with pytest.raises(Problem) as caught:
        Cover.parse(data)
    assert caught.value.code is Code.INVALID_DOCUMENT
