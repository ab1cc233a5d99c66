"""Strangers ask a witness only so often, and a repeat of what was cosigned costs no write."""

from __future__ import annotations

import asyncio
import contextlib
import urllib.error
import urllib.request
from pathlib import Path
from time import monotonic

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from exchange.log import notes
from exchange.log.checkpoint import Checkpoint, open_checkpoint, sign_checkpoint
from exchange.log.notes import Note, VerifierKey, parse_note
from exchange.log.witness import Submission, format_submission, open_submission, origin_hash
from exchange.problems import Code, Problem
from mediator.witness.state import FILE, WitnessState
from mediator.witness.visitors import MAX_ADDRESSES, PER_ADDRESS, TOGETHER, Visitors
from tests.journal.world import KEY, ORIGIN, VERIFIER
from tests.witness.test_state import submission
from tests.witness.world import witness_in

NEW_KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(3, 35)))
NEW = VerifierKey.of(ORIGIN, NEW_KEY.public_key())


def refused(visitors: Visitors, address: str, at: float) -> bool:
    try:
        visitors.enter(address, at)
    except Problem as problem:
        assert (problem.code, problem.status) == (Code.OVERLOADED, 429)  # noqa: PT017
        assert problem.facts["retry_after_s"] == 1  # noqa: PT017
        return True
    return False


def test_one_address_is_bounded() -> None:
    """So many a second; another address is not hindered; a second later it may ask again."""
    visitors = Visitors()
    asked = [refused(visitors, "192.0.2.1", 5.0) for _ in range(PER_ADDRESS + 3)]
    assert asked == [False] * PER_ADDRESS + [True] * 3
    assert not refused(visitors, "192.0.2.2", 5.0)
    assert not refused(visitors, "192.0.2.1", 6.0)


def test_all_together_are_bounded() -> None:
    """However many addresses there are, and what is refused takes nothing from the others."""
    visitors = Visitors()
    asked = [refused(visitors, f"192.0.2.{number}", 5.0) for number in range(TOGETHER + 2)]
    assert asked == [False] * TOGETHER + [True] * 2
    assert not refused(visitors, "192.0.2.1", 5.1)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("2001:db8::1", "2001:db8::ffff:2", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("192.0.2.1", "::ffff:192.0.2.1", True),
        ("fe80::1%eth0", "fe80::2", True),
    ],
)
def test_what_counts_as_one_address(one: str, other: str, *, same: bool) -> None:
    """A network of a site (/64); an address in both notations."""
    visitors = Visitors()
    visitors.enter(one, 1.0)
    visitors.enter(other, 1.0)
    assert len(visitors) == (1 if same else 2)


def test_strangers_fill_no_memory() -> None:
    """Those who asked last are remembered."""
    visitors = Visitors()
    for number in range(MAX_ADDRESSES + 10):
        visitors.enter(f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}", float(number))
    assert len(visitors) == MAX_ADDRESSES


def writes(path: Path) -> int:
    """SQLite's counter of changes to a file, in its header."""
    return int.from_bytes(path.read_bytes()[24:28], "big")


def ask(url: str, body: bytes | None = None) -> tuple[int, bytes, str]:
    try:
        with urllib.request.urlopen(url, body, timeout=20) as reply:  # noqa: S310
            return reply.status, reply.read(), ""
    except urllib.error.HTTPError as error:
        return error.code, error.read(), error.headers.get("retry-after", "")


async def test_a_repeat_costs_no_write(tmp_path: Path) -> None:
    """It is cosigned again; too many requests of one address are told when to come again."""
    async with witness_in(tmp_path) as witness:
        url = f"{witness.listener.url}/witness"

        async def post(given: Submission) -> tuple[int, bytes, str]:
            body = format_submission(given)
            return await asyncio.to_thread(ask, f"{url}/add-checkpoint", body)

        assert (await post(submission(0, 0, 7)))[0] == 200
        before = writes(tmp_path / FILE)
        for _ in range(5):
            status, body, _ = await post(submission(0, 7, 7))
            assert status == 200
            assert body.startswith("— w.example/1 ".encode())
        assert (await post(submission(0, 0, 7)))[:2] == (409, b"7\n")
        assert (await post(submission(1, 7, 7)))[0] == 422
        assert writes(tmp_path / FILE) == before
        assert (await post(submission(0, 7, 9)))[0] == 200
        assert writes(tmp_path / FILE) > before
        with contextlib.suppress(Problem):
            while True:  # all that an address may ask in a second that is still to come
                witness.witness.visitors.enter("127.0.0.1", monotonic() + 3600)
        status, body, wait = await post(submission(0, 9, 9))
        assert (status, wait) == (429, "1")
        assert b"of this address" in body


def both(size: int, key: Ed25519PrivateKey) -> Submission:
    """A repeat, signed by one of the keys of the log."""
    given = submission(0, size, size)
    signed = sign_checkpoint(Checkpoint(ORIGIN, size, _root(given)), key)
    return Submission(size, (), parse_note(signed))


def _root(given: Submission) -> bytes:
    return open_checkpoint(bytes(given.note), VERIFIER).root


def test_a_new_key_of_a_log_is_added_to_what_was_cosigned(tmp_path: Path) -> None:
    """Once; from then on repeats with either key, or both, cost no write."""
    state, logs = WitnessState(tmp_path / FILE), {ORIGIN: [VERIFIER, NEW]}

    def judge(given: Submission) -> None:
        assert state.judge(given, open_submission(given, logs), 1).refusal is None

    judge(submission(0, 0, 7))
    judge(both(7, NEW_KEY))
    known = state.known(ORIGIN)
    assert known is not None
    for key in (VERIFIER, NEW):
        notes.open_note(known.note, [key], "note")
        assert any(line.is_by(key) for line in known.note.signatures)
    before = writes(tmp_path / FILE)
    judge(both(7, NEW_KEY))
    judge(both(7, KEY))
    assert writes(tmp_path / FILE) == before
    state.close()


async def test_only_what_was_verified_is_shown(tmp_path: Path) -> None:
    """A line of a key that is none of the log's yet is not kept: that key may become its next."""
    given = submission(0, 0, 7)
    bogus = parse_note(sign_checkpoint(Checkpoint(ORIGIN, 7, bytes(32)), NEW_KEY)).signatures
    note = Note(given.note.text, (*given.note.signatures, *bogus))
    body = format_submission(Submission(0, (), note))
    async with witness_in(tmp_path) as witness:
        url = f"{witness.listener.url}/witness"
        assert (await asyncio.to_thread(ask, f"{url}/add-checkpoint", body))[0] == 200
    async with witness_in(tmp_path, logs=(str(NEW),)) as witness:
        url = f"{witness.listener.url}/witness/{origin_hash(ORIGIN)}/checkpoint"
        status, shown, _ = await asyncio.to_thread(ask, url)
        assert status == 200
        lines = parse_note(shown).signatures
        assert [line.is_by(VERIFIER) for line in lines] == [
            True,
            False,
        ]  # the log's old key, and us
        assert not any(line.is_by(NEW) for line in lines)
