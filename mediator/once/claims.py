"""Claims: what the exactly-once book knows of an unsafe message, and what follows from it.

A message is claimed before the backend is asked, and its claim ends in one of three ways:

======== ============================================= =======================================
state    means                                         a repeat of the message gets
======== ============================================= =======================================
RUNNING  its server asks the backend now               its answer, when it is there
DONE     the backend answered, or failed after sending the recorded answer
UNKNOWN  its server ended meanwhile                    ``OutcomeUnknown``
(none)   no byte of it reached the backend             is carried out
======== ============================================= =======================================

Invariants:
- a claim is matched by its key (who asked whom, and X-Road-Id) and carries the fingerprint of what
  was asked; the same key with another fingerprint is refused;
- only the exchange that made a claim ends it: the nonce of its request's signature says which;
- a running claim that is past its deadline counts as unknown: it is never carried out again.

Pure: no clock, no database.
"""

from __future__ import annotations

from enum import IntEnum
from typing import NamedTuple

from exchange.problems import ACTED, Code, Problem


class State(IntEnum):
    """How far a claimed message has come."""

    RUNNING = 0
    DONE = 1
    UNKNOWN = 2


class Wanted(NamedTuple):
    """A claim that is asked for; times in seconds since the epoch.

    ``deadline`` is when its exchange is over at the latest.
    """

    key: bytes
    fingerprint: bytes
    nonce: str
    claimed_at: float
    deadline: float


class Row(NamedTuple):
    """A claim as the book has it; ``answer`` is encrypted, None when there is none or no more."""

    fingerprint: bytes
    state: State
    deadline: float
    answer: bytes | None


class Ending(NamedTuple):
    """How a claim ended; ``answer`` is encrypted, None when it is not kept."""

    key: bytes
    nonce: str
    state: State
    ended_at: float
    answer: bytes | None


class Released(NamedTuple):
    """A claim that is taken back: nothing of its message reached the backend."""

    key: bytes
    nonce: str


class Left(NamedTuple):
    """A running claim of an earlier run of this server."""

    key: bytes
    fingerprint: bytes
    nonce: str
    claimed_at: float


class Totals(NamedTuple):
    """How full the book is; ``claims`` may be estimated a little too high."""

    claims: int
    answer_bytes: int
    crowding: frozenset[bytes] = frozenset()
    """Applications (the beginning of their keys) that have most of a book that is filling up."""


def judge(row: Row, fingerprint: bytes, now: float) -> State:
    """What a claim means for a repeat that asks with this fingerprint: RUNNING or DONE.

    Raises:
        Problem: ``MessageIdReused`` when the claim is for another request, ``OutcomeUnknown``
            when nobody can tell how it ended, ``AnswerNotKept`` when it is done and its answer is
            not in the book.
    """
    if row.fingerprint != fingerprint:
        raise reused()
    if row.state is State.DONE:
        if row.answer is None:
            raise not_kept("it was too large, or it is older than answers are kept")
        return State.DONE
    if row.state is State.RUNNING and now <= row.deadline:
        return State.RUNNING
    raise Problem(
        Code.OUTCOME_UNKNOWN,
        where="X-Road-Id",
        detail="the provider's server ended while it carried this request out, and left no answer",
    )


def not_booked() -> Problem:
    """It was sent before, and the service keeps no book that says what became of it."""
    return Problem(
        Code.OUTCOME_UNKNOWN,
        where="X-Road-Id",
        detail="the answer to this request was lost on the way, and for this service no record "
        "of requests is kept that says whether it was carried out",
    )


def reused() -> Problem:
    """The id was used for another request."""
    return Problem(
        Code.MESSAGE_ID_REUSED,
        where="X-Road-Id",
        detail="this client used the id before, for another method, path, query, body or purpose",
    )


def not_kept(why: str) -> Problem:
    """The request was carried out, and its answer cannot be given again."""
    return Problem(
        Code.ANSWER_NOT_KEPT,
        where="X-Road-Id",
        detail=f"this request was carried out before; of its answer nothing is kept: {why}",
    )


def in_progress(waited_s: float) -> Problem:
    """The first of the same requests is still being carried out."""
    return Problem(
        Code.MESSAGE_IN_PROGRESS,
        where="X-Road-Id",
        detail=f"the same request is being carried out; its end was awaited for {waited_s:.1f} s",
    )


def unavailable(why: str) -> Problem:
    """The book cannot be written, so that nothing unsafe may begin."""
    return Problem(
        Code.ONCE_UNAVAILABLE, where="exactly-once book", detail=why, facts={ACTED: False}
    )
