"""Batches of anchors: what an hour's anchors were, stated so that an entry can commit to it.

When its hour is over a batch is closed: nothing is added to its anchors any more. Its statement
says how many anchors, cosignatures and tokens it has, with a digest over them, and the same of
those that stay when the batch is thinned out: so thinning out is stated beforehand. An entry of the
journal (:data:`EVENT`) commits to the statement's SHA-256.

Invariants:
- the anchors that stay have as much evidence, at as late a time of the batch, as those that go; the
  last one stays;
- ``parse`` of what a statement's bytes are is the same statement.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Final, NamedTuple, Self

from exchange.documents import Node, format_document, parse_document

if TYPE_CHECKING:
    from mediator.journal.anchors import Anchor

EVENT: Final = "anchors"
"""The event of the entries that commit to batches."""
_MAX_BYTES: Final = 4096
_MOST: Final = 2**53 - 1


class Contents(NamedTuple):
    """How many of each, and the hex SHA-256 over all of them."""

    anchors: int
    cosignatures: int
    tokens: int
    digest: str

    def __str__(self) -> str:
        return (
            f"{self.anchors} anchors, {self.cosignatures} cosignatures and {self.tokens} "
            "time-stamps"
        )


@dataclass(frozen=True, slots=True)
class Statement:
    """Of the anchors larger than ``after`` up to ``until``: all, and those that ``stay``."""

    after: int
    until: int
    all: Contents
    stay: Contents

    def __bytes__(self) -> bytes:
        return format_document(
            {
                "after": self.after,
                "all": self.all._asdict(),
                "stay": self.stay._asdict(),
                "until": self.until,
                "v": 1,
            }
        )

    @property
    def digest(self) -> str:
        """To which an entry commits."""
        return sha256(bytes(self)).hexdigest()

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """Parse a statement.

        Raises:
            Problem: ``InvalidDocument``.
        """
        document = parse_document(data, _MAX_BYTES, "batch of anchors")
        fields = document.members(frozenset({"after", "all", "stay", "until", "v"}))
        fields["v"].integer(1, 1)
        statement = cls(
            fields["after"].integer(0, _MOST),
            fields["until"].integer(0, _MOST),
            _contents(fields["all"]),
            _contents(fields["stay"]),
        )
        if bytes(statement) != data:
            raise document.refuse("not in canonical form")
        return statement


def _contents(node: Node) -> Contents:
    fields = node.members(frozenset(Contents._fields))
    return Contents(
        fields["anchors"].integer(0, _MOST),
        fields["cosignatures"].integer(0, _MOST),
        fields["tokens"].integer(0, _MOST),
        fields["digest"].text(64, 64),
    )


def contents(anchors: Iterable[Anchor]) -> Contents:
    """What some anchors, in order of size, amount to."""
    digest, count, lines, tokens = sha256(), 0, 0, 0
    for anchor in anchors:
        count += 1
        lines += len(anchor.cosignatures)
        tokens += len(anchor.tokens)
        digest.update(_told(anchor).encode())
    return Contents(count, lines, tokens, digest.hexdigest())


def _told(anchor: Anchor) -> str:
    told = [f"anchor {anchor.size} {anchor.at:.6f} {_hash(anchor.note)}\n"]
    told += [f"cosignature {_hash(line.encode())}\n" for line in sorted(anchor.cosignatures)]
    told += [
        f"token {_hash(token.authority.encode())} {_hash(token.der)}\n"
        for token in sorted(anchor.tokens, key=lambda one: one.authority)
    ]
    return "".join(told)


def _hash(data: bytes) -> str:
    return sha256(data).hexdigest()


def state(after: int, until: int, anchors: Collection[Anchor]) -> tuple[Statement, list[int]]:
    """The statement of a batch, and the sizes of the anchors that stay."""
    kept = staying(anchors)
    stay = contents(anchor for anchor in anchors if anchor.size in kept)
    return Statement(after, until, contents(anchors), stay), sorted(kept)


def staying(anchors: Collection[Anchor]) -> set[int]:
    """The last anchor; the last with a token and a cosignature; and after it, the last with one."""
    newest: dict[tuple[bool, bool], int] = {}
    for anchor in anchors:
        evidence = bool(anchor.tokens), bool(anchor.cosignatures)
        newest[evidence] = max(newest.get(evidence, 0), anchor.size)
    # One goes when a later one has all that it has.
    return {
        size
        for (token, line), size in newest.items()
        if not any(
            later > size and other[0] >= token and other[1] >= line
            for other, later in newest.items()
        )
    }
