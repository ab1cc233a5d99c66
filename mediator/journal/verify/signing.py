"""Which records tell of a signed message, and whether one that does holds what was signed.

A server signs what it sends and opens what it takes before it records either, so that the kind of
an entry says what its sealed part must hold (:mod:`mediator.message.records` writes them so):

- a request, on either side: a signature base of a request. It was sealed, or it was opened;
- an answer, on either side, and the provider's refusal of a message that it opened (its entry names
  the certificate that opened it): a signature base of an answer;
- every other refusal, a failure, and what a server says of itself: none. It was stopped before
  there was a signature, or what came could not be proven.

A record of the first two kinds without a signature is no honest one: it would let a server claim
any content. One of the third with a signature hides a proven message as an unproven one.

A refusal of a message that was not opened is told from one that was by more than the certificate:
what is judged only of a proven message (agreements, the fields that are released, the exactly-once
book, the backend) refuses no other, and the entry of an unproven one says nothing that was signed
(:func:`check_refusal`). Where its code is another, and all that could contradict it was left out,
only the other side's journal does.

An entry without a sealed part (retention keeps the entry alone, or it was erased) tells nothing of
this, here or elsewhere; the other side's journal does.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import Enum
from typing import Any, Final

from exchange.journal.entries import Kind, Side
from exchange.journal.sealed_parts import SealedPart
from exchange.messages.forms import BOUND_FIELDS
from exchange.messages.signed import REQUEST_TAG, RESPONSE_TAG
from exchange.problems import Code, Problem


class Signing(Enum):
    """What a record's sealed part holds: the tag of a signature, or none."""

    REQUEST = REQUEST_TAG
    ANSWER = RESPONSE_TAG
    NONE = ""


_COVERED: Final = {
    Signing.REQUEST: ('"@method"', '"@target-uri"', '"content-digest"', '"x-road-id"'),
    Signing.ANSWER: (
        '"@status"',
        '"content-digest"',
        '"@method";req',
        '"@target-uri";req',
        *(f'"{name}";req' for name in BOUND_FIELDS),
    ),
}
_UNOPENED: Final = (Kind.REFUSAL, Side.PROVIDER)
# What is judged only of a message that was opened and recorded (mediator/provider/path.py).
_OF_PROVEN: Final = frozenset(
    code.value
    for code in (
        Code.ACCESS_DENIED,
        Code.AGREEMENT_EXPIRED,
        Code.AGREEMENT_NOT_YET_VALID,
        Code.AGREEMENT_REVOKED,
        Code.PURPOSE_NOT_ALLOWED,
        Code.REQUEST_BASIS_MISSING,
        Code.SUBJECT_MISSING,
        Code.FIELD_NOT_RELEASED,
        Code.ANSWER_NOT_KEPT,
        Code.MESSAGE_ID_REUSED,
        Code.MESSAGE_IN_PROGRESS,
        Code.ONCE_UNAVAILABLE,
        Code.OUTCOME_UNKNOWN,
        Code.BACKEND_NONSENSE,
        Code.BACKEND_TIMEOUT,
        Code.BACKEND_UNREACHABLE,
    )
)
# What only the records of opened messages say (mediator/message/records.py).
_OF_OPENED: Final = frozenset({"agreement", "endpoint", "nonce", "purpose", "size"})
_NAMES: Final = {Signing.REQUEST: "a request", Signing.ANSWER: "an answer"}
# Members that each entry of a signed message has, since the signed message tells them.
_SAID: Final = frozenset({"client", "method", "service"})
_ALWAYS: Final = {Signing.REQUEST: _SAID, Signing.ANSWER: _SAID | {"status"}}


def signing_of(entry: Mapping[str, Any]) -> Signing:
    """What a record holds a signature of, by its entry (the JSON object that it is)."""
    kind = entry.get("kind")
    if kind == Kind.REQUEST:
        return Signing.REQUEST
    if kind == Kind.RESPONSE:
        return Signing.ANSWER
    if kind == Kind.REFUSAL and entry.get("side") == Side.PROVIDER and "certificate" in entry:
        return Signing.ANSWER
    return Signing.NONE


def check_refusal(entry: Mapping[str, Any]) -> None:
    """Check that a provider's refusal of an unopened message is none of one that was opened.

    Raises:
        Problem: ``MissingSignature``.
    """
    if (entry.get("kind"), entry.get("side")) != _UNOPENED or "certificate" in entry:
        return
    if str(entry.get("problem")) in _OF_PROVEN:
        told = f"{entry['problem']} refuses only a message whose signature was verified"
    elif members := sorted(_OF_OPENED.intersection(entry)):
        told = f"{', '.join(members)} is said only of a message whose signature was verified"
    else:
        return
    raise _missing(f"{told}, but the entry names no certificate")


def check_present(part: SealedPart, signing: Signing) -> None:
    """Check that a part holds a signature and what it is over exactly when it must.

    Raises:
        Problem: ``MissingSignature``, ``JournalCorrupt``.
    """
    if signing is Signing.NONE:
        if part.base or part.signature:
            detail = "a record of this kind holds no signature, but its sealed part has one"
            raise Problem(Code.JOURNAL_CORRUPT, detail=detail)
    elif not part.base or not part.signature:
        missing = "signature" if part.base else "signed text"
        raise _missing(
            f"the entry tells of {_NAMES[signing]}, which is always signed, "
            f"but its sealed part holds no {missing}"
        )


def check_covered(lines: Mapping[str, str], params: str, signing: Signing) -> None:
    """Check that what was signed is a whole message of this kind.

    Args:
        lines: of the signature base, by component.
        params: its parameters.

    Raises:
        Problem: ``MissingSignature``.
    """
    name = _NAMES[signing]
    if f';tag="{signing.value}"' not in params:
        raise _missing(f"the entry tells of {name}, but what its sealed part holds is none")
    for component in _COVERED[signing]:
        if component not in lines:
            raise _missing(f"the entry tells of {name}, but its signature covers no {component}")


def check_said(entry: Mapping[str, Any], signing: Signing, told: Iterable[str]) -> None:
    """Check that an entry says what was signed in clear, as far as all of its kind do.

    Args:
        told: members of entries that what was signed tells, besides those of all messages.

    Raises:
        Problem: ``JournalCorrupt``.
    """
    for member in (*sorted(_ALWAYS[signing]), *told):
        if member not in entry:
            detail = f"{member} of the entry is missing: it says less than what was signed"
            raise Problem(Code.JOURNAL_CORRUPT, detail=detail)


def _missing(detail: str) -> Problem:
    return Problem(Code.MISSING_SIGNATURE, detail=detail)
