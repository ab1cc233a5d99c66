"""Offline verification of a journal's directory: every byte that the proofs rest on.

What is checked, and against what:

- the checkpoint against the verifier key, the store of the last signed checkpoint, and a
  checkpoint that somebody remembered: a log that was set back, cut or forked is refused. The store
  is read first, so that it may be behind a journal that is being written, and never ahead of it;
- every tile against the tiles below it and the checkpoint above; every entry against its leaf;
  partial tiles and bundles of earlier sizes, which stay until the full one is there, against the
  present ones;
- every record of the segments against its checksum and its leaf; every sealed part against the
  digest in its entry; where the member's key is here, its content, the commitment and the body's
  digest. A key that was destroyed never breaks anything.

A finding names the file and, where it can be told, the entry. When two files contradict each
other, the one that a third contradicts too is named.

Not checked: whether what was recorded is true, the certificates of those who signed (an export
holds what is needed for that), and whether the verifier key is the one that the registry lists.
"""

from __future__ import annotations

import contextlib
from pathlib import Path

from exchange import merkle
from exchange.checkpoint import Checkpoint
from exchange.notes import VerifierKey
from exchange.problems import Code, Problem
from mediator.journal.recovery import DESCRIPTION, Description
from mediator.journal.verify.findings import (
    MAX_FINDINGS,
    Counts,
    Finding,
    Findings,
    Progress,
    TooManyError,
    Verdict,
)
from mediator.journal.verify.head import check_head, check_known
from mediator.journal.verify.records import check_part, check_segments
from mediator.journal.verify.tree import Tree

__all__ = ["MAX_FINDINGS", "Finding", "Progress", "Verdict", "check_part", "verify"]


def verify(
    directory: Path,
    *,
    key: VerifierKey | None = None,
    known: bytes | None = None,
    tree_only: bool = False,
    progress: Progress = lambda what, done, total: None,
) -> Verdict:
    """Verify a journal's directory, or a copy of its ``log/`` alone.

    Args:
        directory: a journal, or what it publishes.
        key: the log's verifier key as the registry lists it; without it, that of journal.json.
        known: a signed checkpoint of this log that was remembered from before.
        tree_only: leave out the segments (sealed parts).
        progress: is told (what, done, total) now and then.

    Raises:
        Problem: ``JournalCorrupt`` when the directory is no journal, or no key is known.
    """
    findings = Findings()
    log = directory / "log" if (directory / "log").is_dir() else directory
    if key is None or (directory / DESCRIPTION).exists():
        try:
            description = Description.read(directory / DESCRIPTION)
        except Problem as problem:
            if key is None:
                raise
            findings.of(problem, DESCRIPTION)
        else:
            if key is not None and key != description.key:
                findings.add(
                    Code.JOURNAL_FORKED, DESCRIPTION, None, "names another key than was given"
                )
            key = key or description.key
    assert key is not None  # noqa: S101  # or reading the description raised
    counts = Counts()
    head = Checkpoint(key.name, 0, merkle.EMPTY_ROOT)
    with contextlib.suppress(TooManyError):
        found = check_head(directory, log, key, findings)
        if found is not None:
            head = found
            if known is not None:  # before the tiles: a fork must be told however much is damaged
                check_known(known, "known checkpoint", key, head, log, findings)
            hashes = Tree(log, head, directory, findings).check(progress)
            if not tree_only and log != directory:
                check_segments(directory, head, hashes, findings, counts, progress)
    return Verdict(
        str(directory),
        key.name,
        str(key),
        head.size,
        head.root.hex(),
        counts.unpublished,
        counts.sealed,
        counts.opened,
        counts.without_key,
        tuple(findings.found),
    )
