"""The Merkle tree of a log: hashing, inclusion and consistency (RFC 6962 section 2.1, RFC 9162).

Invariants:
- a leaf is ``SHA-256(0x00 || entry)`` and a node ``SHA-256(0x01 || left || right)``, so that no
  leaf can be passed off as a node; the empty tree's root is ``SHA-256("")``;
- ``prove_*`` needs nothing but hashes of *complete* subtrees, which never change once they exist;
- ``check_*`` is RFC 9162's iterative algorithm and returns nothing: a proof that does not lead to
  the root raises ``InvalidProof``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from hashlib import sha256
from typing import TypeAlias

from exchange.problems import Code, Problem

HASH_SIZE = 32
MAX_SIZE = 2**63 - 1
EMPTY_ROOT = sha256(b"").digest()

SubtreeReader: TypeAlias = Callable[[int, int], bytes]
"""``read(level, index)``: the root of the complete subtree of leaves
``[index << level, (index + 1) << level)``."""


def leaf_hash(entry: bytes) -> bytes:
    """The hash of one entry (RFC 6962 section 2.1)."""
    return sha256(b"\x00" + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """The hash of an inner node (RFC 6962 section 2.1)."""
    return sha256(b"\x01" + left + right).digest()


def root_of_hashes(hashes: bytes) -> bytes:
    """The root over concatenated hashes taken as the leaves of a (sub)tree.

    An odd hash at the end of a row moves up unhashed, which is the same as RFC 6962's split at the
    largest power of two.
    """
    if not hashes:
        return EMPTY_ROOT
    row = hashes
    while len(row) > HASH_SIZE:
        pairs = len(row) // 64 * 64
        row = (
            b"".join([sha256(b"\x01" + row[at : at + 64]).digest() for at in range(0, pairs, 64)])
            + row[pairs:]
        )
    return row


def _split(length: int) -> int:
    """The largest power of two smaller than ``length`` (>= 2)."""
    return 1 << ((length - 1).bit_length() - 1)


def _range_root(read: SubtreeReader, start: int, end: int) -> bytes:
    """The root of leaves ``[start, end)``, a range that occurs as a node of some tree."""
    length = end - start
    if length & (length - 1) == 0:
        level = length.bit_length() - 1
        return read(level, start >> level)
    middle = start + _split(length)
    return node_hash(_range_root(read, start, middle), _range_root(read, middle, end))


def root(size: int, read: SubtreeReader) -> bytes:
    """The root of the tree of the first ``size`` leaves."""
    return _range_root(read, 0, size) if size else EMPTY_ROOT


def prove_inclusion(index: int, size: int, read: SubtreeReader) -> tuple[bytes, ...]:
    """The audit path of leaf ``index`` in the tree of ``size`` leaves, from leaf to root.

    Raises:
        Problem: ``NotFound`` when the tree has no such leaf.
    """
    if not 0 <= index < size:
        raise Problem(
            Code.NOT_FOUND, where=f"entry {index}", detail=f"a tree of {size} entries has none"
        )
    path: list[bytes] = []
    start, end = 0, size
    while end - start > 1:
        middle = start + _split(end - start)
        if index < middle:
            path.append(_range_root(read, middle, end))
            end = middle
        else:
            path.append(_range_root(read, start, middle))
            start = middle
    path.reverse()
    return tuple(path)


def prove_consistency(old_size: int, size: int, read: SubtreeReader) -> tuple[bytes, ...]:
    """The proof that the tree of ``old_size`` leaves is a prefix of that of ``size`` leaves.

    Empty when there is nothing to prove: equal sizes, or an empty old tree.

    Raises:
        Problem: ``NotFound`` when ``old_size`` is larger than ``size``.
    """
    if not 0 <= old_size <= size:
        raise Problem(
            Code.NOT_FOUND, where=f"size {old_size}", detail=f"the tree has {size} entries"
        )
    if old_size in {0, size}:
        return ()
    path: list[bytes] = []
    start, end = 0, size
    while end != old_size:
        middle = start + _split(end - start)
        if old_size <= middle:
            path.append(_range_root(read, middle, end))
            end = middle
        else:
            path.append(_range_root(read, start, middle))
            start = middle
    if start:  # the old tree's last subtree is no root the verifier knows
        path.append(_range_root(read, start, end))
    path.reverse()
    return tuple(path)


def _refuse(where: str, detail: str) -> Problem:
    return Problem(Code.INVALID_PROOF, where=where, detail=detail)


def root_from_inclusion(index: int, size: int, leaf: bytes, path: Sequence[bytes]) -> bytes:
    """The root to which an audit path leads (RFC 9162 section 2.1.3.2).

    Raises:
        Problem: ``InvalidProof`` when the path is too long or too short for the size.
    """
    if not 0 <= index < size <= MAX_SIZE:
        raise _refuse(f"entry {index}", f"there is no such entry in a tree of {size}")
    first, last, result = index, size - 1, leaf
    for sibling in path:
        if last == 0:
            raise _refuse(f"entry {index}", "the inclusion proof has too many hashes")
        if first & 1 or first == last:
            result = node_hash(sibling, result)
            while first and not first & 1:
                first >>= 1
                last >>= 1
        else:
            result = node_hash(result, sibling)
        first >>= 1
        last >>= 1
    if last:
        raise _refuse(f"entry {index}", "the inclusion proof has too few hashes")
    return result


def check_inclusion(index: int, size: int, leaf: bytes, path: Sequence[bytes], root: bytes) -> None:
    """Check that ``leaf`` is entry ``index`` of the tree with this size and root.

    Raises:
        Problem: ``InvalidProof``.
    """
    if root_from_inclusion(index, size, leaf, path) != root:
        raise _refuse(f"entry {index}", "the inclusion proof leads to another root")


def check_consistency(
    old_size: int, size: int, path: Sequence[bytes], old_root: bytes, root: bytes
) -> None:
    """Check that the old tree is a prefix of the new one (RFC 9162 section 2.1.4.2).

    Raises:
        Problem: ``InvalidProof``; ``facts`` hold both sizes.
    """
    where = f"sizes {old_size} and {size}"
    if not 0 <= old_size <= size <= MAX_SIZE:
        raise _refuse(where, "the old tree is larger than the new one")
    if old_size in {0, size}:
        if path:
            raise _refuse(where, "there is nothing to prove, but the proof has hashes")
        if old_size == size and old_root != root:
            raise _refuse(where, "two roots at the same size")
        if old_size == 0 and old_root != EMPTY_ROOT:
            raise _refuse(where, "the root of the empty tree is wrong")
        return
    old, new = roots_from_consistency(old_size, size, path, old_root)
    if old != old_root:
        raise _refuse(where, "the consistency proof leads to another old root")
    if new != root:
        raise _refuse(where, "the consistency proof leads to another new root")


def roots_from_consistency(
    old_size: int, size: int, path: Sequence[bytes], old_root: bytes
) -> tuple[bytes, bytes]:
    """The old and the new root to which a consistency proof leads (RFC 9162 section 2.1.4.2).

    ``0 < old_size < size``. When ``old_size`` is a power of two, a proof begins with the old root
    itself, which it does not hold: ``old_root`` is taken. In any other case what comes out rests
    on the proof alone.

    Raises:
        Problem: ``InvalidProof`` when the proof is too long or too short for the sizes.
    """
    where = f"sizes {old_size} and {size}"
    hashes = list(path)
    if old_size & (old_size - 1) == 0:
        hashes.insert(0, old_root)
    if not hashes:
        raise _refuse(where, "the consistency proof has too few hashes")
    first, last = old_size - 1, size - 1
    while first & 1:
        first >>= 1
        last >>= 1
    old = new = hashes[0]
    for sibling in hashes[1:]:
        if last == 0:
            raise _refuse(where, "the consistency proof has too many hashes")
        if first & 1 or first == last:
            old = node_hash(sibling, old)
            new = node_hash(sibling, new)
            while first and not first & 1:
                first >>= 1
                last >>= 1
        else:
            new = node_hash(new, sibling)
        first >>= 1
        last >>= 1
    if last:
        raise _refuse(where, "the consistency proof has too few hashes")
    return old, new
