"""The index of subjects that a log commits to, so that nobody can leave an entry out of an answer.

Once a month a log commits, in a system entry (:data:`EVENT`), to the subjects of all entries since
the commitment before: ``[first, end)``, which follow one another from 0 on. The entry holds the
root of a Merkle tree (RFC 6962 hashing) whose leaves are lines, sorted by tag, one for each tag::

    <tag> <how many entries> <SHA-256 of their indexes, in decimal, joined by commas>

An answer to "which entries are about this tag" is the line with its place in the tree and the
indexes; or two lines that stand next to each other with the tag between them: then there is none.

Invariants:
- :func:`check_answer` believes nothing but the commitment: a line stands where its path says, and
  neighbours are neighbours by their numbers in a tree whose size the commitment states;
- whoever has the entries can compute the root: tags stand in them. So a commitment that leaves
  something out, or is not sorted, is found by anybody, with or without the keys of tags. A proof
  alone does not show that.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from hashlib import sha256
from typing import Any, Final, NamedTuple

from exchange.journal.entries import SubjectIndex
from exchange.log import merkle
from exchange.problems import Code, Problem

EVENT: Final = "subject-index"
_LINE = re.compile(r"([0-9a-f]{32}) ([1-9][0-9]{0,18}) ([0-9a-f]{64})", re.ASCII)


class Leaf(NamedTuple):
    """A line of the index, where it stands, and the path from there to the root."""

    number: int
    line: str
    path: tuple[bytes, ...]

    @property
    def tag(self) -> str:
        return self.line[:32]

    def describe(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "number": self.number,
            "line": self.line,
            "path": [each.hex() for each in self.path],
        }


class Answer(NamedTuple):
    """What an index says of a tag: its line and the indexes, or what stands around its place."""

    tag: str
    indexes: tuple[int, ...]
    leaf: Leaf | None = None
    before: Leaf | None = None
    after: Leaf | None = None

    def describe(self) -> dict[str, Any]:
        """As JSON."""
        leaves = {"leaf": self.leaf, "before": self.before, "after": self.after}
        return {
            "tag": self.tag,
            "indexes": list(self.indexes),
            **{name: leaf.describe() for name, leaf in leaves.items() if leaf is not None},
        }


def format_line(tag: str, indexes: Sequence[int]) -> str:
    """The line of a tag; ``indexes`` in ascending order."""
    joined = ",".join(map(str, indexes))
    return f"{tag} {len(indexes)} {sha256(joined.encode()).hexdigest()}"


def check_answer(committed: SubjectIndex, answer: Answer) -> None:
    """Check what an index says of a tag against the log's commitment.

    Raises:
        Problem: ``InvalidProof`` when it does not follow from the commitment.
    """
    for leaf in (answer.leaf, answer.before, answer.after):
        if leaf is not None:
            _check_leaf(committed, leaf)
    if answer.leaf is not None:
        if format_line(answer.tag, answer.indexes) != answer.leaf.line:
            raise _refuse(answer.tag, "the line is of another tag or other entries")
        inside = all(committed.first <= index < committed.end for index in answer.indexes)
        if not inside or list(answer.indexes) != sorted(set(answer.indexes)):
            raise _refuse(answer.tag, "its entries are not in order, or of another part of the log")
        return
    if answer.indexes:
        raise _refuse(answer.tag, "it has entries and no line")
    before, after = answer.before, answer.after
    below = -1 if before is None else before.number
    above = committed.leaves if after is None else after.number
    if above != below + 1:
        raise _refuse(answer.tag, "something may stand between the two lines")
    if (before is not None and before.tag >= answer.tag) or (
        after is not None and after.tag <= answer.tag
    ):
        raise _refuse(answer.tag, "its place is not between the two lines")


def check_chain(committed: Sequence[SubjectIndex]) -> None:
    """Check that commitments follow one another from the first entry on.

    Raises:
        Problem: ``InvalidProof`` when entries lie between two, or in two.
    """
    end = 0
    for each in committed:
        if each.first != end:
            raise _refuse(f"entry {end}", "the commitments do not follow one another")
        end = each.end


def _check_leaf(committed: SubjectIndex, leaf: Leaf) -> None:
    if not _LINE.fullmatch(leaf.line):
        raise _refuse(f"line {leaf.number}", "is not a line of an index")
    merkle.check_inclusion(
        leaf.number,
        committed.leaves,
        merkle.leaf_hash(leaf.line.encode()),
        leaf.path,
        bytes.fromhex(committed.root),
    )


def _refuse(where: str, detail: str) -> Problem:
    return Problem(Code.INVALID_PROOF, where=f"subject index, {where}", detail=detail)
