"""The anchors beside a log: that each is of this tree, and up to where a quorum cosigned.

An anchor's checkpoint is the log's own signed word. One whose root is not that of this tree at its
size shows another history, which somebody may have cosigned. Every anchor with a time-stamp is
compared, and of the others, when they are very many, an evenly spread part; what a quorum covers is
looked for among the newest.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from exchange.log import merkle
from exchange.log.checkpoint import Checkpoint, open_checkpoint
from exchange.log.notes import VerifierKey, parse_note
from exchange.log.policy import Policy
from exchange.problems import Code, Problem
from mediator.journal.anchors import FILE, Anchor, AnchorReader
from mediator.journal.publication import CHECKPOINT
from mediator.journal.verify.findings import MAX_FINDINGS, Finding, Progress
from mediator.journal.verify.workers import Workers
from serving.log.tiles import TileFolder

COMPARED: Final = 1000
LOOKED_AT: Final = 10_000
UNIT: Final = 200


@dataclass(frozen=True, slots=True)
class Anchored:
    """What was found of anchors; ``witnessed`` entries are covered by a quorum of the policy."""

    anchors: int
    compared: int
    witnessed: int
    cosigners: tuple[str, ...]
    findings: tuple[Finding, ...]


def verify_anchors(
    journal: Path,
    log: Path,
    key: VerifierKey,
    size: int,
    policy: Policy | None,
    *,
    since: int = 0,
    processes: int = 1,
    progress: Progress = lambda what, done, total: None,
) -> Anchored:
    """Compare the anchors with the tree of ``size`` entries, and judge them by a policy.

    Args:
        journal: the folder with the anchors.
        log: the folder with checkpoint and tiles, which was verified before.
        policy: without one, cosignatures are not judged.
        since: anchors of up to this size were compared by an earlier run.
        processes: how many to use; with one, all is done here.
        progress: is told (what, done, total) now and then.

    Raises:
        Problem: ``JournalCorrupt`` when the anchors cannot be read.
    """
    reader = AnchorReader.open(journal)
    try:
        findings: list[Finding] = []
        witnessed, cosigners = 0, frozenset[str]()
        if policy is not None and size:
            try:
                found = _covered(reader, policy)
            except Problem as problem:
                findings.append(Finding(problem.code, FILE, None, problem.detail))
            else:
                witnessed = found.size
                cosigners = policy.cosigners(parse_note(found.checkpoint))
        sizes = reader.sizes()
        others = [one for one in sizes if one > since]
        stamped = (one for one in reader.stamped_sizes() if one > since)
        compared = sorted({*_spread(others, witnessed), *stamped})
        units = [
            (journal, log, str(key), size, compared[at : at + UNIT])
            for at in range(0, len(compared), UNIT)
        ]
        with Workers(processes) as workers:
            for number, found_wrong in enumerate(workers.run(_compare, units), 1):
                findings += found_wrong
                progress("anchors", min(number * UNIT, len(compared)), len(compared))
                if len(findings) >= MAX_FINDINGS:
                    break
        return Anchored(
            len(sizes), len(compared), witnessed, tuple(sorted(cosigners)), tuple(findings)
        )
    finally:
        reader.close()


def _covered(reader: AnchorReader, policy: Policy) -> Anchor:
    """The newest anchor that the policy accepts.

    Raises:
        Problem: ``NotWitnessed``; ``InvalidNote`` when a line of a known key is wrong, or the log
            is none of the policy.
    """
    last: Problem | None = None
    for count, anchor in enumerate(reader.newest()):
        if count >= LOOKED_AT:
            break
        try:
            policy.check(anchor.checkpoint, f"anchor of size {anchor.size}")
        except Problem as problem:
            if problem.code is not Code.NOT_WITNESSED:
                raise
            last = last or problem
            continue
        return anchor
    raise last or Problem(Code.NOT_WITNESSED, where=FILE, detail="there is no anchor")


def _compare(unit: tuple[Path, Path, str, int, list[int]]) -> list[Finding]:
    """Compare some anchors with the tree: a unit of work."""
    journal, log, vkey, size, sizes = unit
    key, folder, findings = VerifierKey.parse(vkey), TileFolder(log), list[Finding]()
    with contextlib.closing(AnchorReader.open(journal)) as reader:
        for one in sizes:
            anchor = reader.at_size(one)
            detail = None if anchor is None else _wrong(anchor, folder, key, size)
            if detail is not None:
                findings.append(Finding(Code.JOURNAL_FORKED, FILE, None, detail))
    return findings[:MAX_FINDINGS]


def _spread(sizes: list[int], wanted: int) -> list[int]:
    """At most :data:`COMPARED` of the sizes, the last one and the wanted one among them."""
    step = -(-len(sizes) // COMPARED) or 1
    return sorted({*sizes[::-step], *(size for size in (wanted,) if size)})


def _wrong(anchor: Anchor, folder: TileFolder, key: VerifierKey, size: int) -> str | None:
    try:
        head: Checkpoint = open_checkpoint(anchor.note, key, where=FILE)
    except Problem as problem:
        return f"the anchor of size {anchor.size}: {problem.detail}"
    if head.size != anchor.size:
        return f"the anchor of size {anchor.size} is a checkpoint of size {head.size}"
    if head.size > size:
        if _size_now(folder, key) >= head.size:
            return None  # it grew while it was verified
        return f"the log has {size} entries, but signed an anchor of size {head.size}"
    try:
        root = merkle.root(head.size, folder.subtrees(size))
    except Problem:
        return None  # a tile is broken: the verification of the tree names it
    if root != head.root:
        return f"at size {head.size} the log signed another root than that of these tiles"
    return None


def _size_now(folder: TileFolder, key: VerifierKey) -> int:
    """What the log publishes now."""
    try:
        return open_checkpoint((folder.directory / CHECKPOINT).read_bytes(), key).size
    except (OSError, Problem):
        return 0
