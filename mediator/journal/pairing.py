"""One exchange as two journals tell of it: what pairs, what one lacks, what differs.

The consumer records a request before it is sent and the answer before the application gets it; the
provider records the request before it acts and the answer before it is sent. So a provider's
request without the consumer's, or a consumer's answer without the provider's, cannot be; the other
way round a message may have been lost on its way, and then the consumer's journal says so (it
failed, or it tried again). Requests pair by the nonce of their signature, which makes them one
signed message; answers by what they say.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from exchange.journal.entries import Kind
from exchange.problems import Code

REQUEST, ANSWER = "request", "answer"
_OF_REQUEST = ("method", "endpoint", "purpose", "size", "request_id", "signed")
_TOLD_BY_BOTH = frozenset({"method", "purpose", "request_id", "status"})
"""What both sides say when the message told it: the message alone decides, and it is the same."""
_OF_ANSWER = ("status", "size", "problem", "signed")


class Told(NamedTuple):
    """What one entry tells of an exchange; ``at`` in milliseconds, ``signed`` a digest of what
    was signed where the sealed part was opened."""

    journal: int
    entry: int
    at: int
    kind: str
    nonce: str | None
    method: str | None
    endpoint: str | None
    purpose: str | None
    request_id: str | None
    status: int | None
    size: int | None
    problem: str | None
    signed: str | None


class Fault(StrEnum):
    """How two journals disagree."""

    LACKS = "lacks"
    DIFFERS = "differs"


@dataclass(frozen=True, slots=True)
class Mismatch:
    """A message of which the two sides do not tell the same."""

    fault: Fault
    message: str
    consumer: Told | None
    provider: Told | None
    members: tuple[str, ...] = ()
    """What differs."""
    explanation: str = ""
    """Why it is no contradiction, if the journals say."""

    @property
    def at(self) -> int:
        """When, by the clock of a side that has it."""
        return min(told.at for told in (self.consumer, self.provider) if told is not None)


@dataclass(frozen=True, slots=True)
class Compared:
    """What came of one exchange."""

    mismatches: list[Mismatch]
    offset: float | None
    """How many milliseconds the provider's clock is ahead of the consumer's, as far as four times
    tell (RFC 5905 section 8); None when the exchange is not a whole one of one attempt."""


def compare(consumer: Sequence[Told], provider: Sequence[Told]) -> Compared:
    """Compare the entries of one exchange, each side's in the order of its journal."""
    requests, sent, received = _by_nonce(
        [told for told in consumer if told.kind == Kind.REQUEST],
        [told for told in provider if told.kind == Kind.REQUEST],
    )
    answers, got, given = _by_content(
        [told for told in consumer if told.kind == Kind.RESPONSE],
        [told for told in provider if told.kind in (Kind.RESPONSE, Kind.REFUSAL)],
    )
    failures = [told for told in consumer if told.kind == Kind.FAILURE]
    why = _why_lost(failures, len(sent) + len(requests) > 1)
    found = [_differs(REQUEST, pair, _OF_REQUEST) for pair in requests]
    found += [_differs(ANSWER, pair, _OF_ANSWER) for pair in answers]
    for number, told in enumerate(sent):
        refused = number < len(given)  # before it was opened: the provider has no request of it
        reason = "the provider refused it before it was opened" if refused else why
        found.append(Mismatch(Fault.LACKS, REQUEST, told, None, explanation=reason))
    found += [Mismatch(Fault.LACKS, REQUEST, None, told) for told in received]
    found += [Mismatch(Fault.LACKS, ANSWER, told, None) for told in got]
    message = ANSWER if requests or received or sent else REQUEST  # which was refused unopened
    for told in given:
        again = told.problem == Code.REPLAYED_MESSAGE and requests
        reason = "the provider refused a message that came again, from whomever" if again else why
        found.append(Mismatch(Fault.LACKS, message, None, told, explanation=reason))
    whole = len(requests) == len(answers) == 1 and not (sent or received or got or given)
    offset = _offset(requests[0], answers[0]) if whole else None
    return Compared([one for one in found if one is not None], offset)


def _by_nonce(
    ours: list[Told], theirs: list[Told]
) -> tuple[list[tuple[Told, Told]], list[Told], list[Told]]:
    """Pairs, and what is left on each side."""
    waiting = {told.nonce: told for told in reversed(theirs)}
    pairs: list[tuple[Told, Told]] = []
    left: list[Told] = []
    for told in ours:
        other = waiting.pop(told.nonce, None)
        if other is None:
            left.append(told)
        else:
            pairs.append((told, other))
    return pairs, left, _without(theirs, pairs)


def _by_content(
    ours: list[Told], theirs: list[Told]
) -> tuple[list[tuple[Told, Told]], list[Told], list[Told]]:
    """Pairs that were signed alike first, then those that say the same, then in order; and what
    is left on each side."""
    pairs: list[tuple[Told, Told]] = []
    for key in (_signature, _content, _nothing):
        waiting: dict[Hashable, deque[Told]] = {}
        for other in theirs:
            waiting.setdefault(key(other), deque()).append(other)
        left: list[Told] = []
        for told in ours:
            found = waiting.get(key(told)) if key(told) is not None else None
            if found:
                pairs.append((told, found.popleft()))
            else:
                left.append(told)
        ours, theirs = left, _without(theirs, pairs)
    return pairs, ours, theirs


def _without(theirs: list[Told], pairs: list[tuple[Told, Told]]) -> list[Told]:
    taken = {(other.journal, other.entry) for _, other in pairs}
    return [told for told in theirs if (told.journal, told.entry) not in taken]


def _signature(told: Told) -> Hashable:
    return told.signed


def _content(told: Told) -> Hashable:
    return told.status, told.size


def _nothing(_told: Told) -> Hashable:
    return ()


def _differs(message: str, pair: tuple[Told, Told], members: Sequence[str]) -> Mismatch | None:
    """What two entries of one message say differently; what one alone may know is no difference."""
    consumer, provider = pair
    different = tuple(
        name
        for name in members
        if (ours := getattr(consumer, name)) != (theirs := getattr(provider, name))
        and (
            (ours is not None and theirs is not None)
            or (name in _TOLD_BY_BOTH and (ours or theirs))
        )
    )
    return Mismatch(Fault.DIFFERS, message, consumer, provider, different) if different else None


def _why_lost(failures: Sequence[Told], tried_again: bool) -> str:
    if failures:
        return f"the consumer recorded that it failed ({failures[0].problem or 'no code'})"
    return "the consumer tried again" if tried_again else ""


def _offset(request: tuple[Told, Told], answer: tuple[Told, Told]) -> float:
    there = request[1].at - request[0].at
    back = answer[0].at - answer[1].at
    return (there - back) / 2
