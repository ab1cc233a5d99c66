"""One exchange as two journals tell of it: what pairs, what one lacks, what differs.

The consumer records a request before it is sent and the answer before the application gets it; the
provider records the request before it acts and the answer before it is sent. So a provider's
request without the consumer's, or a consumer's answer without the provider's, cannot be; the other
way round a message may have been lost on its way, and then the consumer's journal says so (it
failed, or it tried again). Requests pair by the nonce of their signature, which makes them one
signed message; answers by what they say.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from exchange.entries import Kind

REQUEST, ANSWER = "request", "answer"
_OF_REQUEST = ("method", "endpoint", "purpose", "size", "request_id", "signed")
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
    found += [Mismatch(Fault.LACKS, message, None, told, explanation=why) for told in given]
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
    taken = {other.entry for _, other in pairs}
    return pairs, left, [told for told in theirs if told.entry not in taken]


def _by_content(
    ours: list[Told], theirs: list[Told]
) -> tuple[list[tuple[Told, Told]], list[Told], list[Told]]:
    """Pairs that were signed alike first, then those that say the same, then in order; and what
    is left on each side."""
    pairs: list[tuple[Told, Told]] = []
    left, others = list(ours), list(theirs)
    for alike in (_signed_alike, _alike, _any):
        for told in tuple(left):
            found = next((other for other in others if alike(told, other)), None)
            if found is not None:
                left.remove(told)
                others.remove(found)
                pairs.append((told, found))
    return pairs, left, others


def _signed_alike(told: Told, other: Told) -> bool:
    return told.signed is not None and told.signed == other.signed


def _alike(told: Told, other: Told) -> bool:
    return (told.status, told.size) == (other.status, other.size)


def _any(_told: Told, _other: Told) -> bool:
    return True


def _differs(message: str, pair: tuple[Told, Told], members: Sequence[str]) -> Mismatch | None:
    """What two entries of one message say differently, of what both say."""
    consumer, provider = pair
    different = tuple(
        name
        for name in members
        if (ours := getattr(consumer, name)) != (theirs := getattr(provider, name))
        and ours is not None
        and theirs is not None
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
