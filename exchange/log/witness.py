"""Asking a witness for a cosignature: the messages and the rules (C2SP tlog-witness v1.0.0).

A request is ``old N``, the consistency proof from size N in base64 lines, an empty line, and the
log's signed checkpoint; ``format_submission(parse_submission(x)) == x``. The rules, in the order in
which the specification's statuses exclude each other; each refusal is a Problem with its status:

====  ==========================================================================================
400   malformed, or the old size is larger than the checkpoint's
403   no signature by a key of the log, or a wrong one
404   no log of this origin is known
409   the old size is not that of the last cosigned checkpoint (``facts["size"]`` has it)
422   the consistency proof does not hold; two roots at one size; an empty tree with a wrong root
====  ==========================================================================================

Not done here: that a check and what follows from it are one step (:mod:`mediator.witness.state`).
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

from exchange.log import merkle, notes
from exchange.log.checkpoint import Checkpoint, parse_text
from exchange.log.cosignature import Cosignature, open_cosignature
from exchange.log.merkle import EMPTY_ROOT, HASH_SIZE
from exchange.log.notes import Note, NoteSignature, VerifierKey
from exchange.problems import Code, Problem

MAX_SUBMISSION_BYTES: Final = 256 * 1024
MAX_PROOF_LINES: Final = 63
SIZE_TYPE: Final = "text/x.tlog.size"
MAX_REPLY_BYTES: Final = 64 * 1024

Logs = Mapping[str, Sequence[VerifierKey]]
"""The keys that a witness trusts, by the origin of their log."""


@dataclass(frozen=True, slots=True)
class Submission:
    """A checkpoint that somebody wants cosigned, and the proof from an older size."""

    old_size: int
    proof: tuple[bytes, ...]
    note: Note

    @property
    def origin(self) -> str:
        """The log that the note says it is of; not to be trusted yet."""
        return self.note.text.partition("\n")[0]


def format_submission(submission: Submission) -> bytes:
    """The body of a request."""
    lines = [f"old {submission.old_size}"]
    lines += [base64.b64encode(sibling).decode() for sibling in submission.proof]
    return ("\n".join(lines) + "\n\n").encode() + bytes(submission.note)


def parse_submission(data: bytes, where: str = "add-checkpoint") -> Submission:
    """Parse the body of a request; nothing of it is verified yet.

    Raises:
        Problem: ``InvalidRequest`` (400).
    """
    head, blank, rest = data.partition(b"\n\n")
    if len(data) > MAX_SUBMISSION_BYTES or not blank:
        raise _malformed(where, "no empty line, or too long")
    try:
        first, *lines = head.decode("ascii").split("\n")
        if not first.startswith("old "):
            raise _malformed(where, "the first line is not: old and a size")
        if len(lines) > MAX_PROOF_LINES:
            raise _malformed(where, f"{len(lines)} lines of proof; {MAX_PROOF_LINES} are allowed")
        proof = tuple(notes.decode_base64(line, where) for line in lines)
        if any(len(sibling) != HASH_SIZE for sibling in proof):
            raise _malformed(where, "a hash is not 32 bytes")
        return Submission(
            notes.decode_number(first[4:], where), proof, notes.parse_note(rest, where)
        )
    except UnicodeDecodeError as error:
        raise _malformed(where, "not ASCII before the checkpoint") from error
    except Problem as problem:
        if problem.code is Code.INVALID_REQUEST:
            raise
        raise _malformed(where, problem.detail) from problem


def open_submission(
    submission: Submission, logs: Logs, where: str = "add-checkpoint"
) -> Checkpoint:
    """What of a submission can be judged without knowing what was cosigned before.

    Raises:
        Problem: with status 404, 403, 400 or 422, as above.
    """
    note, origin = submission.note, submission.origin
    keys = logs.get(origin)
    if keys is None:
        raise Problem(
            Code.NOT_FOUND, where=where, detail=f"no log {origin[:200]!r} is known here", status=404
        )
    try:
        notes.open_note(note, keys, where)
    except Problem as problem:
        raise Problem(
            Code.INVALID_NOTE, where=where, detail=problem.detail, status=403
        ) from problem
    empty = note.text.split("\n")[1] == "0"
    if empty and submission.old_size == 0 and not _has_empty_root(note):
        raise _inconsistent(where, "an empty tree with another root")
    try:
        checkpoint = parse_text(note.text, where)
    except Problem as problem:
        raise _malformed(where, problem.detail) from problem
    if submission.old_size > checkpoint.size:
        raise _malformed(where, "the old size is larger than the checkpoint's")
    return checkpoint


def check_growth(
    submission: Submission,
    checkpoint: Checkpoint,
    known: Checkpoint | None,
    where: str = "add-checkpoint",
) -> None:
    """Check a checkpoint against the last one of its log that was cosigned.

    Raises:
        Problem: with status 409 or 422, as above.
    """
    size, root = (0, EMPTY_ROOT) if known is None else (known.size, known.root)
    if submission.old_size != size:
        raise Problem(
            Code.CONFLICT,
            where=where,
            detail=f"the last checkpoint that was cosigned has size {size}",
            facts={"size": size},
            status=409,
        )
    try:
        merkle.check_consistency(size, checkpoint.size, submission.proof, root, checkpoint.root)
    except Problem as problem:
        raise _inconsistent(where, problem.detail) from problem


def format_size(size: int) -> bytes:
    """The body of a 409."""
    return f"{size}\n".encode()


def read_size(body: bytes, where: str = "witness") -> int:
    """The size in the body of a 409.

    Raises:
        Problem: ``InvalidNote``.
    """
    text = body[:40].decode("ascii", "replace")
    if not text.endswith("\n"):
        raise Problem(Code.INVALID_NOTE, where=where, detail="409 without a size line")
    return notes.decode_number(text[:-1], where)


def read_cosignatures(
    body: bytes, note: Note, keys: Iterable[VerifierKey], where: str = "witness"
) -> list[tuple[NoteSignature, Cosignature]]:
    """The verified cosignatures in the body of a 200, as lines and as what they say.

    Args:
        note: that was submitted.
        keys: of the witness that was asked; lines of others are passed over.

    Raises:
        Problem: ``InvalidNote`` when the body is malformed, has no line by one of the keys, or a
            wrong one, or one without a time.
    """
    if len(body) > MAX_REPLY_BYTES:
        raise Problem(Code.INVALID_NOTE, where=where, detail="the reply is too long")
    cosigned = notes.parse_note(note.text.encode() + b"\n" + body, where)
    found = []
    for key in keys:
        for line in cosigned.signatures:
            if line.is_by(key):
                said = open_cosignature(Note(note.text, (line,)), key, where)
                if not said.timestamp:
                    raise Problem(Code.INVALID_NOTE, where=where, detail="cosigned without a time")
                found.append((line, said))
    if not found:
        raise Problem(Code.INVALID_NOTE, where=where, detail="no cosignature by the known key")
    return found


def origin_hash(origin: str) -> str:
    """How a log is named in a witness's paths."""
    return sha256(origin.encode()).hexdigest()


def proves_fork(
    known: Checkpoint, shown: Checkpoint, old_size: int, proof: Sequence[bytes]
) -> bool:
    """Whether two checkpoints, both signed by their log, prove that it forked, whoever shows them.

    They do when they have one size and two roots; and when a consistency proof from the known size
    leads to the shown root, but begins with another root than the known one: then the log that was
    shown has another beginning. A proof from a size that is a power of two does not hold the old
    root: there it may stand before the proof. A proof that leads nowhere proves nothing: anybody
    can send one.
    """
    if known.origin != shown.origin:
        return False
    if known.size == shown.size:
        return known.root != shown.root
    if old_size != known.size or not 0 < known.size < shown.size:
        return False
    attempts = [(known.root, proof)]
    if known.size & (known.size - 1) == 0 and proof:
        attempts.append((proof[0], proof[1:]))
    for beginning, path in attempts:
        try:
            old, new = merkle.roots_from_consistency(known.size, shown.size, path, beginning)
        except Problem:
            continue
        if new == shown.root and old != known.root:
            return True
    return False


def _has_empty_root(note: Note) -> bool:
    lines = note.text.split("\n")
    return len(lines) > 2 and lines[2] == base64.b64encode(EMPTY_ROOT).decode()


def _malformed(where: str, detail: str) -> Problem:
    return Problem(Code.INVALID_REQUEST, where=where, detail=detail, status=400)


def _inconsistent(where: str, detail: str) -> Problem:
    return Problem(Code.INVALID_PROOF, where=where, detail=detail, status=422)
