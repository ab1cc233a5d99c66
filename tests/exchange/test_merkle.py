"""The tree against the vectors of Certificate Transparency and a slow, obvious reference.

The eight leaves, their node hashes, roots and proofs are those that certificate-transparency and
its successors test with: transparency-dev/merkle ``testonly/constants.go`` and
``testonly/reference_test.go``.
"""

from __future__ import annotations

import random
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exchange.log import merkle
from exchange.problems import Code, Problem

LEAVES = [
    bytes.fromhex(leaf)
    for leaf in (
        "", "00", "10", "2021", "3031", "40414243", "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    )
]  # fmt: skip
ROOTS = [
    bytes.fromhex(root)
    for root in (
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
        "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
        "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
        "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
        "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
    )
]
INCLUSION = [
    (0, 1, []),
    (0, 2, ["96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7"]),
    (1, 2, ["6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"]),
    (2, 3, ["fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"]),
    (
        1,
        5,
        [
            "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
            "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
            "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
        ],
    ),
    (
        0,
        8,
        [
            "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
            "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
            "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
        ],
    ),
    (
        5,
        8,
        [
            "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
            "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
            "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        ],
    ),
]
CONSISTENCY = [
    (1, 1, []),
    (
        1,
        8,
        [
            "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
            "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
            "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
        ],
    ),
    (
        2,
        5,
        [
            "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
            "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
        ],
    ),
    (
        6,
        8,
        [
            "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
            "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
            "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        ],
    ),
]
LARGEST = 70


# The slow, obvious reference: RFC 6962 sections 2.1, 2.1.1 and 2.1.2, word for word.


def split(n: int) -> int:
    k = 1
    while k * 2 < n:
        k *= 2
    return k


def mth(leaves: list[bytes]) -> bytes:
    if not leaves:
        return sha256(b"").digest()
    if len(leaves) == 1:
        return sha256(b"\x00" + leaves[0]).digest()
    k = split(len(leaves))
    return sha256(b"\x01" + mth(leaves[:k]) + mth(leaves[k:])).digest()


def audit_path(m: int, leaves: list[bytes]) -> list[bytes]:
    if len(leaves) == 1:
        return []
    k = split(len(leaves))
    if m < k:
        return [*audit_path(m, leaves[:k]), mth(leaves[k:])]
    return [*audit_path(m - k, leaves[k:]), mth(leaves[:k])]


def subproof(m: int, leaves: list[bytes], complete: bool) -> list[bytes]:
    if m == len(leaves):
        return [] if complete else [mth(leaves)]
    k = split(len(leaves))
    if m <= k:
        return [*subproof(m, leaves[:k], complete), mth(leaves[k:])]
    return [*subproof(m - k, leaves[k:], False), mth(leaves[:k])]


def reader(leaves: list[bytes]) -> merkle.SubtreeReader:
    return lambda level, index: mth(leaves[index << level : (index + 1) << level])


MANY = [number.to_bytes(2, "big") for number in range(LARGEST)]
MANY_ROOTS = [mth(MANY[:size]) for size in range(LARGEST + 1)]


@pytest.mark.parametrize("size", range(9))
def test_roots_of_the_known_leaves(size: int) -> None:
    """The roots over the first 0 to 8 known leaves are the published ones."""
    hashes = b"".join(map(merkle.leaf_hash, LEAVES[:size]))
    assert merkle.root_of_hashes(hashes) == ROOTS[size]
    assert merkle.root(size, reader(LEAVES)) == ROOTS[size]


@pytest.mark.parametrize(("index", "size", "path"), INCLUSION)
def test_known_inclusion_proofs(index: int, size: int, path: list[str]) -> None:
    """Inclusion proofs of the known leaves are the published ones, and check."""
    expected = tuple(map(bytes.fromhex, path))
    assert merkle.prove_inclusion(index, size, reader(LEAVES)) == expected
    merkle.check_inclusion(index, size, merkle.leaf_hash(LEAVES[index]), expected, ROOTS[size])


@pytest.mark.parametrize(("old", "size", "path"), CONSISTENCY)
def test_known_consistency_proofs(old: int, size: int, path: list[str]) -> None:
    """Consistency proofs of the known leaves are the published ones, and check."""
    expected = tuple(map(bytes.fromhex, path))
    assert merkle.prove_consistency(old, size, reader(LEAVES)) == expected
    merkle.check_consistency(old, size, expected, ROOTS[old], ROOTS[size])


def test_every_small_proof_equals_the_reference() -> None:
    """Proofs in trees of up to 70 leaves are those of RFC 6962's recursion, and check."""
    for size in range(1, LARGEST + 1):
        leaves = MANY[:size]
        read = reader(leaves)
        for index in range(size if size <= 24 else 0):
            path = merkle.prove_inclusion(index, size, read)
            assert list(path) == audit_path(index, leaves)
        for old in {0, 1, size // 3, size // 2, size - 1, size} if size > 24 else range(size + 1):
            proof = merkle.prove_consistency(old, size, read)
            assert list(proof) == (subproof(old, leaves, True) if old else [])
            merkle.check_consistency(old, size, proof, MANY_ROOTS[old], MANY_ROOTS[size])


def test_a_proof_of_one_entry_proves_no_other() -> None:
    """An inclusion proof checks for its own index, size, leaf and root only."""
    for size in range(1, 18):
        read = reader(MANY[:size])
        for index in range(size):
            path = merkle.prove_inclusion(index, size, read)
            leaf = merkle.leaf_hash(MANY[index])
            merkle.check_inclusion(index, size, leaf, path, MANY_ROOTS[size])
            for other_index in range(size):
                if other_index != index:
                    with pytest.raises(Problem):
                        merkle.check_inclusion(other_index, size, leaf, path, MANY_ROOTS[size])
            with pytest.raises(Problem):
                merkle.check_inclusion(index, size, MANY_ROOTS[0], path, MANY_ROOTS[size])
            with pytest.raises(Problem):
                merkle.check_inclusion(index, size, leaf, path, MANY_ROOTS[size - 1])
            with pytest.raises(Problem):
                merkle.check_inclusion(index, size, leaf, (*path, leaf), MANY_ROOTS[size])
            if path:
                with pytest.raises(Problem):
                    merkle.check_inclusion(index, size, leaf, path[:-1], MANY_ROOTS[size])


def test_a_consistency_proof_proves_no_other_trees() -> None:
    """A consistency proof with a changed, missing or extra hash, or other roots, is refused."""
    source = random.Random(6962)
    for size in range(2, 24):
        for old in range(1, size):
            proof = merkle.prove_consistency(old, size, reader(MANY[:size]))
            good = (MANY_ROOTS[old], MANY_ROOTS[size])
            spoilt = list(proof)
            place = source.randrange(len(spoilt))
            spoilt[place] = bytes([spoilt[place][0] ^ 1]) + spoilt[place][1:]
            for path, roots in [
                (tuple(spoilt), good),
                (proof[:-1], good),
                ((*proof, MANY_ROOTS[0]), good),
                (proof, (MANY_ROOTS[old + 1], good[1])),
                (proof, (good[0], MANY_ROOTS[size - 1])),
            ]:
                if roots[0] == roots[1] == good[1]:
                    continue
                with pytest.raises(Problem) as caught:
                    merkle.check_consistency(old, size, path, *roots)
                assert caught.value.code is Code.INVALID_PROOF


@pytest.mark.parametrize(
    ("old", "size", "path", "old_root", "root"),
    [
        (3, 2, (), ROOTS[3], ROOTS[2]),
        (2, 2, (), ROOTS[2], ROOTS[3]),
        (2, 2, (ROOTS[1],), ROOTS[2], ROOTS[2]),
        (0, 2, (), ROOTS[1], ROOTS[2]),
        (0, 2, (ROOTS[0],), ROOTS[0], ROOTS[2]),
        (-1, 2, (), ROOTS[0], ROOTS[2]),
        (3, 8, (), ROOTS[3], ROOTS[8]),
        (1, 2**63, (), ROOTS[1], ROOTS[8]),
    ],
)
def test_degenerate_consistency_is_refused(
    old: int, size: int, path: tuple[bytes, ...], old_root: bytes, root: bytes
) -> None:
    """Sizes that shrink, two roots of one size, hashes that prove nothing are refused."""
    with pytest.raises(Problem) as caught:
        merkle.check_consistency(old, size, path, old_root, root)
    assert caught.value.code is Code.INVALID_PROOF


def test_there_is_no_proof_of_what_is_not_there() -> None:
    """Asking for a proof behind the tree's end is answered with NotFound."""
    for index in (-1, 8, 100):
        with pytest.raises(Problem) as caught:
            merkle.prove_inclusion(index, 8, reader(LEAVES))
        assert caught.value.code is Code.NOT_FOUND
    with pytest.raises(Problem):
        merkle.prove_consistency(9, 8, reader(LEAVES))


@given(st.lists(st.binary(max_size=40), max_size=40))
def test_root_of_hashes_is_the_tree_hash(leaves: list[bytes]) -> None:
    """The root over a row of hashes is RFC 6962's tree hash of their leaves."""
    assert merkle.root_of_hashes(b"".join(map(merkle.leaf_hash, leaves))) == mth(leaves)
