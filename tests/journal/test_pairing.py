"""What two journals tell of one exchange: pairs, what one lacks and why, what differs."""

from __future__ import annotations

from typing import Any

import pytest

from mediator.journal.pairing import ANSWER, REQUEST, Fault, Mismatch, Told, compare


def told(entry: int, kind: str = "request", **changes: Any) -> Told:
    values: dict[str, Any] = dict.fromkeys(Told._fields)
    values |= {"journal": 0, "entry": entry, "at": 1000 + entry, "kind": kind}
    if kind == "request":
        values |= {"nonce": "n1", "method": "GET", "size": 0}
    else:
        values |= {"status": 200, "size": 10}
    return Told(**(values | changes))


def answer(entry: int, **changes: Any) -> Told:
    return told(entry, "response", **changes)


def failure(entry: int, **changes: Any) -> Told:
    return told(entry, "failure", **({"status": None, "problem": "PeerTimeout"} | changes))


def faults(consumer: list[Told], provider: list[Told]) -> list[tuple[str, str, bool, bool]]:
    """Fault, message, whether the consumer's side lacks it, and whether it is explained."""
    found = compare(consumer, provider).mismatches
    return [(one.fault, one.message, one.consumer is None, bool(one.explanation)) for one in found]


def test_an_exchange_that_both_tell_alike_is_no_mismatch() -> None:
    """One request by its nonce, one answer by what it says."""
    assert faults([told(0), answer(1)], [told(5), answer(6)]) == []


@pytest.mark.parametrize(
    ("consumer", "provider", "expected"),
    [
        # What cannot be: the provider acted on what the consumer did not record before sending.
        ([], [told(5), answer(6)], [(REQUEST, True, False), (ANSWER, True, False)]),
        ([told(0, nonce="n2"), answer(1)], [told(5), answer(6)],
         [(REQUEST, False, False), (REQUEST, True, False)]),
        # Nor an answer that the provider did not record before it sent it.
        ([told(0), answer(1)], [told(5)], [(ANSWER, False, False)]),
        ([told(0), answer(1)], [], [(REQUEST, False, False), (ANSWER, False, False)]),
        # What may be lost on its way, and the consumer says so.
        ([told(0), failure(1)], [], [(REQUEST, False, True)]),
        ([told(0), failure(1)], [told(5), answer(6)], [(ANSWER, True, True)]),
        # Nobody says why.
        ([told(0)], [told(5), answer(6)], [(ANSWER, True, False)]),
        ([told(0)], [], [(REQUEST, False, False)]),
        # Refused before it was opened: there is no request at the provider.
        ([told(0), failure(1)], [told(5, "refusal", status=403)],
         [(REQUEST, False, True), (ANSWER, True, True)]),
        # A message that the consumer sent once was sent again by somebody, and refused.
        ([told(0), answer(1)],
         [told(5), answer(6), told(7, "refusal", status=409, problem="ReplayedMessage")],
         [(ANSWER, True, True)]),
        ([], [told(7, "refusal", status=409, problem="ReplayedMessage")],
         [(REQUEST, True, False)]),
        # A message in the consumer's name that its journal does not know.
        ([], [told(5, "refusal", status=403)], [(REQUEST, True, False)]),
    ],
)  # fmt: skip
def test_what_one_side_lacks(
    consumer: list[Told], provider: list[Told], expected: list[tuple[str, bool, bool]]
) -> None:
    """Each message is found that one side has alone, and whether the journals say why."""
    assert sorted(faults(consumer, provider)) == sorted(
        (Fault.LACKS, message, lacking, explained) for message, lacking, explained in expected
    )


def test_a_second_attempt_explains_the_first() -> None:
    """The first request never came, or its answer was lost; the second brought the answer."""
    again = told(1, nonce="n2")
    lost = faults([told(0), again, answer(2)], [told(5, nonce="n2"), answer(6)])
    assert lost == [(Fault.LACKS, REQUEST, False, True)]
    twice = [told(5), answer(6), told(7, nonce="n2"), answer(8)]
    assert faults([told(0), again, answer(2)], twice) == [(Fault.LACKS, ANSWER, True, True)]


@pytest.mark.parametrize(
    ("theirs", "message", "member"),
    [
        ({"status": 404}, ANSWER, "status"),
        ({"size": 11}, ANSWER, "size"),
        ({"signed": "bb"}, ANSWER, "signed"),
        ({"problem": "AccessDenied"}, ANSWER, "problem"),
    ],
)
def test_answers_that_differ(theirs: dict[str, Any], message: str, member: str) -> None:
    """The member that is not the same is named."""
    ours = answer(1, signed="aa", problem="NotFound")
    (found,) = compare([told(0), ours], [told(5), answer(6, **theirs)]).mismatches
    assert (found.fault, found.message, found.members) == (Fault.DIFFERS, message, (member,))


def test_requests_that_differ() -> None:
    """One signature, told differently: method or purpose; what one side alone knows is none."""
    ours = told(0, purpose="tax", endpoint="/a")
    (found,) = compare([ours], [told(5, purpose="spying", method="PUT")]).mismatches[:1]
    assert found.members == ("method", "purpose")


@pytest.mark.parametrize("member", ["purpose", "method", "request_id"])
@pytest.mark.parametrize("silent", [0, 1])
def test_a_request_of_which_one_side_tells_less(member: str, silent: int) -> None:
    """What the signed message told, both know: whoever does not say it has left it out."""
    request = {"purpose": "tax", "request_id": "r-1"}
    sides = [[told(0, **request), answer(1)], [told(5, **request), answer(6)]]
    sides[silent][0] = sides[silent][0]._replace(**{member: None})
    (found,) = compare(*sides).mismatches
    assert (found.fault, found.members) == (Fault.DIFFERS, (member,))


def test_answers_pair_by_what_was_signed_first() -> None:
    """Of two answers alike, the one that arrived pairs with itself, and the lost one is lost."""
    consumer = [told(0), failure(1), told(2, nonce="n2"), answer(3, signed="bb")]
    provider = [
        told(5), answer(6, signed="aa"), told(7, nonce="n2"), answer(8, signed="bb"),
    ]  # fmt: skip
    (found,) = compare(consumer, provider).mismatches
    assert isinstance(found, Mismatch)
    assert found.provider is not None
    assert (found.provider.entry, bool(found.explanation)) == (6, True)


def test_entries_of_two_journals_are_two() -> None:
    """A side with two servers has two entries of one number: what one lacks is not lost in it."""
    consumer = [told(0), answer(1)]
    again = [told(5, journal=1, nonce="n2"), answer(6, journal=1)]
    assert faults(consumer, [told(5), answer(6)]) == []
    assert faults(consumer, [told(5), answer(6), *again]) == [
        (Fault.LACKS, REQUEST, True, False),
        (Fault.LACKS, ANSWER, True, False),
    ]


def test_many_answers_of_one_exchange_are_paired_in_order() -> None:
    """Answers alike pair with answers alike, whatever stands between; each only once."""
    consumer = [answer(number, status=200 + number % 3) for number in range(3_000)]
    provider = [answer(number, status=200 + number % 3) for number in reversed(range(3_000))]
    assert compare(consumer, provider).mismatches == []


def test_four_times_tell_how_far_clocks_are_apart() -> None:
    """The way there and the way back cancel out; of two attempts nothing is told."""
    consumer = [told(0, at=1000), answer(1, at=1100)]
    provider = [told(5, at=1530), answer(6, at=1570)]
    assert compare(consumer, provider).offset == 500
    assert compare([*consumer, told(2, nonce="n2")], provider).offset is None
