"""When entries were in the log, by the time-stamps on its anchors; and what is kept beside it.

A token proves that the anchor's checkpoint existed at its time, and so every entry that the anchor
covers. Between an anchor that does not cover an entry yet and the first one that does lies the time
at which it was recorded. Where an anchor has several tokens, the least that they prove counts: the
latest time at which it was there, the earliest at which it was not.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from exchange.evidence.revocation import Kind, check_crl, check_ocsp
from exchange.evidence.timestamps import Timestamp, check_token, check_whole
from exchange.journal.entries import parse_entry
from exchange.problems import Code, Problem
from mediator.journal.anchors import FILE, Anchor, AnchorReader
from mediator.journal.evidence import EVENT, EvidenceReader, Statement
from mediator.journal.evidence import FILE as EVIDENCE_FILE
from mediator.journal.holdings import Holdings
from mediator.journal.verify.findings import MAX_FINDINGS, Finding, Progress
from mediator.journal.verify.workers import Workers
from serving.log.tiles import TileFolder

UNIT: Final = 100


@dataclass(frozen=True, slots=True)
class Stamped:
    """What was found of time-stamps.

    ``tokens`` anchors have one; ``checked`` of them were judged by authorities; the last good one
    proves that the first ``size`` entries were there at ``at``.
    """

    tokens: int
    checked: int
    size: int
    at: datetime | None
    findings: tuple[Finding, ...]


@dataclass(frozen=True, slots=True)
class Proven:
    """When an entry was recorded: not yet at ``after``, there at ``before``.

    ``authority`` gave the token over the anchor of ``size`` that proves ``before``. ``after`` is
    None when no earlier anchor has a token.
    """

    before: datetime
    after: datetime | None
    size: int
    authority: str


def verify_times(
    journal: Path,
    authorities: Sequence[x509.Certificate],
    *,
    since: int = 0,
    processes: int = 1,
    progress: Progress = lambda what, done, total: None,
) -> Stamped:
    """Check every token beside a journal: that it is over its anchor, and whole.

    Args:
        authorities: without any, who signed a token is not judged.
        since: without authorities, tokens on anchors of up to this size were checked before.
        processes: how many to use; with one, all is done here.
        progress: is told (what, done, total) now and then.

    Raises:
        Problem: ``JournalCorrupt`` when the anchors cannot be read.
    """
    with contextlib.closing(AnchorReader.open(journal)) as reader:
        sizes = reader.stamped_sizes()
    chosen = sizes if authorities else [one for one in sizes if one > since]
    trusted = [one.public_bytes(Encoding.DER) for one in authorities]
    units = [(journal, trusted, chosen[at : at + UNIT]) for at in range(0, len(chosen), UNIT)]
    findings, size, at = list[Finding](), 0, None
    with Workers(processes) as workers:
        for number, found in enumerate(workers.run(_check_tokens, units), 1):
            findings += found.findings
            size, at = (found.size, found.at) if found.size else (size, at)
            progress("time-stamps", min(number * UNIT, len(chosen)), len(chosen))
            if len(findings) >= MAX_FINDINGS:
                break
    if not authorities:
        return Stamped(len(sizes), 0, 0, None, tuple(findings))
    return Stamped(len(sizes), len(chosen), size, at, tuple(findings))


def _check_tokens(unit: tuple[Path, list[bytes], list[int]]) -> Stamped:
    """Check the tokens of some anchors: a unit of work."""
    journal, trusted, sizes = unit
    authorities = [x509.load_der_x509_certificate(one) for one in trusted]
    findings, size, at = list[Finding](), 0, None
    with contextlib.closing(AnchorReader.open(journal)) as reader:
        for one in sizes:
            anchor = reader.at_size(one)
            if anchor is None:
                continue
            try:
                at, size = _latest(anchor, authorities or None)[0], one
            except Problem as problem:
                findings.append(Finding(problem.code, FILE, None, problem.detail))
    return Stamped(len(sizes), len(sizes), size, at, tuple(findings[:MAX_FINDINGS]))


def proven_time(
    journal: Path, index: int, authorities: Sequence[x509.Certificate]
) -> Proven | None:
    """When an entry was recorded, by tokens of these authorities; None when no token covers it.

    That the anchors are of this log is for :func:`mediator.journal.verify.anchors.verify_anchors`.

    Raises:
        Problem: ``InvalidTimestamp`` when a token that counts is not good; ``JournalCorrupt``.
    """
    reader = AnchorReader.open(journal)
    try:
        anchor = reader.covering(index, stamped=True)
        if anchor is None:
            return None
        before, authority = _latest(anchor, authorities)
        earlier = reader.stamped_before(index)
        after = None if earlier is None else min(s.time for s in _stamps(earlier, authorities))
        return Proven(before, after, anchor.size, authority)
    finally:
        reader.close()


def _latest(anchor: Anchor, authorities: Sequence[x509.Certificate] | None) -> tuple[datetime, str]:
    stamps = _stamps(anchor, authorities)
    times = [
        (stamp.time, token.authority) for stamp, token in zip(stamps, anchor.tokens, strict=True)
    ]
    return max(times)


def _stamps(anchor: Anchor, authorities: Sequence[x509.Certificate] | None) -> list[Timestamp]:
    """All tokens of an anchor, checked; None: whoever signed them.

    Raises:
        Problem: ``InvalidTimestamp``.
    """
    digest = sha256(anchor.text).digest()
    stamps = []
    for token in anchor.tokens:
        try:
            if authorities is None:
                stamps.append(check_whole(token.der, digest))
            else:
                stamps.append(check_token(token.der, digest, authorities))
        except Problem as problem:
            raise Problem(
                problem.code,
                where=FILE,
                detail=f"the token of {token.authority} on the anchor of size {anchor.size}: "
                f"{problem.detail}",
            ) from problem
    return stamps


def verify_evidence(journal: Path, log: Path, size: int) -> tuple[int, tuple[Finding, ...]]:
    """Hold what is kept of certificates against the entries that commit to it.

    Args:
        log: the folder with tiles and entries, of which ``size`` were verified.

    Returns:
        how many statements are kept, and what is wrong with them.

    Raises:
        Problem: ``JournalCorrupt`` when the evidence cannot be read.
    """
    reader = EvidenceReader.open(journal)
    try:
        folder, number, first = TileFolder(log), 0, Holdings.read(journal).entries_from
        findings: list[Finding] = []
        for fingerprint, der in reader.certificates():
            if sha256(der).hexdigest() != fingerprint and len(findings) < MAX_FINDINGS:
                detail = f"the certificate {fingerprint[:16]}… was changed"
                findings.append(Finding(Code.JOURNAL_CORRUPT, EVIDENCE_FILE, None, detail))
        for statement in reader.statements():
            number += 1
            fault = _wrong(statement, folder, first, size) or _misread(statement, reader)
            if fault is not None and len(findings) < MAX_FINDINGS:
                findings.append(
                    Finding(Code.JOURNAL_CORRUPT, EVIDENCE_FILE, statement.entry, fault)
                )
        return number, tuple(findings)
    finally:
        reader.close()


def _misread(statement: Statement, reader: EvidenceReader) -> str | None:
    """Whether what stands beside a document is not what it says."""
    with contextlib.suppress(ValueError):  # the certificate's own finding names it
        chain = reader.chain(statement.certificate)
        if len(chain) < 2:
            return None
        check = check_ocsp if statement.kind is Kind.OCSP else check_crl
        at = datetime.fromtimestamp(statement.fetched_at, UTC)
        try:
            says = check(statement.der, chain[0], chain[1], at).status
        except Problem as problem:
            return f"what was said of {statement.certificate[:16]}… is not good: {problem.detail}"
        if says is not statement.status:
            return f"it says {says} of {statement.certificate[:16]}…, not {statement.status}"
    return None


def _wrong(statement: Statement, folder: TileFolder, first: int, size: int) -> str | None:
    if sha256(statement.der).hexdigest() != statement.digest:
        return f"what was said of {statement.certificate[:16]}… was changed"
    if statement.entry is None or not first <= statement.entry < size:
        return None  # its entry is not published yet, or in an archive
    try:
        ((_, data),) = folder.entries(statement.entry, statement.entry + 1, size)
        entry = parse_entry(data)
    except Problem as problem:
        return f"its entry cannot be read: {problem.detail}"
    said = (entry.event, entry.certificate, entry.evidence)
    if said != (EVENT, statement.certificate, statement.digest):
        return f"the entry does not commit to what is kept of {statement.certificate[:16]}…"
    return None
