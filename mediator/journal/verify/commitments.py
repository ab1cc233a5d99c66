"""What entries of the log say of files beside it: that each of these is there, as it was.

- ``event: revocation``: a document in ``evidence.sqlite``. It may be missing when it is old and a
  later one that says the same of the certificate, soon after it, is there: such are thinned out;
- ``event: anchors``: the anchors of an hour in ``anchors.sqlite``, with all that others gave for
  them, or, when they are old, those that were stated to stay;
- ``event: subject-index``: the index of subjects of a part of the log, which is made here from the
  entries of that part; the server's own file of it is held against that;
- ``event: log contradicted``: a proof of what another log did, in ``misbehaviour/``; a copy without
  that folder has none;
- ``event: erasure``: what the keys forgot, which accounts for sealed parts that nobody can open;
  ``erasures.json`` repeats these entries and no others.

Entries come in the order of the log, those of some tiles at a time: what is remembered of them does
not grow with the log, but for erasures and for a digest of each hour's anchors.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Final, NamedTuple

from exchange.journal.entries import ERASURE, Entry, SubjectIndex, parse_entry
from exchange.journal.subject_index import EVENT as SUBJECTS
from exchange.log import merkle
from exchange.log.tiles import WIDTH, tile_at
from exchange.problems import Code, Problem
from mediator.journal import subject_tree
from mediator.journal.anchor_batches import EVENT as BATCH
from mediator.journal.anchor_batches import Statement, contents
from mediator.journal.anchors import FILE as ANCHORS
from mediator.journal.anchors import KEEP_ALL as ANCHORS_KEEP_ALL
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
ANCHORS_KEPT: Final = ANCHORS_KEEP_ALL - timedelta(days=1)
"""What is older may be thinned out; a day for clocks that differ."""
_EVER: Final = datetime.max.replace(tzinfo=UTC)
_SYSTEM: Final = b'"side":"server"'
_MARKS: Final = tuple(
    f'"event":"{event}"'.encode() for event in (ERASURE, REVOCATION, SUBJECTS, BATCH, CONTRADICTED)
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
    """Documents that say the same of one certificate, to which entries commit and that are not
    here: (index, time).

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
        self._missing: dict[tuple[str, str | None], _Missing] = {}
        self._batches: dict[str, int] = {}
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
                self._check_evidence(index, entry)
            elif entry.event == BATCH and entry.evidence:
                self._batches[entry.evidence] = index
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
        if self._evidence is not None and self._batches:
            self._check_anchors()
        self._check_erasures()

    # --- evidence.sqlite ---------------------------------------------------------------------

    def _check_evidence(self, index: int, entry: Entry) -> None:
        if self._evidence is None or entry.certificate is None or entry.evidence is None:
            return
        try:
            there = self._evidence.has(entry.certificate, entry.evidence)
            if not there and self._in_archive and index > self._evidence.last_entry():
                return  # an archive's copy of the file is replaced now and then
        except Problem as problem:
            self._findings.of(problem, EVIDENCE, index)
            self._evidence = None
            return
        # An answer that the certificate is revoked is followed by nothing but another such.
        missing = self._missing.setdefault((entry.certificate, entry.problem), _Missing())
        if there:
            missing.follow(entry.at)
        else:
            missing.alone.append((index, entry.at))

    def _lost(self) -> Iterator[int]:
        """What is missing and was not thinned out."""
        last, end = self._last_time(), self._end_time()
        for missing in self._missing.values():
            for index, at in missing.alone:
                if not (self._holdings.is_excerpt and end - at <= SOON):  # what follows is not here
                    yield index
            yield from (index for index, at in missing.followed if last - at < KEEP_ALL)

    def _last_time(self) -> datetime:
        """By what time things are old: in a part of an archive everything may be."""
        return _EVER if self._holdings.is_excerpt else self._end_time()

    def _end_time(self) -> datetime:
        """The time of the log's newest entry that is here."""
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

    def _check_anchors(self) -> None:
        """Hold the batches of anchors against their statements, and these against the entries."""
        try:
            reader = AnchorReader.open(self._directory)
        except Problem:
            return  # said of the anchors
        with contextlib.closing(reader):
            try:
                for statement in reader.statements():
                    index = self._batches.pop(sha256(statement).hexdigest(), None)
                    if index is not None:
                        self._check_batch(index, Statement.parse(statement), reader)
                newest = reader.latest()
            except Problem:
                return
        covered = 0 if newest is None else newest.size
        # A copy's anchors are older than its log: what was committed to behind them is not there.
        later = [index for index in self._batches.values() if index >= covered]
        excused = {*later} if self._in_archive else {*later[-1:]}
        for index in sorted({*self._batches.values()} - excused):
            self._findings.add(
                Code.JOURNAL_CORRUPT,
                ANCHORS,
                index,
                "what was stated of the anchors to which the entry commits is missing or was "
                "changed: those since the entry before of this event",
            )

    def _check_batch(self, index: int, said: Statement, reader: AnchorReader) -> None:
        there = contents(reader.between(said.after, said.until))
        if there == said.all:
            return
        last = reader.at_size(said.until)
        thinned_out = self._last_time().timestamp() - ANCHORS_KEPT.total_seconds()
        if there == said.stay and last is not None and last.at < thinned_out:
            return
        wanted = said.stay if last is None or last.at < thinned_out else said.all
        detail = (
            f"of the sizes {said.after + 1} to {said.until} the entry commits to {wanted}; there "
            f"are {there}"
        )
        if there[:3] == wanted[:3]:
            detail += ", of which something was changed"
        self._findings.add(Code.JOURNAL_CORRUPT, ANCHORS, index, detail)

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
