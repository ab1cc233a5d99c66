"""The log's anchors as an auditor is shown them, and pages whose proofs lead to one of them."""

from __future__ import annotations

import contextlib

from exchange.journal.shown_anchor import ShownAnchor
from exchange.log.checkpoint import open_checkpoint
from exchange.problems import Code, Problem
from mediator.journal.anchors import Anchor, AnchorReader
from mediator.journal.reader import JournalReader


def newest_anchor(reader: JournalReader, since: int) -> ShownAnchor:
    """The newest anchor within what was read, and how the log grew to it from a size.

    Raises:
        Problem: ``NotFound`` when there is none yet, or none of that size; ``JournalCorrupt``.
    """
    with contextlib.closing(AnchorReader.open(reader.directory)) as anchors:
        anchor = anchors.latest()
        if anchor is not None and anchor.size > reader.checkpoint.size:  # published since
            anchor = anchors.at_most(reader.checkpoint.size)
    if anchor is None or since > anchor.size:
        raise _none_of(since)
    tokens = tuple((token.authority, token.der) for token in anchor.tokens)
    return ShownAnchor(anchor.checkpoint, tokens, reader.grown(since, anchor.size))


def at_anchor(reader: JournalReader, size: str | None) -> tuple[bytes, int]:
    """The checkpoint to which proofs lead, with its size: an anchor's, or the last one published.

    Raises:
        Problem: ``NotFound`` when there is no such anchor; ``JournalCorrupt``.
    """
    if size is None:
        return reader.checkpoint_note, reader.checkpoint.size
    with contextlib.closing(AnchorReader.open(reader.directory)) as anchors:
        anchor = anchors.at_size(int(size))
    if anchor is None:
        raise _none_of(int(size))
    return anchor.checkpoint, _size(reader, anchor)


def _size(reader: JournalReader, anchor: Anchor) -> int:
    return open_checkpoint(anchor.checkpoint, reader.key, reader.origin).size


def _none_of(size: int) -> Problem:
    return Problem(
        Code.NOT_FOUND,
        where=f"size {size}",
        detail="the log has no such anchor; it gets one some seconds after it grew",
    )
