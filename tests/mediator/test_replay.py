"""The memory of accepted signatures."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exchange.keys import Algorithm
from exchange.messages.envelope import open_request, seal_request
from exchange.problems import Code, Problem
from mediator.provider.replay import KEEP_S, ReplayMemory
from tests.exchange.sealed_messages import NONCE, NOW, REQUEST, finder, signing_key_of


def test_a_pair_is_accepted_once() -> None:
    """The same key and nonce are refused the second time; either alone is not enough."""
    memory = ReplayMemory()
    memory.remember("k1", "n1", 0, 0)
    memory.remember("k1", "n2", 0, 0)
    memory.remember("k2", "n1", 0, 0)
    with pytest.raises(Problem) as caught:
        memory.remember("k1", "n1", 60, 60)
    assert caught.value.code is Code.REPLAYED_MESSAGE


def test_what_the_journal_holds_is_remembered_across_a_restart() -> None:
    """A restored pair is refused like one that was seen in this run."""
    memory = ReplayMemory(keep_s=70)
    memory.restore("k", "n", at=100)
    with pytest.raises(Problem):
        memory.remember("k", "n", 130, 130)


def test_forgets_only_after_the_signature_has_expired() -> None:
    """Memory is bounded by time: a pair goes after the window, not before."""
    memory = ReplayMemory(keep_s=70)
    memory.remember("k", "n", 0, 0)
    memory.remember("k", "later", 69, 69)
    assert len(memory) == 2
    memory.remember("k", "last", 71, 71)
    assert len(memory) == 2


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 200)), max_size=60))
def test_agrees_with_a_slow_memory(arrivals: list[tuple[int, int]]) -> None:
    """Against a list of everything ever seen: within the window a nonce passes exactly once."""
    memory = ReplayMemory(keep_s=70)
    seen: dict[int, float] = {}
    now = 0.0
    for nonce, wait in arrivals:
        now += wait
        fresh = nonce not in seen or seen[nonce] + 70 < now
        try:
            memory.remember("k", str(nonce), now, now)
        except Problem:
            assert not fresh
        else:
            assert fresh
            seen[nonce] = now


@pytest.mark.parametrize("arrives", [0.0, 0.3, 0.9])
def test_no_signature_outlives_its_memory(arrives: float) -> None:
    """As long as a signature is fresh anywhere within the skew, its second arrival is refused."""
    key = signing_key_of(Algorithm.ED25519)
    created = NOW + 5
    signed = seal_request(REQUEST, key, created=created, expires=created + 60, nonce=NONCE)
    head = REQUEST.with_headers(signed.headers_to_add)
    memory = ReplayMemory()

    def accept(at: float) -> None:
        opened = open_request(head, finder(key), now=int(at))
        memory.remember(opened.keyid, opened.nonce, opened.expires, at)

    accept(NOW + arrives)
    for tenths in range(800):
        with pytest.raises(Problem):
            accept(NOW + arrives + tenths / 10)


@pytest.mark.parametrize("restarted", [False, True])
@pytest.mark.parametrize("back_s", [0, 3, 10, 40, 3600])
def test_a_clock_that_is_set_back_opens_no_door(back_s: int, restarted: bool) -> None:
    """What was forgotten before the step is not taken a second time after it; what is signed anew
    is taken, as long as the step is not longer than a signature lives."""
    key = signing_key_of(Algorithm.ED25519)
    memory = ReplayMemory()

    def accept(nonce: str, created: int, at: int) -> None:
        signed = seal_request(REQUEST, key, created=created, expires=created + 60, nonce=nonce)
        head = REQUEST.with_headers(signed.headers_to_add)
        opened = open_request(head, finder(key), now=at)
        memory.remember(opened.keyid, opened.nonce, opened.expires, at)

    nonces = {NOW + second: f"nonce-number-{second:010}" for second in range(0, 200, 5)}
    for created, nonce in nonces.items():
        accept(nonce, created, created)
    end = NOW + 199
    if restarted:  # what the journal brings back
        memory = ReplayMemory(since=end)
        for created, nonce in nonces.items():
            if created >= end - KEEP_S:
                memory.restore(key.keyid, nonce, created)
    at = end - back_s
    for created, nonce in nonces.items():
        with pytest.raises(Problem):
            accept(nonce, created, at)
    if back_s <= 40:
        accept("nonce-that-is-new-0000", at, at)


@given(st.floats(NOW, NOW + 80, allow_nan=False), st.integers(NOW - 70, NOW + 90))
def test_a_clock_that_runs_on_refuses_nothing_fresh(at: float, created: int) -> None:
    """Whatever was forgotten before: a signature that is fresh and new is taken."""
    key = signing_key_of(Algorithm.ED25519)
    memory = ReplayMemory(since=NOW - 71)
    for tenths in range(-710, int((at - NOW) * 10), 7):
        moment = NOW + tenths / 10
        memory.remember("k", str(tenths), moment + 60, moment)
    signed = seal_request(REQUEST, key, created=created, expires=created + 60, nonce=NONCE)
    head = REQUEST.with_headers(signed.headers_to_add)
    try:
        opened = open_request(head, finder(key), now=int(at))
    except Problem:
        return
    memory.remember(opened.keyid, opened.nonce, opened.expires, at)
