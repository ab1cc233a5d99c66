"""Whether an answer about a subject leaves something out: what a server proves to an auditor.

A page (:mod:`exchange.journal.auditing`) of the log's commitments to the subjects of its entries
(:mod:`exchange.journal.subject_index`), and for each of them what its index says of the subject's
tags. The commitments follow one another from the first entry on, so nothing lies between them. What
came after the last one is told by the server alone, until the next commitment.

Not shown by this: that the tags are the subject's. They are made with a key of the audited member;
an entry whose evidence names the subject carries the tag of its month.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from exchange.documents import Node, format_document, parse_document
from exchange.journal.auditing import MAX_HITS, MAX_PAGE_BYTES, Page, describe_page, open_document
from exchange.journal.entries import SubjectIndex, parse_entry
from exchange.journal.subject_index import EVENT, Answer, Leaf, check_answer, check_chain
from exchange.log import merkle
from exchange.log.checkpoint import Checkpoint
from exchange.log.notes import VerifierKey
from exchange.problems import Code, Problem

MAX_TAGS: Final = 1000
MAX_INDEXES: Final = 1_000_000
_MAX_HASHES: Final = 63
_MAX_LINE: Final = 200


@dataclass(frozen=True, slots=True)
class Proven:
    """What is proven of a subject: the ``indexes`` of all entries before ``rest``.

    From ``rest`` to ``end`` the log has committed to nothing yet; ``blind`` are months of which the
    server has no key any more.
    """

    indexes: frozenset[int]
    rest: int
    end: int
    blind: tuple[str, ...]


def format_completeness(
    page: Page, answers: Sequence[Sequence[Answer]], blind: Sequence[str]
) -> bytes:
    """What a server answers; ``answers`` are those of each commitment of the page."""
    return format_document(
        {
            "commitments": describe_page(page),
            "answers": [[answer.describe() for answer in each] for each in answers],
            "months_without_key": list(blind),
        }
    )


def open_completeness(
    data: bytes, key: VerifierKey, since: str = "", until: str = "9999-99"
) -> Proven:
    """Check what a server answered.

    Args:
        key: the log's verifier key as the registry has it.
        since, until: the months that were asked about, both included, such as ``2026-11``.

    Raises:
        Problem: ``InvalidDocument``, ``InvalidNote``, or ``InvalidProof`` for what does not follow
            from the log.
    """
    members = parse_document(data, MAX_PAGE_BYTES, "completeness").members(
        frozenset({"commitments", "answers", "months_without_key"})
    )
    page, checkpoint = open_document(members["commitments"], key)
    committed = [_committed(hit.entry, number) for number, hit in enumerate(page.hits)]
    check_chain(committed)
    told = list(members["answers"].items(MAX_HITS))
    if len(told) != len(committed):
        raise members["answers"].refuse("must be one list for each commitment")
    blind = tuple(each.text() for each in members["months_without_key"].items(MAX_TAGS))
    indexes: set[int] = set()
    for subjects, node in zip(committed, told, strict=True):
        answers = [_answer(each) for each in node.items(MAX_TAGS)]
        for answer in answers:
            check_answer(subjects, answer)
            indexes.update(answer.indexes)
        # A subject has one tag a month: who says nothing of one may be hiding what it is in.
        owed = {month for month in subjects.months if since <= month <= until} - set(blind)
        if len({answer.tag for answer in answers}) < len(owed):
            raise Problem(
                Code.INVALID_PROOF,
                where=f"{node.noun}#{node.pointer}",
                detail=f"says nothing of one of the months {', '.join(sorted(owed))}",
            )
    return Proven(
        frozenset(indexes), committed[-1].end if committed else 0, _size(checkpoint), blind
    )


def _size(checkpoint: Checkpoint | None) -> int:
    return 0 if checkpoint is None else checkpoint.size


def _committed(entry: bytes | None, number: int) -> SubjectIndex:
    where = f"completeness#/commitments/entries/{number}"
    if entry is not None:
        parsed = parse_entry(entry, where)
        if parsed.event == EVENT and parsed.subjects is not None:
            return parsed.subjects
    raise Problem(Code.INVALID_PROOF, where=where, detail="is no commitment to subjects")


def _answer(node: Node) -> Answer:
    members = node.members(frozenset({"tag", "indexes"}), frozenset({"leaf", "before", "after"}))
    leaves = {name: _leaf(members.get(name)) for name in ("leaf", "before", "after")}
    return Answer(
        members["tag"].text(),
        tuple(each.integer(0, merkle.MAX_SIZE) for each in members["indexes"].items(MAX_INDEXES)),
        **leaves,
    )


def _leaf(node: Node | None) -> Leaf | None:
    if node is None:
        return None
    members = node.members(frozenset({"number", "line", "path"}))
    return Leaf(
        members["number"].integer(0, merkle.MAX_SIZE),
        members["line"].text(_MAX_LINE),
        tuple(_sibling(each) for each in members["path"].items(_MAX_HASHES)),
    )


def _sibling(node: Node) -> bytes:
    text = node.text()
    try:
        found = bytes.fromhex(text)
    except ValueError as error:
        raise node.refuse("is no hash") from error
    if len(found) != merkle.HASH_SIZE or found.hex() != text:
        raise node.refuse(f"must be {merkle.HASH_SIZE} bytes in lower-case hex")
    return found


def describe(proven: Proven) -> dict[str, Any]:
    """As JSON."""
    return {
        "entries": sorted(proven.indexes),
        "committed_before": proven.rest,
        "size": proven.end,
        "months_without_key": list(proven.blind),
    }
