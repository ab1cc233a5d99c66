"""What entries of the log say of files beside it: that each of these is there, as it was.

- ``event: revocation``: a document in ``evidence.sqlite``. It may be missing when it is old and a
  later one about the same certificate, soon after it, is there: such are thinned out;
- ``event: time-stamp``: a token in ``anchors.sqlite``;
- ``event: subject-index``: the index of subjects of a part of the log, which is made here from the
  entries of that part; the server's own file of it is held against that;
- ``event: log contradicted``: a proof of what another log did, in ``misbehaviour/``; a copy without
  that folder has none;
- ``event: erasure``: what the keys forgot, which accounts for sealed parts that nobody can open;
  ``erasures.json`` repeats these entries and no others.

Entries come in the order of the log, those of some tiles at a time: what is remembered of them does
not grow with the log, but for erasures and for a digest of each token (one an hour).
"""

from __future__ import annotations

import contextlib
import tempfile
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Final, NamedTuple

from exchange import merkle
from exchange.entries import ERASURE, SubjectIndex, parse_entry
from exchange.problems import Code, Problem
from exchange.subject_index import EVENT as SUBJECTS
from exchange.tiles import WIDTH, tile_at
from mediator.journal import subject_tree
from mediator.journal.anchors import EVENT as TIME_STAMP
from mediator.journal.anchors import FILE as ANCHORS
from mediator.journal.anchors import AnchorReader
from mediator.journal.erasures import FILE as ERASURES
from mediator.journal.erasures import Erasures
from mediator.journal.evidence import EVENT as REVOCATION
from mediator.journal.evidence import FILE as EVIDENCE
from mediator.journal.evidence import KEEP_ALL, SOON, EvidenceReader
from mediator.journal.holdings import Holdings
from mediator.journal.recovery import LOCK
from mediator.journal.verify.findings import Findings, Progress
from serving.log.tiles import TileFolder

CONTRADICTED: Final = "log contradicted"
"""The event of the entries that commit to a witness's proofs."""
PROOFS: Final = "misbehaviour"
_SYSTEM: Final = b'"side":"server"'
_MARKS: Final = tuple(
    f'"event":"{event}"'.encode()
    for event in (ERASURE, REVOCATION, SUBJECTS, TIME_STAMP, CONTRADICTED)
)


class Commitment(NamedTuple):
    """An entry that says something of another file: its number in the log and its bytes."""

    number: int
    entry: bytes


def commitments_in(bundle: bytes, first: int, entries: Sequence[bytes]) -> list[Commitment]:
    """The entries of a bundle, of which ``first`` is the number of the first, that are such."""
    if _SYSTEM not in bundle:
        return []
    return [
        Commitment(index, entry)
        for index, entry in enumerate(entries, first)
        if _SYSTEM in entry and any(mark in entry for mark in _MARKS)
    ]


@dataclass(slots=True)
class _Missing:
    """Documents about one certificate that entries commit to and that are not here: (index, time).

    ``followed`` by one that is here; ``alone`` not.
    """

    alone: list[tuple[int, datetime]] = field(default_factory=list)
    followed: deque[tuple[int, datetime]] = field(default_factory=deque)

    def follow(self, at: datetime) -> None:
        """One is here, of this time."""
        while self.followed and at - self.followed[0][1] >= KEEP_ALL:
            self.followed.popleft()
        self.followed += [one for one in self.alone if abs(at - one[1]) <= SOON]
        self.alone = [one for one in self.alone if abs(at - one[1]) > SOON]


def leaf_of(folder: TileFolder, index: int, size: int) -> bytes | None:
    """The hash of an entry as the tree has it; None when its tile is damaged."""
    with contextlib.suppress(Problem):  # the tree's own findings name it
        at = index % WIDTH * merkle.HASH_SIZE
        tile = folder.read_tile(tile_at(0, index // WIDTH, size))
        return tile[at : at + merkle.HASH_SIZE]
    return None


class Commitments:
    """Holds the files beside a log against what its entries say, as these come by."""

    def __init__(
        self,
        directory: Path,
        log: Path,
        size: int,
        holdings: Holdings,
        findings: Findings,
        progress: Progress,
    ) -> None:
        """``directory`` is the journal's; when it is that of the log alone, nothing is beside it.

        Raises:
            TooManyError: stores that cannot be read, among too many findings.
        """
        self.erasures = Erasures()
        self._directory = directory
        self._folder = TileFolder(log)
        self._size = size
        self._holdings = holdings
        self._in_archive = holdings.segments_until is not None
        self._findings = findings
        self._progress = progress
        self._missing: dict[str, _Missing] = {}
        self._tokens: dict[str, int] = {}
        self._subjects_end: int | None = None
        self._proofs: set[str] | None = None
        self._evidence: EvidenceReader | None = None
        if log != directory:
            try:
                self._evidence = EvidenceReader.open(directory)
            except Problem as problem:
                findings.of(problem, EVIDENCE)

    def close(self) -> None:
        if self._evidence is not None:
            self._evidence.close()

    def catch_up(self, first: int, end: int) -> None:
        """Take the erasures of entries that an earlier run read."""
        first = max(first, self._holdings.entries_from)
        for index, entry in self._folder.entries(first, end, self._size):
            if _MARKS[0] in entry:
                self.erasures.add(index, entry)

    def take(self, commitments: Sequence[Commitment]) -> None:
        """Judge what some entries say."""
        for index, data in commitments:
            try:
                entry = parse_entry(data, f"entry {index}")
            except Problem as problem:
                self._findings.of(problem, "log/", index)
                continue
            if entry.event == ERASURE:
                self.erasures.add(index, data)
            elif entry.event == REVOCATION and entry.evidence and entry.certificate:
                self._check_evidence(index, entry.at, entry.certificate, entry.evidence)
            elif entry.event == TIME_STAMP and entry.evidence:
                self._tokens[entry.evidence] = index
            elif entry.event == CONTRADICTED and entry.evidence:
                self._check_proof(index, entry.evidence)
            elif entry.event == SUBJECTS and entry.subjects is not None:
                self._check_subjects(index, entry.subjects)

    def end(self) -> None:
        """Judge what can be judged when all entries were seen."""
        for index in sorted(self._lost()):
            self._findings.add(
                Code.JOURNAL_CORRUPT,
                EVIDENCE,
                index,
                "what an authority said of a certificate, to which the entry commits, is missing "
                "or was changed",
            )
        if self._evidence is not None and self._tokens:
            self._check_tokens()
        self._check_erasures()

    # --- evidence.sqlite ---------------------------------------------------------------------

    def _check_evidence(self, index: int, at: datetime, certificate: str, digest: str) -> None:
        if self._evidence is None:
            return
        try:
            there = self._evidence.has(certificate, digest)
            if not there and self._in_archive and index > self._evidence.last_entry():
                return  # an archive's copy of the file is replaced now and then
        except Problem as problem:
            self._findings.of(problem, EVIDENCE, index)
            self._evidence = None
            return
        missing = self._missing.setdefault(certificate, _Missing())
        if there:
            missing.follow(at)
        else:
            missing.alone.append((index, at))

    def _lost(self) -> Iterator[int]:
        """What is missing and was not thinned out."""
        last = self._last_time()
        for missing in self._missing.values():
            yield from (index for index, _ in missing.alone)
            yield from (index for index, at in missing.followed if last - at < KEEP_ALL)

    def _last_time(self) -> datetime:
        """The time of the log's newest entry."""
        with contextlib.suppress(Problem):  # the tree's own findings name it
            ((_, entry),) = self._folder.entries(self._size - 1, self._size, self._size)
            return parse_entry(entry).at
        return datetime.min.replace(tzinfo=UTC)

    # --- misbehaviour/ -----------------------------------------------------------------------

    def _check_proof(self, index: int, digest: str) -> None:
        folder = self._directory / PROOFS
        if self._in_archive or not (folder.is_dir() or (self._directory / LOCK).exists()):
            return
        if self._proofs is None:
            try:
                files = sorted(folder.glob("*.json"))
                self._proofs = {sha256(path.read_bytes()).hexdigest() for path in files}
            except OSError as error:
                self._proofs = set()
                detail = f"cannot be read: {error.strerror}"
                self._findings.add(Code.JOURNAL_CORRUPT, f"{PROOFS}/", index, detail)
                return
        if digest not in self._proofs:
            self._findings.add(
                Code.JOURNAL_CORRUPT,
                f"{PROOFS}/",
                index,
                "the proof of what another log did, to which the entry commits, is missing or was "
                "changed",
            )

    # --- erasures.json -----------------------------------------------------------------------

    def _check_erasures(self) -> None:
        """The list is derived: what it says is held against the leaves of the tree."""
        try:
            listed = Erasures.parse((self._directory / ERASURES).read_bytes())
        except FileNotFoundError:
            return
        except OSError as error:
            detail = f"cannot be read: {error.strerror}"
            self._findings.add(Code.JOURNAL_CORRUPT, ERASURES, None, detail)
            return
        except Problem as problem:
            self._findings.of(problem, ERASURES)
            return
        for index, entry in listed.entries.items():
            if index < self._size and leaf_of(self._folder, index, self._size) != merkle.leaf_hash(
                entry
            ):
                detail = "says that there was an erasure which is not in the log; delete it"
                self._findings.add(Code.JOURNAL_CORRUPT, ERASURES, index, detail)
        for index in self.erasures.entries.keys() - listed.entries.keys():
            if index < listed.scanned:
                detail = "lacks an erasure that is in the log; delete it: it is made anew"
                self._findings.add(Code.JOURNAL_CORRUPT, ERASURES, index, detail)

    # --- anchors.sqlite ----------------------------------------------------------------------

    def _check_tokens(self) -> None:
        try:
            reader = AnchorReader.open(self._directory)
        except Problem:
            return  # said of the anchors
        with contextlib.closing(reader):
            try:
                for der in reader.tokens():
                    self._tokens.pop(sha256(der).hexdigest(), None)
                newest = reader.latest()
            except Problem:
                return
        covered = 0 if newest is None else newest.size
        # A copy's anchors are older than its log: what was committed to behind them is not there.
        later = [index for index in self._tokens.values() if index >= covered]
        excused = {*later} if self._in_archive else {*later[-1:]}
        for index in sorted({*self._tokens.values()} - excused):
            self._findings.add(
                Code.JOURNAL_CORRUPT,
                ANCHORS,
                index,
                "the time-stamp to which the entry commits is missing or was changed",
            )

    # --- indexes of subjects -----------------------------------------------------------------

    def _check_subjects(self, index: int, said: SubjectIndex) -> None:
        """Make the index anew, and hold commitment and file against it."""
        before, self._subjects_end = self._subjects_end, said.end
        if not said.first < said.end <= index:
            self._findings.add(
                Code.INVALID_PROOF, "log/", index, "commits to what is not before it"
            )
            return
        if said.first < self._holdings.entries_from:
            return  # the entries are in an archive
        if before is not None and before != said.first and not self._holdings.entries_from:
            self._findings.add(
                Code.INVALID_PROOF,
                "log/",
                index,
                f"its index of subjects begins at entry {said.first}, the last ended at {before}",
            )
        file = subject_tree.path_of(self._directory, said.first, said.end)
        with tempfile.TemporaryDirectory(prefix="saphan-subjects-") as folder:
            path = Path(folder) / file.name
            try:
                made = subject_tree.make(
                    path, self._folder, said.first, said.end, self._size, self._progress
                )
                if made != said:
                    self._findings.add(
                        Code.INVALID_PROOF,
                        "log/",
                        index,
                        "commits to another index of subjects than its entries amount to",
                    )
                elif file.exists() and not subject_tree.is_same(path, file):
                    self._findings.add(
                        Code.JOURNAL_CORRUPT,
                        f"{subject_tree.FOLDER}/{file.name}",
                        index,
                        "is not the index of subjects to which the entry commits; delete it: it is "
                        "derived",
                    )
            except Problem:
                return  # the tree's own findings name what cannot be read
            except OSError as error:
                self._findings.of(subject_tree.unreadable(error), subject_tree.FOLDER, index)
