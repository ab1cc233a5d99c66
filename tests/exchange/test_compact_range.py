"""Compact ranges against the tree that they stand for."""

from __future__ import annotations

from functools import cache

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exchange.log import merkle
from exchange.log.compact_range import CompactRange
from exchange.problems import Code, Problem

LEAVES = [merkle.leaf_hash(str(number).encode()) for number in range(600)]


@cache
def subtree(level: int, index: int) -> bytes:
    """The slow, obvious reference."""
    return merkle.root_of_hashes(b"".join(LEAVES[index << level : (index + 1) << level]))


@given(st.integers(0, 600), st.integers(0, 600))
def test_a_range_that_grew_has_the_root_of_the_larger_tree(first: int, second: int) -> None:
    """Read at one size and grown to another, a range is the one that is read at the other."""
    old, new = sorted((first, second))
    grown = CompactRange.read(old, subtree).grown(LEAVES[old:new])
    assert grown == CompactRange.read(new, subtree)
    assert grown.root() == merkle.root(new, subtree)


@pytest.mark.parametrize(("size", "hashes"), [(1, 0), (3, 1), (4, 2), (0, 1), (-1, 1), (2**63, 1)])
def test_a_range_has_a_hash_for_each_one_of_its_size(size: int, hashes: int) -> None:
    """Anything else is refused when it is made."""
    with pytest.raises(Problem) as caught:
        CompactRange(size, (bytes(32),) * hashes)
    assert caught.value.code is Code.INVALID_PROOF


def test_another_entry_gives_another_root() -> None:
    """No entry can be left out, changed or put elsewhere."""
    root = CompactRange().grown(LEAVES[:5]).root()
    assert CompactRange().grown(LEAVES[:4]).root() != root
    assert CompactRange().grown([*LEAVES[:3], LEAVES[4], LEAVES[3]]).root() != root
