"""When entries were in the log, by the time-stamps on its anchors; and what is kept beside it.

A token proves that the anchor's checkpoint existed at its time, and so every entry that the anchor
covers. Between an anchor that does not cover an entry yet and the first one that does lies the time
at which it was recorded. Where an anchor has several tokens, the least that they prove counts: the
latest time at which it was there, the earliest at which it was not.

Of very many tokens an evenly spread part is checked, the last one among it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from typing import Final

from cryptography import x509

from exchange.entries import parse_entry
from exchange.problems import Code, Problem
from exchange.timestamps import Timestamp, check_token
from mediator.journal.anchors import FILE, Anchor, AnchorReader
from mediator.journal.evidence import EVENT, EvidenceReader, Statement
from mediator.journal.evidence import FILE as EVIDENCE_FILE
from mediator.journal.verify.findings import Finding
from serving.log.tiles import TileFolder

CHECKED: Final = 1000


@dataclass(frozen=True, slots=True)
class Stamped:
    """What was found of time-stamps.

    ``tokens`` anchors have one; ``checked`` of them were judged; the last good one proves that the
    first ``size`` entries were there at ``at``.
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


def verify_times(journal: Path, authorities: Sequence[x509.Certificate]) -> Stamped:
    """Check the tokens beside a journal; without authorities they are only counted.

    Raises:
        Problem: ``JournalCorrupt`` when the anchors cannot be read.
    """
    reader = AnchorReader.open(journal)
    try:
        sizes = reader.stamped_sizes()
        if not authorities:
            return Stamped(len(sizes), 0, 0, None, ())
        step = -(-len(sizes) // CHECKED) or 1
        chosen = sizes[::-step][::-1]
        findings, size, at = [], 0, None
        for one in chosen:
            anchor = reader.at_size(one)
            if anchor is None:
                continue
            try:
                at, size = _latest(anchor, authorities)[0], one
            except Problem as problem:
                findings.append(Finding(problem.code, FILE, None, problem.detail))
        return Stamped(len(sizes), len(chosen), size, at, tuple(findings))
    finally:
        reader.close()


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


def _latest(anchor: Anchor, authorities: Sequence[x509.Certificate]) -> tuple[datetime, str]:
    stamps = _stamps(anchor, authorities)
    times = [
        (stamp.time, token.authority) for stamp, token in zip(stamps, anchor.tokens, strict=True)
    ]
    return max(times)


def _stamps(anchor: Anchor, authorities: Sequence[x509.Certificate]) -> list[Timestamp]:
    """All tokens of an anchor, checked.

    Raises:
        Problem: ``InvalidTimestamp``.
    """
    digest = sha256(anchor.text).digest()
    stamps = []
    for token in anchor.tokens:
        try:
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
        folder, number = TileFolder(log), 0
        findings: list[Finding] = []
        for statement in reader.statements():
            number += 1
            detail = _wrong(statement, folder, size)
            if detail is not None and len(findings) < CHECKED:
                findings.append(
                    Finding(Code.JOURNAL_CORRUPT, EVIDENCE_FILE, statement.entry, detail)
                )
        return number, tuple(findings)
    finally:
        reader.close()


def _wrong(statement: Statement, folder: TileFolder, size: int) -> str | None:
    if sha256(statement.der).hexdigest() != statement.digest:
        return f"what was said of {statement.certificate[:16]}… was changed"
    if statement.entry is None or statement.entry >= size:
        return None  # its entry is not published yet
    try:
        ((_, data),) = folder.entries(statement.entry, statement.entry + 1, size)
        entry = parse_entry(data)
    except Problem as problem:
        if problem.code is Code.ARCHIVED:
            return None
        return f"its entry cannot be read: {problem.detail}"
    said = (entry.event, entry.certificate, entry.evidence)
    if said != (EVENT, statement.certificate, statement.digest):
        return f"the entry does not commit to what is kept of {statement.certificate[:16]}…"
    return None
