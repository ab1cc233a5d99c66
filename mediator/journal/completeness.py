"""Showing that an answer about a subject leaves nothing out.

For the parts of the log whose subjects it committed to, by proofs against the commitments; for the
rest, which are the entries since the last commitment, by looking at each.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from exchange.journal.entries import SubjectIndex, parse_entry
from exchange.journal.subject_index import EVENT, Answer, check_answer, check_chain
from exchange.log.proof import check_proof, format_proof
from exchange.problems import Code, Problem
from mediator.journal import subject_tree
from mediator.journal.index import IndexReader, MonthTag, Query
from mediator.journal.reader import JournalReader
from mediator.journal.subject_tree import Progress, SubjectTree
from serving.log.tiles import TileFolder

_MOST = 10_000


@dataclass(frozen=True, slots=True)
class Committed:
    """A commitment in the log: which entry, of when, to what."""

    index: int
    at: datetime
    subjects: SubjectIndex


@dataclass(frozen=True, slots=True)
class Part:
    """A part of the log, what it committed to, and what its index says of each tag."""

    committed: Committed
    proof: bytes
    answers: tuple[Answer, ...]

    def describe(self) -> dict[str, Any]:
        """As JSON, which holds everything that the check needs."""
        subjects = self.committed.subjects
        return {
            "entry": self.committed.index,
            **subjects._asdict(),
            "answers": [answer.describe() for answer in self.answers],
            "proof": self.proof.decode(),
        }


@dataclass(frozen=True, slots=True)
class Completeness:
    """What all entries about a subject are, and how that is known.

    ``rest`` is where the entries begin that were looked at one by one; ``blind`` are months of
    which no key is here: whether they have entries is not known.
    """

    indexes: tuple[int, ...]
    parts: tuple[Part, ...]
    rest: int
    size: int
    blind: tuple[str, ...]

    def describe(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "indexes": list(self.indexes),
            "parts": [part.describe() for part in self.parts],
            "rest": {"first": self.rest, "end": self.size},
            "months_without_key": list(self.blind),
        }


def commitments(reader: JournalReader, database: str | None = None) -> list[Committed]:
    """The commitments of a log, in order; what the search index names is read from the log.

    Raises:
        Problem: ``JournalCorrupt``; ``InvalidDocument`` when an entry is none.
    """
    index = reader.index(database=database)
    try:
        return list(_commitments(reader, index))
    finally:
        index.close()


def _commitments(reader: JournalReader, index: IndexReader) -> Iterator[Committed]:
    hits = index.search(Query(event=EVENT, kind="system"), _MOST)
    for number in sorted(hit.index for hit in hits):
        entry = parse_entry(reader.entry(number), f"entry {number}")
        if entry.event == EVENT and entry.subjects is not None:
            yield Committed(number, entry.at, entry.subjects)


def complete(
    reader: JournalReader,
    tags: Sequence[MonthTag],
    since: str = "",
    until: str = "9999-99",
    *,
    recompute: bool = False,
    database: str | None = None,
    progress: Progress = lambda what, done, total: None,
) -> Completeness:
    """All entries about a subject in the months from ``since`` to ``until``.

    Args:
        tags: the subject's, of each month and member that the keys are here of.
        recompute: whether to make the indexes from the entries instead of believing files that fit
            the commitments.

    Raises:
        Problem: ``InvalidProof`` when a commitment, or what follows from it, does not hold;
            ``JournalCorrupt`` when entries cannot be read.
    """
    size = reader.checkpoint.size
    known = commitments(reader, database)
    check_chain([each.subjects for each in known])
    wanted = {tag.month for tag in tags}
    parts, indexes, blind = list[Part](), set[int](), set[str]()
    for each in known:
        months = {month for month in each.subjects.months if since <= month <= until}
        blind |= months - wanted
        asked = sorted({tag.tag for tag in tags if tag.month in months})
        entry = reader.entry(each.index)
        proof = reader.prove(each.index)
        check_proof(proof, entry, reader.key)
        with ExitStack() as stack:
            tree = _tree(reader, each.subjects, stack, recompute=recompute, progress=progress)
            try:
                answers = tuple(tree.answer(tag) for tag in asked)
            except OSError as error:
                raise subject_tree.unreadable(error) from error
        for answer in answers:
            check_answer(each.subjects, answer)
            indexes.update(answer.indexes)
        parts.append(Part(each, format_proof(proof), answers))
    rest = known[-1].subjects.end if known else 0
    entries = TileFolder(reader.directory / "log").entries(rest, size, size)
    texts = {tag.tag for tag in tags}
    for index, month, text in subject_tree.tagged(entries):
        if since <= month <= until:
            if month not in wanted:
                blind.add(month)
            elif text in texts:
                indexes.add(index)
    return Completeness(tuple(sorted(indexes)), tuple(parts), rest, size, tuple(sorted(blind)))


def _tree(
    reader: JournalReader,
    committed: SubjectIndex,
    stack: ExitStack,
    *,
    recompute: bool,
    progress: Progress,
) -> SubjectTree:
    """The index of a part of the log: the server's file, or one that is made now.

    Raises:
        Problem: ``InvalidProof`` when the entries amount to another index than the log committed
            to; ``JournalCorrupt``.
    """
    path = subject_tree.path_of(reader.directory, committed.first, committed.end)
    if path.exists() and not recompute:
        return _opened(path, committed, stack)
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="saphan-subjects-")))
    path = folder / path.name
    tiles = TileFolder(reader.directory / "log")
    try:
        made = subject_tree.make(
            path, tiles, committed.first, committed.end, reader.checkpoint.size, progress
        )
    except OSError as error:
        raise subject_tree.unreadable(error) from error
    if made != committed:
        raise Problem(
            Code.INVALID_PROOF,
            where=f"subject index, entries {committed.first} to {committed.end - 1}",
            detail="the log committed to another index than its entries amount to",
        )
    return _opened(path, committed, stack)


def _opened(path: Path, committed: SubjectIndex, stack: ExitStack) -> SubjectTree:
    try:
        tree = SubjectTree(path, committed)
    except OSError as error:
        raise subject_tree.unreadable(error) from error
    stack.callback(tree.close)
    return tree
