"""Records of the segments and their sealed parts, against the leaves of the tree."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path

import orjson

from exchange import merkle
from exchange.checkpoint import Checkpoint
from exchange.digest import format_content_digest
from exchange.entries import Sealed
from exchange.problems import Code, Problem
from exchange.sealed_parts import SealedPart, commitment, parse_part
from mediator.journal import segments
from mediator.journal.keyring import KeyRing
from mediator.journal.segments import Broken
from mediator.journal.verify.findings import Counts, Findings, Progress


def check_segments(
    directory: Path,
    head: Checkpoint,
    leaf: Callable[[int], bytes | None],
    findings: Findings,
    counts: Counts,
    progress: Progress,
) -> None:
    records = directory / "segments"
    keyring = KeyRing(directory / "keys")
    bad_keys: set[str] = set()
    expected = 0
    if not records.is_dir():
        findings.add(
            Code.JOURNAL_FORKED, "segments", 0, "is missing; --tree-only checks the log alone"
        )
        return
    for group, file in _groups(records, head, findings):
        if group.first != expected:
            findings.add(
                Code.JOURNAL_CORRUPT, file, expected, f"records {expected} to {group.first} miss"
            )
        expected = group.next
        progress("sealed parts", min(expected, head.size), head.size)
        for index, (entry, sealed) in enumerate(
            zip(group.entries, group.sealed, strict=True), group.first
        ):
            if index >= head.size:
                counts.unpublished += 1
            elif merkle.leaf_hash(entry) != leaf(index):
                findings.add(
                    Code.JOURNAL_CORRUPT, file, index, "the entry is not the one in the tree"
                )
                continue
            try:
                _check_sealed(entry, sealed, keyring, bad_keys, counts)
            except Problem as problem:
                where = problem.where if problem.where.startswith("keys/") else file
                findings.of(problem, where, index)
    if expected < head.size:
        findings.add(
            Code.JOURNAL_FORKED,
            "segments",
            expected,
            f"the segments end with {expected} records; the log has {head.size}",
        )


def _groups(
    records: Path, head: Checkpoint, findings: Findings
) -> Iterator[tuple[segments.Group, str]]:
    """The whole groups of all segments in order; what is broken is found and passed over."""
    firsts = segments.segments_in(records)
    for number, first in enumerate(firsts):
        path = segments.path_of(records, first)
        file = f"segments/{path.name}"
        index, offset = first, 0
        while True:
            broken: Broken | None = None
            try:
                for group in segments.read_groups(path, index, offset=offset):
                    if isinstance(group, Broken):
                        broken = group
                    else:
                        yield group, file
            except OSError as error:  # of a broken disk, too
                findings.add(Code.JOURNAL_CORRUPT, file, None, f"cannot be read: {error.strerror}")
            if broken is None:
                break
            after = segments.next_mark(path, broken.offset, broken.group)
            torn = number == len(firsts) - 1 and broken.group >= head.size
            if torn and after is not None:  # or was it being written, and is whole by now?
                again = segments.read_groups(path, broken.group, offset=broken.offset)
                torn = isinstance(next(again, broken), segments.Group)
                after = None if torn else after
            if not torn:
                findings.add(Code.JOURNAL_CORRUPT, file, broken.index, broken.reason)
            if after is None:
                break
            offset, index = after


def _check_sealed(
    entry: bytes, ciphertext: bytes, keyring: KeyRing, bad_keys: set[str], counts: Counts
) -> None:
    try:
        document = orjson.loads(entry)
        named = document.get("sealed")
        sealed = None if named is None else Sealed(**named)
        if sealed is not None and not type(sealed.key) is type(sealed.wrapped) is str:
            raise TypeError("key")
    except (orjson.JSONDecodeError, AttributeError, TypeError) as error:
        raise Problem(Code.JOURNAL_CORRUPT, detail="the entry is no entry") from error
    if sealed is None:
        if ciphertext:
            raise Problem(Code.JOURNAL_CORRUPT, detail="a sealed part that its entry does not name")
        return
    if len(ciphertext) != sealed.size or sha256(ciphertext).hexdigest() != sealed.digest:
        raise Problem(
            Code.JOURNAL_CORRUPT, detail="the sealed part has another digest than its entry says"
        )
    counts.sealed += 1
    if sealed.key in bad_keys:
        return
    try:
        key = keyring.find(sealed.key)
        if key is None:
            counts.without_key += 1
            return
        plaintext = key.open(sealed, ciphertext)
    except Problem as problem:
        bad_keys.add(sealed.key)  # said once, not for each of a month's records
        raise Problem(
            problem.code, where=f"keys/ ({sealed.key})", detail=problem.detail
        ) from problem
    check_part(parse_part(plaintext), document.get("commitment"), document.get("size"))
    counts.opened += 1


def check_part(part: SealedPart, expected: str | None, size: int | None) -> None:
    """Check an opened sealed part against its entry's commitment and body size.

    Raises:
        Problem: ``JournalCorrupt`` when the commitment, ``DigestMismatch`` when the digest of a
            body that was kept, does not fit.
    """
    if commitment(part) != expected:
        raise Problem(Code.JOURNAL_CORRUPT, detail="the commitment is not to this signature base")
    if not part.base or len(part.body) != size:
        return  # not signed, or the body was not kept
    stated = [value for name, value in part.head.headers if name == "content-digest"]
    if stated and stated != [format_content_digest(sha256(part.body).digest())]:
        raise Problem(
            Code.DIGEST_MISMATCH, detail="the body has another digest than its head states"
        )
