"""Offline verification of a journal's directory: every byte that the proofs rest on.

What is checked, and against what:

- the checkpoint against the verifier key, the store of the last signed checkpoint, and a
  checkpoint that somebody remembered: a log that was set back, cut or forked is refused. The store
  is read first, so that it may be behind a journal that is being written, and never ahead of it;
- every tile against the tiles below it and the checkpoint above; every entry against its leaf, and
  that it is an entry as servers write them;
  partial tiles and bundles of earlier sizes, which stay until the full one is there, against the
  present ones;
- every record of the segments against its checksum and its leaf; every sealed part against the
  digest in its entry; where the member's key is here, its content, the commitment and the body's
  digest. A key that was destroyed never breaks a proof; an entry must account for it
  (:mod:`mediator.journal.verify.accounts`);
- what entries say of files beside the log: documents about certificates, time-stamps, indexes of
  subjects (:mod:`mediator.journal.verify.commitments`);
- what is not here, against what the log says was removed from here.

A finding names the file and, where it can be told, the entry. When two files contradict each
other, the one that a third contradicts too is named.

Files are read once, in their order, in units that may run in several processes; memory does not
grow with the log, but for a hash of each 256 entries. An earlier run's :class:`Verified` spares
what it read, and what an interrupted one had read.

With certificates (:mod:`mediator.journal.verify.signers`) every signature in an opened sealed part
is verified, and what could not be is counted (:mod:`mediator.journal.verify.signatures`).

Not checked: whether what was recorded is true, and whether the verifier key is the one that the
registry lists.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from exchange.log import merkle
from exchange.log.checkpoint import Checkpoint
from exchange.log.merkle import HASH_SIZE
from exchange.log.notes import VerifierKey
from exchange.log.tiles import WIDTH
from exchange.problems import Code, Problem
from exchange.registry.log import origin
from mediator.journal.holdings import Holdings
from mediator.journal.key_files import KeyEncryption
from mediator.journal.recovery import DESCRIPTION, Description
from mediator.journal.segments import Position
from mediator.journal.verify.accounts import Accounts, check_keys
from mediator.journal.verify.commitments import Commitment, Commitments
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
from mediator.journal.verify.reached import Begun, Edge, Keep, Verified
from mediator.journal.verify.records import check_records
from mediator.journal.verify.signatures import Signed, Signers
from mediator.journal.verify.tree import Log, check_tree
from mediator.journal.verify.workers import Workers

__all__ = [
    "MAX_FINDINGS",
    "Finding",
    "Progress",
    "Signers",
    "Verdict",
    "Verified",
    "log_key",
    "verify",
]

_REGISTRY: Final = origin("")
"""How the name of a registry's log ends; no server's log has such a one."""


@dataclass(frozen=True, slots=True)
class _Asked:
    """What a run knows of a log before it reads it, and how it is to go about it."""

    key: VerifierKey
    checkpoint: bytes | None
    since: Verified | None
    encryption: KeyEncryption | None
    signers: Signers | None
    tree_only: bool
    some_keys: bool
    progress: Progress
    keep: Keep


def verify(
    directory: Path,
    *,
    key: VerifierKey | None = None,
    known: bytes | None = None,
    since: Verified | None = None,
    tree_only: bool = False,
    encryption: KeyEncryption | None = None,
    signers: Signers | None = None,
    some_keys: bool = False,
    processes: int = 1,
    progress: Progress = lambda what, done, total: None,
    keep: Keep = lambda verified: None,
) -> Verdict:
    """Verify a journal's directory, or a copy of its ``log/`` alone.

    Args:
        directory: a journal, an archive of one, or what it publishes.
        key: the log's verifier key as the registry lists it; without it, that of journal.json.
        known: a signed checkpoint of this log that was remembered from before.
        since: how far an earlier run came; what it read is not read again, unless the log of
            today contradicts it.
        tree_only: leave out the segments (sealed parts).
        encryption: opens key files under a passphrase.
        signers: verify the signatures in opened sealed parts by these certificates; None: leave
            them out.
        some_keys: keys were left out on purpose: one that is not here is no finding.
        processes: how many to use; with one, all is done here.
        progress: is told (what, done, total) now and then.
        keep: is given what a later run may build on when this one is interrupted.

    Raises:
        Problem: ``JournalCorrupt`` when the directory is no journal, or no key is known.
    """
    findings = Findings()
    log = directory / "log" if (directory / "log").is_dir() else directory
    key = _key(directory, key, findings)
    if tree_only or log == directory:
        signers = None  # what was signed is not read
    asked = _Asked(key, known, since, encryption, signers, tree_only, some_keys, progress, keep)
    run = _Run(directory, log, asked, findings)
    with contextlib.suppress(TooManyError), Workers(processes) as workers:
        run.check(workers)
    verdict = run.verdict()
    if verdict.good or since is None or since.begun is None:
        return verdict
    nothing = Begun(since.begun.note, b"", since.records, since.signed)
    if since.begun == nothing:
        return verdict
    # What the interrupted run read is not what is here: only all of it can say where.
    return verify(
        directory, key=key, known=known, since=replace(since, begun=nothing), tree_only=tree_only,
        encryption=encryption, signers=signers, some_keys=some_keys, processes=processes,
        progress=progress,
    )  # fmt: skip


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

    def __init__(self, directory: Path, log: Path, asked: _Asked, findings: Findings) -> None:
        self._directory = directory
        self._log = log
        self._asked = asked
        self._findings = findings
        self._head = Checkpoint(asked.key.name, 0, merkle.EMPTY_ROOT)
        self._note = b""
        self._since = 0
        self._counts = Counts()
        self._signed: Signed | None = None
        self._holdings = Holdings()
        self._reached: Verified | None = None

    def check(self, workers: Workers) -> None:
        directory, log, findings, asked = self._directory, self._log, self._findings, self._asked
        found = check_head(directory, log, asked.key, findings)
        if found is None:
            return
        self._head, self._note = found
        if asked.checkpoint is not None:
            # Before the tiles: a fork must be told however much is damaged.
            known = asked.checkpoint
            check_known(known, "known checkpoint", asked.key, self._head, log, findings)
        before = self._before()
        self._holdings = check_holdings(directory, log, self._head.size, findings)
        commitments = Commitments(
            directory, log, self._head.size, self._holdings, findings, asked.progress
        )
        with contextlib.closing(commitments):
            self._check_all(before, commitments, workers)

    def _check_all(self, before: Verified, commitments: Commitments, workers: Workers) -> None:
        directory, findings, asked = self._directory, self._findings, self._asked
        holdings, size = self._holdings, self._head.size
        published = Log(
            self._log, directory / "segments", size, holdings.entries_from,
            self._is_journal(), self._records(),
        )  # fmt: skip
        begun = before.begun or Begun(b"", b"", before.records, before.signed)
        known = begun.leaves
        first = before.edge.size // WIDTH * WIDTH + len(known) // HASH_SIZE * WIDTH
        self._since = max(before.edge.size, first)
        with contextlib.suppress(Problem):  # a bundle is broken: the tree's findings name it
            commitments.catch_up(begun.records.index, first)

        def read(found: list[Commitment], leaves: bytes) -> None:
            nonlocal known
            commitments.take(found)
            known = leaves
            self._keep(before, replace(begun, leaves=known))

        edge = check_tree(
            published, self._head, before.edge, known, findings, workers, asked.progress, read
        )
        commitments.end()
        records, signed = before.records, before.signed
        if not asked.tree_only and self._log != directory:
            accounts = Accounts.of(
                directory, self._log, size, asked.encryption, commitments.erasures,
                some_keys=asked.some_keys,
            )  # fmt: skip
            start, earlier = begun.records, begun.signed
            if asked.signers is not None and (earlier is None or start.index == 0):
                # Whoever read these records before did not look at their signatures.
                start, earlier = Position(0, 0, 0), Signed()

            def so_far(newly: Signed) -> Signed | None:
                if asked.signers is None or earlier is None:
                    return None
                return newly.plus(earlier)

            def reach(at: Position, newly: Signed) -> None:
                self._keep(before, Begun(b"", known, at, so_far(newly)))

            records, newly = check_records(
                directory, published, accounts, asked.signers, start, holdings, findings,
                self._counts, workers, asked.progress, reach,
            )  # fmt: skip
            signed = so_far(newly)
            self._signed = so_far(self._counts.signed)
            check_keys(accounts, findings)
        self._reached = Verified(self._note, edge, records, signed=signed)

    def _is_journal(self) -> bool:
        """Whether the entries are a server's; a registry's log has others, under its own name."""
        described = (self._directory / DESCRIPTION).exists()
        return described or not self._asked.key.name.endswith(_REGISTRY)

    def _records(self) -> range:
        """The entries whose records are read."""
        if self._asked.tree_only or self._log == self._directory:
            return range(0)
        until = self._holdings.segments_until
        return range(self._holdings.segments_from, self._head.size if until is None else until)

    def _keep(self, before: Verified, begun: Begun) -> None:
        if self._note and not self._findings.found:
            self._asked.keep(replace(before, begun=replace(begun, note=self._note)))

    def _before(self) -> Verified:
        """What need not be read again: nothing, when the log contradicts what was verified."""
        since = self._asked.since
        if since is None or not self._extends(since.note, "the last verified checkpoint"):
            return Verified(b"", Edge(0, []))
        name = "the checkpoint of the interrupted run"
        if since.begun is not None and not self._extends(since.begun.note, name):
            return replace(since, begun=None)
        return since

    def _extends(self, note: bytes, name: str) -> bool:
        findings, number = self._findings, len(self._findings.found)
        if note:
            check_known(note, name, self._asked.key, self._head, self._log, findings)
        return len(findings.found) == number

    def verdict(self) -> Verdict:
        counts = self._counts
        signed = self._signed
        if signed is None and self._asked.signers is not None:
            signed = counts.signed  # it ended before its end
        return Verdict(
            directory=str(self._directory),
            origin=self._asked.key.name,
            vkey=str(self._asked.key),
            size=self._head.size,
            root=self._head.root.hex(),
            unpublished=counts.unpublished,
            sealed=counts.sealed,
            opened=counts.opened,
            without_key=counts.without_key,
            erased=counts.erased,
            lost=counts.lost,
            findings=tuple(self._findings.found),
            signed=signed,
            missing=tuple(sorted(counts.missing)),
            since=self._since,
            elsewhere=self._holdings.entries_from,
            reached=None if self._findings.found or not self._note else self._reached,
        )
