"""Reading a journal from outside, while it runs or when it is long closed: entries, proofs, search.

Proof and checkpoint always come from one snapshot: the checkpoint is read first, and the proof is
made for its size.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from exchange.journal import subjects
from exchange.journal.entries import Entry, parse_entry
from exchange.journal.sealed_parts import SealedPart, parse_part
from exchange.log import merkle
from exchange.log.checkpoint import Checkpoint, open_checkpoint
from exchange.log.merkle import HASH_SIZE
from exchange.log.notes import VerifierKey
from exchange.log.proof import LogProof
from exchange.log.tiles import ENTRIES, WIDTH, parse_bundle, tile_at
from exchange.problems import Code, Problem
from mediator.journal import segments
from mediator.journal.erasures import Erasure, Erasures
from mediator.journal.holdings import Holdings
from mediator.journal.index import FILE as INDEX_FILE
from mediator.journal.index import IndexReader, IndexWriter, MonthTag
from mediator.journal.keyring import KeyRing
from mediator.journal.publication import CHECKPOINT
from mediator.journal.recovery import DESCRIPTION, Description
from mediator.journal.signed import FILE as SIGNED_FILE
from mediator.journal.verify import Progress
from mediator.journal.verify.contents import check_commitment
from serving.log.tiles import TileFolder


@dataclass(frozen=True, slots=True)
class Opened:
    """A decrypted sealed part and the key of this one record."""

    part: SealedPart
    record_key: bytes


class JournalReader:
    """One journal's directory, read only."""

    def __init__(
        self, directory: Path, keyring: KeyRing | None = None, *, may_begin: bool = False
    ) -> None:
        """Read the description and the checkpoint.

        Args:
            keyring: opens what is sealed; without one, the keys as they lie in the directory.
            may_begin: whether tiles without a checkpoint are those of a first publication that is
                under way, so that nothing is published yet.

        Raises:
            Problem: ``JournalCorrupt`` or ``InvalidNote`` when one is missing or wrong.
        """
        description = Description.read(directory / DESCRIPTION)
        self.directory = directory
        self.origin = description.origin
        self.key: VerifierKey = description.key
        self.holdings = Holdings.read(directory)
        self._folder = TileFolder(directory / "log")
        self._keyring = keyring or KeyRing(directory / "keys")
        self._erasures: Erasures | None = None
        try:
            self.checkpoint_note = (directory / "log" / CHECKPOINT).read_bytes()
        except FileNotFoundError as error:
            if (directory / "log" / "tile").exists() and not may_begin:
                raise Problem(
                    Code.JOURNAL_CORRUPT,
                    where=f"log/{CHECKPOINT}",
                    detail="there is no checkpoint: it is missing, or the server is just about to "
                    "publish its first",
                ) from error
            self.checkpoint_note = b""
            self.checkpoint = Checkpoint(self.origin, 0, merkle.EMPTY_ROOT)
        else:
            self.checkpoint = open_checkpoint(self.checkpoint_note, self.key, self.origin)

    def entry(self, index: int, *, checked: bool = False) -> bytes:
        """The bytes of a published entry.

        Args:
            checked: compare its hash with the tile of leaves.

        Raises:
            Problem: ``NotFound`` behind the published size; ``ArchivedElsewhere`` when its bundle
                was removed; ``JournalCorrupt``.
        """
        if not 0 <= index < self.checkpoint.size:
            raise Problem(
                Code.NOT_FOUND,
                where=f"entry {index}",
                detail=f"the journal has published entries 0 to {self.checkpoint.size - 1}"
                if self.checkpoint.size
                else "the journal has published no entry yet",
            )
        try:
            ((_, entry),) = self._folder.entries(index, index + 1, self.checkpoint.size)
        except Problem as problem:
            if index < self.holdings.entries_from:
                raise self.holdings.elsewhere("its bundle", index) from problem
            raise
        at = index % WIDTH * HASH_SIZE
        tile = tile_at(0, index // WIDTH, self.checkpoint.size)
        if checked and self._folder.read_tile(tile)[at : at + HASH_SIZE] != merkle.leaf_hash(entry):
            raise Problem(
                Code.JOURNAL_CORRUPT,
                where=f"entry {index}",
                detail="is not the one in the tree; saphan audit verify tells more",
            )
        return entry

    def prove(self, index: int, checkpoint: bytes | None = None) -> LogProof:
        """The proof that an entry is in the tree of a checkpoint.

        Args:
            checkpoint: a signed note of this log, not newer than what was read, such as an anchor's
                with its cosignatures; the one that was read when it is not given.

        Raises:
            Problem: ``NotFound``, ``JournalCorrupt``; ``InvalidNote`` when the checkpoint is not
                this log's.
        """
        note = self.checkpoint_note if checkpoint is None else checkpoint
        size = self.checkpoint.size
        if checkpoint is not None:
            size = open_checkpoint(checkpoint, self.key, self.origin).size
        read = self._folder.subtrees(max(size, self.checkpoint.size))
        return LogProof(index, merkle.prove_inclusion(index, size, read), note)

    def grown(self, old_size: int, size: int) -> tuple[bytes, ...]:
        """The proof that the tree of ``size`` entries grew from that of ``old_size``.

        Raises:
            Problem: ``NotFound`` when it is no size of this log; ``JournalCorrupt``.
        """
        read = self._folder.subtrees(self.checkpoint.size)
        return merkle.prove_consistency(old_size, size, read)

    def proven(self, start: int, end: int) -> Iterator[tuple[int, bytes]]:
        """Published entries ``[start, end)``, each proven to be in the checkpoint's tree.

        A bundle is proven at once: its entries against the tile of their leaves, and that tile by
        the inclusion of its first leaf, whose path holds all the others.

        Raises:
            Problem: ``ArchivedElsewhere`` when a bundle was removed; ``JournalCorrupt``, or
                ``InvalidProof``, when an entry is not in the tree.
        """
        size, root = self.checkpoint.size, self.checkpoint.root
        read = self._folder.subtrees(size)
        for number in range(start // WIDTH, -(-end // WIDTH)):
            bundle, tile = tile_at(ENTRIES, number, size), tile_at(0, number, size)
            try:
                entries = parse_bundle(self._folder.read(bundle), bundle.width, f"log/{bundle}")
            except Problem as problem:
                if bundle.first < self.holdings.entries_from:
                    raise self.holdings.elsewhere("its bundle", bundle.first) from problem
                raise
            hashes = b"".join([merkle.leaf_hash(entry) for entry in entries])
            path = merkle.prove_inclusion(bundle.first, size, read)
            merkle.check_inclusion(bundle.first, size, hashes[:HASH_SIZE], path, root)
            if self._folder.read_tile(tile) != hashes:
                raise Problem(
                    Code.JOURNAL_CORRUPT,
                    where=f"log/{bundle}",
                    detail="its entries are not those that the tree holds",
                    facts={"file": f"log/{bundle}"},
                )
            for at in range(max(start - bundle.first, 0), min(end - bundle.first, bundle.width)):
                yield bundle.first + at, entries[at]

    def first_bundle(self, moment: datetime) -> int:
        """The first entry of the first bundle that begins at this time or later, or the size.

        Found by halving: entries are taken to be in the order of time, from bundle to bundle.

        Raises:
            Problem: ``JournalCorrupt``; ``InvalidDocument`` when an entry is none.
        """
        size = self.checkpoint.size
        low, high = self.holdings.entries_from // WIDTH, -(-size // WIDTH)
        while low < high:
            middle = (low + high) // 2
            if parse_entry(self.entry(middle * WIDTH)).at < moment:
                low = middle + 1
            else:
                high = middle
        return min(low * WIDTH, size)

    def ciphertext(self, index: int) -> bytes:
        """The sealed part of an entry as it is stored; empty when it has none.

        Raises:
            Problem: ``NotFound`` when no segment here holds the record whole;
                ``ArchivedElsewhere`` when its segment was removed; ``JournalCorrupt`` when a
                segment cannot be read.
        """
        try:
            record = segments.find_record(self.directory / "segments", index)
        except OSError as error:
            raise Problem(
                Code.JOURNAL_CORRUPT,
                where=f"entry {index}",
                detail=f"its segment cannot be read: {error.strerror}",
            ) from error
        if record is None:
            if index < self.holdings.segments_from:
                raise self.holdings.elsewhere("its sealed part", index)
            until = self.holdings.segments_until
            if until is not None and index >= until:
                raise Problem(
                    Code.NOT_FOUND,
                    where=f"entry {index}",
                    detail="its sealed part is not in this archive yet: the segment was not closed",
                )
            raise Problem(
                Code.NOT_FOUND,
                where=f"entry {index}",
                detail="no segment here holds its record whole; saphan audit verify names what is "
                "missing or broken",
            )
        return record.sealed

    def open(self, entry: Entry, ciphertext: bytes) -> Opened:
        """Decrypt a sealed part of which an entry was made; whether both tell the same is not seen.

        Raises:
            Problem: ``SealedPartErased``; ``SealedPartUnreadable`` when the member's key is not
                here or not the right one; ``JournalCorrupt`` when the content does not fit the
                entry.
        """
        if entry.sealed is None:
            raise Problem(Code.NOT_FOUND, where="sealed part", detail="the entry has none")
        key = self._keyring.find(entry.sealed.key)
        if key is None:
            raise Problem(
                Code.SEALED_PART_UNREADABLE,
                where=f"key {entry.sealed.key}",
                detail="this key is not among this journal's keys",
            )
        part = parse_part(key.open(entry.sealed, ciphertext))
        check_commitment(part, entry.commitment)
        return Opened(part, key.record_key(entry.sealed))

    def erasure(self, entry: Entry, index: int) -> Erasure | None:
        """The erasure that took the content of a record, as the published log tells.

        Raises:
            Problem: ``JournalCorrupt`` when the log cannot be read.
        """
        if self._erasures is None:
            self._erasures = Erasures.read(self.directory)
            self._erasures.look_through(self.directory, self.checkpoint.size)
        return None if entry.sealed is None else self._erasures.of(entry.sealed, index)

    def kept_index(self, database: str | None, seconds: float) -> IndexReader:
        """The search index that the server keeps, beside its journal or in ``database``.

        Args:
            database: the setting ``journal.index_database``.
            seconds: that a search may take.

        Raises:
            Problem: ``SourceFailed`` when there is none.
        """
        try:
            found = self._kept(database)
        except OSError as error:
            raise Problem(
                Code.SOURCE_FAILED,
                where="search index",
                detail="this server keeps none, or it is being made anew",
                status=503,
            ) from error
        found.give_up_after(seconds)
        return found

    def _kept(self, database: str | None) -> IndexReader:
        size = self.checkpoint.size
        if database is not None:
            return IndexReader.open_database(database, self.origin, size)
        return IndexReader.open(self.directory / INDEX_FILE, self.origin, size)

    def index(
        self,
        progress: Progress = lambda what, done, total: None,
        database: str | None = None,
    ) -> IndexReader:
        """The search index; what is kept lacks (all of it, if need be) is added in memory.

        One that is missing, damaged, not to be read by this user or of another log counts as
        none. ``progress`` is told (what, done, total) while entries are added; ``database`` is the
        setting ``journal.index_database``.

        Raises:
            Problem: ``JournalCorrupt`` when entries have to be added that cannot be read.
        """
        size = self.checkpoint.size
        reader, start = None, 0
        with contextlib.suppress(OSError, Problem, ValueError):
            opened = self._kept(database)
            known = opened.size
            if self._is_ours(opened, min(known, size)):
                reader, start = opened, known
        if reader is not None and start >= size:
            return reader
        writer = IndexWriter(":memory:", start)
        writer.catch_up(self._folder, size, progress)
        rest = IndexReader(writer.open(), self.origin)
        if reader is None:
            return rest
        reader.rest = rest
        return reader

    def tags(
        self, subject: str, since: datetime | None = None, until: datetime | None = None
    ) -> tuple[MonthTag, ...]:
        """The tags of a subject in this journal, of the months from ``since`` to ``until``: for
        each the keys are here of, and for each member that the server speaks for.

        Args:
            subject: in normal form (:func:`exchange.journal.subjects.normal_subject`).

        Raises:
            Problem: ``SealedPartUnreadable`` when a key cannot be read.
        """
        first, last = (
            f"{at.astimezone(UTC):%Y-%m}" if at is not None else default
            for at, default in ((since, ""), (until, "9999-99"))
        )
        try:
            return tuple(
                MonthTag(name.month, subjects.tag(key, subject))
                for name, key in self._keyring.index_keys(first, last)
            )
        except (OSError, Problem) as error:
            raise Problem(
                Code.SEALED_PART_UNREADABLE, where="keys/ (subjects)", detail=f"{error}"
            ) from error

    def _is_ours(self, reader: IndexReader, known: int) -> bool:
        """Whether the index is of this log, by the first entry that is here and its last."""
        with contextlib.suppress(Problem):  # a bundle is broken: verification names it
            ends = {self.holdings.entries_from, known - 1}
            return all(reader.holds(at, self.entry(at)) for at in ends if at < known)
        return True

    def of_message(
        self, message_id: str, progress: Progress = lambda what, done, total: None
    ) -> Iterator[tuple[int, Entry]]:
        """The published entries of a message id (X-Road-Id), oldest first."""
        reader = self.index(progress)
        for index in reader.of_message(message_id):
            if index < self.checkpoint.size:
                yield index, parse_entry(self.entry(index))
        reader.close()


_OWN: Final = (DESCRIPTION, SIGNED_FILE, "segments")


def is_journal(directory: Path) -> bool:
    """Whether a folder is a journal, also one that lacks its description: that is damage."""
    return any((directory / name).exists() for name in _OWN)


def find_journals(directories: Iterable[Path]) -> list[Path]:
    """The journals among and below some folders, in order, each once.

    Raises:
        Problem: ``NotFound`` when a folder is neither a journal nor holds one.
        OSError: when a folder cannot be read: a journal in it must not be passed over in silence.
    """
    found: dict[Path, Path] = {}
    for directory in directories:
        below: list[Path] = []
        for folder, names, _ in os.walk(directory, onerror=_raise):
            if is_journal(Path(folder)):
                below.append(Path(folder))
                names.clear()
            names.sort()
        if not below:
            raise Problem(
                Code.NOT_FOUND,
                where=str(directory),
                detail=f"there is no {DESCRIPTION} here, nor in a folder below",
            )
        for journal in below:
            found.setdefault(journal.resolve(), journal)
    return list(found.values())


def _raise(error: OSError) -> None:
    raise error
