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
  digest. A key that was destroyed never breaks anything;
- what is not here, against what the log says was removed from here.

A finding names the file and, where it can be told, the entry. When two files contradict each
other, the one that a third contradicts too is named.

Files are read once, in their order, in units that may run in several processes; memory does not
grow with the log, but for a hash of each 256 entries. An earlier run's :class:`Verified` spares
what it read.

Not checked: whether what was recorded is true, the certificates of those who signed (an export
holds what is needed for that), and whether the verifier key is the one that the registry lists.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from pathlib import Path

from exchange import merkle
from exchange.checkpoint import Checkpoint
from exchange.notes import VerifierKey
from exchange.problems import Code, Problem
from mediator.journal.holdings import Holdings
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
from mediator.journal.verify.head import check_head, check_holdings, check_known
from mediator.journal.verify.reached import Edge, Verified
from mediator.journal.verify.records import check_part, check_records
from mediator.journal.verify.tree import Log, check_tree
from mediator.journal.verify.workers import Workers

__all__ = [
    "MAX_FINDINGS",
    "Finding",
    "Progress",
    "Verdict",
    "Verified",
    "check_part",
    "log_key",
    "verify",
]


@dataclass(frozen=True, slots=True)
class _Known:
    """What a run knows of a log before it reads it."""

    key: VerifierKey
    checkpoint: bytes | None
    since: Verified | None


def verify(
    directory: Path,
    *,
    key: VerifierKey | None = None,
    known: bytes | None = None,
    since: Verified | None = None,
    tree_only: bool = False,
    processes: int = 1,
    progress: Progress = lambda what, done, total: None,
) -> Verdict:
    """Verify a journal's directory, or a copy of its ``log/`` alone.

    Args:
        directory: a journal, an archive of one, or what it publishes.
        key: the log's verifier key as the registry lists it; without it, that of journal.json.
        known: a signed checkpoint of this log that was remembered from before.
        since: how far an earlier run came; what it read is not read again, unless the log of
            today contradicts it.
        tree_only: leave out the segments (sealed parts).
        processes: how many to use; with one, all is done here.
        progress: is told (what, done, total) now and then.

    Raises:
        Problem: ``JournalCorrupt`` when the directory is no journal, or no key is known.
    """
    findings = Findings()
    log = directory / "log" if (directory / "log").is_dir() else directory
    key = _key(directory, key, findings)
    run = _Run(directory, log, _Known(key, known, since), findings, progress)
    with contextlib.suppress(TooManyError), Workers(processes) as workers:
        run.check(workers, tree_only=tree_only)
    return run.verdict()


def log_key(directory: Path) -> VerifierKey:
    """The verifier key that a journal's directory names.

    Raises:
        Problem: ``JournalCorrupt``.
    """
    return Description.read(directory / DESCRIPTION).key


def _key(directory: Path, key: VerifierKey | None, findings: Findings) -> VerifierKey:
    if key is not None and not (directory / DESCRIPTION).exists():
        return key
    try:
        named = log_key(directory)
    except Problem as problem:
        if key is None:
            raise
        findings.of(problem, DESCRIPTION)
        return key
    if key is not None and key != named:
        findings.add(Code.JOURNAL_FORKED, DESCRIPTION, None, "names another key than was given")
    return key or named


class _Run:
    """One verification: what it knows, and what it has found so far."""

    def __init__(
        self, directory: Path, log: Path, known: _Known, findings: Findings, progress: Progress
    ) -> None:
        self._directory = directory
        self._log = log
        self._known = known
        self._findings = findings
        self._progress = progress
        self._head = Checkpoint(known.key.name, 0, merkle.EMPTY_ROOT)
        self._note = b""
        self._since = 0
        self._counts = Counts()
        self._holdings = Holdings()
        self._reached: Verified | None = None

    def check(self, workers: Workers, *, tree_only: bool) -> None:
        directory, log, findings = self._directory, self._log, self._findings
        key = self._known.key
        found = check_head(directory, log, key, findings)
        if found is None:
            return
        self._head, self._note = found
        if self._known.checkpoint is not None:
            # Before the tiles: a fork must be told however much is damaged.
            check_known(self._known.checkpoint, "known checkpoint", key, self._head, log, findings)
        before = self._before()
        self._since = before.edge.size
        self._holdings = check_holdings(directory, log, self._head.size, findings)
        published = Log(log, directory / "segments", self._head.size, self._holdings.entries_from)
        edge = check_tree(published, self._head, before.edge, findings, workers, self._progress)
        records = before.records
        if not tree_only and log != directory:
            records = check_records(
                directory, published, records, self._holdings, findings, self._counts, workers,
                self._progress,
            )  # fmt: skip
        self._reached = Verified(self._note, edge, records)

    def _before(self) -> Verified:
        """What need not be read again: nothing, when the log contradicts what was verified."""
        since, findings = self._known.since, self._findings
        if since is not None:
            number = len(findings.found)
            name = "the last verified checkpoint"
            check_known(since.note, name, self._known.key, self._head, self._log, findings)
            if len(findings.found) == number:
                return since
        return Verified(b"", Edge())

    def verdict(self) -> Verdict:
        counts = self._counts
        return Verdict(
            directory=str(self._directory),
            origin=self._known.key.name,
            vkey=str(self._known.key),
            size=self._head.size,
            root=self._head.root.hex(),
            unpublished=counts.unpublished,
            sealed=counts.sealed,
            opened=counts.opened,
            without_key=counts.without_key,
            erased=counts.erased,
            findings=tuple(self._findings.found),
            since=self._since,
            elsewhere=self._holdings.entries_from,
            reached=None if self._findings.found or not self._note else self._reached,
        )
