"""Records of the segments and their sealed parts, against the leaves of the tree.

A segment is a unit of work; what lies between two segments is judged when both were read.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path

from exchange.journal.entries import Sealed
from exchange.journal.sealed_parts import parse_part
from exchange.log.merkle import HASH_SIZE
from exchange.log.tiles import WIDTH, tile_at
from exchange.problems import Code, Problem
from mediator.journal import segments
from mediator.journal.holdings import Holdings
from mediator.journal.keyring import MemberKey
from mediator.journal.segments import Broken, Position
from mediator.journal.verify.accounts import Accounts
from mediator.journal.verify.contents import check_part
from mediator.journal.verify.entries import read_entry
from mediator.journal.verify.findings import Counts, Finding, Findings, Progress, TooManyError
from mediator.journal.verify.signatures import Signatures, Signed, Signers
from mediator.journal.verify.signing import Signing, signing_of
from mediator.journal.verify.tree import Log
from mediator.journal.verify.workers import Workers
from serving.log.tiles import TileFolder


@dataclass(frozen=True, slots=True)
class _Unit:
    """A segment, or the rest of one, as a unit of work."""

    directory: Path
    log: Log
    accounts: Accounts
    signers: Signers | None
    start: Position
    last: bool
    """It is the journal's newest segment: a torn tail is no damage."""


@dataclass(slots=True)
class _Read:
    """What was read of a segment."""

    first: int | None = None
    """The first record; None when there is none that is whole."""
    end: Position | None = None
    """Behind the last whole group."""
    published: Position | None = None
    """Behind the last whole group of published records."""
    settled: Signed | None = None
    """What came of the signatures up to there; None: there is nothing behind it."""
    counts: Counts = field(default_factory=Counts)
    findings: list[Finding] = field(default_factory=list)


def check_records(
    directory: Path,
    log: Log,
    accounts: Accounts,
    signers: Signers | None,
    start: Position,
    holdings: Holdings,
    findings: Findings,
    counts: Counts,
    workers: Workers,
    progress: Progress,
    read_to: Callable[[Position, Signed], None],
) -> tuple[Position, Signed]:
    """Check the records of all segments from ``start`` on.

    Args:
        signers: whose signatures are verified; None: nobody's.
        read_to: is told where each segment's published records end, and what came of the
            signatures from ``start`` to there.

    Returns:
        the place behind the last group whose records are all published, and the same of it.
    """
    records = directory / "segments"
    if not records.is_dir():
        findings.add(
            Code.JOURNAL_FORKED, "segments", 0, "is missing; --tree-only checks the log alone"
        )
        return start, Signed()
    size = log.size
    units = _units(directory, log, accounts, signers, start)
    expected = start.index
    if expected < holdings.segments_from:  # what is older may be gone
        expected = min(holdings.segments_from, units[0].start.index if units else size)
    reached, settled = start, Signed()
    for unit, read in zip(units, workers.run(_check_segment, units), strict=True):
        file = _name(unit)
        if read.first is not None and unit.start.index != expected:
            findings.add(
                Code.JOURNAL_CORRUPT,
                file,
                expected,
                f"records {expected} to {unit.start.index} miss",
            )
        findings.extend(read.findings)
        counts.add(read.counts)
        expected = expected if read.end is None else read.end.index
        reached = read.published or reached
        settled.add(read.settled or read.counts.signed)
        read_to(reached, replace(settled))
        progress("sealed parts", min(expected, size), size)
    until = size if holdings.segments_until is None else min(size, holdings.segments_until)
    if expected < until:
        findings.add(
            Code.JOURNAL_FORKED,
            "segments",
            expected,
            f"the segments end with {expected} records; the log has {until}",
        )
    progress("sealed parts", size, size)
    return reached, settled


def _units(
    directory: Path, log: Log, accounts: Accounts, signers: Signers | None, start: Position
) -> list[_Unit]:
    firsts = [
        first for first in segments.segments_in(directory / "segments") if first >= start.segment
    ]
    units = []
    for number, first in enumerate(firsts):
        position = start if first == start.segment else Position(first, first, 0)
        last = number == len(firsts) - 1
        units.append(_Unit(directory, log, accounts, signers, position, last))
    return units


def _name(unit: _Unit) -> str:
    return f"segments/{segments.path_of(unit.directory, unit.start.segment).name}"


def _check_segment(unit: _Unit) -> _Read:
    """Check the records of one segment: a unit of work."""
    findings = Findings()
    read = _Read(findings=findings.found)
    with contextlib.suppress(TooManyError):
        _Records(unit, findings, read).check()
    return read


class _Records:
    """Checks the records of one segment; keeps one group at a time."""

    def __init__(self, unit: _Unit, findings: Findings, read: _Read) -> None:
        self._unit = unit
        self._file = _name(unit)
        self._findings = findings
        self._read = read
        self._folder = TileFolder(unit.log.folder)
        self._keys = _Keys(unit.accounts)
        self._signatures = None if unit.signers is None else Signatures(unit.signers)

    def check(self) -> None:
        read, size, file = self._read, self._unit.log.size, self._file
        expected = self._unit.start.index
        for group in self._groups():
            if group.first != expected:
                self._findings.add(
                    Code.JOURNAL_CORRUPT,
                    file,
                    expected,
                    f"records {expected} to {group.first} miss",
                )
            expected = group.next
            read.first = group.first if read.first is None else read.first
            read.end = Position(group.next, self._unit.start.segment, group.end)
            if group.next <= size:
                read.published = read.end
            elif read.settled is None:
                read.settled = replace(read.counts.signed)
            self._check_group(group)

    def _check_group(self, group: segments.Group) -> None:
        """Check the records of a group; they are hashed at once, compared one by one if need be."""
        published = min(len(group.entries), max(0, self._unit.log.size - group.first))
        self._read.counts.unpublished += len(group.entries) - published
        hashes = [sha256(b"\x00" + entry).digest() for entry in group.entries[:published]]
        leaves = self._leaves(group.first, group.first + published)
        if leaves == b"".join(hashes):
            wrong = set[int]()
        else:
            wrong = {
                at
                for at, found in enumerate(hashes)
                if found != leaves[at * HASH_SIZE : (at + 1) * HASH_SIZE]
            }
        for index, entry, sealed in zip(
            range(group.first, group.next), group.entries, group.sealed, strict=True
        ):
            if wrong and index - group.first in wrong:
                self._findings.add(
                    Code.JOURNAL_CORRUPT, self._file, index, "the entry is not the one in the tree"
                )
                continue
            try:
                self._check_record(index, entry, sealed)
            except Problem as problem:
                where = problem.where if problem.where.startswith("keys/") else self._file
                self._findings.of(problem, where, index)

    def _check_record(self, index: int, entry: bytes, ciphertext: bytes) -> None:
        """Check one record whose entry is the one in the tree.

        Raises:
            Problem: what is wrong with it.
        """
        keys, counts = self._keys, self._read.counts
        document, sealed = read_entry(entry)
        signing = signing_of(document)
        if sealed is None:
            if ciphertext:
                detail = "a sealed part that its entry does not name"
                raise Problem(Code.JOURNAL_CORRUPT, detail=detail)
            self._count(signing, "not_kept")
            return
        if len(ciphertext) != sealed.size or sha256(ciphertext).hexdigest() != sealed.digest:
            detail = "the sealed part has another digest than its entry says"
            raise Problem(Code.JOURNAL_CORRUPT, detail=detail)
        counts.sealed += 1
        if sealed.key in keys.bad:
            self._count(signing, "without_key")
            return
        try:
            key = keys.find(sealed.key)
            if key is None:
                self._account(sealed, index, signing, forgot=False)
                return
            plaintext = key.open(sealed, ciphertext)
        except Problem as problem:
            if problem.code is Code.SEALED_PART_ERASED:
                self._account(sealed, index, signing, forgot=True)
                return
            if problem.code is Code.KEY_LOST:
                raise
            keys.bad.add(sealed.key)  # said once, not for each of a month's records
            where = f"keys/ ({sealed.key})"
            raise Problem(problem.code, where=where, detail=problem.detail) from problem
        part = parse_part(plaintext)
        stated = check_part(part, document)
        counts.opened += 1
        if stated is not None and self._signatures is not None:
            self._signatures.check(part, stated, document, signing, counts.signed, counts.missing)

    def _account(self, sealed: Sealed, index: int, signing: Signing, *, forgot: bool) -> None:
        """Count a sealed part that cannot be opened.

        Raises:
            Problem: ``KeyLost`` when nothing accounts for it.
        """
        counts = self._read.counts
        before = counts.erased
        detail = self._keys.account(sealed, index, counts, forgot=forgot)
        if detail is not None:
            raise Problem(Code.KEY_LOST, where=f"keys/ ({sealed.key})", detail=detail)
        self._count(signing, "erased" if counts.erased > before else "without_key")

    def _count(self, signing: Signing, what: str) -> None:
        """Count a signature that cannot be looked at."""
        if signing is not Signing.NONE and self._signatures is not None:
            signed = self._read.counts.signed
            setattr(signed, what, getattr(signed, what) + 1)

    def _leaves(self, first: int, end: int) -> bytes:
        """The leaf hashes of published records; zeros where their tile is missing or damaged."""
        found: list[bytes] = []
        while first < end:
            at = first % WIDTH
            until = min(end, first - at + WIDTH)
            hashes = b""
            with contextlib.suppress(Problem):  # the tree's own findings name it
                tile = tile_at(0, first // WIDTH, self._unit.log.size)
                hashes = self._folder.read_tile(tile)
            size = (until - first) * HASH_SIZE
            found.append(hashes[at * HASH_SIZE : at * HASH_SIZE + size].ljust(size, b"\x00"))
            first = until
        return b"".join(found)

    def _groups(self) -> Iterator[segments.Group]:
        """The whole groups in order; what is broken is found and passed over."""
        start = self._unit.start
        path = segments.path_of(self._unit.directory / "segments", start.segment)
        index, offset = start.index, start.offset
        while True:
            broken: Broken | None = None
            try:
                for group in segments.read_groups(path, index, offset=offset):
                    if isinstance(group, Broken):
                        broken = group
                    else:
                        yield group
            except OSError as error:  # of a broken disk, too
                detail = f"cannot be read: {error.strerror}"
                self._findings.add(Code.JOURNAL_CORRUPT, self._file, None, detail)
            if broken is None:
                return
            after = self._behind(path, broken)
            if after is None:
                return
            offset, index = after

    def _behind(self, path: Path, broken: Broken) -> tuple[int, int] | None:
        """Where to go on behind what is broken, which is a finding unless it is a torn tail."""
        after = segments.next_mark(path, broken.offset, broken.group)
        torn = self._unit.last and broken.group >= self._unit.log.size
        if torn and after is not None:  # or was it being written, and is whole by now?
            again = segments.read_groups(path, broken.group, offset=broken.offset)
            torn = isinstance(next(again, broken), segments.Group)
            after = None if torn else after
        if not torn:
            self._findings.add(Code.JOURNAL_CORRUPT, self._file, broken.index, broken.reason)
        return after


class _Keys:
    """The members' keys, each looked for once."""

    def __init__(self, accounts: Accounts) -> None:
        self._accounts = accounts
        self._ring = accounts.ring()
        self._locked: set[str] = set()
        self._found: dict[str, MemberKey | None] = {}
        self.bad: set[str] = set()

    def find(self, name: str) -> MemberKey | None:
        """The key of this name; None when it is not here, or its file is encrypted.

        Raises:
            Problem: ``SealedPartUnreadable`` when the file is there but is no key.
        """
        if name not in self._found:
            try:
                self._found[name] = self._ring.find(name)
            except Problem as problem:
                if not problem.facts.get("encrypted"):
                    raise
                self._found[name] = None  # whoever verifies need not be able to read
                self._locked.add(name)
        return self._found[name]

    def account(self, sealed: Sealed, index: int, counts: Counts, *, forgot: bool) -> str | None:
        """Count a sealed part that cannot be opened; why that is a finding, if it is.

        Args:
            forgot: the key is here, and does not know this record.
        """
        if sealed.key in self._locked:
            counts.without_key += 1
        elif self._accounts.erased(sealed, index):
            counts.erased += 1
        elif not forgot and not self._accounts.complete:
            counts.without_key += 1
        else:
            counts.lost += 1
            what = f"the key of leaf {sealed.leaf} was destroyed" if forgot else "it is missing"
            return f"{what}, and no entry accounts for it: no erasure, no end of its retention"
        return None
